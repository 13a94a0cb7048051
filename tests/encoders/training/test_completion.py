"""Completion of partial sketches: guesses each frame from that frame alone, and keeps the ink there is."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import max_pool2d

from sketchless.datasets import CheckpointError, ConfigError, Sketch, SketchDataset
from sketchless.datasets.sketch import reveal
from sketchless.encoders import Completion, CompletionConfig, Encoder, Frames, encode_banks, train_completion
from sketchless.encoders.tensorfile import save_tensors
from sketchless.encoders.training.completion import shrink

QUICK = CompletionConfig(width=4, epochs=2, batch=16)


def boxes(n: int = 8) -> tuple[Sketch, ...]:
    """Squares at the same place, begun at the left: any part of one tells the rest."""
    ring = [[60, 60], [60, 200], [200, 200], [200, 60], [60, 60]]
    sides = [np.linspace(a, b, 12) for a, b in pairwise(ring)]
    return tuple(Sketch.from_strokes(sides, f"box-{i}") for i in range(n))


def of_boxes(polygons: SketchDataset) -> SketchDataset:
    splits = {}
    for name, split in polygons.splits.items():
        sketches = boxes(len(split.sketches))
        splits[name] = replace(split, sketches=sketches)
    return replace(polygons, splits=splits)


class TestShrinking:
    def test_by_hand(self) -> None:
        ink = torch.zeros(1, 256, 256, dtype=torch.bool)
        ink[0, 4:8, 8:10] = True  # half of the small pixel (1, 2), which is 4 x 4 large ones
        small = shrink(ink)
        assert small.shape == (1, 1, 64, 64)
        assert float(small[0, 0, 1, 2]) == 0.5
        assert float(small.sum()) == 0.5


class TestNetwork:
    def test_same_seed_same_weights_and_the_global_state_is_left_alone(self) -> None:
        before = torch.get_rng_state()
        one, same, other = (Completion(replace(QUICK, seed=seed)).last.weight for seed in (0, 0, 1))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)
        assert torch.equal(before, torch.get_rng_state())

    def test_keeps_the_ink_there_is(self, polygons: SketchDataset) -> None:
        frames = Frames(polygons.split("test").sketches, steps=4).at(torch.arange(8), torch.full((8,), 1))
        assert (Completion(QUICK).complete(frames) & frames).sum() == frames.sum()

    def test_draws_as_many_pixels_as_it_expects_the_likeliest_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        network, odds = Completion(QUICK), torch.full((1, 1, 64, 64), -30.0)
        odds[0, 0, 3, 5], odds[0, 0, 9, 9], odds[0, 0, 20, 1] = 0.1, 0.0, -0.1  # 3 pixels of a half: 1.5, so 2
        monkeypatch.setattr(network, "forward", lambda ink: odds)
        drawn = network.complete(torch.zeros(1, 256, 256, dtype=torch.bool))
        expected = torch.zeros(1, 256, 256, dtype=torch.bool)
        expected[0, 12:16, 20:24] = expected[0, 36:40, 36:40] = True
        assert torch.equal(drawn, expected)

    def test_saved_and_loaded_completes_alike(self, polygons: SketchDataset, tmp_path: Path, refuses) -> None:
        network = Completion(QUICK)
        network.save(tmp_path / "c.safetensors")
        again = Completion.load(tmp_path / "c.safetensors")
        frames = Frames(polygons.split("test").sketches).at(torch.arange(8), torch.full((8,), 9))
        assert torch.equal(network.complete(frames), again.complete(frames))
        assert again.config == QUICK
        with refuses(CheckpointError, "no such file"):
            Completion.load(tmp_path / "none")

    def test_nonsense_is_refused(self, refuses) -> None:
        with refuses(ConfigError, "epochs=0"):
            CompletionConfig(epochs=0)
        with refuses(ConfigError, "width=6; give a multiple of 4"):  # 4 groups of channels
            CompletionConfig(width=6)

    @pytest.mark.parametrize(
        ("meta", "fault"),
        [
            ({}, "config"),
            ({"config": [4]}, "config"),
            ({"config": {"width": "4"}}, "width"),
            ({"config": {"width": 4, "colour": 1}}, "weights do not fit"),
            ({"config": {"width": 3}}, "multiple of 4"),
            ({"config": {"width": 40_000}}, "larger network"),  # 10^12 weights
        ],
    )
    def test_a_file_of_another_form_is_refused_at_no_cost(
        self, meta: dict[str, Any], fault: str, tmp_path: Path, refuses
    ) -> None:
        save_tensors(tmp_path / "c.safetensors", "completion", {"first.0.bias": torch.zeros(4)}, meta)
        with refuses(CheckpointError, fault):
            Completion.load(tmp_path / "c.safetensors")


@pytest.fixture(scope="module")
def network(polygons: SketchDataset) -> Completion:
    config = CompletionConfig(width=4, epochs=30, batch=16, learning_rate=1e-2, augment=0.0)
    return train_completion(of_boxes(polygons), config, steps=5)


class TestTraining:
    def test_learns_what_is_missing(self, network: Completion) -> None:
        """Most of the missing ink of a square comes with its first two sides, and less beside it."""
        frames = Frames(boxes(1), steps=5)
        partial, whole = (frames.at(torch.tensor([0]), torch.tensor([t])) for t in (2, 4))
        guessed = network.complete(partial) & ~partial
        near = max_pool2d(whole.float(), 9, 1, 4) > 0  # a line about 4 pixels off is right on the small raster
        missing = (whole & ~partial).float()
        found = (missing * max_pool2d(guessed.float(), 9, 1, 4)).sum()
        assert found > missing.sum() / 2
        assert (guessed & near).sum() > guessed.sum() / 2

    def test_follows_from_its_seed(self, polygons: SketchDataset) -> None:
        state = torch.get_rng_state()
        one, same = (train_completion(polygons, QUICK, steps=5) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
        assert torch.equal(state, torch.get_rng_state())


def test_a_bank_of_completed_frames_is_causal(encoder: Encoder, polygons: SketchDataset) -> None:
    """Other strokes later change nothing earlier, and a frame's feature is that of its completion."""
    network = Completion(QUICK)
    bank = encode_banks(encoder, polygons, steps=4, splits=["test"], redraw=network.complete)["test"]
    split = polygons.split("test")
    changed = [
        Sketch(np.concatenate([s.points[:seen], s.points[seen:][::-1]]), s.pen_up, s.id)
        for s, seen in ((s, reveal(s, "points", 4)[1]) for s in split.sketches)
    ]
    other = replace(polygons, splits={**polygons.splits, "test": replace(split, sketches=tuple(changed))})
    later = encode_banks(encoder, other, steps=4, splits=["test"], redraw=network.complete)["test"]
    assert torch.equal(bank.features[:, :2], later.features[:, :2])
    assert not torch.equal(bank.features[:, 2], later.features[:, 2])
    frame = network.complete(Frames(split.sketches, steps=4).at(torch.tensor([3]), torch.tensor([1])))
    with torch.no_grad():
        torch.testing.assert_close(encoder.features(encoder.sketch_inputs(frame))[0], bank.features[3, 1])
