"""The vector environment: B episodes at once, torch tensors from end to end."""

from __future__ import annotations

import operator
import os
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.encoders.bank import EpisodeBank

from .core import Core, State, Transition
from .gym_env import open_bank
from .ranking import percentile
from .rewards import Local, RewardScheme


class OnTheFlyVectorEnv(VectorEnv):
    """`num_envs` sketching episodes side by side; see `OnTheFlyEnv` for what is observed, done and paid.

    Observations, rewards and flags are tensors on `device`: float32 [B, D], float64 [B], bool [B].
    Sub-environment i of `reset(seed=s)` plays the same episodes as a single environment with seed s + i.

    An episode that ends is followed by the next one within the same step (`SAME_STEP`): the returned observation
    is the first of the new episode, `info["final_obs"]` [B, D] holds the last of the old one and
    `info["final_info"]` what it ended with, both valid where `info["_final_obs"]` [B] is True.

    Args:
        num_envs: B, 1 or more.
        bank, split, reward, mode, observation, scale, device: as for `OnTheFlyEnv`.

    Raises:
        ConfigError: `num_envs` below 1, an unknown option.
    """

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}

    def __init__(
        self,
        num_envs: int = 1,
        bank: EpisodeBank | str | os.PathLike[str] = "procedural",
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
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        for name in options or {}:
            raise unknown_name("reset option", name, [])
        if self._state is not None and seed is None:
            self._state = self.core.next_episode(self._state, torch.ones_like(self._state.seed, dtype=torch.bool))
        else:
            self._state = self.core.reset(self._seeds(seed))
        return self.core.observe(self._state), {"step": torch.zeros_like(self._state.step), **self._names(self._state)}

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        if self._state is None:
            raise ConfigError("step called before the first reset: call reset first")
        actions = torch.as_tensor(actions, device=self.core.device)
        if actions.shape != (self.num_envs, self.core.action_dim):
            raise ConfigError(f"actions {tuple(actions.shape)}: want {(self.num_envs, self.core.action_dim)}")
        before = self._state
        outcome = self.core.step(before, actions)
        ended = outcome.terminated
        self._state = self.core.next_episode(outcome.state, ended)
        info = self._info(before, outcome)
        if bool(ended.any()):
            final = info
            info = final | self._names(self._state) | {"step": final["step"].masked_fill(ended, 0)}
            info |= {"final_obs": self.core.observe(outcome.state), "_final_obs": ended}
            info |= {"final_info": final, "_final_info": ended}
        return self.core.observe(self._state), outcome.reward, ended, torch.zeros_like(ended), info

    def _seeds(self, seed: int | list[int | None] | None) -> Tensor:
        if seed is None:
            fresh = np.random.SeedSequence().generate_state(self.num_envs, np.uint64) >> np.uint64(1)
            return torch.from_numpy(fresh.astype(np.int64)).to(self.core.device)
        try:
            given = [operator.index(s) for s in seed] if isinstance(seed, (list, tuple)) else operator.index(seed)  # type: ignore[arg-type]
        except TypeError as error:
            raise ConfigError(f"seed={seed!r}: give a whole number or a list of {self.num_envs}") from error
        seeds = given if isinstance(given, list) else [given + i for i in range(self.num_envs)]
        if len(seeds) != self.num_envs or min(seeds) < 0:
            raise ConfigError(f"seed={seed!r}: give a number of 0 or more, or a list of {self.num_envs} of them")
        return torch.tensor([s % 2**63 for s in seeds], device=self.core.device)

    def _names(self, state: State) -> dict[str, Any]:
        return {"sketch": state.sketch, "photo": self.core.bank.targets[state.sketch]}

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


