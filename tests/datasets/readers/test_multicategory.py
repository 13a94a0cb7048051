"""Sketchy, TU-Berlin and Quick, Draw! in their released layouts, and how they are split."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sketchless.benchmarks.commands import info
from sketchless.datasets import SPLITS, LazySketches, RasterSketch, Sketch, SketchDataset, load_dataset
from sketchless.datasets.errors import ConfigError, DataError, FormatError, UnsafeFileError
from sketchless.datasets.readers import folders
from sketchless.datasets.readers.quickdraw import quickdraw
from sketchless.datasets.readers.sketchy import sketchy
from sketchless.datasets.readers.tu_berlin import tu_berlin
from sketchless.datasets.sheet import contact_sheet

Build = Callable[..., Path]
CATEGORIES = ("cow", "hot-air_balloon", "tea cup", "zebra")


def sizes(data: SketchDataset) -> dict[str, tuple[int, int]]:
    return {name: (len(data.split(name).sketches), len(data.split(name).photos)) for name in SPLITS}


def names(data: SketchDataset, split: str) -> set[str]:
    part = data.split(split)
    return {*part.sketch_categories, *part.photo_categories}


def ids(data: SketchDataset) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    return {name: (data.split(name).sketch_ids, data.split(name).photos) for name in SPLITS}


def disjoint(data: SketchDataset) -> bool:
    photos = [photo for name in SPLITS for photo in data.split(name).photos]
    sketches = [sketch for name in SPLITS for sketch in data.split(name).sketch_ids]
    return len(set(photos)) == len(photos) and len(set(sketches)) == len(sketches)


# Sketchy ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_sketchy(kind: str, build_sketchy: Build) -> None:
    root = build_sketchy()
    data = sketchy(root, sketches=kind, validation=4)
    # 4 categories x 5 photos x 2 sketches; a tenth of the photos is the test
    assert sizes(data) == {"train": (28, 14), "validation": (8, 4), "test": (4, 2)}
    assert disjoint(data)
    assert data.name == "sketchy"
    for name in SPLITS:
        part = data.split(name)
        for sketch, target, category in zip(part.sketch_ids, part.targets, part.sketch_categories, strict=True):
            photo = part.photos[target]
            assert Path(sketch).stem.rpartition("-")[0] == Path(photo).stem
            assert Path(sketch).parent.name == Path(photo).parent.name == category == part.photo_categories[target]
            assert photo.startswith("256x256/photo/tx_000000000000/")
    json.dumps([dict(data.spec), dict(data.report)], allow_nan=False)
    assert data.report["sketches"] == kind
    assert data.report["splits"]["test"] == {"sketches": 4, "photos": 2, "categories": len(names(data, "test"))}


def test_sketchy_strokes_fill_the_canvas_as_the_renderings_do(build_sketchy: Build) -> None:
    data = sketchy(build_sketchy(photos=2))
    sketches = {sketch.id: sketch for name in SPLITS for sketch in data.split(name).sketches}
    sketch = sketches["sketches/cow/n00_1-2.svg"]  # 128 x 64: 2 px across, 4 px down
    assert isinstance(sketch, Sketch)
    assert [stroke.tolist() for stroke in sketch.strokes()] == [[[20, 16], [60, 16]], [[70, 20], [88, 20]]]


def test_sketchy_pictures(build_sketchy: Build) -> None:
    data = sketchy(build_sketchy(photos=2, kinds=["png"]))
    sketches = {sketch.id: sketch for name in SPLITS for sketch in data.split(name).sketches}
    sketch = sketches["256x256/sketch/tx_000000000000/cow/n00_1-2.png"]  # row 4 of 64, columns 4 to 60
    assert isinstance(sketch, RasterSketch)
    rows, columns = np.nonzero(sketch.ink)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (16, 19, 16, 243)


def test_photos_are_read_by_id(build_sketchy: Build) -> None:
    data = sketchy(build_sketchy(photos=2))
    part = data.split("train")
    shown = {photo: data.photo(photo) for photo in part.photos}
    assert shown["256x256/photo/tx_000000000000/zebra/n03_1.jpg"].shape == (6, 8, 3)
    assert abs(int(shown["256x256/photo/tx_000000000000/zebra/n03_1.jpg"][0, 0, 0]) - 61) < 4


@pytest.mark.parametrize(
    "id", ["nowhere.jpg", "../sketchy/info", "/etc/passwd", "256x256/photo/../../x.jpg", "a\0b", "", "."]
)
def test_only_photos_of_the_set_are_read(id: str, build_sketchy: Build, refuses: Any) -> None:
    data = sketchy(build_sketchy(photos=2))
    with refuses(ConfigError, "unknown photo"):
        data.photo(id)


def test_the_released_test_photos(build_sketchy: Build) -> None:
    root = build_sketchy()
    (root / "info").mkdir()
    (root / "info/testset.txt").write_text("cow/n00_3.jpg\r\nzebra/n03_0.jpg\n\nzebra/n99_0.jpg\n")
    data = sketchy(root, validation=3)
    assert [Path(photo).stem for photo in data.split("test").photos] == ["n00_3", "n03_0"]
    assert sizes(data) == {"train": (30, 15), "validation": (6, 3), "test": (4, 2)}


def test_invalid_sketches_are_left_out_and_counted(build_sketchy: Build) -> None:
    root = build_sketchy()
    (root / "info").mkdir()
    (root / "info/invalid-pose.txt").write_text("n00_0-1\nn01_1,2\nn99_9-9\n")
    (root / "sketches/zebra/invalid.txt").write_text("invalid/error\nn03_0-1\nn03_0-2\n\nperspective\nn03_1-1\n")
    data = sketchy(root)
    assert data.report["invalid_sketches_left_out"] == 5
    left = {Path(sketch).stem for name in SPLITS for sketch in data.split(name).sketch_ids}
    assert left.isdisjoint({"n00_0-1", "n01_1-2", "n03_0-1", "n03_0-2", "n03_1-1"})
    assert len(left) == 35
    kept = sketchy(root, keep_invalid=True)
    assert kept.report["invalid_sketches_left_out"] == 0
    assert sum(size for size, _ in sizes(kept).values()) == 40


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("256x256", "rendered_256x256/256x256"),
        ("256x256/photo", "photo"),
        ("256x256/photo/tx_000000000000", "256x256/photo/tx_000100000000"),
        ("sketches", "sketches-06-04/sketches"),
    ],
)
def test_other_places_of_the_same_files(before: str, after: str, build_sketchy: Build) -> None:
    root = build_sketchy(kinds=["svg"])
    expected = sizes(sketchy(root))
    (root / after).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(root / before, root / after)
    assert sizes(sketchy(root)) == expected


def test_the_extended_gallery(build_sketchy: Build, refuses: Any) -> None:
    root = build_sketchy(extended=3)
    shutil.copy(root / "256x256/photo/tx_000000000000/zebra/n03_0.jpg", root / "EXTEND_image_sketchy/zebra/n03_0.JPEG")
    data = sketchy(root, unseen=["zebra"], extended=True, validation=2)
    # the zebra that is a photo of the set already is no second one
    assert sizes(data) == {"train": (26, 13 + 9), "validation": (4, 2), "test": (10, 5 + 3)}
    assert data.report["extended_photos"] == 12
    assert data.report["extended_photos_that_are_photos_of_the_set"] == 1
    assert disjoint(data)
    with refuses(ConfigError, "say which are unseen"):
        sketchy(root, extended=True)
    shutil.rmtree(root / "EXTEND_image_sketchy")
    with refuses(DataError, "lacks EXTEND_image_sketchy"):
        sketchy(root, unseen=["zebra"], extended=True)


def test_sketches_whose_photo_is_missing(build_sketchy: Build, refuses: Any) -> None:
    root = build_sketchy(kinds=["png"])
    (root / "256x256/photo/tx_000000000000/cow/n00_2.jpg").unlink()
    with refuses(DataError, r"lacks the photos of 2 sketches, '256x256/sketch/.*n00_2-1.png'"):
        sketchy(root)
    (root / "256x256/sketch/tx_000000000000/zebra/n03_1-1.png").unlink()
    (root / "256x256/sketch/tx_000000000000/zebra/n03_1-2.png").unlink()
    data = sketchy(root, allow_missing=True)
    assert data.report["sketches_without_photo"]["count"] == 2
    assert data.report["photos_without_sketch"] == 1
    assert sum(size for size, _ in sizes(data).values()) == 36


def test_sketchy_refuses_what_is_not_its_layout(build_sketchy: Build, tmp_path: Path, refuses: Any) -> None:
    root = build_sketchy(kinds=["png"])
    with refuses(DataError, r"lacks sketches/<category>/"):
        sketchy(root, sketches="svg")
    with refuses(ConfigError, "unknown kind of sketches 'gif'"):
        sketchy(root, sketches="gif")
    shutil.copy(
        root / "256x256/photo/tx_000000000000/cow/n00_2.jpg", root / "256x256/photo/tx_000000000000/cow/n00_2.png"
    )
    assert sketchy(root).report["merged_photos"]["count"] == 1
    Image.new("RGB", (9, 9)).save(root / "256x256/photo/tx_000000000000/cow/n00_2.png")
    with refuses(DataError, "n00_2.png' have one name"):
        sketchy(root)
    (root / "256x256/photo/tx_000000000000/cow/n00_2.png").unlink()
    (root / "256x256/sketch/tx_000000000000/cow/drawing.png").touch()
    with refuses(FormatError, r"cow/drawing.png: its name is not <photo>-<n>"):
        sketchy(root)
    shutil.rmtree(root / "256x256/photo")
    with refuses(DataError, "lacks 256x256/photo"):
        sketchy(root)
    with refuses(DataError, "lacks 256x256/sketch"):
        sketchy(tmp_path / "nowhere")


# TU-Berlin and Quick, Draw! --------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", [["png"], ["svg"], ["png", "svg"]])
def test_tu_berlin(kinds: list[str], build_tu_berlin: Build) -> None:
    data = tu_berlin(build_tu_berlin(kinds=kinds), validation=4)
    assert data.report["sketches"] == kinds[-1]
    assert disjoint(data)
    # 20 photos, of which 2 are the test and 4 validation; 40 sketches
    assert {name: photos for name, (_, photos) in sizes(data).items()} == {"train": 14, "validation": 4, "test": 2}
    assert sum(sketches for sketches, _ in sizes(data).values()) == 40
    for name in SPLITS:
        part = data.split(name)
        assert set(part.targets.tolist()) == {-1}
        assert set(part.sketch_categories) == set(part.photo_categories)  # none without a partner
        assert all(Path(id).parent.name == c for id, c in zip(part.sketch_ids, part.sketch_categories, strict=True))
    # a fifth of the photos of a category takes a fifth of its 10 sketches with it
    assert data.report["splits"]["test"]["sketches"] == 2 * 2
    kind = type(data.split("test").sketches[0])
    assert kind is (Sketch if "svg" in kinds else RasterSketch)


def test_categories_are_one_however_they_are_spelled(build_tu_berlin: Build) -> None:
    data = tu_berlin(build_tu_berlin())  # its photos lie in tea_cup/, its sketches in "tea cup/"
    assert {*data.split("train").photo_categories} == {*data.split("train").sketch_categories} == set(CATEGORIES)


@pytest.mark.parametrize("other", ["Tea-cup", "tea_cup"])
def test_a_category_spelled_twice_is_one(other: str, build_tu_berlin: Build) -> None:
    root = build_tu_berlin()
    (root / "png" / other).mkdir()
    for n in (21, 22, 23):
        shutil.move(root / f"png/tea cup/{n}.png", root / "png" / other / f"{n}.png")
    data = tu_berlin(root, unseen="TEA CUP")
    assert sizes(data)["test"] == (10, 5)
    assert len(names(data, "test")) == 1
    assert data.report["categories"] == 4
    assert sorted(data.report["merged_categories"]["first"][0]) == sorted({"tea cup", other, "tea_cup"})


def test_composed_and_decomposed_accents_are_one_category(build_tu_berlin: Build) -> None:
    """Of which an unseen one would stay in training, under its other spelling."""
    root = build_tu_berlin()
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    for folder in ("png", "ImageResized"):
        (root / folder / "cow").rename(root / folder / composed)
        (root / folder / decomposed).mkdir()
    for n in (1, 2):
        shutil.move(root / "png" / composed / f"{n}.png", root / "png" / decomposed / f"{n}.png")
        shutil.move(root / "ImageResized" / composed / f"{n}.jpg", root / "ImageResized" / decomposed / f"{n}.jpg")
    for asked in (composed, decomposed):
        data = tu_berlin(root, unseen=[asked])
        assert sizes(data)["test"] == (10, 5)
        assert len(names(data, "test")) == 1
        assert not names(data, "test") & (names(data, "train") | names(data, "validation"))
    assert data.report["merged_categories"] == {"count": 2, "first": [[decomposed, composed], ["tea cup", "tea_cup"]]}


def test_the_misspelt_tower_of_quickdraw_extended(build_quickdraw: Build) -> None:
    root = build_quickdraw(kind="png")
    for folder, category in (("QuickDraw_sketches_final", "effiel_tower"), ("QuickDraw_images_final", "eiffel_tower")):
        (root / folder / "cow").rename(root / folder / category)
    data = quickdraw(root, unseen="eiffel tower")
    assert sizes(data)["test"] == (10, 5)
    assert names(data, "test") == {"effiel_tower"}


def test_photos_of_equal_bytes_are_one_photo(build_sketchy: Build) -> None:
    root = build_sketchy(kinds=["png"])
    folder = root / "256x256/photo/tx_000000000000"
    shutil.copy(folder / "cow/n00_0.jpg", folder / "cow/n00_4.jpg")
    data = sketchy(root, validation=3)
    place = "256x256/photo/tx_000000000000/cow"
    assert data.report["merged_photos"] == {"count": 1, "first": [[f"{place}/n00_4.jpg", f"{place}/n00_0.jpg"]]}
    split = next(part for part in data.splits.values() if f"{place}/n00_0.jpg" in part.photos)
    drawn = [
        id
        for id, target in zip(split.sketch_ids, split.targets, strict=True)
        if target == split.photos.index(f"{place}/n00_0.jpg")
    ]
    assert sorted(Path(id).name for id in drawn) == ["n00_0-1.png", "n00_0-2.png", "n00_4-1.png", "n00_4-2.png"]
    assert sum(size for size, _ in sizes(data).values()) == 40


def test_a_photo_of_two_categories_is_not_learnt_from_and_tested_on(build_sketchy: Build) -> None:
    root = build_sketchy(kinds=["png"])
    folder = root / "256x256/photo/tx_000000000000"
    shutil.copy(folder / "zebra/n03_1.jpg", folder / "cow/n00_2.jpg")
    data = sketchy(root, unseen="zebra", validation=3)
    lost = "256x256/photo/tx_000000000000/cow/n00_2.jpg"
    assert data.report["photos_left_out_as_copies_in_another_split"] == {"count": 1, "first": [lost]}
    assert sizes(data)["test"] == (10, 5)
    assert sum(size for size, _ in sizes(data).values()) == 38, "its two sketches are left out as well"
    assert all(lost not in part.photos for part in data.splits.values())


def test_an_equal_sketch_is_not_learnt_from_and_tested_on(build_sketchy: Build) -> None:
    root = build_sketchy(kinds=["png"])
    folder = root / "256x256/sketch/tx_000000000000"
    shutil.copy(folder / "zebra/n03_1-1.png", folder / "cow/n00_2-2.png")
    shutil.copy(folder / "zebra/n03_1-1.png", folder / "zebra/n03_2-1.png")  # within the test: both stay
    data = sketchy(root, unseen="zebra", validation=3)
    lost = "256x256/sketch/tx_000000000000/cow/n00_2-2.png"
    assert data.report["sketches_left_out_as_copies_in_another_split"] == {"count": 1, "first": [lost]}
    assert sizes(data)["test"] == (10, 5)
    assert sum(size for size, _ in sizes(data).values()) == 39
    assert all(lost not in part.sketch_ids for part in data.splits.values())


def test_lists_that_name_a_photo_twice(build_sketchy: Build) -> None:
    """The released lists name photos of the set again below EXTEND_image_sketchy, where they lie resized."""
    root = build_sketchy()
    for c, category in enumerate(CATEGORIES):
        for i in range(5):
            twin = root / "EXTEND_image_sketchy" / category / f"n0{c}_{i}.jpg"
            twin.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 12), (c, i, 99)).save(twin)
    lists = write_lists(root)
    for part in ("train", "zero"):
        file = lists / f"all_photo_filelist_{part}.txt"
        rows = [row for row in file.read_text().splitlines() if "/ext_" not in row]
        twins = [row.replace("256x256/photo/tx_000000000000_ready", "EXTEND_image_sketchy_ready") for row in rows]
        file.write_text("\n".join([*twins, *rows]))
    for seed in range(4):
        data = sketchy(root, filelists="zeroshot1", validation=3, seed=seed)
        assert sizes(data) == {"train": (24, 12), "validation": (6, 3), "test": (10, 5)}
        stems = [Path(photo).stem for part in data.splits.values() for photo in part.photos]
        assert len(set(stems)) == len(stems)
        assert (data.split("test").targets >= 0).all()
    assert data.report["merged_photos"]["count"] == 20


def test_validation_of_categories_takes_a_quarter_at_most(build_tu_berlin: Build) -> None:
    data = tu_berlin(build_tu_berlin(), validation=50)
    assert sizes(data)["validation"][1] == 5, "a quarter of 18, rounded up"
    assert data.report["notes"] == [
        "validation: 5 of 18 photos, a quarter, instead of 50, to leave the rest to learn from"
    ]


def test_tu_berlin_as_released_has_no_photos(build_tu_berlin: Build) -> None:
    data = tu_berlin(build_tu_berlin(photos=0), validation=5)
    assert sizes(data) == {"train": (31, 0), "validation": (5, 0), "test": (4, 0)}
    assert disjoint(data)
    assert set(data.split("train").targets.tolist()) == {-1}


@pytest.mark.parametrize("kind", ["ndjson", "ndjson.gz", "png"])
def test_quickdraw(kind: str, build_quickdraw: Build) -> None:
    data = quickdraw(build_quickdraw(kind=kind), unseen="zebra,hot air balloon", validation=2)
    assert names(data, "test") == {"zebra", "hot-air_balloon"}
    assert {name: photos for name, (_, photos) in sizes(data).items()} == {"train": 8, "validation": 2, "test": 10}
    assert sizes(data)["test"] == (20, 10)
    assert disjoint(data)
    part = data.split("test")
    assert set(part.targets.tolist()) == {-1}
    sketch = part.sketches[part.sketch_categories.index("zebra")]
    if kind == "png":
        assert sketch.id == "QuickDraw_sketches_final/zebra/60.png"
        assert isinstance(sketch, RasterSketch)
    else:
        assert sketch.id == f"zebra.{kind}#5000000000000060"
        # x 0..255 and y 40..60 fill 240 px: scale 240 / 255, centred
        assert sketch.strokes()[0].tolist() == pytest.approx(
            np.array([[8, 137.4118], [102.1176, 128], [248, 118.5882]]), abs=1e-3
        )
        assert sketch.strokes()[1].tolist() == pytest.approx(np.array([[128.4706, 137.4118]]), abs=1e-3)


def test_the_first_drawings_of_each_category(build_quickdraw: Build) -> None:
    root = build_quickdraw()
    data = quickdraw(root, per_category=3, unseen="cow")
    assert data.split("test").sketch_ids == tuple(f"cow.ndjson#500000000000000{i}" for i in range(3))
    assert sum(sketches for sketches, _ in sizes(data).values()) == 12


def test_quickdraw_refuses(build_quickdraw: Build, tmp_path: Path, refuses: Any) -> None:
    root = build_quickdraw()
    with refuses(ConfigError, "did you mean 'skip'"):
        quickdraw(root, on_bad_line="skipp")
    with refuses(ConfigError, "per_category=0"):
        quickdraw(root, per_category=0)
    with refuses(DataError, "lacks QuickDraw_sketches_final"):
        quickdraw(root, sketches="png")
    with refuses(DataError, "lacks"):
        quickdraw(tmp_path / "nowhere")


# Splits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("validation", [None, 0, 3])
def test_every_loader_divides_by_the_seed_alone(
    validation: int | None, build_sketchy: Build, build_tu_berlin: Build, build_quickdraw: Build
) -> None:
    for root in (build_sketchy(), build_tu_berlin(), build_quickdraw()):
        one, two = (load_dataset(str(root), seed=1, validation=validation) for _ in range(2))
        other = load_dataset(str(root), seed=2, validation=validation)
        assert ids(one) == ids(two)
        assert (ids(one) == ids(other)) == (validation == 0)
        assert ids(one)["test"] == ids(other)["test"]  # no seed looks at another test
        assert ids(load_dataset(**one.spec)) == ids(one)
        assert disjoint(one)
        whole = [photo for name in SPLITS for photo in one.split(name).photos]
        assert len(whole) == 20
        assert len(one.split("validation").photos) == (2 if validation is None else validation)


def test_unseen_categories_from_a_file(build_sketchy: Build) -> None:
    root = build_sketchy()
    for text in ("zebra\nhot air balloon\n", "zebra 3\nhot-air_balloon 11\n", "\ufeffZebra\r\n\r\nHot_air_balloon\r\n"):
        (root / "cname_cid_zero.txt").write_text(text, encoding="utf-8")
        for given in ("cname_cid_zero.txt", str(root / "cname_cid_zero.txt")):
            data = sketchy(root, unseen=given, validation=3)
            assert names(data, "test") == {"zebra", "hot-air_balloon"}
            assert names(data, "train") == {"cow", "tea cup"}
            assert sizes(data) == {"train": (14, 7), "validation": (6, 3), "test": (20, 10)}
            assert disjoint(data)


def test_many_unseen_categories_by_name(build_sketchy: Build, refuses: Any) -> None:
    """More than a file name may hold."""
    many = "zebra," * 200 + "cow"
    root = build_sketchy()
    assert names(sketchy(root, unseen=many), "test") == {"cow", "zebra"}
    assert names(load_dataset(f"{root}?unseen={many}"), "test") == {"cow", "zebra"}
    with refuses(ConfigError, "unknown category"):
        sketchy(root, unseen=many + "s\0")


def test_validation_by_category(build_sketchy: Build, refuses: Any) -> None:
    root = build_sketchy()
    data = sketchy(root, unseen=["zebra"], validation=50, validation_categories=1)
    assert sizes(data) == {"train": (20, 10), "validation": (10, 5), "test": (10, 5)}
    assert names(data, "train").isdisjoint(names(data, "validation") | {"zebra"})
    chosen = {frozenset(names(sketchy(root, s, validation_categories=1), "validation")) for s in range(9)}
    assert len(chosen) > 1
    with refuses(ConfigError, "validation_categories=3: leaves none of 3"):
        sketchy(root, unseen=["zebra"], validation_categories=3)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"unseen": ["zebbra"]}, "unknown category 'zebbra': did you mean 'zebra'"),
        ({"unseen": []}, "names no category"),
        ({"unseen": ["zebra"], "filelists": "zeroshot1"}, "give one of them"),
        ({"validation": -1}, "validation=-1"),
        ({"validation": 2.5}, "validation=2.5"),
        ({"seed": True}, "seed=True"),
        ({"validation_categories": -1}, "validation_categories=-1"),
    ],
)
def test_impossible_splits(options: dict[str, Any], match: str, build_sketchy: Build, refuses: Any) -> None:
    with refuses(ConfigError, match):
        sketchy(build_sketchy(), **options)


def test_all_categories_unseen_leaves_nothing_to_train_on(build_sketchy: Build) -> None:
    data = sketchy(build_sketchy(), unseen=CATEGORIES)
    assert sizes(data) == {"train": (0, 0), "validation": (0, 0), "test": (40, 20)}


def write_lists(root: Path, ready: str = "_ready", **changes: str) -> Path:
    """The four lists of a zero-shot split in which zebras are unseen, in `zeroshot1/`."""
    folder = root / "zeroshot1"
    folder.mkdir(exist_ok=True)
    lists: dict[str, list[str]] = {}
    for label, category in enumerate(CATEGORIES):
        part = "zero" if category == "zebra" else "train"
        for i in range(5):
            photo = f"256x256/photo/tx_000000000000{ready}/{category}/n0{label}_{i}.jpg"
            lists.setdefault(f"all_photo_filelist_{part}", []).append(f"{photo} {label}")
            for k in (1, 2):
                sketch = f"256x256/sketch/tx_000000000000{ready}/{category}/n0{label}_{i}-{k}.png"
                lists.setdefault(f"sketch_tx_000000000000_ready_filelist_{part}", []).append(f"{sketch} {label}")
        for i in range(3):
            photo = f"EXTEND_image_sketchy{ready}/{category}/ext_{i}.jpg"
            lists[f"all_photo_filelist_{part}"].append(f"{photo} {label}")
    for name, rows in lists.items():
        (folder / f"{name}.txt").write_text(changes.get(name, "\n".join(rows) + "\n"))
    (folder / "cname_cid_zero.txt").write_text("zebra 3\n")
    return folder


@pytest.mark.parametrize("ready", ["_ready", ""])
def test_file_lists(ready: str, build_sketchy: Build) -> None:
    root = build_sketchy(extended=4)
    write_lists(root, ready)
    data = sketchy(root, filelists="zeroshot1", sketches="png", validation=3)
    assert sizes(data) == {"train": (24, 12 + 9), "validation": (6, 3), "test": (10, 5 + 3)}
    assert names(data, "test") == {"zebra"}
    assert disjoint(data)
    assert data.report["in_no_split"] == {"sketches": 0, "photos": 4}  # the fourth extended one of each
    assert data.split("test").sketch_ids[0] == "256x256/sketch/tx_000000000000/zebra/n03_0-1.png"
    assert all(target >= 0 for target in data.split("test").targets)
    same = sketchy(root, unseen="zeroshot1/cname_cid_zero.txt", sketches="png", validation=3)
    assert set(same.split("test").sketch_ids) == set(data.split("test").sketch_ids)


def test_file_lists_of_resized_copies(build_sketchy: Build) -> None:
    root = build_sketchy(scaling="tx_000000000000_ready", extended=3)
    write_lists(root)
    data = sketchy(root, filelists=str(root / "zeroshot1"), sketches="png")
    assert data.split("test").photos[0] == "256x256/photo/tx_000000000000_ready/zebra/n03_0.jpg"


def test_file_lists_of_tu_berlin(build_tu_berlin: Build) -> None:
    root = build_tu_berlin()
    folder = root / "zeroshot"
    folder.mkdir()
    (folder / "png_ready_filelist_train.txt").write_text("png_ready/cow/1.png 0\npng_ready/tea cup/21.png 1\n")
    (folder / "png_ready_filelist_zero.txt").write_text("png_ready/zebra/31.png 0\n")
    (folder / "ImageResized_ready_filelist_train.txt").write_text(
        "ImageResized_ready/cow/0.jpg 0\nImageResized_ready/tea_cup/1.jpg 1\n"
    )
    (folder / "ImageResized_ready_filelist_zero.txt").write_text("ImageResized_ready/zebra/0.jpg 0\n")
    data = tu_berlin(root, filelists="zeroshot", validation=0)
    assert sizes(data) == {"train": (2, 2), "validation": (0, 0), "test": (1, 1)}
    assert data.split("train").sketch_categories == data.split("train").photo_categories == ("cow", "tea cup")


def write_quickdraw_lists(root: Path, photos: str = "images") -> Path:
    """The four lists as ZSE-SBIR released them, in which zebras are unseen, in `zeroshot/`."""
    (root / "zeroshot").mkdir()
    for label, category in enumerate(CATEGORIES):
        part = "zero" if category == "zebra" else "train"
        with open(root / f"zeroshot/sketch_{part}.txt", "a") as file:
            file.writelines(f"sketches/{category}/{20 * label + i}.png {label}\n" for i in range(10))
        with open(root / f"zeroshot/all_photo_{part}.txt", "a") as file:
            file.writelines(f"{photos}/{category}/{i}.jpg {label}\n" for i in range(5))
    (root / "zeroshot/cname_cid_zero.txt").write_text("zebra 3\n")
    return root


QUICKDRAW = {"sketches": "QuickDraw_sketches_final", "images": "QuickDraw_images_final"}


@pytest.mark.parametrize("renamed", [[], ["sketches"], ["images"], ["sketches", "images"]])
def test_file_lists_of_quickdraw(renamed: list[str], build_quickdraw: Build) -> None:
    root = write_quickdraw_lists(build_quickdraw(kind="png"))
    for name in renamed:
        (root / QUICKDRAW[name]).rename(root / name)
    data = load_dataset(f"{root}?filelists=zeroshot", validation=3)
    assert data.name == "quickdraw"
    assert {name: photos for name, (_, photos) in sizes(data).items()} == {"train": 12, "validation": 3, "test": 5}
    assert sizes(data)["test"] == (10, 5)
    assert names(data, "test") == {"zebra"}
    assert disjoint(data)
    assert data.report["in_no_split"] == {"sketches": 0, "photos": 0}
    folder = "sketches" if "sketches" in renamed else QUICKDRAW["sketches"]
    assert data.split("test").sketch_ids[0] == f"{folder}/zebra/60.png"
    assert isinstance(data.split("test").sketches[0], RasterSketch)
    same = load_dataset(f"{root}?unseen=zebra", validation=3)
    assert set(same.split("test").photos) == set(data.split("test").photos)


def test_file_lists_name_pictures(
    build_sketchy: Build, build_tu_berlin: Build, build_quickdraw: Build, refuses: Any
) -> None:
    root = build_sketchy(extended=3)  # PNG and SVG
    write_lists(root)
    data = sketchy(root, filelists="zeroshot1")
    assert data.report["sketches"] == data.spec["sketches"] == "png"
    assert sizes(data)["test"] == (10, 8)
    assert ids(load_dataset(**data.spec)) == ids(data)
    assert sketchy(root, unseen="zebra").report["sketches"] == "svg"
    with refuses(DataError, r"names 30 files, .*of another kind than the .svg that are read; give sketches="):
        sketchy(root, filelists="zeroshot1", sketches="svg")

    root = build_tu_berlin(kinds=["png", "svg"])
    (root / "zeroshot").mkdir()
    for part, category in (("train", "cow"), ("zero", "zebra")):
        (root / f"zeroshot/png_ready_filelist_{part}.txt").write_text(
            "".join(f"png_ready/{category}/{path.name} 0\n" for path in sorted((root / "png" / category).iterdir()))
        )
        photos = root / f"zeroshot/ImageResized_ready_filelist_{part}.txt"
        photos.write_text(f"ImageResized_ready/{category}/0.jpg 0\n")
    assert tu_berlin(root, filelists="zeroshot", validation=0).report["sketches"] == "png"
    assert tu_berlin(root).report["sketches"] == "svg"

    root = write_quickdraw_lists(build_quickdraw(kind="png"))
    (root / "cow.ndjson").write_text("")
    assert quickdraw(root, filelists="zeroshot").report["sketches"] == "png"


PHOTO = "256x256/photo/tx_000000000000/"


@pytest.mark.parametrize(
    ("kind", "rows", "match"),
    [
        (UnsafeFileError, "../../etc/passwd 0", "leads out of it"),
        (UnsafeFileError, "/etc/passwd 0", "leads out of it"),
        (UnsafeFileError, f"{PHOTO}cow\\..\\..\\x.jpg 0", "leads out of it"),
        (UnsafeFileError, f"{PHOTO}cow/n00_0.jpg\0 0", "leads out of it"),
        (UnsafeFileError, "C:/x.jpg 0", "leads out of it"),
        (FormatError, f"\n{PHOTO}cow/n00_0.jpg", "line 2: .* is not <path> <label>"),
        (FormatError, f"{PHOTO}cow/n00_0.jpg 0\n{PHOTO}cow/n00_1.jpg 1", "line 2: 'cow' has label 1, but 0 before"),
        (FormatError, b"\xff\xfe".decode("latin1"), "is not <path> <label>"),
        (DataError, f"{PHOTO}cow/n00_9.jpg 0", "names 1 files, .*n00_9.jpg.*, not below .*; complete"),
        (DataError, f"{PHOTO}cow/n00_0.jpg 0\n{PHOTO}zebra/n03_0.jpg 3", "listed for train too"),
        (DataError, f"{PHOTO}cow/n00_0.jpg 0\n{PHOTO}zebra/n03_4.jpg 3", "1 categories are seen and unseen, 'zebra'"),
    ],
)
def test_bad_file_lists(kind: Any, rows: str, match: str, build_sketchy: Build, refuses: Any) -> None:
    root = build_sketchy(extended=3)
    changes = {"all_photo_filelist_train": rows}
    if "seen and unseen" in match:
        changes["all_photo_filelist_zero"] = f"{PHOTO}zebra/n03_0.jpg 3"
    write_lists(root, **changes)
    with refuses(kind, match):
        sketchy(root, filelists="zeroshot1", sketches="png")


def test_missing_file_lists(build_sketchy: Build, refuses: Any) -> None:
    root = build_sketchy(extended=3)
    with refuses(DataError, "zeroshot1: no such folder"):
        sketchy(root, filelists="zeroshot1")
    (write_lists(root) / "all_photo_filelist_zero.txt").unlink()
    with refuses(DataError, r"all_photo\*_zero.txt"):
        sketchy(root, filelists="zeroshot1", sketches="png")


# Laziness and safety ---------------------------------------------------------------------------------------


def test_no_sketch_is_read_before_it_is_asked_for(build_sketchy: Build, refuses: Any) -> None:
    root = build_sketchy()
    for path in (root / "sketches").rglob("*.svg"):
        path.write_text(f"damaged {path.name}")
    data = sketchy(root)
    sketches = data.split("train").sketches
    assert isinstance(sketches, LazySketches)
    assert len(sketches[2:5]) == 3
    assert sketches[2:5].ids == sketches.ids[2:5]
    with refuses(FormatError, r"n\d\d_\d-\d\.svg: no readable XML"):
        sketches[3]


def test_a_sketch_is_kept_for_a_while(build_sketchy: Build) -> None:
    sketches = sketchy(build_sketchy()).split("train").sketches
    assert sketches[0] is sketches[0]
    assert sketches[-1].id == sketches[len(sketches) - 1].id
    with pytest.raises(IndexError):
        sketches[len(sketches)]


def test_a_file_that_has_changed(build_quickdraw: Build, refuses: Any) -> None:
    root = build_quickdraw()
    data = quickdraw(root)
    sketches = data.split("train").sketches
    for path in root.glob("*.ndjson"):
        path.write_bytes(path.read_bytes()[7:])
    with refuses(FormatError, "has the file changed since"):
        sketches[0]
    for path in root.glob("*.ndjson"):
        path.unlink()
    with refuses(DataError, "is it still there"):
        sketches[0]


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims to be so large."""
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0), b"IDAT" + zlib.compress(b"")]
    sums = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(sums)


WHOLE = io.BytesIO()
Image.new("L", (64, 64), 255).save(WHOLE, "PNG")


@pytest.mark.parametrize("what", ["photo", "sketch"])
@pytest.mark.parametrize(
    ("content", "kind", "match"),
    [
        pytest.param(WHOLE.getvalue()[:60], FormatError, "damaged picture|no readable", id="58-truncated"),
        pytest.param(b"", FormatError, "no readable PNG", id="60-empty"),
        pytest.param(b"<html>404</html>", FormatError, "no readable PNG", id="61-html"),
        pytest.param(png_of(12_000, 12_000), UnsafeFileError, "12000 x 12000 pixels", id="62-144-Mpx"),
        pytest.param(png_of(20_000, 20_000), UnsafeFileError, "Pillow's own|20000 x 20000", id="63-400-Mpx"),
        pytest.param(png_of(1, 1_000_000), FormatError, "is a strip", id="64-strip"),
        pytest.param(b"RIFF\x1a\0\0\0WEBPVP8L", FormatError, "no readable PNG", id="75-webp"),
    ],
)
def test_58_to_75_bad_pictures(
    what: str, content: bytes, kind: Any, match: str, build_sketchy: Build, refuses: Any
) -> None:
    root = build_sketchy(kinds=["png"])
    data = sketchy(root, validation=0)
    part = data.split("train")
    path = part.photos[0] if what == "photo" else part.sketch_ids[0]
    (root / path).write_bytes(content)
    with refuses(kind, rf"{Path(path).name}: .*({match})"):
        data.photo(path) if what == "photo" else part.sketches[0]


def test_light_on_dark(build_tu_berlin: Build, refuses: Any) -> None:
    root = build_tu_berlin()
    plain = tu_berlin(root).split("train").sketches[0]
    for path in (root / "png").rglob("*.png"):
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    with refuses(FormatError, r"load it with invert=true"):
        tu_berlin(root).split("train").sketches[0]
    data = load_dataset(f"{root}?invert=true")
    assert data.spec["invert"] is True
    assert data.split("train").sketches[0].content() == plain.content()


def test_a_sketch_without_ink(build_sketchy: Build, refuses: Any) -> None:
    root = build_sketchy(kinds=["png"])
    part = sketchy(root).split("train")
    (root / part.sketch_ids[0]).write_bytes(WHOLE.getvalue())
    with refuses(FormatError, rf"{Path(part.sketch_ids[0]).name}': the picture has no dark ink"):
        part.sketches[0]


def test_lists_of_names_that_cannot_be_read(
    build_sketchy: Build, monkeypatch: pytest.MonkeyPatch, refuses: Any
) -> None:
    root = build_sketchy()
    (root / "names.txt").write_bytes(b"zebra\n\xff\n")
    with refuses(FormatError, "names.txt: not UTF-8 at byte 6"):
        sketchy(root, unseen="names.txt")
    monkeypatch.setattr(folders, "MAX_LIST", 7)
    with refuses(UnsafeFileError, "names.txt: over"):
        sketchy(root, unseen="names.txt")
    with refuses(ConfigError, "unknown category 'nowhere.txt'"):
        sketchy(root, unseen="nowhere.txt")


@pytest.mark.parametrize("what", ["folder", "category", "photo", "sketch"])
def test_links_out_of_the_folder(what: str, build_sketchy: Build, tmp_path: Path, refuses: Any) -> None:
    root = build_sketchy(kinds=["png"])
    path = {
        "folder": "256x256/photo/tx_000000000000",
        "category": "256x256/photo/tx_000000000000/cow",
        "photo": "256x256/photo/tx_000000000000/cow/n00_0.jpg",
        "sketch": "256x256/sketch/tx_000000000000/cow/n00_0-1.png",
    }[what]
    shutil.move(root / path, tmp_path / "outside")
    (root / path).symlink_to(tmp_path / "outside")
    with refuses(UnsafeFileError, "a link that leads out of"):
        sketchy(root)


def test_links_within_the_folder(build_sketchy: Build, tmp_path: Path) -> None:
    root = build_sketchy(kinds=["png"])
    expected = ids(sketchy(root))
    shutil.move(root / "256x256/photo/tx_000000000000/cow", root / "cows")
    (root / "256x256/photo/tx_000000000000/cow").symlink_to(root / "cows")
    (tmp_path / "link").symlink_to(root)
    assert ids(sketchy(root)) == ids(sketchy(tmp_path / "link")) == expected


def test_ndjson_linked_out_of_the_folder(build_quickdraw: Build, tmp_path: Path, refuses: Any) -> None:
    root = build_quickdraw()
    shutil.move(root / "cow.ndjson", tmp_path / "cow.ndjson")
    (root / "cow.ndjson").symlink_to(tmp_path / "cow.ndjson")
    with refuses(UnsafeFileError, "a link that leads out of"):
        quickdraw(root)


def test_names_that_are_no_text(build_sketchy: Build, refuses: Any) -> None:
    root = build_sketchy(kinds=["png"])
    (root / "256x256/sketch/tx_000000000000/cow/a\nb-1.png").touch()
    with refuses(UnsafeFileError, "no printable text"):
        sketchy(root)


def test_what_macos_leaves_in_archives_is_passed_over(build_sketchy: Build) -> None:
    root = build_sketchy(kinds=["png"])
    expected = ids(sketchy(root))
    (root / "256x256/sketch/tx_000000000000/cow/._n00_0-1.png").touch()
    (root / "256x256/sketch/tx_000000000000/.DS_Store").touch()
    assert ids(sketchy(root)) == expected


# By folder, and what a user sees ---------------------------------------------------------------------------


def test_the_layout_says_which_set_it_is(
    build_sketchy: Build, build_tu_berlin: Build, build_quickdraw: Build, tmp_path: Path, refuses: Any
) -> None:
    for build, name in ((build_sketchy, "sketchy"), (build_tu_berlin, "tu-berlin"), (build_quickdraw, "quickdraw")):
        root = build()
        data = load_dataset(str(root), seed=1, validation=3)
        assert data.spec["name"] == data.name == name
        assert ids(load_dataset(name, root=str(root), seed=1, validation=3)) == ids(data)
    (tmp_path / "empty").mkdir()
    with refuses(DataError, "holds no data set: neither"):
        load_dataset(str(tmp_path / "empty"))
    with refuses(DataError, "no such folder"):
        load_dataset(str(tmp_path / "nowhere"))
    with refuses(ConfigError, "lies in files; give its folder"):
        load_dataset("sketchy")


@pytest.mark.parametrize("photos", ["images", "photos", "QuickDraw_images_final"])
def test_pictures_and_photos_in_plain_folders_are_quickdraw(
    photos: str, build_sketchy: Build, build_tu_berlin: Build, build_quickdraw: Build, refuses: Any
) -> None:
    for build, name in ((build_sketchy, "sketchy"), (build_tu_berlin, "tu-berlin")):
        root = build()  # neither of which becomes one by folders that lie beside it
        for folder in ("sketches", photos):
            (root / folder).mkdir(exist_ok=True)
        assert load_dataset(str(root)).name == name
    root = build_quickdraw(kind="png")
    (root / "QuickDraw_sketches_final").rename(root / "sketches")
    with contextlib.suppress(FileExistsError):
        (root / "QuickDraw_images_final").rename(root / photos)
    assert load_dataset(str(root)).name == "quickdraw"
    (root / photos).rename(root / "elsewhere")
    with refuses(DataError, "holds no data set: .* sketches/ with images/"):  # which could be of any set
        load_dataset(str(root))


def test_options_may_follow_the_folder(build_sketchy: Build, refuses: Any) -> None:
    root = build_sketchy()
    data = load_dataset(f"{root}?unseen=zebra,hot+air+balloon&sketches=png&validation=2", validation=50, seed=1)
    assert names(data, "test") == {"zebra", "hot-air_balloon"}
    assert data.spec["validation"] == 2
    assert data.spec["seed"] == 1
    assert data.report["sketches"] == "png"
    assert load_dataset(f"sketchy?root={root}&keep_invalid=true&unseen=cow").spec["keep_invalid"] is True
    with refuses(ConfigError, "did you mean 'unseen'"):
        load_dataset(f"{root}?unsen=zebra")
    with refuses(ConfigError, "are not <option>=<value>"):
        load_dataset(f"{root}?unseen")
    assert len(load_dataset("procedural?train=9&validation=2&test=3&drawers=1").split("train").sketches) == 7


@pytest.mark.parametrize("split", SPLITS)
def test_contact_sheets(
    split: str, build_sketchy: Build, build_tu_berlin: Build, build_quickdraw: Build, tmp_path: Path
) -> None:
    for build in (build_sketchy, build_tu_berlin, build_quickdraw):
        root = build()
        out = tmp_path / f"{root.name}.png"
        info.run(info.InfoConfig(dataset=str(root), sheet=str(out), split=split))
        with Image.open(out) as sheet:
            assert len(sheet.getcolors(1 << 20) or []) > 10


def test_a_contact_sheet_without_photos(build_tu_berlin: Build) -> None:
    sheet = contact_sheet(tu_berlin(build_tu_berlin(photos=0)), "train")
    assert len(sheet.getcolors(1 << 20) or []) > 10
