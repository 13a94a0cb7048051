"""Small random changes of viewpoint, applied to images of sketches and photos."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


def random_affine(n: int, strength: float, generator: torch.Generator) -> Tensor:
    """n affine maps [n, 2, 3]: turn up to 8 degrees, scale up to 10 %, shift up to 6 %, times `strength`."""
    angle, zoom, dx, dy = strength * (2 * torch.rand(4, n, dtype=torch.float32, generator=generator) - 1)
    angle, scale = angle * math.radians(8), torch.exp(zoom * 0.1)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    # affine_grid spans -1..1, so a shift of 6 % of the side is 0.12
    return torch.stack([torch.stack([cos, -sin, dx * 0.12], 1), torch.stack([sin, cos, dy * 0.12], 1)], 1)


def warp(images: Tensor, affine: Tensor) -> Tensor:
    """Images [B, C, S, S] seen through affine maps [B, 2, 3]; the border continues outwards."""
    grid = affine_grid(affine, list(images.shape), align_corners=False)
    return grid_sample(images, grid, padding_mode="border", align_corners=False)
