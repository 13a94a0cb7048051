"""The page of a report: one HTML file that holds everything and asks for nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import jinja2

from ..statistics import p_value, text
from .choice_tables import (
    CHOICE_HEADER,
    SETTINGS_HEADER,
    WORTH,
    WORTH_HEADER,
    choice_notes,
    choice_rows,
    settings_rows,
    worth_rows,
)
from .compare import ACCURACY, VERDICTS, Comparison, Row, reading
from .figures import Picture
from .results import Grid
from .shown import SHOWN, SHOWN_HEADER, shown_table
from .tables import ACCURACY_HEADER, HEADER, STROKES, STROKES_HEADER, accuracy, body, notes, strokes_table


def page(found: Comparison, figures: Sequence[tuple[Picture, bytes]]) -> str:
    """The report as HTML; `figures` come with their PNG bytes."""
    grid = found.grid
    template = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    ).from_string((files(__package__) / "page.html.j2").read_text(encoding="utf-8"))
    reference = grid.arms[grid.reference]
    versus = [f"difference in {metric}" for metric in ACCURACY]
    tuned = bool(found.choices)
    return template.render(
        found=found,
        grid=grid,
        reading=reading(found),
        header=CHOICE_HEADER if tuned else HEADER,
        body=choice_rows(found) if tuned else body(found),
        notes=choice_notes(found) if tuned else notes(found),
        worth=worth_rows(found),
        worth_header=WORTH_HEADER,
        worth_about=WORTH,
        every_setting=settings_rows(found),
        every_header=SETTINGS_HEADER,
        accuracy_header=ACCURACY_HEADER,
        accuracy=accuracy(found),
        shown=shown_table(grid),
        shown_header=SHOWN_HEADER,
        shown_about=SHOWN,
        strokes=[] if tuned else strokes_table(found),
        strokes_header=STROKES_HEADER,
        strokes_about=STROKES,
        figures=[(picture, base64.b64encode(png).decode("ascii")) for picture, png in figures],
        orders={metric: rows for metric in ("m@B", "m@A") if (rows := _orders(found, metric))},
        robust_header=("arm", "IQM of m@B", "one run's m@B", *versus, f"run > run of {reference}", "p over seeds"),
        robust=[_robust(row) for row in found.rows if row.measured and not tuned],
        machines=_machines([cell.manifest for of_arm in grid.cells.values() for cell in of_arm.values()]),
        **_settings(grid),
    )


def _orders(found: Comparison, metric: str) -> list[list[str]]:
    label = found.grid.arms
    return [
        [
            f"{label[order.better]} > {label[order.worse]}",
            f"{order.published:+.2f}",
            text(order.measured, "+") if order.measured else "-",
            p_value(order.adjusted) if order.measured else "-",
            order.verdict,
        ]
        for verdict in VERDICTS
        for order in found.orderings
        if order.metric == metric and order.verdict == verdict
    ]


def _robust(row: Row) -> list[str]:
    """Other ways to look at the same runs, which a mean could hide."""
    one, two = row.measured, row.contrast
    assert one is not None  # rows without cells are not asked for
    low, high = one.one_run
    return [
        row.label,
        text(one.middle),
        f"{low:.2f} to {high:.2f}" if row.seeds > 1 else "-",
        *(text(two.difference[metric].estimate, "+") if two else "-" for metric in ACCURACY),
        text(two.better) if two else "-",
        "-" if two is None or two.over_seeds is None else f"{two.over_seeds:.4f}",
    ]


def _settings(grid: Grid) -> dict[str, Any]:
    """What all arms share, and a row per setting in which they differ, unless their labels say it."""
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
    return {
        "alike": [f"{name} = {seen[0]}" for name, seen in values.items() if len(set(seen)) == 1],
        "differ_header": ("setting", *settings),
        "differ": [] if grid.setting_of else [[name, *seen] for name, seen in values.items() if len(set(seen)) > 1],
    }


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
