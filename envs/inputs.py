"""What every shell accepts from its user, checked in one place."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from sketchless.datasets.checks import as_number
from sketchless.datasets.errors import ConfigError, shown, unknown_name
from sketchless.encoders.bank import EpisodeBank

from .ranking import described, not_finite


def open_bank(bank: EpisodeBank | str | os.PathLike[str], split: str | None, device: str | torch.device) -> EpisodeBank:
    """A bank on a device, from itself, or from a path or a name and a split, by default `"train"`.

    `"auto"` leaves a bank where it is, and loads one to the GPU where there is one.

    Raises:
        ConfigError: neither of these, or another split than that of a bank given as itself. Others as
            `EpisodeBank.load`.
    """
    if isinstance(bank, EpisodeBank):
        if split is not None and split != bank.split:
            raise ConfigError(f"split={split!r} of a bank that holds {bank.split!r}: leave split out, or load that one")
        return bank if device == "auto" else bank.to(device)
    if not isinstance(bank, (str, os.PathLike)):
        raise ConfigError(
            f"bank is {described(bank)}: want an EpisodeBank, the path of a bank file or the name of one that ships"
        )
    return EpisodeBank.load(bank, "train" if split is None else split, device)


def as_scale(scale: Any) -> float:
    """A finite float above 0. Raises ConfigError for anything else."""
    number = as_number(scale)
    if not 0 < number < math.inf:
        raise ConfigError(f"scale={shown(scale)}: must be a finite number above 0")
    return number


def as_action(action: Any, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """An action of any array type as float64 tensor on a device.

    Raises:
        ConfigError: not real numbers of that shape.
        DataError: one that is not finite, if it comes from the CPU and leaves it: nobody has to wait for it here.
    """
    parts = action if isinstance(action, list | tuple) else [action]
    if any(isinstance(part, np.ma.MaskedArray) for part in parts):
        raise ConfigError("action is a masked array: say what stands in the masked places, with action.filled(0)")
    if isinstance(action, Tensor):
        real = not (action.is_complex() or action.dtype == torch.bool)
    else:
        try:
            action = np.asarray(action)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"action cannot be read: {error}; want real numbers of shape {shape}") from error
        real = action.dtype.kind in "fiu"
    if not real or tuple(action.shape) != shape:
        raise ConfigError(f"action is {action.dtype} {tuple(action.shape)}: want real numbers of shape {shape}")
    if not isinstance(action, Tensor):
        action = torch.from_numpy(action.astype(np.float64))
    if action.device.type == "cpu" != device.type and not torch.isfinite(action).all():
        raise not_finite(action)
    checked: Tensor = action.detach().to(device, torch.float64)
    return checked


def as_render_mode(mode: str | None, known: Sequence[str]) -> str | None:
    """One of the `known` render modes, or None. Raises ConfigError for another one."""
    if mode is not None and mode not in known:
        raise unknown_name("render_mode", mode, known)
    return mode


def as_autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    """An autoreset mode from itself, its name or its value. Raises ConfigError for another one."""
    known = {str(key): member for member in AutoresetMode for key in (member.name, member.value)}
    if isinstance(mode, AutoresetMode):
        return mode
    if mode not in known:
        raise unknown_name("autoreset_mode", mode, known)
    return known[mode]
