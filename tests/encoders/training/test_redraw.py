from __future__ import annotations

import numpy as np
import pytest

from sketchless.datasets import RasterSketch, Sketch
from sketchless.encoders.training.redraw import (
    LENGTH,
    ORDER,
    deform,
    moving_least_squares,
    redraw,
    remove_strokes,
    stroke_lengths,
)

LINES = [[[10, 10], [10, 50], [40, 50]], [[20, 20], [20, 30]], [[100, 100], [105, 100]]]
SKETCH = Sketch.from_strokes(LINES, "three")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def grid() -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(0.0, 256, 51), np.arange(0.0, 256, 51)), axis=-1).reshape(-1, 2)


def test_stroke_lengths_by_hand() -> None:
    np.testing.assert_allclose(stroke_lengths(SKETCH), [70, 10, 5])
    dot = Sketch.from_strokes([[[3, 3]], [[9, 9], [9, 10]]])
    np.testing.assert_allclose(stroke_lengths(dot), [0, 1])


def test_late_and_short_strokes_go_first() -> None:
    # Pr(i) ~ exp(alpha o_i) / exp(beta l_i) with orders 0, 1/2, 1 and lengths 1, 1/7, 1/14 of the longest
    score = np.exp(ORDER * np.array([0, 0.5, 1]) - LENGTH * np.array([1, 1 / 7, 1 / 14]))
    generator, trials = rng(), 4000
    gone = np.zeros(3)
    for _ in range(trials):
        left = [stroke.tolist() for stroke in remove_strokes(SKETCH, 1, generator).strokes()]
        gone[[line not in left for line in LINES].index(True)] += 1
    np.testing.assert_allclose(gone / trials, score / score.sum(), atol=0.03)  # 4 standard errors


@pytest.mark.parametrize(("n", "left"), [(0, 3), (1, 2), (2, 1), (3, 1), (99, 1)])
def test_one_stroke_stays_at_least(n: int, left: int) -> None:
    some = remove_strokes(SKETCH, n, rng())
    assert some.n_strokes == left
    assert some.pen_up[-1]
    kept = [stroke.tolist() for stroke in some.strokes()]
    assert kept == [line for line in LINES if line in kept]  # in order, and whole


def test_moving_least_squares_reproduces_similarities() -> None:
    handles = rng().uniform(0, 256, (6, 2))
    turn = 1.2 * np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    moved = handles @ turn.T + [5, -9]
    # but for the ridge of 1 px^2
    np.testing.assert_allclose(moving_least_squares(grid(), handles, moved), grid() @ turn.T + [5, -9], atol=0.1)
    np.testing.assert_allclose(moving_least_squares(grid(), handles, handles), grid(), atol=1e-9)


def test_moving_least_squares_without_complex_numbers() -> None:
    handles, generator = rng(1).uniform(0, 256, (5, 2)), rng(2)
    moved = handles + generator.normal(0, 9, handles.shape)
    for v, found in zip(grid(), moving_least_squares(grid(), handles, moved), strict=True):
        w = 1 / (((handles - v) ** 2).sum(axis=1) + 64)
        w /= w.sum()
        p, q = w @ handles, w @ moved
        # least squares for the 2 x 2 matrix [[a, -b], [b, a]], with the unit ridge towards the identity
        a, b, square = 1.0, 0.0, 1.0
        for weight, (px, py), (qx, qy) in zip(w, handles - p, moved - q, strict=True):
            a += weight * (px * qx + py * qy)
            b += weight * (px * qy - py * qx)
            square += weight * (px * px + py * py)
        np.testing.assert_allclose(found, np.array([[a, -b], [b, a]]) @ (v - p) / square + q, atol=1e-9)


def test_handles_in_one_place_carry_all_along() -> None:
    here = np.array([[7.0, 7.0]])
    np.testing.assert_allclose(moving_least_squares(grid(), here, here + 3), grid() + 3)


def test_deforming_keeps_strokes_and_joints() -> None:
    joined = Sketch.from_strokes([[[10, 10], [90, 90]], [[90, 90], [90, 200], [10, 200]]], "joined")
    bent = deform(joined, 1.0, rng())
    assert bent.id == "joined"
    assert bent.points.dtype == np.float32
    assert (bent.pen_up == joined.pen_up).all()
    np.testing.assert_array_equal(bent.points[1], bent.points[2])
    moves = np.linalg.norm(bent.points - joined.points, axis=1)
    assert 0.5 < moves.max() < 40


def test_strength_scales_the_moves() -> None:
    few, many = (np.abs(deform(SKETCH, s, rng()).points - SKETCH.points).max() for s in (0.01, 1.0))
    assert 0 < few < 0.05 * many


def test_redraw_follows_its_generator_and_leaves_the_sketch_alone() -> None:
    before = SKETCH.content()
    one, same, other = (redraw(SKETCH, 0.7, 1.0, rng(seed)) for seed in (1, 1, 2))
    assert one.content() == same.content() != other.content()
    assert SKETCH.content() == before
    assert redraw(SKETCH, 0.0, 0.0, rng()).content() == before


def test_pictures_empty_drawings_and_dots_survive() -> None:
    picture = RasterSketch(np.eye(256, dtype=bool), "scan")
    empty = Sketch.from_rows([])
    for drawing in (picture, empty):
        assert redraw(drawing, 1.0, 1.0, rng()) is drawing
    dot = redraw(Sketch.from_strokes([[[5, 5]]]), 1.0, 1.0, rng())
    assert isinstance(dot, Sketch)
    assert np.isfinite(dot.points).all()
