"""rank-softmax: no reinforcement learning. The photo is a class, the gallery the classes, every frame an example.

The strongest cheap supervised rival: what a policy gradient has to beat to be worth its trouble.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy

from ..batch import Batch
from ..config import AgentConfig
from .base import Supervised, SupervisedConfig


@dataclass(frozen=True)
class SoftmaxConfig(SupervisedConfig):
    """Settings of the supervised rival."""

    temperature: float = 0.07
    """Of the softmax over similarities in -1..1."""

    _positive: ClassVar[tuple[str, ...]] = ("temperature",)


class RankSoftmax(Supervised):
    """Softmax loss over the gallery on all frames; see `Agent` for the arguments."""

    name = "rank-softmax"
    Config = SoftmaxConfig
    # best: the highest validation m@B of all agents on Chair-V2
    presets: ClassVar[dict[str, AgentConfig]] = {"default": SoftmaxConfig(), "best": SoftmaxConfig(temperature=0.15)}

    def loss(self, batch: Batch) -> Tensor:
        """-log of the softmax share of each drawing's own photo: [B, T]."""
        # -log( exp(cos(e_t, p+) / tau) / sum_g exp(cos(e_t, p_g) / tau) ),  e_t the refined embedding
        similarity, target = self.similarity(batch) / self.config.temperature, self.target(batch)
        return cross_entropy(similarity.flatten(0, 1), target.flatten(), reduction="none").view(target.shape)
