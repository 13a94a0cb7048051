"""Carries out a grid of cells: each a job of its own, in a folder of its own, finished exactly once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from sketchless.datasets.errors import ConfigError, unknown_name

from ..display.terminal import Terminal
from ..runs import RunFolder, is_below, read_json
from ..training import Progress
from .cells import Cell, begun_with, experiment, may_differ, run_folder_of
from .executors import EXECUTORS
from .progress import GridProgress

__all__ = ["Cell", "Progress", "run_cells"]


def check_options(workers: int, executor: str, gpus: float) -> None:
    """Raise ConfigError for what `run_cells` could not run with."""
    if executor not in EXECUTORS:
        raise unknown_name("executor", executor, EXECUTORS)
    if workers < 1:
        raise ConfigError(f"workers={workers}: must be at least 1")
    if not (math.isfinite(gpus) and gpus >= 0):
        raise ConfigError(f"gpus={gpus}: must be 0 or above")


def run_cells(
    cells: Sequence[Cell],
    folder: Path,
    workers: int = 1,
    executor: str = "local",
    gpus: float = 0.0,
    console: Console | None = None,
    begin: Callable[[RunFolder], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Carry out all cells that are not finished yet; return the results of all, by id.

    Cell `id` lives in `folder/id`: `manifest.json`, `output.txt` (what it printed), whatever its experiment
    keeps there to go on from, and at the end `result.json`, or `error.txt` if it failed. The same call takes
    a grid up again after any end, a kill included: finished cells are kept, all others run.
    A setting named `logger` says what is told on the way and changes no result: a grid may go on with another one.
    Workers are fresh processes, so a script calls this below `if __name__ == "__main__":`.

    Args:
        cells: the grid; ids are unique.
        folder: the grid's folder. On a cluster, one that all nodes see under the same name.
        workers: processes at a time on this machine, which share its cores. A cluster runs as many as fit, a core each.
        executor: `"local"`, or `"ray"` (the cluster at RAY_ADDRESS, else one on this machine).
        gpus: GPUs, or the share of one, that each cell takes on the cluster.
        console: where progress is shown; live on a terminal, else one line per cell that ends.
        begin: called once the folder is this runner's alone, before any work; raises to refuse it.

    Raises:
        ConfigError: a cell, an option or the folder makes no sense, a folder holds the same cell with other
            settings, or another runner works there.
        CheckpointError, ResourceError: cells failed, after all others have run; names the first.
        Interrupted: SIGINT or SIGTERM came; running cells have saved their state.
    """
    check_options(workers, executor, gpus)
    _check_ids(cells)

    def refuse() -> None:
        raise ConfigError(f"{folder}: another runner works there; wait for its end or choose another folder")

    with RunFolder(folder, "grid.json", lock=".grid.lock").locked(refuse) as run:
        if begin is not None:
            begin(run)
        for cell in cells:
            _refuse_other(cell, folder)
        finished = {cell.id for cell in cells if (folder / cell.id / "result.json").exists()}
        todo = [cell for cell in cells if cell.id not in finished]
        progress = GridProgress([cell.id for cell in cells], finished, console or Terminal())
        if todo:
            with progress:
                EXECUTORS[executor](todo, folder, workers, gpus, progress)
        progress.verdict(folder)
        return {cell.id: read_json(folder / cell.id / "result.json") for cell in cells}


def _check_ids(cells: Sequence[Cell]) -> None:
    if not cells:
        raise ConfigError("the grid has no cells; choose at least one arm and one seed")
    seen: set[str] = set()
    for cell in cells:
        if not is_below(cell.id):
            raise ConfigError(
                f"cell {cell.id!r}: is no folder below the grid's; use an id such as 'methods/trpo/seed-3'"
            )
        if cell.id in seen:
            raise ConfigError(f"cell {cell.id!r}: stands in the grid twice; give each cell an id of its own")
        seen.add(cell.id)


def _refuse_other(cell: Cell, folder: Path) -> None:
    """Refuse, before any work, a cell that cannot run or that was begun with other settings."""
    experiment(cell)
    try:
        json.dumps(dict(cell.settings), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"cell {cell.id!r}: its settings are no plain JSON values ({error})") from error
    try:
        run_folder_of(cell, folder).refuse_other(begun_with(cell), may_differ(cell))
    except ConfigError as error:
        raise ConfigError(f"cell {cell.id}: {error}") from error
