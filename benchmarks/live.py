"""Ranking what no bank holds: frames that are made while they are asked for, as an agent would have ranked them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sketchless.datasets.errors import ConfigError
from sketchless.encoders.bank import EpisodeBank
from sketchless.encoders.encode import frame_features
from sketchless.encoders.networks.encoder import Encoder
from sketchless.envs.core import Core
from sketchless.envs.ranking import similarity, unit

BoolArray = npt.NDArray[np.bool_]


class Standing(NamedTuple):
    """Where a drawing stands after one of its frames."""

    base: Tensor  # float64 [d], embedding of the baseline B1, on the exact grid
    refined: Tensor  # float64 [d], as the agent refines it; B1's own without an agent
    memory: Any  # of the agent, after this frame


class Ranker:
    """Embeds frames and ranks a bank's photos for them; its numbers are those of the bank's own frames.

    Args:
        encoder: what the bank was encoded with.
        bank: gallery, head and mirroring.
        agent: refines the embeddings; None for the baseline B1. One of `Stop-v0` is not asked when to show.

    Raises:
        ConfigError: an agent that sees more than frames (`Carry-v0`).
    """

    def __init__(self, encoder: Encoder, bank: EpisodeBank, agent: Any = None) -> None:
        kind = getattr(agent, "core", None)
        if kind is not None and kind.observation_dim != kind.frames.shape[2]:
            raise ConfigError(f"the agent plays the task {kind.task}, and sees more than frames: give one of another")
        self.encoder, self.agent = encoder, agent
        self.core = Core(bank, "inv-rank") if kind is None else kind.over(bank, "inv-rank")
        self._mirror = bool(bank.provenance.get("mirror", False))

    def features(self, frames: BoolArray) -> Tensor:
        """Of frames bool [n, 256, 256]: float32 [n, D]."""
        parts = torch.from_numpy(frames).split(64)
        return torch.cat([frame_features(self.encoder, p, mirror=self._mirror).to(self.core.device) for p in parts])

    def refine(self, features: Tensor, memory: Any = None) -> tuple[Tensor, Tensor, Any]:
        """B1's embeddings and the refined ones float64 [n, d] of features [n, D], each the next frame after `memory`.

        Also gives the agent's memory [n, ...] after them, None where it has none.
        """
        bank, x = self.core.bank, features
        base = unit(bank.embed(x))
        if self.agent is None:
            return base, base, None
        seen = (x if self.core.observation == "feature" else base.float()).clamp(-1, 1)
        before = None if memory is None else memory.expand(len(x), *memory.shape[1:])
        begins = np.full(len(x), memory is None)
        action, after = self.agent.predict(seen, before, begins, deterministic=True)
        return base, self.core.refine(base, self.core.refinements(action)), after

    def similarity(self, embeddings: Tensor) -> Tensor:
        """Similarities float64 [n, G] of embeddings [n, d] that `refine` gave, on the CPU."""
        return similarity(embeddings, self.core.gallery).cpu()

    def after(self, frame: BoolArray, memory: Any = None) -> Standing:
        """Where a drawing stands after its next frame bool [256, 256].

        A frame is embedded alone: in a batch with others its last digits could differ.
        """
        base, refined, remembered = self.refine(self.features(frame[None]), memory)
        return Standing(base[0], refined[0], remembered)
