from __future__ import annotations

import numpy as np
import pytest
import torch

from sketchless.datasets import SketchDataset, birth_map, frames, reveal
from sketchless.encoders import Frames


@pytest.mark.parametrize("schedule", ["points", "strokes", "ink"])
def test_frames_are_those_of_the_rasteriser(schedule: str, polygons: SketchDataset) -> None:
    sketches = polygons.split("test").sketches
    held = Frames.of(sketches, schedule, 6)
    for row, sketch in enumerate(sketches):
        knots = reveal(sketch, schedule, 6)
        assert held.lengths[row] == len(knots)
        expected = frames(birth_map(sketch, knots), len(knots)) > 0
        steps = torch.arange(len(knots))
        assert np.array_equal(held.at(torch.full_like(steps, row), steps).numpy(), expected)


def test_beyond_the_end_stands_the_whole_sketch(polygons: SketchDataset) -> None:
    held = Frames.of(polygons.split("test").sketches, "strokes")
    rows = torch.arange(len(held))
    assert torch.equal(held.at(rows, torch.full((len(held),), 99)), held.birth < 255)


def test_no_sketches_give_no_frames() -> None:
    held = Frames.of([])
    assert (len(held), held.birth.shape, held.lengths.dtype) == (0, (0, 256, 256), torch.int64)
