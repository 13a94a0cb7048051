"""A data set of many categories from the files that its loader has found."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..dataset import SketchDataset, Split
from ..errors import DataError, unknown_name
from ..formats.svg import read_svg
from ..lazy import Item, LazySketches
from ..photos import read_photo
from ..sketch import Drawing, RasterSketch
from .filelists import Drawn, Part, Photo
from .holdout import Holdout, plain


def assemble(
    spec: Mapping[str, Any],
    sketches: Sequence[Drawn],
    photos: Sequence[Photo],
    read: Callable[[Item], Drawing],
    holdout: Holdout,
    report: Mapping[str, Any],
    test: Collection[str] = (),
) -> SketchDataset:
    """Split and number what was found.

    Args:
        spec: name, root and options of the loader, but for those of `holdout`.
        sketches, photos: all of them; a photo's category is spelled as that of the sketches where only case,
            spaces, `_` and `-` differ.
        read: gives a sketch.
        holdout: how to split.
        report: what the loader counted.
        test: photo ids of the released test split, if any.

    Raises:
        DataError: no sketches, one category under two names. Others as `Holdout.divide`.
    """
    root = Path(spec["root"])
    if not sketches:
        raise DataError(f"{root}: holds no sketches in the layout of {spec['name']!r}; see docs/datasets.md")
    spelled: dict[str, str] = {}
    for sketch in sketches:
        other = spelled.setdefault(plain(sketch.category), sketch.category)
        if other != sketch.category:
            raise DataError(f"{root}: {other!r} and {sketch.category!r} are one category spelled twice; join them")
    photos = [photo._replace(category=spelled.get(plain(photo.category), photo.category)) for photo in photos]
    parts = holdout.divide(root, sketches, photos, test)
    splits = {name: _split(part, read) for name, part in parts.items()}
    shown = {photo for split in splits.values() for photo in split.photos}
    full = {
        "categories": len(spelled),
        "splits": {name: _counts(split) for name, split in splits.items()},
        "in_no_split": {
            "sketches": len(sketches) - sum(len(split.sketches) for split in splits.values()),
            "photos": len(photos) - len(shown),
        },
        **report,
    }
    return SketchDataset(
        spec["name"], {**spec, **holdout.spec()}, splits, functools.partial(_photo, root, frozenset(shown)), full
    )


def read_file(root: Path, stretch: bool, item: Item) -> Drawing:
    """The sketch of one file: strokes of an SVG (`stretch` as `read_svg`), a picture of anything else."""
    if item.id.lower().endswith(".svg"):
        return read_svg(root / item.id, item.id, stretch)
    return RasterSketch.from_picture(read_photo(root / item.id), item.id)


def _split(part: Part, read: Callable[[Item], Drawing]) -> Split:
    sketches, photos = part
    row = {photo.id: place for place, photo in enumerate(photos)}
    return Split(
        LazySketches([sketch.item for sketch in sketches], read),
        np.array([row.get(sketch.photo, -1) for sketch in sketches], dtype=np.int64),
        tuple(row),
        tuple(sketch.category for sketch in sketches),
        tuple(photo.category for photo in photos),
    )


def _counts(split: Split) -> dict[str, int]:
    named = {*split.sketch_categories, *split.photo_categories}
    return {"sketches": len(split.sketches), "photos": len(split.photos), "categories": len(named)}


def _photo(root: Path, known: Collection[str], id: str) -> npt.NDArray[np.uint8]:
    if id not in known:
        raise unknown_name("photo", id, known)
    return read_photo(root / id)
