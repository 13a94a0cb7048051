"""The vector environment: B episodes at once, torch tensors from end to end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from sketchless.datasets.errors import ConfigError
from sketchless.encoders.bank import EpisodeBank

from .core import Core, State, Transition
from .inputs import as_action, as_seed, open_bank
from .ranking import percentile
from .rewards import Local, RewardScheme


class OnTheFlyVectorEnv(VectorEnv):
    """`num_envs` sketching episodes side by side; see `OnTheFlyEnv` for what is observed, done and paid.

    Observations, rewards and flags are tensors on `device`: float32 [B, D], float64 [B], bool [B]; actions
    may be tensors or arrays. `info` holds tensors too: `step`, `sketch` and `photo` (rows of the bank and of
    its gallery), and after a step `rank`, `percentile`, `reciprocal_rank`, `is_success` and `reward_terms`.

    Sub-environment i plays the same episodes as a single environment with seed s + i after `reset(seed=s)`,
    or with seed s[i] after `reset(seed=[...])`. `reset()` begins the next episode of each; if it is the very
    first reset, their seeds come from `np_random`, as in a single environment.

    An episode that ends is followed by the next one within the same step (`SAME_STEP`): the returned
    observation and `step`, `sketch` and `photo` are of the new episode, all else is about the step just made.
    `info["final_obs"]` [B, D] holds the last observation of the old one and `info["final_info"]` what it
    ended with, both valid where `info["_final_obs"]` [B] is True and absent where no episode ended.

    Args:
        num_envs: B, 1 or more.
        bank, split, reward, mode, observation, scale, device: as for `OnTheFlyEnv`.

    Raises:
        ConfigError: `num_envs` below 1, an unknown option.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (the base class declares it so)
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "render_modes": [],
    }

    def __init__(
        self,
        num_envs: int = 1,
        bank: EpisodeBank | str | os.PathLike[str] = "procedural",
        *,
        split: str = "train",
        reward: str | Local | RewardScheme = "combined",
        mode: str = "residual",
        observation: str = "feature",
        scale: float = 1.0,
        device: str | torch.device = "auto",
    ) -> None:
        if num_envs < 1:
            raise ConfigError(f"num_envs={num_envs}: a vector environment needs one or more")
        self.core = Core(open_bank(bank, split, device), reward, mode, observation, scale)
        self.num_envs = num_envs
        self.single_observation_space = gym.spaces.Box(-1.0, 1.0, (self.core.observation_dim,), np.float32)
        self.single_action_space = gym.spaces.Box(-1.0, 1.0, (self.core.action_dim,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._state: State | None = None

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        for name in options or {}:
            raise ConfigError(f"unknown reset option {name!r}: a vector environment has none")
        if self._state is not None and seed is None:
            everywhere = torch.ones_like(self._state.seed, dtype=torch.bool)
            self._state = self.core.next_episode(self._state, everywhere)
        else:
            self._state = self.core.reset(self._seeds(seed))
        info = {"step": torch.zeros_like(self._state.step)} | self._names(self._state)
        return self.core.observe(self._state), info

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        if self._state is None:
            raise ConfigError("step called before the first reset: call reset first")
        before = self._state
        given = as_action(actions, (self.num_envs, self.core.action_dim), self.core.device)
        outcome = self.core.step(before, given)
        ended = outcome.terminated
        self._state = self.core.next_episode(outcome.state, ended)
        info = self._info(before, outcome)
        if bool(ended.any()):
            final = info
            info = final | self._names(self._state) | {"step": final["step"].masked_fill(ended, 0)}
            info |= {"final_obs": self.core.observe(outcome.state), "_final_obs": ended}
            info |= {"final_info": final, "_final_info": ended}
        return self.core.observe(self._state), outcome.reward, ended, torch.zeros_like(ended), info

    def _seeds(self, seed: int | Sequence[int] | None) -> Tensor:
        if seed is None:
            seeds = self.np_random.integers(2**63, size=self.num_envs).tolist()
        elif np.ndim(seed) == 0:
            first = as_seed(seed)
            seeds = [(first + i) % 2**63 for i in range(self.num_envs)]
        else:
            seeds = [as_seed(one) for one in cast(Sequence[int], seed)]
        if len(seeds) != self.num_envs:
            raise ConfigError(f"{len(seeds)} seeds for {self.num_envs} environments: give one each or just one")
        return torch.tensor(seeds, device=self.core.device)

    def _names(self, state: State) -> dict[str, Any]:
        return {"sketch": state.sketch.clone(), "photo": self.core.bank.targets[state.sketch]}

    def _info(self, before: State, outcome: Transition) -> dict[str, Any]:
        return {
            "step": before.step + 1,
            **self._names(before),
            "rank": outcome.rank,
            "percentile": percentile(outcome.rank, self.core.n_photos),
            "reciprocal_rank": 1 / outcome.rank.double(),
            "is_success": outcome.rank == 1,
            "reward_terms": outcome.terms._asdict(),
        }
