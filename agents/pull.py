"""What pulls a policy back to B1 while it learns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sketchless.envs.core import Core

from .batch import Batch
from .config import AgentConfig
from .policies.linear import LinearGaussianPolicy


def refined(core: Core, base: Tensor, action: Tensor) -> Tensor:
    """Unit embeddings [..., d] of actions [..., d] on embeddings b_t [..., d]: `Core.refine` with a gradient."""
    action = core.boxed(action)
    if core.mode == "residual":
        action = base.float() + core.scale * action
    return normalize(action, dim=-1)


def distance_from_b1(policy: LinearGaussianPolicy, core: Core, batch: Batch) -> Tensor:
    """Mean |e_T - b_T|^2, 0..4: of each drawing, the refined embedding of the complete sketch and B1's."""
    last = batch.valid.sum(dim=-1).long() - 1  # [B]
    base = core.base[batch.sketches, last].float()
    return (refined(core, base, policy.at(batch.observation, last)) - base).square().sum(dim=-1).mean()


def pull(
    config: AgentConfig, policy: LinearGaussianPolicy, start: Sequence[Tensor], core: Core, batch: Batch | None
) -> Tensor | None:
    """What the settings add to a loss, a scalar; None: nothing.

    Args:
        start: the parameters of the mean action as training began.
        batch: of the update, if there is one.
    """
    parts = []
    if config.weight_decay:
        pairs = zip(policy.mean.parameters(), start, strict=True)
        parts.append(config.weight_decay * torch.stack([(p - p0).square().sum() for p, p0 in pairs]).sum())
    if config.b1_penalty and core.bandit and batch is not None:
        parts.append(config.b1_penalty * distance_from_b1(policy, core, batch))
    return torch.stack(parts).sum() if parts else None
