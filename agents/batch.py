"""A rollout, and the advantages computed from its rewards."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """One rollout: K actions in every state of B whole drawings.

    Where actions change what comes after, it is K whole episodes on each drawing instead: `observation`, `mean` and
    `valid` have a leading K as well.
    """

    sketches: Tensor  # int64 [B], rows of the bank
    observation: Tensor  # float32 [B, T, D]
    mean: Tensor  # [B, T, d]
    log_std: Tensor  # [d]
    action: Tensor  # [K, B, T, d]
    log_prob: Tensor  # [K, B, T]
    reward: Tensor  # float64 [K, B, T]
    valid: Tensor  # float64 [B, T]: 1 before the drawing's end, else 0

    def one_action_a_state(self) -> Batch:
        """K episodes on each of B drawings as one on each of K * B."""
        observation, mean, valid = (x.flatten(0, 1) for x in (self.observation, self.mean, self.valid))
        action, log_prob, reward = (x.flatten(0, 1).unsqueeze(0) for x in (self.action, self.log_prob, self.reward))
        sketches = self.sketches.repeat(len(self.action))
        return Batch(sketches, observation, mean, self.log_std, action, log_prob, reward, valid)


def average(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of values [..., B, T] over the valid steps [B, T]."""
    return (values * valid).sum() / (valid.sum() * (values.numel() // valid.numel()))


def reward_to_go(reward: Tensor, gamma: float) -> Tensor:
    """sum_{s >= t} gamma^(s - t) R_s of rewards [..., T]."""
    if gamma == 0:
        return reward
    ahead, found = torch.zeros_like(reward[..., 0]), torch.empty_like(reward)
    for t in reversed(range(reward.shape[-1])):
        ahead = found[..., t] = reward[..., t] + gamma * ahead
    return found


def group_mean(reward: Tensor, valid: Tensor) -> Tensor:
    """Mean [B, T] over the K samples [K, B, T] of which the step counts."""
    counted = valid.expand_as(reward)
    return (reward * counted).sum(dim=0) / counted.sum(dim=0).clamp_min(1)


def advantages(reward: Tensor, valid: Tensor, kind: str, normalize: bool) -> Tensor:
    """Advantages from rewards, both [K, B, T]; zero where `valid` [B, T] or [K, B, T] is 0.

    reward: A = R.  batch-mean: A = R - mean(R).  group: A = R - mean_k(R), over samples of the same state.
    """
    if kind == "group":
        reward = reward - group_mean(reward, valid)
    elif kind == "batch-mean":
        reward = reward - average(reward, valid)
    if normalize:
        deviation = average((reward - average(reward, valid)).square(), valid).sqrt()
        reward = reward / deviation.clamp_min(1e-8)
    return reward * valid
