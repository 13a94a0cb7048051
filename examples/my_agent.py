"""An agent of your own in 60 lines: reward-weighted regression, trained and measured like ours.

python examples/my_agent.py      (a few seconds)
PYTHONPATH=examples sketchless train --agent my_agent:RewardWeighted      (from the repository's folder)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from sketchless.agents import Agent, AgentConfig, Batch, average
from sketchless.benchmarks import evaluate
from sketchless.encoders import EpisodeBank
from sketchless.envs import Core


@dataclass(frozen=True)
class Config(AgentConfig):
    """Settings; `--set temperature=0.1` changes one."""

    temperature: float = 0.05
    """Below how large a difference in reward two actions count alike."""

    _positive: ClassVar[tuple[str, ...]] = ("temperature",)


class RewardWeighted(Agent):
    """Imitates the best of K actions: a policy improves by regression on what paid (Peters & Schaal, 2007)."""

    name = "reward-weighted"
    Config = Config
    presets: ClassVar[dict[str, AgentConfig]] = {"default": Config()}

    def update(self, batch: Batch) -> dict[str, torch.Tensor]:
        # max  E[ sum_k w_k log pi(a_k|s) ],   w = softmax_k(R_k / temperature)
        weight = torch.softmax(batch.reward / self.config.temperature, dim=0)  # [K, B, T]
        return self.descend(-average((weight * self.log_prob(batch)).sum(dim=0), batch.valid))


def main(steps: int = 500_000) -> tuple[float, float]:
    """Train on the built-in drawings; m@B of the baseline and of the agent on the test drawings."""
    train, validation, test = (EpisodeBank.load("procedural", split) for split in ("train", "validation", "test"))
    agent = RewardWeighted(Core(train, reward="inv-rank"), validation, seed=0)
    agent.learn(steps)
    before, after = evaluate(None, test).m_at_b, evaluate(agent, test).m_at_b
    print(f"m@B {before:.2f} -> {after:.2f} after {agent.num_timesteps:,} steps")
    return before, after


if __name__ == "__main__":
    main()
