"""Deep spatial-semantic attention with its higher-order energy HOLEF (Song et al., ICCV 2017)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sketchless.datasets.errors import ConfigError

from ..distributed import gather
from ..losses import Loss, hinge, triplet_squared
from .layers import SpatialAttention
from .sketch_a_net import CHANNELS, WIDTH, SketchANet

MARGIN = 0.3
PENALTY = 0.1
"""Weight of |W - I|^2 in the loss."""


class DSSA(SketchANet):
    """Sketch-a-Net with attention on its last map f, coarse-fine fusion, and a learnable energy.

        m = softmax over positions of conv1(relu(conv256(f))),   a = f (1 + m)
        x = [L2(fc7(fc6(a))); L2(sum over positions of a)] / sqrt 2
        E(s, p) = sum_ij W_ij (s_i - p_j)^2

    A feature x [D] is a unit vector, D = dim + 256. The embeddings [D + 2] are such that their cosines rank
    photos as the energy does, lowest first (see `linear_head`).
    """

    def build(self, rebuild: dict[str, Any] | None) -> None:
        if self.config.attention:
            raise ConfigError("dssa has its own attention; leave out --attention")
        super().build(rebuild)
        self.attention = SpatialAttention(CHANNELS, hidden=CHANNELS)
        width = self.config.dim + CHANNELS
        # W = I + coupling / D: weight decay draws W to I, and a step of Adam, which is as long for every
        # entry, moves the sums over a row by the learning rate, not by D times as much.
        self.coupling = nn.Parameter(torch.zeros(width, width))
        self.fc7 = nn.Linear(WIDTH, self.config.dim)
        del self.head

    @property
    def energy_matrix(self) -> Tensor:
        """W [D, D]."""
        width = len(self.coupling)
        return torch.eye(width, dtype=self.coupling.dtype, device=self.coupling.device) + self.coupling / width

    def features(self, images: Tensor) -> Tensor:
        maps = self.maps(images)  # [B, 256, h, h]
        coarse = normalize(self.fc7(self.fc(maps)), dim=-1)
        fine = normalize(maps.sum(dim=(2, 3)), dim=-1)
        return normalize(torch.cat([coarse, fine], dim=-1), dim=-1)

    def linear_head(self) -> tuple[Tensor, Tensor]:
        """Weight [D + 2, D] and bias [D + 2] to q = [2 W^T s; -1; 0], which meets the photos' vectors g.

        q . g = 2 s^T W p - c . p^2, with c_j = sum_i W_ij, is the part of -E(s, p) that depends on p.
        """
        matrix = self.energy_matrix
        weight = torch.cat([2 * matrix.T, matrix.new_zeros(2, len(matrix))])
        bias = matrix.new_zeros(len(weight))
        bias[-2] = -1
        return weight, bias

    def embed_photos(self, images: Tensor) -> Tensor:
        """Photos [G, 1, S, S] to unit vectors [G, D + 2]."""
        return photo_vectors(self.features(images).float(), self.energy_matrix)

    def loss(self, sketches: Tensor, photos: Tensor, labels: Tensor, metric_loss: Loss) -> Tensor:
        """Triplet loss of energies plus `PENALTY` |W - I|^2; at W = I it is `triplet-squared`, the only one it takes.

        Raises:
            ConfigError: another metric loss.
        """
        self.check_loss(metric_loss)
        n = len(sketches)
        features = self.features(torch.cat([sketches, photos])).float()
        with torch.autocast(features.device.type, enabled=False):  # differences of large sums
            distance = energy(gather(features[:n]), gather(features[n:]), self.energy_matrix)
            return hinge(distance, labels, MARGIN) + PENALTY * near_identity(self.energy_matrix)

    def check_loss(self, metric_loss: Loss) -> None:
        if metric_loss is not triplet_squared:
            raise ConfigError(f"encoder {self.config.backbone!r} has a loss of its own; choose loss triplet-squared")


def energy(sketches: Tensor, photos: Tensor, matrix: Tensor) -> Tensor:
    """E(s, p) = sum_ij W_ij (s_i - p_j)^2 of all pairs of a batch (HOLEF).

    Multiplied out, with r_i = sum_j W_ij and c_j = sum_i W_ij:  E = r . s^2 + c . p^2 - 2 s^T W p

    Args:
        sketches: [B, D].
        photos: [G, D].
        matrix: W [D, D].

    Returns:
        [B, G].
    """
    own = (sketches.square() @ matrix.sum(dim=1)).unsqueeze(1)
    return own + photos.square() @ matrix.sum(dim=0) - 2 * sketches @ matrix @ photos.T


def near_identity(matrix: Tensor) -> Tensor:
    """|W - I|^2, the squared Frobenius norm."""
    return (matrix - torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)).square().sum()


def photo_vectors(photos: Tensor, matrix: Tensor) -> Tensor:
    """g = [p; c . p^2; pad] / M of unit vectors p [G, D]: [G, D + 2] of length 1.

    As the p_j^2 sum to 1, |c . p^2| <= max |c|, so M^2 = 1 + max |c|^2 bounds the length before padding,
    and the pad fills it up: with all g equally long, the order by cosine is the order by q . g.
    """
    column = matrix.sum(dim=0)
    own = photos.square() @ column
    bound = column.abs().max().square()
    pad = (bound - own.square()).clamp_min(0).sqrt()
    return normalize(torch.cat([photos, own.unsqueeze(1), pad.unsqueeze(1)], dim=1), dim=-1)
