"""When to show the list: how much of a drawing was used, and what it bought. For `sketchless/Stop-v0` and its rivals.

Steps are int64 [N], 1..T, at which the list of each of N drawings is shown; ranks [N, T] are those of every step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sketchless.datasets.errors import ConfigError
from sketchless.envs.core import Core
from sketchless.envs.ranking import similarity

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Stopping:
    """What showing at certain steps gives.

    Attributes:
        share: mean share of the drawing that was used, 0..1.
        success: of q = 1, 5, 10, the share of lists shown that hold the photo among the first q, 0..1.
        value: mean of 1/rank of the list shown less the cost of the steps before it.
    """

    share: float
    success: dict[int, float]
    value: float


def stopping(rank: IntArray, lengths: IntArray, shown: IntArray, stroke_cost: float = 0.0) -> Stopping:
    """Measure steps `shown`. Raises ConfigError for one that is no step of its drawing."""
    if shown.shape != lengths.shape or ((shown < 1) | (shown > lengths)).any():
        raise ConfigError(f"steps {list(shown.shape)}: want one of each drawing's own, 1..{int(lengths.max())}")
    there = rank[np.arange(len(rank)), shown - 1]
    value = float((1 / there - stroke_cost * (shown - 1)).mean())
    return Stopping(float((shown / lengths).mean()), {q: float((there <= q).mean()) for q in (1, 5, 10)}, value)


def at_share(lengths: IntArray, share: float) -> IntArray:
    """The rival that always shows after the same share of a drawing, 0..1, rounded up to a step."""
    steps: IntArray = np.clip(np.ceil(share * lengths - 1e-9).astype(np.int64), 1, lengths)
    return steps


@torch.no_grad()
def margins(core: Core, refinements: Tensor | None = None) -> FloatArray:
    """How much nearer the nearest photo is than the second, in every step of every drawing: cosines [N, T].

    No photo's identity is needed for it. `refinements` [N, T, d] as actions of the plain core; none: those of B1.
    """
    actions = torch.zeros_like(core.base) if refinements is None else refinements
    found = []
    for base, action in zip(core.base, actions, strict=True):  # a drawing at a time
        best = similarity(core.refine(base, action), core.gallery).topk(2, dim=-1).values
        found.append(best[:, 0] - best[:, 1])
    return np.asarray(torch.stack(found).cpu().numpy(), dtype=np.float64)


def at_margin(margin: FloatArray, lengths: IntArray, threshold: float) -> IntArray:
    """The rival that shows in the first step whose margin [N, T] is at least this; never: the complete drawing."""
    sure = margin >= threshold
    first = np.where(sure.any(axis=1), sure.argmax(axis=1) + 1, margin.shape[1])
    steps: IntArray = np.minimum(first, lengths)
    return steps


def best_threshold(margin: FloatArray, rank: IntArray, lengths: IntArray, stroke_cost: float) -> float:
    """The threshold of `at_margin` with the highest value; to be chosen on validation drawings."""
    candidates: list[float] = [0.0, *np.quantile(margin, np.linspace(0, 1, 101)).tolist(), math.inf]
    return max(candidates, key=lambda t: stopping(rank, lengths, at_margin(margin, lengths, t), stroke_cost).value)


def curve(margin: FloatArray, rank: IntArray, lengths: IntArray, costs: FloatArray) -> list[Stopping]:
    """`at_margin` at its best threshold for each cost of a stroke: share used against success as the cost varies."""
    return [
        stopping(rank, lengths, at_margin(margin, lengths, best_threshold(margin, rank, lengths, cost)), cost)
        for cost in costs
    ]
