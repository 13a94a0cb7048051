"""When to show, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sketchless.benchmarks.stopping import at_margin, at_share, best_threshold, curve, margins, stopping
from sketchless.datasets import ConfigError
from sketchless.envs import Core

RANK = np.array([[10, 4, 1, 1], [20, 2, 2, 9]])
LENGTHS = np.array([4, 3])
MARGIN = np.array([[0.0, 0.1, 0.3, 0.2], [0.0, 0.2, 0.1, 0.9]])


def test_what_showing_gives_by_hand() -> None:
    """Rank 1 at step 3 of 4, rank 2 at step 2 of 3."""
    found = stopping(RANK, LENGTHS, np.array([3, 2]), stroke_cost=0.1)
    assert found.share == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert found.success == {1: 0.5, 5: 1, 10: 1}
    assert found.value == pytest.approx((1 - 0.2 + 1 / 2 - 0.1) / 2)


def test_rivals_by_hand() -> None:
    assert at_share(LENGTHS, 0.5).tolist() == [2, 2]
    assert at_share(LENGTHS, 0.01).tolist() == [1, 1]
    assert at_share(LENGTHS, 1.0).tolist() == [4, 3]
    assert at_margin(MARGIN, LENGTHS, 0.2).tolist() == [3, 2]
    assert at_margin(MARGIN, LENGTHS, 0.5).tolist() == [4, 3]  # the margin of step 4 is beyond the second drawing
    assert at_margin(MARGIN, LENGTHS, math.inf).tolist() == [4, 3]


def test_the_best_threshold_is_the_best() -> None:
    for cost in (0.0, 0.1, 1.0):
        best = best_threshold(MARGIN, RANK, LENGTHS, cost)
        value = stopping(RANK, LENGTHS, at_margin(MARGIN, LENGTHS, best), cost).value
        for threshold in np.linspace(0, 1, 41):
            assert value >= stopping(RANK, LENGTHS, at_margin(MARGIN, LENGTHS, threshold), cost).value
    dear, free = curve(MARGIN, RANK, LENGTHS, np.array([1.0, 0.0]))
    assert dear.share == pytest.approx((1 / 4 + 1 / 3) / 2)  # at once
    assert free.share > dear.share


def test_margins_are_those_of_the_ranking(make_bank) -> None:
    core = Core(make_bank(n=3, steps=4), "inv-rank")
    near = core.base.numpy() @ core.gallery.numpy().T
    first, second = np.sort(near, axis=-1)[..., :-3:-1].transpose(2, 0, 1)
    assert margins(core) == pytest.approx(first - second)
    assert (margins(core, torch.ones(3, 4, 8)) != margins(core)).any()


def test_a_step_that_is_not_there_is_refused(refuses) -> None:
    with refuses(ConfigError, r"steps \[2\]: want one of each drawing's own, 1..4"):
        stopping(RANK, LENGTHS, np.array([3, 4]))
