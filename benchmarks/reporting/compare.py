"""What the cells of a grid say when set side by side: a row per arm, and which published orders they bear out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from .published import Score, published, published_set
from .results import Grid
from .statistics import (
    ENOUGH_SEEDS,
    Estimate,
    holm,
    iqm,
    pigeonhole_bootstrap,
    preliminary,
    probability_of_improvement,
    sign_flip,
    stratified,
)

HEADLINE = ("m@A", "m@B")
VERDICTS = ("holds", "reversed", "undecided", "not measured")


@dataclass(frozen=True)
class Measured:
    """An arm by itself, percent.

    Attributes:
        score: m@A and m@B with intervals over seeds and sketches.
        accuracy: A@1, A@5, A@10 with intervals over seeds and sketches.
        middle: interquartile mean of m@B, its interval over seeds.
        seconds: of training, mean over the seeds whose training was not interrupted, if any.
    """

    score: dict[str, Estimate]
    accuracy: tuple[Estimate, ...]
    middle: Estimate
    seconds: float | None


@dataclass(frozen=True)
class Contrast:
    """An arm less the reference, on the seeds that both have.

    Attributes:
        difference: in m@A and m@B, percent, paired by seed and sketch; intervals over both.
        p: sign-flip test of the per-seed differences in m@B.
        adjusted: the same after Holm over the family.
        better: probability that a run of the arm beats one of the reference in m@B; its interval over seeds.
        seeds: how many both have.
    """

    difference: dict[str, Estimate]
    p: float
    adjusted: float
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
    """Two arms that the paper ranks, and ours: `verdict` is holds, reversed, undecided or not measured."""

    better: str
    worse: str
    metric: str
    published: float
    measured: Estimate | None

    @property
    def verdict(self) -> str:
        """Whether the interval of better - worse lies above 0, below 0 or across."""
        if self.measured is None:
            return "not measured"
        return "holds" if self.measured.low > 0 else "reversed" if self.measured.high < 0 else "undecided"


@dataclass(frozen=True, eq=False)
class Comparison:
    """A grid with its statistics; `seeds` is the smallest number of those arms that were measured.

    Arms that have one seed a bank by plan do not count, unless there are no others.
    """

    grid: Grid
    baseline: Score | None
    rows: list[Row]
    orderings: list[Ordering]
    seeds: int

    @property
    def warning(self) -> str:
        """Such as `"preliminary: 3 seeds"`, or nothing."""
        few = [f"{self.seeds} seed{'s' * (self.seeds != 1)}"] if preliminary(self.seeds) else []
        lost = sum(row.measured is None for row in self.rows)
        reasons = [*few, *([f"{lost} of {len(self.rows)} arms missing"] if lost else [])]
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
        Row(name, label, len(grid.cells[name]), _measured(grid, name), contrasts.get(name), lines.get(name))
        for name, label in grid.arms.items()
    ]
    seeds = [row.seeds for row in rows if row.seeds and row.name not in grid.once]
    fewest = min(seeds or [row.seeds for row in rows if row.seeds])
    return Comparison(grid, paper.get("B1"), rows, _orderings(grid, lines), fewest)


def reading(found: Comparison) -> list[str]:
    """What the numbers say, in sentences; nothing that an interval does not bear out."""
    grid, sentences = found.grid, []
    if found.warning:
        sentences.append(f"{found.warning.capitalize()}; a conclusion needs all arms with {ENOUGH_SEEDS} seeds each.")
    if grid.missing:
        sentences.append(f"Not measured, and left out of every number: {', '.join(grid.missing)}.")
    best = max((r for r in found.rows if r.measured), key=lambda r: r.measured.score["m@B"].value if r.measured else 0)
    if best.measured:
        value, low, high = best.measured.score["m@B"]
        highest = f"The highest m@B is that of {best.label}: {value:.2f} (95 % interval {low:.2f} to {high:.2f})"
        if grid.baseline:
            highest += f"; B1, the encoder without refinement, has {grid.baseline['m@B']:.2f}"
        sentences.append(f"{highest}.")
    sentences += _tests(found)
    if grid.baseline is None:
        sentences += _levels(found)
    for metric in HEADLINE:
        orders = [order for order in found.orderings if order.metric == metric]
        if orders:
            counts = {verdict: sum(order.verdict == verdict for order in orders) for verdict in VERDICTS}
            sentences.append(
                f"Published orders of two arms in {metric}, {len(orders)} in all: {counts['holds']} hold (interval of "
                f"the difference above 0), {counts['undecided']} undecided, {counts['reversed']} reversed (below 0)"
                + (f", {counts['not measured']} not measured." if counts["not measured"] else ".")
            )
        turned = [f"{grid.arms[o.better]} over {grid.arms[o.worse]}" for o in orders if o.verdict == "reversed"]
        if turned:
            sentences.append(f"Published in {metric}, and reversed here: {_listed(turned)}.")
    if found.orderings:
        name = published_set(grid.dataset)
        sentences.append(
            f"The published numbers are those of {name} with the paper's encoder, without intervals; ours are of "
            f"{grid.dataset}. Compare orders, not levels. The intervals of orders are not adjusted for their number."
        )
    return sentences


def _levels(found: Comparison) -> list[str]:
    """Which systems reach their published scores: each is a whole system here, not a change to one encoder."""
    sentences = []
    for metric in HEADLINE:
        arms = [
            (row.label, row.measured.score[metric].value, row.published.of(metric))
            for row in found.rows
            if row.measured and row.published
        ]
        below = [f"{label} ({ours:.2f}, published {theirs:.2f})" for label, ours, theirs in arms if ours < theirs]
        reached = f"At or above the published {metric}: {len(arms) - len(below)} of {len(arms)}"
        sentences.append(f"{reached}; below: {_listed(below)}." if below else f"{reached}.")
    return sentences


def _measured(grid: Grid, name: str) -> Measured | None:
    cells = grid.cells[name].values()
    if not cells:
        return None
    seconds = [cell.seconds for cell in cells if cell.seconds is not None]
    return Measured(
        {metric: _percent(pigeonhole_bootstrap(grid.per_sketch(name, metric))) for metric in HEADLINE},
        tuple(_percent(pigeonhole_bootstrap(grid.per_sketch(name, f"A@{q}"))) for q in (1, 5, 10)),
        _percent(stratified(grid.runs(name), iqm)),
        float(np.mean(seconds)) if seconds else None,
    )


def _percent(estimate: Estimate) -> Estimate:
    """Without the part of the interval that no score can have."""
    return Estimate(estimate.value, max(estimate.low, 0.0), min(estimate.high, 100.0))


def _contrasts(grid: Grid) -> dict[str, Contrast]:
    """Arm -> its comparison with the reference, for the arms that share a seed with it."""
    others = [name for name in grid.arms if name != grid.reference]
    shared = {name: _shared(grid, name, grid.reference) for name in others}
    p = [_p(grid, name, seeds) for name, seeds in shared.items()]
    return {
        name: Contrast(
            {metric: _difference(grid, name, grid.reference, metric, shared[name]) for metric in HEADLINE},
            raw,
            adjusted,
            probability_of_improvement(grid.runs(name), grid.runs(grid.reference)),
            len(shared[name]),
        )
        for name, raw, adjusted in zip(others, p, holm(p).tolist(), strict=True)
        if shared[name]
    }


def _p(grid: Grid, name: str, seeds: list[int]) -> float:
    if not seeds:
        return 1.0  # a comparison that was planned counts in its family even if its cells are missing
    return sign_flip((grid.runs(name, seeds) - grid.runs(grid.reference, seeds))[:, 0])


def _difference(grid: Grid, one: str, other: str, metric: str, seeds: list[int]) -> Estimate:
    return pigeonhole_bootstrap(grid.per_sketch(one, metric, seeds) - grid.per_sketch(other, metric, seeds))


def _shared(grid: Grid, one: str, other: str) -> list[int]:
    return [seed for seed in grid.cells[one] if seed in grid.cells[other]]


def _orderings(grid: Grid, paper: Mapping[str, Score]) -> list[Ordering]:
    """Every pair of arms whose published scores differ, the largest published gap first."""
    found = []
    for metric in HEADLINE:
        for pair in combinations([name for name in grid.arms if name in paper], 2):
            better, worse = sorted(pair, key=lambda name: -paper[name].of(metric))
            gap = paper[better].of(metric) - paper[worse].of(metric)
            seeds = _shared(grid, better, worse)
            if gap > 0:
                measured = _difference(grid, better, worse, metric, seeds) if seeds else None
                found.append(Ordering(better, worse, metric, gap, measured))
    return sorted(found, key=lambda order: (order.metric, -order.published))


def _tests(found: Comparison) -> list[str]:
    grid = found.grid
    reference = grid.arms[grid.reference]
    groups: dict[str, list[str]] = {"above": [], "below": [], "cannot be told from": []}
    for row in found.rows:
        if row.contrast:
            side = "above" if row.contrast.difference["m@B"].value > 0 else "below"
            groups[side if row.contrast.adjusted <= 0.05 else "cannot be told from"].append(row.label)
    sentences = []
    for verdict, arms in groups.items():
        verb = "" if verdict.startswith("cannot") else "is " if len(arms) == 1 else "are "
        if arms:
            sentences.append(
                f"In m@B, {_listed(arms)} {verb}{verdict} {reference} (sign-flip test over seeds, Holm-adjusted, "
                "at 5 %)."
            )
    family = len(grid.arms) - 1
    most = max((row.contrast.seeds for row in found.rows if row.contrast), default=0)
    if sentences and (least := 2.0 ** (1 - most)) * family > 0.05:
        sentences.append(
            f"With {most} seed{'s' * (most != 1)} the test cannot go below p = {least:.3g}, so that none of the "
            f"{family} adjusted values could reach 5 %: nothing is shown either way."
        )
    return sentences


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
