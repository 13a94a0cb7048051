"""Which patch of a photo answers which patch of a sketch, for every encoder that sees patches."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from sketchless.datasets.errors import ConfigError

from .encoder import Encoder, inference
from .vit import Tokens

FINEST = 8  # rows of patches wanted at least
FARTHEST = 4  # shifts by this part of a stride at most


class TokenModel(Protocol):
    """What an explanation asks of a network; `zse` offers it itself."""

    def tokens(self, images: Tensor) -> Tokens:
        """Patch tokens of images [B, 3, S, S] in 0..1."""
        ...

    def match(self, sketch: Tokens, photo: Tokens) -> Tensor:
        """Cosines [B, L, L']; entry (i, j) belongs to `places[i]` of the sketch and `places[j]` of the photo."""
        ...


def token_model(encoder: Encoder) -> TokenModel:
    """The encoder itself where it has tokens, else its feature map as tokens. Raises ConfigError: neither."""
    if callable(getattr(encoder, "tokens", None)) and callable(getattr(encoder, "match", None)):
        return encoder  # type: ignore[return-value]
    return MapTokens(encoder)


class MapTokens:
    """The positions of an encoder's feature map as tokens.

    Of an encoder that pools its map m_k to the feature m = mean_k m_k, as `Encoder` does, the values are what a
    position adds to the embedding, through the linear head W: the cosine of two embeddings is, but for the bias,
    a sum of products W m_k . W m'_l over pairs of positions. Of one with `features` of its own (`sketch-a-net`,
    `dssa`, `manifold`) they are the m_k themselves: how alike two positions are to the network, not what they add.
    The attention is the share m_k . m / sum_l m_l . m that a position has in the mean of the map, not below 0;
    that mean is the feature, or what it follows from, in all but `sketch-a-net` and the coarse part of `dssa`.

    A map of few positions is made finer by moving the picture by parts of a stride (as in OverFeat, Sermanet
    et al., ICLR 2014). Convolutions with padding look beside the middle of their cell: by how much is measured,
    and the picture is moved against it, so that a token belongs to the patch at its place.

    Args:
        encoder: whose `maps` gives a feature map.

    Raises:
        ConfigError: it has no feature map, or one without places.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.pooled = type(encoder).features is Encoder.features
        size, device = encoder.config.size, encoder.device
        try:
            with inference(encoder):
                maps = encoder.maps(torch.zeros(1, 3, size, size, dtype=torch.float32, device=device))
        except AttributeError as error:  # neither a backbone nor `maps` of its own
            fault = f"encoder {encoder.config.backbone!r} has no map of patches to explain"
            raise ConfigError(f"{fault}; use another") from error
        self.sequence = maps.shape[3] == 1 and maps.shape[2] > 1  # tokens of a transformer, special ones first
        side = math.isqrt(maps.shape[2])
        self.height, self.width = (side, side) if self.sequence else (maps.shape[2], maps.shape[3])
        if self.height * self.width < 4:
            fault = f"sees images of {size} px as {self.height} x {self.width} patches"
            raise ConfigError(f"encoder {encoder.config.backbone!r} {fault}: too few to explain; use a larger size")
        coarse = 1 if self.sequence else -(-FINEST // min(self.height, self.width))
        self.parts = min(coarse, FARTHEST)
        self.stride = size / self.height, size / self.width
        self.middle = (0.0, 0.0) if self.sequence else self._middle()

    def tokens(self, images: Tensor) -> Tokens:
        """Tokens of all patches of images [B, 3, S, S], row by row."""
        steps = range(self.parts)
        rows = [torch.stack([self._maps(images, y, x) for x in steps], dim=-1).flatten(-2) for y in steps]
        maps = torch.stack(rows, dim=3).flatten(2, 3)  # [B, C, h k, w k]
        height, width = maps.shape[2:]
        values = maps.flatten(2).transpose(1, 2)  # [B, L, C]
        share = (values @ normalize(values.mean(dim=1), dim=1).unsqueeze(2)).squeeze(2).clamp_min(0)
        attention = share / share.sum(dim=1, keepdim=True).clamp_min(torch.finfo(share.dtype).tiny)
        if self.pooled:
            values = values @ self.encoder.linear_head()[0].T
        places = torch.arange(height * width, device=images.device).expand(len(images), -1)
        return Tokens(values, places, attention, (height, width))

    def match(self, sketch: Tokens, photo: Tokens) -> Tensor:
        """Cosines [B, L, L']."""
        return normalize(sketch.values, dim=-1) @ normalize(photo.values, dim=-1).transpose(1, 2)

    def _maps(self, images: Tensor, row: int, column: int) -> Tensor:
        """Maps [B, C, h, w] whose position (y, x) is about the part (row, column) of the cell (y, x)."""
        if self.sequence:
            maps = self.encoder.maps(images)[:, :, -self.height * self.width :, 0]  # of [B, C, L, 1]
            grid: Tensor = maps.unflatten(2, (self.height, self.width))
            return grid
        down, right = (
            round(seen - (part + 0.5) / self.parts * stride)
            for seen, part, stride in zip(self.middle, (row, column), self.stride, strict=True)
        )
        return self.encoder.maps(moved(images, down, right))

    def _middle(self) -> tuple[float, float]:
        """Where in its cell, pixels from the top and the left, a position of the map looks.

        The middle of the squared gradient of the innermost position, over a few pictures of noise.
        """
        size, device = self.encoder.config.size, self.encoder.device
        generator = torch.Generator().manual_seed(0)
        noise = torch.rand(4, 3, size, size, dtype=torch.float32, generator=generator).to(device)
        y, x = self.height // 2, self.width // 2
        with inference(self.encoder), torch.inference_mode(False), torch.enable_grad():
            noise = noise.clone().requires_grad_()
            response = self.encoder.maps(noise)[:, :, y, x].square().sum()
            (gradient,) = torch.autograd.grad(response, noise)
        # squared, to stay with the position itself where a normalisation looks at the whole picture
        weight = gradient.double().square().sum(dim=(0, 1))  # [S, S]
        pixels = torch.arange(size, device=device) + 0.5
        total = weight.sum().clamp_min(torch.finfo(torch.float64).tiny)
        down, right = (float((weight.sum(dim=axis) * pixels).sum() / total) for axis in (1, 0))
        return down - y * self.stride[0], right - x * self.stride[1]


def moved(images: Tensor, down: int, right: int) -> Tensor:
    """Images [B, 3, S, S] moved by pixels (up and left if negative); their edges go on."""
    height, width = images.shape[2:]
    around = (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0))  # left, right, top, bottom
    grown = pad(images, around, mode="replicate")
    return grown[:, :, max(-down, 0) : max(-down, 0) + height, max(-right, 0) : max(-right, 0) + width]
