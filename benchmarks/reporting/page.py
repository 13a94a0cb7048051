"""The page of a report: one HTML file that holds everything and asks for nothing else."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from .compare import VERDICTS, Comparison, reading
from .figures import Picture
from .tables import ACCURACY, HEADER, accuracy, body, notes, text

_STYLE = """
body { margin: 0 auto; max-width: 62rem; padding: 1rem; color: #1c2330; background: #fff;
       font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .6rem 0 .2rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; }
p, li, figcaption { max-width: 46rem; }
.faint, figcaption, .note { color: #4b5563; font-size: .92rem; }
.warning { border-left: .3rem solid #d55e00; background: #fdf3ec; padding: .6rem .9rem; font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .38rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #e3e6eb; }
th { border-bottom: 2px solid #9aa2af; vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
figure { margin: 0 0 1.6rem; }
figure img { width: 100%; height: auto; }
summary { cursor: pointer; }
code, pre { font-size: .88rem; white-space: pre-wrap; background: #f4f5f7; padding: .1rem .3rem; }
@media (max-width: 40rem) {
  th:first-child, td:first-child { white-space: normal; min-width: 6.5rem; }
  figure .wide img { min-width: 36rem; }
}
"""


def page(found: Comparison, figures: Sequence[tuple[Picture, bytes]]) -> str:
    """The report as HTML; `figures` come with their PNG bytes."""
    grid = found.grid
    parts = [
        f"<h1>{escape(grid.title)}</h1>",
        f'<p class="faint">{escape(grid.dataset)}: {grid.sketches} {grid.split} sketches, {grid.photos} photos, '
        f"{len(grid.arms)} arms, {len(grid.seeds)} seeds.</p>",
    ]
    if found.warning:
        parts.append(f'<p class="warning">{escape(found.warning.capitalize())}. Take no conclusion from this.</p>')
    parts += ["<h2>What it says</h2>", _list(reading(found)), "<h2>The table</h2>", _table(HEADER, body(found))]
    parts += [f'<p class="note">{escape(sentence)}</p>' for sentence in notes(found)]
    if more := accuracy(found):
        parts += ["<h2>Complete sketches</h2>", _table(ACCURACY, more)]
    for picture, png in figures:
        data = base64.b64encode(png).decode("ascii")
        parts += [
            f"<h2>{escape(picture.title)}</h2>",
            f'<figure><div class="wide"><img alt="{escape(picture.title)}" src="data:image/png;base64,{data}"></div>'
            f"<figcaption>{escape(picture.caption)}</figcaption></figure>",
        ]
    parts += [*_orders(found), *_robust(found), *_provenance(found)]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(found.heading)}</title>",
            f"<style>{_STYLE}</style>",
            "</head>",
            "<body>",
            *parts,
            "</body>",
            "</html>",
            "",
        ]
    )


def _orders(found: Comparison) -> list[str]:
    if not found.orderings:
        return []
    label = found.grid.arms
    parts = ["<h2>Published orders, one by one</h2>"]
    for metric in ("m@B", "m@A"):
        orders = [order for order in found.orderings if order.metric == metric]
        rows = [
            [
                f"{label[order.better]} > {label[order.worse]}",
                f"{order.published:+.2f}",
                text(order.measured, "+") if order.measured else "-",
                order.verdict,
            ]
            for verdict in VERDICTS
            for order in orders
            if order.verdict == verdict
        ]
        header = ("as published", "published difference", "measured difference [95 %]", "verdict")
        # those of the first metric are shown at once
        parts.append(
            f"<details{' open' * (metric == 'm@B')}><summary>in {metric}</summary>{_table(header, rows)}</details>"
        )
    return parts


def _robust(found: Comparison) -> list[str]:
    """Other ways to look at the same runs, which a mean could hide."""
    reference = found.grid.arms[found.grid.reference]
    rows = [
        [
            row.label,
            text(row.measured.middle),
            text(row.contrast.difference["m@A"], "+") if row.contrast else "-",
            text(row.contrast.better) if row.contrast else "-",
            f"{row.contrast.p:.4f}" if row.contrast else "-",
        ]
        for row in found.rows
        if row.measured
    ]
    header = ("arm", "IQM of m@B over seeds", "difference in m@A", f"P(run > run of {reference})", "p, not adjusted")
    about = (
        "IQM: mean of the middle half of the runs. P: how likely a run of the arm beats one of the reference in m@B, "
        "ties counting half. Intervals of both are over seeds only: of the IQM by resampling (Agarwal et al., 2021), "
        "of P by Clopper and Pearson, on the wide side."
    )
    return ["<h2>Other views of the same runs</h2>", _table(header, rows), f'<p class="note">{about}</p>']


def _provenance(found: Comparison) -> list[str]:
    grid = found.grid
    cells = [cell for of_arm in grid.cells.values() for cell in of_arm.values()]
    settings = {
        grid.arms[arm]: [_flat(cell.settings) for cell in of_arm.values()]
        for arm, of_arm in grid.cells.items()
        if of_arm
    }
    names = dict.fromkeys(name for of_arm in settings.values() for name in of_arm[0] if name != "seed")
    values = {
        name: [" or ".join(dict.fromkeys(_plain(c.get(name, "-")) for c in of_arm)) for of_arm in settings.values()]
        for name in names
    }
    alike = [f"{name} = {found_values[0]}" for name, found_values in values.items() if len(set(found_values)) == 1]
    differ = [[name, *found_values] for name, found_values in values.items() if len(set(found_values)) > 1]
    parts = ["<h2>How it was made</h2>", f"<pre>{escape(grid.command)}</pre>"]
    if differ:
        parts += ["<p>Settings in which arms differ:</p>", _table(("setting", *settings), differ)]
    if alike:
        parts.append(f"<p>Settings of all arms: {escape(', '.join(alike))}.</p>")
    machines = ", ".join(_machines([cell.manifest for cell in cells]))
    return [*parts, f"<p>Versions and machine: {escape(machines)}.</p>"]


def _machines(manifests: Sequence[Mapping[str, Any]]) -> list[str]:
    """Versions and machines of the cells; several values where they differ."""
    flat = [
        {
            **{key: manifest.get(key) for key in ("python", "system", "cpus", "threads", "gpu")},
            **manifest.get("versions", {}),
        }
        for manifest in manifests
    ]
    names = dict.fromkeys(name for one in flat for name in one)
    seen = {name: sorted({_plain(one.get(name)) for one in flat}) for name in names}
    return [f"{name} {' or '.join(values)}" for name, values in seen.items()]


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with those of a part, such as the agent, beside the others."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value) if isinstance(value, Mapping) else {name: value}
    return flat


def _plain(value: Any) -> str:
    return "none" if value is None else str(value)


def _list(sentences: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    # an interval stands under its estimate, which keeps the table narrow
    stacked = ([escape(cell).replace(" [", "<br>[") for cell in row] for row in rows)
    lines = "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in stacked)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{lines}\n</tbody></table></div>'
