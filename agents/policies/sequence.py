"""Gaussian policies on the sequence of frames: attention over those so far, and two forms that look at later ones.

What looks at later frames cannot act while a person draws. Much of what is published for on-the-fly retrieval does, and
these forms are here to measure what that is worth: `sketchless ablate leak`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from sketchless.datasets.errors import ConfigError

from .memory import EMPTY, MEMORY, RecallingPolicy, drawn


class AttentionGaussianPolicy(RecallingPolicy):
    """h_t = sum_{s <= t} softmax_s(q_t . k_s / sqrt(H)) v_s, one head of self-attention over the frames so far.

    q, k, v [H] are linear in u_t = A x_t + p_t, with a learned p_t for each of T steps; steps beyond share the last.

    Args:
        steps: T.
        seed: draws the weights.
    """

    def __init__(
        self, observation_dim: int, action_dim: int, steps: int, init_log_std: float = 0.0, seed: int = 0
    ) -> None:
        super().__init__(observation_dim, action_dim, init_log_std)
        generator = torch.Generator().manual_seed(seed)

        def layer(inputs: int, outputs: int) -> nn.Linear:
            made: nn.Linear = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=False, dtype=torch.float32)
            nn.init.normal_(made.weight, std=inputs**-0.5, generator=generator)
            return made

        self.inputs, self.query_key_value = layer(observation_dim, MEMORY), layer(MEMORY, 3 * MEMORY)
        self.place = nn.Parameter(torch.zeros(steps, MEMORY, dtype=torch.float32))
        self.add_recall(MEMORY)

    def _parts(self, frames: Tensor, step: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k and v [..., H] of frames [..., D] in steps [...]."""
        # frames have length 1, so that an entry of x is about D^-1/2
        inputs = self.inputs(frames) * frames.shape[-1] ** 0.5 + self.place[step.clamp_max(len(self.place) - 1)]
        query, key, value = self.query_key_value(inputs).chunk(3, dim=-1)
        return query, key, value

    def read(self, frames: Tensor) -> Tensor:
        step = torch.arange(frames.shape[1], device=frames.device)
        query, key, value = self._parts(frames, step)
        return _attend(query, key, value, self._seen(step))

    def _seen(self, step: Tensor) -> Tensor:
        """Whether the frame of a row looks at that of a column: bool [T, T]."""
        return step.unsqueeze(0) <= step.unsqueeze(1)

    def step(self, observation: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Mean actions [B, d] of one frame each [B, D], and what to remember.

        Args:
            state: [B, 1 + 2 H n]: how many frames were seen, and their keys and values; None: none.
        """
        rows = torch.arange(len(observation), device=observation.device)
        kept = observation.new_zeros(len(rows), 1) if state is None else state
        count = kept[:, 0].long()
        past = kept[:, 1:].unflatten(1, (-1, 2, MEMORY))  # [B, n, 2, H]
        if state is None or int(count.max()) == past.shape[1]:
            past = torch.cat([past, past.new_zeros(len(rows), 1, 2, MEMORY)], dim=1)
        query, key, value = self._parts(observation, count)
        past = past.index_put((rows, count), torch.stack([key, value], dim=1))
        seen = torch.arange(past.shape[1], device=rows.device) <= count.unsqueeze(1)  # [B, n]
        read = _attend(query.unsqueeze(1), past[:, :, 0], past[:, :, 1], seen.unsqueeze(1)).squeeze(1)
        mean: Tensor = self.mean(observation) + self.recall(read)
        return mean, torch.cat([(count + 1).unsqueeze(1).to(kept.dtype), past.flatten(1)], dim=1)


def _attend(query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
    """Values [M, S, H], averaged by attention of queries [M, T, H] to the keys [M, S, H] that are seen: [M, T, H]."""
    logits = query @ key.transpose(-1, -2) / MEMORY**0.5
    read: Tensor = logits.masked_fill(~seen, -torch.inf).softmax(dim=-1) @ value
    return read


class _Leaking(RecallingPolicy):
    """Looks at later frames: it has an action for a frame only once the drawing is complete."""

    causal: ClassVar[bool] = False

    def step(self, observation: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Raises ConfigError: a frame alone has no action."""
        raise ConfigError(
            "this policy looks at later frames, it cannot act while a person draws; "
            "evaluate(..., leak=True) tells what that is worth"
        )


class UnmaskedAttentionGaussianPolicy(_Leaking, AttentionGaussianPolicy):
    """The attention of `AttentionGaussianPolicy`, with all frames of a drawing in place of those so far."""

    def _seen(self, step: Tensor) -> Tensor:
        return torch.ones(len(step), len(step), dtype=torch.bool, device=step.device)


class BidirectionalGaussianPolicy(_Leaking):
    """h_t: the states at t of two LSTMs, of which one reads backward from the end; `seed` draws their weights."""

    def __init__(self, observation_dim: int, action_dim: int, init_log_std: float = 0.0, seed: int = 0) -> None:
        super().__init__(observation_dim, action_dim, init_log_std)
        self.memory = drawn(nn.LSTM(observation_dim, MEMORY, bidirectional=True, **EMPTY), seed)
        self.add_recall(2 * MEMORY)

    def read(self, frames: Tensor) -> Tensor:
        read: Tensor = self.memory(frames)[0]
        return read
