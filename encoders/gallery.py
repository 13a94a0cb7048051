"""The photos that are searched: unit embeddings and their ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.errors import ConfigError, DataError

from .encoder import Encoder, photo_images


@dataclass(frozen=True, eq=False)
class Gallery:
    """Embedded photos.

    Attributes:
        embeddings: float32 [G, d], rows of length 1.
        photo_ids: G unique ids.
    """

    embeddings: Tensor
    photo_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.embeddings.dim() != 2 or len(self.embeddings) != len(self.photo_ids):
            raise DataError(f"gallery: embeddings {tuple(self.embeddings.shape)} for {len(self.photo_ids)} photos")
        if len(set(self.photo_ids)) != len(self.photo_ids):
            raise DataError("gallery: a photo id stands in it twice; give every photo its own id")
        if not torch.isfinite(self.embeddings).all():
            row = int((~torch.isfinite(self.embeddings).all(dim=1)).nonzero()[0])
            raise DataError(f"gallery: photo {self.photo_ids[row]!r} has a NaN or infinite embedding; encode it again")

    def __len__(self) -> int:
        return len(self.photo_ids)

    @classmethod
    def encode(cls, encoder: Encoder, dataset: SketchDataset, photo_ids: Sequence[str], batch: int = 64) -> Gallery:
        """Embed photos of a data set with an encoder, on the encoder's device."""
        rows = []
        with torch.inference_mode():
            for start in range(0, len(photo_ids), batch):
                photos = [dataset.photo(i) for i in photo_ids[start : start + batch]]
                images = photo_images(photos, encoder.config.size)
                rows.append(encoder(images.to(next(encoder.parameters()).device)).float().cpu())
        return cls(torch.cat(rows) if rows else torch.zeros(0, encoder.config.dim), tuple(photo_ids))

    def search(self, embedding: Tensor, k: int = 5) -> list[tuple[str, float]]:
        """The k nearest photos of one unit embedding [d]: (id, cosine similarity), nearest first.

        Raises:
            ConfigError: `embedding` is not [d] or not finite.
        """
        if embedding.shape != self.embeddings.shape[1:] or not torch.isfinite(embedding).all():
            raise ConfigError(f"search wants a finite embedding [{self.embeddings.shape[1]}]")
        scores, rows = (self.embeddings @ embedding).topk(min(k, len(self)))
        return [(self.photo_ids[r], s) for r, s in zip(rows.tolist(), scores.tolist(), strict=True)]
