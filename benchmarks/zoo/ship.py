"""Make what ships anew: banks, encoder and agents, each by the command that its entry in the zoo names.

    python -m sketchless.benchmarks.zoo.ship FOLDER

of a checkout installed with `pip install -e .`. It takes five minutes on one core and writes into `encoders/banks`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from sketchless.datasets.files import replacing, sha256, write_json
from sketchless.encoders.zoo import BANKS, MANIFEST, WEIGHTS

from ..runs import processor, read_json
from .pack import pack


class Made(NamedTuple):
    """A run and what is taken from it: `take` is a file's name in the run, and its name among what ships."""

    command: tuple[str, ...]
    take: dict[str, str]
    name: str | None = None
    """In the zoo; None: a bank alone."""


def _agent(bank: str, agent: str) -> Made:
    """By the defaults of `train`, as far as they are that."""
    options = [] if bank == "procedural" else ["--bank", bank]
    options += [] if agent == "ppo-a-clip" else ["--agent", agent]
    return Made(("train", *options), {"agent-0.safetensors": f"{bank}-{agent}-agent.safetensors"}, f"{agent}/{bank}")


ENCODER = Made(
    ("encode", "--half"),
    {"bank.safetensors": "procedural.safetensors", "encoder.safetensors": "procedural-encoder.safetensors"},
    "small-cnn/procedural",
)
STROKES = Made(
    ("encode", "--half", "--load", str(BANKS / "procedural-encoder.safetensors"), "--reveal", "strokes"),
    {"bank.safetensors": "procedural-strokes.safetensors"},
)
ALL = (
    ENCODER,
    STROKES,
    *(_agent("procedural", name) for name in ("ppo-a-clip", "grpo", "rank-softmax")),
    _agent("procedural-strokes", "ppo-a-clip"),
)
_OF_A_DAY = ("started",)


def make(made: Made, folder: Path) -> None:
    """Carry a run out into a new folder, in a process of its own."""
    quiet = ("--no-gif", "--logger", "none") if made.command[0] == "train" else ()
    subprocess.run([sys.executable, "-m", "sketchless", *made.command, *quiet, "--out", str(folder)], check=True)


def changed(made: Made, folder: Path) -> list[str]:
    """Names of the files that ship and are not those of this run, byte for byte."""
    return [
        name
        for own, name in made.take.items()
        if not (BANKS / name).is_file() or sha256(folder / own) != sha256(BANKS / name)
    ]


def ship(folder: Path) -> None:
    """Make all of it below a new folder, and put it where it ships."""
    entries: dict[str, dict[str, Any]] = {}
    for number, made in enumerate(ALL):
        run = folder / str(number)
        make(made, run)
        print(f"{' '.join(made.command)}: {', '.join(changed(made, run)) or 'nothing'} changed")
        for own, name in made.take.items():
            with replacing(BANKS / name) as temporary:
                shutil.copyfile(run / own, temporary)
        if made.name is not None:
            entries[made.name] = _entry(made, run, folder / f"{number}-packed")
    write_json(BANKS / "zoo.json", entries)


def _entry(made: Made, run: Path, packed: Path) -> dict[str, Any]:
    """What the zoo's list says of weights: their manifest, the command, and the file."""
    about = read_json(pack(str(run), packed) / MANIFEST)
    kept = {key: value for key, value in about.items() if key not in _OF_A_DAY}
    kind = "agent" if made.command[0] == "train" else "encoder"
    own = "agent-0.safetensors" if kind == "agent" else WEIGHTS["encoder"]
    command = " ".join(["sketchless", *made.command])
    return kept | {"made_by": command, "processor": processor(), "file": made.take[own]}


if __name__ == "__main__":
    ship(Path(sys.argv[1]))
