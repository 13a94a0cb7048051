"""`sketchless report --verify` finds a digit that is not that of the ranks."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sketchless.benchmarks.cli import main
from sketchless.benchmarks.grid_file import read_packed, write_grid
from sketchless.benchmarks.metrics import Evaluation
from sketchless.benchmarks.reporting.verify import verify
from sketchless.datasets.errors import CheckpointError
from sketchless.encoders import save_banks
from sketchless.encoders.tensorfile import save_tensors

Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]
RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


@pytest.fixture(scope="module")
def run(make_bank: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `train` run in Stop-v0, with two seeds and a report."""
    folder = tmp_path_factory.mktemp("run")
    banks = {split: make_bank(n=9, steps=6, seed=i) for i, split in enumerate(("train", "validation", "test"))}
    for name in ("validation", "test"):
        object.__setattr__(banks[name], "weight", banks["train"].weight)
        object.__setattr__(banks[name], "bias", banks["train"].bias)
    save_banks(folder / "bank.safetensors", banks)
    out = folder / "run"
    command = [
        "train",
        "--bank",
        str(folder / "bank.safetensors"),
        "--out",
        str(out),
        "--passes",
        "3",
        "--seeds",
        "1,0",
    ]
    more = ["--env", "Stop-v0?stroke_cost=0.05", "--reward", "inv-rank", "--logger", "none"]
    assert main([*command, *more, "--set", "episodes=4", "samples=2", "eval_every=2"]) == 0
    assert main(["report", str(out)]) == 0
    return out


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run, tmp_path / "run")


def test_a_run_agrees_and_is_left_alone(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main(["report", str(run), "--verify"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"{run}: all [\d,]+ numbers agree with the ranks", line)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def other_digit(text: str, number: str) -> str:
    """The text with the last digit of a number another one."""
    assert number in text
    return text.replace(number, f"{number[:-1]}{(int(number[-1]) + 1) % 10}", 1)


@pytest.mark.parametrize(
    "keys",
    [
        ("baseline", "m@A"),
        ("refined", "0", "m@B"),
        ("refined", "1", "A@1"),
        ("mean", "m@B"),
        ("change", "m@A", "mean"),
        ("change", "m@B", "interval95", 1),
        ("curves", "refined", 1, 3),
        ("stopping", "seed 0", "return"),
    ],
    ids=lambda keys: ".".join(map(str, keys)),
)
def test_another_digit_in_the_results_of_a_run(copy: Path, keys: tuple[Any, ...], refuses: Refuses) -> None:
    file = copy / "results.json"
    results = json.loads(file.read_text())
    holder = results
    for key in keys[:-1]:
        holder = holder[key]
    holder[keys[-1]] += 1e-9
    file.write_text(json.dumps(results))
    place = re.escape("".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)[1:])
    with refuses(CheckpointError, rf"results.json: says \S+ of {place}, the ranks give \S+$"):
        verify(copy)


@pytest.mark.parametrize("name", ["table.csv", "table.md", "table.tex"])
def test_another_digit_in_a_table(copy: Path, name: str, refuses: Refuses) -> None:
    file = copy / "report" / name
    number = re.findall(r"\d+\.\d\d+", file.read_text())[-1]
    file.write_text(other_digit(file.read_text(), number))
    with refuses(CheckpointError, rf"report/{name}:\d+: says .*, the ranks give .*"):
        verify(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda result: result["metrics"].update({"m@B": result["metrics"]["m@B"] + 1e-9}),
        lambda result: result["baseline"].update({"A@5": result["baseline"]["A@5"] + 1e-9}),
        lambda result: result["stopping"].update({"used": result["stopping"]["used"] + 1e-9}),
        lambda result: result.update(sketches=10),
        lambda result: result.update(by_percentage={"rp": [0.5] * 20, "rr": [0.5] * 20}),
    ],
    ids=["metrics", "b1", "stopping", "sketches", "curves"],
)
def test_another_digit_in_a_grid(copy: Path, change: Callable[[Any], None], refuses: Refuses) -> None:
    file = copy / "grid.json"
    content = json.loads(file.read_text())
    for cell in content["cells"].values():
        change(cell["result"])
    file.write_text(json.dumps(content))
    with refuses(CheckpointError, r"ppo-a-clip/seed-[01]: says .* the ranks give .*"):
        verify(copy)


def test_a_cell_without_its_scores_of_stopping(copy: Path, refuses: Refuses) -> None:
    content = json.loads((copy / "grid.json").read_text())
    del content["cells"]["train/ppo-a-clip/seed-0"]["result"]["stopping"]
    (copy / "grid.json").write_text(json.dumps(content))
    with refuses(CheckpointError, "seed-0: says nothing of stopping"):
        verify(copy)


@pytest.mark.parametrize("whose", ["refined", "baseline", "shown"])
def test_another_rank(copy: Path, whose: str, refuses: Refuses) -> None:
    about = json.loads((copy / "grid.json").read_text())
    cells = read_packed(copy, about)
    cell = cells["train/ppo-a-clip/seed-0"]
    changed = cell.refined if whose == "refined" else cell.baseline
    assert changed is not None
    if whose == "shown":
        assert cell.refined.shown is not None
        cell.refined.shown[3] = 1 + cell.refined.shown[3] % 6
    else:
        changed.rank[2, 3] = 1 + changed.rank[2, 3] % changed.gallery
    write_grid(copy, {key: value for key, value in about.items() if key not in ("cells", "machines")}, cells)
    with refuses(CheckpointError, "ranks"):
        verify(copy)


@pytest.mark.parametrize("name", ["ranks.safetensors", "grid.json", "report/table.csv"])
def test_a_missing_file(copy: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / name).unlink()
    assert main(["report", str(copy), "--verify"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert Path(name).name in line
    assert "no such file" in line


@pytest.mark.parametrize("name", ["table.md", "table.tex"])
def test_tables_that_say_what_the_first_says_need_not_be_kept(copy: Path, name: str) -> None:
    every = verify(copy).numbers
    (copy / "report" / name).unlink()
    assert 0 < verify(copy).numbers < every


def test_damaged_ranks(copy: Path, refuses: Refuses) -> None:
    file = copy / "ranks.safetensors"
    content = bytearray(file.read_bytes())
    content[-40] ^= 1
    file.write_bytes(content)
    with refuses(CheckpointError, "ranks.safetensors: damaged"):
        verify(copy)


def test_how_many_more_differ_is_said(copy: Path, refuses: Refuses) -> None:
    results = json.loads((copy / "results.json").read_text())
    results["mean"] = {name: value + 1 for name, value in results["mean"].items()}
    (copy / "results.json").write_text(json.dumps(results))
    with refuses(CheckpointError, r"results.json: says \S+ of mean.m@A, the ranks give \S+; 4 more differ$"):
        verify(copy)


def test_cells_in_folders_of_their_own_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # one drawing of two frames among three photos, ranks 3 and 1: percentiles 0 and 1, 1/r of 1/3 and 1
    rank, lengths = np.array([[3, 1]]), np.array([2])
    found = Evaluation(rank, lengths, 3, ("a/0",), photo_ids=("a",))
    about = {
        "sweep": "methods", "title": "t", "arms": ["vpg"], "labels": {}, "reference": "vpg", "family": "f",
        "seeds": [0], "published": None, "command": "c", "dataset": "d", "photos": 3, "sketches": 1,
    }  # fmt: skip
    metrics = {"m@A": 50.0, "m@B": 200 / 3, "A@1": 100.0, "A@5": 100.0, "A@10": 100.0}
    curves = {"rp": [0.0] * 10 + [1.0] * 10, "rr": [1 / 3] * 10 + [1.0] * 10}  # half of two frames is the first
    result: dict[str, Any] = {"metrics": metrics, "baseline": metrics, "history": [], "tau_by_step": [0.0]}
    result |= {"by_percentage": curves, "seconds": None, "settings": {}}
    cell = tmp_path / "methods" / "vpg" / "seed-0"
    cell.mkdir(parents=True)
    (tmp_path / "grid.json").write_text(json.dumps(about))
    (cell / "result.json").write_text(json.dumps(result))
    (cell / "manifest.json").write_text("{}")
    write = {"rank": found.rank.astype(np.int32), "lengths": lengths}
    save_tensors(
        cell / "ranks.safetensors",
        "ranks",
        {name: torch.from_numpy(values) for name, values in write.items()},
        {"split": "test", "gallery": 3, "sketch_ids": ["a/0"], "photo_ids": ["a"]},
    )
    assert main(["report", str(tmp_path), "--verify"]) == 0
    # of the cell 5 scores and 40 points; photos and sketches of the grid; B1 has 5 scores alone
    told = "all 47 numbers agree with the ranks; 5 scores of B1 have no ranks beside them; there is no report"
    assert capsys.readouterr().out == f"{tmp_path}: {told}\n"
    result["by_percentage"]["rr"][4] = 0.34
    (cell / "result.json").write_text(json.dumps(result))
    assert main(["report", str(tmp_path), "--verify"]) == 2
    assert "says 0.34 of by_percentage.rr[4], the ranks give 0.3333333333333333" in capsys.readouterr().err


def test_what_is_no_grid(tmp_path: Path, refuses: Refuses, run: Path) -> None:
    with refuses(CheckpointError, "grid.json: no such file"):
        verify(RESULTS / "chair-v2" / "encode")
    assert main(["report", str(run), "--verify", "--pack"]) == 2


@pytest.mark.parametrize("name", ["chair-v2/lite", "chair-v2/best"])
def test_results_that_ship(name: str) -> None:
    assert verify(RESULTS / name).numbers > 100


@pytest.mark.slow
@pytest.mark.parametrize(
    "file", sorted(RESULTS.rglob("grid.json")), ids=lambda file: str(file.parent.relative_to(RESULTS))
)
def test_all_results_that_ship(file: Path) -> None:
    assert verify(file.parent).report
