"""`sketchless train`: the main job. Train an agent on a bank and set it beside the baseline B1."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from sketchless.agents import agent_class, can_learn_together
from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.datasets.files import write_json
from sketchless.encoders.bank import EpisodeBank

from ..bank_file import BankFile
from ..display.animation import gif
from ..display.episode import episode_frames
from ..display.tables import LEGEND, PROXY, UNCHOSEN, comparison, doubt, in_words, when_shown
from ..display.terminal import Terminal
from ..environments import DEFAULT_ENV, Environment
from ..grid_file import CellRecord, write_grid
from ..logs import log_format
from ..metrics import POINTS, Evaluation, evaluate
from ..options import AgentName, EnvId, RewardName
from ..runs import (
    Interrupted,
    StopSignal,
    Stopwatch,
    begin_run,
    parse_seeds,
    parse_values,
    progress_bar,
    read_json,
)
from ..train_run import mean_curves, scores
from ..training import Training, cell_result, refuse_leaking, stop_rivals, train, train_together

PASSES = 10.0


@dataclass(frozen=True)
class TrainConfig:
    """Train an agent on a bank of episodes and compare it with the baseline B1 on the test drawings."""

    bank: str = "procedural"
    """Bank file written by `sketchless encode`, or the name of one that ships."""
    agent: AgentName = "ppo-a-clip"
    preset: str = "default"
    """Of the agent's settings: `default`; for ppo-a-clip also `paper` (to the letter, in absolute mode)."""
    set: tuple[str, ...] = ()
    """Settings of the agent that differ from the preset, such as `learning_rate=3e-4 samples=16`."""
    passes: float | None = None
    """Budget: how often each training drawing is played, on average; by default 10, with the preset `paper` the paper's
    2,000."""
    seeds: str = "0"
    """Seeds to train with, such as `0-9` or `0,2,5`. Those of policy gradients learn side by side, in all threads."""
    reward: RewardName = "combined"
    env: EnvId = DEFAULT_ENV
    mode: str | None = None
    """`residual` (refine the baseline's embedding) or `absolute`; by default the preset's."""
    observation: str = "feature"
    """What the agent sees: the frame's `feature`, or its `embedding`."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""
    logger: str = "auto"
    """`tensorboard`, `csv`, `wandb` or `none`; `auto`: TensorBoard where it is installed."""
    gif: bool = True
    """Draw one test episode as an animation; needs the data set that the bank was made from."""
    out: str | None = None
    """Folder of the run; an interrupted run of the same settings is taken up again."""


@dataclass(frozen=True)
class Trained:
    """What a run gave: the baseline, and one evaluation per seed, on the test split."""

    baseline: Evaluation
    refined: dict[int, Evaluation]
    folder: Path
    rivals: dict[str, Evaluation] = field(default_factory=dict)
    """In `Stop-v0`: B1's lists, shown without anything learned."""

    def shown(self, name: str) -> Table | None:
        """What the lists shown gave, in `Stop-v0`."""
        every = [evaluation.stopping for evaluation in self.refined.values()]
        agents = [one for one in every if one is not None]
        rivals = {label: one.stopping for label, one in self.rivals.items() if one.stopping is not None}
        cost = next(iter(self.refined.values())).stroke_cost
        return when_shown(agents, rivals, name, cost, self.baseline.photo_ids) if agents else None


def run(config: TrainConfig, console: Console | None = None) -> Trained:
    """Carry out a training run and write its folder.

    The folder gets an `agent-<seed>.safetensors` per seed, `grid.json` and `ranks.safetensors` (a grid of one arm,
    which `sketchless report` reads), `results.json`, and then the pictures: `curves.png`, `falls.png` (how far photos
    fall as lists change), a `learning-<seed>.png` per seed and, if the data set can be read, `episode.gif`. What goes
    wrong with a picture is a warning.

    Raises:
        ConfigError, CheckpointError, DataError, ResourceError: see the parts.
        Interrupted: SIGINT or SIGTERM came before the results were written; everything so far is in the folder.
    """
    console = console or Terminal()
    watch, seeds = Stopwatch(), parse_seeds(config.seeds)
    make = agent_class(config.agent)
    if config.preset not in make.presets:
        raise unknown_name(f"preset of {config.agent}:", config.preset, make.presets)
    passes = make.budgets.get(config.preset, PASSES) if config.passes is None else config.passes
    if not 0 < passes < math.inf:
        raise ConfigError(f"passes={passes}: must be a finite number above 0")
    config = replace(config, passes=passes)
    environment = Environment.find(config.env)
    config = replace(config, env=environment.id, **environment.unasked(config, TrainConfig))
    mode = config.mode or make.modes.get(config.preset, "residual")
    settings, given = make.presets[config.preset], parse_values(config.set)
    if "seed" in given:
        raise ConfigError(f"setting seed in {' '.join(config.set)}: give --seeds")
    make.check_settings(given)
    file = BankFile.open(config.bank, "train", "test")
    banks = {split: file.load(split, config.device) for split in file.splits}
    core = environment.core(banks["train"], config.reward, mode, config.observation, 1.0)
    validation, test = banks.get("validation"), banks["test"]
    first = make(core, validation, settings, **given)  # checks the settings before any work is done
    refuse_leaking(first)
    steps = max(round(passes * int(core.bank.lengths.sum()) * first.config.samples), 1)
    log = log_format(config.logger)
    varying = config.agent if make.varies_with_threads else None

    with begin_run(config.out, "train", _identity(config, file), varying) as folder, StopSignal() as stop:
        baseline = evaluate(None, test)
        console.print(f"B1 on {len(baseline.rank)} test sketches  {_line(baseline)}")
        with progress_bar(console) as bar:
            jobs = {
                seed: Training(
                    make,
                    core,
                    validation,
                    settings,
                    {**given, "seed": seed},
                    steps,
                    folder.path / f"agent-{seed}.safetensors",
                    _shown(bar, seed, stop),
                    (folder.path / "log" / f"seed-{seed}", log) if log else None,
                    folder.check,
                )
                for seed in seeds
            }
            seconds = _train(jobs, folder.path)
        agents = {seed: job.agent for seed, job in jobs.items()}
        refined = {}
        for seed, agent in agents.items():
            if stop.asked:
                raise Interrupted(
                    f"stopped, all seeds are trained; the same command with --out {folder.path} evaluates them"
                )
            refined[seed] = evaluate(agent, test)
        trained = Trained(baseline, refined, folder.path, stop_rivals(core, validation, test))
        _show(trained, agents, validation, config.agent, console)
        if file.ships:
            console.print(PROXY)
        folder.check()
        _write_grid(trained, agents, seconds, config, file, steps)
        write_json(folder.path / "results.json", results(trained, agents, config.agent, float(watch)))
        _draw(trained, agents, config, test, stop, console)
        written = ", ".join(sorted(path.name for path in folder.path.glob("[!.]*")))
        console.print(f"written to {folder.path}: {written}")
    return trained


def _train(jobs: dict[int, Training], folder: Path) -> dict[int, float | None]:
    """Train what is not trained yet; returns the seconds of each seed. Raises Interrupted."""
    how = f"the same command with --out {folder} goes on"
    if len(jobs) > 1 and can_learn_together([job.agent for job in jobs.values()]):
        try:
            return dict(zip(jobs, train_together(list(jobs.values())), strict=True))
        except Interrupted as stopped:
            raise Interrupted(f"{stopped}; {how}") from stopped
    seconds = {}
    for seed, job in jobs.items():
        try:
            seconds[seed] = train(job)
        except Interrupted as stopped:
            raise Interrupted(f"{stopped} of seed {seed}; {how}") from stopped
    return seconds


def _shown(bar: Progress, seed: int, stop: StopSignal) -> Callable[[float, str], bool]:
    """Progress of one seed, on a bar."""
    task = bar.add_task(f"seed {seed}", total=1.0, note="")

    def progress(share: float, note: str) -> bool:
        bar.update(task, completed=share, note=note)
        return stop.asked

    return progress


def _show(
    trained: Trained, agents: dict[int, Any], validation: EpisodeBank | None, name: str, console: Console
) -> None:
    """The table, and what it does not show."""
    baseline, refined = trained.baseline, trained.refined
    console.print(comparison(baseline, list(refined.values()), name))
    console.print(LEGEND)
    if shown := trained.shown(name):
        console.print(shown)
    for sentence in in_words(baseline, {f"seed {seed}": evaluation for seed, evaluation in refined.items()}):
        console.print(sentence)
    if validation is None:
        console.print(UNCHOSEN, style="yellow")
        return
    if not all(agent.core.bandit for agent in agents.values()):
        return
    looks = max(len(agent.history) for agent in agents.values())
    if warning := doubt(evaluate(None, validation), [evaluate(agent, validation) for agent in agents.values()], looks):
        console.print(warning, style="yellow")


def _identity(config: TrainConfig, file: BankFile) -> dict[str, Any]:
    # How `sketchless evaluate` finds the bank again: its name if it ships, else seen from the run's folder.
    path = config.bank if file.ships else os.path.relpath(file.path.resolve(), Path(config.out or "runs/x").resolve())
    bank = {"name": file.path.name, "sha256": file.sha256, "path": path}
    free = {"out", "bank", "gif", "logger"} | ({"env"} if config.env == DEFAULT_ENV else set())  # runs of 0.2 name none
    return {**{k: v for k, v in asdict(config).items() if k not in free}, "bank": bank}


def results(trained: Trained, agents: dict[int, Any], name: str, seconds: float) -> dict[str, Any]:
    """Everything a table or a figure of the run needs; plain JSON values."""
    return {
        "agent": name,
        "settings": asdict(next(iter(agents.values())).config) | {"seed": None},
        **scores(trained.baseline, trained.refined, trained.rivals),
        "resampled": "photos, sketches within them, seeds",
        "validation": {str(seed): agent.history for seed, agent in agents.items()},
        "steps": {str(seed): agent.num_timesteps for seed, agent in agents.items()},
        "seconds": seconds,
    }


def _write_grid(
    trained: Trained,
    agents: dict[int, Any],
    seconds: dict[int, float | None],
    config: TrainConfig,
    file: BankFile,
    steps: int,
) -> None:
    """The run as a grid of one arm."""
    manifest, baseline = read_json(trained.folder / "manifest.json"), trained.baseline
    machine = {key: value for key, value in manifest.items() if key not in ("command", "config")}
    cells = {}
    for seed, agent in agents.items():
        core = agent.core
        settings = {
            "agent": config.agent,
            "preset": config.preset,
            "reward": config.reward,
            **({} if config.env == DEFAULT_ENV else {"env": config.env}),
            "mode": core.mode,
            "observation": core.observation,
            "scale": core.scale,
            "split": "test",
            "device": config.device,
            "bank": file.path.name,
            "bank_sha256": file.sha256,
            "steps": steps,
            "seed": seed,
            "set": parse_values(config.set),
        }
        result = cell_result(agent, trained.refined[seed], baseline, settings, seconds[seed])
        cells[f"train/{config.agent}/seed-{seed}"] = CellRecord(
            {"experiment": "sketchless.benchmarks.commands.train:run", "settings": settings, **machine},
            result,
            "test",
            trained.refined[seed],
            baseline,
            trained.rivals,
        )
    about = {
        "sweep": "train",
        "title": f"{config.agent} against B1",
        "arms": [config.agent],
        "labels": {config.agent: config.agent},
        "reference": config.agent,
        "family": "none, as one arm stands alone",
        "seeds": list(agents),
        "published": None,
        "published_as": {},
        "seeds_per_bank": {},
        "remarks": [],
        "command": _command(config),
        "dataset": file.dataset,
        "photos": baseline.gallery,
        "sketches": len(baseline.rank),
    }
    write_grid(trained.folder, about, cells)


def _command(config: TrainConfig) -> str:
    default, words = TrainConfig(), ["sketchless", "train"]
    for name, value in asdict(config).items():
        if name not in ("out", "gif") and value != getattr(default, name):
            values = value if isinstance(value, tuple) else [Path(value).name if name == "bank" else value]
            words += [f"--{name}", *map(str, values)]
    return shlex.join(words)


def _draw(
    trained: Trained,
    agents: dict[int, Any],
    config: TrainConfig,
    test: EpisodeBank,
    stop: StopSignal,
    console: Console,
) -> None:
    """Draw what can be drawn. The results are written: whatever fails here, or a stop, costs a picture and no more."""
    from ..display.plots import Curve, curves, falls, learning  # matplotlib takes a second

    folder, percent = trained.folder, POINTS.astype(np.float64)
    series = [
        Curve("B1", percent, *trained.baseline.by_percentage()),
        Curve(config.agent, percent, *mean_curves(trained.refined)),
    ]
    title = f"{len(trained.baseline.rank)} test sketches, {trained.baseline.gallery} photos"
    pictures: dict[str, Callable[[], None]] = {"curves": lambda: curves(folder / "curves.png", series, title)}
    if trained.baseline.rank.shape[1] > 1:
        every = zip(*(one.falls() for one in trained.refined.values()), strict=True)
        tau, lost = (np.concatenate(parts) for parts in every)
        of_both = {"B1": trained.baseline.falls(), config.agent: (tau, lost)}
        pictures["falls"] = lambda: falls(folder / "falls.png", of_both, title)
    for seed, agent in agents.items():
        if agent.history:
            pictures[f"learning curve of seed {seed}"] = partial(
                learning, folder / f"learning-{seed}.png", agent.history, f"{config.agent}, seed {seed}"
            )
    if config.gif:
        first = next(iter(agents))
        pictures["animation"] = lambda: _animate(trained, agents[first], test, stop)
    for name, draw in pictures.items():
        try:
            if stop.asked:
                raise Interrupted("stopped; the results are written")
            draw()
        except (Exception, Interrupted) as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            console.print(f"no {name}: {reason}")


def _animate(trained: Trained, agent: Any, bank: EpisodeBank, stop: StopSignal) -> None:
    """The episode whose gain in mean 1/rank is nearest to the mean gain: neither the best nor the worst."""
    refined = next(iter(trained.refined.values()))
    gain = refined.per_sketch("m@B") - trained.baseline.per_sketch("m@B")
    pictures = []
    for picture in episode_frames(agent, bank, int(np.abs(gain - gain.mean()).argmin())):
        if stop.asked:
            raise Interrupted("stopped; the results are written")
        pictures.append(picture)
    gif(trained.folder / "episode.gif", pictures)


def _line(evaluation: Evaluation) -> str:
    return "  ".join(f"{name} {value:.2f}" for name, value in evaluation.summary().items())
