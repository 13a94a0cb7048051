"""A network that sorts, after SoDeep (Engilberge et al., CVPR 2019): scores in, their ranks out, with a gradient.

It learns from synthetic lists, is then frozen, and stands in for the rank in a loss.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


def exact_ranks(scores: Tensor) -> Tensor:
    """(1 + number of higher scores) / n, in (0, 1], of lists [..., n]: the highest score has 1/n."""
    higher = scores.unsqueeze(-2) > scores.unsqueeze(-1)  # [..., i, j]: s_j > s_i
    return (1 + higher.sum(dim=-1)).to(scores.dtype) / scores.shape[-1]


def sigmoid_ranks(scores: Tensor, index: Tensor, steepness: float) -> Tensor:
    """Smooth rank in (0, 1] of one score of each list: exact as the steepness grows (Qin et al., 2010).

    Args:
        scores: [..., n].
        index: int64 [...], whose rank.
        steepness: k, per unit of score.
    """
    own = scores.gather(-1, index.unsqueeze(-1))
    # rank_i = (1 + sum_{j != i} sigmoid(k (s_j - s_i))) / n;  the term j = i is a half
    return (0.5 + torch.sigmoid(steepness * (scores - own)).sum(dim=-1)) / scores.shape[-1]


_RATE = 1e-2  # the highest of the training
_BACKWARD = ("read.weight_ih_l0_reverse", "read.bias_ih_l0_reverse")


class Sorter(nn.Module):
    """Two bidirectional LSTM layers and a linear one: lists [B, n] to ranks [B, n], about (0, 1].

    Lists are standardised first, which changes no rank.
    """

    def __init__(self, width: int = 32, seed: int = 0) -> None:
        super().__init__()
        self.read = nn.LSTM(1, width, 2, bidirectional=True, batch_first=True, device="meta", dtype=torch.float32)
        self.read = self.read.to_empty(device="cpu")  # nn.LSTM would draw from the global random state
        self.rank = nn.utils.skip_init(nn.Linear, 2 * width, 1, dtype=torch.float32)
        generator, bound = torch.Generator().manual_seed(seed), width**-0.5
        for name, weights in self.named_parameters():
            # Steps at thresholds all over a standardised list, kept by open forget gates: each unit of the first layer
            # begins as a counter of higher scores. From torch's small weights sorting is hardly ever found.
            reach = 3.0 if name in ("read.weight_ih_l0", "read.bias_ih_l0", *_BACKWARD) else bound
            nn.init.uniform_(weights, -reach, reach, generator=generator)
            if "bias_hh" in name:
                weights.data[width : 2 * width] = 3.0

    def forward(self, scores: Tensor) -> Tensor:
        centred = scores - scores.mean(dim=-1, keepdim=True)
        scaled = centred / centred.square().mean(dim=-1, keepdim=True).add(1e-12).sqrt()
        read, _ = self.read(scaled.unsqueeze(-1))
        ranks: Tensor = self.rank(read).squeeze(-1)
        return ranks


def synthetic_lists(count: int, length: int, generator: torch.Generator) -> Tensor:
    """Score lists [count, length] of several shapes: uniform, normal, two clusters, heavy-tailed."""
    shape = (count, length)
    like: dict[str, Any] = {"device": generator.device, "dtype": torch.float32}
    uniform = torch.rand(shape, generator=generator, **like)
    normal = torch.randn(shape, generator=generator, **like)
    clusters = normal + 4 * (torch.rand(shape, generator=generator, **like) < 0.5)
    kind = torch.randint(4, (count, 1), generator=generator, device=generator.device)
    return torch.where(kind == 0, uniform, torch.where(kind == 1, normal, torch.where(kind == 2, clusters, normal**3)))


def sorter_optimizer(sorter: Sorter) -> torch.optim.Adam:
    return torch.optim.Adam(sorter.parameters(), lr=_RATE)


def sorter_updates(
    sorter: Sorter, optimizer: torch.optim.Optimizer, length: int, updates: int, generator: torch.Generator
) -> Iterator[None]:
    """The training of a sorter, one update after another: it can be left after any of them.

    It is taken up again, to the bit, with the sorter and the optimiser as they were left and a generator as it
    was in the beginning.
    """
    done = int(optimizer.state[next(sorter.parameters())].get("step", 0))
    for update in range(updates):
        scores = synthetic_lists(128, length, generator)
        if update < done:
            continue
        (group,) = optimizer.param_groups
        group["lr"], momentum = _one_cycle(update, updates)
        group["betas"] = momentum, group["betas"][1]
        sorter.requires_grad_(True)
        loss = (sorter(scores) - exact_ranks(scores)).abs().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(sorter.parameters(), 1.0)
        optimizer.step()
        sorter.requires_grad_(False)
        yield


def _one_cycle(update: int, updates: int) -> tuple[float, float]:
    """Learning rate and momentum, up and down along cosines: torch's OneCycleLR, which cannot begin midway."""
    peak, last = 0.3 * updates - 1, updates - 1
    if update <= peak:
        return _cosine(_RATE / 25, _RATE, update / peak), _cosine(0.95, 0.85, update / peak)
    share = (update - peak) / (last - peak)
    return _cosine(_RATE, _RATE / 25 / 1e4, share), _cosine(0.85, 0.95, share)


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)


@torch.no_grad()
def sorter_error(sorter: Sorter, length: int, generator: torch.Generator) -> float:
    """Mean absolute error of a sorter's ranks on fresh lists, in units of the whole list (0..1)."""
    scores = synthetic_lists(1024, length, generator)
    return float((sorter(scores) - exact_ranks(scores)).abs().mean())
