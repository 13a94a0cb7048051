"""What an agent was trained on, as a line of text that can be compared."""

from __future__ import annotations

import json
import zlib

import torch

from sketchless.envs.core import Core


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
