"""Reward schemes: what a rank is worth, what an unsteady ranking costs, and what else a step may be paid for.

The first seven names and formulas follow the reward ablation and Eq. 4 of Bhunia et al., CVPR 2020.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sketchless.datasets.checks import as_count, as_number
from sketchless.datasets.errors import ConfigError, shown
from sketchless.datasets.plugins import find

from .ranking import described

Trajectory = Callable[[Tensor, Tensor], Tensor]


class Step:
    """What a reward may read of a step, for M steps side by side.

    Each field is computed when it is first read, from this step and those before it: the same in stepping and in
    `Core.score`. Nothing of it may be changed in place.
    """

    n_photos: int  #: G
    rank: Tensor  #: int64 [M], 1..G
    previous_rank: Tensor  #: int64 [M], of the step before; in the first step G, the last
    best_rank: Tensor  #: int64 [M], the least of all steps before; in the first step G
    step: Tensor  #: int64 [M], 1..T
    length: Tensor  #: int64 [M], steps of the whole drawing
    target_similarity: Tensor  #: float64 [M], cosine of the embedding and the own photo, -1..1
    rival_similarity: Tensor  #: float64 [M], of the nearest other photo
    similarity: Tensor  #: float64 [M, G], of all photos
    target: Tensor  #: int64 [M], column of the own photo
    tau_before: Tensor  #: float64 [M], rank distance of the lists of the two steps before; 0 where one is missing
    tau_after: Tensor  #: float64 [M], of the lists of the step before and of this one; 0 in the first step

    def __init__(self, n_photos: int, **parts: Callable[[], Tensor]) -> None:
        self.n_photos, self._parts = n_photos, parts
        self.read: set[str] = set()
        """Names of the fields read so far."""

    def __getattr__(self, name: str) -> Tensor:  # only for what is not there yet
        if name.startswith("__") or name not in FIELDS:
            raise AttributeError(f"a step has no {name!r}: choose one of {', '.join(FIELDS)}")
        if name not in self._parts:
            known = ", ".join(self._parts) or "n_photos"
            raise ConfigError(
                f"a reward reads {name!r} of a step, of which only {known} is known here: "
                "it is asked beforehand what it reads, so read the same fields whatever their values are"
            )
        self.read.add(name)
        value = self._parts[name]()
        setattr(self, name, value)
        return value

    @staticmethod
    def of_lists(similarity: Tensor, target: Tensor) -> dict[str, Callable[[], Tensor]]:
        """The parts that follow from similarities [M, G] and columns of the own photos [M].

        The grid of unit vectors takes some 1e-8 beyond 1, where acos would be NaN.
        """
        own = target.unsqueeze(1)
        return {
            "similarity": lambda: similarity.clamp(-1, 1),
            "target": lambda: target,
            "target_similarity": lambda: similarity.gather(1, own).squeeze(1).clamp(-1, 1),
            "rival_similarity": lambda: similarity.scatter(1, own, -1.0).amax(dim=1).clamp(-1, 1),
        }


FIELDS = tuple(name for name in Step.__annotations__ if name != "n_photos")
LISTS = {"tau_before", "tau_after"}  # fields that compare whole lists
PAST = {"previous_rank", "best_rank"}  # fields for which ranks have to be remembered
GALLERY = {*LISTS, "similarity", "target_similarity", "rival_similarity"}  # fields that take more than ranks

Local = Callable[[Tensor, int], Tensor] | Callable[[Step], Tensor]


@dataclass(frozen=True)
class RewardScheme:
    """How steps are paid.

    Attributes:
        name: such as `"combined"`.
        local: paid for a step, whatever comes after it: a function of (rank int64 [...], G) or of a `Step`, which
            gives real numbers [...] or [M]. It is asked beforehand what it reads, and nothing else is computed: one
            that reads nothing but ranks is a table of G numbers.
        trajectory: (tau before, tau after) -> real numbers [...], paid for step t given the rank distances
            tau(L_{t-1}, L_t) and tau(L_t, L_{t+1}); None where a scheme has no such part. The first and the
            last step of an episode lack a neighbour and are paid none.
        tau_normalized: whether the tau given to `trajectory`, and in a `Step`, is 0..1 or a count of pairs.
    """

    name: str
    local: Local
    trajectory: Trajectory | None = None
    tau_normalized: bool = True

    @property
    def sees_step(self) -> bool:
        """Whether `local` is a function of a `Step` instead of (rank, G). Raises ConfigError if of neither.

        One that must be given one argument, and may be given more, is one of a `Step`.
        """
        try:
            signature = inspect.signature(self.local.forward if isinstance(self.local, nn.Module) else self.local)
        except ValueError:  # some that are built in do not say
            return False
        parameters = signature.parameters.values()
        needed = sum(x.default is x.empty and x.kind <= x.POSITIONAL_OR_KEYWORD for x in parameters)
        for arguments in (1, 2) if needed == 1 else (2, 1):
            with contextlib.suppress(TypeError):
                signature.bind(*range(arguments))
                return arguments == 1
        raise ConfigError(f"reward {self.name!r} takes {signature}: want a function of (rank, G) or of (step)")

    def local_reward(self, step: Step) -> Tensor:
        """The local part float64 [M] of M steps, which may not be finite.

        Raises:
            ConfigError: it does not give one real number for each, or reads a field that is not known.
        """
        local: Any = self.local
        paid = local(step) if self.sees_step else local(step.rank, step.n_photos)
        size = len(step.rank)
        return self._numbers(paid, step.rank.shape, f"{size} steps: want a tensor of {size} numbers")

    def reads(self, size: int) -> frozenset[str]:
        """Fields of a `Step` that `local` reads, with `size` photos: it is asked for a few steps made up.

        Raises:
            ConfigError: as `local_reward`; also for a field that it reads but that there is not, or overwrites.
        """
        return self._asked(size)[0]

    def sample(self, size: int, device: str | torch.device = "cpu") -> Tensor:
        """What `local` pays with `size` photos, float64 [M]: for all ranks if it is a table, else for steps made up.

        Two schemes that pay otherwise differ in it. Raises ConfigError as `table` and `reads`.
        """
        reads, paid = self._asked(size)
        return self.table(size, device) if reads <= {"rank"} else paid.to(device)

    def table(self, size: int, device: str | torch.device = "cpu") -> Tensor:
        """The local part for ranks 1..size: float64 [size].

        Raises:
            ConfigError: it does not give one finite real number for each, or reads more of a step than its rank.
        """
        ranks = torch.arange(1, size + 1, device=device)
        if self.sees_step:
            paid = self.local_reward(Step(size, rank=lambda: ranks))
        else:
            local: Any = self.local
            asked = f"{size} ranks: want a tensor of {size} numbers"
            paid = self._numbers(local(ranks, size), ranks.shape, asked)
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

    def _asked(self, size: int) -> tuple[frozenset[str], Tensor]:
        """Fields read, and what is paid, for steps made up."""
        if not self.sees_step:
            return frozenset({"rank"}), torch.zeros(0)
        step = made_up(size)
        try:
            paid = self.local_reward(step)
        except AttributeError as error:
            raise ConfigError(f"reward {self.name!r}: {error}") from error
        for name in step.read:
            if getattr(step, name)._version:
                raise ConfigError(f"reward {self.name!r} overwrites {name!r} of a step: compute with copies")
        return frozenset(step.read), paid

    def _numbers(self, paid: object, shape: torch.Size, asked: str) -> Tensor:
        if not isinstance(paid, Tensor) or paid.shape != shape or paid.is_complex():
            raise ConfigError(f"reward {self.name!r} gives {described(paid)} for {asked}")
        return paid.detach().double()


def combined(gamma1: float = 1.0, gamma2: float = 1e-4, tau_normalized: bool = True) -> RewardScheme:
    """The paper's reward, its equation 4.

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


def self_competitive(step: Step) -> Tensor:
    """1 if rank_t <= min(rank_1 .. rank_{t-1}), else 0: a step competes with the best before it. 0 or 1.

    Wang et al., "Deep Reinforced Attention Regression for Partial Sketch Based Image Retrieval" (DARP), ICDM 2021. The
    first step has no rival and is paid 1.
    """
    return (step.rank <= step.best_rank).double()


def rank_gain(step: Step) -> Tensor:
    """(rank_{t-1} - rank_t) / (G - 1), with rank_0 = G: what the step has gained. -1..1.

    Ours; an episode's sum is the percentile of its last rank, (G - rank_T) / (G - 1).
    """
    return (step.previous_rank - step.rank).double() / (step.n_photos - 1)


def early(step: Step) -> Tensor:
    """exp(-t / T) / rank_t: early steps count for more. 1/(eG)..1, exp(-1/T) at most.

    What w@mB measures, the weighted metric of work after Bhunia et al. (such as DARP, ICDM 2021).
    """
    return torch.exp(-step.step.double() / step.length.double()) / step.rank.double()


def margin(step: Step) -> Tensor:
    """(s_own - max s_other) / 2, of cosines s: by how much the own photo is nearer than its best rival. -1..1.

    Ours; the margin that the triplet loss of stage 1 asks for, of the hardest negative. Above 0 at rank 1 only.
    """
    return (step.target_similarity - step.rival_similarity) / 2


def by_percentile(rank: Tensor, size: int) -> Tensor:
    """(G - rank) / (G - 1): what m@A measures. 0..1. Bhunia et al., CVPR 2020, as a metric."""
    return (size - rank).double() / (size - 1)


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
    "self-competitive": lambda: RewardScheme("self-competitive", self_competitive),
    "rank-gain": lambda: RewardScheme("rank-gain", rank_gain),
    "early": lambda: RewardScheme("early", early),
    "margin": lambda: RewardScheme("margin", margin),
    "percentile": lambda: RewardScheme("percentile", by_percentile),
}
"""Reward schemes by name: a function without arguments that makes one."""


def shaped(
    reward: str | Local | RewardScheme, potential: Callable[[Tensor, int], Tensor], gamma: float
) -> RewardScheme:
    """A reward with potential-based shaping (Ng, Harada and Russell, ICML 1999), which leaves the best policies best.

    R'_t = R_t + gamma * Phi_t - Phi_{t-1},   Phi_t = potential(rank_t, G),   Phi_0 = Phi_T = 0

    Over an episode the additions, discounted by the same gamma, sum to 0 whatever was done.

    Args:
        reward: as for `make_reward`.
        potential: a function (rank int64 [...], G) -> real numbers [...] of what a list is worth.
        gamma: the discount that the learner uses, 0..1; with another one the best policies may change.

    Raises:
        ConfigError: no reward, or a gamma outside 0..1.
    """
    if not 0 <= as_number(gamma) <= 1:
        raise ConfigError(f"gamma={shown(gamma)}: the discount of a shaped reward lies in 0..1")
    scheme = make_reward(reward)
    return replace(scheme, name=f"{scheme.name}-shaped", local=Shaped(scheme, potential, gamma))


@dataclass(frozen=True)
class Shaped:
    """The local part of a `shaped` reward."""

    scheme: RewardScheme
    potential: Callable[[Tensor, int], Tensor]
    gamma: float

    def __call__(self, step: Step) -> Tensor:
        size = step.n_photos
        before = torch.where(step.step > 1, self.potential(step.previous_rank, size).double(), 0.0)
        after = torch.where(step.step < step.length, self.potential(step.rank, size).double(), 0.0)
        return self.scheme.local_reward(step) + self.gamma * after - before


def made_up(size: int) -> Step:
    """Five steps that no episode has, with `size` photos, to ask a reward about."""
    rank = torch.linspace(1, size, 5).round().long()
    shares = torch.linspace(0, 1, 5, dtype=torch.float64)
    return Step(
        size,
        rank=lambda: rank,
        previous_rank=lambda: rank.flip(0),
        best_rank=lambda: torch.minimum(rank.flip(0), rank.roll(1)),
        step=lambda: torch.arange(1, 6),
        length=lambda: torch.full((5,), 5),
        tau_before=lambda: shares,
        tau_after=shares.square,
        **Step.of_lists(torch.arange(5.0 * size).double().cos().view(5, size), torch.arange(5) % size),
    )


def make_reward(reward: str | Local | RewardScheme) -> RewardScheme:
    """A scheme from its name, from `"module:attribute"`, from a function of (rank, G) or of a `Step`, or itself.

    Names of installed packages' schemes are the entry points of the group `sketchless.rewards`.

    Raises:
        ConfigError: unknown name, or something that is neither a scheme nor callable.
    """
    if isinstance(reward, RewardScheme):
        return reward
    if callable(reward):
        return RewardScheme(getattr(reward, "__name__", type(reward).__name__), reward)
    if not isinstance(reward, str):
        raise ConfigError(f"reward {reward!r} is neither a name, a RewardScheme nor a function of (rank, G) or (step)")
    found = find("reward", reward, REWARDS)
    if reward in REWARDS:
        found = found()
    if not isinstance(found, RewardScheme) and not callable(found):
        raise ConfigError(f"reward {reward!r} is neither a RewardScheme nor a function of (rank, G) or (step)")
    return make_reward(found)
