"""Data sets by name or by folder."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from .dataset import SketchDataset
from .errors import ConfigError, DataError, unknown_name
from .procedural.chairs.dataset import procedural
from .procedural.objects.dataset import objects
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
}
LAYOUTS: dict[str, Callable[[Path], bool]] = {
    "qmul": is_qmul,
    "sketchy": is_sketchy,
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
        if "/" not in name and not os.path.exists(name):
            raise unknown_name("data set", name, [*DATASETS, "<folder of a data set>"])
        name, options = _layout(Path(name)), {"root": name, **options}
    known = inspect.signature(DATASETS[name]).parameters
    for option in options:
        if option not in known:
            raise unknown_name(f"option of data set {name!r}:", option, known)
    if "root" in known and "root" not in options:
        raise ConfigError(f"data set {name!r} lies in files; give its folder, {name}?root=<folder> or the folder alone")
    return DATASETS[name](**options)


def identity(name: str) -> tuple[str, dict[str, Any]]:
    """What a name means, however it is spelled: the resolved folder, or the name of a set without one; and options.

    Raises:
        ConfigError: options that cannot be read.
    """
    name, options = _parts(name)
    root = options.pop("root", None if name in DATASETS else name)
    return name if root is None else os.path.realpath(str(root)), options


def _parts(name: str) -> tuple[str, dict[str, Any]]:
    """The name alone and the options behind it."""
    if "?" not in name or os.path.exists(name):
        return name, {}
    name, _, query = name.partition("?")
    return name, _query(query)


def _layout(folder: Path) -> str:
    """The name of the set that a folder holds."""
    if os.path.isfile(folder):
        what = "an archive; unpack it" if _is_archive(folder) else "a file; give"
        raise DataError(f"{folder}: is {what} {'and give ' if 'archive' in what else ''}the folder of a data set")
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: no such folder; get the data set as docs/datasets.md says")
    for name, holds in LAYOUTS.items():
        if holds(folder):
            return name
    raise DataError(
        f"{folder}: holds no data set: neither <Name>_Coordinate (QMUL), 256x256/photo/ (Sketchy), png/ or svg/ "
        f"(TU-Berlin) nor *.ndjson, QuickDraw_sketches_final/ or sketches/ with images/ (QuickDraw); "
        "see docs/datasets.md"
    )


def _query(text: str) -> dict[str, Any]:
    """Options of a URL: whole numbers, true, false and null are meant as such."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True)
    except ValueError as error:
        raise ConfigError(f"options {text[:80]!r} are not <option>=<value>&...; correct them") from error
    return {key: _value(value) for key, value in pairs}


def _value(text: str) -> Any:
    if text in ("true", "false", "null") or text.removeprefix("-").isdecimal():
        return json.loads(text)
    return text
