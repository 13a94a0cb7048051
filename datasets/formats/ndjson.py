"""Drawings of the Quick, Draw! Dataset as Google publishes them: one JSON object a line (NDJSON)."""

from __future__ import annotations

import gzip
import json
import math
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn, cast

import numpy as np
import numpy.typing as npt

from ..errors import DataError, FormatError, ResourceError, SketchlessError, UnsafeFileError
from ..sketch import CANVAS, MAX_POINTS, MAX_STROKES, Sketch
from .canvas import fit

MAX_LINE = 8_000_000  # bytes; the longest drawings of the raw release take a tenth
MAX_RATIO = 200  # of a .gz, unpacked to packed; drawings reach 10
FREE = 50_000_000  # bytes for which no ratio is asked
BOM = b"\xef\xbb\xbf"

_KEY = re.compile(r"[\w-]{1,64}", re.ASCII)


class Record(NamedTuple):
    """One line."""

    word: str
    key_id: str
    recognized: bool
    strokes: Sequence[npt.NDArray[np.float64]]  # [p, 2] each

    def sketch(self, id: str) -> Sketch:
        """The drawing, fitted into the canvas: the raw release is in pixels of many screens. Raises as `Sketch`."""
        return Sketch.from_strokes(fit(self.strokes), id)


class OwnRecord(NamedTuple):
    """One line of a set of one's own."""

    key_id: str
    photo: str
    split: str
    canvas: tuple[float, float] | None  # width and height of the paper
    strokes: Sequence[npt.NDArray[np.float64]]  # [p, 2] each

    def sketch(self, id: str) -> Sketch:
        """The drawing where it stands on its canvas, or fitted. Raises as `Sketch`; FormatError for points in -1..1."""
        if self.canvas is None or not self.strokes:
            return Sketch.from_strokes(fit(self.strokes), id)
        width, height = self.canvas
        scale = CANVAS / max(width, height)
        middle = np.array([width, height]) / 2
        points = np.concatenate(self.strokes)
        if max(width, height) >= 32 and np.abs(points).max() <= 1.5:
            low, high = points.min(), points.max()
            raise FormatError(
                f"all points lie between {low:.3g} and {high:.3g} on a canvas of {width:g} x {height:g}; give points "
                "in its units"
            )
        return Sketch.from_strokes([(stroke - middle) * scale + CANVAS / 2 for stroke in self.strokes], id)


class Line(NamedTuple):
    """Where a line stands."""

    number: int  # from 1
    offset: int  # bytes before it, unpacked
    content: bytes


def read_lines(path: str | os.PathLike[str]) -> Iterator[Line]:
    """Lines of a file that are not blank, one at a time; of a `.gz` unpacked.

    Raises:
        DataError: the file cannot be opened.
        FormatError: a damaged or truncated `.gz`.
        UnsafeFileError: a line over 8 MB; a `.gz` that unpacks to over 200 times its size.
    """
    try:
        packed = Path(path).suffix.lower() == ".gz"
        most = max(MAX_RATIO * os.path.getsize(path), FREE) if packed else math.inf
        with cast(BinaryIO, gzip.open(path, "rb") if packed else open(path, "rb")) as file:
            offset = number = 0
            while content := file.readline(MAX_LINE + 1):
                number += 1
                if len(content) > MAX_LINE:
                    raise UnsafeFileError(
                        f"{path}: line {number}: over {MAX_LINE // 1_000_000} MB; no drawing is that long, drop it"
                    )
                if content.removeprefix(BOM).strip():
                    yield Line(number, offset, content)
                offset += len(content)
                if offset > most:
                    raise UnsafeFileError(
                        f"{path}: line {number}: unpacks to over {MAX_RATIO} times its size; no drawings do, drop it"
                    )
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(f"{path}: a damaged or truncated .gz ({error}); write it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error


def parse(content: bytes) -> Record:
    """The drawing of one line: `word`, `key_id`, `drawing` of strokes [[x ..], [y ..]] or [[x ..], [y ..], [t ..]].

    Raises:
        FormatError: no such JSON, a key missing, twice or of the wrong type, numbers that are not finite, x and y of
            different lengths.
        ResourceError: more than 1,000,000 points or 10,000 strokes.
    """
    entry = _entry(content)
    word, key_id = (_text(entry, key) for key in ("word", "key_id"))
    if not _KEY.fullmatch(key_id):
        raise FormatError(f"'key_id' is {key_id[:20]!r}, not letters and digits; rename it")
    recognized = entry.get("recognized", True)
    if not isinstance(recognized, bool):
        raise FormatError(f"'recognized' is {str(recognized)[:20]!r}, neither true nor false; correct it")
    return Record(word, key_id, recognized, _drawing(entry))


def parse_own(content: bytes, number: str) -> OwnRecord:
    """The drawing of one line of a set of one's own: `drawing` as `parse`, and what else of its keys is there.

    Args:
        content: the line.
        number: its name where it has no `key_id`.

    Raises:
        FormatError, ResourceError: as `parse`; a canvas that is not [width, height], nothing on it.
    """
    entry = _entry(content)
    key_id, photo, split = (_text(entry, key) if key in entry else "" for key in ("key_id", "photo", "split"))
    if key_id and not _KEY.fullmatch(key_id):
        raise FormatError(f"'key_id' is {key_id[:20]!r}, not letters and digits; rename it")
    canvas = entry.get("canvas")
    if canvas is not None and not (
        isinstance(canvas, list) and len(canvas) == 2 and all(type(n) in (int, float) and 0 < n < 1e9 for n in canvas)
    ):
        raise FormatError("'canvas' is not [width, height]; give both as numbers above 0, or leave it out")
    return OwnRecord(key_id or number, photo, split, (canvas[0], canvas[1]) if canvas else None, _drawing(entry))


def _entry(content: bytes) -> dict[str, Any]:
    try:
        return json_object(content.removeprefix(BOM).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise FormatError(f"not UTF-8 at byte {error.start}; save it as UTF-8") from error


def json_object(text: str) -> dict[str, Any]:
    """The JSON object of one line. Raises FormatError: another thing, a key that stands twice, NaN or infinity."""
    try:
        entry = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except RecursionError as error:
        raise FormatError("brackets nested too deep; drop the line") from error
    except json.JSONDecodeError as error:
        raise FormatError(f"no whole JSON object ({error.msg} at column {error.colno}); correct the line") from error
    except ValueError as error:  # a whole number of thousands of digits
        raise FormatError("a number beyond all bounds; drop the line") from error
    if not isinstance(entry, dict):
        raise FormatError(f"holds a {type(entry).__name__}, not an object; correct the line")
    return entry


def _drawing(entry: dict[str, Any]) -> list[npt.NDArray[np.float64]]:
    drawing = entry.get("drawing")
    if not isinstance(drawing, list):
        fault = "has no list 'drawing'" if drawing is None else "'drawing' is no list of strokes"
        raise FormatError(f"{fault}; give it as [[[x ..], [y ..]], ..]")
    return _strokes(drawing)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for key, value in pairs:
        if key in entry:
            raise FormatError(f"has the key {key[:20]!r} twice; keep one of them")
        entry[key] = value
    return entry


def _constant(name: str) -> NoReturn:
    raise FormatError(f"{name} is no number of JSON; drop the line")


def _text(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and key == "key_id":
        value = str(value)
    if not isinstance(value, str) or not value:
        raise FormatError(f"has no {key!r}; add it" if value is None else f"{key!r} is no text; correct it")
    if not value.isprintable():  # lone surrogates, line breaks
        raise FormatError(f"{key!r} is {value[:20]!r}, which is no printable text; correct it")
    return value


def _strokes(drawing: list[Any]) -> list[npt.NDArray[np.float64]]:
    strokes, total = [], 0
    if len(drawing) > MAX_STROKES:
        raise ResourceError(f"{len(drawing):,} strokes; at most {MAX_STROKES:,} are accepted, thin it out")
    for number, stroke in enumerate(drawing, start=1):
        if not (isinstance(stroke, list) and len(stroke) in (2, 3) and all(isinstance(axis, list) for axis in stroke)):
            raise FormatError(
                f"stroke {number} is not [[x ..], [y ..]] or [[x ..], [y ..], [t ..]]; give its points as such lists"
            )
        lengths = [len(axis) for axis in stroke]
        if len(set(lengths)) > 1:
            raise FormatError(
                f"stroke {number} has {' and '.join(map(str, lengths))} values of x, y (and t); give each point all of "
                "them, or drop the stroke"
            )
        if not all(type(value) in (int, float) for axis in stroke[:2] for value in axis):
            raise FormatError(f"stroke {number} holds something that is no number; drop the point or correct it")
        total += lengths[0]
        if total > MAX_POINTS:
            raise ResourceError(f"over {MAX_POINTS:,} points; thin it out")
        try:
            points = np.array(stroke[:2], dtype=np.float64).T
        except OverflowError as error:
            raise FormatError(f"stroke {number} has a number beyond all bounds; drop the line") from error
        if not (np.abs(points) < 1e9).all():
            raise FormatError(f"stroke {number} has a coordinate that is not finite or beyond 1e9; drop the point")
        if len(points):
            strokes.append(points)
    return strokes


def at_line(path: str | os.PathLike[str], number: int, error: SketchlessError) -> SketchlessError:
    """The error of a line, with its place."""
    return type(error)(f"{path}: line {number}: {error}")
