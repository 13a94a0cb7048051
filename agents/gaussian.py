"""Diagonal Gaussians in closed form, in nats. Log-probabilities of samples are compiled on the CPU, torch elsewhere."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sketchless.datasets.compiled import compiled


def gaussian_log_prob(action: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """log N(action; mean, diag(exp(2 log_std))): [...] of actions and means [..., d], log_std [d]."""
    if action.dim() == mean.dim() + 1 and action.shape[1:] == mean.shape and not action.requires_grad:
        found: Tensor = _LogProb.apply(action, mean, log_std)  # type: ignore[no-untyped-call]
        return found
    # log p = -1/2 sum_i ((a_i - mu_i) / sigma_i)^2 - sum_i log sigma_i - d/2 log(2 pi)
    z = (action - mean) * torch.exp(-log_std)
    return -0.5 * z.square().sum(-1) - _volume(log_std)


def _volume(log_std: Tensor) -> Tensor:
    """log of what a Gaussian with log sigma [..., d] is divided by: [...]."""
    return log_std.sum(-1) + 0.5 * math.log(2 * math.pi) * log_std.shape[-1]


class _LogProb(torch.autograd.Function):
    """The same of K actions [K, ..., d] in each state; its gradient in closed form takes half the passes over them."""

    @staticmethod
    def forward(ctx: Any, action: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
        ctx.save_for_backward(action, mean, log_std)
        return samples_log_prob(action.unsqueeze(0), mean.unsqueeze(0), log_std.unsqueeze(0)).squeeze(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, Tensor]:
        given = (tensor.unsqueeze(0) for tensor in (*ctx.saved_tensors, grads[0]))
        by_mean, by_log_std = samples_gradient(*given)
        return None, by_mean.squeeze(0), by_log_std.squeeze(0)


def samples_log_prob(action: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """log N(action; mean, diag(exp(2 log_std))) of K samples in each state, for S policies side by side.

    Args:
        action: [S, K, ..., d].
        mean: [S, ..., d].
        log_std: [S, d].

    Returns:
        [S, K, ...], without a gradient.
    """
    if _compiles(action, mean, log_std):
        out = torch.empty(action.shape[:-1], dtype=torch.float32)
        scale, volume = torch.exp(-log_std.detach()), _volume(log_std.detach())
        _log_prob(*_arrays(action, mean, scale), volume.numpy(), _rows(out))
        return out
    z = (action - mean.unsqueeze(1)) * _beside(torch.exp(-log_std), action)
    return -0.5 * z.square().sum(-1) - _beside(_volume(log_std), z[..., 0])


def samples_gradient(action: Tensor, mean: Tensor, log_std: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient of `(weight * samples_log_prob(action, mean, log_std)).sum()` of each of S policies.

    Args:
        action, mean, log_std: as there.
        weight: [S, K, ...].

    Returns:
        By mean [S, ..., d], and by log sigma [S, d].
    """
    # d log p / d mu = z / sigma;   d log p / d log sigma = z^2 - 1
    if _compiles(action, mean, log_std) and weight.dtype == torch.float32:
        by_mean, by_log_std = torch.empty(mean.shape, dtype=torch.float32), torch.empty_like(log_std)
        scale, out = torch.exp(-log_std.detach()), _states(by_mean, 1)
        _gradient(*_arrays(action, mean, scale), _rows(weight.contiguous()), out.numpy(), by_log_std.numpy())
        return by_mean, by_log_std
    scale = torch.exp(-log_std)
    z, each = (action - mean.unsqueeze(1)) * _beside(scale, action), weight.unsqueeze(-1)
    by_mean = (z * each).sum(dim=1) * _beside(scale, mean)  # bmm takes ten times as long
    over = tuple(range(1, z.dim() - 1))
    return by_mean, (z.square() * each).sum(dim=over) - weight.flatten(1).sum(dim=1, keepdim=True)


def _beside(values: Tensor, other: Tensor) -> Tensor:
    """Values [S, ...] with dimensions of size 1 behind the first, as many as the other has."""
    return values.view(len(values), *(1 for _ in range(other.dim() - values.dim())), *values.shape[1:])


def _compiles(*given: Tensor) -> bool:
    return all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in given)


def _arrays(action: Tensor, mean: Tensor, scale: Tensor) -> tuple[Any, Any, Any]:
    """As numpy's arrays [S, K, M, d], [S, M, d] and [S, d]."""
    action, mean = _states(action.detach(), 2), _states(mean.detach(), 1)
    return action.contiguous().numpy(), mean.contiguous().numpy(), scale.contiguous().numpy()


def _states(values: Tensor, before: int) -> Tensor:
    """Vectors [*before, ..., d] as [*before, M, d], a view where they are contiguous; M is 1 where `...` is nothing."""
    return values.reshape(*values.shape[:before], -1, values.shape[-1])


def _rows(values: Tensor) -> Any:
    """Contiguous values [S, K, ...] as numpy's array [S, K, M]."""
    return values.detach().reshape(*values.shape[:2], -1).numpy()


# A sum may be taken in another order (`reassoc`): only so does a loop over coordinates use vector registers.


@compiled(fastmath={"reassoc", "contract", "nsz"})
def _log_prob(action, mean, scale, volume, out):  # type: ignore[no-untyped-def]
    policies, samples, states, width = action.shape
    for s in range(policies):
        for k in range(samples):
            for m in range(states):
                squares = np.float32(0)
                for i in range(width):
                    z = (action[s, k, m, i] - mean[s, m, i]) * scale[s, i]
                    squares += z * z
                out[s, k, m] = np.float32(-0.5) * squares - volume[s]


@compiled(fastmath={"reassoc", "contract", "nsz"})
def _gradient(action, mean, scale, weight, by_mean, by_log_std):  # type: ignore[no-untyped-def]
    policies, samples, states, width = action.shape
    first, second, total = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float64)
    for s in range(policies):
        total[:] = 0
        for m in range(states):
            first[:], second[:] = 0, 0
            weights = np.float64(0)
            for k in range(samples):
                w = weight[s, k, m]
                weights += w
                for i in range(width):
                    z = (action[s, k, m, i] - mean[s, m, i]) * scale[s, i]
                    first[i] += w * z
                    second[i] += w * z * z
            for i in range(width):
                by_mean[s, m, i] = first[i] * scale[s, i]
                total[i] += second[i] - weights
        by_log_std[s] = total


def gaussian_kl(mean_p: Tensor, log_std_p: Tensor, mean_q: Tensor, log_std_q: Tensor) -> Tensor:
    """KL(p || q) of diagonal Gaussians, in nats: [...] of means [..., d] and log_std [d]."""
    # KL = sum_i log(sigma_q / sigma_p) + (sigma_p^2 + (mu_p - mu_q)^2) / (2 sigma_q^2) - 1/2
    ratio = (log_std_p - log_std_q).mul(2).exp()  # sigma_p^2 / sigma_q^2
    distance = ((mean_p - mean_q) * torch.exp(-log_std_q)).square()
    return 0.5 * (ratio - ratio.log() - 1 + distance).sum(-1)


def gaussian_entropy(log_std: Tensor) -> Tensor:
    """Entropy of a diagonal Gaussian, in nats: a scalar of log_std [d]."""
    # H = sum_i log sigma_i + d/2 (1 + log(2 pi))
    return log_std.sum() + 0.5 * (1 + math.log(2 * math.pi)) * len(log_std)


def fisher_product(observation: Tensor, log_std: Tensor, vector: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Fisher information of the linear policy times a vector, averaged over states.

    Args:
        observation: x, [M, D].
        log_std: [d].
        vector: (V_W [d, D], V_c [d], V_s [d]), shaped as W, c and log sigma.

    Returns:
        The product in the same three shapes.
    """
    # mu = W x + c:  F [V_W, V_c] = diag(1 / sigma^2) E[(V_W x + V_c) (x, 1)^T];   s = log sigma:  F V_s = 2 V_s
    weight, bias, scale = vector
    moved = (observation @ weight.T + bias) * torch.exp(-2 * log_std)  # [M, d]
    return moved.T @ observation / len(observation), moved.mean(dim=0), 2 * scale
