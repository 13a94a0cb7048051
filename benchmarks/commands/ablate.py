"""`sketchless ablate`: carry out an ablation, cell by cell, and report on it."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from tyro.conf import Positional, arg

from sketchless.agents import AGENTS, agent_class
from sketchless.agents.settings import SYNONYMS
from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.datasets.files import write_json
from sketchless.encoders.bank import EpisodeBank
from sketchless.envs.core import MODES, OBSERVATIONS, Core

from ..ablation.cells import Cell
from ..ablation.experiment import reward_of
from ..ablation.runner import check_options, run_cells
from ..ablation.sweep import FEATURES, SWEEPS, Arm, Sweep, cells, read_by
from ..bank_file import BankFile, check_alike
from ..display.tables import PROXY
from ..display.terminal import Terminal
from ..environments import DEFAULT_ENV, Environment
from ..logs import log_format
from ..options import EnvId, RewardName, listed
from ..reporting.compare import Comparison
from ..runs import RunFolder, new_folder, parse_seeds, parse_values
from ..training import refuse_leaking

# Passes over the training drawings and seeds; `quick` is for a first look, `full` for a conclusion.
PRESETS = {"quick": (1.0, "0-2"), "full": (5.0, "0-9")}
# How `sketchless encode` makes a bank of each kind of features.
ENCODE = {
    "complete": "",
    "random": "--frames random",
    "completed": "--complete",
    "sketch-a-net": "--encoder sketch-a-net",
}
_ASKED = (
    "preset", "seeds", "passes", "agent", "reward", "mode", "observation", "env", "workers", "executor", "gpus",
    "device", "logger",
)  # fmt: skip
SAMPLES = 16  # actions per state, in whose steps the budget of a pass is counted for every arm alike


@dataclass(frozen=True)
class AblateConfig:
    """Compare methods, rewards, designs or whole systems over many seeds; an interrupted grid is taken up again."""

    what: Positional[str] = "methods"
    """`methods`, `rewards`, `design`, `baselines`, `costs` (of a stroke, in `Stop-v0`), `leak` (what a look at later
    frames is worth), `knobs` (methods, each tuned by all its own settings, the choice drawn anew in the intervals), or
    step sizes, measured on validation: `tuning` (of the methods), `rewards-tuning`, `baselines-tuning`."""
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
    """Some of the ablation's arms; by default all but the paper to the letter, at 2,000 epochs (`ppo-a-clip-paper` of
    `methods`, `refined-paper` of `baselines`), and, of `rewards`, those with A = R (`top1-flat` ...). Any other agent
    is an arm of `methods` and `tuning`, any other reward one of `rewards` and `rewards-tuning`: by its name (see
    `sketchless info`) or as `module:attribute`. In `knobs` a method's name stands for all its settings."""
    agent: Annotated[str, arg(help=f"For `rewards` and `design`: the agent, one of {listed(AGENTS)}, or another.")] = (
        "ppo-a-clip"
    )
    reward: RewardName = "combined"
    mode: str = "residual"
    """`residual` (refine the baseline's embedding) or `absolute`."""
    observation: str = "feature"
    """What the agents see: the frame's `feature`, or its `embedding`."""
    env: EnvId = DEFAULT_ENV
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
    """`tensorboard`, `csv`, `wandb` or `none`; `auto`: TensorBoard where it is installed. Every cell logs into its own
    `log`: by default none does, as reports need no logs. A grid may go on with another logger."""
    out: str | None = None
    """Folder of the grid; by default `runs/ablate-<what>-<date>`."""


def run(config: AblateConfig, console: Console | None = None) -> Comparison:
    """Carry out all cells that are not done yet, then report.

    Raises:
        ConfigError: an unknown ablation, arm or setting, a bank without a validation split, a folder of another
            grid. Otherwise as `run_cells` and `report.report`.
    """
    console = console or Terminal()
    if config.what not in SWEEPS:
        raise unknown_name("ablation", config.what, SWEEPS)
    if config.preset not in PRESETS:
        raise unknown_name("preset", config.preset, PRESETS)
    check_options(config.workers, config.executor, config.gpus)
    sweep, chosen = SWEEPS[config.what].joined(config.arms)
    environment = Environment.find(config.env)
    if sweep.setting_of and environment.kind.value is not Core.value:
        raise ConfigError(
            f"env {environment.id}: {config.what} chooses settings by validation m@B, and this task is for something "
            "else: choose sketchless/OnTheFly-v0, or ablate methods"
        )
    _check_shared(config, sweep)
    config = replace(config, arms=tuple(chosen), env=environment.id)
    config = replace(config, **environment.unasked(config, AblateConfig))
    passes, seeds = PRESETS[config.preset]
    passes = passes if config.passes is None else config.passes
    seed_list = parse_seeds(seeds if config.seeds is None else config.seeds)
    if not 0 < passes < math.inf:
        raise ConfigError(f"passes={passes}: must be a finite number above 0")
    files = _bank_files(config, sweep)
    banks = {kind: [_about_bank(file, passes) for file in of_kind] for kind, of_kind in files.items()}
    ships = any(file.ships for of_kind in files.values() for file in of_kind)
    common = _common(config)
    ready = [name for name, arm in sweep.arms.items() if not set(arm.needs) - set(common)]
    if not config.arms:
        ready = [name for name in ready if _fits(sweep.arms[name], config, environment.kind, console)]
    for name, arm in sweep.arms.items():
        if set(arm.needs) - set(common):
            console.print(f"left out: {name}, which needs --{arm.needs[0].replace('_', '-')}")
    for kind, how in ENCODE.items():
        lacking = [name for name in ready if sweep.arms[name].features == kind not in banks]
        if lacking and not config.arms:
            command = f"sketchless encode {how}".strip()
            told = f"make one of the same data set with  {command}  and give --banks {kind}=<its bank>"
            console.print(f"left out: {', '.join(lacking)}, for want of a bank; {told}", soft_wrap=True)
    ready = [name for name in ready if sweep.arms[name].features in banks]
    arms = [arm for arm in ready if (arm in config.arms if config.arms else not sweep.arms[arm].named)]
    if not arms:
        raise ConfigError(f"arms={', '.join(config.arms)}: none is left; give what they need")
    every = cells(config.what, common, seed_list, _overrides(config, sweep, arms), banks, sweep)
    grid = [cell for cell in every if _arm(cell.id) in arms]
    _check_arms(grid, sweep, files)
    usual = sweep.reference in arms
    folder = Path(config.out) if config.out else new_folder(f"ablate-{config.what}")
    about = {
        "sweep": config.what,
        "title": sweep.title,
        "arms": arms,
        "labels": {arm: sweep.arms[arm].label for arm in arms},
        "reference": sweep.reference if usual else arms[0],
        "family": sweep.family if usual else f"each arm against {sweep.arms[arms[0]].label}, in m@B",
        "seeds": seed_list,
        "published": sweep.published
        if environment.task == Core.task
        else None,  # the paper's numbers are of its own task
        "published_as": sweep.published_as(arms),
        "seeds_per_bank": {arm: len(banks[sweep.arms[arm].features]) for arm in arms if not sweep.arms[arm].trains},
        **({"setting_of": {arm: sweep.setting_of[arm] for arm in arms}} if sweep.setting_of else {}),
        "remarks": _remarks(sweep, banks, environment.kind) + ([PROXY] if ships else []),
        "command": command_of(config),
        **_about(next(iter(files.values()))[0], _measured(config)),
    }
    console.print(f"{len(grid)} cells of {grid[0].settings['steps']:,} steps in {folder}")
    run_cells(grid, folder, config.workers, config.executor, config.gpus, console, lambda run: _claim(run, about))
    from .report import report  # matplotlib takes a second

    return report(folder, folder / "report", console)


def _fits(arm: Arm, config: AblateConfig, task: type[Core], console: Console) -> bool:
    """Whether an arm that nobody named is one for the task; if its agent cannot learn it, that is said."""
    if arm.ahead and task.bandit:
        return False
    agent, mode = agent_class(arm.settings.get("agent", config.agent)), arm.settings.get("mode", config.mode)
    try:
        if mode not in task.modes:
            raise ConfigError(f"the task {task.task!r} has no mode {mode!r}")
        _check_own(arm.settings.get("agent", config.agent), arm)
        _check_agent(agent, {name: value for name, value in arm.set.items() if name in ("credit", "gamma")}, task)
    except ConfigError as error:
        console.print(f"left out: {arm.label}; {error}", soft_wrap=True)
        return False
    return True


def _check_agent(agent: type[Any], settings: Mapping[str, Any], task: type[Core]) -> None:
    """Refuse an agent that cannot learn the task, settings out of range, and those that do not go with the task."""
    agent.check_task(task)
    agent.Config(**settings).discount(task.bandit)


def _check_own(agent: str, arm: Arm) -> None:
    """Refuse an arm that is about what its agent does not read: it would be like the others."""
    unread = set(arm.set) - read_by(agent)
    if not agent_class(agent).rewarded:
        # sigma is of the actions that rewards are given for
        unread |= {"init_log_std", "train_log_std"} & arm.set.keys() | {
            "gamma2",
            "tau_normalized",
        } & arm.settings.keys()
    if unread:
        raise ConfigError(f"{min(unread)}: agent {agent} does not read it; choose another agent, or leave the arm out")


def _check_arms(grid: Sequence[Cell], sweep: Sweep, files: Mapping[str, Sequence[BankFile]]) -> None:
    """Make the agent of every arm once, of its first seed, so that nothing is refused after others were trained.

    Raises:
        ConfigError: as an agent when it is made; one that looks at later frames where its arm does not say so.
    """
    banks: dict[str, EpisodeBank] = {}
    cores: dict[Any, Core] = {}
    first: dict[str, Mapping[str, Any]] = {}
    for cell in grid:
        first.setdefault(_arm(cell.id), cell.settings)
    for name, settings in first.items():
        arm, make = sweep.arms[name], agent_class(settings["agent"])
        environment = Environment.find(settings.get("env", DEFAULT_ENV))
        shared = (settings["mode"], settings["observation"], settings["scale"])
        try:
            _check_own(settings["agent"], arm)
            _check_agent(make, settings["set"], environment.kind)
            reward_of(settings)
            if arm.features not in banks:
                banks[arm.features] = files[arm.features][0].load("train")
            key = (arm.features, environment.id, *shared)
            if key not in cores:
                cores[key] = environment.core(banks[arm.features], "inv-rank", *shared)
            agent = make(cores[key], **settings["set"])
            if not arm.leaks:
                refuse_leaking(agent)
        except ConfigError as error:
            raise ConfigError(f"arm {name}: {error} (--arms names the arms to run)") from error


def _check_shared(config: AblateConfig, sweep: Sweep) -> None:
    """Refuse what no arm would use, and names that the environment does not know."""
    for name, known in (("mode", MODES), ("observation", OBSERVATIONS)):
        if getattr(config, name) not in known:
            raise unknown_name(name, getattr(config, name), known)
    for name in ("agent", "reward", "mode", "observation"):
        asked = getattr(config, name) != getattr(AblateConfig, name)
        if asked and all(name in arm.settings for arm in sweep.arms.values()):
            raise ConfigError(f"--{name} {getattr(config, name)}: every arm of {config.what} has its own; see --arms")
    theirs = any("agent" not in arm.settings for arm in sweep.arms.values())
    if theirs and (config.agent == "b1" or (sweep.compares == "reward" and not agent_class(config.agent).rewarded)):
        what = "has nothing to train" if config.agent == "b1" else "learns from no reward"
        raise ConfigError(f"--agent {config.agent}: it {what}, all arms would be alike; choose ppo-a-clip")


def _common(config: AblateConfig) -> dict[str, Any]:
    """Settings that all cells have."""
    common: dict[str, Any] = {
        "agent": config.agent,
        "reward": config.reward,
        "mode": config.mode,
        "observation": config.observation,
        "scale": 1.0,
        "split": "test",
        "device": config.device,
    }
    if config.env != DEFAULT_ENV:
        common["env"] = config.env
    if log := log_format(config.logger):
        common["logger"] = log
    if config.noisy_bank is not None:
        noisy = BankFile.open(config.noisy_bank, "train")
        common |= {"noisy_bank": _for_a_cell(noisy), "noisy_bank_sha256": noisy.sha256}
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
            raise unknown_name("setting", name, known, SYNONYMS)
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
        found.setdefault(kind, []).extend(paths.split(","))
    if not found or config.bank != AblateConfig.bank:
        found.setdefault("complete", [config.bank])
    return found


def _bank_files(config: AblateConfig, sweep: Sweep) -> dict[str, list[BankFile]]:
    """Kind of features -> its banks, checked to be what they are given as, and to be of the same drawings."""
    paths, used = _paths(config), {arm.features for arm in sweep.arms.values()}
    for kind in paths:
        if kind not in used:
            raise ConfigError(f"banks {kind}=...: no arm of {config.what} stands on {FEATURES[kind]}; leave it out")
    for arm in config.arms:
        if (kind := sweep.arms[arm].features) not in paths:
            raise ConfigError(f"arm {arm!r} stands on {FEATURES[kind]}: give --banks {kind}=<bank file>")
    files = {
        kind: [BankFile.open(bank, "train", "validation", "test") for bank in banks] for kind, banks in paths.items()
    }
    if config.what.startswith("baselines"):
        for kind, of_kind in files.items():
            for file in of_kind:
                _check_kind(file, kind)
    for split in {_measured(config), "validation"} if sweep.setting_of else {_measured(config)}:
        check_alike([file for of_kind in files.values() for file in of_kind], split)
    return files


def _check_kind(file: BankFile, kind: str) -> None:
    """Refuse a bank that says that it is of another kind."""
    said = file.provenance
    if "encoder" not in said:
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
            raise ConfigError(f"{file.name}: holds {found}; {kind}= stands for {FEATURES[kind]}")


def _measured(config: AblateConfig) -> str:
    return "validation" if config.what.endswith("tuning") else "test"


def _about_bank(file: BankFile, passes: float) -> dict[str, Any]:
    """What the cells on a bank are told."""
    frames = int(file.load("train").lengths.sum())
    return {
        "bank": _for_a_cell(file),
        "bank_sha256": file.sha256,
        "steps": max(round(passes * frames * SAMPLES), 1),
    }


def _for_a_cell(file: BankFile) -> str:
    """Where a cell finds a bank, whatever folder it runs in; what it keeps of that is the file's name."""
    return file.name if file.ships else str(file.path.resolve())


def _about(file: BankFile, split: str) -> dict[str, Any]:
    """What the report says of the data, which all banks share."""
    members = file.splits[split]
    return {"dataset": file.dataset, "photos": len(members["photo_ids"]), "sketches": len(members["sketch_ids"])}


def _remarks(sweep: Sweep, banks: Mapping[str, Sequence[Any]], task: type[Core]) -> list[str]:
    """What has to stand under the table beside its numbers."""
    said = list(sweep.remarks)
    if sweep.setting_of and not task.bandit:
        said.append("Discount and lambda, which matter in this task, are nobody's knobs here: all have their defaults.")
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


def _arm(cell: str) -> str:
    return cell.split("/")[1]


def _claim(run: RunFolder, grid: dict[str, Any]) -> None:
    """Write `grid.json`, or find the same one there, which may have fewer seeds and arms."""
    earlier = run.refuse_other(grid, (*_GROW, "arms"))
    if earlier is not None:
        if "cells" in earlier:
            raise ConfigError(f"{run.path}: holds a packed grid, which is finished; choose another --out")
        lacking = [arm for arm in earlier.get("arms", []) if arm not in grid["arms"]]
        if lacking:
            raise ConfigError(
                f"{run.path}: holds a grid with the arm {lacking[0]}; name it too or choose another --out"
            )
        grid = {**grid, "seeds": sorted({*grid["seeds"], *earlier.get("seeds", [])})}
        if grid["seeds"] == earlier.get("seeds") and grid["arms"] == earlier.get("arms"):
            return
    write_json(run.path / "grid.json", grid)


# What may differ when a grid is taken up again: seeds and arms are added, and what is said of them.
_GROW = ("command", "seeds", "labels", "published_as", "seeds_per_bank", "setting_of", "remarks")


def command_of(config: AblateConfig) -> str:
    """The command that asks for this grid, for its report."""
    default = AblateConfig()
    words = ["sketchless", "ablate", config.what]
    for name in _ASKED:
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
