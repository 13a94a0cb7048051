"""Claims that were written down before anyone looked, judged on grids whose test photos are disjoint, such as folds.

A claim compares an arm with another, or with B1, its own encoder without refinement. Two intervals of the difference
must bear it out. One pools all sketches and draws photos, sketches within them and seeds anew. The other is Student's
of the folds' means, of which each has photos, an encoder and seeds of its own: it takes these as random too, with as
few degrees of freedom as there are folds less one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy  # which imports its parts at their first use

from sketchless.datasets.errors import CheckpointError, ConfigError

from ..metrics import METRICS
from ..statistics import Estimate, FloatArray, Inference, holm, p_value, pigeonhole_bootstrap, text
from .b1 import ranks_of_b1
from .results import Grid

COLUMNS = ("id", "claim", "metric", "arm", "against", "relation")
B1 = "b1"
VERDICTS = ("holds", "not shown", "refuted")


class Claim(NamedTuple):
    """One line of the table of claims: `arm` against `against` (an arm, or `b1`) is `above`, `below` or `level`.

    `margin` is that of `level`, in points of the metric.
    """

    id: str
    claim: str
    metric: str
    arm: str
    against: str
    relation: str
    margin: float


@dataclass(frozen=True)
class Judged:
    """A claim, and what the grids say of it.

    Attributes:
        pooled: the difference over all sketches, percent; its interval draws photos, sketches and seeds anew.
        folds: the mean of the grids' differences, with Student's interval.
        by_fold: the difference in each grid.
        adjusted: p of the pooled difference, by Holm over all claims that say above or below.
    """

    claim: Claim
    pooled: Inference
    folds: Estimate
    by_fold: tuple[float, ...]
    adjusted: float

    @property
    def verdict(self) -> str:
        """`holds` if both intervals bear it out, `refuted` if both say the contrary, else `not shown`."""
        if self.claim.relation == "level":
            margin = self.claim.margin
            if self.pooled.equivalent(margin) and -margin < self.folds.low and self.folds.high < margin:
                return "holds"
            outside = [low > margin or high < -margin for _, low, high in (self.pooled.estimate, self.folds)]
            return "refuted" if all(outside) else "not shown"
        sign = 1 if self.claim.relation == "above" else -1
        ends = [(sign * low, sign * high) for _, low, high in (self.pooled.estimate, self.folds)]
        if self.adjusted <= 0.05 and all(min(pair) > 0 for pair in ends):
            return "holds"
        return "refuted" if self.adjusted <= 0.05 and all(max(pair) < 0 for pair in ends) else "not shown"


def read_claims(file: Path) -> list[Claim]:
    """The claims in a Markdown file: the rows of its first table whose header is `COLUMNS`.

    Raises:
        ConfigError: no file, no such table, an id twice, or a row that is no claim; the message names the line.
    """
    try:
        written = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({error}); give a Markdown file of claims") from error
    lines = [(number, _row(line)) for number, line in enumerate(written.splitlines(), 1)]
    start = next((i for i, (_, row) in enumerate(lines) if tuple(row) == COLUMNS), None)
    if start is None:
        raise ConfigError(f"{file}: holds no table with the columns {' | '.join(COLUMNS)}; write one")
    found: list[Claim] = []
    for number, row in lines[start + 2 :]:  # below the header is a rule
        if not row:
            break
        found.append(_claim(f"{file}:{number}", row))
        if found[-1].id in {claim.id for claim in found[:-1]}:
            raise ConfigError(f"{file}:{number}: the id {found[-1].id!r} stands there twice; give each claim its own")
    if not found:
        raise ConfigError(f"{file}: its table of claims is empty; write one claim a row")
    return found


def _row(line: str) -> list[str]:
    """Cells of a line of a Markdown table; none of another line."""
    line = line.strip()
    return [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []


def _claim(where: str, row: Sequence[str]) -> Claim:
    if len(row) != len(COLUMNS):
        raise ConfigError(f"{where}: has {len(row)} columns, want {len(COLUMNS)}: {' | '.join(COLUMNS)}")
    id, claim, metric, arm, against, relation = row
    if arm in (B1, against):
        raise ConfigError(f"{where}: compares {arm!r} with {against!r}; name an arm, and what it is against")
    if metric not in METRICS:
        raise ConfigError(f"{where}: unknown metric {metric!r}; choose one of {', '.join(METRICS)}")
    if relation in ("above", "below"):
        return Claim(id, claim, metric, arm, against, relation, 0.0)
    level = re.fullmatch(r"level within (\d+(?:\.\d+)?)", relation)
    if level is None or not float(level[1]):
        raise ConfigError(f"{where}: relation {relation!r}: want above, below or 'level within <points>'")
    return Claim(id, claim, metric, arm, against, "level", float(level[1]))


def judge(claims: Sequence[Claim], grids: Sequence[Grid]) -> list[Judged]:
    """Every claim on all grids together.

    Raises:
        ConfigError: fewer than two grids, grids of another split than test or that share a photo, or an arm that a grid
            lacks.
        CheckpointError: a grid without the ranks of B1 where a claim needs them.
    """
    if len(grids) < 2:
        raise ConfigError(f"{len(grids)} grid: claims are judged on two folds or more; give the folder of each")
    seen: set[str] = set()
    for grid in grids:
        if grid.split != "test":
            raise ConfigError(f"the grid {grid.command!r} was measured on {grid.split}; claims are judged on test")
        photos = set(grid.photo_of_sketch)
        if twice := seen & photos:
            raise ConfigError(f"photo {min(twice)!r} is in the test of two grids; give folds with photos of their own")
        seen |= photos
    differences = [[_difference(claim, grid) for grid in grids] for claim in claims]
    photos_of_all = [photo for grid in grids for photo in grid.photo_of_sketch]
    pooled = [pigeonhole_bootstrap(_side_by_side(of_claim), photos_of_all) for of_claim in differences]
    ordered = [i for i, claim in enumerate(claims) if claim.relation != "level"]
    adjusted = dict(zip(ordered, holm([pooled[i].p for i in ordered]).tolist(), strict=True))
    return [
        Judged(claim, pooled[i], _student(means), means, adjusted.get(i, 1.0))
        for i, claim in enumerate(claims)
        for means in [tuple(float(values.mean()) for values in differences[i])]
    ]


def _difference(claim: Claim, grid: Grid) -> FloatArray:
    """Arm less what it is against, on the seeds that both have: [S, N]."""
    for arm in (claim.arm, claim.against):
        if arm != B1 and not grid.cells.get(arm):
            raise ConfigError(f"claim {claim.id}: the grid {grid.command!r} has no arm {arm!r}; run it with that arm")
    seeds = [s for s in grid.cells[claim.arm] if claim.against == B1 or s in grid.cells[claim.against]]
    if not seeds:
        raise ConfigError(f"claim {claim.id}: {claim.arm} and {claim.against} share no seed; run both with the same")
    ours = grid.per_sketch(claim.arm, claim.metric, seeds)
    if claim.against != B1:
        return ours - grid.per_sketch(claim.against, claim.metric, seeds)
    b1 = [ranks_of_b1(grid, grid.cells[claim.arm][seed]) for seed in seeds]
    known = [one.per_sketch(claim.metric) for one in b1 if one is not None]
    if len(known) < len(b1):
        raise CheckpointError(f"claim {claim.id}: the grid {grid.command!r} holds no ranks of B1; run it again")
    return ours - np.stack(known)


def _side_by_side(folds: Sequence[FloatArray]) -> FloatArray:
    """Sketches of all folds [S, N1 + N2 + ...]; of S seeds each, the fewest that one has."""
    fewest = min(len(values) for values in folds)
    return np.concatenate([values[:fewest] for values in folds], axis=1)


def _student(means: Sequence[float]) -> Estimate:
    """Mean of the folds and its interval at 95 % by Student's t."""
    values = np.asarray(means)
    reach = float(scipy.stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Estimate(float(values.mean()), float(values.mean()) - reach, float(values.mean()) + reach)


HEADER = ("claim", "metric", "arm", "against", "difference", "between folds", "by fold", "p (Holm)", "verdict")


def verdicts(judged: Sequence[Judged]) -> list[list[str]]:
    """Cells as text, a row per claim under `HEADER`."""
    return [
        [
            f"{one.claim.id}: {one.claim.claim}",
            one.claim.metric,
            one.claim.arm,
            one.claim.against,
            text(one.pooled.estimate, "+"),
            text(one.folds, "+"),
            ", ".join(f"{value:+.2f}".replace("-", "−") for value in one.by_fold),
            "-" if one.claim.relation == "level" else p_value(one.adjusted),
            one.verdict,
        ]
        for one in judged
    ]


def claims_markdown(judged: Sequence[Judged], photos: int, sketches: int, folds: int) -> str:
    """The verdicts as a Markdown table with what a reader must know."""
    rows = [list(HEADER), ["---"] * len(HEADER), *verdicts(judged)]
    table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
    counts = ", ".join(f"{sum(one.verdict == verdict for one in judged)} {verdict}" for verdict in VERDICTS)
    smallest = sorted(one.pooled.detectable() for one in judged)
    seen = f"{smallest[0]:.1f} to {smallest[-1]:.1f} points, by claim"
    return (
        f"{table}\n\n{sketches} sketches of {photos} photos in {folds} folds. {NOTE} Smallest difference over all "
        f"sketches that was likely (80 %) to be seen, by itself at 5 %: {seen}. Claims: {counts}.\n"
    )


NOTE = (
    "difference: over all sketches; its 95 % interval draws photos, sketches within them and seeds anew. "
    "between folds: the mean of the folds' differences with Student's interval; each fold has its own photos, encoder "
    "and seeds. A claim holds if both intervals bear it out, and p by Holm over all claims that say above or below."
)
