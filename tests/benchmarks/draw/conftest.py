"""A small world to draw in."""

from __future__ import annotations

from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.loading import load_dataset


def small_dataset() -> SketchDataset:
    """Procedural chairs: a dozen photos to search."""
    return load_dataset("procedural", train=4, validation=2, test=12, drawers=1)
