"""Sketches from SVG files of unknown origin.

The parser declares no entity, opens no other file and calls no function of itself; what is not a line on paper
(scripts, images, styles) is passed over.
"""

from __future__ import annotations

import itertools
import math
import os
import re
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

import numpy as np
import numpy.typing as npt

from ..errors import DataError, FormatError, ResourceError, SketchlessError, UnsafeFileError
from ..sketch import CANVAS, MAX_POINTS, Sketch
from .canvas import fit
from .svg_path import Curves, chords, line, numbers, subpaths

MAX_BYTES = 20_000_000
MAX_DEPTH = 256
W3C = re.compile(r"https?://www\.w3\.org/")  # the one document type that a drawing has a reason to name

UNDRAWN = {"defs", "clipPath", "mask", "symbol", "pattern", "marker", "metadata", "title", "desc", "script", "style"}
Matrix = npt.NDArray[np.float64]  # [3, 3], of columns (x, y, 1)

_TRANSFORM = re.compile(r"[\s,]*([A-Za-z]+)\s*\(([^()]*)\)")
_LENGTH = re.compile(r"([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*(?:px|pt|pc|mm|cm|in)?")


def read_svg(path: str | os.PathLike[str], id: str | None = None, stretch: bool = False) -> Sketch:
    """Read the lines of an SVG: paths, lines, polylines and polygons, each subpath a stroke, in document order.

    Curves become chords at most 0.1 px off. The view box (or width and height) fills the canvas; without any, the
    drawing does. An end tag of the root that is missing, as in some released files, is forgiven.

    Args:
        path: the file, UTF-8 or UTF-16.
        id: of the sketch; by default the path.
        stretch: fill the canvas in x and y alike, instead of keeping the aspect.

    Raises:
        DataError: the file cannot be opened.
        FormatError: no SVG, nothing drawn, damaged numbers or paths, a view box without area, all off the canvas.
        UnsafeFileError: entities, a document type elsewhere than at w3.org, over 20 MB, over 256 levels.
        ResourceError: more than 1,000,000 points.
    """
    id = str(path) if id is None else id
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    if len(content) > MAX_BYTES:
        raise UnsafeFileError(f"{path}: over {MAX_BYTES // 1_000_000} MB; no sketch is that long, leave it out")
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # what has gone beyond all bounds is refused in `_moved`
            document = _Document()
            document.parse(content)
            strokes = _strokes(document, stretch)
    except SketchlessError as error:
        raise type(error)(f"{path}: {error}") from error.__cause__
    return Sketch.from_strokes(strokes, id)


@dataclass
class _Document:
    """What an SVG draws: subpaths with their matrices, and the view box."""

    box: tuple[float, float, float, float] | None = None  # x, y, width, height
    drawn: list[tuple[Curves, Matrix]] = field(default_factory=list)
    _matrices: list[Matrix] = field(default_factory=list)
    _undrawn: int = 0  # depth within what is not drawn
    _curves: int = 0
    _root_end: str = ""

    def parse(self, content: bytes) -> None:
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = _document_type
        parser.EntityDeclHandler = _entity
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        try:
            parser.Parse(content, False)
            parser.Parse(self._root_end.encode() if len(self._matrices) == 1 else b"", True)
        except expat.ExpatError as error:
            place = f"line {error.lineno}, column {error.offset + 1}"
            reason = expat.errors.messages[error.code]
            raise FormatError(f"no readable XML ({reason} at {place}); get the file again") from error
        except (LookupError, ValueError, UnicodeError) as error:
            raise FormatError("no readable XML (unknown encoding); save it as UTF-8") from error

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        tag, name = name, name.removeprefix("svg:")
        if not self._matrices:
            if name != "svg":
                raise FormatError(f"holds <{name[:20]}>, not <svg>; is it a drawing?")
            self.box, self._root_end = _box(attributes), f"</{tag}>"
        if len(self._matrices) >= MAX_DEPTH:
            raise UnsafeFileError(f"elements nested over {MAX_DEPTH} deep; flatten its groups")
        matrix = self._matrices[-1] if self._matrices else np.eye(3)
        self._matrices.append(matrix @ _transform(attributes.get("transform", "")))
        if self._undrawn or name in UNDRAWN or attributes.get("display") == "none":
            self._undrawn += 1
            return
        for curves in _shape(name, attributes):
            self._curves += len(curves)
            if self._curves > MAX_POINTS:
                raise UnsafeFileError(f"over {MAX_POINTS:,} curves; no sketch is that long, leave it out")
            self.drawn.append((curves, self._matrices[-1]))

    def _end(self, name: str) -> None:
        self._matrices.pop()
        self._undrawn = max(self._undrawn - 1, 0)


def _document_type(name: str, system: str | None, public: str | None, subset: int) -> None:
    if system and not W3C.match(system):
        raise UnsafeFileError(f"its document type lies at {system[:60]!r}, which is never fetched; drop the DOCTYPE")


def _entity(name: str, *rest: Any) -> None:
    raise UnsafeFileError(
        f"declares the entity {name[:20]!r}, as Illustrator does; entities are not expanded, save it as plain SVG"
    )


def _shape(name: str, attributes: dict[str, str]) -> list[Curves]:
    if name == "path":
        return subpaths(attributes.get("d", ""))
    if name == "line":
        x1, y1, x2, y2 = (_number(attributes.get(key, "0")) for key in ("x1", "y1", "x2", "y2"))
        return [np.array([line(complex(x1, y1), complex(x2, y2))])]
    if name not in ("polyline", "polygon"):
        return []
    values = numbers(attributes.get("points", ""))
    if len(values) % 2:
        raise FormatError(f"<{name}> with {len(values)} numbers, which are no pairs")
    corners = [complex(x, y) for x, y in zip(values[::2], values[1::2], strict=True)]
    corners += corners[:1] if name == "polygon" or len(corners) == 1 else []
    return [np.array([line(a, b) for a, b in itertools.pairwise(corners)])] if corners else []


def _strokes(document: _Document, stretch: bool) -> list[npt.NDArray[np.float64]]:
    if not document.drawn:
        raise FormatError("draws no line; leave it out")
    if document.box is None:
        return fit(_points(document, np.eye(3)))
    x, y, width, height = document.box
    across, down = CANVAS / width, CANVAS / height
    if not stretch:
        across = down = min(across, down)
    left, top = CANVAS / 2 - across * (x + width / 2), CANVAS / 2 - down * (y + height / 2)
    return _points(document, np.array([[across, 0, left], [0, down, top], [0, 0, 1]]))


def _points(document: _Document, canvas: Matrix) -> list[npt.NDArray[np.float64]]:
    strokes, total = [], 0
    for curves, matrix in document.drawn:
        strokes.append(chords(_moved(curves, canvas @ matrix)))
        total += len(strokes[-1])
        if total > MAX_POINTS:
            raise ResourceError(f"over {MAX_POINTS:,} points along its curves, thin it out")
    return strokes


def _moved(curves: Curves, matrix: Matrix) -> Curves:
    (a, c, e), (b, d, f), _ = matrix
    moved: Curves = a * curves.real + c * curves.imag + e + 1j * (b * curves.real + d * curves.imag + f)
    if not (np.abs(moved.view(np.float64)) < 1e9).all():
        raise FormatError("points beyond any canvas once they are transformed; check its numbers")
    return moved


def _box(attributes: dict[str, str]) -> tuple[float, float, float, float] | None:
    if "viewBox" in attributes:
        values = numbers(attributes["viewBox"])
        if len(values) != 4 or min(values[2:]) <= 0:
            raise FormatError(f"viewBox {attributes['viewBox'][:40]!r} has no area; give x, y, width and height")
        return values[0], values[1], values[2], values[3]
    sides = [_LENGTH.fullmatch(attributes.get(key, "")[:40].strip()) for key in ("width", "height")]
    if not all(sides):
        return None
    width, height = (_number(side[1]) for side in sides if side)
    if min(width, height) <= 0:
        raise FormatError(f"width {width:g} and height {height:g} have no area; correct them")
    return 0.0, 0.0, width, height


def _number(text: str) -> float:
    values = numbers(text.removesuffix("px"))
    if len(values) != 1:
        raise FormatError(f"{text[:20]!r} is not one number")
    return values[0]


def _transform(text: str) -> Matrix:
    """A list of transformations as one matrix; the first named is the last applied (SVG 1.1, section 7.6)."""
    total, place = np.eye(3), 0
    while match := _TRANSFORM.match(text, place):
        total = total @ _one_transform(match[1], numbers(match[2]))
        place = match.end()
    if text[place:].strip():
        raise FormatError(f"transform {text[place:].strip()[:40]!r} cannot be read")
    return total


def _one_transform(name: str, values: list[float]) -> Matrix:
    match name, values:
        case "matrix", [a, b, c, d, e, f]:
            return np.array([[a, c, e], [b, d, f], [0, 0, 1]])
        case "translate", [x, *rest] if len(rest) < 2:
            return np.array([[1, 0, x], [0, 1, *(rest or [0.0])], [0, 0, 1]])
        case "scale", [x, *rest] if len(rest) < 2:
            return np.array([[x, 0, 0], [0, *(rest or [x]), 0], [0, 0, 1]])
        case "rotate", [angle, *centre] if len(centre) in (0, 2):
            x, y = centre or (0.0, 0.0)
            cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            return np.array([[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y], [0, 0, 1]])
        case "skewX", [angle]:
            return np.array([[1, math.tan(math.radians(angle)), 0], [0, 1, 0], [0, 0, 1]])
        case "skewY", [angle]:
            return np.array([[1, 0, 0], [math.tan(math.radians(angle)), 1, 0], [0, 0, 1]])
    raise FormatError(f"transform {name[:20]!r} of {len(values)} numbers is none of SVG's")
