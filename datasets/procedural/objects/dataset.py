"""The object set: twenty categories of things, photographed and drawn by a function; six are never trained on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

import numpy as np
import numpy.typing as npt

from ...dataset import SketchDataset, Split
from ...errors import ConfigError, DataError
from ...lazy import OnDemand
from ...sketch import Sketch
from ..generated import counts, whole_numbers
from .catalogue import CATEGORIES, SEEN, UNSEEN, stream
from .drawing import drawing
from .photo import photo


def objects(
    seed: int = 0, instances: int = 40, test_instances: int = 20, validation: int = 70, drawers: int = 2
) -> SketchDataset:
    """Things of many categories with a photo and a few sketches each, the same ones for the same arguments.

    Zero-shot retrieval: the test split holds the six categories of `UNSEEN` and nothing else, the other splits
    the fourteen of `SEEN`. Every sketch has its one photo as target and every photo its category, so that the
    set serves retrieval of instances and of categories alike.

    Args:
        seed: 0 or more; every seed has its own endless row of things of each category.
        instances: things of each seen category, numbered 0 .. instances - 1.
        test_instances: things of each unseen category.
        validation: of the 14 x `instances` seen things, how many are set aside, chosen by the seed, as evenly
            over the categories as may be.
        drawers: sketches per thing, each by another person.

    Raises:
        ConfigError: a number that is not whole, negative, or leaves a seen category without anything to train on.
    """
    given = {
        "seed": seed,
        "instances": instances,
        "test_instances": test_instances,
        "validation": validation,
        "drawers": drawers,
    }
    lowest = {"seed": 0, "instances": 1, "test_instances": 1, "validation": 0, "drawers": 1}
    plain = whole_numbers("objects", given, lowest)
    if validation > len(SEEN) * (instances - 1):
        raise ConfigError(
            f"objects: validation={validation} leaves a category of instances={instances} without any to train on; "
            f"give at most {len(SEEN) * (instances - 1)}"
        )

    members: dict[str, list[tuple[str, int]]] = {"train": [], "validation": [], "test": []}
    for place, category in enumerate(SEEN):
        share = len(range(place, validation, len(SEEN)))  # the first categories take what does not divide evenly
        aside = set(stream(seed, category, instances, "carve").permutation(instances)[:share].tolist())
        for index in range(instances):
            members["validation" if index in aside else "train"].append((category, index))
    members["test"] = [(category, index) for category in UNSEEN for index in range(test_instances)]
    splits = OnDemand({name: partial(_split, seed, things, drawers) for name, things in members.items()})
    render = partial(_render, seed, instances, test_instances)
    return SketchDataset("objects", {"name": "objects", **plain}, splits, render, counts(splits))


def photo_id(seed: int, category: str, index: int) -> str:
    return f"{category}-{seed}-{index:05d}"


def _render(seed: int, instances: int, test_instances: int, id: str) -> npt.NDArray[np.uint8]:
    match = re.fullmatch(rf"([a-z]+)-{seed}-(\d{{5,10}})", id)
    category, index = (match[1], int(match[2])) if match else ("", 0)
    size = test_instances if category in UNSEEN else instances
    if category not in CATEGORIES or index >= size or id != photo_id(seed, category, index):
        first, last = photo_id(seed, SEEN[0], 0), photo_id(seed, UNSEEN[-1], test_instances - 1)
        raise DataError(f"objects: no photo {id!r}; ids run from {first!r} to {last!r}")
    return photo(seed, category, index)


def _split(seed: int, things: Iterable[tuple[str, int]], drawers: int) -> Split:
    ids = tuple(photo_id(seed, *thing) for thing in things)
    sketches = tuple(
        Sketch.from_strokes(drawing(seed, category, index, drawer), f"{photo_id(seed, category, index)}_{drawer}")
        for category, index in things
        for drawer in range(drawers)
    )
    targets = np.repeat(np.arange(len(ids), dtype=np.int64), drawers)
    categories = tuple(category for category, _ in things)
    return Split(sketches, targets, ids, tuple(np.repeat(categories, drawers).tolist()), categories)
