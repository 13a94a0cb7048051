"""What the cells of a grid say when set side by side: a row per arm, and which published orders they bear out."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from sketchless.datasets.tables import ShownAsTable

from ..metrics import HEADLINE, METRICS
from ..statistics import (
    ENOUGH_SEEDS,
    Estimate,
    Inference,
    holm,
    in_percent,
    iqm,
    listed,
    preliminary,
    probability_of_improvement,
    sign_flip,
    stratified,
    text,
    tolerance,
)
from .b1 import Saved, gains, saved
from .choice import Choice, choices, worth
from .published import Score, published, published_set
from .results import Grid
from .shown import shown_reading

ACCURACY = ("A@1", "A@5", "A@10")
MARGIN = 0.5
"""Points within which two arms are called level, in m@A and m@B: a seventh of what the paper gains over its rivals."""
Pairs = list[tuple[int, int]]
VERDICTS = ("holds", "reversed", "undecided", "not measured")


@dataclass(frozen=True)
class Measured:
    """An arm by itself, percent.

    Attributes:
        score: m@A and m@B with intervals over photos, sketches, seeds and encoders.
        accuracy: A@1, A@5, A@10 with the same intervals.
        middle: interquartile mean of m@B, its interval over seeds.
        one_run: between which m@B 95 % of single runs lie, with 95 % confidence, those on other encoders among them.
        seconds: of training, mean over the seeds whose training was not interrupted, if any.
    """

    score: dict[str, Estimate]
    accuracy: tuple[Estimate, ...]
    middle: Estimate
    one_run: tuple[float, float]
    seconds: float | None


@dataclass(frozen=True)
class Contrast:
    """An arm less the reference, on the seeds that both have; of what has one a bank, on those of the other.

    Attributes:
        difference: in m@A, m@B, A@1, A@5 and A@10, percent, paired by seed and sketch; interval and p take photos,
            sketches, seeds and encoders as random.
        adjusted: p of m@A and of m@B after Holm, each over the family.
        over_seeds: sign-flip p of the per-seed differences in m@B, for which the drawings are fixed: what training
            anew could change. None where seeds stand on several encoders, and so are not independent.
        better: probability that a run of the arm beats one of the reference in m@B; its interval over seeds.
        seeds: how many pairs.
    """

    difference: dict[str, Inference]
    adjusted: dict[str, float]
    over_seeds: float | None
    better: Estimate
    seeds: int


@dataclass(frozen=True)
class Row:
    """One arm; parts are None where nothing was measured, compared or published."""

    name: str
    label: str
    seeds: int
    measured: Measured | None
    contrast: Contrast | None
    published: Score | None


@dataclass(frozen=True)
class Ordering:
    """Two arms that the paper ranks, and ours: `verdict` is holds, reversed, undecided or not measured.

    `adjusted` is the p of the difference after Holm over all orders of the metric.
    """

    better: str
    worse: str
    metric: str
    published: float
    measured: Estimate | None
    adjusted: float

    @property
    def verdict(self) -> str:
        """Whether better - worse is surely above 0, below 0 or neither, at 5 % for all orders of the metric at once."""
        if self.measured is None:
            return "not measured"
        if self.adjusted > 0.05:
            return "undecided"
        return "holds" if self.measured.value > 0 else "reversed"


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(ShownAsTable):
    """A grid with its statistics; `seeds` is the smallest number of those arms that were measured.

    Arms that have one seed a bank by plan do not count, unless there are no others. `choices`: the methods, where arms
    are settings of which one of each is chosen.
    """

    grid: Grid
    baseline: Score | None
    rows: list[Row]
    orderings: list[Ordering]
    seeds: int
    choices: list[Choice]

    @functools.cached_property
    def gained(self) -> dict[str, dict[str, Inference]]:
        """Differences to B1, by arm and metric."""
        return gains(self.grid)

    @functools.cached_property
    def saved(self) -> dict[str, Saved]:
        """Strokes saved against B1, by arm."""
        return saved(self.grid)

    def as_table(self) -> tuple[str, list[list[str]]]:
        header = ["", *HEADLINE, *(f"difference in {metric}" for metric in HEADLINE)]
        rows = []
        for choice in self.choices:
            alone = [text(choice.score[metric]) for metric in HEADLINE]
            less = choice.difference
            rows.append([choice.method, *alone, *(text(less[m].estimate, "+") if less else "-" for m in HEADLINE)])
        if rows:
            return self.heading, [header, *rows]
        for row in self.rows:
            alone = [text(row.measured.score[metric]) if row.measured else "-" for metric in HEADLINE]
            against = [
                text(row.contrast.difference[metric].estimate, "+") if row.contrast else "-" for metric in HEADLINE
            ]
            rows.append([row.label, *alone, *against])
        return self.heading, [header, *rows]

    @property
    def warning(self) -> str:
        """Such as `"preliminary: 3 seeds"`, or nothing."""
        few = [f"{self.seeds} seed{'s' * (self.seeds != 1)}"] if preliminary(self.seeds) else []
        lost = sum(row.measured is None for row in self.rows)
        reasons = [*few, *([f"{lost} of {len(self.rows)} arms missing"] if lost else [])]
        if self.grid.setting_of and not self.choices:
            reasons.append("no setting is chosen, as no seed has them all")
        return f"preliminary: {', '.join(reasons)}" if reasons else ""

    @property
    def heading(self) -> str:
        """The grid's title, and the warning."""
        return f"{self.grid.title} ({self.warning})" if self.warning else self.grid.title


def compare(grid: Grid) -> Comparison:
    """Set the arms of a grid side by side. Raises ConfigError for a published table that does not exist."""
    paper = published(grid.published, grid.dataset)
    beside = {arm: paper.get(grid.published_as.get(arm, arm)) for arm in grid.arms}
    lines = {arm: score for arm, score in beside.items() if score}
    contrasts = _contrasts(grid)
    rows = [
        Row(name, label, len(grid.cells[name]), measured(grid, name), contrasts.get(name), lines.get(name))
        for name, label in grid.arms.items()
    ]
    seeds = [row.seeds for row in rows if row.seeds and row.name not in grid.seeds_per_bank]
    fewest = min(seeds or [row.seeds for row in rows if row.seeds])
    return Comparison(grid, paper.get("B1"), rows, _orderings(grid, lines), fewest, choices(grid))


class Versus(NamedTuple):
    """What is compared with the reference: parts are None or empty where nothing was."""

    label: str
    difference: Mapping[str, Inference] | None
    adjusted: Mapping[str, float]

    def level(self, metric: str) -> bool:
        """Whether the two are surely within `MARGIN` of each other."""
        return self.difference is not None and self.difference[metric].equivalent(MARGIN)


def versus(found: Comparison) -> tuple[str, dict[int, Versus]]:
    """The reference, and what is compared with it, by its place among the arms (methods, where settings are chosen)."""
    grid = found.grid
    if found.choices:
        reference = grid.setting_of[grid.reference]
        tuned = enumerate(found.choices)
        return reference, {
            i: Versus(one.method, one.difference, one.adjusted) for i, one in tuned if one.method != reference
        }
    rows = {i: row for i, row in enumerate(found.rows) if row.name != grid.reference}
    return grid.arms[grid.reference], {
        i: Versus(
            row.label, row.contrast.difference if row.contrast else None, row.contrast.adjusted if row.contrast else {}
        )
        for i, row in rows.items()
    }


def reading(found: Comparison) -> list[str]:
    """What the numbers say, in sentences; nothing that an interval does not bear out."""
    grid, sentences = found.grid, []
    if found.warning:
        sentences.append(f"{found.warning.capitalize()}; a conclusion needs all arms with {ENOUGH_SEEDS} seeds each.")
    if grid.missing:
        sentences.append(f"Not measured, and left out of every number: {', '.join(grid.missing)}.")
    arms = {row.label: row.measured.score["m@B"] for row in found.rows if row.measured}
    scores = {choice.method: choice.score["m@B"] for choice in found.choices} or arms
    best, (value, low, high) = max(scores.items(), key=lambda of: of[1].value)
    highest = f"The highest m@B is that of {best}: {value:.2f} (95 % interval {low:.2f} to {high:.2f})"
    if grid.baseline:
        highest += f"; B1, the encoder without refinement, has {grid.baseline['m@B']:.2f}"
    sentences.append(f"{highest}.")
    sentences += _tests(found) + worth(found.choices) + shown_reading(grid)
    if grid.baseline is None:
        sentences += _levels(found)
    for metric in HEADLINE:
        orders = [order for order in found.orderings if order.metric == metric]
        if orders:
            counts = {verdict: sum(order.verdict == verdict for order in orders) for verdict in VERDICTS}
            sentences.append(
                f"Published orders of two arms in {metric}, {len(orders)} in all: {counts['holds']} hold (at 5 % for "
                f"all of them at once), {counts['undecided']} undecided, {counts['reversed']} reversed"
                + (f", {counts['not measured']} not measured." if counts["not measured"] else ".")
            )
        turned = [f"{grid.arms[o.better]} over {grid.arms[o.worse]}" for o in orders if o.verdict == "reversed"]
        if turned:
            sentences.append(f"Published in {metric}, and reversed here: {listed(turned)}.")
    if found.orderings:
        name = published_set(grid.dataset)
        sentences.append(
            f"The published numbers are those of {name} with the paper's encoder, without intervals; ours are of "
            f"{grid.dataset}. Compare orders, not levels."
        )
    return sentences


def _levels(found: Comparison) -> list[str]:
    """Which systems reach their published scores: each is a whole system here, not a change to one encoder."""
    sentences = []
    for metric in HEADLINE:
        sides: dict[str, list[str]] = {"above": [], "below": [], "not told apart from": []}
        for row in found.rows:
            if row.measured and row.published:
                (value, low, high), theirs = row.measured.score[metric], row.published.of(metric)
                side = "above" if low > theirs else "below" if high < theirs else "not told apart from"
                sides[side].append(f"{row.label} ({value:.2f}, {theirs:.2f})")
        sentences += [
            f"In {metric}, {side} the published value by the 95 % interval: {listed(arms)}."
            for side, arms in sides.items()
            if arms
        ]
    return sentences


def measured(grid: Grid, name: str) -> Measured | None:
    """An arm by itself; None of one without cells."""
    cells = grid.cells[name].values()
    if not cells:
        return None
    seconds = [cell.seconds for cell in cells if cell.seconds is not None]
    alone = {metric: in_percent(grid.nested(name, grid.per_sketch(name, metric)).estimate) for metric in METRICS}
    return Measured(
        {metric: alone[metric] for metric in HEADLINE},
        tuple(alone[metric] for metric in ACCURACY),
        in_percent(stratified(grid.runs(name), iqm)),
        tolerance(grid.runs(name)[:, 0], grid.encoders(name)),
        float(np.mean(seconds)) if seconds else None,
    )


def _contrasts(grid: Grid) -> dict[str, Contrast]:
    """Arm -> its comparison with the reference, for the arms that share a seed with it."""
    others = [name for name in grid.arms if name != grid.reference]
    pairs = {name: _side_by_side(grid, name, grid.reference) for name in others}
    found = {
        name: {metric: _difference(grid, name, grid.reference, metric, seeds) for metric in METRICS}
        for name, seeds in pairs.items()
        if seeds
    }
    # a comparison that was planned counts in its family even if its cells are missing
    p = {metric: [found[name][metric].p if name in found else 1.0 for name in others] for metric in HEADLINE}
    adjusted = {metric: dict(zip(others, holm(values).tolist(), strict=True)) for metric, values in p.items()}
    return {
        name: Contrast(
            differences,
            {metric: adjusted[metric][name] for metric in HEADLINE},
            _over_seeds(grid, name, pairs[name]),
            probability_of_improvement(grid.runs(name), grid.runs(grid.reference)),
            len(pairs[name]),
        )
        for name, differences in found.items()
    }


def _over_seeds(grid: Grid, name: str, pairs: Pairs) -> float | None:
    ours, theirs = map(list, zip(*pairs, strict=True))
    if len(set(grid.encoders(name, ours))) > 1:
        return None
    return sign_flip((grid.runs(name, ours) - grid.runs(grid.reference, theirs))[:, 0])


def _difference(grid: Grid, one: str, other: str, metric: str, pairs: Pairs) -> Inference:
    ours, theirs = map(list, zip(*pairs, strict=True))
    return grid.nested(one, grid.per_sketch(one, metric, ours) - grid.per_sketch(other, metric, theirs), ours)


def _side_by_side(grid: Grid, one: str, other: str) -> Pairs:
    """Seeds of two arms that are compared: the same ones.

    An arm that has one seed a bank is beside every seed of the other, each time with that of the same number of bank:
    seed s stands on bank s mod their number, if the other arm has as many.
    """
    once = [arm for arm in (one, other) if arm in grid.seeds_per_bank]
    if len(once) == 1:
        [alone], trained = once, other if once == [one] else one
        number = grid.seeds_per_bank[alone]
        stands_on = set(zip((seed % number for seed in grid.cells[trained]), grid.encoders(trained), strict=True))
        if len(stands_on) == len({place for place, _ in stands_on}) == len({encoder for _, encoder in stands_on}):
            place = {seed % number: seed for seed in grid.cells[alone]}
            pairs = [(seed, place[seed % number]) for seed in grid.cells[trained] if seed % number in place]
            return pairs if trained == one else [(of_alone, seed) for seed, of_alone in pairs]
    return [(seed, seed) for seed in grid.cells[one] if seed in grid.cells[other]]


def _orderings(grid: Grid, paper: Mapping[str, Score]) -> list[Ordering]:
    """Every pair of arms whose published scores differ, the largest published gap first."""
    found = []
    for metric in HEADLINE:
        pairs = []
        for pair in combinations([name for name in grid.arms if name in paper], 2):
            better, worse = sorted(pair, key=lambda name: -paper[name].of(metric))
            gap = paper[better].of(metric) - paper[worse].of(metric)
            seeds = _side_by_side(grid, better, worse)
            if gap > 0:
                pairs.append((better, worse, gap, _difference(grid, better, worse, metric, seeds) if seeds else None))
        adjusted = holm([measured.p if measured else 1.0 for *_, measured in pairs]).tolist()
        for (better, worse, gap, measured), p in zip(pairs, adjusted, strict=True):
            found.append(Ordering(better, worse, metric, gap, measured.estimate if measured else None, p))
    return sorted(found, key=lambda order: (order.metric, -order.published))


def _tests(found: Comparison) -> list[str]:
    """Which arms are surely above, below or level with the reference, in both metrics."""
    (reference, others), sentences = versus(found), []
    drawn = "photos, sketches, seeds and choices" if found.choices else "photos, sketches and seeds"
    for metric in HEADLINE:
        groups: dict[str, list[str]] = {"above": [], "below": [], "level with": [], "not told apart from": []}
        for other in others.values():
            if other.difference:
                side = "above" if other.difference[metric].estimate.value > 0 else "below"
                alike = "level with" if other.level(metric) else "not told apart from"
                groups[side if other.adjusted[metric] <= 0.05 else alike].append(other.label)
        sentences += [
            f"In {metric}, {listed(arms)} {'is' if len(arms) == 1 else 'are'} {verdict} {reference} "
            + (
                f"(within {MARGIN:g} points, two one-sided tests at 5 %)."
                if verdict == "level with"
                else f"(at 5 %, Holm-adjusted; {drawn} drawn anew)."
            )
            for verdict, arms in groups.items()
            if arms
        ]
    return sentences


def detectable(found: Comparison) -> dict[str, float]:
    """Metric -> smallest true difference to the reference that was likely (80 %) to be seen: median over the arms.

    A@q in which no drawing differs tell nothing of it, and are left out; without a difference in m@A or m@B, all are.
    Of m@A and m@B, whose p are adjusted by Holm, at its first and strictest step: 5 % over the arms of the family.
    """
    contrasts = [row.contrast for row in found.rows if row.contrast]
    level = {metric: 1 - 0.05 / max(len(found.grid.arms) - 1, 1) if metric in HEADLINE else 0.95 for metric in METRICS}
    smallest = {
        m: float(np.median([c.difference[m].detectable(level=level[m]) for c in contrasts]))
        for m in METRICS
        if contrasts
    }
    return {m: value for m, value in smallest.items() if value} if all(smallest.get(m) for m in HEADLINE) else {}
