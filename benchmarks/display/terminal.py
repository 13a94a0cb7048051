"""The console that commands print on."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from sketchless.datasets.errors import printable


class Terminal(Console):
    """A rich console on which ids, paths and names are text, whatever stands in them.

    A string is never read as markup (`[/]`) or as an emoji's name (`:cow:`), and its control characters are shown as
    escapes. What is to have a style is a `Text`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, **settings)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)
