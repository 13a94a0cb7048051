"""What the cells of an ablation's grid wrote, read back and checked: a report needs nothing else."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, PositiveInt
from typing_extensions import NotRequired, TypedDict

from sketchless.datasets.errors import CheckpointError, ConfigError, printable
from sketchless.datasets.schema import conform

from ..grid_file import CELL_FILES, CellRecord, read_cell, read_packed, write_grid
from ..metrics import METRICS, Evaluation
from ..runs import RunFolder, first_of_each, is_below, read_json
from ..statistics import Inference, pigeonhole_bootstrap

FloatArray = npt.NDArray[np.float64]
_TOLERANCE = 0.01  # percent: metrics may be written rounded


class About(TypedDict):
    """What `grid.json` says of the whole grid."""

    sweep: str
    title: str
    arms: list[str]
    labels: dict[str, str]
    reference: str
    family: str
    seeds: list[int]
    published: str | None
    published_as: NotRequired[dict[str, str]]
    setting_of: NotRequired[dict[str, str]]
    seeds_per_bank: NotRequired[dict[str, PositiveInt]]
    once: NotRequired[dict[str, PositiveInt]]  # its name before 0.3
    remarks: NotRequired[list[str]]
    command: str
    dataset: str
    photos: PositiveInt
    sketches: PositiveInt


class History(TypedDict):
    """A row of the history of validation."""

    timesteps: float
    val_m_at_b: NotRequired[float | None]


Scores = TypedDict("Scores", {"m@A": float, "m@B": float, "A@1": float, "A@5": float, "A@10": float})


MAX_VALIDATION = 100_000  # sketches on which settings are chosen: their redraws take 40 kB each
_Percent = Annotated[float, Field(ge=0, le=100)]
_Count = Annotated[int, Field(ge=1, le=MAX_VALIDATION)]
ByPhoto = TypedDict(
    "ByPhoto", {"photos": list[str], "sketches": list[_Count], "m@A": list[_Percent], "m@B": list[_Percent]}
)


class Result(TypedDict):
    """What a report reads of a `result.json`."""

    metrics: Scores
    baseline: Scores
    history: list[History]
    tau_by_step: list[float]
    seconds: float | None
    settings: dict[str, Any]
    by_photo: NotRequired[ByPhoto]
    agent_settings: NotRequired[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Cell:
    """One arm with one seed.

    Attributes:
        evaluation: ranks on the drawings of `split`.
        b1: ranks of B1 on them; None in grids of version 0.1.0.
        split: `test`, or `validation` where settings are chosen.
        history: evaluations on the validation drawings [P, 2]: environment steps, m@B in percent.
        tau: [T - 1], mean Kendall-tau distance (0..1) between the lists of one frame and the next.
        seconds: of training; None if that was interrupted.
        baseline: metrics of B1 on the same drawings, percent.
        rivals: in `Stop-v0`, ranks of B1 as rivals that learn nothing show them, by name.
        settings: of the cell; `agent_settings`: of the agent, all of them; none in files that do not say.
        by_photo: where settings are chosen, m@A and m@B of the validation photos, and how many sketches each has.
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
    rivals: Mapping[str, Evaluation]
    agent_settings: dict[str, Any]
    by_photo: ByPhoto | None

    def on_validation(self, metric: str) -> FloatArray:
        """m@A or m@B of each validation sketch, for which the mean of its photo's sketches stands: [V]."""
        assert self.by_photo is not None  # asked for only where settings are chosen
        return np.repeat(self.by_photo[metric], self.by_photo["sketches"])  # type: ignore[literal-required]

    @property
    def validation_photos(self) -> tuple[str, ...]:
        """The photo of each validation sketch: V names."""
        assert self.by_photo is not None
        return tuple(np.repeat(self.by_photo["photos"], self.by_photo["sketches"]).tolist())


@dataclass(frozen=True, eq=False)
class Grid:
    """A sweep: arms with seeds, and the cells that are there.

    Attributes:
        arms: name -> text for tables, in their order.
        reference: arm against which differences are taken.
        family: which comparisons are adjusted together, in words.
        published: table of the paper to show beside it, or None.
        published_as: arm -> its line in that table, where that is not its own name.
        setting_of: arm -> the method of which it is a setting, in words, where one of each is chosen on validation.
        seeds_per_bank: arm -> number of banks, for arms that have one seed for each.
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
    seeds_per_bank: dict[str, int]
    remarks: tuple[str, ...]
    setting_of: dict[str, str]

    def planned(self, arm: str) -> tuple[int, ...]:
        """Seeds that the arm is to have."""
        banks = self.seeds_per_bank.get(arm)
        return self.seeds if banks is None else tuple(first_of_each(self.seeds, banks))

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
        """Metrics of B1 beside the reference, percent; None where B1 is an arm, or the reference an encoder alone."""
        first = next(arm for arm in (self.reference, *self.arms) if self.cells[arm])
        alone = self.example.settings.get("agent") == "b1"
        return None if alone or "B1" in self.published_as.values() else self.baseline_of(first)

    def baseline_of(self, arm: str) -> dict[str, float]:
        """Metrics of B1 beside an arm that is there, percent: the mean over its seeds, each on its own encoder."""
        cells = self.cells[arm].values()
        return {metric: float(np.mean([cell.baseline[metric] for cell in cells])) for metric in METRICS}

    @property
    def split(self) -> str:
        """What was measured on: `test` or `validation`."""
        return self.example.split

    @property
    def photo_of_sketch(self) -> tuple[str, ...]:
        """Of each sketch, the photo that it depicts: N names."""
        return self.example.evaluation.photo_ids

    def per_sketch(self, arm: str, metric: str, seeds: list[int] | None = None) -> FloatArray:
        """One value per seed and sketch, percent: [S, N]."""
        cells = self.cells[arm]
        return np.stack([cells[s].evaluation.per_sketch(metric) for s in (seeds or cells)])

    def nested(self, arm: str, values: FloatArray, seeds: Sequence[int] = ()) -> Inference:
        """Mean of values [S, N] of an arm's seeds (all, if none are named), with what is random in them."""
        return pigeonhole_bootstrap(values, self.photo_of_sketch, self.encoders(arm, seeds))

    def encoders(self, arm: str, seeds: Sequence[int] = ()) -> list[str]:
        """On which encoder each of an arm's seeds (all, if none are named) stands: the hash of its bank.

        Banks on which B1 has the same ranks are one encoder's, and go by the first in the grid: made again on another
        processor, a bank differs in its last bits.
        """
        cells = self.cells[arm]
        return [self._encoder(cells[seed]) for seed in seeds or cells]

    def _encoder(self, cell: Cell) -> str:
        bank = str(cell.settings.get("bank_sha256", ""))
        return bank if cell.b1 is None else self._first_banks[cell.b1.rank.tobytes()]

    @functools.cached_property
    def _first_banks(self) -> dict[bytes, str]:
        """Ranks of B1 -> the first bank on which it has them."""
        first = dict[bytes, str]()
        for cell in (cell for of_arm in self.cells.values() for cell in of_arm.values()):
            if cell.b1 is not None:
                first.setdefault(cell.b1.rank.tobytes(), str(cell.settings.get("bank_sha256", "")))
        return first

    def runs(self, arm: str, seeds: list[int] | None = None) -> FloatArray:
        """m@B of each seed, percent: [S, 1], a score matrix with one task."""
        means: FloatArray = self.per_sketch(arm, "m@B", seeds).mean(axis=1, keepdims=True)
        return means


def read_grid(folder: Path) -> Grid:
    """Read `grid.json` and every cell that is done, in the two files of a packed grid or in folders of their own.

    Raises:
        CheckpointError: no grid, no cell at all, or a file that is damaged or contradicts the others.
    """
    file = folder / "grid.json"
    about = _read_about(file)
    names, seeds = about["arms"], about["seeds"]
    if about["reference"] not in names or len(set(names)) != len(names) or len(set(seeds)) != len(seeds):
        raise CheckpointError(f"{file}: arms or seeds stand there twice, or the reference is no arm; run it again")
    cells: dict[str, dict[int, Cell]] = {name: {} for name in names}
    records = read_records(folder, about)
    for name in names:
        for seed in sorted(seeds):
            if (id := f"{about['sweep']}/{name}/seed-{seed}") in records:
                cells[name][seed] = _checked(folder, id, records[id], about["photos"], about["sketches"])
    if unknown := records.keys() - {f"{about['sweep']}/{name}/seed-{seed}" for name in names for seed in seeds}:
        raise CheckpointError(f"{file}: its cell {min(unknown)!r} is of no arm and seed that it lists; pack it again")
    there = [list(of_arm.values()) for of_arm in cells.values() if of_arm]
    if not there:
        raise CheckpointError(f"{folder}: no cell of the grid is done; run it first")
    alike = all(_drawings(cell) == _drawings(there[0][0]) for of_arm in there for cell in of_arm)
    if not alike or not all(map(_comparable, there)):
        raise CheckpointError(f"{folder}: its cells were measured on different drawings; run it again")
    chosen_on = [cell.by_photo for of_arm in there for cell in of_arm] if about.get("setting_of") else []
    if set(about.get("setting_of", names)) != set(names):
        raise CheckpointError(f"{file}: does not say of which method each arm is a setting; run it again")
    if any(one is None or not _same_photos(one, chosen_on[0]) for one in chosen_on):
        raise CheckpointError(
            f"{folder}: not all of its cells say how they do on the same validation photos; run it again"
        )
    labels = about["labels"]
    return Grid(
        sweep=about["sweep"],
        title=printable(about["title"]),
        arms={name: printable(labels.get(name, name)) for name in names},
        reference=about["reference"],
        family=printable(about["family"]),
        seeds=tuple(seeds),
        published=about["published"],
        dataset=printable(about["dataset"]),
        command=printable(about["command"]),
        photos=about["photos"],
        sketches=about["sketches"],
        cells=cells,
        published_as=about.get("published_as", {}),
        seeds_per_bank=about.get("seeds_per_bank", about.get("once", {})),
        remarks=tuple(map(printable, about.get("remarks", []))),
        setting_of={arm: printable(method) for arm, method in about.get("setting_of", {}).items()},
    )


def _read_about(file: Path) -> Any:
    """What `grid.json` says, checked to be a grid's."""
    about = read_json(file)
    conform(About, about, file, error=CheckpointError, cure="run it again")
    return about


def read_records(folder: Path, about: Mapping[str, Any]) -> dict[str, CellRecord]:
    """The cells that are done, by id; `about` is what `grid.json` says. Raises CheckpointError for a damaged file."""
    packed = read_packed(folder, about) if "cells" in about else None
    ids = packed or [f"{about['sweep']}/{arm}/seed-{seed}" for arm in about["arms"] for seed in about["seeds"]]
    for id in ids:  # from whose folders `pack` removes files
        if not is_below(id):
            raise CheckpointError(f"{folder}: its cell {id!r} is no folder below the grid's; run it again")
    if packed is not None:
        return packed
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

    grid, about = read_grid(folder), _read_about(folder / "grid.json")
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
    ranks.append(_steps(one) == _steps(other))
    result = {key: value for key, value in other.result.items() if key in one.result}  # less what follows from ranks
    return all(ranks) and (one.split, one.manifest, one.result) == (other.split, other.manifest, result)


def _steps(record: CellRecord) -> dict[str, tuple[float, list[int]]]:
    """When lists are shown, and at what cost, by whom: "" for the agent."""
    every = {"": record.refined, **record.rivals}
    return {name: (one.stroke_cost, one.shown.tolist()) for name, one in every.items() if one.shown is not None}


def _checked(folder: Path, id: str, record: CellRecord, photos: int, sketches: int) -> Cell:
    where = folder / id
    result = conform(Result, record.result, f"{where}: result", error=CheckpointError, cure="run it again")
    evaluation = _ranks(where, record.refined, photos, sketches)
    b1 = None if record.baseline is None else _ranks(where, record.baseline, photos, sketches)
    for ranks, said, of in ((evaluation, result["metrics"], ""), (b1, result["baseline"], " of B1")):
        for name in METRICS if ranks else ():
            found = said[name] - ranks.per_sketch(name).mean()  # type: ignore[literal-required, union-attr]
            if abs(found) > _TOLERANCE:
                raise CheckpointError(f"{where}: its {name}{of} is {found:+.2f} from that of the ranks; run it again")
    tau = np.array(result["tau_by_step"], dtype=np.float64)
    if len(tau) != evaluation.rank.shape[1] - 1:
        raise CheckpointError(f"{where}: tau_by_step has {len(tau)} values; want one less than steps; run it again")
    rows = [(row["timesteps"], row["val_m_at_b"]) for row in result["history"] if row.get("val_m_at_b") is not None]
    return Cell(
        evaluation,
        b1,
        record.split,
        np.array(rows, dtype=np.float64).reshape(-1, 2),
        tau,
        result["seconds"],
        dict(result["baseline"]),  # type: ignore[arg-type]
        result["settings"],
        dict(record.manifest),
        record.rivals,
        dict(result.get("agent_settings", {})),
        result.get("by_photo"),
    )


def _ranks(file: Path, found: Evaluation, photos: int, sketches: int) -> Evaluation:
    """The ranks, once they are seen to be some of `sketches` drawings among `photos`."""
    rank, lengths = found.rank, found.lengths
    fits = rank.shape[1] > 0 and len(rank) == sketches and len(found.sketch_ids) in (0, sketches)
    fits = fits and bool(((lengths >= 1) & (lengths <= rank.shape[1])).all())
    drawn = np.arange(rank.shape[1]) < lengths[:, None]
    if not fits or ((rank < 1) | (rank > photos))[drawn].any():
        raise CheckpointError(f"{file}: want ranks 1..{photos} of {sketches} sketches; run it again")
    names = found.sketch_ids or tuple(map(str, range(sketches)))
    return replace(found, gallery=photos, sketch_ids=names, photo_ids=found.photo_ids or names)


def _drawings(cell: Cell) -> tuple[Any, ...]:
    """What all arms must share to be paired."""
    return cell.split, cell.evaluation.sketch_ids


def _same_photos(one: ByPhoto, other: ByPhoto | None) -> bool:
    """Whether both are of the same photos, at least one, each once, with as many sketches and values as names."""
    found = one["photos"], one["sketches"]
    sizes = {len(one[name]) for name in ("photos", "sketches", "m@A", "m@B")} | {len(set(one["photos"]))}
    fits = len(sizes) == 1 and 0 not in sizes and sum(one["sketches"]) <= MAX_VALIDATION
    return fits and other is not None and found == (other["photos"], other["sketches"])


def _comparable(of_arm: list[Cell]) -> bool:
    """Whether the seeds of an arm share their frames and, on the same bank, B1; arms may differ in both."""
    first: dict[Any, dict[str, float]] = {}
    for cell in of_arm:
        first.setdefault(str(cell.settings.get("bank_sha256", "")), cell.baseline)
    return all(
        cell.evaluation.rank.shape == of_arm[0].evaluation.rank.shape
        and cell.evaluation.lengths.tolist() == of_arm[0].evaluation.lengths.tolist()
        and cell.baseline == first[str(cell.settings.get("bank_sha256", ""))]
        for cell in of_arm
    )
