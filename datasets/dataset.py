"""What every data set looks like to the rest of the house."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import DataError, unknown_name
from .lazy import LazySketches
from .sketch import Drawing
from .tables import ShownAsTable

SPLITS = ("train", "validation", "test")
"""The splits that a data set may have."""


@dataclass(frozen=True, repr=False)
class Split(ShownAsTable):
    """The sketches of one split and the photos they are searched among.

    Attributes:
        sketches: N drawings; large sets give a sequence that reads each one when it is asked for.
        targets: int64 [N], index into `photos` of the photo that each sketch depicts; -1 where the set pairs
            sketches and photos by category alone.
        photos: G photo ids; no id stands in two splits.
        sketch_categories: N names, or empty if the set has one category.
        photo_categories: G names, or empty.
    """

    sketches: Sequence[Drawing]
    targets: npt.NDArray[np.int64]
    photos: tuple[str, ...]
    sketch_categories: tuple[str, ...] = ()
    photo_categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n, size = len(self.sketches), len(self.photos)
        if len(self.targets) != n:
            raise DataError(f"{n} sketches but {len(self.targets)} targets")
        lowest = -1 if self.sketch_categories else 0
        if n and not lowest <= self.targets.min() <= self.targets.max() < size:
            raise DataError(f"a target lies outside the {size} photos of its split")
        found = (len(self.sketch_categories), len(self.photo_categories))
        if found not in ((0, 0), (n, size)):
            raise DataError(f"categories of {found[0]} sketches and {found[1]} photos, not of {n} and {size}")

    def as_table(self) -> tuple[str, list[list[str]]]:
        categories = len(set(self.photo_categories)) or 1
        return "Split", [
            ["sketches", "photos", "categories"],
            [str(len(self.sketches)), str(len(self.photos)), str(categories)],
        ]

    @property
    def sketch_ids(self) -> tuple[str, ...]:
        """Ids of the sketches; those of a large set are not read for it."""
        if isinstance(self.sketches, LazySketches):
            return self.sketches.ids
        return tuple(sketch.id for sketch in self.sketches)


@dataclass(frozen=True)
class SketchDataset:
    """Sketches, photos and splits under one name.

    Attributes:
        name: such as `"procedural"`.
        spec: what `load_dataset(**spec)` needs to build the same set again; plain JSON values.
        splits: `"train"`, `"validation"`, `"test"`; their photos are disjoint.
        photo: gives a photo by its id as uint8 [H, W, 3].
        report: counts of what was read, skipped and found odd; plain JSON values.
    """

    name: str
    spec: Mapping[str, Any]
    splits: Mapping[str, Split]
    photo: Callable[[str], npt.NDArray[np.uint8]]
    report: Mapping[str, Any]

    def split(self, name: str) -> Split:
        """The split of that name. Raises ConfigError for an unknown one."""
        if name not in self.splits:
            raise unknown_name("split", name, self.splits)
        return self.splits[name]
