"""One cell: train one agent with one seed, choose its policy on validation, look at the test drawings once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sketchless.agents import agent_class
from sketchless.datasets.errors import ConfigError
from sketchless.datasets.files import sha256
from sketchless.encoders.bank import EpisodeBank, bank_path
from sketchless.encoders.gallery import Gallery
from sketchless.encoders.tensorfile import save_tensors
from sketchless.envs import make_reward, principal_directions, project, resize_gallery, thin_frames, with_distractors
from sketchless.envs.core import Core
from sketchless.envs.rewards import combined

from ..logs import logger_in
from ..metrics import Evaluation, evaluate
from ..runs import Interrupted

SECONDS_BETWEEN_SAVES = 30.0
Progress = Callable[[float, str], bool]


def run(settings: Mapping[str, Any], folder: Path, progress: Progress) -> dict[str, Any]:
    """Carry out a cell, or take it up where it was left.

    Args:
        settings: `bank bank_sha256 agent set reward mode observation scale steps seed device`, and of what is
            compared in `design`: `gamma2 tau_normalized` (of the combined reward); of the training drawings alone
            `frames` (every so many-th is trained on), `photos` (share of the photos trained against, with their
            drawings), `drawings` (those same drawings, against all photos), `noisy_bank noisy_bank_sha256` (their
            features with noise strokes); and of all splits `width` (share of d, along the training photos'
            principal directions: B1 is another). `split`: what it is measured on, always in full.
            `logger` (`tensorboard` or `csv`): writes `log` below the folder, and changes nothing else.
        folder: gets `agent.safetensors` and `ranks.safetensors`.
        progress: told the share done and how it goes; True asks to stop.

    Returns:
        Metrics of the refined policy and of B1, the history of validation, curves, steps and the seconds of
        training; None if that was interrupted.

    Raises:
        ConfigError: the bank has changed, or settings that do not fit. Interrupted: asked to stop, and saved.
    """
    banks = _banks(settings, folder)
    core = _core(banks["train"], settings)
    make = agent_class(settings["agent"])
    file, part = folder / "agent.safetensors", folder / "agent.part.safetensors"
    began = None if file.exists() or part.exists() else time.perf_counter()
    if file.exists():
        agent = make.load(file, core, banks["validation"])
    else:
        agent = _train(make, core, banks["validation"], settings, part, progress)
        agent.save(file)
        part.unlink(missing_ok=True)
    seconds = None if began is None else round(time.perf_counter() - began, 3)
    refined, baseline = evaluate(agent, banks[settings["split"]]), evaluate(None, banks[settings["split"]])
    _save_ranks(folder / "ranks.safetensors", refined, settings["split"])
    percentile, reciprocal = refined.by_percentage()
    return {
        "metrics": refined.summary(),
        "baseline": baseline.summary(),
        "history": agent.history,
        "tau_by_step": refined.tau_by_step().tolist(),
        "by_percentage": {"rp": percentile.tolist(), "rr": reciprocal.tolist()},
        "photos": refined.gallery,
        "sketches": len(refined.rank),
        "steps": agent.num_timesteps,
        "seconds": seconds,
        "settings": {name: value for name, value in settings.items() if name != "logger"},
        "agent_settings": asdict(agent.config),
    }


def _train(
    make: type[Any], core: Core, validation: EpisodeBank, settings: Mapping[str, Any], part: Path, progress: Progress
) -> Any:
    resumed = part.exists()
    given = {**settings["set"], "seed": settings["seed"]}
    agent = make.load(part, core, validation) if resumed else make(core, validation, **given)
    saved = time.monotonic()
    asked = False

    def step(*_: Any) -> bool:
        nonlocal saved, asked
        if time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
            agent.save(part)
            saved = time.monotonic()
        best = max((look["val_m_at_b"] for look in agent.history), default=float("nan"))
        asked = progress(min(agent.num_timesteps / settings["steps"], 1.0), f"validation m@B {best:.2f}")
        return not asked

    if "logger" in settings:
        agent.set_logger(logger_in(part.parent / "log", settings["logger"], agent.num_timesteps))
    with contextlib.closing(agent.logger):
        agent.learn(settings["steps"], callback=step, reset_num_timesteps=not resumed)
    if asked and agent.num_timesteps < settings["steps"]:
        agent.save(part)
        raise Interrupted(f"stopped at {agent.num_timesteps:,} of {settings['steps']:,} steps")
    return agent


def _core(bank: EpisodeBank, settings: Mapping[str, Any]) -> Core:
    reward: Any = settings["reward"]
    if "gamma2" in settings or "tau_normalized" in settings:
        names = ("gamma2", "tau_normalized")
        reward = combined(**{name: settings[name] for name in names if name in settings})
    return Core(bank, make_reward(reward), settings["mode"], settings["observation"], settings["scale"])


def _bank_path(settings: Mapping[str, Any], folder: Path, name: str = "bank") -> Path:
    """The bank that the grid began with."""
    shipped = bank_path(settings[name])
    path = shipped if shipped.is_file() else folder / settings[name]
    if sha256(path) != settings[f"{name}_sha256"]:
        raise ConfigError(f"{path}: has changed since the grid began; choose another --out")
    return path


def _banks(settings: Mapping[str, Any], folder: Path) -> dict[str, EpisodeBank]:
    """To train, choose and measure on. Only `width` changes more than the first, so that arms share their drawings."""
    path, device = _bank_path(settings, folder), settings["device"]
    banks = {split: EpisodeBank.load(path, split, device) for split in ("train", "validation", settings["split"])}
    if "noisy_bank" in settings:
        noisy = EpisodeBank.load(_bank_path(settings, folder, "noisy_bank"), "train", device)
        if not (
            torch.equal(noisy.weight, banks["train"].weight) and torch.equal(noisy.gallery, banks["train"].gallery)
        ):
            raise ConfigError(f"{settings['noisy_bank']}: is of another encoder or other photos; encode with --load")
        banks["train"] = noisy
    if "width" in settings:
        gallery = banks["train"].gallery
        directions = principal_directions(gallery, round(settings["width"] * gallery.shape[1]))
        banks = {split: project(bank, directions) for split, bank in banks.items()}
    return banks | {"train": _thinned(banks["train"], settings)}


def _thinned(bank: EpisodeBank, settings: Mapping[str, Any]) -> EpisodeBank:
    """The training bank with less to learn from."""
    if "frames" in settings:
        bank = thin_frames(bank, settings["frames"])
    if "photos" in settings:
        bank = _share(bank, settings["photos"])
    if "drawings" in settings:
        few = _share(bank, settings["drawings"])
        rest = [row for row, photo in enumerate(bank.photo_ids) if photo not in set(few.photo_ids)]
        bank = with_distractors(few, Gallery(bank.gallery[rest], tuple(bank.photo_ids[row] for row in rest)))
    return bank


def _share(bank: EpisodeBank, share: float) -> EpisodeBank:
    return resize_gallery(bank, round(share * len(bank.gallery)), drop_sketches=True)


def _save_ranks(path: Path, evaluation: Evaluation, split: str) -> None:
    tensors = {
        "rank": torch.from_numpy(evaluation.rank.astype(np.int32)),
        "lengths": torch.from_numpy(evaluation.lengths),
    }
    about = {"split": split, "gallery": evaluation.gallery, "sketch_ids": list(evaluation.sketch_ids)}
    save_tensors(path, "ranks", tensors, about)
