"""The leaderboard shows what ranks say, by hand; and the one that ships is what its list gives now."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sketchless.benchmarks.cli import main
from sketchless.benchmarks.grid_file import CellRecord, write_grid
from sketchless.benchmarks.metrics import Evaluation
from sketchless.benchmarks.reporting.leaderboard import leaderboard
from sketchless.benchmarks.statistics import pigeonhole_bootstrap
from sketchless.datasets.errors import CheckpointError, ConfigError
from sketchless.datasets.files import sha256

Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]
ROOT = Path(__file__).parents[3]


def evaluation(rank: list[list[int]], names: tuple[str, ...] = ("a/0", "b/0")) -> Evaluation:
    """Two drawings of two photos among five, in two frames."""
    return Evaluation(np.array(rank), np.full(2, 2), 5, names, photo_ids=("a", "b"))


def grid(folder: Path, ranks: dict[str, list[list[int]]], names: tuple[str, ...] = ("a/0", "b/0")) -> Path:
    """Arms of one seed on bank `x`, and B1: first places in the last frames alone."""
    b1, cells = evaluation([[2, 1], [2, 1]], names), {}
    for arm, rank in ranks.items():
        found = evaluation(rank, names)
        settings = {"agent": arm, "seed": 0, "bank_sha256": "x", "split": "test"}
        result: dict[str, Any] = {"metrics": found.summary(), "baseline": b1.summary(), "history": [], "seconds": 1.0}
        result |= {"tau_by_step": [0.0], "settings": settings}
        manifest = {"settings": settings, "versions": {}, "started": ""}
        cells[f"methods/{arm}/seed-0"] = CellRecord(manifest, result, "test", found, b1, {})
    about = {
        "sweep": "methods", "title": "t", "arms": list(ranks), "labels": {}, "reference": next(iter(ranks)),
        "family": "f", "seeds": [0], "published": None, "command": f"make {folder.name}", "dataset": "set",
        "photos": 5, "sketches": 2,
    }  # fmt: skip
    write_grid(folder, about, cells)
    return folder


def listing(folder: Path, *entries: dict[str, Any]) -> None:
    filled = [{"features": "an encoder", "joined": 1, "causal": True, **entry} for entry in entries]
    (folder / "leaderboard.json").write_text(json.dumps({"entries": filled, "left_out": {"old": "a trial"}}))


FIRST = {"vpg": [[1, 1], [4, 2]], "trpo": [[1, 1], [1, 1]]}


def test_the_numbers_by_hand(tmp_path: Path) -> None:
    grid(tmp_path / "one", FIRST)
    grid(tmp_path / "two", {"ppo": [[1, 1], [2, 2]], "again": FIRST["vpg"]})  # of which one is listed already
    listing(tmp_path, {"folder": "one"}, {"folder": "two", "joined": 3, "causal": False})
    found = leaderboard(tmp_path)
    assert [(one.section, one.name, one.encoders) for one in found.systems] == [
        ("Single encoder", "B1 (no refinement)", "1"),
        ("Ensemble", "ppo", "1 of 3 joined"),
        ("Policies", "trpo", "1"),
        ("Policies", "vpg", "1"),
    ]
    # 1/r of vpg: 1 1 1/4 1/2, mean 11/16; percentiles (5 - r)/4: 1 1 1/4 3/4, mean 3/4; last ranks 1 and 2
    b1, ppo, _, vpg = found.systems
    assert {metric: one.value for metric, one in vpg.scores.items()} == {
        "m@A": 75.0, "m@B": 68.75, "A@1": 50.0, "A@5": 100.0, "A@10": 100.0,
    }  # fmt: skip
    value, low, high = pigeonhole_bootstrap(np.array([[100.0, 37.5]]), ("a", "b"), ("x",)).estimate
    assert vpg.scores["m@B"] == (value, max(low, 0.0), min(high, 100.0))
    assert b1.scores["m@B"] == (75.0, 75.0, 75.0)  # 1/2 and 1 of both drawings: none differs
    assert (ppo.causal, vpg.causal) == (False, True)


def test_b1_without_ranks_has_no_interval(tmp_path: Path) -> None:
    file = grid(tmp_path / "one", FIRST) / "grid.json"
    content = json.loads(file.read_text())
    for cell in content["cells"].values():
        cell["b1"] = None  # as grids of 0.2 are
    file.write_text(json.dumps(content))
    listing(tmp_path, {"folder": "one"})
    b1 = leaderboard(tmp_path).systems[0]
    assert b1.scores["m@B"].value == 75.0
    assert np.isnan(b1.scores["m@B"].low)
    assert main(["report", str(tmp_path), "--leaderboard", str(tmp_path / "page.md")]) == 0
    row = next(line for line in (tmp_path / "page.md").read_text().splitlines() if "B1 (no refinement)" in line)
    assert "| 75.00 |" in row
    assert row.endswith("| scores alone |")


def test_the_page_names_files_and_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid(tmp_path / "one", FIRST)
    listing(tmp_path, {"folder": "one", "arms": ["vpg"]}, {"folder": "one", "arms": ["trpo"], "features": "the same"})
    page = tmp_path / "pages" / "board.md"
    page.parent.mkdir()
    assert main(["report", str(tmp_path), "--leaderboard", str(page)]) == 0
    assert "3 systems of 1 grids" in capsys.readouterr().out
    text = page.read_text()
    ranks = sha256(tmp_path / "one" / "ranks.safetensors")
    assert f"[{ranks[:8]}](../one/report/table.md)" in text
    assert text.count(f"SHA-256 of `one/ranks.safetensors`: `{ranks}`") == 1
    assert "```sh\nmake one\n```" in text
    assert "`old`, a trial" in text
    assert "| PSRL | 94.9 | 40.4 | - | - | no: it looks at later frames" in text


def test_a_list_that_does_not_fit_is_one_line(tmp_path: Path, refuses: Refuses) -> None:
    with refuses(CheckpointError, r"leaderboard.json: no such file"):
        leaderboard(tmp_path)
    listing(tmp_path)
    with refuses(ConfigError, "lists no grid"):
        leaderboard(tmp_path)
    listing(tmp_path, {"folder": "one", "joined": 0})
    with refuses(CheckpointError, "joined"):
        leaderboard(tmp_path)
    grid(tmp_path / "one", FIRST)
    listing(tmp_path, {"folder": "one", "arms": ["ppo"]})
    with refuses(ConfigError, "one has no arm 'ppo'"):
        leaderboard(tmp_path)
    grid(tmp_path / "two", FIRST, ("a/0", "b/1"))
    listing(tmp_path, {"folder": "one"}, {"folder": "two"})
    with refuses(ConfigError, "two: was not measured on the test drawings"):
        leaderboard(tmp_path)


def test_encoders_that_were_made_again_count_once() -> None:
    """The page is what its list gives now, as the next test says."""
    page = (ROOT / "benchmarks" / "leaderboard.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if "/methods-letter/" in line]
    assert len(rows) == 13
    column = next(line for line in page.splitlines() if line.startswith("| system")).strip("| ").split(" | ")
    assert {row[column.index("encoders")] for row in rows} == {"3"}


def test_the_one_that_ships_is_what_its_list_gives_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / "benchmarks" / "leaderboard.md"
    written = page.read_bytes()
    monkeypatch.chdir(ROOT)
    kept = []
    monkeypatch.setattr("sketchless.benchmarks.commands.report._write", lambda path, content: kept.append(content))
    assert main(["report", "benchmarks/results/chair-v2", "--leaderboard", "benchmarks/leaderboard.md"]) == 0
    assert kept == [written]
    listed = json.loads((ROOT / "benchmarks/results/chair-v2/leaderboard.json").read_text())
    for name in listed["left_out"]:
        assert (ROOT / "benchmarks/results/chair-v2" / name / "grid.json").is_file()
