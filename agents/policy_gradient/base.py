"""What actor-only policy gradients share: a loss of log-probabilities, and steps down it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sketchless.datasets.errors import ConfigError
from sketchless.encoders.bank import EpisodeBank

from ..agent import Agent
from ..batch import Batch
from ..checks import Numbers
from ..gaussian import gaussian_log_prob
from .graph import Captured

Told = dict[str, Tensor]  # scalars to be logged


class PolicyGradient(Agent):
    """Goes down a loss for `epochs` steps a batch; subclasses say `loss`. See `Agent` for the arguments.

    What the subclasses of this package say is computed for one agent, or for many that differ in their seeds by
    `torch.vmap` (`sketchless.agents.learn_together`): pure functions of tensors, without a branch on what these hold.
    Of other subclasses each agent learns alone, and they may say what they like.

    Args:
        cuda_graph: on a GPU, play and learn by one CUDA graph (see `Captured`); files do not keep it. It was proved on
            a stand-in for a GPU, and never measured on one: so it is off.

    Raises:
        ConfigError: as `Agent`, and `cuda_graph` where there is nothing to capture.
    """

    def __init__(
        self,
        env: Any,
        validation: EpisodeBank | None = None,
        config: Any = None,
        device: str | torch.device = "auto",
        cuda_graph: bool = False,
        **overrides: Any,
    ) -> None:
        if not isinstance(cuda_graph, bool):
            raise ConfigError(f"cuda_graph={cuda_graph!r}: must be True or False")
        super().__init__(env, validation, config, device, **overrides)
        self.captured = Captured(self) if cuda_graph else None

    @property
    def epochs(self) -> int:
        """Gradient steps per update."""
        epochs: int = self.config.epochs
        return epochs

    def targets(self, batch: Batch) -> dict[str, Tensor]:
        """What the loss needs of a batch, the same in every epoch. Here: the advantage [K, B, T]."""
        return {"advantage": self.advantages(batch)}

    def loss(
        self, batch: Batch, targets: Mapping[str, Tensor], log_prob: Tensor, mean: Tensor, log_std: Tensor
    ) -> tuple[Tensor, Told]:
        """Loss, and what to log of it.

        Args:
            batch: the rollout.
            targets: as of `targets`, and the agent's `numbers`.
            log_prob: log pi(a|s) [K, B, T] under the policy as it is now.
            mean: its mean actions, [B, T, d].
            log_std: its log sigma, [d].
        """
        raise NotImplementedError

    def moved(self, batch: Batch, mean: Tensor, log_std: Tensor) -> Told:
        """What to log of the policy after the update, of its mean actions and log sigma. Here: nothing."""
        return {}

    @property
    def tells_of_moves(self) -> bool:
        """Whether there is anything in `moved`."""
        return type(self).moved is not PolicyGradient.moved

    def collect(self) -> Batch:
        return super().collect() if self.captured is None else self.captured.collect(super().collect)

    def update(self, batch: Batch) -> Numbers:
        return self.run_epochs(batch, self.numbers) if self.captured is None else self.captured.update(batch)

    def run_epochs(self, batch: Batch, numbers: Numbers) -> Numbers:
        """`update` with these for the agent's `numbers`."""
        targets: dict[str, Tensor] = {**self.targets(batch), **numbers}  # type: ignore[dict-item]
        logged: dict[str, float | Tensor] = {}
        for _ in range(self.epochs):
            mean, log_std = self.policy(batch.observation), self.policy.log_std
            loss, told = self.loss(batch, targets, gaussian_log_prob(batch.action, mean, log_std), mean, log_std)
            logged = {**self.descend(loss), **{name: value.detach() for name, value in told.items()}}
        if self.tells_of_moves:
            logged |= self.moved(batch, self.policy(batch.observation).detach(), self.policy.log_std.detach())
        return {**logged, **numbers}
