"""One photo under two names, one category under two spellings: what would stand on both sides of a split."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..files import sha256

Member = TypeVar("Member")

HEAD = 4096  # bytes by which most files of one size differ
MISSPELT = {"effiel tower": "eiffel tower"}  # QuickDraw-Extended has both


def normal(name: str) -> str:
    """A name in Unicode's composed form: macOS hands out decomposed ones."""
    return unicodedata.normalize("NFC", name)


def plain(category: str) -> str:
    """A category's name as all lists can be made to agree on it.

    Case, spaces, `_`, `-` and accents' form are one, and what is not seen, such as a zero-width space, does not count.
    """
    seen = "".join(letter for letter in category if unicodedata.category(letter) != "Cf")
    text = " ".join(normal(normal(seen).casefold()).replace("_", " ").replace("-", " ").split())
    return MISSPELT.get(text, text)


def groups(items: Iterable[tuple[Hashable, Member]]) -> list[list[Member]]:
    """Members that share a key, where there are at least two."""
    found = defaultdict(list)
    for key, member in items:
        found[key].append(member)
    return [members for members in found.values() if len(members) > 1]


def same_content(files: Mapping[str, Path]) -> list[list[str]]:
    """Names of files of equal bytes, groups of two and more, in order; files that cannot be read are equal to none."""
    same = groups((size, name) for name, path in files.items() if (size := _size(path)))
    same = [part for names in same for part in groups((_head(files[name]), name) for name in names)]
    return [part for names in same for part in groups((_whole(files[name]), name) for name in names)]


def listed(found: Sequence[Any], shown: int = 5) -> dict[str, Any]:
    """A list in a report: how many, and the first."""
    return {"count": len(found), "first": list(found[:shown])}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _head(path: Path) -> Hashable:
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read(HEAD)).digest()
    except OSError:
        return path


def _whole(path: Path) -> Hashable:
    try:
        return sha256(path)
    except OSError:
        return path
