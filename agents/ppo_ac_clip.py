"""PPO-AC-Clipping: the PPO of stable-baselines3 (Schulman et al., 2017), with a critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from stable_baselines3 import PPO

from .actor_critic import ActorCritic, CriticConfig
from .agent import AgentConfig


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
            **common,
            n_epochs=config.epochs,
            clip_range=config.clip,
            vf_coef=config.value_weight,
            max_grad_norm=config.max_grad_norm,
        )
