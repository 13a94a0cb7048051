from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sketchless.datasets import (
    Drawing,
    Item,
    LazySketches,
    RasterSketch,
    SketchDataset,
    Split,
    birth_map,
    frames,
    reveal,
)
from sketchless.encoders import Frames
from sketchless.encoders.training import frames as frames_module
from sketchless.encoders.training.stage1 import _digest


class Shelf(LazySketches):
    """Sketches that count how often one is read."""

    def __init__(self, sketches: tuple[Drawing, ...]) -> None:
        self.read: list[str] = []
        known = {sketch.id: sketch for sketch in sketches}

        def read(item: Item) -> Drawing:
            self.read.append(item.id)
            return known[item.id]

        super().__init__([Item(sketch.id, len(sketch)) for sketch in sketches], read)


@pytest.mark.parametrize("schedule", ["points", "strokes", "ink"])
def test_frames_are_those_of_the_rasteriser(schedule: str, polygons: SketchDataset) -> None:
    sketches = polygons.split("test").sketches
    held = Frames(sketches, schedule, 6)
    for row, sketch in enumerate(sketches):
        knots = reveal(sketch, schedule, 6)
        assert held.lengths[row] == len(knots)
        expected = frames(birth_map(sketch, knots), len(knots)) > 0
        steps = torch.arange(len(knots))
        assert np.array_equal(held.at(torch.full_like(steps, row), steps).numpy(), expected)


def test_beyond_the_end_stands_the_whole_sketch(polygons: SketchDataset) -> None:
    held = Frames(polygons.split("test").sketches, "strokes")
    rows = torch.arange(len(held))
    assert torch.equal(held.at(rows, torch.full((len(held),), 99)), held.birth < 255)


def test_the_step_of_a_percentage_shows_no_more_than_that(polygons: SketchDataset) -> None:
    held = Frames(polygons.split("test").sketches, "points", 20)
    row = torch.tensor([0])
    found = {percentage: int(held.step(row, percentage)) for percentage in (1, 5, 25, 29, 55, 99, 100)}
    assert found == {1: 0, 5: 0, 25: 4, 29: 4, 55: 10, 99: 18, 100: 19}  # frame t shows 5 (t + 1) percent


def test_no_sketches_give_no_frames() -> None:
    held = Frames([])
    assert (len(held), held.birth.shape, held.lengths.dtype) == (0, (0, 256, 256), torch.int64)
    nothing = torch.zeros(0, dtype=torch.int64)
    assert held.at(nothing, nothing).shape == (0, 256, 256)


@pytest.mark.parametrize("schedule", ["points", "strokes", "ink"])
@pytest.mark.parametrize("room", [0, 3 * 256 * 256, 1 << 31])
def test_sketches_in_files_give_the_same_frames(schedule: str, room: int, polygons: SketchDataset) -> None:
    sketches = tuple(polygons.split("test").sketches)
    eager, lazy = Frames(sketches, schedule, 6), Frames(Shelf(sketches), schedule, 6, room)
    assert torch.equal(eager.lengths, lazy.lengths)
    for rows in torch.arange(len(eager)).repeat(2).split(5):
        assert torch.equal(eager.at(rows, rows % 7), lazy.at(rows, rows % 7))
    assert torch.equal(eager.birth, lazy.birth)


def test_no_more_than_the_room_is_kept(polygons: SketchDataset) -> None:
    held = Frames(Shelf(tuple(polygons.split("test").sketches)), "points", 6, room=3 * 256 * 256 + 1)
    assert len(held.birth) == 8
    assert sorted(held._kept) == [0, 1, 2]


def test_only_the_sketches_asked_for_are_read(polygons: SketchDataset) -> None:
    shelf = Shelf(tuple(polygons.split("test").sketches))
    held = Frames(shelf, "points", 6)
    assert shelf.read == [shelf.ids[0]]
    held.at(torch.tensor([4, 6, 4]), torch.tensor([1, 1, 2]))
    assert shelf.read == [shelf.ids[0], shelf.ids[4], shelf.ids[6]]


def test_what_is_not_kept_is_drawn_once_a_call(polygons: SketchDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    sketches, drawn = polygons.split("test").sketches, list[str]()

    def draw(sketch: Drawing, *how: Any) -> Any:
        drawn.append(sketch.id)
        return birth_map(sketch, *how)

    monkeypatch.setattr(frames_module, "birth_map", draw)
    held = Frames(sketches, "points", 6, room=0)
    for _ in range(2):
        held.at(torch.tensor([4, 6, 4]), torch.tensor([1, 1, 2]))
    assert drawn == 2 * [sketches[4].id, sketches[6].id]


def test_a_picture_has_one_frame_however_it_is_revealed() -> None:
    picture = RasterSketch(np.eye(256, dtype=bool), "eye")
    for schedule in ("points", "strokes", "ink"):
        held = Frames(Shelf((picture,)), schedule, 6)
        assert held.lengths.tolist() == [1]
        assert np.array_equal(held.at(torch.tensor([0]), torch.tensor([5]))[0].numpy(), picture.ink)


def test_the_digest_of_sketches_in_files_is_of_their_names_and_sizes(polygons: SketchDataset) -> None:
    whole = polygons.split("test")

    def digest(*items: Item) -> str:
        def read(item: Item) -> Drawing:
            raise AssertionError("no file is opened for it")

        return _digest(Split(LazySketches(items, read), whole.targets[: len(items)], whole.photos))

    one = digest(Item("a.png", 10), Item("b.png", 20))
    assert one == digest(Item("a.png", 10), Item("b.png", 20))
    others = [
        digest(Item("a.png", 10), Item("b.png", 21)),
        digest(Item("a.png", 10), Item("c.png", 20)),
        digest(Item("b.png", 20), Item("a.png", 10)),
        digest(Item("a.png", 10)),
    ]
    assert len({one, *others}) == 5
