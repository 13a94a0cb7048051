"""The policy of the paper: a linear Gaussian on the frozen feature of the current frame."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sketchless.envs.core import Core


class LinearGaussianPolicy(nn.Module):
    """a ~ N(W x + c, diag(sigma^2)), with sigma free-standing (Bhunia et al., CVPR 2020).

    Args:
        observation_dim: D, width of x.
        action_dim: d, width of a.
        init_log_std: log sigma to begin with; in d dimensions the noise has length sigma * sqrt(d).
    """

    def __init__(self, observation_dim: int, action_dim: int, init_log_std: float = 0.0) -> None:
        super().__init__()
        # skip_init: nn.Linear would draw from the global random state
        self.mean = nn.utils.skip_init(nn.Linear, observation_dim, action_dim)
        nn.init.zeros_(self.mean.weight)
        nn.init.zeros_(self.mean.bias)
        self.log_std = nn.Parameter(torch.full((action_dim,), float(init_log_std)))

    def forward(self, observation: Tensor) -> Tensor:
        """Mean action [..., d] of observations [..., D]."""
        mean: Tensor = self.mean(observation)
        return mean

    @torch.no_grad()
    def start_from_baseline(self, core: Core, mean_norm: float | None = 1.0) -> None:
        """Make the mean action retrieve as the frozen encoder does (B1).

        Residual mode: W = 0, c = 0. Absolute mode: W, c are the bank's head; only their direction counts, so
        they are scaled until the mean action has length `mean_norm` on average (None: left as they are).
        With `observation="embedding"` the head is the identity.
        """
        nn.init.zeros_(self.mean.weight)
        nn.init.zeros_(self.mean.bias)
        if core.mode == "residual":
            return
        if core.observation == "feature":
            self.mean.weight.copy_(core.bank.weight)
            self.mean.bias.copy_(core.bank.bias)
        else:
            nn.init.eye_(self.mean.weight)
        if mean_norm is not None:
            factor = mean_norm / float(torch.linalg.vector_norm(self(core.frames), dim=-1).mean())
            self.mean.weight.mul_(factor)
            self.mean.bias.mul_(factor)


def gaussian_log_prob(action: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """log N(action; mean, diag(exp(2 log_std))): [...] of actions and means [..., d], log_std [d]."""
    # log p = -1/2 sum_i ((a_i - mu_i) / sigma_i)^2 - sum_i log sigma_i - d/2 log(2 pi)
    z = (action - mean) * torch.exp(-log_std)
    return -0.5 * z.square().sum(-1) - log_std.sum() - 0.5 * math.log(2 * math.pi) * action.shape[-1]
