"""Off-policy algorithms of stable-baselines3 and sb3-contrib: SAC, TD3, TQC and CrossQ, on many episodes at once.

A step's reward is that step's own doing, so gamma is 0. The actor begins as B1 (mean zero), and a small `scale` keeps
what it can do near it: the critic knows rewards only around the embedding. Which `scale` is chosen on the validation
drawings; the test drawings are played once, at the end.

    python examples/off_policy.py --algorithm SAC      (half a minute on one core)
    python examples/off_policy.py --algorithm TD3 --task carry --gamma 0.5
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import tyro
from sb3_contrib import TQC, CrossQ
from stable_baselines3 import SAC, TD3
from stable_baselines3.common.noise import NormalActionNoise
from torch import nn

from sketchless.benchmarks import Evaluation, evaluate
from sketchless.encoders import EpisodeBank
from sketchless.envs import SketchVecEnv

ALGORITHMS: dict[str, Any] = {"SAC": SAC, "TD3": TD3, "TQC": TQC, "CrossQ": CrossQ}


@dataclass
class Args:
    """Settings; the string under a field is its help."""

    algorithm: Literal["SAC", "TD3", "TQC", "CrossQ"] = "SAC"
    """who learns"""
    total_timesteps: int = 51_200
    """steps of all environments together"""
    num_envs: int = 512
    """environments side by side"""
    task: Literal["on-the-fly", "carry"] = "on-the-fly"
    """what is played: `OnTheFly-v0`, or `Carry-v0`, in which a refinement is carried along"""
    gamma: float = 0.0
    """discount of later rewards"""
    reward: str = "inv-sqrt-rank"
    """reward scheme; 1/sqrt(rank) still tells far ranks apart, which helps a critic"""
    scales: tuple[float, ...] = (0.02, 0.05, 0.1)
    """of an action, in units of the embedding: a model learns with each, validation chooses"""
    learning_rate: float = 1e-3
    """of actor and critic"""
    gradient_steps: int = 8
    """after each step of the environments"""
    seed: int = 0
    """of weights, noise and drawings"""
    device: str = "auto"
    """where environments and networks compute"""


def make(args: Args, scale: float) -> Any:
    """The model, which acts as B1 does."""
    envs = SketchVecEnv(args.num_envs, reward=args.reward, scale=scale, device=args.device, task=args.task)
    settings: dict[str, Any] = {
        "gamma": args.gamma,
        "learning_rate": args.learning_rate,
        "learning_starts": 20 * args.num_envs,
        "batch_size": 256,
        "buffer_size": 100_000,
        "gradient_steps": args.gradient_steps,
        "train_freq": 1,
        "policy_kwargs": {"net_arch": {"pi": [], "qf": [256]}},
    }
    if args.algorithm == "TD3":
        width = envs.action_space.shape
        settings["action_noise"] = NormalActionNoise(np.zeros(width), np.full(width, 0.5))
    else:
        settings["ent_coef"] = 0.001
    model = ALGORITHMS[args.algorithm]("MlpPolicy", envs, seed=args.seed, device=args.device, **settings)
    for name in ("actor", "actor_target"):
        if actor := getattr(model.policy, name, None):
            for weights in actor.mu.parameters():
                nn.init.zeros_(weights)
            if hasattr(actor, "log_std"):
                nn.init.zeros_(actor.log_std.weight)
                nn.init.constant_(actor.log_std.bias, -1.0)
    return model


def train(args: Args) -> tuple[Evaluation, Evaluation]:
    """Train one with each scale and keep the best m@B of validation: the test drawings by B1, and by that model."""
    validation = EpisodeBank.load("procedural", "validation", args.device)
    print(f"validation: {_numbers(evaluate(None, validation))} (B1)")
    found: list[tuple[float, Any]] = []
    for scale in args.scales:
        model = make(args, scale)
        model.learn(args.total_timesteps)
        after = evaluate(model, validation)
        print(f"validation: {_numbers(after)} ({args.algorithm}, scale {scale:g})", flush=True)
        found.append((after.m_at_b, model))
    _, best = max(found, key=lambda one: one[0])
    test = EpisodeBank.load("procedural", "test", args.device)
    before, after = evaluate(None, test), evaluate(best, test)
    gains = (f"{name} {was:.2f} -> {after.summary()[name]:.2f}" for name, was in before.summary().items())
    print(f"test: {', '.join(gains)} ({args.algorithm}, scale {best.get_env().core.scale:g})")
    return before, after


def _numbers(result: Evaluation) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in result.summary().items())


if __name__ == "__main__":
    torch.set_num_threads(1)  # the networks are small
    train(tyro.cli(Args))
