"""Sketches from SVG files of unknown origin: what can be seen of their lines, each where it stands.

Own code, as no library draws right and withstands hostile files at once: `svgelements` 1.9.6 drops damaged path data
without a word, takes `nan` for a point, draws hidden ink, ends in a RecursionError in nested groups and does not come
back from `<use>` in `<use>`; `svgpathtools` and `svg.path` know neither styles nor viewports. Style sheets go through
`tinycss2`.
"""

from __future__ import annotations

import logging
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt

from ..errors import DataError, FormatError, ResourceError, SketchlessError, UnsafeFileError
from ..sketch import CANVAS, MAX_POINTS, MAX_STROKES, Sketch
from .canvas import fit
from .svg_document import FOREIGN, MAX_DEPTH, parse_document
from .svg_path import MAX_CURVES, Curves, chords, too_long
from .svg_shapes import SHAPES, Matrix, Viewport, about, fitted, length, shape, transform, viewbox
from .svg_style import Style, Styles, hidden, ink

MAX_BYTES = 4_000_000  # a drawing has tens of thousands
MAX_VISITS = 50_000  # of elements, those behind each <use> included

GROUPS = ("g", "a", "svg", "switch")
NO_INK = {  # is not drawn where it stands, and is no loss
    *("defs", "symbol", "marker", "metadata", "title", "desc", "script", "style", "view", "linearGradient"),
    *("radialGradient", "pattern", "filter", "clipPath", "mask", "cursor", "font", FOREIGN),
    *("animate", "animateMotion", "animateTransform", "set"),
}
Box = tuple[float, float, float, float]  # x, y, width, height

_log = logging.getLogger(__name__)


def read_svg(path: str | os.PathLike[str], id: str | None = None, stretch: bool = False) -> Sketch:
    """Read the lines of an SVG that can be seen, each subpath a stroke, in document order.

    Paths and all basic shapes, `use`, nested `svg`, styles and transformations are drawn; curves become chords at most
    0.1 px off. Of a filled shape the outline is drawn. The view box (or width and height) fills the canvas; without
    any, the drawing does. What is seen but not drawn (text, pictures) is logged as a warning.

    Args:
        path: the file, UTF-8 or UTF-16.
        id: of the sketch; by default the path.
        stretch: fill the canvas in x and y alike, instead of keeping the aspect.

    Raises:
        DataError: the file cannot be opened.
        FormatError: no SVG, nothing drawn, damaged numbers or paths, a view box without area, all off the canvas.
        UnsafeFileError: entities, a document type elsewhere than at w3.org, over 4 MB, over 256 levels.
        ResourceError: more than 1,000,000 points, 100,000 curves, 10,000 strokes or 50,000 elements.
    """
    sketch, left_out = read_svg_counted(path, id, stretch)
    if left_out:
        _log.warning("%s: left out %s", path, ", ".join(f"{count} {what}" for what, count in left_out.items()))
    return sketch


def read_svg_counted(
    path: str | os.PathLike[str], id: str | None = None, stretch: bool = False
) -> tuple[Sketch, dict[str, int]]:
    """As `read_svg`, with what was left out and how often."""
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
            picture = _Picture(parse_document(content))
            strokes = _strokes(picture, stretch)
    except SketchlessError as error:
        raise type(error)(f"{path}: {error}") from error.__cause__
    return Sketch.from_strokes(strokes, id), dict(picture.left_out)


class _Task(NamedTuple):
    """An element to draw, and what it is drawn in."""

    element: Element
    matrix: Matrix
    view: Viewport
    style: Style
    depth: int


@dataclass
class _Picture:
    """What an SVG draws: subpaths with their matrices, its view box, and what was left out."""

    root: Element
    box: Box | None = None
    drawn: list[tuple[Curves, Matrix]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.box = _root_box(self.root.attrib)
        self._styles = Styles.of(self.root)
        self._by_id: dict[str, Element] = {}
        for element in self.root.iter():
            if (id := element.get("id")) is not None:
                self._by_id.setdefault(id, element)
        self._curves = visits = 0
        view = Viewport(*self.box[2:]) if self.box else Viewport()
        tasks = [_Task(self.root, np.eye(3), view, {}, 0)]
        while tasks:
            task = tasks.pop()
            visits += 1
            if visits > MAX_VISITS or task.depth > MAX_DEPTH:
                raise UnsafeFileError("<use> upon <use> draws without end; save it as plain SVG")
            tasks += reversed(list(self._draw(task)))
        self.left_out += self._styles.left_out  # drops what was left out 0 times

    def _draw(self, task: _Task) -> Iterator[_Task]:
        """Draw an element; gives those to be drawn in it."""
        element, name = task.element, task.element.tag
        if name in NO_INK:
            return
        style = self._styles.style(element, task.style)
        if hidden(style):
            return
        if not _applies(element.attrib):
            self.left_out["parts for other languages or viewers"] += 1
            return
        matrix = task.matrix
        if "transform" in style:
            own = transform(style["transform"], task.view)
            if "transform-origin" in style:
                own = about(own, style["transform-origin"], task.view)
            matrix = matrix @ own
        for what in ("clip-path", "mask"):
            if element.get(what, "none") != "none":
                self.left_out[what] += 1
        task = task._replace(matrix=matrix, style=style)
        if name in SHAPES:
            self._shape(task)
        elif name == "use":
            yield from self._use(task)
        elif name in GROUPS:
            yield from self._inside(task, element.attrib)
        else:
            self.left_out[f"<{name[:20]}>"] += 1

    def _shape(self, task: _Task) -> None:
        seen = ink(task.style)
        if seen == "white":
            self.left_out["white shapes"] += 1
        if seen != "ink":
            return
        for curves in shape(task.element.tag, task.element.attrib, task.view):
            self._curves += len(curves)
            self.drawn.append((curves, task.matrix))
            if self._curves > MAX_CURVES or len(self.drawn) > MAX_STROKES:
                raise too_long()

    def _use(self, task: _Task) -> Iterator[_Task]:
        attributes = task.element.attrib
        target = self._by_id.get(attributes.get("href", "").strip().removeprefix("#"))
        if target is None or not attributes["href"].strip().startswith("#"):
            self.left_out["<use> of what is not there"] += 1
            return
        x, y = length(attributes.get("x") or "0", task.view.width), length(attributes.get("y") or "0", task.view.height)
        task = task._replace(matrix=task.matrix @ fitted((0, 0, 1, 1), (x, y, 1, 1)), depth=task.depth + 1)
        if target.tag in ("symbol", "svg"):
            sizes = {key: value for key, value in attributes.items() if key in ("width", "height")}
            style = self._styles.style(target, task.style)
            if not hidden(style):
                yield from self._inside(task._replace(element=target, style=style), {**target.attrib, **sizes})
        else:
            yield task._replace(element=target)

    def _inside(self, task: _Task, attributes: Mapping[str, str]) -> Iterator[_Task]:
        """What a group or a viewport holds."""
        matrix, view = task.matrix, task.view
        if task.element.tag in ("svg", "symbol") and task.element is not self.root:
            x, width = (length(attributes.get(k) or d, view.width) for k, d in (("x", "0"), ("width", "100%")))
            y, height = (length(attributes.get(k) or d, view.height) for k, d in (("y", "0"), ("height", "100%")))
            if min(width, height) <= 0:
                return
            box = viewbox(attributes["viewBox"]) if "viewBox" in attributes else (0.0, 0.0, width, height)
            aspect = attributes.get("preserveAspectRatio", "")
            matrix, view = matrix @ fitted(box, (x, y, width, height), aspect), Viewport(*box[2:])
        children = list(task.element)
        if task.element.tag == "switch":  # the first that applies, as viewers do; if none does, it is told of
            drawn = [child for child in children if child.tag not in NO_INK and child.tag != "foreignObject"]
            children = ([child for child in drawn if _applies(child.attrib)] or drawn)[:1]
        for child in children:
            yield _Task(child, matrix, view, task.style, task.depth + 1)


def _applies(attributes: Mapping[str, str]) -> bool:
    """Whether an English viewer without extensions draws an element; of features it has all, as SVG 2 says."""
    languages = [language.strip().casefold() for language in attributes.get("systemLanguage", "en").split(",")]
    return "requiredExtensions" not in attributes and any(one == "en" or one.startswith("en-") for one in languages)


def _root_box(attributes: Mapping[str, str]) -> Box | None:
    if "viewBox" in attributes:
        return viewbox(attributes["viewBox"])
    sides = [attributes.get(key, "100%").strip() for key in ("width", "height")]
    if any(side.endswith("%") or side == "auto" for side in sides):
        return None
    width, height = (length(side, math.nan) for side in sides)
    if min(width, height) <= 0:
        raise FormatError(f"width {width:g} and height {height:g} have no area; correct them")
    return 0.0, 0.0, width, height


def _strokes(picture: _Picture, stretch: bool) -> list[npt.NDArray[np.float64]]:
    if not picture.drawn:
        more = f" ({', '.join(picture.left_out)} left out)" if picture.left_out else ""
        raise FormatError(f"draws no line that can be seen{more}; leave it out")
    if picture.box is None:
        return fit(_points(picture, np.eye(3)))
    return _points(picture, fitted(picture.box, (0, 0, CANVAS, CANVAS), "none" if stretch else "xMidYMid"))


def _points(picture: _Picture, canvas: Matrix) -> list[npt.NDArray[np.float64]]:
    strokes, total = [], 0
    for curves, matrix in picture.drawn:
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
