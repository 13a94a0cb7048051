"""The paper's Gaussian policy: linear on the frozen feature of the current frame."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sketchless.datasets.errors import CheckpointError, FormatError
from sketchless.envs.core import Core


class LinearGaussianPolicy(nn.Module):
    """a ~ N(W x + c, diag(sigma^2)), with sigma free-standing (Bhunia et al., CVPR 2020).

    Args:
        observation_dim: D, width of x.
        action_dim: d, width of a.
        init_log_std: log sigma to begin with; in d dimensions the noise has length sigma * sqrt(d).

    Attributes:
        causal: whether an action depends on its own frame and those before it alone.
    """

    causal: ClassVar[bool] = True

    def __init__(self, observation_dim: int, action_dim: int, init_log_std: float = 0.0) -> None:
        super().__init__()
        # skip_init: nn.Linear would draw from the global random state
        self.mean = nn.utils.skip_init(nn.Linear, observation_dim, action_dim, dtype=torch.float32)
        nn.init.zeros_(self.mean.weight)
        nn.init.zeros_(self.mean.bias)
        self.log_std = nn.Parameter(torch.full((action_dim,), float(init_log_std), dtype=torch.float32))

    def forward(self, observation: Tensor) -> Tensor:
        """Mean actions [..., T, d] of the frames of drawings [..., T, D], from their first frame on."""
        mean: Tensor = self.mean(observation)
        return mean

    def step(self, observation: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Mean actions [B, d] of one frame each [B, D], and what to remember for the next frame: nothing."""
        return self(observation), None

    def at(self, observation: Tensor, step: Tensor) -> Tensor:
        """Mean actions [B, d] in one step (from 0) of each drawing: `forward` of [B, T, D], of steps int64 [B]."""
        mean: Tensor = self(at_step(observation, step))  # it looks at one frame
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
        if core.task == "stop":  # a mean of 0 would show the list in half of all first steps: -2 sigma, in 2 %
            self.mean.bias[..., -1] = -2 * self.log_std[-1].exp()
        if core.mode == "residual":
            return
        if core.observation == "feature":
            self.mean.weight.copy_(core.bank.weight)
            self.mean.bias.copy_(core.bank.bias)
        else:
            self.mean.weight.copy_(torch.eye(core.action_dim, dtype=torch.float32))
        if mean_norm is not None:
            factor = mean_norm / float(torch.linalg.vector_norm(self(core.frames), dim=-1).mean())
            self.mean.weight.mul_(factor)
            self.mean.bias.mul_(factor)

    @classmethod
    def from_released(cls, path: str | os.PathLike[str]) -> LinearGaussianPolicy:
        """The policy file that the paper's authors released, for `mode="absolute"`: W, c and log sigma^2.

        Raises:
            CheckpointError: no such file, not to be read without running code, or other things than dense tensors of
                real numbers that are there in full.
            FormatError: other tensors than `actor.weight` [d, D], `actor.bias` [d], `action_log_std` [d], or
                numbers that are not finite.
        """
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # unpickling raises anything
            fault = str(error).partition("\n")[0]
            raise CheckpointError(f"{path}: cannot be read as weights alone ({fault}); fetch it again") from error
        names = ("actor.weight", "actor.bias", "action_log_std")
        if not isinstance(found, dict) or set(found) != set(names):
            raise FormatError(f"{path}: want the tensors {', '.join(names)} of the released policy")
        for name in names:
            if unusable := _unusable(found[name]):
                raise CheckpointError(
                    f"{path}: {name} is {unusable}, want a plain tensor of real numbers; fetch it again"
                )
        weight, bias, log_variance = (found[name].float() for name in names)
        if weight.dim() != 2 or bias.shape != weight.shape[:1] or log_variance.numel() != len(bias):
            shapes = ", ".join(str(tuple(part.shape)) for part in (weight, bias, log_variance))
            raise FormatError(f"{path}: shapes {shapes} do not fit together; fetch it again")
        if not all(torch.isfinite(part).all() for part in (weight, bias, log_variance)):
            raise FormatError(f"{path}: holds NaN or infinite weights; fetch it again")
        policy = cls(weight.shape[1], weight.shape[0])
        # The file calls it log_std, and the released code samples with variance exp(action_log_std).
        log_std = log_variance.flatten() / 2
        policy.load_state_dict({"mean.weight": weight, "mean.bias": bias, "log_std": log_std})
        return policy


def _unusable(part: Any) -> str | None:
    """Why something out of a file is no dense floating-point tensor, in words."""
    if not isinstance(part, Tensor):
        return f"a {type(part).__name__}"
    if part.layout != torch.strided or part.device.type != "cpu" or not part.is_floating_point():
        return f"{part.layout} {part.dtype} on {part.device}".replace("torch.", "")
    if part.numel() * part.element_size() > part.untyped_storage().nbytes():  # a view of few numbers can claim any size
        return f"{tuple(part.shape)}, more than the file holds"
    return None


def at_step(along: Tensor, step: Tensor) -> Tensor:
    """One step (from 0) of each row: [B, T, d] and int64 [B] to [B, d]."""
    return along[torch.arange(len(step), device=step.device), step]
