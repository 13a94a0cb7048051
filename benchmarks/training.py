"""What `train` and a grid's cell share: the training loop (save, resume, interrupt, log) and the form of a result."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sketchless.agents import Agent
from sketchless.encoders.bank import EpisodeBank
from sketchless.envs.core import Core

from .logs import logger_in
from .metrics import Evaluation
from .runs import Interrupted

SECONDS_BETWEEN_SAVES = 30.0
DECIMALS = 6

Progress = Callable[[float, str], bool]
"""`progress(share, note)`: tell what share of the work (0..1) is done; True asks it to save and to stop."""


def train_agent(
    make: type[Agent],
    core: Core,
    validation: EpisodeBank | None,
    settings: Any,
    given: Mapping[str, Any],
    steps: int,
    file: Path,
    progress: Progress,
    log: tuple[Path, str] | None = None,
    check: Callable[[], None] = lambda: None,
) -> tuple[Agent, float | None]:
    """Train an agent, take up where its checkpoint stands, or read it if it is trained already.

    Args:
        make: class of the agent.
        core: what it is trained on.
        validation: what its policy is chosen on.
        settings: of the agent; None: its default.
        given: settings that differ from those, the seed among them.
        steps: budget, environment steps.
        file: of the trained agent; its checkpoint is `<stem>.part.safetensors`, beside it.
        progress: told after every update.
        log: folder and format of the log, or None.
        check: called before each save; raises where saving makes no sense.

    Returns:
        The agent, and the seconds of training; None if that was interrupted or done before.

    Raises:
        Interrupted: asked to stop, and saved. Otherwise as the agent's `learn`, `save` and `load`.
    """
    part = file.with_suffix(".part.safetensors")
    if file.exists():
        return make.load(file, core, validation), None
    resumed, start = part.exists(), time.perf_counter()
    agent = make.load(part, core, validation) if resumed else make(core, validation, settings, **given)
    saved, asked = time.monotonic(), False

    def save(path: Path) -> None:
        check()
        agent.save(path)

    def step(*_: Any) -> bool:
        nonlocal saved, asked
        if time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
            save(part)  # so that a killed run loses little
            saved = time.monotonic()
        best = max((row["val_m_at_b"] for row in agent.history), default=math.nan)
        note = f"reward {agent.last_reward:+.3f}  validation m@B {best:.2f}"
        asked = progress(min(agent.num_timesteps / steps, 1.0), note)
        return not asked

    if log is not None:
        agent.set_logger(logger_in(*log, agent.num_timesteps))
    with contextlib.closing(agent.logger):
        agent.learn(steps, callback=step, reset_num_timesteps=not resumed)
    if asked and agent.num_timesteps < steps:
        save(part)
        raise Interrupted(f"stopped at {agent.num_timesteps:,} of {steps:,} steps")
    save(file)
    part.unlink(missing_ok=True)
    return agent, None if resumed else round(time.perf_counter() - start, 3)


def cell_result(
    agent: Agent, refined: Evaluation, baseline: Evaluation, settings: Mapping[str, Any], seconds: float | None
) -> dict[str, Any]:
    """What is kept of one agent, as plain JSON values: its scores beside those of B1, and how it came to them.

    History and tau are kept to six decimals: they are many, and drawn.
    """
    percentile, reciprocal = refined.by_percentage()
    return {
        "metrics": refined.summary(),
        "baseline": baseline.summary(),
        "history": [{name: round(value, DECIMALS) for name, value in row.items()} for row in agent.history],
        "tau_by_step": refined.tau_by_step().round(DECIMALS).tolist(),
        "by_percentage": {"rp": percentile.tolist(), "rr": reciprocal.tolist()},
        "photos": refined.gallery,
        "sketches": len(refined.rank),
        "steps": agent.num_timesteps,
        "seconds": seconds,
        "settings": dict(settings),
        "agent_settings": asdict(agent.config),
    }
