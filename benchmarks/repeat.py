"""`sketchless evaluate`: the numbers of a run, or of a bank's baseline, again from files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from sketchless.agents import agent_class
from sketchless.datasets.errors import CheckpointError
from sketchless.datasets.files import sha256
from sketchless.encoders.bank import EpisodeBank, bank_path, bank_splits
from sketchless.envs.core import Core

from .metrics import Evaluation, evaluate
from .runs import read_json
from .tables import comparison, scores


@dataclass(frozen=True)
class EvaluateConfig:
    """Evaluate the agents of a run on the test drawings, or the baseline B1 on every split of a bank."""

    target: str = "procedural"
    """Folder of a `train` run, a bank file, or the name of a bank that ships."""
    bank: str | None = None
    """Bank of the run, if it has moved."""
    split: str = "test"
    """Split that the agents of a run play."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""


def run(config: EvaluateConfig, console: Console | None = None) -> dict[str, Evaluation]:
    """Print the table of a run (and whether its `results.json` says the same), or the B1 row of each split.

    Raises:
        CheckpointError: no such run or bank, a damaged file, another bank than the run's, or results that
            do not repeat.
    """
    console = console or Console()
    folder = Path(config.target)
    if not folder.is_dir():
        splits = bank_splits(config.target)
        rows = {f"B1, {s}": evaluate(None, EpisodeBank.load(config.target, s, config.device)) for s in splits}
        console.print(scores(rows))
        return rows
    manifest, saved = read_json(folder / "manifest.json"), read_json(folder / "results.json")
    if manifest.get("command") != "train":
        raise CheckpointError(f"{folder}: holds a {manifest.get('command')} run; give the folder of a train run")
    settings = manifest["config"]
    path = _bank(folder, settings["bank"], config.bank)
    bank = EpisodeBank.load(path, config.split, config.device)
    make = agent_class(settings["agent"])
    rows = {"B1": evaluate(None, bank)}
    for seed in saved["refined"]:
        file = folder / f"agent-{seed}.safetensors"
        mode = settings["mode"] or ("absolute" if settings["preset"] == "paper" else "residual")
        core = Core(bank, settings["reward"], mode, settings["observation"])
        rows[f"seed {seed}"] = evaluate(make.load(file, core), bank)
    console.print(comparison(rows["B1"], [rows[f"seed {seed}"] for seed in saved["refined"]], settings["agent"]))
    if config.split == "test":
        found = {"baseline": rows["B1"].summary()} | {s: rows[f"seed {s}"].summary() for s in saved["refined"]}
        before = {"baseline": saved["baseline"]} | saved["refined"]
        if found != before:
            wrong = next(name for name in found if found[name] != before[name])
            raise CheckpointError(
                f"{folder / 'results.json'}: says {json.dumps(before[wrong])} of {wrong}, evaluating gives "
                f"{json.dumps(found[wrong])}; the files do not belong together"
            )
        console.print("equal to results.json in every digit")
    return rows


def _bank(folder: Path, recorded: dict[str, str], given: str | None) -> Path:
    path = bank_path(given) if given else bank_path(recorded["path"])
    if not given and not path.is_file():
        path = folder / recorded["path"]
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; say where the run's bank is with --bank")
    if sha256(path) != recorded["sha256"]:
        raise CheckpointError(f"{path}: is not the bank {recorded['name']} that {folder} was trained on; give --bank")
    return path
