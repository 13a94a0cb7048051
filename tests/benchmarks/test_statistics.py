"""Intervals and tests: worked by hand, against slow independent references, and against their own promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import numpy.typing as npt
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import stats

from sketchless.benchmarks import statistics
from sketchless.benchmarks.statistics import (
    Estimate,
    FloatArray,
    Inference,
    bootstrap_band,
    holm,
    interval,
    interval_of_many,
    iqm,
    mean,
    pigeonhole_bootstrap,
    preliminary,
    probability_of_improvement,
    profile,
    sign_flip,
    small_sample_factor,
    stratified,
    text,
    tolerance,
    two_decimals,
)
from sketchless.datasets.errors import ConfigError

Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]

numbers = st.floats(-100, 100, width=32)
matrices = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=numbers)
few = arrays(np.float64, st.integers(1, 9), elements=st.integers(-20, 20).map(float))
ps = st.lists(st.floats(0, 1), max_size=8)


def scores(seed: int = 0, runs: int = 10, tasks: int = 3) -> FloatArray:
    return np.random.default_rng(seed).normal(30, 2, (runs, tasks))


# Point estimates -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [12.375, 12.375 - 2**-48, 12.375 + 2**-48])
def test_a_number_between_two_is_rounded_alike_whatever_its_last_digit(number: float) -> None:
    assert (two_decimals(number), two_decimals(-number, "+")) == ("12.38", "-12.38")
    assert text(Estimate(number, 1.005, 13.0), "+") == "+12.38 [+1.00, +13.00]"  # 1.005 is a little less in binary


def test_the_interquartile_mean_by_hand() -> None:
    # 8 scores: the lowest two (0, 1) and the highest two (9, 100) go, (2 + 3 + 4 + 5)/4 = 3.5 stays
    assert iqm(np.array([[100.0, 0, 2, 3], [1, 4, 9, 5]])) == 3.5
    assert mean(np.array([[1.0, 2], [3, 6]])) == 3


@given(matrices)
def test_the_interquartile_mean_is_scipys(values: FloatArray) -> None:
    assert iqm(values) == pytest.approx(stats.trim_mean(values, 0.25, axis=None), abs=1e-9)


@given(matrices)
def test_statistics_of_many_matrices_are_those_of_each(values: FloatArray) -> None:
    stack = np.stack([values, values[::-1], 2 * values])
    for statistic in (mean, iqm):
        assert statistic(stack) == pytest.approx([float(statistic(one)) for one in stack], abs=1e-9)


@pytest.mark.parametrize(("seeds", "said"), [(0, True), (1, True), (9, True), (10, False), (30, False)])
def test_below_ten_seeds_is_preliminary(seeds: int, said: bool) -> None:
    assert preliminary(seeds) is said


# Intervals -------------------------------------------------------------------------------------------------


def test_the_stretch_by_hand() -> None:
    # ten values: sqrt(10/9) * 2.262157/1.959964
    assert small_sample_factor([np.arange(10.0)]) == pytest.approx(1.054093 * 1.154183, rel=1e-5)
    # (0, 2): variance of the mean 2/2 = 1, 1 degree; (0, 3, 6): 9/3 = 3, 2 degrees; df = 16/(1 + 9/2) = 32/11
    factor = np.sqrt(4 / (1 / 2 + 3 * 2 / 3)) * stats.t.ppf(0.975, 32 / 11) / stats.norm.ppf(0.975)
    assert small_sample_factor([np.array([0.0, 2]), np.array([0.0, 3, 6]), np.array([5.0])]) == pytest.approx(factor)
    assert small_sample_factor([np.ones(1)]) == pytest.approx(1)
    assert small_sample_factor([np.ones(4)]) == small_sample_factor([np.arange(4.0)])


def stretched(found: FloatArray, means: list[float], parts: list[FloatArray]) -> tuple[float, float]:
    low, high = np.quantile(means, (0.025, 0.975))
    return found - (found - low) * small_sample_factor(parts), found + (high - found) * small_sample_factor(parts)


def crossed(values: FloatArray) -> Estimate:
    return pigeonhole_bootstrap(values).estimate


def test_a_stratified_interval_is_that_of_a_plain_loop() -> None:
    values = scores()
    rng = np.random.default_rng(1)
    # each task's runs are drawn apart
    means = [np.mean([values[rng.integers(0, 10, 10), k] for k in range(3)]) for _ in range(4000)]
    found = stratified(values)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(stretched(values.mean(), means, list(values.T)), abs=0.06)


def test_a_crossed_interval_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(1, 1, (10, 1)) + rng.normal(0, 3, (1, 25)) + rng.normal(0, 1, (10, 25))
    means = [values[rng.integers(0, 10, 10)][:, rng.integers(0, 25, 25)].mean() for _ in range(4000)]
    found = pigeonhole_bootstrap(values).estimate
    assert found.value == pytest.approx(values.mean())
    parts = [values.mean(axis=1), values.mean(axis=0)]
    assert (found.low, found.high) == pytest.approx(stretched(values.mean(), means, parts), abs=0.15)


def test_a_band_is_the_interval_at_every_point() -> None:
    values = scores(tasks=4)
    centre, low, high = bootstrap_band(values)
    for point in range(4):
        one = stratified(values[:, point : point + 1])
        assert (centre[point], low[point], high[point]) == pytest.approx(one, abs=0.15)


def test_a_single_seed_resamples_sketches_only() -> None:
    values = np.random.default_rng(3).normal(0, 1, (1, 400))
    found = pigeonhole_bootstrap(values).estimate
    assert (found.low, found.high) == pytest.approx(
        (values.mean() - 1.96 / 20, values.mean() + 1.96 / 20), abs=0.02
    )  # 1/sqrt(400) = 1/20
    assert stratified(values[:, :1]) == Estimate(values[0, 0], values[0, 0], values[0, 0])


@settings(max_examples=25)
@given(matrices, st.floats(-50, 50))
def test_intervals_hold_their_estimate_and_move_with_the_scores(values: FloatArray, shift: float) -> None:
    for find in (stratified, crossed):
        found = find(values)
        assert found.low - 1e-9 <= found.value <= found.high + 1e-9
        assert find(values + shift) == pytest.approx(tuple(np.array(found) + shift), abs=1e-6)
        assert find(values) == found  # no hidden state
    assert stratified(values, seed=1).value == stratified(values).value


def test_scores_without_spread_have_no_width() -> None:
    flat = np.full((10, 3), 7.0)
    assert stratified(flat, iqm) == crossed(flat) == (7, 7, 7)


def test_equal_numbers_of_seeds_and_sketches_are_drawn_apart() -> None:
    # were both drawn alike, the identity matrix would never average to less than 1/n
    found = crossed(np.eye(8) * 8)
    assert found.low < 0.3


def coverage(draw: Callable[[np.random.Generator], Estimate], truth: float, times: int = 400) -> int:
    found = [draw(np.random.default_rng(seed)) for seed in range(times)]
    return sum(one.low <= truth <= one.high for one in found)


@pytest.mark.parametrize("runs", [2, 3, 5, 10])
def test_a_stratified_interval_covers_as_often_as_it_says(runs: int) -> None:
    hits = coverage(lambda rng: stratified(rng.normal(5, 1, (runs, 1))), 5)
    # 400 draws of 0.95: mean 380, three standard deviations 13
    assert 366 <= hits <= 394


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("runs", "spread"), [(3, 1), (10, 0.1), pytest.param(3, 0.1, marks=SLOW), pytest.param(10, 1, marks=SLOW)]
)
def test_a_crossed_interval_covers_at_least_as_often_as_it_says(runs: int, spread: float) -> None:
    def draw(rng: np.random.Generator) -> Estimate:
        seeds, sketches = rng.normal(0, spread, (runs, 1)), rng.normal(0, 2, (1, 60))
        return crossed(2 + seeds + sketches + rng.normal(0, 2, (runs, 60)))

    assert 370 <= coverage(draw, 2) <= 398  # errs on the wide side, yet not without bound


def test_a_crossed_interval_without_differences_between_sketches_is_that_of_seeds() -> None:
    hits = coverage(lambda rng: crossed(np.repeat(rng.normal(1, 1, (10, 1)), 20, axis=1)), 1)
    assert 366 <= hits <= 394


# Photos, sketches, encoders, seeds --------------------------------------------------------------------------


def test_a_nested_interval_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(5)
    photos, encoders = np.repeat(np.arange(12), [1, 2, 3, 4] * 3), np.arange(6) % 3
    values = rng.normal(0, 2, 12)[photos] + rng.normal(0, 2, 3)[encoders][:, None] + rng.normal(0, 1, (6, 30))

    def draw(groups: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        chosen = rng.integers(0, groups.max() + 1, groups.max() + 1)
        members = [np.flatnonzero(groups == group) for group in chosen]
        return np.concatenate([rng.choice(one, len(one)) for one in members])

    means = [values[draw(encoders)][:, draw(photos)].mean() for _ in range(4000)]
    found = pigeonhole_bootstrap(values, [f"p{p}" for p in photos], [f"e{e}" for e in encoders])
    parts = [
        np.array([values[:, photos == p].mean() for p in range(12)]),
        np.array([values[encoders == e].mean() for e in range(3)]),
    ]
    assert found.estimate.value == values.mean()
    assert found.estimate[1:] == pytest.approx(stretched(values.mean(), means, parts), abs=0.5)


def test_sketches_of_one_photo_are_no_new_evidence() -> None:
    """Each value copied twice under its photo's name leaves the interval; as sketches of their own they narrow it."""
    values = np.random.default_rng(0).normal(size=12)
    photos = [str(i) for i in range(12)]
    low, high = interval(values, photos)
    again = np.repeat(values, 3)
    assert interval(again, np.repeat(photos, 3).tolist()) == pytest.approx((low, high), abs=1e-9)
    narrow = interval(again)
    assert low < narrow[0] < narrow[1] < high
    assert interval(values) == interval(values[None], photos)
    assert interval(np.full(5, 3.0)) == (3.0, 3.0)


def test_an_interval_of_many_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for i in range(100):
        low, high = interval_of_many(rng.normal(size=60), seed=i)
        hits += low <= 0 <= high
    assert 88 <= hits <= 99  # binomial(100, 0.95), and the bootstrap runs a little narrow
    assert interval_of_many(np.full(5, 3.0)) == (3.0, 3.0)


def test_members_of_groups_in_any_order_are_counted_under_their_group() -> None:
    counts = statistics._nested_counts(("b", "a", "b", "c", "a"), 0, "x")
    by_group = np.stack([counts[:, [1, 4]].sum(1) / 2, counts[:, [0, 2]].sum(1) / 2, counts[:, 3]])
    assert (by_group.sum(axis=0) == 3).all()
    assert (by_group == by_group.round()).all()


def test_p_is_where_the_interval_reaches_zero() -> None:
    rng = np.random.default_rng(6)
    photos = [f"p{n // 3}" for n in range(60)]
    for shift in (0.2, 0.6, 1.0):
        values = shift + rng.normal(0, 2, 20)[np.arange(60) // 3] + rng.normal(0, 0.1, (4, 60))
        p = pigeonhole_bootstrap(values, photos).p
        low = pigeonhole_bootstrap(values, photos, level=1 - p).estimate.low
        assert low == pytest.approx(0, abs=0.03)


def test_equivalence_and_detection_by_hand() -> None:
    one = Inference(Estimate(0.1, -0.3, 0.5), 0.6, 0.2, 30)  # t(30): 1.6973 at 95 %, 2.0423 at 97.5 %, 0.8538 at 80 %
    assert one.equivalent(0.4395)  # 0.1 + 1.6973 * 0.2 = 0.43946
    assert not one.equivalent(0.4394)
    assert one.detectable() == pytest.approx((2.0423 + 0.8538) * 0.2, abs=2e-4)  # what is central t's, nearly


@pytest.mark.parametrize(("df", "level"), [(1.5, 0.95), (2.0, 0.95), (3.0, 0.995), (20.0, 0.995), (np.inf, 0.95)])
def test_a_detectable_difference_is_seen_in_four_of_five(df: float, level: float) -> None:
    rng, one = np.random.default_rng(0), Inference(Estimate(0.0, 0.0, 0.0), 1.0, 0.3, df)
    error = 0.3 * (np.sqrt(rng.chisquare(df, 200_000) / df) if np.isfinite(df) else 1.0)
    found = one.detectable(level=level) + rng.normal(0, 0.3, 200_000)
    limit = scipy.stats.t.ppf((1 + level) / 2, df)
    assert (found > limit * error).mean() == pytest.approx(0.8, abs=0.004)


def test_tolerance_by_hand() -> None:
    # ten runs of mean 0 and deviation 1: Howe's factor is 1.95996 sqrt(9 (1 + 1/10) / 3.32511) = 3.3819
    runs = np.array([-1.5, -1, -0.5, 0, 0, 0, 0, 0.5, 1, 1.5])
    runs = runs / runs.std(ddof=1)
    assert tolerance(runs) == pytest.approx((-3.3819, 3.3819), abs=1e-3)
    assert tolerance([3.0]) == (-np.inf, np.inf)
    assert tolerance([3.0, 3.0]) == (3.0, 3.0)
    assert tolerance(runs, list("abcdefghij")) == tolerance(runs)


def test_tolerance_on_two_encoders_by_hand() -> None:
    # means 1 and 5: between 8, of 1 degree; within 2, of 2, half of which the means of two runs have lost; so 8 + 1
    low, high = tolerance([0.0, 2, 4, 6], ["a", "a", "b", "b"])
    between, within = 8 * (1 / stats.chi2.ppf(0.05, 1) - 1), 1 * (2 / stats.chi2.ppf(0.05, 2) - 1)
    reach = 1.959964 * math.sqrt((1 + 8 / 2 / 9) * (9 + math.hypot(between, within)))
    assert (low, high) == pytest.approx((3 - reach, 3 + reach), rel=1e-6)


@pytest.mark.parametrize(("encoders", "ratio"), [(1, 0.0), (2, 1.0), (3, 0.0), (3, 1.0), (3, 25.0), (5, 1.0)])
def test_tolerance_holds_single_runs_on_other_encoders(encoders: int, ratio: float) -> None:
    """With 95 % confidence 95 % of runs on encoders trained anew; on one encoder, of further runs on it."""
    rng, place = np.random.default_rng(0), np.arange(10) % encoders
    names = [str(one) for one in place]
    levels = rng.normal(0, ratio**0.5, (1000, encoders))
    spread, middles = ((1 + ratio) ** 0.5, 0.0) if encoders > 1 else (1.0, levels)
    ends = np.array([tolerance(runs, names) for runs in levels[:, place] + rng.normal(size=(1000, 10))])
    held = np.subtract(*(stats.norm.cdf((ends[:, end, None] - middles) / spread) for end in (1, 0)))
    assert (held >= 0.95).mean() > 0.95 - 0.021  # three standard errors of 1,000 sets
    if encoders > 1 and ratio >= 1:  # what takes the runs as independent does not
        ends = np.array([tolerance(runs) for runs in levels[:, place] + rng.normal(size=(1000, 10))])
        assert (np.diff(stats.norm.cdf(ends / spread)) >= 0.95).mean() < 0.92


@pytest.mark.parametrize("encoders", [[], ["a", "b", "c"] * 3 + ["a"]])
def test_a_band_draws_encoders_and_seeds_within_them(encoders: list[str]) -> None:
    values = np.random.default_rng(0).normal(size=(10, 2))
    centre, low, high = bootstrap_band(values, encoders)
    for point in range(2):
        one = pigeonhole_bootstrap(values[:, point, None], (), encoders).estimate
        assert (centre[point], low[point], high[point]) == pytest.approx(one, rel=0.02 if point else 1e-9)


# Profile and probability of improvement --------------------------------------------------------------------


def test_a_profile_by_hand() -> None:
    share, low, high = profile(np.array([[1.0], [2], [3], [4]]), np.array([0.0, 1, 2.5, 4, 5]))
    assert share.tolist() == [1, 0.75, 0.5, 0, 0]  # above, not at
    # all of four above: the lower end is where that has a chance of 2.5 %, p^4 = 0.025
    assert (low[0], high[0], low[-1], high[-1]) == pytest.approx((0.025**0.25, 1, 0, 1 - 0.025**0.25))
    for point, hits in enumerate((4, 3, 2, 0, 0)):
        exact = stats.binomtest(hits, 4).proportion_ci(method="exact")
        assert (low[point], high[point]) == pytest.approx((exact.low, exact.high))


@settings(max_examples=25)
@given(matrices)
def test_a_profile_falls_and_its_area_is_the_mean(values: FloatArray) -> None:
    thresholds = np.linspace(-101, 101, 405)
    share, low, high = profile(values, thresholds)
    for line in (share, low, high):
        assert (np.diff(line) <= 1e-12).all()
        assert ((line >= 0) & (line <= 1)).all()
    # the integral of P(X > t) from a bound below all scores is their mean less the bound
    assert -101 + share.sum() * 0.5 == pytest.approx(values.mean(), abs=0.6)


def test_the_probability_of_improvement_by_hand() -> None:
    # pairs: 1 against 0 wins, 1 against 1 ties, 3 against 0 and 1 win: (1 + 0.5 + 1 + 1)/4
    assert probability_of_improvement(np.array([[1.0], [3]]), np.array([[0.0], [1]])).value == 3.5 / 4


@settings(max_examples=25)
@given(st.data(), st.integers(1, 4))
def test_the_probability_of_improvement_is_mann_whitneys(data: st.DataObject, tasks: int) -> None:
    x, y = (
        data.draw(arrays(np.float64, (data.draw(st.integers(1, 6)), tasks), elements=st.integers(0, 5).map(float)))
        for _ in range(2)
    )
    found = probability_of_improvement(x, y)
    by_task = [stats.mannwhitneyu(x[:, k], y[:, k]).statistic / (len(x) * len(y)) for k in range(tasks)]
    assert found.value == pytest.approx(np.mean(by_task))
    assert found.value + probability_of_improvement(y, x).value == pytest.approx(1)
    assert 0 <= found.low <= found.value <= found.high <= 1


@pytest.mark.parametrize("runs", [3, 10])
@pytest.mark.parametrize("truth", [0.5, 0.9])
def test_a_profile_covers_at_least_as_often_as_it_says(runs: int, truth: float) -> None:
    threshold = np.array([stats.norm.isf(truth)])

    def draw(rng: np.random.Generator) -> Estimate:
        share, low, high = profile(rng.normal(0, 1, (runs, 1)), threshold)
        return Estimate(share[0], low[0], high[0])

    # 400 draws of 0.95: mean 380, three standard deviations 13
    assert coverage(draw, truth) >= 367


@pytest.mark.parametrize(("runs", "rivals", "spread"), [(3, 3, 1), (2, 5, 0.1), (10, 10, 1)])
@pytest.mark.parametrize("truth", [0.5, pytest.param(0.7, marks=SLOW), 0.97])
def test_the_probability_of_improvement_covers_at_least_as_often_as_it_says(
    runs: int, rivals: int, spread: float, truth: float
) -> None:
    ahead = stats.norm.ppf(truth) * np.hypot(spread, 1)
    found = coverage(
        lambda rng: probability_of_improvement(rng.normal(ahead, spread, (runs, 1)), rng.normal(0, 1, (rivals, 1))),
        truth,
    )
    assert found >= 367


def test_the_probability_of_improvement_is_not_wide_without_bound() -> None:
    # ten against ten, all won: as for ten trials, p^10 = 0.025
    found = probability_of_improvement(np.ones((10, 1)), np.zeros((10, 1)))
    assert found == pytest.approx((1, 0.025**0.1, 1))


# Tests -----------------------------------------------------------------------------------------------------


def test_the_sign_flip_test_by_hand() -> None:
    # of the 8 patterns of (1, 2, 3) only +++ and --- reach 6; the sums 4, 2, 0 and their mirrors do not
    assert sign_flip([1, 2, 3]) == 2 / 8
    # -1 + 2 + 3 = 4: reached by +-6 and +-4
    assert sign_flip([-1, 2, 3]) == 4 / 8
    assert sign_flip([0, 0, 0]) == 1
    assert sign_flip([5]) == 1  # a single seed shows nothing


def test_ten_seeds_cannot_go_below_two_in_1024() -> None:
    assert sign_flip(np.arange(1, 11)) == 2 / 1024
    assert sign_flip(-np.linspace(0.1, 0.3, 10)) == 2 / 1024


def test_ties_count_whatever_the_order_of_summing() -> None:
    # 0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 differ in their last bit
    assert sign_flip([0.1, 0.2, 0.3, -0.6]) == sign_flip([0.3, 0.2, 0.1, -0.6]) == 1


@settings(max_examples=60)
@given(few)
def test_the_sign_flip_test_is_scipys(values: FloatArray) -> None:
    if len(values) < 2:
        return
    found = stats.permutation_test((values,), np.sum, permutation_type="samples", n_resamples=np.inf)
    # scipy doubles the smaller tail; sums of sign flips are symmetric, so that it is the same up to one
    assert sign_flip(values) == pytest.approx(found.pvalue)


@given(few)
def test_neither_sign_nor_scale_nor_order_matter(values: FloatArray) -> None:
    p = sign_flip(values)
    assert 2.0 ** (1 - len(values)) <= p <= 1
    assert p == sign_flip(-values) == sign_flip(values[::-1]) == sign_flip(8 * values) == sign_flip(0.1 * values)


def test_many_seeds_are_sampled() -> None:
    values = np.random.default_rng(0).normal(0.3, 1, 24)
    sampled = sign_flip(values)
    # a t test asks nearly the same of nearly normal differences
    assert sampled == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.02)
    assert sign_flip(np.ones(30)) == 1e-5  # the pattern found is one of 100,000


def test_the_sign_flip_test_rejects_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    rejected = sum(sign_flip(rng.standard_t(3, 8)) <= 0.05 for _ in range(2000))
    # 12/256 of symmetric differences: mean 94, three standard deviations 28
    assert 65 <= rejected <= 122


def test_holm_by_hand() -> None:
    # sorted .01 .02 .03 .5: times 4, 3, 2, 1 = .04 .06 .06 .5, never falling
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.4, 0.3]).tolist() == [0.6, 0.6]
    assert holm([]).tolist() == []


@given(ps)
def test_holm_rejects_what_its_steps_reject(values: list[float]) -> None:
    adjusted = holm(values)
    for level in (0.01, 0.05, 0.2):
        rejected: set[int] = set()
        for step, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
            if values[index] * (len(values) - step) > level:
                break
            rejected.add(index)
        assert {i for i, p in enumerate(adjusted) if p <= level} == rejected


@given(ps)
def test_holm_never_lowers_and_lies_below_bonferroni(values: list[float]) -> None:
    adjusted = holm(values)
    assert (adjusted >= values).all()
    assert (adjusted <= np.minimum(np.array(values) * max(len(values), 1), 1) + 1e-12).all()
    assert np.argsort(adjusted[np.argsort(values, kind="stable")], kind="stable").tolist() == list(range(len(values)))


def test_a_family_without_differences_is_rejected_one_time_in_twenty_at_most() -> None:
    rng = np.random.default_rng(1)
    false = 0
    for _ in range(600):
        arms = rng.normal(0, 1, (6, 10))
        false += holm([sign_flip(arm - arms[0]) for arm in arms[1:]]).min() <= 0.05
    # at most 0.05: mean 30, three standard deviations 16
    assert false <= 46


# What makes no sense ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("find", [stratified, pigeonhole_bootstrap, bootstrap_band, lambda x: profile(x, np.zeros(1))])
@pytest.mark.parametrize(
    ("values", "match"),
    [(np.ones(3), "of shape"), (np.ones((0, 3)), "of shape"), (np.array([[np.nan]]), "not finite")],
    ids=["vector", "empty", "nan"],
)
def test_nonsense_is_refused(
    find: Callable[[FloatArray], object], values: FloatArray, match: str, refuses: Refuses
) -> None:
    with refuses(ConfigError, match):
        find(values)


def test_other_nonsense_is_refused(refuses: Refuses) -> None:
    with refuses(ConfigError, "on 2 and 3 tasks"):
        probability_of_improvement(np.ones((2, 2)), np.ones((2, 3)))
    with refuses(ConfigError, "of shape"):
        sign_flip([])
    with refuses(ConfigError, "not finite"):
        sign_flip([1, float("inf")])
    for bad in (-0.1, 1.1, float("nan")):
        with refuses(ConfigError, "lie in 0"):
            holm([0.5, bad])


def test_one_of_everything_shows_nothing() -> None:
    found = pigeonhole_bootstrap(np.array([[7.0]]))
    assert (found.estimate, found.p) == ((7.0, 7.0, 7.0), 1.0)
    assert not found.equivalent(100)
    assert found.detectable() == np.inf
    assert pigeonhole_bootstrap(np.array([[7.0, 7.0]])).p == 0  # two sketches that agree are another thing
