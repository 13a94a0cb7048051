"""Files below the folder of a data set: listed once, by relative path, and none outside of it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from ..errors import DataError, FormatError, UnsafeFileError
from ..lazy import Item

PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp")
MAX_LIST = 50_000_000  # bytes of a text file of names


def first_folder(root: Path, *candidates: str) -> str | None:
    """The first of these relative paths that is a folder below `root`."""
    return next((path for path in candidates if (root / path).is_dir()), None)


def categories(root: Path, folder: str, suffixes: Collection[str]) -> dict[str, list[Item]]:
    """Files `<folder>/<category>/<file>` of these suffixes by category, in order; their ids are paths below `root`.

    Raises:
        DataError: a folder that cannot be read.
        UnsafeFileError: a link that leads out of `root`, a name that is no printable text.
    """
    home = root.resolve()
    if not (root / folder).resolve().is_relative_to(home):
        raise UnsafeFileError(f"{root / folder}: a link that leads out of {home}; put its files there instead")
    found = {}
    for category in _entries(root / folder, home):
        if category.is_dir():
            files = [
                Item(f"{folder}/{category.name}/{entry.name}", entry.stat().st_size)
                for entry in _entries(Path(category.path), home)
                if entry.name.lower().endswith(tuple(suffixes)) and entry.is_file()
            ]
            if files:
                found[category.name] = files
    return found


def files_below(root: Path, folder: str, depth: int = 8) -> list[Item]:
    """All files below `<root>/<folder>`, in order; ids are paths below `root`. Raises as `categories`, or for depth."""
    home = root.resolve()
    if not (root / folder).resolve().is_relative_to(home):
        raise UnsafeFileError(f"{root / folder}: a link that leads out of {home}; put its files there instead")
    if depth == 0:
        raise DataError(f"{root / folder}: folders in folders, too deep; lay the files nearer to the top")
    found: list[Item] = []
    for entry in _entries(root / folder, home):
        if entry.is_dir():
            found += files_below(root, f"{folder}/{entry.name}", depth - 1)
        elif entry.is_file():
            found.append(Item(f"{folder}/{entry.name}", entry.stat().st_size))
    return found


def _entries(folder: Path, home: Path) -> Iterator[os.DirEntry[str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from error
    for entry in entries:
        if entry.name.startswith("."):  # such as the ._<name> that macOS leaves in archives
            continue
        if not entry.name.isprintable():
            raise UnsafeFileError(f"{folder}: the name {entry.name[:80]!r} is no printable text; rename it")
        if entry.is_symlink():
            if not Path(os.path.realpath(entry.path)).is_relative_to(home):
                raise UnsafeFileError(f"{entry.path}: a link that leads out of {home}; put its files there instead")
            if not os.path.exists(entry.path):
                raise DataError(f"{entry.path}: a link that leads nowhere; drop it, or put its file there instead")
        yield entry


def inside(root: Path, path: str) -> str:
    """`path` as it may be looked up below `root`. Raises UnsafeFileError for one that leads anywhere else."""
    parts = path.replace("\\", "/").split("/")
    if "\0" in path or ".." in parts or parts[0] == "" or ":" in parts[0]:
        raise UnsafeFileError(f"{root}: the path {path[:80]!r} leads out of it; only paths below the folder are read")
    return "/".join(part for part in parts if part != ".")


def lines(file: Path) -> list[tuple[int, str]]:
    """Lines of a text file that are not blank, stripped, with their numbers from 1.

    Raises:
        DataError: the file cannot be opened.
        FormatError: not UTF-8.
        UnsafeFileError: over 50 MB.
    """
    try:
        with open(file, "rb") as opened:
            content = opened.read(MAX_LIST + 1)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); check the path") from error
    if len(content) > MAX_LIST:
        raise UnsafeFileError(f"{file}: over {MAX_LIST // 1_000_000} MB; no list of names is that long")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{file}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    return [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


def some(names: Sequence[str], shown: int = 5) -> str:
    """The first names, for a message."""
    return ", ".join(map(repr, names[:shown])) + (", ..." if len(names) > shown else "")
