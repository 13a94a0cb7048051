"""Checks of single values that users give: counts, seeds and numbers."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from .errors import ConfigError, shown


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


def as_number(value: Any) -> float:
    """A real number of any type as float; NaN for anything else, also True and texts."""
    try:
        return math.nan if isinstance(value, (bool, np.bool_, str)) else float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return math.nan
