"""One cell of a grid: carried out in this process, under a lock, with its end on record in its folder."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import math
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sketchless.agents import agent_class
from sketchless.datasets.errors import ConfigError, ResourceError, SketchlessError, out_of_memory
from sketchless.datasets.files import replacing, write_json

from ..runs import Interrupted, RunFolder, other_threads
from ..training import Progress

SECONDS_BETWEEN_NOTES = 0.2
"""What a cell tells more often than this is not passed on."""

_CHANGES_NOTHING = ("logger",)


@dataclass(frozen=True)
class Cell:
    """One experiment with one choice of settings."""

    id: str
    """Its folder below the grid's folder, such as `methods/trpo/seed-3`: the arm, then what is repeated."""
    experiment: str
    """`module:function`, called as `function(settings, folder, progress)`; returns a dict of plain JSON values."""
    settings: Mapping[str, Any]
    """Plain JSON values. One beside which a `<name>_sha256` stands is a file's path; see `recorded`."""


class Outcome(NamedTuple):
    """How a cell ended: `state` is done, stopped or failed; a failure has one `line`, and may be `out_of_resources`."""

    state: str
    line: str = ""
    out_of_resources: bool = False


def experiment(cell: Cell) -> Callable[[dict[str, Any], Path, Progress], Mapping[str, Any]]:
    """The function that a cell names. Raises ConfigError if it cannot be imported."""
    module, _, function = cell.experiment.partition(":")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"experiment {cell.experiment!r} of cell {cell.id!r} cannot be imported: {error}") from error
    return found


def recorded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they are kept: a file by its name and its hash, not by where it lies; without those of the log.

    A grid can so be moved, or go on with its bank at another place, and says nothing of the machine.
    """
    kept = {name: value for name, value in settings.items() if name not in _CHANGES_NOTHING}
    return kept | {name: Path(str(kept[name])).name for name in _files(kept)}


def _files(settings: Mapping[str, Any]) -> set[str]:
    return {name for name in settings if f"{name}_sha256" in settings}


def begun_with(cell: Cell) -> dict[str, Any]:
    """What a cell's manifest says of it."""
    return {"experiment": cell.experiment, "settings": recorded(cell.settings)}


def may_differ(cell: Cell) -> set[str]:
    """Settings with another value of which a cell may go on: the log's, and paths, as their hash is compared."""
    return {*_CHANGES_NOTHING, *_files(cell.settings)}


def run_folder_of(cell: Cell, folder: Path) -> RunFolder:
    """Where a cell of the grid in `folder` is carried out."""
    return RunFolder(folder / cell.id, results="result.json")


def perform(cell: Cell, folder: Path, progress: Progress) -> Outcome:
    """Run a cell in this process, unless it is finished.

    Raises nothing: what goes wrong stands in the outcome and in the cell's `error.txt`.
    """
    gc.collect()  # cycles hold the tensors of the cell before, and few objects are too few for a collection
    home, run = folder / cell.id, run_folder_of(cell, folder)

    def wait() -> None:
        if progress(0.0, "waits for a process that still runs it"):
            raise Interrupted
        time.sleep(0.1)

    with contextlib.ExitStack() as stack:
        try:
            if progress(0.0, ""):
                raise Interrupted
            stack.enter_context(run.locked(wait))
            if run.finished:
                return Outcome("done")
            (home / "error.txt").unlink(missing_ok=True)
            earlier = run.claim(begun_with(cell), may_differ(cell))
            output = stack.enter_context(open(home / "output.txt", "a", encoding="utf-8", errors="replace"))
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                if earlier and (warning := other_threads(earlier, _varying(cell))):
                    print(warning)
                result = experiment(cell)(json.loads(json.dumps(dict(cell.settings))), home, progress)
            run.check()
            write_json(home / "result.json", dict(result))
            return Outcome("done")
        except KeyboardInterrupt:
            return Outcome("stopped")
        except BaseException as error:  # SystemExit too: a cell must not end its worker
            out_of_resources = isinstance(error, ResourceError) or out_of_memory(error)
            return _failed(home, f"{type(error).__name__}: {error}", traceback.format_exc(), out_of_resources)


def _varying(cell: Cell) -> str | None:
    """The cell's agent, if the number of threads changes its last digits."""
    name = cell.settings.get("agent")
    return name if name is not None and agent_class(name).varies_with_threads else None


def _failed(home: Path, line: str, text: str, out_of_resources: bool) -> Outcome:
    """Put a failure on record; `line` is cut to its first line."""
    with contextlib.suppress(SketchlessError), replacing(home / "error.txt") as temporary:
        temporary.write_text(text + "\n", encoding="utf-8", errors="replace")
    return Outcome("failed", line.strip().partition("\n")[0], out_of_resources)


def throttle(send: Callable[[float, str], bool]) -> Progress:
    """`send` as a `Progress` that experiments may call as often as they like."""
    last, stop = -math.inf, False

    def progress(share: float, note: str) -> bool:
        nonlocal last, stop
        if time.monotonic() - last >= SECONDS_BETWEEN_NOTES:
            stop, last = send(float(share), note), time.monotonic()
        return stop

    return progress


def crashed(home: Path, line: str, text: str) -> Outcome:
    """The outcome of a cell whose process ended without a word."""
    return Outcome("done") if (home / "result.json").exists() else _failed(home, line, text, out_of_resources=True)
