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


def ensemble(banks: Sequence[EpisodeBank]) -> EpisodeBank:
    """One bank of M banks of the same drawings and photos, whose cosine similarity is the mean of theirs.

    With unit features x_m, embeddings e_m and photos p_m of member m = 1..M:

        features   [x_1; ..; x_M; e_1; ..; e_M] / sqrt(2 M)     D = sum of D_m + sum of d_m
        head       picks the second half: embedding [e_1; ..; e_M] / sqrt(M)
        gallery    [p_1; ..; p_M] / sqrt(M), so that embedding . photo = sum_m e_m . p_m / M

    The heads have gone into the features, as each member's embedding is made unit by itself; the first half is
    there for policies to learn from.

    Raises:
        ConfigError: no bank, or banks of other drawings, photos or reveal schedules.
    """
    if not banks:
        raise ConfigError("an ensemble needs at least one bank")
    first = banks[0]
    for other in banks[1:]:
        for name in ("sketch_ids", "photo_ids", "split", "reveal"):
            if getattr(first, name) != getattr(other, name):
                raise ConfigError(f"ensemble ({first.split}): the banks differ in {name}; encode the same data")
        if not (torch.equal(first.lengths, other.lengths) and torch.equal(first.targets, other.targets)):
            raise ConfigError(f"ensemble ({first.split}): the banks differ in lengths or targets; encode the same data")
    members = len(banks)
    embeddings = [normalize(linear(bank.features, bank.weight, bank.bias), dim=-1) for bank in banks]
    features = torch.cat([*(bank.features for bank in banks), *embeddings], dim=-1)
    gallery = torch.cat([bank.gallery for bank in banks], dim=-1)
    width, dim = features.shape[-1], gallery.shape[-1]
    return replace(
        first,
        features=features / math.sqrt(2 * members),
        gallery=gallery / math.sqrt(members),
        weight=_picks_last(dim, width),
        bias=torch.zeros(dim),
        provenance={"data": first.provenance.get("data", {}), "ensemble": [dict(bank.provenance) for bank in banks]},
    )


def _picks_last(dim: int, width: int) -> Tensor:
    return torch.cat([torch.zeros(dim, width - dim), torch.eye(dim)], dim=1)
