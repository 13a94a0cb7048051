"""Encoders beside each other on what training has not seen."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sketchless.benchmarks.zero_shot.unseen import AMONG, compare, held_out, reciprocal_ranks
from sketchless.datasets import ConfigError, SketchDataset, load_dataset, procedural
from sketchless.encoders import Encoder
from sketchless.encoders.networks.backbones import BACKBONES, SmallCNN


@pytest.fixture(scope="module")
def dataset() -> SketchDataset:
    return procedural(train=6, validation=2, test=3, drawers=1)


def test_an_encoder_beside_itself_makes_no_difference(
    dataset: SketchDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(dataset, ("small-cnn", "small-cnn"), seeds=[0], epochs=1) == dict.fromkeys(AMONG, 0)
    printed = capsys.readouterr().out
    for among in AMONG:
        assert f"among {among}, small-cnn - small-cnn: +0.0000 [+0.0000, +0.0000], 1 seeds" in printed


def test_an_encoder_that_sees_is_ahead_of_a_blind_one(dataset: SketchDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """All photos are alike to the blind one, and ties count against it: the last of three ranks."""

    class Blind(SmallCNN):
        def forward(self, images: Tensor) -> Tensor:
            return 0 * super().forward(images) + 1

    monkeypatch.setitem(BACKBONES, "blind", Blind)
    seeing = reciprocal_ranks("small-cnn", dataset, seed=0, size=32, epochs=1)["all photos"].mean()
    assert seeing > 1 / 3
    change = compare(dataset, ("blind", "small-cnn"), seeds=[0], epochs=1)
    assert change == pytest.approx(dict.fromkeys(AMONG, seeing - 1 / 3))  # chairs are of one category
    change = compare(dataset, ("small-cnn", "blind"), seeds=[0], epochs=1)
    assert change == pytest.approx(dict.fromkeys(AMONG, 1 / 3 - seeing))


def test_rivals_are_the_photos_of_the_category(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the blind all are alike: the last of the 12 photos of six categories, and of the 2 of its own."""
    objects = load_dataset("objects", instances=2, test_instances=2, validation=14, drawers=1)
    monkeypatch.setattr(Encoder, "embed", lambda self, x: torch.eye(self.config.dim)[0].expand(len(x), -1))
    monkeypatch.setattr("sketchless.benchmarks.zero_shot.unseen.train_stage1", lambda *_: None)
    found = reciprocal_ranks("small-cnn", objects, seed=0, size=32, epochs=1)
    assert found["all photos"].tolist() == [1 / 12] * 12
    assert found["its category"].tolist() == [1 / 2] * 12


def test_what_is_held_out_is_the_test_and_nowhere_else() -> None:
    objects = load_dataset("objects", instances=3, test_instances=2, validation=14, drawers=1)
    found = held_out(objects, ["car", "key"])
    test = found.split("test")
    assert {*test.photo_categories} == {*test.sketch_categories} == {"car", "key"}
    assert (len(test.photos), len(test.sketches)) == (4, 4)  # 3 of each, less one of validation
    assert [test.photos[t] for t in test.targets] == [s.id.rpartition("_")[0] for s in test.sketches]
    for name, each in (("train", 2), ("validation", 1)):
        split = found.split(name)
        assert {*split.photo_categories} == {*objects.split(name).photo_categories} - {"car", "key"}
        assert len(split.sketches) == 12 * each
    with pytest.raises(ConfigError, match="did you mean 'boat'"):
        held_out(objects, ["boats"])
