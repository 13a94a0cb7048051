"""The sketch of an object, as a person draws it: from memory of its photo, outline first, details if patience lasts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ...sketch import CANVAS
from ..hand import HIGH, LOW, STEP, Array, Hand, a_hand, by_hand, directed, even, fit, pieces, runs
from .catalogue import make_object, stream
from .shapes import Shape, framed, moved, on_top, sides

GLANCE = 2  # canvas pixels per pixel of the picture in which hidden lines are found
MAX_STROKES = 24
FORGET = {0: 0.0, 1: 0.01, 2: 0.2, 3: 0.5}  # how likely a person of average care leaves out a shape, by its level


@dataclass(frozen=True)
class Drawer:
    """How one person draws."""

    upright: float  # share of the object's slant that is drawn; people straighten things
    slope: float  # radians, error of the remembered slant
    aspect: float  # widths are drawn this many times too wide
    warp: Array  # [3, 3, 2] pixels by which regions of the object are moved: misjudged proportions
    hand: Hand
    care: float  # 0 draws the outline only .. 1 draws all that they see
    patience: int  # strokes after which they call it finished
    thin: float  # pixels; thinner rods become a single line
    corners: bool  # lifts the pen at sharp corners of the outline
    rightwards: bool


def a_drawer(rng: np.random.Generator, noise: float) -> Drawer:
    """A person at random, whose faults are `noise` times the usual."""

    def error(spread: float) -> float:
        return float(noise * spread * np.clip(rng.normal(), -2.2, 2.2))

    return Drawer(
        upright=float(np.exp(-noise * rng.uniform(0.0, 0.6))),
        slope=error(0.05),
        aspect=float(np.exp(error(0.08))),
        warp=np.clip(noise * rng.normal(0, 4.0, (3, 3, 2)), -20, 20),
        hand=replace(a_hand(rng, noise), spacing=rng.uniform(8.0, 14.0)),  # finer than that of chairs: small parts
        care=float(np.clip(1 - noise * rng.uniform(0.0, 0.8), 0, 1)),
        patience=int(rng.integers(9, MAX_STROKES + 1)),
        thin=rng.uniform(5.0, 13.0),
        corners=bool(rng.random() < 0.25),
        rightwards=bool(rng.random() < 0.8),
    )


class Stroke(NamedTuple):
    """One planned movement of the pen, before the hand adds its faults."""

    points: Array  # [n, 2] pixels
    level: int


class View(NamedTuple):
    """An object as it is seen."""

    shapes: list[Shape]  # on the canvas
    cover: npt.NDArray[np.uint8]  # the number of the shape that hides all before it there, by half pixels
    pose: Array  # [2, 2]


def drawing(seed: int, category: str, index: int, drawer: int, noise: float = 1.0) -> list[Array]:
    """A drawer's sketch of an object: 1 to 24 strokes float64 [p, 2], 40 to 500 points, pixels in 33..223.

    Args:
        seed, category, index: which object.
        drawer: which person.
        noise: 0 a draughtsman's copy, 1 a person, 2 a careless one.
    """
    rng = stream(seed, category, index, "drawer", drawer)
    person = a_drawer(rng, noise)
    strokes = plan(rng, view(seed, category, index), person)
    return fit([by_hand(rng, stroke.points, person.hand, 1.0 if stroke.level < 2 else 0.6) for stroke in strokes])


@lru_cache(maxsize=4)
def view(seed: int, category: str, index: int) -> View:
    """The shapes of an object on the canvas, and which of them can be seen where."""
    thing = make_object(seed, category, index)
    shapes = framed(thing.shapes, LOW, HIGH)
    small = moved(shapes, np.eye(2) / GLANCE)
    # A border lies between two shapes, so it hides only behind what covers all around it.
    cover = on_top(small, CANVAS // GLANCE)
    for axis in (0, 1):
        cover = np.minimum(np.minimum(np.roll(cover, 1, axis), np.roll(cover, -1, axis)), cover)
    return View(shapes, cover, thing.pose)


def plan(rng: np.random.Generator, seen: View, person: Drawer) -> list[Stroke]:
    """The strokes of a person, in the order in which they draw them, without the faults of the hand."""
    strokes: list[Stroke] = []
    for number, shape in enumerate(seen.shapes, start=1):
        if shape.level < 0 or rng.random() < FORGET[shape.level] ** (0.35 + 1.3 * person.care):
            continue
        for border in (even(path, STEP) for path in _lines(shape, person.thin)):
            column, row = (border / GLANCE).astype(np.int64).clip(0, CANVAS // GLANCE - 1).T
            for run in runs(border, seen.cover[row, column] <= number, gap=10.0):
                for piece in pieces(run, person.corners and shape.level == 0):
                    strokes.append(Stroke(directed(rng, piece, person.rightwards), shape.level))
    strokes = _finished(_ordered(rng, strokes, person), person.patience)
    ends = np.cumsum([len(stroke.points) for stroke in strokes])[:-1]
    recalled = _remembered(np.concatenate([stroke.points for stroke in strokes]), seen.pose, person)
    return [stroke._replace(points=xy) for stroke, xy in zip(strokes, np.split(recalled, ends), strict=True)]


def _lines(shape: Shape, thin: float) -> list[Array]:
    """What the pen follows: the border of an area, the middle of a thin rod, the two sides of a thick one."""
    if shape.width < thin:
        return [shape.path]
    left, right = sides(shape.path, shape.width)
    return [left, right] if shape.closed else [np.concatenate([left, right[::-1], left[:1]])]


def _ordered(rng: np.random.Generator, strokes: list[Stroke], person: Drawer) -> list[Stroke]:
    """Outline, parts, details; within a level across the paper, more or less."""
    ahead = 1.0 if person.rightwards else -1.0

    def key(stroke: Stroke) -> tuple[int, float]:
        return stroke.level, ahead * float(stroke.points[:, 0].mean()) + 5.0 * float(rng.normal())

    return sorted(strokes, key=key)


def _finished(strokes: list[Stroke], patience: int) -> list[Stroke]:
    """At most `patience` strokes: of the last level the shortest go first."""
    worth = sorted(range(len(strokes)), key=lambda n: (strokes[n].level, -len(strokes[n].points)))
    return [strokes[n] for n in sorted(worth[:patience])]


def _remembered(points: Array, pose: Array, person: Drawer) -> Array:
    """Points [n, 2] as this person has them in mind: straightened, and with misjudged proportions."""
    middle = (LOW + HIGH) / 2
    away = points - middle
    # From the pose towards the upright: upright 1 keeps it, 0 takes it away.
    slant = person.upright * pose + (1 - person.upright) * np.eye(2)
    away = away @ np.linalg.inv(pose).T @ slant.T * [person.aspect, 1.0]
    c, s = np.cos(person.slope), np.sin(person.slope)
    away = away @ np.array([[c, s], [-s, c]])
    x, y = np.clip((away + HIGH - middle) / (HIGH - LOW), 0, 1).T[..., None] * 2
    # Bilinear between the nine regions, as weights of a quadratic would overshoot.
    wx = np.maximum(1 - np.abs(x - np.arange(3)), 0)
    wy = np.maximum(1 - np.abs(y - np.arange(3)), 0)
    return np.asarray(middle + away + np.einsum("ni,nj,ijk->nk", wy, wx, person.warp))
