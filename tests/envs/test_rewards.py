"""What each reward scheme pays, by hand."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from sketchless.datasets.errors import ConfigError
from sketchless.envs.core import Core
from sketchless.envs.rewards import REWARDS, RewardScheme, combined, make_reward, top

Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]
G = 300
RANKS = [1, 4, 5, 6, 10, 11, G]


@pytest.mark.parametrize(
    ("name", "paid"),
    [
        ("top1", [1, 0, 0, 0, 0, 0, 0]),
        ("top5", [1, 1, 1, 0, 0, 0, 0]),
        ("top10", [1, 1, 1, 1, 1, 0, 0]),
        ("neg-rank", [-1, -4, -5, -6, -10, -11, -300]),
        ("inv-sqrt-rank", [1, 1 / 2, 5**-0.5, 6**-0.5, 10**-0.5, 11**-0.5, 300**-0.5]),
        ("inv-rank", [1, 1 / 4, 1 / 5, 1 / 6, 1 / 10, 1 / 11, 1 / 300]),
        ("combined", [1, 1 / 4, 1 / 5, 1 / 6, 1 / 10, 1 / 11, 1 / 300]),
    ],
)
def test_local_part_of_every_scheme(name: str, paid: list[float]) -> None:
    scheme = make_reward(name)
    assert scheme.name == name
    assert scheme.local(torch.tensor(RANKS), G).tolist() == pytest.approx(paid, rel=1e-15)
    assert scheme.table(G)[[rank - 1 for rank in RANKS]].tolist() == pytest.approx(paid, rel=1e-15)
    assert (scheme.trajectory is not None) == (name == "combined")


def test_the_seven_schemes_of_the_paper_are_registered() -> None:
    assert list(REWARDS) == ["top1", "top5", "top10", "neg-rank", "inv-sqrt-rank", "inv-rank", "combined"]


def test_the_trajectory_part_punishes_only_rises_of_tau() -> None:
    scheme = combined(gamma2=0.5)
    assert scheme.trajectory is not None
    before, after = torch.tensor([0.125, 0.5, 0.25]).double(), torch.tensor([0.375, 0.25, 0.25]).double()
    assert scheme.trajectory(before, after).tolist() == [-0.125, 0, 0]


# Similarities to three photos, of which 0 is the right one. From the first list to the second the pair (1, 2) turns
# round, from the second to the third (0, 1) and (0, 2) do: tau is 1, then 2, of 3 pairs. The ranks are 1, 1, 3.
LISTS = torch.tensor([[0.9, 0.5, 0.1], [0.9, 0.1, 0.5], [0.1, 0.5, 0.9]], dtype=torch.float64)


@pytest.mark.parametrize(("normalized", "tau"), [(True, [1 / 3, 2 / 3]), (False, [1, 2])])
def test_combined_on_three_lists_by_hand(normalized: bool, tau: list[float], make_bank: Any) -> None:
    bank = make_bank(n=1, steps=3, dim=3, photos=3)
    bank = replace(bank, gallery=torch.eye(3), targets=torch.tensor([0]))  # similarities are the embedding itself
    core = Core(bank, combined(gamma1=2, gamma2=0.5, tau_normalized=normalized), "absolute")
    row = torch.tensor([0])
    score = core.score(row, LISTS.unsqueeze(0))
    assert score.rank.tolist() == [[1, 1, 3]]
    assert score.tau.tolist() == [tau]
    assert score.local.tolist() == [[2, 2, 2 / 3]]
    assert score.trajectory.tolist() == [[0, -0.5 * (tau[1] - tau[0]), 0]]

    state, paid = core.reset(row, sketch=row), []
    for action in LISTS:
        outcome = core.step(state, action.unsqueeze(0))
        state = outcome.state
        paid.append(float(outcome.reward))
    assert paid == [2, 2, 2 / 3 - 0.5 * (tau[1] - tau[0])]  # the part about step two is known at step three


# Own schemes -----------------------------------------------------------------------------------------------


def half_of_rank(rank: Tensor, size: int) -> Tensor:
    return 1 / (2 * rank)  # float32, from integers


OWN = RewardScheme("own", half_of_rank, lambda before, after: after - before)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ModuleType("own_rewards")
    found.own, found.half, found.number = OWN, half_of_rank, 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_rewards", found)


def test_functions_and_schemes_are_taken_as_they_are() -> None:
    assert make_reward(OWN) is OWN
    assert make_reward(half_of_rank) == RewardScheme("half_of_rank", half_of_rank)


@pytest.mark.usefixtures("module")
def test_module_and_attribute_name_a_scheme_or_a_function() -> None:
    assert make_reward("own_rewards:own") is OWN
    assert make_reward("own_rewards:half").local is half_of_rank


def test_rewards_are_float64_whatever_an_own_function_gives(make_bank: Any) -> None:
    core = Core(make_bank(), half_of_rank)
    state = core.reset(torch.arange(4))
    outcome = core.step(state, torch.zeros(4, core.action_dim))
    assert outcome.reward.dtype == torch.float64
    assert outcome.reward.tolist() == pytest.approx([1 / (2 * rank) for rank in outcome.rank.tolist()])


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("reward", "match"),
    [
        ("combine", "unknown reward 'combine': did you mean 'combined'?"),
        ("inv_rank", "did you mean 'inv-rank'?"),
        ("xyz", "choose one of: combined, inv-rank"),
        ("", "unknown reward ''"),
        ("own_rewards:missing", "'own_rewards:missing' cannot be imported: .*missing"),
        ("no_such_module:reward", "cannot be imported: No module named 'no_such_module'"),
        (":reward", "cannot be imported"),
        (".own_rewards:half", "cannot be imported"),
        ("own_rewards:number", "is neither a RewardScheme nor a function"),
        (5, "reward 5 is neither a name"),
        (None, "reward None is neither a name"),
        (["top1"], "is neither a name"),
    ],
)
def test_what_is_no_reward_is_refused(reward: Any, match: str, refuses: Refuses) -> None:
    with refuses(ConfigError, match):
        make_reward(reward)


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_weights_below_0_or_not_finite_are_refused(weight: float, refuses: Refuses) -> None:
    with refuses(ConfigError, f"gamma1={weight}"):
        combined(gamma1=weight)
    with refuses(ConfigError, f"gamma2={weight}"):
        combined(gamma2=weight)


def test_top_0_is_refused(refuses: Refuses) -> None:
    with refuses(ConfigError, "top q=0: must be a whole number, 1 or more"):
        top(0)


@pytest.mark.parametrize(
    ("local", "match"),
    [
        (lambda rank, size: (rank - size).double().reciprocal(), "'<lambda>' is NaN or infinite for rank 10 of 10"),
        (lambda rank, size: (rank.double() - 3).sqrt(), "is NaN or infinite for rank 1 of 10"),
        (lambda rank, size: rank.sum(), r"gives torch.int64 \(\) for 10 ranks: want a tensor of 10 numbers"),
        (lambda rank, size: 1.0, "gives float for 10 ranks"),
        (lambda rank, size: rank * 1j, "gives torch.complex64"),
    ],
)
def test_181_a_local_part_that_is_no_finite_number_for_some_rank_is_refused_at_once(
    local: Any, match: str, make_bank: Any, refuses: Refuses
) -> None:
    with refuses(ConfigError, match):
        Core(make_bank(), local)


@pytest.mark.parametrize(
    ("trajectory", "match"),
    [
        (lambda before, after: (before - after).unsqueeze(-1), r"gives torch.float64 \(3, 1\) for its trajectory part"),
        (lambda before, after: (before - after)[:2], r"gives torch.float64 \(2,\) .* taus \(3,\): want"),
        (lambda before, after: 0.5, "gives float"),
        (lambda before, after: None, "gives NoneType"),
        (lambda before, after: before * 1j, "gives torch.complex128"),
    ],
    ids=["extra dimension", "length", "float", "None", "complex"],
)
def test_a_trajectory_part_that_is_no_number_for_each_is_refused(
    trajectory: Any, match: str, make_bank: Any, refuses: Refuses
) -> None:
    core = Core(make_bank(n=3), RewardScheme("broken", half_of_rank, trajectory))
    with refuses(ConfigError, f"reward 'broken' {match}"):
        core.step(core.reset(torch.arange(3)), torch.zeros(3, core.action_dim))
    with refuses(ConfigError, "reward 'broken' gives"):
        core.score(torch.arange(3), torch.zeros(3, core.n_steps, core.action_dim))


def test_a_trajectory_part_in_whole_numbers_is_paid_in_full(make_bank: Any) -> None:
    core = Core(
        make_bank(n=3), RewardScheme("whole", half_of_rank, lambda before, after: (0 * after).long() + 2**24 + 1)
    )
    score = core.score(torch.arange(3), torch.zeros(3, core.n_steps, core.action_dim))
    assert (score.trajectory[:, 1:-1] == 2**24 + 1).all()


def test_181_a_trajectory_part_that_is_not_finite_is_refused_at_the_step(make_bank: Any, refuses: Refuses) -> None:
    broken = RewardScheme("broken", half_of_rank, lambda before, after: after / 0)
    core = Core(make_bank(n=3), broken)
    actions = torch.randn(3, core.n_steps, core.action_dim, generator=torch.Generator().manual_seed(0))
    with refuses(ConfigError, "'broken': its trajectory part is NaN or infinite for step 2 of environment 0 "):
        core.score(torch.arange(3), actions)
    state = core.reset(torch.arange(3), sketch=torch.arange(3))
    for t in range(2):  # not due yet
        state = core.step(state, actions[:, t]).state
    with refuses(ConfigError, "for step 2 of environment 0 "):
        core.step(state, actions[:, 2])
