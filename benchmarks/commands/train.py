"""`sketchless train`: the main job. Train an agent on a bank and set it beside the baseline B1."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from sketchless.agents import agent_class
from sketchless.datasets.errors import ConfigError, DataError, unknown_name
from sketchless.datasets.files import sha256, write_json
from sketchless.encoders.bank import EpisodeBank, bank_path
from sketchless.encoders.tensorfile import save_tensors
from sketchless.envs.core import Core

from ..display.episode import episode_frames
from ..display.plots import Curve, curves, gif, learning
from ..display.tables import comparison
from ..display.terminal import Terminal
from ..logs import log_format
from ..metrics import METRICS, POINTS, Evaluation, evaluate, interval
from ..options import AgentName, RewardName
from ..runs import Interrupted, StopSignal, Stopwatch, open_banks, parse_seeds, parse_values, progress_bar, run_folder
from ..training import TrainingJob, train_seed


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
    passes: float = 10.0
    """Budget: how often each training drawing is played, on average."""
    seeds: str = "0"
    """Seeds to train with, such as `0-9` or `0,2,5`."""
    reward: RewardName = "combined"
    mode: str | None = None
    """`residual` (refine the baseline's embedding) or `absolute`; by default the preset's."""
    observation: str = "feature"
    """What the agent sees: the frame's `feature`, or its `embedding`."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""
    logger: str = "auto"
    """`tensorboard`, `csv` or `none`; `auto`: TensorBoard where it is installed."""
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


def run(config: TrainConfig, console: Console | None = None) -> Trained:
    """Carry out a training run and write its folder.

    The folder gets `manifest.json`, `results.json`, `ranks.safetensors`, an `agent-<seed>.safetensors` and a
    `learning-<seed>.png` per seed, `curves.png` and, if the data set can be read, `episode.gif`.

    Raises:
        ConfigError, CheckpointError, DataError, ResourceError: see the parts.
        Interrupted: SIGINT or SIGTERM came; everything so far is in the folder.
    """
    console = console or Terminal()
    watch, seeds = Stopwatch(), parse_seeds(config.seeds)
    if not 0 < config.passes < math.inf:
        raise ConfigError(f"passes={config.passes}: must be a finite number above 0")
    make = agent_class(config.agent)
    if config.preset not in make.presets:
        raise unknown_name(f"preset of {config.agent}:", config.preset, make.presets)
    mode = config.mode or make.modes.get(config.preset, "residual")
    settings = make.presets[config.preset]
    overrides = parse_values(config.set)
    if "seed" in overrides:
        raise ConfigError(f"setting seed in {' '.join(config.set)}: give --seeds")
    banks = open_banks(config.bank, config.device)
    core = Core(banks["train"], config.reward, mode, config.observation)
    job = TrainingJob(
        make,
        core,
        banks.get("validation"),
        settings,
        overrides,
        config.passes,
        Path(config.out or ""),
        log_format(config.logger),
    )
    job.fresh(seeds[0])  # settings are checked before any work is done

    with run_folder(config.out, "train", _identity(config)) as folder, StopSignal() as stop:
        job = replace(job, folder=folder)
        baseline = evaluate(None, banks["test"])
        console.print(f"B1 on {len(baseline.rank)} test sketches  {_line(baseline)}")
        with progress_bar(console) as bar:
            agents = {seed: train_seed(job, seed, bar, stop) for seed in seeds}
        refined = {}
        for seed, agent in agents.items():
            _go_on(stop, folder)
            refined[seed] = evaluate(agent, banks["test"])
        trained = Trained(baseline, refined, folder)
        console.print(comparison(baseline, list(refined.values()), config.agent))
        _write(trained, agents, config, banks["test"].split)
        if config.gif:
            _animate(trained, agents[seeds[0]], banks["test"], stop, console)
        _go_on(stop, folder)
        write_json(folder / "results.json", results(trained, agents, config, float(watch)))
        console.print(f"written to {folder}: {', '.join(sorted(p.name for p in folder.glob('[!.]*')))}")
    return trained


def _go_on(stop: StopSignal, folder: Path) -> None:
    if stop.asked:
        raise Interrupted(f"stopped, all seeds are trained; the same command with --out {folder} evaluates them")


def _identity(config: TrainConfig) -> dict[str, Any]:
    path = bank_path(config.bank)
    file = {"name": path.name, "sha256": sha256(path), "path": _relative(path, config)}
    return {**{k: v for k, v in asdict(config).items() if k not in ("out", "bank", "gif", "logger")}, "bank": file}


def _relative(path: Path, config: TrainConfig) -> str:
    """How `sketchless evaluate` finds the bank again: its name if it ships, else seen from the run's folder."""
    if path.parent == bank_path("procedural").parent:
        return config.bank
    return os.path.relpath(path.resolve(), Path(config.out or "runs/x").resolve())


def results(trained: Trained, agents: dict[int, Any], config: TrainConfig, seconds: float) -> dict[str, Any]:
    """Everything a table or a figure of the run needs; plain JSON values."""
    evaluations = trained.refined
    change = {m: _mean(evaluations, m) - trained.baseline.per_sketch(m) for m in METRICS}
    return {
        "agent": config.agent,
        "settings": asdict(next(iter(agents.values())).config) | {"seed": None},
        "sketches": len(trained.baseline.rank),
        "gallery": trained.baseline.gallery,
        "baseline": trained.baseline.summary(),
        "refined": {str(seed): e.summary() for seed, e in evaluations.items()},
        "mean": {m: float(_mean(evaluations, m).mean()) for m in METRICS},
        "change": {
            m: {"mean": float(values.mean()), "interval95": list(interval(values))} for m, values in change.items()
        },
        "validation": {str(seed): agent.history for seed, agent in agents.items()},
        "curves": {
            "percent": POINTS.tolist(),
            "baseline": [c.tolist() for c in trained.baseline.by_percentage()],
            "refined": [c.tolist() for c in _curves(evaluations)],
        },
        "steps": {str(seed): agent.num_timesteps for seed, agent in agents.items()},
        "seconds": seconds,
    }


def _mean(evaluations: dict[int, Evaluation], metric: str) -> Any:
    return np.mean([e.per_sketch(metric) for e in evaluations.values()], axis=0)


def _curves(evaluations: dict[int, Evaluation]) -> Any:
    return np.mean([e.by_percentage() for e in evaluations.values()], axis=0)


def _write(trained: Trained, agents: dict[int, Any], config: TrainConfig, split: str) -> None:
    folder = trained.folder
    ranks = {f"refined/{seed}": torch.from_numpy(e.rank).to(torch.int32) for seed, e in trained.refined.items()}
    ranks |= {"baseline": torch.from_numpy(trained.baseline.rank).to(torch.int32)}
    ranks |= {"lengths": torch.from_numpy(trained.baseline.lengths)}
    about = {"split": split, "gallery": trained.baseline.gallery, "sketch_ids": list(trained.baseline.sketch_ids)}
    save_tensors(folder / "ranks.safetensors", "ranks", ranks, about)
    percent = POINTS.astype(np.float64)
    series = [
        Curve("B1", percent, *trained.baseline.by_percentage()),
        Curve(config.agent, percent, *_curves(trained.refined)),
    ]
    curves(
        folder / "curves.png", series, f"{len(trained.baseline.rank)} test sketches, {trained.baseline.gallery} photos"
    )
    for seed, agent in agents.items():
        if agent.history:
            learning(folder / f"learning-{seed}.png", agent.history, f"{config.agent}, seed {seed}")


def _animate(trained: Trained, agent: Any, bank: EpisodeBank, stop: StopSignal, console: Console) -> None:
    """The episode whose gain in mean 1/rank is nearest to the mean gain: neither the best nor the worst."""
    refined = next(iter(trained.refined.values()))
    gain = refined.per_sketch("m@B") - trained.baseline.per_sketch("m@B")
    sketch = int(np.abs(gain - gain.mean()).argmin())
    pictures = []
    try:
        for picture in episode_frames(agent, bank, sketch):
            _go_on(stop, trained.folder)
            pictures.append(picture)
        gif(trained.folder / "episode.gif", pictures)
    except (DataError, ConfigError) as error:
        console.print(f"no animation: {error}")


def _line(evaluation: Evaluation) -> str:
    return "  ".join(f"{name} {value:.2f}" for name, value in evaluation.summary().items())
