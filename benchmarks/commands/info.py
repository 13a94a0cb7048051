"""`sketchless info`: what is installed and registered, and what is in a data set."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, fields

import docstring_parser
from docstring_parser import DocstringParam
from gymnasium.envs.registration import registry
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from sketchless.agents import AGENTS, agent_class
from sketchless.datasets.dataset import SPLITS
from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.datasets.files import replacing
from sketchless.datasets.loading import DATASETS, load_dataset, photo_faults
from sketchless.datasets.plugins import installed
from sketchless.datasets.sheet import contact_sheet
from sketchless.encoders import BACKBONES, ENCODERS, LOSSES
from sketchless.envs import REWARDS

from ..display.terminal import Terminal
from ..runs import machine
from ..zero_shot.encoder_table import show

TOPICS = ("encoders", "agents")


@dataclass(frozen=True)
class InfoConfig:
    """Say what is installed and what can be chosen; with --dataset, what is in a data set."""

    topic: Positional[str | None] = None
    """`encoders`: the table of what each is, how fast, and how good; `agents`: what each is; `agents NAME`: its
    settings."""
    name: Positional[str | None] = None
    """Of an agent, built in or installed, or `module:Class`."""
    dataset: str | None = None
    """`procedural`, `objects`, or the folder of a data set, with options as `./sketchy?unseen=cow,bat`."""
    sheet: str | None = None
    """Draw photos and their sketches into this PNG file."""
    split: str = "test"
    """Split on the sheet."""
    seed: int = 0
    """Of the validation split, and of what is chosen for the sheet."""


def run(config: InfoConfig, console: Console | None = None) -> None:
    """Print the information asked for and write the sheet. Raises ConfigError (no such topic) and as `load_dataset`."""
    console = console or Terminal()
    if config.topic is not None:
        if config.topic not in TOPICS:
            raise unknown_name("topic", config.topic, TOPICS)
        if config.name is not None and config.topic != "agents":
            raise ConfigError(f"{config.name!r}: only `info agents` takes a name; leave it out")
        if config.topic == "encoders":
            show(console)
        elif config.name is None:
            _agents(console)
        else:
            _settings(config.name, console)
        return
    if config.dataset is None and config.sheet is None:
        _overview(console)
        return
    if config.split not in SPLITS:
        raise unknown_name("split", config.split, SPLITS)
    dataset = load_dataset(config.dataset or "procedural", seed=config.seed)
    console.print(f"{dataset.name}")
    with console.status("reading photos"):
        faults = photo_faults(dataset)
    unread = {"photos_that_cannot_be_read": {"count": len(faults), "first": faults[:5]}} if faults else {}
    console.print_json(json.dumps({**dataset.report, **unread}))
    if config.sheet is not None:
        sheet = contact_sheet(dataset, config.split, seed=config.seed)
        with replacing(config.sheet) as temporary:
            sheet.save(temporary, format="PNG")
        console.print(f"written to {config.sheet}")


def _agents(console: Console) -> None:
    table = Table("agent", "what it is", "presets")
    for name in [*AGENTS, *(name for name in installed("agent") if name not in AGENTS)]:
        with contextlib.suppress(ConfigError):  # an installed one that cannot be imported: `agents NAME` says why
            agent = agent_class(name)
            table.add_row(name, _first_line(agent), ", ".join(agent.presets))
    console.print(table)
    console.print("sketchless info agents NAME lists the settings of one")


def _settings(name: str, console: Console) -> None:
    """Type, default and meaning of each setting of an agent."""
    agent = agent_class(name)
    about = {p.arg_name: p.description or "" for c in reversed(agent.Config.__mro__[:-1]) for p in _documented(c)}
    presets = [preset for preset in agent.presets if preset != "default"]
    table = Table("setting", "type", "default", *presets, "meaning")
    unread = getattr(agent.Config, "_unread", ())
    for setting in fields(agent.Config):
        if setting.name in unread or setting.name == "seed":  # every run has seeds of its own
            continue
        values = [getattr(agent.presets[preset], setting.name) for preset in ("default", *presets)]
        shown = [str(values[0]), *("" if value == values[0] else str(value) for value in values[1:])]
        table.add_row(setting.name, str(setting.type), *shown, " ".join(about.get(setting.name, "").split()))
    console.print(f"{name}: {_first_line(agent)}")
    console.print(table)
    console.print(f"sketchless train --agent {name} --set {fields(agent.Config)[0].name}=...")


def _documented(config: type) -> list[DocstringParam]:
    return docstring_parser.parse_from_object(config).params


def _first_line(agent: type) -> str:
    return (agent.__doc__ or "").strip().partition("\n")[0]


def _overview(console: Console) -> None:
    table = Table(show_header=False)
    here = machine()
    table.add_row("versions", ", ".join(f"{k} {v}" for k, v in here["versions"].items()))
    table.add_row("machine", f"{here['system']}, {here['cpus']} CPUs, {here['gpu'] or 'no GPU'}")
    table.add_row("data sets", ", ".join(DATASETS))
    table.add_row("encoders", ", ".join([*BACKBONES, *ENCODERS, "hf:<name or folder>"]))
    table.add_row("losses", ", ".join(LOSSES))
    table.add_row("environments", ", ".join(env for env, found in registry.items() if found.namespace == "sketchless"))
    table.add_row("rewards", ", ".join(REWARDS))
    table.add_row("agents", ", ".join(AGENTS))
    presets = (f"{name}: {', '.join(agent.presets)}" for name, agent in AGENTS.items() if len(agent.presets) > 1)
    table.add_row("presets", "; ".join(presets))
    for kind in ("agent", "reward", "backbone"):
        if there := installed(kind):
            told = [f"{name} ({entry.value}, {entry.dist.name})" for name, entry in there.items() if entry.dist]
            table.add_row(f"installed {kind}s", ", ".join(told))
    console.print(table)
