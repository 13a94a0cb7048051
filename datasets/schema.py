"""One check per kind of file: what its JSON must look like is a type; what does not fit it is one typed line."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .errors import FormatError, SketchlessError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
MAX_BYTES = 1 << 28  # of a JSON file


def conform(
    schema: type[T],
    value: object,
    where: str | os.PathLike[str],
    *,
    error: type[SketchlessError] = FormatError,
    cure: str = "write it again",
) -> T:
    """JSON values as a `schema`: a dataclass, a `TypedDict`, a `pydantic.BaseModel`, or any annotation.

    Nothing is converted: `"8"`, `8.0` and `true` are no int. A list may become a tuple, an int a float. Keys beyond
    those of the schema are left out, unless a model says `extra="forbid"`, for itself and the dataclasses in it.

    Args:
        schema: what it must be. A `__post_init__` may raise `ValueError` or `ConfigError` about the values.
        value: as `json.loads` gives it; also other dicts, lists, strings, numbers, bools and None.
        where: file and record, for the error.
        error: what to raise.
        cure: what the user is to do about it.

    Raises:
        error: it does not fit; NaN and infinity, and what is nested deeper than 200 levels, fit nothing.
    """
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as fault:  # ValueError: NaN, or an integer of 4300 digits
        raise error(f"{os.fspath(where)}: is no plain JSON ({_line(fault)}); {cure}") from fault
    return _validated(schema, text, where, error, cure)


def read_json(
    path: str | os.PathLike[str],
    schema: type[T],
    *,
    error: type[SketchlessError] = FormatError,
    cure: str = "write it again",
    most: int = MAX_BYTES,
) -> T:
    """The content of a JSON file as a `schema`; a byte-order mark is skipped.

    Args:
        path, schema, error, cure: as in `conform`.
        most: bytes that are read.

    Raises:
        error: no such file, larger than `most`, no JSON, or it does not fit.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError) as fault:  # ValueError: NUL in the path
        raise error(f"{os.fspath(path)}: cannot be read ({_line(fault)}); {cure}") from fault
    if len(data) > most:
        raise error(f"{os.fspath(path)}: larger than {most} bytes; {cure}")
    return _validated(schema, data.removeprefix(b"\xef\xbb\xbf"), path, error, cure)


@functools.lru_cache
def _reader(schema: Any) -> TypeAdapter[Any]:
    """Made once: to make it takes longer than to read an agent's whole file with it."""
    from pydantic import TypeAdapter  # with the first file, as it takes a tenth of a second

    return TypeAdapter(schema)


def _validated(
    schema: type[T], text: str | bytes, where: str | os.PathLike[str], error: type[SketchlessError], cure: str
) -> T:
    from pydantic import ValidationError

    try:
        fitting: T = _reader(cast(Any, schema)).validate_json(text, strict=True)
        return fitting
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        place = ".".join(_line(part) for part in first["loc"])
        said = _line(first["msg"].removeprefix("Value error, "))
        raise error(f"{os.fspath(where)}: {f'{place}: ' if place else ''}{said}; {cure}") from fault


def _line(text: Any) -> str:
    """Text of a file as part of an error: one short printable line."""
    line = " ".join(str(text).split())[:200]
    return line if line.isprintable() else ascii(line)[1:-1]
