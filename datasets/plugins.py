"""Finding a part by name: built in, from an installed package's entry points, or as `module:attribute`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Collection, Mapping
from importlib.metadata import EntryPoint, entry_points
from operator import attrgetter
from typing import Any

from .errors import ConfigError, UnsafeFileError, shown, unknown_name


def check_trust(kind: str, name: str, trust: Collection[str], path: str | os.PathLike[str]) -> None:
    """Refuse a `module:attribute` that a file names: to find it is to run its code, which the file's maker chose.

    To be called before `find` with every name that comes from a file instead of the user. Names without a colon pass:
    what is built in, and the entry points of installed packages, are on this machine by the user's own will.

    Args:
        kind: as in `find`.
        name: as it stands in the file.
        trust: each `module:attribute` that the user has given leave to, spelt as in the file.
        path: of the file, for the error.

    Raises:
        UnsafeFileError: a name with a colon that is not in `trust`.
    """
    if ":" in name and name not in trust:
        said = shown(name[:200])
        raise UnsafeFileError(
            f"{os.fspath(path)}: its {kind} {said} is code that would run; if you trust it, add --trust {said} "
            f"(in Python: trust=[{said}])"
        )


def installed(kind: str) -> dict[str, EntryPoint]:
    """The parts of a kind that installed packages offer, by name; nothing is imported."""
    return {entry.name: entry for entry in entry_points(group=f"sketchless.{kind}s")}


def find(kind: str, name: str, known: Mapping[str, Any], also: tuple[str, ...] = ()) -> Any:
    """What `name` stands for.

    Args:
        kind: `"agent"`, `"reward"` or `"backbone"`; its entry points are the group `sketchless.<kind>s`.
        name: a key of `known`, the name of an entry point, or `"module:attribute"`.
        known: what is built in; it comes first.
        also: further names for the error to offer.

    Raises:
        ConfigError: unknown name (with the nearest one), or it cannot be imported, whatever its module raises.
    """
    if name in known:
        return known[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        there = installed(kind)
        if name not in there:
            raise unknown_name(kind, name, [*known, *there, *also])
        module, attribute = there[name].module, there[name].attr
    try:
        return attrgetter(attribute)(importlib.import_module(module))
    except Exception as error:  # a module may raise anything
        fault = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"{kind} {name!r} cannot be imported: {fault} (--debug shows where)") from error
