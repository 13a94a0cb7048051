"""When lists are shown: what a report of `Stop-v0` has besides. Returns are times 100, shares in percent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..statistics import Estimate, Inference, holm, listed, p_value, text
from ..stopping import Stopping
from .results import Cell, FloatArray, Grid

SHOWN = (
    "When the list is shown. return: 100 (1/rank of the list shown - cost of the strokes before it); used: percentage "
    "of the drawing; A@q: of the list shown. Rivals learn nothing, show B1's lists, and were chosen on validation."
)
SHOWN_HEADER = (
    "arm", "cost of a stroke", "return", "used", "A@1", "A@5", "A@10", "difference in return", "p (Holm)",
    "above the fixed share", "p (Holm) ", "above the margin", "p (Holm)  ",
)  # fmt: skip


@dataclass(frozen=True)
class ShownRow:
    """An arm, or a rival; `versus` are None where there is nothing to compare.

    Attributes:
        stroke_cost: times 100.
        means: of used, A@1, A@5 and A@10.
        reference: arm less reference, with its p adjusted over the arms; only at the same cost.
        rivals: arm less the fixed share, and less the margin, each with its p adjusted over all of them.
    """

    label: str
    stroke_cost: float
    returned: Estimate
    means: tuple[float, ...]
    reference: tuple[Inference, float] | None
    rivals: tuple[tuple[Inference, float], ...]


def when_shown(grid: Grid) -> list[ShownRow]:
    """A row per arm, then one per rival; none in a grid of another task."""
    arms = {name: list(of_arm.values()) for name, of_arm in grid.cells.items() if of_arm}
    if any(cell.evaluation.stopping is None for cells in arms.values() for cell in cells):
        return []
    versus = {name: [_less(grid, name, _paid([rival])) for rival in _rivals(cells[0])] for name, cells in arms.items()}
    p = iter(holm([one.p for of_arm in versus.values() for one in of_arm]).tolist())
    adjusted = {name: tuple((one, next(p)) for one in of_arm) for name, of_arm in versus.items()}
    others = [name for name, cells in arms.items() if name != grid.reference and _alike(grid, cells)]
    beside = {name: _to_reference(grid, name) for name in others}
    q = holm([one.p for one in beside.values()]).tolist()
    references = {name: (one, value) for (name, one), value in zip(beside.items(), q, strict=True)}
    rows = [
        _row(
            grid.arms[name],
            cells[0].evaluation.stroke_cost,
            grid.nested(name, _paid(map(_of, cells))).estimate,
            list(map(_of, cells)),
            references.get(name),
            adjusted[name],
        )
        for name, cells in arms.items()
    ]
    known = {}
    for name, cells in arms.items():
        for label, rival in cells[0].rivals.items():
            if rival.stopping is not None and (label, rival.stroke_cost) not in known:
                one = grid.nested(name, _paid([rival.stopping]), list(grid.cells[name])[:1]).estimate
                known[label, rival.stroke_cost] = _row(label, rival.stroke_cost, one, [rival.stopping])
    return [*rows, *known.values()]


def shown_table(grid: Grid) -> list[list[str]]:
    """The rows as text, below `SHOWN_HEADER`."""
    found = []
    for row in when_shown(grid):
        parts = (row.reference, *(row.rivals or (None, None)))
        versus: list[str] = []
        for part in parts:
            versus += ["-", "-"] if part is None else [text(part[0].estimate, "+"), p_value(part[1])]
        means = [f"{value:.2f}" for value in row.means]
        found.append([row.label, f"{row.stroke_cost:g}", text(row.returned), *means, *versus])
    return found


def shown_reading(grid: Grid) -> list[str]:
    """What returns say, in sentences; nothing that an interval does not bear out."""
    rows = when_shown(grid)
    versus_rivals = [(row.label, {_side(*one) for one in row.rivals}) for row in rows if row.rivals]
    versus_reference = [(row.label, {_side(*row.reference)}) for row in rows if row.reference]
    reference = grid.arms[grid.reference]
    said = []
    for found, words, family in (
        (versus_rivals, "both rivals that learn nothing", "over all arms and both rivals"),
        (versus_reference, reference, "over the arms"),
    ):
        groups: dict[str, list[str]] = {}
        for label, sides in found:
            verdict = f"{sides.pop()} {words}" if len(sides) == 1 else f"told apart from one alone of {words}"
            groups.setdefault(verdict, []).append(label)
        drawn = "photos, sketches and seeds drawn anew"
        said += [
            f"In return, {listed(labels)} {'is' if len(labels) == 1 else 'are'} {verdict} (at 5 %, Holm-adjusted "
            f"{family}; {drawn})."
            for verdict, labels in groups.items()
        ]
    return said


def _side(one: Inference, p: float) -> str:
    return "not told apart from" if p > 0.05 else "above" if one.estimate.value > 0 else "below"


def _row(
    label: str,
    cost: float,
    returned: Estimate,
    every: list[Stopping],
    reference: tuple[Inference, float] | None = None,
    rivals: tuple[tuple[Inference, float], ...] = (),
) -> ShownRow:
    means = np.mean([list(one.summary().values())[1:] for one in every], axis=0).tolist()
    return ShownRow(label, 100 * cost, returned, tuple(means), reference, rivals)


def _of(cell: Cell) -> Stopping:
    found = cell.evaluation.stopping
    assert found is not None  # asked for only where it is there
    return found


def _rivals(cell: Cell) -> list[Stopping]:
    return [one.stopping for one in cell.rivals.values() if one.stopping is not None]


def _paid(every: Iterable[Stopping]) -> FloatArray:
    """Returns [S, N]."""
    return 100 * np.stack([one.paid for one in every])


def _less(grid: Grid, arm: str, rival: FloatArray) -> Inference:
    return grid.nested(arm, _paid(map(_of, grid.cells[arm].values())) - rival)


def _alike(grid: Grid, cells: list[Cell]) -> bool:
    """Whether a stroke costs what it does in the reference, which has a seed in common."""
    reference = list(grid.cells[grid.reference].values())
    return bool(reference) and cells[0].evaluation.stroke_cost == reference[0].evaluation.stroke_cost


def _to_reference(grid: Grid, arm: str) -> Inference:
    seeds = [seed for seed in grid.cells[arm] if seed in grid.cells[grid.reference]]
    ours, theirs = (_paid(_of(grid.cells[name][seed]) for seed in seeds) for name in (arm, grid.reference))
    return grid.nested(arm, ours - theirs, seeds)
