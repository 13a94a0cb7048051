"""The categories of the object set, and the object of each number: a pure function of (seed, category, index)."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..hand import Array
from .alive import butterfly, cat, fish, flower, mushroom, tree
from .indoors import guitar, key, lamp, mug, scissors, spectacles, teapot, umbrella
from .outdoors import bicycle, boat, car, house, rocket, snowman
from .shapes import Shape, moved

CATEGORIES: dict[str, Callable[[np.random.Generator], list[Shape]]] = {
    "bicycle": bicycle,
    "boat": boat,
    "butterfly": butterfly,
    "car": car,
    "cat": cat,
    "fish": fish,
    "flower": flower,
    "guitar": guitar,
    "house": house,
    "key": key,
    "lamp": lamp,
    "mug": mug,
    "mushroom": mushroom,
    "rocket": rocket,
    "scissors": scissors,
    "snowman": snowman,
    "spectacles": spectacles,
    "teapot": teapot,
    "tree": tree,
    "umbrella": umbrella,
}

# Never trained on. Each has parts of a category that is: wheels of the car, petals of the flower, the handle
# of the mug, the rings of the scissors, the dome of the umbrella, the neck of the key and the lamp.
UNSEEN = ("bicycle", "butterfly", "guitar", "mushroom", "spectacles", "teapot")
SEEN = tuple(name for name in CATEGORIES if name not in UNSEEN)


class Thing(NamedTuple):
    """One object: its shapes from the back to the front, already in its pose, and how that slants it."""

    shapes: list[Shape]
    pose: Array  # [2, 2]


def stream(seed: int, category: str, index: int, purpose: str, number: int = 0) -> np.random.Generator:
    """The random numbers for one purpose, independent of every other; a new category changes no old one."""
    words = (zlib.crc32(word.encode()) for word in (category, purpose))
    return np.random.default_rng([seed, index, number, *words])


def make_object(seed: int, category: str, index: int) -> Thing:
    """The object of that number in the endless row of its category."""
    rng = stream(seed, category, index, "shape")
    shapes = CATEGORIES[category](rng)
    turn, slope, wide = np.radians(rng.uniform(-7, 7)), rng.uniform(-0.12, 0.12), np.exp(rng.uniform(-0.1, 0.1))
    c, s = np.cos(turn), np.sin(turn)
    pose = np.array([[c, -s], [s, c]]) @ np.array([[wide, slope], [0.0, 1 / wide]])
    facing = np.diag([rng.choice([-1.0, 1.0]), 1.0])
    return Thing(moved(shapes, pose @ facing), pose)
