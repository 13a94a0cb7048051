"""PPO of skrl on the vector environment, in tensors, measured beside B1 on the test drawings.

A step's reward is that step's own doing, so the discount is 0. The actor begins as B1: its mean is zero.

    python examples/skrl_ppo.py      (about a minute on one core; needs skrl: pip install skrl)
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import torch
import tyro
from torch import Tensor, nn

import sketchless.envs  # noqa: F401  (registers the ids)
from sketchless.benchmarks import Evaluation, evaluate
from sketchless.encoders import EpisodeBank

try:
    from skrl.agents.torch.ppo import PPO, PPO_CFG
    from skrl.envs.wrappers.torch import wrap_env
    from skrl.memories.torch import RandomMemory
    from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
    from skrl.trainers.torch import SequentialTrainer
    from skrl.utils import set_seed
except ImportError:
    sys.exit("this example needs skrl: pip install skrl")

STEPS = 20  # of an episode


@dataclass
class Args:
    """Settings; the string under a field is its help."""

    total_timesteps: int = 200_000
    """steps of all environments together"""
    num_envs: int = 256
    """environments side by side"""
    reward: str = "inv-rank"
    """reward scheme"""
    learning_rate: float = 1e-3
    """of actor and critic"""
    seed: int = 0
    """of weights, noise and drawings"""


class Actor(GaussianMixin, Model):
    """a ~ N(W x + c, diag(sigma^2)), with W = 0 and c = 0 to begin with."""

    def __init__(self, env: Any) -> None:
        Model.__init__(self, observation_space=env.observation_space, action_space=env.action_space, device=env.device)
        GaussianMixin.__init__(self)
        self.mean = nn.Linear(self.num_observations, self.num_actions)
        nn.init.zeros_(self.mean.weight)
        nn.init.zeros_(self.mean.bias)
        self.log_std = nn.Parameter(torch.full((self.num_actions,), -2.0))

    def compute(self, inputs: dict[str, Any], role: str = "") -> tuple[Tensor, dict[str, Any]]:
        """Mean actions [B, d] of observations [B, D]."""
        return self.mean(inputs["observations"]), {"log_std": self.log_std}


class Critic(DeterministicMixin, Model):
    """A baseline for the step's own reward."""

    def __init__(self, env: Any) -> None:
        Model.__init__(self, observation_space=env.observation_space, action_space=env.action_space, device=env.device)
        DeterministicMixin.__init__(self)
        self.net = nn.Sequential(nn.Linear(self.num_observations, 64), nn.Tanh(), nn.Linear(64, 1))

    def compute(self, inputs: dict[str, Any], role: str = "") -> tuple[Tensor, dict[str, Any]]:
        """Values [B, 1] of observations [B, D]."""
        return self.net(inputs["observations"]), {}


def main(args: Args) -> tuple[Evaluation, Evaluation]:
    """Train and measure: evaluations of B1 and of the actor's mean."""
    set_seed(args.seed)
    env = wrap_env(
        gym.make_vec("sketchless/OnTheFly-v0", num_envs=args.num_envs, reward=args.reward, device="cpu"),
        wrapper="gymnasium",
        verbose=False,
    )
    models = {"policy": Actor(env).to(env.device), "value": Critic(env).to(env.device)}
    config = PPO_CFG(
        rollouts=STEPS,
        learning_epochs=4,
        mini_batches=4,
        discount_factor=0.0,
        learning_rate=args.learning_rate,
        grad_norm_clip=40.0,
    )
    config.experiment.write_interval = config.experiment.checkpoint_interval = 0
    with tempfile.TemporaryDirectory() as folder:
        config.experiment.directory = folder
        agent = PPO(
            models=models,
            memory=RandomMemory(memory_size=STEPS, num_envs=env.num_envs, device=env.device),
            observation_space=env.observation_space,
            action_space=env.action_space,
            device=env.device,
            cfg=config,
        )
        steps = max(args.total_timesteps // args.num_envs, STEPS)
        trainer = {"timesteps": steps, "headless": True, "disable_progressbar": True, "close_environment_at_exit": True}
        SequentialTrainer(env=env, agents=agent, cfg=trainer).train()
    bank = EpisodeBank.load("procedural", "test")
    before, after = evaluate(None, bank), evaluate(models["policy"].mean, bank)
    for who, found in (("B1", before), ("PPO", after)):
        print(f"{who:4}", "  ".join(f"{metric} {value:.2f}" for metric, value in found.summary().items()))
    return before, after


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
