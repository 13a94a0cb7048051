"""The ablations: their grids, one cell in this process, and the command as a user meets it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sketchless.agents import AGENTS
from sketchless.benchmarks.ablation.experiment import _banks, run
from sketchless.benchmarks.ablation.sweep import METHODS, RATES, SWEEPS, cells
from sketchless.benchmarks.cli import main
from sketchless.benchmarks.runs import Interrupted
from sketchless.datasets import ConfigError
from sketchless.datasets.files import sha256
from sketchless.encoders import EpisodeBank, save_banks

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
            assert result["steps"] >= (0 if cell.settings["agent"] == "b1" else 100)

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


class TestDesign:
    def banks(self, common: dict[str, Any], tmp_path: Path, **settings: Any) -> dict[str, EpisodeBank]:
        return _banks({**common, **settings}, tmp_path)

    def test_only_training_has_fewer_frames(self, common: dict[str, Any], tmp_path: Path) -> None:
        banks = self.banks(common, tmp_path, frames=4)  # of six
        assert [banks[split].features.shape[1] for split in ("train", "validation", "test")] == [2, 6, 6]

    def test_a_narrower_embedding_is_that_of_all(self, common: dict[str, Any], tmp_path: Path) -> None:
        banks = self.banks(common, tmp_path, width=0.5)  # of eight
        assert {tuple(bank.weight.shape) for bank in banks.values()} == {(4, 32)}
        assert all(torch.equal(bank.weight, banks["train"].weight) for bank in banks.values())

    def test_photos_and_drawings_train_on_the_same_drawings(self, common: dict[str, Any], tmp_path: Path) -> None:
        few = self.banks(common, tmp_path, photos=0.4)["train"]
        more = self.banks(common, tmp_path, drawings=0.4)["train"]
        assert few.sketch_ids == more.sketch_ids
        assert (len(few.gallery), len(more.gallery)) == (4, 10)
        assert [more.photo_ids[t] for t in more.targets] == [few.photo_ids[t] for t in few.targets]

    def test_the_noisy_bank_is_trained_on_alone(self, common: dict[str, Any], tmp_path: Path, make_bank) -> None:
        clean = self.banks(common, tmp_path)
        noisy = replace(clean["train"], features=clean["train"].features.flip(1))
        save_banks(tmp_path / "noisy.safetensors", {"train": noisy})
        given = {"noisy_bank": "noisy.safetensors", "noisy_bank_sha256": sha256(tmp_path / "noisy.safetensors")}
        banks = self.banks(common, tmp_path, **given)
        assert torch.equal(banks["train"].features, noisy.features)
        assert torch.equal(banks["test"].features, clean["test"].features)
        grid = {cell.id.split("/")[1]: cell.settings for cell in cells("design", {**common, **given}, [0], {})}
        assert [arm for arm, settings in grid.items() if "noisy_bank" in settings] == ["noise"]
        assert "noise" not in {cell.id.split("/")[1] for cell in cells("design", common, [0], {})}
        save_banks(tmp_path / "noisy.safetensors", {"train": make_bank(n=9, steps=6, seed=7)})
        given["noisy_bank_sha256"] = sha256(tmp_path / "noisy.safetensors")
        with pytest.raises(ConfigError, match="of another encoder"):
            self.banks(common, tmp_path, **given)


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
