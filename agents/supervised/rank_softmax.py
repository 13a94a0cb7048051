"""rank-softmax: no reinforcement learning. The photo is a class, the gallery the classes, every frame an example.

The strongest cheap supervised rival: what a policy gradient has to beat to be worth its trouble.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy, linear

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
        return self.softmax_loss(self.embedding(batch), self.target(batch))

    def softmax_loss(self, embedding: Tensor, target: Tensor) -> Tensor:
        """The loss [B, T] of embeddings [B, T, d]; `target` int64 [B, T]: rows of their photos in the gallery."""
        # -log( exp(cos(e_t, p+) / tau) / sum_g exp(cos(e_t, p_g) / tau) ),  e_t the refined embedding
        similarity = linear(embedding, self.core.gallery.float()) / self.config.temperature
        return cross_entropy(similarity.flatten(0, 1), target.flatten(), reduction="none").view(target.shape)
