"""Training pairs of stage 1: a sketch, or a frame of it, and a photo that goes with it, seen alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sketchless.datasets.dataset import SketchDataset, Split
from sketchless.datasets.errors import DataError

from ..distributed import rank, world
from ..networks.encoder import Encoder
from .augment import random_affine, warp
from .config import Stage1Config
from .frames import Frames
from .redraw import redraw


class TrainingPairs:
    """The pairs of a split.

    Attributes:
        labels: int64 [N], of the sketches: equal ones belong together.
        photo_labels: int64 [G].
        frames: of the sketches.
    """

    def __init__(
        self, encoder: Encoder, dataset: SketchDataset, split: Split, config: Stage1Config, schedule: str, steps: int
    ) -> None:
        self.encoder, self.config, self.reveal = encoder, config, (schedule, steps)
        self.labels, self.photo_labels = pair_labels(dataset, split, config.pairs)
        self.sketches = split.sketches
        self.frames = Frames(split.sketches, schedule, steps)
        self.photos = PhotoInputs(encoder, dataset, split.photos)

    def __len__(self) -> int:
        return len(self.frames)

    def batch(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """This process's share of the pairs of sketches `rows` [B]: their images, then their photos'.

        What is drawn at random is drawn for the whole batch on every process, so that all draw alike.

        Args:
            rows: int64 [B], B a multiple of the number of processes W.
            generator: of all that is random.

        Returns:
            [2 B / W, 3, S, S], on the CPU.
        """
        config, n = self.config, len(rows)
        mine = torch.arange(n).tensor_split(world())[rank()]
        frames, which = self._frames(rows, mine, generator)
        step = frames.step(which, config.percentage)
        if config.frames == "random":
            partial = torch.rand(n, dtype=torch.float32, generator=generator) >= config.complete_share
            share = torch.rand(n, dtype=torch.float32, generator=generator)
            step = torch.where(partial[mine], (share[mine] * (step + 1)).long(), step)
        partners = self._partners(rows, generator)
        flipped = torch.rand(n, dtype=torch.float32, generator=generator) < (0.5 if config.flip else 0.0)
        views = random_affine(2 * n, config.augment, generator)
        sketches = self.encoder.sketch_inputs(frames.at(which, step))
        images = torch.cat([sketches, self.photos[partners[mine]]])  # [2B, 3, S, S]
        images = torch.where(flipped[mine].repeat(2).view(-1, 1, 1, 1), images.flip(-1), images)
        if config.augment > 0:
            images = warp(images, views[torch.cat([mine, n + mine])])
        return images

    def _frames(self, rows: Tensor, mine: Tensor, generator: torch.Generator) -> tuple[Frames, Tensor]:
        """Frames of the sketches `rows[mine]`, redrawn if so configured, and where among them each one is."""
        removal, deformation = self.config.removal, self.config.deformation
        if removal == deformation == 0:
            return self.frames, rows[mine]
        seeds = torch.randint(1 << 62, (len(rows),), generator=generator)
        redrawn = [
            redraw(self.sketches[row], removal, deformation, np.random.default_rng(seed))
            for row, seed in zip(rows[mine].tolist(), seeds[mine].tolist(), strict=True)
        ]
        return Frames(redrawn, *self.reveal), torch.arange(len(mine))

    def _partners(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Photos [B] that go with the sketches."""
        if self.config.pairs == "instance":
            return self.labels[rows]
        share = torch.rand(len(rows), dtype=torch.float32, generator=generator)
        members = [(self.photo_labels == label).nonzero()[:, 0] for label in self.labels[rows]]
        return torch.stack([m[int(s * len(m))] for m, s in zip(members, share, strict=True)])


class PhotoInputs:
    """Network inputs of photos by row; the first ones, up to `room` bytes, are kept."""

    def __init__(self, encoder: Encoder, dataset: SketchDataset, ids: Sequence[str], room: int = 1 << 31) -> None:
        self.encoder, self.dataset, self.ids = encoder, dataset, ids
        self.room, self.kept = room, dict[int, Tensor]()

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Rows int64 [B], one at least, to [B, 3, S, S]."""
        return torch.stack([self._one(row) for row in rows.tolist()])

    def _one(self, row: int) -> Tensor:
        if row in self.kept:
            return self.kept[row]
        image = self.encoder.photo_inputs([self.dataset.photo(self.ids[row])])[0]
        if self.room >= image.nbytes:
            self.room -= image.nbytes
            self.kept[row] = image
        return image


def pair_labels(dataset: SketchDataset, split: Split, pairs: str) -> tuple[Tensor, Tensor]:
    """What makes a sketch and a photo a pair, as numbers: int64 [N] and [G]."""
    if pairs == "instance":
        if len(split.targets) and split.targets.min() < 0:
            fault = f"{dataset.name}: no photo is known for some sketches"
            raise DataError(f"{fault}; pair them by category (--pairs category)")
        return torch.from_numpy(split.targets), torch.arange(len(split.photos))
    if len(split.sketches) and not split.sketch_categories:
        raise DataError(f"{dataset.name}: has no categories; pair by instance (--pairs instance)")
    names, numbers = np.unique([*split.sketch_categories, *split.photo_categories], return_inverse=True)
    n = len(split.sketches)
    if lonely := set(numbers[:n].tolist()) - set(numbers[n:].tolist()):
        raise DataError(f"{dataset.name}: no photo of category {str(names[min(lonely)])!r} among those to pair")
    return torch.from_numpy(numbers[:n]), torch.from_numpy(numbers[n:])
