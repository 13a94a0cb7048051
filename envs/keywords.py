"""The keywords that all environments share, the core that they ask for, and the length of its episodes."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, TypedDict

import torch
from gymnasium.envs.registration import EnvSpec
from typing_extensions import Unpack

from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.encoders.bank import EpisodeBank

from .core import Core
from .inputs import open_bank
from .rewards import Local, RewardScheme
from .tasks import make_core


class EnvKeywords(TypedDict, total=False):
    """Keywords of every environment; `OnTheFlyEnv` says what they mean."""

    split: str | None
    reward: str | Local | RewardScheme
    mode: str
    observation: str
    scale: float
    device: str | torch.device
    render_mode: str | None
    dataset: SketchDataset | None
    task: str
    decay: float
    stroke_cost: float


class UnknownKeywordError(ConfigError, TypeError):
    """A keyword that no environment has: Python's own kind of error too, by which others (TorchRL) try keywords."""


def open_core(bank: EpisodeBank | str | os.PathLike[str], **keywords: Unpack[EnvKeywords]) -> Core:
    """The core that an environment's keywords ask for. Raises UnknownKeywordError, and as `Core`."""
    for name in keywords:
        if name not in EnvKeywords.__annotations__:
            fault = unknown_name("keyword", name, EnvKeywords.__annotations__)
            raise UnknownKeywordError(str(fault).replace("unknown keyword", "unexpected keyword argument", 1))
    own: dict[str, Any] = {name: keywords[name] for name in ("decay", "stroke_cost") if name in keywords}
    return make_core(
        keywords.get("task", "on-the-fly"),
        open_bank(bank, keywords.get("split"), keywords.get("device", "auto")),
        keywords.get("reward", "combined"),
        keywords.get("mode", "residual"),
        keywords.get("observation", "feature"),
        keywords.get("scale", 1.0),
        **own,
    )


def with_length(spec: EnvSpec | None, core: Core) -> EnvSpec | None:
    """A spec that says how many steps an episode has, where all have as many.

    Not by registration: `gym.make` would put a `TimeLimit` of that length around banks of longer episodes.
    """
    if spec is None or spec.max_episode_steps is not None or not bool((core.bank.lengths == core.n_steps).all()):
        return spec
    return replace(spec, max_episode_steps=core.n_steps)
