"""What a sketch accepts, and when its points appear."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sketchless.datasets.errors import ConfigError, FormatError, ResourceError
from sketchless.datasets.formats.legacy_pickle import load_legacy_pickle
from sketchless.datasets.raster import birth_map
from sketchless.datasets.sketch import MAX_POINTS, MAX_STEPS, Sketch, reveal

NAN, INF = math.nan, math.inf
ROWS = np.array([[10, 20, 0], [30, 20, 1], [40, 50, 0], [40, 60, 0], [45, 70, 1]], dtype=np.float64)


def line(n: int) -> Sketch:
    return Sketch.from_rows([(10 + i % 200, 20, 0) for i in range(n)])


def ink(sketch: Sketch, **options: Any) -> int:
    return int((birth_map(sketch, [len(sketch)], **options) == 0).sum())


# The numbers in the ids are the rows of the catalogue of bad inputs.
@pytest.mark.parametrize(
    ("rows", "match"),
    [
        pytest.param([(5, NAN, 0), (6, 6, 1)], "point 0 has nan as its y", id="5-nan"),
        pytest.param([(5, 5, 0), (INF, 6, 1)], "point 1 has inf as its x", id="6-inf"),
        pytest.param([(5, 5, 0), (-INF, 6, 1)], "point 1 has -inf as its x", id="6-minus-inf"),
        pytest.param([(5, 5, 0), (6, 6, NAN)], "point 1 has nan as its pen-up", id="5-nan-pen"),
        pytest.param([(5, 5, 0), (1e30, 6, 1)], "point 1 lies at", id="7-1e30"),
        pytest.param([(5, 5, 0), (5, -1e9, 1)], "point 1 lies at", id="7-minus-1e9"),
        pytest.param([(5, 5, 0), (3e9, 6, 1)], "limit is 100000 px", id="7-3e9"),
        pytest.param([(300, -40, 0), (400, -9, 1)], r"x 300..400, y -40..-9", id="8-outside"),
        pytest.param([(5, 5, 2)], "flag 2; it must be 0 or 1", id="20-flag-2"),
        pytest.param([(5, 5, 0.5)], "flag 0.5", id="20-flag-half"),
        pytest.param([(5, 5, -1)], "flag -1", id="20-flag-minus-1"),
        pytest.param([(5, 5), (6, 6)], r"shape \(2, 2\)", id="24-no-flags"),
        pytest.param([(5, 5, 1, 0, 0)] * 4, r"shape \(4, 5\)", id="25-stroke-5"),
        pytest.param(ROWS[None], r"shape \(1, 5, 3\)", id="25-batch"),
        pytest.param(ROWS.astype(object), "dtype object", id="26-object"),
        pytest.param(ROWS.astype(str), "dtype <U", id="26-str"),
        pytest.param([(5, 5, 0), (6, 6)], "differ in length", id="27-ragged"),
        pytest.param([(10**400, 0.5, 0)], "not a real number|no numbers", id="27-huge-int"),
        pytest.param(ROWS.astype(complex), "dtype complex128", id="28-complex"),
        pytest.param(np.ma.masked_equal(ROWS, 30), "masked", id="31-masked"),
        pytest.param("abc", "dtype <U3", id="26-text"),
        pytest.param(None, "dtype object", id="26-none"),
    ],
)
def test_refused(rows: Any, match: str, refuses: Any) -> None:
    with refuses(FormatError, match):
        Sketch.from_rows(rows, "x_1")


@pytest.mark.parametrize(
    ("strokes", "match"),
    [
        ([[[1, 2], [3]]], "differ in length"),
        ([[[1, 2, 3]]], r"shape \(1, 3\)"),
        ([[5, 6]], r"shape \(2,\)"),
        ([["ab"]], "not a real number"),
        ([[[1j, 2]]], "not a real number"),
        ([[[10**400, 0.5]]], "not a real number|no numbers"),
        ([np.ma.masked_equal([[5.0, 6.0]], 6)], "masked"),
        ([[[5, 6]], [[NAN, 6]]], "point 1 has nan as its x"),
    ],
)
def test_refused_strokes(strokes: Any, match: str, refuses: Any) -> None:
    with refuses(FormatError, match):
        Sketch.from_strokes(strokes, "x_1")


@pytest.mark.parametrize(
    "sketch",
    [
        pytest.param(Sketch.from_rows(np.zeros((0, 3))), id="1-empty"),
        pytest.param(Sketch.from_rows([]), id="1-empty-list"),
        pytest.param(Sketch.from_strokes([]), id="1-no-strokes"),
        pytest.param(Sketch.from_strokes([[], np.zeros((0, 2)), []]), id="2-empty-strokes"),
    ],
)
@pytest.mark.parametrize("schedule", ["points", "strokes", "ink"])
def test_empty_sketch_is_a_blank_episode(sketch: Sketch, schedule: str) -> None:
    assert (len(sketch), sketch.n_strokes, sketch.strokes()) == (0, 0, [])
    assert sketch.points.shape == (0, 2)
    knots = reveal(sketch, schedule)
    assert knots.tolist() == [0] * 20
    assert (birth_map(sketch, knots) == 255).all()


@pytest.mark.parametrize("strokes", [[[(9, 9)]], [[(9, 9), (9, 9)]], [[(9, 9)], [], [(9, 9)]]], ids=["3", "4", "2"])
def test_point_without_length_is_a_dot(strokes: Any) -> None:
    assert ink(Sketch.from_strokes(strokes)) == 5


@pytest.mark.parametrize(
    ("points", "pixels"),
    [
        pytest.param([(9, 5), (9, 8)], 3 * 4 + 2, id="9-no-width"),
        pytest.param([(5, 9), (8, 9)], 3 * 4 + 2, id="10-no-height"),
        pytest.param([(9, 9)] * 7, 5, id="11-no-area"),
    ],
)
def test_flat_drawings(points: Any, pixels: int) -> None:
    sketch = Sketch.from_strokes([points])
    with np.errstate(all="raise"):
        for schedule in ("points", "strokes", "ink"):
            assert reveal(sketch, schedule)[-1] == len(points)
    assert ink(sketch) == pixels


def test_12_negative_coordinates_are_cut_off() -> None:
    sketch = Sketch.from_strokes([[(-50, 9), (9, 9)]])
    assert sketch.points[0].tolist() == [-50, 9]
    assert ink(sketch, paper_exact=False) == 3 * 10 + 1


@pytest.mark.parametrize("place", [0, 255, 256])
def test_13_border_coordinates_are_accepted(place: float) -> None:
    sketch = Sketch.from_strokes([[(place, 9), (20, 9), (20, place)]])
    assert len(sketch) == 3


@pytest.mark.parametrize("n", [1, 2, 5, 10, 16, 17, 20, 21])
@pytest.mark.parametrize("schedule", ["points", "ink"])
def test_14_to_16_always_exactly_t_steps(n: int, schedule: str) -> None:
    knots = reveal(line(n), schedule, 20)
    assert len(knots) == 20
    assert knots[-1] == n


def test_17_a_million_points(refuses: Any) -> None:
    rows = np.tile([9.0, 9.0, 0.0], (MAX_POINTS + 1, 1))
    assert len(Sketch.from_rows(rows[:-1])) == MAX_POINTS
    with refuses(ResourceError, "1,000,001 points"):
        Sketch.from_rows(rows)


def test_18_many_strokes() -> None:
    sketch = Sketch.from_strokes([[(i % 256, i // 400)] for i in range(100_000)])
    assert sketch.n_strokes == 100_000
    knots = reveal(sketch, "strokes")
    assert knots.tolist() == [*range(1, MAX_STEPS), 100_000]
    assert len(sketch.strokes()) == 100_000


def test_19_one_stroke_of_ten_megabytes() -> None:
    rows = np.random.default_rng(0).uniform(0, 255, (440_000, 3))
    rows[:, 2] = 0
    assert rows.nbytes > 10e6
    assert ink(Sketch.from_rows(rows)) > 60_000


@pytest.mark.parametrize(
    ("flags", "strokes"),
    [
        pytest.param([0, 0, 0], 1, id="21-never-up"),
        pytest.param([1, 1, 1], 3, id="22-always-up"),
        pytest.param([1, 0, 0], 2, id="23-open-end"),
    ],
)
def test_pen(flags: list[int], strokes: int) -> None:
    sketch = Sketch.from_rows([(9, 9, flag) for flag in flags])
    assert sketch.n_strokes == strokes == len(sketch.strokes())
    assert sketch.pen_up[-1]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(ROWS.astype(np.int16), id="26-int16"),
        pytest.param(ROWS.astype(np.uint64), id="26-uint64"),
        pytest.param(ROWS.astype(np.float16), id="26-float16"),
        pytest.param(ROWS.astype(np.longdouble), id="26-longdouble"),
        pytest.param(ROWS.tolist(), id="26-list"),
        pytest.param(ROWS.astype(">f8"), id="29-big-endian"),
        pytest.param(np.asfortranarray(ROWS), id="30-fortran"),
        pytest.param(np.repeat(ROWS, 2, axis=0)[::2], id="30-strided"),
        pytest.param(ROWS[::-1][::-1], id="30-negative-stride"),
        pytest.param(np.frombuffer(ROWS.tobytes()).reshape(-1, 3), id="30-read-only"),
        pytest.param(np.ma.masked_array(ROWS), id="31-nothing-masked"),
    ],
)
def test_any_real_dtype_and_layout(rows: Any) -> None:
    sketch = Sketch.from_rows(rows)
    assert sketch.points.dtype == np.float32
    assert sketch.pen_up.dtype == np.bool_
    assert sketch.points.tolist() == ROWS[:, :2].tolist()
    assert sketch.pen_up.tolist() == [False, True, False, False, True]


def test_the_callers_array_is_neither_changed_nor_kept() -> None:
    rows = ROWS.copy()
    rows[-1, 2] = 0
    before = rows.copy()
    sketch = Sketch.from_rows(rows)
    assert (rows == before).all()
    rows[:] = 0
    assert sketch.points[0].tolist() == [10, 20]


def test_32_repeated_points_stay_and_draw_nothing_new() -> None:
    once = Sketch.from_strokes([[(9, 9), (19, 14)]])
    twice = Sketch.from_strokes([[(9, 9), (9, 9), (19, 14), (19, 14)]])
    assert len(twice) == 4
    assert (birth_map(once, [2]) == birth_map(twice, [4])).all()


def test_strokes_round_trip() -> None:
    sketch = Sketch.from_rows(ROWS)
    again = Sketch.from_strokes(sketch.strokes())
    assert [len(stroke) for stroke in sketch.strokes()] == [2, 3]
    assert (again.points == sketch.points).all()
    assert (again.pen_up == sketch.pen_up).all()


@pytest.mark.parametrize("x", [101.4999999, 100.5000001, 101.5, 100.5, 0.4999999999, 255.4999999])
def test_float32_keeps_every_point_in_its_pixel(x: float) -> None:
    sketch = Sketch.from_rows([(x, 9, 1)])
    assert np.rint(sketch.points[0, 0]) == np.rint(x)
    assert abs(sketch.points[0, 0] - x) < 3e-5


@given(st.lists(st.tuples(st.floats(-300, 300), st.floats(-300, 300)), min_size=1))
def test_float32_keeps_any_points_in_their_pixels(points: list[tuple[float, float]]) -> None:
    points = [(9, 9), *points]
    assert (np.rint(Sketch.from_strokes([points]).points) == np.rint(points)).all()


@pytest.mark.data
def test_float32_keeps_the_real_points_in_their_pixels(chair_v2: Path) -> None:
    moved = 0
    for key, rows in load_legacy_pickle(chair_v2 / "ChairV2_Coordinate").items():
        pixels = np.rint(rows[:, :2])
        moved += int((np.rint(rows[:, :2].astype(np.float32)) != pixels).any(axis=1).sum())
        assert (np.rint(Sketch.from_rows(rows, key).points) == pixels).all()
    assert moved == 60, "points that a plain cast moves: the reason for the step back"


# -- reveal ---------------------------------------------------------------------------------------------


def test_points_by_hand() -> None:
    assert reveal(line(10), "points", 4).tolist() == [3, 6, 9, 10]  # 2.5 and 7.5 round to even, and one more
    assert reveal(line(1)).tolist() == [1] * 20
    assert reveal(line(40)).tolist() == [*range(3, 41, 2), 40]
    assert reveal(line(7), "points", 1).tolist() == [7]


def test_strokes_by_hand() -> None:
    sketch = Sketch.from_rows([(9, 9, flag) for flag in (0, 0, 1, 1, 0, 1)])
    assert reveal(sketch, "strokes").tolist() == [3, 4, 6]
    assert reveal(sketch, "strokes", 2).tolist() == [3, 4, 6]


def test_ink_by_hand() -> None:
    # Travel 0, 10, 30 on the first stroke, then a long way in the air, then 30, 40 on the second.
    sketch = Sketch.from_strokes([[(10, 10), (20, 10), (40, 10)], [(200, 200), (200, 210)]])
    assert reveal(sketch, "ink", 4).tolist() == [2, 2, 4, 5]


def test_strokes_beyond_254_come_at_the_end() -> None:
    sketch = Sketch.from_strokes([[(i % 200, 9)] for i in range(300)])
    knots = reveal(sketch, "strokes")
    assert knots.tolist() == [*range(1, 254), 300]


@pytest.mark.parametrize("steps", [0, -1, 255])
def test_steps_out_of_range(steps: int, refuses: Any) -> None:
    with refuses(ConfigError, f"steps={steps}"):
        reveal(line(5), "points", steps)


def test_unknown_schedule(refuses: Any) -> None:
    with refuses(ConfigError, "did you mean 'strokes'"):
        reveal(line(5), "stroks")


sketches = st.lists(
    st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), min_size=1, max_size=12),
    min_size=1,
    max_size=6,
).map(Sketch.from_strokes)
steps = st.integers(1, MAX_STEPS)


@given(sketches, steps, st.sampled_from(["points", "strokes", "ink"]))
def test_knots_never_decrease_and_end_with_the_last_point(sketch: Sketch, n: int, schedule: str) -> None:
    knots = reveal(sketch, schedule, n)
    assert knots.dtype == np.int64
    assert (np.diff(knots) >= 0).all()
    assert knots[0] >= 0
    assert knots[-1] == len(sketch)
    assert len(knots) == (sketch.n_strokes if schedule == "strokes" else n)


@given(sketches, steps)
def test_points_are_equal_shares(sketch: Sketch, n: int) -> None:
    shares = len(sketch) * np.arange(1, n + 1) / n  # and the point at the end of each, until there is none left
    knots = reveal(sketch, "points", n)
    assert (np.abs(knots[knots < len(sketch)] - 1 - shares[knots < len(sketch)]) <= 0.5 + 1e-9).all()
    assert (shares[knots == len(sketch)] + 1 >= len(sketch) - 0.5 - 1e-9).all()


@given(sketches)
def test_one_stroke_a_step(sketch: Sketch) -> None:
    lengths = [len(stroke) for stroke in sketch.strokes()]
    assert reveal(sketch, "strokes").tolist() == list(itertools.accumulate(lengths))


@given(sketches, steps)
def test_ink_is_equal_travel(sketch: Sketch, n: int) -> None:
    travel, total = [], 0.0
    for stroke in sketch.strokes():
        for i, (x, y) in enumerate(stroke.astype(float)):
            if i > 0:
                x0, y0 = stroke[i - 1].astype(float)
                total += math.sqrt((x - x0) ** 2 + (y - y0) ** 2)
            travel.append(total)
    expected = [sum(way <= total * t / n for way in travel) for t in range(1, n)] + [len(sketch)]
    assert reveal(sketch, "ink", n).tolist() == expected


@given(sketches, st.integers(-40, 40))
def test_moves_in_the_air_are_not_ink(sketch: Sketch, shift: int) -> None:
    moved = [stroke + i * shift for i, stroke in enumerate(sketch.strokes())]
    apart = Sketch(np.concatenate(moved), sketch.pen_up)
    assert (reveal(sketch, "ink") == reveal(apart, "ink")).all()
