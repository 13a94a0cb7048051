"""b1: the baseline. The frozen encoder's own embedding, refined by nothing."""

from __future__ import annotations

from typing import Any

from typing_extensions import Self

from .agent import Agent


class B1(Agent):
    """Acts with the policy that every agent begins with; see `Agent` for the arguments."""

    name = "b1"
    rewarded = False

    def learn(
        self,
        total_timesteps: int,
        callback: Any = None,
        log_interval: int | None = 1,
        tb_log_name: str = "",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """There is nothing to learn: no steps are taken."""
        return self
