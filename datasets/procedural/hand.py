"""The hand that draws: from a line as it is meant to the points that a pen leaves."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LOW, HIGH = 33.0, 223.0  # the longer side of a drawing fills this span of the canvas, pixels
MIN_POINTS, MAX_POINTS = 40, 500
STEP = 2.5  # pixels between the points of a line before the pen's timing thins them


@dataclass(frozen=True)
class Hand:
    """The faults of one person's hand."""

    wobble: float  # pixels, slow unsteadiness along a stroke
    jitter: float  # pixels, of every point
    misplace: float  # pixels, of whole strokes
    overshoot: float  # pixels, mean by which strokes run too far (or, negative, stop short)
    spacing: float  # pixels between points at full speed
    corner_care: float  # 0 same speed everywhere .. 1 nearly stops at corners


def a_hand(rng: np.random.Generator, noise: float) -> Hand:
    """A hand at random, whose faults are `noise` times the usual."""
    return Hand(
        wobble=noise * rng.uniform(1.0, 2.6),
        jitter=noise * rng.uniform(0.1, 0.6),
        misplace=noise * rng.uniform(1.0, 3.2),
        overshoot=noise * rng.uniform(-3.0, 3.5),
        spacing=rng.uniform(12.0, 20.0),
        corner_care=rng.uniform(0.4, 0.8),
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
    points: Array = path[first] + (at - first)[:, None] * (path[first + 1] - path[first])
    return points


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


def runs(points: Array, seen: npt.NDArray[np.bool_], gap: float) -> list[Array]:
    """The visible stretches of a line; hidden ones shorter than `gap` pixels are drawn all the same."""
    places = np.flatnonzero(seen)
    if len(places) < 2:
        return []
    closed = np.abs(points[0] - points[-1]).max() < 1e-6
    if closed and len(places) < len(seen):
        # Start where a hidden stretch ends, so that no run is cut by the seam.
        rises = np.flatnonzero(seen[1:] & ~seen[:-1])
        start = int(rises[0]) + 1 if len(rises) else 0
        points, seen = np.roll(points[:-1], -start, axis=0), np.roll(seen[:-1], -start)
        places = np.flatnonzero(seen)
    travel = lengths(points)
    breaks = np.flatnonzero((np.diff(places) > 1) & (np.diff(travel[places]) > gap)) + 1
    ends = [(part[0], part[-1]) for part in np.split(places, breaks)]
    return [points[a : b + 1] for a, b in ends if travel[b] - travel[a] > 7.0]


def pieces(run: Array, split: bool) -> list[Array]:
    """A run, or its sides if the drawer lifts the pen at sharp corners."""
    line = even(run, STEP)
    if not split:
        return [line]
    angle = turning(line, 4)
    sharp = np.flatnonzero(angle > 0.8)
    peaks = [int(n) for n in sharp if angle[n] == angle[max(n - 6, 0) : n + 7].max()]
    cuts = [0, *peaks, len(line) - 1]
    return [line[a : b + 1] for a, b in pairwise(cuts) if b - a > 3]


def directed(rng: np.random.Generator, points: Array, rightwards: bool) -> Array:
    """Started from the end where this person would put the pen down."""
    ahead = 1.0 if rightwards else -1.0
    way = points[-1] - points[0]
    if np.hypot(*way) < STEP:
        start = int(np.argmin(points @ [0.6 * ahead, 1.0]))
        points = np.concatenate([points[start:], points[1 : start + 1]])
        return points[::-1] if rng.random() < 0.5 else points
    forward = bool(way[1] + 0.8 * ahead * way[0] > 0)
    return points if forward == (rng.random() < 0.88) else points[::-1]


def by_hand(rng: np.random.Generator, line: Array, hand: Hand, haste: float = 1.0) -> Array:
    """A line [n, 2] as it comes out on paper: misplaced, unsteady, its points dense where the pen was slow.

    `haste` below 1 is for details, which are set down with more attention.
    """
    line = _ends(rng, even(line, STEP), hand)
    n = len(line)
    length = n * STEP
    speed = 1 - hand.corner_care * np.minimum(turning(line, 3) / 1.2, 1)
    from_end = np.minimum(np.arange(n), np.arange(n)[::-1]) * STEP
    speed *= np.minimum(0.5 + from_end / 60, 1) * min(hand.spacing, 2 + length / 5)
    clock = np.cumsum(STEP / speed)
    clock -= clock[0]
    count = max(int(np.rint(clock[-1])), 1) + 1
    points = sample(line, np.interp(np.arange(count) * (clock[-1] / (count - 1)), clock, np.arange(n)))

    # A slow drift, less of it in short strokes, which are steadier.
    knots = max(int(length / 45), 1) + 2
    drift = haste * min(1.0, 0.35 + length / 120) * rng.normal(0, hand.wobble, (knots, 2))
    points += sample(drift, np.linspace(0, knots - 1, count))

    middle = points.mean(axis=0)
    misplace = haste * hand.misplace
    turn = np.radians(misplace * rng.normal())
    turned = (points - middle) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    turned *= np.exp(0.015 * misplace * rng.normal(size=2))
    shift = np.clip(misplace * rng.normal(size=2), -8, 8)
    return np.asarray(turned + middle + shift + rng.normal(0, hand.jitter, points.shape))


def _ends(rng: np.random.Generator, line: Array, hand: Hand) -> Array:
    """The line with its last stretch run too far or stopped short."""
    reach = hand.overshoot + (1.5 * rng.normal() if hand.overshoot else 0.0)
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
