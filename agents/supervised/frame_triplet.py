"""frame-triplet: the triplet loss of stage 1 on every frame of a drawing, through the head alone.

Baseline B2 of Bhunia et al. (CVPR 2020) where one head sees all frames; with `policy="per-step"` baseline B3: a head
for every percentage of the sketch, each trained on its own frames and on no other. The backbone below stays frozen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..batch import Batch
from ..config import AgentConfig
from .base import Supervised, SupervisedConfig


@dataclass(frozen=True)
class TripletConfig(SupervisedConfig):
    """Settings of the triplet loss."""

    learning_rate: float | None = 3e-3
    margin: float = 0.3
    """In units of Euclidean distance, 0 to 2 (Bhunia et al., CVPR 2020)."""

    _positive: ClassVar[tuple[str, ...]] = ("margin",)


class FrameTriplet(Supervised):
    """Triplet loss with every other photo of the gallery as a negative; see `Agent` for the arguments."""

    name = "frame-triplet"
    Config = TripletConfig
    presets: ClassVar[dict[str, AgentConfig]] = {"default": TripletConfig()}

    def loss(self, batch: Batch) -> Tensor:
        """Mean over the other photos of how far each comes within the margin of the right one: [B, T]."""
        # |e - p|^2 = 2 - 2 e.p for unit vectors; the floor keeps the root's gradient finite.
        distance = (2 - 2 * self.similarity(batch)).clamp_min(1e-8).sqrt()  # [B, T, G]
        own = self.target(batch).unsqueeze(-1)
        positive = distance.gather(-1, own)
        # 1/(G-1) sum_{g != own} max(0, m + d(e_t, p+) - d(e_t, p_g))
        hinge = (self.config.margin + positive - distance).clamp_min(0).scatter(-1, own, 0.0)
        loss: Tensor = hinge.sum(dim=-1) / (hinge.shape[-1] - 1)
        return loss
