"""Anyone's own data: photos in one folder, drawings in another, paired by name or by a list (docs/your-own-data.md)."""

from __future__ import annotations

import csv
import functools
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..checks import as_count
from ..dataset import SPLITS, SketchDataset, Split
from ..errors import DataError, FormatError, ResourceError, SketchlessError, unknown_name
from ..files import user_path
from ..formats.ndjson import at_line, json_object, parse_own, read_lines
from ..formats.svg import read_svg_counted
from ..photos import read_photo
from ..sketch import Sketch
from .doubts import doubts
from .folders import PICTURES, files_below, first_folder, lines, some
from .holdout import TEST, at_most_a_share
from .twins import groups, listed, normal, plain, same_content

PHOTOS, SKETCHES = "photos", "sketches"
OTHER_PHOTOS = ("images", "Photos", "photo", "pictures")  # what it is called elsewhere
DRAWINGS = (".svg", ".ndjson")
LISTS = ("pairs.csv", "pairs.jsonl")
OTHER_LISTS = {"pairs.ndjson": "pairs.jsonl", "pairs.json": "pairs.jsonl, an object a line"}
OTHER_DRAWINGS = (".ndjson.gz", ".json", ".jsonl")
TEST_SHARE = 0.2  # of the photos, where no test split is stated
MAX_POINTS = 20_000_000  # of all drawings, which are held in memory
OTHER_SPLITS = {"val": "validation", "valid": "validation", "dev": "validation", "testing": "test", "training": "train"}
_SEPARATORS = re.compile(r"[_\-. ]")
_DOCS = "see docs/your-own-data.md"


class Row(NamedTuple):
    """What a list says of a drawing."""

    photo: str
    split: str
    place: str  # file and line, for errors


@dataclass
class Found:
    """Drawings that were read, with what each says of its photo and split; and what was left out, by reason."""

    sketches: list[Sketch] = field(default_factory=list)
    says: list[tuple[str, str]] = field(default_factory=list)  # photo and split, empty where it does not say
    left_out: dict[str, list[str]] = field(default_factory=dict)
    svg_left_out: Counter[str] = field(default_factory=Counter)
    points: int = 0

    def leave(self, why: str, id: str) -> None:
        self.left_out.setdefault(why, []).append(id)

    def add(self, sketch: Sketch, photo: str, split: str) -> None:
        if len(sketch) == 0:
            self.leave("empty drawings", sketch.id)
            return
        self.points += len(sketch)
        if self.points > MAX_POINTS:
            raise ResourceError(
                f"{sketch.id}: over {MAX_POINTS:,} points in all drawings; take fewer, or thin them out"
            )
        self.sketches.append(sketch)
        self.says.append((photo, split))


def folder(
    root: str | os.PathLike[str],
    seed: int = 0,
    validation: int | None = None,
    test: int | None = None,
    allow_missing: bool = False,
    on_bad_file: str = "error",
) -> SketchDataset:
    """Read a set of one's own: `photos/`, `sketches/` and, if names do not pair them, `pairs.csv` or `pairs.jsonl`.

    All drawings are read at once. Photos of equal bytes are one photo, and category names that
    differ in case, spaces, `_`, `-` or the form of accents are one. Splits are as the set states them; what it does
    not state is split by photo. `report` says what was found, paired and left out, and why.

    Args:
        root: folder in the layout of docs/your-own-data.md.
        seed: chooses the validation photos, where the set states none.
        validation: how many photos to take, at most a quarter of those for training; by default a tenth.
        test: how many photos to take for the test, the same ones for every seed, where the set states none; by
            default a fifth.
        allow_missing: leave out drawings whose photo is not there instead of refusing the set.
        on_bad_file: `"error"`, or `"skip"` and count the drawings that cannot be read.

    Raises:
        DataError: an incomplete folder, a drawing whose photo is not there or not named, photos of one name, a photo in
            two splits, no photo left to learn from.
        FormatError: a list or a drawing that cannot be read.
        ResourceError: over 20,000,000 points.
        UnsafeFileError: a link or a path that leads out of the folder, a file that costs too much.
        ConfigError: impossible options.
    """
    home, seed = user_path(root), as_count("seed", seed, 0)
    validation = None if validation is None else as_count("validation", validation, 0)
    test = None if test is None else as_count("test", test, 0)
    if on_bad_file not in ("error", "skip"):
        raise unknown_name("way with bad files, on_bad_file=", on_bad_file, ("error", "skip"))
    photos, other_photos = _photos(home)
    merged = {id: group[0] for group in same_content({id: home / id for id in photos.values()}) for id in group[1:]}
    found, drawings, other_sketches = _drawings(home, on_bad_file == "skip")
    rows = _rows(home)
    targets, splits, missing, unpaired = _pair(home, found, rows, photos)
    if (missing or unpaired) and not allow_missing:
        raise _not_there(home, missing, unpaired, photos)
    targets = [merged.get(id, id) for id in targets]
    stated = _stated(home, photos, merged)
    for id, split, sketch in zip(targets, splits, found.sketches, strict=True):
        if id and split:
            _state(stated, id, split, sketch.id)
    used = sorted(set(photos.values()) - set(merged))
    of, how, notes = _divide(used, {id for id in targets if id}, stated, seed, validation, test)
    spelled: dict[str, dict[str, None]] = {}  # spellings of a category, in order
    for spelling in map(_category, used):
        spelled.setdefault(plain(spelling), {})[spelling] = None
    category = {id: next(iter(spelled[plain(_category(id))])) for id in used}
    many = all(category.values())
    kept, dropped = _without_test_copies(found.sketches, targets, of)
    parts = {
        name: _split(
            [id for id in used if of.get(id) == name],
            [(s, id) for s, id in kept if of.get(id) == name],
            category if many else {},
        )
        for name in SPLITS
    }
    if not len(parts["train"].sketches):
        gone = {why: len(ids) for why, ids in found.left_out.items()}
        gone |= {"with photos that are not there": len(missing), "that name no photo": len(unpaired)}
        gone["equal to a test drawing"] = len(dropped)
        told = ", ".join(f"{count} {why}" for why, count in gone.items() if count)
        raise DataError(
            f"{home}: no drawing is left to learn from{f' ({told})' if told else ''}; state fewer photos as test or "
            "validation, or add some"
        )
    for name in ("test", "validation"):
        if not len(parts[name].sketches):
            notes.append(f"{name}: no drawing; nothing can be measured on it")
    lost = "drawings whose photo is not there"
    report = {
        "photos": len(photos),
        "drawings": drawings,
        "paired": sum(map(bool, targets)),
        "paired_by": dict(Counter(_paired_by(found, rows, targets))),
        "splits": {name: {"sketches": len(p.sketches), "photos": len(p.photos)} for name, p in parts.items()},
        "split_by": how,
        "categories": len(set(category.values())) if many else 0,
        "photos_without_drawing": listed(sorted(set(used) - set(targets))),
        "merged_photos": listed([list(pair) for pair in merged.items()]),
        "merged_categories": listed([list(all) for all in spelled.values() if len(all) > 1]),
        "left_out": {
            **{why: listed(ids) for why, ids in found.left_out.items()},
            **({lost: listed([f"{id} -> {photo}" for id, photo in missing])} if missing else {}),
            **({"drawings that name no photo": listed(unpaired)} if unpaired else {}),
            **({"train drawings equal to a test drawing": listed(dropped)} if dropped else {}),
            **({"other files in photos/": listed(other_photos)} if other_photos else {}),
            **({"other files in sketches/": listed(other_sketches)} if other_sketches else {}),
            **({"parts of SVG": dict(found.svg_left_out)} if found.svg_left_out else {}),
        },
        "notes": [*notes, *doubts(found.sketches)],
    }
    spec = {
        **{"name": "folder", "root": str(home), "seed": seed, "validation": validation, "test": test},
        **{"allow_missing": bool(allow_missing), "on_bad_file": on_bad_file},
    }
    known = frozenset(photo for part in parts.values() for photo in part.photos)
    return SketchDataset(home.resolve().name, spec, parts, functools.partial(_photo, home, known), report)


def is_folder(path: Path) -> bool:
    """Whether a folder holds a set of one's own: `photos/`, and drawings as SVG or NDJSON in `sketches/`."""
    if not (path / PHOTOS).is_dir() or not (path / SKETCHES).is_dir():
        return False
    return any((path / name).is_file() for name in LISTS) or any(
        entry.suffix.lower() in DRAWINGS for entry in (path / SKETCHES).rglob("*") if not entry.name.startswith(".")
    )


def is_meant_as_folder(path: Path) -> bool:
    """Whether a folder that holds no set as it stands is likely a set of one's own: `sketches/` beside photos."""
    return (path / SKETCHES).is_dir() and first_folder(path, PHOTOS, *OTHER_PHOTOS) is not None


def split_meant(name: str) -> str | None:
    """The split that a name is one of the other spellings of."""
    meant = OTHER_SPLITS.get(name.lower(), name.lower())
    return meant if meant in SPLITS and name != meant else None


def _photos(root: Path) -> tuple[dict[str, str], list[str]]:
    """Photo ids by name (the path below `photos/` without suffix), and other files there."""
    if not (root / PHOTOS).is_dir():
        other = first_folder(root, *OTHER_PHOTOS)
        cure = f"rename {other}/" if other else "put the photos there"
        raise DataError(f"{root}: lacks the folder {PHOTOS}/; {cure}, {_DOCS}")
    items = files_below(root, PHOTOS)
    pictures = [item.id for item in items if item.id.lower().endswith(PICTURES)]
    twins = groups((_name(id, PHOTOS).casefold(), id) for id in pictures)
    if twins:
        raise DataError(f"{root}: {some(twins[0])} have one name but for case or suffix; rename or drop one of them")
    others = [item.id for item in items if not item.id.lower().endswith(PICTURES)]
    if not pictures:
        cure = f", but {some(others, 2)}; convert them" if others else "; put them there"
        raise DataError(f"{root / PHOTOS}: holds no photo ({', '.join(PICTURES)}){cure}, {_DOCS}")
    return {_name(id, PHOTOS): id for id in pictures}, others


def _name(id: str, folder: str) -> str:
    """A path below `folder`, without suffix."""
    path = PurePosixPath(id.removeprefix(f"{folder}/"))
    return normal(str(path.with_suffix("") if path.name else path))


def _drawings(root: Path, skip: bool) -> tuple[Found, int, list[str]]:
    """The drawings, how many there are in all, and other files."""
    if not (root / SKETCHES).is_dir():
        raise DataError(f"{root}: lacks the folder {SKETCHES}/; put the drawings there, {_DOCS}")
    items = files_below(root, SKETCHES)
    files = [item.id for item in items if item.id.lower().endswith(DRAWINGS)]
    found, total = Found(), 0
    for file in files:
        id = file.removeprefix(f"{SKETCHES}/")
        if file.lower().endswith(".svg"):
            total += 1
            try:
                sketch, left_out = read_svg_counted(root / file, id)
                found.svg_left_out.update(left_out)
                found.add(sketch, "", "")
            except SketchlessError as error:
                if not skip:
                    raise
                found.leave("drawings that cannot be read", str(error))
            continue
        total += _read_ndjson(root / file, id, found, skip)
    others = [item.id for item in items if not item.id.lower().endswith(DRAWINGS)]
    if not total:
        pictures = [id for id in others if id.lower().endswith(PICTURES)]
        like = [id for id in others if id.lower().endswith(OTHER_DRAWINGS)]
        cure = f", but {some(pictures, 2)}; a picture has no strokes, give these" if pictures else "; put them there"
        cure = f", but {some(like, 2)}; write them as .ndjson, a drawing a line, not packed" if like else cure
        raise DataError(f"{root / SKETCHES}: holds no drawing ({', '.join(DRAWINGS)}){cure}, {_DOCS}")
    return found, total, others


def _read_ndjson(path: Path, id: str, found: Found, skip: bool) -> int:
    """Read the drawings of one file into `found`; gives how many there are."""
    seen: set[str] = set()
    content = list(read_lines(path))
    for line in content:
        try:
            record = parse_own(line.content, str(line.number))
            if record.key_id in seen:
                raise FormatError(f"key_id {record.key_id!r} stands there twice; rename one of them")
            seen.add(record.key_id)
            whole = id if len(content) == 1 else f"{id}#{record.key_id}"
            found.add(record.sketch(whole), record.photo, record.split)
        except SketchlessError as error:
            if isinstance(error, ResourceError) or not skip:
                raise at_line(path, line.number, error) from error
            found.leave("drawings that cannot be read", str(at_line(path, line.number, error)))
    return len(content)


def _rows(root: Path) -> dict[str, Row]:
    """The list of pairs, by drawing."""
    there = [root / name for name in LISTS if (root / name).is_file()]
    for name in sorted(path.name for path in root.glob("*")):
        meant = OTHER_LISTS.get(name.lower(), name.lower())
        if name != meant and meant.partition(",")[0] in LISTS and not there:
            raise DataError(f"{root / name}: is not read as a list of pairs; write it as {meant}, {_DOCS}")
    if len(there) > 1:
        raise DataError(f"{root}: has {' and '.join(LISTS)}; keep one of them")
    rows: dict[str, Row] = {}
    for file in there:
        for number, entry in _entries(file):
            if None in entry:  # the csv module's key for what is beyond the header
                raise FormatError(f"{file}: line {number}: has more values than the header has columns; {_DOCS}")
            unknown = sorted({str(key) for key in entry} - {"sketch", "photo", "split"})
            values = {key: entry.get(key) for key in ("sketch", "photo", "split")}
            if not all(isinstance(value, str) for key, value in values.items() if value is not None or key != "split"):
                more = f", but {some(unknown)}" if unknown else ""
                raise FormatError(f"{file}: line {number}: has no text 'sketch' and 'photo'{more}; {_DOCS}")
            sketch = normal(str(values["sketch"]).strip()).removeprefix(f"{SKETCHES}/")
            row = Row(str(values["photo"]).strip(), str(values["split"] or "").strip(), f"{file}: line {number}")
            if rows.setdefault(sketch, row) is not row:
                raise FormatError(f"{file}: line {number}: {sketch[:80]!r} stands there twice; drop one of the lines")
    return rows


def _entries(file: Path) -> Iterable[tuple[int, Mapping[str | Any, Any]]]:
    """Rows of a CSV or JSON Lines file with the numbers of their lines."""
    numbered = lines(file)
    if file.suffix == ".csv":
        if numbered and "," not in numbered[0][1] and (other := re.search(r"[;\t|]", numbered[0][1])):
            raise FormatError(
                f"{file}: line {numbered[0][0]}: has {other[0]!r} between its values; put commas there in all lines"
            )
        try:
            table = list(csv.DictReader([text for _, text in numbered], strict=True))
        except csv.Error as error:
            raise FormatError(f"{file}: no CSV with one row a line ({error}); {_DOCS}") from error
        columns = next(csv.reader([numbered[0][1]])) if numbered else []
        if twice := [column for column in ("sketch", "photo", "split") if columns.count(column) > 1]:
            raise FormatError(f"{file}: line {numbered[0][0]}: has the column {twice[0]!r} twice; drop one of them")
        if len(table) != max(len(numbered) - 1, 0):
            raise FormatError(f"{file}: no CSV with one row a line (a value goes over several lines); {_DOCS}")
        return [(number, row) for (number, _), row in zip(numbered[1:], table, strict=True)]
    entries = []
    for number, text in numbered:
        try:
            entries.append((number, json_object(text)))
        except FormatError as error:
            raise at_line(file, number, error) from error
    return entries


def _pair(
    root: Path, found: Found, rows: Mapping[str, Row], photos: Mapping[str, str]
) -> tuple[list[str], list[str], list[tuple[str, str]], list[str]]:
    """Photo and split of every drawing (or empty), drawings with photos that are missing, drawings that name none."""
    known = _names(photos)
    targets, splits, missing, unpaired = [], [], [], []
    used: set[str] = set()
    for sketch, says in zip(found.sketches, found.says, strict=True):
        photo, split = says
        keys = (normal(sketch.id), _name(sketch.id, SKETCHES))
        key = next((key for key in keys if key in rows), None)
        if key is not None:
            used.add(key)
            photo, split = rows[key].photo, rows[key].split or split
        if photo:
            id = _known(photo, known)
            if not id:
                missing.append((sketch.id, photo))
        else:
            id = _by_name(sketch.id.partition("#")[0], known)
            if not id:
                unpaired.append(sketch.id)
        if split and split not in SPLITS:
            place = rows[key].place if key is not None else f"{root / SKETCHES / sketch.id}"
            raise FormatError(f"{place}: split {split[:20]!r} is none of {', '.join(SPLITS)}; correct it")
        targets.append(id or "")
        splits.append(split)
    left = found.left_out.get("empty drawings", [])
    lost = [key for key in rows if key not in used and not any(key in (id, _name(id, SKETCHES)) for id in left)]
    if lost and not found.left_out.get("drawings that cannot be read"):
        if any(lost[0] in (normal(sketch.id), _name(sketch.id, SKETCHES)) for sketch in found.sketches):
            raise FormatError(
                f"{rows[lost[0]].place}: {lost[0]!r} stands there twice, with suffix and without; drop one"
            )
        hint = _meant(lost[0], [_name(sketch.id, SKETCHES) for sketch in found.sketches])
        raise DataError(
            f"{rows[lost[0]].place}: {len(lost)} of the drawings are not there, {some(lost)}{hint}; correct it"
        )
    return targets, splits, missing, unpaired


def _paired_by(found: Found, rows: Mapping[str, Row], targets: Sequence[str]) -> Iterable[str]:
    """By what each drawing was paired."""
    for sketch, (photo, _), target in zip(found.sketches, found.says, targets, strict=True):
        if target:
            in_list = normal(sketch.id) in rows or _name(sketch.id, SKETCHES) in rows
            yield "list" if in_list else "key photo" if photo else "file name"


def _names(photos: Mapping[str, str]) -> dict[str, str]:
    """Photo ids by path and, where only one photo has it, by bare name; with the split's folder and without."""
    known = dict(photos)
    for short in (lambda name: name.partition("/")[2] if name.partition("/")[0] in SPLITS else "", _bare):
        times = Counter(short(name) for name in photos)
        for name, id in photos.items():
            if short(name) and times[short(name)] == 1:
                known.setdefault(short(name), id)
    return known


def _known(path: str, known: Mapping[str, str]) -> str | None:
    """The photo of a path below `photos/`, with or without suffix; a name may hold dots."""
    return known.get(normal(path).removeprefix(f"{PHOTOS}/")) or known.get(_name(path, PHOTOS))


def _bare(name: str) -> str:
    return name.rpartition("/")[2]


def _by_name(path: str, known: Mapping[str, str]) -> str | None:
    """The photo with the longest name that the drawing's name begins with, up to a separator."""
    whole = _name(path, SKETCHES)
    for name in (whole, _bare(whole)):
        ends = [len(name), *reversed([match.start() for match in _SEPARATORS.finditer(name)])]
        for end in ends:
            if end and name[:end] in known:
                return known[name[:end]]
    return None


def _meant(path: str, names: Iterable[str]) -> str:
    """A question after the one name that a path is but for case, suffix, separators and `\\`; empty if none is."""

    def letters(name: str) -> str:
        return re.sub(r"[_\-. /\\]", "", name).casefold()

    below = path.replace("\\", "/").removeprefix(f"{PHOTOS}/").removeprefix(f"{SKETCHES}/")
    wanted = {letters(below), letters(_name(below, ""))}
    found = [name for name in names if letters(name) in wanted]
    return f" (did you mean {found[0]!r}?)" if len(found) == 1 else ""


def _not_there(
    root: Path, missing: Sequence[tuple[str, str]], unpaired: Sequence[str], photos: Mapping[str, str]
) -> DataError:
    cure = f"complete photos/, correct the pairs, or pass allow_missing=true; {_DOCS}"
    if missing:
        told = some([f"{id} -> {photo}" for id, photo in missing]) + _meant(missing[0][1], photos)
        return DataError(f"{root}: {len(missing)} drawings name photos that are not there, {told}; {cure}")
    example = next(iter(photos))
    return DataError(
        f"{root}: {len(unpaired)} drawings name no photo, {some(unpaired)}: a drawing of {example!r} is called "
        f"{example}_1; {cure}"
    )


def _stated(root: Path, photos: Mapping[str, str], merged: Mapping[str, str]) -> dict[str, str]:
    """Splits by folder and by file."""
    _check_spelling(root, photos)
    stated: dict[str, str] = {}
    for name, id in photos.items():
        if name.partition("/")[0] in SPLITS:
            _state(stated, merged.get(id, id), name.partition("/")[0], id)
    known = _names(photos)
    for split in SPLITS:
        file = root / f"{split}.txt"
        if file.is_file():
            named = lines(file)
            if not named:
                raise DataError(f"{file}: names no photo; drop the file, or write a photo a line")
            for number, line in named:
                found = _known(line, known)
                if found is None:
                    hint = _meant(line, photos)
                    raise DataError(f"{file}: line {number}: no photo {line[:80]!r} in photos/{hint}; correct it")
                _state(stated, merged.get(found, found), split, f"{file}: line {number}")
    return stated


def _check_spelling(root: Path, photos: Iterable[str]) -> None:
    """Raises DataError: a file or folder that is meant as a split and is not called like one."""
    folders = sorted({name.partition("/")[0] for name in photos if "/" in name})
    for there in [*sorted(root.glob("*.txt")), *(root / PHOTOS / name for name in folders)]:
        name, suffix = (there.stem, ".txt") if there.parent == root else (there.name, "")
        meant = split_meant(name)
        if meant and (suffix or meant != "train"):  # a category may be called train
            raise DataError(f"{there}: states no split; rename it {meant}{suffix}, {_DOCS}")


def _state(stated: dict[str, str], photo: str, split: str, where: str) -> None:
    if stated.setdefault(photo, split) != split:
        raise DataError(f"{where}: the photo {photo!r} is for {stated[photo]} and for {split}; a photo has one split")


def _divide(
    photos: Sequence[str],
    drawn: set[str],
    stated: Mapping[str, str],
    seed: int,
    validation: int | None,
    test: int | None,
) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """The split of every photo, how each split came about, and notes."""
    of = {photo: stated.get(photo, "train") for photo in photos}
    has = set(stated.values())
    how, notes = {"train": "stated" if "train" in has else "the rest"}, []
    for split, asked, share, draws in (("test", test, TEST_SHARE, TEST), ("validation", validation, 0.1, seed)):
        if split in has:
            how[split] = "stated"
            if asked:
                notes.append(f"{split}: {sum(s == split for s in of.values())} photos as the set states, not {asked}")
            continue
        pool = [photo for photo in photos if of[photo] == "train" and photo in drawn]
        if asked is None:
            count = min(round(share * len(pool)) or 1, max(len(pool) - 1, 0))
            if split == "test" and any(photo in stated for photo in pool):
                notes.append(
                    f"test: {count} of {len(pool)} photos at random, stated as train or not; state which are for the "
                    "test, or take none by test=0"
                )
        else:
            count, said = at_most_a_share(asked, len(pool), split)
            notes += said
        chosen = np.random.default_rng(draws).permutation(len(pool))[:count]
        of |= {pool[place]: split for place in chosen}
        how[split] = f"at random: {count} of {len(pool)} photos" + ("" if split == "test" else f", seed {seed}")
    return of, how, notes


def _category(id: str) -> str:
    """Folders between `photos/`, or a split's folder, and the file."""
    parts = id.split("/")[1:-1]
    return "/".join(parts[1:] if parts[:1] and parts[0] in SPLITS else parts)


def _without_test_copies(
    sketches: Sequence[Sketch], targets: Sequence[str], of: Mapping[str, str]
) -> tuple[list[tuple[Sketch, str]], list[str]]:
    """Drawings with their photos, but for those of train and validation that equal one of the test."""
    tested = {sketch.content() for sketch, id in zip(sketches, targets, strict=True) if of.get(id) == "test"}
    kept, dropped = [], []
    for sketch, id in zip(sketches, targets, strict=True):
        if id and of[id] != "test" and sketch.content() in tested:
            dropped.append(sketch.id)
        elif id:
            kept.append((sketch, id))
    return kept, dropped


def _split(photos: Sequence[str], drawn: Sequence[tuple[Sketch, str]], category: Mapping[str, str]) -> Split:
    row = {photo: place for place, photo in enumerate(photos)}
    return Split(
        tuple(sketch for sketch, _ in drawn),
        np.array([row[id] for _, id in drawn], dtype=np.int64),
        tuple(photos),
        tuple(category[id] for _, id in drawn) if category else (),
        tuple(category[id] for id in photos) if category else (),
    )


def _photo(root: Path, known: frozenset[str], id: str) -> npt.NDArray[np.uint8]:
    if id not in known:
        raise unknown_name("photo", id, known)
    return read_photo(root / id)
