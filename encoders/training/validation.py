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
        partial: five frames of each sketch, instead of the complete one alone.
        schedule, steps: reveal schedule of the frames.
    """

    def __init__(
        self,
        encoder: Encoder,
        dataset: SketchDataset,
        split: Split,
        pairs: str,
        partial: bool,
        schedule: str,
        steps: int,
    ) -> None:
        self.encoder, self.partial = encoder, partial
        self.labels, self.photo_labels = pair_labels(dataset, split, pairs)
        self.frames = Frames(split.sketches, schedule, steps)
        self.photos = PhotoInputs(encoder, dataset, split.photos)

    def __len__(self) -> int:
        return len(self.frames)

    @torch.inference_mode()
    def score(self) -> float:
        """Mean average precision on validation: of complete sketches, or of five frames under `random`.

        With pairs of instances one photo is right, and its average precision is 1/rank.
        """
        if not len(self.frames):
            return 0.0
        self.encoder.eval()
        batch, n = images_at_once(self.encoder.config.size, 128), len(self.frames)
        gallery = torch.arange(len(self.photo_labels))
        photos = torch.cat(
            [self.encoder.embed_photos(self.photos[rows].to(self.encoder.device)) for rows in gallery.split(batch)]
        )
        shares = (0.2, 0.4, 0.6, 0.8, 1.0) if self.partial else (1.0,)
        scores = []
        for rows in torch.arange(n).split(batch):
            relevant = (self.labels[rows].unsqueeze(1) == self.photo_labels).to(self.encoder.device)
            for share in shares:
                step = (share * self.frames.lengths[rows]).long() - 1
                images = self.encoder.sketch_inputs(self.frames.at(rows, step.clamp_min(0)))
                similarity = self.encoder(images.to(self.encoder.device)) @ photos.T
                if not torch.isfinite(similarity).all():
                    raise DataError("stage 1: validation images give NaN; lower the learning rate")
                scores.append(average_precision(similarity, relevant))
        return float(torch.cat(scores).mean())
