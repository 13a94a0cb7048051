"""Figures are whole files of the right kind, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from sketchless.benchmarks.display.plots import Curve, curves, falls, learning
from sketchless.datasets.errors import ConfigError

Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]

PERCENT = np.arange(5, 101, 5.0)
HISTORY = [{"timesteps": 1000 * i, "val_m_at_b": 30 + i % 7, "reward": 0.1 * i} for i in range(1, 12)]


def curve(name: str, height: float = 0.5, band: bool = True) -> Curve:
    rising = height * PERCENT / 100
    interval = np.stack([rising - 0.02, rising + 0.02]) if band else None
    return Curve(name, PERCENT, rising, rising / 2, interval, interval)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that were saved."""
    figures: list[Any] = []
    save = Figure.savefig

    def spy(self: Figure, *args: Any, **kwargs: Any) -> None:
        figures.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", spy)
    return figures


def check_png(path: Path) -> None:
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)
        image.load()
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


# Curves ----------------------------------------------------------------------------------------------------


def test_curves_are_drawn_with_their_means_and_bands(tmp_path: Path, drawn: list[Any]) -> None:
    curves(tmp_path / "a.png", [curve("B1", 0.5), curve("refined", 0.8, band=False)], title="tiny")
    check_png(tmp_path / "a.png")
    left, right = drawn[0].axes
    # The mean of 5, 10 .. 100 % is 52.5 %.
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert [label.split() for label in labels] == [
        ["B1", "m@A", "26.2", "m@B", "13.1"],
        ["refined", "m@A", "42.0", "m@B", "21.0"],
    ]
    assert left.lines[0].get_ydata()[-1] == pytest.approx(50)
    assert right.lines[1].get_ydata()[-1] == pytest.approx(0.4)
    assert left.lines[0].get_color() == right.lines[0].get_color() != left.lines[1].get_color()
    assert (len(left.collections), len(right.collections)) == (1, 1)
    top = left.collections[0].get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(52)


def test_many_curves_stay_apart(tmp_path: Path, drawn: list[Any]) -> None:
    curves(tmp_path / "a.png", [curve(f"method {i}") for i in range(20)])
    looks = {(line.get_color(), line.get_linestyle()) for line in drawn[0].axes[0].lines}
    assert len(looks) == 20


def test_the_same_curves_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        curves(tmp_path / name, [curve("B1")])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_no_curve_is_refused(tmp_path: Path, refuses: Refuses) -> None:
    with refuses(ConfigError, "no curve to draw"):
        curves(tmp_path / "a.png", [])
    assert not list(tmp_path.iterdir())


# Learning --------------------------------------------------------------------------------------------------


def test_learning_marks_the_best(tmp_path: Path, drawn: list[Any]) -> None:
    learning(tmp_path / "a.png", HISTORY, title="tiny")
    check_png(tmp_path / "a.png")
    left, right = drawn[0].axes
    assert left.get_title() == "best 36 at 6k steps"
    assert left.lines[0].get_ydata().tolist() == [row["val_m_at_b"] for row in HISTORY]
    assert right.lines[0].get_xdata().tolist() == [row["timesteps"] for row in HISTORY]


def test_learning_skips_what_was_not_measured(tmp_path: Path, drawn: list[Any]) -> None:
    history: list[dict[str, Any]] = [
        {"timesteps": 10, "reward": 1.0},
        {"timesteps": 20, "reward": 2.0, "val_m_at_b": None},
        {"timesteps": 30, "reward": float("nan"), "val_m_at_b": 31.5},
    ]
    learning(tmp_path / "a.png", history)
    check_png(tmp_path / "a.png")
    left, right = drawn[0].axes
    assert left.lines[0].get_xdata().tolist() == [30]
    assert right.lines[0].get_xdata().tolist() == [10, 20]


def test_learning_without_any_validation(tmp_path: Path) -> None:
    learning(tmp_path / "a.png", [{"timesteps": 10, "reward": 1.0}])
    check_png(tmp_path / "a.png")


def test_an_empty_history_is_refused(tmp_path: Path, refuses: Refuses) -> None:
    with refuses(ConfigError, "history is empty"):
        learning(tmp_path / "a.png", [])
    assert not list(tmp_path.iterdir())


# Failure ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "method", "draw"),
    [
        (Figure, "savefig", lambda path: curves(path, [curve("B1")])),
        (Figure, "savefig", lambda path: learning(path, HISTORY)),
    ],
    ids=["curves", "learning"],
)
def test_a_failure_leaves_the_old_file_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    method: str,
    draw: Callable[[Path], None],
) -> None:
    path = tmp_path / "figure"
    path.write_text("old")

    def fail(self: object, file: Path, *args: Any, **kwargs: Any) -> None:
        Path(file).write_text("half")
        raise RuntimeError("interrupted")

    monkeypatch.setattr(owner, method, fail)
    with pytest.raises(RuntimeError, match="interrupted"):
        draw(path)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["figure"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, refuses: Refuses) -> None:
    with refuses(ConfigError, "is a folder"):
        curves(tmp_path, [curve("B1")])
    (tmp_path / "file").write_text("")
    with refuses(ConfigError, "cannot be written"):
        curves(tmp_path / "file" / "a.png", [curve("B1")])


def test_falls_are_drawn_in_tenths_of_the_first_ones_frames(tmp_path: Path, drawn: list[Any]) -> None:
    tau = np.linspace(0, 1, 101)[:-1]  # ten in every tenth
    falls(tmp_path / "falls.png", {"B1": (tau, np.repeat(np.arange(10.0), 10)), "a": (tau[:5], np.full(5, 2.0))}, "t")
    check_png(tmp_path / "falls.png")
    left, right = drawn[0].axes
    first, second = left.get_lines()
    np.testing.assert_allclose(first.get_xdata(), 0.045 + 0.1 * np.arange(10))
    np.testing.assert_allclose(first.get_ydata(), np.arange(10.0))
    np.testing.assert_allclose(np.transpose(second.get_data()), [[0.02, 2.0]])
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert labels == ["B1   mean fall 4.50", "a   mean fall 2.00"]
    assert [patch.get_data().values.sum() for patch in right.patches] == pytest.approx([100, 100])


@pytest.mark.parametrize("tau", [np.zeros(0), np.array([0.1, np.nan])])
def test_falls_need_taus(tmp_path: Path, refuses: Refuses, tau: Any) -> None:
    with refuses(ConfigError, "no falls to draw"):
        falls(tmp_path / "falls.png", {"B1": (tau, np.zeros(len(tau)))})


@pytest.fixture
def own_rc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A user's matplotlibrc that would need a TeX, and that changes size and format."""
    with matplotlib.rc_context({"text.usetex": True, "savefig.dpi": 20, "savefig.format": "svg", "font.size": 40}):
        yield


@pytest.mark.parametrize("name", ["$broken_{", "$x$ and $", "a_b^c", r"\frac"])
def test_labels_are_text_and_the_users_matplotlibrc_is_left_out(
    tmp_path: Path, drawn: list[Any], own_rc: None, name: str
) -> None:
    curves(tmp_path / "a" / "curves.png", [curve(name)], name)
    learning(tmp_path / "b" / "learning.png", HISTORY, name)
    check_png(tmp_path / "a" / "curves.png")
    check_png(tmp_path / "b" / "learning.png")
    for figure in drawn:
        texts = figure.findobj(Text)
        assert any(name in text.get_text() for text in texts)
        assert not any(text.get_usetex() or text.get_parse_math() for text in texts if text.get_text())


def test_figures_do_not_depend_on_the_users_settings(tmp_path: Path) -> None:
    curves(tmp_path / "plain.png", [curve("a")], "t")
    with matplotlib.rc_context({"text.usetex": True, "font.size": 40, "savefig.dpi": 20, "axes.facecolor": "red"}):
        curves(tmp_path / "set.png", [curve("a")], "t")
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "set.png").read_bytes()
