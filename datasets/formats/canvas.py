"""Strokes from anywhere, fitted into the canvas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..sketch import CANVAS

MARGIN = 8  # pixels left free on each side


def fit(strokes: Sequence[npt.NDArray[np.float64]]) -> list[npt.NDArray[np.float64]]:
    """Strokes [p, 2] moved and scaled to fill the canvas but for a margin; aspect kept, a dot centred."""
    if not strokes:
        return []
    points = np.concatenate(strokes)
    low, high = points.min(axis=0), points.max(axis=0)
    size = float((high - low).max())
    scale = (CANVAS - 2 * MARGIN) / size if size > 0 else 1.0
    return [(stroke - (low + high) / 2) * scale + CANVAS / 2 for stroke in strokes]
