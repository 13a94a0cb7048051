"""Exact ranks and rank distances: the same numbers on every device and in every batch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sketchless.datasets.errors import ConfigError, DataError

from .kernels.cpu import count_as_near, discordant_pairs, discordant_steps, ordering, ordering_after, refine_rows

Numbers = Tensor | npt.ArrayLike

# Coordinates on a grid of 2^-26 have products that are multiples of 2^-52, and the sums of products of two
# vectors of length 1 stay below 2: float64 holds all of them exactly. So the order of summation, which
# differs between batch sizes, BLAS libraries and devices, cannot change a similarity, nor break a tie.
_GRID = 2.0**26

NOT_FINITE = "actions must be finite numbers"


def snap(vectors: Tensor) -> Tensor:
    """Unit vectors [..., d] to float64 on the grid on which similarities are exact (2^-26 a coordinate)."""
    return (vectors.double() * _GRID).round_() / _GRID


def unit(vectors: Tensor) -> Tensor:
    """Directions of finite vectors [..., d], `snap`ped; the zero vector has none and stays zero.

    The squared length is a sum of integers. So a row's result depends on its numbers alone: not on the batch
    it stands in, its layout in memory or the device.

    Raises:
        ConfigError: d above 8191, where that sum could overflow.
    """
    if vectors.shape[-1] > 8191:
        raise ConfigError(f"vectors of {vectors.shape[-1]} dimensions: the limit is 8191")
    vectors = vectors.double()
    longest = vectors.abs().amax(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    whole = (vectors / longest * 2.0**25).round_().long()
    return snap(whole / (whole * whole).sum(dim=-1, keepdim=True).double().sqrt_().clamp_min(1))


def refine(base: Tensor | None, action: Tensor, scale: float) -> Tensor | None:
    """`unit(base + scale * a)`, or `unit(a)` without a base, with a = the action scaled into the box.

    Args:
        base: float64 [..., d].
        action: float64 [..., d], d <= 8191.
        scale: of the action.

    Returns:
        float64 [..., d] on the grid; None if a number of the action is not finite. Off the CPU that is a failed
        assertion on the device instead, a RuntimeError at the next synchronisation.
    """
    if action.device.type == "cpu":
        return refine_rows(base, action, scale)
    # An `if` would make the host wait for the device, and a CUDA graph cannot hold one.
    torch._assert_async(torch.isfinite(action).all(), NOT_FINITE)
    action = action / action.abs().amax(dim=-1, keepdim=True).clamp_min(1)
    return unit(action if base is None else base + scale * action)


def not_finite(action: Tensor) -> DataError:
    """The error that names the first number of an action [...] that is not finite."""
    where = (~torch.isfinite(action)).nonzero()[0].tolist()
    return DataError(f"action{where} is {float(action[tuple(where)])}: {NOT_FINITE}")


def described(value: object) -> str:
    """What an error says of something that should have been another tensor."""
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def similarity(queries: Tensor, gallery: Tensor) -> Tensor:
    """Cosine similarities float64 [..., G] of snapped unit vectors [..., d] and [G, d], without rounding.

    Both must come from `unit` or `snap`. For unit vectors this orders photos as the Euclidean distance does.
    """
    return queries @ gallery.T


def target_rank(similarity: Numbers, target: Numbers) -> Tensor:
    """Rank of each query's own photo, ties counted against it.

    rank = 1 + #{photos strictly nearer} + #{other photos exactly as near}

    Args:
        similarity: [..., G], larger is nearer; a tensor or any array.
        target: integer [...], column of the own photo; likewise.

    Returns:
        int64 [...], 1..G.

    Raises:
        DataError: a row that is not finite; it has no rank.
        ConfigError: no real numbers or none at all, shapes that do not match, or a target that is no integer or
            outside the gallery.
    """
    similarity, target = _lists(similarity), _tensor(target)
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise ConfigError(f"target is {described(target)}: want integers, columns of the gallery")
    if similarity.shape[:-1] != target.shape:
        raise ConfigError(f"target {tuple(target.shape)} does not fit similarity {tuple(similarity.shape)}")
    if target.numel() and not (target.min() >= 0 and target.max() < similarity.shape[-1]):
        raise ConfigError(f"a target lies outside the gallery of {similarity.shape[-1]} photos")
    # A sum is quicker than looking at every number; where it overflows, look after all.
    if not torch.isfinite(similarity.sum(dim=-1)).all() and not torch.isfinite(similarity).all():
        row = (~torch.isfinite(similarity).all(dim=-1)).nonzero()[0].tolist()
        raise DataError(f"a similarity of query {row} is NaN or infinite: it has no rank; check the action")
    return count_rank(similarity, target.long())


def count_rank(similarity: Tensor, target: Tensor) -> Tensor:
    """`target_rank` of similarities that are known to be finite and targets known to be in the gallery."""
    size = similarity.shape[-1]
    return count_as_near(similarity.reshape(-1, size), target.reshape(-1)).reshape(target.shape)


def kendall_tau_distance(sim_a: Numbers, sim_b: Numbers, normalized: bool = True) -> Tensor:
    """Kendall-tau distance between the rankings that two lists of similarities induce.

    tau = #{i < j : (a_i - a_j)(b_i - b_j) < 0}, divided by G(G-1)/2 if normalised.

    Exact; a pair tied in either list is not discordant.

    Args:
        sim_a, sim_b: [..., G] of equal shape, tensors or any arrays.
        normalized: 0..1 instead of a count of pairs.

    Returns:
        float64 [...].

    Raises:
        ConfigError: no real numbers or none at all, or shapes differ. DataError: NaN in a list.
    """
    sim_a, sim_b = _lists(sim_a), _lists(sim_b)
    if sim_a.shape != sim_b.shape:
        raise ConfigError(f"lists of shapes {tuple(sim_a.shape)} and {tuple(sim_b.shape)} cannot be compared")
    # A sum is quicker than looking at every number; where it is NaN, look after all.
    if any(sim.sum().isnan() and sim.isnan().any() for sim in (sim_a, sim_b)):
        raise DataError("a list of similarities holds NaN: it has no order")
    return ranking_after(ranking(sim_a), sim_b, normalized)[1]


def _lists(similarity: Numbers) -> Tensor:
    """Similarities [..., G] as a tensor. Raises ConfigError: no real numbers, or G = 0."""
    lists = _tensor(similarity)
    if lists.is_complex() or lists.dim() == 0 or lists.shape[-1] == 0:
        raise ConfigError(f"similarities are {described(lists)}: want real numbers [..., G] of one photo or more")
    return lists


def _tensor(values: Numbers) -> Tensor:
    """A tensor of any array's numbers; a copy, as torch reads neither reversed nor read-only arrays as they are."""
    if isinstance(values, Tensor):
        return values
    try:
        return torch.from_numpy(np.array(values))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{type(values).__name__} cannot be read as an array of numbers: {error}") from error


def ranking(similarity: Tensor) -> Tensor:
    """The whole list, nearest photo first: int32 [..., G] of similarities [..., G] without NaN.

    Each entry is 2 * photo + (1 if exactly as near as the photo before it).
    """
    size = similarity.shape[-1]
    return ordering(similarity.reshape(-1, size)).reshape(similarity.shape)


def tau_between(list_a: Tensor, list_b: Tensor, normalized: bool = True) -> Tensor:
    """`kendall_tau_distance` of lists [..., G] that `ranking` made: float64 [...]."""
    size = list_a.shape[-1]
    count = discordant_pairs(list_a.reshape(-1, size), list_b.reshape(-1, size)).reshape(list_a.shape[:-1])
    return _distance(count, size, normalized)


def ranking_after(before: Tensor, similarity: Tensor, normalized: bool = True) -> tuple[Tensor, Tensor]:
    """`ranking` of similarities [..., G] and its `tau_between` the lists [..., G] before, at one go: quicker."""
    size = similarity.shape[-1]
    order, count = ordering_after(before.reshape(-1, size), similarity.reshape(-1, size))
    return order.reshape(similarity.shape), _distance(count.reshape(similarity.shape[:-1]), size, normalized)


def tau_along(similarity: Tensor, normalized: bool = True) -> Tensor:
    """`kendall_tau_distance` between each step and the next: float64 [N, T-1] of similarities [N, T, G]."""
    return _distance(discordant_steps(similarity), similarity.shape[-1], normalized)


def _distance(count: Tensor, size: int, normalized: bool) -> Tensor:
    """Kendall-tau distance float64 of so many discordant pairs among `size` photos."""
    return count.double() / max(size * (size - 1) / 2, 1) if normalized else count.double()


def percentile(rank: Tensor, size: int) -> Tensor:
    """Ranking percentile float64 in 0..1: (G - rank) / (G - 1)."""
    return (size - rank.double()) / (size - 1)


def m_at_a(rank: Tensor, valid: Tensor, size: int, weight: Tensor | None = None) -> Tensor:
    """100 * mean ranking percentile of each episode: float64 [N]. Its mean over sketches is the paper's m@A.

    Args:
        rank: int64 [N, T], among `size` photos.
        valid: bool [N, T], the steps that count.
        size: G.
        weight: float64 [N, T] that each step is multiplied with; None: 1.
    """
    return _mean(percentile(rank, size), valid, weight)


def m_at_b(rank: Tensor, valid: Tensor, weight: Tensor | None = None) -> Tensor:
    """100 * mean 1/rank of each episode: float64 [N]. Its mean over sketches is the paper's m@B. Arguments as there."""
    return _mean(1 / rank.clamp_min(1).double(), valid, weight)


def _mean(value: Tensor, valid: Tensor, weight: Tensor | None) -> Tensor:
    value = value if weight is None else value * weight
    return 100 * (value * valid).sum(dim=1) / valid.sum(dim=1)
