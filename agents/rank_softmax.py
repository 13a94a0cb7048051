"""rank-softmax: no reinforcement learning. The photo is a class, the gallery the classes, every frame an example.

The strongest cheap supervised rival: what a policy gradient has to beat to be worth its trouble.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import cross_entropy, linear, normalize

from .agent import Agent, AgentConfig, Batch, average


@dataclass(frozen=True)
class SoftmaxConfig(AgentConfig):
    """Settings of the supervised rival."""

    samples: int = 1
    """Its loss needs no samples: with one, a step of the environment is an example."""
    advantage: str = "reward"
    temperature: float = 0.07
    """Of the softmax over similarities in -1..1."""

    _positive: ClassVar[tuple[str, ...]] = ("temperature",)


class RankSoftmax(Agent):
    """Softmax loss over the gallery on all frames; see `Agent` for the arguments."""

    name = "rank-softmax"
    Config = SoftmaxConfig
    # best: the highest validation m@B of all agents on Chair-V2
    presets: ClassVar[dict[str, AgentConfig]] = {"default": SoftmaxConfig(), "best": SoftmaxConfig(temperature=0.15)}

    def update(self, batch: Batch) -> dict[str, float]:
        return self.descend(average(self.surprise(batch), batch.valid))

    def surprise(self, batch: Batch) -> Tensor:
        """-log of the softmax share of each drawing's own photo: [B, T]."""
        # -log( exp(cos(e_t, p+) / tau) / sum_g exp(cos(e_t, p_g) / tau) ),  e_t the refined embedding
        similarity = linear(self.embedding(batch), self.core.gallery.float()) / self.config.temperature  # [B, T, G]
        target = self.core.bank.targets[batch.sketches].unsqueeze(1).expand(similarity.shape[:2])
        return cross_entropy(similarity.flatten(0, 1), target.flatten(), reduction="none").view(target.shape)

    def embedding(self, batch: Batch) -> Tensor:
        """The mean action's embedding, as the core refines it but with a gradient: [B, T, d]."""
        action = self.policy(batch.observation)
        action = action / action.abs().amax(dim=-1, keepdim=True).clamp_min(1)
        if self.core.mode == "residual":
            action = self.core.base[batch.sketches].float() + self.core.scale * action
        return normalize(action, dim=-1)
