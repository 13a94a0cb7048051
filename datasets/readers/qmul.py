"""Chair-V2 and Shoe-V2 of Queen Mary University of London's SketchX lab, as users download them.

A set is a folder with one coordinate file, `<Name>_Coordinate` (a pickled dictionary
`/train/<photo>_<n>` or `/test/<photo>_<n>` -> float [points, 3]), and the folder `photo/`.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..checks import as_count
from ..dataset import SketchDataset, Split
from ..errors import ConfigError, DataError, FormatError, SketchlessError, unknown_name
from ..files import user_path
from ..formats.legacy_pickle import load_legacy_pickle
from ..photos import read_photo
from ..sketch import Sketch
from .holdout import at_most_a_share
from .twins import groups, listed, normal, same_content

SITE = "http://sketchx.ai"
EDITIONS = {  # sketches and photos of the released train and test splits
    "ChairV2": {"train_sketches": 952, "test_sketches": 323, "train_photos": 300, "test_photos": 100},
}
FOLDS = 5
_PHOTO_SUFFIXES = {".png", ".jpg", ".jpeg"}
_KEY = re.compile(r"/(train|test)/([^/\0]+)_([^/_\0]+)")  # <n> is mostly a number, in three keys a worker's id
_SHOWN = 5
SMALL = 2.0  # pixels: the side of most drawings where points are given in 0..1
OFFSETS = 0.25  # share of points left of or above the canvas, from which on they are offsets


@dataclasses.dataclass(frozen=True)
class _Record:
    """One sketch of the coordinate file."""

    part: str  # "train" or "test"
    photo: str
    sketch: Sketch


def qmul(
    root: str | os.PathLike[str],
    seed: int = 0,
    validation: int = 50,
    allow_missing: bool = False,
    edition: str | None = None,
    fold: int | None = None,
    photos: int | None = None,
) -> SketchDataset:
    """Read Chair-V2 or Shoe-V2.

    The released train/test split is kept; validation photos are taken from the train photos. Photos that
    share an exactly equal sketch or equal bytes go to the same side of that cut. A train sketch that equals
    a test sketch is left out, and so is a train photo, with its sketches, that equals a test photo. A photo that no
    sketch depicts stands in no split, as none is stated for it. All of that is counted in `report`.

    Args:
        root: folder that holds `<Name>_Coordinate` and `photo/<photo>.png` (or .jpg, .jpeg).
        seed: chooses the validation photos.
        validation: how many photos to take, at most a quarter of the train photos; 0 leaves that split empty.
        allow_missing: skip sketches whose photo is not there instead of refusing the set.
        edition: a name in `EDITIONS` whose published counts the file must match. By default a deviation
            from the edition the file is named after is only reported.
        fold: instead of the released cut, one of five over all photos of train and test, 0 to 4: its photos are the
            test, those of the other four are trained on. The folds are the same for every `seed`.
        photos: only so many, of train and test in the set's proportion, which `seed` chooses: how a small set fares.

    Raises:
        DataError: incomplete folder, missing photos, photo names that differ only by case or extension,
            a photo in both train and test, or not the demanded edition.
        FormatError: a key or a sketch that cannot be read, one sketch under two keys.
        UnsafeFileError: the coordinate file does more than hold arrays.
        ConfigError: impossible `seed`, `validation`, `edition`, `fold` or `photos`.
    """
    seed, validation = as_count("seed", seed, 0), as_count("validation", validation, 0)
    if edition is not None and edition not in EDITIONS:
        raise unknown_name("edition", edition, EDITIONS)
    if fold is not None and (fold := as_count("fold", fold, 0)) >= FOLDS:
        raise ConfigError(f"fold={fold}: must be 0 to {FOLDS - 1}")
    folder = user_path(root)
    file = _coordinate_file(folder)
    name = file.name.removesuffix("_Coordinate")
    records = _records(file)
    released = _counts(records)
    deviation = _deviation(released, edition or name)
    if edition is not None and deviation != "as published":
        raise DataError(f"{file}: {deviation}; get this edition from {SITE}")
    files, ignored = _photo_files(folder / "photo")
    _check_separators(file, records, files)

    depicted = sorted({record.photo for record in records})
    missing = [photo for photo in depicted if photo not in files]
    if missing and not allow_missing:
        raise DataError(
            f"{folder / 'photo'}: lacks {len(missing)} photos drawn in {file.name}, {_some(missing)}; "
            f"complete it from {SITE} or pass allow_missing=True"
        )
    present = [record for record in records if record.photo in files]
    drawn = [record for record in present if len(record.sketch)]
    same_sketches = groups((_ink(record.sketch), record) for record in drawn)
    same_photos = same_content({photo: files[photo] for photo in depicted if photo in files})
    bound = [[record.photo for record in group] for group in same_sketches] + same_photos
    if fold is not None:
        of_fold = _folds({record.photo for record in present}, bound)[fold]
        present, drawn = ([_moved(record, of_fold) for record in part] for part in (present, drawn))
    test_ink = {_ink(record.sketch) for record in drawn if record.part == "test"}
    kept = [record for record in drawn if record.part == "test" or _ink(record.sketch) not in test_ink]

    part_of = {record.photo: record.part for record in present}
    of_test = {p for group in same_photos if any(part_of[q] == "test" for q in group) for p in group}
    copies = sorted(photo for photo in of_test if part_of[photo] == "train")
    train = sorted(photo for photo, part in part_of.items() if part == "train" and photo not in of_test)
    test = sorted(photo for photo, part in part_of.items() if part == "test")
    if photos is not None:
        train, test = _fewer(train, test, bound, as_count("photos", photos, 2), seed)
    taken, notes = at_most_a_share(validation, len(train))
    chosen = _choose(train, bound, taken, seed)
    members = {"train": [photo for photo in train if photo not in chosen], "validation": sorted(chosen), "test": test}
    splits = {split: _split(of_split, kept) for split, of_split in members.items()}
    notes += [
        f"{name}: no drawing; nothing can be measured on it" for name in ("test", "validation") if not members[name]
    ]
    report: dict[str, Any] = {
        "edition": deviation,
        "released": released,
        "splits": {
            split: {"sketches": len(made.sketches), "photos": len(made.photos)} for split, made in splits.items()
        },
        "empty_sketches": sum(not len(record.sketch) for record in records),
        "missing_photos": {
            "photos": len(missing),
            "sketches": len(records) - len(present),
            "first": missing[:_SHOWN],
        },
        "photos_without_sketch": listed(sorted(set(files) - set(depicted))),
        "other_files_in_photo": ignored,
        "duplicate_photos": listed(same_photos),
        "train_photos_left_out_as_copies_of_test_photos": listed(copies),
        "duplicate_sketches": listed([[record.sketch.id for record in group] for group in same_sketches]),
        "train_sketches_dropped_as_test_duplicates": len(drawn) - len(kept),
        "zero_length_segments": sum(_zero_length(record.sketch) for record in drawn),
        "notes": notes,
    }
    spec = {
        "name": "qmul",
        "root": str(folder),
        "seed": seed,
        "validation": validation,
        "allow_missing": bool(allow_missing),
        **({} if fold is None else {"fold": fold}),
        **({} if photos is None else {"photos": photos}),
    }
    return SketchDataset(name, spec, splits, functools.partial(_photo, files), report)


def is_qmul(folder: Path) -> bool:
    """Whether a folder holds a QMUL set."""
    return bool(_coordinate_files(folder))


def _coordinate_file(folder: Path) -> Path:
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; it has to hold <Name>_Coordinate and photo/, as published at {SITE}"
        )
    found = _coordinate_files(folder)
    if len(found) != 1:
        names = _some([path.name for path in found]) if found else "none"
        raise DataError(
            f"{folder}: has to hold exactly one file <Name>_Coordinate, as published at {SITE}; found {names}"
        )
    return found[0]


def _coordinate_files(folder: Path) -> list[Path]:
    """But for `._<name>`, which macOS leaves beside a file."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.name.endswith("_Coordinate") and not path.name.startswith(".") and path.is_file()
    )


def _records(file: Path) -> list[_Record]:
    """All sketches, ordered by photo and number, so that nothing depends on the order in the file."""
    records: dict[tuple[str, str], _Record] = {}
    content = load_legacy_pickle(file)
    _check_conventions(file, list(content.values()))
    for key, rows in content.items():
        match = _KEY.fullmatch(key)
        if match is None or match[2] in (".", ".."):
            raise FormatError(
                f"{file}: key {key[:80]!r} is not /train/<photo>_<n> or /test/<photo>_<n>; correct or drop it"
            )
        part, photo, number = match[1], normal(match[2]), match[3].zfill(20)
        try:
            sketch = dataclasses.replace(Sketch.from_rows(rows, key), id=f"{photo}_{match[3]}")
        except SketchlessError as error:
            raise type(error)(f"{file}: {error}") from error
        other = records.setdefault((photo, number), _Record(part, photo, sketch))
        if other.sketch is not sketch:
            raise FormatError(
                f"{file}: key {key!r} is the same sketch as /{other.part}/{other.sketch.id}; drop one of them"
            )
    if not records:
        raise FormatError(f"{file}: holds no sketch; write /train/<photo>_<n> or get it from {SITE}")
    both = sorted(_photos(records.values(), "train") & _photos(records.values(), "test"))
    if both:
        raise DataError(f"{file}: {len(both)} photos stand in train and in test, {_some(both)}; drop one side")
    return [records[place] for place in sorted(records)]


def _check_conventions(file: Path, content: Sequence[npt.NDArray[Any]]) -> None:
    """Refuse files most of whose drawings follow another convention, which would load and look like noise.

    Raises FormatError: coordinates of 0 to 1, offsets from point to point, flags at the start of each stroke.
    """
    drawings = [rows for rows in content if rows.ndim == 2 and rows.shape[1] == 3 and len(rows) > 1]
    if not drawings:
        return
    size = float(np.median([np.ptp(rows[:, :2], axis=0).max() for rows in drawings]))
    if size <= SMALL:
        raise FormatError(
            f"{file}: half of the drawings are smaller than {size:.3g} px; give points in pixels of a 256 px canvas"
        )
    if np.median([(rows[:, :2] < 0).any(axis=1).mean() for rows in drawings]) > OFFSETS:
        raise FormatError(
            f"{file}: most drawings have points below 0, as offsets have; give points: numpy.cumsum of the offsets"
        )
    if np.mean([rows[0, 2] == 1 and rows[-1, 2] == 0 for rows in drawings]) > 0.5:
        raise FormatError(
            f"{file}: most drawings have their pen-up flag at the first point of a stroke; it belongs to its last point"
        )


def _check_separators(file: Path, records: Sequence[_Record], files: Collection[str]) -> None:
    """Refuse keys that part the photo from the number by something else: `/train/chair_03-1` is of no photo `chair`."""
    for record in records:
        number = record.sketch.id.removeprefix(f"{record.photo}_")
        longer = re.fullmatch(r"(.*)[^0-9A-Za-z]\d+", f"{record.photo}_{number}")
        if longer and longer[1] != record.photo and longer[1] in files:
            raise FormatError(
                f"{file}: key '/{record.part}/{record.sketch.id}' means sketch {number!r} of photo {record.photo!r}, "
                f"but photo/ holds {longer[1]!r}; part the number by _, as in /{record.part}/{longer[1]}_1"
            )


def _photos(records: Iterable[_Record], part: str) -> set[str]:
    return {record.photo for record in records if record.part == part}


def _counts(records: Sequence[_Record]) -> dict[str, int]:
    sketches = {f"{part}_sketches": sum(r.part == part for r in records) for part in ("train", "test")}
    return sketches | {f"{part}_photos": len(_photos(records, part)) for part in ("train", "test")}


def _deviation(counts: Mapping[str, int], name: str) -> str:
    if name not in EDITIONS:
        return f"no published counts known for {name!r}"
    wrong = [
        f"{counts[what]} {what.replace('_', ' ')} instead of {n}"
        for what, n in EDITIONS[name].items()
        if counts[what] != n
    ]
    return f"differs from the published {name}: {', '.join(wrong)}" if wrong else "as published"


def _photo_files(folder: Path) -> tuple[dict[str, Path], int]:
    """Photo files by photo id, and how many other files lie beside them."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; it has to hold the photos as <photo>.png, as published at {SITE}")
    paths = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    pictures = [path for path in paths if path.suffix.lower() in _PHOTO_SUFFIXES]
    twins = groups((normal(path.stem).casefold(), path.name) for path in pictures)
    if twins:
        raise DataError(
            f"{folder}: {len(twins)} photo names differ only by case or extension, "
            f"{_some([' and '.join(group) for group in twins])}; keep one of each"
        )
    return {normal(path.stem): path for path in pictures}, len(paths) - len(pictures)


def _ink(sketch: Sketch) -> tuple[bytes, bytes]:
    return sketch.points.tobytes(), sketch.pen_up.tobytes()


def _zero_length(sketch: Sketch) -> int:
    still = (np.diff(sketch.points, axis=0) == 0).all(axis=1)
    return int((still & ~sketch.pen_up[:-1]).sum())


def _choose(train: Sequence[str], bound: Iterable[Sequence[str]], n_photos: int, seed: int) -> set[str]:
    """Choose `n_photos` of the train photos; bound ones go together (one fewer where they do not fit)."""
    together = {photo: {photo} for photo in train}
    for group in bound:
        merged = set[str]().union(*(together[photo] for photo in group if photo in together))
        for photo in merged:
            together[photo] = merged
    chosen: set[str] = set()
    for place in np.random.default_rng(seed).permutation(len(train)):
        wider = chosen | together[train[place]]
        if len(wider) <= n_photos:
            chosen = wider
    return chosen


def _fewer(
    train: Sequence[str], test: Sequence[str], bound: Sequence[Sequence[str]], n_photos: int, seed: int
) -> tuple[list[str], list[str]]:
    """So many photos of both parts together, in their proportion, one of each at least."""
    total = len(train) + len(test)
    if n_photos > total:
        raise ConfigError(f"photos={n_photos}: the set has {total}; choose no more")
    of_test = min(max(round(n_photos * len(test) / total), 1), n_photos - 1) if test else 0
    return sorted(_choose(train, bound, n_photos - of_test, seed)), sorted(_choose(test, bound, of_test, seed))


def _folds(photos: Iterable[str], bound: Sequence[Sequence[str]]) -> list[set[str]]:
    """All photos, in `FOLDS` parts as equal as bound photos allow."""
    rest, folds = sorted(photos), []
    for left in range(FOLDS, 0, -1):
        folds.append(_choose(rest, bound, round(len(rest) / left), seed=0))
        rest = [photo for photo in rest if photo not in folds[-1]]
    return folds


def _moved(record: _Record, test: Collection[str]) -> _Record:
    return dataclasses.replace(record, part="test" if record.photo in test else "train")


def _split(photos: Sequence[str], records: Iterable[_Record]) -> Split:
    row = {photo: place for place, photo in enumerate(photos)}
    members = [record for record in records if record.photo in row]
    targets = np.array([row[record.photo] for record in members], dtype=np.int64)
    return Split(tuple(record.sketch for record in members), targets, tuple(photos))


def _photo(files: Mapping[str, Path], photo: str) -> npt.NDArray[np.uint8]:
    if photo not in files:
        raise unknown_name("photo", photo, files)
    return read_photo(files[photo])


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")
