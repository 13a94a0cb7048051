"""The birth map against the paper's rasteriser, written here a second time in plain Python."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from sketchless.benchmarks.speed.reference_raster import released_frames
from sketchless.datasets.errors import ConfigError
from sketchless.datasets.formats.legacy_pickle import load_legacy_pickle
from sketchless.datasets.raster import NEVER, birth_map, frames
from sketchless.datasets.sketch import Sketch, reveal

Pixels = npt.NDArray[np.bool_]


def bresenham(x0: int, y0: int, x1: int, y1: int) -> Iterator[tuple[int, int]]:
    step_x, step_y = (1 if x1 > x0 else -1), (1 if y1 > y0 else -1)
    dx, dy = abs(x1 - x0), abs(y1 - y0)
    along_x = dx > dy
    if not along_x:
        dx, dy = dy, dx
    d, side = 2 * dy - dx, 0
    for ahead in range(dx + 1):
        if along_x:
            yield x0 + step_x * ahead, y0 + step_y * side
        else:
            yield x0 + step_x * side, y0 + step_y * ahead
        if d >= 0:
            side += 1
            d -= 2 * dx
        d += 2 * dy


def drawn(rows: npt.ArrayLike, low: int = 1) -> Pixels:
    """The frame of these rows (x, y, pen-up), from scratch."""
    canvas = np.zeros((256, 256), dtype=bool)
    last = None
    for x, y, pen_up in np.round(np.asarray(rows, dtype=np.float64).reshape(-1, 3)).astype(int).tolist():
        for column, row in bresenham(*(last or (x, y)), x, y):
            if low <= column < 256 and low <= row < 256:
                canvas[row, column] = True
        last = None if pen_up else (x, y)
    return binary_dilation(canvas)


def rows_of(strokes: Any) -> npt.NDArray[np.float64]:
    return np.array([(x, y, i == len(s) - 1) for s in strokes for i, (x, y) in enumerate(s)], dtype=np.float64)


def check(rows: npt.NDArray[np.float64], knots: npt.NDArray[np.int64], paper_exact: bool = True) -> None:
    birth = birth_map(Sketch.from_rows(rows), knots, paper_exact=paper_exact)
    shown = frames(birth, len(knots))
    for t, knot in enumerate(knots):
        expected = drawn(rows[:knot], low=1 if paper_exact else 0)
        assert ((shown[t] == 255) == expected).all(), f"frame {t}"


LINES = {
    "dot": [[(9, 9)]],
    "dot after a line": [[(9, 9), (30, 40)], [(100, 100)]],
    "horizontal": [[(9, 9), (60, 9)]],
    "horizontal back": [[(60, 9), (9, 9)]],
    "vertical": [[(9, 9), (9, 60)]],
    "vertical up": [[(9, 60), (9, 9)]],
    "diagonal": [[(9, 9), (60, 60)]],
    "other diagonal": [[(60, 9), (9, 60)]],
    "every octant": [[(100, 100), (100 + a, 100 + b)] for a in (-37, -10, 10, 37) for b in (-37, -10, 10, 37)],
    "half pixels": [[(9.5, 10.5), (20.5, 33.5), (11.49, 60.51)]],
    "frame of the canvas": [[(0, 0), (255, 0), (255, 255), (0, 255), (0, 0)]],
    "one pixel inside": [[(1, 1), (254, 1), (254, 254), (1, 254), (1, 1)]],
    "corner dots": [[(0, 0)], [(255, 0)], [(0, 255)], [(255, 255)], [(9, 9)]],
    "at 256": [[(256, 256), (200, 190), (256, 20)]],
    "out and in again": [[(-50, 100), (100, 300), (400, 90), (80, -70), (-300, 500)], [(128, 128)]],
    "from very far": [[(-99_999, 31), (99_998, 200)], [(128, 128), (77_777, -99_999)]],
    "crosses itself": [[(9, 9), (60, 60), (60, 9), (9, 60)], [(30, 0), (30, 255)]],
}


@pytest.mark.parametrize("paper_exact", [True, False])
@pytest.mark.parametrize("strokes", LINES.values(), ids=LINES)
def test_hand_made_drawings(strokes: Any, paper_exact: bool) -> None:
    rows = rows_of(strokes)
    check(rows, np.arange(1, len(rows) + 1), paper_exact)


coordinates = st.one_of(st.integers(0, 255).map(float), st.floats(-20, 276, width=32), st.sampled_from([0.0, 255.0]))
strokes = st.lists(st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=8), max_size=4)


@settings(max_examples=150)
@given(strokes, st.integers(1, 5), st.sampled_from(["points", "strokes", "ink"]), st.booleans())
def test_random_drawings(strokes: Any, steps: int, schedule: str, paper_exact: bool) -> None:
    rows = rows_of([*strokes, [(40.0, 40.0)]])
    check(rows, reveal(Sketch.from_rows(rows), schedule, steps), paper_exact)


@pytest.mark.data
def test_every_frame_of_chair_v2(chair_v2: Path) -> None:
    sketches = load_legacy_pickle(chair_v2 / "ChairV2_Coordinate")
    assert len(sketches) == 1275
    for key, rows in sketches.items():
        check(rows, reveal(Sketch.from_rows(rows, key)))


def test_row_and_column_0_hold_no_line_but_its_thickness() -> None:
    sketch = Sketch.from_strokes([[(0, 100), (50, 100)], [(100, 0), (100, 50)], [(30, 1), (40, 1)]])
    exact, whole = (birth_map(sketch, [len(sketch)], paper_exact=exact) == 0 for exact in (True, False))
    assert exact[100, :3].tolist() == [True, True, True]
    assert exact[99, :3].tolist() == [False, True, True]
    assert whole[99, :3].tolist() == [True, True, True]
    assert exact[0, 30:41].all()
    assert exact[:3, 99].tolist() == [False, True, True]
    assert whole[:3, 99].tolist() == [True, True, True]


@settings(max_examples=40)
@given(strokes, st.integers(1, 254))
def test_frames_only_grow(strokes: Any, steps: int) -> None:
    sketch = Sketch.from_rows(rows_of([*strokes, [(40.0, 40.0)]]))
    birth = birth_map(sketch, reveal(sketch, "points", steps))
    assert birth.dtype == np.uint8
    assert ((birth < steps) | (birth == NEVER)).all()
    shown = frames(birth, steps)
    assert shown.shape == (steps, 256, 256)
    assert ((shown == 0) | (shown == 255)).all()
    assert ((shown[-1] == 255) == (birth != NEVER)).all()
    assert (shown[1:] >= shown[:-1]).all()


def test_never_stays_never_in_the_longest_episode() -> None:
    sketch = Sketch.from_strokes([[(9, 9), (60, 9)]])
    birth = birth_map(sketch, [0] * 253 + [2])
    assert np.unique(birth).tolist() == [253, NEVER]
    assert not frames(birth, 254)[:253].any()
    assert frames(birth, 254)[253].sum() == 255 * (birth == 253).sum()


def test_points_beyond_the_last_knot_are_not_drawn() -> None:
    sketch = Sketch.from_strokes([[(9, 9), (60, 9), (60, 60)]])
    assert (birth_map(sketch, [1, 2]) == birth_map(Sketch.from_strokes([[(9, 9), (60, 9)]]), [1, 2])).all()


def test_a_smaller_canvas_cuts_off() -> None:
    sketch = Sketch.from_strokes([[(9, 9), (60, 60)]])
    assert birth_map(sketch, [2], size=32).shape == (32, 32)
    assert (birth_map(sketch, [2], size=32)[:31, :31] == birth_map(sketch, [2])[:31, :31]).all()


def test_far_points_cost_no_more_than_near_ones() -> None:
    points = np.tile([(1e5, -1e5), (-1e5, 9e4)], (50_000, 1))
    sketch = Sketch.from_strokes([points, [(9, 9)]])
    begin = time.process_time()
    birth_map(sketch, reveal(sketch))
    assert time.process_time() - begin < 10, "walks along the 2e10 pixels outside the canvas"


@pytest.mark.parametrize("knots", [[], [2, 1], [1] * 255, [[1, 2]]])
def test_knots_that_make_no_sense(knots: Any, refuses: Any) -> None:
    with refuses(ConfigError, "knots must be 1 to 254"):
        birth_map(Sketch.from_strokes([[(9, 9), (60, 9)]]), knots)


# The released rule -------------------------------------------------------------------------------------------


def zigzag(points: int) -> Sketch:
    """So many points on a line of their own each, so that every point changes the frame."""
    place = np.arange(points)
    xy = np.stack([10 + 40 * (place % 2), 8 + place * 240 / points], axis=1)
    return Sketch.from_strokes([xy])


def test_a_frame_holds_the_point_at_its_knot() -> None:
    assert reveal(zigzag(40), steps=4).tolist() == [11, 21, 31, 40]  # shares end at 10, 20, 30, 40
    assert reveal(zigzag(3), steps=5).tolist() == [2, 2, 3, 3, 3]  # at round(0.6, 1.2, 1.8, 2.4, 3)
    assert reveal(zigzag(1), steps=3).tolist() == [1, 1, 1]


@given(points=st.integers(21, 120))
@settings(max_examples=25)
def test_frames_are_those_that_the_released_code_saves(points: int) -> None:
    assert_released(zigzag(points))


@pytest.mark.data
def test_released_frames_of_real_sketches(chair_v2: Path) -> None:
    found = load_legacy_pickle(chair_v2 / "ChairV2_Coordinate")
    for key in list(found)[::43]:
        assert_released(Sketch.from_rows(found[key], key))


def assert_released(sketch: Sketch) -> None:
    expected = released_frames(sketch.points, sketch.pen_up)
    assert len(expected) == 20
    assert np.array_equal(frames(birth_map(sketch, reveal(sketch)), 20), np.stack(expected))
