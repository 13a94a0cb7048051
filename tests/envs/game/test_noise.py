"""Planted noise: where it says it is, the same for the same seed, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest

from sketchless.datasets import Sketch, SketchDataset, Split, procedural
from sketchless.datasets.errors import ConfigError
from sketchless.envs.game.noise import plant_noise

Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def clean() -> SketchDataset:
    return procedural(train=8, test=4, validation=2, drawers=2)


def points(dataset: SketchDataset) -> list[bytes]:
    return [sketch.points.tobytes() for split in dataset.splits.values() for sketch in split.sketches]


def test_what_is_not_marked_is_the_sketch(clean: SketchDataset) -> None:
    before = points(clean)
    planted = plant_noise(clean, 4)
    for name, split in clean.splits.items():
        noisy = planted.dataset.split(name)
        assert noisy.photos == split.photos
        assert np.array_equal(noisy.targets, split.targets)
        for sketch, drawn in zip(split.sketches, noisy.sketches, strict=True):
            mark = planted.noise[drawn.id]
            assert drawn.id == sketch.id
            assert mark.sum() == 4
            assert len(mark) == drawn.n_strokes == sketch.n_strokes + 4
            rest = [stroke for stroke, noise in zip(drawn.strokes(), mark, strict=True) if not noise]
            assert all(np.array_equal(a, b) for a, b in zip(rest, sketch.strokes(), strict=True))
    assert points(clean) == before


def test_the_seed_decides(clean: SketchDataset) -> None:
    first = plant_noise(clean, 3, seed=5)
    again = plant_noise(procedural(train=8, test=4, validation=2, drawers=2), 3, seed=5)
    other = plant_noise(clean, 3, seed=6)
    assert points(first.dataset) == points(again.dataset)
    assert all(np.array_equal(mark, again.noise[name]) for name, mark in first.noise.items())
    assert points(first.dataset) != points(other.dataset)


def test_splits_do_not_depend_on_each_other(clean: SketchDataset) -> None:
    everywhere, there = plant_noise(clean), plant_noise(clean, splits=["test"])
    for a, b in zip(everywhere.dataset.split("test").sketches, there.dataset.split("test").sketches, strict=True):
        assert np.array_equal(a.points, b.points)
    assert there.dataset.split("train") is clean.split("train")
    assert set(there.noise) == {sketch.id for sketch in clean.split("test").sketches}


def test_noise_stands_anywhere(clean: SketchDataset) -> None:
    marks = plant_noise(clean, 3).noise.values()
    assert any(mark[0] for mark in marks)
    assert any(mark[-1] for mark in marks)


def noise_strokes(dataset: SketchDataset, kind: str) -> list[tuple[Split, Sketch, np.ndarray]]:
    planted = plant_noise(dataset, 3, [kind])
    return [
        (split, sketch, stroke)
        for split in planted.dataset.splits.values()
        for sketch in split.sketches
        for stroke, noise in zip(sketch.strokes(), planted.noise[sketch.id], strict=True)
        if noise
    ]


def test_scribbles_lie_on_the_page(clean: SketchDataset) -> None:
    found = [stroke for _, _, stroke in noise_strokes(clean, "scribble")]
    assert all(5 <= len(stroke) <= 14 for stroke in found)
    assert all(np.ptp(stroke, axis=0).max() <= 110 for stroke in found)
    assert all(stroke.min() >= 0 and stroke.max() <= 255 for stroke in found)
    assert np.ptp([stroke.mean(axis=0) for stroke in found], axis=0).min() > 100  # all over the page


def test_foreign_strokes_come_from_sketches_of_other_photos(clean: SketchDataset) -> None:
    for split, sketch, stroke in noise_strokes(clean, "foreign"):
        clean_split = next(s for s in clean.splits.values() if s.photos == split.photos)
        own = clean_split.targets[[s.id for s in clean_split.sketches].index(sketch.id)]
        shape = stroke - stroke.min(axis=0)
        donors = {
            int(target)
            for other, target in zip(clean_split.sketches, clean_split.targets, strict=True)
            for s in other.strokes()
            if s.shape == shape.shape and np.allclose(s - s.min(axis=0), shape, atol=1e-3)
        }
        assert donors - {int(own)}


def test_no_noise_leaves_all_as_it_is(clean: SketchDataset) -> None:
    planted = plant_noise(clean, 0)
    assert points(planted.dataset) == points(clean)
    assert not any(mark.any() for mark in planted.noise.values())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"strokes": -1}, "strokes=-1"),
        ({"seed": -1}, "seed=-1"),
        ({"kinds": ["scrible"]}, "scribble"),
        ({"kinds": []}, "no kind"),
        ({"splits": ["tset"]}, "test"),
    ],
)
def test_nonsense_is_refused(clean: SketchDataset, refuses: Refuses, options: dict[str, object], says: str) -> None:
    with refuses(ConfigError, says):
        plant_noise(clean, **options)  # type: ignore[arg-type]


def test_foreign_strokes_need_another_photo(clean: SketchDataset, refuses: Refuses) -> None:
    split = clean.split("test")
    lonely = Split(split.sketches[:2], split.targets[:2], split.photos)  # two sketches of one photo
    with refuses(ConfigError, "another photo"):
        plant_noise(SketchDataset("lonely", {}, {"test": lonely}, clean.photo, {}), kinds=["foreign"], splits=["test"])
