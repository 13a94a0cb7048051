"""`sketchless ablate`: carry out an ablation, cell by cell, and report on it."""

from __future__ import annotations

import json
import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from tyro.conf import Positional, arg

from sketchless.agents import AGENTS, agent_class
from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.datasets.files import sha256, write_json
from sketchless.encoders.bank import EpisodeBank, bank_path, bank_splits
from sketchless.encoders.tensorfile import read_meta

from ..ablation.runner import check_options, run_cells
from ..ablation.sweep import FEATURES, SWEEPS, Sweep, cells, read_by
from ..display.terminal import Terminal
from ..logs import log_format
from ..options import listed
from ..reporting.compare import Comparison
from ..runs import new_folder, parse_seeds, parse_values, read_json
from . import report

# Passes over the training drawings and seeds; `quick` is for a first look, `full` for a conclusion.
PRESETS = {"quick": (1.0, "0-2"), "full": (5.0, "0-9")}
# How `sketchless encode` makes a bank of each kind of features.
ENCODE = {
    "complete": "",
    "random": "--frames random",
    "completed": "--complete",
    "sketch-a-net": "--encoder sketch-a-net",
}
SAMPLES = 16  # actions per state, in whose steps the budget of a pass is counted for every arm alike


@dataclass(frozen=True)
class AblateConfig:
    """Compare methods, rewards, designs or whole systems over many seeds; an interrupted grid is taken up again."""

    what: Positional[str] = "methods"
    """`methods`, `rewards`, `design`, `baselines`, or their step sizes, measured on validation: `tuning` (of the
    methods), `rewards-tuning`, `baselines-tuning`."""
    bank: str = "procedural"
    """Bank file written by `sketchless encode`, or the name of one that ships."""
    banks: tuple[str, ...] = ()
    """Banks by the kind of their features, such as `complete=a,b,c random=d,e,f`: `complete`, `random` (encode
    --frames random), `completed` (encode --complete), `sketch-a-net`. Several of a kind are of several encoders: seed s
    stands on bank s mod their number. Arms without a bank of their kind are left out."""
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
    agent: Annotated[str, arg(help=f"For `rewards` and `design`: the agent, one of {listed(AGENTS)}, or another.")] = (
        "ppo-a-clip"
    )
    set: tuple[str, ...] = ()
    """Settings of all agents that have them, such as `episodes=32`, where at least one arm's agent must; or of one arm,
    such as `grpo.learning_rate=3e-3`. What an arm is about stays its own."""
    workers: int = 2
    """Cells at a time; with `--device cuda` they run side by side on one GPU, the first that is visible."""
    executor: str = "local"
    """`local`, or `ray`: the cluster at RAY_ADDRESS, else one on this machine."""
    gpus: float = 0.0
    """GPUs, or the share of one, that each cell takes on the cluster: with 0.25 four seeds share a GPU. With 0,
    cells are counted by cores alone, and with `--device cuda` all those of a node use its first GPU."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""
    logger: str = "none"
    """`tensorboard`, `csv` or `none`; `auto`: TensorBoard where it is installed. Every cell logs into its own `log`:
    by default none does, as reports need no logs. A grid may go on with another logger."""
    out: str | None = None
    """Folder of the grid; by default `runs/ablate-<what>-<date>`."""


def run(config: AblateConfig, console: Console | None = None) -> Comparison:
    """Carry out all cells that are not done yet, then report.

    Raises:
        ConfigError: an unknown ablation, arm or setting, a bank without a validation split, a folder of another
            grid. Otherwise as `run_cells` and `report.run`.
    """
    console = console or Terminal()
    if config.what not in SWEEPS:
        raise unknown_name("ablation", config.what, SWEEPS)
    if config.preset not in PRESETS:
        raise unknown_name("preset", config.preset, PRESETS)
    check_options(config.workers, config.executor, config.gpus)
    sweep = SWEEPS[config.what]
    for arm in config.arms:
        if arm not in sweep.arms:
            raise unknown_name("arm", arm, sweep.arms)
    passes, seeds = PRESETS[config.preset]
    passes = passes if config.passes is None else config.passes
    seed_list = parse_seeds(seeds if config.seeds is None else config.seeds)
    if not 0 < passes < math.inf:
        raise ConfigError(f"passes={passes}: must be a finite number above 0")
    folder = Path(config.out or f"runs/ablate-{config.what}")  # a name of its own once all is checked
    banks = _banks(config, sweep, passes, folder)
    common = _common(config, folder)
    ready = [name for name, arm in sweep.arms.items() if not set(arm.needs) - set(common)]
    for name in sweep.arms.keys() - set(ready):
        console.print(f"left out: {name}, which needs --{sweep.arms[name].needs[0].replace('_', '-')}")
    for kind, how in ENCODE.items():
        lacking = [name for name in ready if sweep.arms[name].features == kind not in banks]
        if lacking and not config.arms:
            command = f"sketchless encode {how}".strip()
            told = f"make one of the same data set with  {command}  and give --banks {kind}=<its bank>"
            console.print(f"left out: {', '.join(lacking)}, for want of a bank; {told}", soft_wrap=True)
    ready = [name for name in ready if sweep.arms[name].features in banks]
    arms = [arm for arm in ready if not config.arms or arm in config.arms]
    if not arms:
        raise ConfigError(f"arms={', '.join(config.arms)}: none is left; give what they need")
    every = cells(config.what, common, seed_list, _overrides(config, sweep, arms), banks)
    grid = [cell for cell in every if _arm(cell.id) in arms]
    for cell in grid:
        try:
            agent_class(cell.settings["agent"]).Config(**cell.settings["set"])  # refuses values out of range
        except ConfigError as error:
            raise ConfigError(f"arm {_arm(cell.id)}: {error} (--arms names the arms to run)") from error
    usual = sweep.reference in arms
    folder = folder if config.out else new_folder(folder.name)
    _claim(
        folder,
        {
            "sweep": config.what,
            "title": sweep.title,
            "arms": arms,
            "labels": {arm: sweep.arms[arm].label for arm in arms},
            "reference": sweep.reference if usual else arms[0],
            "family": sweep.family if usual else f"each arm against {sweep.arms[arms[0]].label}, in m@B",
            "seeds": seed_list,
            "published": sweep.published,
            "published_as": {arm: sweep.arms[arm].published for arm in arms if sweep.arms[arm].published},
            "once": {arm: len(banks[sweep.arms[arm].features]) for arm in arms if not sweep.arms[arm].trains},
            "remarks": _remarks(sweep, banks),
            "command": _command(config),
            **_about(config),
        },
    )
    console.print(f"{len(grid)} cells of {grid[0].settings['steps']:,} steps in {folder}")
    run_cells(grid, folder, config.workers, config.executor, config.gpus, console)
    return report.run(report.ReportConfig(str(folder)), console)


def _common(config: AblateConfig, folder: Path) -> dict[str, Any]:
    """Settings that all cells have."""
    common: dict[str, Any] = {
        "agent": config.agent,
        "reward": "combined",
        "mode": "residual",
        "observation": "feature",
        "scale": 1.0,
        "split": "test",
        "device": config.device,
    }
    if log := log_format(config.logger):
        common["logger"] = log
    if config.noisy_bank is not None:
        noisy = bank_path(config.noisy_bank)
        common |= {"noisy_bank": _seen_from_a_cell(noisy, folder), "noisy_bank_sha256": sha256(noisy)}
    return common


def _overrides(config: AblateConfig, sweep: Sweep, arms: Sequence[str]) -> dict[str, Any]:
    """`config.set` as values, each of a name that an agent of these arms, or the one before the dot, has and reads."""
    found = parse_values(config.set)
    if any(key.rpartition(".")[2] == "seed" for key in found):
        raise ConfigError(f"setting seed in {' '.join(config.set)}: every cell has a seed of its own; give --seeds")
    read = {arm: read_by(sweep.arms[arm].settings.get("agent", config.agent)) for arm in arms}
    for key in found:
        arm, dot, name = key.rpartition(".")
        if dot and arm not in arms:
            raise unknown_name("arm", arm, arms)
        known = read[arm] if dot else set().union(*read.values())
        if name not in known:
            raise unknown_name("setting", name, sorted(known))
    return found


def _paths(config: AblateConfig) -> dict[str, list[str]]:
    """Kind of features -> its banks, as the user names them."""
    found: dict[str, list[str]] = {}
    for item in config.banks:
        kind, equals, paths = item.partition("=")
        if kind not in FEATURES:
            raise unknown_name("kind of bank", kind, FEATURES)
        if not equals or not all(paths.split(",")):
            raise ConfigError(f"banks {item!r}: want a kind and its files, such as complete=a.safetensors")
        found[kind] = paths.split(",")
    if not found or config.bank != AblateConfig.bank:
        found.setdefault("complete", [config.bank])
    return found


def _banks(config: AblateConfig, sweep: Sweep, passes: float, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Kind of features -> what the cells on each of its banks are told."""
    paths, used = _paths(config), {arm.features for arm in sweep.arms.values()}
    for kind in paths:
        if kind not in used:
            raise ConfigError(f"banks {kind}=...: no arm of {config.what} stands on {FEATURES[kind]}; leave it out")
    for arm in config.arms:
        if (kind := sweep.arms[arm].features) not in paths:
            raise ConfigError(f"arm {arm!r} stands on {FEATURES[kind]}: give --banks {kind}=<bank file>")
    for kind, banks in paths.items():
        for bank in banks:
            _check_bank(config, kind, bank)
    _check_alike([bank for banks in paths.values() for bank in banks], _measured(config))
    return {kind: [_bank(bank, passes, folder) for bank in banks] for kind, banks in paths.items()}


def _check_bank(config: AblateConfig, kind: str, bank: str) -> None:
    """Refuse a bank without the splits, or one of baselines whose file says that it is of another kind."""
    missing = {"train", "validation", "test"} - set(bank_splits(bank))
    if missing:
        raise ConfigError(f"{bank}: has no {min(missing)} split, which an ablation needs; encode the set again")
    said = read_meta(bank_path(bank), "bank")["provenance"]
    if not config.what.startswith("baselines") or "encoder" not in said:
        return
    frames = (said.get("stage1") or {}).get("frames")  # None: the encoder was loaded
    faults = {
        f"an encoder trained on {frames} frames": frames == ("complete" if kind == "random" else "random"),
        "frames that were completed": kind != "completed" and "completion" in said,
        "frames as they were drawn": kind == "completed" and "completion" not in said,
        f"the encoder {said['encoder']['backbone']}": kind == "sketch-a-net" and said["encoder"]["backbone"] != kind,
    }
    for found, wrong in faults.items():
        if wrong:
            raise ConfigError(f"{bank}: holds {found}; {kind}= stands for {FEATURES[kind]}")


def _check_alike(banks: Sequence[str], split: str) -> None:
    """Refuse banks of different drawings or photos in the split that is measured: their arms could not be paired."""
    every = {bank: read_meta(bank_path(bank), "bank")["splits"][split] for bank in banks}
    for bank, members in every.items():
        if members != every[banks[0]]:
            fault = f"{bank}: has other drawings or photos in its {split} split than {banks[0]}"
            raise ConfigError(f"{fault}; encode the same set with the same --split-seed")


def _measured(config: AblateConfig) -> str:
    return "validation" if config.what.endswith("tuning") else "test"


def _bank(bank: str, passes: float, folder: Path) -> dict[str, Any]:
    path = bank_path(bank)
    train = EpisodeBank.load(bank, "train", "cpu")
    return {
        "bank": bank if path.parent == bank_path("procedural").parent else _seen_from_a_cell(path, folder),
        "bank_sha256": sha256(path),
        "steps": max(round(passes * int(train.lengths.sum()) * SAMPLES), 1),
    }


def _about(config: AblateConfig) -> dict[str, Any]:
    """What the report says of the data, which all banks share."""
    split = _measured(config)
    first = next(banks[0] for banks in _paths(config).values())
    measured = EpisodeBank.load(first, split, "cpu")
    path = bank_path(first)
    data = read_meta(path, "bank")["provenance"].get("data", {})
    dataset = Path(data.get("root", data.get("name", path.name))).name
    return {"dataset": dataset, "photos": len(measured.gallery), "sketches": len(measured)}


def _remarks(sweep: Sweep, banks: Mapping[str, Sequence[Any]]) -> list[str]:
    """What has to stand under the table beside its numbers."""
    said = list(sweep.remarks)
    if any(len(of_kind) > 1 for of_kind in banks.values()):
        counts = ", ".join(f"{len(of_kind)} on {FEATURES[kind]}" for kind, of_kind in banks.items())
        said.append(
            f"Encoders: {counts}. Seed s stands on encoder s mod their number, so that intervals over seeds hold the "
            "encoder as well; a system with nothing to train above its encoder has one seed an encoder."
        )
    lacking = [arm for arm in sweep.arms.values() if arm.features not in banks]
    if lacking:
        listed = "; ".join(f"{arm.label} ({FEATURES[arm.features]})" for arm in lacking)
        said.append(f"Left out, as no bank of their kind was given: {listed}.")
    return said


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
        grown = key in _GROW or (key == "arms" and set(earlier.get(key, ())) <= set(value))
        if not grown and earlier.get(key) != value:
            raise ConfigError(
                f"{folder}: holds a grid with {key}={earlier.get(key)!r}, not {value!r}; choose another --out"
            )
    if set(grid["seeds"]) - set(earlier["seeds"]) or grid["arms"] != earlier["arms"]:
        write_json(file, {**grid, "seeds": sorted({*grid["seeds"], *earlier["seeds"]})})


# What may differ when a grid is taken up again: seeds and arms are added, and what is said of them.
_GROW = ("command", "seeds", "labels", "published_as", "once", "remarks")


def _command(config: AblateConfig) -> str:
    default = AblateConfig()
    words = ["sketchless", "ablate", config.what]
    for name in ("preset", "seeds", "passes", "agent", "workers", "executor", "gpus", "device", "logger"):
        if getattr(config, name) != getattr(default, name):
            words += [f"--{name}", str(getattr(config, name))]
    if config.bank != default.bank:
        words += ["--bank", Path(config.bank).name]
    if config.noisy_bank is not None:
        words += ["--noisy-bank", Path(config.noisy_bank).name]
    if config.banks:
        words += ["--banks", *(f"{kind}={','.join(map(_short, paths))}" for kind, paths in _paths(config).items())]
    for name in ("arms", "set"):
        if getattr(config, name):
            words += [f"--{name}", *getattr(config, name)]
    return shlex.join(words)


def _short(path: str) -> str:
    """A bank's file and folder: they are all called alike."""
    return os.path.join(*Path(path).parts[-2:])
