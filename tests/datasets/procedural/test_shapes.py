"""Curves, rods and whole objects of the shape vocabulary, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sketchless.datasets.procedural.objects.shapes import (
    any_colour,
    area,
    box,
    ellipse,
    extent,
    flipped,
    framed,
    half_width,
    like,
    line,
    moved,
    on_top,
    polygon,
    rod,
    sides,
    spline,
    symmetric,
    tilted,
    trapezium,
    turned,
)

RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


def bends(path):
    """Angle in degrees by which a closed or open path turns at each inner point."""
    ahead = np.diff(path, axis=0)
    turn = np.angle((ahead[1:, 0] + 1j * ahead[1:, 1]) / (ahead[:-1, 0] + 1j * ahead[:-1, 1]))
    return np.abs(np.degrees(turn))


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=7, unique=True))
def test_a_spline_goes_through_its_points_eight_steps_each(points):
    path = spline(*points)
    np.testing.assert_allclose(path[::8], points, atol=1e-12)


def test_a_spline_through_points_of_a_line_is_that_line():
    # Catmull-Rom reproduces what is linear in its parameter: inner slopes (p_{k+1} - p_{k-1}) / 2 = one step.
    path = spline((0, 0), (1, 2), (2, 4), (3, 6))
    np.testing.assert_allclose(path[8:17, 0], np.linspace(1, 2, 9), atol=1e-12)
    np.testing.assert_allclose(path[:, 1], 2 * path[:, 0], atol=1e-12)


def test_a_point_given_twice_is_a_corner():
    assert bends(spline((0, 0), (4, 0), (4, 4))).max() < 45
    assert bends(spline((0, 0), (4, 0), (4, 0), (4, 4))).max() == pytest.approx(90)


def test_a_closed_spline_is_smooth_at_its_seam_and_elsewhere_where_it_has_no_corner():
    round_ = spline((1, 0), (0, 1), (-1, 0), (0, -1), (1, 0))
    assert (round_[0] == round_[-1]).all()
    assert bends(np.concatenate([round_, round_[1:2]])).max() < 30
    drop = spline((1, 0), (0, 1), (-1, 0), (0, -2), (0, -2), (1, 0))  # the seam is not at its corner
    assert (drop[0] == drop[-1]).all()
    sharp = bends(np.concatenate([drop, drop[1:2]])) > 45
    assert sharp.sum() == 1


@pytest.mark.parametrize("half", [[(0, -1), (2, 0), (0, 1)], [(1, -1), (2, 0), (0, 1)], [(1, -1), (2, 0), (1, 1)]])
def test_a_symmetric_outline_is_closed_and_its_own_mirror_image(half):
    path = symmetric(*half)
    assert (path[0] == path[-1]).all()
    for x, y in half:
        for side in (-x, x):
            assert np.abs(path - [side, y]).sum(axis=1).min() < 1e-9
    for point in flipped(path):
        assert np.abs(path - point).sum(axis=1).min() < 1e-9


def test_a_half_that_ends_beside_the_axis_is_cut_straight_across():
    path = symmetric((1, -1), (2, 0), (1, 1))
    top = path[np.abs(path[:, 1] + 1) < 1e-9]
    assert top[:, 0].min() == -1
    assert top[:, 0].max() == 1
    assert half_width(path, 0.0) == pytest.approx(2.0)


def test_ellipses_and_arcs():
    whole = ellipse(1, 2, 3, 4)
    assert (whole[0] == whole[-1]).all()
    np.testing.assert_allclose(((whole - [1, 2]) / [3, 4]) ** 2 @ [1, 1], 1)
    arc = ellipse(0, 0, 1, None, 0, 90)
    np.testing.assert_allclose(arc[[0, -1]], [[1, 0], [0, 1]], atol=1e-12)  # from the right, down


def test_turning_is_clockwise_as_one_sees_it():
    np.testing.assert_allclose(turned(line((1, 0), (2, 0)), 90), [[0, 1], [0, 2]], atol=1e-12)  # y points down
    np.testing.assert_allclose(turned(line((1, 0), (2, 0)), 90, (1, 0)), [[1, 0], [1, 1]], atol=1e-12)
    (shape,) = tilted([rod(line((1, 0), (2, 0)), 0.5, RED)], 90)
    np.testing.assert_allclose(shape.path, [[0, 1], [0, 2]], atol=1e-12)
    assert shape.width == pytest.approx(0.5)


def test_boxes():
    np.testing.assert_array_equal(box(0, 1, 2, 3), [[0, 1], [2, 1], [2, 3], [0, 3], [0, 1]])
    np.testing.assert_array_equal(trapezium(0, 1, 5, 2), [[-1, 0], [1, 0], [2, 5], [-2, 5], [-1, 0]])


def test_the_sides_of_a_rod_are_half_its_width_away():
    for path in (ellipse(0, 0, 10), line((0, 0), (1, 0), (2, 0))):
        left, right = sides(path, 2.0)
        np.testing.assert_allclose(np.hypot(*(left - path).T), 1.0)
        np.testing.assert_allclose((left + right) / 2, path, atol=1e-12)
    ring = sides(ellipse(0, 0, 10), 2.0)
    radii = sorted(float(np.hypot(*side.T).mean()) for side in ring)
    assert radii == pytest.approx([9, 11], abs=0.01)


def test_moving_scales_rods_and_framing_fills_the_frame():
    shapes = [area(box(0, 0, 2, 1), RED), rod(line((0, 0), (2, 0)), 0.4, BLUE)]
    assert [shape.width for shape in moved(shapes, np.eye(2) * 3)] == pytest.approx([0, 1.2])
    low, high = extent(shapes)
    np.testing.assert_allclose([low, high], [[-0.2, -0.2], [2.2, 1.0]])
    low, high = extent(framed(shapes, 10, 34))  # 2.4 wide: ten times as large, and centred
    np.testing.assert_allclose([low, high], [[10, 16], [34, 28]])


def test_the_last_shape_is_on_top():
    seen = on_top([area(box(2, 2, 12, 12), RED), rod(line((0, 7), (15, 7)), 3, BLUE)], 16)
    assert seen.dtype == np.uint8
    assert seen[4, 4] == 1
    assert seen[7, 4] == 2
    assert seen[7, 14] == 2
    assert seen[14, 14] == 0


def test_colours_are_colours():
    rng = np.random.default_rng(0)
    assert all(0 <= value <= 1 for _ in range(200) for value in (*any_colour(rng), *like(rng, (0.95, 0.02, 0.5))))


def test_only_an_area_needs_to_be_closed():
    assert area(polygon((0, 0), (1, 0), (1, 1)), RED).closed
    assert not rod(line((0, 0), (1, 0)), 1.0, RED).closed
