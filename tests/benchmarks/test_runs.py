from __future__ import annotations

import io
import os
import shutil
import signal
from datetime import datetime, tzinfo
from pathlib import Path

import pytest
import torch
from rich.console import Console

from sketchless.benchmarks.runs import (
    StopSignal,
    begin_run,
    machine,
    new_folder,
    parse_seeds,
    parse_values,
    progress_bar,
    read_json,
    run_folder,
)
from sketchless.datasets import CheckpointError, ConfigError, ResourceError
from sketchless.datasets.files import write_json


@pytest.mark.parametrize(
    ("text", "seeds"), [("0", [0]), ("0-3", [0, 1, 2, 3]), ("0,2,5", [0, 2, 5]), ("7, 0-1", [7, 0, 1])]
)
def test_seeds(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "-1", "3-", "1.5", "0,,1", "5-3", "1,0-2"])
def test_impossible_seeds_are_refused(text: str, refuses) -> None:
    with refuses(ConfigError, "seeds"):
        parse_seeds(text)


def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path, refuses) -> None:
    with (
        run_folder(str(tmp_path), "train", {"a": 1}),
        refuses(ConfigError, "another run"),
        run_folder(str(tmp_path), "train", {"a": 1}),
    ):
        pass


def test_an_interrupted_run_is_taken_up_and_stale_files_go(tmp_path: Path) -> None:
    with run_folder(str(tmp_path), "train", {"a": 1}):
        pass
    (tmp_path / "agent.safetensors.tmp-x1").write_text("half")
    started = read_json(tmp_path / "manifest.json")["started"]
    with run_folder(str(tmp_path), "train", {"a": 1}) as folder:
        assert sorted(p.name for p in folder.glob("[!.]*")) == ["manifest.json"]
        assert read_json(folder / "manifest.json")["started"] == started


@pytest.mark.parametrize(
    ("command", "config", "match"),
    [("train", {"a": 2}, "a=1, not 2"), ("encode", {"a": 1}, "command='train', not 'encode'"), ("train", {}, "a=1")],
)
def test_other_settings_are_refused(tmp_path: Path, refuses, command: str, config: dict[str, int], match: str) -> None:
    with run_folder(str(tmp_path), "train", {"a": 1}):
        pass
    with refuses(ConfigError, match), run_folder(str(tmp_path), command, config):
        pass


def test_a_folder_removed_while_it_is_written_is_an_error(tmp_path: Path, refuses) -> None:
    out = tmp_path / "run"
    with refuses(ResourceError, "was removed or replaced"), begin_run(str(out), "train", {}) as run:
        run.check()
        shutil.rmtree(out)
        with refuses(ResourceError, "was removed or replaced"):
            run.check()
        out.mkdir()  # another one of the same name


def test_another_number_of_threads_is_said_of_what_varies_with_it(tmp_path: Path, capsys) -> None:
    with run_folder(str(tmp_path), "train", {"a": 1}):
        pass
    assert capsys.readouterr().err == ""
    manifest, threads = read_json(tmp_path / "manifest.json"), torch.get_num_threads()
    assert manifest["threads"] == threads
    write_json(tmp_path / "manifest.json", {**manifest, "threads": threads + 1})
    with run_folder(str(tmp_path), "train", {"a": 1}):  # of what does not vary with them
        pass
    assert capsys.readouterr().err == ""
    with run_folder(str(tmp_path), "train", {"a": 1}, varying="trpo"):
        pass
    said = f"was begun with {threads + 1} threads and goes on with {threads}: the last digits of trpo may be others"
    assert said in capsys.readouterr().err


def test_a_finished_run_is_never_overwritten(tmp_path: Path, refuses) -> None:
    write_json(tmp_path / "results.json", {})
    with refuses(ConfigError, "finished"), run_folder(str(tmp_path), "train", {}):
        pass


def test_a_file_as_folder_is_refused(tmp_path: Path, refuses) -> None:
    (tmp_path / "file").write_text("")
    with refuses(ConfigError, "cannot be written"), run_folder(str(tmp_path / "file"), "train", {}):
        pass


def test_damaged_json_is_refused(tmp_path: Path, refuses) -> None:
    (tmp_path / "a.json").write_text("{")
    for name, match in (("a.json", "cannot be read"), ("b.json", "no such file")):
        with refuses(CheckpointError, match):
            read_json(tmp_path / name)


def test_first_signal_asks_and_second_interrupts() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopSignal() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_manifest_names_versions_and_no_paths() -> None:
    here = machine()
    assert here["versions"]["torch"]
    assert here["threads"] >= 1
    assert os.getcwd() not in str(here)


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sketchless.benchmarks.runs.datetime", SameSecond)
    folders = []
    with run_folder(None, "train", {}) as first, run_folder(None, "train", {}) as second:
        folders = [first, second, new_folder("train")]
    date = "20260102-030405"
    assert [str(folder) for folder in folders] == [f"runs/train-{date}", f"runs/train-{date}-2", f"runs/train-{date}-3"]


class SameSecond(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> SameSecond:
        return cls(2026, 1, 2, 3, 4, 5, tzinfo=tz)


def test_progress_in_a_file_is_a_line_for_each_tenth() -> None:
    output = io.StringIO()
    with progress_bar(Console(file=output, width=100)) as bar:
        task = bar.add_task("stage 1", total=1.0, note="")
        bar.update(task, note="epoch 1  loss [/]")
        for step in range(1, 101):
            bar.update(task, completed=step / 100)
    lines = output.getvalue().splitlines()
    assert lines == [f"stage 1  {10 * tenth}%  epoch 1  loss [/]" for tenth in range(1, 11)]


def test_settings_are_values() -> None:
    given = ["a=1e-3", "b=true", "c=False", "d=false", "e=none of these", "f=None", "g='true'"]
    assert parse_values(given) == {
        "a": 0.001,
        "b": True,
        "c": False,
        "d": False,
        "e": "none of these",
        "f": None,
        "g": "true",
    }
