"""ZSE-SBIR: tokens at their places, both scores, the loss; on small networks with random weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sketchless.encoders import ZSE, EncoderConfig, Tokens, make_encoder

SIDE = 8  # patches of 8 px in images of 64 px


@pytest.fixture(scope="module")
def zse() -> ZSE:
    encoder = make_encoder(EncoderConfig("zse", size=64, dim=16))
    assert isinstance(encoder, ZSE)
    return encoder.eval()


def planted(zse: ZSE, at: tuple[int, int], to: tuple[int, int], size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two noise images; patches `at` .. `at + size` (y, x) of the first stand in the second from `to` on."""
    random = torch.Generator().manual_seed(seed)
    one, other = (torch.rand(1, 3, 64, 64, generator=random) for _ in range(2))
    (y, x), (v, u), n = (8 * at[0], 8 * at[1]), (8 * to[0], 8 * to[1]), 8 * size
    other[:, :, v : v + n, u : u + n] = one[:, :, y : y + n, x : x + n]
    return one, other


@torch.no_grad()
def test_a_planted_match_is_found_at_its_place(zse: ZSE) -> None:
    one, other = planted(zse, (0, 4), (3, 1), 3)
    sketch, photo = zse.tokens(one), zse.tokens(other)
    assert sketch.places.shape[1] < SIDE**2  # the selection has dropped some
    match = zse.match(sketch, photo)[0]
    row = (sketch.places[0] == 1 * SIDE + 5).nonzero().item()  # the middle of what was copied
    assert photo.places[0, match[row].argmax()] == 4 * SIDE + 2
    assert isinstance(sketch, Tokens)
