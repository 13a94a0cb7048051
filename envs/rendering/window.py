"""A window for `render_mode="human"`, where there is a display."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from sketchless.datasets.errors import ConfigError

_INSTEAD = "use render_mode='rgb_array' or 'ansi'"


def has_display() -> bool:
    """Whether a window could open here. Tk speaks to X11, which a Wayland session offers as `DISPLAY`, too."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY"))


class Window:
    """Shows one picture after another; the first one opens it. Once its user has closed it, it stays closed.

    Args:
        fps: pictures a second at most; `show` waits for its turn.
        title: of the window.

    Raises:
        ConfigError: no display, or a Python without tkinter.
    """

    def __init__(self, fps: float, title: str = "sketchless") -> None:
        if not has_display():
            raise ConfigError(f"render_mode='human' opens a window, but there is no display: {_INSTEAD}")
        try:
            import tkinter
        except ImportError as error:
            raise ConfigError(f"render_mode='human' needs tkinter, which this Python lacks: {_INSTEAD}") from error
        try:
            self._root: Any = tkinter.Tk()
        except tkinter.TclError as error:
            raise ConfigError(f"render_mode='human' cannot open a window ({error}): {_INSTEAD}") from error
        self._root.withdraw()  # until there is something to see
        self._root.title(title)
        self._root.protocol("WM_DELETE_WINDOW", self.close)
        self._image = tkinter.PhotoImage(master=self._root)
        tkinter.Label(self._root, image=self._image, borderwidth=0).pack()
        self._pause, self._due = 1 / fps, 0.0

    def show(self, picture: npt.NDArray[np.uint8]) -> None:
        """Show uint8 [H, W, 3]."""
        if self._root is None:
            return
        time.sleep(max(0.0, self._due - time.monotonic()))
        self._due = time.monotonic() + self._pause
        height, width, _ = picture.shape
        self._image.configure(format="PPM", data=f"P6 {width} {height} 255 ".encode() + picture.tobytes())
        if self._root.state() == "withdrawn":  # else it is up, or its user has put it away
            self._root.deiconify()
        self._root.update()

    def close(self) -> None:
        """Close it; again does nothing."""
        if self._root is not None:
            self._root.destroy()
            self._root = None
