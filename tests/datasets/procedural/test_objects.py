"""The object set: deterministic, disjoint, told apart by shape, photo and sketch of the same thing."""

import hashlib
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from sketchless.datasets import sheet
from sketchless.datasets.errors import ConfigError, DataError
from sketchless.datasets.loading import load_dataset
from sketchless.datasets.procedural.hand import HIGH, LOW, even
from sketchless.datasets.procedural.objects import photo as object_photo
from sketchless.datasets.procedural.objects.catalogue import CATEGORIES, SEEN, UNSEEN, make_object
from sketchless.datasets.procedural.objects.dataset import objects
from sketchless.datasets.procedural.objects.drawing import MAX_STROKES, a_drawer, drawing, plan, view
from sketchless.datasets.procedural.objects.photo import photo
from sketchless.datasets.procedural.objects.shapes import framed, on_top
from sketchless.datasets.sketch import CANVAS, Sketch


@pytest.fixture(scope="module")
def things():
    return objects(seed=3, instances=4, test_instances=3, validation=15, drawers=2)


def every_sketch(dataset):
    return [sketch for split in dataset.splits.values() for sketch in split.sketches]


def digest(seed, category, index, drawer):
    ink = np.concatenate(drawing(seed, category, index, drawer))
    return hashlib.sha256(ink.tobytes() + photo(seed, category, index).tobytes()).hexdigest()


# ---- the catalogue -------------------------------------------------------------------------------------


def test_twenty_categories_of_which_six_are_unseen():
    assert len(CATEGORIES) == 20
    assert UNSEEN == ("bicycle", "butterfly", "guitar", "mushroom", "spectacles", "teapot")
    assert set(SEEN) | set(UNSEEN) == set(CATEGORIES)
    assert not set(SEEN) & set(UNSEEN)
    assert all(name == make.__name__ and make.__doc__ for name, make in CATEGORIES.items())


@pytest.mark.parametrize("category", CATEGORIES)
def test_objects_are_sound(category):
    for index in range(12):
        shapes = make_object(1, category, index).shapes
        assert 2 <= len(shapes) < 255  # they are numbered in a byte
        assert {shape.level for shape in shapes} <= {-1, 0, 1, 2, 3}
        assert any(shape.level == 0 for shape in shapes)
        for shape in shapes:
            assert shape.path.shape == (len(shape.path), 2)
            assert len(shape.path) >= 2
            assert np.isfinite(shape.path).all()
            assert shape.closed or shape.width  # an area has a border all around
            assert np.ptp(shape.path, axis=0).max() > 0
            assert all(0 <= value <= 1 for value in shape.colour)


@pytest.mark.parametrize("category", CATEGORIES)
def test_things_of_a_category_are_told_apart_by_shape(category):
    """Silhouettes, made equal in size, overlap less than two pictures of one thing would, yet enough to confuse."""
    masks = [on_top(framed(make_object(0, category, index).shapes, 2, 62), 64) > 0 for index in range(10)]
    overlap = [(a & b).sum() / (a | b).sum() for a, b in combinations(masks, 2)]
    assert max(overlap) < 0.99
    assert 0.1 < np.mean(overlap) < 0.85


# ---- determinism ---------------------------------------------------------------------------------------


def test_same_arguments_give_the_same_bytes_whatever_came_before():
    names = ("mug", "bicycle", "cat")
    first = [digest(5, name, 7, 1) for name in names]
    drawing(9, "fish", 9, 0)
    assert [digest(5, name, 7, 1) for name in reversed(names)] == first[::-1]


def test_same_bytes_in_another_process():
    code = (
        "import hashlib, numpy as np\n"
        "from sketchless.datasets.procedural.objects.drawing import drawing\n"
        "from sketchless.datasets.procedural.objects.photo import photo\n"
        "ink = np.concatenate(drawing(5, 'mug', 7, 1))\n"
        "print(hashlib.sha256(ink.tobytes() + photo(5, 'mug', 7).tobytes()).hexdigest())\n"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest(5, "mug", 7, 1)


def test_a_further_category_changes_no_other(monkeypatch):
    before = digest(0, "tree", 2, 0)
    monkeypatch.setitem(CATEGORIES, "apple", CATEGORIES["mug"])
    view.cache_clear()
    assert digest(0, "tree", 2, 0) == before


def test_seeds_categories_things_and_drawers_differ():
    digests = {digest(s, c, i, d) for s in (0, 1) for c in ("fish", "key") for i in (0, 1) for d in (0, 1)}
    assert len(digests) == 16


def test_a_larger_set_holds_the_smaller_one():
    small, large = (objects(1, instances=n, test_instances=n, validation=0, drawers=1) for n in (1, 2))
    points = {sketch.id: sketch.points for sketch in every_sketch(large)}
    for sketch in every_sketch(small):
        np.testing.assert_array_equal(sketch.points, points[sketch.id])


# ---- splits --------------------------------------------------------------------------------------------


def test_splits_are_disjoint_and_complete(things):
    photos = {name: set(split.photos) for name, split in things.splits.items()}
    assert {name: len(ids) for name, ids in photos.items()} == {"train": 41, "validation": 15, "test": 18}
    assert len(set.union(*photos.values())) == 14 * 4 + 6 * 3
    assert set(things.split("train").photo_categories) == set(SEEN)
    assert set(things.split("validation").photo_categories) == set(SEEN)
    assert set(things.split("test").photo_categories) == set(UNSEEN)
    for split in things.splits.values():
        assert len(split.sketches) == 2 * len(split.photos)
        for sketch, target, category in zip(split.sketches, split.targets, split.sketch_categories, strict=True):
            assert sketch.id.rpartition("_")[0] == split.photos[target]
            assert split.photo_categories[target] == category
            assert sketch.id.startswith(f"{category}-3-0000")
    ids = [sketch.id for sketch in every_sketch(things)]
    assert len(set(ids)) == len(ids)


def test_validation_is_spread_evenly_over_the_categories(things):
    # 15 over 14 categories: one each, and a second one of the first.
    held = things.split("validation").photo_categories
    assert sorted(map(held.count, SEEN)) == [1] * 13 + [2]


def test_the_gallery_of_one_category_is_a_filter_away(things):
    test = things.split("test")
    gallery = [
        photo for photo, category in zip(test.photos, test.photo_categories, strict=True) if category == "guitar"
    ]
    assert gallery == ["guitar-3-00000", "guitar-3-00001", "guitar-3-00002"]


def test_a_contact_sheet_shows_every_category(things, monkeypatch):
    shown = []
    monkeypatch.setattr(sheet, "_photo_tile", lambda _, photo_id: shown.append(photo_id) or Image.new("RGB", (9, 9)))
    sheet.contact_sheet(things, "test", rows=3, columns=2)
    assert {photo_id.split("-")[0] for photo_id in shown} == set(UNSEEN)
    shown.clear()
    sheet.contact_sheet(things, "test", rows=4, columns=2)
    assert len(set(shown)) == 8


def test_report_and_spec(things):
    assert things.report["test"]["photos"] == 18
    assert things.report["test"]["sketches"] == 36
    assert things.report["test"]["points"] == sum(map(len, things.split("test").sketches))
    assert things.spec == {
        "name": "objects", "seed": 3, "instances": 4, "test_instances": 3, "validation": 15, "drawers": 2
    }  # fmt: skip
    again = load_dataset(**things.spec)
    assert again.split("test").photos == things.split("test").photos


# ---- sketches ------------------------------------------------------------------------------------------


def test_sketches_are_valid_and_of_a_sensible_size(things):
    sketches = every_sketch(things)
    for sketch in sketches:
        again = Sketch.from_rows(np.column_stack([sketch.points, sketch.pen_up]), sketch.id)
        np.testing.assert_array_equal(again.points, sketch.points)
        low, high = sketch.points.min(axis=0), sketch.points.max(axis=0)
        assert low.min() >= LOW - 0.1
        assert high.max() <= HIGH + 0.1
        assert (high - low).max() == pytest.approx(HIGH - LOW, abs=0.1)
        assert 40 <= len(sketch) <= 500
        assert 1 <= sketch.n_strokes <= MAX_STROKES
    assert 6 <= np.median([sketch.n_strokes for sketch in sketches]) <= 14
    assert 90 <= np.median([len(sketch) for sketch in sketches]) <= 250


@pytest.mark.parametrize("noise", [0.0, 3.0])
@pytest.mark.parametrize("category", CATEGORIES)
def test_extreme_hands_still_give_valid_sketches(category, noise):
    sketch = Sketch.from_strokes(drawing(2, category, 0, 0, noise))
    assert 1 <= sketch.n_strokes <= MAX_STROKES
    assert sketch.points.min() >= LOW - 0.1
    assert sketch.points.max() <= HIGH + 0.1


@pytest.mark.parametrize("category", CATEGORIES)
def test_strokes_go_from_the_outline_to_the_details(category):
    for index in range(4):
        rng = np.random.default_rng(index)
        levels = [stroke.level for stroke in plan(rng, view(0, category, index), a_drawer(rng, 1.0))]
        assert levels[0] == 0
        assert levels == sorted(levels)


def test_hidden_lines_are_not_drawn():
    """The ear of a mug begins behind its wall: there it is hidden, and outside it is not."""
    found = 0
    for index in range(6):
        scene = view(0, "mug", index)
        number = next(n for n, shape in enumerate(scene.shapes, start=1) if shape.width and shape.level == 1)
        ear, wall = scene.shapes[number - 1], scene.shapes[number]
        column, row = even(ear.path, 2.0).astype(int).T
        hidden = scene.cover[row // 2, column // 2] > number
        alone = Image.fromarray(on_top([wall], CANVAS))
        deep, near = alone.filter(ImageFilter.MinFilter(11)), alone.filter(ImageFilter.MaxFilter(31))
        inside = np.asarray(deep)[row, column] > 0
        assert hidden[inside].all()
        assert not hidden[np.asarray(near)[row, column] == 0].any()
        found += inside.any()
    assert found


# ---- photos --------------------------------------------------------------------------------------------


def test_photos(things):
    for photo_id in things.split("test").photos[::4]:
        image = things.photo(photo_id)
        assert image.dtype == np.uint8
        assert image.shape == (128, 128, 3)
        assert image.std() > 8
    np.testing.assert_array_equal(things.photo("teapot-3-00002"), photo(3, "teapot", 2))


def foreground(monkeypatch, seed, category, index):
    """Where a photo differs from the same photo without its object."""
    with_object = photo(seed, category, index)
    with monkeypatch.context() as patch:
        patch.setattr(object_photo, "expose", lambda *_: None)
        return np.abs(with_object.astype(int) - photo(seed, category, index)).max(axis=-1) > 3


def filled(ink, size=96):
    """All that ink encloses, cropped and made equal in size."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    image = Image.fromarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.uint8) * 255)
    image.thumbnail((size, size))
    if max(image.size) < size:
        scale = size / max(image.size)
        image = image.resize((max(round(image.width * scale), 1), max(round(image.height * scale), 1)))
    frame = Image.new("L", (size + 4, size + 4))
    frame.paste(
        image.point(lambda value: 255 * (value > 60)), ((size + 4 - image.width) // 2, (size + 4 - image.height) // 2)
    )
    ImageDraw.floodfill(frame, (0, 0), 128)
    return np.asarray(frame) != 128


def test_photo_and_sketch_show_the_same_thing(monkeypatch):
    """Filled in, a draughtsman's sketch covers what its own photo shows, and less of another one of the category."""
    own, other = [], []
    for category in CATEGORIES:
        seen, drawn = [], []
        for index in range(3):
            seen.append(filled(foreground(monkeypatch, 0, category, index)))
            page = Image.new("L", (CANVAS, CANVAS))
            for stroke in drawing(0, category, index, 0, 0.0):
                ImageDraw.Draw(page).line([(float(x), float(y)) for x, y in stroke], fill=255, width=5)
            drawn.append(filled(np.asarray(page) > 0))
        overlap = np.array([[(a & b).sum() / (a | b).sum() for b in drawn] for a in seen])
        # The median: where a part hides a bit of the outline, filling leaks out.
        assert np.median(np.diag(overlap)) > 0.75, category
        own.append(np.diag(overlap).mean())
        other.append(overlap[~np.eye(3, dtype=bool)].mean())
    assert np.mean(own) > np.mean(other) + 0.15


def test_depth_is_the_distance_to_the_border_of_a_shape():
    owner = np.zeros((40, 40), dtype=np.uint8)
    owner[5:35, 5:30], owner[12:20, 10:38] = 1, 2
    found = object_photo._depth(owner, np.float32(9))
    beside = [np.roll(owner, step, axis) != owner for axis in (0, 1) for step in (-1, 1)]
    border = np.any(beside, axis=0)
    for row, column in np.argwhere(owner > 0)[::7]:
        nearest = np.argwhere(border & (owner == owner[row, column]))
        exact = np.hypot(*(nearest - [row, column]).T).min() + 0.5  # from the middle of a pixel to its edge
        assert found[row, column] == pytest.approx(min(exact, 9), rel=0.09)


def test_a_shape_is_lit_from_the_side_of_the_lamp():
    y, x = np.mgrid[:64, :64]
    disc = ((x - 32) ** 2 + (y - 32) ** 2 < 24**2).astype(np.uint8)
    paint, lamp = np.full((2, 3), 0.5, dtype=np.float32), np.array([-0.6, 0.0, 0.8], dtype=np.float32)
    picture = np.zeros((32, 32, 3), dtype=np.float32)
    object_photo.expose(disc, paint, 12.0, lamp, 0.0, np.ones((32, 32), dtype=np.float32), picture)
    assert picture[16, 16] == pytest.approx(0.5)  # level ground, full light
    assert picture[16, 6:12].mean() > 0.5 > picture[16, 20:26].mean()
    assert not picture[0].any()  # what is behind stays


# ---- errors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "photo_id",
    [
        "mug-3-00004",
        "teapot-3-00003",
        "mug-4-00001",
        "mug-3-1",
        "mug-3-000001",
        "",
        "apple-3-00001",
        "mug-3-00001_0",
        "x\ny",
    ],
)
def test_unknown_photo(things, photo_id, refuses):
    with refuses(DataError, "no photo"):
        things.photo(photo_id)


@pytest.mark.parametrize(
    "options",
    [
        {"instances": 0}, {"test_instances": 0}, {"drawers": 0}, {"validation": -1}, {"seed": -1}, {"seed": "0"},
        {"instances": 5, "validation": 57}, {"instances": 2.5}, {"drawers": True}, {"seed": 2**40},
    ],
)  # fmt: skip
def test_nonsense_is_refused(options, refuses):
    with refuses(ConfigError, "objects: "):
        objects(**options)


def test_an_unknown_option_is_refused(refuses):
    with refuses(ConfigError, "did you mean 'instances'"):
        load_dataset("objects", instance=3)


def test_the_examples_in_the_docs_run():
    page = (Path(__file__).parents[3] / "docs" / "objects.md").read_text(encoding="utf-8")
    scope = {}
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        exec(block, scope)
    assert (scope["test"].photos[0], scope["test"].photo_categories[0]) == ("bicycle-0-00000", "bicycle")
    shapes = scope["apple"](np.random.default_rng(0))
    assert all(shape.closed or shape.width for shape in shapes)
    for row, names in (("seen (`train`", SEEN), ("unseen (`test`", UNSEEN)):
        assert next(line for line in page.splitlines() if row in line).endswith(f"| {', '.join(names)} |")
