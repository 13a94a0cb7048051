"""What may be wrong with the units, the offsets or the pen flags of a set's drawings, told by their shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..sketch import CANVAS, Sketch

SMALL = 2  # px, the larger side: a drawing on a canvas of its own that is smaller is in other units
OUTSIDE = 0.2  # share of points outside of the canvas
JUMP = 3.0  # a stroke's first or last piece over its median one; in Chair-V2 1.0 and 1.4, with wrong flags 7
SMOOTH, LONG = 0.5, 8  # mean cosine of a piece and the next, of strokes of so many points; chairs 0.8, offsets 0.4
LOOKED_AT = 1000  # drawings


def doubts(sketches: Sequence[Sketch]) -> list[str]:
    """Notes on what most drawings have and drawings seldom have; none on an empty set."""
    if not sketches:
        return []
    size = np.median([np.ptp(sketch.points, axis=0).max() for sketch in sketches])
    notes = []
    if size < SMALL:
        notes.append(
            f"half of the drawings are smaller than {size:.3g} px of 256: is `canvas` in the units of the points?"
        )
    elif np.mean([sketch.points.max() <= CANVAS / 2 for sketch in sketches]) > 0.5:
        notes.append(
            "most drawings lie wholly in the upper left quarter of the canvas: is `canvas` in the units of the points?"
        )
    if np.mean([sketch.n_strokes == len(sketch) for sketch in sketches]) > 0.5:
        notes.append("most drawings are of dots alone: is each stroke a list of all its x and of all its y?")
    looked_at = sketches[:: -(-len(sketches) // LOOKED_AT)]
    outside = np.median([np.mean(((s.points < 0) | (s.points >= CANVAS)).any(axis=1)) for s in looked_at])
    if outside > OUTSIDE:
        notes.append(
            f"half of the drawings have {100 * outside:.0f} % of their points outside of the canvas: are they offsets "
            "(sum them up), or in other units than `canvas`?"
        )
    strokes = [stroke.astype(np.float64) for sketch in looked_at for stroke in sketch.strokes() if len(stroke) >= 5]
    if not strokes:
        return notes
    for name, end, flag in (("first", 0, "sooner"), ("last", -1, "later")):
        if (jump := np.median([_jump(stroke, end) for stroke in strokes])) > JUMP:
            notes.append(
                f"the {name} piece of half of the strokes is {jump:.1f} times as long as the others: do pen flags "
                f"stand at a point {flag} than the last of a stroke, or are points offsets?"
            )
    turns = [_smoothness(stroke) for stroke in strokes if len(stroke) >= LONG]
    if turns and np.median(turns) < SMOOTH:
        notes.append("half of the strokes turn at every point: are points offsets? Sum them up")
    return notes


def _jump(stroke: npt.NDArray[np.float64], end: int) -> float:
    """Length of the first (0) or last (-1) piece over the median of those between."""
    length = np.hypot(*np.diff(stroke, axis=0).T)
    return float(length[end] / max(np.median(length[1:-1]), 1e-3))


def _smoothness(stroke: npt.NDArray[np.float64]) -> float:
    """Mean cosine between a piece and the next: 1 straight on, -1 back and forth."""
    piece = np.diff(stroke, axis=0)
    piece = piece[(piece != 0).any(axis=1)]
    piece /= np.hypot(*piece.T)[:, None]
    return float((piece[1:] * piece[:-1]).sum(axis=1).mean()) if len(piece) > 1 else 1.0
