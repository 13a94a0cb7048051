"""The ablations: their grids, one cell in this process, and the command as a user meets it."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sketchless.agents import AGENTS, PPOAClip
from sketchless.benchmarks.ablation.experiment import _banks, run
from sketchless.benchmarks.ablation.sweep import BASELINES, FEATURES, METHODS, RATES, SWEEPS, cells
from sketchless.benchmarks.cli import main
from sketchless.benchmarks.commands.ablate import AblateConfig, command_of
from sketchless.benchmarks.display.tables import PROXY
from sketchless.benchmarks.reporting.published import BASELINES as PUBLISHED
from sketchless.benchmarks.runs import Interrupted
from sketchless.datasets import ConfigError
from sketchless.datasets.files import sha256
from sketchless.encoders import EpisodeBank, save_banks

SMALL = {"episodes": 4, "samples": 2, "eval_every": 2}
EVERY_KIND = {kind: [{}] for kind in FEATURES}


def save_as(path: Path, make_bank: Any, weights: int = 0) -> Path:
    """A bank file; other weights: of another encoder, whose drawings are the same."""
    banks = {split: make_bank(n=9, steps=6, seed=i) for i, split in enumerate(("train", "validation", "test"))}
    head = make_bank(n=9, steps=6, seed=weights)
    for bank in banks.values():
        object.__setattr__(bank, "weight", head.weight)
        object.__setattr__(bank, "bias", head.bias)
    path.parent.mkdir(exist_ok=True)
    save_banks(path, banks)
    return path


@pytest.fixture
def bank(make_bank, tmp_path: Path) -> Path:
    return save_as(tmp_path / "bank.safetensors", make_bank)


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


def settings(arm: Path) -> dict[str, Any]:
    """Settings of the agent with which an arm was trained."""
    return json.loads((arm / "seed-0" / "result.json").read_text())["agent_settings"]


def go_on(share: float, note: str) -> bool:
    return False


class TestGrids:
    @pytest.mark.parametrize("name", SWEEPS)
    def test_every_arm_of_every_ablation_runs(self, name: str, common: dict[str, Any], tmp_path: Path) -> None:
        grid = cells(name, common | {"steps": 100}, [0], {**SMALL, "sorter_updates": 3}, EVERY_KIND)
        assert len(grid) == sum(not arm.needs for arm in SWEEPS[name].arms.values())
        # Of arms that differ in their learning rate alone, as those of tuning do, one runs.
        kinds = {str({**cell.settings, "set": {**cell.settings["set"], "learning_rate": 0}}): cell for cell in grid}
        for cell in kinds.values():
            folder = tmp_path / cell.id
            folder.mkdir(parents=True)
            result = run(json.loads(json.dumps({**cell.settings, "steps": 100})), folder, go_on)
            assert 0 < result["metrics"]["m@B"] <= 100
            assert result["steps"] >= (0 if cell.settings["agent"] == "b1" else 100)

    def test_all_methods_and_rewards_of_the_paper_are_there(self) -> None:
        assert {arm.settings["agent"] for arm in METHODS.arms.values()} <= set(AGENTS)
        assert {"vpg", "ppo-ac-clip", "ppo-ac-kl", "ppo-a-kl", "trpo", "ppo-a-clip"} <= set(METHODS.arms)
        assert {"top1", "top5", "top10", "neg-rank", "inv-sqrt-rank", "inv-rank", "combined"} <= set(
            SWEEPS["rewards"].arms
        )

    def test_every_reward_of_the_paper_has_its_published_form(self) -> None:
        flat = {name: arm for name, arm in SWEEPS["rewards"].arms.items() if arm.named}
        assert len(flat) == 7
        for name, arm in flat.items():
            same = SWEEPS["rewards"].arms[name.removesuffix("-flat")]
            assert SWEEPS["rewards"].published_as([same_name := name.removesuffix("-flat")]) == {}
            assert SWEEPS["rewards"].published_as([same_name, name]) == {same_name: "", name: same_name}
            assert (arm.settings, arm.label, arm.set) == (
                same.settings,
                f"{same.label}, A = R",
                {"advantage": "reward"},
            )

    def test_published_values_stand_beside_the_published_forms(self) -> None:
        beside = {name: arm.published for name, arm in METHODS.arms.items() if arm.published != ""}
        assert beside["ppo-a-clip-flat"] == beside["ppo-a-clip-paper"] == "ppo-a-clip"
        assert {"vpg", "ppo-a-kl", "ppo-a-clip"}.isdisjoint(beside)
        assert all(METHODS.arms[name].set["advantage"] == "reward" for name in beside if name.endswith("-flat"))

    def test_the_letter_is_the_preset_with_the_papers_budget(self, common: dict[str, Any]) -> None:
        steps = 5 * 16 * 20 * 100  # of `full`, 100 drawings of 20 frames
        [letter] = [c for c in cells("methods", common | {"steps": steps}, [0], {}) if "ppo-a-clip-paper" in c.id]
        assert letter.settings["steps"] == 2000 * 20 * 100
        assert letter.settings["mode"] == "absolute"
        assert replace(PPOAClip.presets["default"], **letter.settings["set"]) == PPOAClip.presets["paper"]

    @pytest.mark.parametrize(("name", "of"), [("tuning", "methods"), ("rewards-tuning", "rewards")])
    def test_tuning_gives_every_arm_as_many_choices_and_looks_at_validation(
        self, name: str, of: str, common: dict[str, Any]
    ) -> None:
        grid = cells(name, common, [0], {})
        assert len(grid) == sum(not arm.ahead for arm in SWEEPS[of].arms.values()) * len(RATES)
        assert {cell.settings["split"] for cell in grid} == {"validation"}

    def test_an_arm_stands_for_all_its_step_sizes(self) -> None:
        for what, arm, advantage in (
            ("tuning", "vpg-flat", "reward"),
            ("rewards-tuning", "top1-flat", "reward"),
            ("baselines-tuning", "refined-b2", None),
        ):
            sweep, chosen = SWEEPS[what].joined([arm])
            assert chosen == [f"{arm}-{rate:g}" for rate in RATES]
            assert sweep.arms == SWEEPS[what].arms
            assert [sweep.arms[name].set["learning_rate"] for name in chosen] == list(RATES)
            assert {sweep.arms[name].set.get("advantage") for name in chosen} == {advantage}

    def test_what_runs_only_where_it_is_named_is_tuned_only_there(self) -> None:
        for what, of in (("tuning", METHODS), ("rewards-tuning", SWEEPS["rewards"])):
            named = {name for name, arm in of.arms.items() if arm.named}
            assert {name.rpartition("-")[0] for name, arm in SWEEPS[what].arms.items() if arm.named} == named

    def test_baselines_are_the_papers_and_tuned_alike(self, common: dict[str, Any]) -> None:
        assert {arm.published for arm in BASELINES.arms.values()} - {None} == set(PUBLISHED["Chair-V2"])
        trained = [name for name, arm in BASELINES.arms.items() if arm.trains]
        grid = cells("baselines-tuning", common, [0], {}, EVERY_KIND)
        assert len(grid) == len(trained) * len(RATES)
        assert {cell.settings["split"] for cell in grid} == {"validation"}

    def test_seeds_are_spread_over_the_encoders(self, common: dict[str, Any]) -> None:
        banks = {"complete": [{"bank": f"c{i}"} for i in range(3)], "random": [{"bank": "r0"}]}
        grid = {cell.id: cell.settings["bank"] for cell in cells("baselines", common, list(range(10)), {}, banks)}
        assert [grid[f"baselines/b3/seed-{seed}"] for seed in range(5)] == ["c0", "c1", "c2", "c0", "c1"]
        # nothing to train: one seed an encoder; no bank: no cell
        assert [cell for cell in grid if "/b1/" in cell] == [f"baselines/b1/seed-{seed}" for seed in range(3)]
        assert [cell for cell in grid if "/b2/" in cell] == ["baselines/b2/seed-0"]
        assert not [cell for cell in grid if "/ts/" in cell]

    def test_ids_are_readable_and_seeds_grow_together(self, common: dict[str, Any]) -> None:
        ids = [cell.id for cell in cells("rewards", common, [3, 4], {})]
        assert ids[0] == "rewards/top1/seed-3"
        assert ids[len(ids) // 2] == "rewards/top1/seed-4"

    def test_settings_go_to_the_agents_that_have_them(self, common: dict[str, Any]) -> None:
        grid = {cell.id: cell.settings["set"] for cell in cells("methods", common, [0], {"clip": 0.1, "episodes": 8})}
        assert grid["methods/ppo-a-clip/seed-0"] == {"clip": 0.1, "episodes": 8, "b1_penalty": 0.0}
        assert grid["methods/vpg/seed-0"] == {"episodes": 8, "b1_penalty": 0.0}
        assert grid["methods/ppo-ac-kl/seed-0"] == grid["methods/rank-softmax/seed-0"] == {"episodes": 8}
        assert grid["methods/ppo-a-clip-b1-penalty/seed-0"]["b1_penalty"] == 1

    def test_a_setting_of_one_arm_comes_before_that_of_all(self, common: dict[str, Any]) -> None:
        asked = {"grpo.learning_rate": 3e-3, "learning_rate": 1e-2, "trpo.target_kl": 0.09}
        grid = {cell.id: cell.settings["set"] for cell in cells("methods", common, [0], asked)}
        assert grid["methods/grpo/seed-0"] == {"learning_rate": 3e-3, "b1_penalty": 0.0}
        assert grid["methods/vpg/seed-0"] == {"learning_rate": 1e-2, "b1_penalty": 0.0}
        assert grid["methods/trpo/seed-0"].keys() == {"target_kl", "learning_rate"}
        assert grid["methods/trpo/seed-0"]["target_kl"] == 0.09
        grid = {cell.id: cell.settings["set"] for cell in cells("tuning", common, [0], {"vpg-0.001.episodes": 8})}
        assert grid["tuning/vpg-0.001/seed-0"] == {"learning_rate": 1e-3, "episodes": 8, "b1_penalty": 0.0}
        assert grid["tuning/vpg-0.003/seed-0"] == {"learning_rate": 3e-3, "b1_penalty": 0.0}


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
        return {**common, "seed": 0, "set": SMALL, "steps": 200, **more}

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

    @pytest.mark.parametrize("agent", ["ppo-a-clip", "ppo-ac-kl"])
    def test_a_log_goes_on_and_changes_no_result(self, common: dict[str, Any], tmp_path: Path, agent: str) -> None:
        settings = self.settings(common, agent=agent)
        plain, logged = tmp_path / "plain", tmp_path / "logged"
        plain.mkdir()
        logged.mkdir()
        expected = run(settings, plain, go_on)
        calls = iter([False, True])
        with pytest.raises(Interrupted):
            run({**settings, "logger": "csv"}, logged, lambda share, note: next(calls))
        found = run({**settings, "logger": "csv"}, logged, go_on)
        assert {**found, "seconds": 0} == {**expected, "seconds": 0}
        assert not (plain / "log").exists()
        logs = sorted((logged / "log").iterdir(), key=lambda path: len(path.name))
        rows = [row for log in logs for row in csv.DictReader(log.open())]
        steps = [int(row["time/total_timesteps"]) for row in rows]
        assert len(logs) == 2
        assert steps == sorted(set(steps))
        assert steps[-1] == found["steps"]

    def test_another_bank_is_refused(self, common: dict[str, Any], tmp_path: Path, refuses) -> None:
        with refuses(ConfigError, "has changed since"):
            run(self.settings(common, bank_sha256="0"), tmp_path, go_on)


@pytest.mark.usefixtures("no_figures", "forked_workers")
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
        (out / "methods" / "vpg" / "seed-0" / "agent.safetensors").unlink()
        (out / "methods" / "vpg" / "seed-0" / "result.json").unlink()
        assert main([*arguments, "--logger", "csv"]) == 0  # is no other grid
        repeated = json.loads((out / "methods" / "vpg" / "seed-0" / "result.json").read_text())
        assert {**repeated, "seconds": 0} == {**json.loads(before), "seconds": 0}
        assert [log.parent.parent.name for log in out.rglob("progress.csv")] == ["seed-0"]
        assert main([*arguments, "--passes", "2"]) == 2
        assert "steps" in capsys.readouterr().err

    def test_agents_and_rewards_of_others_are_arms(self, bank: Path, tmp_path: Path, monkeypatch, capsys) -> None:
        (tmp_path / "others.py").write_text(
            "from sketchless.agents import VPG\nclass Mine(VPG):\n    name = 'mine'\n"
            "def squared(rank, size):\n    return 1 / rank.double() ** 2\n"
        )
        about = tmp_path / "others-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text("[sketchless.agents]\nmine = others:Mine\n")
        monkeypatch.syspath_prepend(tmp_path)
        shared = ["--bank", str(bank), "--seeds", "0", "--passes", "0.5", "--workers", "1", "--set", "episodes=4"]
        methods = ["--arms", "ppo-a-clip", "mine", "--arms", "others:Mine", "--set", "others:Mine.samples=3"]
        assert main(["ablate", "methods", *shared, *methods, "--out", str(tmp_path / "m")]) == 0
        assert {"mine", "others:Mine"} <= set((tmp_path / "m" / "report" / "table.md").read_text().split(" "))
        found = {arm: settings(tmp_path / "m" / "methods" / arm) for arm in ("mine", "others:Mine")}
        assert (found["mine"]["samples"], found["others:Mine"]["samples"]) == (16, 3)
        rewards = ["--arms", "combined", "others:squared"]
        assert main(["ablate", "rewards", *shared, *rewards, "--out", str(tmp_path / "r")]) == 0
        assert "others:squared" in (tmp_path / "r" / "report" / "table.md").read_text()
        assert main(["ablate", "tuning", *shared, "--arms", "mine", "--out", str(tmp_path / "t")]) == 0
        grid = json.loads((tmp_path / "t" / "grid.json").read_text())
        assert grid["arms"] == [f"mine-{rate:g}" for rate in RATES]
        assert [settings(tmp_path / "t" / "tuning" / arm)["learning_rate"] for arm in grid["arms"]] == list(RATES)
        assert main(["ablate", "--arms", "mien"]) == 2
        assert "did you mean 'mine'" in capsys.readouterr().err

    def test_mode_observation_reward_and_environment_are_those_of_all_arms(self, tmp_path: Path, monkeypatch) -> None:
        grids: list[Any] = []
        monkeypatch.setattr("sketchless.benchmarks.commands.ablate.run_cells", lambda cells, *_: grids.append(cells))
        monkeypatch.setattr("sketchless.benchmarks.commands.report.report", lambda *_: None)
        asked = ["--reward", "inv-rank", "--mode", "absolute", "--observation", "embedding", "--env", "Strokes-v0"]
        assert main(["ablate", *asked, "--out", str(tmp_path / "grid")]) == 0
        for cell in grids[0]:
            expected = {"reward": "inv-rank", "mode": "absolute", "observation": "embedding"}
            expected |= {"env": "sketchless/Strokes-v0", "bank": "procedural-strokes"}
            assert {name: cell.settings[name] for name in expected} == expected
        assert command_of(AblateConfig(mode="absolute", env="sketchless/Strokes-v0")) == (
            "sketchless ablate methods --mode absolute --env sketchless/Strokes-v0"
        )

    def test_a_grid_says_that_a_program_drew_the_chairs(self, bank: Path, tmp_path: Path, monkeypatch) -> None:
        told: list[list[str]] = []
        monkeypatch.setattr("sketchless.benchmarks.commands.ablate.run_cells", lambda *run: run[-1](None))
        monkeypatch.setattr(
            "sketchless.benchmarks.commands.ablate._claim", lambda _, about: told.append(about["remarks"])
        )
        monkeypatch.setattr("sketchless.benchmarks.commands.report.report", lambda *_: None)
        for more in ([], ["--bank", str(bank)]):
            assert main(["ablate", *more, "--out", str(tmp_path / "grid")]) == 0
        assert (told[0][-1], PROXY in told[1]) == (PROXY, False)

    @pytest.mark.parametrize("env", ["Carry-v0", "Stop-v0?scale=0.1", "OnTheFly-v0"])
    def test_the_arms_are_those_that_the_task_can_have(self, env: str, tmp_path: Path, monkeypatch, capsys) -> None:
        grids: list[Any] = []
        monkeypatch.setattr("sketchless.benchmarks.commands.ablate.run_cells", lambda cells, *_: grids.append(cells))
        monkeypatch.setattr("sketchless.benchmarks.commands.report.report", lambda *_: None)
        assert main(["ablate", "--env", env, "--seeds", "0", "--out", str(tmp_path / "grid")]) == 0
        arms = {cell.id.split("/")[1] for cell in grids[0]}
        bandit, printed = env.startswith("OnTheFly"), capsys.readouterr().out
        assert ({"gru", "per-step", "gamma-0"} <= arms) is not bandit
        assert ("rank-softmax" in arms) is bandit
        assert bandit or "ppo-a-clip-paper" not in arms
        assert ("left out: rank-softmax (no RL); rank-softmax learns frame by frame" in printed) is not bandit
        assert ("has no mode 'absolute'" in printed) is not bandit
        assert {cell.settings.get("env") for cell in grids[0]} == {None if bandit else f"sketchless/{env}"}

    def test_tasks_in_which_actions_matter_have_no_summed_credit_and_say_what_is_not_tuned(
        self, tmp_path: Path, monkeypatch, capsys
    ) -> None:
        told: list[Any] = []
        monkeypatch.setattr("sketchless.benchmarks.commands.ablate.run_cells", lambda cells, *run: run[-1](None))
        monkeypatch.setattr("sketchless.benchmarks.commands.ablate._claim", lambda _, about: told.append(about))
        monkeypatch.setattr("sketchless.benchmarks.commands.report.report", lambda *_: None)
        for what in ("design", "knobs"):
            asked = ["ablate", what, "--env", "Carry-v0", "--seeds", "0", "--out", str(tmp_path / what)]
            assert main(asked) == 0
        printed = capsys.readouterr().out
        assert "left out: gamma2 = 10, summed credit; credit='summed' with gamma=1" in printed
        assert "gamma2-ten-summed" not in told[0]["arms"]
        assert "trpo-11" in told[1]["arms"]
        assert any("Discount and lambda, which matter in this task" in remark for remark in told[1]["remarks"])

    def test_arms_without_a_bank_are_named_before_the_cells_run(
        self, bank: Path, tmp_path: Path, monkeypatch, capsys
    ) -> None:
        monkeypatch.setattr("sketchless.benchmarks.commands.ablate.run_cells", lambda *_: print("cells run"))
        monkeypatch.setattr("sketchless.benchmarks.commands.report.report", lambda *_: None)
        given = ["ablate", "baselines", "--bank", str(bank), "--passes", "0.2", "--out", str(tmp_path / "grid")]
        assert main([*given, "--arms", "b1", "refined"]) == 0
        assert "left out" not in capsys.readouterr().out
        assert main(given) == 0
        before = capsys.readouterr().out.split("cells run")[0].splitlines()
        lines = [line for line in before if line.startswith("left out: ")]
        assert [line.split(",")[0].removeprefix("left out: ") for line in lines] == ["b2", "ts", "b1-sketch-a-net"]
        for line, how in zip(lines, ("--frames random", "--complete", "--encoder sketch-a-net"), strict=True):
            assert f"sketchless encode {how} " in line
        assert "--banks random=" in lines[0]

    def test_baselines_on_several_banks_grow_with_them(self, bank: Path, make_bank, tmp_path: Path, capsys) -> None:
        other = save_as(tmp_path / "other" / "bank.safetensors", make_bank, weights=7)
        out = tmp_path / "grid"
        common = ["ablate", "baselines", "--seeds", "0-1", "--passes", "0.2", "--workers", "1", "--out", str(out)]
        common += ["--set", "episodes=4", "--arms", "b1", "b3", "refined"]
        assert main([*common, "--banks", f"complete={bank},{other}"]) == 0
        printed = capsys.readouterr().out
        assert "B1: complete sketches" in printed
        assert "B1 (no refinement)" not in printed
        table = (out / "report" / "table.md").read_text()
        assert "Left out, as no bank of their kind was given" in table
        assert "76.47" in table  # the published A@5 of B1
        page = (out / "report" / "report.html").read_text()
        assert "the published value by the 95 % interval" in page
        grid = json.loads((out / "grid.json").read_text())
        assert "ts" not in grid["arms"]
        assert str(tmp_path) not in "".join(p.read_text() for p in out.rglob("*.json"))
        before = (out / "baselines" / "b3" / "seed-1" / "result.json").read_bytes()
        assert main([*common, "ts", "--banks", f"complete={bank},{other}", f"completed={other}"]) == 0
        assert (out / "baselines" / "b3" / "seed-1" / "result.json").read_bytes() == before
        assert "TS: complete" in (out / "report" / "table.md").read_text()
        assert main(["report", str(out), "--out", str(tmp_path / "again")]) == 0
        again = (tmp_path / "again" / "table.csv").read_bytes()
        assert again == (out / "report" / "table.csv").read_bytes()

    @pytest.mark.parametrize(
        ("kind", "said", "match"),
        [
            ("complete", {"stage1": {"frames": "random"}}, "an encoder trained on random frames; complete= stands for"),
            ("random", {"stage1": {"frames": "complete"}}, "an encoder trained on complete frames; random= stands for"),
            ("complete", {"completion": {}}, "frames that were completed"),
            ("completed", {"stage1": None}, "frames as they were drawn"),
            ("sketch-a-net", {"encoder": {"backbone": "zse"}}, "the encoder zse; sketch-a-net= stands for"),
        ],
    )
    def test_a_bank_that_says_it_is_of_another_kind_is_refused(
        self, make_bank, tmp_path: Path, capsys, kind: str, said: dict[str, Any], match: str
    ) -> None:
        banks = {split: make_bank(n=9, steps=6) for split in ("train", "validation", "test")}
        for one in banks.values():
            object.__setattr__(one, "provenance", {"encoder": {"backbone": "sketch-a-net"}, **said})
        save_banks(tmp_path / "bank.safetensors", banks)
        out = tmp_path / "grid"
        arguments = ["ablate", "baselines", "--banks", f"{kind}={tmp_path / 'bank.safetensors'}", "--out", str(out)]
        assert main(arguments) == 2
        assert match in capsys.readouterr().err
        assert not out.exists()

    def test_banks_of_other_drawings_are_refused(self, bank: Path, make_bank, tmp_path: Path, capsys) -> None:
        banks = {split: make_bank(n=7, steps=6) for split in ("train", "validation", "test")}
        save_banks(tmp_path / "other.safetensors", banks)
        arguments = ["ablate", "baselines", "--banks", f"complete={bank}", f"random={tmp_path / 'other.safetensors'}"]
        assert main([*arguments, "--out", str(tmp_path / "grid")]) == 2
        assert "has other drawings or photos" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (["ablate", "method"], "did you mean 'methods'"),
            (["ablate", "--preset", "fast"], "choose"),
            (["ablate", "--arms", "vgp"], "did you mean 'vpg'"),
            (["ablate", "--arms", "vpg", "no_such:Agent"], "cannot be imported"),
            (["ablate", "rewards", "--arms", "stable_baselines3:PPO"], "reward"),
            (["ablate", "design", "--arms", "vpg"], "unknown arm 'vpg'"),
            (["ablate", "tuning", "--arms", "b1"], "arm 'b1': has nothing to train, and so no step size"),
            (["ablate", "--env", "Stroke-v0"], "did you mean 'sketchless/Strokes-v0'"),
            (["ablate", "--mode", "residul"], "did you mean 'residual'"),
            (["ablate", "--observation", "feat"], "did you mean 'feature'"),
            (["ablate", "--reward", "inv-rnk"], "did you mean 'inv-rank'"),
            (["ablate", "rewards", "--reward", "inv-rank"], "every arm of rewards has its own"),
            (["ablate", "--agent", "vpg"], "every arm of methods has its own"),
            (["ablate", "design", "--reward", "inv-rank"], "arm gamma2-large: gamma2: belongs to the reward combined"),
            (["ablate", "--passes", "-1"], "above 0"),
            (["ablate", "--passes", "0"], "above 0"),
            (["ablate", "--passes", "inf"], "finite"),
            (["ablate", "--seeds", "1-0"], "empty"),
            (["ablate", "--seeds", ""], "give numbers"),
            (["ablate", "rewards", "--agent", "stable_baselines3:PPO"], "no subclass"),
            (
                ["ablate", "design", "--agent", "grpo", "--arms", "default", "flat-reward"],
                "arm flat-reward: advantage: agent grpo",
            ),
            (
                ["ablate", "design", "--agent", "rank-softmax", "--arms", "gamma2-large"],
                "arm gamma2-large: gamma2: agent",
            ),
            (
                ["ablate", "design", "--agent", "rank-softmax", "--arms", "sigma-small"],
                "arm sigma-small: init_log_std: agent",
            ),
            (["ablate", "methods", "--set", "_unread=3"], "unknown setting '_unread'"),
            (
                ["ablate", "design", "--agent", "mgal", "--arms", "sigma-fixed"],
                "arm sigma-fixed: train_log_std: agent mgal",
            ),
            (
                ["ablate", "design", "--agent", "b1", "--arms", "default", "memory"],
                "--agent b1: it has nothing to train",
            ),
            (["ablate", "rewards", "--agent", "rank-softmax"], "--agent rank-softmax: it learns from no reward"),
            (
                ["ablate", "rewards-tuning", "--agent", "frame-triplet"],
                "--agent frame-triplet: it learns from no reward",
            ),
            (["ablate", "rewards", "--agent", "trpo", "--arms", "top1", "top1-flat"], "agent trpo does not read it"),
            (["ablate", "--set", "episodes"], "name=value"),
            (
                ["ablate", "--env", "Stop-v0", "--arms", "rank-softmax"],
                "learns frame by frame, the task 'stop' does not",
            ),
            (["ablate", "knobs", "--env", "Stop-v0"], "knobs chooses settings by validation m@B, and this task is"),
            (["ablate", "design", "--env", "Carry-v0", "--arms", "gamma2-ten-summed"], "count thrice"),
            (["ablate", "--set", "grpo.policy=attention-unmasked"], "arm grpo: policy=attention-unmasked (Unmasked"),
            (["ablate", "design", "--set", "policy=lstm-both-ways"], "looks at later frames and cannot act"),
            (["ablate", "knobs", "--arms", "vpg-3", "--set", "policy=lstm-both-ways"], "arm vpg-3: policy=lstm"),
            (["ablate", "leak", "--set", "mgal.policy=attention-unmasked"], "arm mgal: policy=attention-unmasked"),
            (["ablate", "leak", "--bank", "procedural-strokes"], "it needs drawings of equal length"),
            (["ablate", "--logger", "cvs"], "did you mean 'csv'"),
            (["ablate", "baselines", "--banks", "randon=a"], "did you mean 'random'"),
            (["ablate", "baselines", "--banks", "random="], "want a kind and its files"),
            (["ablate", "baselines", "--arms", "ts"], "give --banks completed="),
            (["ablate", "methods", "--banks", "random=a"], "no arm of methods"),
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

    def test_arms_with_an_agent_of_others_that_looks_ahead_are_refused(
        self, bank: Path, tmp_path: Path, monkeypatch, capsys
    ) -> None:
        (tmp_path / "peeking.py").write_text(
            "from sketchless.agents import VPG, UnmaskedAttentionGaussianPolicy\n"
            "class Peek(VPG):\n    name = 'peek'\n    def setup(self):\n"
            "        widths = self.core.observation_dim, self.core.action_dim\n"
            "        self.policy = UnmaskedAttentionGaussianPolicy(*widths, 6)\n"
            "        super().setup()\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        out = tmp_path / "grid"
        for what in ("methods", "tuning"):
            assert main(["ablate", what, "--bank", str(bank), "--arms", "peeking:Peek", "--out", str(out)]) == 2
            error = capsys.readouterr().err.strip()
            assert "(UnmaskedAttentionGaussianPolicy): looks at later frames" in error
            assert "\n" not in error
        assert not out.exists()

    def test_arms_that_would_be_alike_are_left_out_where_nobody_named_them(
        self, bank: Path, tmp_path: Path, monkeypatch, capsys
    ) -> None:
        grids: list[Any] = []
        monkeypatch.setattr("sketchless.benchmarks.commands.ablate.run_cells", lambda cells, *_: grids.append(cells))
        monkeypatch.setattr("sketchless.benchmarks.commands.report.report", lambda *_: None)
        given = ["--agent", "rank-softmax", "--bank", str(bank), "--out", str(tmp_path / "grid")]
        assert main(["ablate", "design", *given]) == 0
        arms = {cell.id.split("/")[1] for cell in grids[0]}
        alike = {"flat-reward", "batch-mean", "gamma2-large", "gamma2-ten", "gamma2-ten-summed", "tau-counts"}
        alike |= {"sigma-small", "sigma-large", "sigma-fixed", "noise"}  # the last for want of its bank
        assert arms == set(SWEEPS["design"].arms) - alike
        assert "left out: gamma2 = 1; gamma2: agent rank-softmax does not read it" in " ".join(
            capsys.readouterr().out.split()
        )

    def test_those_that_look_ahead_are_arms_of_leak(self, bank: Path, tmp_path: Path, monkeypatch) -> None:
        grids: list[Any] = []
        monkeypatch.setattr("sketchless.benchmarks.commands.ablate.run_cells", lambda cells, *_: grids.append(cells))
        monkeypatch.setattr("sketchless.benchmarks.commands.report.report", lambda *_: None)
        assert main(["ablate", "leak", "--bank", str(bank), "--out", str(tmp_path / "grid")]) == 0
        assert {cell.id.split("/")[1] for cell in grids[0]} == set(SWEEPS["leak"].arms)

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (["--set", "episode=32"], "did you mean 'episodes'"),
            (["--set", "lr=0.1"], "did you mean 'learning_rate'"),
            (["--set", "batch=8"], "did you mean 'episodes'"),
            (["--set", "episodes=abc"], "want type int"),
            (["--set", "episodes=0"], "above 0"),
            (["--set", "seed=3"], "give --seeds"),
            (["--set", "vpg.seed=3"], "give --seeds"),
            (["--set", "vgp.episodes=3"], "did you mean 'vpg'"),
            (["--set", "vpg.clip=0.1"], "unknown setting 'clip'"),
            (["--arms", "vpg", "--set", "trpo.episodes=3"], "unknown arm 'trpo'"),
            (["--workers", "0"], "at least 1"),
            (["--executor", "slurm"], "choose"),
            (["--gpus", "-1"], "0 or above"),
            (["--arms", "vpg", "--set", "clip=0.1"], "unknown setting 'clip'"),
            (["rewards", "--agent", "vpg", "--set", "clip=0.1"], "unknown setting 'clip'"),
        ],
    )
    def test_a_setting_that_no_agent_could_have_is_refused_before_anything_is_written(
        self, arguments: list[str], match: str, tmp_path: Path, capsys
    ) -> None:
        out = tmp_path / "grid"
        assert main(["ablate", *arguments, "--out", str(out)]) == 2
        error = capsys.readouterr().err.strip()
        assert match in error
        assert "\n" not in error
        assert not out.exists()
