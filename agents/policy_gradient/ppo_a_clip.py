"""PPO-A-Clipping: clipped policy optimisation with an actor and no critic.

Bhunia et al., "Sketch Less for More", CVPR 2020; the clipped objective is that of Schulman et al., 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..batch import Batch, average
from ..config import AgentConfig
from .base import PolicyGradient, Told


@dataclass(frozen=True)
class PPOConfig(AgentConfig):
    """Settings of PPO-A-Clipping."""

    epochs: int = 4
    """Gradient steps per update."""
    clip: float = 0.2
    """eps: how far the ratio of probabilities may move before it pays no more."""

    _positive: ClassVar[tuple[str, ...]] = ("epochs", "clip")


PAPER = PPOConfig(
    samples=1,
    advantage="reward",
    normalize_advantage=False,
    lr_schedule="step",
    init_log_std=0.0,
    train_log_std=False,
    mean_norm=4.0,
    eval_every=500,
)
"""The paper to the letter: the reward is the advantage, one action a state, sigma 1, steps of 1e-3 and then of 1e-4.

To be used with `mode="absolute"`. One thing is not the paper's: it trains sigma, and here it stays 1. In the authors'
released policy it is within 1.2 % of that; where ours is trained, it fell below 0.6. What the paper leaves open was
chosen on validation: a mean action that begins with length 4, and four inner epochs.
"""


def clipped_loss(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, valid: Tensor, clip: float) -> Tensor:
    """-mean min(rho A, clip(rho, 1 - eps, 1 + eps) A) over the valid steps; arguments [K, B, T], [B, T]."""
    # rho = pi(a|s) / pi_old(a|s)
    ratio = torch.exp(log_prob - old_log_prob)
    return -average(torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage), valid)


class PPOAClip(PolicyGradient):
    """Actor-only clipped PPO; see `Agent` for the arguments."""

    name = "ppo-a-clip"
    Config = PPOConfig
    presets: ClassVar[dict[str, AgentConfig]] = {
        "default": PPOConfig(learning_rate=None, b1_penalty=1.0),
        "paper": PAPER,
    }
    modes: ClassVar[dict[str, str]] = {"paper": "absolute"}
    budgets: ClassVar[dict[str, float]] = {"paper": 2000}

    def loss(
        self, batch: Batch, targets: Mapping[str, Tensor], log_prob: Tensor, mean: Tensor, log_std: Tensor
    ) -> tuple[Tensor, Told]:
        return clipped_loss(log_prob, batch.log_prob, targets["advantage"], batch.valid, self.config.clip), {}
