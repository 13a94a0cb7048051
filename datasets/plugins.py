"""Finding a part by name: built in, from an installed package's entry points, or as `module:attribute`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from .errors import ConfigError, unknown_name


def find(kind: str, name: str, known: Mapping[str, Any], also: tuple[str, ...] = ()) -> Any:
    """What `name` stands for.

    Args:
        kind: `"agent"`, `"reward"` or `"backbone"`; its entry points are the group `sketchless.<kind>s`.
        name: a key of `known`, the name of an entry point, or `"module:attribute"`.
        known: what is built in; it comes first.
        also: further names for the error to offer.

    Raises:
        ConfigError: unknown name (with the nearest one), or it cannot be imported.
    """
    if name in known:
        return known[name]
    group = f"sketchless.{kind}s"
    module, colon, attribute = name.partition(":")
    if not colon:
        installed = {entry.name: entry for entry in entry_points(group=group)}
        if name not in installed:
            raise unknown_name(kind, name, [*known, *installed, *also])
        module, attribute = installed[name].module, installed[name].attr
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:  # the last two: ".a:b" and ":b"
        raise ConfigError(f"{kind} {name!r} cannot be imported: {error}") from error
