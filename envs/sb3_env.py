"""The environment for stable-baselines3: B episodes at once, as its `VecEnv` or in tensors."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn
from torch import Tensor
from typing_extensions import Unpack

from sketchless.datasets.checks import as_count, as_seed
from sketchless.datasets.errors import ConfigError
from sketchless.encoders.bank import EpisodeBank

from .core import Core, State, Terms, Transition
from .info import by_row, step_info
from .inputs import as_action, as_render_mode
from .keywords import EnvKeywords, open_core
from .rendering.camera import Camera

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class StepInfos(Sequence[dict[str, Any]]):
    """What one step ended: tensors [B] on the device that count where `done`, and B infos as `SketchVecEnv` gives them.

    The infos are made when first looked at: a rollout that never looks pays nothing for them.
    """

    done: Tensor
    """bool"""
    returns: Tensor
    """float64, sum of the episode's rewards so far"""
    lengths: Tensor
    """int64, its steps so far"""
    rank: Tensor
    """int64, of this step"""
    terms: Terms
    """float64, what this step paid, by part"""
    seconds: float
    """since the environment was made"""
    core: Core
    state: State
    """after this step, before the next episodes begin"""
    every: bool = False
    """whether environments whose episode goes on have an info of their own"""

    @cached_property
    def infos(self) -> list[dict[str, Any]]:
        infos: list[dict[str, Any]] = [{}] * len(self.done)
        if self.every:
            infos = by_row(step_info(self.rank, self.core.n_photos, self.terms))
        rows = self.done.nonzero().squeeze(1)
        state = State(*(part[rows] for part in self.state))
        last = self.core.observe(state).cpu().numpy()
        terms = Terms(*(term[rows] for term in self.terms))
        steps = by_row(step_info(self.rank[rows], self.core.n_photos, terms))
        columns = (rows.tolist(), self.returns[rows].tolist(), self.lengths[rows].tolist())
        for observation, step, row, total, length in zip(last, steps, *columns, strict=True):
            infos[row] = {
                "terminal_observation": observation.copy(),
                "TimeLimit.truncated": False,
                "episode": {"r": total, "l": length, "t": self.seconds},
                **step,
            }
        return infos

    def __len__(self) -> int:
        return len(self.done)

    def __getitem__(self, index: Any) -> Any:
        return self.infos[index]


class SketchVecEnv(VecEnv):
    """`num_envs` sketching episodes side by side for stable-baselines3; see `OnTheFlyEnv` for what they are.

    Observations float32 [B, D], rewards float64 [B] and dones bool [B] are new numpy arrays at every step.
    Episodes end because the drawing does: they *terminate* and are never truncated, so no value is
    bootstrapped beyond their end. The next one follows within the same step.

    Infos: B dicts. Environments whose episode goes on share one empty dict; one that ended has
    `terminal_observation` [D], `TimeLimit.truncated` (False), `episode` (`r` sum of rewards, `l` steps, `t`
    seconds since the environment was made), and of its last step `is_success` (rank 1), `rank` (1..G),
    `percentile`, `reciprocal_rank` and `reward_terms`. So no `Monitor` is needed, and nothing grows with time.
    With `step_infos=True` the others tell of their last step too.

    After `seed(s)` and `reset()`, environment i plays the same episodes as a single one with seed s + i. Each
    further `reset()` begins the next episode of each; without any `seed` the seeds come from the system.

    `reset_tensor` and `step_tensor` do the same without leaving the device.

    Args:
        num_envs: B, 1 or more.
        bank, split, reward, mode, observation, scale, device, dataset, task: as for `OnTheFlyVectorEnv`.
        step_infos: tell of every step, not only of those that end an episode; takes time.
        render_mode: `"rgb_array"`: `get_images` gives a picture per environment, `render` all of them as tiles.

    Raises:
        ConfigError: `num_envs` that is no whole number of 1 or more, an unknown option.
    """

    render_mode: str | None = None  # asked for by the base class before it sets it
    metadata: dict[str, Any]

    def __init__(
        self,
        num_envs: int = 1,
        bank: EpisodeBank | str | os.PathLike[str] = "procedural",
        *,
        step_infos: bool = False,
        **keywords: Unpack[EnvKeywords],
    ) -> None:
        num_envs = as_count("num_envs", num_envs, 1)
        self.core = open_core(bank, **keywords)
        self.render_mode = as_render_mode(keywords.get("render_mode"), ["rgb_array"])
        super().__init__(
            num_envs,
            gym.spaces.Box(-1.0, 1.0, (self.core.observation_dim,), np.float32),
            gym.spaces.Box(-1.0, 1.0, (self.core.action_dim,), np.float32),
        )
        self.metadata["render_fps"] = 4
        self._camera = Camera(self.core, self.render_mode, keywords.get("dataset"))
        self.step_infos = step_infos
        self._last: tuple[State, Transition] | None = None  # where the last actions were played, and their outcome
        self._began = time.monotonic()
        self._state: State | None = None
        self._returns = torch.zeros(num_envs, dtype=torch.float64, device=self.core.device)
        self._actions: Any = None

    # In tensors ------------------------------------------------------------------------------------------

    def reset_tensor(self) -> Tensor:
        """Begin an episode everywhere: observations float32 [B, D] on the device."""
        if self._state is not None and self._seeds[0] is None:
            everywhere = torch.ones_like(self._state.seed, dtype=torch.bool)
            self._state = self.core.next_episode(self._state, everywhere)
        else:
            if self._seeds[0] is None:
                self.seed()
            self._state = self.core.reset(torch.tensor(self._seeds, device=self.core.device))
        self._reset_seeds()
        self._last = None
        self._returns = torch.zeros_like(self._returns)
        return self.core.observe(self._state)

    def step_tensor(self, actions: Any) -> tuple[Tensor, Tensor, Tensor, StepInfos]:
        """One step everywhere.

        Args:
            actions: real numbers [B, d], an array or better a tensor on the device.

        Returns:
            Observations float32 [B, D], of the next episode where one ended; rewards float64 [B]; dones bool
            [B]; what ended. All on the device and new.

        Raises:
            ConfigError: before the first reset, or actions of another shape.
            DataError: actions that are not finite; the episodes stay where they are.
            RuntimeError: for such a tensor on a GPU, at the next synchronisation; see `Core.step`.
        """
        if self._state is None:
            raise ConfigError("step called before the first reset: call reset first")
        given = as_action(actions, (self.num_envs, self.core.action_dim), self.core.device)
        outcome = self.core.step(self._state, given)
        if self.render_mode is not None:
            self._last = self._state, outcome
        ended, after = outcome.terminated, outcome.state
        returns, lengths = self._returns + outcome.reward, self._state.step + 1
        seconds = time.monotonic() - self._began
        about = (outcome.rank, outcome.terms, seconds, self.core, after, self.step_infos)
        finals = StepInfos(ended, returns, lengths, *about)
        self._state = self.core.next_episode(after, ended)
        self._returns = returns.masked_fill(ended, 0)
        return self.core.observe(self._state), outcome.reward, ended, finals

    # As stable-baselines3 wants it -----------------------------------------------------------------------

    def reset(self) -> Array:
        observation: Array = self.reset_tensor().cpu().numpy()
        return observation

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        if self._actions is None:
            raise ConfigError("step_wait called without step_async: call step, or step_async first")
        actions, self._actions = self._actions, None
        observation, reward, done, finals = self.step_tensor(actions)
        return observation.cpu().numpy(), reward.cpu().numpy(), done.cpu().numpy(), finals.infos

    def get_images(self) -> list[npt.NDArray[np.uint8]]:
        """A picture uint8 [H, W, 3] per environment, all of one size; where an episode ended, of the next one.

        Raises:
            ConfigError: made without a render_mode, or before the first reset.
        """
        if self.render_mode is None:
            raise ConfigError("pictures need a render_mode: make the environments with render_mode='rgb_array'")
        if self._state is None:
            raise ConfigError("render called before the first reset: call reset first")
        if self._last is None:
            return [self._camera.picture(self._state, row, None) for row in range(self.num_envs)]
        played, outcome = self._last
        return [
            self._camera.picture(self._state, row, None) if over else self._camera.picture(played, row, outcome)
            for row, over in enumerate(outcome.terminated.tolist())
        ]

    def close(self) -> None:
        """Nothing to release; may be called again."""

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seeds seed + i for environments i from the next reset on; None draws `seed` from the system.

        Raises:
            ConfigError: not a whole number, or below 0.
        """
        first = int(np.random.default_rng().integers(2**63)) if seed is None else as_seed(seed)
        self._seeds = [(first + i) % 2**63 for i in range(self.num_envs)]
        return self._seeds

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        """There are no reset options. Raises ConfigError for any, and for what is no dict of them."""
        every = options if isinstance(options, list) else [{} if options is None else options]
        if not all(isinstance(one, dict) for one in every):
            raise ConfigError("reset options: want a dict, or a list of one for each environment")
        for name in chain.from_iterable(every):
            raise ConfigError(f"unknown reset option {name!r}: a vector environment has none")

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of this environment, once per index: the B are rows of one batch and share all."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of all. Raises ConfigError for some only: they share it."""
        if set(self._get_indices(indices)) != set(range(self.num_envs)):
            raise ConfigError(f"{attr_name!r} cannot be set for some environments only: they are rows of one batch")
        setattr(self, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Raises ConfigError: a row of a batch has no methods."""
        raise ConfigError(f"env_method({method_name!r}): environments are rows of one batch and have none")

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """False, except for `Monitor`: `episode` in the infos is what stable-baselines3 wants to know of it."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]
