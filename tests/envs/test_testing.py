"""Every check lets the faultless pass, and names the one rule that a faulty one breaks."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from torch import Tensor
from torch.nn.functional import pad

from sketchless.agents import make_agent
from sketchless.datasets import ConfigError
from sketchless.encoders.bank import EpisodeBank
from sketchless.envs import REWARDS, CarryCore, OnTheFlyEnv, OnTheFlyVectorEnv, RewardScheme, combined
from sketchless.envs.core import Play
from sketchless.envs.rewards import Step, shaped
from sketchless.envs.testing import RULES, BrokenRule, check_agent, check_causal, check_reward, check_vector_env

MakeBank = Callable[..., EpisodeBank]
MODES = list(AutoresetMode)
SAME, NEXT, DISABLED = AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED


class Tiny(gym.Env[Any, Any]):
    """Episodes of one to four steps that show random numbers and pay for the action."""

    observation_space: gym.Space[Any] = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space: gym.Space[Any] = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(1, 5))
        self.shown = self.observe()
        return self.shown.copy(), {"left": self.left}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward = self.pay(action)
        self.left -= 1
        self.shown = 0.5 * self.shown + 0.5 * self.observe()
        return self.shown.copy(), reward, self.left == 0, False, {"left": self.left, "more": {"reward": reward}}

    def observe(self) -> Any:
        return self.np_random.uniform(-1, 1, 2).astype(np.float32)

    def pay(self, action: Any) -> float:
        return 3 + float(action @ self.shown)


class Nested(Tiny):
    """The same in dicts and whole numbers."""

    observation_space = gym.spaces.Dict({"a": Tiny.observation_space, "b": gym.spaces.Discrete(5)})
    action_space = gym.spaces.Tuple([gym.spaces.Discrete(3), Tiny.action_space])

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        shown, info = super().reset(**options)
        return {"a": shown, "b": self.left}, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        shown, reward, terminated, truncated, info = super().step(action)
        return {"a": shown, "b": self.left}, reward, terminated, truncated, info

    def pay(self, action: Any) -> float:
        return 3 + int(action[0]) + float(action[1] @ self.shown)


def sync(num_envs: int, mode: AutoresetMode = SAME, env: type[Tiny] = Tiny, **options: Any) -> SyncVectorEnv:
    return SyncVectorEnv([env] * num_envs, autoreset_mode=mode, **options)


# The faultless ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("env", [Tiny, Nested])
def test_gymnasium_passes(mode: AutoresetMode, env: type[Tiny]) -> None:
    check_vector_env(lambda n: sync(n, mode, env), env)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("lengths", [[4, 1, 2, 3, 5, 5], None], ids=["own lengths", "equal lengths"])
def test_ours_passes(mode: AutoresetMode, lengths: list[int] | None, make_bank: MakeBank) -> None:
    bank, reward = make_bank(n=6, steps=5, lengths=lengths), combined(gamma2=1)
    check_vector_env(
        lambda n: OnTheFlyVectorEnv(n, bank, reward=reward, device="cpu", autoreset_mode=mode),
        lambda: OnTheFlyEnv(bank, reward=reward),
        steps=20,
    )


def test_no_single_environment_is_needed() -> None:
    check_vector_env(sync)


def test_float32_rewards_need_only_be_those_of_the_single_environment_rounded() -> None:
    class Rounded(VectorWrapper[Any, Any, Any, Any, Any]):
        def step(self, actions: Any) -> Any:
            observation, reward, *rest = super().step(actions)
            return observation, reward.astype(np.float32), *rest

    check_vector_env(lambda n: Rounded(sync(n)), Tiny)


# Vector environments, each with one fault ------------------------------------------------------------------


class Faulty(VectorWrapper[Any, Any, Any, Any, Any]):
    """Changes what comes out of a right one."""

    env: Any

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return self.change(self.env.reset(seed=seed, options=options))

    def step(self, actions: Any) -> Any:
        return self.change(self.env.step(actions))

    def change(self, result: Any) -> Any:
        return result


class OtherActions(Faulty):
    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.action_space = gym.spaces.Box(-1, 1, (self.num_envs, 3), np.float32)


class Outside(Faulty):
    def change(self, result: Any) -> Any:
        return result[0] * 2, *result[1:]


class Doubles(Faulty):
    def change(self, result: Any) -> Any:
        return result[0].astype(np.float64), *result[1:]


class Column(Faulty):
    def change(self, result: Any) -> Any:
        return (result[0], result[1][:, None], *result[2:]) if len(result) == 5 else result


class Integers(Faulty):
    def change(self, result: Any) -> Any:
        return (*result[:2], result[2].astype(int), *result[3:]) if len(result) == 5 else result


class Lists(Faulty):
    def change(self, result: Any) -> Any:
        return (*result[:3], result[3].tolist(), result[4]) if len(result) == 5 else result


class NoDict(Faulty):
    def change(self, result: Any) -> Any:
        return *result[:-1], [result[-1]]


class LateNaN(Faulty):
    calls = 0

    def change(self, result: Any) -> Any:
        self.calls += 1
        return (np.full_like(result[0], np.nan), *result[1:]) if self.calls == 9 else result


class InfiniteReward(LateNaN):
    def change(self, result: Any) -> Any:
        self.calls += 1
        return (result[0], result[1] + np.inf, *result[2:]) if self.calls == 9 else result


class InfiniteInfo(Faulty):
    def change(self, result: Any) -> Any:
        return *result[:-1], result[-1] | {"more": {"deep": np.array([1, np.inf, 1])[: self.num_envs]}}


class OneBuffer(Faulty):
    """Also returns the flags of the step before once more."""

    def change(self, result: Any) -> Any:
        if len(result) == 2:
            return result
        self.flags = getattr(self, "flags", result[2].copy())
        self.flags[:] = result[2]
        return *result[:2], self.flags, *result[3:]


class TwiceInOneResult(Faulty):
    def change(self, result: Any) -> Any:
        return *result[:-1], result[-1] | {"observation": result[0][:, 1:]}


class GivesActionsBack(Faulty):
    def step(self, actions: Any) -> Any:
        *result, info = super().step(actions)
        return *result, info | {"action": actions}


class InObjects(Faulty):
    """Info that gymnasium does not copy: arrays of an object each."""

    def change(self, result: Any) -> Any:
        states = np.empty(self.num_envs, object)
        states[:] = [env.shown for env in self.env.envs]
        return *result[:-1], result[-1] | {"state": states}


class AllBeginTogether(Faulty):
    """Where one episode has ended, the others are cut short."""

    def step(self, actions: Any) -> Any:
        result = super().step(actions)
        if result[2].any():
            observation = self.env.reset()[0]
            return observation, *result[1:]
        return result


class IgnoresTheMask(Faulty):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return self.env.reset(seed=seed)


class Mixes(Faulty):
    def change(self, result: Any) -> Any:
        return (result[0], result[1] + result[1].mean(), *result[2:]) if len(result) == 5 else result


class Blends(Faulty):
    def change(self, result: Any) -> Any:
        return (result[0] + result[0].mean(axis=0)) / 2, *result[1:]


class OwnSeeds(Faulty):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        seed = [self.num_envs * seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
        return self.env.reset(seed=seed, options=options)


class NoSeeds(Faulty):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return self.env.reset(seed=None, options=options)


class OneSeed(Faulty):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return self.env.reset(seed=[seed] * self.num_envs if isinstance(seed, int) else seed, options=options)


class Says(Faulty):
    """Declares something else than it does."""

    mode: Any = None

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.metadata = env.metadata | {"autoreset_mode": self.mode}


class SaysNext(Says):
    mode = NEXT


class SaysSame(Says):
    mode = SAME


class SaysDisabled(Says):
    mode = DISABLED


class NoFinalMask(Faulty):
    def change(self, result: Any) -> Any:
        return *result[:-1], {name: value for name, value in result[-1].items() if name != "_final_obs"}


class FinalIsTheNext(Faulty):
    def change(self, result: Any) -> Any:
        if "final_obs" in result[-1]:
            result[-1]["final_obs"][:] = [*result[0].copy()]
        return result


class KeepsTheOld(Faulty):
    """After an end it shows the last observation, not the first of the next episode."""

    def change(self, result: Any) -> Any:
        for i in (result[2] if len(result) == 5 else np.zeros(0, bool)).nonzero()[0]:
            result[0][i] = result[-1]["final_obs"][i]
        return result


class PaysForBeginning(Faulty):
    def change(self, result: Any) -> Any:
        if len(result) == 5:
            begun, self.over = getattr(self, "over", result[2] & False), result[2]
            result[1][begun] = 0.5
        return result


class PaysDouble(Faulty):
    def change(self, result: Any) -> Any:
        return (result[0], 2 * result[1], *result[2:]) if len(result) == 5 else result


class Truncates(Faulty):
    def change(self, result: Any) -> Any:
        return (*result[:2], result[3], result[2], result[4]) if len(result) == 5 else result


@pytest.mark.parametrize(
    ("rule", "fault", "mode"),
    [
        ("spaces", OtherActions, SAME),
        ("spaces", Outside, NEXT),
        ("types", Doubles, SAME),
        ("types", Column, DISABLED),
        ("types", Integers, SAME),
        ("types", Lists, SAME),
        ("types", NoDict, SAME),
        ("finite", LateNaN, SAME),
        ("finite", InfiniteReward, NEXT),
        ("finite", InfiniteInfo, SAME),
        ("memory", OneBuffer, SAME),
        ("memory", TwiceInOneResult, SAME),
        ("memory", GivesActionsBack, NEXT),
        ("memory", InObjects, SAME),
        ("isolation", AllBeginTogether, SAME),
        ("isolation", Blends, NEXT),
        ("isolation", IgnoresTheMask, DISABLED),
        ("isolation", Mixes, SAME),
        ("seeding", OwnSeeds, SAME),
        ("seeding", NoSeeds, SAME),
        ("seeding", OneSeed, DISABLED),
        ("autoreset", Says, SAME),
        ("autoreset", SaysNext, SAME),
        ("autoreset", SaysSame, NEXT),
        ("autoreset", SaysDisabled, SAME),
        ("autoreset", NoFinalMask, SAME),
        ("autoreset", FinalIsTheNext, SAME),
        ("autoreset", KeepsTheOld, SAME),
        ("autoreset", PaysForBeginning, NEXT),
        ("single", PaysDouble, SAME),
        ("single", PaysDouble, DISABLED),
        ("single", Truncates, SAME),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_fault_of_a_vector_environment_is_named(
    rule: str, fault: Callable[[VectorEnv[Any, Any, Any]], VectorEnv[Any, Any, Any]], mode: AutoresetMode
) -> None:
    with pytest.raises(BrokenRule) as caught:
        check_vector_env(lambda n: fault(sync(n, mode)), Tiny)
    assert caught.value.rule == rule
    assert str(caught.value).startswith(f"{rule}: {RULES[rule]}; ")


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_gymnasium_without_copies_shares_memory(mode: AutoresetMode) -> None:
    with pytest.raises(BrokenRule, match=r"^memory: .*result 1 shares it with .*result 0"):
        check_vector_env(lambda n: sync(n, mode, copy=False), Tiny)


class Walk(VectorEnv[Any, Any, Any]):
    """In tensors: each environment walks as it is told, from a place that its seed says, for two to four steps."""

    metadata = {"autoreset_mode": SAME}  # noqa: RUF012 (the base class declares it so)
    single_observation_space = single_action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, num_envs: int, leaks: bool = False) -> None:
        self.num_envs, self.leaks = num_envs, leaks
        self.observation_space = self.action_space = gym.spaces.Box(-1, 1, (num_envs, 1), np.float32)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Tensor, dict[str, Any]]:
        self.seeds = torch.as_tensor(seed if isinstance(seed, list) else range(seed, seed + self.num_envs))
        self.time = torch.zeros(self.num_envs, dtype=torch.int64)
        self.place = self.begin()
        return self.shown(), {}

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        assert isinstance(actions, Tensor)
        self.place = (self.place + 0.1 * actions).clamp(-1, 1)
        self.time = self.time + 1
        over = self.time == 2 + self.seeds % 3
        reward, info = self.place[:, 0].double() + 3, {}
        if over.any():
            info = {"final_obs": self.place.clone(), "_final_obs": over.clone()}
        self.time = self.time.masked_fill(over, 0)
        self.place = torch.where(over[:, None], self.begin(), self.place)
        return self.shown(), reward, over, torch.zeros_like(over), info

    def begin(self) -> Tensor:
        return (self.seeds % 7 / 7)[:, None]

    def shown(self) -> Tensor:
        return self.place if self.leaks else self.place.clone()


def test_a_state_that_is_returned_is_found_by_overwriting_it() -> None:
    check_vector_env(Walk)
    with pytest.raises(BrokenRule, match=r"^memory: .*once it is overwritten, environment 0 differs at step 1"):
        check_vector_env(lambda n: Walk(n, leaks=True))


def test_what_breaks_down_when_it_is_overwritten_is_found_too() -> None:
    class Strict(Walk):
        def step(self, actions: Tensor) -> Any:
            assert (self.place.abs() <= 1).all()
            return super().step(actions)

    with pytest.raises(BrokenRule, match=r"^memory: .*once it is overwritten, step fails"):
        check_vector_env(lambda n: Strict(n, leaks=True))


def test_an_environment_of_another_size_is_refused() -> None:
    with pytest.raises(BrokenRule, match=r"^spaces: .*observation_space is not 4 times single_observation_space"):
        check_vector_env(lambda n: sync(3), num_envs=4)


def test_an_autoreset_that_is_never_seen_is_not_passed() -> None:
    with pytest.raises(BrokenRule, match=r"^autoreset: .*no episode ended within 60 steps"):
        check_vector_env(lambda n: SyncVectorEnv([lambda: gym.make("Pendulum-v1")] * n))


# Rewards ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REWARDS)
def test_registered_rewards_pass(name: str) -> None:
    check_reward(name)


def test_other_rewards_pass() -> None:
    check_reward(combined(gamma1=0, gamma2=3, tau_normalized=False))
    check_reward(lambda rank, size: (rank <= size // 10).int())
    check_reward(RewardScheme("change", lambda rank, size: 1 / rank, lambda before, after: -(after**2)), sizes=[7])


def half_a_margin(step: Step) -> Tensor:
    return (step.target_similarity - step.rival_similarity) / step.step


def test_rewards_of_a_step_pass() -> None:
    check_reward(half_a_margin)
    check_reward(lambda step: (step.similarity[:, :1] < step.similarity).sum(dim=1) - step.tau_after)
    check_reward(shaped("inv-rank", lambda rank, size: -rank, 0.9))


def scheme(trajectory: Callable[[Tensor, Tensor], Any]) -> RewardScheme:
    return RewardScheme("mine", lambda rank, size: 1 / rank.double(), trajectory)


def grows(rank: Tensor, size: int) -> Tensor:
    worth = 1 / rank.double()
    rank += 1
    return worth


def drifts(rank: Tensor, size: int, count: list[int] = [0]) -> Tensor:  # noqa: B006 (it is to remember)
    count[0] += 1
    return 1 / rank.double() + count[0]


@pytest.mark.parametrize(
    ("rule", "reward"),
    [
        ("reward numbers", lambda rank, size: 1 / (rank.double() - 1)),
        ("reward numbers", lambda rank, size: float("nan") * rank),
        ("reward numbers", lambda rank, size: (1 / rank).sum()),
        ("reward numbers", lambda rank, size: [1 / r for r in rank.tolist()]),
        ("reward numbers", lambda rank, size: torch.complex(1 / rank, 1 / rank)),
        ("reward numbers", scheme(lambda before, after: -after / before)),
        ("reward inputs", grows),
        ("reward inputs", scheme(lambda before, after: -after.sub_(before).clamp_min_(0))),
        ("reward repeats", drifts),
        ("reward elementwise", lambda rank, size: -rank / rank.double().mean()),
        ("reward elementwise", lambda rank, size: -torch.arange(len(rank)).expand(rank.shape)),
        ("reward elementwise", scheme(lambda before, after: -after / after.max().clamp_min(1e-9))),
        ("reward order", lambda rank, size: rank.double()),
        ("reward order", lambda rank, size: (rank - 3).abs().neg()),
        ("reward order", lambda step: step.rank - step.best_rank),
        ("reward elementwise", lambda step: -step.rank / step.step.double().mean()),
        ("reward repeats", lambda step: drifts(step.rank, step.n_photos)),
        ("reward numbers", lambda step: (step.rank - step.rank[:1]).double().log()),
        ("reward trajectory", scheme(lambda before, after: before - after)),
        ("reward trajectory", scheme(lambda before, after: after - 1)),
    ],
)  # fmt: skip
def test_a_fault_of_a_reward_is_named(rule: str, reward: Any) -> None:
    with pytest.raises(BrokenRule) as caught:
        check_reward(reward)
    assert caught.value.rule == rule


# Policies --------------------------------------------------------------------------------------------------


def frames(length: int = 6) -> Tensor:
    return torch.randn(4, length, 3, generator=torch.Generator().manual_seed(0))


class Running:
    """An agent that answers with the mean of the frames so far."""

    def predict(self, observation: Any, state: Any, episode_start: Any, deterministic: bool) -> tuple[Any, Any]:
        assert deterministic
        assert episode_start.all() if state is None else not episode_start.any()
        total, count = state or (0, 0)
        total, count = total + observation, count + 1
        return total / count, (total, count)


class Remembers(Running):
    """Knows the drawings it has seen before, and answers with their last frame."""

    def __init__(self) -> None:
        self.ends: dict[bytes, Any] = {}

    def predict(self, observation: Any, state: Any, episode_start: Any, deterministic: bool) -> tuple[Any, Any]:
        first = observation.tobytes() if state is None else state
        known = self.ends.get(first, observation)
        self.ends[first] = observation.copy()
        return known, first


def window(shift: int) -> Callable[[Tensor], Tensor]:
    """Sum of the frames up to so many after each one."""
    return lambda x: torch.stack([x[:, : max(t + 1 + shift, 1)].sum(dim=1) for t in range(x.shape[1])], dim=1)


def test_causal_policies_pass() -> None:
    check_causal(Running(), frames())
    check_causal(Running(), frames().numpy())
    check_causal(torch.nn.utils.skip_init(torch.nn.Linear, 3, 2).requires_grad_(False).apply(fill), frames())
    check_causal(window(0), frames(), whole=True)
    check_causal(window(-2), frames(), whole=True)
    check_causal(lambda x: np.cumsum(x, axis=1)[..., 0], frames().numpy(), whole=True)
    check_causal(torch.nn.Identity(), frames(1), whole=True)


def fill(module: torch.nn.Module) -> None:
    for parameter in module.parameters():
        torch.nn.init.ones_(parameter)


@pytest.mark.parametrize(
    ("change", "policy"),
    [
        ("blanking", window(1)),
        ("blanking", lambda x: x - x.mean(dim=1, keepdim=True)),
        ("blanking", lambda x: x + (x == 0).any()),
        ("reversing", lambda x: x + (x[:, -1].abs().sum() > x[:, -2].abs().sum())),
        ("replacing", lambda x: x + (x[:, -1].sum() < 0)),
    ],
)
def test_a_policy_that_sees_ahead_is_named(change: str, policy: Any) -> None:
    fading = frames().abs() * torch.linspace(9, 1, 6)[:, None]  # as they are, only the first two look at anything
    with pytest.raises(BrokenRule, match=f"^causal: .*{change} frames 1 and on, from 0, changes an action before them"):
        check_causal(policy, fading, whole=True)


def test_only_the_frames_ahead_of_an_action_count() -> None:
    def peeks_once(x: Tensor) -> Tensor:
        return torch.cat([x[:, :4], x[:, 4:5] + x[:, 5:6], x[:, 5:]], dim=1)

    with pytest.raises(BrokenRule, match=r"^causal: .*blanking frames 5 and on"):
        check_causal(peeks_once, frames(), whole=True)
    with pytest.raises(BrokenRule, match=r"^causal"):
        check_causal(lambda x: x + 1e-6 * x.sum(), frames(), whole=True)
    check_causal(lambda x: x + 1e-6 * x.sum(), frames(), whole=True, tolerance=1e-3)


def test_an_agent_that_knows_the_end_from_before_is_named() -> None:
    with pytest.raises(BrokenRule, match=r"^repeats"):
        check_causal(Remembers(), frames())
    agent = Remembers()
    for t in range(6):
        agent.predict(frames()[:, t].numpy(), frames()[:, 0].numpy().tobytes() if t else None, np.ones(4, bool), True)
    with pytest.raises(BrokenRule, match=r"^causal: "):
        check_causal(agent, frames())


@pytest.mark.parametrize(
    ("rule", "policy"),
    [
        ("actions", lambda x: x.sum(dim=0)),
        ("actions", lambda x: x * torch.nan),
        ("repeats", lambda x: x + random.random()),
    ],
)
def test_a_fault_of_a_policy_is_named(rule: str, policy: Any) -> None:
    with pytest.raises(BrokenRule) as caught:
        check_causal(policy, frames())
    assert caught.value.rule == rule


# Agents ----------------------------------------------------------------------------------------------------


class Agent:
    """Learns the mean of what it draws."""

    env: Any = SimpleNamespace(observation_space=Tiny.observation_space, action_space=Tiny.action_space)

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.weights = np.zeros((2, 2))

    def get_env(self) -> Any:
        return self.env

    def learn(self, total_timesteps: int) -> Any:
        self.weights += self.rng.normal(size=(2, 2)) * total_timesteps
        return self

    def predict(self, observation: Any, deterministic: bool = False) -> Any:
        if not np.isfinite(observation).all():
            raise ValueError("not finite")
        action = np.tanh(observation @ self.weights) + (0 if deterministic else self.rng.normal(size=observation.shape))
        return action.clip(-1, 1).astype(np.float32), None

    def save(self, path: Path) -> None:
        path.write_text(str(self.weights.tolist()))

    @classmethod
    def load(cls, path: Path, env: Any) -> Agent:
        assert env is cls.env
        agent = cls(0)
        agent.weights = np.array([[float(x) for x in path.read_text().strip("[]").replace("], [", ", ").split(", ")]])
        agent.weights = agent.weights.reshape(2, 2)
        return agent


class LearnsInSilence(Agent):
    def learn(self, total_timesteps: int) -> Any:
        super().learn(total_timesteps)


class ActsOutside(Agent):
    def predict(self, observation: Any, deterministic: bool = False) -> Any:
        return super().predict(observation, deterministic)[0] + 1, None


class ActsForOne(Agent):
    def predict(self, observation: Any, deterministic: bool = False) -> Any:
        return super().predict(np.atleast_2d(observation)[0], deterministic)


class ActsInDoubles(Agent):
    def predict(self, observation: Any, deterministic: bool = False) -> Any:
        return super().predict(observation, deterministic)[0].astype(np.float64), None


class AlwaysDraws(Agent):
    def predict(self, observation: Any, deterministic: bool = False) -> Any:
        return super().predict(observation, False)


class NoSeed(Agent):
    def __init__(self, seed: int) -> None:
        super().__init__(np.random.SeedSequence().entropy)  # type: ignore[arg-type]


class DrawsFromPython(Agent):
    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        random.random()


class DrawsFromNumpy(Agent):
    def learn(self, total_timesteps: int) -> Any:
        np.random.random()  # noqa: NPY002
        return super().learn(total_timesteps)


class DrawsFromTorch(Agent):
    def predict(self, observation: Any, deterministic: bool = False) -> Any:
        torch.rand(1)
        return super().predict(observation, deterministic)


class SeedsOnLoading(Agent):
    @classmethod
    def load(cls, path: Path, env: Any) -> Agent:
        torch.manual_seed(0)
        return super().load(path, env)


class Forgets(Agent):
    @classmethod
    def load(cls, path: Path, env: Any) -> Agent:
        return cls(0)


class AnswersNaN(Agent):
    def predict(self, observation: Any, deterministic: bool = False) -> Any:
        if np.isfinite(observation).all():
            return super().predict(observation, deterministic)
        return observation, None


class AnswersZero(AnswersNaN):
    def predict(self, observation: Any, deterministic: bool = False) -> Any:
        return np.nan_to_num(super().predict(observation, deterministic)[0]), None


def test_a_right_agent_passes() -> None:
    check_agent(Agent)
    check_agent(AnswersZero)


@pytest.mark.parametrize(
    ("rule", "agent"),
    [
        ("learn", LearnsInSilence),
        ("actions", ActsOutside),
        ("actions", ActsForOne),
        ("actions", ActsInDoubles),
        ("repeats", AlwaysDraws),
        ("same seed", NoSeed),
        ("global random state", DrawsFromPython),
        ("global random state", DrawsFromNumpy),
        ("global random state", DrawsFromTorch),
        ("global random state", SeedsOnLoading),
        ("save and load", Forgets),
        ("not a number", AnswersNaN),
    ],
)
def test_a_fault_of_an_agent_is_named(rule: str, agent: type[Agent]) -> None:
    with pytest.raises(BrokenRule) as caught:
        check_agent(agent)
    assert caught.value.rule == rule


def test_rules_that_are_known_not_to_hold_can_be_left_out() -> None:
    check_agent(DrawsFromNumpy, skip=["global random state"])
    check_agent(Forgets, skip=["save and load", "learn"])


@pytest.mark.parametrize("as_arrays", [False, True])
def test_in_a_task_in_which_actions_matter_a_policy_sees_what_they_brought_about(make_bank, as_arrays: bool) -> None:
    core = CarryCore(make_bank(n=4, steps=5), "inv-rank", decay=0.0)
    shown = core.frames.numpy() if as_arrays else core.frames
    seen: list[Any] = []

    def policy(x: Any) -> Any:
        seen.append(x)
        return x[:, : core.action_dim] / 2

    check_causal(policy, shown, core=core)
    assert all(x.shape == (4, core.observation_dim) and type(x) is type(shown) for x in seen)
    for before, after in itertools.pairwise(seen[:5]):  # of the first game
        assert (after[:, -core.action_dim :] == before[:, : core.action_dim] / 2).all()


def test_an_agent_of_ours_is_checked_in_its_own_task(make_bank) -> None:
    core = CarryCore(make_bank(n=4, steps=5), "inv-rank")
    agent = make_agent("vpg", core, learning_rate=0.1, samples=2).learn(200)
    check_causal(agent, core.frames)
    with pytest.raises(ConfigError, match="whole=True in the task carry"):
        check_causal(agent, core.frames, whole=True)


def test_a_task_that_shows_what_is_to_come_is_named(make_bank) -> None:
    class Leaks(CarryCore):
        def play(self, sketches: Tensor, act: Play) -> tuple[Tensor, Tensor]:
            last = pad(self.frames[:, -1], (0, self.embedding_dim))
            return super().play(sketches, lambda seen: act(seen + last))

    core = Leaks(make_bank(n=4, steps=3), "inv-rank")
    with pytest.raises(BrokenRule, match=r"^causal: .*blanking frames 1 and on"):
        check_causal(lambda x: x[:, : core.action_dim], core.frames, core=core)
