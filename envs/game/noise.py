"""Planted noise: strokes that do not belong to a drawing, to see what drops them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sketchless.datasets.checks import as_count
from sketchless.datasets.dataset import SketchDataset, Split
from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.datasets.sketch import CANVAS, BoolArray, FloatArray, Sketch

KINDS = ("scribble", "foreign")


@dataclass(frozen=True)
class Planted:
    """A data set with noise in its drawings, and where it is.

    Attributes:
        dataset: the same photos, targets and ids; every sketch with further strokes.
        noise: bool [strokes] by sketch id, True where a stroke was planted.
    """

    dataset: SketchDataset
    noise: Mapping[str, BoolArray]


def plant_noise(
    dataset: SketchDataset,
    strokes: int = 3,
    kinds: Sequence[str] = KINDS,
    seed: int = 0,
    splits: Sequence[str] = ("train", "validation", "test"),
) -> Planted:
    """Plant noise strokes in every sketch, anywhere in its order and on its page.

    Args:
        dataset: clean drawings.
        strokes: planted in each sketch.
        kinds: drawn from at random: `"scribble"` (a zigzag of 5 to 14 points in a box of 30 to 110 px) and
            `"foreign"` (a stroke of another sketch of its split, of another photo, moved about the page).
        seed: 0 or more; the noise of a sketch follows from it, the sketch and its split.
        splits: which to plant in; the others stay as they are and are not in `noise`.

    Raises:
        ConfigError: a negative number, unknown kind or split, or no strokes of another photo to take.
    """
    strokes, seed = as_count("strokes", strokes, 0), as_count("seed", seed, 0)
    for kind in kinds:
        if kind not in KINDS:
            raise unknown_name("kind of noise", kind, KINDS)
    if not kinds:
        raise ConfigError(f"noise: no kind given; choose from {', '.join(KINDS)}")
    planted: dict[str, Split] = {}
    noise: dict[str, BoolArray] = {}
    for name in splits:
        split = dataset.split(name)
        pairs = [_plant(split, row, strokes, kinds, seed) for row in range(len(split.sketches))]
        planted[name] = replace(split, sketches=tuple(sketch for sketch, _ in pairs))
        noise |= {sketch.id: mark for sketch, mark in pairs}
    # No spec: `load_dataset` could not make this set again.
    noisy = SketchDataset(f"{dataset.name}+noise", {}, {**dataset.splits, **planted}, dataset.photo, dataset.report)
    return Planted(noisy, noise)


def _plant(split: Split, row: int, strokes: int, kinds: Sequence[str], seed: int) -> tuple[Sketch, BoolArray]:
    sketch = split.sketches[row]
    rng = np.random.default_rng([seed, zlib.crc32(sketch.id.encode())])
    mark = np.zeros(sketch.n_strokes + strokes, dtype=bool)
    mark[rng.choice(len(mark), strokes, replace=False)] = True
    own = iter(sketch.strokes())
    drawn = [_noise(split, row, str(rng.choice(kinds)), rng) if planted else next(own) for planted in mark]
    return Sketch.from_strokes(drawn, sketch.id), mark


def _noise(split: Split, row: int, kind: str, rng: np.random.Generator) -> FloatArray:
    stroke = _scribble(rng) if kind == "scribble" else _foreign(split, row, rng)
    low, high = stroke.min(axis=0), stroke.max(axis=0)
    corner = rng.uniform(0, np.maximum(CANVAS - 1 - (high - low), 1))
    noise: FloatArray = (stroke - low + corner).astype(np.float32)
    return noise


def _scribble(rng: np.random.Generator) -> FloatArray:
    box = rng.uniform(30, 110, size=2)
    return rng.uniform(0, box, size=(int(rng.integers(5, 15)), 2)).astype(np.float32)


def _foreign(split: Split, row: int, rng: np.random.Generator) -> FloatArray:
    others = np.flatnonzero(split.targets != split.targets[row])
    drawn = [other for other in others.tolist() if split.sketches[other].n_strokes]
    if not drawn:
        raise ConfigError(f"noise in {split.sketches[row].id!r}: its split has no strokes of another photo to take")
    strokes = split.sketches[int(rng.choice(drawn))].strokes()
    return strokes[int(rng.integers(len(strokes)))]
