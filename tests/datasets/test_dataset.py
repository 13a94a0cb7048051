"""What a split accepts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from sketchless.datasets import Item, LazySketches, RasterSketch, Sketch, Split
from sketchless.datasets.errors import DataError

SKETCHES = tuple(Sketch.from_strokes([[(9, 9), (20, 9 + i)]], f"s{i}") for i in range(3))


def split(
    targets: Sequence[int], photos: Sequence[str] = ("a", "b"), of: Sequence[str] = (), shown: Sequence[str] = ()
) -> Split:
    return Split(SKETCHES, np.array(targets, dtype=np.int64), tuple(photos), tuple(of), tuple(shown))


def test_instances_of_one_category() -> None:
    made = split([0, 1, 1])
    assert made.sketch_ids == ("s0", "s1", "s2")
    assert made.sketch_categories == made.photo_categories == ()


def test_categories_beside_instances_and_alone() -> None:
    assert split([0, 1, -1], of="xyy", shown="xy").targets.tolist() == [0, 1, -1]
    assert split([-1, -1, -1], of="xyy", shown="xy").targets.tolist() == [-1] * 3


def test_sketches_without_any_photos() -> None:
    assert split([-1, -1, -1], photos=(), of="xyy").photos == ()


def test_nothing_at_all() -> None:
    empty = Split((), np.zeros(0, np.int64), ())
    assert empty.sketch_ids == ()
    assert Split((), np.zeros(0, np.int64), ("a",), (), ("x",)).photo_categories == ("x",)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"targets": [0, 1]}, "3 sketches but 2 targets"),
        ({"targets": [0, 1, 2]}, "a target lies outside the 2 photos"),
        ({"targets": [0, 1, -1]}, "a target lies outside the 2 photos"),  # without categories: no pair at all
        ({"targets": [0, 1, -2], "of": "xyy", "shown": "xy"}, "a target lies outside"),
        ({"targets": [0, 0, 0], "photos": ()}, "a target lies outside the 0 photos"),
        ({"targets": [0, 1, 1], "of": "xy", "shown": "xy"}, "categories of 2 sketches and 2 photos, not of 3 and 2"),
        ({"targets": [0, 1, 1], "of": "xyy", "shown": "xyz"}, "categories of 3 sketches and 3 photos, not of 3 and 2"),
        ({"targets": [0, 1, 1], "of": "xyy"}, "categories of 3 sketches and 0 photos"),
        ({"targets": [0, 1, 1], "shown": "xy"}, "categories of 0 sketches and 2 photos"),
    ],
)
def test_contradictions(options: dict[str, Any], match: str, refuses: Any) -> None:
    with refuses(DataError, match):
        split(**options)


def test_ids_of_sketches_in_files_are_known_unread() -> None:
    def read(item: Item) -> Sketch | RasterSketch:
        raise AssertionError("not to be read")

    lazy = LazySketches([Item("x", 1), Item("y", 2)], read)
    assert Split(lazy, np.zeros(2, np.int64), ("a",)).sketch_ids == ("x", "y")


def test_sketches_in_files_are_a_sequence() -> None:
    known = {sketch.id: sketch for sketch in SKETCHES}
    lazy = LazySketches([Item(sketch.id, 0) for sketch in SKETCHES], lambda item: known[item.id])
    assert list(lazy) == list(SKETCHES)
    assert list(reversed(lazy)) == list(SKETCHES[::-1])
    assert (lazy[-1], lazy[1:][0], len(lazy[::2])) == (SKETCHES[2], SKETCHES[1], 2)
    assert SKETCHES[1] in lazy
    assert lazy.index(SKETCHES[2]) == 2


def test_a_split_shows_its_sizes() -> None:
    shown = repr(split([0, 1, -1], of="xyy", shown="xy")).splitlines()
    assert shown == ["Split", "  sketches  photos  categories", "         3       2           2"]
