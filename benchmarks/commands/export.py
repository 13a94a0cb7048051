"""`sketchless export`: episodes of an agent, or of a mix of behaviours, as a data set for offline RL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
from rich.console import Console
from tyro.conf import Positional

from sketchless.agents import Agent
from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.datasets.files import sha256
from sketchless.encoders.bank import EpisodeBank

from ..bank_file import BankFile
from ..display.terminal import Terminal
from ..environments import DEFAULT_ENV, Environment
from ..offline import behaviours, write_minari
from ..options import EnvId, RewardName
from ..runs import new_folder, parse_values, progress_bar
from ..train_run import TrainRun

FORMATS = ("minari",)
_IDS = {"on-the-fly": DEFAULT_ENV, "carry": "sketchless/Carry-v0", "stop": "sketchless/Stop-v0"}


@dataclass(frozen=True)
class ExportConfig:
    """Play episodes and write them as a data set for offline RL, with seeds and where everything comes from."""

    target: Positional[str | None] = None
    """Folder of a `train` run, whose agent and environment are taken; without one, behaviours that need no agent."""
    format: str = "minari"
    """`minari` (extra `minari`)."""
    behaviours: tuple[str, ...] = ()
    """Who plays, with how likely it is: `agent=1` (mean actions), `sample` (drawn ones), `b1` (zeros), `random`
    (Gaussian, as long as the embedding); an episode has one. By default `agent=1`, without a run `b1=1`."""
    episodes: int = 1000
    """How many."""
    agent_seed: int | None = None
    """Which of the run's agents; by default the first."""
    bank: str | None = None
    """Bank, if that of the run has moved; without a run by default `procedural`."""
    split: str = "train"
    """Split that is played."""
    env: EnvId = DEFAULT_ENV
    reward: RewardName = "inv-rank"
    seed: int = 0
    """Of the first episode; episode n has seed + n."""
    name: str | None = None
    """Of the data set, such as `sketchless/on-the-fly/mine-v0`; by default made of task and behaviours."""
    trust: tuple[str, ...] = ()
    """Each `module:attribute` that the run may name as its agent: code, which is refused otherwise."""
    out: str | None = None
    """Folder of data sets (`MINARI_DATASETS_PATH`); by default `runs/export-<date>`."""


def run(config: ExportConfig, console: Console | None = None) -> Path:
    """Write a data set; returns its folder of data sets.

    Raises:
        ConfigError: unknown names, a format that is not installed, a data set that exists.
        CheckpointError: no such run or bank, or a damaged one. UnsafeFileError: see `trust`.
    """
    console = console or Terminal()
    if config.format not in FORMATS:
        raise unknown_name("format", config.format, FORMATS)
    if config.episodes < 1:
        raise ConfigError(f"episodes={config.episodes}: must be 1 or more")
    agent, file, keywords, origin = _what(config)
    env = gym.make(
        _IDS[keywords["task"]],
        bank=file.path.stem if file.ships else str(file.path.resolve()),
        split=config.split,
        reward=config.reward,
        device="cpu",
        **{name: value for name, value in keywords.items() if name != "task"},
    )
    mix = _mix(config, agent)
    players = behaviours(list(mix), env, agent, config.seed)
    name = config.name or f"sketchless/{keywords['task']}/{'-'.join(mix)}-v0"
    about: dict[str, Any] = {
        "bank": {"name": file.path.name, "sha256": file.sha256, "dataset": file.dataset, "split": config.split},
        "behaviours": mix,
        "seed": config.seed,
        "reward": config.reward,
        **keywords,
        **origin,
    }
    folder = Path(config.out) if config.out else new_folder("export")
    with progress_bar(console) as bar:
        row = bar.add_task(name, total=1.0, note="")
        mean = write_minari(
            env, players, list(mix.values()), config.episodes, config.seed, name, folder, about,
            lambda share: bar.update(row, completed=share),
        )  # fmt: skip
    console.print(f"{config.episodes} episodes, mean return {mean:.3f}, written to {folder} as {name}")
    console.print(f"in Python, with MINARI_DATASETS_PATH={folder}:  minari.load_dataset({name!r})")
    return folder


def _what(config: ExportConfig) -> tuple[Agent | None, BankFile, dict[str, Any], dict[str, Any]]:
    """The agent if there is one, the bank, keywords of the environment, and where the agent comes from."""
    if config.target is None:
        environment = Environment.find(config.env)
        file = BankFile.open(config.bank or environment.own.get("bank", "procedural"), config.split)
        return None, file, {"task": environment.task, **environment.settings}, {}
    run = TrainRun.find(Path(config.target))
    file = BankFile.open(config.bank or str(run.bank()), config.split)
    run.bank(config.bank)  # raises for another one
    seeds = list(run.results()["refined"])
    seed = seeds[0] if config.agent_seed is None else str(config.agent_seed)
    if seed not in seeds:
        raise unknown_name("seed of the run", seed, seeds)
    bank = EpisodeBank.load(file.path, config.split, "cpu")
    agent = run.agents([seed], bank, config.trust)[seed]
    path = run.folder / f"agent-{seed}.safetensors"
    origin = {"agent": {"name": agent.name, "seed": int(seed), "sha256": sha256(path), "steps": agent.num_timesteps}}
    return agent, file, dict(agent.core.settings), origin


def _mix(config: ExportConfig, agent: Agent | None) -> dict[str, float]:
    """Behaviour -> how likely it is."""
    if not config.behaviours:
        return {"agent" if agent else "b1": 1.0}
    mix = parse_values([one if "=" in one else f"{one}=1" for one in config.behaviours])
    for name, weight in mix.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < 1e9:
            raise ConfigError(f"behaviour {name}={weight}: want a number above 0")
    return {name: float(weight) for name, weight in mix.items()}
