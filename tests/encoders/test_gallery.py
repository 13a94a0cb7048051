from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from sketchless.datasets import ConfigError, DataError, SketchDataset
from sketchless.encoders import Encoder, EncoderConfig, Gallery
from sketchless.encoders.networks.layers import photo_images

SQUARE = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])


def test_search_gives_the_nearest_first() -> None:
    gallery = Gallery(SQUARE, ("east", "north", "west"))
    found = gallery.search(torch.tensor([0.6, 0.8]), k=2)
    assert [name for name, _ in found] == ["north", "east"]
    assert [score for _, score in found] == pytest.approx([0.8, 0.6])


def test_equally_near_photos_come_in_gallery_order() -> None:
    gallery = Gallery(SQUARE[[0] * 40], tuple(str(i) for i in range(40)))
    assert [name for name, _ in gallery.search(SQUARE[0], k=40)] == [str(i) for i in range(40)]


def test_search_beyond_the_gallery_gives_all_of_it() -> None:
    assert len(Gallery(SQUARE, ("a", "b", "c")).search(SQUARE[0], k=9)) == 3


@pytest.mark.parametrize(
    ("embedding", "k"), [(torch.ones(3), 1), (torch.tensor([float("nan"), 0]), 1), (SQUARE[0], 0), (SQUARE, 1)]
)
def test_search_refuses_nonsense(embedding: torch.Tensor, k: int, refuses: Any) -> None:
    with refuses(ConfigError, "search"):
        Gallery(SQUARE, ("a", "b", "c")).search(embedding, k)


@pytest.mark.parametrize(
    ("embeddings", "ids", "match"),
    [
        (SQUARE, ("a", "b"), "for 2 photos"),
        (SQUARE, ("a", "b", "a"), "twice"),
        (SQUARE * torch.tensor([[1.0], [float("nan")], [1.0]]), ("a", "b", "c"), "'b'.*nan"),
        (SQUARE * torch.tensor([[1.0], [1.0], [0.0]]), ("a", "b", "c"), "'c'.*length 0"),
        (2 * SQUARE, ("a", "b", "c"), "'a'.*length 2"),
    ],
)
def test_gallery_names_its_fault(embeddings: torch.Tensor, ids: tuple[str, ...], match: str, refuses: Any) -> None:
    with refuses(DataError, match):
        Gallery(embeddings, ids)


def test_encode_embeds_every_photo(encoder: Encoder, polygons: SketchDataset) -> None:
    ids = polygons.split("train").photos
    gallery = Gallery.encode(encoder, polygons, ids, batch=5)
    with torch.no_grad():
        alone = torch.cat([encoder(photo_images([polygons.photo(i)], 32)) for i in ids])
    torch.testing.assert_close(gallery.embeddings, alone)
    torch.testing.assert_close(gallery.embeddings, normalize(gallery.embeddings, dim=-1))
    assert gallery.photo_ids == ids
    assert not gallery.embeddings.is_inference()


def test_encode_evaluates_also_while_training(noisy_backbone: str, polygons: SketchDataset) -> None:
    encoder = Encoder(EncoderConfig(noisy_backbone, size=32)).train()
    ids = polygons.split("test").photos
    first, again = (Gallery.encode(encoder, polygons, ids).embeddings for _ in range(2))
    assert torch.equal(first, again)
    assert encoder.training


def test_empty_gallery(encoder: Encoder, polygons: SketchDataset) -> None:
    assert Gallery.encode(encoder, polygons, []).embeddings.shape == (0, 8)
