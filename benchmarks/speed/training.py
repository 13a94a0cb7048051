"""`sketchless bench training`: learning end to end, ours beside the stock algorithms on the same env and batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import torch
from rich.console import Console
from rich.table import Table
from sb3_contrib import TRPO
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from sketchless.agents import learn_together, make_agent
from sketchless.encoders.bank import EpisodeBank
from sketchless.envs.core import Core
from sketchless.envs.sb3_env import SketchVecEnv

from .measure import settled
from .timing import interleave, ratio

EPISODES, SAMPLES = 16, 16  # of an update: 256 whole drawings
EPOCHS = 4
# What is measured, beside what: on 256 environments of our vector env, and as most would begin: 16 single ones.
RIVALS = {
    "ppo-a-clip": "stock PPO",
    "ppo-ac-clip": "stock PPO",
    "ppo-ac-kl": "stock PPO",
    "trpo": "stock TRPO",
    "ppo-a-clip, batch 320": "stock PPO, DummyVecEnv(16), batch 320",
    "ten seeds of ppo-a-clip": "ten runs of ppo-a-clip",
    "ten seeds of grpo": "ten runs of grpo",
    "ppo-a-clip, CUDA graph": "ppo-a-clip",
}
AIMS = {"ppo-a-clip": 9.0, "ppo-ac-clip": 3.0, "ppo-ac-kl": 3.0, "trpo": 3.0, "ppo-a-clip, batch 320": 15.0}
AIMS |= {"ten seeds of ppo-a-clip": 3.0, "ten seeds of grpo": 3.0}


def stock(kind: Any, env: VecEnv, steps: int, updates: int, **more: Any) -> tuple[int, Callable[[], object]]:
    """`learn` of stable-baselines3's PPO or sb3-contrib's TRPO: linear actor, a rollout in one piece."""
    batch = env.num_envs * steps
    policy = {"net_arch": {"pi": [], "vf": [64]}, "log_std_init": -2.0}
    agent = kind("MlpPolicy", env, n_steps=steps, batch_size=batch, policy_kwargs=policy, device="cpu", seed=0, **more)
    return updates * batch, lambda: agent.learn(updates * batch)


def ours(name: str, core: Core, episodes: int, updates: int, **settings: Any) -> tuple[int, Callable[[], object]]:
    """`learn` of one of our agents."""
    agent = make_agent(name, core, episodes=episodes, **settings)
    steps = updates * episodes * agent.config.samples * core.n_steps
    return steps, lambda: agent.learn(steps)


def ten(name: str, core: Core, episodes: int, updates: int, together: bool) -> tuple[int, Callable[[], object]]:
    """`learn` of ten seeds, side by side or one after the other."""
    agents = [make_agent(name, core, episodes=episodes, seed=seed) for seed in range(10)]
    steps = updates * episodes * agents[0].config.samples * core.n_steps

    def one_by_one() -> None:
        for agent in agents:
            agent.learn(steps)

    return len(agents) * steps, (lambda: learn_together(agents, steps)) if together else one_by_one


def bench_training(config: Any, console: Console) -> dict[str, Any]:
    """Environment steps a second of `learn`, for a reward without and with the Kendall-tau distance.

    On the built-in bank (T = 20, G = 250 photos, D = 128), 4 epochs of an update in one piece. On a GPU also
    `ppo-a-clip` by a CUDA graph beside the same without; it is captured before the first reading.
    """
    bank = EpisodeBank.load("procedural", "train", "cpu")
    (episodes, updates), length = ((1, 1) if config.quick else (EPISODES, 3)), int(bank.lengths.max())
    size = episodes, updates
    single: dict[str, Any] = {"samples": 1, "advantage": "batch-mean"}
    found: list[dict[str, Any]] = []
    for reward in ("inv-rank", "combined"):
        core = Core(bank.to(config.device), reward)

        def many(reward: str = reward) -> VecEnv:
            return SketchVecEnv(episodes * SAMPLES, bank=bank, reward=reward, device="cpu")

        def one(reward: str = reward) -> gym.Env[Any, Any]:
            return gym.make("sketchless/OnTheFly-v0", bank=bank, reward=reward, device="cpu")

        jobs = {
            "stock PPO": stock(PPO, many(), length, updates, n_epochs=EPOCHS),
            "stock TRPO": stock(TRPO, many(), length, updates),
            "stock PPO, DummyVecEnv(16), batch 320": stock(
                PPO, DummyVecEnv([one] * EPISODES), length, updates, n_epochs=EPOCHS
            ),
            "ppo-a-clip": ours("ppo-a-clip", core, *size),
            "ppo-ac-clip": ours("ppo-ac-clip", core, *size),
            "ppo-ac-kl": ours("ppo-ac-kl", core, *size),
            "trpo": ours("trpo", core, *size),
            "ppo-a-clip, batch 320": ours("ppo-a-clip", core, episodes, 10 * updates, **single),
            **{f"ten runs of {name}": ten(name, core, *size, together=False) for name in ("ppo-a-clip", "grpo")},
            **{f"ten seeds of {name}": ten(name, core, *size, together=True) for name in ("ppo-a-clip", "grpo")},
        }
        if core.device.type == "cuda":
            jobs["ppo-a-clip, CUDA graph"] = ours("ppo-a-clip", core, *size, cuda_graph=True)
        console.print(f"measuring with reward {reward} ...")
        work = {name: job for name, (_, job) in jobs.items()}
        timings = interleave(work, config.repeats, settle=settled(config.device))
        rates = {name: jobs[name][0] / timing.median for name, timing in timings.items()}
        table = Table(title=f"training, reward {reward}: steps a second")
        for column in ("", "steps/s", "times its rival", "aim"):
            table.add_column(column, justify="right" if column else "left")
        for name, rate in rates.items():
            rival = RIVALS.get(name)
            over = ratio(timings[rival], timings[name], jobs[name][0] / jobs[rival][0]) if rival else None
            record = {"what": name, "reward": reward, "steps_per_second": rate}
            interval = [over.low, over.high] if over else None
            found.append({**record, "over_stock": over and over.value, "interval95": interval})
            aim = f"{AIMS[name]:g}" if name in AIMS else ""
            table.add_row(name, f"{rate:,.0f}", str(over or ""), aim)
        console.print(table)
    return {"training": found, "threads": torch.get_num_threads()}
