"""Arms beside B1, their own encoder without refinement, on the same drawings: points gained and strokes saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..metrics import METRICS, Evaluation
from ..statistics import Estimate, Inference
from .results import Cell, Grid
from .strokes import curve_saved, share_that_saves, strokes_saved


def gains(grid: Grid) -> dict[str, dict[str, Inference]]:
    """Arm -> difference to B1 in m@A, m@B, A@1, A@5 and A@10, percent, for the arms that refine.

    The interval takes photos, sketches, seeds and encoders as random; its ends are nan where the grid does not hold
    the ranks of B1 on the encoder of every cell, but its scores alone.
    """
    found = {}
    for name, cells in grid.cells.items():
        if not cells or _is_b1(grid, name):
            continue
        b1 = [ranks_of_b1(grid, cell) for cell in cells.values()]
        found[name] = {metric: _gain(grid, name, metric, b1) for metric in METRICS}
    return found


def _gain(grid: Grid, name: str, metric: str, b1: list[Evaluation | None]) -> Inference:
    known = [one.per_sketch(metric) for one in b1 if one is not None]
    if len(known) == len(b1):
        return grid.nested(name, grid.per_sketch(name, metric) - np.stack(known))
    alone = grid.baseline_of(name)[metric]
    difference = float(grid.per_sketch(name, metric).mean() - alone)
    return Inference(Estimate(difference, np.nan, np.nan), np.nan, np.inf, np.inf)


@dataclass(frozen=True)
class Saved:
    """How many strokes fewer than B1 an arm needs, percent (`strokes`): by sketch, for q of 1, 5 and 10, and by curve.

    Attributes:
        first, staying: of the first entry into the first q, and of the one after which it stays there.
        share: percent of sketches that save 30 % or more until the first entry into the first 10.
        curve: of A@10, until the arm has B1's score on complete sketches.
    """

    first: dict[int, Estimate]
    staying: dict[int, Estimate]
    share: Estimate
    curve: Estimate


def saved(grid: Grid) -> dict[str, Saved]:
    """Arm -> strokes saved, for the arms of which the ranks of B1 on the same encoders are known."""
    found = {}
    for name, cells in grid.cells.items():
        beside = [ranks_of_b1(grid, cell) for cell in cells.values()]
        b1 = [one.rank for one in beside if one is not None]
        if not cells or len(b1) < len(cells) or _is_b1(grid, name):
            continue
        ours = np.stack([cell.evaluation.rank for cell in cells.values()])
        if ours.shape[1:] != b1[0].shape:
            continue  # an arm whose drawings have other frames
        given: dict[str, Any] = {
            "lengths": next(iter(cells.values())).evaluation.lengths,
            "photos": grid.photo_of_sketch,
            "encoders": grid.encoders(name),
        }
        other = np.stack(b1)
        found[name] = Saved(
            {q: strokes_saved(ours, other, q=q, **given) for q in (1, 5, 10)},
            {q: strokes_saved(ours, other, q=q, staying=True, **given) for q in (1, 5, 10)},
            share_that_saves(ours, other, q=10, **given),
            curve_saved(ours, other, gallery=grid.photos, score="A@10", **given),
        )
    return found


def ranks_of_b1(grid: Grid, cell: Cell) -> Evaluation | None:
    """Those of B1 on the encoder of a cell: kept with it, or an arm of the grid."""
    if cell.b1 is not None:
        return cell.b1
    bank = cell.settings.get("bank_sha256")
    arms = [arm for arm, line in grid.published_as.items() if line == "B1"]
    same = [
        one.evaluation
        for arm in arms
        for one in grid.cells.get(arm, {}).values()
        if bank and one.settings.get("bank_sha256") == bank
    ]
    return same[0] if same else None


def _is_b1(grid: Grid, name: str) -> bool:
    """Whether an arm refines nothing: an encoder alone."""
    alone = any(cell.settings.get("agent") == "b1" for cell in grid.cells[name].values())
    return alone or grid.published_as.get(name, name) == "B1"
