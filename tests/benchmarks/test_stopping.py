"""When to show, by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sketchless.benchmarks import evaluate
from sketchless.benchmarks.stopping import (
    Ranked,
    at_margin,
    at_share,
    best_share,
    best_threshold,
    margins,
    rivals,
    stopping,
)
from sketchless.datasets import ConfigError
from sketchless.envs import Core, StopCore

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
        best = best_share(RANK, LENGTHS, cost)
        value = stopping(RANK, LENGTHS, at_share(LENGTHS, best), cost).value
        for share in np.linspace(0.05, 1, 20):
            assert value >= stopping(RANK, LENGTHS, at_share(LENGTHS, share), cost).value


def test_rivals_are_chosen_on_one_split_and_shown_on_another() -> None:
    """On the first, steps 3 and 2 are best: shares above 1/2, up to 2/3, and margins above .1, up to .2, give them."""
    other = Ranked(np.array([[3, 3, 3, 3]]), np.array([4]), np.array([[0.0, 0.0, 0.05, 0.35]]))
    found = rivals(Ranked(RANK, LENGTHS, MARGIN), other, stroke_cost=0.001)
    (fixed, steps), (margin, when) = found.items()
    assert (fixed, steps.tolist()) == ("B1, shown at 55% of the drawing", [3])
    assert margin.startswith("B1, shown at a margin of 0.1")
    assert when.tolist() == [4]


def test_b1_is_ranked_as_it_is_evaluated(make_bank) -> None:
    bank = make_bank(n=4, steps=5, lengths=[5, 3, 1, 2])
    found = Ranked.by_b1(bank)
    assert np.array_equal(found.rank, evaluate(None, bank).rank)
    assert np.array_equal(found.margin, margins(Core(bank, "inv-rank")))


def test_an_evaluation_says_what_was_shown(make_bank) -> None:
    bank = make_bank(n=6, steps=4, lengths=[4, 3, 4, 1, 2, 4])
    core = StopCore(bank, stroke_cost=0.1)
    action = torch.zeros(6, 4, core.action_dim)
    action[0, 1, -1] = action[1, 2, -1] = 1
    rows = iter(action.unbind(1))
    agent = SimpleNamespace(core=core, predict=lambda *_, **__: (next(rows).numpy(), None))
    found = evaluate(agent, bank)
    assert found.shown is not None
    assert found.stopping is not None
    assert found.shown.tolist() == [2, 3, 4, 1, 2, 4]
    assert found.stopping.paid == pytest.approx(core.score(torch.arange(6), action).reward.sum(dim=1).numpy())
    assert found.stopping.summary()["used"] == pytest.approx(100 * (2 / 4 + 5) / 6)
    assert found.per_sketch("m@B") == pytest.approx(evaluate(None, bank).per_sketch("m@B"))
    assert evaluate(None, bank).stopping is None


def test_margins_are_those_of_the_ranking(make_bank) -> None:
    core = Core(make_bank(n=3, steps=4), "inv-rank")
    near = core.base.numpy() @ core.gallery.numpy().T
    first, second = np.sort(near, axis=-1)[..., :-3:-1].transpose(2, 0, 1)
    assert margins(core) == pytest.approx(first - second)
    assert (margins(core, torch.ones(3, 4, 8)) != margins(core)).any()


def test_a_step_that_is_not_there_is_refused(refuses) -> None:
    with refuses(ConfigError, r"steps \[2\]: want one of each drawing's own, 1..4"):
        stopping(RANK, LENGTHS, np.array([3, 4]))
