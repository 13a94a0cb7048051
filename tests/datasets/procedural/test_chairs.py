"""The procedural chairs: deterministic, distinct, drawn as people draw."""

import hashlib
import pickle
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest

from sketchless.datasets.errors import ConfigError, DataError
from sketchless.datasets.procedural.chairs.dataset import procedural
from sketchless.datasets.procedural.chairs.drawing import drawing, plan, scene
from sketchless.datasets.procedural.chairs.habits import habits
from sketchless.datasets.procedural.chairs.measures import COMMON, FAMILIES, FAMILY_SHARES, Chair, make_chair
from sketchless.datasets.procedural.chairs.photo import photo
from sketchless.datasets.procedural.hand import even
from sketchless.datasets.sheet import contact_sheet
from sketchless.datasets.sketch import Sketch


@pytest.fixture(scope="module")
def chairs():
    return procedural(seed=3, train=24, test=16, validation=6)


def every_sketch(dataset):
    return [sketch for split in dataset.splits.values() for sketch in split.sketches]


def digest(seed, index, drawer):
    ink = np.concatenate(drawing(seed, index, drawer))
    return hashlib.sha256(ink.tobytes() + photo(seed, index).tobytes()).hexdigest()


def test_parameters_are_many_and_all_have_a_rule():
    names = {field.name for field in fields(Chair)}
    assert len(names) >= 15
    assert set(COMMON) == names
    assert all(set(family) <= names for family in FAMILIES.values())
    assert set(FAMILY_SHARES) == set(FAMILIES)


def test_all_styles_occur():
    row = [make_chair(0, index) for index in range(200)]
    assert {chair.back_style for chair in row} == {"solid", "slats", "ladder", "cross", "spindles"}
    assert {chair.leg_style for chair in row} == {"straight", "tapered", "splayed", "pedestal"}
    assert {chair.arms for chair in row} == {"none", "posts", "loop", "panel"}
    assert {chair.stretchers for chair in row} == {"none", "sides", "h", "box"}


def test_same_seed_and_index_give_the_same_bytes_whatever_came_before():
    first = [digest(5, index, 1) for index in (0, 7, 2)]
    drawing(9, 9, 0)
    assert [digest(5, index, 1) for index in (2, 7, 0)] == first[::-1]


def test_same_bytes_in_another_process():
    code = (
        "import hashlib, numpy as np\n"
        "from sketchless.datasets.procedural.chairs.drawing import drawing\n"
        "from sketchless.datasets.procedural.chairs.photo import photo\n"
        "ink = np.concatenate(drawing(5, 7, 1))\n"
        "print(hashlib.sha256(ink.tobytes() + photo(5, 7).tobytes()).hexdigest())\n"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest(5, 7, 1)


def test_a_larger_set_begins_with_the_smaller_one():
    small, large = procedural(1, train=3, test=1, validation=0), procedural(1, train=5, test=1, validation=0)
    for a, b in zip(small.split("train").sketches, large.split("train").sketches, strict=False):
        assert a.id == b.id
        np.testing.assert_array_equal(a.points, b.points)


def test_chairs_drawers_and_seeds_differ():
    digests = {digest(seed, index, drawer) for seed in (0, 1) for index in (0, 1) for drawer in (0, 1)}
    assert len(digests) == 8
    assert make_chair(0, 1) != make_chair(1, 0)
    inks = [drawing(0, 4, drawer) for drawer in range(3)]
    assert len({np.concatenate(ink).tobytes() for ink in inks}) == 3


def test_splits_are_disjoint_and_complete(chairs):
    photos = {name: set(split.photos) for name, split in chairs.splits.items()}
    assert {name: len(ids) for name, ids in photos.items()} == {"train": 18, "validation": 6, "test": 16}
    assert len(set.union(*photos.values())) == 40
    assert all(photo_id.startswith("chair-3-") for photo_id in photos["test"])
    for split in chairs.splits.values():
        assert len(split.sketches) == 3 * len(split.photos)
        for sketch, target in zip(split.sketches, split.targets, strict=True):
            assert sketch.id.rpartition("_")[0] == split.photos[target]
    ids = [sketch.id for sketch in every_sketch(chairs)]
    assert len(set(ids)) == len(ids)


def test_report_and_spec(chairs):
    assert chairs.report["test"] == {
        "photos": 16,
        "sketches": 48,
        "strokes": sum(sketch.n_strokes for sketch in chairs.split("test").sketches),
        "points": sum(len(sketch) for sketch in chairs.split("test").sketches),
    }
    assert chairs.spec == {
        "name": "procedural", "seed": 3, "train": 24, "test": 16, "validation": 6, "drawers": 3
    }  # fmt: skip


def test_a_split_is_drawn_once_and_only_when_asked_for(monkeypatch):
    drawn = []
    code = sys.modules[procedural.__module__]
    monkeypatch.setattr(
        code, "drawing", lambda seed, index, drawer: drawn.append(index) or drawing(seed, index, drawer)
    )
    dataset = procedural(train=3, test=2, validation=1, drawers=1)
    assert list(dataset.splits) == list(dataset.report) == ["train", "validation", "test"]
    assert "validation" in dataset.splits
    assert not drawn
    assert dataset.split("test") is dataset.split("test")
    assert dataset.report["test"]["sketches"] == 2
    assert drawn == [3, 4]


def test_can_be_pickled(chairs):
    copy = pickle.loads(pickle.dumps(chairs))
    assert [sketch.id for sketch in every_sketch(copy)] == [sketch.id for sketch in every_sketch(chairs)]
    id = chairs.split("test").photos[0]
    np.testing.assert_array_equal(copy.photo(id), chairs.photo(id))


def test_sketches_are_valid_and_shaped_like_those_of_people(chairs):
    sketches = every_sketch(chairs)
    for sketch in sketches:
        again = Sketch.from_rows(np.column_stack([sketch.points, sketch.pen_up]), sketch.id)
        np.testing.assert_array_equal(again.points, sketch.points)
        low, high = sketch.points.min(axis=0), sketch.points.max(axis=0)
        assert low.min() >= 32.9
        assert high.max() <= 223.1
        assert (high - low).max() == pytest.approx(190, abs=0.1)  # 33..223
        # The extremes of Chair-V2: 40-519 points in 1-15 strokes.
        assert 40 <= len(sketch) <= 519
        assert 1 <= sketch.n_strokes <= 15
    # Its medians are 107 points and 10 strokes.
    assert 90 <= np.median([len(sketch) for sketch in sketches]) <= 125
    assert 8 <= np.median([sketch.n_strokes for sketch in sketches]) <= 12


@pytest.mark.parametrize("noise", [0.0, 0.5, 3.0])
def test_extreme_hands_still_give_valid_sketches(noise):
    for index in range(12):
        strokes = drawing(2, index, 0, noise)
        sketch = Sketch.from_strokes(strokes)
        assert 1 <= sketch.n_strokes <= 15
        assert 40 <= len(sketch) <= 519


def test_strokes_go_from_coarse_to_fine():
    for index in range(20):
        rng = np.random.default_rng(index)
        person = habits(rng, 1.0)
        levels = [stroke.level for stroke in plan(rng, scene(0, index), person)]
        assert levels[0] == 0  # the seat or the back
        body = [level for level in levels if level < 3]  # the outline, legs and arms
        details = [level for level in levels if level >= 3]
        assert levels == body + details
        assert details == sorted(details)
        assert person.arms_first or body == sorted(body)


def test_outline_fills_most_of_the_drawing_early(chairs):
    """Half of the points have the body and begin the legs: most of the extent, all details yet to come."""
    shares = []
    for sketch in every_sketch(chairs):
        half = sketch.points[: len(sketch) // 2]
        shares.append(np.ptp(half, axis=0).max() / np.ptp(sketch.points, axis=0).max())
    assert np.mean(shares) > 0.6


def test_points_are_denser_at_corners(chairs):
    near, far = [], []
    for sketch in every_sketch(chairs):
        for stroke in sketch.strokes():
            steps = np.diff(stroke, axis=0)
            if len(steps) < 4:
                continue
            size = np.linalg.norm(steps, axis=1)
            cosine = (steps[:-1] * steps[1:]).sum(axis=1) / np.maximum(size[:-1] * size[1:], 1e-6)
            mean = (size[:-1] + size[1:]) / 2
            near.extend(mean[cosine < 0.6])
            far.extend(mean[cosine > 0.95])
    assert np.mean(near) < 0.85 * np.mean(far)


def test_noise_moves_the_ink_away_from_the_true_lines():
    def ink(index, noise):
        return np.concatenate([even(stroke, 3.0) for stroke in drawing(0, index, 0, noise)])

    def apart(a, b):
        gaps = np.linalg.norm(a[:, None] - b[None], axis=-1)
        return gaps.min(axis=0).mean() + gaps.min(axis=1).mean()

    means = [np.mean([apart(ink(i, 0.0), ink(i, noise)) for i in range(8)]) for noise in (0.25, 1.0, 2.0)]
    assert means[0] < means[1] < means[2]


def test_photos(chairs):
    for photo_id in chairs.split("test").photos[:4]:
        image = chairs.photo(photo_id)
        assert image.dtype == np.uint8
        assert image.shape == (192, 192, 3)
        # A chair on a light ground: both bright paper and something that is not.
        assert image[:8, :8].mean() > 180
        assert (np.abs(image.astype(int) - image[0, 0]).max(axis=-1) > 40).mean() > 0.03
    np.testing.assert_array_equal(chairs.photo("chair-3-00030"), photo(3, 30))


@pytest.mark.parametrize(
    "photo_id",
    ["chair-3-00040", "chair-4-00001", "chair-3-1", "chair-3-000001", "", "chair-3-00001_0", "x\ny"],
)
def test_unknown_photo(chairs, photo_id):
    with pytest.raises(DataError, match="no photo") as caught:
        chairs.photo(photo_id)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"train": 0}, {"test": 0}, {"test": -1}, {"drawers": 0}, {"validation": -1}, {"seed": -1},
        {"train": 50, "validation": 50}, {"train": 2.5}, {"seed": "0"}, {"drawers": True}, {"seed": 2**40},
    ],
)  # fmt: skip
def test_nonsense_is_refused(options):
    with pytest.raises(ConfigError, match="procedural"):
        procedural(**options)


def test_contact_sheet(chairs):
    sheet = contact_sheet(chairs, rows=2, columns=2)
    assert sheet.mode == "RGB"
    pixels = np.asarray(sheet)
    assert (pixels < 60).all(axis=-1).any()  # ink
    assert (pixels[:5] == 255).all()  # margin
    assert contact_sheet(chairs, rows=2, columns=2).tobytes() == sheet.tobytes()
    assert contact_sheet(chairs, rows=2, columns=2, seed=1).tobytes() != sheet.tobytes()
    assert contact_sheet(chairs, "validation", rows=50, columns=50).size[1] > sheet.size[1]
    with pytest.raises(ConfigError, match="split"):
        contact_sheet(chairs, "tset")
    with pytest.raises(ConfigError, match="rows"):
        contact_sheet(chairs, rows=0)
