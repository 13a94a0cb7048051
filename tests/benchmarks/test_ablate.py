"""The ablations: their grids, one cell in this process, and the command as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sketchless.agents import AGENTS
from sketchless.benchmarks.ablation.experiment import run
from sketchless.benchmarks.ablation.sweep import METHODS, RATES, SWEEPS, cells
from sketchless.benchmarks.cli import main
from sketchless.benchmarks.runs import Interrupted
from sketchless.datasets import ConfigError
from sketchless.datasets.files import sha256
from sketchless.encoders import save_banks

SMALL = {"episodes": 4, "samples": 2, "eval_every": 2}


@pytest.fixture
def bank(make_bank, tmp_path: Path) -> Path:
    banks = {split: make_bank(n=9, steps=6, seed=i) for i, split in enumerate(("train", "validation", "test"))}
    for name in ("validation", "test"):
        object.__setattr__(banks[name], "weight", banks["train"].weight)
        object.__setattr__(banks[name], "bias", banks["train"].bias)
    save_banks(tmp_path / "bank.safetensors", banks)
    return tmp_path / "bank.safetensors"


@pytest.fixture
def common(bank: Path) -> dict[str, Any]:
    return {
        "bank": str(bank),
        "bank_sha256": sha256(bank),
        "agent": "ppo-a-clip",
        "reward": "combined",
        "mode": "residual",
        "observation": "feature",
        "scale": 1.0,
        "split": "test",
        "steps": 600,
        "device": "cpu",
    }


def go_on(share: float, note: str) -> bool:
    return False


class TestGrids:
    @pytest.mark.parametrize("name", SWEEPS)
    def test_every_arm_of_every_ablation_runs(self, name: str, common: dict[str, Any], tmp_path: Path) -> None:
        for cell in cells(name, common | {"steps": 100}, [0], SMALL):
            folder = tmp_path / cell.id
            folder.mkdir(parents=True)
            result = run(json.loads(json.dumps(cell.settings)), folder, go_on)
            assert 0 < result["metrics"]["m@B"] <= 100
            assert result["steps"] >= 100

    def test_all_methods_and_rewards_of_the_paper_are_there(self) -> None:
        assert set(METHODS.arms) <= set(AGENTS)
        assert {"vpg", "ppo-ac-clip", "ppo-ac-kl", "ppo-a-kl", "trpo", "ppo-a-clip"} <= set(METHODS.arms)
        assert len(SWEEPS["rewards"].arms) == 7

    def test_tuning_gives_every_method_as_many_choices_and_looks_at_validation(self, common: dict[str, Any]) -> None:
        grid = cells("tuning", common, [0], {})
        assert len(grid) == len(METHODS.arms) * len(RATES)
        assert {cell.settings["split"] for cell in grid} == {"validation"}

    def test_ids_are_readable_and_seeds_grow_together(self, common: dict[str, Any]) -> None:
        ids = [cell.id for cell in cells("rewards", common, [3, 4], {})]
        assert ids[0] == "rewards/top1/seed-3"
        assert ids[7] == "rewards/top1/seed-4"

    def test_settings_go_to_the_agents_that_have_them(self, common: dict[str, Any]) -> None:
        grid = {cell.id: cell.settings["set"] for cell in cells("methods", common, [0], {"clip": 0.1, "episodes": 8})}
        assert grid["methods/ppo-a-clip/seed-0"] == {"clip": 0.1, "episodes": 8}
        assert grid["methods/vpg/seed-0"] == {"episodes": 8}


class TestCell:
    def settings(self, common: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {**common, "seed": 0, "set": SMALL, **more}

    @pytest.mark.parametrize("agent", [name for name in AGENTS if name != "b1"])
    def test_stopped_and_repeated_ends_as_if_never_stopped(
        self, common: dict[str, Any], tmp_path: Path, agent: str
    ) -> None:
        settings = self.settings(common, agent=agent)
        whole, cut = tmp_path / "whole", tmp_path / "cut"
        whole.mkdir()
        cut.mkdir()
        expected = run(settings, whole, go_on)
        calls = iter([False, True])
        with pytest.raises(Interrupted, match="stopped at"):
            run(settings, cut, lambda share, note: next(calls))
        found = run(settings, cut, go_on)
        assert {**found, "seconds": 0} == {**expected, "seconds": 0}
        assert sorted(p.name for p in cut.iterdir()) == ["agent.safetensors", "ranks.safetensors"]

    def test_a_trained_cell_is_measured_again_without_training(self, common: dict[str, Any], tmp_path: Path) -> None:
        first = run(self.settings(common), tmp_path, go_on)

        def never(share: float, note: str) -> bool:
            raise AssertionError

        assert run(self.settings(common), tmp_path, never)["metrics"] == first["metrics"]

    def test_another_bank_is_refused(self, common: dict[str, Any], tmp_path: Path, refuses) -> None:
        with refuses(ConfigError, "has changed since"):
            run(self.settings(common, bank_sha256="0"), tmp_path, go_on)


class TestCommand:
    def test_ablates_and_reports_and_goes_on(self, bank: Path, tmp_path: Path, capsys) -> None:
        out = tmp_path / "grid"
        arguments = ["ablate", "methods", "--bank", str(bank), "--arms", "vpg", "ppo-a-clip", "--seeds", "0-1"]
        arguments += ["--passes", "1", "--workers", "1", "--set", "episodes=4", "--out", str(out)]
        assert main(arguments) == 0
        printed = capsys.readouterr().out
        assert "preliminary" in printed.lower()
        assert (out / "report" / "report.html").exists()
        assert str(tmp_path) not in "".join(p.read_text() for p in out.rglob("*.json"))
        before = (out / "methods" / "vpg" / "seed-0" / "result.json").read_bytes()
        assert main(arguments) == 0  # nothing is left to do
        assert (out / "methods" / "vpg" / "seed-0" / "result.json").read_bytes() == before
        assert main(["report", str(out), "--out", str(tmp_path / "again")]) == 0
        again = (tmp_path / "again" / "table.csv").read_bytes()
        assert again == (out / "report" / "table.csv").read_bytes()
        assert main([*arguments, "--passes", "2"]) == 2
        assert "steps" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (["ablate", "method"], "did you mean 'methods'"),
            (["ablate", "--preset", "fast"], "choose"),
            (["ablate", "--arms", "vgp"], "did you mean 'vpg'"),
            (["ablate", "--passes", "-1"], "above 0"),
            (["ablate", "--seeds", "1-0"], "empty"),
            (["ablate", "--set", "episodes"], "name=value"),
            (["ablate", "--workers", "0"], "at least 1"),
            (["ablate", "--executor", "slurm"], "choose"),
            (["report", "nowhere"], "no such file"),
        ],
    )
    def test_wrong_use_is_one_line(
        self, arguments: list[str], match: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert main(arguments) == 2
        error = capsys.readouterr().err.strip()
        assert match in error
        assert "\n" not in error
