"""Shapes, lengths and transformations of SVG (W3C SVG 2, chapters 7 to 10)."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from .svg_path import MAX_CURVES, Curves, line, numbers, subpaths, too_long

Matrix = npt.NDArray[np.float64]  # [3, 3], of columns (x, y, 1)

PIXELS = {  # of a unit, at 96 dpi; of letters, at 16 px
    **{"": 1.0, "px": 1.0, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4, "q": 96 / 101.6, "pt": 96 / 72, "pc": 16.0},
    **{"em": 16.0, "rem": 16.0, "ex": 8.0, "ch": 8.0},
}
DEGREES = {"": 1.0, "deg": 1.0, "grad": 0.9, "rad": 180 / math.pi, "turn": 360.0}
SHAPES = ("path", "line", "polyline", "polygon", "circle", "ellipse", "rect")

_LENGTH = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(%|[A-Za-z]*)")
_FUNCTION = re.compile(r"[\s,]*([A-Za-z0-9]+)\s*\(([^()]*)\)")
_SIDES = {"left": 0.0, "top": 0.0, "center": 50.0, "right": 100.0, "bottom": 100.0}


class Viewport(NamedTuple):
    """What percentages are of; nan where nothing states it."""

    width: float = math.nan
    height: float = math.nan

    @property
    def diagonal(self) -> float:
        return math.hypot(self.width, self.height) / math.sqrt(2)


def length(text: str, whole: float) -> float:
    """A length in pixels; `whole` is 100 %. Raises FormatError: no length, or a percentage of what nothing states."""
    match = _LENGTH.fullmatch(text.strip()[:60])
    unit = match[2].lower() if match else ""
    if match is None or (unit != "%" and unit not in PIXELS):
        values = numbers(text)  # says what is wrong
        raise FormatError(f"{text[:20]!r} is not one number" if len(values) != 1 else f"{text[:20]!r} is no length")
    (value,) = numbers(match[1])
    if unit != "%":
        return value * PIXELS[unit]
    if math.isnan(whole):
        raise FormatError(f"{text[:20]!r} of a drawing without a size; give it a viewBox")
    return value / 100 * whole


def shape(name: str, attributes: Mapping[str, str], view: Viewport) -> list[Curves]:
    """Subpaths of one of `SHAPES`. Raises FormatError for numbers that are none, negative radii and sides."""

    def get(key: str, whole: float, default: str = "0") -> float:
        return length(attributes.get(key) or default, whole)

    if name == "path":
        data = attributes.get("d", "")
        return [] if data.strip() == "none" else subpaths(data)
    if name == "line":
        x1, x2 = get("x1", view.width), get("x2", view.width)
        y1, y2 = get("y1", view.height), get("y2", view.height)
        return [np.array([line(complex(x1, y1), complex(x2, y2))])]
    if name in ("polyline", "polygon"):
        return _corners(name, numbers(attributes.get("points", "")))
    if name == "rect":
        return _rect(attributes, view)
    cx, cy = get("cx", view.width), get("cy", view.height)
    if name == "circle":
        rx = ry = get("r", view.diagonal)
    else:
        rx, ry = _radii(attributes, view)
    if min(rx, ry) < 0:
        raise FormatError(f"<{name}> with a radius of {min(rx, ry):g}; correct it")
    if rx == 0 or ry == 0:
        return []
    return subpaths(
        f"M{cx + rx!r} {cy!r}A{rx!r} {ry!r} 0 0 1 {cx - rx!r} {cy!r}A{rx!r} {ry!r} 0 0 1 {cx + rx!r} {cy!r}"
    )


def transform(text: str, view: Viewport) -> Matrix:
    """A list of transformations as one matrix; the first named is the last applied.

    Args:
        text: of the attribute or of CSS; units are read in both.
        view: what percentages are of.

    Raises:
        FormatError: no such transformation, or one out of the plane.
    """
    total, place = np.eye(3), 0
    if text.strip() == "none":
        return total
    while match := _FUNCTION.match(text, place):
        total = total @ _function(match[1], match[2], view)
        place = match.end()
    if text[place:].strip():
        raise FormatError(f"transform {text[place:].strip()[:40]!r} cannot be read")
    return total


def about(matrix: Matrix, origin: str, view: Viewport) -> Matrix:
    """A transformation about a `transform-origin`. Raises FormatError for what is none."""
    words = origin.split()[:2] or ["0"]
    if words[0] in ("top", "bottom") or (len(words) == 2 and words[1] in ("left", "right")):
        words = [*words[1:], "center"][:1] + words[:1]
    x, y = (
        length(f"{_SIDES[word]}%" if word in _SIDES else word, whole)
        for word, whole in zip([*words, "center"][:2], view, strict=True)
    )
    return _moved(x, y) @ matrix @ _moved(-x, -y)


def viewbox(text: str) -> tuple[float, float, float, float]:
    """x, y, width and height. Raises FormatError for no area."""
    values = numbers(text)
    if len(values) != 4 or min(values[2:]) <= 0:
        raise FormatError(f"viewBox {text[:40]!r} has no area; give x, y, width and height")
    return values[0], values[1], values[2], values[3]


def fitted(
    box: tuple[float, float, float, float], place: tuple[float, float, float, float], aspect: str = "xMidYMid meet"
) -> Matrix:
    """The matrix that lays a view box on a place (both x, y, width, height), as `preserveAspectRatio` says."""
    x, y, width, height = box
    left, top, wide, high = place
    across, down = wide / width, high / height
    words = aspect.replace("defer", "").split() or ["xMidYMid"]
    if words[0] != "none":
        across = down = max(across, down) if "slice" in words else min(across, down)
    share = {"Min": 0.0, "Mid": 0.5, "Max": 1.0}
    right = share.get(words[0][1:4], 0.5) * (wide - across * width)
    below = share.get(words[0][5:8], 0.5) * (high - down * height)
    return np.array([[across, 0, left + right - across * x], [0, down, top + below - down * y], [0, 0, 1]])


def _corners(name: str, values: Sequence[float]) -> list[Curves]:
    if len(values) > 2 * MAX_CURVES:
        raise too_long()
    if len(values) % 2:
        raise FormatError(f"<{name}> with {len(values)} numbers, which are no pairs")
    corners = [complex(x, y) for x, y in zip(values[::2], values[1::2], strict=True)]
    corners += corners[:1] if name == "polygon" or len(corners) == 1 else []
    return [np.array([line(a, b) for a, b in itertools.pairwise(corners)])] if corners else []


def _radii(attributes: Mapping[str, str], view: Viewport) -> tuple[float, float]:
    """rx and ry; where only one is given, the other is the same."""
    given = {key: value for key in ("rx", "ry") if (value := attributes.get(key, "auto").strip()) not in ("auto", "")}
    radii = {key: length(value, view.width if key == "rx" else view.height) for key, value in given.items()}
    either = next(iter(radii.values()), 0.0)
    return radii.get("rx", either), radii.get("ry", either)


def _rect(attributes: Mapping[str, str], view: Viewport) -> list[Curves]:
    x, width = (length(attributes.get(key) or "0", view.width) for key in ("x", "width"))
    y, height = (length(attributes.get(key) or "0", view.height) for key in ("y", "height"))
    rx, ry = _radii(attributes, view)
    if min(width, height, rx, ry) < 0:
        raise FormatError(f"<rect> with a side or radius of {min(width, height, rx, ry):g}; correct it")
    if width == 0 or height == 0:
        return []
    rx, ry = min(rx, width / 2), min(ry, height / 2)
    if rx == 0 or ry == 0:
        return subpaths(f"M{x!r} {y!r}H{x + width!r}V{y + height!r}H{x!r}Z")
    arc = f"A{rx!r} {ry!r} 0 0 1"
    return subpaths(
        f"M{x + rx!r} {y!r}H{x + width - rx!r}{arc} {x + width!r} {y + ry!r}V{y + height - ry!r}"
        f"{arc} {x + width - rx!r} {y + height!r}H{x + rx!r}{arc} {x!r} {y + height - ry!r}V{y + ry!r}"
        f"{arc} {x + rx!r} {y!r}Z"
    )


def _moved(x: float, y: float) -> Matrix:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])


def _function(name: str, text: str, view: Viewport) -> Matrix:
    words = _words(name, text)

    def angle(word: str) -> float:
        match = _LENGTH.fullmatch(word)
        if match is None or match[2].lower() not in DEGREES:
            raise FormatError(f"transform {name[:20]!r} of {word[:20]!r}, which is no angle")
        return math.radians(numbers(match[1])[0] * DEGREES[match[2].lower()])

    def x(word: str) -> float:
        return length(word, view.width)

    def y(word: str) -> float:
        return length(word, view.height)

    def factor(word: str) -> float:
        if word.endswith("%"):
            return numbers(word[:-1])[0] / 100
        return length(word, math.nan) if not word[-1:].isalpha() else numbers(word)[0]

    name, words = _in_both_axes(name, words)
    match name, words:
        case "matrix", [a, b, c, d, e, f]:
            return np.array([[factor(a), factor(c), x(e)], [factor(b), factor(d), y(f)], [0, 0, 1]])
        case "translate", [across, down]:
            return _moved(x(across), y(down))
        case "scale", [across, down]:
            return np.array([[factor(across), 0, 0], [0, factor(down), 0], [0, 0, 1]])
        case "rotate", [turn, across, down]:
            cos, sin = math.cos(angle(turn)), math.sin(angle(turn))
            turned = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
            matrix: Matrix = _moved(x(across), y(down)) @ turned @ _moved(-x(across), -y(down))
            return matrix
        case "skew", [across, down]:
            return np.array([[1, math.tan(angle(across)), 0], [math.tan(angle(down)), 1, 0], [0, 0, 1]])
    raise FormatError(f"transform {name[:20]!r} of {len(words)} numbers is none of a plane")


def _in_both_axes(name: str, words: list[str]) -> tuple[str, list[str]]:
    """`translateX(1)` as `translate(1, 0)`, `scale(2)` as `scale(2, 2)`: each function with all that it takes."""
    neutral = "1" if name.startswith("scale") else "0"
    match name, words:
        case (("translateX" | "scaleX" | "skewX"), [word]):
            return name[:-1], [word, neutral]
        case (("translateY" | "scaleY" | "skewY"), [word]):
            return name[:-1], [neutral, word]
        case (("translate" | "skew"), [word]):
            return name, [word, "0"]
        case "scale", [word]:
            return name, [word, word]
        case "rotate", [word]:
            return name, [word, "0", "0"]
    return name, words


def _words(name: str, text: str) -> list[str]:
    """Numbers with their units, parted by commas, spaces or nothing."""
    rest = _LENGTH.sub("", text).strip(" \t\r\n\f,")
    if rest:
        raise FormatError(f"transform {name[:20]!r} of {rest[:20]!r}, which is no number")
    return [match[0] for match in _LENGTH.finditer(text)]
