"""The vector environment: B episodes at once, in numpy or in tensors on a device."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeVar, cast

import gymnasium as gym
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor
from typing_extensions import Unpack

from sketchless.datasets.checks import as_count, as_seed
from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.encoders.bank import EpisodeBank

from .core import State, Transition, choose
from .info import cleared, no_step_info, step_info
from .inputs import as_action, as_autoreset_mode, as_render_mode
from .keywords import EnvKeywords, open_core, with_length
from .rendering.camera import Camera
from .wrappers import to_numpy

Result = TypeVar("Result", bound=tuple[Any, ...])


class OnTheFlyVectorEnv(VectorEnv):
    """`num_envs` sketching episodes side by side; see `OnTheFlyEnv` for what is observed, done and paid.

    Observations, rewards and flags are arrays, with `tensors=True` tensors on `device`: float32 [B, D], float64 [B],
    bool [B]; actions may be either. `info` holds the same: `step`, `sketch` and `photo` (rows of the bank and of
    its gallery), and of the step just made `rank`, `percentile`, `reciprocal_rank`, `is_success` and `reward_terms`,
    which are 0 where nothing is ranked yet.

    Sub-environment i plays the same episodes as a single environment with seed s + i after `reset(seed=s)`,
    or with seed s[i] after `reset(seed=[...])`. `reset()`, or None among the seeds, begins the next episode; in
    the very first reset it takes a seed from `np_random`, as in a single environment. `np_random_seed` tells the
    seeds of all.

    What follows the end of an episode is chosen by `autoreset_mode` and declared in `metadata`:

    `SAME_STEP` (default): the next episode begins within the same step. The returned observation and `step`,
        `sketch` and `photo` are of the new episode, all else is about the step just made. `info["final_obs"]`
        [B, D] holds the last observation of the old one and `info["final_info"]` what it ended with, both
        valid where `info["_final_obs"]` [B] is True and absent where no episode ended.
    `NEXT_STEP`: the next step only begins the new episode there: its action is ignored, its reward 0, and
        `rank` and the like are 0, marked False in `info["_rank"]` [B].
    `DISABLED`: nothing; `reset(options={"reset_mask": mask})` [B] begins the next episode where asked, in any
        mode, and leaves the others as they are.

    Args:
        num_envs: B, 1 or more.
        bank, split, reward, mode, observation, scale, device, dataset, task: as for `OnTheFlyEnv`.
        tensors: torch tensors that never leave the device, in place of numpy arrays.
        autoreset_mode: an `AutoresetMode` or its value, such as `"NextStep"`.
        max_episode_steps: truncate episodes after so many steps; by default none is. As with gymnasium's `TimeLimit`,
            an episode of just so many frames ends both ways at once.
        render_mode: `"rgb_array"` or `"ansi"`; `render` gives one picture per environment.

    Raises:
        ConfigError: `num_envs` or `max_episode_steps` that is no whole number of 1 or more, an unknown option.
    """

    _spec: EnvSpec | None = None
    metadata: dict[str, Any] = {  # noqa: RUF012 (the base class declares it so)
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "render_modes": ["rgb_array", "ansi"],
        "render_fps": 4,
    }

    def __init__(
        self,
        num_envs: int = 1,
        bank: EpisodeBank | str | os.PathLike[str] = "procedural",
        *,
        tensors: bool = False,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        max_episode_steps: int | None = None,
        **keywords: Unpack[EnvKeywords],
    ) -> None:
        num_envs = as_count("num_envs", num_envs, 1)
        limit = None if max_episode_steps is None else as_count("max_episode_steps", max_episode_steps, 1)
        self.core = open_core(bank, **keywords)
        self.num_envs, self.tensors, self.max_episode_steps = num_envs, tensors, limit
        self.single_observation_space = gym.spaces.Box(-1.0, 1.0, (self.core.observation_dim,), np.float32)
        self.single_action_space = gym.spaces.Box(-1.0, 1.0, (self.core.action_dim,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.autoreset_mode = as_autoreset_mode(autoreset_mode)
        self.metadata = self.metadata | {"autoreset_mode": self.autoreset_mode}
        self.render_mode = as_render_mode(keywords.get("render_mode"), self.metadata["render_modes"])
        self._camera = Camera(self.core, self.render_mode, keywords.get("dataset"))
        self._limit = limit or self.core.n_steps + 1  # which no episode reaches
        self._state: State | None = None
        self._played: State | None = None  # where the last actions were played
        self._outcome: Transition | None = None
        self._ended = torch.zeros(num_envs, dtype=torch.bool, device=self.core.device)  # and not begun anew
        self._ranked = self._ended  # whose last step still belongs to the episode on show

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        mask = self._mask(options or {})
        if seed is None and self._state is not None:
            self._state = self.core.next_episode(self._state, mask)
        else:
            self._state = self._begun(self._seeds(seed), mask)
        self._ended, self._ranked = self._ended & ~mask, self._ranked & ~mask
        info = {"step": self._state.step.clone()} | self._names(self._state)
        if self._outcome is None:
            info |= no_step_info(self.num_envs, self.core.device)
        else:
            info |= cleared(self._told(self._outcome), ~self._ranked)
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            info["_rank"] = self._ranked.clone()
        return self._given((self.core.observe(self._state), info))

    @property
    def spec(self) -> EnvSpec | None:
        """As `gym.make_vec` sets it, with the steps of an episode where all have as many."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = with_length(spec, self.core)

    @property
    def np_random_seed(self) -> Any:
        """Seeds of all environments, as gymnasium's `SyncVectorEnv` has them; before a reset that of `np_random`."""
        return super().np_random_seed if self._state is None else tuple(self._state.seed.tolist())

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        if self._state is None:
            raise ConfigError("step called before the first reset: call reset first")
        given = as_action(actions, (self.num_envs, self.core.action_dim), self.core.device)
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            return self._given(self._step_or_begin(self._state, given))
        if self.autoreset_mode is AutoresetMode.DISABLED and bool(self._ended.any()):
            where = self._ended.nonzero().flatten().tolist()
            raise ConfigError(f"step called after the end of episodes {where}: reset them with a reset_mask")
        played, outcome, truncated = self._play(self._state, given)
        ended = outcome.terminated | truncated
        info = self._info(played, outcome)
        self._state = outcome.state
        if self.autoreset_mode is AutoresetMode.DISABLED:
            self._ended = ended
        elif bool(ended.any()):
            self._state = self.core.next_episode(outcome.state, ended)
            self._ranked = ~ended
            final = info
            info = final | self._names(self._state) | {"step": final["step"].masked_fill(ended, 0)}
            info |= {"final_obs": self.core.observe(outcome.state), "_final_obs": ended}
            info |= {"final_info": _copied(final), "_final_info": ended.clone()}
        observation = self.core.observe(self._state)
        return self._given((observation, outcome.reward, outcome.terminated, truncated, info))

    def _given(self, result: Result) -> Result:
        converted: Result = result if self.tensors else to_numpy(result)
        return converted

    def render(self) -> tuple[Any, ...] | None:
        """One picture or text per environment. Raises ConfigError before the first reset."""
        if self.render_mode is None:
            gym.logger.warn("render() needs a render_mode: make the environments with render_mode='rgb_array'")
            return None
        if self._state is None:
            raise ConfigError("render called before the first reset: call reset first")
        rows = range(self.num_envs)
        return tuple(
            self._camera.picture(self._played, row, self._outcome)
            if bool(self._ranked[row])
            else self._camera.picture(self._state, row, None)
            for row in rows
        )

    def _play(self, state: State, actions: Tensor) -> tuple[State, Transition, Tensor]:
        outcome = self.core.step(state, actions)
        truncated = state.step + 1 >= self._limit
        self._played, self._outcome = state, outcome
        self._ranked = torch.ones_like(truncated)
        return state, outcome, truncated

    def _step_or_begin(self, state: State, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """`NEXT_STEP`: begin where an episode has ended, step elsewhere."""
        begins = self._ended
        state = self.core.next_episode(state, begins)
        played, outcome, truncated = self._play(state, actions.masked_fill(begins.unsqueeze(1), 0.0))
        terminated, truncated = outcome.terminated & ~begins, truncated & ~begins
        told = {"step": state.step + 1} | self._told(outcome)
        info = cleared(told, begins) | self._names(played) | {"_rank": ~begins}
        self._state = choose(begins, state, outcome.state)
        self._ended, self._ranked = terminated | truncated, ~begins
        reward = outcome.reward.masked_fill(begins, 0)
        return self.core.observe(self._state), reward, terminated, truncated, info

    def _mask(self, options: dict[str, Any]) -> Tensor:
        for name in options:
            if name != "reset_mask":
                raise unknown_name("reset option", name, ["reset_mask"])
        everywhere = torch.ones(self.num_envs, dtype=torch.bool, device=self.core.device)
        if "reset_mask" not in options:
            return everywhere
        try:
            mask = torch.as_tensor(options["reset_mask"], device=self.core.device)
        except (TypeError, ValueError, RuntimeError):
            mask = torch.tensor(torch.nan)
        if mask.dtype != torch.bool or mask.shape != everywhere.shape:
            raise ConfigError(f"reset_mask is {mask.dtype} {tuple(mask.shape)}: want booleans [{self.num_envs}]")
        if self._state is None and not mask.all():
            raise ConfigError("reset_mask before the first reset: reset all environments first")
        return mask

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if np.ndim(cast(Any, seed)) == 0:
            first = as_seed(seed)
            return [(first + i) % 2**63 for i in range(self.num_envs)]
        seeds = [None if one is None else as_seed(one) for one in cast(Sequence[int | None], seed)]
        if len(seeds) != self.num_envs:
            raise ConfigError(f"{len(seeds)} seeds for {self.num_envs} environments: give one each or just one")
        return seeds

    def _begun(self, seeds: list[int | None], mask: Tensor) -> State:
        """Where `mask`, the first episode of a seed; the next one where that is None."""
        if self._state is None and None in seeds:
            drawn = self.np_random.integers(2**63, size=self.num_envs).tolist()
            seeds = [new if one is None else one for one, new in zip(seeds, drawn, strict=True)]
        first = self.core.reset(torch.tensor([one or 0 for one in seeds], device=self.core.device))
        if self._state is None:
            return first
        seeded = mask & torch.tensor([one is not None for one in seeds], device=self.core.device)
        return choose(seeded, first, self.core.next_episode(self._state, mask & ~seeded))

    def _names(self, state: State) -> dict[str, Any]:
        return {"sketch": state.sketch.clone(), "photo": self.core.bank.targets[state.sketch]}

    def _info(self, before: State, outcome: Transition) -> dict[str, Any]:
        return {"step": before.step + 1, **self._names(before), **self._told(outcome)}

    def _told(self, outcome: Transition) -> dict[str, Any]:
        return step_info(outcome.rank, self.core.n_photos, outcome.terms)


def _copied(info: dict[str, Any]) -> dict[str, Any]:
    """Info that shares no memory with the given one."""
    return {name: _copied(value) if isinstance(value, dict) else value.clone() for name, value in info.items()}
