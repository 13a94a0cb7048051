"""Carry and Stop: against plain numpy, stepping against scoring, and all shells."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_sb3
from torch import Tensor

from sketchless.datasets.errors import ConfigError, DataError
from sketchless.encoders.bank import EpisodeBank
from sketchless.envs import CarryCore, Core, OnTheFlyEnv, OnTheFlyVectorEnv, RewardScheme, StopCore, combined, make_core
from sketchless.envs.core import CREDITS
from sketchless.envs.sb3_env import SketchVecEnv
from sketchless.envs.testing import BrokenRule, check_actions_matter, check_vector_env

MakeBank = Callable[..., EpisodeBank]
Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]
LENGTHS = [7, 1, 2, 3, 5, 7]
IDS = ("OnTheFly", "Strokes", "Carry", "Stop")


@pytest.fixture(scope="module")
def bank(make_bank: MakeBank) -> EpisodeBank:
    return make_bank(n=6, steps=7, lengths=LENGTHS)


def actions_for(core: Core, size: float = 0.5, seed: int = 0) -> Tensor:
    shape = (len(core.bank), core.n_steps, core.action_dim)
    return size * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def stepped(core: Core, actions: Tensor) -> tuple[Tensor, ...]:
    """Observation before each step, rank and reward [B, T, ...], zero after the end, and lengths [B]."""
    rows = torch.arange(len(actions))
    state, on = core.reset(rows, sketch=rows), torch.ones(len(rows), dtype=torch.bool)
    kept: tuple[list[Tensor], ...] = ([], [], [])
    lengths = torch.zeros(len(rows), dtype=torch.int64)
    for t in range(core.n_steps):
        seen = core.observe(state)
        outcome = core.step(state, actions[:, t])
        for column, values in zip(kept, (seen, outcome.rank, outcome.reward), strict=True):
            column.append(values * on.view(-1, *[1] * (values.dim() - 1)))
        lengths += on
        on = on & ~outcome.terminated
        state = outcome.state
    assert not on.any()
    return (*(torch.stack(column, dim=1) for column in kept), lengths)


# Carry -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reward", ["inv-rank", combined(gamma2=1), "rank-gain"], ids=["ranks", "lists", "past"])
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_without_memory_carry_is_on_the_fly(reward: Any, scale: float, bank: EpisodeBank) -> None:
    plain, carry = Core(bank, reward, scale=scale), CarryCore(bank, reward, scale=scale, decay=0)
    for size in (0.1, 3.0):  # inside the box and far outside
        actions = actions_for(plain, size)
        for credit in CREDITS:
            ours, theirs = (core.score(torch.arange(6), actions, credit) for core in (carry, plain))
            assert all(map(torch.equal, ours, theirs))
        assert all(map(torch.equal, stepped(carry, actions)[1:], stepped(plain, actions)[1:]))


def test_without_memory_the_vector_environment_plays_as_on_the_fly() -> None:
    one = gym.make_vec("sketchless/OnTheFly-v0", 5, device="cpu")
    other = gym.make_vec("sketchless/Carry-v0", 5, device="cpu", decay=0.0)
    one.reset(seed=3)
    other.reset(seed=3)
    for t in range(25):
        action = torch.randn(5, 64, generator=torch.Generator().manual_seed(t))
        (seen, *ours, info), (seen_too, *theirs, info_too) = one.step(action), other.step(action)
        assert np.array_equal(np.asarray(seen), np.asarray(seen_too)[:, :128])
        assert all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(ours, theirs, strict=True))
        assert np.array_equal(np.asarray(info["rank"]), np.asarray(info_too["rank"]))


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
def test_carry_is_the_recurrence(decay: float, bank: EpisodeBank) -> None:
    core = CarryCore(bank, "inv-rank", scale=0.7, decay=decay)
    actions = actions_for(core, 0.8)
    seen, rank, _, _ = stepped(core, actions)
    for row in range(6):
        c = np.zeros(8)
        for t in range(LENGTHS[row]):
            assert seen[row, t, -8:].numpy() == pytest.approx((c / 0.7).astype(np.float32), abs=1e-6)
            assert torch.equal(seen[row, t, :-8], core.bank.features[row, t])
            a = actions[row, t].double().numpy()
            c = np.clip(decay * c + 0.7 * a / max(1, np.abs(a).max()), -0.7, 0.7)
            moved = core.base[row, t].numpy() + c
            near = core.gallery.numpy() @ (moved / np.linalg.norm(moved))
            assert rank[row, t] == (near >= near[core.bank.targets[row]] - 1e-9).sum()


def test_what_is_carried_is_forgotten_with_the_episode(bank: EpisodeBank) -> None:
    core = CarryCore(bank, "inv-rank")
    state = core.reset(torch.arange(4), sketch=torch.tensor([0, 1, 2, 3]))
    outcome = core.step(state, torch.ones(4, 8))
    assert outcome.terminated.tolist() == [False, True, False, False]
    assert (core.observe(outcome.state)[:, -8:] == 1).all()  # the last observation of a drawing of one step too
    after = core.next_episode(outcome.state, outcome.terminated)
    assert core.observe(after)[:, -8:].sum(dim=1).tolist() == [8, 0, 8, 8]


def test_zero_actions_are_the_baseline(bank: EpisodeBank) -> None:
    plain = Core(bank, "inv-rank").score(torch.arange(6), torch.zeros(6, 7, 8))
    carry = CarryCore(bank, "inv-rank").score(torch.arange(6), torch.zeros(6, 7, 8))
    assert all(map(torch.equal, plain, carry))
    stop = StopCore(bank, stroke_cost=0).score(torch.arange(6), torch.zeros(6, 7, 9))
    last = torch.arange(6), bank.lengths - 1
    assert torch.equal(stop.rank, plain.rank)
    assert torch.equal(stop.reward.sum(dim=1), plain.reward[last])


# Stop ------------------------------------------------------------------------------------------------------


def test_stop_by_hand(bank: EpisodeBank) -> None:
    """Drawings of 7, 1, 2, 3, 5, 7 steps; shown at steps 3, 1, 2 (the end), 3 (the end), 1 and 7 (the end)."""
    core = StopCore(bank, stroke_cost=0.25)
    actions = torch.zeros(6, 7, 9)
    actions[..., :8] = actions_for(core)[..., :8]
    actions[0, 2:, 8] = 1
    actions[0, 1, 8] = -1
    actions[3, 3:, 8] = 1  # after the end of its drawing
    actions[4, 0, 8] = 0.001
    plain = Core(bank, "inv-rank").score(torch.arange(6), actions[..., :8])
    shown = [3, 1, 2, 3, 1, 7]
    score = core.score(torch.arange(6), actions)
    assert core.shown(torch.arange(6), actions).tolist() == shown
    assert score.valid.sum(dim=1).tolist() == shown
    for row, last in enumerate(shown):
        assert score.reward[row, : last - 1].tolist() == [-0.25] * (last - 1)
        assert score.reward[row, last - 1] == plain.reward[row, last - 1]
        assert not score.reward[row, last:].any()
        assert not score.rank[row, last:].any()
        assert torch.equal(score.rank[row, :last], plain.rank[row, :last])
        value = 100 * (1 / plain.rank[row, last - 1] - 0.25 * (last - 1))
        assert float(core.value(score)[row]) == pytest.approx(float(value))


def test_the_frame_that_was_shown_stays(bank: EpisodeBank) -> None:
    env = gym.make("sketchless/Stop-v0", bank=bank)
    env.reset(seed=1, options={"sketch_id": "sketch-0"})
    action = np.zeros(9, np.float32)
    env.step(action)
    action[-1] = 1
    observation, reward, terminated, truncated, info = env.step(action)
    assert (terminated, truncated, info["step"], reward) == (True, False, 2, 1 / info["rank"])
    assert np.array_equal(observation, bank.features[0, 1].numpy())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("task", ["carry", "stop"])
@pytest.mark.parametrize("place", [0, -1])
def test_an_action_that_is_not_finite_is_an_error(
    bad: float, task: str, place: int, bank: EpisodeBank, refuses: Refuses
) -> None:
    core = make_core(task, bank, "inv-rank")
    actions = torch.zeros(6, 7, core.action_dim)
    actions[2, 0, place] = bad
    with refuses(DataError, "must be finite numbers"):
        core.score(torch.arange(6), actions)
    with refuses(DataError, "must be finite numbers"):
        core.step(core.reset(torch.arange(6)), actions[:, 0])


# Both ------------------------------------------------------------------------------------------------------


MINE = RewardScheme("mine", lambda step: step.rank * 1.5 - step.previous_rank + step.target_similarity)


@pytest.mark.parametrize(
    ("task", "reward"),
    [("carry", "inv-rank"), ("carry", combined(gamma2=1)), ("carry", MINE), ("stop", "inv-rank"), ("stop", MINE)],
)
def test_stepping_equals_scoring_and_playing(task: str, reward: Any, bank: EpisodeBank) -> None:
    core = make_core(task, bank, reward)
    for seed in range(3):
        actions = actions_for(core, seed=seed)
        seen, rank, paid, lengths = stepped(core, actions)
        score = core.score(torch.arange(6), actions, "online")
        assert torch.equal(rank, score.rank)
        assert torch.equal(paid, score.reward)
        assert torch.equal(lengths, score.valid.sum(dim=1))
        given = iter(actions.unbind(1))
        observed, played = core.play(torch.arange(6), lambda _, given=given: next(given))
        assert torch.equal(played, actions)
        assert torch.equal(observed * score.valid.unsqueeze(2), seen * score.valid.unsqueeze(2))


def test_a_core_over_another_bank_keeps_its_settings(bank: EpisodeBank, make_bank: MakeBank) -> None:
    other = make_bank(n=4)
    assert CarryCore(bank, scale=0.5, decay=0.3).over(other, "inv-rank").own_settings == {"decay": 0.3}
    stop = StopCore(bank, observation="embedding", stroke_cost=0.1).over(other, "top5")
    assert (stop.own_settings, stop.observation, stop.reward.name) == ({"stroke_cost": 0.1}, "embedding", "top5")
    assert type(Core(bank).over(other, "top5")) is Core


@pytest.mark.parametrize(
    ("task", "settings", "match"),
    [
        ("cary", {}, "unknown task 'cary': did you mean 'carry'?"),
        ("carry", {"decay": 1.5}, "decay=1.5: the share that is left"),
        ("carry", {"decay": "x"}, "decay='x'"),
        ("carry", {"decay": True}, "decay=True"),
        ("stop", {"stroke_cost": None}, "stroke_cost=None"),
        ("carry", {"mode": "absolute"}, "mode 'absolute': what is carried"),
        ("carry", {"stroke_cost": 1.0}, "stroke_cost=1.0: the task 'carry' does not have it, 'stop' does"),
        ("stop", {"stroke_cost": -1.0}, "stroke_cost=-1.0: must be a finite number of 0 or more"),
        ("stop", {"mode": "absolute"}, "mode 'absolute'"),
        ("stop", {"reward": "combined"}, "reward 'combined' compares lists, and one alone is shown"),
        ("on-the-fly", {"decay": 0.5}, "the task 'on-the-fly' does not have it, 'carry' does"),
    ],
)
def test_what_a_task_does_not_know_is_refused(
    task: str, settings: dict[str, Any], match: str, bank: EpisodeBank, refuses: Refuses
) -> None:
    with refuses(ConfigError, match):
        OnTheFlyVectorEnv(2, bank, device="cpu", task=task, **{"reward": "inv-rank", **settings})


@pytest.mark.parametrize("number", [np.float32(0.5), np.int64(1), torch.tensor(0.25)])
def test_settings_are_numbers_of_any_type(number: Any, bank: EpisodeBank) -> None:
    assert CarryCore(bank, decay=number).own_settings == {"decay": float(number)}
    assert StopCore(bank, stroke_cost=number).own_settings == {"stroke_cost": float(number)}


@pytest.mark.parametrize("kind", [OnTheFlyEnv, OnTheFlyVectorEnv])
def test_an_unknown_keyword_is_pythons_own_error_too(kind: Any, bank: EpisodeBank) -> None:
    # TorchRL's GymEnv gives every environment a `frameskip`, and takes it back where this is raised
    more = {"num_envs": 2} if kind is OnTheFlyVectorEnv else {}
    with pytest.raises(TypeError, match=r"^unexpected keyword argument 'frameskip': choose one of"):
        kind(bank=bank, frameskip=1, **more)
    with pytest.raises(ConfigError, match=r"^unexpected keyword argument 'decai': did you mean 'decay'\?$"):
        kind(bank=bank, decai=0.5, **more)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
@pytest.mark.parametrize("task", ["carry", "stop"])
def test_the_vector_environment_keeps_the_rules(task: str, mode: str, bank: EpisodeBank) -> None:
    name, reward = f"sketchless/{task.capitalize()}-v0", "inv-rank"
    check_vector_env(
        lambda n: OnTheFlyVectorEnv(n, bank, reward=reward, device="cpu", autoreset_mode=mode, task=task),
        lambda: gym.make(name, bank=bank, reward=reward, device="cpu").unwrapped,
        steps=25,
    )


@pytest.mark.parametrize("name", ["Carry", "Stop"])
def test_the_single_environment_keeps_the_rules_of_others(name: str, bank: EpisodeBank) -> None:
    check_env(gym.make(f"sketchless/{name}-v0", bank=bank).unwrapped, skip_render_check=True)
    check_env_sb3(gym.make(f"sketchless/{name}-v0", bank=bank))


@pytest.mark.parametrize("task", ["carry", "stop"])
def test_stable_baselines3_plays_the_single_episodes(task: str, bank: EpisodeBank) -> None:
    vec = SketchVecEnv(3, bank, reward="inv-rank", device="cpu", task=task)
    vec.seed(11)
    seen = vec.reset()
    singles = [gym.make(f"sketchless/{task.capitalize()}-v0", bank=bank, reward="inv-rank") for _ in range(3)]
    for row, env in enumerate(singles):
        assert np.array_equal(env.reset(seed=11 + row)[0], seen[row])
    rng = np.random.default_rng(0)
    for _ in range(20):
        action = rng.uniform(-1, 1, (3, vec.core.action_dim)).astype(np.float32)
        seen, paid, done, infos = vec.step(action)
        for row, env in enumerate(singles):
            observation, reward, terminated, _, info = env.step(action[row])
            assert (paid[row], done[row]) == (reward, terminated)
            if terminated:
                assert np.array_equal(infos[row]["terminal_observation"], observation)
                assert (infos[row]["rank"], infos[row]["episode"]["l"]) == (info["rank"], info["step"])
                observation, _ = env.reset()
            assert np.array_equal(observation, seen[row])


# What actions change ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("OnTheFly", (False, False, False)),
        ("Strokes", (False, False, False)),
        ("Carry", (True, False, True)),
        ("Stop", (False, True, False)),
    ],
)
def test_which_ids_are_bandits(name: str, found: tuple[bool, ...], make_bank: MakeBank) -> None:
    bank = make_bank(n=12, steps=7, photos=40)
    make = lambda: gym.make(f"sketchless/{name}-v0", bank=bank, reward="inv-rank")  # noqa: E731
    bandit = name in ("OnTheFly", "Strokes")
    assert make().unwrapped.core.bandit == bandit
    assert tuple(check_actions_matter(make, bandit, episodes=3)) == found
    with pytest.raises(BrokenRule) as caught:
        check_actions_matter(make, not bandit, episodes=3)
    assert caught.value.rule == ("actions matter" if bandit else "bandit")


def test_the_trajectory_part_looks_back_where_nothing_else_does() -> None:
    found = check_actions_matter(lambda: gym.make("sketchless/OnTheFly-v0"), bandit=True, episodes=2)
    assert tuple(found) == (False, False, True)


def test_every_registered_id_was_looked_at() -> None:
    ours = {name.removeprefix("sketchless/").removesuffix("-v0") for name in gym.registry if "sketchless/" in name}
    assert ours == set(IDS)


class Blank(gym.Env[Any, Any]):
    """A bandit of four steps whose observations and pay are NaN."""

    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.left = 4
        return np.full(2, math.nan, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.left -= 1
        return np.full(2, math.nan, np.float32), math.nan, self.left == 0, False, {}


def test_nan_is_no_difference() -> None:
    found = check_actions_matter(Blank, bandit=True, episodes=1)
    assert found == (False, False, False)


def test_what_is_found_are_pythons_own_truths() -> None:
    found = check_actions_matter(lambda: gym.make("Pendulum-v1", max_episode_steps=5), bandit=False, episodes=1)
    assert list(map(repr, found)) == ["True", "False", "True"]  # its rewards are numpy's
