"""Frames of a sketch in plain Python, for the benchmark and the tests, and those that the paper's released code saves.

It shares no code with `sketchless.datasets`. The released script itself has 18 knots, so 17 frames; with 21 knots the
same rule gives the 20 frames of the paper's figures.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_dilation


def plain_frames(
    points: npt.NDArray[np.float32], pen_up: npt.NDArray[np.bool_], knots: npt.ArrayLike, size: int = 256
) -> npt.NDArray[np.uint8]:
    """Draw point after point on one canvas and thicken it anew for every frame.

    Args:
        points: [P, 2], x and y in pixels.
        pen_up: [P], True on a stroke's last point.
        knots: int [T], not decreasing: frame t shows the points before `knots[t]`.
        size: side of the canvas in pixels.

    Returns:
        uint8 [T, size, size], ink 255 on 0.
    """
    pixels = np.round(points).astype(int).tolist()
    canvas = np.zeros((size, size), dtype=bool)
    shown, frames = 0, []
    for knot in np.asarray(knots).tolist():
        for i in range(shown, knot):
            start = i if i == 0 or pen_up[i - 1] else i - 1
            for x, y in bresenham(*pixels[start], *pixels[i]):
                if 0 < x < size and 0 < y < size:  # the released code never draws in row 0 and column 0
                    canvas[y, x] = True
        shown = max(shown, knot)
        frames.append(binary_dilation(canvas).astype(np.uint8) * 255)
    return np.stack(frames)


def released_frames(
    points: npt.NDArray[np.float32], pen_up: npt.NDArray[np.bool_], steps: int = 20
) -> list[npt.NDArray[np.uint8]]:
    """Frames [256, 256] that the released code saves: right after each point whose number is a knot, and at the end.

    A sketch of fewer points than steps has fewer frames, as there.
    """
    total = len(points)
    knots = set(np.round(np.linspace(0, total, steps + 1))[1:].astype(int).tolist())
    saved = [number for number in range(total) if number in knots]
    return list(plain_frames(points, pen_up, [number + 1 for number in [*saved, total - 1]]))


def bresenham(x0: int, y0: int, x1: int, y1: int) -> Iterator[tuple[int, int]]:
    """Pixels (x, y) of a line, both ends included."""
    dx, dy = x1 - x0, y1 - y0
    step_x, step_y = (1 if dx > 0 else -1), (1 if dy > 0 else -1)
    dx, dy = abs(dx), abs(dy)
    steep = dy >= dx
    long, short = (dy, dx) if steep else (dx, dy)
    error, side = 2 * short - long, 0
    for ahead in range(long + 1):
        yield (x0 + step_x * side, y0 + step_y * ahead) if steep else (x0 + step_x * ahead, y0 + step_y * side)
        if error >= 0:
            side += 1
            error -= 2 * long
        error += 2 * short
