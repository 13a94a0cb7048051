"""Stage 1: train the Siamese encoder by metric learning, before any reinforcement learning.

On complete sketches this is the paper's baseline B1; on random frames of the drawing it also learns from
partial ones. Every random choice of an epoch follows from (seed, epoch), so that a resumed run repeats an
uninterrupted one.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sketchless.datasets.dataset import SketchDataset, Split
from sketchless.datasets.errors import CheckpointError, ConfigError, DataError, unknown_name

from .augment import random_affine, warp
from .device import tf32
from .encoder import Encoder, load_weights, photo_images, sketch_images
from .frames import Frames
from .losses import LOSSES
from .tensorfile import load_tensors, save_tensors

PRECISIONS = ("auto", "float32", "tf32", "bfloat16")


@dataclass(frozen=True)
class Stage1Config:
    """Settings of stage-1 training."""

    loss: str = "contrastive"
    """`contrastive` (in-batch softmax) or `triplet` (margin 0.3, the paper's)."""
    frames: str = "complete"
    """`complete` sketches only (baseline B1), or `random` frames as well."""
    complete_share: float = 0.3
    """With `random`: share of complete sketches among the training frames."""
    epochs: int = 30
    batch: int = 64
    """Pairs of a sketch and its photo per step."""
    learning_rate: float = 2e-3
    """Peak of the schedule: linear warm-up over the first tenth, then cosine to 0."""
    weight_decay: float = 1e-2
    freeze: float = 0.0
    """Share of the backbone's blocks, from the input on, that keep their weights."""
    augment: float = 1.0
    """Strength of random rotation, scale and shift; 0 turns them off."""
    flip: bool = True
    """Mirror half of the pairs, sketch and photo alike."""
    patience: int = 0
    """Stop after so many epochs without a better validation score; 0 runs all epochs."""
    precision: str = "auto"
    """`float32`, `tf32` (GPU only), `bfloat16` (mixed), or `auto`: bfloat16 on a GPU, float32 on a CPU."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise unknown_name("precision", self.precision, PRECISIONS)
        if self.loss not in LOSSES:
            raise unknown_name("loss", self.loss, LOSSES)
        if self.frames not in ("complete", "random"):
            raise unknown_name("frames", self.frames, ("complete", "random"))
        for name in ("epochs", "batch", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}={getattr(self, name)}: must be above 0")
        for name in ("weight_decay", "augment", "patience", "seed"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name}={getattr(self, name)}: must be 0 or more")
        for name in ("complete_share", "freeze"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)}: must lie in 0..1")
        if self.batch < 2:
            raise ConfigError("batch=1: a batch needs a second pair as a negative")


@dataclass
class Progress:
    """What one epoch gave."""

    epoch: int
    loss: float
    score: float
    best_epoch: int
    best_score: float
    history: list[dict[str, float]] = field(default_factory=list)


def train_stage1(
    encoder: Encoder,
    dataset: SketchDataset,
    config: Stage1Config,
    *,
    schedule: str = "points",
    steps: int = 20,
    checkpoint: str | os.PathLike[str] | None = None,
    on_step: Callable[[float], None] | None = None,
    on_epoch: Callable[[Progress], None] | None = None,
) -> Progress:
    """Train `encoder` in place and leave it with the weights of its best validation epoch.

    Args:
        encoder: on its device already.
        dataset: trains on its `train` split, is judged on `validation`, never looks at `test`. Without
            validation sketches the last epoch is kept.
        config: settings.
        schedule, steps: reveal schedule behind random frames and their validation.
        checkpoint: file written after every epoch; if it exists, training goes on from there.
        on_step: called with the share of the work done, 0..1.
        on_epoch: called after every epoch.

    Raises:
        DataError: fewer than two training photos, or the loss is no longer finite.
        CheckpointError: the checkpoint is damaged or belongs to other settings or another data set.
    """
    return _Stage1(encoder, dataset, config, schedule, steps).run(checkpoint, on_step, on_epoch)


class _Stage1:
    def __init__(
        self, encoder: Encoder, dataset: SketchDataset, config: Stage1Config, schedule: str, steps: int
    ) -> None:
        train, validation = dataset.split("train"), dataset.split("validation")
        if len(set(train.targets.tolist())) < 2:
            raise DataError(f"{dataset.name}: stage 1 needs sketches of two training photos or more")
        self.encoder, self.config = encoder, config
        self.device = next(encoder.parameters()).device
        size = encoder.config.size
        self.identity = {
            "config": asdict(config),
            "encoder": asdict(encoder.config),
            # not where it lies: the folder may move
            "data": {
                **{k: v for k, v in dataset.spec.items() if k != "root"},
                "sha256": _digest(train, validation),
            },
            "reveal": [schedule, steps],
        }
        self.frames = Frames.of(train.sketches, schedule, steps)
        self.targets = torch.from_numpy(train.targets)
        self.photos = photo_images([dataset.photo(i) for i in train.photos], size)
        self.val_frames = Frames.of(validation.sketches, schedule, steps)
        self.val_targets = torch.from_numpy(validation.targets)
        self.val_photos = photo_images([dataset.photo(i) for i in validation.photos], size)
        stages = encoder.backbone.stages()
        for i, block in enumerate(stages):
            block.requires_grad_(i >= round(config.freeze * len(stages)))
        self.parameters = [p for p in encoder.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.batches = max(len(self.frames) // config.batch, 1)
        self.best = {k: v.clone() for k, v in encoder.state_dict().items()}

    def run(
        self,
        checkpoint: str | os.PathLike[str] | None,
        on_step: Callable[[float], None] | None,
        on_epoch: Callable[[Progress], None] | None,
    ) -> Progress:
        progress = Progress(epoch=0, loss=math.nan, score=-math.inf, best_epoch=0, best_score=-math.inf)
        if checkpoint is not None and Path(checkpoint).exists():
            progress = self._resume(checkpoint)
        while progress.epoch < self.config.epochs and not self._stalled(progress):
            with tf32(self.config.precision == "tf32"):
                progress.loss = self._epoch(progress.epoch, on_step)
                progress.score = self._score()
            progress.epoch += 1
            if progress.score > progress.best_score or not len(self.val_frames):
                progress.best_epoch, progress.best_score = progress.epoch, progress.score
                self.best = {k: v.clone() for k, v in self.encoder.state_dict().items()}
            progress.history.append({"epoch": progress.epoch, "loss": progress.loss, "score": progress.score})
            if checkpoint is not None:
                self._save(checkpoint, progress)
            if on_epoch is not None:
                on_epoch(progress)
        self.encoder.load_state_dict(self.best)
        self.encoder.eval()
        return progress

    def _stalled(self, progress: Progress) -> bool:
        return 0 < self.config.patience <= progress.epoch - progress.best_epoch

    def _epoch(self, epoch: int, on_step: Callable[[float], None] | None) -> float:
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.frames), generator=generator)
        self.encoder.train()
        total, steps = 0.0, self.batches * self.config.epochs
        for i, rows in enumerate(order.tensor_split(self.batches)):
            step = epoch * self.batches + i
            for group in self.optimizer.param_groups:
                group["lr"] = self.config.learning_rate * _schedule(step / steps)
            loss = self._loss(rows, generator)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self.parameters, 5.0)
            if not math.isfinite(loss.item() + norm.item()):
                fault = f"loss {loss.item()} with gradient {norm.item()} in epoch {epoch + 1}"
                raise DataError(f"stage 1: {fault}; lower the learning rate")
            self.optimizer.step()
            total += loss.item()
            if on_step is not None:
                on_step((step + 1) / steps)
        return total / self.batches

    def _loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        config, size, n = self.config, self.encoder.config.size, len(rows)
        step = self.frames.lengths[rows] - 1  # the complete sketch
        if config.frames == "random":
            partial = torch.rand(n, generator=generator) >= config.complete_share
            share = torch.rand(n, generator=generator)
            step = torch.where(partial, (share * (step + 1)).long(), step)
        sketches = sketch_images(self.frames.at(rows, step), size)
        photos = self.photos[self.targets[rows]]
        images = torch.cat([sketches, photos])  # [2B, 3, S, S]
        if config.flip:
            mirrored = (torch.rand(n, generator=generator) < 0.5).repeat(2).view(-1, 1, 1, 1)
            images = torch.where(mirrored, images.flip(-1), images)
        if config.augment > 0:
            images = warp(images, random_affine(2 * n, config.augment, generator))
        images = images.to(self.device)
        mixed = config.precision == "bfloat16" or (config.precision == "auto" and self.device.type == "cuda")
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            embeddings = self.encoder(images).float()
        return LOSSES[config.loss](embeddings[:n], embeddings[n:], self.targets[rows].to(self.device))

    @torch.inference_mode()
    def _score(self) -> float:
        """Mean 1/rank among the validation photos: of complete sketches, or of five frames under `random`."""
        if not len(self.val_frames):
            return 0.0
        self.encoder.eval()
        size, batch, n = self.encoder.config.size, 128, len(self.val_frames)
        photos = torch.cat([self.encoder(p.to(self.device)) for p in self.val_photos.split(batch)])
        shares = (0.2, 0.4, 0.6, 0.8, 1.0) if self.config.frames == "random" else (1.0,)
        scores = []
        for rows in torch.arange(n).split(batch):
            for share in shares:
                step = (share * self.val_frames.lengths[rows]).long() - 1
                images = sketch_images(self.val_frames.at(rows, step.clamp_min(0)), size)
                similarity = self.encoder(images.to(self.device)) @ photos.T
                if not torch.isfinite(similarity).all():
                    raise DataError("stage 1: validation images give NaN; lower the learning rate")
                own = similarity.gather(1, self.val_targets[rows].to(self.device).unsqueeze(1))
                scores.append(1 / (similarity >= own).sum(dim=1))
        return float(torch.cat(scores).mean())

    def _save(self, path: str | os.PathLike[str], progress: Progress) -> None:
        tensors = {f"model/{k}": v for k, v in self.encoder.state_dict().items()}
        tensors |= {f"best/{k}": v for k, v in self.best.items()}
        for i, p in enumerate(self.parameters):
            tensors |= {f"adam/{i}/{k}": v for k, v in self.optimizer.state[p].items()}
        state: dict[str, Any] = asdict(progress)
        save_tensors(path, "stage1", tensors, {"identity": self.identity, "progress": state})

    def _resume(self, path: str | os.PathLike[str]) -> Progress:
        tensors, meta = load_tensors(path, "stage1")
        for part, mine in self.identity.items():
            if meta["identity"].get(part) != mine:
                raise CheckpointError(
                    f"{path}: was made with {part} {meta['identity'].get(part)}, this run has {mine}; "
                    "use another folder or the same settings"
                )
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "adam": {}}
        for name, tensor in tensors.items():
            group, _, rest = name.partition("/")
            groups[group][rest] = tensor
        load_weights(self.encoder, groups["model"], path)
        self.best = groups["best"]
        for i, p in enumerate(self.parameters):
            prefix = f"{i}/"
            state = {k[len(prefix) :]: v for k, v in groups["adam"].items() if k.startswith(prefix)}
            self.optimizer.state[p] = {k: v.to(self.device) for k, v in state.items()}
        return Progress(**meta["progress"])


def _digest(*splits: Split) -> str:
    """SHA-256 of what the splits hold, wherever their files lie."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(repr((split.photos, split.targets.tolist())).encode())
        for sketch in split.sketches:
            digest.update(sketch.id.encode() + sketch.points.tobytes() + sketch.pen_up.tobytes())
    return digest.hexdigest()


def _schedule(share: float) -> float:
    """Learning-rate factor: linear warm-up over the first tenth, then half a cosine."""
    return share / 0.1 + 1e-3 if share < 0.1 else 0.5 * (1 + math.cos(math.pi * (share - 0.1) / 0.9))
