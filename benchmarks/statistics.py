"""What a few seeds and a few hundred sketches can tell: intervals, tests, and how sure they are.

Scores are matrices [S, K] of S runs (seeds) on K tasks, or [S, N] of S runs on N query sketches. All functions raise
ConfigError for no scores, unequal numbers of tasks and a value that is not finite. What is drawn comes from a generator
of its own `seed`.

Sketches of one photo are alike, and so are runs on one encoder: `pigeonhole_bootstrap` draws photos and sketches within
them, encoders and seeds within them. Its intervals and p-values take all of these as random. `docs/benchmarks.md` says
how often they err: on three encoders they are too wide.

References:
    - Agarwal et al. (2021), Deep reinforcement learning at the edge of the statistical precipice: interquartile
      mean, stratified bootstrap, performance profile, probability of improvement.
    - Hesterberg (2015), What teachers should know about the bootstrap: percentile intervals of few runs are too
      narrow.
    - Owen (2007), The pigeonhole bootstrap: resampling rows and columns, which errs on the wide side.
    - Davison and Hinkley (1997), Bootstrap methods and their application, section 3.8: nested samples.
    - Schuirmann (1987), two one-sided tests of equivalence.
    - Howe (1969), two-sided tolerance limits of a normal sample. Hoffman and Kringle (2005), Two-sided tolerance
      intervals for balanced and unbalanced random effects models.
    - Clopper and Pearson (1934), The use of confidence or fiducial limits illustrated in the case of the binomial.
    - Birnbaum and Klose (1957), Bounds for the variance of the Mann-Whitney statistic: at most p (1 - p)/min(S,
      S').
    - Holm (1979), A simple sequentially rejective multiple test procedure.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy  # which imports its parts at their first use

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


def text(estimate: Estimate, sign: str = "") -> str:
    """`"36.87 [36.10, 37.60]"`; with `sign="+"` a plus before what is above zero; without ends that are not known."""
    value, low, high = (two_decimals(number, sign).replace("-", "−") for number in estimate)
    return value if np.isnan(estimate.low) else f"{value} [{low}, {high}]"


def in_percent(estimate: Estimate) -> Estimate:
    """Without the part of the interval that no score can have."""
    return Estimate(estimate.value, max(estimate.low, 0.0), min(estimate.high, 100.0))


def two_decimals(number: float, sign: str = "") -> str:
    """As `f"{number:.2f}"`; 12.375 the same way on every processor, though they may differ in its sixteenth digit."""
    return f"{round(number, 9):{sign}.2f}"


def p_value(p: float) -> str:
    """`"0.012"`; no p is zero: `"<0.001"`."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def listed(words: Sequence[str]) -> str:
    """`"a, b and c"`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


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


def bootstrap_band(
    values: FloatArray, encoders: Sequence[str] = (), level: float = 0.95, seed: int = 0
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean over runs of curves [S, P], and the ends of its interval at every point: [P] each.

    `encoders`: S names, of the one on which each run stands, where they are drawn too; none: all stand on one.
    """
    _, encoders = _named(_checked(values), (), encoders)
    several = len(set(encoders)) > 1
    counts = _nested_counts(encoders, seed, "seeds") if several else _counts(len(values), seed, "seeds")  # [R, S]
    drawn = (counts @ values) / counts.sum(axis=1, keepdims=True)
    centre, parts = values.mean(axis=0), _group_means(values[:, 0], encoders) if several else values[:, 0]
    low, high = centre + small_sample_factor([parts], level) * (_ends(drawn, level) - centre)
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


class Inference(NamedTuple):
    """A mean with its interval, and the chance of one as far from zero were the truth zero.

    `error` is its standard error on `df` degrees of freedom.
    """

    estimate: Estimate
    p: float
    error: float
    df: float

    def equivalent(self, margin: float, level: float = 0.95) -> bool:
        """Whether the truth is surely between -margin and +margin (two one-sided tests, each at 1 - level)."""
        reach = scipy.stats.t.ppf(level, self.df) * self.error
        return bool(abs(self.estimate.value) + reach < margin)

    def detectable(self, power: float = 0.8, level: float = 0.95) -> float:
        """The smallest true difference that such an experiment would tell from zero with this chance."""
        if not np.isfinite(self.error):
            return np.inf
        df = min(self.df, 1e6)
        limit = scipy.stats.t.ppf((1 + level) / 2, df)

        # P(T > limit) = power,  T noncentral t with a mean of true difference / error
        def missing(shift: float) -> float:
            return float(power - scipy.stats.nct.sf(limit, df, shift))

        return float(scipy.optimize.brentq(missing, 0, 4 * limit + 10)) * self.error


def pigeonhole_bootstrap(
    values: FloatArray,
    photos: Sequence[str] = (),
    encoders: Sequence[str] = (),
    level: float = 0.95,
    seed: int = 0,
) -> Inference:
    """Mean of values [S, N] with photos, sketches within photos, encoders and seeds within encoders drawn anew.

    For the difference of two arms give the matrix of their differences, paired by seed and by sketch. What there is
    one of is not drawn: of a single encoder the interval says nothing about another one. Where there is one of
    everything, p is 1 and the standard error infinite.

    Args:
        values: one per run and sketch.
        photos: N names, of the photo that each sketch depicts; none: every sketch has one of its own.
        encoders: S names, of the encoder that each run stands on; none: all stand on one.
        level: of the interval.

    Raises:
        ConfigError: besides the above, names that are more or fewer than sketches or runs.
    """
    return inference(values, drawn_means(values, photos, encoders, seed), photos, encoders, level)


def drawn_means(
    values: FloatArray,
    photos: Sequence[str] = (),
    encoders: Sequence[str] = (),
    seed: int = 0,
    what: str = "sketches",
) -> FloatArray:
    """The means [R] of `pigeonhole_bootstrap`, one for every replicate.

    Values of other runs and sketches are drawn alike where encoders, photos and `seed` are the same, and `what` is:
    sketches of another split are drawn apart under another name.
    """
    runs, sketches = drawn_weights(values, photos, encoders, seed, what)
    means: FloatArray = ((runs @ values) * sketches).sum(axis=1) / (runs.sum(axis=1) * sketches.sum(axis=1))
    return means


def drawn_weights(
    values: FloatArray,
    photos: Sequence[str] = (),
    encoders: Sequence[str] = (),
    seed: int = 0,
    what: str = "sketches",
) -> tuple[FloatArray, FloatArray]:
    """How often each run [R, S] and each sketch [R, N] of values [S, N] is drawn in the replicates of `drawn_means`."""
    photos, encoders = _named(values, photos, encoders)
    return _nested_counts(encoders, seed, "seeds"), _nested_counts(photos, seed, what)


def widened(
    found: float,
    replicates: FloatArray,
    spread: FloatArray,
    photos: Sequence[str] = (),
    encoders: Sequence[str] = (),
    level: float = 0.95,
) -> Estimate:
    """A statistic with the interval of its replicates [R], as wide as few photos and runs ask for.

    `spread` [S, N]: values whose mean differs between runs, and between sketches, about as the statistic does.
    """
    low, high = found + small_sample_factor(_parts(spread, photos, encoders), level) * (
        _ends(replicates, level) - found
    )
    return Estimate(found, float(low), float(high))


def inference(
    values: FloatArray,
    means: FloatArray,
    photos: Sequence[str] = (),
    encoders: Sequence[str] = (),
    level: float = 0.95,
    shift: float = 0.0,
) -> Inference:
    """The mean of values [S, N], with what replicates of it [R] say: `drawn_means`, or those of a choice drawn anew.

    `shift`: how far the replicates of a choice lie off the mean on average, as others are chosen in them. The standard
    error holds it, and p is that of the mean or of the middle of its replicates, whichever is nearer to zero; 1 where
    these lie on either side of it.
    """
    found = float(values.mean())
    shrinkage, df = _small_sample(_parts(values, photos, encoders))
    factor = shrinkage * _t_over_normal(df, level)
    low, high = found + factor * (_ends(means, level) - found)
    error = float(np.hypot(means.std(), shift)) * shrinkage
    if not np.isfinite(df) and not means.std():  # one of everything: nothing is known of another one
        return Inference(Estimate(found, float(low), float(high)), 1.0, np.inf, df)
    middle = found + shift
    p = 1.0 if found * middle < 0 else _p_value(min(found, middle, key=abs), means, shrinkage, df)
    return Inference(Estimate(found, float(low), float(high)), p, error, df)


def _parts(values: FloatArray, photos: Sequence[str], encoders: Sequence[str]) -> list[FloatArray]:
    """Means of values [S, N] by what is drawn first: photos; and encoders, or, on a single one, runs."""
    photos, encoders = _named(values, photos, encoders)
    runs = values.mean(axis=1)
    return [_group_means(values.mean(axis=0), photos), _group_means(runs, encoders) if len(set(encoders)) > 1 else runs]


def _named(
    values: FloatArray, photos: Sequence[str], encoders: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Photos of sketches and encoders of runs, where none are named: one each, and one for all."""
    n_runs, n_sketches = _checked(values).shape
    photos = tuple(photos) or tuple(map(str, range(n_sketches)))
    encoders = tuple(encoders) or ("",) * n_runs
    if len(photos) != n_sketches or len(encoders) != n_runs:
        raise ConfigError(f"{len(photos)} photos and {len(encoders)} encoders for scores {list(values.shape)}")
    return photos, encoders


def interval_of_many(values: FloatArray, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Ends of the interval of the mean of values [N], each drawn anew by itself; takes little memory for any N."""
    _checked(values[None])
    if len(values) < 2 or np.ptp(values) == 0:
        return float(values.mean()), float(values.mean())
    found = scipy.stats.bootstrap(
        (values,), np.mean, confidence_level=level, method="percentile", rng=np.random.default_rng(seed), batch=500
    ).confidence_interval
    return float(found.low), float(found.high)


def interval(values: FloatArray, photos: Sequence[str] = (), level: float = 0.95) -> tuple[float, float]:
    """Ends of the interval of the mean of values [N], or [S, N] of S runs: `pigeonhole_bootstrap` on one encoder."""
    _, low, high = pigeonhole_bootstrap(np.atleast_2d(values), photos, level=level).estimate
    return low, high


def _p_value(found: float, means: FloatArray, shrinkage: float, df: float) -> float:
    """Two-sided p: one less the level at which the interval of `pigeonhole_bootstrap` would just reach zero."""
    if not means.std():
        return 1.0 if found == 0 else 0.0
    beyond = min((means <= 0).mean(), (means >= 0).mean())
    # far out in the tail the replicates are too few to count, and nearly normal
    z = scipy.stats.norm.isf(beyond) if beyond * len(means) >= 20 else abs(found) / means.std()
    return float(min(2 * scipy.stats.t.sf(max(z, 0.0) / shrinkage, df), 1.0))


def tolerance(
    runs: Sequence[float] | FloatArray, encoders: Sequence[str] = (), share: float = 0.95, level: float = 0.95
) -> tuple[float, float]:
    """Interval that holds, with confidence `level`, this share of all single runs, normal within and between encoders.

    On several encoders a single run is one on an encoder trained anew (Hoffman and Kringle 2005); on one, a further run
    on it (Howe 1969). Of one run it is everything, of few encoders wide.

    Args:
        runs: a score of each run, [S].
        encoders: the one on which each run stands; if none are named, one for all.
    """
    values = _checked(np.asarray(runs, dtype=np.float64)[:, None])[:, 0]
    _, encoders = _named(values[:, None], (), encoders)
    n, groups = len(values), len(set(encoders))
    if n < 2:
        return -np.inf, np.inf
    if groups in (1, n):
        middle, between, error, rest = values.mean(), values.var(ddof=1), values.var(ddof=1) / n, 0.0
        df, df_rest = n - 1, 1
    else:
        _, place, sizes = np.unique(np.asarray(encoders), return_inverse=True, return_counts=True)
        means = _group_means(values, encoders)
        middle, between, error = means.mean(), means.var(ddof=1), means.var(ddof=1) / groups
        df, df_rest = groups - 1, n - groups
        # the mean of an encoder's runs has lost this part of the variance of a single one
        rest = (1 - (1 / sizes).mean()) * ((values - means[place]) ** 2).sum() / df_rest
    variance = between + rest
    upper = variance + np.hypot(between * _excess(df, level), rest * _excess(df_rest, level))
    factor = scipy.stats.norm.ppf((1 + share) / 2) * np.sqrt(1 + error / variance) if variance else 0.0
    reach = float(factor * np.sqrt(upper))
    return float(middle) - reach, float(middle) + reach


def _excess(df: int, level: float) -> float:
    """By what part of itself a variance with so many degrees of freedom may be larger than it was found."""
    return float(df / scipy.stats.chi2.ppf(1 - level, df) - 1)


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
    Several parts [n], such as seeds and photos, count by their share of the variance (Welch and Satterthwaite);
    a part of one value says nothing.

        sqrt(sum v / sum v (n-1)/n) * t(df) / z,   df = (sum v)^2 / sum v^2/(n-1)
    """
    shrinkage, df = _small_sample(parts)
    return shrinkage * _t_over_normal(df, level)


def _small_sample(parts: Sequence[FloatArray]) -> tuple[float, float]:
    """What resampling takes from the standard error, and the degrees of freedom (infinite: nothing was drawn)."""
    parts = [part for part in parts if len(part) > 1]
    if not parts:
        return 1.0, np.inf
    n = np.array([len(part) for part in parts])
    v = np.array([part.var(ddof=1) for part in parts]) / n
    v = v / v.max() if v.any() else np.ones_like(v)
    df = v.sum() ** 2 / (v**2 / (n - 1)).sum()
    return float(np.sqrt(v.sum() / (v * (n - 1) / n).sum())), float(df)


def _t_over_normal(df: float, level: float) -> float:
    upper = (1 + level) / 2
    return float(scipy.stats.t.ppf(upper, df) / scipy.stats.norm.ppf(upper))


def _group_means(values: FloatArray, groups: Sequence[str]) -> FloatArray:
    """Mean of the values [n] of every group."""
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    means: FloatArray = np.bincount(place, values) / np.bincount(place)
    return means


def _checked(values: FloatArray) -> FloatArray:
    if values.ndim != 2 or not values.size:
        raise ConfigError(f"scores of shape {list(values.shape)}: want [seeds, tasks], at least one of each")
    if not np.isfinite(values).all():
        raise ConfigError("a score is not finite")
    return values


@functools.lru_cache(maxsize=8)  # a report asks for the same draws for every pair of arms
def _nested_counts(groups: tuple[str, ...], seed: int, what: str) -> FloatArray:
    """How often each of n members is drawn when groups are drawn, then members within each: [R, n], not to be changed.

    A single group is not drawn, and neither is the only member of one.
    """
    rng = np.random.default_rng([seed, *what.encode()])  # equal numbers must not be drawn alike
    names, place = np.unique(np.asarray(groups), return_inverse=True)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=REPLICATES)  # [R, groups]
    if len(names) == len(groups):
        counts = drawn[:, place].astype(np.float64)
        counts.flags.writeable = False
        return counts
    counts = np.empty((REPLICATES, len(groups)))
    for group, members in enumerate(np.split(np.argsort(place, kind="stable"), np.bincount(place).cumsum()[:-1])):
        counts[:, members] = rng.multinomial(drawn[:, group] * len(members), np.full(len(members), 1 / len(members)))
    counts.flags.writeable = False
    return counts


def _counts(n: int, seed: int, what: str) -> FloatArray:
    """How often each of n is drawn in n draws with replacement: [R, n]."""
    return _nested_counts(("",) * n, seed, what)


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
    low = np.nan_to_num(scipy.stats.beta.ppf(tail, hits, trials - hits + 1), nan=0.0)  # nan: of none or of all
    high = np.nan_to_num(scipy.stats.beta.ppf(1 - tail, hits + 1, trials - hits), nan=1.0)
    return low, high
