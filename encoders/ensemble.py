"""Several encoders as one: the mean of their similarities, or each for its part of the drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import linear, normalize

from sketchless.datasets.errors import ConfigError

from .bank import EpisodeBank


def ensemble(banks: Sequence[EpisodeBank], late: Sequence[float] = (), until: Sequence[float] = ()) -> EpisodeBank:
    """One bank of M banks of the same drawings and photos, whose cosine similarity is the mean of theirs.

    With unit features x_m, embeddings e_m and photos p_m of member m = 1..M at step t = 1..T of a drawing of T steps:

        weight     w_m = (t/T)^late_m, |w|^2 = sum_m w_m^2: M where late_m is 0
                   with `until`: 1 of the first m with 100 t/T <= until_m, 0 of the others
        features   [w_1 x_1; ..; w_M x_M; w_1 e_1; ..; w_M e_M] / (|w| sqrt 2)     D = sum of D_m + sum of d_m
        head       picks the second half: embedding, of length 1, [w_1 e_1; ..; w_M e_M] / |w|
        gallery    [p_1; ..; p_M] / sqrt(M), so that embedding . photo = sum_m w_m e_m . p_m / (|w| sqrt(M))

    The heads have gone into the features, as each member's embedding is made unit by itself; the first half is
    there for policies to learn from. A `late` member, such as one that knows complete sketches only, has its weight
    towards the end; what a step sees is still its own frame and its number. With `until` the photos of a step rank as
    its one member ranks them: a network for every percentage (baseline B3 of Bhunia et al., CVPR 2020).

    Args:
        late: the exponents, one a bank, 0 or more; without them all are 0.
        until: of each bank the percentage of the steps up to which it ranks alone, from where the one before it ends;
            rising, the last one 100.

    Raises:
        ConfigError: no bank, exponents that are not one a bank and 0 or more, percentages that are not one a bank and
            rising to 100, both of them, or banks of other drawings, photos or reveal schedules.
    """
    if not banks:
        raise ConfigError("an ensemble needs at least one bank")
    if late and until:
        raise ConfigError("late weighs all banks of a step, until leaves it to one: give one of them")
    exponents = torch.tensor(list(late) or [0.0] * len(banks), dtype=torch.float32)
    if len(exponents) != len(banks) or not ((exponents >= 0) & exponents.isfinite()).all():
        raise ConfigError(f"late={tuple(late)}: want one number, 0 or more, for each of the {len(banks)} banks")
    ends = torch.tensor([0.0, *until], dtype=torch.float32)
    if until and (len(until) != len(banks) or ends[-1] != 100 or not (ends.diff() > 0).all()):
        raise ConfigError(f"until={tuple(until)}: want a percentage for each of the {len(banks)} banks, rising to 100")
    first = banks[0]
    for other in banks[1:]:
        for name in ("sketch_ids", "photo_ids", "split", "reveal"):
            if getattr(first, name) != getattr(other, name):
                raise ConfigError(f"ensemble ({first.split}): the banks differ in {name}; encode the same data")
        if not (torch.equal(first.lengths, other.lengths) and torch.equal(first.targets, other.targets)):
            raise ConfigError(f"ensemble ({first.split}): the banks differ in lengths or targets; encode the same data")
    embeddings = [normalize(linear(bank.features, bank.weight, bank.bias), dim=-1) for bank in banks]
    every = torch.arange(1, first.features.shape[1] + 1, dtype=torch.float32).unsqueeze(1)  # [T, 1]

    def weights_of(steps: int) -> Tensor:
        """w [T, M] of a drawing that is complete after so many steps."""
        step = every.clamp_max(steps)
        # |w| divides the lowest exponent out: without it one weight is 1, and they cannot all underflow
        weights = (step / steps) ** (exponents - exponents.min())
        if until:
            shown = 100 * step / steps
            weights = ((shown > ends[:-1]) & (shown <= ends[1:])).float()
        of_length_1: Tensor = weights / weights.norm(dim=1, keepdim=True)
        return of_length_1

    lengths, which = first.lengths.unique(return_inverse=True)
    weights = torch.stack([weights_of(steps) for steps in lengths.tolist()])[which]  # [N, T, M]
    parts = [*(bank.features for bank in banks), *embeddings]
    scales = [*weights.split(1, dim=2)] * 2  # [N, T, 1] each
    features = torch.cat([x * w for x, w in zip(parts, scales, strict=True)], dim=-1)
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
            **({"until": list(until)} if until else {}),
        },
    )


def _picks_last(dim: int, width: int) -> Tensor:
    return torch.eye(dim, width, dtype=torch.float32).roll(width - dim, dims=1)
