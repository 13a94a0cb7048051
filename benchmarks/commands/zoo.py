"""`sketchless zoo`: what is trained, by name; and weights with their card, as a folder or on the hub."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from sketchless.datasets.errors import ConfigError
from sketchless.encoders.zoo import zoo

from ..display.terminal import Terminal
from ..zoo.card import card
from ..zoo.describe import described
from ..zoo.pack import pack, push_to_hub


@dataclass(frozen=True)
class ZooConfig:
    """List the trained agents and encoders that ship. With a target: show its model card; with --out, write weights,
    manifest and card into a folder; with --push, upload that folder."""

    target: Positional[str | None] = None
    """A name of the list, the folder of a `train` or `encode` run, a file of weights, or `owner/name` of a repository
    on the Hugging Face hub (extra `hf`). What exists as a path comes first."""
    out: str | None = None
    """Folder to write: what `Agent.from_pretrained` or `load_encoder` takes."""
    push: str | None = None
    """Repository `owner/name` on the Hugging Face hub to upload to (extra `hf`), as whoever is logged in there."""
    private: bool = False
    """With --push: a new repository is seen by its owner alone."""
    seed: int | None = None
    """Which agent of a train run; by default the first."""


def run(config: ZooConfig, console: Console | None = None) -> None:
    """List, show, write or upload. Raises as `described`, `pack` and `push_to_hub`."""
    console = console or Terminal()
    if config.target is None:
        if config.out or config.push or config.private or config.seed is not None:
            raise ConfigError(
                "--out, --push, --private and --seed belong to a target: a name of the list, a run or a file"
            )
        _list(console)
        return
    if config.private and config.push is None:
        raise ConfigError("--private belongs to --push")
    if config.out is None and config.push is None:
        console.file.write(card(described(config.target, config.seed)[1], config.target))
    if config.out is not None:
        folder = pack(config.target, config.out, config.seed)
        console.print(f"written to {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    if config.push is not None:
        console.print(f"uploaded to {push_to_hub(config.target, config.push, config.private, config.seed)}")


def _list(console: Console) -> None:
    table = Table("name", "kind", "kB", "m@B", "over B1", "SHA-256")
    table.columns[0].no_wrap = True
    for name, entry in zoo().items():
        scores = entry.scores
        found = f"{(scores.agent or scores.B1)['m@B']:.2f}" if scores else None
        change = scores and scores.change and scores.change["m@B"]
        gain = "{:+.2f} [{:+.2f}, {:+.2f}]".format(change["mean"], *change["interval95"]) if change else None
        size = f"{entry.path.stat().st_size / 1000:.0f}"
        table.add_row(name, entry.kind, size, found, gain, entry.sha256[:8])
    console.print(table)
    console.print("trained on the bank after the slash; percent on its test drawings, intervals of 95% of one seed")
    console.print("Agent.from_pretrained(NAME) or load_encoder(NAME) loads one; sketchless zoo NAME shows its card")
