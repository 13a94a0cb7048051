"""GRPO: group-relative policy optimisation (Shao et al., 2024), with an actor and no critic.

K refinements of the same state are each other's baseline, which is exact here: the next state does not
depend on the action.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.func import functional_call

from sketchless.datasets.errors import ConfigError

from ..batch import Batch, average, group_mean
from ..config import AgentConfig
from ..gaussian import gaussian_kl
from .base import PolicyGradient, Told
from .ppo_a_clip import PPOConfig, clipped_loss


@dataclass(frozen=True)
class GRPOConfig(PPOConfig):
    """Settings of GRPO."""

    beta: float = 1e-3
    """Weight of the KL divergence from the policy that training began with (B1)."""

    _not_negative: ClassVar[tuple[str, ...]] = ("beta",)
    _unread: ClassVar[tuple[str, ...]] = ("advantage", "normalize_advantage")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 2:
            raise ConfigError("samples=1: grpo compares samples of a state; it needs two or more")


def group_advantages(reward: Tensor, valid: Tensor) -> Tensor:
    """A = (R - mean_k R) / std_k R over the K samples of a state: [K, B, T]; 0 where all are equal or invalid."""
    centred = reward - group_mean(reward, valid)
    return centred / group_mean(centred.square(), valid).sqrt().clamp_min(1e-8) * valid


class GRPO(PolicyGradient):
    """Group-relative clipped policy optimisation; see `Agent` for the arguments."""

    name = "grpo"
    Config = GRPOConfig
    presets: ClassVar[dict[str, AgentConfig]] = {"default": GRPOConfig(learning_rate=None, b1_penalty=1.0)}

    def targets(self, batch: Batch) -> dict[str, Tensor]:
        start = dict(zip(dict(self.policy.mean.named_parameters()), self.start, strict=True))
        reference = functional_call(self.policy.mean, start, batch.observation)  # B1's mean action, [B, T, d]
        advantage = group_advantages(self.returns(batch), batch.valid).float()
        return {"advantage": advantage, "reference": reference}

    def loss(
        self, batch: Batch, targets: Mapping[str, Tensor], log_prob: Tensor, mean: Tensor, log_std: Tensor
    ) -> tuple[Tensor, Told]:
        # J = mean min(rho A, clip(rho) A) - beta KL(pi || pi_ref), the reference with the same sigma
        loss = clipped_loss(log_prob, batch.log_prob, targets["advantage"], batch.valid, self.config.clip)
        fixed = log_std.detach()
        away = average(gaussian_kl(mean, fixed, targets["reference"], fixed), batch.valid)
        return loss + self.config.beta * away, {"kl_from_start": away}
