"""The table of a report: for the terminal, a spreadsheet, a README and a paper."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from ..metrics import HEADLINE, METRICS
from ..statistics import Inference, p_value, text, two_decimals
from .compare import Comparison, Row, detectable, reading
from .published import Score
from .results import Grid
from .shown import SHOWN, SHOWN_HEADER, shown_table

HEADER = (
    "arm", "m@A", "m@B", "A@1", "A@5", "A@10", "m@A against B1", "m@B against B1", "difference in m@A",
    "p (Holm) of m@A", "difference in m@B", "p (Holm) of m@B", "published m@A", "published m@B", "seeds", "seconds",
)  # fmt: skip
STROKES = (
    "Strokes saved, percent of those that B1 needs: until the photo is first among the first q, until it stays there "
    "(the paper speaks of about 30 %); sketches that save 30 % or more until the first 10; and until A@10 is that of "
    "B1 on complete sketches."
)
B1 = "B1 (no refinement)"
_FIRST = ("arm", "m@B", "m@B against B1", "difference in m@B", "p (Holm) of m@B", "m@A", "m@A against B1")
_NARROWEST_ARM = 14
_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "±": r"$\pm$"}
_TEX |= {"≤": r"$\leq$", "≥": r"$\geq$", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
_TEX |= {character: f"\\{character}" for character in "&%$#_{}"}


def body(found: Comparison) -> list[list[str]]:
    """Cells as text, a row per arm under B1; "-" where there is nothing."""
    baseline, gained = found.grid.baseline, found.gained
    rows = [_cells(found, row, gained.get(row.name)) for row in found.rows]
    if baseline is None:
        return rows
    first = [B1, *map(two_decimals, baseline.values()), *["-"] * 6]
    return [[*first, *_published(found.baseline), "-", "-"], *rows]


ACCURACY_HEADER = (
    "arm", "A@1", "A@5", "A@10", "A@1 against B1", "A@5 against B1", "A@10 against B1", "published A@5",
    "published A@10",
)  # fmt: skip


def accuracy(found: Comparison) -> list[list[str]]:
    """A@q with intervals beside the published ones, a row per arm; empty where none are published."""
    rows = [(row, row.measured.accuracy) for row in found.rows if row.measured]
    if not any(row.published and row.published.acc_at_5 is not None for row, _ in rows):
        return []
    gained = found.gained
    return [
        [
            row.label,
            *map(text, found_values),
            *_beside_b1(gained.get(row.name), METRICS[2:]),
            *(_or_dash(row.published, name) for name in ("acc_at_5", "acc_at_10")),
        ]
        for row, found_values in rows
    ]


def _beside_b1(gained: Mapping[str, Inference] | None, metrics: Sequence[str]) -> list[str]:
    return [text(gained[metric].estimate, "+") if gained else "-" for metric in metrics]


STROKES_HEADER = (
    "arm", "first in top 1", "top 5", "top 10", "staying in top 10", "sketches that save 30 %", "A@10 of B1's end",
)  # fmt: skip


def strokes_table(found: Comparison) -> list[list[str]]:
    """Strokes saved against B1 in percent, a row per arm of which the ranks of B1 are known."""
    return [
        [found.grid.arms[arm], *map(text, (*one.first.values(), one.staying[10], one.share, one.curve))]
        for arm, one in found.saved.items()
    ]


def _or_dash(score: Score | None, name: str) -> str:
    value = getattr(score, name, None)
    return "-" if value is None else f"{value:.2f}"


def notes(found: Comparison) -> list[str]:
    """What has to stand under the table, in sentences."""
    grid = found.grid
    family = grid.family.removesuffix(", in m@B")
    sentences = [
        f"{grid.sketches} {grid.split} sketches, {grid.photos} photos, {grid.dataset}. Brackets: 95 % intervals, "
        f"drawing anew {_random(grid)}. Differences to {grid.arms[grid.reference]}, paired by seed and sketch"
        + (", of what has one seed an encoder by encoder." if grid.seeds_per_bank else "."),
        f"p: of a difference as large were the truth none, with all of these drawn anew; adjusted by Holm over the "
        f"family ({family}), for m@A and m@B each.",
    ]
    if gained := found.gained:
        told = "Against B1: less the arm's own encoder without refinement, on the same drawings"
        if unknown := [grid.arms[arm] for arm, of_arm in gained.items() if np.isnan(of_arm["m@B"].estimate.low)]:
            told += "; no interval where the grid holds B1's scores, but not its ranks"
            told += f" ({', '.join(unknown)})" if len(unknown) < len(gained) else ""
        sentences.append(f"{told}.")
    if smallest := detectable(found):
        hits = [f"{value:.1f} in {metric}" for metric, value in smallest.items() if metric not in HEADLINE]
        sentences.append(
            f"Smallest difference that was likely (80 %) to be seen: {smallest['m@A']:.1f} in m@A, "
            f"{smallest['m@B']:.1f} in m@B (where Holm asks the most)"
            + (f", {', '.join(hits)} (by itself, at 5 %)." if hits else ".")
        )
    if beside := [of_arm for of_arm in gained.values() if np.isfinite(of_arm["m@B"].error)]:
        smallest = {metric: float(np.median([one[metric].detectable() for one in beside])) for metric in METRICS}
        if told := ", ".join(f"{value:.1f} in {metric}" for metric, value in smallest.items() if value):
            sentences.append(f"Smallest change against B1 that was likely (80 %) to be seen, by itself at 5 %: {told}.")
    sentences += grid.remarks
    if (baseline := grid.baseline) is not None:
        own = _ranks_of_b1(grid, grid.reference if grid.cells[grid.reference] else next(iter(gained)))
        others = {
            grid.arms[arm]: grid.baseline_of(arm)
            for arm, of_arm in grid.cells.items()
            if of_arm and (None in own or own != _ranks_of_b1(grid, arm))
        }
        apart = [f"{arm} {b['m@B']:.2f}" for arm, b in others.items() if abs(b["m@B"] - baseline["m@B"]) > 0.005]
        if apart:
            sentences.append(f"Arms with another B1, so that features differ too; its m@B: {', '.join(apart)}.")
    if grid.missing:
        sentences.append(f"Not measured: {', '.join(grid.missing)}.")
    return [f"{found.warning.capitalize()}.", *sentences] if found.warning else sentences


def _ranks_of_b1(grid: Grid, arm: str) -> set[bytes | None]:
    """By which the encoders of two arms are known to be the same; None: not known."""
    return {None if cell.b1 is None else cell.b1.rank.tobytes() for cell in grid.cells[arm].values()}


def _random(grid: Grid) -> str:
    """What an interval of this grid takes as random, in words."""
    encoders = {name for arm, of_arm in grid.cells.items() if of_arm for name in grid.encoders(arm)}
    drawn = "photos, sketches within them"
    if len(encoders) > 1:
        return f"{drawn}, encoders and seeds within them"
    return f"{drawn} and seeds; all stand on one encoder" if len(grid.seeds) > 1 else f"{drawn}; one seed"


def terminal(found: Comparison, width: int) -> Table:
    """For a terminal of so many characters; a narrow one gets the columns that matter most."""
    return fitted(found.heading, notes(found), HEADER, body(found), _FIRST, width)


def fitted(
    title: str, below: Sequence[str], header: Sequence[str], rows: Sequence[Sequence[str]], first: Sequence[str],
    width: int,
) -> Table:  # fmt: skip
    """A table of those columns that fit beside each other: the ones of `first`, then the others in their order."""
    table = Table(title=Text(title), caption=Text(" ".join(below)), box=SIMPLE, pad_edge=False, collapse_padding=True)
    table.caption_justify = "left"
    headings = [name.replace(" ", "\n") for name in header]
    # intervals stand under their estimates
    broken = [[cell if i == 0 else cell.replace(" [", "\n[") for i, cell in enumerate(row)] for row in rows]
    columns = [[line for cell in column for line in cell.split("\n")] for column in zip(headings, *broken, strict=True)]
    kept = _fitting([max(map(len, column)) for column in columns], header, first, width)
    for i in kept:
        table.add_column(Text(headings[i]), justify="right" if i else "left", no_wrap=i > 0, overflow="fold")
    for row in broken:
        table.add_row(*(Text(row[i]) for i in kept))
    return table


def _fitting(widths: Sequence[int], header: Sequence[str], first: Sequence[str], width: int) -> list[int]:
    """Places of the columns that fit."""
    gap = 2
    kept, room = [0], width - min(widths[0], _NARROWEST_ARM)
    for i in sorted(range(1, len(header)), key=lambda i: (first.index(header[i]) if header[i] in first else 99, i)):
        room -= widths[i] + gap
        if room < 0:
            break
        kept.append(i)
    return sorted(kept)


def spreadsheet(cell: Any) -> Any:
    """A cell of a CSV file: text that a spreadsheet would run as a formula begins with an apostrophe."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def comma_separated(found: Comparison) -> str:
    """CSV: every number in a column of its own, to six decimals; empty where there is none."""
    ends = ("", " low", " high")
    names = ["arm", "label", *(f"{m}{end}" for m in ("m@A", "m@B") for end in ends), "A@1", "A@5", "A@10"]
    names += [f"IQM m@B{end}" for end in ends]
    names += [f"difference {m}{end}" for m in ("m@A", "m@B") for end in ends]
    names += [*(f"p (Holm) {m}" for m in ("m@A", "m@B")), "p over seeds", *(f"P(better){end}" for end in ends)]
    names += ["published m@A", "published m@B", "seeds", "seconds", "status"]
    names += [f"{m}{end}" for m in ("A@1", "A@5", "A@10") for end in ends[1:]]
    names += ["published A@5", "published A@10"]
    names += [f"difference {m}{end}" for m in ("A@1", "A@5", "A@10") for end in ends]
    names += ["one run m@B low", "one run m@B high"]
    names += [f"{m} against B1{end}" for m in METRICS for end in ends]
    on_validation = {
        arm: [choice.validation[arm], choice.shares[arm]] for choice in found.choices for arm in choice.settings
    }
    empty = ["", ""] if on_validation else []
    names += ["validation m@B", "chosen in redraws"] if on_validation else []
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)

    def write(*values: float | str) -> None:
        numbers = ["" if isinstance(value, float) and np.isnan(value) else value for value in values]  # not known
        writer.writerow([round(value, 6) if isinstance(value, float) else spreadsheet(value) for value in numbers])

    gained = found.gained
    if found.grid.baseline:
        base = list(found.grid.baseline.values())
        paper, of_accuracy = _score(found.baseline)
        start: list[float | str] = ["B1", B1, base[0], "", "", base[1], "", "", *base[2:], *[""] * 15]
        write(*start, *paper, "", "", found.warning, *[""] * 6, *of_accuracy, *[""] * 26, *empty)
    for row in found.rows:
        one, two = row.measured, row.contrast
        hits = [estimate.value for estimate in one.accuracy] if one else []
        alone = [*one.score["m@A"], *one.score["m@B"], *hits, *one.middle] if one else [""] * 12
        versus = (
            [
                *(number for metric in ("m@A", "m@B") for number in two.difference[metric].estimate),
                *two.adjusted.values(),
                "" if two.over_seeds is None else two.over_seeds,
                *two.better,
            ]
            if two
            else [""] * 12
        )
        hits_versus = [n for m in ("A@1", "A@5", "A@10") for n in two.difference[m].estimate] if two else [""] * 9
        one_run = list(one.one_run) if one and row.seeds > 1 else ["", ""]
        paper, of_accuracy = _score(row.published)
        seconds = one.seconds if one and one.seconds is not None else ""
        ends_of_hits = [end for estimate in one.accuracy for end in estimate[1:]] if one else [""] * 6
        first = [row.name, row.label, *alone, *versus, *paper, row.seeds, seconds]
        above = [n for m in METRICS for n in gained[row.name][m].estimate] if row.name in gained else [""] * 15
        write(*first, found.warning, *ends_of_hits, *of_accuracy, *hits_versus, *one_run, *above,
              *on_validation.get(row.name, empty))  # fmt: skip
    return file.getvalue()


def _score(score: Score | None) -> tuple[list[float | str], list[float | str]]:
    """m@A and m@B, A@5 and A@10; empty where not published."""
    values: list[float | str] = ["" if value is None else value for value in score or [None] * 4]
    return values[:2], values[2:]


def markdown(found: Comparison) -> str:
    """A GitHub table under its title, what has to stand under it, and what the numbers say."""
    lines = [f"**{escaped(found.heading)}**", "", *markdown_table(HEADER, body(found))]
    if more := accuracy(found):
        lines += ["", *markdown_table(ACCURACY_HEADER, more)]
    if shown := shown_table(found.grid):
        lines += ["", escaped(SHOWN), "", *markdown_table(SHOWN_HEADER, shown)]
    if saved := strokes_table(found):
        lines += ["", escaped(STROKES), "", *markdown_table(STROKES_HEADER, saved)]
    return "\n".join([*lines, *below(notes(found), reading(found))]) + "\n"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a GitHub table, whose first column holds names."""
    rule = f"| {' | '.join(['---', *['---:'] * (len(header) - 1)])} |"
    first, *others = (f"| {' | '.join(map(escaped, row))} |" for row in (header, *rows))
    return [first, rule, *others]


def below(under: Sequence[str], read: Sequence[str]) -> list[str]:
    """The lines below the tables: what has to stand there, and what the numbers say."""
    return ["", *map(escaped, under), "", *(f"- {escaped(sentence)}" for sentence in read)]


def tex(found: Comparison) -> str:
    """A LaTeX table; needs the package booktabs."""
    return tex_table(found.heading, notes(found), HEADER, body(found))


def tex_table(title: str, below: Sequence[str], header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A LaTeX table whose first column holds names."""
    first, *others = (" & ".join(map(_tex, row)) + r" \\" for row in (header, *rows))
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{table*}",
            r"  \centering\scriptsize\setlength{\tabcolsep}{3pt}",
            f"  \\caption{{{_tex(title)}. {_tex(' '.join(below))}}}",
            f"  \\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            r"    \toprule",
            f"    {first}",
            r"    \midrule",
            *(f"    {row}" for row in others),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table*}",
            "",
        ]
    )


def _cells(found: Comparison, row: Row, gained: Mapping[str, Inference] | None) -> list[str]:
    one, two = row.measured, row.contrast
    planned = len(found.grid.planned(row.name))
    seeds = f"{row.seeds}" if row.seeds == planned else f"{row.seeds} of {planned}"
    if one is None:
        return [row.label, "not measured", *["-"] * 10, *_published(row.published), seeds, "-"]
    versus = ["-"] * 4
    if two:
        versus = [
            part for m in ("m@A", "m@B") for part in (text(two.difference[m].estimate, "+"), p_value(two.adjusted[m]))
        ]
    if row.name == found.grid.reference:
        versus[0] = versus[2] = "reference"
    hits = [two_decimals(estimate.value) for estimate in one.accuracy]
    above = _beside_b1(gained, HEADLINE)
    return [row.label, text(one.score["m@A"]), text(one.score["m@B"]), *hits, *above, *versus,
            *_published(row.published), seeds, "-" if one.seconds is None else f"{one.seconds:.1f}"]  # fmt: skip


def _published(score: tuple[float | None, ...] | None) -> list[str]:
    return [f"{value:.2f}" for value in score[:2] if value is not None] if score else ["-", "-"]


def escaped(words: str) -> str:
    """Words on one line, as they are in Markdown."""
    return re.sub(r"([\\`*_|<>\[\]~])", r"\\\1", " ".join(words.split()))


def _tex(cell: str) -> str:
    escaped = "".join(_TEX.get(character, character) for character in " ".join(cell.split()))
    return re.sub(r"^\[", "{[}", escaped)  # a bracket after the \\ of the line above would be its option
