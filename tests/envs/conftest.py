"""What the tests of the environments share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sketchless.datasets.dataset import SketchDataset, Split
from sketchless.datasets.sketch import Sketch
from sketchless.encoders.bank import EpisodeBank

DatasetFor = Callable[[EpisodeBank], SketchDataset]


@pytest.fixture(scope="session")
def dataset_for() -> DatasetFor:
    """Random drawings and grey photos for the ids of a bank."""

    def make(bank: EpisodeBank) -> SketchDataset:
        rng = np.random.default_rng(0)
        sketches = tuple(Sketch.from_strokes([rng.uniform(40, 220, (30, 2))], id) for id in bank.sketch_ids)
        split = Split(sketches, bank.targets.numpy(), bank.photo_ids)
        return SketchDataset("tiny", {}, {bank.split: split}, lambda id: np.full((40, 40, 3), 128, np.uint8), {})

    return make
