"""A vector sketch and the schedules that reveal it piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import ConfigError, FormatError, ResourceError, unknown_name

CANVAS = 256  # side of the square every sketch lives in, pixels
MAX_STEPS = 254  # a birth map is uint8 and 255 means "never drawn"
MAX_POINTS = 1_000_000
MAX_STROKES = 10_000  # of a file; what is given as rows may have more
MAX_INK = 0.5  # share of a picture
MAX_COORDINATE = 1e5  # pixels; beyond this a coordinate is a fault, not a drawing

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Sketch:
    """One drawing: where the pen went, and where it was lifted.

    Attributes:
        points: float32 [P, 2], x and y in pixels of a 256 x 256 canvas, in drawing order.
        pen_up: bool [P], True on the last point of each stroke.
        id: unique name within its data set.
    """

    points: FloatArray
    pen_up: BoolArray
    id: str = ""

    def __len__(self) -> int:
        return len(self.points)

    @property
    def n_strokes(self) -> int:
        return int(self.pen_up.sum())

    def content(self) -> bytes:
        """What is drawn, for checksums."""
        return self.points.tobytes() + self.pen_up.tobytes()

    def strokes(self) -> list[FloatArray]:
        """Points of each stroke, list of float32 [p, 2]."""
        return np.split(self.points, np.flatnonzero(self.pen_up) + 1)[:-1]

    @classmethod
    def from_rows(cls, rows: npt.ArrayLike, id: str = "") -> Sketch:
        """Build a sketch from rows of (x, y, pen-up flag), checking everything.

        Args:
            rows: [P, 3] of any real dtype, byte order or memory layout. P = 0 gives an empty sketch.
                A last point without its flag ends its stroke all the same.
            id: name used in error messages.

        Raises:
            FormatError: not [P, 3], not real numbers, masked or not finite values, flags other than
                0 and 1, coordinates beyond 1e5, or nothing inside the canvas.
            ResourceError: more than 1,000,000 points.
        """
        where = f"sketch {id!r}"
        array = _real_numbers(rows, where)
        if array.size == 0:
            array = np.zeros((0, 3))
        if array.ndim != 2 or array.shape[1] != 3:
            raise FormatError(f"{where}: shape {array.shape} is not [points, 3]; give (x, y, pen-up) per point")
        if len(array) > MAX_POINTS:
            raise ResourceError(f"{where}: {len(array):,} points; at most {MAX_POINTS:,} are accepted, thin it out")
        array = array.astype(np.float64)
        faults = np.argwhere(~np.isfinite(array))
        if len(faults):
            row, column = faults[0]
            raise FormatError(f"{where}: point {row} has {array[row, column]} as its {['x', 'y', 'pen-up'][column]}")
        xy, pen = array[:, :2], array[:, 2]
        far = np.flatnonzero(np.abs(xy).max(axis=1, initial=0) > MAX_COORDINATE)
        if len(far):
            raise FormatError(f"{where}: point {far[0]} lies at {xy[far[0]].tolist()}; limit is {MAX_COORDINATE:g} px")
        flags = np.flatnonzero((pen != 0) & (pen != 1))
        if len(flags):
            raise FormatError(f"{where}: point {flags[0]} has pen-up flag {pen[flags[0]]:g}; it must be 0 or 1")
        if len(xy) and not ((xy >= 0) & (xy < CANVAS)).all(axis=1).any():
            low, high = xy.min(axis=0).tolist(), xy.max(axis=0).tolist()
            raise FormatError(
                f"{where}: all points lie outside the {CANVAS} px canvas (x {low[0]:g}..{high[0]:g}, "
                f"y {low[1]:g}..{high[1]:g}); rescale it"
            )
        pen_up = pen.astype(bool)
        pen_up[-1:] = True
        points = xy.astype(np.float32)
        # Rounding to float32 may carry 100.4999999 to 100.5 and so into the next pixel: step back.
        pixel = np.rint(xy).astype(np.float32)
        points = np.where(np.rint(points) == pixel, points, np.nextafter(points, pixel))
        return cls(points, pen_up, id)

    @classmethod
    def from_strokes(cls, strokes: Sequence[npt.ArrayLike], id: str = "") -> Sketch:
        """Build a sketch from strokes [p, 2] each; empty strokes are dropped. Raises as `from_rows`."""
        rows = []
        for stroke in strokes:
            xy = _real_numbers(stroke, f"sketch {id!r}").astype(np.float64)
            if xy.size == 0:
                continue
            if xy.ndim != 2 or xy.shape[1] != 2:
                raise FormatError(f"sketch {id!r}: a stroke has shape {xy.shape}, not [points, 2]")
            pen = np.zeros((len(xy), 1))
            pen[-1] = 1
            rows.append(np.hstack([xy, pen]))
        return cls.from_rows(np.concatenate(rows) if rows else np.zeros((0, 3)), id)


@dataclass(frozen=True, eq=False)
class RasterSketch:
    """A drawing of which only the picture is left, so that it has one frame and no strokes.

    Attributes:
        ink: bool [256, 256], rows are y.
        id: unique name within its data set.
    """

    ink: BoolArray
    id: str = ""

    @property
    def n_strokes(self) -> int:
        return 0

    def __len__(self) -> int:
        return 0

    def content(self) -> bytes:
        """What is drawn, for checksums."""
        return self.ink.tobytes()

    def strokes(self) -> list[FloatArray]:
        """None: empty list."""
        return []

    @classmethod
    def from_picture(cls, picture: npt.NDArray[np.uint8], id: str = "", invert: bool = False) -> RasterSketch:
        """Build a sketch from a scan: dark ink on a light ground, fitted into the canvas, aspect kept.

        A canvas pixel has ink where the darkest pixel that falls on it is in the darker half, so that
        shrinking breaks no thin line.

        Args:
            picture: uint8 [H, W] or [H, W, 3], of any size.
            id: name used in error messages.
            invert: light ink on a dark ground.

        Raises:
            FormatError: another shape or dtype, no ink at all, or more ink than ground.
        """
        if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or 0 in picture.shape:
            found = f"{picture.dtype} {picture.shape}"
            raise FormatError(f"sketch {id!r}: a picture is uint8 [H, W] or [H, W, 3], not {found}")
        dark = (picture < 128) if picture.ndim == 2 else (picture.sum(axis=2, dtype=np.uint16) < 128 * picture.shape[2])
        dark ^= invert
        share, colour = float(dark.mean()), "light" if invert else "dark"
        if share == 0:
            raise FormatError(f"sketch {id!r}: the picture has no {colour} ink; draw dark on white")
        if share > MAX_INK:
            raise FormatError(
                f"sketch {id!r}: {share:.0%} of the picture is {colour}, more than a drawing's ink; if it is light on "
                f"dark, load it with invert={'false' if invert else 'true'}"
            )
        height, width = dark.shape
        scale = CANVAS / max(height, width)
        top, left = (CANVAS - height * scale) / 2, (CANVAS - width * scale) / 2
        ink = np.zeros((CANVAS, CANVAS), dtype=bool)
        if scale > 1:  # every canvas pixel looks at the pixel under its centre
            place = np.arange(CANVAS) + 0.5
            y, x = (np.floor((place - edge) / scale).astype(np.int64) for edge in (top, left))
            rows, columns = np.flatnonzero((y >= 0) & (y < height)), np.flatnonzero((x >= 0) & (x < width))
            ink[np.ix_(rows, columns)] = dark[np.ix_(y[rows], x[columns])]
        else:  # every dark pixel marks the canvas pixel that it falls on
            rows, columns = np.nonzero(dark)
            y, x = (rows * scale + top).astype(np.int64), (columns * scale + left).astype(np.int64)
            ink[np.minimum(y, CANVAS - 1), np.minimum(x, CANVAS - 1)] = True
        return cls(ink, id)


def _real_numbers(values: npt.ArrayLike, where: str) -> npt.NDArray[Any]:
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise FormatError(f"{where}: has masked values; fill or drop them first")
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError) as error:
        raise FormatError(f"{where}: points differ in length or are no numbers; give each the same columns") from error
    if array.dtype.kind not in "fiub":
        raise FormatError(f"{where}: dtype {array.dtype} is not a real number; give (x, y, pen-up) as floats")
    return array


Drawing = Sketch | RasterSketch
"""Of strokes, or a picture."""


def reveal(sketch: Drawing, schedule: str = "points", steps: int = 20) -> IntArray:
    """Knots of a reveal schedule: frame t (from 0) shows the points before `knots[t]`.

    Args:
        sketch: the drawing, P points; one frame under every schedule if only its picture is left.
        schedule: `"points"`: equal shares of the points, the paper's protocol, always exactly `steps`
            frames. As in its released code, a frame also shows the point at its share's end: frame t
            shows points 0 to round(P (t + 1) / T), the last one all. `"strokes"`: one stroke a step,
            at most 254 frames (the last takes the rest); `"ink"`: equal shares of pen travel, always
            exactly `steps` frames.
        steps: T, 1 to 254; ignored by `"strokes"`.

    Returns:
        int64 [T], not decreasing, in 0..P, the last one P.

    Raises:
        ConfigError: unknown schedule or `steps` out of range.
    """
    check_schedule(schedule, steps)
    if isinstance(sketch, RasterSketch):
        return np.zeros(1, dtype=np.int64)
    total = len(sketch)
    if schedule == "points" or total == 0:
        ends = np.round(np.linspace(0, total, steps + 1))[1:].astype(np.int64)
        return np.minimum(ends + 1, total)
    if schedule == "strokes":
        ends = (np.flatnonzero(sketch.pen_up) + 1)[:MAX_STEPS].astype(np.int64)
        ends[-1] = total
        return ends
    # Travel counts the pen on paper only: the move to a new stroke draws nothing.
    moves = np.linalg.norm(np.diff(sketch.points.astype(np.float64), axis=0), axis=1)
    travel = np.concatenate([[0.0], np.cumsum(np.where(sketch.pen_up[:-1], 0.0, moves))])
    shares = travel[-1] * np.arange(1, steps + 1) / steps
    knots: npt.NDArray[np.int64] = np.searchsorted(travel, shares, side="right").astype(np.int64)
    knots[-1] = total
    return knots


def check_schedule(schedule: str, steps: int) -> None:
    """Refuse what `reveal` would refuse of any sketch. Raises ConfigError: unknown schedule or `steps` out of range."""
    if schedule not in SCHEDULES:
        raise unknown_name("reveal schedule", schedule, SCHEDULES)
    if not 1 <= steps <= MAX_STEPS:
        raise ConfigError(f"steps={steps}: an episode has 1 to {MAX_STEPS} frames")


SCHEDULES = ("points", "strokes", "ink")
"""What `reveal` knows: shares of the points, a stroke at a time, shares of the ink."""
