"""Average precision and precision against plain loops that share no code with them, and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sketchless.datasets import ConfigError
from sketchless.encoders import average_precision, precision


def ranked(score: list[float], relevant: list[bool]) -> list[bool]:
    """Relevance in the order of the ranking; the relevant last among equals."""
    return [relevant[i] for i in sorted(range(len(score)), key=lambda i: (-score[i], relevant[i]))]


def slow_ap(score: list[float], relevant: list[bool], k: int, interpolated: bool) -> float:
    order = ranked(score, relevant)[:k]
    if not any(relevant):
        return math.nan
    shares = [sum(order[: i + 1]) / (i + 1) for i in range(len(order))]
    if interpolated:
        shares = [max(shares[i:]) for i in range(len(shares))]
    return sum(s for s, hit in zip(shares, order, strict=True) if hit) / min(len(order), sum(relevant))


def slow_precision(score: list[float], relevant: list[bool], k: int, at_most_relevant: bool) -> float:
    order = ranked(score, relevant)[:k]
    count = min(len(order), sum(relevant)) if at_most_relevant else len(order)
    return sum(order[:count]) / count if count else math.nan


GALLERIES = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(-3, 3).map(float), min_size=n, max_size=n),  # few values: many ties
        st.lists(st.booleans(), min_size=n, max_size=n),
    )
)


def close(found: Tensor, expected: float) -> None:
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(GALLERIES, st.integers(1, 14), st.booleans())
def test_equal_to_plain_loops(gallery: tuple[list[float], list[bool]], k: int, other: bool) -> None:
    score, relevant = gallery
    scores, hits = torch.tensor([score]), torch.tensor([relevant])
    close(average_precision(scores, hits, k, other), slow_ap(score, relevant, k, other))
    close(average_precision(scores, hits, None, other), slow_ap(score, relevant, len(score), other))
    close(precision(scores, hits, k, other), slow_precision(score, relevant, k, other))


@given(GALLERIES, st.integers(1, 14))
def test_interpolation_never_gives_less(gallery: tuple[list[float], list[bool]], k: int) -> None:
    score, relevant = torch.tensor([gallery[0]]), torch.tensor([gallery[1]])
    if relevant.any():
        assert average_precision(score, relevant, k, True) >= average_precision(score, relevant, k) - 1e-12


def test_by_hand() -> None:
    score = torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0]])
    relevant = torch.tensor([[False, True, True, False, True]])
    # P at the three hits: 1/2, 2/3, 3/5
    close(average_precision(score, relevant), (1 / 2 + 2 / 3 + 3 / 5) / 3)
    close(average_precision(score, relevant, 2), (1 / 2) / 2)
    # the best P from there on: 2/3, 2/3, 3/5
    close(average_precision(score, relevant, interpolated=True), (2 / 3 + 2 / 3 + 3 / 5) / 3)
    close(precision(score, relevant, 4), 2 / 4)
    close(precision(score, relevant, 4, at_most_relevant=True), 2 / 3)  # three are relevant: the first three count


def test_equal_scores_earn_nothing() -> None:
    relevant = torch.tensor([[True, False, False, False]])
    close(average_precision(torch.zeros(1, 4), relevant), 1 / 4)


def test_nothing_among_the_first_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="give 1 or more"):
        precision(torch.zeros(1, 4), torch.ones(1, 4, dtype=torch.bool), 0)
