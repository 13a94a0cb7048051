"""How many of the first photos are right ones: precision, and average precision, of rankings by category."""

from __future__ import annotations

import torch
from torch import Tensor

from sketchless.datasets.errors import ConfigError


def average_precision(score: Tensor, relevant: Tensor, k: int | None = None) -> Tensor:
    """Average precision of rankings, cut off after the first k.

    With rel_i = 1 where the i-th photo is relevant, P_i = (rel_1 + .. + rel_i) / i and R relevant photos:
    AP@k = sum over i <= k of P_i rel_i, divided by min(k, R). Not interpolated. Among photos with equal
    scores the relevant ones come last, so that a network that tells nothing apart earns nothing by it.

    Args:
        score: [N, G], higher is nearer; finite.
        relevant: bool [N, G].
        k: 1 or more; None for the whole gallery (mAP@all is the mean of the result).

    Returns:
        float64 [N], 0..1; NaN for a query without relevant photos.

    Raises:
        ConfigError: k below 1.
    """
    hits = _in_order(score, relevant, k)  # [N, k]
    place = torch.arange(1, hits.shape[1] + 1, dtype=torch.float64, device=hits.device)
    best = relevant.sum(dim=1).clamp_max(hits.shape[1])
    return (hits.cumsum(dim=1) / place * hits).sum(dim=1) / best  # 0 / 0 is the NaN


def precision(score: Tensor, relevant: Tensor, k: int) -> Tensor:
    """Share of relevant photos among the first k (of all, if the gallery has fewer): float64 [N], 0..1.

    Arguments and errors as `average_precision`.
    """
    return _in_order(score, relevant, k).mean(dim=1)


def _in_order(score: Tensor, relevant: Tensor, k: int | None) -> Tensor:
    if k is not None and k < 1:
        raise ConfigError(f"precision among the first {k}: give 1 or more")
    # Two stable sorts: by relevance first, so that it decides among equal scores.
    order = relevant.to(torch.int8).sort(dim=1, stable=True).indices
    order = order.gather(1, score.gather(1, order).sort(dim=1, descending=True, stable=True).indices)
    return relevant.gather(1, order)[:, :k].to(torch.float64)
