"""`sketchless bench training`: learning end to end, ours beside the stock algorithms on the same env and batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from sb3_contrib import TRPO
from stable_baselines3 import PPO

from sketchless.agents import make_agent
from sketchless.encoders.bank import EpisodeBank
from sketchless.envs.core import Core
from sketchless.envs.sb3_env import SketchVecEnv

from .timing import interleave

EPISODES, SAMPLES = 16, 16  # of an update: 256 whole drawings
EPOCHS = 4
RIVALS = {"ppo-a-clip": "PPO", "ppo-ac-clip": "PPO", "trpo": "TRPO"}
AIMS = {"ppo-a-clip": 15.0, "ppo-ac-clip": 3.0, "trpo": 3.0}


def stock(name: str, bank: EpisodeBank, reward: str, updates: int) -> Callable[[], object]:
    """`learn` of stable-baselines3's PPO or sb3-contrib's TRPO: linear actor, the same batch in one piece."""
    env = SketchVecEnv(EPISODES * SAMPLES, bank=bank, reward=reward, device="cpu")
    steps = int(bank.lengths.max())
    batch = EPISODES * SAMPLES * steps
    common: Any = {
        "n_steps": steps,
        "batch_size": batch,
        "policy_kwargs": {"net_arch": {"pi": [], "vf": [64]}, "log_std_init": -2.0},
        "device": "cpu",
        "seed": 0,
    }
    agent: Any = PPO("MlpPolicy", env, n_epochs=EPOCHS, **common) if name == "PPO" else TRPO("MlpPolicy", env, **common)
    return lambda: agent.learn(updates * batch)


def ours(name: str, bank: EpisodeBank, reward: str, updates: int) -> Callable[[], object]:
    """`learn` of one of our agents."""
    agent = make_agent(name, Core(bank, reward), episodes=EPISODES, samples=SAMPLES)
    steps = updates * EPISODES * SAMPLES * int(bank.lengths.max())
    return lambda: agent.learn(steps)


def bench_training(config: Any, console: Console) -> dict[str, Any]:
    """Environment steps a second of `learn`, for a reward without and with the Kendall-tau distance.

    On the built-in bank (T = 20, G = 250 photos, D = 128), 256 drawings an update, 4 epochs in one piece.
    """
    bank = EpisodeBank.load("procedural", "train", "cpu")
    updates = 1 if config.quick else 3
    per_call = updates * EPISODES * SAMPLES * int(bank.lengths.max())
    found: list[dict[str, Any]] = []
    for reward in ("inv-rank", "combined"):
        jobs = {f"stock {name}": stock(name, bank, reward, updates) for name in sorted({*RIVALS.values()})}
        jobs |= {name: ours(name, bank, reward, updates) for name in RIVALS}
        console.print(f"measuring with reward {reward} ...")
        timings = interleave(jobs, config.repeats)
        table = Table(title=f"training, reward {reward}: steps a second")
        for column in ("", "steps/s", "times the stock form", "aim"):
            table.add_column(column, justify="left" if not column else "right")
        for name, timing in timings.items():
            rival = timings.get(f"stock {RIVALS.get(name)}")
            ratio = rival.median / timing.median if rival else None
            found.append(
                {"what": name, "reward": reward, "steps_per_second": per_call / timing.median, "over_stock": ratio}
            )
            aim = f"{AIMS[name]:g}" if name in AIMS else ""
            table.add_row(name, f"{per_call / timing.median:,.0f}", f"{ratio:.1f}" if ratio else "", aim)
        console.print(table)
    return {"training": found, "threads": torch.get_num_threads()}
