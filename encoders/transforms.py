"""Banks changed: other galleries, fewer frames, a narrower embedding."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace
from itertools import compress
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sketchless.datasets.checks import as_count
from sketchless.datasets.errors import ConfigError
from sketchless.encoders.bank import EpisodeBank
from sketchless.encoders.gallery import Gallery


def resize_gallery(bank: EpisodeBank, photos: int, seed: int = 0, drop_sketches: bool = False) -> EpisodeBank:
    """The bank with a smaller gallery, chosen at random; for more photos see `with_distractors`.

    For one seed, a smaller gallery is part of every larger one.

    Args:
        bank: with G photos.
        photos: to keep, 2 to G.
        seed: of the choice, 0 or more.
        drop_sketches: False keeps every photo that a sketch depicts; True lets any go, with its sketches.

    Raises:
        ConfigError: a number of photos out of range, or one that would leave no sketch; a negative seed.
    """
    photos, seed = as_count("photos", photos, 0), as_count("seed", seed, 0)
    size, device = len(bank.gallery), bank.gallery.device
    needed = torch.zeros(size, dtype=torch.bool, device=device)
    if not drop_sketches:
        needed[bank.targets] = True
    fewest = int(needed.sum())
    if not max(fewest, 2) <= photos <= size:
        hint = "" if drop_sketches else f" (fewer than the {fewest} that sketches depict only with drop_sketches=True)"
        raise ConfigError(f"gallery of {photos} photos, seed={seed}: want 2 to {size} photos{hint}")
    others = (~needed).nonzero().flatten()
    order = torch.randperm(len(others), generator=torch.Generator().manual_seed(seed)).to(device)
    kept = needed.index_fill(0, others[order[: photos - fewest]], True)
    row = kept[bank.targets]  # of sketches whose photo is kept
    if not row.any():
        raise ConfigError(f"gallery of {photos} photos, seed={seed}: no sketch depicts one of them; keep more")
    return _changed(
        bank,
        {"resize_gallery": {"photos": photos, "seed": seed, "drop_sketches": drop_sketches}},
        features=bank.features if row.all() else bank.features[row],
        lengths=bank.lengths[row],
        targets=(kept.cumsum(0) - 1)[bank.targets[row]],
        gallery=bank.gallery[kept],
        sketch_ids=tuple(compress(bank.sketch_ids, row.tolist())),
        photo_ids=tuple(compress(bank.photo_ids, kept.tolist())),
    )


def with_distractors(bank: EpisodeBank, photos: EpisodeBank | Gallery) -> EpisodeBank:
    """The bank with further photos, which no sketch of it depicts, at the end of its gallery.

    Args:
        bank: that keeps its sketches.
        photos: those of another bank of the same encoder, or any that this encoder has embedded
            (`Gallery.encode`): that cannot be seen from a `Gallery` and is up to the caller.

    Raises:
        ConfigError: another encoder, another width, or a photo that the bank has already.
    """
    if isinstance(photos, EpisodeBank):
        if not torch.equal(*(torch.cat([one.weight.flatten(), one.bias]).cpu() for one in (bank, photos))):
            raise ConfigError("banks of different encoders: their photos cannot stand in one gallery")
        photos = photos.photos()
    if photos.embeddings.shape[1] != bank.gallery.shape[1]:
        raise ConfigError(f"photos embedded in {photos.embeddings.shape[1]} dimensions, not {bank.gallery.shape[1]}")
    if twice := set(photos.photo_ids) & set(bank.photo_ids):
        raise ConfigError(f"photo {min(twice)!r} stands in the gallery already ({len(twice)} do): leave those out")
    return _changed(
        bank,
        {"with_distractors": len(photos)},
        gallery=torch.cat([bank.gallery, photos.embeddings.to(bank.gallery)]),
        photo_ids=bank.photo_ids + photos.photo_ids,
    )


def drop_frames(bank: EpisodeBank, share: float, seed: int = 0) -> EpisodeBank:
    """The bank of a display that freezes: where a frame is lost, the frame before is shown again.

    The first frame is never lost, and episodes keep their length. What a sketch loses follows from the seed and its
    id alone; a larger share loses the same frames and more. Pictures of an episode still show the whole drawing.

    Args:
        share: probability that a frame is lost, 0..1.
        seed: 0 or more.

    Raises:
        ConfigError: a share that is no number of 0..1, a negative seed.
    """
    seed = as_count("seed", seed, 0)
    if not (isinstance(share, Real) and 0 <= share <= 1):
        raise ConfigError(f"share={share!r} of frames to drop: want a share of 0 to 1")
    steps = bank.features.shape[1]
    draws = [np.random.default_rng([seed, zlib.crc32(name.encode())]).random(steps) for name in bank.sketch_ids]
    frame = torch.arange(steps)
    lost = (torch.from_numpy(np.stack(draws)) < share) & (frame > 0)
    lost |= frame >= bank.lengths.cpu().unsqueeze(1)  # beyond its length an episode repeats its last frame
    shown = frame.masked_fill(lost, 0).cummax(dim=1).values.to(bank.features.device)  # [N, T]
    return _changed(
        bank,
        {"drop_frames": {"share": share, "seed": seed}},
        features=bank.features.take_along_dim(shown.unsqueeze(2), dim=1),
    )


def thin_frames(bank: EpisodeBank, every: int) -> EpisodeBank:
    """The bank with shorter episodes: every so many-th frame of each, and always its last.

    Args:
        every: 1 to T; T / every frames are left, rounded up.

    Raises:
        ConfigError: a number out of range.
    """
    steps, every = bank.features.shape[1], as_count("every", every, 0)
    if not 1 <= every <= steps:
        raise ConfigError(f"every={every}: want 1 to {steps}, the frames of an episode")
    ends = torch.arange(1, -(-steps // every) + 1, device=bank.features.device) * every
    shown = torch.minimum(ends, bank.lengths.unsqueeze(1)) - 1  # [N, T / every]
    return _changed(
        bank,
        {"thin_frames": every},
        features=bank.features.take_along_dim(shown.unsqueeze(2), dim=1),
        lengths=(bank.lengths + every - 1) // every,
    )


def project(bank: EpisodeBank, directions: Tensor) -> EpisodeBank:
    """The bank in a narrower embedding: head and gallery along some directions, at length 1 again.

    normalise(V (W x + b)) = normalise(V e): sketches and photos are projected alike.

    Args:
        directions: V, float32 [k, d], orthonormal rows, such as `principal_directions`.

    Raises:
        ConfigError: of another width than the bank's embedding.
    """
    if directions.dim() != 2 or directions.shape[1] != bank.gallery.shape[1]:
        raise ConfigError(f"directions {tuple(directions.shape)}: want [k, {bank.gallery.shape[1]}]")
    return _changed(
        bank,
        {"project": len(directions)},
        gallery=normalize(bank.gallery @ directions.T, dim=-1),
        weight=directions @ bank.weight,
        bias=directions @ bank.bias,
    )


def principal_directions(gallery: Tensor, width: int) -> Tensor:
    """float32 [width, d]: along which photos [G, d] have most of their length, not centred, as embeddings are not.

    Raises:
        ConfigError: a width outside 1..min(G, d).
    """
    width = as_count("width", width, 0)
    if not 1 <= width <= min(gallery.shape):
        raise ConfigError(f"width={width}: want 1 to {min(gallery.shape)}, of a gallery {tuple(gallery.shape)}")
    directions: Tensor = torch.linalg.svd(gallery.double(), full_matrices=False).Vh
    return directions[:width].float()


def _changed(bank: EpisodeBank, change: Mapping[str, Any], **fields: Any) -> EpisodeBank:
    """A bank that says what was done to it."""
    changes = [*bank.provenance.get("changes", []), dict(change)]
    return replace(bank, provenance={**bank.provenance, "changes": changes}, **fields)
