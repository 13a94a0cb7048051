"""Drawings of the right form whose units, offsets or pen flags are wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from sketchless.datasets.loading import load_dataset
from sketchless.datasets.readers.doubts import doubts
from sketchless.datasets.sketch import Sketch

Strokes = list[npt.NDArray[np.float64]]


def offsets(strokes: Strokes) -> Strokes:
    """The first point of a stroke, then steps."""
    return [np.vstack([stroke[:1], np.diff(stroke, axis=0)]) for stroke in strokes]


def fitted_offsets(strokes: Strokes) -> Strokes:
    """Steps alone, brought into the canvas as a drawing without `canvas` is."""
    steps = [np.diff(stroke, axis=0) for stroke in strokes if len(stroke) > 1]
    low, size = np.vstack(steps).min(axis=0), np.ptp(np.vstack(steps), axis=0).max()
    return [8 + 240 * (stroke - low) / size for stroke in steps]


def shifted(by: int) -> Callable[[Strokes], Strokes]:
    """Each pen flag so many points later."""
    return lambda strokes: np.split(np.vstack(strokes), np.cumsum([len(stroke) for stroke in strokes])[:-1] + by)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda strokes: strokes, None),
        (offsets, "outside of the canvas"),
        (offsets, "the first piece"),
        (fitted_offsets, "turn at every point"),
        (shifted(1), "the last piece"),
        (shifted(-1), "the first piece"),
        (lambda strokes: [stroke / 300 for stroke in strokes], "smaller than"),
        (lambda strokes: [stroke / 4 for stroke in strokes], "upper left quarter"),
        (lambda strokes: [stroke / 4 + [96, 0] for stroke in strokes], None),
    ],
    ids=[
        "right",
        "offsets outside",
        "offsets jump",
        "offsets fitted",
        "late flags",
        "early flags",
        "units",
        "canvas",
        "small",
    ],
)
def test_mistakes_of_form_are_told(wrong: Callable[[Strokes], Strokes], told: str | None) -> None:
    chairs = load_dataset("procedural", train=2, validation=1, test=6, drawers=1).split("test").sketches
    drawn = [[stroke.astype(np.float64) for stroke in sketch.strokes()] for sketch in chairs]
    notes = doubts([Sketch.from_strokes(wrong(strokes), f"s{n}") for n, strokes in enumerate(drawn)])
    assert (notes == []) if told is None else any(told in note for note in notes)
