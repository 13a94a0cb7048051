"""The file lists by which zero-shot work publishes its splits, and lists of category names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from ..errors import DataError, FormatError
from ..lazy import Item
from .folders import inside, lines, some

# Folders of QuickDraw-Extended: as released, and as file lists and copies call them.
QUICKDRAW_SKETCHES = ("QuickDraw_sketches_final", "sketches")
QUICKDRAW_PHOTOS = ("QuickDraw_images_final", "photos", "images")


class Photo(NamedTuple):
    """A photo of the gallery."""

    id: str
    category: str


class Drawn(NamedTuple):
    """A sketch, unread."""

    item: Item
    category: str
    photo: str = ""  # id of the photo that it depicts; empty where only the category is known


Part = tuple[list[Drawn], list[Photo]]
Listed = TypeVar("Listed", Drawn, Photo)


def names(file: Path) -> list[str]:
    """Category names of a file with lines `<name>` or `<name> <id>`; a name may hold spaces. Raises as `lines`."""
    rows = [line for _, line in lines(file)]
    parted = [row.rpartition(" ") for row in rows]
    if all(name and number.isdecimal() for name, _, number in parted):
        return [name.strip() for name, _, _ in parted]
    return rows


def listed(root: Path, folder: Path, whole: Part, twins: Mapping[str, str]) -> tuple[Part, Part]:
    """What the lists of a folder put into training (`*_train.txt`) and into the test (`*_zero.txt`).

    Their lines are `<path> <label>`. The sketches' list begins with `sketch` or `png`, that of the photos with
    `all_photo`, or else with `photo`, `ImageResized` or `EXTEND`.

    Args:
        root: folder that the paths are relative to.
        folder: where the lists lie.
        whole: all sketches and photos below `root`.
        twins: other ids of these photos.

    Raises:
        DataError: a list is missing, a file is missing, listed for both or of a category that is.
        FormatError: a line without label, a category with two labels.
        UnsafeFileError: a path out of `root`.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; it has to hold the lists *_train.txt and *_zero.txt")
    owner: dict[str, str] = {}
    train, zero = (_part(root, folder, name, whole, twins, owner) for name in ("train", "zero"))
    seen, unseen = ({e.category for e in part[0]} | {e.category for e in part[1]} for part in (train, zero))
    if both := sorted(seen & unseen):
        raise DataError(f"{folder}: {len(both)} categories are seen and unseen, {some(both)}; correct the lists")
    return train, zero


def _part(root: Path, folder: Path, name: str, whole: Part, twins: Mapping[str, str], owner: dict[str, str]) -> Part:
    files = sorted(folder.glob(f"*_{name}.txt"))
    drawn = [file for file in files if file.name.startswith(("sketch", "png"))]
    shown = [file for file in files if file.name.startswith("all_photo")]
    shown = shown or [file for file in files if file.name.startswith(("photo", "ImageResized", "EXTEND"))]
    if not drawn or not shown:
        raise DataError(
            f"{folder}: has to hold lists of sketches, sketch*_{name}.txt or png*_{name}.txt, and of photos, "
            f"all_photo*_{name}.txt or ImageResized*_{name}.txt; found {some([f.name for f in files]) or 'none'}"
        )
    sketches, photos = whole
    by_id = {photo.id: photo for photo in photos}
    return (
        _members(root, drawn, {sketch.item.id: sketch for sketch in sketches}, name, owner),
        _members(root, shown, by_id | {twin: by_id[id] for twin, id in twins.items()}, name, owner),
    )


def _members(
    root: Path, files: Sequence[Path], known: Mapping[str, Listed], part: str, owner: dict[str, str]
) -> list[Listed]:
    """What the lists name, in their order, each once."""
    found: dict[str, Listed] = {}
    missing: list[str] = []
    labels: dict[str, str] = {}
    for file in files:
        for number, line in lines(file):
            name, _, label = line.rpartition(" ")
            if not name or not label.isdecimal():
                raise FormatError(f"{file}: line {number}: {line[:80]!r} is not <path> <label>; correct it")
            path = inside(root, name.strip())
            id = next((spelled for spelled in _spellings(path) if spelled in known), None)
            if id is None:
                missing.append(path)
                continue
            if owner.setdefault(id, part) != part:
                raise DataError(f"{file}: line {number}: {path[:80]!r} is listed for {owner[id]} too; drop one of them")
            category = id.split("/")[-2]  # as it is spelled there: a misspelt one may have a label of its own
            if labels.setdefault(category, label) != label:
                raise FormatError(
                    f"{file}: line {number}: {category!r} has label {label}, but {labels[category]} before; correct it"
                )
            found[_id(known[id])] = known[id]
    if missing:
        if any((root / spelled).is_file() for spelled in _spellings(missing[0])):
            cure = f"of another kind than the {Path(next(iter(known), '')).suffix} that are read; give sketches="
        else:
            cure = f"not below {root}; complete the set"
        raise DataError(f"{files[0]}: names {len(missing)} files, {some(missing)}, {cure}")
    return list(found.values())


def _id(entry: Drawn | Photo) -> str:
    return entry.id if isinstance(entry, Photo) else entry.item.id


def _spellings(path: str) -> Iterator[str]:
    """The path of a list, and what it may be on disk."""
    yield path
    yield path.replace("_ready/", "/")  # resized copies of the released folders are named <folder>_ready
    folder, _, rest = path.partition("/")
    for names in (QUICKDRAW_SKETCHES, QUICKDRAW_PHOTOS):
        if folder in names:
            yield from (f"{name}/{rest}" for name in names)
