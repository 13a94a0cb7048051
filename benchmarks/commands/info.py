"""`sketchless info`: what is installed and registered, and what is in a data set."""

from __future__ import annotations

import json
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from sketchless.agents import AGENTS
from sketchless.datasets.dataset import SPLITS
from sketchless.datasets.errors import unknown_name
from sketchless.datasets.files import replacing
from sketchless.datasets.loading import DATASETS, load_dataset
from sketchless.datasets.sheet import contact_sheet
from sketchless.encoders import BACKBONES, ENCODERS, LOSSES
from sketchless.envs import REWARDS

from ..display.terminal import Terminal
from ..runs import machine
from ..zero_shot.encoder_table import show


@dataclass(frozen=True)
class InfoConfig:
    """Say what is installed and what can be chosen; with --dataset, what is in a data set."""

    topic: Positional[str | None] = None
    """`encoders`: the table of what each is, how fast, and how good."""
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
        if config.topic != "encoders":
            raise unknown_name("topic", config.topic, ["encoders"])
        show(console)
        return
    if config.dataset is None and config.sheet is None:
        _overview(console)
        return
    if config.split not in SPLITS:
        raise unknown_name("split", config.split, SPLITS)
    dataset = load_dataset(config.dataset or "procedural", seed=config.seed)
    console.print(f"{dataset.name}")
    console.print_json(json.dumps(dict(dataset.report)))
    if config.sheet is not None:
        sheet = contact_sheet(dataset, config.split, seed=config.seed)
        with replacing(config.sheet) as temporary:
            sheet.save(temporary, format="PNG")
        console.print(f"written to {config.sheet}")


def _overview(console: Console) -> None:
    table = Table(show_header=False)
    here = machine()
    table.add_row("versions", ", ".join(f"{k} {v}" for k, v in here["versions"].items()))
    table.add_row("machine", f"{here['system']}, {here['cpus']} CPUs, {here['gpu'] or 'no GPU'}")
    table.add_row("data sets", ", ".join(DATASETS))
    table.add_row("encoders", ", ".join([*BACKBONES, *ENCODERS, "hf:<name or folder>"]))
    table.add_row("losses", ", ".join(LOSSES))
    table.add_row("environments", "sketchless/OnTheFly-v0, sketchless/Strokes-v0")
    table.add_row("rewards", ", ".join(REWARDS))
    table.add_row("agents", ", ".join(AGENTS))
    presets = (f"{name}: {', '.join(agent.presets)}" for name, agent in AGENTS.items() if len(agent.presets) > 1)
    table.add_row("presets", "; ".join(presets))
    console.print(table)
