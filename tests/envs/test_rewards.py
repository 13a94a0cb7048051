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
from torch import Tensor, nn

from sketchless.datasets.errors import ConfigError
from sketchless.envs.core import Core
from sketchless.envs.rewards import FIELDS, REWARDS, RewardScheme, Step, combined, make_reward, shaped, top
from sketchless.envs.tasks import make_core

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
        ("percentile", [1, 296 / 299, 295 / 299, 294 / 299, 290 / 299, 289 / 299, 0]),
    ],
)
def test_local_part_of_every_scheme_of_ranks(name: str, paid: list[float]) -> None:
    scheme = make_reward(name)
    assert scheme.name == name
    assert scheme.local(torch.tensor(RANKS), G).tolist() == pytest.approx(paid, rel=1e-15)
    assert scheme.table(G)[[rank - 1 for rank in RANKS]].tolist() == pytest.approx(paid, rel=1e-15)
    assert (scheme.trajectory is not None) == (name == "combined")


def test_the_seven_schemes_of_the_paper_are_registered_and_five_more() -> None:
    paper = ["top1", "top5", "top10", "neg-rank", "inv-sqrt-rank", "inv-rank", "combined"]
    assert list(REWARDS) == [*paper, "self-competitive", "rank-gain", "early", "margin", "percentile"]


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


# What a reward sees of a step ------------------------------------------------------------------------------

# Similarities to three photos times sqrt(1.07), photo 0 is the right one. The lists are 0 1 2, 1 2 0, 1 0 2 and 0 2 1.
EPISODE = torch.tensor([[0.9, 0.5, 0.1], [0.1, 0.9, 0.5], [0.5, 0.9, 0.1], [0.9, 0.1, 0.5]], dtype=torch.float64)
BY_HAND: dict[str, list[float]] = {
    "rank": [1, 3, 2, 1],
    "previous_rank": [3, 1, 3, 2],
    "best_rank": [3, 1, 1, 1],
    "step": [1, 2, 3, 4],
    "length": [4, 4, 4, 4],
    "target": [0, 0, 0, 0],
    "target_similarity": [x / 1.07**0.5 for x in (0.9, 0.1, 0.5, 0.9)],
    "rival_similarity": [x / 1.07**0.5 for x in (0.5, 0.9, 0.9, 0.5)],
    "tau_after": [0, 2 / 3, 1 / 3, 2 / 3],  # pairs turned round: (0, 1) (0, 2); (0, 2); (0, 1) (1, 2)
    "tau_before": [0, 0, 2 / 3, 1 / 3],
}
PAID: dict[str, list[float]] = {
    "self-competitive": [1, 0, 0, 1],
    "rank-gain": [(3 - 1) / 2, (1 - 3) / 2, (3 - 2) / 2, (2 - 1) / 2],
    "early": [math.exp(-1 / 4), math.exp(-2 / 4) / 3, math.exp(-3 / 4) / 2, math.exp(-1)],
    "margin": [x / 2 / 1.07**0.5 for x in (0.4, -0.8, -0.4, 0.4)],
    "percentile": [1, 0, 1 / 2, 1],
}


def three_photos(make_bank: Any, reward: Any) -> Core:
    """One drawing of four steps; absolute actions are the similarities themselves."""
    bank = make_bank(n=1, steps=4, dim=3, photos=3)
    return Core(replace(bank, gallery=torch.eye(3), targets=torch.tensor([0])), reward, "absolute")


def played(core: Core) -> list[float]:
    state, paid = core.reset(torch.tensor([0])), []
    for action in EPISODE:
        outcome = core.step(state, action.unsqueeze(0))
        state = outcome.state
        paid.append(float(outcome.reward))
    return paid


@pytest.mark.parametrize("field", [*BY_HAND, "similarity"])
def test_every_field_of_a_step_by_hand(field: str, make_bank: Any) -> None:
    """Stepped twice, so that the second episode could remember the first."""
    seen: list[Tensor] = []

    def watch(step: Step) -> Tensor:
        assert step.n_photos == 3
        assert len(step.step) == len(step.rank)  # so that it is no table of ranks
        seen.append(getattr(step, field))
        return torch.zeros(len(step.rank))

    core = three_photos(make_bank, watch)
    expected = torch.tensor(BY_HAND.get(field, (EPISODE / 1.07**0.5).tolist()), dtype=torch.float64)
    seen.clear()
    core.score(torch.tensor([0]), EPISODE.unsqueeze(0))
    assert torch.allclose(seen[0].double(), expected, rtol=0, atol=1e-7)
    whole = seen.pop()
    played(core)
    state = core.reset(torch.tensor([0]))
    for action in [*EPISODE, *EPISODE]:
        outcome = core.step(state, action.unsqueeze(0))
        state = core.next_episode(outcome.state, outcome.terminated)
    for episode in (seen[:4], seen[4:8], seen[8:]):
        assert torch.equal(torch.cat(episode), whole)


def test_every_field_is_documented_by_hand() -> None:
    assert {*BY_HAND, "similarity"} == set(FIELDS)


@pytest.mark.parametrize("name", PAID)
def test_what_schemes_of_a_step_pay_by_hand(name: str, make_bank: Any) -> None:
    core = three_photos(make_bank, name)
    assert core.score(torch.tensor([0]), EPISODE.unsqueeze(0)).reward[0].tolist() == pytest.approx(PAID[name], abs=1e-7)
    assert played(core) == pytest.approx(PAID[name], abs=1e-7)


def test_gains_of_an_episode_sum_to_the_percentile_of_its_last_rank(make_bank: Any) -> None:
    bank = make_bank(n=6, steps=7, lengths=[7, 1, 2, 3, 5, 7])
    actions = torch.randn(6, 7, 8, generator=torch.Generator().manual_seed(0))
    score = Core(bank, "rank-gain").score(torch.arange(6), actions)
    last = score.rank[torch.arange(6), bank.lengths - 1]
    assert torch.allclose(score.reward.sum(dim=1), (10 - last.double()) / 9, rtol=0, atol=1e-14)


def test_only_what_is_read_is_computed(make_bank: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = {name: make_reward(name).reads(10) for name in REWARDS}
    assert {name for name, fields in reads.items() if fields == {"rank"}} == {*REWARDS} - PAID.keys() | {"percentile"}
    assert reads["self-competitive"] == {"rank", "best_rank"}
    assert reads["rank-gain"] == {"rank", "previous_rank"}
    assert reads["early"] == {"rank", "step", "length"}
    assert reads["margin"] == {"rank", "target_similarity", "rival_similarity"}

    def refuse(*_: Any) -> Any:
        raise AssertionError("lists are compared, and nobody asked")

    monkeypatch.setattr("sketchless.envs.core.tau_along", refuse)
    monkeypatch.setattr("sketchless.envs.core.ranking_after", refuse)
    for name in PAID:
        core = Core(make_bank(), name)
        state = core.reset(torch.arange(4))
        assert state.ranking.shape == (4, 0)
        assert core.step(state, torch.zeros(4, 8)).state.rank.any() == (name in ("self-competitive", "rank-gain"))
        core.score(torch.arange(4), torch.zeros(4, 20, 8))
    core = Core(make_bank(), lambda step: step.tau_after)
    with pytest.raises(AssertionError, match="nobody asked"):
        core.step(core.reset(torch.arange(4)), torch.zeros(4, 8))


def test_a_function_of_a_step_that_reads_ranks_alone_is_a_table(make_bank: Any) -> None:
    calls: list[int] = []

    def third(step: Step) -> Tensor:
        calls.append(len(step.rank))
        return (step.rank <= 3).double() / step.n_photos

    core = Core(make_bank(), third)
    calls.clear()
    score = core.score(torch.arange(4), torch.zeros(4, 20, 8))
    assert torch.equal(score.reward, (score.rank <= 3).double() / 10)
    assert not calls


class Learned(nn.Module):
    """A reward with weights: a Step's, though a module's call takes anything."""

    def forward(self, step: Step) -> Tensor:
        return 0.5 * step.rank.double() * step.step


def weighted(step: Step, weight: float = 0.5) -> Tensor:
    return weight * step.rank.double() * step.step


@pytest.mark.parametrize("local", [Learned(), weighted])
def test_what_must_be_given_one_argument_is_a_function_of_a_step(local: Any, make_bank: Any) -> None:
    assert played(three_photos(make_bank, local)) == pytest.approx([0.5 * 1, 0.5 * 3 * 2, 0.5 * 2 * 3, 0.5 * 1 * 4])


def test_no_similarity_is_above_1(make_bank: Any) -> None:
    """Rounded to the grid, half of all unit vectors are longer than 1: acos was NaN there."""
    bank = make_bank(n=200, steps=1, dim=64, photos=200)
    own = bank.gallery[bank.targets].unsqueeze(1)
    read: list[Tensor] = []

    def near(step: Step) -> Tensor:
        read[:] = step.similarity, step.target_similarity, step.rival_similarity
        return torch.acos(step.target_similarity)

    core = Core(bank, near, "absolute")
    assert (core.score(torch.arange(200), own).reward < 3e-4).all()
    assert max(float(x.max()) for x in read) == 1
    assert bool(((core.gallery * core.gallery).sum(dim=1) > 1).any())


@pytest.mark.parametrize(("other", "known"), [("best_rank", "rank, target_similarity"), ("tau_after", "rank, target_")])
def test_a_field_that_is_read_now_and_then_is_an_error_and_not_0(
    other: str, known: str, make_bank: Any, refuses: Refuses
) -> None:
    """Nothing that it needs was remembered."""

    def changeable(step: Step) -> Tensor:
        found: Tensor = step.target_similarity if bool((step.rank == 3).any()) else getattr(step, other)
        return found

    core = three_photos(make_bank, changeable)
    state = core.reset(torch.tensor([0]))
    with refuses(ConfigError, f"a reward reads '{other}' of a step, of which only {known}.* whatever their values are"):
        core.step(state, EPISODE[:1])


def overwrites(step: Step) -> Tensor:
    step.best_rank.clamp_(max=2)
    return step.rank.double()


@pytest.mark.parametrize(
    ("local", "match"),
    [
        (lambda step: step.rnk, "'<lambda>': a step has no 'rnk': choose one of rank, previous_rank"),
        (overwrites, "'overwrites' overwrites 'best_rank' of a step: compute with copies"),
        (lambda: 1, r"'<lambda>' takes \(\): want a function of \(rank, G\) or of \(step\)"),
        (lambda a, b, c: a, r"'<lambda>' takes \(a, b, c\): want"),
        (lambda step: step.step.sum(), r"gives torch.int64 \(\) for 5 steps: want a tensor of 5 numbers"),
        (lambda step: step.similarity, r"gives torch.float64 \(5, 10\) for 5 steps"),
    ],
)
def test_a_function_of_a_step_that_is_no_reward_is_refused_at_once(
    local: Any, match: str, make_bank: Any, refuses: Refuses
) -> None:
    with refuses(ConfigError, match):
        Core(make_bank(), local)


def test_a_reward_of_a_step_that_is_not_finite_is_refused_at_the_step(make_bank: Any, refuses: Refuses) -> None:
    core = Core(make_bank(n=3), RewardScheme("broken", lambda step: 1 / (step.step - 3)))
    actions = torch.zeros(3, core.n_steps, core.action_dim)
    with refuses(ConfigError, "reward 'broken': is NaN or infinite for step 3 of environment 0 "):
        core.score(torch.arange(3), actions)
    state = core.reset(torch.arange(3))
    for t in range(2):
        state = core.step(state, actions[:, t]).state
    with refuses(ConfigError, "for step 3 of environment 0 "):
        core.step(state, actions[:, 2])


def test_what_a_reward_pays_is_sampled(refuses: Refuses) -> None:
    assert torch.equal(make_reward("inv-rank").sample(7), make_reward("inv-rank").table(7))
    early, late = RewardScheme("mine", lambda step: step.step), RewardScheme("mine", lambda step: 2 * step.step)
    assert not torch.equal(early.sample(7), late.sample(7))
    with refuses(ConfigError, "reads 'step' of a step, of which only rank is known here"):
        early.table(7)


# Shaping ---------------------------------------------------------------------------------------------------


NAMES = ["inv-rank", "combined", "rank-gain", "margin"]


class TestShaping:
    """One drawing of four steps, three actions: all 81 episodes, and so the best ones, are known."""

    def episodes(self, make_bank: Any, reward: Any, gamma: float) -> Tensor:
        """Discounted returns [81]."""
        bank = make_bank(n=1, steps=4, dim=3, photos=9, seed=3)
        choices = torch.randn(3, 3, generator=torch.Generator().manual_seed(3))
        actions = choices[torch.cartesian_prod(*[torch.arange(3)] * 4)]
        score = Core(bank, reward, "absolute").score(torch.zeros(81, dtype=torch.int64), actions, "online")
        return (score.reward * gamma ** torch.arange(4)).sum(dim=1)

    @pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
    @pytest.mark.parametrize(
        "reward",
        ["inv-rank", combined(gamma2=1), "rank-gain", "margin"],
        ids=["inv-rank", "combined", "rank-gain", "margin"],
    )
    def test_every_return_stays_as_it_was(self, make_bank: Any, reward: Any, gamma: float) -> None:
        plain, moved = (
            self.episodes(make_bank, each, gamma) for each in (reward, shaped(reward, lambda rank, size: -rank, gamma))
        )
        assert torch.allclose(plain, moved, rtol=0, atol=1e-12)
        assert plain.unique().numel() > 1

    def test_another_discount_or_an_end_that_is_worth_something_changes_the_best_episode(self, make_bank: Any) -> None:
        best = int(self.episodes(make_bank, "inv-rank", 0.5).argmax())

        def naive(step: Step) -> Tensor:
            return 1 / step.rank.double() + 0.5 * step.rank - step.previous_rank * (step.step > 1)

        for wrong in (shaped("inv-rank", lambda rank, size: rank, 1.0), naive):
            assert int(self.episodes(make_bank, wrong, 0.5).argmax()) != best

    def test_by_hand(self, make_bank: Any) -> None:
        """Phi = -rank = -1 -3 -2 (the last counts 0): 1/rank + Phi_t / 2 - Phi_{t-1}."""
        core = three_photos(make_bank, shaped("inv-rank", lambda rank, size: -rank, 0.5))
        assert played(core) == pytest.approx([1 - 0.5, 1 / 3 - 1.5 + 1, 1 / 2 - 1 + 3, 1 + 0 + 2])
        assert core.reward.name == "inv-rank-shaped"

    def test_the_trajectory_part_stays(self) -> None:
        scheme = combined(tau_normalized=False)
        moved = shaped(scheme, lambda rank, size: -rank, 1.0)
        assert (moved.trajectory, moved.tau_normalized) == (scheme.trajectory, False)

    @pytest.mark.parametrize("gamma", [1.5, math.nan, None, "1"])
    def test_no_discount_is_refused(self, gamma: Any, refuses: Refuses) -> None:
        with refuses(ConfigError, f"gamma={gamma!r}: the discount of a shaped reward lies in 0..1"):
            shaped("inv-rank", lambda rank, size: -rank, gamma)

    def test_where_one_step_alone_is_paid_it_is_refused(self, make_bank: Any, refuses: Refuses) -> None:
        """What it adds would not cancel: showing a list of rank 2 at once would pay 1/2 + Phi, later 1/2 + 0."""
        moved = shaped("inv-rank", lambda rank, size: -rank, 1.0)
        with refuses(ConfigError, "'inv-rank-shaped': what shaping adds cancels over all steps of a drawing, and one"):
            make_core("stop", make_bank(), moved)


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
        ("xyz", "choose one of: combined, early, inv-rank"),
        ("", "unknown reward ''"),
        ("own_rewards:missing", "'own_rewards:missing' cannot be imported: .*missing"),
        ("no_such_module:reward", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
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
