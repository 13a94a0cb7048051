"""A task in which actions matter: the searcher decides when to show the list."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from sketchless.datasets.checks import as_number
from sketchless.datasets.errors import ConfigError, shown

from .core import Core, Score, State, Transition
from .ranking import NOT_FINITE, not_finite
from .rewards import Shaped


class StopCore(Core):
    """`sketchless/Stop-v0`: how many strokes can be saved, asked directly.

    Observation: as in `OnTheFlyEnv`: float32 [D] (or [d]) in -1..1, the frame on show.
    Action: float32 [d + 1] in -1..1. The first d refine the embedding as in `OnTheFlyEnv`; where the last one is above
        0, the list is shown, else the drawing goes on.
    Reward: the scheme's local part for the rank of the list that is shown (1/rank by default); every step that goes on
        costs `stroke_cost`. `reward_terms` has both under `local`.
    Episode: begins as in `OnTheFlyEnv`. It ends where the list is shown, after the last frame in any case: `terminated`
        is True, and the frame that was ranked stays on show.
    Info: as in `OnTheFlyEnv`; `rank` of every step, also of those whose list is not shown.

    Zero actions are the baseline B1 on complete sketches.

    Args:
        bank, reward, mode, observation, scale: as for `Core`; the mode is `"residual"`, the reward has no trajectory
            part and is not `shaped`, as one list alone is shown.
        stroke_cost: of a step that goes on, in units of the reward, 0 or more.

    Raises:
        ConfigError: a cost that is negative or not finite, mode `"absolute"`, a reward with a trajectory part or a
            `shaped` one, and as `Core`.

    >>> import gymnasium as gym, sketchless.envs
    >>> env = gym.make("sketchless/Stop-v0", stroke_cost=0.01)
    >>> observation, info = env.reset(seed=0)
    >>> action = 0 * env.action_space.sample()
    >>> env.step(action)[1:3]
    (-0.01, False)
    >>> action[-1] = 1
    >>> _, reward, terminated, _, info = env.step(action)
    >>> reward == 1 / info["rank"], terminated, info["step"]
    (True, True, 2)
    """

    task = "stop"
    bandit = False
    ends_early = True
    modes = ("residual",)

    def __init__(
        self,
        bank: Any,
        reward: Any = "inv-rank",
        mode: str = "residual",
        observation: str = "feature",
        scale: float = 1.0,
        stroke_cost: float = 0.02,
    ) -> None:
        if mode != "residual":
            raise ConfigError(f"mode {mode!r}: the list is shown where one more coordinate says so; choose residual")
        if not 0 <= as_number(stroke_cost) < math.inf:
            raise ConfigError(f"stroke_cost={shown(stroke_cost)}: must be a finite number of 0 or more")
        super().__init__(bank, reward, mode, observation, scale)
        if self.reward.trajectory is not None:
            raise ConfigError(f"reward {self.reward.name!r} compares lists, and one alone is shown: choose inv-rank")
        if isinstance(self.reward.local, Shaped):
            raise ConfigError(
                f"reward {self.reward.name!r}: what shaping adds cancels over all steps of a drawing, and one alone is "
                "paid: take the reward that it shapes"
            )
        self.stroke_cost = float(stroke_cost)

    @property
    def own_settings(self) -> dict[str, Any]:
        return {"stroke_cost": self.stroke_cost}

    @property
    def action_dim(self) -> int:
        return self.embedding_dim + 1

    def step(self, state: State, action: Tensor) -> Transition:
        self._check_actions(action, (len(state.step), self.action_dim))
        shows = self._shows(action)
        outcome = super().step(state, action[:, :-1])
        ended = shows | outcome.terminated
        paid = torch.where(ended, outcome.terms.local, -self.stroke_cost)
        still = torch.where(ended, state.step, outcome.state.step)
        return outcome._replace(
            state=outcome.state._replace(step=still),
            reward=paid,
            terminated=ended,
            terms=outcome.terms._replace(local=paid.clone()),
        )

    def score(self, sketches: Tensor, actions: Tensor, credit: str = "aligned") -> Score:
        """Rank and pay whole episodes; equal to stepping through them. An episode ends where its list is shown."""
        self._check_actions(actions, (len(self._rows(sketches)), self.n_steps, self.action_dim))
        found = super().score(sketches, self.refinements(actions), credit)
        last = self.shown(sketches, actions).unsqueeze(1) - 1
        step = torch.arange(self.n_steps, device=self.device)
        valid = step <= last
        paid = torch.where(step == last, found.local, -self.stroke_cost) * valid
        return Score(found.rank * valid, found.tau * valid[:, 1:], paid, paid.clone(), found.trajectory, valid)

    def shown(self, sketches: Tensor, actions: Tensor) -> Tensor:
        """Step at which the list is shown, 1..T: int64 [B] of sketches [B] and actions [B, T, d + 1]."""
        length, shows = self.bank.lengths[sketches], self._shows(actions)
        first = torch.where(shows.any(dim=1), shows.int().argmax(dim=1) + 1, self.n_steps)
        return torch.minimum(first, length)

    def refinements(self, actions: Tensor) -> Tensor:
        return actions[..., :-1]

    def boxed(self, actions: Tensor) -> Tensor:
        """As in the plain task for the first d, apart from the last: only its sign counts."""
        return torch.cat([super().boxed(actions[..., :-1]), actions[..., -1:].clamp(-1, 1)], dim=-1)

    def value(self, score: Score) -> Tensor:
        """100 * what an episode pays."""
        return 100 * score.reward.sum(dim=1)

    def _shows(self, action: Tensor) -> Tensor:
        """Where the last coordinate is above 0: bool [...]."""
        says = action[..., -1]
        if action.device.type != "cpu":
            torch._assert_async(torch.isfinite(says).all(), NOT_FINITE)
        elif not torch.isfinite(says).all():
            raise not_finite(action)
        return says > 0
