"""Quick, Draw! in NDJSON: what is accepted, and every fault with its line. Ids are rows of the bad-input catalogue."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sketchless.datasets.errors import DataError, FormatError, ResourceError, SketchlessError, UnsafeFileError
from sketchless.datasets.formats import ndjson
from sketchless.datasets.formats.ndjson import MAX_LINE, parse, read_lines
from sketchless.datasets.readers.quickdraw import quickdraw

Write = Callable[..., Path]


def line(**changes: Any) -> str:
    whole = {
        "word": "cow",
        "recognized": True,
        "key_id": "1",
        "drawing": [[[0, 255], [0, 100]], [[40], [60]]],
    }
    return json.dumps({key: value for key, value in (whole | changes).items() if value is not None})


GOOD = [line(key_id=str(i)) for i in range(4)]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str | bytes, name: str = "cow.ndjson") -> Path:
        root = tmp_path / "set"
        root.mkdir(exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return root

    return write


def keys(root: Path, **options: Any) -> list[str]:
    data = quickdraw(root, validation=0, **options)
    found = [id.rpartition("#")[2] for name in ("train", "test") for id in data.split(name).sketch_ids]
    assert len(list(data.split("train").sketches)) == len(data.split("train").sketch_ids)  # all can be read
    return sorted(found)


BAD = [
    pytest.param(line().replace("255", "NaN"), "NaN is no number", id="100-nan"),
    pytest.param(line().replace("255", "-Infinity"), "-Infinity is no number", id="100-infinity"),
    pytest.param(line().replace("255", "1e999"), "stroke 1 has a coordinate that is not finite", id="100-1e999"),
    pytest.param(line().replace("255", "1e30"), "stroke 1 has a coordinate .* beyond", id="100-1e30"),
    pytest.param('{"word": "cow", "word": "cat"}', "has the key 'word' twice", id="101-duplicate-key"),
    pytest.param(line()[:-1] + ', "x": {"a": 1, "a": 1}}', "has the key 'a' twice", id="101-deeper"),
    pytest.param("[" * 100_000, "nested too deep|no whole JSON", id="102-nesting"),
    pytest.param('{"a":' * 100_000, "nested too deep|no whole JSON", id="102-nested-objects"),
    pytest.param("[" * 100_000 + "]" * 100_000, "nested too deep", id="102-nested-and-closed"),
    pytest.param(line().replace("255", "1" * 5000), "beyond all bounds", id="103-5000-digits"),
    pytest.param(line().replace("255", "1" * 400), "beyond all bounds", id="103-400-digits"),
    pytest.param(line(word="\ud800"), "'word' is .* no printable text", id="105-lone-surrogate"),
    pytest.param(line(word="a\nb"), "'word' is .* no printable text", id="105-line-break"),
    pytest.param(line(key_id="\udfff"), "'key_id' is .* no printable text", id="105-surrogate-key"),
    pytest.param(line(key_id="../x#1"), "'key_id' is '../x#1', not letters and digits", id="105-path-as-key"),
    pytest.param(line()[:40], "no whole JSON object", id="107-half-line"),
    pytest.param(line(drawing=None), "has no list 'drawing'", id="109-no-drawing"),
    pytest.param(line(word=None), "has no 'word'", id="109-no-word"),
    pytest.param(line(key_id=None), "has no 'key_id'", id="109-no-key"),
    pytest.param(line(word=3), "'word' is no text", id="109-word-is-a-number"),
    pytest.param(line(word=""), "'word' is no text", id="109-empty-word"),
    pytest.param(line(key_id=True), "'key_id' is no text", id="109-key-is-true"),
    pytest.param(line(recognized="yes"), "'recognized' is 'yes', neither true nor false", id="109-recognized"),
    pytest.param(line(recognized=1), "'recognized' is '1'", id="109-recognized-1"),
    pytest.param(line(drawing={}), "'drawing' is no list", id="109-drawing-is-an-object"),
    pytest.param(line(drawing=[[1, 2]]), "stroke 1 is not", id="109-stroke-of-numbers"),
    pytest.param(line(drawing=[[[1], [2]], "ab"]), "stroke 2 is not", id="109-stroke-of-text"),
    pytest.param(line(drawing=[[[1]]]), "stroke 1 is not", id="109-no-y"),
    pytest.param(line(drawing=[[[1], [2], [3], [4]]]), "stroke 1 is not", id="109-four-rows"),
    pytest.param(line(drawing=[[["1"], [2]]]), "stroke 1 holds something that is no number", id="109-text-as-x"),
    pytest.param(line(drawing=[[[True], [2]]]), "stroke 1 holds something that is no number", id="109-true-as-x"),
    pytest.param(line(drawing=[[[1, 2], [3]]]), "stroke 1 has 2 and 1 values", id="110-lengths"),
    pytest.param(line(drawing=[[[1, 2], [3, 4], [5]]]), "stroke 1 has 2 and 2 and 1 values", id="110-times"),
    pytest.param("3", "holds a int, not an object", id="a-number"),
    pytest.param("[]", "holds a list, not an object", id="a-list"),
    pytest.param("{}", "has no 'word'", id="an-empty-object"),
    pytest.param("no json", "no whole JSON object", id="text"),
    pytest.param("\x80", "no whole JSON object", id="control"),
    pytest.param(GOOD[0], "key_id '0' stands there twice", id="101-duplicate-key-id"),
]


@pytest.mark.parametrize(("bad", "match"), BAD)
def test_a_bad_line_is_an_error_with_its_number(bad: str, match: str, write: Write, refuses: Any) -> None:
    root = write("\n".join([*GOOD[:2], "", bad, *GOOD[2:]]))
    with refuses(FormatError, rf"cow\.ndjson: line 4: .*({match})"):
        quickdraw(root)


@pytest.mark.parametrize(("bad", "match"), BAD)
def test_108_a_bad_line_can_be_skipped_and_is_counted(bad: str, match: str, write: Write) -> None:
    root = write("\n".join([*GOOD[:2], bad, *GOOD[2:]]))
    assert keys(root, on_bad_line="skip") == ["0", "1", "2", "3"]
    report = quickdraw(root, on_bad_line="skip").report
    assert report["bad_drawings_left_out"] == 1
    assert len(report["first_bad"]) == 1
    assert "line 3" in report["first_bad"][0]
    json.dumps(dict(report), allow_nan=False)


def test_bytes_that_are_no_utf_8(write: Write, refuses: Any) -> None:
    with refuses(FormatError, "line 1: not UTF-8 at byte 10"):
        quickdraw(write(line().encode().replace(b"cow", b"\xe9\xff\xff")))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("\n".join(GOOD), id="107-no-last-line-break"),
        pytest.param("\ufeff" + "\n".join(GOOD), id="104-bom"),
        pytest.param("\r\n".join(GOOD) + "\r\n", id="106-crlf"),
        pytest.param("\n\n".join(["", *GOOD, " \t", ""]), id="106-blank-lines"),
        pytest.param("\ufeff\r\n" + "\n".join(GOOD), id="104-bom-on-a-line-of-its-own"),
    ],
)
def test_what_loads_all_the_same(content: str, write: Write) -> None:
    assert keys(write(content)) == ["0", "1", "2", "3"]


def test_111_gzip(write: Write, refuses: Any) -> None:
    packed = gzip.compress("\n".join(GOOD).encode())
    assert keys(write(packed, "cow.ndjson.gz")) == ["0", "1", "2", "3"]
    for damaged in (
        packed[:-20],
        packed[:-4],
        packed[:5],
        b"\n".join(map(str.encode, GOOD)),
        packed[:20] + b"\xff" * 9,
    ):
        root = write(damaged, "cow.ndjson.gz")
        for way in ("error", "skip"):
            with refuses(FormatError, r"cow\.ndjson\.gz: a damaged or truncated \.gz"):
                quickdraw(root, on_bad_line=way)


@pytest.mark.parametrize("packed", [False, True])
def test_112_a_line_without_end(packed: bool, write: Write, refuses: Any) -> None:
    content = (GOOD[0] + "\n" + "7" * (MAX_LINE + 1)).encode()
    root = write(gzip.compress(content), "cow.ndjson.gz") if packed else write(content)
    for way in ("error", "skip"):
        with refuses(UnsafeFileError, r"cow\.ndjson.*: line 2: over 8 MB"):
            quickdraw(root, on_bad_line=way)


def test_112_a_long_line_that_is_a_drawing(write: Write, refuses: Any) -> None:
    many = [list(range(300_000)), [1] * 300_000]
    assert keys(write(line(drawing=[many]))) == ["1"]
    with refuses(ResourceError, "line 1: over 1,000,000 points"):
        quickdraw(write(line(drawing=[[[1] * 1_000_001] * 2])))


def test_line_breaks_alone(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "x.ndjson.gz", "wb", compresslevel=1) as file:
        file.write(b"\n" * 300_000)
    assert list(read_lines(tmp_path / "x.ndjson.gz")) == []


def test_empty_and_unrecognised_drawings_are_counted(write: Write) -> None:
    root = write(
        "\n".join(
            [
                *GOOD,
                line(key_id="a", drawing=[]),
                line(key_id="b", drawing=[[[], []]]),
                line(key_id="c", recognized=False),
                line(key_id="d", recognized=None),
            ]
        )
    )
    assert keys(root) == ["0", "1", "2", "3", "c", "d"]
    assert keys(root, only_recognized=True) == ["0", "1", "2", "3", "d"]
    report = quickdraw(root, only_recognized=True).report
    assert report["empty_drawings_left_out"] == 2
    assert report["unrecognized_drawings_left_out"] == 1
    assert report["bad_drawings_left_out"] == 0


def test_raw_drawings_have_times_and_any_scale(write: Write) -> None:
    raw = line(drawing=[[[100.5, 1300.5], [-50, 550], [0, 17.5]], [[700.5], [250], [44]]])
    data = quickdraw(write(raw + "\n" + line(key_id="2")), validation=0)
    sketches = {sketch.id: sketch for name in ("train", "test") for sketch in data.split(name).sketches}
    # 1200 x 600 about (700.5, 250): scale 240 / 1200
    assert [stroke.tolist() for stroke in sketches["cow.ndjson#1"].strokes()] == [[[8, 68], [248, 188]], [[128, 128]]]


@pytest.mark.parametrize("drawing", [[[[7], [9]]], [[[7, 7], [9, 9]]], [[[5, 5], [0, 9]]], [[[0, 9], [5, 5]]]])
def test_9_to_11_drawings_without_width_or_height(drawing: Any) -> None:
    points = parse(line(drawing=drawing).encode()).sketch("x").points
    assert ((points >= 8) & (points <= 248)).all()
    assert points.mean(axis=0).tolist() == [128, 128]


def test_a_number_as_key(write: Write) -> None:
    assert keys(write(line(key_id=4503599627370496))) == ["4503599627370496"]


def test_no_such_file(tmp_path: Path, refuses: Any) -> None:
    with refuses(DataError, "cannot be read"):
        list(read_lines(tmp_path / "none.ndjson"))


def test_damage_anywhere_is_a_typed_error_or_loads(write: Write) -> None:
    whole = ("\n".join(GOOD) + "\n").encode()
    loaded = 0
    for trial in range(300):
        damaged = bytearray(whole)
        place = (trial * 7919) % len(whole)
        damaged[place] = b'0"[]{},:eN\\\n\xff'[trial % 13]
        root = write(bytes(damaged[: place + 50] if trial % 3 == 0 else damaged))
        try:
            loaded += len(keys(root)) > 0
        except SketchlessError as error:
            message = str(error)
            assert "\n" not in message and "cow.ndjson" in message  # noqa: PT018
    assert 10 < loaded < 290


def test_112_a_file_of_nothing_that_unpacks_without_end(tmp_path: Path, monkeypatch: Any, refuses: Any) -> None:
    monkeypatch.setattr(ndjson, "FREE", 1000)
    with gzip.open(tmp_path / "x.ndjson.gz", "wb") as file:
        file.write(b"\n" * 10_000_000)
    with refuses(UnsafeFileError, r"x\.ndjson\.gz: line \d+: unpacks to over 200 times its size"):
        list(read_lines(tmp_path / "x.ndjson.gz"))


def test_packed_drawings_beyond_the_memory_for_them(write: Write, monkeypatch: Any, refuses: Any) -> None:
    monkeypatch.setattr("sketchless.datasets.readers.quickdraw.MAX_HELD", 300)
    root = write(gzip.compress("\n".join(GOOD).encode()), "cow.ndjson.gz")
    with refuses(ResourceError, r"cow\.ndjson\.gz: line 4: .*held in memory; unpack the files, or take fewer"):
        quickdraw(root)
    (root / "cow.ndjson.gz").unlink()
    assert len(quickdraw(write("\n".join(GOOD))).splits) == 3, "what is not packed is not held"


def test_18_a_hundred_thousand_strokes(refuses: Any) -> None:
    with refuses(ResourceError, "100,000 strokes; at most 10,000"):
        parse(line(drawing=[[[1], [1]]] * 100_000).encode())


def test_101_keys_without_end_are_checked_in_one_pass(refuses: Any) -> None:
    keys = ", ".join(f'"k{i}": 0' for i in range(400_000))
    with refuses(FormatError, "has the key 'k399999' twice"):
        parse(f'{{{keys}, "k399999": 1}}'.encode())
