"""From a sketch to its frames, by way of a birth map.

A drawing only grows, so one uint8 image holds all its frames: for every pixel the first frame in which it
has ink. The ink is the paper's: Bresenham lines between consecutive points of a stroke, thickened by a
3 x 3 cross (Bhunia et al., CVPR 2020, released code).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .compiled import compiled
from .errors import ConfigError
from .sketch import CANVAS, MAX_STEPS, Drawing, RasterSketch

NEVER = 255

ByteArray = npt.NDArray[np.uint8]


def birth_map(sketch: Drawing, knots: npt.ArrayLike, size: int = CANVAS, paper_exact: bool = True) -> ByteArray:
    """First frame in which each pixel has ink.

    Args:
        sketch: the drawing; ink beyond the canvas is cut off. The ink of a `RasterSketch` is there from
            the first frame on.
        knots: int [T], T <= 254, not decreasing: frame t shows the points before `knots[t]`.
        size: side of the canvas in pixels.
        paper_exact: leave out lines in row 0 and column 0, as the paper's released code does (the
            thickening may still reach them).

    Returns:
        uint8 [size, size], rows are y; 255 where there is never ink.

    Raises:
        ConfigError: more than 254 knots, or decreasing ones; a picture on another canvas.
    """
    steps = np.asarray(knots, dtype=np.int64)
    if steps.ndim != 1 or not 1 <= len(steps) <= MAX_STEPS or (np.diff(steps) < 0).any():
        raise ConfigError(f"knots must be 1 to {MAX_STEPS} numbers that do not decrease, not {steps.tolist()[:5]}...")
    if isinstance(sketch, RasterSketch):
        if size != CANVAS:
            raise ConfigError(f"sketch {sketch.id!r} is a picture of {CANVAS} px; it cannot be drawn at {size}")
        born: ByteArray = np.where(sketch.ink, np.uint8(0), np.uint8(NEVER))
        return born
    birth = np.full((size, size), NEVER, dtype=np.uint8)
    points = np.rint(sketch.points).astype(np.int64)
    _draw(points, sketch.pen_up, steps, 1 if paper_exact else 0, birth)
    return birth


def frames(birth: ByteArray, steps: int) -> ByteArray:
    """All frames of a birth map: uint8 [T, H, W], ink 255 on 0; frame t is `birth <= t`."""
    out = np.empty((steps, *birth.shape), dtype=np.uint8)
    _write(birth, out)
    return out


@compiled
def _draw(points, pen_up, knots, low, birth):  # type: ignore[no-untyped-def]
    size = birth.shape[0]
    frame = 0
    for i in range(len(points)):
        while frame < len(knots) and knots[frame] <= i:
            frame += 1
        if frame == len(knots):
            return
        start = i if i == 0 or pen_up[i - 1] else i - 1
        x0, y0 = points[start, 0], points[start, 1]
        x1, y1 = points[i, 0], points[i, 1]
        dx, dy = abs(x1 - x0), abs(y1 - y0)
        step_x, step_y = (1 if x1 > x0 else -1), (1 if y1 > y0 else -1)
        long, short = max(dx, dy), min(dx, dy)
        # Only the steps whose pixel can lie on the canvas: a point may be 1e5 pixels away.
        main, way = (x0, step_x) if dx > dy else (y0, step_y)
        first, last = (-main, size - 1 - main) if way > 0 else (main - size + 1, main)
        for k in range(max(first, 0), min(last, long) + 1):
            # Bresenham's error term, solved for the number of side steps after k steps ahead.
            side = (2 * short * k + long) // (2 * max(long, 1))
            x = x0 + step_x * (k if dx > dy else side)
            y = y0 + step_y * (side if dx > dy else k)
            if low <= x < size and low <= y < size:
                # The ink of one pixel, thickened: the pixel and its four neighbours.
                birth[y, x] = min(birth[y, x], frame)
                if x > 0 and frame < birth[y, x - 1]:
                    birth[y, x - 1] = frame
                if x + 1 < size and frame < birth[y, x + 1]:
                    birth[y, x + 1] = frame
                if y > 0 and frame < birth[y - 1, x]:
                    birth[y - 1, x] = frame
                if y + 1 < size and frame < birth[y + 1, x]:
                    birth[y + 1, x] = frame


@compiled
def _write(birth, out):  # type: ignore[no-untyped-def]
    flat, rows = birth.ravel(), out.reshape(out.shape[0], -1)
    for t in range(rows.shape[0]):
        row, now = rows[t], np.uint8(t)  # bytes throughout: 32 pixels at a time
        for i in range(flat.size):
            row[i] = np.uint8(255) if flat[i] <= now else np.uint8(0)
