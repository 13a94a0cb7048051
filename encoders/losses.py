"""Metric-learning losses of stage 1, over a batch of matching pairs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def triplet(sketch: Tensor, photo: Tensor, target: Tensor, margin: float = 0.3) -> Tensor:
    """Triplet loss with every other photo of the batch as a negative (margin: Bhunia et al., CVPR 2020).

    Args:
        sketch: unit embeddings [B, d].
        photo: unit embeddings [B, d]; row i matches sketch i.
        target: photo numbers [B]; equal numbers are no negatives of each other.
        margin: in units of Euclidean distance, 0 to 2.
    """
    # |s - p|^2 = 2 - 2 s.p for unit vectors; the floor keeps the root's gradient finite.
    return hinge((2 - 2 * sketch @ photo.T).clamp_min(1e-8).sqrt(), target, margin)


def triplet_squared(sketch: Tensor, photo: Tensor, target: Tensor, margin: float = 0.3) -> Tensor:
    """Triplet loss of squared distances (Yu et al., "Sketch Me That Shoe", CVPR 2016, with its margin).

    Arguments as `triplet`; `margin` is in units of squared distance, 0 to 4.
    """
    return hinge(2 - 2 * sketch @ photo.T, target, margin)


def hinge(distance: Tensor, target: Tensor, margin: float) -> Tensor:
    """Mean over all negatives of max(0, margin + positive - negative).

    Args:
        distance: [B, B], of sketch i (row) and photo j; the diagonal holds the positives.
        target: as in `triplet`.
        margin: in the distance's units.
    """
    cost = (margin + distance.diagonal().unsqueeze(1) - distance).clamp_min(0)
    negative = target.unsqueeze(1) != target.unsqueeze(0)
    return cost[negative].mean() if negative.any() else cost.sum() * 0


def contrastive(sketch: Tensor, photo: Tensor, target: Tensor, temperature: float = 0.07) -> Tensor:
    """Softmax contrastive loss over the batch, both ways (InfoNCE, van den Oord et al., 2018).

    Arguments as `triplet`; `temperature` divides the cosine similarities.
    """
    logits = sketch @ photo.T / temperature  # [B, B]
    same = target.unsqueeze(1) == target.unsqueeze(0)
    same.fill_diagonal_(False)
    logits = logits.masked_fill(same, float("-inf"))
    rows = torch.arange(len(logits), device=logits.device)
    return (cross_entropy(logits, rows) + cross_entropy(logits.T, rows)) / 2


LOSSES: dict[str, Loss] = {"contrastive": contrastive, "triplet": triplet, "triplet-squared": triplet_squared}
"""Metric losses of stage 1 by name: a function of sketches [B, d], photos [B, d] and labels [B]."""
