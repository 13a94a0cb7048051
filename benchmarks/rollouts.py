"""A policy's mean actions on every drawing of a bank, played in the policy's own environment.

A model is trained in one environment and measured on another bank. Mode, scale and observation come from its
environment, through every wrapper and vector environment around it. Wrappers that change what the policy sees or
does are copied and played through; wrappers that only watch, or change only rewards, are passed by.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium import wrappers
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv, VectorRewardWrapper, VectorWrapper
from gymnasium.wrappers import vector as vector_wrappers
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecMonitor,
    VecNormalize,
    VecVideoRecorder,
)
from torch import Tensor

from sketchless.agents.core_of import is_patched, plays_as
from sketchless.datasets.errors import ConfigError
from sketchless.encoders.bank import EpisodeBank
from sketchless.envs.core import Core, State, Transition
from sketchless.envs.gym_env import OnTheFlyEnv
from sketchless.envs.inputs import as_action
from sketchless.envs.rewards import RewardScheme
from sketchless.envs.sb3_env import SketchVecEnv
from sketchless.envs.stop import StopCore
from sketchless.envs.tasks import make_core
from sketchless.envs.vector_env import OnTheFlyVectorEnv
from sketchless.envs.wrappers import NormalizeReward, ToNumpy

# Exactly these classes: a subclass may do anything.
_WATCHING: frozenset[type] = frozenset(
    {
        Monitor,
        wrappers.Autoreset,
        wrappers.ClipReward,
        wrappers.HumanRendering,
        wrappers.NormalizeReward,
        wrappers.OrderEnforcing,
        wrappers.PassiveEnvChecker,
        wrappers.RecordEpisodeStatistics,
        wrappers.RecordVideo,
        wrappers.RenderCollection,
        wrappers.TimeLimit,  # a drawing is measured to its end
        wrappers.TransformReward,
        VecCheckNan,
        VecMonitor,
        VecVideoRecorder,
        NormalizeReward,
        ToNumpy,
        vector_wrappers.DictInfoToList,
        vector_wrappers.HumanRendering,
        vector_wrappers.NormalizeReward,
        vector_wrappers.RecordEpisodeStatistics,
        vector_wrappers.RecordVideo,
    }
)


# A subclass of these plays as they do, if its `step` and `reset` are theirs.
_SHELLS = (SketchVecEnv, OnTheFlyVectorEnv, DummyVecEnv, SubprocVecEnv, SyncVectorEnv, AsyncVectorEnv)
_DEFAULTS = {"mode": "residual", "observation": "feature", "scale": 1.0}
_ROWS = 32  # drawings played side by side through wrappers


class _Trained(NamedTuple):
    """The environment that a model knows."""

    settings: Mapping[str, Any]  # of its core
    reward: RewardScheme | str
    num_envs: int
    envs: list[gym.Env[Any, Any]] | None  # with their wrappers; None where none changes anything
    layers: list[VecEnvWrapper]  # vector wrappers that change something, outermost first


class Rollout(NamedTuple):
    """A policy's mean actions on every drawing of a bank.

    Attributes:
        core: ranks the bank as the policy's environment does, every frame.
        refinements: what the actions add to the embeddings there: [N, T, d].
        shown: step at which the list is shown, 1..T, where the policy decides that: int64 [N]; else None.
        stroke_cost: of a step before that.
    """

    core: Core
    refinements: Tensor
    shown: Tensor | None = None
    stroke_cost: float = 0.0


def mean_actions(policy: Any, bank: EpisodeBank, given: Mapping[str, Any], leak: bool = False) -> Rollout:
    """Play a policy on a bank, as in its own environment.

    Args:
        policy, bank, leak: as for `evaluate`.
        given: mode, observation and scale as the caller gives them; None: those of the policy's environment.

    Raises:
        ConfigError, DataError: as `evaluate`.
    """
    known = {name: value for name, value in given.items() if value is not None}
    if policy is None and known.get("mode", "residual") != "residual":
        raise ConfigError("the baseline B1 is the zero action of residual mode: leave mode out")
    if policy is None:
        return _ranked(_core(bank, known), lambda core: torch.zeros(*core.base.shape, device=core.device))
    if isinstance(getattr(policy, "core", None), Core):  # an agent of ours
        play = _of_whole_drawings if leak else _predicted
        return _ranked(_core(bank, {**policy.core.settings, **known}), lambda core: play(policy, core))
    if leak:
        raise ConfigError(f"leak=True is for agents of ours, {type(policy).__name__} is none: leave it out")
    if not hasattr(policy, "predict"):
        return _ranked(_core(bank, known), lambda core: core.play(_all(core), lambda x: _checked(policy(x), core))[1])
    env = policy.get_env() if hasattr(policy, "get_env") else getattr(policy, "env", None)
    trained = None if env is None else _find(env)
    core = _core(bank, _given_for(policy, bank, known) if trained is None else {**trained.settings, **known})
    if trained is None or (trained.envs is None and not trained.layers):
        _check_spaces(policy, core)
        return _ranked(core, lambda core: _predicted(policy, core))
    return _ranked(core, lambda core: _played(policy, trained, core))


def _core(bank: EpisodeBank, settings: Mapping[str, Any]) -> Core:
    """A core of those settings; its reward, which nobody sees, is one that every task takes."""
    own = {name: value for name, value in settings.items() if name not in ("task", "mode", "observation", "scale")}
    same = (settings.get(name, default) for name, default in _DEFAULTS.items())
    return make_core(settings.get("task", "on-the-fly"), bank, "inv-rank", *same, **own)


def _ranked(player: Core, play: Callable[[Core], Tensor]) -> Rollout:
    """What a policy does in its task, to be ranked by a core of the plain one."""
    with torch.no_grad():
        actions = play(player)
    core = Core(player.bank, "combined", player.mode, player.observation, player.scale)
    if isinstance(player, StopCore):
        shown = player.shown(_all(player), actions)
        return Rollout(core, player.refinements(actions), shown, player.stroke_cost)
    return Rollout(core, player.refinements(actions))


# What is known of the environment ----------------------------------------------------------------------------


def _given_for(policy: Any, bank: EpisodeBank, known: dict[str, Any]) -> dict[str, Any]:
    """Settings for a model without an environment. Raises ConfigError where they are not all given."""
    if "observation" not in known:
        # Where D is not d, the width of what the model sees tells.
        shape = getattr(getattr(policy, "observation_space", None), "shape", None)
        widths = {"feature": (bank.weight.shape[1],), "embedding": (bank.weight.shape[0],)}
        fitting = [name for name, width in widths.items() if width == shape]
        known |= {"observation": fitting[0]} if len(fitting) == 1 else {}
    needed = ["mode", "observation"] + ["scale"] * (known.get("mode") != "absolute")  # there only directions count
    if missing := [f"{name}=" for name in needed if name not in known]:
        raise ConfigError(
            f"{type(policy).__name__} has no environment that would tell how it was trained: "
            f"give {', '.join(missing)}, or load the model with its env"
        )
    return known


def _check_spaces(policy: Any, core: Core) -> None:
    """Raises ConfigError for a model of other spaces: another bank, or wrappers that are not here."""
    wanted = {"observation_space": core.observation_dim, "action_space": core.action_dim}
    for name, width in wanted.items():
        space, box = getattr(policy, name, None), gym.spaces.Box(-1.0, 1.0, (width,), np.float32)
        if isinstance(space, gym.Space) and space != box:
            raise ConfigError(
                f"{type(policy).__name__} has the {name} {space}, the bank {box}: "
                "take a bank of that width, or give the model the wrapped env that it was trained in (set_env)"
            )


def _find(env: Any) -> _Trained:
    """Settings and wrappers of an environment. Raises ConfigError for one that cannot be played elsewhere."""
    layers, base = [], env
    while isinstance(base, VecEnvWrapper):
        _check_unpatched(base)
        layers += [] if type(base) in _WATCHING else [base]
        base = base.venv
    while isinstance(base, VectorWrapper):
        _check_unpatched(base)
        if type(base) not in _WATCHING and not isinstance(base, VectorRewardWrapper):
            raise _unplayable(type(base).__name__, "around a gymnasium vector environment")
        base = base.env
    if isinstance(base, _SHELLS) and not plays_as(base, _SHELLS):
        raise _unplayable(type(base).__name__, "with a step or reset of its own")
    if isinstance(base, (SketchVecEnv, OnTheFlyVectorEnv)):
        return _Trained(base.core.settings, base.core.reward, base.num_envs, None, layers)
    if isinstance(base, (SubprocVecEnv, AsyncVectorEnv)):
        return _in_processes(base, layers)
    if isinstance(base, (DummyVecEnv, SyncVectorEnv)):
        return _in_sequence(list(base.envs), layers)
    if isinstance(base, gym.Env) and not isinstance(base, (VecEnv, VectorEnv)):
        return _in_sequence([base], layers)
    raise _not_ours(type(base).__name__)


def _in_sequence(envs: list[gym.Env[Any, Any]], layers: list[VecEnvWrapper]) -> _Trained:
    inner = [env.unwrapped for env in envs]
    if not all(isinstance(one, OnTheFlyEnv) for one in inner):
        raise _not_ours(envs[0])
    settings = [one.core_settings for one in inner if isinstance(one, OnTheFlyEnv)]
    for env in envs:
        for layer in (*_wrappers(env), env.unwrapped):
            _check_unpatched(layer)
    changing = [type(wrapper) for wrapper in _wrappers(envs[0]) if not _watches(wrapper)]
    _check_alike([{**one, "wrappers": _layers_of(env)} for one, env in zip(settings, envs, strict=True)])
    plain = not changing and type(inner[0]) is OnTheFlyEnv
    if len(envs) > 1 and wrappers.NormalizeObservation in changing:
        raise ConfigError(
            f"NormalizeObservation keeps other statistics in each of the {len(envs)} environments: use VecNormalize"
        )
    reward = inner[0].core.reward if isinstance(inner[0], OnTheFlyEnv) else "inv-rank"
    return _Trained(settings[0], reward, len(envs), None if plain else envs, layers)


def _in_processes(env: SubprocVecEnv | AsyncVectorEnv, layers: list[VecEnvWrapper]) -> _Trained:
    # Only plain values are asked for: what cannot be pickled would kill the process that is asked.
    try:
        texts: Sequence[Any] = env.env_method("__str__") if isinstance(env, SubprocVecEnv) else env.call("__str__")
        settings: Sequence[Any] = env.get_attr("core_settings")
    except (AttributeError, EOFError) as error:
        raise _not_ours(type(env).__name__) from error
    _check_alike(settings)
    watching = {kind.__name__ for kind in _WATCHING}
    for text in texts:
        around, *found = re.split(rf"<{OnTheFlyEnv.__name__}\b", str(text), maxsplit=1)
        changing = [name for name in re.findall(r"<(\w+)", around) if name not in watching]
        if changing or not found:
            raise _unplayable(changing[0] if changing else str(text), f"in the processes of {type(env).__name__}")
    return _Trained(settings[0], "inv-rank", env.num_envs, None, layers)


def _check_alike(settings: Sequence[Mapping[str, Any]]) -> None:
    for name in settings[0]:
        if len(values := {str(one[name]) for one in settings}) > 1:
            raise ConfigError(f"the model's environments differ in {name} ({', '.join(sorted(values))}): give it one")


def _check_unpatched(layer: Any) -> None:
    """Raises ConfigError where `step` or `reset` were replaced on the object: a copy would play in the old place."""
    if is_patched(layer):
        raise ConfigError(
            f"evaluate cannot play through a step or reset that was put on a {type(layer).__name__} itself: "
            "write it as a gymnasium.Wrapper"
        )


def _not_ours(env: object) -> ConfigError:
    return ConfigError(f"evaluate knows no drawings in the model's environment {env}: want one of ours")


def _unplayable(name: str, where: str) -> ConfigError:
    return ConfigError(
        f"evaluate cannot play through {name} {where}: give the model (set_env) a DummyVecEnv of such environments"
    )


def _wrappers(env: Any) -> Iterator[gym.Wrapper[Any, Any, Any, Any]]:
    """From the outermost one inwards."""
    while isinstance(env, gym.Wrapper):
        yield env
        env = env.env


def _layers_of(env: gym.Env[Any, Any]) -> str:
    """What changes an environment, and the spaces that come of it."""
    names = [type(wrapper).__name__ for wrapper in _wrappers(env) if not _watches(wrapper)]
    return f"{', '.join([*names, type(env.unwrapped).__name__])}: {env.observation_space}, {env.action_space}"


def _watches(wrapper: gym.Wrapper[Any, Any, Any, Any]) -> bool:
    """Whether it leaves observations, actions and the course of episodes alone."""
    kind = type(wrapper)
    only_rewards = (
        isinstance(wrapper, gym.RewardWrapper)
        and kind.step is gym.RewardWrapper.step
        and kind.reset is gym.Wrapper.reset
    )
    return kind in _WATCHING or only_rewards


# Playing -----------------------------------------------------------------------------------------------------


def _predicted(policy: Any, core: Core) -> Tensor:
    """Actions [N, T, d] of a model that sees the frames as they are, one after the other."""
    state, start = None, np.ones(len(core.bank), dtype=bool)

    def act(observation: Tensor) -> Tensor:
        nonlocal state, start
        seen = observation.cpu().numpy()
        action, state = policy.predict(seen, state=state, episode_start=start, deterministic=True)
        start = np.zeros_like(start)
        return _checked(action, core)

    return core.play(_all(core), act)[1]


def _of_whole_drawings(agent: Any, core: Core) -> Tensor:
    """Actions [N, T, d] of an agent of ours that sees all frames at once."""
    if not core.bandit:
        raise ConfigError(f"leak=True: in the task {core.task!r} later frames depend on actions; leave it out")
    return core.boxed(agent.policy(core.observations(_all(core))))


def _checked(action: Any, core: Core) -> Tensor:
    """An action of any array type for every drawing. Raises ConfigError for another shape, or one with masks."""
    return as_action(action, (len(core.bank), core.action_dim), core.device)


def _all(core: Core) -> Tensor:
    return torch.arange(len(core.bank), device=core.device)


def _played(policy: Any, trained: _Trained, core: Core) -> Tensor:
    """Actions [N, T, d] that reach the core through copies of the model's wrappers."""
    bank, rows = core.bank, trained.num_envs
    if all(isinstance(layer, VecNormalize) for layer in trained.layers):  # which fit any number of environments
        rows = min(max(rows, _ROWS), len(bank))
    inside = core.over(bank, trained.reward)
    listeners = [_Listener(inside) for _ in range(rows)]
    blank = OnTheFlyEnv(bank, reward="inv-rank", device=core.device, **core.settings)
    envs: list[Any] = trained.envs or [blank]
    around = [envs[row % len(envs)] for row in range(rows)]
    pairs = zip(around, listeners, strict=True)
    base = DummyVecEnv([partial(_env_around, env, listener) for env, listener in pairs])
    venv: Any = base
    for layer in reversed(trained.layers):
        venv = _layer_around(layer, venv)
    lengths = bank.lengths.tolist()
    actions = torch.zeros(*core.base.shape[:2], core.action_dim, dtype=torch.float64, device=core.device)
    for first in range(0, len(bank), rows):
        drawings = [min(first + row, len(bank) - 1) for row in range(rows)]  # the last block may repeat the last one
        for listener, drawing in zip(listeners, drawings, strict=True):
            listener.listen(drawing, lengths[drawing])
        base.set_options([{"sketch_id": bank.sketch_ids[drawing]} for drawing in drawings])
        observation, state, start = venv.reset(), None, np.ones(rows, dtype=bool)
        while not all(listener.heard for listener in listeners):
            action, state = policy.predict(observation, state=state, episode_start=start, deterministic=True)
            observation, _, start, _ = venv.step(action)
            for listener, ended in zip(listeners, start, strict=True):
                listener.check(bool(ended))
        for listener, drawing in zip(listeners, drawings, strict=True):
            actions[drawing, : lengths[drawing]] = torch.stack(listener.actions)
    return actions


class _Listener:
    """A core that keeps the actions of one episode."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.listen(0, 0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Listener:
        return self

    def listen(self, drawing: int, length: int) -> None:
        """Begin with an episode on a drawing."""
        self._drawing, self._length = drawing, length
        self.actions: list[Tensor] = []

    @property
    def heard(self) -> bool:
        return len(self.actions) == self._length

    def check(self, ended: bool) -> None:
        """Raises ConfigError where a wrapper ends the episode before the drawing ends."""
        if ended and not self.heard:
            raise ConfigError(
                f"a wrapper of the model's environment ends an episode after {len(self.actions)} of {self._length} "
                "frames: evaluate needs whole drawings, leave that wrapper out"
            )

    def step(self, state: State, action: Tensor) -> Transition:
        if not self.heard:
            if int(state.sketch) != self._drawing:
                raise ConfigError(
                    "a wrapper of the model's environment does not pass reset options on, which choose drawings"
                )
            self.actions.append(action[0])
        outcome = self._core.step(state, action)
        # A drawing is measured to its end, also where a task would end the episode before (`StopCore`).
        last = self._core.bank.lengths[state.sketch] - 1
        following = outcome.state._replace(step=torch.minimum(state.step + 1, last))
        return outcome._replace(state=following, terminated=state.step >= last)


def _env_around(env: Any, core: _Listener) -> Any:
    """A copy of an environment and its wrappers, on another core."""
    if not isinstance(env, gym.Wrapper):
        return env.on(core)
    inner = _env_around(env.env, core)
    if _watches(env):
        return inner
    twin = _copied(env, {id(env.env): inner})
    if isinstance(twin, wrappers.NormalizeObservation):
        twin.update_running_mean = False
    return twin


def _layer_around(layer: VecEnvWrapper, venv: VecEnv) -> Any:
    """A copy of a vector wrapper around another vector environment."""
    kept = layer.class_attributes  # class members, which cannot be copied
    twin = _copied(layer, {id(layer.venv): venv, id(kept): kept})
    if isinstance(twin, VecNormalize):
        twin.training, twin.num_envs, twin.returns = False, venv.num_envs, np.zeros(venv.num_envs)
    return twin


def _copied(wrapper: Any, memo: dict[int, Any]) -> Any:
    """A deep copy with some parts replaced, whatever a class says of copies of its own."""
    twin = object.__new__(type(wrapper))
    try:
        twin.__dict__.update(copy.deepcopy(vars(wrapper), memo))
    except Exception as error:  # a wrapper may hold anything
        fault = str(error).partition("\n")[0]
        raise ConfigError(
            f"evaluate cannot play through {type(wrapper).__name__}, which cannot be copied ({fault}): leave it out"
        ) from error
    return twin
