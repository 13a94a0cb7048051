"""How well an encoder retrieves the photos of a split, while it is trained."""

from __future__ import annotations

import torch

from sketchless.datasets.dataset import SketchDataset, Split
from sketchless.datasets.errors import DataError

from ..networks.encoder import Encoder
from ..networks.layers import images_at_once
from .frames import Frames
from .pairs import PhotoInputs, pair_labels
from .precision import average_precision


class Validation:
    """The queries and photos of a split.

    Args:
        encoder: on its device.
        dataset, split: where they come from.
        pairs: `"instance"` or `"category"`.
        percentages: of the sketch, which the frames show.
        schedule, steps: reveal schedule of the frames.
    """

    def __init__(
        self,
        encoder: Encoder,
        dataset: SketchDataset,
        split: Split,
        pairs: str,
        percentages: tuple[int, ...],
        schedule: str,
        steps: int,
    ) -> None:
        self.encoder, self.percentages = encoder, percentages
        self.labels, self.photo_labels = pair_labels(dataset, split, pairs)
        self.frames = Frames(split.sketches, schedule, steps)
        self.photos = PhotoInputs(encoder, dataset, split.photos)

    def __len__(self) -> int:
        return len(self.frames)

    @torch.inference_mode()
    def score(self) -> float:
        """Mean average precision on validation, over the percentages.

        With pairs of instances one photo is right, and its average precision is 1/rank.
        """
        if not len(self.frames):
            return 0.0
        self.encoder.eval()
        batch, n = images_at_once(self.encoder.config.size, 32), len(self.frames)
        gallery = torch.arange(len(self.photo_labels))
        photos = torch.cat(
            [self.encoder.embed_photos(self.photos[rows].to(self.encoder.device)) for rows in gallery.split(batch)]
        )
        scores = []
        for rows in torch.arange(n).split(batch):
            relevant = (self.labels[rows].unsqueeze(1) == self.photo_labels).to(self.encoder.device)
            for percentage in self.percentages:
                step = self.frames.step(rows, percentage)
                images = self.encoder.sketch_inputs(self.frames.at(rows, step))
                similarity = self.encoder(images.to(self.encoder.device)) @ photos.T
                if not torch.isfinite(similarity).all():
                    raise DataError("stage 1: validation images give NaN; lower the learning rate")
                scores.append(average_precision(similarity, relevant))
        return float(torch.cat(scores).mean())
