from __future__ import annotations

import math

import torch

from sketchless.encoders.training.augment import random_affine, warp


def dot(row: int, column: int, size: int = 32) -> torch.Tensor:
    image = torch.zeros(1, 1, size, size)
    image[..., row, column] = 1
    return image


def test_strength_0_changes_nothing() -> None:
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    still = random_affine(3, 0.0, torch.Generator().manual_seed(1))
    torch.testing.assert_close(warp(images, still), images)


def test_a_shift_moves_the_pixels() -> None:
    # the view moves right by 4 of 32 pixels, 0.25 of the span -1..1, so the dot moves left by 4
    shift = torch.tensor([[[1.0, 0.0, 0.25], [0.0, 1.0, 0.0]]])
    torch.testing.assert_close(warp(dot(10, 20), shift), dot(10, 16))


def test_the_border_continues_outwards() -> None:
    assert warp(torch.ones(1, 1, 8, 8), torch.tensor([[[1.0, 0.0, 0.9], [0.0, 1.0, 0.9]]])).eq(1).all()


def test_changes_stay_within_their_limits() -> None:
    affine = random_affine(2000, 1.0, torch.Generator().manual_seed(0))
    scale = affine[:, :, :2].det().sqrt()
    angle = torch.atan2(affine[:, 1, 0], affine[:, 0, 0])
    for value, limit in ((scale.log(), 0.1), (angle, math.radians(8)), (affine[:, :, 2], 0.12)):
        assert 0.99 * limit < value.abs().max() <= limit + 1e-6
        assert abs(value.mean()) < 0.05 * limit


def test_the_generator_decides() -> None:
    first, again = (random_affine(4, 1.0, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, random_affine(4, 1.0, torch.Generator().manual_seed(4)))
