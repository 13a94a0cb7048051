"""Which drawings come next: random passes over the bank, one after the other without a gap. And what bank that is."""

from __future__ import annotations

import json
import zlib

import torch
from torch import Tensor

from sketchless.encoders.bank import EpisodeBank
from sketchless.envs.core import Core


class Drawings:
    """Random passes over the drawings of a bank.

    Args:
        bank: what is drawn from; its device is that of the rows.
        generator: on that device.

    Attributes:
        queue: int64 [n], the rows left in this pass.
    """

    def __init__(self, bank: EpisodeBank, generator: torch.Generator) -> None:
        self._lengths, self._generator, self._device = bank.lengths, generator, bank.features.device
        longest = int(bank.lengths.max())
        self._every = longest if int(bank.lengths.min()) == longest else None  # frames, where all have the same
        self.queue: Tensor
        self._frames: list[int]  # of the rows in the queue, where they differ
        self.clear()

    def clear(self) -> None:
        """Begin with a new pass."""
        self._take(torch.zeros(0, dtype=torch.int64, device=self._device))

    def draw(self, n: int) -> tuple[Tensor, int]:
        """The next n rows int64 [n], and their frames in all. The host waits for the device once a pass at most."""
        while len(self.queue) < n:
            order = torch.randperm(len(self._lengths), generator=self._generator, device=self._device)
            self._take(torch.cat([self.queue, order]))
        drawn, self.queue = self.queue[:n], self.queue[n:]
        if self._every is not None:
            return drawn, n * self._every
        frames, self._frames = self._frames[:n], self._frames[n:]
        return drawn, sum(frames)

    def resume(self, queue: Tensor, trained_on: str | None, here: str) -> str | None:
        """Go on with the rows left in a pass, and say what bank they are of; None: any.

        Args:
            queue: int64 [n], out of a file.
            trained_on: fingerprint of what they are drawings of, as the file has it; None: it does not say.
            here: fingerprint of what is drawn from.

        Raises:
            ValueError: no rows of a bank, or rows that the bank named lacks.
        """
        if queue.dtype != torch.int64 or queue.dim() != 1 or bool((queue < 0).any()):
            raise ValueError("queue is no list of drawings; use an earlier file")
        size = len(self._lengths)
        if bool((queue >= size).any()):
            if trained_on == here:
                raise ValueError(f"queue holds drawings beyond the {size} of the bank; use an earlier file")
            # They stay, so that a `learn` that goes on is refused; files of version 0.1 do not say which bank it was.
            trained_on = trained_on or "a bank of more drawings"
            self.queue, self._frames = queue.to(self._device), []
        else:
            self._take(queue.to(self._device))
        return trained_on

    def _take(self, queue: Tensor) -> None:
        self.queue = queue
        self._frames = [] if self._every is not None else self._lengths[queue].tolist()


def training_fingerprint(core: Core) -> str:
    """What an agent trains on, in words that differ where the drawings, the photos, the head or the reward do."""
    bank = core.bank
    names = [bank.sketch_ids, bank.photo_ids, dict(bank.provenance)]
    sums = zlib.crc32(json.dumps(names, sort_keys=True, default=str).encode())
    for tensor in (bank.lengths, bank.targets, bank.gallery, bank.weight, bank.bias):
        sums = zlib.crc32(tensor.cpu().contiguous().numpy().data, sums)
    size = f"{len(bank)} drawings, {len(bank.photo_ids)} photos"
    task = "" if core.bandit else f" in {core.task} {core.own_settings}"
    return f"bank {sums:08x} ({bank.split}, {size}) with reward {core.reward.name} ({_reward_checksum(core):08x}){task}"


def _reward_checksum(core: Core) -> int:
    """Checksum of what the reward pays: two of one name may differ in their weights."""
    reward = core.reward
    paid = [reward.sample(core.n_photos, core.device)]
    if reward.trajectory is not None:
        tau = torch.linspace(0, 1, 5, dtype=torch.float64, device=core.device)
        paid.append(reward.trajectory_reward(*torch.meshgrid(tau, tau, indexing="ij")))
    sums = int(reward.tau_normalized)
    for tensor in paid:
        sums = zlib.crc32(tensor.cpu().contiguous().numpy().data, sums)
    return sums
