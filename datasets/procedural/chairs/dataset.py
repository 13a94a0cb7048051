"""The procedural set: chairs, photographed and drawn by a function of (seed, index). Needs no files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from ...dataset import SketchDataset, Split
from ...errors import ConfigError, DataError
from ...lazy import OnDemand
from ...sketch import Sketch
from ..generated import counts, whole_numbers
from .drawing import drawing
from .photo import photo

# Of its own stream, so that no chair shares its numbers.
CARVE = 0x5B117


def procedural(
    seed: int = 0, train: int = 300, test: int = 100, validation: int = 50, drawers: int = 3
) -> SketchDataset:
    """Chairs with a photo and a few sketches each, the same ones for the same arguments.

    A split is drawn when it is first asked for, a photo whenever it is.

    Args:
        seed: 0 or more; every seed has its own endless row of chairs.
        train: chairs numbered 0 .. train - 1.
        test: chairs numbered train .. train + test - 1.
        validation: of the `train` chairs, how many are set aside, chosen by the seed.
        drawers: sketches per chair, each by another person.

    Raises:
        ConfigError: a number that is not whole, negative, or leaves a split without any chair.
    """
    spec = {"seed": seed, "train": train, "test": test, "validation": validation, "drawers": drawers}
    lowest = {"seed": 0, "train": 1, "test": 1, "validation": 0, "drawers": 1}
    plain = whole_numbers("procedural", spec, lowest)
    if validation >= train:
        raise ConfigError(f"procedural: validation={validation} chairs leave none of train={train} to train on")

    aside = np.random.default_rng([seed, train, CARVE]).permutation(train)[:validation]
    held = np.zeros(train, dtype=bool)
    held[aside] = True
    members = {
        "train": np.flatnonzero(~held),
        "validation": np.flatnonzero(held),
        "test": np.arange(train, train + test),
    }
    splits = OnDemand({name: partial(_split, seed, chairs.tolist(), drawers) for name, chairs in members.items()})
    render = partial(_render, seed, train + test)
    return SketchDataset("procedural", {"name": "procedural", **plain}, splits, render, counts(splits))


def photo_id(seed: int, index: int) -> str:
    return f"chair-{seed}-{index:05d}"


def _render(seed: int, chairs: int, id: str) -> npt.NDArray[np.uint8]:
    match = re.fullmatch(rf"chair-{seed}-(\d{{5,}})", id)
    if not match or int(match[1]) >= chairs or id != photo_id(seed, int(match[1])):
        first, last = photo_id(seed, 0), photo_id(seed, chairs - 1)
        raise DataError(f"procedural: no photo {id!r}; ids run from {first!r} to {last!r}")
    return photo(seed, int(match[1]))


def _split(seed: int, chairs: Sequence[int], drawers: int) -> Split:
    sketches = tuple(
        Sketch.from_strokes(drawing(seed, index, drawer), f"{photo_id(seed, index)}_{drawer}")
        for index in chairs
        for drawer in range(drawers)
    )
    targets = np.repeat(np.arange(len(chairs), dtype=np.int64), drawers)
    return Split(sketches, targets, tuple(photo_id(seed, index) for index in chairs))
