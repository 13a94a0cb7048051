"""Gaussian policies that remember: the strokes so far (GRU, LSTM), or how many there were (a head per step)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sketchless.envs.core import Core

from .linear import LinearGaussianPolicy, at_step

MEMORY = 64  # width of what is remembered
EMPTY: dict[str, Any] = {"batch_first": True, "device": "meta", "dtype": torch.float32}  # torch would draw globally


class RecallingPolicy(LinearGaussianPolicy):
    """a_t ~ N(W x_t + c + V h_t, diag(sigma^2)), with h_t read from several frames: subclasses say `read`.

    V = 0 to begin with, so it begins as the linear policy does. Subclasses make what reads, and then call `add_recall`:
    files number parameters in the order in which they were made.
    """

    def add_recall(self, width: int) -> None:
        """Make V, for h [.., width]."""
        self.recall = nn.utils.skip_init(nn.Linear, width, self.log_std.numel(), bias=False, dtype=torch.float32)
        nn.init.zeros_(self.recall.weight)

    def read(self, frames: Tensor) -> Tensor:
        """h of every frame of drawings: [M, T, D] to [M, T, H]."""
        raise NotImplementedError

    def forward(self, observation: Tensor) -> Tensor:
        *batch, steps, width = observation.shape
        recalled: Tensor = self.recall(self.read(observation.reshape(-1, steps, width)))
        mean: Tensor = self.mean(observation) + recalled.reshape(*batch, steps, -1)
        return mean

    def at(self, observation: Tensor, step: Tensor) -> Tensor:
        return at_step(self(observation), step)

    def start_from_baseline(self, core: Core, mean_norm: float | None = 1.0) -> None:
        nn.init.zeros_(self.recall.weight)
        super().start_from_baseline(core, mean_norm)


def drawn(part: nn.RNNBase, seed: int) -> nn.RNNBase:
    """A recurrent network made on `meta`, with torch's own initial distribution drawn by a seed of ours."""
    part = part.to_empty(device="cpu")
    generator, bound = torch.Generator().manual_seed(seed), part.hidden_size**-0.5
    for weights in part.parameters():
        nn.init.uniform_(weights, -bound, bound, generator=generator)
    return part


class RecurrentGaussianPolicy(RecallingPolicy):
    """h_t = GRU(h_{t-1}, x_t): a memory of the strokes so far; `seed` draws the GRU's weights."""

    def __init__(self, observation_dim: int, action_dim: int, init_log_std: float = 0.0, seed: int = 0) -> None:
        super().__init__(observation_dim, action_dim, init_log_std)
        self.memory = drawn(nn.GRU(observation_dim, MEMORY, **EMPTY), seed)
        self.add_recall(MEMORY)

    def read(self, frames: Tensor) -> Tensor:
        read: Tensor = self.memory(frames)[0]
        return read

    def step(self, observation: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Mean actions [B, d] of one frame each [B, D], and the memory [B, H] with it; None: the first frame."""
        before = None if state is None else state.unsqueeze(0)
        _, after = self.memory(observation.unsqueeze(1), before)
        return self.mean(observation) + self.recall(after[0]), after[0]


class LSTMGaussianPolicy(RecallingPolicy):
    """h_t, m_t = LSTM(h_{t-1}, m_{t-1}, x_t): a memory of the strokes so far; `seed` draws the LSTM's weights."""

    def __init__(self, observation_dim: int, action_dim: int, init_log_std: float = 0.0, seed: int = 0) -> None:
        super().__init__(observation_dim, action_dim, init_log_std)
        self.memory = drawn(nn.LSTM(observation_dim, MEMORY, **EMPTY), seed)
        self.add_recall(MEMORY)

    def read(self, frames: Tensor) -> Tensor:
        read: Tensor = self.memory(frames)[0]
        return read

    def step(self, observation: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Mean actions [B, d] of one frame each [B, D], and h and m side by side [B, 2 H]; None: the first frame."""
        before = None if state is None else tuple(part.unsqueeze(0).contiguous() for part in state.chunk(2, dim=1))
        _, (hidden, cell) = self.memory(observation.unsqueeze(1), before)
        return self.mean(observation) + self.recall(hidden[0]), torch.cat([hidden[0], cell[0]], dim=1)


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
        return at_step(self(observation), step)
