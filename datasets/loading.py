"""Data sets by name or by folder."""

from __future__ import annotations

import inspect
import numbers
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints
from urllib.parse import parse_qsl

from .dataset import SketchDataset
from .errors import ConfigError, DataError, SketchlessError, shown, unknown_name
from .files import user_path
from .procedural.chairs.dataset import procedural
from .procedural.objects.dataset import objects
from .readers.folder import folder, is_folder, is_meant_as_folder
from .readers.qmul import is_qmul, qmul
from .readers.quickdraw import is_quickdraw, quickdraw
from .readers.sketchy import is_sketchy, sketchy
from .readers.tu_berlin import is_tu_berlin, tu_berlin

DATASETS: dict[str, Callable[..., SketchDataset]] = {
    "procedural": procedural,
    "objects": objects,
    "qmul": qmul,
    "sketchy": sketchy,
    "tu-berlin": tu_berlin,
    "quickdraw": quickdraw,
    "folder": folder,
}
LAYOUTS: dict[str, Callable[[Path], bool]] = {
    "qmul": is_qmul,
    "sketchy": is_sketchy,
    "folder": is_folder,
    "quickdraw": is_quickdraw,
    "tu-berlin": is_tu_berlin,
}


def load_dataset(name: str, **options: Any) -> SketchDataset:
    """Load a data set.

    Args:
        name: a name in `DATASETS` (with `root=` for those in files), or the folder of a set, whose layout says
            which it is. Options may follow as in a URL: `"./sketchy?unseen=cow,bat&sketches=png"`.
        options: as the loader of that name takes them; `**dataset.spec` builds the same set again. They give way
            to those in `name`.

    Raises:
        ConfigError: unknown name or option. Others as the loader raises them.
    """
    name, more = _parts(name)
    options |= more
    if name not in DATASETS:
        if "/" not in name and not name.startswith("~") and not os.path.exists(name):
            raise unknown_name("data set", name, [*DATASETS, "<folder of a data set>"])
        root = user_path(name)
        name, options = _layout(root), {"root": str(root), **options}
    known, types = inspect.signature(DATASETS[name]).parameters, get_type_hints(DATASETS[name])
    for option, value in options.items():
        if option not in known:
            raise unknown_name(f"option of data set {name!r}:", option, known)
        if option in types:  # a loader of someone else need not say them
            options[option] = _typed(option, value, types[option])
    if "root" in known and "root" not in options:
        raise ConfigError(f"data set {name!r} lies in files; give its folder, {name}?root=<folder> or the folder alone")
    return DATASETS[name](**options)


def photo_faults(dataset: SketchDataset) -> list[str]:
    """What is wrong with each photo of a set of one's own that cannot be read; each is read, and none is kept."""
    faults = []
    if dataset.spec.get("name") == "folder":  # others are in files that their publisher looked at, or drawn
        for id in (id for split in dataset.splits.values() for id in split.photos):
            try:
                dataset.photo(id)
            except SketchlessError as error:
                faults.append(str(error))
    return faults


def identity(name: str) -> tuple[str, dict[str, Any]]:
    """What a name means, however it is spelled: the resolved folder, or the name of a set without one; and options.

    Raises:
        ConfigError: options that cannot be read.
    """
    name, options = _parts(name)
    root = options.pop("root", None if name in DATASETS else name)
    return name if root is None else os.path.realpath(user_path(str(root))), options


def _parts(name: str) -> tuple[str, dict[str, Any]]:
    """The name alone and the options behind it."""
    if "?" not in name or os.path.exists(name):
        return name, {}
    name, _, query = name.partition("?")
    return name, _query(query)


def _layout(folder: Path) -> str:
    """The name of the set that a folder holds."""
    if os.path.isfile(folder):
        if _is_archive(folder):
            raise DataError(f"{folder}: is an archive; unpack it and give the folder")
        raise DataError(f"{folder}: is a file; give the folder of a data set")
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: no such folder; get the data set as docs/datasets.md says")
    for name, holds in LAYOUTS.items():
        if holds(folder):
            return name
    if is_meant_as_folder(folder):
        return "folder"  # its reader says what is not as it should be
    raise DataError(
        f"{folder}: holds no data set: neither <Name>_Coordinate (QMUL), 256x256/photo/ (Sketchy), png/ or svg/ "
        f"(TU-Berlin) nor *.ndjson, QuickDraw_sketches_final/ or sketches/ with images/ (QuickDraw); "
        "nor photos/ with drawings in sketches/; see docs/datasets.md and docs/your-own-data.md"
    )


def _is_archive(file: Path) -> bool:
    """By its first bytes alone, as an archive may claim anything."""
    try:
        with open(file, "rb") as opened:
            head = opened.read(512)
    except OSError:
        return False
    return (
        head.startswith((b"PK\3\4", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!"))
        or head[257:262] == b"ustar"
    )


def _query(text: str) -> dict[str, Any]:
    """Options of a URL, each once."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True)
    except ValueError as error:
        raise ConfigError(f"options {shown(text)[:80]} are not <option>=<value>&...; correct them") from error
    for option, times in Counter(key for key, _ in pairs).items():
        if times > 1:
            raise ConfigError(f"option {shown(option)[:80]} stands {times} times; give it once, lists with commas")
    return {key: _value(value) for key, value in pairs}


def _value(text: str) -> Any:
    """Whole numbers, true, false and null are meant as such; `_typed` turns them back where text is wanted."""
    if text in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[text]
    return int(text) if re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", text) else text


def _typed(option: str, value: Any, hint: Any) -> Any:
    """A value as the loader's signature asks for it, or a ConfigError."""
    kinds = get_args(hint) or (hint,)
    if value is None and type(None) in kinds:
        return None
    if bool in kinds:
        if value in (0, 1):
            return bool(value)
        wanted = "true or false"
    elif int in kinds:  # the loaders say which
        if isinstance(value, numbers.Number):
            return value
        wanted = "a whole number"
    elif isinstance(value, (str, os.PathLike)) and str in kinds:
        return value
    elif isinstance(value, int) and not isinstance(value, bool) and str in kinds:  # of a URL, and a name all the same
        return str(value)
    elif isinstance(value, (list, tuple)) and Sequence[str] in kinds and all(isinstance(name, str) for name in value):
        return list(value)
    else:
        wanted = "a list of names" if Sequence[str] in kinds else "a name"
    raise ConfigError(f"{option}={shown(value)[:80]}: must be {wanted}")
