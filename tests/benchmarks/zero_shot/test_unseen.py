"""Encoders beside each other on what training has not seen."""

from __future__ import annotations

import pytest
from torch import Tensor

from sketchless.benchmarks.zero_shot.unseen import compare, reciprocal_ranks
from sketchless.datasets import SketchDataset, procedural
from sketchless.encoders.networks.backbones import BACKBONES, SmallCNN


@pytest.fixture(scope="module")
def dataset() -> SketchDataset:
    return procedural(train=6, validation=2, test=3, drawers=1)


def test_an_encoder_beside_itself_makes_no_difference(
    dataset: SketchDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(dataset, ("small-cnn", "small-cnn"), seeds=1, epochs=1) == 0
    assert "+0.0000 [+0.0000, +0.0000], 1 seeds" in capsys.readouterr().out


def test_an_encoder_that_sees_is_ahead_of_a_blind_one(dataset: SketchDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """All photos are alike to the blind one, and ties count against it: the last of three ranks."""

    class Blind(SmallCNN):
        def forward(self, images: Tensor) -> Tensor:
            return 0 * super().forward(images) + 1

    monkeypatch.setitem(BACKBONES, "blind", Blind)
    seeing = reciprocal_ranks("small-cnn", dataset, seed=0, size=32, epochs=1).mean()
    assert seeing > 1 / 3
    assert compare(dataset, ("blind", "small-cnn"), seeds=1, epochs=1) == pytest.approx(seeing - 1 / 3)
    assert compare(dataset, ("small-cnn", "blind"), seeds=1, epochs=1) == pytest.approx(1 / 3 - seeing)
