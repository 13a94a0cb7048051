"""Settings of the type that their field declares, wherever they come from: keywords, a command line, a file."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from sketchless.datasets.errors import ConfigError

C = TypeVar("C")


def from_file(kind: type[C], values: Mapping[str, Any]) -> C:
    """Settings out of a file. Raises ValueError for unknown ones; ConfigError for those that the agent refuses."""
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]  # a dataclass
    for name in values:
        if name not in known:
            raise ValueError(f"has the setting {name[:50]!r}, unknown here; it is of another version")
    return kind(**values)


def check_types(config: Any) -> None:
    """Compare every field of a dataclass with its annotation. A whole number will do for a float, a list for a tuple.

    Raises:
        ConfigError: a value of another type.
    """
    # An agent's script may be no module, whose names could be looked up.
    hints = get_type_hints(type(config), localns=vars(typing))
    for setting in fields(config):
        value = getattr(config, setting.name)
        if not _fits(value, hints[setting.name]):
            raise ConfigError(
                f"{setting.name}={repr(value)[:100]}: want type {getattr(setting.type, '__name__', setting.type)}"
            )
        if isinstance(value, list) and get_origin(hints[setting.name]) is tuple:  # JSON knows no tuples
            object.__setattr__(config, setting.name, tuple(value))


def _fits(value: Any, wanted: Any) -> bool:
    kind, parts = get_origin(wanted) or wanted, get_args(wanted)
    if kind in (Union, types.UnionType):
        return any(_fits(value, one) for one in parts)
    if kind is tuple and parts[1:] == (...,):
        return isinstance(value, list | tuple) and all(_fits(one, parts[0]) for one in value)
    if kind in (int, float) and isinstance(value, bool):
        return False
    if kind is float:
        return isinstance(value, int | float)
    return not isinstance(kind, type) or isinstance(value, kind)
