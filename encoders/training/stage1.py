"""Stage 1: train the Siamese encoder by metric learning, before any reinforcement learning.

On complete sketches this is the paper's baseline B1; on random frames of the drawing it also learns from
partial ones, and on those at one percentage it is one of the networks of B3. Every random choice of an epoch
follows from (seed, epoch), so that a resumed run repeats an uninterrupted one, and several processes under
`torchrun` make the same choices: each works on its share of every batch, and the loss is that of the whole batch
(less a few pairs, where it does not divide equally).
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
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sketchless.datasets.dataset import SketchDataset, Split
from sketchless.datasets.errors import CheckpointError, DataError, shown
from sketchless.datasets.lazy import LazySketches
from sketchless.datasets.schema import conform

from ..device import tf32
from ..distributed import rank, world
from ..losses import LOSSES
from ..networks.encoder import Encoder
from ..tensorfile import load_tensors, load_weights, save_tensors
from .config import Stage1Config
from .pairs import TrainingPairs, pair_labels
from .validation import Validation

RANDOM = (20, 40, 60, 80, 100)  # percentages of validation sketches where training frames are random


@dataclass
class Progress:
    """What one epoch gave."""

    epoch: int
    loss: float
    score: float
    best_epoch: int
    best_score: float
    history: list[dict[str, float]] = field(default_factory=list)


def check_stage1(encoder: Encoder, dataset: SketchDataset, config: Stage1Config) -> None:
    """Refuse what `train_stage1` would refuse at its start, before anything is written.

    Raises:
        ConfigError: a loss that the encoder does not take.
        DataError: sketches without a photo to pair them with, or fewer than two kinds to tell apart.
    """
    encoder.check_loss(LOSSES[config.loss])
    labels, _ = pair_labels(dataset, dataset.split("train"), config.pairs)
    pair_labels(dataset, dataset.split("validation"), config.pairs)
    if len(set(labels.tolist())) < 2:
        what = "training photos" if config.pairs == "instance" else "categories"
        raise DataError(f"{dataset.name}: stage 1 needs sketches of two {what} or more")


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
        ConfigError, DataError: as `check_stage1`; DataError also where the loss is no longer finite.
        CheckpointError: the checkpoint is damaged or belongs to other settings or another data set.
    """
    return _Stage1(encoder, dataset, config, schedule, steps).run(checkpoint, on_step, on_epoch)


class _Stage1:
    def __init__(
        self, encoder: Encoder, dataset: SketchDataset, config: Stage1Config, schedule: str, steps: int
    ) -> None:
        check_stage1(encoder, dataset, config)
        train, validation = dataset.split("train"), dataset.split("validation")
        self.encoder, self.config = encoder, config
        self.device = encoder.device
        self.pairs = TrainingPairs(encoder, dataset, train, config, schedule, steps)
        percentages = RANDOM if config.frames == "random" else (config.percentage,)
        self.validation = Validation(encoder, dataset, validation, config.pairs, percentages, schedule, steps)
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
        stages = encoder.stages()
        for i, block in enumerate(stages):
            block.requires_grad_(i >= round(config.freeze * len(stages)))
        self.parameters = [p for p in encoder.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.batches = max(len(self.pairs) // config.batch, 1)
        self.best = {k: v.clone() for k, v in encoder.state_dict().items()}
        step = _Loss(encoder, config.loss)
        self.step: nn.Module = DistributedDataParallel(step, static_graph=True) if world() > 1 else step

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
            if progress.score > progress.best_score or not len(self.validation):
                progress.best_epoch, progress.best_score = progress.epoch, progress.score
                self.best = {k: v.clone() for k, v in self.encoder.state_dict().items()}
            progress.history.append({"epoch": progress.epoch, "loss": progress.loss, "score": progress.score})
            if checkpoint is not None and rank() == 0:
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
        order = torch.randperm(len(self.pairs), generator=generator)
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
            found, length = torch.stack([loss.detach().double(), norm.double()]).tolist()  # one wait for the device
            if not math.isfinite(found + length):
                fault = f"loss {found} with gradient {length} in epoch {epoch + 1}"
                raise DataError(f"stage 1: {fault}; lower the learning rate")
            self.optimizer.step()
            total += found
            if on_step is not None:
                on_step((step + 1) / steps)
        return total / self.batches

    def _loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        rows = rows[: len(rows) // world() * world()]  # equal shares
        images, labels = self.pairs.batch(rows, generator).to(self.device), self.pairs.labels[rows].to(self.device)
        precision = self.config.precision
        mixed = precision == "bfloat16" or (precision == "auto" and self.device.type == "cuda")
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            loss: Tensor = self.step(images, labels)
        return loss

    def _score(self) -> float:
        return self.validation.score()

    def _save(self, path: str | os.PathLike[str], progress: Progress) -> None:
        tensors = {f"model/{k}": v for k, v in self.encoder.state_dict().items()}
        tensors |= {f"best/{k}": v for k, v in self.best.items()}
        for i, p in enumerate(self.parameters):
            tensors |= {f"adam/{i}/{k}": v for k, v in self.optimizer.state[p].items()}
        state: dict[str, Any] = asdict(progress)
        save_tensors(path, "stage1", tensors, {"identity": self.identity, "progress": state})

    def _resume(self, path: str | os.PathLike[str]) -> Progress:
        tensors, meta = load_tensors(path, "stage1")
        about = conform(Checkpoint, {k: meta.get(k) for k in Checkpoint.model_fields}, path, error=CheckpointError)
        for part, mine in self.identity.items():
            if about.identity.get(part) != mine:
                raise CheckpointError(
                    f"{path}: was made with {part} {shown(about.identity.get(part))[:300]}, this run has {mine}; "
                    "use another folder or the same settings"
                )
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "adam": {}}
        for name, tensor in tensors.items():
            group, _, rest = name.partition("/")
            groups.setdefault(group, {})[rest] = tensor
        load_weights(self.encoder, groups["model"], path)
        self.best = groups["best"]
        for i, p in enumerate(self.parameters):
            prefix = f"{i}/"
            state = {k[len(prefix) :]: v for k, v in groups["adam"].items() if k.startswith(prefix)}
            self.optimizer.state[p] = {k: v.to(self.device) for k, v in state.items()}
        return about.progress


class Checkpoint(BaseModel):
    """What the file of an interrupted training says of it."""

    identity: dict[str, Any]
    progress: Progress


class _Loss(nn.Module):
    """The encoder's loss as a module's `forward`, which is what DDP looks after."""

    def __init__(self, encoder: Encoder, loss: str) -> None:
        super().__init__()
        self.encoder, self.loss = encoder, LOSSES[loss]

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        sketches, photos = images.chunk(2)
        return self.encoder.loss(sketches, photos, labels, self.loss)


def _digest(*splits: Split) -> str:
    """SHA-256 of what the splits hold, wherever their files lie; of large ones, by names and sizes of the files."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(repr((split.photos, split.targets.tolist())).encode())
        if isinstance(split.sketches, LazySketches):
            digest.update(repr(split.sketches.items).encode())
            continue
        for sketch in split.sketches:
            digest.update(sketch.id.encode() + sketch.content())
    return digest.hexdigest()


def _schedule(share: float) -> float:
    """Learning-rate factor: linear warm-up over the first tenth, then half a cosine."""
    return share / 0.1 + 1e-3 if share < 0.1 else 0.5 * (1 + math.cos(math.pi * (share - 0.1) / 0.9))
