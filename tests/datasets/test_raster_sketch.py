"""Sketches of which only the picture is left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from sketchless.datasets import RasterSketch, birth_map, frames, reveal
from sketchless.datasets.errors import ConfigError, FormatError
from sketchless.datasets.raster import NEVER


def scan(width: int, height: int, *lines: tuple[float, float, float, float], pen: int = 1) -> np.ndarray:
    """Black lines on white."""
    image = Image.new("L", (width, height), 255)
    for line in lines:
        ImageDraw.Draw(image).line(line, fill=0, width=pen)
    return np.asarray(image)


def extent(sketch: RasterSketch) -> tuple[int, int, int, int]:
    """First and last row and column of the ink."""
    rows, columns = np.nonzero(sketch.ink)
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def test_a_scan_of_the_canvas_is_taken_as_it_is() -> None:
    picture = scan(256, 256, (3, 5, 200, 90), (10, 250, 255, 250))
    sketch = RasterSketch.from_picture(picture, "a")
    assert np.array_equal(sketch.ink, picture < 128)
    assert (sketch.id, sketch.n_strokes, len(sketch), sketch.strokes()) == ("a", 0, 0, [])
    assert sketch.content() == (picture < 128).tobytes()


@pytest.mark.parametrize("size", [257, 300, 512, 800, 1111, 3000])
@pytest.mark.parametrize("slope", [0.0, 0.1, 0.5, 1.0, 3.0])
def test_a_line_one_pixel_thin_survives_shrinking(size: int, slope: float) -> None:
    end = (size - 1, slope * (size - 1)) if slope <= 1 else ((size - 1) / slope, size - 1)
    sketch = RasterSketch.from_picture(scan(size, size, (0, 0, *end)))
    _, pieces = ndimage.label(sketch.ink, np.ones((3, 3)))
    assert pieces == 1
    low, high, left, right = extent(sketch)
    assert (low, left) == (0, 0)
    assert max(high, right) == 255
    assert min(high, right) == pytest.approx(255 * min(slope, 1 / slope if slope else 0), abs=1.5)


@pytest.mark.parametrize("size", [16, 40, 64, 100, 128, 200])
def test_a_line_survives_enlarging(size: int) -> None:
    sketch = RasterSketch.from_picture(
        scan(size, size, (0, 0, size - 1, size - 1), (0, size // 2, size - 1, size // 2))
    )
    _, pieces = ndimage.label(sketch.ink, np.ones((3, 3)))
    assert pieces == 1


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        # shrunk by 4: 200 rows become 50, from row 103 on
        (1024, 200, (103, 152, 0, 255)),
        (200, 1024, (0, 255, 103, 152)),
        (512, 256, (64, 191, 0, 255)),
        # enlarged by 2, 32 rows become 64
        (128, 32, (96, 159, 0, 255)),
    ],
)
def test_the_aspect_is_kept_and_the_picture_centred(
    width: int, height: int, expected: tuple[int, int, int, int]
) -> None:
    frame = [(0, 0, width, 0), (0, height - 1, width, height - 1), (0, 0, 0, height), (width - 1, 0, width - 1, height)]
    assert extent(RasterSketch.from_picture(scan(width, height, *frame))) == expected


def test_grey_and_colour_are_one() -> None:
    grey = scan(300, 200, (5, 5, 290, 190), pen=3)
    colour = np.repeat(grey[:, :, None], 3, axis=2)
    assert np.array_equal(RasterSketch.from_picture(grey).ink, RasterSketch.from_picture(colour).ink)
    blue = np.full((64, 64, 3), 255, np.uint8)
    blue[10, 10:50] = (0, 0, 200)  # 66.7 on average
    assert RasterSketch.from_picture(blue).ink.any()


def test_half_dark_is_the_border() -> None:
    picture = np.full((256, 256), 128, np.uint8)
    picture[7, 9] = 127
    assert np.argwhere(RasterSketch.from_picture(picture).ink).tolist() == [[7, 9]]


@pytest.mark.parametrize(
    ("picture", "match"),
    [
        (np.zeros((4, 4), np.float32), r"not float32 \(4, 4\)"),
        (np.zeros((4, 4), bool), r"not bool \(4, 4\)"),
        (np.zeros(4, np.uint8), r"not uint8 \(4,\)"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"not uint8 \(1, 4, 4, 3\)"),
        (np.zeros((0, 4), np.uint8), r"not uint8 \(0, 4\)"),
        (np.full((9, 9), 255, np.uint8), "no dark ink"),
        (np.full((9, 9, 3), 128, np.uint8), "no dark ink"),
    ],
)
def test_no_sketch(picture: Any, match: str, refuses: Any) -> None:
    with refuses(FormatError, f"sketch 'x': .*{match}"):
        RasterSketch.from_picture(picture, "x")


@pytest.mark.parametrize("schedule", ["points", "strokes", "ink"])
@pytest.mark.parametrize("steps", [1, 20, 254])
def test_it_has_one_frame_under_every_schedule(schedule: str, steps: int) -> None:
    sketch = RasterSketch.from_picture(scan(256, 256, (3, 5, 200, 90)))
    knots = reveal(sketch, schedule, steps)
    assert (knots.tolist(), knots.dtype) == ([0], np.int64)
    birth = birth_map(sketch, knots)
    assert birth.dtype == np.uint8
    assert np.array_equal(birth == 0, sketch.ink)
    assert set(np.unique(birth).tolist()) == {0, NEVER}
    assert np.array_equal(frames(birth, 1)[0] > 0, sketch.ink)


def test_reveal_refuses_for_a_picture_what_it_refuses_for_strokes(refuses: Any) -> None:
    sketch = RasterSketch.from_picture(scan(256, 256, (3, 5, 200, 90)))
    with refuses(ConfigError, "unknown reveal schedule 'inks'"):
        reveal(sketch, "inks")
    with refuses(ConfigError, "steps=0"):
        reveal(sketch, "points", 0)
    with refuses(ConfigError, "cannot be drawn at 128"):
        birth_map(sketch, [0], size=128)
    with refuses(ConfigError, "knots must be"):
        birth_map(sketch, [])


def test_enlarged_pixels_are_squares_without_gaps() -> None:
    dark = np.random.default_rng(0).random((64, 64)) < 0.3
    sketch = RasterSketch.from_picture(np.where(dark, np.uint8(0), np.uint8(255)))
    assert np.array_equal(sketch.ink, dark.repeat(4, axis=0).repeat(4, axis=1))


@pytest.mark.parametrize("colours", [1, 3])
def test_more_ink_than_ground_is_refused_and_can_be_inverted(colours: int, refuses: Any) -> None:
    picture = scan(256, 256, (3, 5, 200, 90))
    if colours == 3:
        picture = np.repeat(picture[..., None], 3, axis=2)
    with refuses(FormatError, r"sketch 'a': 100% of the picture is dark.* load it with invert=true"):
        RasterSketch.from_picture(255 - picture, "a")
    inverted = RasterSketch.from_picture(255 - picture, "a", invert=True)
    assert np.array_equal(inverted.ink, RasterSketch.from_picture(picture, "a").ink)
    with refuses(FormatError, r"100% of the picture is light.* load it with invert=false"):
        RasterSketch.from_picture(picture, "a", invert=True)


def test_half_ink_is_a_drawing_and_all_ink_is_none(refuses: Any) -> None:
    picture = np.full((10, 10), 255, dtype=np.uint8)
    picture[:5] = 0
    assert RasterSketch.from_picture(picture).ink.mean() == 0.5
    with refuses(FormatError, "no light ink"):
        RasterSketch.from_picture(np.zeros((10, 10), dtype=np.uint8), "a", invert=True)
