"""sodeep: the rank itself as a loss over the whole episode, made differentiable (Engilberge et al., CVPR 2019).

Baseline B4 of Bhunia et al. (CVPR 2020). Two ways to a gradient: a network that has learned to sort, frozen, and
a sum of sigmoids that needs no training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sketchless.datasets.errors import ConfigError, unknown_name

from ..batch import Batch
from ..config import AgentConfig
from .base import Supervised, SupervisedConfig
from .sorter import Sorter, sigmoid_ranks, sorter_error, sorter_optimizer, sorter_updates

SORTERS = ("sigmoid", "lstm")
UNTRAINED = 1.0  # in place of the error of a sorter that has not been trained yet


@dataclass(frozen=True)
class SoDeepConfig(SupervisedConfig):
    """Settings of the differentiable rank."""

    learning_rate: float | None = 3e-3
    sorter: str = "sigmoid"
    """`sigmoid`: a smooth count of nearer photos, exact in the limit; `lstm`: the trained sorter of the paper."""
    steepness: float = 20.0
    """Of the sigmoids, per unit of cosine."""
    photos: int = 16
    """Photos the lstm sorts at a time, the right one among them, drawn anew for every drawing: all are too slow."""
    sorter_updates: int = 1000
    """Batches of 128 synthetic lists from which the lstm learns to sort, before the first update."""

    _positive: ClassVar[tuple[str, ...]] = ("steepness", "sorter_updates")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sorter not in SORTERS:
            raise unknown_name("sorter", self.sorter, SORTERS)
        if self.photos < 2:
            raise ConfigError(f"photos={self.photos}: a list to sort needs two or more")


class SoDeep(Supervised):
    """Mean rank over the episode as the loss; see `Agent` for the arguments.

    A trained sorter goes into the agent's file, its error on fresh lists into `numbers["sorter_error"]`.
    """

    name = "sodeep"
    Config = SoDeepConfig
    presets: ClassVar[dict[str, AgentConfig]] = {"default": SoDeepConfig()}

    def setup(self) -> None:
        super().setup()
        if self.config.sorter == "lstm":
            self.modules["sorter"] = self.sorter = Sorter(seed=self.config.seed).to(self.device)
            self.sorter.requires_grad_(False)
            self.optimizers["sorter"] = sorter_optimizer(self.sorter)
            self.numbers["sorter_error"] = UNTRAINED

    def prepare(self) -> Iterator[None]:
        """Teach the sorter to sort, before the first update."""
        if self.numbers.get("sorter_error") != UNTRAINED:
            return
        random, optimizer = torch.Generator(self.device).manual_seed(self.config.seed), self.optimizers["sorter"]
        yield from sorter_updates(self.sorter, optimizer, self._length, self.config.sorter_updates, random)
        self.numbers["sorter_error"] = sorter_error(self.sorter, self._length, random)
        optimizer.state.clear()  # of no more use in a file

    def loss(self, batch: Batch) -> Tensor:
        """Smooth rank of the right photo, in (0, 1]: [B, T]."""
        similarity, own = self.similarity(batch), self.target(batch)
        if self.config.sorter == "sigmoid":
            return sigmoid_ranks(similarity, own, self.config.steepness)
        lists, place = self._drawn(similarity, own[:, 0])  # [B, T, n] and [B]
        ranks = self.sorter(lists.flatten(0, 1)).view(lists.shape)
        rank: Tensor = ranks.gather(-1, place.view(-1, 1, 1).expand(-1, lists.shape[1], 1)).squeeze(-1)
        return rank

    @property
    def _length(self) -> int:
        photos: int = min(self.config.photos, len(self.core.gallery))
        return photos

    def _drawn(self, similarity: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """Similarities [B, T, n] of n photos of each drawing in random order, and the place [B] of its own one."""
        size, n = (len(similarity), similarity.shape[-1]), self._length
        keys = torch.rand(size, generator=self.generator, device=self.device, dtype=torch.float32)
        chosen = keys.scatter(1, own.unsqueeze(1), -1.0).topk(n, dim=1, largest=False).indices  # [B, n], own first
        order = torch.rand(chosen.shape, generator=self.generator, device=self.device, dtype=torch.float32)
        order = order.argsort(dim=1)
        chosen = chosen.gather(1, order)
        lists = similarity.gather(2, chosen.unsqueeze(1).expand(-1, similarity.shape[1], -1))
        return lists, (chosen == own.unsqueeze(1)).float().argmax(dim=1)
