"""VPG: vanilla policy gradient (REINFORCE; Williams, 1992), with an actor and no critic."""

from __future__ import annotations

from typing import ClassVar

from ..agent import Agent
from ..batch import Batch, average
from ..checks import Numbers
from ..config import AgentConfig


class VPG(Agent):
    """One gradient step per batch on the score function; see `Agent` for the arguments."""

    name = "vpg"
    presets: ClassVar[dict[str, AgentConfig]] = {"default": AgentConfig(learning_rate=3e-3)}

    def update(self, batch: Batch) -> Numbers:
        # grad J = E[ grad log pi(a_t|s_t) A_t ]
        return self.descend(-average(self.log_prob(batch) * self.advantages(batch), batch.valid))
