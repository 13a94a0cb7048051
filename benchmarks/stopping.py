"""When to show the list: how much of a drawing was used, and what it bought. For `sketchless/Stop-v0` and its rivals.

Steps are int64 [N], 1..T, at which the list of each of N drawings is shown; ranks [N, T] are those of every step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sketchless.datasets.errors import ConfigError
from sketchless.encoders.bank import EpisodeBank
from sketchless.envs.core import Core
from sketchless.envs.ranking import similarity

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Stopping:
    """What showing at certain steps gives.

    Attributes:
        used: share of each drawing that was used, 0..1: [N].
        rank: of the own photo in each list shown: [N].
        paid: 1/rank of each list shown less the cost of the steps before it: [N].
    """

    used: FloatArray
    rank: IntArray
    paid: FloatArray

    @property
    def share(self) -> float:
        """Mean share of the drawing that was used, 0..1."""
        return float(self.used.mean())

    @property
    def success(self) -> dict[int, float]:
        """Of q = 1, 5, 10, the share of lists shown that hold the photo among the first q, 0..1."""
        return {q: float((self.rank <= q).mean()) for q in (1, 5, 10)}

    @property
    def value(self) -> float:
        """Mean of what was paid: the return."""
        return float(self.paid.mean())

    def summary(self) -> dict[str, float]:
        """The columns of its table: percent, but for the return, which is times 100."""
        hits = {f"A@{q}": 100 * share for q, share in self.success.items()}
        return {"return": 100 * self.value, "used": 100 * self.share, **hits}


def stopping(rank: IntArray, lengths: IntArray, shown: IntArray, stroke_cost: float = 0.0) -> Stopping:
    """Measure steps `shown`. Raises ConfigError for one that is no step of its drawing."""
    if shown.shape != lengths.shape or ((shown < 1) | (shown > lengths)).any():
        raise ConfigError(f"steps {list(shown.shape)}: want one of each drawing's own, 1..{int(lengths.max())}")
    there = rank[np.arange(len(rank)), shown - 1]
    return Stopping(shown / lengths, there, 1 / there - stroke_cost * (shown - 1))


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


def best_share(rank: IntArray, lengths: IntArray, stroke_cost: float) -> float:
    """The share of `at_share`, in twentieths, with the highest value; to be chosen on validation drawings."""
    shares: list[float] = (np.arange(1, 21) / 20).tolist()
    return max(shares, key=lambda s: stopping(rank, lengths, at_share(lengths, s), stroke_cost).value)


class Ranked(NamedTuple):
    """B1 on a split: ranks and margins [N, T], lengths [N]."""

    rank: IntArray
    lengths: IntArray
    margin: FloatArray

    @classmethod
    def by_b1(cls, bank: EpisodeBank) -> Ranked:
        """Rank a bank's drawings by B1."""
        core = Core(bank, "inv-rank")
        rank = core.score(torch.arange(len(bank), device=core.device), torch.zeros_like(core.base)).rank
        return cls(rank.cpu().numpy(), bank.lengths.cpu().numpy(), margins(core))


def rivals(chosen_on: Ranked, shown_on: Ranked, stroke_cost: float) -> dict[str, IntArray]:
    """Steps [N] at which the two rivals show B1's lists, by name; what they need is chosen on the first split."""
    share = best_share(chosen_on.rank, chosen_on.lengths, stroke_cost)
    threshold = best_threshold(chosen_on.margin, chosen_on.rank, chosen_on.lengths, stroke_cost)
    return {
        f"B1, shown at {share:.0%} of the drawing": at_share(shown_on.lengths, share),
        f"B1, shown at a margin of {threshold:.3f}": at_margin(shown_on.margin, shown_on.lengths, threshold),
    }
