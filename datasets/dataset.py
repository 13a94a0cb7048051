"""What every data set looks like to the rest of the house."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import DataError, unknown_name
from .sketch import Sketch

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """The sketches of one split and the photos they are searched among.

    Attributes:
        sketches: N drawings.
        targets: int64 [N], index into `photos` of the photo that each sketch depicts.
        photos: G photo ids; no id stands in two splits.
    """

    sketches: tuple[Sketch, ...]
    targets: npt.NDArray[np.int64]
    photos: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.targets) != len(self.sketches):
            raise DataError(f"{len(self.sketches)} sketches but {len(self.targets)} targets")
        if len(self.targets) and not 0 <= self.targets.min() <= self.targets.max() < len(self.photos):
            raise DataError(f"a target lies outside the {len(self.photos)} photos of its split")


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
