"""Ranks and rank distances are exact: checked by hand, against plain loops, scipy and rational arithmetic."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau
from torch import Tensor

from sketchless.datasets.errors import ConfigError, DataError
from sketchless.envs.kernels.cpu import (
    discordant_pairs,
    discordant_pairs_torch,
    ordering,
    ordering_after,
    ordering_torch,
)
from sketchless.envs.ranking import (
    kendall_tau_distance,
    m_at_a,
    m_at_b,
    percentile,
    ranking,
    similarity,
    snap,
    target_rank,
    unit,
)

Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]
INF, NAN = math.inf, math.nan

# Few distinct values: most lists hold ties, and both zeros.
tied = st.sampled_from([-1.0, -0.5, -0.0, 0.0, 0.5, 1.0])
values = st.one_of(tied, st.floats(-1, 1))
unhurried = settings(max_examples=60)
pairs = st.lists(st.tuples(values, values), min_size=1, max_size=40)


def rank(row: Sequence[float], target: int) -> int:
    return int(target_rank(torch.tensor(row, dtype=torch.float64), torch.tensor(target)))


def distance(a: Sequence[float], b: Sequence[float], normalized: bool = True) -> float:
    sim_a, sim_b = (torch.tensor(row, dtype=torch.float64) for row in (a, b))
    return float(kendall_tau_distance(sim_a, sim_b, normalized))


def random_units(*shape: int, seed: int = 0) -> Tensor:
    return unit(torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))


# Rank ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "target", "expected"),
    [
        ([0.9, 0.5, 0.1], 0, 1),
        ([0.9, 0.5, 0.1], 2, 3),
        pytest.param([0.9, 0.9, 0.1], 0, 2, id="180-twin-of-the-target"),
        ([0.9, 0.9, 0.1], 2, 3),
        ([0.9, 0.5, 0.5, 0.5, 0.1], 2, 4),
        pytest.param([0.3] * 7, 3, 7, id="179-all-photos-alike"),
        ([0.0, -0.0, -1.0], 1, 2),
        ([-0.0, 0.0, -1.0], 1, 2),
        ([1.0], 0, 1),
    ],
)
def test_rank_by_hand(row: list[float], target: int, expected: int) -> None:
    assert rank(row, target) == expected


@unhurried
@given(st.lists(values, min_size=1, max_size=30), st.data())
def test_rank_counts_the_strictly_nearer_and_the_equally_near(row: list[float], data: st.DataObject) -> None:
    target = data.draw(st.integers(0, len(row) - 1))
    nearer = sum(value > row[target] for value in row)
    as_near = sum(value == row[target] for i, value in enumerate(row) if i != target)
    assert rank(row, target) == 1 + nearer + as_near


def test_rank_keeps_leading_dimensions_and_takes_any_integer_target() -> None:
    near = random_units(4, 5, 7)
    target = torch.randint(7, (4, 5), dtype=torch.int32)
    ranks = target_rank(near, target)
    assert ranks.shape == (4, 5)
    assert ranks.dtype == torch.int64
    assert all(ranks[i, j] == rank(near[i, j].tolist(), int(target[i, j])) for i in range(4) for j in range(5))


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
@pytest.mark.parametrize("column", [0, 2])
def test_178_a_non_finite_similarity_is_an_error_that_names_the_query(
    bad: float, column: int, refuses: Refuses
) -> None:
    near = torch.zeros(2, 4, 3, dtype=torch.float64)
    near[1, 2, column] = bad
    with refuses(DataError, r"query \[1, 2\] is NaN or infinite"):
        target_rank(near, torch.zeros(2, 4, dtype=torch.int64))


@pytest.mark.parametrize(
    ("shape", "target", "match"),
    [
        ((3, 5), torch.tensor([0, 1]), r"target \(2,\) does not fit similarity \(3, 5\)"),
        ((3, 5), torch.tensor([0, 1, 5]), "outside the gallery of 5 photos"),
        ((3, 5), torch.tensor([0, 1, -1]), "outside the gallery of 5 photos"),
        ((3, 0), torch.tensor([0, 0, 0]), r"similarities are torch.float32 \(3, 0\): want real numbers \[..., G\]"),
        ((3, 5), torch.tensor([0.0, 1.0, 2.0]), r"target is torch.float32 \(3,\): want integers"),
        ((3, 5), torch.tensor([True, False, True]), "target is torch.bool"),
    ],
)
def test_176_a_target_that_does_not_fit_is_refused(
    shape: tuple[int, ...], target: Tensor, match: str, refuses: Refuses
) -> None:
    with refuses(ConfigError, match):
        target_rank(torch.zeros(shape), target)


# Kendall-tau distance --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], 0),
        ([1, 2, 3], [3, 2, 1], 3),
        ([1, 2, 3], [1, 3, 2], 1),
        ([1, 1, 3], [3, 2, 1], 2),  # the tied pair is not discordant
        ([1, 2, 3], [5, 5, 5], 0),
        ([0.0, -0.0], [1, 2], 0),
        ([INF, -INF, 0], [-INF, INF, 0], 3),
        ([INF, INF, 0], [1, 2, 3], 2),
        ([1], [2], 0),
    ],
)
def test_discordant_pairs_by_hand(a: list[float], b: list[float], expected: int) -> None:
    assert distance(a, b, normalized=False) == expected


@unhurried
@given(pairs)
def test_distance_equals_a_plain_double_loop(lists: list[tuple[float, float]]) -> None:
    a, b = zip(*lists, strict=True)
    count = sum((a[i] < a[j] and b[i] > b[j]) or (a[i] > a[j] and b[i] < b[j]) for j in range(len(a)) for i in range(j))
    assert distance(a, b, normalized=False) == count
    assert distance(a, b) == (count / (len(a) * (len(a) - 1) / 2) if len(a) > 1 else 0)


@unhurried
@given(st.lists(st.tuples(tied, tied), min_size=2, max_size=40))
def test_distance_rebuilds_the_tau_of_scipy(lists: list[tuple[float, float]]) -> None:
    a, b = (np.array(side) for side in zip(*lists, strict=True))
    upper = np.triu_indices(len(a), 1)
    untied = [(np.subtract.outer(side, side)[upper] != 0) for side in (a, b)]
    discordant = distance(a.tolist(), b.tolist(), normalized=False)
    concordant = (untied[0] & untied[1]).sum() - discordant
    total = math.sqrt(untied[0].sum() * untied[1].sum())
    expected = kendalltau(a, b).statistic  # tau-b; NaN where a whole list is tied
    assert (total == 0 and math.isnan(expected)) or (concordant - discordant) / total == pytest.approx(expected)


@unhurried
@given(pairs)
def test_distance_is_symmetric_and_runs_from_0_to_1(lists: list[tuple[float, float]]) -> None:
    a, b = zip(*lists, strict=True)
    assert distance(a, b) == distance(b, a)
    assert 0 <= distance(a, b) <= 1
    assert distance(a, a) == 0


def test_a_reversed_list_is_at_distance_1_and_its_count_is_all_pairs() -> None:
    a = torch.randperm(300, generator=torch.Generator().manual_seed(0)).double()
    assert kendall_tau_distance(a, -a) == 1
    assert kendall_tau_distance(a, -a, normalized=False) == 300 * 299 / 2


# Kernels ---------------------------------------------------------------------------------------------------


def hard_lists(rows: int, size: int, seed: int) -> Tensor:
    """Lists with ties, both zeros, infinities and numbers that differ in their last bit only."""
    rng = torch.Generator().manual_seed(seed)
    near = 0.5 + 2.0**-53 * torch.randint(size, (rows, size), generator=rng).double()
    coarse = torch.randint(-3, 4, (rows, size), generator=rng).double()
    coarse[coarse == 3], coarse[coarse == -3], coarse[coarse == -1] = INF, -INF, -0.0
    return torch.where(torch.rand(rows, size, generator=rng) < 0.5, near, coarse)


@unhurried
@given(
    st.lists(st.one_of(values, st.just(INF), st.sampled_from([0.5 + 2**-53, 0.5 + 2**-52])), max_size=40, min_size=1)
)
def test_a_ranking_is_the_stable_sort_with_marks_on_ties(row: list[float]) -> None:
    order = sorted(range(len(row)), key=lambda photo: -row[photo])
    tied = [False] + [row[a] == row[b] for a, b in itertools.pairwise(order)]
    expected = [2 * photo + mark for photo, mark in zip(order, tied, strict=True)]
    assert ranking(torch.tensor(row, dtype=torch.float64)).tolist() == expected


def test_a_ranking_is_exact_on_any_scale() -> None:
    """Numbers too close, too far apart, too uneven or too many for the short keys that are sorted."""
    rng = torch.Generator().manual_seed(0)
    for size in (2, 300, 2**14, 2**14 + 1):
        plain = torch.randn(3, size, generator=rng).double()
        for row in (
            plain * 1e308,
            plain.sign() * 1.5e308,
            plain * 1e-323,
            plain.exp() ** 50,
            plain + 1e300 * (plain > 1).double(),
            plain.round(decimals=1),
            1 + 1e-15 * (100 * plain).round(),
            torch.zeros_like(plain),
        ):
            assert torch.equal(ordering(row), ordering_torch(row))


@pytest.mark.parametrize("size", [1, 2, 63, 64, 65, 300])
@pytest.mark.parametrize("rows", [0, 1, 9])
def test_compiled_and_torch_kernels_are_equal(rows: int, size: int) -> None:
    a, b = (hard_lists(rows, size, seed) for seed in (0, 1))
    lists = ordering(a), ordering(b)
    assert lists[0].dtype == torch.int32
    assert torch.equal(lists[0], ordering_torch(a))
    assert torch.equal(lists[1], ordering_torch(b))
    counts = discordant_pairs(*lists)
    assert counts.dtype == torch.int64
    assert torch.equal(counts, discordant_pairs_torch(*lists))
    after, since = ordering_after(lists[0], b)
    assert torch.equal(after, lists[1])
    assert torch.equal(since, counts)


def test_counts_among_hundreds_of_photos_equal_a_plain_comparison_of_all_pairs() -> None:
    a, b = (hard_lists(5, 300, seed) for seed in (0, 1))
    falls = [side.unsqueeze(2) > side.unsqueeze(1) for side in (a, b)]
    expected = (falls[0] & falls[1].mT).sum(dim=(1, 2))
    assert torch.equal(kendall_tau_distance(a, b, normalized=False), expected.double())


def test_kernels_are_the_same_in_chunks_and_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = (hard_lists(10, 70, seed) for seed in (0, 1))
    lists = ordering(a), ordering(b)
    counts = discordant_pairs(*lists)
    monkeypatch.setattr("sketchless.envs.kernels.cpu._CHUNK", 3 * 70**2)
    assert torch.equal(discordant_pairs_torch(*lists), counts)
    monkeypatch.setattr("sketchless.envs.kernels.cpu._MIN_SORT_PER_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr("sketchless.envs.kernels.cpu._CACHED", 3 * 70)
    assert torch.equal(ordering(a), lists[0])
    assert torch.equal(discordant_pairs(*lists), counts)
    assert torch.equal(ordering_after(lists[0], b)[1], counts)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_threads_work_in_a_forked_process_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sketchless.envs.kernels.cpu._MIN_SORT_PER_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    lists = hard_lists(4000, 70, seed=0)
    expected = ordering(lists)

    def check() -> None:
        os._exit(0 if torch.equal(ordering(lists), expected) else 1)

    child = multiprocessing.get_context("fork").Process(target=check)
    child.start()
    child.join(30)
    assert child.exitcode == 0


def test_distance_keeps_leading_dimensions_and_ignores_the_layout() -> None:
    a, b = random_units(2, 3, 4, 9)
    expected = [[distance(a[i, j].tolist(), b[i, j].tolist()) for j in range(4)] for i in range(3)]
    assert kendall_tau_distance(a, b).tolist() == expected
    turned = [side.permute(2, 0, 1).contiguous().permute(1, 2, 0) for side in (a, b)]
    assert kendall_tau_distance(*turned).tolist() == expected
    assert kendall_tau_distance(a[:, :0], b[:, :0]).shape == (3, 0)


def test_arrays_are_read_as_tensors_are() -> None:
    near, other = random_units(2, 4, 7)
    target = torch.tensor([0, 6, 3, 3])
    ranks, apart = target_rank(near, target), kendall_tau_distance(near, other)
    for read in (Tensor.numpy, Tensor.tolist, lambda x: x.numpy()[::-1].copy()[::-1]):
        assert torch.equal(target_rank(read(near), read(target)), ranks)
        assert torch.equal(kendall_tau_distance(read(near), read(other)), apart)
    assert target_rank(near[1].numpy(), 6) == ranks[1]


@pytest.mark.parametrize("shape", [(0, 5), (2, 0, 5), (0, 1)])
def test_no_list_at_all_has_no_rank(shape: tuple[int, ...]) -> None:
    nothing = torch.zeros(shape)
    assert target_rank(nothing, torch.zeros(shape[:-1], dtype=torch.int64)).shape == shape[:-1]
    assert kendall_tau_distance(nothing, nothing).shape == shape[:-1]


@pytest.mark.parametrize(
    ("lists", "match"),
    [
        (
            torch.zeros(2, 0),
            r"similarities are torch.float32 \(2, 0\): want real numbers \[..., G\] of one photo or more",
        ),
        (torch.zeros(0), r"\(0,\)"),
        (torch.tensor(1.0), r"\(\)"),
        (torch.zeros(2, 3, dtype=torch.complex64), "complex64"),
        ("abc", "str cannot be read as an array of numbers"),
        (None, "NoneType cannot be read"),
        ([[1.0], [1.0, 2.0]], "list cannot be read"),
    ],
)
def test_what_is_no_list_of_numbers_is_refused(lists: Any, match: str, refuses: Refuses) -> None:
    with refuses(ConfigError, match):
        kendall_tau_distance(lists, lists)
    with refuses(ConfigError, match):
        target_rank(lists, torch.zeros(2, dtype=torch.int64))


def test_lists_without_an_order_or_of_different_size_are_refused(refuses: Refuses) -> None:
    with refuses(DataError, "holds NaN"):
        distance([1, NAN], [1, 2])
    with refuses(ConfigError, r"\(1, 3\) and \(1, 4\) cannot be compared"):
        kendall_tau_distance(torch.zeros(1, 3), torch.zeros(1, 4))


# Exact similarity ------------------------------------------------------------------------------------------


def test_similarity_is_what_rational_arithmetic_gives() -> None:
    queries, gallery = random_units(3, 64), random_units(5, 64, seed=1)
    for query, row in zip(queries, similarity(queries, gallery), strict=True):
        for photo, value in zip(gallery, row, strict=True):
            exact = sum(Fraction(x) * Fraction(y) for x, y in zip(query.tolist(), photo.tolist(), strict=True))
            assert Fraction(float(value)) == exact


@pytest.mark.parametrize("dim", [1, 2, 64, 1000])
def test_similarity_ignores_the_order_of_coordinates_the_batch_and_the_layout(dim: int) -> None:
    queries, gallery = random_units(257, dim), random_units(50, dim, seed=1)
    whole = similarity(queries, gallery)
    order = torch.randperm(dim, generator=torch.Generator().manual_seed(2))
    assert torch.equal(similarity(queries[:, order], gallery[:, order]), whole)
    assert torch.equal(torch.stack([gallery @ query for query in queries]), whole)
    assert torch.equal(torch.cat([similarity(part, gallery) for part in queries.split(7)]), whole)
    assert torch.equal((queries.unsqueeze(1) * gallery).sum(dim=-1), whole)
    assert torch.equal(similarity(queries.T.contiguous().T, gallery.T.contiguous().T), whole)


def test_snap_moves_a_coordinate_by_at_most_half_the_grid() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(100, 64), dim=-1)
    snapped = snap(vectors)
    assert snapped.dtype == torch.float64
    assert (snapped - vectors).abs().max() <= 2**-27
    assert torch.equal(snapped * 2**26, (snapped * 2**26).round())
    assert torch.equal(snap(snapped), snapped)


def test_unit_gives_the_direction_whatever_the_length_batch_and_layout() -> None:
    vectors = torch.randn(200, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    units = unit(vectors)
    plain = vectors / vectors.square().sum(dim=-1, keepdim=True).sqrt()
    assert (units - plain).abs().max() < 2**-25
    assert torch.equal(unit(vectors * 2.0**-900), units)
    assert torch.equal(unit(vectors * 2.0**900), units)
    assert torch.equal(torch.stack([unit(vector) for vector in vectors]), units)
    assert torch.equal(unit(vectors.T.contiguous().T), units)
    assert torch.equal(unit(vectors.flip(-1)), units.flip(-1))


def test_unit_rounds_as_arithmetic_on_whole_numbers_does() -> None:
    for vector in torch.randn(20, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0)):
        longest = float(vector.abs().max())
        whole = [round(x / longest * 2**25) for x in vector.tolist()]
        length = math.sqrt(sum(w * w for w in whole))
        assert unit(vector).tolist() == [round(w / length * 2**26) / 2**26 for w in whole]


def test_unit_leaves_zero_alone_and_limits_the_width(refuses: Refuses) -> None:
    assert torch.equal(unit(torch.zeros(2, 3)), torch.zeros(2, 3, dtype=torch.float64))
    assert unit(torch.ones(8191)).square().sum() == pytest.approx(1, rel=1e-5)
    with refuses(ConfigError, "8192 dimensions: the limit is 8191"):
        unit(torch.ones(8192))


@pytest.mark.gpu
def test_ranking_on_the_gpu_is_bit_for_bit_that_on_the_cpu() -> None:
    vectors, gallery = torch.randn(500, 64), random_units(40, 64, seed=1)
    near = similarity(unit(vectors), gallery)
    there = similarity(unit(vectors.cuda()), gallery.cuda())
    assert torch.equal(there.cpu(), near)
    other = near.flip(0)
    assert torch.equal(kendall_tau_distance(there, there.flip(0)).cpu(), kendall_tau_distance(near, other))


# Metrics ---------------------------------------------------------------------------------------------------


def test_percentile_runs_from_1_for_the_best_rank_to_0_for_the_last() -> None:
    assert percentile(torch.tensor([1, 2, 6, 11]), 11).tolist() == [1, 0.9, 0.5, 0]


def test_m_at_a_and_m_at_b_by_hand() -> None:
    rank = torch.tensor([[1, 1, 1], [11, 6, 1], [2, 4, 0]])
    valid = torch.tensor([[True] * 3, [True] * 3, [True, True, False]])
    assert m_at_a(rank, valid, 11).tolist() == pytest.approx([100, 50, 80])
    assert m_at_b(rank, valid).tolist() == pytest.approx([100, 100 * (1 / 11 + 1 / 6 + 1) / 3, 37.5])


def test_chance_is_50_in_m_at_a_and_the_harmonic_mean_in_m_at_b() -> None:
    rank = torch.arange(1, 301).unsqueeze(0)
    valid = torch.ones_like(rank, dtype=torch.bool)
    assert float(m_at_a(rank, valid, 300)) == pytest.approx(50)
    assert float(m_at_b(rank, valid)) == pytest.approx(100 * sum(1 / r for r in range(1, 301)) / 300)
