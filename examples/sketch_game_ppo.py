"""Two agents learn to draw less noise: independent PPO in the sketch game, against keeping everything.

Every sketch gets planted noise strokes. The selector learns which strokes to keep, the refiner to nudge the
embedding; each has an actor and a critic of its own and knows nothing of the other (independent PPO: Schulman et
al., 2017; de Witt et al., 2020). Training runs many games side by side on the batched `Game`; the judgement is
made in the PettingZoo game, on the test split.

    python examples/sketch_game_ppo.py      (two to three minutes on one core)
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, Normal

from sketchless.datasets.dataset import SketchDataset
from sketchless.encoders import EpisodeBank
from sketchless.envs import dataset_of, sketch_game_v0
from sketchless.envs.game import Game, Position, plant_noise


@dataclass(frozen=True)
class Config:
    """Settings of the training."""

    games: int = 32  # side by side
    horizon: int = 64  # steps of each game between two updates
    updates: int = 200
    epochs: int = 4  # passes over the steps of an update
    batch: int = 512  # steps of a gradient step
    learning_rate: tuple[float, float] = (1e-3, 3e-4)  # of selector and refiner; falls to 0
    gamma: tuple[float, float] = (0.9, 0.0)  # a kept stroke tells on later ranks, a displacement does not
    gae_lambda: float = 0.9
    clip: float = 0.2
    entropy: float = 0.003  # of the selector
    noise: int = 3  # strokes planted in a sketch
    seed: int = 0


class Agent(nn.Module):
    """An actor and a critic on what both agents see: x(K) and x(K + new stroke)."""

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.critic = _network(width, 1, generator)

    def act(self, observation: Tensor) -> Distribution:
        raise NotImplementedError

    def value(self, observation: Tensor) -> Tensor:
        value: Tensor = self.critic(_look(observation))
        return value.squeeze(-1)


class Selector(Agent):
    """Keeps a stroke with a probability; to begin with 0.88 for every one."""

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__(width, generator)
        self.actor = _network(width, 1, generator, last=2.0)

    def act(self, observation: Tensor) -> Distribution:
        return Bernoulli(logits=self.actor(_look(observation)).squeeze(-1))


class Refiner(Agent):
    """A linear Gaussian displacement; to begin with around zero, the frozen embedding."""

    def __init__(self, width: int, action: int, generator: torch.Generator) -> None:
        super().__init__(width, generator)
        self.mean = nn.Linear(width, action)
        nn.init.zeros_(self.mean.weight)
        nn.init.zeros_(self.mean.bias)
        self.log_std = nn.Parameter(torch.full((action,), -3.5))

    def act(self, observation: Tensor) -> Distribution:
        return Independent(Normal(self.mean(observation), self.log_std.exp()), 1)


def _look(observation: Tensor) -> Tensor:
    """What is kept and what the new stroke would change, with numbers of about 1."""
    kept, offered = observation.chunk(2, dim=-1)
    return torch.cat([kept, 4 * (offered - kept)], dim=-1) * kept.shape[-1] ** 0.5


def _network(width: int, out: int, generator: torch.Generator, last: float = 0.0) -> nn.Sequential:
    """A perceptron that gives `last` for everything to begin with."""
    first, second, third = nn.Linear(width, 64), nn.Linear(64, 64), nn.Linear(64, out)
    for layer in (first, second):
        nn.init.orthogonal_(layer.weight, 1.0, generator=generator)
        nn.init.zeros_(layer.bias)
    nn.init.zeros_(third.weight)
    nn.init.constant_(third.bias, last)
    return nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), third)


class Rollout(NamedTuple):
    """S steps of B games; actions and their log-probabilities by agent."""

    seen: Tensor  # [S + 1, B, 2 D]
    actions: tuple[Tensor, Tensor]  # [S, B] and [S, B, d]
    log_probs: tuple[Tensor, Tensor]  # [S, B] each
    reward: Tensor  # [S, B]
    done: Tensor  # [S, B]


def train(game: Game, config: Config) -> tuple[Selector, Refiner]:
    """Train both agents on a game, each as if the other were part of the world."""
    generator = torch.Generator().manual_seed(config.seed)
    selector = Selector(game.observation_dim, generator)
    refiner = Refiner(game.observation_dim, game.core.action_dim, generator)
    agents = (selector, refiner)
    optimizers = [torch.optim.Adam(agent.parameters()) for agent in agents]
    position = game.reset(torch.arange(config.games) + 1000 * config.seed)
    start = time.perf_counter()
    for update in range(config.updates):
        position, rollout = collect(game, position, agents, config.horizon, generator)
        for k, agent in enumerate(agents):
            for group in optimizers[k].param_groups:
                group["lr"] = config.learning_rate[k] * (1 - update / config.updates)
            improve(k, agent, optimizers[k], rollout, config, generator)
        if (update + 1) % 10 == 0:
            speed = (update + 1) * rollout.reward.numel() / (time.perf_counter() - start)
            paid, kept = rollout.reward.mean(), rollout.actions[0].mean()
            print(f"update {update + 1:3d}: mean 1/rank {paid:.3f}, kept {kept:.0%}, {speed:.0f} steps/s", flush=True)
    return agents


@torch.no_grad()
def collect(
    game: Game, position: Position, agents: tuple[Selector, Refiner], steps: int, generator: torch.Generator
) -> tuple[Position, Rollout]:
    """Play all games for some steps; one that ends is followed by the next."""
    seen, told = [game.observe(position)], []
    for _ in range(steps):
        policies = [agent.act(seen[-1]) for agent in agents]
        keep, displacement = (_sample(policy, generator) for policy in policies)
        outcome = game.step(position, keep.bool().tolist(), displacement)
        log_probs = policies[0].log_prob(keep), policies[1].log_prob(displacement)
        told.append((keep, displacement, *log_probs, outcome.reward.float(), outcome.terminated))
        position = game.next_game(outcome.position, outcome.terminated)
        seen.append(game.observe(position))
    keep, displacement, first, second, reward, done = (torch.stack(column) for column in zip(*told, strict=True))
    return position, Rollout(torch.stack(seen), (keep, displacement), (first, second), reward, done)


def _sample(policy: Distribution, generator: torch.Generator) -> Tensor:
    if isinstance(policy, Bernoulli):
        return torch.bernoulli(policy.mean, generator=generator)
    return policy.mean + policy.stddev * torch.randn(policy.mean.shape, generator=generator)


def improve(
    k: int,
    agent: Agent,
    optimizer: torch.optim.Optimizer,
    rollout: Rollout,
    config: Config,
    generator: torch.Generator,
) -> None:
    """One PPO update of agent k: generalised advantages, clipped policy loss, squared error of its critic."""
    seen, action, log_prob = rollout.seen, rollout.actions[k], rollout.log_probs[k]
    reward, done, gamma = rollout.reward, rollout.done, config.gamma[k]
    with torch.no_grad():
        value = agent.value(seen)
        advantage, ahead = torch.zeros_like(reward), torch.zeros_like(reward[0])
        for t in reversed(range(len(reward))):
            # delta_t = r_t + gamma V(s_{t+1}) - V(s_t);  A_t = delta_t + gamma lambda A_{t+1}
            going = (~done[t]).float()
            delta = reward[t] + gamma * going * value[t + 1] - value[t]
            ahead = delta + gamma * config.gae_lambda * going * ahead
            advantage[t] = ahead
    goal = (advantage + value[:-1]).flatten()
    advantage = ((advantage - advantage.mean()) / (advantage.std() + 1e-8)).flatten()
    seen, action, log_prob = seen[:-1].flatten(0, 1), action.flatten(0, 1), log_prob.flatten()
    for _ in range(config.epochs):
        for rows in torch.randperm(len(goal), generator=generator).split(config.batch):
            policy = agent.act(seen[rows])
            # rho = pi(a|s) / pi_old(a|s)
            ratio = torch.exp(policy.log_prob(action[rows]) - log_prob[rows])
            clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
            gain = torch.minimum(ratio * advantage[rows], clipped * advantage[rows]).mean()
            error = (agent.value(seen[rows]) - goal[rows]).square().mean()
            spread = policy.entropy().mean() if isinstance(agent, Selector) else 0.0
            loss = -gain + 0.5 * error - config.entropy * spread
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()


Policy = Callable[[Tensor, dict[str, Any]], tuple[bool, Tensor]]


def play(env: sketch_game_v0.SketchGame, policy: Policy) -> dict[str, tuple[float, list[int]]]:
    """Play every sketch of the PettingZoo game once: mean 1/rank over its steps and strokes kept, by sketch id."""
    played = {}
    for name in env.game.core.bank.sketch_ids:
        observations, infos = env.reset(seed=0, options={"sketch_id": name})
        paid = []
        while env.agents:
            keep, displacement = policy(torch.from_numpy(observations["selector_0"]), infos["selector_0"])
            actions = {"selector_0": int(keep), "refiner_0": displacement.numpy()}
            observations, _, _, _, infos = env.step(actions)
            paid.append(infos["selector_0"]["reciprocal_rank"])
        played[name] = float(np.mean(paid)), infos["selector_0"]["kept"]
    return played


def interval(values: npt.NDArray[np.float64], seed: int = 0) -> list[float]:
    """Mean, then its 95 % bootstrap interval over sketches."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(2000, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return [float(values.mean()), float(low), float(high)]


Scores = dict[str, dict[str, Any]]  # by policy


def run(config: Config, bank: str = "procedural", encoder: str | None = None) -> Scores:
    """Train on the training split and judge on the test split, beside keeping everything.

    Of every policy: mean `score` 1/rank, `gain` over keeping everything with its interval, and what share it keeps
    of the strokes of the `drawing` and of the `noise`.
    """
    planted = plant_noise(dataset_of(EpisodeBank.load(bank, "train")), config.noise, splits=("train", "test"))
    selector, refiner = train(make(bank, encoder, planted.dataset, "train").game, config)
    env = make(bank, encoder, planted.dataset, "test")
    still = torch.zeros(env.game.core.action_dim)

    @torch.no_grad()
    def selects(x: Tensor) -> bool:
        return bool(selector.act(x).mean > 0.5)

    @torch.no_grad()
    def refines(x: Tensor) -> Tensor:
        displacement: Tensor = refiner.mean(x)
        return displacement

    policies: dict[str, Policy] = {
        "keep everything": lambda x, info: (True, still),
        "trained refiner alone": lambda x, info: (True, refines(x)),
        "trained selector alone": lambda x, info: (selects(x), still),
        "both trained": lambda x, info: (selects(x), refines(x)),
        "drop what was planted": lambda x, info: (not planted.noise[info["sketch_id"]][info["stroke"]], still),
    }
    found: Scores = {}
    everything = np.zeros(0)
    for name, policy in policies.items():
        played = play(env, policy)
        noise = np.concatenate([planted.noise[sketch] for sketch in played])
        kept = np.concatenate([np.isin(range(len(planted.noise[s])), strokes) for s, (_, strokes) in played.items()])
        score = np.array([score for score, _ in played.values()])
        everything = everything if found else score
        found[name] = {
            "score": float(score.mean()),
            "gain": interval(score - everything),
            "drawing": float(kept[~noise].mean()),
            "noise": float(kept[noise].mean()),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bank", default="procedural", help="bank file, or the name of one that ships")
    parser.add_argument("--encoder", default=None, help="encoder file; by default the one beside the bank")
    parser.add_argument("--updates", type=int, default=Config.updates)
    parser.add_argument("--seed", type=int, default=Config.seed)
    parser.add_argument("--out", type=Path, default=None, help="JSON file for the scores")
    given = parser.parse_args()
    config = Config(updates=given.updates, seed=given.seed)
    torch.set_num_threads(1)  # the networks are small: more threads only wait for each other

    found = run(config, given.bank, given.encoder)
    print(f"mean 1/rank on the test sketches with {config.noise} noise strokes each")
    for name, told in found.items():
        gain = "{:+.3f} [{:+.3f}, {:+.3f}] over keeping everything".format(*told["gain"])
        shares = f"keeps {told['drawing']:.0%} of the drawing, {told['noise']:.0%} of the noise"
        print(f"  {name:24s} {told['score']:.3f}   {gain}   {shares}")
    if given.out is not None:
        given.out.write_text(json.dumps({"config": asdict(config), "scores": found}, indent=1) + "\n")


def make(bank: str, encoder: str | None, dataset: SketchDataset, split: str) -> sketch_game_v0.SketchGame:
    return sketch_game_v0.parallel_env(bank=bank, encoder=encoder, dataset=dataset, split=split)


if __name__ == "__main__":
    main()
