"""The photos that are searched: unit embeddings and their ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.errors import ConfigError, DataError
from sketchless.datasets.tables import ShownAsTable

from .networks.encoder import Encoder, inference
from .networks.layers import images_at_once


@dataclass(frozen=True, eq=False, repr=False)
class Gallery(ShownAsTable):
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
        place = not_unit(self.embeddings)
        if place is not None:
            photo, length = self.photo_ids[place[0]], float(self.embeddings[place].norm())
            raise DataError(f"gallery: photo {photo!r} has an embedding of length {length:g}, not 1; encode it again")

    def as_table(self) -> tuple[str, list[list[str]]]:
        return "Gallery", [["photos", "embedding"], [str(size) for size in self.embeddings.shape]]

    def __len__(self) -> int:
        return len(self.photo_ids)

    @classmethod
    def encode(
        cls,
        encoder: Encoder,
        dataset: SketchDataset,
        photo_ids: Sequence[str],
        batch: int = 32,
        mirror: bool = False,
    ) -> Gallery:
        """Embed photos of a data set, `batch` at once or fewer large ones, flipped left to right if told to, on the
        encoder's device."""
        rows, batch = [], images_at_once(encoder.config.size, batch)
        with inference(encoder):
            for start in range(0, len(photo_ids), batch):
                photos = [dataset.photo(i) for i in photo_ids[start : start + batch]]
                images = encoder.photo_inputs(photos)
                images = images.flip(-1) if mirror else images
                rows.append(encoder.embed_photos(images.to(encoder.device)).float().cpu())
        width = len(encoder.linear_head()[1])
        return cls(torch.cat(rows) if rows else torch.zeros(0, width, dtype=torch.float32), tuple(photo_ids))

    def search(self, embedding: Tensor, k: int = 5) -> list[tuple[str, float]]:
        """The k nearest photos of one unit embedding [d]: (id, cosine similarity), nearest first.

        Equally near ones come in gallery order.

        Raises:
            ConfigError: `embedding` is not [d] or not finite, or k is below 1.
        """
        if k < 1:
            raise ConfigError(f"search for k={k} photos: k must be 1 or more")
        if embedding.shape != self.embeddings.shape[1:] or not torch.isfinite(embedding).all():
            raise ConfigError(f"search wants a finite embedding [{self.embeddings.shape[1]}]")
        scores, rows = (self.embeddings @ embedding).sort(descending=True, stable=True)
        return [(self.photo_ids[r], s) for r, s in zip(rows[:k].tolist(), scores[:k].tolist(), strict=True)]


def not_unit(vectors: Tensor) -> tuple[int, ...] | None:
    """Index of the first of the vectors [..., d] whose length is not 1 (also NaN); None if all are."""
    off = ~((torch.linalg.vector_norm(vectors, dim=-1) - 1).abs() < 1e-3)  # also catches NaN
    return tuple(off.nonzero()[0].tolist()) if off.any() else None
