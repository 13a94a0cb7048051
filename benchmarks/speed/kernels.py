"""`bench kernels`: rank, Kendall tau and rasteriser beside what others would write."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from rich.console import Console
from scipy.stats import kendalltau, rankdata
from torch import Tensor

from sketchless.datasets.procedural.chairs.dataset import procedural
from sketchless.datasets.raster import birth_map, frames
from sketchless.datasets.sketch import CANVAS, Sketch, reveal
from sketchless.envs.ranking import kendall_tau_distance, target_rank

from .measure import STEPS, BenchConfig, Job, Reading, measure, number_table, ratio_record, times
from .reference_raster import plain_frames


def bench_kernels(config: BenchConfig, console: Console) -> dict[str, Any]:
    """Kendall tau, ranks and frames against scipy, a plain loop and reading or writing the memory alone."""
    cells: list[Reading] = []
    for size in config.galleries:
        console.print(f"measuring with {size} photos ...")
        cells += _list_kernels(config, size)
    cells += _raster_kernel(config)
    groups: dict[tuple[str, int | None], dict[str, Reading]] = {}
    for cell in cells:
        kind, _, name = cell.what.partition(" ")
        groups.setdefault((kind, cell.gallery), {})[name] = cell
    ratios = []
    for (kind, gallery), group in groups.items():
        table = number_table(f"{kind}, {gallery} photos" if gallery else kind, "us each", "ours is faster by", "aim")
        for name, cell in group.items():
            found = times(group["ours"], cell)
            record = ratio_record(f"{kind} over {name}", gallery, None, found)
            aim = f"{record['aim']:g}" if record["aim"] else ""
            table.add_row(name, f"{1e6 / cell.rate:,.2f}", str(found), aim)
            if name != "ours":
                ratios.append(record)
        console.print(table)
    return {"cells": [cell.as_json() for cell in cells], "ratios": ratios}


def _list_kernels(config: BenchConfig, size: int) -> list[Reading]:
    """Pairs of lists that differ as those of neighbouring steps do, and targets to rank among them."""
    rows = max(1, min(1024, (1 << 16 if config.quick else 1 << 20) // size))
    rng = np.random.default_rng(0)
    before = rng.standard_normal((rows, size))
    after = before + 0.3 * rng.standard_normal((rows, size))
    target = rng.integers(size, size=rows)
    a, b, own = (torch.from_numpy(array).to(config.device) for array in (before, after, target))
    few = range(max(1, min(rows, 4)))

    def scipy_tau() -> None:
        for i in few:
            kendalltau(before[i], after[i])

    def loop_tau() -> None:
        x, y = before[0], after[0]
        sum(int(((x[i] - x[i + 1 :]) * (y[i] - y[i + 1 :]) < 0).sum()) for i in range(size - 1))

    def scipy_rank() -> None:
        for i in few:
            rankdata(-before[i], method="max")[target[i]]

    def loop_rank() -> None:
        values, similarity = before[0].tolist(), before[0, target[0]]
        sum(1 for value in values if value >= similarity)

    def rank_floor() -> Tensor:
        return (a >= 0).sum(dim=1)

    work: dict[tuple[str, int], tuple[Job, int]] = {
        ("tau ours", rows): (partial(kendall_tau_distance, a, b), rows),
        ("tau scipy", len(few)): (scipy_tau, len(few)),
        ("tau loop", 1): (loop_tau, 1),
        ("tau floor", rows): (lambda: (a.sum(dim=1), b.sum(dim=1)), rows),
        ("rank ours", rows): (partial(target_rank, a, own), rows),
        ("rank scipy", len(few)): (scipy_rank, len(few)),
        ("rank loop", 1): (loop_rank, 1),
        ("rank floor", rows): (rank_floor, rows),
    }
    return [replace(cell, steps=None) for cell in measure(work, config, size, 0)]


def _raster_kernel(config: BenchConfig) -> list[Reading]:
    """The frames of procedural sketches; the floor writes as many bytes."""
    split = procedural(train=1, test=2 if config.quick else 8, validation=0, drawers=1).splits["test"]
    shown = [(s, reveal(s, "points", STEPS)) for s in split.sketches if isinstance(s, Sketch)]

    def ours() -> None:
        for sketch, knots in shown:
            frames(birth_map(sketch, knots), STEPS)

    def births() -> None:
        for sketch, knots in shown:
            birth_map(sketch, knots)

    def plain() -> None:
        for sketch, knots in shown[:2]:
            plain_frames(sketch.points, sketch.pen_up, knots)

    def write_floor() -> None:
        for _ in shown:
            np.empty((STEPS, CANVAS, CANVAS), dtype=np.uint8).fill(255)

    n = len(shown)
    work: dict[tuple[str, int], tuple[Job, int]] = {
        ("frames ours", n): (ours, n),
        ("frames birth-map", n): (births, n),
        ("frames plain", 2): (plain, 2),
        ("frames floor", n): (write_floor, n),
    }
    return [replace(cell, gallery=None) for cell in measure(work, config, 0, STEPS)]
