"""Average precision and precision against their definitions, in plain loops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sketchless.datasets.errors import ConfigError
from sketchless.encoders.precision import average_precision, precision


def ranking(score: Sequence[float], relevant: Sequence[bool]) -> list[bool]:
    """Relevance by rank; among equal scores the relevant photos come last."""
    return [right for _, right in sorted(zip(score, relevant, strict=True), key=lambda pair: (-pair[0], pair[1]))]


def slow_average_precision(score: Sequence[float], relevant: Sequence[bool], k: int | None) -> float:
    ranked, k = ranking(score, relevant), len(score) if k is None else min(k, len(score))
    total = 0.0
    for i in range(1, k + 1):
        if ranked[i - 1]:
            total += sum(ranked[:i]) / i
    return total / min(k, sum(relevant)) if any(relevant) else math.nan


def slow_precision(score: Sequence[float], relevant: Sequence[bool], k: int) -> float:
    first = ranking(score, relevant)[:k]
    return sum(first) / len(first)


def tensors(score: Sequence[float], relevant: Sequence[bool]) -> tuple[Tensor, Tensor]:
    return torch.tensor([score]), torch.tensor([relevant])


SCORES = [0.9, 0.8, 0.7, 0.6, 0.5]


@pytest.mark.parametrize(
    ("relevant", "k", "expected"),
    [
        ([1, 0, 1, 0, 0], None, (1 / 1 + 2 / 3) / 2),
        ([1, 0, 1, 0, 0], 2, (1 / 1) / 2),  # two are relevant, one of them came
        ([0, 0, 1, 0, 0], None, 1 / 3),  # one relevant photo: 1 / rank
        ([0, 0, 1, 0, 0], 2, 0.0),
        ([1, 1, 1, 0, 0], 2, (1 / 1 + 2 / 2) / 2),  # no more than k can come
        ([1, 1, 1, 1, 1], None, 1.0),
        ([0, 1, 0, 0, 1], 99, (1 / 2 + 2 / 5) / 2),  # k beyond the gallery
        ([1, 0, 0, 0, 1], 1, 1.0),
    ],
)
def test_average_precision_by_hand(relevant: list[int], k: int | None, expected: float) -> None:
    value = average_precision(*tensors(SCORES, [bool(r) for r in relevant]), k)
    assert value.dtype == torch.float64
    assert value.tolist() == pytest.approx([expected])


def test_precision_by_hand() -> None:
    score, relevant = tensors(SCORES, [True, False, True, True, False])
    assert [precision(score, relevant, k).item() for k in (1, 2, 3, 5, 99)] == pytest.approx(
        [1, 1 / 2, 2 / 3, 0.6, 0.6]
    )


def test_ties_count_against_us() -> None:
    score, relevant = tensors([0.5, 0.5, 0.5, 0.5], [True, False, False, True])
    assert average_precision(score, relevant).item() == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert precision(score, relevant, 2).item() == 0
    # whatever their order in the gallery
    assert average_precision(score, relevant.flip(1)).item() == pytest.approx((1 / 3 + 2 / 4) / 2)


@pytest.mark.parametrize("k", [None, 1, 3, 99])
def test_a_query_without_relevant_photos_has_none(k: int | None) -> None:
    score = torch.tensor([SCORES, SCORES])
    relevant = torch.tensor([[False] * 5, [True] + [False] * 4])
    value = average_precision(score, relevant, k)
    assert math.isnan(value[0])
    assert value[1] == 1
    assert precision(score, relevant, k or 5)[0] == 0


@pytest.mark.parametrize("k", [0, -1])
def test_a_cut_below_one(k: int, refuses: Any) -> None:
    with refuses(ConfigError, f"among the first {k}"):
        precision(*tensors(SCORES, [True] * 5), k)
    with refuses(ConfigError, f"among the first {k}"):
        average_precision(*tensors(SCORES, [True] * 5), k)


@given(
    rows=st.integers(1, 12).flatmap(
        lambda size: st.lists(
            st.tuples(
                st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0, 2.0]), min_size=size, max_size=size),
                st.lists(st.booleans(), min_size=size, max_size=size),
            ),
            min_size=1,
            max_size=4,
        )
    ),
    k=st.none() | st.integers(1, 15),
)
def test_like_the_loop_ties_included(rows: list[tuple[list[float], list[bool]]], k: int | None) -> None:
    score = torch.tensor([row[0] for row in rows])
    relevant = torch.tensor([row[1] for row in rows])
    expected = [slow_average_precision(*row, k) for row in rows]
    assert average_precision(score, relevant, k).tolist() == pytest.approx(expected, nan_ok=True)
    if k is not None:
        assert precision(score, relevant, k).tolist() == pytest.approx([slow_precision(*row, k) for row in rows])


def test_without_ties_the_order_of_the_gallery_is_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    score = torch.randn(20, 300, generator=generator)
    relevant = torch.rand(20, 300, generator=generator) < 0.1
    order = torch.randperm(300, generator=generator)
    for k in (None, 1, 10, 200):
        shuffled = average_precision(score[:, order], relevant[:, order], k)
        assert torch.allclose(average_precision(score, relevant, k), shuffled)
        loop = [slow_average_precision(s.tolist(), r.tolist(), k) for s, r in zip(score, relevant, strict=True)]
        assert shuffled.tolist() == pytest.approx(loop)
