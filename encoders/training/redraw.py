"""Sketches as another hand might have drawn them: some strokes left out, the others bent."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sketchless.datasets.sketch import CANVAS, Drawing, RasterSketch, Sketch

ORDER, LENGTH = 2.0, 4.0
"""alpha and beta of stroke removal, for an order and a length in 0..1."""
LOCAL, GLOBAL = 0.05, 0.03
"""Standard deviation of the handles' moves: of a stroke's end, in strokes; of a corner, in canvases."""
SOFTNESS = 8.0
"""Distance in pixels within which handles share their say, so that no handle pulls out a spike."""


def redraw(sketch: Drawing, removal: float, deformation: float, rng: np.random.Generator) -> Drawing:
    """The sketch with strokes removed and deformed; a `RasterSketch`, or one without points, as it is.

    Args:
        sketch: any drawing.
        removal: the share of strokes to leave out is drawn from 0..removal; one stroke stays at least.
        deformation: strength of the deformation, 0 none.
        rng: where chance comes from.
    """
    if isinstance(sketch, RasterSketch) or not len(sketch):
        return sketch
    if removal > 0:
        sketch = remove_strokes(sketch, round(rng.uniform(0, removal) * sketch.n_strokes), rng)
    if deformation > 0:
        sketch = deform(sketch, deformation, rng)
    return sketch


def remove_strokes(sketch: Sketch, n: int, rng: np.random.Generator) -> Sketch:
    """Leave out n strokes (all but one at most); long strokes and early strokes matter more, so they stay.

    Strokes are drawn one after the other, without replacement, each with probability
    Pr(i) ~ exp(alpha o_i) / exp(beta l_i)   (Yu et al., "Sketch Me That Shoe", CVPR 2016),
    with the order o_i in 0..1 from the first to the last stroke and the length l_i as a share of the longest.
    """
    ends = np.flatnonzero(sketch.pen_up)
    count = len(ends)
    n = min(n, count - 1)
    if n <= 0:
        return sketch
    # The n largest of log Pr(i) + Gumbel noise are n draws without replacement (Vieira, 2014).
    log_probability = ORDER * np.linspace(0, 1, count) - LENGTH * _relative(stroke_lengths(sketch))
    gone = np.argsort(log_probability + rng.gumbel(size=count))[count - n :]
    stays = ~np.isin(np.repeat(np.arange(count), np.diff(ends, prepend=-1)), gone)
    return Sketch(sketch.points[stays], sketch.pen_up[stays], sketch.id)


def deform(sketch: Sketch, strength: float, rng: np.random.Generator) -> Sketch:
    """Bend a sketch by moving least squares: smooth, so that strokes that meet go on meeting.

    Its handles are the ends of the strokes, which move in proportion to their stroke (local), and the corners
    of the drawing's bounding box (global), all by Gaussian noise times `strength`.
    """
    ends = np.flatnonzero(sketch.pen_up)
    starts = np.concatenate([[0], ends[:-1] + 1])
    low, high = sketch.points.min(axis=0), sketch.points.max(axis=0)
    corners = np.array([low, [low[0], high[1]], [high[0], low[1]], high])
    handles = np.concatenate([sketch.points[starts], sketch.points[ends], corners])
    reach = np.minimum(stroke_lengths(sketch), CANVAS) * LOCAL
    spread = np.concatenate([reach, reach, np.full(4, GLOBAL * CANVAS)])
    moved = handles + strength * spread[:, None] * rng.standard_normal(handles.shape)
    points = moving_least_squares(sketch.points, handles, moved)
    return Sketch(points.astype(np.float32), sketch.pen_up, sketch.id)


def moving_least_squares(
    points: npt.NDArray[np.floating], handles: npt.NDArray[np.floating], moved: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Points [P, 2] carried along as handles [H, 2] move: [P, 2].

    Around every point v the similarity that fits the moves of its nearest handles best (Schaefer, McPhail
    and Warren, SIGGRAPH 2006, section 2.2). With plane points as complex numbers, weights
    w_i = 1 / (|p_i - v|^2 + softness^2), and weighted means p* and q* of handles p_i and their targets q_i:

        f(v) = q* + (v - p*) sum_i w_i conj(p_i - p*) (q_i - q*) / sum_i w_i |p_i - p*|^2
    """
    v, p, q = (_complex(xy) for xy in (points, handles, moved))
    weights = 1 / (np.abs(p - v[:, None]) ** 2 + SOFTNESS**2)  # [P, H]
    weights /= weights.sum(axis=1, keepdims=True)
    p_mean, q_mean = weights @ p, weights @ q  # [P]
    p_rest, q_rest = p - p_mean[:, None], q - q_mean[:, None]  # [P, H]
    fit = (weights * p_rest.conj() * q_rest).sum(axis=1) + 1  # the 1s: where all handles coincide, no turn
    fit /= (weights * np.abs(p_rest) ** 2).sum(axis=1) + 1
    out = q_mean + (v - p_mean) * fit
    return np.stack([out.real, out.imag], axis=1)


def stroke_lengths(sketch: Sketch) -> npt.NDArray[np.float64]:
    """Pen travel of each stroke in pixels: float64 [strokes]."""
    moves = np.linalg.norm(np.diff(sketch.points.astype(np.float64), axis=0, prepend=sketch.points[:1]), axis=1)
    starts = np.concatenate([[0], np.flatnonzero(sketch.pen_up)[:-1] + 1])
    moves[starts] = 0  # the way to a new stroke is no part of it
    return np.add.reduceat(moves, starts)


def _relative(lengths: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return lengths / max(float(lengths.max()), 1e-9)


def _complex(points: npt.NDArray[np.floating]) -> npt.NDArray[np.complex128]:
    return points[:, 0].astype(np.float64) + 1j * points[:, 1]
