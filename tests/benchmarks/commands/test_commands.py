"""The command line as a user meets it, on small banks."""

from __future__ import annotations

import contextlib
import csv
import importlib.metadata
import io
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import torch
from PIL import Image

from sketchless.agents import AGENTS, PPOAClip
from sketchless.benchmarks.ablation.sweep import SWEEPS
from sketchless.benchmarks.cli import COMMANDS, main
from sketchless.benchmarks.commands import encode
from sketchless.benchmarks.commands.encode import EncodeConfig
from sketchless.benchmarks.display.tables import PROXY
from sketchless.benchmarks.metrics import METRICS, evaluate
from sketchless.benchmarks.reporting.figures import pictures
from sketchless.benchmarks.reporting.results import read_grid
from sketchless.datasets.files import sha256
from sketchless.encoders import EpisodeBank, save_banks
from sketchless.encoders.tensorfile import load_tensors
from sketchless.envs import REWARDS, StopCore

FAST = ["--set", "episodes=4", "samples=2", "eval_every=2"]


@pytest.fixture
def bank(make_bank, tmp_path: Path) -> Path:
    banks = {split: make_bank(n=9, steps=6, seed=i) for i, split in enumerate(("train", "validation", "test"))}
    head = banks["train"]
    for name in ("validation", "test"):
        object.__setattr__(banks[name], "weight", head.weight)
        object.__setattr__(banks[name], "bias", head.bias)
    save_banks(tmp_path / "bank.safetensors", banks)
    return tmp_path / "bank.safetensors"


def train(bank: Path, out: Path, *more: str) -> int:
    return main(["train", "--bank", str(bank), "--out", str(out), "--passes", "3", *more, *FAST])


class TestPictures:
    def test_writes_a_whole_run_and_evaluate_repeats_it(self, bank: Path, tmp_path: Path, capsys) -> None:
        out = tmp_path / "run"
        assert train(bank, out, "--seeds", "0-1") == 0
        printed = capsys.readouterr().out
        assert "B1 against ppo-a-clip" in printed
        assert "no animation" in printed  # this bank does not say what it was made from
        names = {p.name for p in out.glob("[!.]*")} - {"log"}  # of TensorBoard, where it is installed
        assert names == {
            "manifest.json", "grid.json", "results.json", "ranks.safetensors", "curves.png", "falls.png",
            "agent-0.safetensors", "agent-1.safetensors", "learning-0.png", "learning-1.png",
        }  # fmt: skip
        results = json.loads((out / "results.json").read_text())
        assert results["mean"]["m@B"] == pytest.approx(np.mean([results["refined"][s]["m@B"] for s in "01"]))
        assert results["change"]["m@B"]["mean"] == pytest.approx(results["mean"]["m@B"] - results["baseline"]["m@B"])
        assert str(tmp_path) not in (out / "manifest.json").read_text()
        assert main(["evaluate", str(out)]) == 0
        assert "equal to results.json" in capsys.readouterr().out

    @pytest.mark.parametrize("how", ["stop", "raise"])
    def test_nothing_that_fails_in_a_picture_loses_the_results(
        self, bank: Path, tmp_path: Path, monkeypatch, capsys, how: str
    ) -> None:
        def fails(path: Path, *_: object) -> None:
            assert (path.parent / "results.json").exists()
            assert (path.parent / "ranks.safetensors").exists()
            if how == "stop":
                os.kill(os.getpid(), signal.SIGTERM)
            else:
                raise KeyError("[/] in a path")

        out = tmp_path / "a [/] b"
        with monkeypatch.context() as patch:
            patch.setattr("sketchless.benchmarks.display.plots.curves", fails)
            assert train(bank, out) == 0
        printed = capsys.readouterr().out
        missing = "no animation: stopped" if how == "stop" else "no curves: '[/] in a path'"
        assert missing in printed
        assert (out / "learning-0.png").exists() == (how == "raise")
        assert main(["evaluate", str(out)]) == 0


@pytest.mark.usefixtures("no_plots")
class TestTrain:
    def test_says_when_lists_are_shown(self, bank: Path, tmp_path: Path, capsys, monkeypatch) -> None:
        name = "sketchless.benchmarks.commands.report.pictures"  # of a report's figures the one that is looked at
        monkeypatch.setattr(name, lambda found: [one for one in pictures(found) if one.name == "shown"])
        out, env = tmp_path / "run", "Stop-v0?stroke_cost=0.05"
        assert train(bank, out, "--seeds", "0-1", "--env", env, "--reward", "inv-rank") == 0
        assert "When the list is shown; a stroke costs 5" in capsys.readouterr().out
        stopping = json.loads((out / "results.json").read_text())["stopping"]
        assert [name[:8] for name in stopping] == ["seed 0", "seed 1", "B1, show", "B1, show"]
        agent = PPOAClip.load(out / "agent-0.safetensors", StopCore(EpisodeBank.load(bank, "train"), stroke_cost=0.05))
        found = evaluate(agent, EpisodeBank.load(bank, "test")).stopping
        assert found is not None
        assert stopping["seed 0"] == pytest.approx(found.summary())
        assert main(["evaluate", str(out)]) == 0
        printed = capsys.readouterr().out
        assert "When the list is shown" in printed
        assert "equal to results.json" in printed
        assert main(["report", str(out)]) == 0
        page, table = ((out / "report" / name).read_text() for name in ("report.html", "table.md"))
        assert "<h2>When the list is shown</h2>" in page
        assert (out / "report" / "shown.png").is_file()
        row = next(line for line in table.splitlines() if line.startswith("| ppo-a-clip | 5 |"))
        mean = (stopping["seed 0"]["return"] + stopping["seed 1"]["return"]) / 2
        assert f"| {mean:.2f} ".replace("-", "−") in row
        assert "sketchless/Stop-v0?stroke_cost=0.05" in read_grid(out).example.settings["env"]

    @pytest.mark.parametrize(
        ("env", "told"),
        [
            ("Stop-v0?stroke_cost=-1", "environment sketchless/Stop-v0?stroke_cost=-1: stroke_cost=-1"),
            ("Stop-v0?decay=0.5", "decay=0.5: the task 'stop' does not have it"),
            ("Stop-v0?stroke_cost", "write it as name=value"),
            ("Stopp-v0", "unknown environment 'Stopp-v0'"),
        ],
    )
    def test_refuses_an_environment_that_there_is_not(self, bank: Path, env: str, told: str, tmp_path, capsys) -> None:
        assert train(bank, tmp_path / "run", "--env", env) == 2
        assert told in capsys.readouterr().err

    def test_same_seed_same_results(self, bank: Path, tmp_path: Path) -> None:
        runs = []
        for name in ("a", "b"):
            assert train(bank, tmp_path / name) == 0
            results = json.loads((tmp_path / name / "results.json").read_text())
            runs.append({k: v for k, v in results.items() if k != "seconds"})
        assert runs[0] == runs[1]

    @pytest.mark.parametrize("threads", [1, 2])
    def test_seeds_side_by_side_are_what_each_is_alone(self, bank: Path, tmp_path: Path, threads: int) -> None:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            assert train(bank, tmp_path / "all", "--seeds", "4,0,7") == 0
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
        for seed in ("4", "0", "7"):
            assert train(bank, tmp_path / seed, "--seeds", seed) == 0
            one, every = (load_tensors(tmp_path / run / f"agent-{seed}.safetensors", "agent") for run in (seed, "all"))
            assert all(torch.equal(tensor, every[0][name]) for name, tensor in one[0].items())
            assert one[1] == every[1]

    @pytest.mark.parametrize("seeds", ["0", "0-2"])
    def test_interrupted_and_repeated_ends_as_if_never_stopped(
        self, bank: Path, tmp_path: Path, capsys, monkeypatch, seeds: str
    ) -> None:
        signals = iter([signal.SIGINT])

        def save_and_interrupt(agent: PPOAClip, path: Path, save=PPOAClip.save) -> None:
            save(agent, path)
            if agent.n_updates == 7:
                for number in signals:
                    signal.raise_signal(number)

        assert train(bank, tmp_path / "whole", "--passes", "6", "--seeds", seeds) == 0
        with monkeypatch.context() as on_the_way:
            on_the_way.setattr("sketchless.benchmarks.training.SECONDS_BETWEEN_SAVES", 0.0)
            on_the_way.setattr(PPOAClip, "save", save_and_interrupt)
            assert train(bank, tmp_path / "cut", "--passes", "6", "--seeds", seeds) == 130
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert message.startswith("sketchless: stopped at")
        assert "goes on" in message
        assert train(bank, tmp_path / "cut", "--passes", "6", "--seeds", seeds) == 0
        whole, cut = (json.loads((tmp_path / n / "results.json").read_text()) for n in ("whole", "cut"))
        assert whole["refined"] == cut["refined"]
        assert whole["validation"] == cut["validation"]
        assert not list((tmp_path / "cut").glob("*.part.*"))

    @pytest.mark.parametrize("seeds", ["0", "0-2"])
    def test_killed_and_repeated_ends_as_if_never_killed(
        self, bank: Path, tmp_path: Path, monkeypatch, seeds: str
    ) -> None:
        """What a kill leaves is the last checkpoint written on the way."""

        class Killed(BaseException):
            pass

        def save_then_die(agent: PPOAClip, path: Path, save=PPOAClip.save) -> None:
            save(agent, path)
            if agent.n_updates == 7:
                raise Killed

        assert train(bank, tmp_path / "whole", "--passes", "6", "--seeds", seeds) == 0
        monkeypatch.setattr("sketchless.benchmarks.training.SECONDS_BETWEEN_SAVES", 0.0)
        with monkeypatch.context() as dying:
            dying.setattr(PPOAClip, "save", save_then_die)
            with pytest.raises(Killed):
                train(bank, tmp_path / "cut", "--passes", "6", "--seeds", seeds)
        assert train(bank, tmp_path / "cut", "--passes", "6", "--seeds", seeds) == 0
        whole, cut = (json.loads((tmp_path / n / "results.json").read_text()) for n in ("whole", "cut"))
        assert whole["refined"] == cut["refined"]
        assert whole["validation"] == cut["validation"]

    def test_logger_writes_the_same_keys_for_actor_only_and_actor_critic(self, bank: Path, tmp_path: Path) -> None:
        keys = []
        for agent in ("vpg", "trpo"):
            assert train(bank, tmp_path / agent, "--agent", agent, "--logger", "csv") == 0
            keys.append(
                set((tmp_path / agent / "log" / "seed-0" / "progress.csv").read_text().splitlines()[0].split(","))
            )
        assert {"rollout/rank", "train/approx_kl", "train/entropy", "train/std", "eval/m_at_b"} <= keys[0] & keys[1]

    def test_a_log_is_not_lost_when_training_goes_on(self, bank: Path, tmp_path: Path, monkeypatch) -> None:
        def stop(agent: PPOAClip) -> Any:
            os.kill(os.getpid(), signal.SIGINT)
            return before(agent)

        before = PPOAClip.collect
        with monkeypatch.context() as patch:
            patch.setattr(PPOAClip, "collect", stop)
            assert train(bank, tmp_path / "run", "--logger", "csv") == 130
        assert train(bank, tmp_path / "run", "--logger", "csv") == 0
        logs = sorted((tmp_path / "run" / "log" / "seed-0").iterdir())
        rows = [len(log.read_text().splitlines()) - 1 for log in logs]
        assert [log.name for log in logs] == ["progress-48.csv", "progress.csv"]
        assert (rows[1], sum(rows)) == (1, 7)  # 3 passes of 9 drawings, 4 at a time

    def test_a_stop_after_training_is_one_as_well(self, bank: Path, tmp_path: Path, monkeypatch, capsys) -> None:
        def stop(agent: Any, bank: Any) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            return evaluate(agent, bank)

        with monkeypatch.context() as patch:
            patch.setattr("sketchless.benchmarks.commands.train.evaluate", stop)
            assert train(bank, tmp_path / "run", "--seeds", "0-1") == 130
        assert "the same command with --out" in capsys.readouterr().err
        assert not (tmp_path / "run" / "results.json").exists()
        assert train(bank, tmp_path / "run", "--seeds", "0-1") == 0

    def test_a_bank_whose_provenance_is_nonsense_costs_the_animation_only(
        self, bank: Path, tmp_path: Path, capsys
    ) -> None:
        banks = {split: EpisodeBank.load(bank, split) for split in ("train", "validation", "test")}
        for number, said in enumerate(({"data": 3}, {"data": {"name": ["$x"], "root": 7}}, {"encoder": None})):
            for one in banks.values():
                object.__setattr__(one, "provenance", said)
            save_banks(tmp_path / "bad.safetensors", banks)
            assert train(tmp_path / "bad.safetensors", tmp_path / f"run-{number}") == 0
            assert "no animation: " in capsys.readouterr().out
            assert (tmp_path / f"run-{number}" / "results.json").exists()

    @pytest.mark.usefixtures("no_figures")
    def test_a_run_is_a_grid_of_one_arm(self, bank: Path, tmp_path: Path, capsys) -> None:
        assert train(bank, tmp_path / "run", "--seeds", "0-1") == 0
        results = json.loads((tmp_path / "run" / "results.json").read_text())
        grid = read_grid(tmp_path / "run")
        assert grid.arms == {"ppo-a-clip": "ppo-a-clip"}
        for seed, cell in grid.cells["ppo-a-clip"].items():
            assert cell.evaluation.m_at_b == results["refined"][str(seed)]["m@B"]
            assert cell.b1 is not None
            assert cell.b1.m_at_b == results["baseline"]["m@B"]
            looks = [row["val_m_at_b"] for row in results["validation"][str(seed)]]
            assert cell.history[:, 1].tolist() == [round(value, 4) for value in looks]
        assert main(["report", str(tmp_path / "run")]) == 0
        with (tmp_path / "run" / "report" / "table.csv").open() as table:
            rows = {row["arm"]: row for row in csv.DictReader(table)}
        assert float(rows["ppo-a-clip"]["m@B"]) == pytest.approx(results["mean"]["m@B"], abs=1e-6)

    def test_chairs_that_a_program_draws_are_told_apart(self, bank: Path, tmp_path: Path, capsys) -> None:
        assert train(bank, tmp_path / "mine", "--no-gif") == 0
        assert PROXY not in " ".join(capsys.readouterr().out.split())
        assert main(["train", "--agent", "vpg", "--passes", "0.1", *FAST, "--out", str(tmp_path / "run")]) == 0
        assert PROXY in " ".join(capsys.readouterr().out.split())

    @pytest.mark.usefixtures("no_figures")
    def test_without_validation_drawings_that_is_said(self, bank: Path, tmp_path: Path, capsys) -> None:
        save_banks(tmp_path / "two.safetensors", {s: EpisodeBank.load(bank, s) for s in ("train", "test")})
        assert train(tmp_path / "two.safetensors", tmp_path / "run", "--no-gif") == 0
        said = " ".join(capsys.readouterr().out.split())
        assert "The bank has no validation drawings: the policy of the last update was taken" in said
        assert "nan" not in said
        assert train(bank, tmp_path / "other", "--no-gif") == 0
        assert "no validation drawings" not in " ".join(capsys.readouterr().out.split())

    def test_logger_tensorboard_says_what_to_install(self, bank: Path, tmp_path: Path, capsys, monkeypatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert train(bank, tmp_path / "run", "--logger", "tensorboard") == 2
        assert 'pip install "sketchless[tensorboard]"' in capsys.readouterr().err

    def test_paper_preset_runs(self, bank: Path, tmp_path: Path) -> None:
        assert (
            main(["train", "--bank", str(bank), "--out", str(tmp_path / "p"), "--preset", "paper", "--passes", "2"])
            == 0
        )
        assert json.loads((tmp_path / "p" / "results.json").read_text())["settings"]["init_log_std"] == 0.0


def test_encode_train_evaluate_on_procedural_chairs(tmp_path: Path, monkeypatch, capsys) -> None:
    """The whole way on a tiny set: pixels to policy, with its pictures."""
    from sketchless.datasets import loading, procedural

    def few(seed: int = 0, validation: int = 2):
        return procedural(seed=seed, train=8, test=4, validation=validation, drawers=1)

    monkeypatch.setitem(loading.DATASETS, "procedural", few)
    monkeypatch.setattr("sketchless.envs.rendering.camera.dataset_of", lambda bank: few())
    monkeypatch.setattr("sketchless.benchmarks.display.episode.dataset_of", lambda bank: few())
    small = ["--validation", "2", "--epochs", "2", "--steps", "5", "--variants", "1", "--batch", "4"]
    assert main(["encode", *small, "--out", str(tmp_path / "e")]) == 0
    bank = tmp_path / "e" / "bank.safetensors"
    assert main(["evaluate", str(bank)]) == 0
    assert train(bank, tmp_path / "t") == 0
    with Image.open(tmp_path / "t" / "episode.gif") as animation:
        assert animation.n_frames > 1
    again = [
        "encode",
        "--load",
        str(tmp_path / "e" / "encoder.safetensors"),
        "--reveal",
        "strokes",
        "--half",
        "--validation",
        "2",
    ]
    assert main([*again, "--out", str(tmp_path / "s")]) == 0
    assert "validation" in capsys.readouterr().out
    told = json.loads((tmp_path / "s" / "results.json").read_text())["baseline"]["test"]
    written = evaluate(None, EpisodeBank.load(tmp_path / "s" / "bank.safetensors", "test")).summary()
    assert {metric: told[metric] for metric in written} == written  # of the rounded features, which are what there is
    settings = json.loads((tmp_path / "s" / "manifest.json").read_text())["config"]
    assert (settings["encoder"], settings["epochs"], settings["reveal"]) == (None, None, "strokes")  # it has had those


@pytest.mark.usefixtures("no_plots")
class TestBadInput:
    """One line, the right exit code, no traceback."""

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (["trian"], "did you mean 'train'"),
            (["dram"], "did you mean 'draw'"),
            (["train", "--set", "samples=2", "--set", "samples=3"], "samples is given twice"),
            (["train", "--sed", "3"], "did you mean --se"),
            (["train", "--passes", "many"], "--passes"),
            (["train", "--passes", "-1"], "above 0"),
            (["train", "--passes", "inf"], "finite"),
            (["train", "--seeds", "99999999999999999999"], "below 2^63"),
            (["train", "--seeds", "0-99999999999"], "10,000 at most"),
            (["train", "--agent", "stable_baselines3:PPO"], "no subclass"),
            (["train", "--agent", "ppo-ac-clip", "--set", "critic=(-1,)"], "widths must be above 0"),
            (["train", "--set", "seed=5"], "give --seeds"),
            (["train", "--set", "validation=3"], "unknown setting of ppo-a-clip: 'validation'"),
            (["train", "--set", "device=cpu"], "unknown setting of ppo-a-clip: 'device'"),
            (["train", "--agent", "ppo-b-clip"], "did you mean 'ppo-a-clip'"),
            (["train", "--preset", "papr"], "did you mean 'paper'"),
            (["train", "--reward", "inv-rnk"], "did you mean 'inv-rank'"),
            (["train", "--mode", "residul"], "did you mean 'residual'"),
            (["train", "--observation", "feat"], "did you mean 'feature'"),
            (["train", "--seeds", "9-0"], "empty"),
            (["train", "--set", "learning_rat=1"], "did you mean 'learning_rate'"),
            (["train", "--set", "learning_rate=fast"], "want type float"),
            (["train", "--set", "mean_norm=abc"], "want type float"),
            (["train", "--set", "mean_norm=0"], "above 0"),
            (["train", "--set", "learning_rate"], "name=value"),
            (["train", "--set", "learning_rate=-1.0"], "above 0"),
            (["train", "--device", "cuda:99"], "cuda:99"),
            (["train", "--device", "tpu"], "auto, cpu or cuda"),
            (["train", "--bank", "no/such.safetensors"], "no such file"),
            (["train", "--bank", "procedural-encoder"], "unknown bank"),
            (["evaluate", "no-such-run"], "unknown bank"),
            (["evaluate", "no/such/run"], "no such run folder or bank file"),
            (["evaluate", "no/such/run", "--task", "inter"], "no such encode run or encoder file"),
            (["report"], "sketchless report FOLDER"),
            (["encode", "--encoder", "small-cn"], "did you mean 'small-cnn'"),
            (["encode", "--dataset", "procedurl"], "did you mean 'procedural'"),
            (["encode", "--dataset", "no/such/folder"], "no such folder"),
            (["encode", "--loss", "tripl"], "did you mean 'triplet'"),
            (["encode", "--load", "no/such.safetensors"], "no such file"),
            (["info", "--sheet", "no.png", "--split", "tst"], "did you mean 'test'"),
        ],
    )
    def test_one_line_and_exit_code_two(
        self, arguments: list[str], match: str, bank: Path, tmp_path: Path, capsys, monkeypatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        if arguments[0] == "train" and "--bank" not in arguments:
            arguments = [*arguments, "--bank", str(bank)]
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert match in err
        assert err.startswith("sketchless: ")
        assert len(err.strip().splitlines()) == 1
        assert not Path("runs").exists()  # nothing begun

    def test_finished_run_is_not_overwritten(self, bank: Path, tmp_path: Path, capsys) -> None:
        assert train(bank, tmp_path / "run") == 0
        assert train(bank, tmp_path / "run") == 2
        assert "finished" in capsys.readouterr().err

    def test_evaluate_refuses_another_bank(self, bank: Path, tmp_path: Path, make_bank, capsys) -> None:
        assert train(bank, tmp_path / "run") == 0
        other = tmp_path / "other.safetensors"
        save_banks(other, {"test": make_bank(n=9, steps=6, seed=9)})
        assert main(["evaluate", str(tmp_path / "run"), "--bank", str(other)]) == 2
        assert "is not the bank" in capsys.readouterr().err

    def test_evaluate_notices_whatever_was_changed_in_the_results(self, bank: Path, tmp_path: Path, capsys) -> None:
        assert train(bank, tmp_path / "run") == 0
        file = tmp_path / "run" / "results.json"
        text = file.read_text()

        def leaves(value: Any, *path: Any) -> Iterable[tuple[Any, ...]]:
            """Ways to the values of dicts, and to the first of each list."""
            if isinstance(value, (dict, list)):
                for key, inner in value.items() if isinstance(value, dict) else enumerate(value[:1]):
                    yield from leaves(inner, *path, key)
            else:
                yield path

        paths = [path for path in leaves(json.loads(text)) if path != ("seconds",)]
        assert len({path[0] for path in paths}) == 12
        for path in {path[:2]: path for path in paths}.values():
            content = json.loads(text)
            *way, last = path
            place = content
            for key in way:
                place = place[key]
            place[last] = "other" if not isinstance(place[last], float) else place[last] + 1e-9
            file.write_text(json.dumps(content))
            assert main(["evaluate", str(tmp_path / "run")]) == 2, path
            assert len(capsys.readouterr().err.splitlines()) == 1
        of_before = json.loads(text)  # a run of 0.2, whose intervals drew sketches alone
        del of_before["resampled"]
        of_before["change"]["m@A"]["interval95"] = [0.0, 1.0]
        for content in (of_before, json.loads(text)):
            file.write_text(json.dumps(content))
            assert main(["evaluate", str(tmp_path / "run")]) == 0

    def test_evaluate_runs_no_code_that_a_manifest_names(self, bank: Path, tmp_path: Path, capsys, monkeypatch) -> None:
        code = "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\n"
        (tmp_path / "of_a_file.py").write_text(
            code + "from sketchless.agents import PPOAClip as Agent\nreward = None\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        assert train(bank, tmp_path / "run") == 0
        file = tmp_path / "run" / "manifest.json"
        manifest = json.loads(file.read_text())
        manifest["config"]["reward"] = "of_a_file:reward"  # no part of an evaluation
        file.write_text(json.dumps(manifest))
        assert main(["evaluate", str(tmp_path / "run")]) == 0
        manifest["config"]["agent"] = "of_a_file:Agent"
        file.write_text(json.dumps(manifest))
        capsys.readouterr()
        assert main(["evaluate", str(tmp_path / "run")]) == 2
        assert "add --trust 'of_a_file:Agent'" in capsys.readouterr().err
        assert not (tmp_path / "ran").exists()
        results = json.loads((tmp_path / "run" / "results.json").read_text())
        (tmp_path / "run" / "results.json").write_text(json.dumps({**results, "agent": "of_a_file:Agent"}))
        assert main(["evaluate", str(tmp_path / "run"), "--trust", "of_a_file:Agent"]) == 0
        assert (tmp_path / "ran").exists()

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("manifest.json", {}),
            ("manifest.json", {"command": []}),
            ("manifest.json", {"command": "train"}),
            ("manifest.json", {"command": "train", "config": []}),
            ("manifest.json", {"command": "train", "config": {"agent": 3}}),
            ("results.json", {}),
            ("results.json", {"baseline": {}, "refined": []}),
            ("results.json", {"baseline": {}, "refined": {"../../x": {}}}),
            ("results.json", {"baseline": {}, "refined": {}}),
            ("results.json", {"baseline": {}, "refined": {"9": {"m@A": 1.0}}}),
            ("results.json", {"baseline": {}, "refined": {"1" * 400: dict.fromkeys(METRICS, 1.0)}}),
            ("results.json", {"baseline": {}, "refined": {"\u0663": dict.fromkeys(METRICS, 1.0)}}),
        ],
    )
    def test_evaluate_refuses_a_damaged_run_in_one_line(
        self, bank: Path, tmp_path: Path, capsys, name: str, content: Any
    ) -> None:
        run = tmp_path / "run"
        run.mkdir()
        bank_said = {"name": bank.name, "sha256": sha256(bank), "path": str(bank)}
        config = {"agent": "vpg", "preset": "default", "mode": None, "observation": "feature", "bank": bank_said}
        (run / "manifest.json").write_text(json.dumps({"command": "train", "config": config}))
        (run / "results.json").write_text(json.dumps({"baseline": {}, "refined": {}}))
        (run / name).write_text(json.dumps(content))
        assert main(["evaluate", str(run)]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
        (run / name).write_text("[" * 100_000)
        assert main(["evaluate", str(run)]) == 2

    @pytest.mark.parametrize(
        "arguments", [["train", "--bank"], ["evaluate"], ["encode", "--load"], ["draw", "--photos"]]
    )
    def test_a_path_that_cannot_be_looked_at_is_one_line(self, arguments: list[str], tmp_path: Path, capsys) -> None:
        name = str(tmp_path / ("a" * 300))  # no file system of ours takes more than 255
        assert main([*arguments, name]) == 2
        error = capsys.readouterr().err.strip()
        assert name in error
        assert len(error.splitlines()) == 1

    @pytest.mark.parametrize(
        "config",
        [
            {},
            {"dataset": 3, "seed": 0, "validation": 4},
            {"dataset": "procedural", "load": "./encoder.safetensors", "seed": 0, "validation": 4},
            {"dataset": "procedural", "load": ["x"], "seed": 0, "validation": 4},
            {"dataset": "procedural", "seed": "0", "validation": None},
        ],
    )
    def test_a_damaged_encode_run_is_one_line(
        self, tmp_path: Path, capsys, monkeypatch, config: dict[str, Any]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("manifest.json").write_text(json.dumps({"command": "encode", "config": config}))
        assert main(["evaluate", ".", "--task", "inter"]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1

    def test_a_full_disk_is_exit_code_three(self, bank: Path, tmp_path: Path, capsys, monkeypatch) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        assert train(bank, tmp_path / "run") == 3
        assert "no room" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "raises",
        [
            lambda: torch.empty(1 << 60, dtype=torch.uint8),
            lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 EiB")),
            lambda: bytearray(1 << 62),
        ],
        ids=["cpu", "cuda", "python"],
    )
    def test_too_little_memory_is_exit_code_three(self, bank: Path, capsys, monkeypatch, raises) -> None:
        monkeypatch.setattr("sketchless.benchmarks.commands.train.run", lambda config: raises())
        assert main(["train", "--bank", str(bank)]) == 3
        assert capsys.readouterr().err.startswith("sketchless: out of memory; use fewer episodes or samples")

    def test_other_runtime_errors_are_no_lack_of_memory(self, bank: Path, monkeypatch) -> None:
        monkeypatch.setattr("sketchless.benchmarks.commands.train.run", lambda config: torch.ones(2) @ torch.ones(3))
        with pytest.raises(RuntimeError, match="size"):
            main(["train", "--bank", str(bank)])

    def test_debug_shows_the_traceback(self) -> None:
        with pytest.raises(Exception, match="unknown command"):
            main(["trian", "--debug"])


def parsed(words: str, monkeypatch: pytest.MonkeyPatch, names: Iterable[str]) -> dict[str, object]:
    """What a command is told by these words."""
    command, *rest = words.split()
    module = importlib.import_module(f"sketchless.benchmarks.commands.{COMMANDS[command][0]}")
    configs: list[object] = []
    monkeypatch.setattr(module, "run", configs.append)
    assert main([command, *rest]) == 0
    return {name: getattr(configs[0], name) for name in names}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("evaluate s1 --task inter", {"target": "s1", "task": "inter"}),
        ("evaluate --task inter s1", {"target": "s1", "task": "inter"}),
        ("evaluate --task=inter s1 --first 5", {"target": "s1", "task": "inter", "first": 5}),
        ("explain --gallery ID", {"sketch": "ID", "gallery": True}),
        ("explain --out q.png ID PHOTO", {"sketch": "ID", "photo": "PHOTO", "out": "q.png"}),
        ("explain ID --no-gallery PHOTO", {"sketch": "ID", "photo": "PHOTO"}),
        ("ablate rewards --arms top1 top5 --noisy_bank n", {"what": "rewards", "arms": ("top1", "top5")}),
        ("ablate --noisy-bank n rewards", {"what": "rewards", "noisy_bank": "n"}),
        ("ablate --seeds 0-1 rewards", {"what": "rewards", "seeds": "0-1"}),
        ("ablate --arms=top1 rewards", {"what": "rewards", "arms": ("top1",)}),
        ("bench --batches 1 4 --quick kernels", {"what": "kernels", "batches": (1, 4), "quick": True}),
        ("info --sheet s.png encoders", {"topic": "encoders", "sheet": "s.png"}),
    ],
)
def test_arguments_without_a_name_stand_anywhere(words: str, expected: dict[str, object], monkeypatch) -> None:
    assert parsed(words, monkeypatch, expected) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("train --set a=1 --set b=2", {"set": ("a=1", "b=2")}),
        ("train --set a=1 b=2 --passes 3 --set=c=3", {"set": ("a=1", "b=2", "c=3"), "passes": 3.0}),
        ("train --seeds 0-2 --seeds=5", {"seeds": "0-2,5"}),
        ("ablate --arms vpg --arms trpo grpo --arms=b1", {"arms": ("vpg", "trpo", "grpo", "b1")}),
        ("ablate --banks complete=a --banks random=b", {"banks": ("complete=a", "random=b")}),
        ("ablate methods --arms vpg --set a=1 --arms trpo", {"what": "methods", "arms": ("vpg", "trpo")}),
        ("encode --join a --late 0 --join b --late 4", {"join": ("a", "b"), "late": (0.0, 4.0)}),
        ("encode --join a b --late -1 .5", {"join": ("a", "b"), "late": (-1.0, 0.5)}),
        ("bench --galleries 5 --galleries 6", {"galleries": (5, 6)}),
    ],
)
def test_lists_given_in_parts_are_one_list(words: str, expected: dict[str, object], monkeypatch) -> None:
    assert parsed(words, monkeypatch, expected) == expected


def test_an_argument_too_many_is_named(capsys) -> None:
    assert main(["evaluate", "--task", "inter", "s1", "s2"]) == 2
    assert "s2" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "shown"), [("evaluate", "[TARGET]"), ("explain", "[SKETCH] [PHOTO]")])
def test_usage_shows_arguments_without_a_name(command: str, shown: str, capsys) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert f"usage: sketchless {command} [-h] [OPTIONS] {shown}\n" in capsys.readouterr().out


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help(command: list[str], capsys) -> None:
    try:
        code = main([*command, "--help"])
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == 0
    shown = capsys.readouterr().out
    assert "usage: sketchless" in shown
    for riddle in ("{None}", "(default: )", "(default: None)"):
        assert riddle not in shown
    for name in {"train": [*AGENTS, *REWARDS], "ablate": [*AGENTS, *SWEEPS]}.get("".join(command), []):
        assert name in " ".join(shown.replace("│", " ").split())


def test_info_names_what_can_be_chosen(capsys) -> None:
    assert main(["info"]) == 0
    printed = capsys.readouterr().out
    for name in ("ppo-a-clip", "combined", "small-cnn", "procedural"):
        assert name in printed


@pytest.mark.parametrize("name", AGENTS)
def test_info_lists_every_setting_of_an_agent_with_its_meaning(name: str, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["info", "agents", name]) == 0
    lines = [[cell.strip() for cell in line.split("│")] for line in capsys.readouterr().out.splitlines()]
    rows = {cells[1]: cells for cells in lines if len(cells) > 4}
    config = AGENTS[name].Config
    expected = {field.name for field in fields(config)} - set(config._unread) - {"seed"}
    assert expected <= set(rows)
    assert all(rows[setting][2] and rows[setting][-2] for setting in expected)  # type and meaning


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ("info agent", "did you mean 'agents'"),
        ("info agents vgp", "did you mean 'vpg'"),
        ("info encoders x", "leave it out"),
    ],
)
def test_info_of_what_is_not_there_is_one_line(words: str, match: str, capsys) -> None:
    assert main(words.split()) == 2
    assert match in capsys.readouterr().err


def test_version(capsys) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith(f"sketchless {importlib.metadata.version('sketchless')}")


def test_joined_banks_are_a_bank(bank: Path, tmp_path: Path, capsys) -> None:
    scores = []
    for name, members in {"twice": [str(bank)] * 2, "once": [str(bank)]}.items():
        assert main(["encode", "--join", *members, "--out", str(tmp_path / name)]) == 0
        assert "written to" in capsys.readouterr().out
        found = json.loads((tmp_path / name / "results.json").read_text())["baseline"]
        settings = json.loads((tmp_path / name / "manifest.json").read_text())["config"]
        assert {key for key, value in settings.items() if value is not None} == {"join", "late", "until", "half"}
        assert set(found) == {"train", "validation", "test"}
        scores.append(found["test"]["m@B"])
    assert main(["evaluate", str(bank)]) == 0
    assert f"{scores[1]:.2f}" in capsys.readouterr().out
    assert scores[0] == pytest.approx(scores[1])  # twice the same encoder ranks as once
    late = ["--join", str(bank), str(bank), "--late", "0", "4", "--out", str(tmp_path / "late")]
    assert main(["encode", *late]) == 0
    found = json.loads((tmp_path / "late" / "results.json").read_text())["baseline"]
    assert found["test"]["m@B"] == pytest.approx(scores[1])  # nor does it matter when
    until = ["--join", str(bank), str(bank), "--until", "50", "100", "--out", str(tmp_path / "until")]
    assert main(["encode", *until]) == 0
    found = json.loads((tmp_path / "until" / "results.json").read_text())["baseline"]
    assert found["test"]["m@B"] == pytest.approx(scores[1])  # nor which of the two
    assert main(["encode", "--late", "4", "--out", str(tmp_path / "alone")]) == 2
    assert "--late and --until weigh the banks of --join" in capsys.readouterr().err


def test_a_set_known_by_category_gives_an_encoder_and_no_bank(tmp_path: Path, capsys) -> None:
    draw = np.random.default_rng(0)
    for category in ("ant", "bee", "cow", "dog"):
        for folder, name in (("png", "{}.png"), ("ImageResized", "{}.jpg")):
            (tmp_path / "set" / folder / category).mkdir(parents=True)
            for number in range(10):
                picture = np.full((64, 64, 3), 255, np.uint8)
                picture[draw.integers(5, 30) :, 10:30] = 0
                Image.fromarray(picture).save(tmp_path / "set" / folder / category / name.format(number))
    out = tmp_path / "run"
    options = ["--pairs", "category", "--epochs", "1", "--size", "32", "--batch", "8", "--validation", "4"]
    assert main(["encode", "--dataset", f"{tmp_path / 'set'}?unseen=cow,dog", *options, "--out", str(out)]) == 0
    assert "no episodes and no bank" in capsys.readouterr().out
    assert {p.name for p in out.glob("[!.]*")} == {"encoder.safetensors", "manifest.json", "results.json"}
    assert main(["evaluate", str(out), "--task", "inter"]) == 0
    assert "mAP@all" in capsys.readouterr().out


def test_encode_takes_the_option_then_the_preset_then_the_recipe_of_the_encoder(monkeypatch) -> None:
    taken: list[EncodeConfig] = []
    monkeypatch.setattr(encode, "run", taken.append)
    for options in (
        "--encoder dssa",
        "--encoder=dssa --preset=paper --seed 3 --dim 8",
        "--preset paper --no-attention --epochs 7",
    ):
        assert main(["encode", *options.split()]) == 0
    plain, paper, own = taken
    assert (plain.encoder.size, plain.encoder.dim, plain.stage1.epochs, plain.stage1.removal) == (225, 256, 40, 0.3)
    assert (paper.encoder.size, paper.encoder.dim, paper.stage1.epochs, paper.stage1.loss) == (225, 8, 100, "triplet")
    assert (paper.seed, paper.encoder.attention) == (3, False)  # of its own
    assert (own.encoder.backbone, own.encoder.attention) == ("small-cnn", False)
    assert (own.stage1.epochs, own.stage1.batch, own.stage1.patience) == (7, 16, 20)


def test_encode_refuses_a_preset_that_it_does_not_know(capsys) -> None:
    assert main(["encode", "--preset", "papr"]) == 2
    assert "did you mean 'paper'" in capsys.readouterr().err


@pytest.fixture
def no_reader() -> Iterator[IO[str]]:
    """A pipe whose reader has gone."""
    read, write = os.pipe()
    os.close(read)
    with contextlib.suppress(BrokenPipeError), open(write, "w") as file:
        yield file


class TestStandardOutput:
    """The end of the output is not the end of the work."""

    def test_a_reader_that_goes_is_no_fault(self, no_reader: IO[str], monkeypatch, capsys) -> None:
        monkeypatch.setattr(sys, "stdout", no_reader)
        assert main(["info"]) == 0
        assert capsys.readouterr().err == ""

    def test_closed(self, monkeypatch, capsys) -> None:
        monkeypatch.setattr(sys, "stdout", None)
        assert main(["info"]) == 0
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize("end", [" >&-", " | true; exit ${PIPESTATUS[0]}"], ids=["closed", "a reader that goes"])
    def test_nor_is_it_one_as_the_process_ends(self, end: str) -> None:
        command = shlex.join([sys.executable, "-m", "sketchless.benchmarks.cli", "--version"]) + end
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
    def test_full_is_one_line_and_the_run_is_whole(self, bank: Path, tmp_path: Path, monkeypatch, capsys) -> None:
        with open("/dev/full", "w") as full:
            monkeypatch.setattr(sys, "stdout", full)
            assert train(bank, tmp_path / "run") == 3
        told = capsys.readouterr().err.splitlines()
        assert told == ["sketchless: standard output: cannot be written (No space left on device)"]
        assert (tmp_path / "run" / "results.json").exists()

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
    def test_complaints_that_nobody_can_read_change_no_exit_code(self) -> None:
        with open("/dev/full", "w") as full:
            command = [sys.executable, "-m", "sketchless.benchmarks.cli", "inof"]
            assert subprocess.run(command, stderr=full, check=False).returncode == 2

    def test_letters_that_the_terminal_lacks(self, bank: Path, monkeypatch) -> None:
        terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", terminal)
        assert main(["evaluate", str(bank)]) == 0
        printed = terminal.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
        assert "m@B" in printed
        assert "\\u" in printed  # the lines of the table


@pytest.mark.parametrize("after", [0.3, 1.0])
def test_ctrl_c_at_start_up_is_one_line(after: float, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sketchless.benchmarks.cli", "info", "--sheet", str(tmp_path / "sheet.png")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(after)
        running.send_signal(signal.SIGINT)
        told = running.communicate()[1]
    assert running.returncode in (0, 130, -signal.SIGINT)
    assert "Traceback" not in told
    assert len(told.splitlines()) <= 1


def test_ctrl_c_at_exit_is_no_traceback() -> None:
    code = """
import atexit, os, signal, sys
from sketchless.benchmarks.cli import main

atexit.register(os.kill, os.getpid(), signal.SIGINT)  # as Python tidies up
sys.argv = ["sketchless", "--version"]
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_the_home_folder_stands_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shells leave `~` as it is in `--sheet=~/x` and within quotes."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("photos", "sketches"):
        (tmp_path / "my-set" / name).mkdir(parents=True)
    for i in range(4):
        Image.new("RGB", (8, 6), (i, 0, 0)).save(tmp_path / f"my-set/photos/c{i}.png")
        drawing = f'<svg viewBox="0 0 256 256"><path d="M9 {i + 9}h99"/></svg>'
        (tmp_path / f"my-set/sketches/c{i}_1.svg").write_text(drawing)
    assert main(["info", "--dataset", "~/my-set?test=1", "--sheet=~/sheet.png"]) == 0
    assert (tmp_path / "sheet.png").is_file()
