"""How many of the first photos are right ones: precision, and average precision, of rankings by category."""

from __future__ import annotations

import torch
from torch import Tensor

from sketchless.datasets.errors import ConfigError


def average_precision(score: Tensor, relevant: Tensor, k: int | None = None, interpolated: bool = False) -> Tensor:
    """Average precision of rankings, cut off after the first k.

    With rel_i = 1 where the i-th photo is relevant, P_i = (rel_1 + .. + rel_i) / i and R relevant photos:
    AP@k = sum over i <= k of P_i rel_i, divided by min(k, R). Among photos with equal scores the relevant ones
    come last, so that a network that tells nothing apart earns nothing by it.

    The literature counts in other ways that never give less: the code released with ZSE-SBIR interpolates, and
    that of Dutta and Akata (CVPR 2019), which many follow, divides by the relevant photos among the first k.

    Args:
        score: [N, G], higher is nearer; finite.
        relevant: bool [N, G].
        k: 1 or more; None for the whole gallery (mAP@all is the mean of the result).
        interpolated: put max over i <= j <= k of P_j for P_i, as in PASCAL VOC.

    Returns:
        float64 [N], 0..1; NaN for a query without relevant photos.

    Raises:
        ConfigError: k below 1.
    """
    hits = _in_order(score, relevant, k)  # [N, k]
    place = torch.arange(1, hits.shape[1] + 1, dtype=torch.float64, device=hits.device)
    best = relevant.sum(dim=1).clamp_max(hits.shape[1])
    share = hits.cumsum(dim=1) / place
    if interpolated:
        share = share.flip(1).cummax(dim=1).values.flip(1)
    return (share * hits).sum(dim=1) / best  # 0 / 0 is the NaN


def precision(score: Tensor, relevant: Tensor, k: int, at_most_relevant: bool = False) -> Tensor:
    """Share of relevant photos among the first k (of all, if the gallery has fewer): float64 [N], 0..1.

    Arguments and errors as `average_precision`. With `at_most_relevant` it is among the first min(k, R), as the
    code released with ZSE-SBIR counts, so that 1 can be reached; NaN where R is 0.
    """
    hits = _in_order(score, relevant, k)
    if not at_most_relevant:
        return hits.mean(dim=1)
    count = relevant.sum(dim=1).clamp_max(hits.shape[1]).unsqueeze(1)
    place = torch.arange(hits.shape[1], device=hits.device)
    return (hits * (place < count)).sum(dim=1) / count[:, 0]


def _in_order(score: Tensor, relevant: Tensor, k: int | None) -> Tensor:
    if k is not None and k < 1:
        raise ConfigError(f"precision among the first {k}: give 1 or more")
    # Two stable sorts: by relevance first, so that it decides among equal scores.
    order = relevant.to(torch.int8).sort(dim=1, stable=True).indices
    order = order.gather(1, score.gather(1, order).sort(dim=1, descending=True, stable=True).indices)
    return relevant.gather(1, order)[:, :k].to(torch.float64)
