"""A task in which actions matter: the refinement is carried along."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sketchless.datasets.checks import as_number
from sketchless.datasets.errors import ConfigError, shown

from .core import Core, Play, Score, State, Transition


class CarryCore(Core):
    """`sketchless/Carry-v0`: what an action adds stays, and fades.

    Observation: float32 [D + d] in -1..1: the feature of the frame on show (`observation="embedding"`: its embedding,
        then [2 d]), and what is carried, c_{t-1} / scale.
    Action: float32 [d] in -1..1, a_t. c_t = clip(decay * c_{t-1} + scale * a_t) to -scale..scale, c_0 = 0, and photos
        are ranked by normalise(b_t + c_t). Longer actions are scaled into the box.
    Reward: as in `OnTheFlyEnv`, for the rank of the step.
    Episode: as in `OnTheFlyEnv`; the frames do not depend on the actions, what is carried does.
    Info: as in `OnTheFlyEnv`.

    Zero actions are the baseline B1. With `decay=0` ranks and rewards are those of `OnTheFlyEnv`.

    Args:
        bank, reward, mode, observation, scale: as for `Core`; the mode is `"residual"`.
        decay: share of what is carried that is left after a step, 0..1.

    Raises:
        ConfigError: a decay outside 0..1, mode `"absolute"`, and as `Core`.

    >>> import gymnasium as gym, sketchless.envs
    >>> env = gym.make("sketchless/Carry-v0", decay=0.5)
    >>> observation, info = env.reset(seed=0)
    >>> action = 0 * env.action_space.sample() + 0.5
    >>> observation, *_ = env.step(action)
    >>> observation, *_ = env.step(action)
    >>> float(observation[-1])  # 0.5 * 0.5 + 0.5
    0.75
    """

    task = "carry"
    bandit = False
    modes = ("residual",)

    def __init__(
        self,
        bank: Any,
        reward: Any = "combined",
        mode: str = "residual",
        observation: str = "feature",
        scale: float = 1.0,
        decay: float = 0.9,
    ) -> None:
        if mode != "residual":
            raise ConfigError(f"mode {mode!r}: what is carried is added to the embedding; choose residual")
        if not 0 <= as_number(decay) <= 1:
            raise ConfigError(f"decay={shown(decay)}: the share that is left after a step lies in 0..1")
        super().__init__(bank, reward, mode, observation, scale)
        self.decay = float(decay)

    @property
    def own_settings(self) -> dict[str, Any]:
        return {"decay": self.decay}

    @property
    def observation_dim(self) -> int:
        return super().observation_dim + self.embedding_dim

    def reset(self, seeds: Tensor, sketch: Tensor | None = None) -> State:
        nothing = torch.zeros(len(seeds), self.embedding_dim, dtype=torch.float64, device=self.device)
        return super().reset(seeds, sketch)._replace(carry=nothing)

    def next_episode(self, state: State, done: Tensor) -> State:
        carry = state.carry.masked_fill(done.unsqueeze(1), 0)
        return super().next_episode(state, done)._replace(carry=carry)

    def observe(self, state: State) -> Tensor:
        return torch.cat([super().observe(state), state.carry.float()], dim=1)

    def step(self, state: State, action: Tensor) -> Transition:
        self._check_actions(action, (len(state.step), self.action_dim))
        carry = self._carried(state.carry, action)
        outcome = super().step(state, carry)
        return outcome._replace(state=outcome.state._replace(carry=carry))

    def score(self, sketches: Tensor, actions: Tensor, credit: str = "aligned") -> Score:
        """Rank and pay whole episodes whose actions are known beforehand; equal to stepping through them."""
        self._check_actions(actions, (len(self._rows(sketches)), self.n_steps, self.action_dim))
        return super().score(sketches, self.refinements(actions), credit)

    def play(self, sketches: Tensor, act: Play) -> tuple[Tensor, Tensor]:
        frames = self.observations(sketches)
        carry = torch.zeros(len(sketches), self.embedding_dim, dtype=torch.float64, device=self.device)
        seen, done = [], []
        for t in range(self.n_steps):
            seen.append(torch.cat([frames[:, t], carry.float()], dim=1))
            done.append(act(seen[-1]))
            carry = self._carried(carry, done[-1])
        return torch.stack(seen, dim=1), torch.stack(done, dim=1)

    def refinements(self, actions: Tensor) -> Tensor:
        carry, along = torch.zeros_like(actions[:, 0], dtype=torch.float64), []
        for t in range(actions.shape[1]):
            carry = self._carried(carry, actions[:, t])
            along.append(carry)
        return torch.stack(along, dim=1)

    def _carried(self, carry: Tensor, action: Tensor) -> Tensor:
        """c_t / scale, float64 [B, d] in -1..1."""
        return (self.decay * carry + self.boxed(action.double())).clamp(-1, 1)
