"""What other people's names may do to the terminal: nothing."""

from __future__ import annotations

import io

import pytest
from rich.table import Table

from sketchless.benchmarks.display.terminal import Terminal
from sketchless.benchmarks.runs import progress_bar

NASTY = "[/] [red]a :cow: \x1b[2Jb\nc\u202e [link=http://x]"
SHOWN = r"[/] [red]a :cow: \x1b[2Jb\nc\u202e [link=http://x]"


@pytest.mark.parametrize("place", ["line", "title", "cell", "header", "caption"])
def test_names_are_shown_as_they_are(place: str) -> None:
    file = io.StringIO()
    console = Terminal(file=file, width=200)
    if place == "line":
        console.print(NASTY)
    else:
        table = Table(expand=True, **({place: NASTY} if place in ("title", "caption") else {}))
        table.add_column(NASTY if place == "header" else "c")
        table.add_row(NASTY if place == "cell" else "x")
        console.print(table)
    assert SHOWN in file.getvalue()
    assert "\x1b" not in file.getvalue()


def test_so_are_those_on_a_progress_bar() -> None:
    file = io.StringIO()
    with progress_bar(Terminal(file=file, width=400, force_terminal=True, color_system=None)) as bar:
        bar.add_task(NASTY, total=1.0, note=NASTY)
    assert file.getvalue().count(SHOWN) >= 2
    assert "\x1b[2Jb" not in file.getvalue()
