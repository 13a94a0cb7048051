"""Stepping, scoring whole episodes and plain numpy agree exactly; seeds alone choose the sketches."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from sketchless.datasets.errors import ConfigError, DataError
from sketchless.encoders.bank import EpisodeBank
from sketchless.envs.core import CREDITS, Core, Score, _mix
from sketchless.envs.rewards import REWARDS, RewardScheme, Step, combined

MakeBank = Callable[..., EpisodeBank]
Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]
LENGTHS = [7, 1, 2, 3, 5, 7]
SIGNED = RewardScheme("signed", lambda rank, size: rank, lambda before, after: before - 3 * after)  # never just 0


def everything(step: Step) -> Tensor:
    """Reads all there is of a step, in sums and products, which round the same in any batch."""
    total = step.similarity[:, 0] * step.target_similarity - step.rival_similarity + step.target
    for name in ("rank", "previous_rank", "best_rank", "step", "length", "tau_before", "tau_after"):
        total = total * 3 + getattr(step, name)
    return total / step.n_photos


ALL = RewardScheme("all", everything, SIGNED.trajectory, tau_normalized=False)


def with_twins(bank: EpisodeBank) -> EpisodeBank:
    """The same bank with every photo twice: each right photo ties with its twin."""
    return replace(
        bank, gallery=bank.gallery.repeat(2, 1), photo_ids=bank.photo_ids + tuple(f"{id}-twin" for id in bank.photo_ids)
    )


@pytest.fixture(scope="module", params=["equal lengths", "own lengths", "twins", "one step", "two steps"])
def bank(request: pytest.FixtureRequest, make_bank: MakeBank) -> EpisodeBank:
    match request.param:
        case "own lengths":
            return make_bank(n=6, steps=7, lengths=LENGTHS)
        case "twins":
            return with_twins(make_bank(n=6, steps=7))
        case "one step":
            return make_bank(n=6, steps=1)
        case "two steps":
            return make_bank(n=6, steps=2)
    return make_bank(n=6, steps=7)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def all_rows(core: Core) -> Tensor:
    return torch.arange(len(core.bank))


def actions_for(core: Core, seed: int = 0) -> Tensor:
    return noise(len(core.bank), core.n_steps, core.action_dim, seed=seed)


def stepped(core: Core, rows: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rank, reward, local and trajectory part [B, T] of stepping through episodes, zero after their end."""
    state = core.reset(rows, sketch=rows)
    over = torch.zeros(len(rows), dtype=torch.bool)
    kept: list[list[Tensor]] = [[], [], [], []]
    for t in range(core.n_steps):
        outcome = core.step(state, actions[:, t])
        for column, values in zip(kept, (outcome.rank, outcome.reward, *outcome.terms), strict=True):
            column.append(values.masked_fill(over, 0))
        over |= outcome.terminated
        state = outcome.state
    assert over.all()
    rank, reward, local, trajectory = (torch.stack(column, dim=1) for column in kept)
    return rank, reward, local, trajectory


def assert_equal(score: Score, other: Score) -> None:
    for name, mine, yours in zip(Score._fields, score, other, strict=True):
        assert torch.equal(mine, yours), name


# Stepping equals scoring -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reward", [*REWARDS, combined(0.5, 2, False), SIGNED, ALL], ids=lambda reward: getattr(reward, "name", reward)
)
@pytest.mark.parametrize("mode", ["residual", "absolute"])
def test_stepping_pays_what_scoring_credits_online(bank: EpisodeBank, reward: Any, mode: str) -> None:
    core = Core(bank, reward, mode)
    rows, actions = all_rows(core), actions_for(core)
    online = core.score(rows, actions, credit="online")
    rank, paid, local, trajectory = stepped(core, rows, actions)
    assert torch.equal(rank, online.rank)
    assert torch.equal(paid, online.reward)
    assert torch.equal(local, online.local)
    assert torch.equal(trajectory, online.trajectory)


def test_what_a_step_is_paid_for_itself_is_the_same_whoever_gets_the_credit(bank: EpisodeBank) -> None:
    core = Core(bank, ALL)
    rows, actions = all_rows(core), actions_for(core)
    for credit in CREDITS:
        assert torch.equal(core.score(rows, actions, credit).local, stepped(core, rows, actions)[2])


@pytest.mark.parametrize("size", [1, 3])
def test_stepping_in_batches_of_any_size_equals_scoring_all_at_once(bank: EpisodeBank, size: int) -> None:
    core = Core(bank, ALL)
    rows, actions = all_rows(core), actions_for(core)
    online = core.score(rows, actions, credit="online")
    parts = [stepped(core, r, a) for r, a in zip(rows.split(size), actions.split(size), strict=True)]
    for whole, *pieces in zip((online.rank, online.reward, online.local, online.trajectory), *parts, strict=True):
        assert torch.equal(torch.cat(pieces), whole)


def test_aligned_credit_moves_the_trajectory_part_one_step_back_and_keeps_the_rest(bank: EpisodeBank) -> None:
    core = Core(bank, combined(gamma2=1))
    rows, actions = all_rows(core), actions_for(core)
    aligned, online = core.score(rows, actions), core.score(rows, actions, credit="online")
    assert torch.equal(aligned.trajectory[:, :-1], online.trajectory[:, 1:])
    assert torch.equal(aligned.reward, aligned.local + aligned.trajectory)
    for name in ("rank", "tau", "local", "valid"):
        assert torch.equal(getattr(aligned, name), getattr(online, name))
    assert torch.allclose(aligned.reward.sum(dim=1), online.reward.sum(dim=1), rtol=0, atol=1e-14)
    if core.n_steps == 7:
        assert (aligned.trajectory < 0).any()


def test_credit_by_hand(make_bank: MakeBank, monkeypatch: pytest.MonkeyPatch) -> None:
    """tau_t = tau(L_t, L_{t+1}) = .1 .4 .3 .9, so g_2 = -(.4 - .1), g_3 = 0 (a fall) and g_4 = -(.9 - .3)."""
    tau = torch.tensor([[0.1, 0.4, 0.3, 0.9]], dtype=torch.float64)
    monkeypatch.setattr("sketchless.envs.core.tau_along", lambda similarity, normalized: tau)
    core = Core(make_bank(n=1, steps=5), combined(gamma2=1))
    by_hand = {
        "aligned": [0, -0.3, 0, -0.6, 0],
        "online": [0, 0, -0.3, 0, -0.6],
        "summed": [-0.3, -0.3, -0.3 - 0.6, -0.6, -0.6],  # g_2; g_2 + g_3; g_2 + g_3 + g_4; g_3 + g_4; g_4
    }
    for credit in CREDITS:
        score = core.score(torch.tensor([0]), noise(1, 5, 8), credit)
        assert score.trajectory[0].tolist() == pytest.approx(by_hand[credit], abs=1e-15), credit
        assert torch.equal(score.reward, score.local + score.trajectory)


def test_summed_credit_pays_what_the_own_action_moves(bank: EpisodeBank) -> None:
    """Another action in step t changes the episode's sum by just what it changes in the summed pay of step t."""
    core = Core(bank, SIGNED)
    rows, actions = all_rows(core), actions_for(core)
    for t in range(core.n_steps):
        other = actions.clone()
        other[:, t] = noise(len(rows), core.action_dim, seed=1)
        sums = [core.score(rows, each).reward.sum(dim=1) for each in (actions, other)]
        own = [core.score(rows, each, "summed").reward[:, t] for each in (actions, other)]
        assert torch.allclose(sums[1] - sums[0], own[1] - own[0], rtol=0, atol=1e-12)


class TestPlantedProblem:
    """One drawing of five steps, three actions to choose from: all 243 episodes are known."""

    STEPS, CHOICES = 5, 3

    def episodes(self, make_bank: MakeBank, seed: int) -> tuple[Tensor, Core, Tensor]:
        """Choices int64 [243, T], a core, and the actions [243, T, d] chosen."""
        core = Core(make_bank(n=1, steps=self.STEPS, dim=3, photos=6, seed=seed), combined(0.3, 1), "absolute")
        choices = torch.cartesian_prod(*[torch.arange(self.CHOICES)] * self.STEPS)
        return choices, core, noise(self.CHOICES, 3, seed=seed)[choices]

    def gradient(self, logits: Tensor, choices: Tensor, credit: Tensor) -> Tensor:
        """E[sum_t grad log pi(a_t) credit_t], over all episodes."""
        logits = logits.detach().requires_grad_()
        chosen = logits.log_softmax(dim=1)[torch.arange(self.STEPS), choices]  # [243, T]
        weight = chosen.sum(dim=1, keepdim=True).exp().detach()
        (found,) = torch.autograd.grad((weight * chosen * credit).sum(), logits)
        return found

    @pytest.mark.parametrize("seed", range(3))
    def test_the_gradient_of_summed_credit_is_that_of_the_sum(self, seed: int, make_bank: MakeBank) -> None:
        choices, core, actions = self.episodes(make_bank, seed)
        rows, logits = torch.zeros(len(choices), dtype=torch.int64), noise(self.STEPS, self.CHOICES).double()
        paid = {credit: core.score(rows, actions, credit).reward for credit in CREDITS}
        whole = paid["online"].sum(dim=1, keepdim=True).expand(-1, self.STEPS)  # every step is paid the whole sum
        exact = self.gradient(logits, choices, whole)
        assert torch.allclose(self.gradient(logits, choices, paid["summed"]), exact, rtol=0, atol=1e-14)
        for credit in ("aligned", "online"):
            assert not torch.allclose(self.gradient(logits, choices, paid[credit]), exact, rtol=0, atol=1e-2)


def test_only_summed_credit_finds_the_known_best_step(make_bank: MakeBank) -> None:
    """Lists A A ? B B: step 3 had better go half the way.

    Three photos on a circle: A orders them 1 2 3, M 2 1 3 and B 3 2 1, so of their 3 pairs A and M order 1 otherwise, M
    and B 2, A and B 3. In step 3                    tau_1..tau_4 of 3 pairs      g_2, g_3, g_4      their sum
        A                                            0 0 3 0                      0 -3 0             -3
        M                                            0 1 2 0                      -1 -1 0            -2, the best
        B                                            0 3 0 0                      -3 0 0             -3
    """
    angles = torch.deg2rad(torch.tensor([10.0, 50.0, 90.0]))
    bank = make_bank(n=1, steps=5, dim=2, photos=3)
    bank = replace(bank, gallery=torch.stack([angles.cos(), angles.sin()], dim=1))
    core = Core(bank, combined(0, 1, tau_normalized=False), "absolute")
    a, m, b = (torch.tensor([math.cos(x), math.sin(x)]) for x in map(math.radians, (0, 40, 100)))
    actions = torch.stack([torch.stack([a, a, free, b, b]) for free in (a, m, b)])
    score = {credit: core.score(torch.zeros(3, dtype=torch.int64), actions, credit) for credit in CREDITS}
    assert score["online"].reward.sum(dim=1).tolist() == [-3, -2, -3]
    step3 = {credit: each.reward[:, 2].tolist() for credit, each in score.items()}
    assert step3["aligned"] == [-3, -1, 0]  # picks B
    assert step3["online"] == [0, -1, -3]  # picks A
    assert step3["summed"] == [-3, -2, -3]


def test_scores_do_not_depend_on_batch_order_or_layout(bank: EpisodeBank) -> None:
    core = Core(bank, combined(gamma2=1))
    rows, actions = all_rows(core), actions_for(core)
    whole = core.score(rows, actions)
    order = torch.tensor([3, 0, 5, 1, 4, 2, 3])
    assert_equal(core.score(rows[order], actions[order]), Score(*(part[order] for part in whole)))
    assert_equal(core.score(rows, actions.permute(2, 1, 0).contiguous().permute(2, 1, 0)), whole)
    assert_equal(core.score(rows, actions.double()), whole)


def test_the_reward_is_the_formula_of_the_paper(make_bank: MakeBank) -> None:
    core = Core(make_bank(n=4, steps=6), combined(gamma1=2, gamma2=3))
    score = core.score(all_rows(core), actions_for(core))
    for rank, tau, reward in zip(score.rank.tolist(), score.tau.tolist(), score.reward.tolist(), strict=True):
        for t in range(6):
            rise = max(0, tau[t] - tau[t - 1]) if 0 < t < 5 else 0
            assert reward[t] == pytest.approx(2 / rank[t] - 3 * rise)


def test_nothing_is_counted_beyond_the_end_of_an_episode(make_bank: MakeBank) -> None:
    core = Core(make_bank(n=6, steps=7, lengths=LENGTHS), combined(gamma2=1))
    rows, actions = all_rows(core), actions_for(core)
    score = core.score(rows, actions)
    assert score.valid.sum(dim=1).tolist() == LENGTHS
    assert ((score.rank > 0) == score.valid).all()
    for part in (score.reward, score.local, score.trajectory):
        assert not part[~score.valid].any()
    assert not score.tau[~score.valid[:, 1:]].any()
    for row, length in enumerate(LENGTHS):
        assert not score.trajectory[row, length - 1 :].any()  # the last step lacks a neighbour
    later = actions.clone()
    later[~score.valid] = noise(*later[~score.valid].shape, seed=1)
    assert_equal(core.score(rows, later), score)


# Refinement ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("twins", [False, True])
def test_the_zero_residual_is_the_rank_of_the_frozen_head(twins: bool, make_bank: MakeBank) -> None:
    bank = make_bank(n=40, steps=5, photos=30)
    bank = with_twins(bank) if twins else bank
    x, w, b, photos = (getattr(bank, name).double().numpy() for name in ("features", "weight", "bias", "gallery"))
    embedding = x @ w.T + b
    embedding /= np.linalg.norm(embedding, axis=-1, keepdims=True)
    apart = np.linalg.norm(embedding[:, :, None] - photos, axis=-1)  # Euclidean, as in the paper
    own = np.take_along_axis(apart, bank.targets.numpy()[:, None, None], axis=-1)
    expected = (apart <= own + 1e-9).sum(axis=-1)  # ties against us
    core = Core(bank, "inv-rank")
    score = core.score(all_rows(core), torch.zeros(40, 5, core.action_dim))
    assert score.rank.tolist() == expected.tolist()


def test_180_a_twin_of_the_right_photo_counts_against_us(make_bank: MakeBank) -> None:
    bank = make_bank(n=20, steps=4)
    rows, actions = torch.arange(20), noise(20, 4, 8)
    for mode in ("residual", "absolute"):
        plain = Core(bank, "neg-rank", mode).score(rows, actions).rank
        assert torch.equal(Core(with_twins(bank), "neg-rank", mode).score(rows, actions).rank, 2 * plain)


def test_179_where_all_photos_are_alike_everyone_is_last(make_bank: MakeBank) -> None:
    bank = make_bank()
    core = Core(replace(bank, gallery=bank.gallery[:1].repeat(10, 1)))
    assert (core.score(all_rows(core), actions_for(core)).rank == 10).all()


def test_only_the_direction_of_an_absolute_action_counts(make_bank: MakeBank) -> None:
    core = Core(make_bank(), combined(gamma2=1), "absolute")
    rows, actions = all_rows(core), actions_for(core).double()
    score = core.score(rows, actions)
    for factor in (2.0**-300, 0.25, 8.0, 2.0**900):
        assert_equal(core.score(rows, actions * factor), score)
    assert torch.equal(core.score(rows, actions * 0.3).rank, score.rank)


def test_163_an_action_outside_the_box_is_scaled_into_it_not_cut_off(make_bank: MakeBank) -> None:
    core = Core(make_bank(), "neg-rank", "residual", scale=0.5)
    base = core.base[:, 0]
    outside = torch.tensor([4.0, -2, 1, 0, 0, 0, 0, 0])
    assert torch.equal(core.refine(base, outside), core.refine(base, outside / 4))
    assert not torch.equal(core.refine(base, outside / 4), core.refine(base, outside / 8))
    assert torch.isfinite(core.refine(base, torch.full((8,), 1e30))).all()


def test_a_residual_is_added_in_units_of_scale(make_bank: MakeBank) -> None:
    core = Core(make_bank(), scale=0.5)
    action = torch.rand(8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    moved = core.base[0, 0] + 0.5 * action.double()
    assert torch.allclose(core.refine(core.base[0, 0], action), moved / moved.norm(), rtol=0, atol=2**-24)


def test_the_zero_absolute_action_has_no_direction_and_is_last(make_bank: MakeBank) -> None:
    core = Core(make_bank(), mode="absolute")
    assert (core.score(all_rows(core), torch.zeros(12, 20, 8)).rank == core.n_photos).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["residual", "absolute"])
def test_162_an_action_that_is_not_finite_is_an_error(
    bad: float, mode: str, make_bank: MakeBank, refuses: Refuses
) -> None:
    core = Core(make_bank(), mode=mode)
    actions = actions_for(core)
    actions[2, 3, 4] = bad
    with refuses(DataError, rf"action\[2, 3, 4\] is {bad}"):
        core.score(all_rows(core), actions)
    with refuses(DataError, rf"action\[2, 4\] is {bad}"):
        core.step(core.reset(all_rows(core)), actions[:, 3])


# Observations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("observation", ["feature", "embedding"])
def test_stepping_shows_the_frames_in_order(observation: str, make_bank: MakeBank) -> None:
    core = Core(make_bank(n=6, steps=7, lengths=LENGTHS), observation=observation)
    rows = all_rows(core)
    frames = core.observations(rows)
    state = core.reset(rows, sketch=rows)
    for t in range(core.n_steps):
        assert torch.equal(core.observe(state), frames[:, t])  # the last frame of a short sketch repeats
        state = core.step(state, torch.zeros(6, 8)).state
    assert torch.equal(core.observe(state), frames[:, -1])
    assert frames.dtype == torch.float32
    assert frames.shape == (6, 7, core.observation_dim)


def test_what_is_observed(make_bank: MakeBank) -> None:
    bank = make_bank()
    rows = torch.arange(12)
    assert torch.equal(Core(bank).observations(rows), bank.features)
    head = torch.nn.functional.normalize(bank.features @ bank.weight.T + bank.bias, dim=-1)
    embedded = Core(bank, observation="embedding").observations(rows)
    assert torch.allclose(embedded, head, rtol=0, atol=1e-6)
    assert embedded.abs().max() <= 1


def test_the_observation_does_not_change_what_is_paid(make_bank: MakeBank) -> None:
    cores = [Core(make_bank(), observation=observation) for observation in ("feature", "embedding")]
    assert_equal(*(core.score(all_rows(core), actions_for(core)) for core in cores))


def test_a_feature_a_trace_longer_than_1_is_shown_inside_the_box(make_bank: MakeBank) -> None:
    bank = make_bank(n=2, steps=2, width=4)
    features = torch.zeros(2, 2, 4)
    features[..., 0] = 1.0005
    core = Core(replace(bank, features=features))
    assert core.observe(core.reset(torch.arange(2))).max() == 1
    assert core.observations(torch.arange(2)).max() == 1


# Seeds -----------------------------------------------------------------------------------------------------


def play(core: Core, seeds: Tensor, episodes: int = 5) -> Tensor:
    """Sketches [B, episodes] that seeds choose."""
    state, chosen = core.reset(seeds), []
    for _ in range(episodes):
        chosen.append(state.sketch)
        state = core.next_episode(state, torch.ones_like(seeds, dtype=torch.bool))
    return torch.stack(chosen, dim=1)


def test_equal_seeds_play_equal_episodes_whatever_the_batch_and_the_place_in_it(make_bank: MakeBank) -> None:
    core = Core(make_bank(n=1000, steps=1))
    seeds = torch.tensor([7, 3, 2**63 - 1, 0, 7])
    chosen = play(core, seeds)
    assert torch.equal(chosen[0], chosen[4])
    for row, seed in zip(chosen, seeds, strict=True):
        assert torch.equal(play(core, seed.view(1))[0], row)
    assert len({tuple(row) for row in chosen.tolist()}) == 4


def test_only_finished_rows_begin_the_next_episode(make_bank: MakeBank) -> None:
    core = Core(make_bank(n=1000, steps=4))
    state = core.step(core.reset(torch.arange(6), sketch=torch.arange(6)), noise(6, 8)).state
    done = torch.tensor([True, False, True, False, False, True])
    after = core.next_episode(state, done)
    for name in ("seed", "episode", "sketch", "step"):
        assert torch.equal(getattr(after, name)[~done], getattr(state, name)[~done]), name
    assert after.episode[done].tolist() == [1, 1, 1]
    assert after.step[done].tolist() == [0, 0, 0]
    assert torch.equal(after.sketch[done], play(core, torch.arange(6)[done])[:, 1])


def test_a_new_episode_owes_nothing_to_the_one_before(make_bank: MakeBank) -> None:
    core = Core(make_bank(n=5, steps=4), combined(gamma2=1))
    rows, actions = all_rows(core), actions_for(core)
    state = core.reset(rows, sketch=rows)
    for t in range(4):
        state = core.step(state, actions[:, t].flip(0)).state
    state = core.next_episode(state, torch.ones(5, dtype=torch.bool))._replace(sketch=rows)
    paid = []
    for t in range(4):
        outcome = core.step(state, actions[:, t])
        state = outcome.state
        paid.append(outcome.reward)
    assert torch.equal(torch.stack(paid, dim=1), core.score(rows, actions, credit="online").reward)


@pytest.mark.parametrize("over", ["seeds", "episodes"])
def test_every_sketch_is_chosen_equally_often(over: str, make_bank: MakeBank) -> None:
    core = Core(make_bank(n=50, steps=1))
    chosen = play(core, torch.arange(20_000), 1) if over == "seeds" else play(core, torch.arange(4), 5_000)
    assert chisquare(np.bincount(chosen.flatten().numpy(), minlength=50)).pvalue > 0.01


def splitmix64(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def test_numbers_are_mixed_by_splitmix64() -> None:
    assert splitmix64(0) == 0xE220A8397B1DCDAF  # first output of the reference implementation
    numbers = [0, 1, 2, 1234567, 2**62, 2**63 - 1, -1, -(2**63)]
    assert [x % 2**64 for x in _mix(torch.tensor(numbers)).tolist()] == [splitmix64(x % 2**64) for x in numbers]


def test_the_sketch_of_an_episode_is_a_fixed_function_of_seed_and_number(make_bank: MakeBank) -> None:
    seeds = [0, 1, 12345, 2**63 - 1]
    expected = [[splitmix64(splitmix64(s) + e) % 2**63 % 50 for e in range(5)] for s in seeds]
    assert play(Core(make_bank(n=50, steps=1)), torch.tensor(seeds)).tolist() == expected


def test_the_core_leaves_the_global_random_state_and_its_arguments_alone(make_bank: MakeBank) -> None:
    core = Core(make_bank())
    before, actions = torch.get_rng_state(), actions_for(core)
    kept = actions.clone()
    state = core.reset(all_rows(core))
    frozen = [part.clone() for part in state]
    core.step(state, actions[:, 0])
    core.next_episode(state, torch.ones(12, dtype=torch.bool))
    core.score(all_rows(core), actions)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(actions, kept)
    assert all(torch.equal(part, old) for part, old in zip(state, frozen, strict=True))


# Misuse ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"mode": "residul"}, "unknown mode 'residul': did you mean 'residual'?"),
        ({"observation": "features"}, "did you mean 'feature'?"),
        ({"reward": "top3"}, "unknown reward 'top3'"),
        ({"scale": 0}, "scale=0: must be a finite number above 0"),
        ({"scale": -1.0}, "scale=-1.0"),
        ({"scale": math.nan}, "scale=nan"),
        ({"scale": math.inf}, "scale=inf"),
        ({"scale": "a"}, "scale='a': must be a finite number above 0"),
        ({"scale": "2"}, "scale='2'"),
        ({"scale": None}, "scale=None"),
        ({"scale": torch.ones(9, 9)}, "scale=tensor"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: dict[str, Any], match: str, make_bank: MakeBank, refuses: Refuses
) -> None:
    with refuses(ConfigError, match):
        Core(make_bank(), **options)


def test_scoring_refuses_a_wrong_shape_and_an_unknown_credit(make_bank: MakeBank, refuses: Refuses) -> None:
    core = Core(make_bank())
    with refuses(ConfigError, r"actions \(12, 19, 8\) for 12 sketches: want \[B, 20, 8\]"):
        core.score(all_rows(core), torch.zeros(12, 19, 8))
    with refuses(ConfigError, "unknown credit 'align': did you mean 'aligned'?"):
        core.score(all_rows(core), actions_for(core), credit="align")


@pytest.mark.parametrize(
    ("action", "match"),
    [
        (torch.zeros(1, 8), r"actions \(1, 8\) for 4 sketches: want \[B, 8\]"),
        (torch.zeros(8), r"actions \(8,\)"),
        (torch.zeros(4, 1), r"actions \(4, 1\)"),
        (torch.zeros(4, 1, 8), r"actions \(4, 1, 8\)"),
        (torch.zeros(4, 8, device="meta"), "actions are on meta, the bank on cpu: move them there"),
        (torch.zeros(4, 8, dtype=torch.complex64), r"actions are torch.complex64 \(4, 8\): want a tensor of real"),
        (torch.zeros(4, 8, dtype=torch.bool), "actions are torch.bool"),
        (np.zeros((4, 8)), "actions are ndarray"),
        (None, "actions are NoneType"),
    ],
    ids=["one row", "no row", "one column", "three dimensions", "device", "complex", "bool", "array", "None"],
)
def test_164_stepping_refuses_what_would_be_broadcast(
    action: Any, match: str, make_bank: MakeBank, refuses: Refuses
) -> None:
    core = Core(make_bank())
    with refuses(ConfigError, match):
        core.step(core.reset(torch.arange(4)), action)


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (torch.tensor([0, -1]), "sketch -1 is no row of the bank: want 0 to 11"),
        (torch.tensor([12, 0]), "sketch 12 is no row"),
        (torch.tensor([0, 1], device="meta"), "sketches are on meta, the bank on cpu"),
        (torch.tensor([0, 1], dtype=torch.int32), r"sketches are torch.int32 \(2,\): want a tensor int64 \[B\]"),
        (torch.tensor([True, False]), "sketches are torch.bool"),
        (torch.tensor([[0, 1]]), r"sketches are torch.int64 \(1, 2\)"),
        ([0, 1], "sketches are list"),
    ],
)
def test_rows_that_the_bank_lacks_are_refused(rows: Any, match: str, make_bank: MakeBank, refuses: Refuses) -> None:
    core = Core(make_bank())
    with refuses(ConfigError, match):
        core.score(rows, torch.zeros(2, 20, 8))
    with refuses(ConfigError, match):
        core.observations(rows)
    with refuses(ConfigError, match):
        core.reset(torch.arange(2), sketch=rows)


def test_a_step_beyond_the_end_pays_for_the_last_frame_once_more(make_bank: MakeBank) -> None:
    core = Core(make_bank(steps=2), "inv-rank")
    state, action = core.reset(torch.arange(3)), noise(3, 8)
    _, last, beyond = (
        (outcome := core.step(state, action)),
        *(outcome := core.step(outcome.state, action) for _ in range(2)),
    )
    assert last.terminated.all()
    assert beyond.terminated.all()
    assert torch.equal(last.reward, beyond.reward)


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["residual", "absolute"])
def test_the_gpu_gives_the_ranks_and_rewards_of_the_cpu(mode: str, make_bank: MakeBank) -> None:
    bank = with_twins(make_bank(n=200, photos=100))
    here, there = Core(bank, combined(gamma2=1), mode), Core(bank.to("cuda"), combined(gamma2=1), mode)
    rows, actions = all_rows(here), actions_for(here)
    score = there.score(rows.cuda(), actions.cuda())
    assert_equal(Score(*(part.cpu() for part in score)), here.score(rows, actions))
    assert torch.equal(play(there, rows.cuda()).cpu(), play(here, rows))
