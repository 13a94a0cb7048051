"""The sketch of a chair, as a person draws it: from memory of its photo, coarse things first, by habit.

The drawer sees the lines of the very chair on the photo, forgets some, misjudges the proportions and the
viewpoint, and puts the rest down with an unsteady hand. `NOISE` scales all of it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..hand import HIGH, LOW, by_hand, directed, even, fit, pieces, runs
from .build import build
from .habits import Habits, habits
from .measures import DRAWER, make_chair
from .solid import Array, Line
from .view import Camera, corners, fill, triangles, viewpoint

NOISE = 1.0  # 0 a draughtsman's copy, 1 a person, 2 a careless one: the one knob of difficulty

MAX_STROKES = 15
GLANCE = 128  # pixels, side of the picture in which hidden lines are found

# How likely a person of average care leaves out each kind of line; the likeliest go first when patience ends.
FORGET = {
    "cushion edge": 0.8, "back edge": 0.75, "apron": 0.75, "apron edge": 0.55, "arm edge": 0.5,
    "caster": 0.35, "back post": 0.25, "seat edge": 0.35, "stretcher": 0.3, "back rail": 0.3,
    "back inner": 0.2, "cushion": 0.15, "arm post": 0.08, "slat": 0.06, "cross": 0.04,
    "arm": 0.02, "leg": 0.02, "column": 0.01,
}  # fmt: skip


class Scene(NamedTuple):
    """A chair as its photographer saw it."""

    camera: Camera
    middle: Array  # [3] cm, the middle of the seat
    lines: list[Line]  # thinned to even steps
    seen: list[npt.NDArray[np.bool_]]  # which points of each line are in view


class Stroke(NamedTuple):
    """One planned movement of the pen, before the hand adds its faults."""

    points: Array  # [n, 2] pixels
    level: int  # 0 the coarse outline .. 5 the last detail
    kind: str


def drawing(seed: int, index: int, drawer: int, noise: float | None = None) -> list[Array]:
    """A drawer's sketch of a chair: 1 to 15 strokes float64 [p, 2], 40 to 500 points, pixels in 33..223.

    `noise` stands in for `NOISE`.
    """
    rng = np.random.default_rng([seed, index, DRAWER, drawer])
    person = habits(rng, NOISE if noise is None else noise)
    strokes = plan(rng, scene(seed, index), person)
    return fit([by_hand(rng, stroke.points, person.hand, 0.6 if stroke.level > 3 else 1.0) for stroke in strokes])


@lru_cache(maxsize=4)
def scene(seed: int, index: int) -> Scene:
    """The lines of a chair, and which of them can be seen from where its photo was taken."""
    chair = make_chair(seed, index)
    camera = viewpoint(seed, index, 0.5 * (chair.seat_height + chair.back_height))
    parts = build(chair, camera.eye)
    camera = camera.framed(corners(parts), (2.0, 2.0, GLANCE - 3.0, GLANCE - 3.0))
    faces = camera.project(np.concatenate([triangles(grid) for part in parts for grid in part.surfaces]))
    near, owner = np.zeros((GLANCE, GLANCE)), np.zeros((GLANCE, GLANCE), dtype=np.int32)
    fill(faces, np.zeros(len(faces), dtype=np.int32), near, owner, np.zeros((GLANCE, GLANCE, 0)))
    # A line on a contour belongs to the part it bounds, so it hides only behind what covers all around it.
    cover = near
    for axis in (0, 1):
        cover = np.minimum(np.minimum(np.roll(cover, 1, axis), np.roll(cover, -1, axis)), cover)

    lines = [replace(line, points=even(line.points, 1.6)) for part in parts for line in part.lines]
    x, y, closeness = camera.project(np.concatenate([line.points for line in lines])).T
    column, row = (np.rint(value).astype(np.int64).clip(0, GLANCE - 1) for value in (x, y))
    seen = cover[row, column] < closeness * (1 + 2.0 / camera.distance)
    middle = np.array([0.0, 0.0, chair.seat_height])
    return Scene(camera, middle, lines, np.split(seen, _bounds(lines)))


def _bounds(lines: list[Line]) -> Array:
    return np.cumsum([len(line.points) for line in lines])[:-1]


def plan(rng: np.random.Generator, view: Scene, person: Habits) -> list[Stroke]:
    """The strokes of a person, in the order in which they draw them, without the faults of the hand."""
    strokes: list[Stroke] = []
    for line, xy, in_view in zip(view.lines, _remembered(view, person), view.seen, strict=True):
        if rng.random() < FORGET.get(line.kind, 0.0) ** (0.35 + 1.3 * person.care):
            continue
        points, seen = xy, in_view
        if line.spine is not None and seen.mean() > 0.35:
            half = len(points) // 2
            left, right = points[:half], points[: -half - 1 : -1]
            thin = person.thin_bars * (1.5 if line.kind == "slat" else 1.0)
            if np.median(np.hypot(*(left - right).T)) < thin:
                points, seen = (left + right) / 2, seen[:half] | seen[: -half - 1 : -1]
        for run in runs(points, seen, gap=14.0 if line.level < 2 else 6.0):
            for piece in pieces(run, person.edges and line.level == 0):
                strokes.append(Stroke(directed(rng, piece, person.rightwards), line.level, line.kind))
    strokes = _joined(rng, _ordered(rng, strokes, person), person)
    return _finished(strokes, min(person.patience, MAX_STROKES))


def _remembered(view: Scene, person: Habits) -> list[Array]:
    """The lines of a chair as this person has them in mind, each [n, 2] pixels, filling 33..223."""
    camera = replace(
        view.camera,
        yaw=view.camera.yaw * person.frontal + person.yaw,
        pitch=max(view.camera.pitch + person.pitch, 2.0),
        distance=view.camera.distance * person.perspective,
    )
    offset = np.concatenate([line.points for line in view.lines]) - view.middle
    offset[:, :2] *= person.width
    offset[:, 2] *= np.where(offset[:, 2] > 0, person.height_back, person.height_legs)
    xy = camera.project(offset + view.middle)[:, :2]
    xy[:, 1] += person.shear * xy[:, 0]
    low, high = xy.min(axis=0), xy.max(axis=0)
    return np.split((xy - low) * ((HIGH - LOW) / (high - low).max()) + LOW, _bounds(view.lines))


def _ordered(rng: np.random.Generator, strokes: list[Stroke], person: Habits) -> list[Stroke]:
    """Coarse to fine; within a level by habit: the back or the seat first, then across the paper."""

    def key(stroke: Stroke) -> tuple[float, float, float]:
        level = float(stroke.level)
        if person.arms_first and stroke.kind == "arm":
            level = 0.5
        first = level == 0 and stroke.kind.startswith("back") != person.back_first
        across = float(stroke.points[:, 0].mean()) * (1 if person.rightwards else -1)
        return level, float(first), across + 5.0 * float(rng.normal())

    return sorted(strokes, key=key)


def _joined(rng: np.random.Generator, strokes: list[Stroke], person: Habits) -> list[Stroke]:
    """Strokes merged where the next one starts at the end of the last and the pen stays down."""
    merged: list[Stroke] = []
    for stroke in strokes:
        last = merged[-1] if merged else None
        if last and last.kind == stroke.kind != "slat" and rng.random() < person.joins:
            for candidate in (stroke.points, stroke.points[::-1]):
                if np.hypot(*(last.points[-1] - candidate[0])) < 10.0:
                    merged[-1] = last._replace(points=np.concatenate([last.points, candidate]))
                    break
            else:
                merged.append(stroke)
        else:
            merged.append(stroke)
    return merged


def _finished(strokes: list[Stroke], patience: int) -> list[Stroke]:
    """At most `patience` strokes: the forgettable kinds go first, of a kind the shortest.

    Of several slats those that stay are spread evenly: people draw fewer, not the left half of them.
    """
    kept = list(range(len(strokes)))
    while len(kept) > patience:
        kind = max((strokes[n].kind for n in kept), key=lambda kind: FORGET.get(kind, 0.0))
        same = [n for n in kept if strokes[n].kind == kind]
        stay = max(len(same) - (len(kept) - patience), 0)
        if kind == "slat":
            chosen = [same[int((k + 0.5) * len(same) / stay)] for k in range(stay)]
        else:
            chosen = sorted(same, key=lambda n: -len(strokes[n].points))[:stay]
        kept = [n for n in kept if n not in same or n in chosen]
    return [strokes[n] for n in kept]
