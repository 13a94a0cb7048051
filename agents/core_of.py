"""The core behind an environment. Agents play on it, so a wrapper that changes the problem would be ignored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
from gymnasium import wrappers
from gymnasium.vector import VectorWrapper
from gymnasium.wrappers import vector
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecCheckNan, VecEnvWrapper, VecMonitor, VecVideoRecorder

from sketchless.datasets.errors import ConfigError
from sketchless.envs import OnTheFlyEnv, OnTheFlyVectorEnv, ToNumpy
from sketchless.envs.core import Core
from sketchless.envs.sb3_env import SketchVecEnv

# What these do in `step` and `reset` changes no observation, action, reward or end of an episode.
_HARMLESS: tuple[type[Any], ...] = (
    *(gym.Wrapper, wrappers.OrderEnforcing, wrappers.PassiveEnvChecker, wrappers.TimeLimit, wrappers.Autoreset),
    *(wrappers.RecordEpisodeStatistics, wrappers.RecordVideo, wrappers.RenderCollection, wrappers.HumanRendering),
    *(VectorWrapper, vector.RecordEpisodeStatistics, vector.RecordVideo, vector.HumanRendering, ToNumpy),
    *(vector.DictInfoToList, Monitor, VecMonitor, VecCheckNan, VecVideoRecorder),
)
_SHELLS = (OnTheFlyEnv, OnTheFlyVectorEnv, SketchVecEnv)
_PLAYING = ("step", "step_async", "step_wait", "reset")
_CONVERSIONS = ("array_conversion", "jax_to_numpy", "jax_to_torch", "numpy_to_torch")  # which need further packages


def core_of(env: Any) -> Core:
    """The core of an environment of ours, through wrappers that change nothing.

    Args:
        env: a `Core`, or a single, vector or `SketchVecEnv` environment, wrapped or not.

    Raises:
        ConfigError: another environment, or one with a wrapper or a `step` of its own that training on the core
            would ignore.
    """
    if isinstance(env, Core):
        return env
    layers = list(_layers(env))
    shell = layers.pop()
    if not isinstance(shell, _SHELLS):
        raise ConfigError(f"{type(env).__name__} is no sketchless environment: make one with sketchless/OnTheFly-v0")
    for layer in layers:
        if not (_is_conversion(layer) or plays_as(layer, _HARMLESS)):
            raise _ignored(layer, "around the environment")
    for layer in (*layers, shell):
        limit = _limit(layer)
        if limit is not None and limit < shell.core.n_steps:
            raise _ignored(layer, f"to {limit} of {shell.core.n_steps} frames")
    if not plays_as(shell, _SHELLS):
        raise _ignored(shell, "with a step or reset of its own")
    return shell.core


def _layers(env: Any) -> Iterator[Any]:
    """The environment and all that it wraps, from the outside inwards."""
    while isinstance(env, (gym.Wrapper, VectorWrapper, VecEnvWrapper)):
        yield env
        env = env.venv if isinstance(env, VecEnvWrapper) else env.env
    yield env


def plays_as(layer: Any, known: tuple[type[Any], ...]) -> bool:
    """Whether `step` and `reset` of an environment or wrapper are those of known classes, not others of its own."""
    return not is_patched(layer) and all(
        _method(type(layer), name) in {_method(one, name) for one in known} for name in _PLAYING
    )


def is_patched(layer: Any) -> bool:
    """Whether another `step` or `reset` was put on the object itself, where no class shows it."""
    return any(name in vars(layer) for name in _PLAYING)


def _limit(layer: Any) -> int | None:
    """Steps after which it ends every episode."""
    if isinstance(layer, wrappers.TimeLimit):
        return layer._max_episode_steps
    return layer.max_episode_steps if isinstance(layer, OnTheFlyVectorEnv) else None


def _method(kind: type[Any], name: str) -> Callable[..., Any] | None:
    return getattr(kind, name, None)


def _is_conversion(layer: Any) -> bool:
    return type(layer).__module__.rpartition(".")[2] in _CONVERSIONS


def _ignored(layer: Any, how: str) -> ConfigError:
    return ConfigError(
        f"{type(layer).__name__} {how} would be ignored, as agents train on the core: take it off (env.unwrapped, no "
        "max_episode_steps) and give reward=, mode=, observation= or scale= to the environment, or train with "
        "DevicePPO or stable-baselines3"
    )
