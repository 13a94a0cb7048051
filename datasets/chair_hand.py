"""The drawer of a chair: the habits of a person and the faults of a hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .chair_solid import Array

LOW, HIGH = 33.0, 223.0  # the longer side of a drawing fills this span of the canvas, pixels
MIN_POINTS, MAX_POINTS = 40, 500
STEP = 2.5  # pixels between the points of a line before the pen's timing thins them


@dataclass(frozen=True)
class Habits:
    """How one person draws."""

    frontal: float  # share of the chair's turn that is drawn; people turn things to the front
    yaw: float  # degrees, error of the remembered viewpoint
    pitch: float  # degrees, the same
    perspective: float  # the drawer's distance / the camera's
    height_back: float  # heights above the seat are drawn this many times too high
    height_legs: float  # the same below the seat
    width: float  # the same sideways
    shear: float  # slope given to horizontal lines
    wobble: float  # pixels, slow unsteadiness along a stroke
    jitter: float  # pixels, of every point
    misplace: float  # pixels, of whole strokes
    overshoot: float  # pixels, mean by which strokes run too far (or, negative, stop short)
    spacing: float  # pixels between points at full speed
    corner_care: float  # 0 same speed everywhere .. 1 nearly stops at corners
    care: float  # 0 draws the outline only .. 1 draws all that they see
    patience: int  # strokes after which they call it finished
    thin_bars: float  # pixels; thinner bars become a single line
    edges: bool  # draws corners as separate strokes rather than closed outlines
    joins: float  # chance that the pen stays down where two strokes meet
    back_first: bool
    arms_first: bool
    rightwards: bool


def habits(rng: np.random.Generator, noise: float) -> Habits:
    """A person at random, whose faults are `noise` times the usual."""

    def error(spread: float) -> float:
        return float(noise * spread * np.clip(rng.normal(), -2.2, 2.2))

    edges = bool(rng.random() < 0.2)
    return Habits(
        frontal=float(np.exp(-noise * rng.uniform(0.0, 0.4))),
        yaw=error(6.0),
        pitch=error(4.0),
        perspective=float(np.exp(error(0.25))),
        height_back=float(np.exp(error(0.09))),
        height_legs=float(np.exp(error(0.11))),
        width=float(np.exp(error(0.07))),
        shear=error(0.03),
        wobble=noise * rng.uniform(1.0, 2.6),
        jitter=noise * rng.uniform(0.1, 0.6),
        misplace=noise * rng.uniform(1.0, 3.2),
        overshoot=noise * rng.uniform(-3.0, 3.5),
        spacing=rng.uniform(12.0, 20.0),
        corner_care=rng.uniform(0.4, 0.8),
        care=float(np.clip(1 - noise * rng.uniform(0.0, 0.75), 0, 1)),
        patience=int(rng.integers(6, 16)) + 3 * edges,
        thin_bars=rng.uniform(3.0, 9.0),
        edges=edges,
        joins=rng.uniform(0.1, 0.9),
        back_first=bool(rng.random() < 0.55),
        arms_first=bool(rng.random() < 0.25),
        rightwards=bool(rng.random() < 0.8),
    )


def lengths(path: Array) -> Array:
    """Travel along a polyline [n, k] up to each of its points, [n]."""
    moves = path[1:] - path[:-1]
    travel = np.zeros(len(path))
    np.cumsum(np.sqrt((moves * moves).sum(-1)), out=travel[1:])
    return travel


def sample(path: Array, at: Array) -> Array:
    """A polyline [n, k] between its points: `at` counts from 0 to n - 1, [m] -> [m, k]."""
    first = np.minimum(at.astype(np.int64), len(path) - 2)
    return path[first] + (at - first)[:, None] * (path[first + 1] - path[first])


def even(path: Array, step: float) -> Array:
    """A polyline [n, k] with points about every `step`, first and last kept."""
    travel = lengths(path)
    count = max(int(np.ceil(travel[-1] / step)), 2) + 1
    places: Array = np.interp(np.arange(count) * (travel[-1] / (count - 1)), travel, np.arange(len(path)))
    return sample(path, places)


def turning(points: Array, reach: int) -> Array:
    """Angle in radians by which a line turns around each point, [n]; 0 near its ends."""
    angle = np.zeros(len(points))
    if len(points) > 2 * reach:
        before = points[reach:-reach] - points[: -2 * reach]
        after = points[2 * reach :] - points[reach:-reach]
        cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
        angle[reach:-reach] = np.abs(np.arctan2(cross, (before * after).sum(-1)))
    return angle


def by_hand(rng: np.random.Generator, line: Array, person: Habits, haste: float = 1.0) -> Array:
    """A line [n, 2] as it comes out on paper: misplaced, unsteady, its points dense where the pen was slow.

    `haste` below 1 is for details, which are set down with more attention.
    """
    line = _ends(rng, even(line, STEP), person)
    n = len(line)
    length = n * STEP
    speed = 1 - person.corner_care * np.minimum(turning(line, 3) / 1.2, 1)
    from_end = np.minimum(np.arange(n), np.arange(n)[::-1]) * STEP
    speed *= np.minimum(0.5 + from_end / 60, 1) * min(person.spacing, 2 + length / 5)
    clock = np.cumsum(STEP / speed)
    clock -= clock[0]
    count = max(int(np.rint(clock[-1])), 1) + 1
    points = sample(line, np.interp(np.arange(count) * (clock[-1] / (count - 1)), clock, np.arange(n)))

    # A slow drift, less of it in short strokes, which are steadier.
    knots = max(int(length / 45), 1) + 2
    drift = haste * min(1.0, 0.35 + length / 120) * rng.normal(0, person.wobble, (knots, 2))
    points += sample(drift, np.linspace(0, knots - 1, count))

    middle = points.mean(axis=0)
    misplace = haste * person.misplace
    turn = np.radians(misplace * rng.normal())
    turned = (points - middle) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    turned *= np.exp(0.015 * misplace * rng.normal(size=2))
    shift = np.clip(misplace * rng.normal(size=2), -8, 8)
    return np.asarray(turned + middle + shift + rng.normal(0, person.jitter, points.shape))


def _ends(rng: np.random.Generator, line: Array, person: Habits) -> Array:
    """The line with its last stretch run too far or stopped short."""
    reach = person.overshoot + (1.5 * rng.normal() if person.overshoot else 0.0)
    steps = int(np.rint(reach / STEP))
    if len(line) < 8 or steps == 0:
        return line
    if steps < 0:
        return line[: max(steps, -3)]
    way = line[-1] - line[-4]
    way = way / max(float(np.hypot(*way)), 1e-9) * STEP
    return np.concatenate([line, line[-1] + way * np.arange(1, min(steps, 4) + 1)[:, None]])


def fit(strokes: list[Array]) -> list[Array]:
    """A drawing centred in the canvas, its longer side filling 33..223, with 40 to 500 points."""
    every = np.concatenate(strokes)
    low, high = every.min(axis=0), every.max(axis=0)
    scale = (HIGH - LOW) / (high - low).max()
    fitted = [(stroke - (low + high) / 2) * scale + (LOW + HIGH) / 2 for stroke in strokes]
    while (total := sum(map(len, fitted))) < MIN_POINTS:
        fitted = [sample(stroke, np.arange(0, len(stroke) - 0.75, 0.5)) for stroke in fitted]
    if total > MAX_POINTS:
        share = MAX_POINTS / total
        fitted = [sample(s, np.linspace(0, len(s) - 1, max(int(len(s) * share), 2))) for s in fitted]
    return [np.round(stroke, 2) for stroke in fitted]
