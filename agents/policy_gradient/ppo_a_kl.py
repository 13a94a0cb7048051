"""PPO-A-KL: policy optimisation with an adaptive KL penalty (Schulman et al., 2017), an actor and no critic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..batch import Batch, average
from ..config import AgentConfig
from ..gaussian import gaussian_kl
from .base import PolicyGradient, Told


@dataclass(frozen=True)
class KLConfig(AgentConfig):
    """Settings of PPO with a KL penalty."""

    learning_rate: float | None = 3e-3
    epochs: int = 4
    """Gradient steps per update."""
    target_kl: float = 0.05
    """Nats by which an update should move the policy, on average over states."""
    init_beta: float = 1.0
    """Coefficient of the penalty to begin with; it adapts once per batch."""

    _positive: ClassVar[tuple[str, ...]] = ("epochs", "target_kl", "init_beta")


def penalised_loss(log_prob: Tensor, batch: Batch, advantage: Tensor, kl: Tensor, beta: float | Tensor) -> Tensor:
    """-mean (rho A - beta KL(pi_old || pi)) over the valid steps; log_prob, advantage [K, B, T], kl [B, T]."""
    # rho = pi(a|s) / pi_old(a|s)
    ratio = torch.exp(log_prob - batch.log_prob)
    return beta * average(kl, batch.valid) - average(ratio * advantage, batch.valid)


def adapted(beta: float, kl: float, target: float) -> float:
    """The coefficient for the next batch: doubled where the policy moved too far, halved where too little."""
    # Schulman et al., 2017, section 4:  KL < target / 1.5: beta / 2;  KL > 1.5 target: 2 beta
    factor = 2.0 if kl > 1.5 * target else 0.5 if kl < target / 1.5 else 1.0
    return min(max(beta * factor, 1e-6), 1e6)


class PPOAKL(PolicyGradient):
    """Actor-only PPO with a KL penalty; see `Agent` for the arguments."""

    name = "ppo-a-kl"
    Config = KLConfig
    presets: ClassVar[dict[str, AgentConfig]] = {"default": KLConfig(b1_penalty=1.0)}

    def setup(self) -> None:
        super().setup()
        self.numbers["beta"] = self.config.init_beta

    def loss(
        self, batch: Batch, targets: Mapping[str, Tensor], log_prob: Tensor, mean: Tensor, log_std: Tensor
    ) -> tuple[Tensor, Told]:
        kl = gaussian_kl(batch.mean, batch.log_std, mean, log_std)  # KL(pi_old || pi), [B, T]
        return penalised_loss(log_prob, batch, targets["advantage"], kl, targets["beta"]), {}

    def moved(self, batch: Batch, mean: Tensor, log_std: Tensor) -> Told:
        return {"kl": average(gaussian_kl(batch.mean, batch.log_std, mean, log_std), batch.valid)}

    def adapt(self, logged: Mapping[str, float]) -> None:
        self.numbers["beta"] = adapted(self.numbers["beta"], logged["kl"], self.config.target_kl)
