"""Subsets of strokes: drawn bit for bit, encoded the same whatever came before, remembered within bounds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
import torch

from sketchless.datasets import Sketch, birth_map, frames, procedural, reveal
from sketchless.datasets.errors import ConfigError
from sketchless.encoders import Encoder, EncoderConfig
from sketchless.encoders.networks.encoder import inference
from sketchless.encoders.networks.layers import sketch_images
from sketchless.envs.game.subsets import SubsetEncoder, ink, strokes_of, subsketch

Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def sketches() -> tuple[Sketch, ...]:
    return procedural(train=5, test=1, validation=0, drawers=1).split("train").sketches


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(EncoderConfig(size=32, dim=8))


def from_scratch(sketch: Sketch, numbers: list[int]) -> np.ndarray:
    """Ink of a sketch built anew of some strokes: bool [256, 256]."""
    strokes = [sketch.strokes()[i] for i in numbers]
    points = np.concatenate([np.zeros((0, 2), np.float32), *strokes])
    pen_up = np.concatenate([np.zeros(0, bool), *[np.arange(len(s)) == len(s) - 1 for s in strokes]])
    return frames(birth_map(Sketch(points, pen_up), [len(points)]), 1)[0] > 0


def some_sets(sketch: Sketch, count: int, seed: int = 0) -> list[int]:
    return [int(i) for i in np.random.default_rng(seed).integers(1 << sketch.n_strokes, size=count)]


def test_strokes_of_a_set() -> None:
    assert strokes_of(0) == []
    assert strokes_of(0b1) == [0]
    assert strokes_of(0b101100) == [2, 3, 5]
    assert strokes_of(1 << 200 | 1) == [0, 200]


def test_ink_equals_the_subsketch_drawn_from_scratch(sketches: tuple[Sketch, ...]) -> None:
    for sketch in sketches:
        for kept in [0, (1 << sketch.n_strokes) - 1, *some_sets(sketch, 20)]:
            assert np.array_equal(ink(sketch, kept) == 1, from_scratch(sketch, strokes_of(kept)))
            assert np.array_equal(
                subsketch(sketch, kept).points,
                np.concatenate([np.zeros((0, 2), np.float32), *[sketch.strokes()[i] for i in strokes_of(kept)]]),
            )


def test_ink_of_prefixes_equals_the_frames_of_the_strokes_schedule(sketches: tuple[Sketch, ...]) -> None:
    for sketch in sketches:
        knots = reveal(sketch, "strokes")
        for t, frame in enumerate(frames(birth_map(sketch, knots), len(knots))):
            assert np.array_equal(ink(sketch, (2 << t) - 1) * 255, frame)


def test_ink_of_odd_strokes() -> None:
    sketch = Sketch.from_strokes([[(5, 5)], [(-40, 20), (300, 20)], [(0, 0), (0, 90)], [(400, 400), (500, 500)]])
    for kept in range(16):
        assert np.array_equal(ink(sketch, kept) == 1, from_scratch(sketch, strokes_of(kept)))
    assert ink(sketch, 0b1000).sum() == 0  # beyond the page


def test_a_stroke_that_is_not_there_is_refused(sketches: tuple[Sketch, ...], refuses: Refuses) -> None:
    for kept in (1 << sketches[0].n_strokes, -1):
        with refuses(ConfigError, "strokes"):
            subsketch(sketches[0], kept)


def test_features_are_those_of_the_pages(sketches: tuple[Sketch, ...], encoder: Encoder) -> None:
    sets = some_sets(sketches[1], 40)  # more than one chunk
    pages = torch.from_numpy(np.stack([from_scratch(sketches[1], strokes_of(kept)) for kept in sets]))
    with inference(encoder):
        wanted = encoder.features(sketch_images(pages, 32))
    assert torch.equal(SubsetEncoder(encoder, sketches).features([1] * 40, sets), wanted)


def test_a_feature_depends_on_its_set_alone(sketches: tuple[Sketch, ...], encoder: Encoder) -> None:
    """Whatever was remembered, forgotten or asked for in the same batch."""
    rng = np.random.default_rng(1)
    roomy, tight = SubsetEncoder(encoder, sketches), SubsetEncoder(encoder, sketches, capacity=3)
    for _ in range(30):
        rows = rng.integers(len(sketches), size=rng.integers(1, 9)).tolist()
        kept = [int(rng.integers(8)) for _ in rows]
        features = roomy.features(rows, kept)
        assert torch.equal(features, tight.features(rows, kept))
        alone = SubsetEncoder(encoder, sketches).features(rows[:1], kept[:1])
        assert torch.equal(features[:1], alone)


def test_no_more_is_remembered_than_the_capacity(sketches: tuple[Sketch, ...], encoder: Encoder) -> None:
    subsets = SubsetEncoder(encoder, sketches, capacity=4)
    assert len(subsets) == 0
    for kept in range(12):
        subsets.features([0, 1], [kept, kept])
        assert len(subsets) <= 4
    assert subsets.features([0] * 9, range(9)).shape == (9, 128)  # a batch larger than what is remembered
    assert len(subsets) == 4


def test_what_was_used_last_is_remembered(sketches: tuple[Sketch, ...], encoder: Encoder) -> None:
    subsets = SubsetEncoder(encoder, sketches, capacity=3)
    subsets.features([0, 0, 0], [1, 2, 3])
    subsets.features([0], [1])
    subsets.features([0, 0], [4, 5])  # forgets 2 and 3
    assert subsets.encoded == 5
    subsets.features([0, 0, 0], [1, 4, 5])
    assert subsets.encoded == 5
    subsets.features([0, 0], [2, 3])
    assert subsets.encoded == 7


def test_nothing_is_encoded_twice(sketches: tuple[Sketch, ...], encoder: Encoder) -> None:
    subsets = SubsetEncoder(encoder, sketches)
    features = subsets.features([0, 0, 2, 0], [3, 3, 3, 3])
    assert subsets.encoded == len(subsets) == 2
    assert torch.equal(features[0], features[3])
    assert not torch.equal(features[0], features[2])


def test_a_single_set_brings_the_next_one_along(sketches: tuple[Sketch, ...], encoder: Encoder) -> None:
    subsets = SubsetEncoder(encoder, sketches)
    subsets.features([0], [0b1])
    subsets.features([0], [0b11])
    assert subsets.encoded == 2
    everything = (1 << sketches[0].n_strokes) - 1  # nothing comes after the last stroke
    subsets.features([0], [everything])
    assert len(subsets) == 3


def test_the_encoder_is_left_as_it_was(sketches: tuple[Sketch, ...], encoder: Encoder) -> None:
    encoder.train()
    features = SubsetEncoder(encoder, sketches).features([0], [1])
    assert encoder.training
    assert not features.requires_grad
    assert not features.is_inference()


def test_a_capacity_of_nothing_is_refused(sketches: tuple[Sketch, ...], encoder: Encoder, refuses: Refuses) -> None:
    with refuses(ConfigError, "capacity=0"):
        SubsetEncoder(encoder, sketches, capacity=0)
