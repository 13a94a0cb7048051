"""The Sketchy Database (Sangkloy et al., SIGGRAPH 2016): 75,471 sketches of 12,500 photos in 125 categories."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..dataset import SketchDataset
from ..errors import ConfigError, DataError, FormatError, unknown_name
from ..files import user_path
from ..lazy import Item
from .filelists import Drawn, Photo
from .folders import PICTURES, categories, first_folder, lines, some
from .holdout import Holdout
from .multicategory import assemble, read_file
from .twins import normal, plain, same_content

SITE = "https://sketchy.eye.gatech.edu"
_HOMES = ("256x256", "rendered_256x256/256x256", ".")
_SCALINGS = ("tx_000000000000", "tx_000000000000_ready", "tx_000100000000")
_SVG = ("sketches", "sketches-06-04/sketches")
_EXTENDED = ("EXTEND_image_sketchy", "EXTEND_image_sketchy_ready", "256x256/EXTEND_image_sketchy")
_INFO = ("info", "info-06-04/info")


def sketchy(
    root: str | os.PathLike[str],
    seed: int = 0,
    validation: int | None = None,
    validation_categories: int = 0,
    unseen: Sequence[str] | str | None = None,
    filelists: str | None = None,
    sketches: str | None = None,
    extended: bool = False,
    keep_invalid: bool = False,
    allow_missing: bool = False,
    invert: bool = False,
) -> SketchDataset:
    """Read the Sketchy Database, in which every sketch depicts a known photo.

    Sketches stay in their files until asked for. The test split is what `unseen` or `filelists` say, else the
    photos of `info/testset.txt`, else a tenth of the photos.

    Args:
        root: folder with `256x256/photo/tx_000000000000/<category>/<photo>.jpg`, and either
            `256x256/sketch/tx_000000000000/<category>/<photo>-<n>.png` or `sketches/<category>/<photo>-<n>.svg`;
            `info/` and `EXTEND_image_sketchy/<category>/` where they are wanted.
        seed, validation, validation_categories, unseen, filelists: how to split, see `Holdout`.
        sketches: `"svg"` (strokes) or `"png"` (pictures); by default SVG where it lies there, but PNG with
            `filelists`, which name that.
        extended: add the photos of `EXTEND_image_sketchy`, of which only the category is known, but for those that
            are photos of the set already. Needs `unseen`; file lists name them themselves.
        keep_invalid: keep sketches that the release lists as invalid (file lists keep what they list).
        allow_missing: skip sketches whose photo is not there instead of refusing the set.
        invert: pictures are light on dark.

    Raises:
        DataError: an incomplete folder, missing photos, photos of one name.
        FormatError: a sketch whose name is not `<photo>-<n>`.
        UnsafeFileError: a link or a path that leads out of the folder.
        ConfigError: impossible options.
    """
    home, how = user_path(root), Holdout(seed, validation, validation_categories, unseen, filelists)
    if extended and unseen is None and filelists is None:
        raise ConfigError("extended=True: of these photos only the category is known; say which are unseen= as well")
    kind, items = _sketches(home, sketches, ("svg", "png") if filelists is None else ("png", "svg"))
    photo_folder = _rendered(home, "photo")
    if photo_folder is None:
        raise DataError(f"{home}: lacks 256x256/photo/tx_000000000000/<category>/; get it from {SITE}")
    files = categories(home, photo_folder, PICTURES)
    photos = [Photo(item.id, category) for category, members in files.items() for item in members]
    by_name, twins = _by_name(home, photos)

    info = first_folder(home, *_INFO)
    invalid = set() if keep_invalid or filelists is not None else _invalid(home, info, items)
    drawn, missing = _pair(items, by_name, invalid)
    if missing and not allow_missing:
        raise DataError(
            f"{home / photo_folder}: lacks the photos of {len(missing)} sketches, {some(missing)}; "
            f"complete it from {SITE} or pass allow_missing=True"
        )
    more = _extended(home, extended) if extended or filelists is not None else []
    copies = {photo.id: by_name[key] for photo in more if (key := _key(photo.category, Path(photo.id).stem)) in by_name}
    more = [photo for photo in more if photo.id not in copies]
    photos = [photo for photo in photos if photo.id not in twins]
    spec = {
        "name": "sketchy",
        "root": str(home),
        "sketches": kind,
        "extended": bool(extended),
        "keep_invalid": bool(keep_invalid),
        "allow_missing": bool(allow_missing),
        "invert": bool(invert),
    }
    report = {
        "sketches": kind,
        "invalid_sketches_left_out": sum(map(len, items.values())) - len(drawn) - len(missing),
        "sketches_without_photo": {"count": len(missing), "first": missing[:5]},
        "photos_without_sketch": len(photos) - len({sketch.photo for sketch in drawn}),
        "extended_photos": len(more),
        "extended_photos_that_are_photos_of_the_set": len(copies),
    }
    read = functools.partial(read_file, home, True, bool(invert))
    test = _released_test(home, info, by_name)
    return assemble(spec, drawn, [*photos, *more], read, how, report, test, twins | copies)


def is_sketchy(folder: Path) -> bool:
    """Whether a folder holds Sketchy."""
    return _rendered(folder, "photo") is not None and bool(_rendered(folder, "sketch") or first_folder(folder, *_SVG))


def _rendered(root: Path, what: str) -> str | None:
    paths = (f"{home}/{what}/{scaling}" for home in _HOMES for scaling in _SCALINGS)
    found = first_folder(root, *paths)
    return found.removeprefix("./") if found else None


def _sketches(root: Path, kind: str | None, order: Sequence[str]) -> tuple[str, dict[str, list[Item]]]:
    """The sketches of a kind, by default of the first one in order that lies there."""
    if kind not in (None, "svg", "png"):
        raise unknown_name("kind of sketches", kind, ("svg", "png"))
    found = {"svg": first_folder(root, *_SVG), "png": _rendered(root, "sketch")}
    kind = kind or next((k for k in order if found[k]), "png")
    folder = found[kind]
    if folder is None:
        where = "sketches/<category>/" if kind == "svg" else "256x256/sketch/tx_000000000000/<category>/"
        raise DataError(f"{root}: lacks {where}, the {kind.upper()} sketches; get them from {SITE}")
    return kind, categories(root, folder, (".svg",) if kind == "svg" else (".png",))


def _key(category: str, name: str) -> tuple[str, str]:
    """What a photo is known by; its name without the suffix."""
    return plain(category), normal(name)


def _by_name(root: Path, photos: Sequence[Photo]) -> tuple[dict[tuple[str, str], str], dict[str, str]]:
    """Ids of photos by category and name, and ids of copies with the id that is kept."""
    found: dict[tuple[str, str], str] = {}
    twins: dict[str, str] = {}
    for photo in photos:
        other = found.setdefault(_key(photo.category, Path(photo.id).stem), photo.id)
        if other == photo.id:
            continue
        if not same_content({other: root / other, photo.id: root / photo.id}):
            raise DataError(f"{root}: photos {other!r} and {photo.id!r} have one name; keep one of them")
        twins[photo.id] = other
    return found, twins


def _pair(
    items: Mapping[str, Sequence[Item]], by_name: Mapping[tuple[str, str], str], invalid: set[str]
) -> tuple[list[Drawn], list[str]]:
    """Sketches with the photos that they depict, and those whose photo is not there."""
    drawn, missing = [], []
    for category, members in items.items():
        for item in members:
            name = Path(item.id).stem
            photo, dash, number = name.rpartition("-")
            if not (photo and dash and number.isdecimal()):
                raise FormatError(f"{item.id}: its name is not <photo>-<n>; rename it or take it out of the folder")
            if name in invalid:
                continue
            if (key := _key(category, photo)) in by_name:
                drawn.append(Drawn(item, category, by_name[key]))
            else:
                missing.append(item.id)
    return drawn, missing


def _invalid(root: Path, info: str | None, items: Mapping[str, Sequence[Item]]) -> set[str]:
    """Names of sketches that the release calls invalid: `info/invalid-*.txt`, `<category>/invalid.txt`.

    Headings between the names in the latter match no sketch.
    """
    lists = sorted((root / info).glob("invalid*.txt")) if info else []
    folders = {(root / members[0].id).parent for members in items.values()}
    lists += [folder / "invalid.txt" for folder in sorted(folders) if (folder / "invalid.txt").is_file()]
    return {line.replace(",", "-").rpartition("/")[2] for file in lists for _, line in lines(file)}


def _released_test(root: Path, info: str | None, by_name: Mapping[tuple[str, str], str]) -> set[str]:
    """Photos of `info/testset.txt`, lines `<category>/<photo>.jpg`, that are there."""
    if info is None or not (root / info / "testset.txt").is_file():
        return set()
    rows = (line.rpartition("/") for _, line in lines(root / info / "testset.txt"))
    keys = (_key(category.rpartition("/")[2], Path(name).stem) for category, _, name in rows)
    return {by_name[key] for key in keys if key in by_name}


def _extended(root: Path, wanted: bool) -> list[Photo]:
    folder = first_folder(root, *_EXTENDED)
    if folder is None:
        if wanted:
            raise DataError(
                f"{root}: lacks {_EXTENDED[0]}/<category>/, the extended photos; add it or leave extended out"
            )
        return []
    found = categories(root, folder, PICTURES)
    return [Photo(item.id, category) for category, members in found.items() for item in members]
