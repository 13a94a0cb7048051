"""Reward schemes: what a rank is worth, and what an unsteady ranking costs.

Names and formulas follow the reward ablation and Eq. 4 of Bhunia et al., CVPR 2020.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from sketchless.datasets.checks import as_count
from sketchless.datasets.errors import ConfigError
from sketchless.datasets.plugins import find

from .ranking import described

Local = Callable[[Tensor, int], Tensor]
Trajectory = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class RewardScheme:
    """How steps are paid.

    Attributes:
        name: such as `"combined"`.
        local: (rank int64 [...], G) -> real numbers [...], paid for the rank of a step, whatever the others.
        trajectory: (tau before, tau after) -> real numbers [...], paid for step t given the rank distances
            tau(L_{t-1}, L_t) and tau(L_t, L_{t+1}); None where a scheme has no such part. The first and the
            last step of an episode lack a neighbour and are paid none.
        tau_normalized: whether the tau given to `trajectory` is 0..1 or a count of pairs.
    """

    name: str
    local: Local
    trajectory: Trajectory | None = None
    tau_normalized: bool = True

    def table(self, size: int, device: str | torch.device = "cpu") -> Tensor:
        """The local part for ranks 1..size: float64 [size].

        Raises:
            ConfigError: it does not give one finite real number for each.
        """
        ranks = torch.arange(1, size + 1, device=device)
        paid = self._numbers(self.local(ranks, size), ranks.shape, f"{size} ranks: want a tensor of {size} numbers")
        if len(broken := ranks[~torch.isfinite(paid)]):
            raise ConfigError(f"reward {self.name!r} is NaN or infinite for rank {int(broken[0])} of {size}")
        return paid

    def trajectory_reward(self, before: Tensor, after: Tensor) -> Tensor:
        """The trajectory part float64 [...] for rank distances float64 [...], which may not be finite.

        Raises:
            ConfigError: it does not give one real number for each.
        """
        assert self.trajectory is not None
        asked = f"its trajectory part among taus {tuple(before.shape)}: want a tensor of so many numbers"
        return self._numbers(self.trajectory(before, after), before.shape, asked)

    def _numbers(self, paid: object, shape: torch.Size, asked: str) -> Tensor:
        if not isinstance(paid, Tensor) or paid.shape != shape or paid.is_complex():
            raise ConfigError(f"reward {self.name!r} gives {described(paid)} for {asked}")
        return paid.detach().double()


def combined(gamma1: float = 1.0, gamma2: float = 1e-4, tau_normalized: bool = True) -> RewardScheme:
    """The paper's reward (Eq. 4).

    R_t = gamma1 / rank_t - gamma2 * max(0, tau(L_t, L_{t+1}) - tau(L_{t-1}, L_t))

    Args:
        gamma1, gamma2: weights, finite, 0 or more.
        tau_normalized: tau as a share of all pairs (a rise of 0.04 costs 4e-6 at the default gamma2), or as
            a count of pairs (0.18 on 300 photos).

    Raises:
        ConfigError: a weight that is negative or not finite.
    """
    if not (0 <= gamma1 < math.inf and 0 <= gamma2 < math.inf):
        raise ConfigError(f"gamma1={gamma1}, gamma2={gamma2}: weights of the reward are finite, 0 or more")
    return RewardScheme(
        "combined",
        partial(_inverse, gamma1),
        partial(_rise, gamma2),
        tau_normalized,
    )


def top(q: int) -> RewardScheme:
    """1 if rank <= q, else 0. Raises ConfigError for a q that is no whole number of 1 or more."""
    q = as_count("top q", q, 1)
    return RewardScheme(f"top{q}", partial(_within, q))


# Named functions, as an environment with lambdas in it cannot be pickled.


def _inverse(weight: float, rank: Tensor, size: int) -> Tensor:
    return weight / rank.double()


def _inverse_sqrt(rank: Tensor, size: int) -> Tensor:
    return rank.double().rsqrt()


def _negative(rank: Tensor, size: int) -> Tensor:
    return -rank.double()


def _within(q: int, rank: Tensor, size: int) -> Tensor:
    return (rank <= q).double()


def _rise(weight: float, before: Tensor, after: Tensor) -> Tensor:
    return -weight * (after - before).clamp_min(0)


REWARDS: dict[str, Callable[[], RewardScheme]] = {
    "top1": lambda: top(1),
    "top5": lambda: top(5),
    "top10": lambda: top(10),
    "neg-rank": lambda: RewardScheme("neg-rank", _negative),
    "inv-sqrt-rank": lambda: RewardScheme("inv-sqrt-rank", _inverse_sqrt),
    "inv-rank": lambda: RewardScheme("inv-rank", partial(_inverse, 1.0)),
    "combined": combined,
}


def make_reward(reward: str | Local | RewardScheme) -> RewardScheme:
    """A scheme from its name, from `"module:attribute"`, from a function (rank, G) -> reward, or itself.

    Names of installed packages' schemes are the entry points of the group `sketchless.rewards`.

    Raises:
        ConfigError: unknown name, or something that is neither a scheme nor callable.
    """
    if isinstance(reward, RewardScheme):
        return reward
    if callable(reward):
        return RewardScheme(getattr(reward, "__name__", type(reward).__name__), reward)
    if not isinstance(reward, str):
        raise ConfigError(f"reward {reward!r} is neither a name, a RewardScheme nor a function of (rank, G)")
    found = find("reward", reward, REWARDS)
    if reward in REWARDS:
        found = found()
    if not isinstance(found, RewardScheme) and not callable(found):
        raise ConfigError(f"reward {reward!r} is neither a RewardScheme nor a function of (rank, G)")
    return make_reward(found)
