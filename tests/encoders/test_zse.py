"""ZSE-SBIR: tokens at their places, both scores, the loss; on small networks with random weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from sketchless.encoders import ZSE, EncoderConfig, Tokens, make_encoder

SIDE = 8  # patches of 8 px in images of 64 px
COPIED = [(1, 5), (1, 6), (2, 5), (2, 6)]  # patches (y, x) amid what `planted` copies
DOWN, LEFT = 4, 4  # by so many patches


@pytest.fixture(scope="module")
def zse() -> ZSE:
    encoder = make_encoder(EncoderConfig("zse", size=64, dim=16))
    assert isinstance(encoder, ZSE)
    return encoder.eval()


@pytest.fixture(scope="module")
def planted() -> tuple[Tensor, Tensor]:
    """Pairs of noise images [60, 3, 64, 64]; the upper right quarter of the first is the lower left of the second.

    Any mix-up of rows and columns would look elsewhere.
    """
    random = torch.Generator().manual_seed(0)
    one, other = torch.rand(2, 60, 3, 64, 64, generator=random)
    other[:, :, 32:, :32] = one[:, :, :32, 32:]
    return one, other


@torch.no_grad()
def test_planted_matches_are_found_at_their_places(zse: ZSE, planted: tuple[Tensor, Tensor]) -> None:
    sketch, photo = (zse.tokens(images) for images in planted)
    assert sketch.places.shape == photo.places.shape == (60, 48)  # the selection has dropped 16 of 64
    match = zse.match(sketch, photo)
    found = []
    for n in range(60):
        for y, x in COPIED:
            here, there = y * SIDE + x, (y + DOWN) * SIDE + x - LEFT
            if here in sketch.places[n] and there in photo.places[n]:
                row = (sketch.places[n] == here).nonzero().item()
                found.append(photo.places[n, match[n, row].argmax()].item() == there)
    assert len(found) > 100
    assert sum(found) / len(found) > 0.8  # by chance: 1 in 48


@torch.no_grad()
def test_planted_matches_survive_the_pooling(zse: ZSE, planted: tuple[Tensor, Tensor]) -> None:
    sketch, photo = zse.attend(*(zse.tokens(images) for images in planted))
    cosines = zse.network.cosines(sketch, photo)
    assert cosines.shape == (60, 16, 16)
    half, found = SIDE // 2, []
    for y, x in ((0, 2), (0, 3), (1, 2), (1, 3)):  # cells of 2x2 patches
        v, u = y + DOWN // 2, x - LEFT // 2
        whole = kept(sketch)[:, y * half + x] & kept(photo)[:, v * half + u]
        found.append((cosines[:, y * half + x].argmax(dim=1) == v * half + u)[whole])
    assert torch.cat(found).numel() > 20
    assert torch.cat(found).float().mean() > 0.7  # by chance: 1 in 16


def kept(tokens: Tokens) -> Tensor:
    """Cells of 2x2 patches none of which was dropped: bool [B, 16]."""
    there = tokens.having(torch.ones_like(tokens.values[:, :, :1])).map()
    return avg_pool2d(there, 2).flatten(1) == 1
