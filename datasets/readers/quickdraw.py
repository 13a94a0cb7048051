"""Quick, Draw! (Google, 2017): drawings in NDJSON; and QuickDraw-Extended (Dey et al., CVPR 2019): PNG and photos."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checks import as_count
from ..dataset import SketchDataset
from ..errors import DataError, FormatError, ResourceError, SketchlessError, UnsafeFileError, unknown_name
from ..files import user_path
from ..formats.ndjson import at_line, parse, read_lines
from ..lazy import Item
from ..sketch import Sketch
from .filelists import QUICKDRAW_PHOTOS, QUICKDRAW_SKETCHES, Drawn, Photo
from .folders import PICTURES, categories, first_folder
from .holdout import Holdout
from .multicategory import assemble, read_file
from .tu_berlin import is_tu_berlin

SITE = "https://github.com/googlecreativelab/quickdraw-dataset"
_KINDS = ("ndjson", "png")
MAX_HELD = 1 << 30  # bytes


def quickdraw(
    root: str | os.PathLike[str],
    seed: int = 0,
    validation: int | None = None,
    validation_categories: int = 0,
    unseen: Sequence[str] | str | None = None,
    filelists: str | None = None,
    sketches: str | None = None,
    per_category: int | None = None,
    only_recognized: bool = False,
    on_bad_line: str = "error",
    invert: bool = False,
) -> SketchDataset:
    """Read Quick, Draw!, simplified or raw, or QuickDraw-Extended. Pairs are of a category, so all targets are -1.

    NDJSON is checked from end to end once and then read line by line as asked; of `.gz` the lines are held in
    memory. Without photos splits have no gallery.

    Args:
        root: folder with one `*.ndjson` or `*.ndjson.gz` a category, or `QuickDraw_sketches_final/<category>/*.png`;
            and `QuickDraw_images_final/<category>/*` for the photos. `sketches/` and `images/` are taken as well.
        seed, validation, validation_categories, unseen, filelists: how to split, see `Holdout`.
        sketches: `"ndjson"` (strokes) or `"png"` (pictures); by default NDJSON where it lies there, but PNG with
            `filelists`, which name that.
        per_category: take the first so many drawings of each category; all by default.
        only_recognized: leave out drawings that the game did not recognise.
        on_bad_line: `"error"`, or `"skip"` and count the lines that cannot be read.
        invert: pictures are light on dark.

    Raises:
        DataError: no sketches where they should lie.
        FormatError: a bad line, by its number, unless skipped; a damaged `.gz`.
        ResourceError: over 1 GB of `.ndjson.gz`, unpacked.
        UnsafeFileError: a line over 8 MB, a link or a path that leads out of the folder.
        ConfigError: impossible options.
    """
    home, how = user_path(root), Holdout(seed, validation, validation_categories, unseen, filelists)
    if on_bad_line not in ("error", "skip"):
        raise unknown_name("way with bad lines, on_bad_line=", on_bad_line, ("error", "skip"))
    if sketches not in (None, *_KINDS):
        raise unknown_name("kind of sketches", sketches, _KINDS)
    per_category = None if per_category is None else as_count("per_category", per_category, 1)
    files, folder = _ndjson(home), first_folder(home, *QUICKDRAW_SKETCHES)
    kind = sketches or ("ndjson" if files and (filelists is None or folder is None) else "png")
    if (kind == "ndjson" and not files) or (kind == "png" and folder is None):
        where = "*.ndjson files" if kind == "ndjson" else f"{QUICKDRAW_SKETCHES[0]}/<category>/"
        raise DataError(f"{home}: lacks {where}; get the drawings from {SITE}")

    report: dict[str, Any] = {"sketches": kind}
    if kind == "ndjson":
        drawn, held, found = _scan(home, files, per_category, only_recognized, on_bad_line == "skip")
        read: Any = functools.partial(_read_line, home, held)
        report.update(found)
    else:
        assert folder is not None
        members = categories(home, folder, (".png",))
        drawn = [Drawn(item, category) for category, items in members.items() for item in items[:per_category]]
        read = functools.partial(read_file, home, False, bool(invert))
    gallery = first_folder(home, *QUICKDRAW_PHOTOS)
    shown = categories(home, gallery, PICTURES) if gallery else {}
    photos = [Photo(item.id, category) for category, items in shown.items() for item in items]
    spec = {
        "name": "quickdraw",
        "root": str(home),
        "sketches": kind,
        "per_category": per_category,
        "only_recognized": bool(only_recognized),
        "on_bad_line": on_bad_line,
        "invert": bool(invert),
    }
    return assemble(spec, drawn, photos, read, how, report)


def is_quickdraw(folder: Path) -> bool:
    """Whether a folder holds Quick, Draw!."""
    if _ndjson(folder) or (folder / QUICKDRAW_SKETCHES[0]).is_dir():
        return True
    # `sketches` alone could be of any set, as could pictures that are not in folders by category
    sketches = first_folder(folder, *QUICKDRAW_SKETCHES)
    if not sketches or not first_folder(folder, *QUICKDRAW_PHOTOS) or is_tu_berlin(folder):
        return False
    return any(path.suffix.lower() == ".png" for path in (folder / sketches).glob("*/*"))


def _ndjson(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    found = sorted(path for path in root.iterdir() if path.name.lower().endswith((".ndjson", ".ndjson.gz")))
    for path in found:
        if not path.resolve().is_relative_to(root.resolve()):
            raise UnsafeFileError(f"{path}: a link that leads out of {root}; put the file there instead")
    return [path for path in found if not path.name.startswith(".")]


def _scan(
    root: Path, files: Sequence[Path], most: int | None, only_recognized: bool, skip: bool
) -> tuple[list[Drawn], dict[str, bytes], dict[str, Any]]:
    """Where each drawing stands, the lines of packed files, and what was left out."""
    drawn: list[Drawn] = []
    held: dict[str, bytes] = {}
    left_out = Counter(empty=0, unrecognized=0, bad=0)
    first: list[str] = []
    known: set[str] = set()
    size = 0
    for file in files:
        here = 0
        for number, offset, content in read_lines(file):
            if most is not None and here == most:
                break
            try:
                record = parse(content)
                id = f"{file.name}#{record.key_id}"
                if id in known:
                    raise FormatError(f"key_id {record.key_id!r} stands there twice; drop one of the lines")
            except SketchlessError as error:
                placed = at_line(file, number, error)
                if not skip:
                    raise placed from error
                left_out["bad"] += 1
                first = [*first, str(placed)][:5]
                continue
            known.add(id)
            if not record.strokes or (only_recognized and not record.recognized):
                left_out["unrecognized" if record.strokes else "empty"] += 1
                continue
            here += 1
            drawn.append(Drawn(Item(id, len(content), offset), record.word))
            if file.suffix.lower() == ".gz":
                held[id] = content
                size += len(content)
                if size > MAX_HELD:
                    raise ResourceError(
                        f"{file}: line {number}: over {MAX_HELD >> 20} MB of packed drawings, held in memory; "
                        "unpack the files, or take fewer by per_category="
                    )
    report = {f"{why}_drawings_left_out": count for why, count in left_out.items()}
    return drawn, held, {**report, "first_bad": first}


def _read_line(root: Path, held: Mapping[str, bytes], item: Item) -> Sketch:
    content = held.get(item.id)
    if content is None:
        file = root / item.id.rpartition("#")[0]
        try:
            with open(file, "rb") as opened:
                opened.seek(item.offset)
                content = opened.read(item.size)
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror}); is it still there?") from error
    try:
        return parse(content).sketch(item.id)
    except SketchlessError as error:
        raise type(error)(f"{item.id}: {error}; has the file changed since?") from error
