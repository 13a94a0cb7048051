"""Frames of the sketches of a split, by way of birth maps: one byte a pixel for a whole episode."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sketchless.datasets.lazy import LazySketches
from sketchless.datasets.raster import birth_map
from sketchless.datasets.sketch import CANVAS, Drawing, reveal

ROOM = 1 << 31  # bytes of birth maps that are kept: those of 32,768 sketches


class Frames:
    """Frames of N sketches, drawn when they are asked for; the first birth maps, up to `room` bytes, are kept.

    Attributes:
        lengths: int64 [N], frames of each episode.
    """

    def __init__(
        self, sketches: Sequence[Drawing], schedule: str = "points", steps: int = 20, room: int = ROOM
    ) -> None:
        """Frames under a reveal schedule. Raises ConfigError as `reveal`."""
        self.lengths = _lengths(sketches, schedule, steps)
        self._sketches, self._schedule, self._steps = sketches, schedule, steps
        self._room, self._kept = room, dict[int, Tensor]()

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def birth(self) -> Tensor:
        """All birth maps, uint8 [N, H, W]: the first frame in which a pixel has ink. 64 KB a sketch."""
        return self._maps(range(len(self)))

    def at(self, rows: Tensor, step: Tensor) -> Tensor:
        """Frame `step` [B] of sketches `rows` [B], from 0, the last one beyond the end: bool [B, H, W]."""
        last = torch.minimum(step, self.lengths[rows] - 1)
        return self._maps(rows.tolist()) <= last.view(-1, 1, 1)

    def step(self, rows: Tensor, percentage: int) -> Tensor:
        """The last frame, from 0, of sketches `rows` [B] within `percentage` (1..100) of their steps: int64 [B].

        Where even the first is beyond, it is the first.
        """
        return (percentage * self.lengths[rows] // 100 - 1).clamp_min(0)

    def _maps(self, rows: Sequence[int]) -> Tensor:
        if not len(rows):
            return torch.zeros(0, CANVAS, CANVAS, dtype=torch.uint8)
        maps = {row: self._map(row) for row in dict.fromkeys(rows)}
        return torch.stack([maps[row] for row in rows])

    def _map(self, row: int) -> Tensor:
        if row in self._kept:
            return self._kept[row]
        sketch = self._sketches[row]
        birth = torch.from_numpy(birth_map(sketch, reveal(sketch, self._schedule, self._steps)))
        if self._room >= birth.nbytes:
            self._room -= birth.nbytes
            self._kept[row] = birth
        return birth


def _lengths(sketches: Sequence[Drawing], schedule: str, steps: int) -> Tensor:
    # Sketches in files are of one kind: except by strokes, the first one stands for all.
    if isinstance(sketches, LazySketches) and len(sketches) and schedule != "strokes":
        return torch.full((len(sketches),), len(reveal(sketches[0], schedule, steps)))
    return torch.tensor([len(reveal(sketch, schedule, steps)) for sketch in sketches], dtype=torch.int64)
