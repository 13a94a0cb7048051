"""The tables of a grid in which settings are chosen: a row per method, and what its choice was worth."""

from __future__ import annotations

import csv
import io

import numpy as np
from rich.table import Table

from ..metrics import HEADLINE
from ..statistics import Estimate, listed, p_value, text, two_decimals
from .choice import Choice
from .compare import Comparison, reading
from .results import Grid
from .tables import B1, below, escaped, fitted, markdown_table, spreadsheet, tex_table

CHOICE_HEADER = (
    "method", "settings", "chosen", "in redraws", "validation m@B", "m@A", "m@B",
    "difference in m@A", "p (Holm) of m@A", "difference in m@B", "p (Holm) of m@B",
)  # fmt: skip
WORTH_HEADER = (
    "method", "default m@A", "default m@B", "chosen less default in m@A", "chosen less default in m@B",
    "default in redraws", "chosen setting",
)  # fmt: skip
WORTH = (
    "What tuning is worth: the setting chosen, with the choice drawn anew as above, less the method's default, paired "
    "by seed and sketch."
)
_FIRST = ("method", "m@B", "difference in m@B", "p (Holm) of m@B", "chosen", "in redraws", "m@A", "difference in m@A")


def choice_rows(found: Comparison) -> list[list[str]]:
    """Cells as text, a row per method under B1."""
    baseline = found.grid.baseline
    first = [[B1, *["-"] * 4, *(two_decimals(baseline[m]) for m in HEADLINE), *["-"] * 4]] if baseline else []
    return first + [
        [
            choice.method,
            f"{len(choice.settings)}",
            choice.chosen,
            _percent(choice.shares[choice.chosen]),
            two_decimals(choice.validation[choice.chosen]),
            *(text(choice.score[metric]) for metric in HEADLINE),
            *_versus(choice, found.grid),
        ]
        for choice in found.choices
    ]


def _versus(choice: Choice, grid: Grid) -> list[str]:
    found = choice.difference
    if found is None:
        return ["reference" if choice.method == grid.setting_of[grid.reference] else "-", "-"] * 2
    return [part for m in HEADLINE for part in (text(found[m].estimate, "+"), p_value(choice.adjusted[m]))]


def worth_rows(found: Comparison) -> list[list[str]]:
    """What each method's choice is worth beside its default; a row per method whose default was measured."""
    return [
        [
            choice.method,
            *(two_decimals(choice.default_score[metric]) for metric in HEADLINE),
            *(text(choice.gain[metric].estimate, "+") for metric in HEADLINE),
            _percent(choice.shares[choice.default]),
            choice.settings[choice.chosen],
        ]
        for choice in found.choices
        if choice.default is not None
    ]


def choice_notes(found: Comparison) -> list[str]:
    """What has to stand under the table, in sentences."""
    grid, first = found.grid, found.choices[0]
    encoders = {encoder for arm in first.settings for encoder in grid.encoders(arm)}
    runs = "encoders and seeds within them" if len(encoders) > 1 else "seeds (all stand on one encoder)"
    photos = grid.example.validation_photos
    counts = sorted({len(choice.settings) for choice in found.choices})
    defaults = [
        f"{choice.method} {_percent(choice.shares[choice.default])}" for choice in found.choices if choice.default
    ]
    sentences = [
        f"{grid.sketches} {grid.split} sketches, {grid.photos} photos, {grid.dataset}. Of {_counted(counts)} settings "
        f"of its own knobs each method takes the one with the highest m@B on validation ({len(photos)} sketches of "
        f"{len(set(photos))} photos; mean over {_seeds(first)}). The choice reads validation alone.",
        f"Brackets: 95 % intervals, the choice among them. Each of their redraws draws validation photos and {runs}, "
        "chooses every method's setting anew on these, and scores it on test photos, and sketches within them, drawn "
        f"anew, with the same {'encoders and ' if len(encoders) > 1 else ''}seeds; all methods share the draws. Which "
        "settings were tried is not drawn. In redraws: how often the same setting was chosen.",
        "All settings were measured on test, so that the choice could be redrawn; what they reach there chose nothing.",
        f"Differences to {grid.setting_of[grid.reference]}, tuned alike, paired by seed and sketch. p: of a difference "
        "as large were the truth none, with all of this drawn anew; adjusted by Holm over the methods, for m@A and m@B "
        "each.",
    ]
    if others := [choice.difference for choice in found.choices if choice.difference]:
        level = 1 - 0.05 / max(len(found.choices) - 1, 1)
        smallest = (
            f"{float(np.median([one[metric].detectable(level=level) for one in others])):.1f} in {metric}"
            for metric in HEADLINE
        )
        sentences.append(
            f"Smallest difference that was likely (80 %) to be seen: {', '.join(smallest)} (where Holm asks the most)."
        )
    if len(counts) > 1:
        sentences.append("Not all methods have as many settings: those with more have more to choose from.")
    if defaults:
        sentences.append(f"Redraws in which the default would be chosen: {listed(defaults)}.")
    sentences += grid.remarks
    if grid.missing:
        sentences.append(f"Not measured: {_shortened(grid)}.")
    return [f"{found.warning.capitalize()}.", *sentences] if found.warning else sentences


def _seeds(choice: Choice) -> str:
    return f"{len(choice.seeds)} seed{'s' * (len(choice.seeds) != 1)}"


def _counted(counts: list[int]) -> str:
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _shortened(grid: Grid) -> str:
    more = len(grid.missing) - 8
    return ", ".join(grid.missing[:8]) + (f" and {more} more" if more > 0 else "")


def choice_terminal(found: Comparison, width: int) -> Table:
    """For a terminal of so many characters; a narrow one gets the columns that matter most."""
    return fitted(found.heading, choice_notes(found), CHOICE_HEADER, choice_rows(found), _FIRST, width)


def choice_markdown(found: Comparison) -> str:
    """GitHub tables under their title, what has to stand under them, and what the numbers say."""
    lines = [f"**{escaped(found.heading)}**", "", *markdown_table(CHOICE_HEADER, choice_rows(found))]
    if rows := worth_rows(found):
        lines += ["", escaped(WORTH), "", *markdown_table(WORTH_HEADER, rows)]
    return "\n".join([*lines, *below(choice_notes(found), reading(found))]) + "\n"


def choice_tex(found: Comparison) -> str:
    """A LaTeX table; needs the package booktabs."""
    return tex_table(found.heading, choice_notes(found), CHOICE_HEADER, choice_rows(found))


def choice_csv(found: Comparison) -> str:
    """CSV, a row per method: every number in a column of its own, to six decimals; empty where there is none."""
    ends = ("", " low", " high")
    names = ["method", "settings", "chosen", "chosen setting", "chosen in redraws", "validation m@B"]
    names += [f"{what}{m}{end}" for what in ("", "difference ", "gain ") for m in HEADLINE for end in ends]
    names += [f"p (Holm) {m}" for m in HEADLINE]
    names += [f"default {m}" for m in HEADLINE]
    names += ["default in redraws", "default validation m@B", "seeds", "status"]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    for choice in found.choices:
        estimates: list[Estimate | None] = [
            *(choice.score[m] for m in HEADLINE),
            *(choice.difference[m].estimate if choice.difference else None for m in HEADLINE),
            *(choice.gain[m].estimate if choice.gain else None for m in HEADLINE),
        ]
        row: list[float | str] = [
            choice.method, len(choice.settings), choice.chosen, choice.settings[choice.chosen],
            choice.shares[choice.chosen], choice.validation[choice.chosen],
            *(number for estimate in estimates for number in estimate or ("", "", "")),
            *(choice.adjusted.get(m, "") for m in HEADLINE), *(choice.default_score.get(m, "") for m in HEADLINE),
            *(of.get(choice.default or "", "") for of in (choice.shares, choice.validation)),
            len(choice.seeds), found.warning,
        ]  # fmt: skip
        writer.writerow([round(value, 6) if isinstance(value, float) else spreadsheet(value) for value in row])
    return file.getvalue()


def settings_rows(found: Comparison) -> list[list[str]]:
    """Every setting by itself, under `SETTINGS_HEADER`: for a reader who wants them all."""
    arms = {row.name: row.measured for row in found.rows}
    return [
        [
            f"{choice.method}: {words}",
            two_decimals(choice.validation[arm]),
            _percent(choice.shares[arm]),
            *(text(one.score[metric]) if (one := arms[arm]) else "-" for metric in HEADLINE),
        ]
        for choice in found.choices
        for arm, words in choice.settings.items()
    ]


SETTINGS_HEADER = ("setting", "validation m@B", "in redraws", "m@A", "m@B")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
