"""Pictures of the game: kept strokes dark, dropped ones light red."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sketchless.datasets.dataset import SketchDataset
from sketchless.encoders.bank import EpisodeBank

from ..game.subsets import ink, strokes_of
from .drawing import MARGIN, SKETCH
from .renderer import Renderer, Row

_DROPPED = np.array([255, 160, 160])  # light red


class GameRenderer(Renderer):
    """Draws games; `show` says where the game stands. `step` counts the strokes decided."""

    def __init__(self, bank: EpisodeBank, dataset: SketchDataset) -> None:
        super().__init__(bank, dataset)
        self._kept = 0

    def show(self, mode: str, kept: int, *args: Any) -> Any:
        """Picture (`"rgb_array"`) or text with the strokes of the set `kept`; the rest as for `Renderer.rgb`."""
        self._kept = kept
        return self.rgb(*args) if mode == "rgb_array" else self.ansi(*args)

    def _progress(self, sketch: int, step: int) -> str:
        return f"stroke {step} of {self._sketches[sketch].n_strokes}, {len(strokes_of(self._kept))} kept"

    def _ink(self, sketch: int, step: int) -> npt.NDArray[np.bool_]:
        return ink(self._sketches[sketch], self._kept).astype(bool)

    def _frame(self, sketch: int, step: int, rows: Sequence[Row], caption: str = "") -> npt.NDArray[np.uint8]:
        picture = super()._frame(sketch, step, rows, caption)
        dropped = ink(self._sketches[sketch], ((1 << step) - 1) & ~self._kept)
        share = Image.fromarray(dropped * np.uint8(255)).resize((SKETCH, SKETCH), Image.Resampling.BOX)
        cover = np.asarray(share)[..., None] / 255
        top = (len(picture) - SKETCH) // 2
        card = picture[top : top + SKETCH, MARGIN : MARGIN + SKETCH]
        # Multiplied in like a wash of colour: dark ink stays dark.
        card[:] = np.rint(card * (1 - cover * (1 - _DROPPED / 255)))
        return picture
