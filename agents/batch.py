"""A rollout, and the advantages computed from its rewards."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """One rollout: K actions in every state of B whole drawings."""

    sketches: Tensor  # int64 [B], rows of the bank
    observation: Tensor  # float32 [B, T, D]
    mean: Tensor  # [B, T, d]
    log_std: Tensor  # [d]
    action: Tensor  # [K, B, T, d]
    log_prob: Tensor  # [K, B, T]
    reward: Tensor  # float64 [K, B, T]
    valid: Tensor  # float64 [B, T]: 1 before the drawing's end, else 0


def average(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of values [..., B, T] over the valid steps [B, T]."""
    return (values * valid).sum() / (valid.sum() * (values.numel() // valid.numel()))


def advantages(reward: Tensor, valid: Tensor, kind: str, normalize: bool) -> Tensor:
    """Advantages from rewards, both [K, B, T]; zero where `valid` [B, T] is 0.

    reward: A = R.  batch-mean: A = R - mean(R).  group: A = R - mean_k(R), over samples of the same state.
    """
    if kind == "group":
        reward = reward - reward.mean(dim=0)
    elif kind == "batch-mean":
        reward = reward - average(reward, valid)
    if normalize:
        deviation = average((reward - average(reward, valid)).square(), valid).sqrt()
        reward = reward / deviation.clamp_min(1e-8)
    return reward * valid
