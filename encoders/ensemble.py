"""Several encoders as one: the mean of their similarities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import linear, normalize

from sketchless.datasets.errors import ConfigError

from .bank import EpisodeBank


def ensemble(banks: Sequence[EpisodeBank], late: Sequence[float] = ()) -> EpisodeBank:
    """One bank of M banks of the same drawings and photos, whose cosine similarity is the mean of theirs.

    With unit features x_m, embeddings e_m and photos p_m of member m = 1..M at step t = 1..T:

        weight     w_m = (t/T)^late_m, |w|^2 = sum_m w_m^2: M where late_m is 0
        features   [w_1 x_1; ..; w_M x_M; w_1 e_1; ..; w_M e_M] / (|w| sqrt 2)     D = sum of D_m + sum of d_m
        head       picks the second half: embedding, of length 1, [w_1 e_1; ..; w_M e_M] / |w|
        gallery    [p_1; ..; p_M] / sqrt(M), so that embedding . photo = sum_m w_m e_m . p_m / (|w| sqrt(M))

    The heads have gone into the features, as each member's embedding is made unit by itself; the first half is
    there for policies to learn from. A `late` member, such as one that knows complete sketches only, has its weight
    towards the end; what a step sees is still its own frame and its number.

    Args:
        late: the exponents, one a bank, 0 or more; without them all are 0.

    Raises:
        ConfigError: no bank, exponents that are not one a bank and 0 or more, or banks of other drawings, photos or
            reveal schedules.
    """
    if not banks:
        raise ConfigError("an ensemble needs at least one bank")
    exponents = torch.tensor(list(late) or [0.0] * len(banks), dtype=torch.float32)
    if len(exponents) != len(banks) or not ((exponents >= 0) & exponents.isfinite()).all():
        raise ConfigError(f"late={tuple(late)}: want one number, 0 or more, for each of the {len(banks)} banks")
    first = banks[0]
    for other in banks[1:]:
        for name in ("sketch_ids", "photo_ids", "split", "reveal"):
            if getattr(first, name) != getattr(other, name):
                raise ConfigError(f"ensemble ({first.split}): the banks differ in {name}; encode the same data")
        if not (torch.equal(first.lengths, other.lengths) and torch.equal(first.targets, other.targets)):
            raise ConfigError(f"ensemble ({first.split}): the banks differ in lengths or targets; encode the same data")
    embeddings = [normalize(linear(bank.features, bank.weight, bank.bias), dim=-1) for bank in banks]
    steps = first.features.shape[1]
    weights = (torch.arange(1, steps + 1, dtype=torch.float32) / steps).unsqueeze(1) ** exponents  # [T, M]
    weights = weights / weights.norm(dim=1, keepdim=True)
    parts = [*(bank.features for bank in banks), *embeddings]
    features = torch.cat([x * w.unsqueeze(1) for x, w in zip(parts, [*weights.T] * 2, strict=True)], dim=-1)
    gallery = torch.cat([bank.gallery for bank in banks], dim=-1)
    width, dim = features.shape[-1], gallery.shape[-1]
    return replace(
        first,
        features=features / math.sqrt(2),
        gallery=gallery / math.sqrt(len(banks)),
        weight=_picks_last(dim, width),
        bias=torch.zeros(dim, dtype=torch.float32),
        provenance={
            "data": first.provenance.get("data", {}),
            "ensemble": [dict(bank.provenance) for bank in banks],
            "late": exponents.tolist(),
        },
    )


def _picks_last(dim: int, width: int) -> Tensor:
    return torch.eye(dim, width, dtype=torch.float32).roll(width - dim, dims=1)
