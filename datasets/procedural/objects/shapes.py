"""The vocabulary of the object set: filled areas and rods, and the curves that bound them.

An object is a list of shapes from the back to the front. Photo and sketch are made from the same list.
Coordinates are of any unit, x to the right and y downwards; angles are degrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from ..hand import Array

Colour = tuple[float, float, float]  # RGB, 0..1
Point = tuple[float, float]
T = TypeVar("T")

WHITE, CREAM, DARK, GREY = (0.93, 0.93, 0.92), (0.93, 0.87, 0.74), (0.15, 0.15, 0.17), (0.52, 0.53, 0.55)
STEEL, BRASS, WOOD, BARK = (0.66, 0.69, 0.73), (0.76, 0.62, 0.30), (0.62, 0.42, 0.24), (0.40, 0.28, 0.19)
RED, ORANGE, GREEN, GLASS = (0.78, 0.17, 0.15), (0.92, 0.52, 0.14), (0.27, 0.50, 0.20), (0.70, 0.84, 0.92)


@dataclass(frozen=True, eq=False)
class Shape:
    """An area or a rod.

    Attributes:
        path: [n, 2]; closed where the last point is the first.
        colour: in the photo, before light falls on it.
        level: 0 the main outline, 1 parts, 2 details, 3 what a hasty drawer leaves out.
        width: thickness of a rod along the path; 0 for the area within the path.
    """

    path: Array
    colour: Colour
    level: int
    width: float = 0.0

    @property
    def closed(self) -> bool:
        return bool(np.abs(self.path[0] - self.path[-1]).max() < 1e-9)


def area(path: Array, colour: Colour, level: int = 1) -> Shape:
    """All that lies within a path."""
    return Shape(path, colour, level)


def rod(path: Array, width: float, colour: Colour, level: int = 1) -> Shape:
    """A bar, pipe, cord or mark along a path."""
    return Shape(path, colour, level, width)


# ---- curves, each float64 [n, 2] -----------------------------------------------------------------------


def line(*points: Point) -> Array:
    """Straight from point to point."""
    return np.array(points, dtype=np.float64)


def polygon(*points: Point) -> Array:
    """Straight from point to point and back to the first."""
    return line(*points, points[0])


def box(left: float, top: float, right: float, bottom: float) -> Array:
    """An upright rectangle."""
    return polygon((left, top), (right, top), (right, bottom), (left, bottom))


def trapezium(top: float, upper: float, bottom: float, lower: float) -> Array:
    """A flat top and a flat bottom at these heights, half as wide as `upper` and `lower` say, around x = 0."""
    return polygon((-upper, top), (upper, top), (lower, bottom), (-lower, bottom))


def ellipse(x: float, y: float, rx: float, ry: float | None = None, start: float = 0, stop: float = 360) -> Array:
    """An ellipse around (x, y), or its arc from `start` to `stop`; 0 is right and 90 is down."""
    turn = np.radians(np.linspace(start, stop, 33))
    path = np.stack([x + rx * np.cos(turn), y + (rx if ry is None else ry) * np.sin(turn)], -1)
    if stop - start == 360:
        path[-1] = path[0]
    return path


def spline(*points: Point) -> Array:
    """A smooth curve through points (Catmull-Rom); a point given twice is a corner; closed if it ends as it began."""
    knots = np.array(points, dtype=np.float64)
    closed = bool((knots[0] == knots[-1]).all())
    corners = np.flatnonzero((knots[1:] == knots[:-1]).all(-1)) + 1
    if closed and len(corners):  # begin at a corner, so that the seam is none
        first = corners[0]
        knots = np.concatenate([knots[first:-1], knots[:first], knots[first : first + 1]])
        corners = np.flatnonzero((knots[1:] == knots[:-1]).all(-1)) + 1
    runs = [run for run in np.split(knots, corners) if len(run) > 1]
    return np.concatenate([runs[0][:1], *(_smooth(run, closed and not len(corners))[1:] for run in runs)])


def _smooth(knots: Array, closed: bool) -> Array:
    first, last = (knots[-2], knots[1]) if closed else (knots[0], knots[-1])
    padded = np.concatenate([[first], knots, [last]])
    # Hermite form: the curve leaves p_k along (p_{k+1} - p_{k-1}) / 2.
    slope = (padded[2:] - padded[:-2]) / 2
    t = np.linspace(0, 1, 9)[None, 1:, None]
    p, q, m, n = knots[:-1, None], knots[1:, None], slope[:-1, None], slope[1:, None]
    pieces = (2 * t**3 - 3 * t**2 + 1) * p + (t**3 - 2 * t**2 + t) * m + (3 * t**2 - 2 * t**3) * q + (t**3 - t**2) * n
    return np.concatenate([knots[:1], pieces.reshape(-1, 2)])


def symmetric(*right: Point) -> Array:
    """The closed spline whose right half goes through these points; its mirror image in x = 0 is the left one.

    Where the half begins or ends beside the axis, the outline goes straight across, with corners.
    """
    (top, _), (foot, _) = right[0], right[-1]
    half = [*right[: 1 if top else 0], *right, *right[-1 if foot else len(right) :]]
    left = [(-x, y) for x, y in reversed(half)]
    # A point on the axis stands in both halves.
    return spline(*half, *(left if foot else left[1:]), *(half[:1] if top else ()))


def flipped(path: Array) -> Array:
    """The mirror image in x = 0."""
    return np.asarray(path * [-1.0, 1.0])


def shifted(path: Array, x: float, y: float) -> Array:
    """Moved to the right and down."""
    moved: Array = path + np.array([x, y])
    return moved


def half_width(path: Array, y: float) -> float:
    """Half the width of a symmetric outline at a height, taken as the mean of what lies near."""
    right = path[path[:, 0] >= 0]
    right = right[np.argsort(right[:, 1], kind="stable")]
    return float(np.interp(y, right[:, 1], right[:, 0]))


def turned(path: Array, degrees: float, around: Point = (0.0, 0.0)) -> Array:
    """Turned clockwise, as one sees it, about a point."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.asarray((path - around) @ np.array([[c, s], [-s, c]]) + around)


def sides(path: Array, width: float) -> tuple[Array, Array]:
    """The two borders of a rod."""
    ahead = np.gradient(path, axis=0)
    if np.abs(path[0] - path[-1]).max() < 1e-9:
        ahead[0] = ahead[-1] = path[1] - path[-2]
    ahead /= np.maximum(np.hypot(*ahead.T), 1e-9)[:, None]
    aside = ahead[:, ::-1] * [-width / 2, width / 2]
    return path + aside, path - aside


# ---- whole objects -------------------------------------------------------------------------------------


def moved(shapes: Sequence[Shape], matrix: Array, shift: npt.ArrayLike = (0.0, 0.0)) -> list[Shape]:
    """Every point p of the shapes at matrix p + shift."""
    thicker = float(np.sqrt(abs(np.linalg.det(matrix))))
    return [replace(s, path=s.path @ matrix.T + shift, width=s.width * thicker) for s in shapes]


def tilted(shapes: Sequence[Shape], degrees: float) -> list[Shape]:
    """The whole object turned clockwise."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return moved(shapes, np.array([[c, -s], [s, c]]))


def extent(shapes: Sequence[Shape]) -> tuple[Array, Array]:
    """The upper left and the lower right corner of an object, [2] each."""
    low = np.min([s.path.min(axis=0) - s.width / 2 for s in shapes], axis=0)
    high = np.max([s.path.max(axis=0) + s.width / 2 for s in shapes], axis=0)
    return low, high


def framed(shapes: Sequence[Shape], low: float, high: float) -> list[Shape]:
    """Scaled and moved so that the longer side fills low..high, centred both ways."""
    top, bottom = extent(shapes)
    scale = (high - low) / float((bottom - top).max())
    return moved(shapes, np.eye(2) * scale, (low + high) / 2 - scale * (top + bottom) / 2)


def on_top(shapes: Sequence[Shape], size: int) -> npt.NDArray[np.uint8]:
    """Which shape each pixel shows: 1 for the first shape of the list and so on, 0 for none; [size, size]."""
    image = Image.new("L", (size, size))
    pen = ImageDraw.Draw(image)
    for number, shape in enumerate(shapes, start=1):
        xy = shape.path.ravel().tolist()
        if not shape.width:
            pen.polygon(xy, fill=number)
            continue
        thick = max(round(shape.width), 1)
        pen.line(xy, fill=number, width=thick, joint="curve")
        if thick > 2 and not shape.closed:  # round ends
            for x, y in (shape.path[0], shape.path[-1]):
                pen.circle((x, y), thick / 2, fill=number)
    return np.array(image)


# ---- colours -------------------------------------------------------------------------------------------


def like(rng: np.random.Generator, colour: Colour, spread: float = 0.06) -> Colour:
    """A colour near this one, lighter or darker more than of another hue."""
    r, g, b = np.clip(np.array(colour) * np.exp(rng.normal(0, 2 * spread)) + rng.normal(0, spread / 2, 3), 0.04, 0.97)
    return float(r), float(g), float(b)


def one_of(rng: np.random.Generator, *choices: T) -> T:
    """One of these."""
    return choices[rng.integers(len(choices))]


def any_colour(rng: np.random.Generator) -> Colour:
    """A colour of paint, cloth or glaze: of any hue, from pale to strong."""
    turn = 2 * np.pi * (rng.random() + np.array([0.0, 1 / 3, 2 / 3]))
    value, strength = rng.uniform(0.35, 0.9), rng.uniform(0.15, 0.95)
    r, g, b = value * (1 - strength * (0.5 - 0.5 * np.cos(turn)))
    return float(r), float(g), float(b)
