"""Offline RL: export an agent's episodes to Minari, load them, and clone the agent in plain torch.

The clone sees observations and actions of the data set alone. How it retrieves is measured beside its teacher and B1,
on test drawings that neither has seen.

    python examples/minari_cloner.py      (about a minute on one core; needs minari: pip install "sketchless[minari]")
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from torch import nn

from sketchless.agents import load_agent
from sketchless.benchmarks import Evaluation, evaluate
from sketchless.benchmarks.cli import main as sketchless
from sketchless.encoders import EpisodeBank

try:
    import minari
except ImportError:
    sys.exit('this example needs Minari: pip install "sketchless[minari]"')


@dataclass
class Args:
    """Settings; the string under a field is its help."""

    folder: str = "runs/minari"
    """where the agent and the data set are written"""
    passes: float = 5
    """budget of the agent that is cloned"""
    episodes: int = 1000
    """of the data set"""
    epochs: int = 30
    """over the data set"""
    learning_rate: float = 3e-3
    """of the clone"""
    seed: int = 0
    """of the clone's minibatches"""


def clone(dataset: minari.MinariDataset, args: Args) -> nn.Module:
    """A linear policy with the least squared error to the actions of a data set."""
    episodes = list(dataset.iterate_episodes())
    seen = torch.from_numpy(np.concatenate([one.observations[: len(one.actions)] for one in episodes]))
    done = torch.from_numpy(np.concatenate([one.actions for one in episodes]))
    policy = nn.Linear(seen.shape[1], done.shape[1])
    nn.init.zeros_(policy.weight)
    nn.init.zeros_(policy.bias)
    optimizer = torch.optim.Adam(policy.parameters(), lr=args.learning_rate)
    generator = torch.Generator().manual_seed(args.seed)
    for _ in range(args.epochs):
        for rows in torch.randperm(len(seen), generator=generator).split(256):
            loss = (policy(seen[rows]) - done[rows]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return policy


def main(args: Args) -> tuple[Evaluation, Evaluation]:
    """Train, export, clone, measure: evaluations of teacher and clone."""
    run, data, name = Path(args.folder) / "run", Path(args.folder) / "data", "sketchless/on-the-fly/agent-v0"
    commands = (
        ["train", "--out", str(run), "--passes", str(args.passes), "--reward", "inv-rank", "--no-gif"],
        ["export", str(run), "--out", str(data), "--episodes", str(args.episodes)],
    )
    for command in commands:
        if (data / name).exists() and command[0] == "export":
            continue  # of an earlier run of this example
        if code := sketchless(command):
            sys.exit(code)
    os.environ["MINARI_DATASETS_PATH"] = str(data.resolve())
    policy = clone(minari.load_dataset(name), args)
    bank = EpisodeBank.load("procedural", "test")
    teacher = evaluate(load_agent(run / "agent-0.safetensors", bank), bank)
    found = evaluate(policy, bank)
    for who, evaluation in {"B1": evaluate(None, bank), "teacher": teacher, "clone": found}.items():
        print(f"{who:8}", "  ".join(f"{metric} {value:.2f}" for metric, value in evaluation.summary().items()))
    return teacher, found


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
