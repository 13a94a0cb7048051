"""The state of a grid while it runs, for the terminal, and what it ends in."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import timedelta
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sketchless.datasets.errors import CheckpointError, ResourceError

from ..runs import Interrupted
from .cells import Outcome

_MARKS = {"done": "[green]✓[/]", "failed": "[red]✗[/]", "stopped": "[yellow]■[/]"}


class GridProgress:
    """The state of every cell, shown live on a terminal and else in one line per cell that ends."""

    def __init__(self, cells: Sequence[str], finished: Collection[str], console: Console) -> None:
        self._state: dict[str, float | Outcome | None] = dict.fromkeys(cells)
        self._state |= dict.fromkeys(finished, Outcome("done"))
        self._notes: dict[str, str] = {}
        self._console, self._kept, self._start = console, len(finished), time.monotonic()
        self._live = Live(console=console, get_renderable=self._show) if console.is_terminal else None

    def __enter__(self) -> GridProgress:
        if self._live:
            self._live.start()
        elif self._kept:
            self._print(f"{self._kept} of {len(self._state)} cells are finished already")
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def running(self, cell: str, share: float, note: str) -> None:
        """A cell tells that `share` of it (0..1) is done, and whatever else is worth a `note`."""
        self._state[cell] = max(0.0, min(share, 1.0))  # in this order, NaN is 0
        self._notes[_arm(cell)] = note

    def ended(self, cell: str, outcome: Outcome) -> None:
        self._state[cell] = outcome
        self._notes.pop(_arm(cell), None)
        if not self._live:
            what = f"{outcome.state}: {outcome.line}" if outcome.line else outcome.state
            self._print(f"{cell}  {what}  ({self._total()})")

    def verdict(self, folder: Path) -> None:
        """Raise what a grid in `folder` ends in if not every cell is done.

        Raises:
            CheckpointError, ResourceError: cells failed; the second if the first of them lacked memory or disk.
            Interrupted: cells were stopped, or never begun.
        """
        ends = {cell: state for cell, state in self._state.items() if isinstance(state, Outcome)}
        done = sum(outcome.state == "done" for outcome in ends.values())
        failed = {cell: outcome for cell, outcome in ends.items() if outcome.state == "failed"}
        cells = len(self._state)
        if done + len(failed) < cells:
            broken = f", {len(failed)} failed" if failed else ""
            raise Interrupted(
                f"{folder}: stopped with {done} of {cells} cells finished{broken}; the same command goes on"
            )
        if failed:
            cell, outcome = next(iter(failed.items()))
            file = folder / cell / "error.txt"
            raise (ResourceError if outcome.out_of_resources else CheckpointError)(
                f"cell {cell}: {outcome.line} ({len(failed)} of {cells} cells failed); see {file}; "
                "the same command runs what failed again"
            )

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _share(self) -> float:
        """Cells that are done, those that run in part."""
        return sum(state if isinstance(state, float) else state is not None for state in self._state.values())

    def _total(self) -> str:
        """`12 of 90 cells, 0:10:31 left`, taking all cells of this call to be equally long."""
        share, cells = self._share(), len(self._state)
        worked, passed = share - self._kept, time.monotonic() - self._start
        left = timedelta(seconds=round(passed / worked * (cells - share))) if worked > 1e-3 else "-:--:--"
        ended = sum(isinstance(state, Outcome) for state in self._state.values())
        return f"{ended} of {cells} cells, {left} left"

    def _show(self) -> RenderableType:
        head, rows = Table.grid(padding=(0, 2)), Table.grid(padding=(0, 2))
        head.add_row(ProgressBar(len(self._state), self._share(), width=40), self._total())
        marks: dict[str, list[Text]] = {}
        for cell, state in self._state.items():
            marks.setdefault(_arm(cell), []).append(_mark(state))
        for arm, row in marks.items():
            rows.add_row(Text(arm), Text(" ").join(row), Text(self._notes.get(arm, ""), style="dim"))
        return Group(head, rows)


def _arm(cell: str) -> str:
    return cell.rpartition("/")[0] or cell


def _mark(state: float | Outcome | None) -> Text:
    if isinstance(state, Outcome):
        return Text.from_markup(_MARKS[state.state])
    return Text("·" if state is None else f"{state:.0%}")
