"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from rich.table import Table
from rich.text import Text

from ..metrics import METRICS, Evaluation, interval

MANY_TIES = 0.1  # of the ranks


def comparison(baseline: Evaluation, refined: Sequence[Evaluation], name: str) -> Table:
    """B1 against a refined policy on the same sketches.

    With several evaluations (seeds) their mean is shown with its standard deviation. The interval is that of
    the change, by bootstrap over sketches (seeds averaged first). A warning stands below if ties decided many ranks.
    """
    seeds = f", {len(refined)} seeds" if len(refined) > 1 else ""
    title = f"B1 against {name}: {len(baseline.rank)} sketches, {baseline.gallery} photos{seeds}"
    table = Table(title=title, caption=_ties([baseline, *refined]))
    for column in ("metric", "B1", name, "change", "95 % interval"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for metric in METRICS:
        values = np.stack([e.per_sketch(metric) for e in refined])  # [seeds, N]
        change = values.mean(axis=0) - baseline.per_sketch(metric)
        low, high = interval(change)
        spread = f" ± {values.mean(axis=1).std(ddof=1):.2f}" if len(refined) > 1 else ""
        colour = "green" if low > 0 else "red" if high < 0 else "white"
        table.add_row(
            metric,
            f"{baseline.per_sketch(metric).mean():.2f}",
            f"{values.mean():.2f}{spread}",
            Text(f"{change.mean():+.2f}", style=colour),
            f"{low:+.2f} .. {high:+.2f}",
        )
    return table


def scores(rows: dict[str, Evaluation]) -> Table:
    """One row per evaluation: its size, the metrics and the share of ranks that ties decided; a warning if large."""
    table = Table(caption=_ties(rows.values()))
    table.add_column("")
    for column in ("sketches", "photos", *METRICS, "ties"):
        table.add_column(column, justify="right")
    for name, evaluation in rows.items():
        values = [*(f"{value:.2f}" for value in evaluation.summary().values()), f"{evaluation.tied:.0%}"]
        table.add_row(name, str(len(evaluation.rank)), str(evaluation.gallery), *values)
    return table


def _ties(evaluations: Iterable[Evaluation]) -> Text | None:
    """A warning if ties decided many ranks of one of them."""
    tied = any(evaluation.tied > MANY_TIES for evaluation in evaluations)
    return Text("ties decided many ranks: a collapsed encoder, or photos that are twins", style="red") if tied else None
