"""Which environments agents train on, and which wrappers they would ignore."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium import wrappers
from gymnasium.wrappers import vector
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecCheckNan, VecFrameStack, VecMonitor, VecNormalize

from sketchless.agents import PPOAClip, make_agent
from sketchless.agents.core_of import core_of
from sketchless.datasets import CheckpointError, ConfigError
from sketchless.encoders import EpisodeBank
from sketchless.envs import Core, NormalizeReward, OnTheFlyEnv, ToNumpy
from sketchless.envs.sb3_env import SketchVecEnv


class Negated(gym.RewardWrapper[Any, Any]):
    def reward(self, reward: Any) -> Any:
        return -float(reward)


class Named(gym.Wrapper[Any, Any, Any, Any]):
    """Changes nothing."""

    title = "mine"


class Patient(wrappers.TimeLimit):
    """Changes an end."""

    def step(self, action: Any) -> Any:
        return super().step(action)


class Paying(OnTheFlyEnv):
    def step(self, action: Any) -> Any:
        observation, _, *rest = super().step(action)
        return observation, 0.0, *rest


def patched(env: Any, part: Any) -> Any:
    """An environment with another `step` on one of its parts, where no class shows it."""
    before = part.step
    part.step = lambda action: before(-action)
    return env


class Retitled(OnTheFlyEnv):
    """The same by another name."""


@pytest.fixture
def bank(make_bank) -> EpisodeBank:
    made: EpisodeBank = make_bank(n=6, steps=5)
    return made


def one(bank: EpisodeBank, **kwargs: Any) -> Any:
    return gym.make("sketchless/OnTheFly-v0", bank=bank, **kwargs)


def many(bank: EpisodeBank) -> Any:
    return gym.make_vec("sketchless/OnTheFly-v0", num_envs=2, bank=bank, device="cpu")


def short(bank: EpisodeBank, steps: int) -> Any:
    return gym.make_vec("sketchless/OnTheFly-v0", num_envs=2, bank=bank, device="cpu", max_episode_steps=steps)


def theirs(bank: EpisodeBank) -> SketchVecEnv:
    return SketchVecEnv(2, bank, device="cpu")


HARMLESS: list[Callable[[EpisodeBank], Any]] = [
    Core,
    one,
    many,
    theirs,
    Retitled,
    lambda bank: Monitor(one(bank)),
    lambda bank: wrappers.RecordEpisodeStatistics(one(bank)),
    lambda bank: wrappers.TimeLimit(one(bank), 5),
    lambda bank: short(bank, 5),
    lambda bank: wrappers.OrderEnforcing(wrappers.PassiveEnvChecker(OnTheFlyEnv(bank))),
    lambda bank: Named(one(bank)),
    lambda bank: Monitor(Named(wrappers.RenderCollection(one(bank, render_mode="rgb_array")))),
    lambda bank: vector.RecordEpisodeStatistics(ToNumpy(many(bank))),
    lambda bank: VecCheckNan(theirs(bank)),
]
IGNORED: list[tuple[str, Callable[[EpisodeBank], Any]]] = [
    ("Negated", lambda bank: Negated(one(bank))),
    ("Negated", lambda bank: Monitor(Named(Negated(one(bank))))),
    ("RescaleAction", lambda bank: wrappers.RescaleAction(one(bank), -2.0, 2.0)),
    ("ClipAction", lambda bank: wrappers.ClipAction(one(bank))),
    ("TransformReward", lambda bank: wrappers.TransformReward(one(bank), lambda r: r)),
    ("TransformObservation", lambda bank: wrappers.TransformObservation(one(bank), lambda o: o, None)),
    ("TimeAwareObservation", lambda bank: wrappers.TimeAwareObservation(wrappers.TimeLimit(one(bank), 5))),
    ("NormalizeReward", lambda bank: wrappers.NormalizeReward(one(bank))),
    ("StickyAction", lambda bank: wrappers.StickyAction(one(bank), 0.1)),
    ("TimeLimit to 3 of 5 frames", lambda bank: wrappers.TimeLimit(one(bank), 3)),
    ("OnTheFlyVectorEnv to 3 of 5 frames", lambda bank: short(bank, 3)),
    ("Monitor around", lambda bank: patched(env := Monitor(one(bank)), env)),
    ("OnTheFlyEnv with a step or reset of its own", lambda bank: patched(env := one(bank), env.unwrapped)),
    ("Patient", lambda bank: Patient(one(bank), 5)),
    ("Paying with a step or reset of its own", Paying),
    ("NormalizeReward", lambda bank: NormalizeReward(many(bank))),
    ("RescaleAction", lambda bank: vector.RescaleAction(ToNumpy(many(bank)), -2.0, 2.0)),
    ("VecNormalize", lambda bank: VecNormalize(theirs(bank))),
    ("VecFrameStack", lambda bank: VecFrameStack(theirs(bank), 2)),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("made", HARMLESS)
def test_wrappers_that_change_nothing_pass(made: Callable[[EpisodeBank], Any], bank: EpisodeBank) -> None:
    assert core_of(made(bank)).bank.sketch_ids == bank.sketch_ids


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("name", "made"), IGNORED)
def test_a_wrapper_that_would_be_ignored_is_refused_by_name(
    name: str, made: Callable[[EpisodeBank], Any], bank: EpisodeBank, refuses, tmp_path: Path
) -> None:
    with refuses(ConfigError, f"^{name} .*would be ignored.*env.unwrapped"):
        make_agent("ppo-a-clip", made(bank))
    make_agent("ppo-a-clip", Core(bank)).save(tmp_path / "a.safetensors")
    with refuses(CheckpointError, f"{name} .*would be ignored"):
        PPOAClip.load(tmp_path / "a.safetensors", made(bank))


def test_a_vec_monitor_passes(bank: EpisodeBank) -> None:
    with pytest.warns(UserWarning, match="already wrapped"):
        env = VecMonitor(theirs(bank))
    assert core_of(env).bank.sketch_ids == bank.sketch_ids


def test_other_environments_are_refused(refuses) -> None:
    with refuses(ConfigError, "no sketchless environment"):
        core_of(gym.make("CartPole-v1"))
    with refuses(ConfigError, "no sketchless environment"):
        core_of(None)
