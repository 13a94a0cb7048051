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
    distance = (2 - 2 * sketch @ photo.T).clamp_min(1e-8).sqrt()  # [B, B]
    positive = distance.diagonal().unsqueeze(1)
    # mean of max(0, m + d(s, p+) - d(s, p-))
    hinge = (margin + positive - distance).clamp_min(0)
    negative = target.unsqueeze(1) != target.unsqueeze(0)
    return hinge[negative].mean() if negative.any() else hinge.sum() * 0


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


LOSSES: dict[str, Loss] = {"contrastive": contrastive, "triplet": triplet}
