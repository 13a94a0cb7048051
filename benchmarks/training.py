"""The training loop of `train` and of a grid's cell: save, resume, interrupt, log."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress

from sketchless.encoders.bank import EpisodeBank
from sketchless.envs.core import Core

from .logs import logger_in
from .runs import Interrupted, StopSignal

SECONDS_BETWEEN_SAVES = 60.0


@dataclass(frozen=True)
class TrainingJob:
    """What all seeds of a run share."""

    make: type[Any]
    core: Core
    validation: EpisodeBank | None
    settings: Any
    overrides: dict[str, Any]
    passes: float
    folder: Path
    log: str | None

    def fresh(self, seed: int) -> Any:
        return self.make(self.core, self.validation, self.settings, **{**self.overrides, "seed": seed})


def train_seed(job: TrainingJob, seed: int, bar: Progress, stop: StopSignal) -> Any:
    """Train one seed, or take up where its checkpoint stands."""
    file, part = job.folder / f"agent-{seed}.safetensors", job.folder / f"agent-{seed}.part.safetensors"
    if file.exists():
        return job.make.load(file, job.core, job.validation)
    agent = job.make.load(part, job.core, job.validation) if part.exists() else job.fresh(seed)
    budget = max(round(job.passes * int(job.core.bank.lengths.sum()) * agent.config.samples), 1)
    task = bar.add_task(f"seed {seed}", total=budget, note="")
    saved, resumed = time.monotonic(), part.exists()
    if job.log:
        agent.set_logger(logger_in(job.folder / "log" / f"seed-{seed}", job.log, agent.num_timesteps))

    def step(inner: dict[str, Any], _: dict[str, Any]) -> bool:
        nonlocal saved
        if time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
            agent.save(part)  # so that a killed run loses little
            saved = time.monotonic()
        best = max((look["val_m_at_b"] for look in agent.history), default=float("nan"))
        note = f"reward {agent.last_reward:+.3f}  validation m@B {best:.2f}"
        bar.update(task, completed=min(agent.num_timesteps, budget), note=note)
        return not stop.asked

    agent.learn(budget, callback=step, reset_num_timesteps=not resumed)
    if stop.asked and agent.num_timesteps < budget:
        agent.save(part)
        raise Interrupted(
            f"stopped at {agent.num_timesteps:,} of {budget:,} steps of seed {seed}; "
            f"the same command with --out {job.folder} goes on"
        )
    bar.update(task, completed=budget)
    agent.save(file)
    part.unlink(missing_ok=True)
    return agent
