"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from rich.table import Table
from rich.text import Text

from ..metrics import METRICS, Evaluation
from ..statistics import interval
from ..stopping import Stopping

MANY_TIES = 0.1  # of the ranks
LEGEND = (
    "B1: the encoder alone. m@A, m@B: mean of (G - rank)/(G - 1) and of 1/rank over all frames, times 100, "
    "among G photos. A@k: percentage of complete sketches whose photo is among the first k."
)
PROXY = (
    "These chairs are drawn by a program, to try things on: on people's drawings the order of methods is another. "
    "See docs/results.md."
)
SHOWN_COLUMNS = ("return", "used", "A@1", "A@5", "A@10")
SHOWN = (
    "return: 100 (1/rank of the list shown - the strokes' cost). used: percentage of the drawing. A@k: of the list "
    "shown. Shares and margins were chosen on validation."
)
FIRST = 10  # places of a result list that is seen at a glance


def comparison(baseline: Evaluation, refined: Sequence[Evaluation], name: str) -> Table:
    """B1 against a refined policy on the same sketches.

    With several evaluations (seeds) their mean is shown with its standard deviation. The interval is that of the
    change, with photos, sketches within them and seeds drawn anew. A warning stands below if ties decided many ranks.
    """
    seeds = f", {len(refined)} seeds" if len(refined) > 1 else ""
    title = f"B1 against {name}: {len(baseline.rank)} sketches, {baseline.gallery} photos{seeds}"
    table = Table(title=title, caption=_ties([baseline, *refined]))
    for column in ("metric", "B1", name, "change", "95 % interval"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for metric in METRICS:
        values = np.stack([e.per_sketch(metric) for e in refined])  # [seeds, N]
        change = values - baseline.per_sketch(metric)
        low, high = interval(change, baseline.photo_ids)
        spread = f" ± {values.mean(axis=1).std(ddof=1):.2f}" if len(refined) > 1 else ""
        colour = "green" if low > 0 else "red" if high < 0 else ""
        table.add_row(
            metric,
            f"{baseline.per_sketch(metric).mean():.2f}",
            f"{values.mean():.2f}{spread}",
            Text(f"{change.mean():+.2f}", style=colour),
            f"{low:+.2f} .. {high:+.2f}",
        )
    return table


def when_shown(
    agents: Sequence[Stopping],
    rivals: Mapping[str, Stopping],
    name: str,
    stroke_cost: float,
    photos: Sequence[str] = (),
) -> Table:
    """Lists shown in `Stop-v0`: an agent (the mean of its seeds) above rivals that learn nothing.

    The interval is that of the agent's return less the rival's, with the photos that the sketches depict (N names),
    sketches within them and seeds drawn anew.
    """
    table = Table(title=f"When the list is shown; a stroke costs {100 * stroke_cost:g}", caption=SHOWN)
    for column in ("", *SHOWN_COLUMNS, f"{name} above it", "95 % interval"):
        table.add_column(column, justify="right" if column else "left")
    paid = 100 * np.stack([one.paid for one in agents])  # [seeds, N]
    values = [[one.summary()[column] for column in SHOWN_COLUMNS] for one in agents]
    table.add_row(name, *(f"{value:.2f}" for value in np.mean(values, axis=0)), "", "")
    for rival, one in rivals.items():
        change = paid - 100 * one.paid
        low, high = interval(change, photos)
        told = (f"{change.mean():+.2f}", f"{low:+.2f} .. {high:+.2f}")
        table.add_row(rival, *(f"{one.summary()[column]:.2f}" for column in SHOWN_COLUMNS), *told)
    return table


def in_words(baseline: Evaluation, refined: Mapping[str, Evaluation]) -> list[str]:
    """What the table does not show, in sentences: when photos come up, and agents that are B1 still.

    Args:
        baseline: of B1.
        refined: of agents on the same sketches, by a name such as `"seed 0"`.
    """
    first = FIRST if baseline.gallery > 2 * FIRST else 1
    before = _half_found([baseline], first)
    now = _half_found(list(refined.values()), first)
    place = f"among the first {first}" if first > 1 else "first"
    said = [f"Half of the photos have come up {place} {now}; with B1 {before}."]
    for name, evaluation in refined.items():
        if np.array_equal(evaluation.rank, baseline.rank):
            said.append(f"{name}: its ranks are those of B1: validation speaks for no other policy.")
    return said


UNCHOSEN = (
    "The bank has no validation drawings: the policy of the last update was taken, and nothing but the test tells it "
    "from B1; encode with --validation."
)
"""A warning where no policy could be chosen."""


def doubt(baseline: Evaluation, refined: Sequence[Evaluation], looks: int = 1) -> str | None:
    """A warning where the validation drawings, on which the policies were chosen, cannot tell them from B1; or None.

    The best of many evaluations looks better than it is, so that its interval holds with 95 % for all of them at once
    (Bonferroni).

    Args:
        baseline: of B1, on validation.
        refined: of agents (seeds) on the same sketches.
        looks: evaluations in a training, of which the best was chosen.
    """
    gain = np.stack([evaluation.per_sketch("m@B") for evaluation in refined]) - baseline.per_sketch("m@B")
    low, high = interval(gain, baseline.photo_ids, level=1 - 0.05 / max(looks, 1))
    photos = len(set(baseline.photo_ids) or baseline.rank)  # one of them says nothing of others
    if (low > 0 and photos > 1) or not gain.any():
        return None
    size = f"{len(baseline.rank)} drawings of {baseline.gallery} photos"
    of_many = f", as the best of {looks} evaluations" if looks > 1 else ""
    told = f"m@B {gain.mean():+.2f} ({low:+.2f} .. {high:+.2f}{of_many})"
    return (
        f"Validation ({size}) cannot tell the policy from B1: {told}. It was chosen almost by chance; "
        "take more photos (a larger set, encode --validation), or B1."
    )


def _half_found(evaluations: Sequence[Evaluation], first: int) -> str:
    """When half of the photos have been among the first so many, all seeds together."""
    share = float(np.median([evaluation.first_among(first) for evaluation in evaluations]))
    return f"at {share:.0%} of the drawing" if share <= 1 else "at no point of the drawing"


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
