"""Sketch-a-Net as a Siamese encoder of sketches and edge maps (Yu et al., "Sketch Me That Shoe", CVPR 2016)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # which imports its parts at their first use
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from sketchless.datasets.errors import ConfigError
from sketchless.datasets.sketch import CANVAS

from .encoder import Encoder
from .layers import SpatialAttention, photo_images, sketch_images

CHANNELS = 256
"""Of the last feature map."""
WIDTH = 512
"""Of fc6, the feature."""
SMALLEST = 81
"""Side in pixels below which the last pooling has nothing left to pool."""
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)
BLUR = 1.5
"""Pixels by which photos are smoothed before their edges are looked for."""


def conv(fan_in: int, width: int, kernel: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    """A convolution of Sketch-a-Net.

    Group normalisation instead of the paper's pre-training lets it learn from scratch. Batch normalisation
    would mix the statistics of sketches and edge maps, and dropout would draw from the global generator, so
    that a resumed run were another one.
    """
    return [nn.Conv2d(fan_in, width, kernel, stride, padding), nn.GroupNorm(8, width), nn.ReLU()]


class SketchANet(Encoder):
    """The network of the paper: one channel of 225 px, five convolutions, fc6 (512), fc7 (d, 256 there).

    The feature is fc6 at unit length, fc7 the linear head. Photos enter as edge maps, so that one network
    serves both. Other sizes from 81 px on are possible: fc6 spans the last map, whatever its side.
    """

    def build(self, rebuild: dict[str, Any] | None) -> None:
        size = self.config.size
        if size < SMALLEST:
            raise ConfigError(
                f"encoder {self.config.backbone!r}: size={size}; give {SMALLEST} or more (the paper: 225)"
            )
        self.blocks = nn.Sequential(
            nn.Sequential(*conv(1, 64, 15, stride=3), nn.MaxPool2d(3, 2)),
            nn.Sequential(*conv(64, 128, 5), nn.MaxPool2d(3, 2)),
            nn.Sequential(*conv(128, CHANNELS, 3, padding=1)),
            nn.Sequential(*conv(CHANNELS, CHANNELS, 3, padding=1)),
            nn.Sequential(*conv(CHANNELS, CHANNELS, 3, padding=1), nn.MaxPool2d(3, 2)),
        )
        self.attention = SpatialAttention(CHANNELS) if self.config.attention else nn.Identity()
        self.fc6 = nn.Conv2d(CHANNELS, WIDTH, map_side(size))
        self.head = nn.Linear(WIDTH, self.config.dim)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)

    @property
    def rebuild(self) -> dict[str, Any]:
        return {}

    def stages(self) -> list[nn.Module]:
        return list(self.blocks)

    def sketch_inputs(self, frames: Tensor) -> Tensor:
        """Binary frames [B, H, W] to [B, 1, S, S]: the three channels of a line drawing are one."""
        return sketch_images(frames, self.config.size)[:, :1]

    def photo_inputs(self, photos: list[npt.NDArray[np.uint8]]) -> Tensor:
        """Photos uint8 [H, W, 3] to edge maps [G, 1, S, S] in 0..1."""
        size = self.config.size
        if not photos:
            return torch.zeros(0, 1, size, size, dtype=torch.float32)
        # At the size of the canvas first, as sketches are, so that both have lines of one width.
        grey = [np.tensordot(LUMINANCE, image, axes=1) for image in photo_images(photos, CANVAS).numpy()]
        edges = torch.from_numpy(np.stack([edge_map(image) for image in grey])).unsqueeze(1)  # [G, 1, H, W]
        return interpolate(edges, size=(size, size), mode="bilinear", antialias=True).clamp(0, 1)

    def maps(self, images: Tensor) -> Tensor:
        """Images [B, 1 or more, S, S], of which the first channel counts, to maps [B, 256, h, h]."""
        maps: Tensor = self.attention(self.blocks(images[:, :1].contiguous(memory_format=torch.channels_last)))
        return maps

    def fc(self, maps: Tensor) -> Tensor:
        """Maps [B, 256, h, h] to fc6, at unit length [B, 512]."""
        return normalize(self.fc6(maps).relu().flatten(1), dim=-1)

    def features(self, images: Tensor) -> Tensor:
        return self.fc(self.maps(images))


def map_side(size: int) -> int:
    """Side h of the last map of an image of `size` pixels: 7 of 225."""
    side = (size - 15) // 3 + 1  # convolution 15/3
    side = (side - 3) // 2 + 1  # pooling 3/2
    side = (side - 4 - 3) // 2 + 1  # convolution 5, pooling 3/2
    return (side - 3) // 2 + 1


def edge_map(luminance: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Edges of a grey picture [H, W] in 0..1, drawn as wide as the ink of sketches: float32 [H, W] in 0..1.

    The gradient of the smoothed picture, kept where it is largest along its own direction (Canny, 1986) and
    above a twentieth of its peak, then thickened by a 3 x 3 cross. The root of the strength lets faint edges
    be seen. A picture without edges gives zeros.
    """
    down = scipy.ndimage.gaussian_filter(luminance, BLUR, order=(1, 0), mode="nearest")
    right = scipy.ndimage.gaussian_filter(luminance, BLUR, order=(0, 1), mode="nearest")
    strength = np.hypot(down, right)
    peak = float(np.percentile(strength, 99))
    if peak < 1e-3:  # of 0..1 a pixel: flat
        return np.zeros_like(strength)
    step = np.stack([down, right]) / np.maximum(strength, 1e-9)
    here = np.indices(strength.shape, dtype=np.float32)
    sides = here + step, here - step
    ahead, behind = (scipy.ndimage.map_coordinates(strength, side, order=1, mode="nearest") for side in sides)
    crest = (strength >= ahead) & (strength > behind) & (strength > 0.05 * peak)
    edges = np.where(crest, np.sqrt(np.minimum(strength / peak, 1)), 0).astype(np.float32)
    thick: npt.NDArray[np.float32] = scipy.ndimage.maximum_filter(edges, footprint=CROSS)
    return thick
