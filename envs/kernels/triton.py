# mypy: disable-error-code="import-untyped,import-not-found"
"""The count of `kernels.discordant_pairs` for GPUs: pairs are compared on chip and never written to memory."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_TILE = 64  # photos a program compares with as many others at a time


def discordant_pairs_triton(order_a: Tensor, order_b: Tensor) -> Tensor:
    """`kernels.discordant_pairs` of rankings int32 [M, G] on a GPU: int64 [M]."""
    order_a, order_b = order_a.contiguous(), order_b.contiguous()
    rows, size = order_a.shape
    place_b = torch.empty_like(order_b).scatter_(1, (order_b >> 1).long(), _places(order_b))
    # Photos in the order of ranking a, so that a photo need only be compared with those that follow.
    a, b = _places(order_a), place_b.gather(1, (order_a >> 1).long())
    counts = torch.empty(rows, triton.cdiv(size, _TILE), dtype=torch.int32, device=a.device)
    with torch.cuda.device_of(a):  # Triton launches on the current device, wherever its arguments lie
        _count[counts.shape](a, b, counts, size, _TILE)
    return counts.sum(dim=1)


def _places(order: Tensor) -> Tensor:
    """Places along a ranking, from 1 and equal for ties: int32 [M, G]."""
    return (1 - (order & 1)).cumsum(dim=1, dtype=torch.int32)


@triton.jit
def _count(a, b, out, size, TILE: tl.constexpr):  # type: ignore[no-untyped-def]
    row, tile = tl.program_id(0), tl.program_id(1)
    a += row.to(tl.int64) * size
    b += row.to(tl.int64) * size
    first = tile * TILE
    i = first + tl.arange(0, TILE)
    # Beyond the end places are 0, which is greater than none: no pair there is swapped.
    a_i, b_i = tl.load(a + i, i < size, 0), tl.load(b + i, i < size, 0)
    count = tl.zeros([TILE], tl.int32)
    for start in range(first, size, TILE):
        j = start + tl.arange(0, TILE)
        a_j, b_j = tl.load(a + j, j < size, 0), tl.load(b + j, j < size, 0)
        swapped = (a_i[:, None] < a_j[None, :]) & (b_i[:, None] > b_j[None, :])
        count += tl.sum(swapped.to(tl.int32), 1)
    tl.store(out + row.to(tl.int64) * tl.num_programs(1) + tile, tl.sum(count, 0))
