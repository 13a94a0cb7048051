"""Every number of a result folder that follows from its ranks, worked out again and compared with what is written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sketchless.datasets.errors import CheckpointError, printable

from ..grid_file import CellRecord
from ..runs import read_json
from ..train_run import scores
from .choice_tables import choice_csv, choice_markdown, choice_tex
from .compare import Comparison, compare
from .results import Cell, Grid, read_grid, read_records
from .tables import comma_separated, markdown, tex

TOLERANCE = 1e-11
"""Of numbers in JSON files: their last digits differ between processors, by 3e-14 in the results that ship."""
RUN = "results.json"
"""What a `train` run has beside its grid."""


def tables(found: Comparison) -> dict[str, str]:
    """File -> content of the tables of a report."""
    if found.choices:
        methods = {"choice.csv": choice_csv(found), "table.md": choice_markdown(found), "table.tex": choice_tex(found)}
        return {"table.csv": comma_separated(found), **methods}
    return {"table.csv": comma_separated(found), "table.md": markdown(found), "table.tex": tex(found)}


@dataclass(frozen=True)
class Verified:
    """A folder whose numbers are those of its ranks.

    Attributes:
        numbers: how many were compared.
        alone: scores of B1 that no ranks stand beside, in grids of version 0.1 and 0.2: not compared.
        report: whether the folder holds a report, whose tables were compared too.
    """

    numbers: int
    alone: int
    report: bool

    def __str__(self) -> str:
        told = f"all {self.numbers:,} numbers agree with the ranks"
        told += f"; {self.alone:,} scores of B1 have no ranks beside them" if self.alone else ""
        return told if self.report else f"{told}; there is no report"


def verify(folder: Path) -> Verified:
    """Work out every number of a grid or a `train` run again, from its ranks alone.

    Scores, curves and counts of every cell in `grid.json` or in a folder of its own; those of `results.json`, if there
    is one; and the tables in `report`, digit by digit, with their words. What does not follow from ranks is not looked
    at: settings, histories of training, Kendall-tau distances and seconds.

    Raises:
        CheckpointError: no ranks or damaged ones, a file that is missing, or numbers that differ; the message names the
            first of them and how many more there are.
    """
    grid = read_grid(folder)
    about = read_json(folder / "grid.json")
    records = read_records(folder, about)
    found = _Found()
    size = next(iter(records.values())).refined
    found.values(
        f"{folder / 'grid.json'}",
        {"photos": grid.photos, "sketches": grid.sketches},
        {"photos": size.gallery or grid.photos, "sketches": len(size.rank)},
    )
    for arm, cells in grid.cells.items():
        for seed, cell in cells.items():
            found.cell(f"{folder}: {arm}/seed-{seed}", cell, records[f"{grid.sweep}/{arm}/seed-{seed}"], grid)
    if (folder / RUN).exists():
        found.run(folder / RUN, grid)
    report = (folder / "report").is_dir()
    if report:
        found.tables(folder / "report", grid)
    if found.differences:
        more = len(found.differences) - 1
        raise CheckpointError(
            f"{found.differences[0]}" + (f"; {more:,} more differ{'s' * (more == 1)}" if more else "")
        )
    return Verified(found.numbers, found.alone, report)


class _Found:
    """What was compared so far."""

    def __init__(self) -> None:
        self.numbers, self.alone, self.differences = 0, 0, list[str]()

    def cell(self, where: str, cell: Cell, record: CellRecord, grid: Grid) -> None:
        percentile, reciprocal = cell.evaluation.by_percentage()
        again: dict[str, Any] = {
            "metrics": cell.evaluation.summary(),
            "by_percentage": {"rp": percentile.tolist(), "rr": reciprocal.tolist()},
            "photos": record.refined.gallery or grid.photos,  # not known of grids of 0.1
            "sketches": len(record.refined.rank),
        }
        if cell.evaluation.stopping is not None:
            again["stopping"] = cell.evaluation.stopping.summary()
        if cell.b1 is not None:
            again["baseline"] = cell.b1.summary()
        else:
            self.alone += len(cell.baseline)
        if "stopping" in again and "stopping" not in record.result:
            self.differences.append(f"{where}: says nothing of stopping, where the ranks say when lists are shown")
        self.values(where, record.result, again)

    def run(self, file: Path, grid: Grid) -> None:
        said, cells = read_json(file), grid.cells[grid.reference]
        by_seed = {seed: cells[seed] for seed in grid.seeds if seed in cells}  # in the order of the run
        b1 = next(iter(by_seed.values())).b1
        if b1 is None:
            raise CheckpointError(f"{file.parent}: holds no ranks of B1, with which {file.name} compares; train again")
        refined = {seed: cell.evaluation for seed, cell in by_seed.items()}
        again = scores(b1, refined, next(iter(by_seed.values())).rivals)
        if "resampled" not in said:  # intervals of a run of 0.2, which drew sketches alone
            again.pop("change")
        for key in again:
            if key not in said:
                self.differences.append(f"{file}: says nothing of {key}; train again")
        self.values(str(file), said, again)

    def tables(self, folder: Path, grid: Grid) -> None:
        for name, again in tables(compare(grid)).items():
            try:
                said = (folder / name).read_bytes().decode()
            except FileNotFoundError:
                if name == "table.csv":  # the others, which need not be kept, say what it says
                    self.differences.append(f"{folder / name}: no such file; sketchless report writes it")
                continue
            except (OSError, UnicodeDecodeError) as error:
                raise CheckpointError(f"{folder / name}: cannot be read ({error}); report again") from error
            self.numbers += len(re.findall(r"\d+(?:\.\d+)?", again))
            lines, right = said.split("\n"), again.split("\n")
            for number, (one, other) in enumerate(zip(lines, right, strict=False), 1):
                if one != other:
                    self.differences.append(f"{folder / name}:{number}: {_first_difference(one, other)}")
            if len(lines) != len(right):
                self.differences.append(f"{folder / name}: has {len(lines)} lines, from the ranks come {len(right)}")

    def values(self, where: str, said: Mapping[str, Any], again: Mapping[str, Any]) -> None:
        """Compare what both say, number by number."""
        both = again.keys() & said.keys()
        for place, one, other in _leaves(
            "", *({key: one[key] for key in again if key in both} for one in (said, again))
        ):
            self.numbers += isinstance(other, int | float)
            if not _same(one, other):
                self.differences.append(f"{where}: says {_short(one)} of {place}, the ranks give {_short(other)}")


def _leaves(place: str, said: Any, again: Any) -> Iterator[tuple[str, Any, Any]]:
    """Where two JSON values have their leaves, or differ in form."""
    if isinstance(said, dict) and isinstance(again, dict) and said.keys() == again.keys():
        for key in again:
            yield from _leaves(f"{place}.{key}" if place else str(key), said[key], again[key])
    elif isinstance(said, list) and isinstance(again, list) and len(said) == len(again):
        for index, pair in enumerate(zip(said, again, strict=True)):
            yield from _leaves(f"{place}[{index}]", *pair)
    else:
        yield place, said, again


def _same(said: Any, again: Any) -> bool:
    if isinstance(said, bool) or not isinstance(said, int | float) or not isinstance(again, int | float):
        return bool(said == again)
    return abs(said - again) <= TOLERANCE  # of which nan is none


def _short(value: Any) -> str:
    return printable(json.dumps(value)[:80])


def _first_difference(said: str, again: str) -> str:
    """Both lines from a few characters before the first that differs."""
    same = next((i for i, (a, b) in enumerate(zip(said, again, strict=False)) if a != b), min(len(said), len(again)))
    start = max(same - 20, 0)
    one, other = (printable(line[start : same + 20]) for line in (said, again))
    return f"says …{one}…, the ranks give …{other}…"
