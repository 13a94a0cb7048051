"""The one error hierarchy of the package.

Every message is one line: the file or record, what is wrong with it, what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence


def printable(text: str) -> str:
    r"""`text` with control, layout and broken characters as escapes: names and ids come from files of others.

    >>> printable("a\nb")
    'a\\nb'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class SketchlessError(Exception):
    """Base of all errors raised on purpose: one line, whatever name or file it quotes. Exit with `exit_code`."""

    exit_code = 2

    def __str__(self) -> str:
        return printable(super().__str__())


class DataError(SketchlessError):
    """A data set is missing, incomplete or contradicts itself."""


class FormatError(DataError):
    """A file or record cannot be read as what it claims to be."""


class UnsafeFileError(SketchlessError):
    """A file tries to do something that no data file has to do (run code, exhaust the machine)."""


class ConfigError(SketchlessError, ValueError):
    """An option, a name or a combination of them makes no sense."""


class CheckpointError(SketchlessError):
    """A saved bank, encoder or agent is damaged or belongs to something else."""


class ResourceError(SketchlessError):
    """The machine lacks what the work needs (disk, memory, a lock)."""

    exit_code = 3


LISTED = 10  # names in an error


def unknown_name(
    kind: str, name: object, known: Iterable[str], synonyms: Mapping[str, Sequence[str]] | None = None
) -> ConfigError:
    """Error for a name that is not among `known`, with the nearest one or the first few as the cure.

    `synonyms` are names that others use for what is `known`, the likeliest first: they come before what is spelt alike.
    """
    names = sorted(known)
    meant = [other for other in (synonyms or {}).get(str(name).lower(), ()) if other in names]
    near = meant or difflib.get_close_matches(str(name), names, n=1)
    near = near or [other for other in names if len(str(name)) > 2 and other.startswith(str(name))]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    hint = f"did you mean {near[0]!r}?" if near else f"choose one of: {', '.join(names[:LISTED])}{more}"
    return ConfigError(f"unknown {kind} {shown(name)}: {hint}")


def shown(value: object) -> str:
    """A value as an error tells it, on one line and in at most 500 characters: files may hold texts of any length."""
    told = " ".join(repr(value).split())  # an array takes more lines than an error has
    return told if len(told) <= 500 else f"{told[:497]}..."


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: Python's own, torch's on a GPU, and the bare one of torch's CPU."""
    if isinstance(error, RuntimeError):  # torch is not imported to find out
        return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return isinstance(error, MemoryError)
