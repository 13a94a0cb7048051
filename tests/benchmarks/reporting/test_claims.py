"""Claims are judged by what the folds hold, by hand."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from sketchless.benchmarks.commands.report import ReportConfig, run
from sketchless.benchmarks.grid_file import CellRecord, write_grid
from sketchless.benchmarks.metrics import Evaluation
from sketchless.benchmarks.reporting.claims import Claim, Judged, judge, read_claims
from sketchless.benchmarks.reporting.results import Grid, read_grid
from sketchless.benchmarks.statistics import pigeonhole_bootstrap
from sketchless.datasets.errors import ConfigError

Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]
TABLE = """# Claims

| id | claim | metric | arm | against | relation |
| --- | --- | --- | --- | --- | --- |
| c1 | refinement is earlier | m@B | clip | b1 | above |
| c2 | the other is no better | m@B | other | clip | below |
| c3 | complete sketches keep | A@5 | clip | b1 | level within 2.5 |

Text below.
"""


def fold(folder: Path, number: int, gain: float, photos: int = 8, seeds: int = 3) -> Grid:
    """Two drawings of each photo in two frames; `clip` has rank 1 where chance is below `gain`, else 2; B1 always 2."""
    rng = np.random.default_rng(number)
    names = tuple(f"{number}-{photo}" for photo in range(photos) for _ in range(2))
    sketches, lengths = tuple(f"{name}/{i}" for i, name in enumerate(names)), np.full(2 * photos, 2)

    def ranked(share: float) -> Evaluation:
        rank = np.where(rng.random((2 * photos, 2)) < share, 1, 2)
        return Evaluation(rank, lengths, photos, sketches, photo_ids=names)

    b1, cells = ranked(0.0), {}
    for seed in range(seeds):
        for arm, share in (("clip", gain), ("other", 0.0)):
            found = ranked(share)
            result = {
                "metrics": found.summary(), "baseline": b1.summary(), "history": [], "tau_by_step": [0.0],
                "photos": photos, "sketches": len(names), "steps": 1, "seconds": 1.0, "agent_settings": {},
                "settings": {"agent": arm, "seed": seed, "bank_sha256": str(number), "split": "test"},
            }  # fmt: skip
            manifest = {"settings": result["settings"], "versions": {}, "started": ""}
            cells[f"methods/{arm}/seed-{seed}"] = CellRecord(manifest, result, "test", found, b1, {})
    about = {
        "sweep": "methods", "title": "t", "arms": ["clip", "other"], "labels": {}, "reference": "clip",
        "family": "f", "seeds": list(range(seeds)), "published": None, "command": f"fold {number}",
        "dataset": "d", "photos": photos, "sketches": len(names),
    }  # fmt: skip
    write_grid(folder / str(number), about, cells)
    return read_grid(folder / str(number))


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> list[Grid]:
    folder = tmp_path_factory.mktemp("folds")
    return [fold(folder, number, gain) for number, gain in enumerate((0.9, 0.8, 0.85, 0.95, 0.7))]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "claims.md").write_text(TABLE)
    return tmp_path / "claims.md"


def test_claims_are_read_from_the_table(file: Path) -> None:
    assert read_claims(file)[::2] == [
        Claim("c1", "refinement is earlier", "m@B", "clip", "b1", "above", 0.0),
        Claim("c3", "complete sketches keep", "A@5", "clip", "b1", "level", 2.5),
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("| id |", "| no |", "holds no table"),
        ("| c2 |", "| c1 |", "claims.md:6: the id 'c1' stands there twice"),
        ("m@B | other", "m@C | other", "claims.md:6: unknown metric 'm@C'"),
        ("| below |", "| better |", "claims.md:6: relation 'better'"),
        ("| other | clip |", "| clip | clip |", "claims.md:6: compares 'clip' with 'clip'"),
        ("| clip | b1 | above", "| b1 | clip | above", "claims.md:5: compares 'b1' with 'clip'"),
        ("level within 2.5", "level within 0", "claims.md:7: relation"),
        ("| clip | below |", "| below |", "claims.md:6: has 5 columns"),
        (TABLE[TABLE.index("| c1") : TABLE.index("\nText")], "\n", "is empty"),
    ],
)
def test_a_damaged_table_is_one_line(file: Path, old: str, new: str, said: str, refuses: Refuses) -> None:
    assert old in TABLE
    file.write_text(TABLE.replace(old, new))
    with refuses(ConfigError, said):
        read_claims(file)


def test_no_file_is_one_line(tmp_path: Path, refuses: Refuses) -> None:
    with refuses(ConfigError, "cannot be read"):
        read_claims(tmp_path / "none.md")


def test_claims_are_judged_by_hand(file: Path, folds: list[Grid]) -> None:
    claims = read_claims(file)
    earlier, no_better, kept = judge(claims, folds)
    of_fold = [
        np.stack([c.evaluation.per_sketch("m@B") - c.b1.per_sketch("m@B") for c in grid.cells["clip"].values() if c.b1])
        for grid in folds
    ]
    means = [values.mean() for values in of_fold]
    assert earlier.by_fold == pytest.approx(means)
    assert 30 < min(means) < max(means) < 50  # rank 1 pays 50 more than rank 2
    every = np.concatenate(of_fold, axis=1)
    assert earlier.pooled == pigeonhole_bootstrap(every, [p for grid in folds for p in grid.photo_of_sketch])
    student = stats.t.interval(0.95, 4, np.mean(means), stats.sem(means))
    assert earlier.folds == pytest.approx((np.mean(means), *student))
    assert (earlier.verdict, no_better.verdict, kept.verdict) == ("holds", "holds", "holds")
    assert kept.pooled.estimate == (0, 0, 0)  # both have every photo among the first five


def test_the_contrary_is_refuted_and_what_cannot_be_told_is_not_shown(folds: list[Grid]) -> None:
    worse = Claim("c1", "", "m@B", "clip", "b1", "below", 0.0)
    same = Claim("c2", "", "m@B", "other", "b1", "above", 0.0)
    level = Claim("c3", "", "m@B", "clip", "b1", "level", 5.0)
    assert [one.verdict for one in judge([worse, same, level], folds)] == ["refuted", "not shown", "refuted"]


def test_one_good_fold_of_five_is_not_enough(tmp_path: Path) -> None:
    """Over all sketches it shows; between folds it does not."""
    mixed = [fold(tmp_path, number, gain, photos=20) for number, gain in enumerate((0.9, 0.0, 0.0, 0.0, 0.0))]
    (one,) = judge([Claim("c1", "", "m@B", "clip", "b1", "above", 0.0)], mixed)
    assert one.pooled.estimate.low > 0 > one.folds.low
    assert one.verdict == "not shown"


def test_folds_that_share_a_photo_or_lack_an_arm_are_refused(folds: list[Grid], refuses: Refuses) -> None:
    claim = Claim("c1", "", "m@B", "clip", "b1", "above", 0.0)
    with refuses(ConfigError, "in the test of two grids"):
        judge([claim], [folds[0], folds[0]])
    with refuses(ConfigError, "two folds or more"):
        judge([claim], folds[:1])
    cells = {arm: {0: replace(of_arm[0], split="validation")} for arm, of_arm in folds[1].cells.items()}
    of_validation = replace(folds[1], cells=cells)
    with refuses(ConfigError, "was measured on validation"):
        judge([claim], [folds[0], of_validation])
    with refuses(ConfigError, "claim c1: the grid 'fold 0' has no arm 'vpg'"):
        judge([claim._replace(arm="vpg")], folds)


def test_the_command_writes_the_verdicts(tmp_path: Path, file: Path) -> None:
    for number in range(2):
        fold(tmp_path, number, 0.9)
    config = ReportConfig(str(tmp_path / "0"), str(tmp_path / "out"), claims=str(file), others=(str(tmp_path / "1"),))
    found = run(config, Console(quiet=True))
    assert isinstance(found, list)
    assert all(isinstance(one, Judged) for one in found)
    written = (tmp_path / "out" / "claims.md").read_text()
    assert "| c1: refinement is earlier | m@B | clip | b1 | +" in written
    assert "32 sketches of 16 photos in 2 folds" in written
