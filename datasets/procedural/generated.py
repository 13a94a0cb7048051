"""What the data sets made by functions share: checked numbers, and counts of what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from ..dataset import Split
from ..errors import ConfigError
from ..lazy import OnDemand


def whole_numbers(name: str, given: Mapping[str, object], lowest: Mapping[str, int]) -> dict[str, int]:
    """The options of the set `name` as plain whole numbers.

    Raises:
        ConfigError: one is not whole, below its lowest, or 2^31 or more.
    """
    plain = {}
    for option, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ConfigError(f"{name}: {option}={value!r} is not a whole number")
        if not lowest[option] <= value < 2**31:
            raise ConfigError(f"{name}: {option}={value} is out of range; give {lowest[option]} or more")
        plain[option] = int(value)
    return plain


def counts(splits: Mapping[str, Split]) -> Mapping[str, dict[str, int]]:
    """Photos, sketches, strokes and points of each split, counted when they are asked for."""
    return OnDemand({name: partial(_count, splits, name) for name in splits})


def _count(splits: Mapping[str, Split], name: str) -> dict[str, int]:
    split = splits[name]
    return {
        "photos": len(split.photos),
        "sketches": len(split.sketches),
        "strokes": sum(sketch.n_strokes for sketch in split.sketches),
        "points": sum(map(len, split.sketches)),
    }
