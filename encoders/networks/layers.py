"""What several encoders share: the form of a backbone, layers, and pictures as their input."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from typing_extensions import Self


class Backbone(nn.Module):
    """A network from images [B, 3, S, S] in 0..1 to feature maps [B, C, h, w].

    Attributes:
        channels: C.
        rebuild: plain JSON values from which `make_backbone(name, rebuild=...)` makes the same network
            without its pretrained weights.
    """

    channels: int
    rebuild: dict[str, Any]

    def stages(self) -> list[nn.Module]:
        """Blocks from the input on, for freezing the first ones."""
        return []


class Pretrained(Backbone):
    """Kept in evaluation mode also while training: dropout would blur retrieval, and the statistics of a
    batch norm mean little on batches that mix sketches and photos.
    """

    model: nn.Module

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.model.eval()
        return self


class SpatialAttention(nn.Module):
    """`B + B * softmax(att(B))`, softmax over the positions (Bhunia et al., CVPR 2020)."""

    def __init__(self, channels: int, hidden: int | None = None) -> None:
        super().__init__()
        hidden = hidden or max(channels // 4, 8)
        self.score = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.GroupNorm(1, hidden), nn.ReLU(), nn.Conv2d(hidden, 1, 1)
        )

    def mask(self, maps: Tensor) -> Tensor:
        """Weights [B, 1, h, w] of the positions of maps [B, C, h, w]; each mask sums to 1."""
        mask: Tensor = self.score(maps).flatten(2).softmax(dim=-1)
        return mask.view(len(maps), 1, *maps.shape[2:])

    def forward(self, maps: Tensor) -> Tensor:
        return maps + maps * self.mask(maps)


def contours(images: Tensor) -> Tensor:
    """Strength of the luminance gradient (Sobel) of images [B, 3, S, S]: [B, 1, S, S], 1 at a step from 0 to 1."""
    sobel = images.new_tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]) / 4
    kernels = torch.stack([sobel, sobel.T]).unsqueeze(1)  # [2, 1, 3, 3]
    grey = images.mean(dim=1, keepdim=True)  # [B, 1, S, S]
    gradient = nn.functional.conv2d(nn.functional.pad(grey, (1, 1, 1, 1), mode="replicate"), kernels)
    return (gradient.square().sum(dim=1, keepdim=True) + 1e-6).sqrt()


def scaled(images: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """(images - mean) / deviation of images [B, C, S, S]; where both are 0.5, `images * 2 - 1` to the bit."""
    return images * (1 / deviation) - mean / deviation


def images_at_once(size: int, at_most: int) -> int:
    """How many images of `size` pixels a side to encode together: no more pixels than `at_most` images of 256 have."""
    return max(min(at_most, at_most * 256**2 // size**2), 1)


def sketch_images(frames: Tensor, size: int) -> Tensor:
    """Binary frames uint8 or bool [B, H, W] (ink is non-zero) to network input [B, 3, S, S] in 0..1.

    White ink on black, as in the paper; averaged down to the size, so that thin lines keep their weight.
    """
    ink = (frames != 0).float().unsqueeze(1)
    return _resize(ink, size).expand(-1, 3, -1, -1)


def photo_images(photos: list[npt.NDArray[np.uint8]], size: int) -> Tensor:
    """Photos uint8 [H, W, 3] of any sizes to network input [G, 3, S, S] in 0..1."""
    resized = [_resize(torch.from_numpy(p).permute(2, 0, 1).unsqueeze(0).float() / 255, size) for p in photos]
    return torch.cat(resized) if resized else torch.zeros(0, 3, size, size, dtype=torch.float32)


def _resize(images: Tensor, size: int) -> Tensor:
    if images.shape[-1] == size and images.shape[-2] == size:
        return images
    if images.shape[-2] % size == 0 and images.shape[-1] % size == 0:
        return interpolate(images, size=(size, size), mode="area")
    return interpolate(images, size=(size, size), mode="bilinear", antialias=True).clamp(0, 1)
