"""Counting discordant pairs: compiled on the CPU, plain torch elsewhere, the same counts everywhere."""

from __future__ import annotations

import numba
import numpy as np
import torch
from torch import Tensor

_CHUNK = 1 << 26  # pairs held at a time by the torch version


def discordant_pairs(a: Tensor, b: Tensor) -> Tensor:
    """#{i < j : (a_i - a_j)(b_i - b_j) < 0} for each row of a, b [M, G]: int64 [M]."""
    if a.device.type != "cpu":
        return discordant_pairs_torch(a, b)
    out = np.empty(len(a), dtype=np.int64)
    _pairwise(a.detach().contiguous().numpy(), b.detach().contiguous().numpy(), out)
    return torch.from_numpy(out)


def discordant_pairs_torch(a: Tensor, b: Tensor) -> Tensor:
    """The readable version of `discordant_pairs`, for any device: all pairs at once, in chunks of rows."""
    size = a.shape[-1]
    counts = []
    for x, y in zip(a.split(max(_CHUNK // size**2, 1)), b.split(max(_CHUNK // size**2, 1)), strict=True):
        # Of (i, j) and (j, i) exactly one has x rising. Comparing, not subtracting: inf - inf has no sign.
        rises = x.unsqueeze(2) < x.unsqueeze(1)  # [m, G, G]
        counts.append((rises & (y.unsqueeze(2) > y.unsqueeze(1))).sum(dim=(1, 2)))
    return torch.cat(counts) if counts else torch.zeros(0, dtype=torch.int64, device=a.device)


@numba.njit(cache=True, nogil=True)
def _pairwise(a, b, out):  # type: ignore[no-untyped-def]
    for row in range(len(a)):
        x, y = a[row], b[row]
        total = 0
        for i in range(1, len(x)):
            x_i, y_i = x[i], y[i]
            count = 0
            for j in range(i):
                count += ((x[j] < x_i) & (y[j] > y_i)) | ((x[j] > x_i) & (y[j] < y_i))
            total += count
        out[row] = total
