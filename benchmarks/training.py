"""What `train` and a grid's cell share: the training loop (save, resume, interrupt, log) and the form of a result."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sketchless.agents import Agent, learn_together
from sketchless.datasets.errors import ConfigError
from sketchless.encoders.bank import EpisodeBank
from sketchless.envs.core import Core
from sketchless.envs.stop import StopCore

from .logs import logger_in
from .metrics import HEADLINE, Evaluation, evaluate
from .runs import Interrupted
from .stopping import Ranked, rivals

SECONDS_BETWEEN_SAVES = 30.0
DECIMALS = 4

Progress = Callable[[float, str], bool]
"""`progress(share, note)`: tell what share of the work (0..1) is done; True asks it to save and to stop."""


class Training:
    """One agent to be trained, or taken up where its checkpoint stands, or read if it is trained already.

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

    Attributes:
        done: whether it was trained before.
    """

    def __init__(
        self,
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
    ) -> None:
        self.steps, self._file, self._progress, self._log, self._check = steps, file, progress, log, check
        self._part = file.with_suffix(".part.safetensors")
        self.done, self.resumed = file.exists(), self._part.exists()
        if self.done or self.resumed:
            here = {name: value for name, value in given.items() if name == "cuda_graph"}  # files do not keep it
            self.agent = make.load(file if self.done else self._part, core, validation, **here)
        else:
            self.agent = make(core, validation, settings, **given)
        self._saved, self._asked = time.monotonic(), False

    @contextlib.contextmanager
    def logged(self) -> Iterator[None]:
        """Inside, the agent writes its log."""
        if self._log is not None:
            self.agent.set_logger(logger_in(*self._log, self.agent.num_timesteps))
        with contextlib.closing(self.agent.logger):
            yield

    def learn(self) -> None:
        """Train it alone, until it is trained or asked to stop."""
        self.agent.learn(self.steps, callback=self.note, reset_num_timesteps=not self.resumed)

    def note(self, *_: Any) -> bool:
        """Called after every update: save at times, tell how it goes. False where it is asked to stop."""
        agent = self.agent
        if time.monotonic() - self._saved > SECONDS_BETWEEN_SAVES:
            self._save(self._part)  # so that a killed run loses little
            self._saved = time.monotonic()
        note = f"reward {agent.last_reward:+.3f}"
        if agent.history:
            note += f"  validation m@B {max(row['val_m_at_b'] for row in agent.history):.2f}"
        self._asked = self._progress(min(agent.num_timesteps / self.steps, 1.0), note)
        return not self._asked

    def end(self) -> None:
        """Save what there is. Raises Interrupted where it was asked to stop before the end."""
        if self._asked and self.agent.num_timesteps < self.steps:
            self._save(self._part)
            raise Interrupted(f"stopped at {self.agent.num_timesteps:,} of {self.steps:,} steps")
        self._save(self._file)
        self._part.unlink(missing_ok=True)

    def _save(self, path: Path) -> None:
        self._check()
        self.agent.save(path)


def refuse_leaking(agent: Agent) -> None:
    """Raise ConfigError for an agent that looks at later frames: its scores are no others' rivals."""
    if not agent.causal:
        raise ConfigError(
            f"policy={agent.config.policy} ({type(agent.policy).__name__}): looks at later frames and cannot act while "
            "a person draws; "
            "`sketchless ablate leak` measures what that is worth"
        )


def train(job: Training) -> float | None:
    """Train an agent.

    Returns:
        The seconds it took; None if it was interrupted, or done, before.

    Raises:
        Interrupted: asked to stop, and saved. Otherwise as the agent's `learn`, `save` and `load`.
    """
    if job.done:
        return None
    start = time.perf_counter()
    with job.logged():
        job.learn()
    job.end()
    return None if job.resumed else round(time.perf_counter() - start, 3)


def train_together(jobs: Sequence[Training]) -> list[float | None]:
    """`train` for agents for which `can_learn_together`.

    All are saved where they are asked to stop. Seconds are a share of those that all took.
    """
    todo, start = [job for job in jobs if not job.done], time.perf_counter()
    with contextlib.ExitStack() as stack:
        for job in todo:
            stack.enter_context(job.logged())
        if todo:
            agents, notes = [job.agent for job in todo], [job.note for job in todo]
            learn_together(agents, todo[0].steps, notes, reset_num_timesteps=[not job.resumed for job in todo])
    stopped: Interrupted | None = None
    for job in todo:
        try:
            job.end()
        except Interrupted as error:
            stopped = stopped or error
    if stopped:
        raise stopped
    seconds = round((time.perf_counter() - start) / max(len(todo), 1), 3)
    return [None if job.done or job.resumed else seconds for job in jobs]


def stop_rivals(core: Core, validation: EpisodeBank | None, bank: EpisodeBank) -> dict[str, Evaluation]:
    """B1's lists, shown when the rivals show them, on a bank; none in other tasks than `Stop-v0`, or unvalidated."""
    if not isinstance(core, StopCore) or validation is None:
        return {}
    baseline, cost = evaluate(None, bank), core.stroke_cost
    steps = rivals(Ranked.by_b1(validation), Ranked.by_b1(bank), cost)
    return {name: baseline.shown_at(shown, cost) for name, shown in steps.items()}


def cell_result(
    agent: Agent, refined: Evaluation, baseline: Evaluation, settings: Mapping[str, Any], seconds: float | None
) -> dict[str, Any]:
    """What is kept of one agent, as plain JSON values: its scores beside those of B1, and how it came to them.

    History and tau are kept to six decimals: they are many, and drawn.
    """
    percentile, reciprocal = refined.by_percentage()
    return {
        "metrics": refined.summary(),
        **({} if refined.stopping is None else {"stopping": refined.stopping.summary()}),
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


def by_photo(evaluation: Evaluation) -> dict[str, Any]:
    """What a choice among settings is made on, as plain JSON values: names of the photos, how many sketches each has,
    and m@A and m@B of each, the mean over its sketches in percent."""
    photos, place, sketches = np.unique(evaluation.photo_ids, return_inverse=True, return_counts=True)
    means = {
        metric: (np.bincount(place, evaluation.per_sketch(metric)) / sketches).round(DECIMALS).tolist()
        for metric in HEADLINE
    }
    return {"photos": photos.tolist(), "sketches": sketches.tolist(), **means}
