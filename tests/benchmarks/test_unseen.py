"""Encoders beside each other on what training has not seen."""

from __future__ import annotations

import pytest

from sketchless.benchmarks.unseen import compare
from sketchless.datasets import procedural


def test_an_encoder_beside_itself_makes_no_difference(capsys: pytest.CaptureFixture[str]) -> None:
    dataset = procedural(train=6, validation=2, test=3, drawers=1)
    assert compare(dataset, ("small-cnn", "small-cnn"), seeds=1, epochs=1) == 0
    assert "+0.0000 [+0.0000, +0.0000], 1 seeds" in capsys.readouterr().out
    assert compare(dataset, ("small-cnn", "manifold"), seeds=1, epochs=1) == pytest.approx(0, abs=1)
