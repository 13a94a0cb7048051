"""The window of `render_mode="human"`: where there is a display, and an error of one line where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sketchless.datasets.errors import ConfigError
from sketchless.envs.rendering.window import Window, has_display

Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]
PICTURE = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


class FakeRoot:
    """As much of `tkinter.Tk` as a window asks for."""

    def __init__(self) -> None:
        self.visible, self.updates, self.destroyed, self.on_close = True, 0, 0, lambda: None

    def withdraw(self) -> None:
        self.visible = False

    def deiconify(self) -> None:
        self.visible = True

    def state(self) -> str:
        return "normal" if self.visible else "withdrawn"

    def title(self, text: str) -> None: ...

    def protocol(self, name: str, function: Callable[[], None]) -> None:
        assert name == "WM_DELETE_WINDOW"
        self.on_close = function

    def update(self) -> None:
        self.updates += 1

    def destroy(self) -> None:
        self.destroyed += 1


@pytest.fixture
def tk(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A tkinter of which one can see what it was told, on a machine that says it has a display."""
    root, given = FakeRoot(), dict[str, Any]()
    image = SimpleNamespace(configure=lambda **options: given.update(options))
    fake = SimpleNamespace(
        root=root,
        given=given,
        TclError=RuntimeError,
        Tk=lambda: root,
        PhotoImage=lambda master: image,
        Label=lambda *_, **__: SimpleNamespace(pack=lambda: None),
    )
    monkeypatch.setitem(sys.modules, "tkinter", fake)
    monkeypatch.setenv("DISPLAY", ":7")
    return fake


def test_a_picture_opens_it_and_is_shown(tk: SimpleNamespace) -> None:
    window = Window(fps=1000)
    assert not tk.root.visible
    window.show(PICTURE)
    assert tk.root.visible
    assert tk.root.updates == 1
    assert tk.given == {"format": "PPM", "data": b"P6 4 2 255 " + bytes(range(24))}


def test_pictures_keep_their_pace(tk: SimpleNamespace) -> None:
    window, begun = Window(fps=20), time.monotonic()
    for _ in range(3):
        window.show(PICTURE)
    assert time.monotonic() - begun >= 2 / 20  # the first one does not wait


def test_closed_it_stays_closed(tk: SimpleNamespace) -> None:
    window = Window(fps=1000)
    window.show(PICTURE)
    tk.root.on_close()  # by its user
    window.show(PICTURE)
    window.close()
    assert (tk.root.updates, tk.root.destroyed) == (1, 1)


def test_without_a_display_it_says_so(monkeypatch: pytest.MonkeyPatch, refuses: Refuses) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert not has_display()
    with refuses(ConfigError, "no display: use render_mode='rgb_array' or 'ansi'"):
        Window(fps=4)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert has_display()


def test_a_display_that_does_not_answer(tk: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, refuses: Refuses) -> None:
    def fails() -> None:
        raise tk.TclError("couldn't connect to display :7")

    monkeypatch.setattr(tk, "Tk", fails)
    with refuses(ConfigError, r"cannot open a window \(couldn't connect to display :7\): use render_mode='rgb_array'"):
        Window(fps=4)


def test_a_python_without_tkinter(tk: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, refuses: Refuses) -> None:
    monkeypatch.setitem(sys.modules, "tkinter", None)
    with refuses(ConfigError, "needs tkinter"):
        Window(fps=4)


@pytest.mark.skipif(not has_display(), reason="no display")
def test_on_a_real_display() -> None:
    window = Window(fps=100)
    window.show(np.zeros((40, 60, 3), np.uint8))
    window.close()
