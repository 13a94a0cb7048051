"""One cell: train one agent with one seed, choose its policy on validation, evaluate it on the test drawings once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sketchless.agents import agent_class
from sketchless.datasets.errors import ConfigError
from sketchless.datasets.files import sha256
from sketchless.encoders.bank import EpisodeBank, bank_path
from sketchless.encoders.gallery import Gallery
from sketchless.envs import make_reward, principal_directions, project, resize_gallery, thin_frames, with_distractors
from sketchless.envs.rewards import RewardScheme, combined

from ..environments import DEFAULT_ENV, Environment
from ..grid_file import write_ranks
from ..metrics import evaluate
from ..training import Progress, Training, by_photo, cell_result, stop_rivals, train
from .cells import recorded


def run(settings: Mapping[str, Any], folder: Path, progress: Progress) -> dict[str, Any]:
    """Carry out a cell, or take it up where it was left.

    Args:
        settings: `bank bank_sha256 agent set reward mode observation scale steps seed device`; `env`, the id of the
            environment, by default that of the paper; and of what is
            compared in `design`: `gamma2 tau_normalized` (of the combined reward); of the training drawings alone
            `frames` (every so many-th is trained on), `photos` (share of the photos trained against, with their
            drawings), `drawings` (those same drawings, against all photos), `noisy_bank noisy_bank_sha256` (their
            features with noise strokes); and of all splits `width` (share of d, along the training photos'
            principal directions: B1 is another). `split`: what it is measured on, always in full.
            `chosen_on`: a split, such as `validation`, on which settings like this one are compared and one is chosen.
            `logger` (`tensorboard`, `csv` or `wandb`): writes `log` below the folder, and changes nothing else.
        folder: gets `agent.safetensors` and `ranks.safetensors`.
        progress: told the share done and how it goes; True asks to stop.

    Returns:
        Metrics of the refined policy and of B1, the history of validation, curves, steps and the seconds of
        training; None if that was interrupted. With `chosen_on` also what the choice is made on, `by_photo`.

    Raises:
        ConfigError: the bank has changed, or settings that do not fit. Interrupted: asked to stop, and saved.
    """
    banks, environment = _banks(settings, folder), Environment.find(settings.get("env", DEFAULT_ENV))
    shared = (settings["mode"], settings["observation"], settings["scale"])
    log = (folder / "log", settings["logger"]) if "logger" in settings else None
    job = Training(
        agent_class(settings["agent"]),
        environment.core(banks["train"], reward_of(settings), *shared),
        banks["validation"],
        None,
        {**settings["set"], "seed": settings["seed"]},
        settings["steps"],
        folder / "agent.safetensors",
        progress,
        log,
    )
    seconds, agent = train(job), job.agent
    split = settings["split"]
    refined = evaluate(agent, banks[split], leak=not agent.causal)
    baseline = evaluate(None, banks[split])
    others = stop_rivals(agent.core, banks["validation"], banks[split])
    write_ranks(folder / "ranks.safetensors", split, refined, baseline, others)
    result = cell_result(agent, refined, baseline, recorded(settings), seconds)
    if "chosen_on" in settings:
        result["by_photo"] = by_photo(evaluate(agent, banks[settings["chosen_on"]], leak=not agent.causal))
    return result


def reward_of(settings: Mapping[str, Any]) -> RewardScheme:
    """The reward of a cell. Raises ConfigError: unknown, or weights of Eq. 4 for another one."""
    weights = {name: settings[name] for name in ("gamma2", "tau_normalized") if name in settings}
    if weights and settings["reward"] != "combined":
        raise ConfigError(f"{', '.join(weights)}: belongs to the reward combined, not to {settings['reward']}")
    return combined(**weights) if weights else make_reward(settings["reward"])


def _bank_path(settings: Mapping[str, Any], folder: Path, name: str = "bank") -> Path:
    """The bank that the grid began with."""
    shipped = bank_path(settings[name])
    path = shipped if shipped.is_file() else folder / settings[name]  # cells of 0.1.0 say where, seen from their folder
    if sha256(path) != settings[f"{name}_sha256"]:
        raise ConfigError(f"{path}: has changed since the grid began; choose another --out")
    return path


def _banks(settings: Mapping[str, Any], folder: Path) -> dict[str, EpisodeBank]:
    """To train, choose and measure on. Only `width` changes more than the first, so that arms share their drawings."""
    path, device = _bank_path(settings, folder), settings["device"]
    splits = {"train", "validation", settings["split"], settings.get("chosen_on", "validation")}
    banks = {split: EpisodeBank.load(path, split, device) for split in sorted(splits)}
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
