"""What a few seeds and a few hundred sketches can tell: intervals, tests, and how sure they are.

Scores are matrices [S, K] of S runs (seeds) on K tasks, or [S, N] of S runs on N query sketches. All functions raise
ConfigError for no scores, unequal numbers of tasks and a value that is not finite. What is drawn comes from a generator
of its own `seed`.

References:
    Agarwal et al. (2021), Deep reinforcement learning at the edge of the statistical precipice: interquartile
        mean, stratified bootstrap, performance profile, probability of improvement.
    Hesterberg (2015), What teachers should know about the bootstrap: percentile intervals of few runs are too narrow.
    Owen (2007), The pigeonhole bootstrap: resampling rows and columns, which errs on the wide side.
    Clopper and Pearson (1934), The use of confidence or fiducial limits illustrated in the case of the binomial.
    Birnbaum and Klose (1957), Bounds for the variance of the Mann-Whitney statistic: at most p (1 - p)/min(S, S').
    Holm (1979), A simple sequentially rejective multiple test procedure.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

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
    again = statistic(_resampled(scores, np.random.default_rng(seed)))
    low, high = found + small_sample_factor(list(scores.T), level) * (_ends(again, level) - found)
    return Estimate(float(found), float(low), float(high))


def bootstrap_band(values: FloatArray, level: float = 0.95, seed: int = 0) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean over runs of curves [S, P], and the ends of its interval at every point: [P] each."""
    weight = _counts(len(_checked(values)), seed, "seeds") / len(values)  # [R, S]
    centre = values.mean(axis=0)
    low, high = centre + small_sample_factor([values[:, 0]], level) * (_ends(weight @ values, level) - centre)
    return centre, low, high


def profile(
    scores: FloatArray, thresholds: FloatArray, level: float = 0.95
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Performance profile: share (0..1) of runs and tasks [S, K] above each threshold [P]; its lower and upper end.

    The interval holds at each threshold by itself (Clopper-Pearson), at least as often as `level` says.
    """
    above = (_checked(scores)[..., None] > thresholds).mean(axis=(0, 1))
    low, high = _share_ends(above, scores.size, level)
    return above, low, high


def probability_of_improvement(x: FloatArray, y: FloatArray, level: float = 0.95) -> Estimate:
    """P(X > Y): how likely a run of x [S, K] beats one of y [S', K] on a task drawn at random; ties count half.

    The interval is Clopper-Pearson's for as many trials as x and y make disjoint pairs, whose variance the share of
    all pairs never exceeds (Birnbaum and Klose): it errs on the wide side.
    """
    if _checked(x).shape[1] != _checked(y).shape[1]:
        raise ConfigError(f"scores on {x.shape[1]} and {y.shape[1]} tasks cannot be compared")
    wins = (0.5 + 0.5 * np.sign(x[:, None] - y)).mean()  # of [S, S', K]
    low, high = _share_ends(wins, min(x.size, y.size), level)
    return Estimate(float(wins), float(low), float(high))


def pigeonhole_bootstrap(values: FloatArray, level: float = 0.95, seed: int = 0) -> Estimate:
    """Mean of values [S, N] and its interval, resampling seeds and sketches at once (Owen).

    For the difference of two arms give the matrix of their differences, paired by seed and by sketch. Of a
    single seed the interval tells how sketches differ, and nothing about other seeds.
    """
    n_seeds, n_sketches = _checked(values).shape
    seeds, sketches = _counts(n_seeds, seed, "seeds"), _counts(n_sketches, seed, "sketches")  # [R, S], [R, N]
    means = ((seeds @ values) * sketches).sum(axis=1) / values.size
    parts = [values.mean(axis=1), values.mean(axis=0)]
    low, high = values.mean() + small_sample_factor(parts, level) * (_ends(means, level) - values.mean())
    return Estimate(float(values.mean()), float(low), float(high))


def sign_flip(differences: Sequence[float] | FloatArray, seed: int = 0) -> float:
    """Two-sided p of per-seed differences [S], were the sign of each a coin's toss.

    The share of all 2^S patterns whose sum is as far from zero as the one found, ties counted: at least 2 / 2^S,
    2/1024 for ten seeds. Above 20 seeds 99,999 patterns are drawn, and the one found counts among them.
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

    Rejecting where the adjusted value is at most 0.05 keeps the chance of any false rejection below 5 %. Raises
    ConfigError for a value outside 0..1.
    """
    values = np.asarray(p, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ConfigError("p-values lie in 0..1")
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    return np.minimum(adjusted, 1)


def small_sample_factor(parts: Sequence[FloatArray], level: float = 0.95) -> float:
    """How much wider than its percentiles the interval of a sum of means must be, as they rest on few values.

    Percentiles of resampled means of n values are too narrow twice over (Hesterberg): resampling shrinks the
    variance v of the mean by (n - 1)/n, and v itself is estimated, for which t takes the place of the normal z.
    Several parts [n], such as seeds and sketches, count by their share of the variance (Welch and Satterthwaite);
    a part of one value says nothing.

        sqrt(sum v / sum v (n-1)/n) * t(df) / z,   df = (sum v)^2 / sum v^2/(n-1)
    """
    parts = [part for part in parts if len(part) > 1]
    if not parts:
        return 1.0
    n = np.array([len(part) for part in parts])
    v = np.array([part.var(ddof=1) for part in parts]) / n
    v = v / v.max() if v.any() else np.ones_like(v)
    df = v.sum() ** 2 / (v**2 / (n - 1)).sum()
    upper = (1 + level) / 2
    return float(np.sqrt(v.sum() / (v * (n - 1) / n).sum()) * stats.t.ppf(upper, df) / stats.norm.ppf(upper))


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


def _ends(replicates: FloatArray, level: float) -> FloatArray:
    """Both ends of the percentile interval of replicates [R, ...]: [2, ...]."""
    result: FloatArray = np.quantile(replicates, ((1 - level) / 2, (1 + level) / 2), axis=0)
    return result


def _share_ends(share: FloatArray, trials: int, level: float) -> tuple[FloatArray, FloatArray]:
    """Both ends of the interval of a share [...] of so many trials (Clopper-Pearson)."""
    hits, tail = np.clip(share, 0, 1) * trials, (1 - level) / 2
    low = np.nan_to_num(stats.beta.ppf(tail, hits, trials - hits + 1), nan=0.0)  # nan: of none or of all
    high = np.nan_to_num(stats.beta.ppf(1 - tail, hits + 1, trials - hits), nan=1.0)
    return low, high
