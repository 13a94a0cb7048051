"""A zero-shot evaluation as a table."""

from __future__ import annotations

from rich.table import Table

from .published import ZERO_SHOT
from .tasks import Retrieval


def retrieval(found: Retrieval) -> Table:
    """One row per metric of a zero-shot task, beside chance and, for categories, what the paper prints."""
    how = {"ret": "by ret, the cosine of embeddings", "rn": "by rn, the relation network"}[found.score]
    if found.first is not None:
        how += f", which orders the first {found.first} by ret"
    names = f" of {len(found.categories)} categories" if found.categories else ""
    caption, columns = "by category: mean of the categories' means", ["by category"]
    printed = any(metric.released is not None for metric in found.metrics.values())
    if printed:
        caption = "as released: as the code of ZSE-SBIR counts; Sketchy, TU-Berlin: published, other data, ViT-B/16"
        columns = ["as released", *ZERO_SHOT]
    title = f"{found.task}, {found.dataset}: {found.sketches} sketches, {found.photos} photos{names}; {how}"
    table = Table(title=title, caption=caption)
    table.add_column("metric")
    for column in ("value", "95 % interval", "chance", *columns):
        table.add_column(column, justify="right", no_wrap=column not in ("as released", "by category"))
    for name, row in found.summary().items():
        rest = [row["by_category"]]
        if printed:
            rest = [row["released"], *(ZERO_SHOT[where][found.score].get(name) for where in ZERO_SHOT)]
        cells = [f"{row['mean']:.3f}", f"{row['low']:.3f} .. {row['high']:.3f}", f"{row['chance']:.3f}"]
        table.add_row(name, *cells, *("-" if value is None else f"{value:.3f}" for value in rest))
    return table
