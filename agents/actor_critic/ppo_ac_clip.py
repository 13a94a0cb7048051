"""PPO-AC-Clipping: the PPO of stable-baselines3 (Schulman et al., 2017), with a critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from stable_baselines3 import PPO
from stable_baselines3.common.type_aliases import RolloutBufferSamples

from ..batch import Batch
from ..config import AgentConfig
from .base import ActorCritic, CriticConfig


@dataclass(frozen=True)
class ACClipConfig(CriticConfig):
    """Settings of PPO with a critic."""

    epochs: int = 4
    """Gradient steps per update."""
    clip: float = 0.2
    """eps: how far the ratio of probabilities may move before it pays no more."""

    _positive: ClassVar[tuple[str, ...]] = ("epochs", "clip")


class PPOACClip(ActorCritic):
    """Clipped PPO with a critic; see `Agent` for the arguments."""

    name = "ppo-ac-clip"
    Config = ACClipConfig
    presets: ClassVar[dict[str, AgentConfig]] = {"default": ACClipConfig()}

    def algorithm_with(self, common: dict[str, Any]) -> PPO:
        config = self.config
        # max  mean min(rho A, clip(rho, 1 - eps, 1 + eps) A) - w (V - R)^2,   A from the critic
        return PPO(
            **{**common, "normalize_advantage": False},  # theirs counts the samples of a state
            n_epochs=config.epochs,
            clip_range=config.clip,
            vf_coef=config.value_weight,
            max_grad_norm=config.max_grad_norm,
        )

    def samples(self, batch: Batch) -> RolloutBufferSamples:
        found = super().samples(batch)
        if not self.config.normalize_advantage or found.advantages.numel() < 2:
            return found
        deviation = found.advantages.std() + 1e-8
        return found._replace(advantages=(found.advantages - found.advantages.mean()) / deviation)
