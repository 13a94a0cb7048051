"""Chair-V2 and Shoe-V2: keys, splits, photos and everything that can be wrong with them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sketchless.datasets.dataset import SPLITS, SketchDataset
from sketchless.datasets.errors import ConfigError, DataError, FormatError, ResourceError, UnsafeFileError
from sketchless.datasets.loading import load_dataset
from sketchless.datasets.readers.qmul import EDITIONS, qmul

Build = Callable[..., Path]


def drawing(n: int) -> np.ndarray:
    """Sketch number n; no two are the same."""
    return np.array([[10 + n, 20, 0], [30, 40 + n, 1], [50, 60, 0], [70, 80, 1]], dtype=np.float64)


def standard() -> dict[str, np.ndarray]:
    """20 train and 5 test photos with 3 sketches each."""
    parts = ["train"] * 20 + ["test"] * 5
    keys = [f"/{part}/chair_{i:02d}_{n}" for i, part in enumerate(parts) for n in (1, 2, 3)]
    return {key: drawing(i) for i, key in enumerate(keys)}


def photo_of(key: str) -> str:
    return Path(key).name.rsplit("_", 1)[0]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    def build(sketches: Any, photos: Iterable[str] | None = None, name: str = "ToyV2") -> Path:
        root = tmp_path / "set"
        (root / "photo").mkdir(parents=True, exist_ok=True)
        (root / f"{name}_Coordinate").write_bytes(pickle.dumps(sketches, 3))
        if photos is None:
            photos = sorted({photo_of(str(key)) + ".png" for key in sketches})
        for i, photo in enumerate(photos):
            Image.new("RGB", (4, 3), (i, i // 256, 7)).save(root / "photo" / photo)
        return root

    return build


def ids(data: SketchDataset, split: str) -> list[str]:
    return [sketch.id for sketch in data.split(split).sketches]


def targets(data: SketchDataset, split: str) -> list[str]:
    return [data.split(split).photos[target] for target in data.split(split).targets]


def test_a_whole_set(build: Build) -> None:
    root = build(standard())
    data = qmul(root, seed=3, validation=4)
    assert data.name == "ToyV2"
    assert data.spec == {
        "name": "qmul",
        "root": str(root),
        "seed": 3,
        "validation": 4,
        "allow_missing": False,
    }
    assert {name: len(data.split(name).photos) for name in SPLITS} == {
        "train": 16,
        "validation": 4,
        "test": 5,
    }
    assert {name: len(data.split(name).sketches) for name in SPLITS} == {
        "train": 48,
        "validation": 12,
        "test": 15,
    }
    photos = [photo for name in SPLITS for photo in data.split(name).photos]
    assert len(set(photos)) == len(photos)
    for name in SPLITS:
        assert targets(data, name) == [photo_of(id) for id in ids(data, name)]
    assert data.split("test").photos == tuple(f"chair_{i}" for i in range(20, 25))
    assert ids(data, "test")[:4] == ["chair_20_1", "chair_20_2", "chair_20_3", "chair_21_1"]
    assert data.split("test").sketches[0].points.tolist() == drawing(60)[:, :2].tolist()
    assert data.photo("chair_20").tolist() == np.tile([20, 0, 7], (3, 4, 1)).tolist()
    json.dumps([dict(data.spec), data.report], allow_nan=False)


def test_report_of_a_clean_set(build: Build) -> None:
    report = qmul(build(standard()), validation=4).report
    assert report["released"] == {
        "train_sketches": 60,
        "test_sketches": 15,
        "train_photos": 20,
        "test_photos": 5,
    }
    assert report["splits"]["validation"] == {"sketches": 12, "photos": 4}
    assert report["edition"] == "no published counts known for 'ToyV2'"
    assert report["missing_photos"] == {"photos": 0, "sketches": 0, "first": []}
    for what in ("photos_without_sketch", "duplicate_photos", "duplicate_sketches"):
        assert report[what] == {"count": 0, "first": []}
    for what in ("empty_sketches", "zero_length_segments", "train_sketches_dropped_as_test_duplicates"):
        assert report[what] == 0


def test_the_same_seed_gives_the_same_splits_whatever_the_order_in_the_file(build: Build) -> None:
    sketches = standard()
    one = qmul(build(sketches), seed=5, validation=4)
    two = qmul(build(dict(reversed(sketches.items()))), seed=5, validation=4)
    other = qmul(build(sketches), seed=6, validation=4)
    for name in SPLITS:
        assert one.split(name).photos == two.split(name).photos
        assert ids(one, name) == ids(two, name)
        assert one.split(name).targets.tolist() == two.split(name).targets.tolist()
    assert one.split("validation").photos != other.split("validation").photos
    assert one.split("test").photos == other.split("test").photos


def test_no_validation(build: Build) -> None:
    data = qmul(build(standard()), validation=0)
    assert [len(data.split(name).photos) for name in SPLITS] == [20, 0, 5]
    assert data.split("validation").sketches == ()
    assert data.split("validation").targets.dtype == np.int64


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"validation": -1}, "validation=-1: must be a whole number"),
        ({"validation": 2.5}, "validation=2.5"),
        ({"validation": True}, "validation=True"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": None}, "seed=None"),
        ({"edition": "ChairV3"}, "did you mean 'ChairV2'"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], match: str, build: Build, refuses: Any) -> None:
    with refuses(ConfigError, match):
        qmul(build(standard()), **{"validation": 4, **options})


def test_numpy_integers_are_numbers(build: Build) -> None:
    data = qmul(build(standard()), seed=np.int64(3), validation=np.int32(4))  # type: ignore[arg-type]
    assert json.loads(json.dumps(dict(data.spec))) == dict(data.spec)


# -- keys -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("/val/a_1", id="48 neither"),
        pytest.param("a_1", id="48 bare"),
        pytest.param("train/a_1", id="48 not from the root"),
        pytest.param("/trainer/a_1", id="48 longer"),
        pytest.param("/train/test/a_1", id="49 both"),
        pytest.param("/test/train/a_1", id="49 both"),
        pytest.param("/train/../a_1", id="50 up"),
        pytest.param("/train/.._1", id="50 up as a photo"),
        pytest.param("/etc/train/a_1", id="50 elsewhere"),
        pytest.param("C:\\train\\a_1", id="50 Windows"),
        pytest.param("/train/a", id="no number"),
        pytest.param("/train/a_", id="empty number"),
        pytest.param("/train/_1", id="no photo"),
        pytest.param("/train/a\0b_1", id="NUL"),
        pytest.param("/train/", id="nothing"),
        pytest.param("/train/x\n/test/a_1", id="newline"),
    ],
)
def test_keys_that_are_refused(key: str, build: Build, refuses: Any) -> None:
    with refuses(FormatError, "ToyV2_Coordinate: key "):
        qmul(build(standard() | {key: drawing(99)}, photos=[]))


@pytest.mark.parametrize("key", [3, None, b"/train/a_1", ("/train/a_1",)])
def test_51_keys_that_are_no_text(key: Any, build: Build, refuses: Any) -> None:
    with refuses(FormatError, "a key is of type"):
        qmul(build({**standard(), key: drawing(99)}, photos=[]))


@pytest.mark.parametrize(
    ("key", "part", "photo"),
    [
        ("/test/train_7_1", "test", "train_7"),
        ("/train/test_1", "train", "test"),
        ("/train/a_b_c_d_1", "train", "a_b_c_d"),
        ("/train/sd.1-2 é_12", "train", "sd.1-2 é"),
        ("/train/laque-rouge_A1YX741QQSMKPS", "train", "laque-rouge"),
    ],
)
def test_49_52_only_the_place_in_the_key_counts(key: str, part: str, photo: str, build: Build) -> None:
    data = qmul(build(standard() | {key: drawing(99)}), validation=0)
    assert photo in data.split(part).photos
    assert targets(data, part)[ids(data, part).index(Path(key).name)] == photo


def test_53_one_sketch_number_twice(build: Build, refuses: Any) -> None:
    with refuses(FormatError, r"key '/train/chair_00_01' is the same sketch as /train/chair_00_1"):
        qmul(build(standard() | {"/train/chair_00_01": drawing(99)}))


def test_photo_in_train_and_test(build: Build, refuses: Any) -> None:
    with refuses(DataError, "1 photos stand in train and in test, 'chair_00'"):
        qmul(build(standard() | {"/test/chair_00_9": drawing(99)}))


def test_a_bad_sketch_is_named(build: Build, refuses: Any) -> None:
    bad = drawing(1)
    bad[2, 1] = np.nan
    with refuses(FormatError, r"ToyV2_Coordinate: sketch '/test/chair_20_2': point 2 has nan as its y"):
        qmul(build(standard() | {"/test/chair_20_2": bad}))


def test_a_huge_sketch_is_named(build: Build, refuses: Any) -> None:
    huge = np.ones((1_000_001, 3), dtype=np.int8)
    with refuses(ResourceError, r"ToyV2_Coordinate: sketch '/test/chair_20_2': 1,000,001 points"):
        qmul(build(standard() | {"/test/chair_20_2": huge}))


def test_no_sketch_at_all(build: Build, refuses: Any) -> None:
    with refuses(FormatError, "holds no sketch"):
        qmul(build({}))


def test_1_empty_sketches_are_skipped_and_counted(build: Build) -> None:
    data = qmul(build(standard() | {f"/test/chair_20_{n}": np.zeros((0, 3)) for n in (1, 2, 3)}), validation=4)
    assert data.report["empty_sketches"] == 3
    assert len(data.split("test").sketches) == 12
    assert "chair_20" in data.split("test").photos, "a photo whose split is known stays in its gallery"


def test_32_zero_length_segments_are_counted(build: Build) -> None:
    still = np.array([[9, 9, 0], [9, 9, 0], [12, 9, 1], [12, 9, 0], [12, 9, 1]], dtype=float)
    data = qmul(build(standard() | {"/test/chair_20_1": still}), validation=4)
    assert data.report["zero_length_segments"] == 2, "a new stroke that begins where the last ended is none"


def test_code_in_the_coordinate_file(build: Build, refuses: Any) -> None:
    with refuses(UnsafeFileError, "ToyV2_Coordinate: asks for"):
        qmul(build({"/train/a_1": print}))


# -- duplicates -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_33_equal_sketches_are_never_split_over_train_and_validation(seed: int, build: Build) -> None:
    sketches = standard()
    for i, j in ((0, 1), (1, 2), (5, 6), (7, 15)):  # chair_00, 01 and 02 hang together by two pairs
        sketches[f"/train/chair_{j:02d}_{1 + (i == 1)}"] = sketches[f"/train/chair_{i:02d}_{2 if i == 1 else 3}"]
    sketches["/train/chair_02_2"] = sketches["/train/chair_01_3"]
    data = qmul(build(sketches), seed=seed, validation=5)
    chosen = set(data.split("validation").photos)
    assert len(chosen) == 5
    for group in ({"chair_00", "chair_01", "chair_02"}, {"chair_05", "chair_06"}, {"chair_07", "chair_15"}):
        assert not chosen & group or group <= chosen
    inks = {name: {s.points.tobytes() for s in data.split(name).sketches} for name in SPLITS}
    assert not inks["train"] & inks["validation"]
    assert data.report["duplicate_sketches"]["count"] >= 4


def test_33_train_copy_of_a_test_sketch_is_dropped(build: Build) -> None:
    sketches = standard()
    sketches["/train/chair_03_2"] = sketches["/test/chair_21_1"]
    data = qmul(build(sketches), validation=0)
    assert data.report["train_sketches_dropped_as_test_duplicates"] == 1
    assert data.report["duplicate_sketches"] == {"count": 1, "first": [["chair_03_2", "chair_21_1"]]}
    assert "chair_03_2" not in ids(data, "train")
    assert "chair_21_1" in ids(data, "test")
    assert "chair_03" in data.split("train").photos
    assert data.report["released"]["train_sketches"] == 60


@pytest.mark.parametrize("seed", range(6))
def test_57_equal_photos_stay_together_and_are_reported(seed: int, build: Build) -> None:
    root = build(standard())
    for copy in ("chair_04", "chair_22"):  # chair_22 is of the test
        (root / "photo" / f"{copy}.png").write_bytes((root / "photo" / "chair_03.png").read_bytes())
    data = qmul(root, seed=seed, validation=5)
    chosen = set(data.split("validation").photos)
    assert len(chosen & {"chair_03", "chair_04"}) != 1
    assert data.report["duplicate_photos"] == {"count": 1, "first": [["chair_03", "chair_04", "chair_22"]]}
    assert data.report["train_photos_left_out_as_copies_of_test_photos"] == {
        "count": 2,
        "first": ["chair_03", "chair_04"],
    }
    assert "chair_22" in data.split("test").photos
    assert not {"chair_03", "chair_04"} & {*data.split("train").photos, *chosen}
    assert len(data.split("train").sketches) + len(data.split("validation").sketches) == 54, "60 but for theirs"


@pytest.mark.parametrize("seed", range(6))
def test_equal_train_photos_stay_together(seed: int, build: Build) -> None:
    root = build(standard())
    (root / "photo/chair_04.png").write_bytes((root / "photo/chair_03.png").read_bytes())
    data = qmul(root, seed=seed, validation=5)
    assert len({"chair_03", "chair_04"} & {*data.split("validation").photos}) != 1
    assert data.report["train_photos_left_out_as_copies_of_test_photos"]["count"] == 0


def test_validation_takes_a_quarter_at_most_and_says_so(build: Build) -> None:
    data = qmul(build(standard()), validation=50)
    assert len(data.split("validation").photos) == 5
    assert data.report["notes"] == [
        "validation: 5 of 20 photos, a quarter, instead of 50, to leave the rest to learn from"
    ]
    assert qmul(build(standard()), validation=5).report["notes"] == []


def test_without_a_test_split_it_is_said_at_once(build: Build) -> None:
    train = {key: rows for key, rows in standard().items() if key.startswith("/train/")}
    assert qmul(build(train), validation=0).report["notes"] == [
        "test: no drawing; nothing can be measured on it",
        "validation: no drawing; nothing can be measured on it",
    ]


def test_groups_that_do_not_fit_leave_validation_smaller(build: Build) -> None:
    sketches = standard()
    for i in range(0, 20, 2):
        sketches[f"/train/chair_{i:02d}_1"] = sketches[f"/train/chair_{i + 1:02d}_1"]
    data = qmul(build(sketches), validation=5)
    assert data.report["splits"]["validation"]["photos"] == 4


# -- the folder -----------------------------------------------------------------------------------------


def test_191_missing_folder(tmp_path: Path, refuses: Any) -> None:
    with refuses(DataError, r"no such folder; it has to hold <Name>_Coordinate and photo/.*http://sketchx\.ai"):
        qmul(tmp_path / "absent")


def test_no_coordinate_file(tmp_path: Path, refuses: Any) -> None:
    with refuses(DataError, "exactly one file <Name>_Coordinate, .* found none"):
        qmul(tmp_path)


def test_two_coordinate_files(build: Build, refuses: Any) -> None:
    root = build(standard(), name="ChairV2")
    build(standard(), name="ShoeV2")
    with refuses(DataError, "found 'ChairV2_Coordinate', 'ShoeV2_Coordinate'"):
        qmul(root)


def test_no_photo_folder(build: Build, refuses: Any) -> None:
    root = build(standard(), photos=[])
    (root / "photo").rmdir()
    with refuses(DataError, r"photo: no such folder; .*http://sketchx\.ai"):
        qmul(root)


def test_54_missing_photos(build: Build, refuses: Any) -> None:
    present = [f"chair_{i:02d}.png" for i in range(25) if i not in (1, 2, 3, 4, 5, 21)]
    root = build(standard(), photos=present)
    with refuses(DataError, r"lacks 6 photos .* 'chair_01', .*'chair_05', \.\.\.; .*allow_missing=True"):
        qmul(root)
    data = qmul(root, validation=4, allow_missing=True)
    assert data.spec["allow_missing"] is True
    assert data.report["missing_photos"] == {
        "photos": 6,
        "sketches": 18,
        "first": ["chair_01", "chair_02", "chair_03", "chair_04", "chair_05"],
    }
    assert [len(data.split(name).photos) for name in SPLITS] == [11, 4, 4]
    assert [len(data.split(name).sketches) for name in SPLITS] == [33, 12, 12]


def test_55_photos_without_sketch_are_counted(build: Build) -> None:
    root = build(standard())
    Image.new("RGB", (3, 3)).save(root / "photo" / "spare.png")
    (root / "photo" / "Thumbs.db").write_bytes(b"x")
    data = qmul(root, validation=4)
    assert data.report["photos_without_sketch"] == {"count": 1, "first": ["spare"]}
    assert data.report["other_files_in_photo"] == 1
    assert not any("spare" in data.split(name).photos for name in SPLITS)
    assert data.photo("spare").shape == (3, 3, 3)


@pytest.mark.parametrize("twin", ["chair_03.jpg", "chair_03.PNG", "Chair_03.png", "chair_03.JPEG"])
def test_56_photo_names_that_differ_by_case_or_extension(twin: str, build: Build, refuses: Any) -> None:
    root = build(standard())
    path = root / "photo" / twin
    if path.exists():
        pytest.skip("this file system does not tell the two names apart")
    path.write_bytes(b"x")
    with refuses(DataError, rf"1 photo names differ only by case or extension, .*{twin}"):
        qmul(root)


@pytest.mark.parametrize("suffix", ["jpg", "JPG", "jpeg"])
def test_photos_may_be_jpeg(suffix: str, build: Build) -> None:
    root = build(standard())
    png = root / "photo" / "chair_03.png"
    Image.open(png).save(png.with_suffix(f".{suffix}"), "JPEG")
    png.unlink()
    assert qmul(root, validation=4).photo("chair_03").shape == (3, 4, 3)


def test_photos_are_read_when_asked_for(build: Build, refuses: Any) -> None:
    root = build(standard())
    (root / "photo" / "chair_03.png").write_bytes(b"no picture")
    data = qmul(root, validation=4)
    with refuses(FormatError, r"chair_03\.png"):
        data.photo("chair_03")
    with refuses(ConfigError, "unknown photo 'chair_3'"):
        data.photo("chair_3")
    assert pickle.loads(pickle.dumps(data.photo))("chair_04").shape == (3, 4, 3), "worker processes need it"


# -- editions -------------------------------------------------------------------------------------------


def test_192_another_edition_is_reported_or_refused(build: Build, refuses: Any) -> None:
    root = build(standard(), name="ChairV2")
    assert (
        qmul(root, validation=4)
        .report["edition"]
        .startswith("differs from the published ChairV2: 60 train sketches instead of 952, 15 test")
    )
    with refuses(DataError, r"ChairV2_Coordinate: differs from the published ChairV2"):
        qmul(root, edition="ChairV2")


def test_192_the_demanded_edition(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"train_sketches": 60, "test_sketches": 15, "train_photos": 20, "test_photos": 5}
    monkeypatch.setitem(EDITIONS, "ToyV2", counts)
    assert qmul(build(standard()), validation=4, edition="ToyV2").report["edition"] == "as published"


def test_what_macos_leaves_beside_files_is_passed_over(build: Build) -> None:
    root = build(standard())
    for path in (root / "._ToyV2_Coordinate", root / "photo/._chair_03.png", root / "photo/._chair_03.jpg"):
        path.write_bytes(b"\0\5\x16\7Mac OS X")
    data = qmul(root, validation=4)
    assert data.name == "ToyV2"
    assert data.report["photos_without_sketch"]["count"] == data.report["other_files_in_photo"] == 0
    assert load_dataset(str(root), validation=4).name == "ToyV2"


def test_names_are_one_in_composed_and_decomposed_form(build: Build) -> None:
    composed, decomposed = "/train/chaise_\u00e9_1", "/train/chaise_e\u0301_2"  # é, as Linux and macOS write it
    photos = [f"chair_{i:02d}.png" for i in range(25)] + ["chaise_e\u0301.png"]
    data = qmul(build(standard() | {composed: drawing(98), decomposed: drawing(99)}, photos), validation=0)
    assert targets(data, "train").count("chaise_\u00e9") == 2


def strokes_of_a_walk(seed: int) -> np.ndarray:
    """Three strokes of twelve points around the middle of the canvas."""
    xy = 128 + np.random.default_rng(seed).normal(size=(36, 2)).cumsum(axis=0) * 8
    pen = np.zeros(36)
    pen[[11, 23, 35]] = 1
    return np.column_stack([xy, pen])


def in_unit_square(rows: np.ndarray) -> np.ndarray:
    return rows / [256, 256, 1]


def as_offsets(rows: np.ndarray) -> np.ndarray:
    return np.column_stack([np.diff(rows[:, :2], axis=0, prepend=0), rows[:, 2]])


def flags_at_the_start(rows: np.ndarray) -> np.ndarray:
    return np.column_stack([rows[:, :2], np.roll(rows[:, 2], 1)])


@pytest.mark.parametrize(
    ("convention", "match"),
    [
        (in_unit_square, r"smaller than 0\.\d+ px; give points in pixels of a 256 px canvas"),
        (as_offsets, r"points below 0, as offsets have; give points: numpy\.cumsum"),
        (flags_at_the_start, "flag at the first point of a stroke; it belongs to its last point"),
    ],
)
def test_other_conventions_are_refused_by_name(convention: Any, match: str, build: Build, refuses: Any) -> None:
    walks = {key: strokes_of_a_walk(i) for i, key in enumerate(standard())}
    assert len(qmul(build(walks), validation=2).split("test").sketches) == 15
    with refuses(FormatError, rf"ToyV2_Coordinate: .*{match}"):
        qmul(build({key: convention(rows) for key, rows in walks.items()}), validation=2)


def test_other_separators_than_the_underscore_are_told(build: Build, refuses: Any) -> None:
    sketches = {f"/train/old-chair_{i:02d}-{n}": drawing(3 * i + n) for i in range(8) for n in (1, 2)}
    photos = [f"old-chair_{i:02d}.png" for i in range(8)] + ["old-chair.png"]
    with refuses(
        FormatError, r"sketch '00-1' of photo 'old-chair', but photo/ holds 'old-chair_00'; part the number by _"
    ):
        qmul(build(sketches, photos), validation=0)


@pytest.mark.data
def test_the_released_chair_v2(chair_v2: Path) -> None:
    data = qmul(chair_v2, edition="ChairV2")
    report = data.report
    assert data.name == "ChairV2"
    assert {name: len(data.split(name).photos) for name in SPLITS} == {
        "train": 250,
        "validation": 50,
        "test": 100,
    }
    assert len(data.split("test").sketches) == 323
    assert len(data.split("train").sketches) + len(data.split("validation").sketches) == 952
    assert report["duplicate_sketches"]["count"] == 1
    assert report["zero_length_segments"] == 2
    for what in ("photos_without_sketch", "duplicate_photos"):
        assert report[what]["count"] == 0
    assert data.photo(data.split("test").photos[0]).shape == (256, 256, 3)


# Folds -----------------------------------------------------------------------------------------------------


def test_every_photo_is_tested_in_one_fold(build: Build) -> None:
    sketches = {f"/{'train' if i % 4 else 'test'}/p{i}_{n}": drawing(9 * i + n) for i in range(22) for n in (1, 2)}
    root = build(sketches)
    tested: list[str] = []
    for fold in range(5):
        made = qmul(root, fold=fold, validation=3)
        assert len(made.splits["test"].photos) in (4, 5)
        assert len(made.splits["test"].sketches) == 2 * len(made.splits["test"].photos)
        assert not set(made.splits["test"].photos) & {
            photo for part in ("train", "validation") for photo in made.splits[part].photos
        }
        assert made.splits["test"].photos == qmul(root, fold=fold, seed=7).splits["test"].photos
        tested += made.splits["test"].photos
        assert made.spec["fold"] == fold
    assert sorted(tested) == sorted({photo_of(key) for key in sketches})
    assert "fold" not in qmul(root).spec


def test_photos_that_share_a_sketch_are_in_one_fold(build: Build) -> None:
    sketches = {f"/train/p{i}_1": drawing(i) for i in range(20)}
    sketches["/train/p3_2"] = drawing(11)  # the sketch of p11
    root = build(sketches)
    for fold in range(5):
        test = qmul(root, fold=fold).splits["test"].photos
        assert ("p3" in test) == ("p11" in test)


def test_fewer_photos_keep_the_proportion_and_the_cut(build: Build, refuses: Any) -> None:
    sketches = {f"/{'train' if i % 4 else 'test'}/p{i}_{n}": drawing(9 * i + n) for i in range(40) for n in (1, 2)}
    root = build(sketches)
    whole, few = qmul(root, validation=0), qmul(root, validation=0, photos=20, seed=1)
    for split, photos in (("train", 15), ("test", 5)):
        assert len(few.splits[split].photos) == photos
        assert len(few.splits[split].sketches) == 2 * photos
        assert set(few.splits[split].photos) < set(whole.splits[split].photos)
    assert few.splits["train"].photos != qmul(root, validation=0, photos=20, seed=2).splits["train"].photos
    assert load_dataset(**few.spec).splits["test"].photos == few.splits["test"].photos
    assert "photos" not in whole.spec
    with refuses(ConfigError, "photos=41: the set has 40"):
        qmul(root, photos=41)
    with refuses(ConfigError, "photos=1: must be"):
        qmul(root, photos=1)


def test_folds_that_do_not_exist(build: Build, refuses: Any) -> None:
    root = build({"/train/p_1": drawing(1)})
    with refuses(ConfigError, "fold=5: must be 0 to 4"):
        qmul(root, fold=5)
    with refuses(ConfigError, "fold=-1: must be a whole number, 0 or more"):
        qmul(root, fold=-1)
