"""Strokes saved, by hand and against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sketchless.benchmarks.reporting.strokes import curve_saved, entry, share_that_saves, strokes_saved
from sketchless.datasets import ConfigError

# Two sketches of five and four steps. Photo in the first two: of the first at steps 2, 3 and 5, of the second never.
RANK = np.array([[9, 2, 1, 4, 2], [8, 7, 6, 5, 1]])
LENGTHS = np.array([5, 4])


def test_entry_by_hand() -> None:
    assert entry(RANK, LENGTHS, 2).tolist() == [2 / 5, 1]
    assert entry(RANK, LENGTHS, 2, staying=True).tolist() == [5 / 5, 1]
    assert entry(RANK, LENGTHS, 6).tolist() == [2 / 5, 3 / 4]
    assert entry(RANK, LENGTHS, 6, staying=True).tolist() == [2 / 5, 3 / 4]
    assert entry(RANK[None], LENGTHS, 9).tolist() == [[1 / 5, 1 / 4]]


@given(arrays(np.int64, (3, 6), elements=st.integers(1, 9)), st.integers(1, 9), st.booleans())
def test_entry_equals_a_plain_loop(rank: np.ndarray, q: int, staying: bool) -> None:
    lengths = np.array([6, 3, 1])
    for row, length in enumerate(lengths):
        inside = [r <= q for r in rank[row, :length]]
        starts = [t for t in range(length) if (all(inside[t:]) if staying else inside[t])]
        expected = (starts[0] + 1) / length if starts else 1.0
        assert entry(rank, lengths, q, staying)[row] == pytest.approx(expected)


def test_strokes_saved_by_hand() -> None:
    """Entries .4 and .75 of ours against .8 and 1 of B1: 1 - 1.15 / 1.8."""
    b1 = np.array([[[9, 9, 9, 1, 9], [9, 9, 9, 1, 1]]])
    saved = strokes_saved(RANK[None], b1, LENGTHS, 6)
    assert saved.value == pytest.approx(100 * (1 - 1.15 / 1.8))
    assert share_that_saves(RANK[None], b1, LENGTHS, 6, least=0.3).value == 50  # half of the first, 25 % of the second
    assert share_that_saves(RANK[None], b1, LENGTHS, 6, least=0.25).value == 100


def test_a_curve_reaches_the_goal_between_two_points() -> None:
    """Percentiles of ours rise by 1/19 every 5 %; B1 ends at rank 10.5 on average, half-way between 50 and 55 %."""
    ours = np.stack([np.arange(20, 0, -1)] * 2)[None]  # rank 20 at 5 %, 1 at 100 %
    b1 = np.full((1, 2, 20), 20)
    b1[0, :, -1] = [10, 11]
    lengths = np.array([20, 20])
    assert curve_saved(ours, b1, lengths, 20, "percentile").value == pytest.approx(47.5)
    # A@10: ours are outside until 50 %, inside from 55 % on; half of B1's are inside at the end
    assert curve_saved(ours, b1, lengths, 20, "A@10").value == pytest.approx(100 - 52.5)
    never = np.full((1, 2, 20), 20)
    assert curve_saved(never, b1, lengths, 20, "A@10").value == 0
    dips = ours.copy()
    dips[..., 15] = 20  # at 80 % all is lost for a moment
    assert curve_saved(dips, b1, lengths, 20, "A@10").value == pytest.approx(47.5)
    assert curve_saved(dips, b1, lengths, 20, "A@10", staying=True).value == pytest.approx(100 - 82.5)


def test_b1_saves_nothing_on_itself() -> None:
    rng = np.random.default_rng(0)
    rank = rng.integers(1, 50, (2, 30, 20))
    lengths = np.full(30, 20)
    for staying in (False, True):
        assert tuple(strokes_saved(rank, rank, lengths, 5, staying)) == (0, 0, 0)


@settings(max_examples=10)
@given(st.integers(0, 10_000))
def test_what_is_named_in_another_order_is_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ours, b1 = rng.integers(1, 20, (2, 2, 12, 20))
    lengths, order = rng.integers(1, 21, 12), rng.permutation(12)
    assert strokes_saved(ours, b1, lengths, 5).value == pytest.approx(
        strokes_saved(ours[:, order], b1[:, order], lengths[order], 5).value
    )


def test_sketches_of_one_photo_are_drawn_together() -> None:
    """Copies of ten sketches say no more than the ten: the interval is as wide, and narrower if photos are not told."""
    rng = np.random.default_rng(1)
    ours, b1 = rng.integers(1, 20, (2, 1, 10, 20))
    many_ours, many_b1, lengths = np.repeat(ours, 9, axis=1), np.repeat(b1, 9, axis=1), np.full(90, 20)
    ten = strokes_saved(ours, b1, lengths[:10], 3)
    told = strokes_saved(many_ours, many_b1, lengths, 3, photos=[str(i // 9) for i in range(90)])
    untold = strokes_saved(many_ours, many_b1, lengths, 3)
    assert told.value == pytest.approx(ten.value)
    assert told.high - told.low == pytest.approx(ten.high - ten.low, rel=0.15)
    assert untold.high - untold.low < 0.6 * (told.high - told.low)


def test_photos_sketches_encoders_and_runs_are_drawn_anew() -> None:
    """Beside a plain loop that draws all four; runs taken as independent give half of that width."""
    rng, photos, encoders = np.random.default_rng(3), [str(n // 3) for n in range(30)], list("aaabbbccc")
    easy = 6 * rng.random(10)[np.arange(30) // 3] + 8 * np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])[:, None]  # [S, N]
    ours = np.clip(20 - np.arange(20) + np.rint(easy)[..., None], 1, 30).astype(np.int64)  # [S, N, T]
    b1, lengths = np.clip(np.tile(26 - np.arange(20), (1, 30, 1)), 1, 30), np.full(30, 20)
    found = strokes_saved(ours, b1, lengths, 10, photos=photos, encoders=encoders)
    mine, theirs = entry(ours, lengths, 10), entry(b1, lengths, 10)
    again = []
    for _ in range(3_000):
        runs = [r for e in rng.choice(3, 3) for r in rng.choice(np.arange(3) + 3 * e, 3)]
        sketches = [n for p in rng.choice(10, 10) for n in rng.choice(np.arange(3) + 3 * p, 3)]
        again.append(100 * (1 - mine[np.ix_(runs, sketches)].mean() / theirs[:, sketches].mean()))
    low, high = np.quantile(again, [0.025, 0.975])
    wide = (found.high - found.low) / (high - low)  # as few encoders ask for: t(2)/z and sqrt(3/2) are 2.7
    assert found.value == pytest.approx(100 * (1 - mine.mean() / theirs.mean()))
    assert 2.4 < wide < 2.8
    assert found.value - found.low == pytest.approx(wide * (found.value - low), rel=0.15)
    flat = strokes_saved(ours, b1, lengths, 10, photos=photos)
    assert flat.high - flat.low < 0.5 * (found.high - found.low)


def test_what_does_not_fit_is_refused(refuses) -> None:
    rank, lengths = np.ones((2, 4, 5), dtype=np.int64), np.full(4, 5)
    with refuses(ConfigError, r"ranks \[2, 4, 5\] beside those of B1 \[3, 4, 5\]"):
        strokes_saved(rank, np.ones((3, 4, 5), dtype=np.int64), lengths, 5)
    with refuses(ConfigError, r"lengths \[4\]: want 1..5 for each of 4 sketches"):
        strokes_saved(rank, rank, lengths + 1, 5)
    with refuses(ConfigError, r"3 photos and 2 encoders for scores \[2, 4\]"):
        strokes_saved(rank, rank, lengths, 5, photos=["a", "b", "c"])
    with refuses(ConfigError, "unknown score 'm@A': choose A@<q> or percentile"):
        curve_saved(rank, rank, lengths, 20, "m@A")


def test_a_run_of_few_sketches_is_a_list_of_lists() -> None:
    with pytest.raises(ConfigError, match="want"):
        strokes_saved(RANK, RANK, LENGTHS, 5)
