"""Collected drawings are kept, whatever happens, and are a data set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sketchless.benchmarks.draw.collect import CollectDesk, Collector
from sketchless.benchmarks.draw.server import create_app
from sketchless.benchmarks.draw.session import OutOfStep
from sketchless.datasets.errors import ConfigError, DataError, FormatError
from sketchless.datasets.formats.ndjson import parse

from .conftest import answer, ask, serving

STROKE = [[10.5, 20, 0], [30, 40.25, 15], [50, 60, 40]]
DOT = [[100, 100, 90]]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number, name in enumerate(("a.png", "b.png", "deep/c.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (number, 9, 9)).save(folder / name)
    return folder


@pytest.fixture
def collector(photos: Path, tmp_path: Path) -> Iterator[Collector]:
    made = Collector(photos, tmp_path / "set", seconds=0.1, seed=1)
    yield made
    made.close()


def say(desk: CollectDesk, kind: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = desk.take({"type": kind, "seq": 1, **more})[1]()
    return found


def test_a_drawing_is_one_file_with_times_and_undone_strokes(collector: Collector, tmp_path: Path) -> None:
    desk = collector.desk()
    task = say(desk, "next")
    undone = [{"rows": [[1, 2, 50]], "at": 70}]
    assert say(desk, "record", strokes=[STROKE], undone=undone)["strokes"] == 1
    assert not list((tmp_path / "set").glob("sketches/**/*.ndjson"))
    following = say(desk, "finish", strokes=[STROKE, DOT], undone=undone)
    assert following["photo"] != task["photo"]
    assert (following["done"], following["total"]) == (1, 3)
    (file,) = (tmp_path / "set" / "sketches").rglob("*.ndjson")
    content = file.read_bytes()
    record = json.loads(content)
    assert record["photo"] == task["name"]
    assert record["canvas"] == [256, 256]
    assert record["drawing"] == [[[10.5, 30, 50], [20, 40.25, 60], [0, 15, 40]], [[100], [100], [90]]]
    assert record["undone"] == [{"stroke": [[1], [2], [50]], "at": 70}]
    assert [len(stroke) for stroke in parse(content).strokes] == [3, 1]  # QuickDraw's form
    assert (tmp_path / "set" / "photos" / task["name"]).is_file()


def test_what_was_taken_back_is_sent_once(collector: Collector, tmp_path: Path) -> None:
    desk = collector.desk()
    task = say(desk, "next")
    say(desk, "record", strokes=[STROKE], past=0, undone=[{"rows": [[1, 2, 50]], "at": 70}], redone=[80])
    say(desk, "record", strokes=[STROKE], past=1, undone=[{"rows": [[3, 4, 90]], "at": 95}], redone=[80])
    with pytest.raises(OutOfStep):
        desk.take({"type": "record", "seq": 1, "strokes": [STROKE], "past": 3})
    desk.close()
    again = collector.desk()
    begun = say(again, "next", name=task["name"])
    assert begun["undone"] == [{"rows": [[1, 2, 50]], "at": 70}, {"rows": [[3, 4, 90]], "at": 95}]
    assert begun["redone"] == [80]
    say(again, "finish", strokes=[STROKE], past=2, redone=[80, 99])
    record = json.loads(collector.file(task["photo"], 1).read_text())
    assert record["undone"] == [{"stroke": [[1], [2], [50]], "at": 70}, {"stroke": [[3], [4], [90]], "at": 95}]
    assert record["redone"] == [80, 99]


def test_a_page_whose_connection_was_lost_gets_its_photo_again(collector: Collector) -> None:
    desk = collector.desk()
    say(desk, "next")
    wanted = say(desk, "skip")["name"]
    desk.close()
    other = collector.desk()
    assert say(other, "next", name=wanted)["name"] == wanted
    third = collector.desk()
    assert say(third, "next", name=wanted)["name"] != wanted  # somebody draws it by now
    assert say(collector.desk(), "next", name=["junk"])["type"] == "task"


def test_what_is_unfinished_survives_and_is_gone_on_with(photos: Path, tmp_path: Path) -> None:
    one = Collector(photos, tmp_path / "set", seed=5)
    desk = one.desk()
    task = say(desk, "next")
    say(desk, "record", strokes=[STROKE], undone=[])
    one.close()  # the server is gone, the desk was never closed
    two = Collector(photos, tmp_path / "set", seed=6)
    again = say(two.desk(), "next")
    assert again["name"] == task["name"]
    np.testing.assert_allclose(again["strokes"], [STROKE])
    two.close()


def test_two_people_get_two_photos_and_all_are_drawn_once(collector: Collector) -> None:
    one, two = collector.desk(), collector.desk()
    assert say(one, "next")["photo"] != say(two, "next")["photo"]
    third = say(one, "finish", strokes=[STROKE])
    assert third["type"] == "task"
    assert say(two, "finish", strokes=[STROKE])["type"] == "finished"  # the third is being drawn
    one.close()
    assert say(two, "next")["photo"] == third["photo"]
    last = say(two, "finish", strokes=[STROKE])
    assert (last["type"], last["done"]) == ("finished", 3)


def test_a_desk_that_has_closed_takes_no_photo(collector: Collector) -> None:
    desk = collector.desk()
    job = desk.take({"type": "next", "seq": 1})[1]
    desk.close()
    assert job()["type"] == "finished"
    other = collector.desk()
    assert len({say(other, "next")["photo"] for _ in range(2)}) == 1


def test_the_order_of_photos_follows_the_seed(photos: Path, tmp_path: Path) -> None:
    def order(seed: int, out: str) -> list[int]:
        collector = Collector(photos, tmp_path / out, seed=seed)
        desk, found = collector.desk(), []
        task = say(desk, "next")
        while task["type"] == "task":
            found.append(task["photo"])
            task = say(desk, "finish", strokes=[STROKE])
        collector.close()
        return found

    assert order(1, "x") == order(1, "y")
    assert len({tuple(order(seed, f"s{seed}")) for seed in range(8)}) > 1


def test_a_skipped_photo_comes_last(collector: Collector) -> None:
    desk = collector.desk()
    first = say(desk, "next")["photo"]
    assert say(desk, "skip")["photo"] != first
    say(desk, "finish", strokes=[STROKE])
    assert say(desk, "finish", strokes=[STROKE])["photo"] == first


@pytest.mark.parametrize(
    "message",
    [
        {"type": "finish", "strokes": []},
        {"type": "record", "strokes": 3},
        {"type": "record", "strokes": [[]]},
        {"type": "record", "strokes": [STROKE], "undone": [3]},
        {"type": "record", "strokes": [STROKE], "undone": [{"rows": STROKE, "at": -1}]},
        {"type": "record", "strokes": [STROKE], "redone": [-1]},
        {"type": "record", "strokes": [STROKE], "redone": 5},
        {"type": "record", "strokes": [STROKE], "past": "1"},
        {"type": "draw", "strokes": [STROKE]},
    ],
)
def test_nonsense_is_refused_and_what_was_kept_stays(collector: Collector, message: dict[str, Any]) -> None:
    desk = collector.desk()
    with pytest.raises(FormatError):
        desk.take({"seq": 1, **message})  # before any photo
    say(desk, "next")
    say(desk, "record", strokes=[STROKE])
    with pytest.raises(FormatError):
        desk.take({"seq": 1, **message})
    desk.close()
    assert say(collector.desk(), "next")["strokes"] == [STROKE]


def test_settings_and_folders_that_cannot_be(photos: Path, tmp_path: Path, collector: Collector) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ConfigError, match="another server"):
        Collector(photos, tmp_path / "set")
    with pytest.raises(ConfigError, match="folder of the photos"):
        Collector(photos, photos / "set")
    with pytest.raises(ConfigError, match="seconds"):
        Collector(photos, tmp_path / "other", seconds=0)
    with pytest.raises(DataError, match="no readable photo"):
        Collector(empty, tmp_path / "other")
    (photos / "a.jpg").write_bytes((photos / "a.png").read_bytes())
    with pytest.raises(DataError, match="suffix"):
        Collector(photos, tmp_path / "other")


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (("straße.png", "STRASSE.png"), "another photo has its name but for case or suffix"),
        (("\u00e9.png", "e\u0301.png"), "another photo has its name but for case or suffix"),
        (("val/a.png",), "val: states no split; rename it validation"),
    ],
)
def test_what_the_reader_would_refuse_is_refused_at_once(names: tuple[str, ...], match: str, tmp_path: Path) -> None:
    for name in names:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20)).save(path)
    with pytest.raises(DataError, match=match):
        Collector(tmp_path / "photos", tmp_path / "set")


def test_a_name_too_long_for_its_drawings_is_left_out(photos: Path, tmp_path: Path) -> None:
    longest = "x" * 244  # and "_100.ndjson" are 255 bytes
    for name in (longest, longest + "x"):
        Image.new("RGB", (20, 20)).save(photos / f"{name}.png")
    collector = Collector(photos, tmp_path / "set")
    assert f"{longest}.png" in collector.names
    assert "too long" in collector.bad[f"{longest}x.png"]
    collector.close()


def test_a_drawing_beside_the_canvas_is_not_finished(collector: Collector) -> None:
    desk = collector.desk()
    say(desk, "next")
    with pytest.raises(FormatError, match="nothing that was drawn lies on the canvas"):
        say(desk, "finish", strokes=[[[256, 10, 0]]])
    assert say(desk, "finish", strokes=[[[256, 10, 0]], STROKE])["done"] == 1


@pytest.mark.parametrize(
    "content", ["{", "[1]", '{"strokes": 5}', '{"undone": [{}]}', '{"strokes": [[["a"]]]}', '{"redone": [-1]}']
)
def test_a_damaged_file_of_an_unfinished_drawing_is_begun_anew(content: str, collector: Collector) -> None:
    desk = collector.desk()
    task = say(desk, "next")
    desk.close()
    collector.partial(task["photo"]).write_text(content)
    again = say(collector.desk(), "next")
    assert (again["name"], again["strokes"], again["undone"], again["redone"]) == (task["name"], [], [], [])


def test_it_is_served(collector: Collector) -> None:
    with serving(create_app(None, collector)) as served:
        world = json.loads(served.get("world.json")[1])
        assert (world["mode"], world["done"], world["total"]) == ("collect", 0, 3)
        with served.socket() as socket:
            task = ask(socket, {"type": "next", "seq": 1})
            assert served.get(f"photo/{task['photo']}")[0] == 200
            assert ask(socket, {"type": "record", "seq": 2, "strokes": [STROKE]})["type"] == "kept"
        with served.socket() as socket:  # the browser was closed
            for _ in range(100):
                again = ask(socket, {"type": "next", "seq": 1})
                if again["photo"] == task["photo"]:
                    break
                socket.send(json.dumps({"type": "skip", "seq": 2}))
                answer(socket)
            assert again["strokes"] == [STROKE]
