"""From an encoder and a data set to the episode banks of its splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.errors import ConfigError, DataError
from sketchless.datasets.sketch import MAX_STEPS

from .bank import EpisodeBank
from .gallery import Gallery
from .networks.encoder import Encoder, inference
from .networks.layers import images_at_once
from .training.augment import random_affine, warp
from .training.frames import Frames


def encode_banks(
    encoder: Encoder,
    dataset: SketchDataset,
    *,
    schedule: str = "points",
    steps: int = 20,
    variants: int = 0,
    mirror: bool = False,
    seed: int = 0,
    splits: Sequence[str] = ("train", "validation", "test"),
    redraw: Callable[[Tensor], Tensor] | None = None,
    provenance: dict[str, Any] | None = None,
    on_step: Callable[[float], None] | None = None,
) -> dict[str, EpisodeBank]:
    """Encode every frame of every sketch, and the photos.

    Args:
        encoder: trained, on its device.
        dataset: where sketches and photos come from. Splits without sketches are left out.
        schedule, steps: reveal schedule of the episodes.
        variants: further encodings of each training sketch, each through its own random small change of
            viewpoint, stored as sketches of their own (`<id>~1` ...): a guard against fitting a policy to
            features that stage 1 has learned by heart.
        mirror: flip frames and photos left to right.
        seed: of the changes of viewpoint.
        splits: which to encode.
        redraw: what to make of the frames bool [B, H, W] of a sketch before they are encoded, each from itself
            alone, such as `Completion.complete`.
        provenance: added to what the banks say of their origin.
        on_step: called with the share of the work done, 0..1.

    Raises:
        ConfigError: negative `variants`, unknown split or schedule.
        DataError: sketches of which only the category is known: an episode looks for one photo.
    """
    if variants < 0:
        raise ConfigError(f"variants={variants}: must be 0 or more")
    origin = {
        "data": dict(dataset.spec),
        "encoder": asdict(encoder.config),
        "weights": encoder.digest(),
        "steps": steps,
        "variants": variants,
        "mirror": mirror,
        "seed": seed,
        **(provenance or {}),
    }
    todo = {name: dataset.split(name) for name in splits if dataset.split(name).sketches}
    for name, split in todo.items():
        if split.targets.min() < 0:
            raise DataError(
                f"{dataset.name} ({name}): of some sketches only the category is known, so that they make no episodes; "
                f"the encoder is for retrieval by category"
            )
    rounds = {name: 1 + (variants if name == "train" else 0) for name in todo}
    total, done = sum(len(todo[name].sketches) * rounds[name] for name in todo), 0
    weight, bias = (part.detach().float().cpu().clone() for part in encoder.linear_head())
    banks = {}
    for name, split in todo.items():
        frames = Frames(split.sketches, schedule, steps, room=0)
        generator = torch.Generator().manual_seed(seed)
        # One block, made before: small tensors that stay would lie between the large ones that come and go.
        shape = len(frames) * rounds[name], int(frames.lengths.max()), weight.shape[1]
        features = torch.empty(shape, dtype=torch.float32)
        for round_ in range(rounds[name]):
            for row in range(len(frames)):
                affine = random_affine(1, 1.0, generator) if round_ else None
                features[round_ * len(frames) + row] = _episode(encoder, frames, row, affine, mirror, redraw)
                done += 1
                if on_step is not None:
                    on_step(done / total)
        banks[name] = EpisodeBank(
            features=features,
            lengths=frames.lengths.repeat(rounds[name]),
            targets=torch.from_numpy(split.targets).repeat(rounds[name]),
            gallery=Gallery.encode(encoder, dataset, split.photos, mirror=mirror).embeddings,
            weight=weight,
            bias=bias,
            sketch_ids=tuple(f"{i}~{k}" if k else i for k in range(rounds[name]) for i in split.sketch_ids),
            photo_ids=split.photos,
            split=name,
            reveal=schedule,
            provenance=origin,
        )
    return banks


def _episode(
    encoder: Encoder,
    frames: Frames,
    row: int,
    affine: Tensor | None,
    mirror: bool,
    redraw: Callable[[Tensor], Tensor] | None,
) -> Tensor:
    """Features [T, D] of one sketch, T the longest episode of the split; the last frame repeats."""
    steps = torch.arange(int(frames.lengths.max()))
    length = int(frames.lengths[row])
    ink = frames.at(torch.full((length,), row), steps[:length])
    features = frame_features(encoder, ink if redraw is None else redraw(ink), affine, mirror)
    return features[steps.clamp_max(length - 1)]


def frame_features(encoder: Encoder, ink: Tensor, affine: Tensor | None = None, mirror: bool = False) -> Tensor:
    """Features [n, D] of frames bool [n, H, W] as banks hold them, on the CPU.

    Args:
        encoder: trained, on its device.
        ink: where the frames have ink.
        affine: change of viewpoint [1, 2, 3] of all frames, see `random_affine`.
        mirror: flip the frames left to right.
    """
    features = []
    for part in ink.split(images_at_once(encoder.config.size, MAX_STEPS)):
        images = encoder.sketch_inputs(part)
        if mirror:
            images = images.flip(-1)
        if affine is not None:
            images = warp(images, affine.expand(len(images), -1, -1))
        with inference(encoder):
            features.append(encoder.features(images.to(encoder.device)).float().cpu())
    return torch.cat(features)
