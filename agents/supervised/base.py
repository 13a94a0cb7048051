"""What agents without reinforcement learning share: a loss over the frames, with a gradient through the embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import linear

from sketchless.datasets.errors import ConfigError
from sketchless.envs.core import Core

from ..agent import Agent
from ..batch import Batch, average
from ..checks import Numbers
from ..config import AgentConfig
from ..pull import refined


@dataclass(frozen=True)
class SupervisedConfig(AgentConfig):
    """Settings of agents that learn from the right photo instead of from rewards."""

    samples: int = 1
    """Their losses need no samples: with one, a step of the environment is an example."""
    advantage: str = "reward"

    _unread: ClassVar[tuple[str, ...]] = ("advantage", "normalize_advantage", "credit", "gamma")


class Supervised(Agent):
    """Goes down a loss of the mean action's embedding; subclasses say `loss`. See `Agent` for the arguments."""

    rewarded = False

    @classmethod
    def check_task(cls, task: type[Core]) -> None:
        if not task.bandit:
            raise ConfigError(f"{cls.name} learns frame by frame, the task {task.task!r} does not: choose ppo-a-clip")

    def update(self, batch: Batch) -> Numbers:
        return self.descend(average(self.loss(batch), batch.valid))

    def loss(self, batch: Batch) -> Tensor:
        """Of every frame: [B, T]."""
        raise NotImplementedError

    def embedding(self, batch: Batch) -> Tensor:
        """The mean action's embedding, as the core refines it but with a gradient: [B, T, d]."""
        return refined(self.core, self.core.base[batch.sketches], self.policy(batch.observation))

    def similarity(self, batch: Batch) -> Tensor:
        """Cosine of every frame's embedding and every photo: [B, T, G]."""
        return linear(self.embedding(batch), self.core.gallery.float())

    def target(self, batch: Batch) -> Tensor:
        """Row in the gallery of each frame's own photo: int64 [B, T]."""
        return self.core.bank.targets[batch.sketches].unsqueeze(1).expand(-1, batch.valid.shape[1])
