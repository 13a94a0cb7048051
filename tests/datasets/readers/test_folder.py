"""A set of one's own: what is paired with what, which split it stands in, and what is told of the rest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sketchless.datasets.dataset import SPLITS, SketchDataset
from sketchless.datasets.errors import ConfigError, DataError, FormatError, UnsafeFileError
from sketchless.datasets.loading import load_dataset
from sketchless.datasets.readers.folder import folder

Build = Callable[..., Path]


def photo(path: Path, colour: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (colour % 256, colour // 256, 7)).save(path.with_suffix(".png"))


def line(row: int, **keys: Any) -> str:
    return json.dumps({"drawing": [[[10, 40, 90], [20, row % 200, 80], [0, 16, 33]], [[50], [60]]], **keys})


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """`photos` photos `c<i>`, each with two drawings `c<i>_<k>`, of which the first is an SVG, the second NDJSON."""

    def build(photos: int = 10) -> Path:
        root = tmp_path / "my-set"
        (root / "sketches").mkdir(parents=True)
        for i in range(photos):
            photo(root / f"photos/c{i}", i)
            (root / f"sketches/c{i}_1.svg").write_text(f'<svg viewBox="0 0 256 256"><path d="M9 {i + 9}h99"/></svg>')
            (root / f"sketches/c{i}_2.ndjson").write_text(line(i))
        return root

    return build


def pairs(data: SketchDataset) -> dict[str, str]:
    """Photo of each sketch."""
    return {
        sketch.id: part.photos[target].removeprefix("photos/")
        for part in data.splits.values()
        for sketch, target in zip(part.sketches, part.targets, strict=True)
    }


def photos_of(data: SketchDataset) -> dict[str, list[str]]:
    return {name: sorted(Path(photo).stem for photo in data.split(name).photos) for name in SPLITS}


def test_names_pair_photos_and_drawings(build: Build) -> None:
    root = build()
    data = load_dataset(str(root))
    assert data.name == "my-set"
    expected = {f"c{i}_1.svg": f"c{i}.png" for i in range(10)} | {f"c{i}_2.ndjson": f"c{i}.png" for i in range(10)}
    assert pairs(data) == expected
    # a fifth of 10 for the test, a tenth of the other 8 for validation
    assert {name: len(data.split(name).photos) for name in SPLITS} == {"train": 7, "validation": 1, "test": 2}
    assert data.report["splits"]["train"] == {"sketches": 14, "photos": 7}
    assert data.report["paired"] == data.report["drawings"] == 20
    assert data.report["paired_by"] == {"file name": 20}
    assert data.report["split_by"]["test"] == "at random: 2 of 10 photos"
    assert data.report["left_out"] == {}
    assert data.report["notes"] == []
    assert data.photo("photos/c3.png").shape == (6, 8, 3)
    again = load_dataset(**data.spec)
    assert pairs(again) == pairs(data)
    assert photos_of(again) == photos_of(data)


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("chair_10_2.svg", "chair_10"),
        ("chair_1_2.svg", "chair_1"),
        ("chair_1.svg", "chair_1"),
        ("chair_1-anna.svg", "chair_1"),
        ("chair_1 2.svg", "chair_1"),
        ("chair_1.2.svg", "chair_1"),
        ("anna/chair_1_2.svg", "chair_1"),
        ("chaise_e\u0301_2.svg", "chaise_\u00e9"),
        ("a.b_1.svg", "a.b"),
        ("a_1.svg", "a"),
    ],
)
def test_the_longest_name_counts(name: str, of: str, tmp_path: Path) -> None:
    for i, known in enumerate(["chair_1", "chair_10", "chaise_\u00e9", "a", "a.b"]):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.new("RGB", (8, 6), (i, 0, 0)).save(tmp_path / f"photos/{known}.png")
    path = tmp_path / "sketches" / name
    path.parent.mkdir(parents=True)
    path.write_text('<svg viewBox="0 0 256 256"><path d="M9 9h99"/></svg>')
    assert pairs(folder(tmp_path, validation=0, test=0)) == {name: f"{of}.png"}


def test_folders_are_categories(build: Build) -> None:
    root = build()
    for i in range(10):
        (root / f"photos/{'cow' if i % 2 else 'cat'}").mkdir(exist_ok=True)
        (root / f"photos/c{i}.png").rename(root / f"photos/{'cow' if i % 2 else 'cat'}/c{i}.png")
    data = folder(root)
    assert data.report["categories"] == 2
    for part in data.splits.values():
        assert all(part.photo_categories[t] == c for t, c in zip(part.targets, part.sketch_categories, strict=True))
    assert pairs(data)["c3_1.svg"] == "cow/c3.png"


def test_a_category_spelt_in_several_ways_is_one(tmp_path: Path) -> None:
    folders = ["Caf\u00e9 bar", "cafe\u0301_bar", "lamp"]
    for row, category in enumerate(folders * 3):
        photo(tmp_path / f"photos/{category}/p{row}", row)
        (tmp_path / f"sketches/{category}").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"sketches/{category}/p{row}.ndjson").write_text(line(row))
    data = folder(tmp_path)
    assert {name for part in data.splits.values() for name in part.photo_categories} == {folders[0], "lamp"}
    assert {name for part in data.splits.values() for name in part.sketch_categories} == {folders[0], "lamp"}
    assert data.report["categories"] == 2
    assert data.report["merged_categories"] == {"count": 1, "first": [folders[:2]]}
    assert data.report["paired"] == 9


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_list_of_pairs(form: str, build: Build) -> None:
    root = build()
    rows = [("c0_1.svg", "c9.png", "test"), ("sketches/c0_2", "photos/c8", ""), ("all.ndjson#b", "c1", "")]
    (root / "sketches/all.ndjson").write_text(line(50, key_id="a", photo="c2") + "\n" + line(51, key_id="b") + "\n")
    if form == "csv":
        (root / "pairs.csv").write_text("\ufeffsketch,photo,split\n" + "\n".join(map(",".join, rows)) + "\n")
    else:
        entries = [dict(zip(("sketch", "photo", "split"), row, strict=True)) for row in rows]
        (root / "pairs.jsonl").write_text("\n".join(map(json.dumps, entries)))
    data = folder(root)
    found = pairs(data)
    assert [found[id] for id in ("c0_1.svg", "c0_2.ndjson", "all.ndjson#b", "all.ndjson#a", "c1_1.svg")] == [
        *("c9.png", "c8.png", "c1.png", "c2.png", "c1.png")
    ]
    assert data.report["paired_by"] == {"file name": 18, "list": 3, "key photo": 1}
    assert photos_of(data)["test"] == ["c9"]


def test_a_drawing_keeps_its_place_on_its_canvas(build: Build) -> None:
    root = build(4)
    stroke = [[100, 200], [50, 50]]
    (root / "sketches/c0_9.ndjson").write_text(json.dumps({"drawing": [stroke], "canvas": [400, 200]}))
    (root / "sketches/c1_9.ndjson").write_text(json.dumps({"drawing": [stroke]}))
    found = {sketch.id: sketch for part in folder(root).splits.values() for sketch in part.sketches}
    # 400 x 200 on 256 x 256: scale 0.64, and 64 px above
    assert found["c0_9.ndjson"].points.tolist() == [[64, 96], [128, 96]]
    assert found["c1_9.ndjson"].points.tolist() == [[8, 128], [248, 128]]


# Splits ----------------------------------------------------------------------------------------------------


def by_folder(root: Path, parts: dict[str, Sequence[int]]) -> None:
    for split, members in parts.items():
        (root / "photos" / split).mkdir()
        for i in members:
            (root / f"photos/c{i}.png").rename(root / f"photos/{split}/c{i}.png")


def by_file(root: Path, parts: dict[str, Sequence[int]]) -> None:
    for split, members in parts.items():
        names = [f"c{i}.png" if i % 2 else f"photos/c{i}" for i in members]
        (root / f"{split}.txt").write_text("\n".join(names))


def by_line(root: Path, parts: dict[str, Sequence[int]]) -> None:
    for split, members in parts.items():
        for i in members:
            (root / f"sketches/c{i}_2.ndjson").write_text(line(i, split=split))


@pytest.mark.parametrize("state", [by_folder, by_file, by_line])
@pytest.mark.parametrize("seed", [0, 1])
def test_stated_splits(state: Callable[..., None], seed: int, build: Build) -> None:
    root = build()
    state(root, {"train": range(5), "validation": [5, 6], "test": [7, 8, 9]})
    data = folder(root, seed=seed, validation=1)
    assert photos_of(data) == {
        "train": ["c0", "c1", "c2", "c3", "c4"],
        "validation": ["c5", "c6"],
        "test": ["c7", "c8", "c9"],
    }
    assert data.report["split_by"] == dict.fromkeys(SPLITS, "stated")
    assert data.report["notes"] == ["validation: 2 photos as the set states, not 1"]
    assert data.report["categories"] == 0
    assert len(pairs(data)) == 20


@pytest.mark.parametrize("state", [by_folder, by_file, by_line])
def test_a_test_split_alone_may_be_stated(state: Callable[..., None], build: Build) -> None:
    root = build()
    state(root, {"test": [0, 1]})
    data = folder(root, validation=2)
    assert photos_of(data)["test"] == ["c0", "c1"]
    assert len(data.split("validation").photos) == 2
    assert data.report["split_by"] == {
        **{"train": "the rest", "test": "stated", "validation": "at random: 2 of 8 photos, seed 0"},
    }


def test_the_test_chosen_at_random_is_the_same_for_every_seed(build: Build) -> None:
    root = build(20)
    one, two = folder(root, seed=1), folder(root, seed=2)
    assert photos_of(one)["test"] == photos_of(two)["test"]
    assert photos_of(one)["validation"] != photos_of(two)["validation"]
    assert len({photo for part in photos_of(one).values() for photo in part}) == 20


def test_a_quarter_at_most(build: Build) -> None:
    data = folder(build(20), validation=50)
    assert len(data.split("validation").photos) == 4
    assert data.report["notes"] == [
        "validation: 4 of 16 photos, a quarter, instead of 50, to leave the rest to learn from"
    ]


def test_a_quarter_at_most_for_the_test(build: Build) -> None:
    notes = folder(build(20), test=50).report["notes"]
    assert notes == ["test: 5 of 20 photos, a quarter, instead of 50, to leave the rest to learn from"]


@pytest.mark.parametrize(("name", "right"), [("val.txt", "validation.txt"), ("Test.txt", "test.txt")])
def test_a_split_by_file_of_another_name(name: str, right: str, build: Build, refuses: Any) -> None:
    root = build()
    (root / name).write_text("c0\n")
    with refuses(DataError, f"{name}: states no split; rename it {right}"):
        folder(root)


def test_a_split_by_folder_of_another_name(build: Build, refuses: Any) -> None:
    root = build()
    (root / "photos/val").mkdir()
    (root / "photos/c0.png").rename(root / "photos/val/c0.png")
    with refuses(DataError, "photos/val: states no split; rename it validation"):
        folder(root)


def test_a_category_may_be_called_train(build: Build) -> None:
    root = build()
    for i in range(10):
        home = root / f"photos/{'Train' if i < 5 else 'Bus'}"
        home.mkdir(exist_ok=True)
        (root / f"photos/c{i}.png").rename(home / f"c{i}.png")
    assert folder(root).report["categories"] == 2


def test_an_empty_list_of_a_split(build: Build, refuses: Any) -> None:
    root = build()
    (root / "test.txt").write_text("\n")
    with refuses(DataError, r"test\.txt: names no photo; drop the file"):
        folder(root)


def test_where_nothing_is_left_it_is_said_why(build: Build, refuses: Any) -> None:
    root = build(2)
    for file in (root / "sketches").iterdir():
        file.write_text("x")
    with refuses(DataError, r"no drawing is left to learn from \(4 drawings that cannot be read\)"):
        folder(root, on_bad_file="skip")


def test_a_test_taken_from_photos_stated_for_training_is_said(build: Build) -> None:
    root = build()
    by_file(root, {"train": range(10)})
    data = folder(root)
    assert len(data.split("test").photos) == 2
    assert data.report["notes"] == [
        "test: 2 of 10 photos at random, stated as train or not; state which are for the test, or take none by test=0"
    ]
    assert photos_of(folder(root, test=0))["test"] == []


def test_without_a_test_split_it_is_said_at_once(build: Build) -> None:
    assert "test: no drawing; nothing can be measured on it" in folder(build(), test=0).report["notes"]


def test_a_photo_in_two_splits(build: Build, refuses: Any) -> None:
    root = build()
    by_file(root, {"train": [0, 1], "test": [1, 2]})
    with refuses(DataError, r"test.txt: line 1: the photo 'photos/c1.png' is for train and for test"):
        folder(root)


def test_copies_are_one_photo_and_test_drawings_are_not_learnt_from(build: Build) -> None:
    root = build()
    by_file(root, {"test": [0]})
    shutil.copy(root / "photos/c0.png", root / "photos/c00.png")
    (root / "sketches/c00_1.svg").write_text('<svg viewBox="0 0 256 256"><path d="M9 99h99"/></svg>')
    shutil.copy(root / "sketches/c0_1.svg", root / "sketches/c5_3.svg")
    data = folder(root)
    assert data.report["merged_photos"] == {"count": 1, "first": [["photos/c00.png", "photos/c0.png"]]}
    assert {sketch.id for sketch in data.split("test").sketches} == {"c0_1.svg", "c0_2.ndjson", "c00_1.svg"}
    assert data.report["left_out"] == {"train drawings equal to a test drawing": {"count": 1, "first": ["c5_3.svg"]}}


# What is wrong, and what is left out -----------------------------------------------------------------------


def test_what_is_left_out_is_told(build: Build) -> None:
    root = build()
    photo(root / "photos/extra", 99)
    (root / "photos/notes.txt").write_text("x")
    (root / "photos/._c1.png").write_text("x")
    (root / "sketches/c1_3.png").write_text("x")
    (root / "sketches/c1_4.ndjson").write_text(json.dumps({"drawing": []}))
    (root / "sketches/other_1.svg").write_text('<svg viewBox="0 0 256 256"><path d="M9 9h99"/></svg>')
    (root / "sketches/c1_5.ndjson").write_text(line(77, photo="lost"))
    (root / "sketches/c1_6.svg").write_text("damaged")
    (root / "sketches/c1_7.svg").write_text('<svg viewBox="0 0 256 256"><path d="M9 5h99"/><text>cow</text></svg>')
    data = folder(root, allow_missing=True, on_bad_file="skip")
    assert data.report["drawings"] == 25
    assert data.report["paired"] == 21
    assert data.report["photos_without_drawing"] == {"count": 1, "first": ["photos/extra.png"]}
    left_out = dict(data.report["left_out"])
    assert "no readable XML" in left_out.pop("drawings that cannot be read")["first"][0]
    assert left_out == {
        "empty drawings": {"count": 1, "first": ["c1_4.ndjson"]},
        "drawings whose photo is not there": {"count": 1, "first": ["c1_5.ndjson -> lost"]},
        "drawings that name no photo": {"count": 1, "first": ["other_1.svg"]},
        "other files in photos/": {"count": 1, "first": ["photos/notes.txt"]},
        "other files in sketches/": {"count": 1, "first": ["sketches/c1_3.png"]},
        "parts of SVG": {"<text>": 1},
    }


@pytest.mark.parametrize(
    ("name", "content", "kind", "match"),
    [
        ("sketches/c1_3.svg", "x", FormatError, "c1_3.svg: no readable XML"),
        ("sketches/c1_3.ndjson", "{}", FormatError, "c1_3.ndjson: line 1: has no list 'drawing'"),
        ("sketches/c1_3.ndjson", "[]", FormatError, "c1_3.ndjson: line 1: holds a list, not an object"),
        ("sketches/c1_3.ndjson", "[" * 100_000, FormatError, "c1_3.ndjson: line 1: brackets nested too deep"),
        ("sketches/c1_3.ndjson", line(1, canvas=[0, 5]), FormatError, "'canvas' is not"),
        ("sketches/c1_3.ndjson", line(1, canvas="256"), FormatError, "'canvas' is not"),
        ("sketches/c1_3.ndjson", line(1, key_id="a/b"), FormatError, "'key_id' is 'a/b'"),
        ("sketches/c1_3.ndjson", line(1, photo=5), FormatError, "'photo' is no text"),
        ("sketches/c1_3.ndjson", line(1, split="dev"), FormatError, "split 'dev' is none of train, validation, test"),
        (
            "sketches/c1_3.ndjson",
            line(1, key_id="a") + "\n" + line(2, key_id="a"),
            FormatError,
            "'a' stands there twice",
        ),
        ("sketches/c1_3.ndjson", line(1, photo="lost"), DataError, "1 drawings name photos that are not there, .*lost"),
        (
            "sketches/lost_1.svg",
            '<svg viewBox="0 0 9 9"><path d="M1 1h1"/></svg>',
            DataError,
            "name no photo, 'lost",
        ),
        ("pairs.csv", "a,b\n1,2\n", FormatError, "pairs.csv: line 2: has no text 'sketch' and 'photo', but 'a', 'b'"),
        ("pairs.csv", "sketch,photo\nc1_1,c2,x\n", FormatError, "pairs.csv: line 2: has more values than the header"),
        ("pairs.csv", "sketch,photo\nc1_1\n", FormatError, "pairs.csv: line 2: has no text"),
        ("pairs.csv", 'sketch,photo\n"c1_1,c2\n', FormatError, "pairs.csv: no CSV"),
        ("pairs.csv", "sketch,photo\nc1_1,c2\nc1_1,c3\n", FormatError, "line 3: 'c1_1' stands there twice"),
        ("pairs.csv", "sketch,photo\nc99_1,c2\n", DataError, "1 of the drawings are not there, 'c99_1'"),
        ("pairs.csv", "sketch,photo\nc1_1,c99\n", DataError, "c1_1.svg -> c99"),
        ("pairs.csv", "sketch,photo,split\nc1_1,c2,dev\n", FormatError, "pairs.csv: line 2: split 'dev'"),
        (
            "pairs.csv",
            "sketch;photo\nc1_1;c2\n",
            FormatError,
            "pairs.csv: line 1: has ';' between its values; put commas",
        ),
        ("pairs.csv", "sketch\tphoto\nc1_1\tc2\n", FormatError, r"line 1: has '\\t' between its values; put commas"),
        ("pairs.csv", "sketch,photo\nc1_1,photos\\c2.png\n", DataError, r"photos\\\\c2.png' \(did you mean 'c2'\?\); "),
        (
            "pairs.csv",
            "sketch,photo\nsketches\\C1-1.svg,c2\n",
            DataError,
            r"line 2: .* \(did you mean 'c1_1'\?\); correct",
        ),
        ("test.txt", "photos\\c2.png\n", DataError, r"test.txt: line 1: .* \(did you mean 'c2'\?\); correct it"),
        (
            "sketches/c1_3.ndjson",
            line(1, photo="C-2.PNG"),
            DataError,
            r"1 drawings name photos that are not there, 'c1_3.ndjson -> C-2.PNG' \(did you mean 'c2'\?\); ",
        ),
        (
            "sketches/c1_3.ndjson",
            json.dumps({"drawing": [[[1, 2, 3], [4, 5]]]}),
            FormatError,
            "c1_3.ndjson: line 1: stroke 1 has 3 and 2 values of x, y .*; give each point all of them",
        ),
        ("pairs.csv", "sketch,photo\n,c2\n", DataError, "line 2: 1 of the drawings are not there, ''"),
        ("pairs.csv", 'sketch,photo\n"c\n1_1",c2\n', FormatError, "a value goes over several lines"),
        ("pairs.csv", "sketch,photo\nc1_1,c2\nc1_1.svg,c2\n", FormatError, "'c1_1' stands there twice, with suffix"),
        ("sketches/c1_3.ndjson", line(1, photo="/"), DataError, "c1_3.ndjson -> /"),
        ("test.txt", "photos/\n", DataError, "test.txt: line 1: no photo 'photos/'"),
        ("pairs.jsonl", "[1]", FormatError, "pairs.jsonl: line 1: holds a list"),
        ("pairs.jsonl", "x", FormatError, "pairs.jsonl: line 1: no whole JSON object"),
        (
            "pairs.jsonl",
            '{"sketch": "c1_1", "photo": "c1"}\n{"sketch": "c2_1", "photo": "c1", "photo": "c2"}\n',
            FormatError,
            "pairs.jsonl: line 2: has the key 'photo' twice; keep one of them",
        ),
        (
            "pairs.csv",
            "sketch,photo,photo\nc1_1,c1,c2\n",
            FormatError,
            "pairs.csv: line 1: has the column 'photo' twice",
        ),
        ("pairs.jsonl", '{"sketch": 5, "photo": "c1"}', FormatError, "line 1: has no text 'sketch'"),
        ("test.txt", "c99\n", DataError, "test.txt: line 1: no photo 'c99'"),
        ("photos/c1.jpg", "x", DataError, "'photos/c1.jpg', 'photos/c1.png' have one name"),
        ("photos/sub/../C1.gif", "x", DataError, "have one name"),
    ],
)
def test_what_is_wrong(name: str, content: str, kind: Any, match: str, build: Build, refuses: Any) -> None:
    root = build()
    path = root / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.resolve().parent.mkdir(exist_ok=True, parents=True)
    path.write_text(content)
    with refuses(kind, match):
        folder(root)


@pytest.mark.parametrize(
    ("drawing", "match"),
    [
        ([[[0.1, 0.9], [0.2, 0.4]]], "all points lie between 0.1 and 0.9 on a canvas of 256 x 256; give"),
        ([[[1000, 2000], [2000, 4000]]], "outside the 256 px canvas"),
    ],
)
def test_points_in_other_units_than_the_canvas(drawing: Any, match: str, build: Build, refuses: Any) -> None:
    root = build()
    (root / "sketches/c1_3.ndjson").write_text(json.dumps({"drawing": drawing, "canvas": [256, 256]}))
    with refuses(FormatError, match):
        folder(root)


def test_doubtful_drawings_are_told(build: Build) -> None:
    root = build()
    for path in (root / "sketches").iterdir():
        path.unlink()
    for i in range(10):
        rows = [[[x], [x + i]] for x in range(5)]  # each point a stroke: the flags of stroke starts, or points as rows
        (root / f"sketches/c{i}_1.ndjson").write_text(json.dumps({"drawing": rows, "canvas": [2560, 2560]}))
    notes = folder(root).report["notes"]
    assert any("most drawings are of dots alone" in note for note in notes)
    assert any("half of the drawings are smaller than" in note for note in notes)


@pytest.mark.parametrize(
    ("canvas", "told"),
    # points reach to 230, which is right of the middle of 400, but not of 1024
    [([1024, 1024], True), ([512, 1024], True), ([400, 400], False), ([256, 256], False)],
)
def test_a_canvas_far_larger_than_the_drawings_is_told(canvas: list[int], told: bool, build: Build) -> None:
    root = build()
    for path in (root / "sketches").iterdir():
        path.unlink()
    for i in range(10):
        drawing = {"drawing": [[[20, 120, 230], [30, 40 + i, 200]]], "canvas": canvas}
        (root / f"sketches/c{i}_1.ndjson").write_text(json.dumps(drawing))
    assert any("upper left quarter" in note for note in folder(root).report["notes"]) == told


@pytest.mark.parametrize("lost", ["photos", "sketches"])
@pytest.mark.parametrize("empty", [False, True])
def test_an_incomplete_folder(lost: str, empty: bool, build: Build, refuses: Any) -> None:
    root = build()
    shutil.rmtree(root / lost)
    if empty:
        (root / lost).mkdir()
    with refuses(DataError, rf"{lost}.*docs/your-own-data.md"):
        folder(root)


def test_photos_in_a_folder_of_another_name(build: Build, refuses: Any) -> None:
    root = build()
    (root / "photos").rename(root / "images")
    with refuses(DataError, r"my-set: lacks the folder photos/; rename images/, see docs/your-own-data.md"):
        load_dataset(str(root))


def test_pictures_for_drawings(build: Build, refuses: Any) -> None:
    root = build()
    shutil.rmtree(root / "sketches")
    photo(root / "sketches/c1_1", 0)
    with refuses(
        DataError, r"sketches: holds no drawing \(.svg, .ndjson\), but 'sketches/c1_1.png'; a picture has no str"
    ):
        load_dataset(str(root))


@pytest.mark.parametrize("name", ["x.ndjson.gz", "x.json", "x.JSONL"])
def test_drawings_of_another_spelling(name: str, build: Build, refuses: Any) -> None:
    root = build()
    shutil.rmtree(root / "sketches")
    (root / "sketches").mkdir()
    (root / "sketches" / name).write_text(line(1))
    with refuses(DataError, rf"sketches: holds no drawing .*, but 'sketches/{name}'; write them as .ndjson, a drawing"):
        load_dataset(str(root))


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("pairs.CSV", "pairs.csv"),
        ("Pairs.JSONL", "pairs.jsonl"),
        ("pairs.ndjson", "pairs.jsonl"),
        ("pairs.json", "pairs.jsonl"),
    ],
)
def test_a_list_of_pairs_of_another_spelling(name: str, right: str, build: Build, refuses: Any) -> None:
    root = build()
    (root / name).write_text("sketch,photo\nc1_1,c2\n")
    with refuses(DataError, rf"my-set/{name}: is not read as a list of pairs; write it as {right}"):
        load_dataset(str(root))
    (root / "pairs.csv").write_text("sketch,photo\nc1_1,c2\n")  # the other one is a copy then
    assert pairs(load_dataset(str(root)))["c1_1.svg"] == "c2.png"


def test_photos_of_another_kind(build: Build, refuses: Any) -> None:
    root = build()
    for path in (root / "photos").iterdir():
        path.rename(path.with_suffix(".webp"))
    with refuses(DataError, r"photos: holds no photo \(.*\), but 'photos/c0.webp', .*; convert them"):
        load_dataset(str(root))


def test_links_out_of_the_folder(build: Build, tmp_path: Path, refuses: Any) -> None:
    root = build()
    (tmp_path / "elsewhere.png").write_text("x")
    (root / "photos/c1.jpg").symlink_to(tmp_path / "elsewhere.png")
    with refuses(UnsafeFileError, "leads out of"):
        folder(root)


@pytest.mark.parametrize("to", ["nothing.png", "link.png"])
def test_links_that_lead_nowhere(to: str, build: Build, refuses: Any) -> None:
    root = build()
    (root / "photos/link.png").symlink_to(to)
    with refuses(DataError, r"link\.png: a link that leads nowhere"):
        folder(root)


@pytest.mark.parametrize(("options", "match"), [({"test": -1}, "test=-1"), ({"on_bad_file": "x"}, "on_bad_file")])
def test_impossible_options(options: dict[str, Any], match: str, build: Build, refuses: Any) -> None:
    with refuses(ConfigError, match):
        folder(build(), **options)


def test_ten_thousand_drawings_are_paired_one_by_one(tmp_path: Path) -> None:
    """No step looks at all photos for each drawing: that would take minutes."""
    (tmp_path / "photos").mkdir()
    for i in range(2000):
        (tmp_path / f"photos/c{i}.png").write_bytes(f"photo {i}".encode())
    (tmp_path / "sketches").mkdir()
    (tmp_path / "sketches/all.ndjson").write_text(
        "\n".join(line(i, photo=f"c{i % 2000}", canvas=[256 + i, 256]) for i in range(10_000))
    )
    data = folder(tmp_path)
    assert data.report["paired"] == 10_000
    assert np.array([len(part.sketches) for part in data.splits.values()]).sum() == 10_000
