"""Gaussian policies: linear on the frozen feature of the current frame (the paper's), a head per step, a memory."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn

from sketchless.datasets.errors import CheckpointError, FormatError, unknown_name
from sketchless.envs.core import Core

POLICIES = ("linear", "gru", "per-step")
MEMORY = 64  # width of the recurrent policy's memory


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
        mean: Tensor = self(_at(observation, step))  # it looks at one frame
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


class RecurrentGaussianPolicy(LinearGaussianPolicy):
    """a_t ~ N(W x_t + c + V h_t, diag(sigma^2)), h_t = GRU(h_{t-1}, x_t): a memory of the strokes so far.

    V = 0 to begin with, so it begins as the linear policy does. `seed` draws the GRU's weights.
    """

    def __init__(self, observation_dim: int, action_dim: int, init_log_std: float = 0.0, seed: int = 0) -> None:
        super().__init__(observation_dim, action_dim, init_log_std)
        self.memory = nn.GRU(observation_dim, MEMORY, batch_first=True, device="meta", dtype=torch.float32)
        self.memory = self.memory.to_empty(device="cpu")
        self.recall = nn.utils.skip_init(nn.Linear, MEMORY, action_dim, bias=False, dtype=torch.float32)
        generator, bound = torch.Generator().manual_seed(seed), MEMORY**-0.5
        for weights in self.memory.parameters():
            nn.init.uniform_(weights, -bound, bound, generator=generator)
        nn.init.zeros_(self.recall.weight)

    def forward(self, observation: Tensor) -> Tensor:
        *batch, steps, width = observation.shape
        remembered, _ = self.memory(observation.reshape(-1, steps, width))
        mean: Tensor = self.mean(observation) + self.recall(remembered).reshape(*batch, steps, -1)
        return mean

    def step(self, observation: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Mean actions [B, d] of one frame each [B, D], and the memory [B, H] with it; None: the first frame."""
        before = None if state is None else state.unsqueeze(0)
        _, after = self.memory(observation.unsqueeze(1), before)
        return self.mean(observation) + self.recall(after[0]), after[0]

    def at(self, observation: Tensor, step: Tensor) -> Tensor:
        return _at(self(observation), step)

    def start_from_baseline(self, core: Core, mean_norm: float | None = 1.0) -> None:
        nn.init.zeros_(self.recall.weight)
        super().start_from_baseline(core, mean_norm)


class StepLinear(nn.Module):
    """A linear layer of its own for every step, weight [T, d, D] and bias [T, d]; steps beyond T share the last."""

    def __init__(self, steps: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(steps, outputs, inputs, dtype=torch.float32))
        self.bias = nn.Parameter(torch.zeros(steps, outputs, dtype=torch.float32))

    def forward(self, frames: Tensor, first: int = 0) -> Tensor:
        """Frames [..., S, D] of the steps from `first` on to [..., S, d]."""
        step = torch.arange(first, first + frames.shape[-2], device=frames.device).clamp_max(len(self.weight) - 1)
        return torch.einsum("...si,soi->...so", frames, self.weight[step]) + self.bias[step]


class PerStepGaussianPolicy(LinearGaussianPolicy):
    """a_t ~ N(W_t x_t + c_t, diag(sigma^2)): a head for every one of T steps. What it remembers is the step."""

    def __init__(self, observation_dim: int, action_dim: int, steps: int, init_log_std: float = 0.0) -> None:
        super().__init__(observation_dim, action_dim, init_log_std)
        self.mean = StepLinear(steps, observation_dim, action_dim)

    def step(self, observation: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Mean actions [B, d] of one frame each [B, D], and the number of the next step [B, 1]; None: the first."""
        step = torch.zeros_like(observation[:, :1]) if state is None else state
        mean = observation.new_empty(len(observation), self.log_std.numel())
        for number in step.unique().tolist():  # one, unless drawings began at different times
            rows = step[:, 0] == number
            mean[rows] = self.mean(observation[rows].unsqueeze(1), int(number)).squeeze(1)
        return mean, step + 1

    def at(self, observation: Tensor, step: Tensor) -> Tensor:
        return _at(self(observation), step)


def _at(along: Tensor, step: Tensor) -> Tensor:
    """One step (from 0) of each row: [B, T, d] and int64 [B] to [B, d]."""
    return along[torch.arange(len(step), device=step.device), step]


def make_policy(kind: str, core: Core, init_log_std: float, mean_norm: float | None, seed: int) -> LinearGaussianPolicy:
    """A policy for a core that begins as B1. Raises ConfigError for an unknown kind."""
    if kind not in POLICIES:
        raise unknown_name("policy", kind, POLICIES)
    widths = core.observation_dim, core.action_dim
    if kind == "gru":
        policy: LinearGaussianPolicy = RecurrentGaussianPolicy(*widths, init_log_std, seed)
    elif kind == "per-step":
        policy = PerStepGaussianPolicy(*widths, core.n_steps, init_log_std)
    else:
        policy = LinearGaussianPolicy(*widths, init_log_std)
    policy = policy.to(core.device)
    policy.start_from_baseline(core, mean_norm)
    return policy
