"""mgal: a head for every stage of the drawing, pulled towards what the next stage says.

After multi-granularity association learning (Dai et al., Knowledge-Based Systems 2022), written anew on frozen
features: the later, more complete stage teaches the earlier one. Once trained it looks at the current frame alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import pad

from ..batch import Batch
from ..config import AgentConfig
from .rank_softmax import RankSoftmax, SoftmaxConfig


@dataclass(frozen=True)
class MGALConfig(SoftmaxConfig):
    """Settings of the heads of the stages."""

    policy: str = "per-step"
    pull: float = 1.0
    """Weight of `|e_t - e_{t+1}|^2`, in which the next stage's embedding is held fixed."""

    _not_negative: ClassVar[tuple[str, ...]] = ("pull",)


class MGAL(RankSoftmax):
    """Softmax loss over the gallery, with a pull to the next stage; see `Agent` for the arguments."""

    name = "mgal"
    Config = MGALConfig
    presets: ClassVar[dict[str, AgentConfig]] = {"default": MGALConfig()}

    def loss(self, batch: Batch) -> Tensor:
        """-log of the softmax share of each drawing's own photo, and the distance to the next stage: [B, T]."""
        # L_t = -log p_t(photo) + lambda |e_t - sg(e_{t+1})|^2,  without the pull where there is no next stage
        embedding = self.embedding(batch)
        apart = (embedding[:, :-1] - embedding[:, 1:].detach()).square().sum(dim=-1) * batch.valid[:, 1:]
        pulled: Tensor = self.config.pull * pad(apart, (0, 1))
        return self.softmax_loss(embedding, self.target(batch)) + pulled
