"""What the cells of an ablation's grid wrote, read back and checked: a report needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sketchless.datasets.errors import CheckpointError, ConfigError, printable

from ..grid_file import CELL_FILES, CellRecord, read_cell, read_packed, write_grid
from ..metrics import METRICS, Evaluation
from ..runs import RunFolder, first_of_each, read_json

FloatArray = npt.NDArray[np.float64]
_TOLERANCE = 0.01  # percent: metrics may be written rounded


@dataclass(frozen=True, eq=False)
class Cell:
    """One arm with one seed.

    Attributes:
        evaluation: ranks on the drawings of `split`.
        b1: ranks of B1 on them; None in grids of version 0.1.0.
        split: `test`, or `validation` where settings are chosen.
        history: looks at the validation drawings [P, 2]: environment steps, m@B in percent.
        tau: [T - 1], mean Kendall-tau distance (0..1) between the lists of one frame and the next.
        seconds: of training; None if that was interrupted.
        baseline: metrics of B1 on the same drawings, percent.
        settings: of the agent.
        manifest: versions, machine, command.
    """

    evaluation: Evaluation
    b1: Evaluation | None
    split: str
    history: FloatArray
    tau: FloatArray
    seconds: float | None
    baseline: dict[str, float]
    settings: dict[str, Any]
    manifest: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Grid:
    """A sweep: arms with seeds, and the cells that are there.

    Attributes:
        arms: name -> text for tables, in their order.
        reference: arm against which differences are taken.
        family: which comparisons are adjusted together, in words.
        published: table of the paper to show beside it, or None.
        published_as: arm -> its line in that table, where that is not its own name.
        once: arm -> number of banks, for arms that have one seed for each.
        remarks: what stands under the table, in sentences.
        photos: G.
        sketches: N.
        cells: arm -> seed -> cell.
    """

    sweep: str
    title: str
    arms: dict[str, str]
    reference: str
    family: str
    seeds: tuple[int, ...]
    published: str | None
    dataset: str
    command: str
    photos: int
    sketches: int
    cells: dict[str, dict[int, Cell]]
    published_as: dict[str, str]
    once: dict[str, int]
    remarks: tuple[str, ...]

    def planned(self, arm: str) -> tuple[int, ...]:
        """Seeds that the arm is to have."""
        return tuple(first_of_each(self.seeds, self.once[arm])) if arm in self.once else self.seeds

    @property
    def missing(self) -> list[str]:
        """Names of the cells that are not there, such as `"trpo/seed-3"`."""
        return [f"{arm}/seed-{s}" for arm, cells in self.cells.items() for s in self.planned(arm) if s not in cells]

    @property
    def example(self) -> Cell:
        """A cell, if possible of the reference."""
        return next(cell for arm in (self.reference, *self.arms) for cell in self.cells[arm].values())

    @property
    def baseline(self) -> dict[str, float] | None:
        """Metrics of B1, percent; None where B1 is an arm itself."""
        return None if "B1" in self.published_as.values() else self.example.baseline

    @property
    def split(self) -> str:
        """What was measured on: `test` or `validation`."""
        return self.example.split

    def per_sketch(self, arm: str, metric: str, seeds: list[int] | None = None) -> FloatArray:
        """One value per seed and sketch, percent: [S, N]."""
        cells = self.cells[arm]
        return np.stack([cells[s].evaluation.per_sketch(metric) for s in (seeds or cells)])

    def runs(self, arm: str, seeds: list[int] | None = None) -> FloatArray:
        """m@B of each seed, percent: [S, 1], a score matrix with one task."""
        return self.per_sketch(arm, "m@B", seeds).mean(axis=1, keepdims=True)


def read_grid(folder: Path) -> Grid:
    """Read `grid.json` and every cell that is done, in the two files of a packed grid or in folders of their own.

    Raises:
        CheckpointError: no grid, no cell at all, or a file that is damaged or contradicts the others.
    """
    file = folder / "grid.json"
    about = read_json(file)
    text = {key: _field(file, about, key, str) for key in ("sweep", "reference")}
    text |= {key: printable(_field(file, about, key, str)) for key in ("title", "family", "dataset", "command")}
    names, labels = _field(file, about, "arms", list), _field(file, about, "labels", dict)
    seeds = _field(file, about, "seeds", list)
    numbers = {key: _field(file, about, key, int) for key in ("photos", "sketches")}
    if not all(isinstance(name, str) for name in names) or not all(type(seed) is int for seed in seeds):
        raise CheckpointError(f"{file}: arms are names and seeds are whole numbers; run it again")
    if text["reference"] not in names or len(set(names)) != len(names) or len(set(seeds)) != len(seeds):
        raise CheckpointError(f"{file}: arms or seeds stand there twice, or the reference is no arm; run it again")
    cells: dict[str, dict[int, Cell]] = {name: {} for name in names}
    records = read_records(folder, about)
    for name in names:
        for seed in sorted(seeds):
            if (id := f"{text['sweep']}/{name}/seed-{seed}") in records:
                cells[name][seed] = _checked(folder, id, records[id], numbers["photos"], numbers["sketches"])
    once, published_as = about.get("once", {}), about.get("published_as", {})
    remarks = about.get("remarks", [])
    if not (isinstance(once, dict) and isinstance(published_as, dict) and isinstance(remarks, list)):
        raise CheckpointError(f"{file}: once, published_as or remarks is of another kind; run it again")
    there = [list(of_arm.values()) for of_arm in cells.values() if of_arm]
    if not there:
        raise CheckpointError(f"{folder}: no cell of the grid is done; run it first")
    alike = all(_drawings(cell) == _drawings(there[0][0]) for of_arm in there for cell in of_arm)
    if not alike or not all(map(_comparable, there)):
        raise CheckpointError(f"{folder}: its cells were measured on different drawings; run it again")
    return Grid(
        arms={name: printable(str(labels.get(name, name))) for name in names},
        seeds=tuple(seeds),
        published=_field(file, about, "published", (str, type(None))),
        cells=cells,
        once={str(arm): int(banks) for arm, banks in once.items()},
        published_as={str(arm): str(line) for arm, line in published_as.items()},
        remarks=tuple(printable(str(remark)) for remark in remarks),
        **text,
        **numbers,
    )


def read_records(folder: Path, about: Mapping[str, Any]) -> dict[str, CellRecord]:
    """The cells that are done, by id; `about` is what `grid.json` says. Raises CheckpointError for a damaged file."""
    if "cells" in about:
        return read_packed(folder, about)
    ids = [f"{about['sweep']}/{arm}/seed-{seed}" for arm in about["arms"] for seed in about["seeds"]]
    return {id: read_cell(folder / id) for id in ids if (folder / id / "result.json").exists()}


def pack(folder: Path) -> None:
    """Bring the files of a finished grid's cells into `grid.json` and one `ranks.safetensors`, and remove them.

    What else lies in the folders of cells (agents, logs) stays. A grid that is packed already is left as it is, but for
    files that a kill kept from being removed.

    Raises:
        ConfigError: cells are missing, or a runner works there. Otherwise as `read_grid`.
    """

    def refuse() -> None:
        raise ConfigError(f"{folder}: a runner works there; wait for its end")

    grid, about = read_grid(folder), read_json(folder / "grid.json")
    with RunFolder(folder, "grid.json", lock=".grid.lock").locked(refuse):
        if grid.missing:
            raise ConfigError(f"{folder}: lacks {grid.missing[0]} and {len(grid.missing) - 1} more; finish it first")
        records = read_records(folder, about)
        if "cells" not in about:
            write_grid(folder, about, records)
            packed = read_records(folder, read_json(folder / "grid.json"))
            if not all(_same(packed[id], record) for id, record in records.items()):
                raise CheckpointError(f"{folder / 'grid.json'}: is not what its cells say; they are kept")
        for id in records:
            for name in CELL_FILES:
                (folder / id / name).unlink(missing_ok=True)
            for empty in (folder / id, *(folder / id).parents):
                if empty == folder or not empty.is_dir() or any(empty.iterdir()):
                    break
                empty.rmdir()


def _same(one: CellRecord, other: CellRecord) -> bool:
    ranks = [
        (a is None) == (b is None) and (a is None or b is None or np.array_equal(a.rank, b.rank))
        for a, b in ((one.refined, other.refined), (one.baseline, other.baseline))
    ]
    result = {key: value for key, value in other.result.items() if key in one.result}  # less what follows from ranks
    return all(ranks) and (one.split, one.manifest, one.result) == (other.split, other.manifest, result)


def _checked(folder: Path, id: str, record: CellRecord, photos: int, sketches: int) -> Cell:
    file, result = folder / id, record.result
    evaluation = _ranks(file, record.refined, photos, sketches)
    for name, value in _metrics(file, result, "metrics").items():
        if abs(found := evaluation.per_sketch(name).mean() - value) > _TOLERANCE:
            raise CheckpointError(f"{file}: its {name} is {-found:+.2f} from that of the ranks; run it again")
    history = _field(file, result, "history", list)
    if not all(isinstance(look, dict) for look in history):
        raise CheckpointError(f"{file}: history holds what is no look at validation; run it again")
    looks = [(look.get("timesteps"), look.get("val_m_at_b")) for look in history]
    tau = _floats(file, _field(file, result, "tau_by_step", list), "tau_by_step")
    if len(tau) != evaluation.rank.shape[1] - 1:
        raise CheckpointError(f"{file}: tau_by_step has {len(tau)} values; want one less than steps; run it again")
    return Cell(
        evaluation,
        None if record.baseline is None else _ranks(file, record.baseline, photos, sketches),
        record.split,
        _floats(file, [look for look in looks if look[1] is not None], "history").reshape(-1, 2),
        tau,
        _field(file, result, "seconds", (int, float, type(None))),
        _metrics(file, result, "baseline"),
        _field(file, result, "settings", dict),
        dict(record.manifest),
    )


def _ranks(file: Path, found: Evaluation, photos: int, sketches: int) -> Evaluation:
    """The ranks, once they are seen to be some of `sketches` drawings among `photos`."""
    rank, lengths = found.rank, found.lengths
    fits = rank.shape[1] > 0 and len(rank) == sketches and len(found.sketch_ids) in (0, sketches)
    fits = fits and bool(((lengths >= 1) & (lengths <= rank.shape[1])).all())
    drawn = np.arange(rank.shape[1]) < lengths[:, None]
    if not fits or ((rank < 1) | (rank > photos))[drawn].any():
        raise CheckpointError(f"{file}: want ranks 1..{photos} of {sketches} sketches; run it again")
    return Evaluation(rank, lengths, photos, found.sketch_ids or tuple(map(str, range(sketches))))


def _drawings(cell: Cell) -> tuple[Any, ...]:
    """What all arms must share to be paired."""
    return cell.split, cell.evaluation.sketch_ids


def _comparable(of_arm: list[Cell]) -> bool:
    """Whether the seeds of an arm share their frames and, on the same bank, B1; arms may differ in both."""
    first: dict[Any, dict[str, float]] = {}
    for cell in of_arm:
        first.setdefault(cell.settings.get("bank_sha256"), cell.baseline)
    return all(
        cell.evaluation.rank.shape == of_arm[0].evaluation.rank.shape
        and cell.evaluation.lengths.tolist() == of_arm[0].evaluation.lengths.tolist()
        and cell.baseline == first[cell.settings.get("bank_sha256")]
        for cell in of_arm
    )


def _metrics(file: Path, content: Mapping[str, Any], key: str) -> dict[str, float]:
    values = _field(file, content, key, dict)
    numbers = _floats(file, [_field(file, values, name, (int, float)) for name in METRICS], key)
    return dict(zip(METRICS, numbers.tolist(), strict=True))


def _field(file: Path, content: Mapping[str, Any], key: str, kind: Any) -> Any:
    value = content.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise CheckpointError(f"{file}: {key} is missing or of another kind; run it again")
    return value


def _floats(file: Path, values: list[Any], key: str) -> FloatArray:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{file}: {key} holds what is no number; run it again") from error
    if not np.isfinite(numbers).all():
        raise CheckpointError(f"{file}: {key} holds a number that is not finite; run it again")
    return numbers
