"""`sketchless ablate`: carry out an ablation, cell by cell, and report on it."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.datasets.files import sha256, write_json
from sketchless.encoders.bank import EpisodeBank, bank_path, bank_splits
from sketchless.encoders.tensorfile import read_meta

from . import report
from .ablation.sweep import SWEEPS, cells
from .report_compare import Comparison
from .runner import run_cells
from .runs import parse_seeds, read_json
from .train import parse_values

# Passes over the training drawings and seeds; `quick` is for a first look, `full` for a conclusion.
PRESETS = {"quick": (1.0, "0-2"), "full": (5.0, "0-9")}
SAMPLES = 16  # actions per state, in whose steps the budget of a pass is counted for every arm alike


@dataclass(frozen=True)
class AblateConfig:
    """Compare methods, rewards or designs over many seeds; an interrupted grid is taken up again."""

    what: str = "methods"
    """`methods`, `rewards`, `design`, or `tuning` (step sizes, measured on validation)."""
    bank: str = "procedural"
    """Bank file written by `sketchless encode`, or the name of one that ships."""
    noisy_bank: str | None = None
    """Bank of the same encoder, of `sketchless encode --load ... --noise 3`: `design` has its `noise` arm then."""
    preset: str = "quick"
    """`quick`: three seeds, one pass; `full`: ten seeds, five passes."""
    seeds: str | None = None
    """Seeds such as `0-9`; by default the preset's."""
    passes: float | None = None
    """Budget of every arm: passes over the training drawings, 16 environment steps a frame; by default the preset's."""
    arms: tuple[str, ...] = ()
    """Some of the ablation's arms; by default all."""
    agent: str = "ppo-a-clip"
    """Agent of the ablations that do not compare agents."""
    set: tuple[str, ...] = ()
    """Settings of all agents that have them, such as `episodes=32`."""
    workers: int = 2
    """Cells at a time."""
    executor: str = "local"
    """`local`, or `ray`: the cluster at RAY_ADDRESS, else one on this machine."""
    gpus: float = 0.0
    """GPUs, or the share of one, that each cell takes on the cluster: with 0.25 four seeds share a GPU."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""
    out: str | None = None
    """Folder of the grid; by default `runs/ablate-<what>-<date>`."""


def run(config: AblateConfig, console: Console | None = None) -> Comparison:
    """Carry out all cells that are not done yet, then report.

    Raises:
        ConfigError: an unknown ablation, arm or setting, a bank without a validation split, a folder of another
            grid. Otherwise as `run_cells` and `report.run`.
    """
    console = console or Console()
    if config.what not in SWEEPS:
        raise unknown_name("ablation", config.what, SWEEPS)
    if config.preset not in PRESETS:
        raise unknown_name("preset", config.preset, PRESETS)
    sweep = SWEEPS[config.what]
    for arm in config.arms:
        if arm not in sweep.arms:
            raise unknown_name("arm", arm, sweep.arms)
    passes, seeds = PRESETS[config.preset]
    passes, seed_list = config.passes or passes, parse_seeds(config.seeds or seeds)
    if not passes > 0:
        raise ConfigError(f"passes={passes}: must be above 0")
    folder = Path(config.out or f"runs/ablate-{config.what}-{datetime.now().strftime('%Y%m%d-%H%M%S')}")
    common, about = _common(config, passes, folder)
    ready = [name for name, arm in sweep.arms.items() if not set(arm.needs) - set(common)]
    for name in sweep.arms.keys() - set(ready):
        console.print(f"left out: {name}, which needs --{sweep.arms[name].needs[0].replace('_', '-')}")
    arms = [arm for arm in ready if not config.arms or arm in config.arms]
    if not arms:
        raise ConfigError(f"arms={', '.join(config.arms)}: none is left; give what they need")
    grid = [cell for cell in cells(config.what, common, seed_list, parse_values(config.set)) if _arm(cell.id) in arms]
    _claim(
        folder,
        {
            "sweep": config.what,
            "title": sweep.title,
            "arms": arms,
            "labels": {arm: sweep.arms[arm].label for arm in arms},
            "reference": sweep.reference if sweep.reference in arms else arms[0],
            "family": sweep.family,
            "seeds": seed_list,
            "published": sweep.published,
            "command": _command(config),
            **about,
        },
    )
    console.print(f"{len(grid)} cells of {common['steps']:,} steps in [bold]{folder}[/]")
    run_cells(grid, folder, config.workers, config.executor, config.gpus, console)
    return report.run(report.ReportConfig(str(folder)), console)


def _common(config: AblateConfig, passes: float, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings that all cells have, and what the report says of the data."""
    path = bank_path(config.bank)
    missing = {"train", "validation", "test"} - set(bank_splits(config.bank))
    if missing:
        raise ConfigError(f"{config.bank}: has no {min(missing)} split, which an ablation needs; encode the set again")
    train = EpisodeBank.load(config.bank, "train", "cpu")
    measured = EpisodeBank.load(config.bank, "validation" if config.what == "tuning" else "test", "cpu")
    common = {
        "bank": config.bank if path.parent == bank_path("procedural").parent else _seen_from_a_cell(path, folder),
        "bank_sha256": sha256(path),
        "agent": config.agent,
        "reward": "combined",
        "mode": "residual",
        "observation": "feature",
        "scale": 1.0,
        "split": "test",
        "steps": round(passes * int(train.lengths.sum()) * SAMPLES),
        "device": config.device,
    }
    if config.noisy_bank is not None:
        noisy = bank_path(config.noisy_bank)
        common |= {"noisy_bank": _seen_from_a_cell(noisy, folder), "noisy_bank_sha256": sha256(noisy)}
    data = read_meta(path, "bank")["provenance"].get("data", {})
    dataset = Path(data.get("root", data.get("name", path.name))).name
    return common, {"dataset": dataset, "photos": len(measured.gallery), "sketches": len(measured)}


def _seen_from_a_cell(path: Path, folder: Path) -> str:
    """Relative, so that a grid can move together with its bank, and says nothing of the machine."""
    return os.path.relpath(path.resolve(), (folder / "sweep" / "arm" / "seed").resolve())


def _arm(cell: str) -> str:
    return cell.split("/")[1]


def _claim(folder: Path, grid: dict[str, Any]) -> None:
    """Write `grid.json`, or find the same one there."""
    file = folder / "grid.json"
    if not file.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{folder}: cannot be written ({error.strerror}); choose another --out") from error
        write_json(file, grid)
        return
    earlier = read_json(file)
    for key, value in json.loads(json.dumps(grid)).items():
        if key not in ("command", "seeds") and earlier.get(key) != value:
            raise ConfigError(
                f"{folder}: holds a grid with {key}={earlier.get(key)!r}, not {value!r}; choose another --out"
            )
    if set(grid["seeds"]) - set(earlier["seeds"]):
        write_json(file, {**grid, "seeds": sorted({*grid["seeds"], *earlier["seeds"]})})


def _command(config: AblateConfig) -> str:
    default = AblateConfig()
    words = ["sketchless", "ablate", config.what]
    for name in ("preset", "seeds", "passes", "agent", "workers", "executor", "device"):
        if getattr(config, name) != getattr(default, name):
            words += [f"--{name}", str(getattr(config, name))]
    if config.bank != default.bank:
        words += ["--bank", Path(config.bank).name]
    if config.noisy_bank is not None:
        words += ["--noisy-bank", Path(config.noisy_bank).name]
    for name in ("arms", "set"):
        if getattr(config, name):
            words += [f"--{name}", *getattr(config, name)]
    return shlex.join(words)
