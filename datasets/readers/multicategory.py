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
from .holdout import Holdout
from .twins import listed, plain, same_content


def assemble(
    spec: Mapping[str, Any],
    sketches: Sequence[Drawn],
    photos: Sequence[Photo],
    read: Callable[[Item], Drawing],
    holdout: Holdout,
    report: Mapping[str, Any],
    test: Collection[str] = (),
    twins: Mapping[str, str] | None = None,
) -> SketchDataset:
    """Split and number what was found; no photo and no category stands in two splits.

    Photos of equal bytes are one photo where they are of one category; where they are of two, one of them, first
    from the test, then from validation, is kept with its sketches. Sketches whose files have equal bytes stay in the
    last such split alone. Spellings of a category that differ by case, spaces, `_`, `-` or the form of accents are one.
    `report` says what was merged.

    Args:
        spec: name, root and options of the loader, but for those of `holdout`.
        sketches, photos: all of them; a category is spelled as its first sketch spells it.
        read: gives a sketch.
        holdout: how to split.
        report: what the loader counted.
        test: photo ids of the released test split, if any.
        twins: photos that the loader knows to be another one's copy: id -> id of that one, which is in `photos`.

    Raises:
        DataError: no sketches. Others as `Holdout.divide`.
    """
    root = Path(spec["root"])
    if not sketches:
        raise DataError(f"{root}: holds no sketches in the layout of {spec['name']!r}; see docs/datasets.md")
    spelled: dict[str, dict[str, None]] = {}  # spellings of a category, in order
    for category in [entry.category for part in (sketches, photos) for entry in part]:
        spelled.setdefault(plain(category), {})[category] = None
    name = {spelling: next(iter(all)) for all in spelled.values() for spelling in all}
    photos = [photo._replace(category=name[photo.category]) for photo in photos]
    copies = same_content({photo.id: root / photo.id for photo in photos})
    merged = {**(twins or {}), **_merged(copies, {photo.id: photo.category for photo in photos})}
    photos = [photo for photo in photos if photo.id not in merged]
    sketches = [
        sketch._replace(category=name[sketch.category], photo=merged.get(sketch.photo, sketch.photo))
        for sketch in sketches
    ]
    parts, notes = holdout.divide(root, sketches, photos, {merged.get(id, id) for id in test}, merged)
    dropped, equal = _keep_apart(root, parts, copies)
    splits = {name: _split(part, read) for name, part in parts.items()}
    shown = {photo for split in splits.values() for photo in split.photos}
    full = {
        "categories": len({plain(sketch.category) for sketch in sketches}),
        "splits": {name: _counts(split) for name, split in splits.items()},
        "in_no_split": {
            "sketches": len(sketches) - sum(len(split.sketches) for split in splits.values()),
            "photos": len(photos) - len(shown),
        },
        "merged_photos": listed([list(pair) for pair in merged.items()]),
        "merged_categories": listed([list(all) for all in spelled.values() if len(all) > 1]),
        "photos_left_out_as_copies_in_another_split": listed(dropped),
        "sketches_left_out_as_copies_in_another_split": listed(equal),
        **report,
        "notes": notes,
    }
    return SketchDataset(
        spec["name"], {**spec, **holdout.spec()}, splits, functools.partial(_photo, root, frozenset(shown)), full
    )


def _merged(copies: Sequence[Sequence[str]], category: Mapping[str, str]) -> dict[str, str]:
    """Of photos of equal bytes in one category, the first stands for the others: their ids -> its id."""
    first: dict[tuple[int, str], str] = {}
    return {
        id: kept
        for number, ids in enumerate(copies)
        for id in ids
        if (kept := first.setdefault((number, category[id]), id)) != id
    }


def _keep_apart(root: Path, parts: dict[str, Part], copies: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
    """Take photos with their sketches, and sketches, out of splits before the last one that has a copy; their ids.

    Sketches that are records of a file are not compared.
    """
    of_photo = {id: number for number, ids in enumerate(copies) for id in ids}
    drawn = [sketch.item.id for sketches, _ in parts.values() for sketch in sketches if not sketch.item.offset]
    of_sketch = {id: number for number, ids in enumerate(same_content({id: root / id for id in drawn})) for id in ids}
    photos_taken, sketches_taken = set[int](), set[int]()
    photos_out, sketches_out = list[str](), list[str]()
    for name in ("test", "validation", "train"):
        sketches, photos = parts[name]
        out = {photo.id for photo in photos if of_photo.get(photo.id) in photos_taken}
        sketches = [sketch for sketch in sketches if sketch.photo not in out]
        equal = {sketch.item.id for sketch in sketches if of_sketch.get(sketch.item.id) in sketches_taken}
        sketches = [sketch for sketch in sketches if sketch.item.id not in equal]
        parts[name] = sketches, [photo for photo in photos if photo.id not in out]
        photos_taken |= {of_photo[photo.id] for photo in photos if photo.id in of_photo}
        sketches_taken |= {of_sketch[sketch.item.id] for sketch in sketches if sketch.item.id in of_sketch}
        photos_out += sorted(out)
        sketches_out += sorted(equal)
    return photos_out, sketches_out


def read_file(root: Path, stretch: bool, invert: bool, item: Item) -> Drawing:
    """The sketch of one file: strokes of an SVG (`stretch` as `read_svg`), a picture of anything else."""
    if item.id.lower().endswith(".svg"):
        return read_svg(root / item.id, item.id, stretch)
    return RasterSketch.from_picture(read_photo(root / item.id), item.id, invert)


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
