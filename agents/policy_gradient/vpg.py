"""VPG: vanilla policy gradient (REINFORCE; Williams, 1992), with an actor and no critic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from ..batch import Batch, average
from ..config import AgentConfig
from .base import PolicyGradient, Told


class VPG(PolicyGradient):
    """One gradient step per batch on the score function; see `Agent` for the arguments."""

    name = "vpg"
    presets: ClassVar[dict[str, AgentConfig]] = {"default": AgentConfig(learning_rate=None, b1_penalty=1.0)}

    epochs = 1

    def loss(
        self, batch: Batch, targets: Mapping[str, Tensor], log_prob: Tensor, mean: Tensor, log_std: Tensor
    ) -> tuple[Tensor, Told]:
        # grad J = E[ grad log pi(a_t|s_t) A_t ]
        return -average(log_prob * targets["advantage"], batch.valid), {}
