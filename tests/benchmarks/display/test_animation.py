"""Animations show each frame for its time, and are whole files or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from sketchless.benchmarks.display.animation import gif
from sketchless.datasets.errors import ConfigError


def movie(n: int = 20, height: int = 40, width: int = 60) -> list[npt.NDArray[np.uint8]]:
    """A bright bar that wanders to the right."""
    frames = np.full((n, height, width, 3), 240, np.uint8)
    for t in range(n):
        frames[t, :, 2 * t : 2 * t + 4] = (200, 30, 30)
    return list(frames)


def test_an_animation_has_its_frames_and_times(tmp_path: Path) -> None:
    frames = movie()
    gif(tmp_path / "a.gif", frames, seconds=0.25, hold=1.5)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.gif"]
    with Image.open(tmp_path / "a.gif") as image:
        assert image.format == "GIF"
        assert image.info["loop"] == 0
        assert image.n_frames == 20
        durations = []
        for t, frame in enumerate(frames):
            image.seek(t)
            durations.append(image.info["duration"])
            assert np.abs(np.asarray(image.convert("RGB")).astype(int) - frame).max() <= 4
    assert durations == [250] * 19 + [1500]


def test_equal_neighbours_are_shown_as_long(tmp_path: Path) -> None:
    first, second = movie(2)
    gif(tmp_path / "a.gif", [first, first, second, second], seconds=0.1, hold=1)
    with Image.open(tmp_path / "a.gif") as image:
        durations = []
        for t in range(image.n_frames):
            image.seek(t)
            durations.append(image.info["duration"])
    assert durations == [200, 1100]


def test_a_single_frame(tmp_path: Path) -> None:
    gif(tmp_path / "a.gif", movie(1))
    with Image.open(tmp_path / "a.gif") as image:
        assert image.size == (60, 40)


def test_an_animation_is_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    base = np.full((400, 900, 3), 245, np.uint8)
    base[100:300, 500:800] = rng.integers(0, 256, (200, 300, 3))
    frames = []
    for t in range(20):
        frames.append(base.copy())
        frames[t][50 : 60 + 10 * t, 50:54] = 20
    gif(tmp_path / "a.gif", frames)
    assert (tmp_path / "a.gif").stat().st_size < 400_000


@pytest.mark.parametrize("frames", [[], [np.zeros((4, 4), np.uint8)], [*movie(1), *movie(1, 20)]])
def test_frames_that_make_no_animation_are_refused(tmp_path: Path, frames: Any, refuses) -> None:
    with refuses(ConfigError, "of one size"):
        gif(tmp_path / "a.gif", frames)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("seconds", "hold"), [(0, 2), (-1, 2), (0.4, 1000), (float("nan"), 2)])
def test_impossible_times_are_refused(tmp_path: Path, seconds: float, hold: float, refuses) -> None:
    with refuses(ConfigError, "0 to 600 s"):
        gif(tmp_path / "a.gif", movie(2), seconds, hold)


def test_a_failure_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.gif"
    path.write_text("old")

    def fail(self: object, file: Path, *_: Any, **__: Any) -> None:
        Path(file).write_text("half")
        raise RuntimeError("interrupted")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(RuntimeError, match="interrupted"):
        gif(path, movie(3))
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.gif"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, refuses) -> None:
    (tmp_path / "file").write_text("")
    with refuses(ConfigError, "cannot be written"):
        gif(tmp_path / "file" / "a.gif", movie(2))
