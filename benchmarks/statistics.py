"""What a few seeds and a few hundred sketches can tell: intervals, tests, and how sure they are.

Scores are matrices [S, K] of S runs (seeds) on K tasks, or [S, N] of S runs on N query sketches. All functions raise
ConfigError for none at all and for a value that is not finite. Each draws from a generator of its own `seed`.

References:
    Agarwal et al. (2021), Deep reinforcement learning at the edge of the statistical precipice: interquartile
        mean, stratified bootstrap, performance profile, probability of improvement.
    Hesterberg (2015), What teachers should know about the bootstrap: percentiles widened for few runs.
    Owen (2007), The pigeonhole bootstrap: resampling rows and columns, which errs on the wide side.
    Holm (1979), A simple sequentially rejective multiple test procedure.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from sketchless.datasets.errors import ConfigError

FloatArray = npt.NDArray[np.float64]
Statistic = Callable[[FloatArray], FloatArray]  # scores [..., S, K] -> [...]

REPLICATES = 5_000
ENOUGH_SEEDS = 10
_EXACT = 20  # up to here all 2^S sign patterns are looked at


class Estimate(NamedTuple):
    """A number and the ends of its interval."""

    value: float
    low: float
    high: float


def preliminary(seeds: int) -> bool:
    """Whether there are too few seeds (below ten) for a conclusion."""
    return seeds < ENOUGH_SEEDS


def mean(scores: FloatArray) -> FloatArray:
    """Mean of all runs and tasks: [..., S, K] -> [...]."""
    result: FloatArray = scores.mean(axis=(-2, -1))
    return result


def iqm(scores: FloatArray) -> FloatArray:
    """Interquartile mean: the middle half of all runs and tasks, [..., S, K] -> [...].

    A quarter of the scores, rounded down, is left out at either end.
    """
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = flat.shape[-1] // 4
    result: FloatArray = flat[..., cut : flat.shape[-1] - cut].mean(axis=-1)
    return result


def stratified(scores: FloatArray, statistic: Statistic = mean, level: float = 0.95, seed: int = 0) -> Estimate:
    """A statistic of scores [S, K], its interval by resampling the runs of each task apart (Agarwal et al.)."""
    found = statistic(_checked(scores))
    low, high = _ends(statistic(_resampled(scores, np.random.default_rng(seed))), scores, level)
    return Estimate(float(found), float(low), float(high))


def band(values: FloatArray, level: float = 0.95, seed: int = 0) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean over runs of curves [S, P], and the ends of its interval at every point: [P] each."""
    weight = _counts(len(_checked(values)), seed, "seeds") / len(values)  # [R, S]
    low, high = _ends(weight @ values, values[:, :1], level)
    return values.mean(axis=0), low, high


def profile(
    scores: FloatArray, thresholds: FloatArray, level: float = 0.95, seed: int = 0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Performance profile: share of runs and tasks [S, K] with a score above each threshold [P], and its band.

    Returns:
        Share, lower and upper end: [P] each, 0..1 (Agarwal et al., run-score distribution).

    """
    n_runs, n_tasks = _checked(scores).shape
    above = (scores[..., None] > thresholds).astype(np.float64)  # [S, K, P]
    again = [_counts(n_runs, seed, f"task {task}") @ above[:, task] / n_runs for task in range(n_tasks)]
    low, high = _ends(np.mean(again, axis=0), scores, level)
    return above.mean(axis=(0, 1)), low, high


def probability_of_improvement(x: FloatArray, y: FloatArray, level: float = 0.95, seed: int = 0) -> Estimate:
    """P(X > Y): how likely a run of x [S, K] beats a run of y [S', K] on a task drawn at random; ties count half.

    The mean over tasks of the Mann-Whitney statistic over its largest value (Agarwal et al.). Raises ConfigError
    for other tasks.
    """
    if _checked(x).shape[1] != _checked(y).shape[1]:
        raise ConfigError(f"scores on {x.shape[1]} and {y.shape[1]} tasks cannot be compared")
    rng = np.random.default_rng(seed)
    again = _wins(_resampled(x, rng), _resampled(y, rng))
    low, high = _ends(again, min(x, y, key=len), level)
    return Estimate(float(_wins(x, y)), float(low), float(high))


def crossed(values: FloatArray, level: float = 0.95, seed: int = 0) -> Estimate:
    """Mean of values [S, N] and its interval, resampling seeds and sketches at once (Owen).

    For the difference of two arms give the matrix of their differences, paired by seed and by sketch. Of a
    single seed the interval tells how sketches differ, and nothing about other seeds.
    """
    n_seeds, n_sketches = _checked(values).shape
    seeds, sketches = _counts(n_seeds, seed, "seeds"), _counts(n_sketches, seed, "sketches")  # [R, S], [R, N]
    means = ((seeds @ values) * sketches).sum(axis=1) / values.size
    low, high = _ends(means, values[:, :1], level)
    return Estimate(float(values.mean()), float(low), float(high))


def sign_flip(differences: Sequence[float] | FloatArray, seed: int = 0) -> float:
    """Two-sided p of per-seed differences [S], were the sign of each a coin's toss.

    The share of all 2^S sign patterns whose sum is as far from zero as the one found, ties counted: never below
    2 / 2^S, 2/1024 for ten seeds. Above 20 seeds 99,999 patterns are drawn, and the one found counts among them.
    """
    values = _checked(np.asarray(differences, dtype=np.float64)[:, None])[:, 0]
    limit = abs(values.sum()) - 1e-9 * np.abs(values).sum()  # sums in another order differ in their last bits
    if len(values) > _EXACT:
        signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(99_999, len(values)))
        return float(((np.abs(signs @ values) >= limit).sum() + 1) / 100_000)
    sums = values[:1]  # the other half of the patterns mirrors these
    for value in values[1:]:
        sums = np.concatenate([sums + value, sums - value])
    return float((np.abs(sums) >= limit).mean())


def holm(p: Sequence[float] | FloatArray) -> FloatArray:
    """Holm's step-down adjustment of a family of p-values [k]: float64 [k], in their order.

    Rejecting where the adjusted value is at most 0.05 keeps the chance of any false rejection below 5 %.

    Raises:
        ConfigError: a value outside 0..1.
    """
    values = np.asarray(p, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ConfigError("p-values lie in 0..1")
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    return np.minimum(adjusted, 1)


def _checked(values: FloatArray) -> FloatArray:
    if values.ndim != 2 or not values.size:
        raise ConfigError(f"scores of shape {list(values.shape)}: want [seeds, tasks], at least one of each")
    if not np.isfinite(values).all():
        raise ConfigError("a score is not finite")
    return values


@functools.lru_cache(maxsize=8)  # a report asks for the same draws for every pair of arms
def _counts(n: int, seed: int, what: str) -> FloatArray:
    """How often each of n runs or sketches is drawn in n draws with replacement: [R, n], not to be changed."""
    rng = np.random.default_rng([seed, *what.encode()])  # equal numbers must not be drawn alike
    counts = rng.multinomial(n, np.full(n, 1 / n), size=REPLICATES).astype(np.float64)
    counts.flags.writeable = False
    return counts


def _resampled(scores: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Runs drawn with replacement, for each task apart: [R, S, K]."""
    rows = rng.integers(0, len(scores), size=(REPLICATES, *scores.shape))
    return scores[rows, np.arange(scores.shape[1])]


def _ends(replicates: FloatArray, scores: FloatArray, level: float) -> Any:
    """Both ends of the percentile interval of replicates [R, ...], widened for the few runs of scores [S, K].

    Percentiles of resampled means of n runs are too narrow twice over: by sqrt((n-1)/n), and as the spread
    itself is estimated. Taking those at Phi(-+ sqrt(n/(n-1)) t) makes up for both (Hesterberg). Of two or three
    runs even the outermost replicates are too narrow.
    """
    runs, tasks = scores.shape
    tail = (1 - level) / 2
    if runs > 1:
        tail = stats.norm.cdf(np.sqrt(runs / (runs - 1)) * stats.t.ppf(tail, tasks * (runs - 1)))
    return np.quantile(replicates, (tail, 1 - tail), axis=0)


def _wins(x: FloatArray, y: FloatArray) -> FloatArray:
    """Share of pairs of runs that x [..., S, K] wins over y [..., S', K], mean over tasks: [...]."""
    result: FloatArray = (0.5 + 0.5 * np.sign(x[..., :, None, :] - y[..., None, :, :])).mean(axis=(-3, -2, -1))
    return result
