"""Frames of the sketches of a split, held as birth maps: one byte a pixel for a whole episode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sketchless.datasets.raster import birth_map
from sketchless.datasets.sketch import CANVAS, Drawing, reveal


@dataclass(frozen=True, eq=False)
class Frames:
    """Birth maps of N sketches.

    Attributes:
        birth: uint8 [N, H, W], the first frame in which a pixel has ink.
        lengths: int64 [N], frames of each episode.
    """

    birth: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, sketches: Sequence[Drawing], schedule: str = "points", steps: int = 20) -> Frames:
        """Rasterise sketches under a reveal schedule. Raises ConfigError as `reveal`."""
        knots = [reveal(sketch, schedule, steps) for sketch in sketches]
        maps = [birth_map(sketch, k) for sketch, k in zip(sketches, knots, strict=True)]
        birth = np.stack(maps) if maps else np.zeros((0, CANVAS, CANVAS), np.uint8)
        return cls(torch.from_numpy(birth), torch.tensor([len(k) for k in knots], dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.birth)

    def at(self, rows: Tensor, step: Tensor) -> Tensor:
        """Frame `step` [B] of sketches `rows` [B], from 0, the last one beyond the end: bool [B, H, W]."""
        last = torch.minimum(step, self.lengths[rows] - 1)
        return self.birth[rows] <= last.view(-1, 1, 1)
