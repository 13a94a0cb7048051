"""PPO in one file, in CleanRL's manner, on the torch vector environment: no numpy between environment and policy.

Frames do not depend on actions, so a step's reward is that step's own doing: gamma is 0 by default.

    python examples/cleanrl_ppo.py      (about a minute on one core)
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import gymnasium as gym
import torch
import tyro
from torch import Tensor, nn
from torch.distributions import Independent, Normal

import sketchless.envs  # noqa: F401 (registers the ids)
from sketchless.encoders import EpisodeBank
from sketchless.envs import Core


@dataclass
class Args:
    """Settings; the string under a field is its help."""

    env_id: str = "sketchless/OnTheFly-v0"
    """environment to learn in"""
    reward: str = "combined"
    """reward scheme"""
    total_timesteps: int = 800_000
    """steps of all environments together"""
    num_envs: int = 128
    """environments side by side"""
    num_steps: int = 20
    """steps of each environment between two updates"""
    learning_rate: float = 1e-3
    """of Adam; falls to 0"""
    gamma: float = 0.0
    """discount"""
    gae_lambda: float = 0.95
    """of the generalised advantages"""
    num_minibatches: int = 8
    """gradient steps of one pass over a rollout"""
    update_epochs: int = 4
    """passes over a rollout"""
    clip_coef: float = 0.2
    """how far the ratio of the policies may go from 1"""
    vf_coef: float = 0.5
    """weight of the critic's error"""
    max_grad_norm: float = 0.5
    """gradients are cut to this length"""
    log_std: float = -2.0
    """first log deviation of an action; at 0 the noise, of length 8 in 64 dimensions, would drown the embedding"""
    seed: int = 1
    """of weights, noise and drawings"""
    device: str = "auto"
    """where environments and networks compute"""


class Agent(nn.Module):
    """A Gaussian policy around `mean(x)` and a critic; at first the mean is zero, which is the baseline B1."""

    def __init__(self, observation_dim: int, action_dim: int, log_std: float) -> None:
        super().__init__()
        self.mean = nn.Linear(observation_dim, action_dim)
        self.critic = nn.Sequential(nn.Linear(observation_dim, 64), nn.Tanh(), nn.Linear(64, 1))
        self.log_std = nn.Parameter(torch.full((action_dim,), log_std))
        nn.init.zeros_(self.mean.weight)
        nn.init.zeros_(self.mean.bias)

    def policy(self, observation: Tensor) -> Independent:
        return Independent(Normal(self.mean(observation), self.log_std.exp()), 1)

    def value(self, observation: Tensor) -> Tensor:
        value: Tensor = self.critic(observation).squeeze(-1)
        return value


@torch.no_grad()
def evaluate(agent: Agent, core: Core) -> float:
    """Mean 1/rank over all steps of all drawings of a core, with the mean action."""
    sketches = torch.arange(len(core.bank), device=core.device)
    score = core.score(sketches, agent.mean(core.observations(sketches)))
    return float((score.valid / score.rank.clamp_min(1)).sum() / score.valid.sum())


def train(args: Args) -> tuple[float, float]:
    """Train an agent: mean 1/rank on the test drawings before and after."""
    torch.manual_seed(args.seed)
    envs = gym.make_vec(args.env_id, num_envs=args.num_envs, reward=args.reward, device=args.device, tensors=True)
    observation, _ = envs.reset(seed=args.seed)
    device = observation.device
    bank = {"sketchless/Strokes-v0": "procedural-strokes"}.get(args.env_id, "procedural")
    test = Core(EpisodeBank.load(bank, "test", device))
    agent = Agent(test.observation_dim, test.action_dim, args.log_std).to(device)
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    before = evaluate(agent, test)
    print(f"before: mean 1/rank {before:.3f} on {len(test.bank)} test drawings")

    rows = args.num_steps * args.num_envs
    updates, start = max(args.total_timesteps // rows, 1), time.perf_counter()
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = args.learning_rate * (1 - update / updates)

        told = []
        with torch.no_grad():
            for _ in range(args.num_steps):
                policy, value = agent.policy(observation), agent.value(observation)
                action = policy.sample()
                following, reward, terminated, _, _ = envs.step(action)
                told.append((observation, action, policy.log_prob(action), value, reward.float(), terminated.float()))
                observation = following
            seen, actions, log_probs, values, rewards, ends = (torch.stack(x) for x in zip(*told, strict=True))
            ahead, nearest = torch.zeros_like(values[0]), agent.value(observation)
            advantages = torch.zeros_like(values)
            for t in reversed(range(args.num_steps)):
                # delta_t = r_t + gamma V(s_{t+1}) - V(s_t);  A_t = delta_t + gamma lambda A_{t+1}
                going = args.gamma * (1 - ends[t])
                ahead = rewards[t] + going * nearest - values[t] + going * args.gae_lambda * ahead
                advantages[t], nearest = ahead, values[t]

        flat = [x.flatten(0, 1) for x in (seen, actions, log_probs, advantages, advantages + values)]
        for _ in range(args.update_epochs):
            for batch in torch.randperm(rows, device=device).chunk(args.num_minibatches):
                x, action, log_prob, advantage, goal = (column[batch] for column in flat)
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                # rho = pi(a|s) / pi_old(a|s)
                ratio = (agent.policy(x).log_prob(action) - log_prob).exp()
                clipped = ratio.clamp(1 - args.clip_coef, 1 + args.clip_coef)
                gain = torch.minimum(ratio * advantage, clipped * advantage).mean()
                loss = -gain + args.vf_coef * (agent.value(x) - goal).square().mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
                optimizer.step()
        if (update + 1) % 20 == 0:
            speed = (update + 1) * rows / (time.perf_counter() - start)
            print(f"step {(update + 1) * rows}: mean reward {rewards.mean():.3f}, {speed:.0f} steps/s", flush=True)

    after = evaluate(agent, test)
    print(f"after:  mean 1/rank {after:.3f}")
    return before, after


if __name__ == "__main__":
    train(tyro.cli(Args))
