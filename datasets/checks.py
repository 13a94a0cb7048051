"""Checks of single values that users give: counts and seeds."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from .errors import ConfigError


def as_count(name: str, value: Any, least: int) -> int:
    """An int of `least` or more, from a whole number of any type. Raises ConfigError for anything else, also True."""
    try:
        whole = least - 1 if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        whole = least - 1
    if whole < least:
        raise ConfigError(f"{name}={shown(value)}: must be a whole number, {least} or more")
    return whole


def as_seed(seed: Any) -> int:
    """A seed as int in 0..2^63-1. Raises as `as_count`."""
    return as_count("seed", seed, 0) % 2**63


def shown(value: Any) -> str:
    return " ".join(repr(value).split())  # an array takes more lines than an error has
