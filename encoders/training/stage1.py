"""Stage 1: train the Siamese encoder by metric learning, before any reinforcement learning.

On complete sketches this is the paper's baseline B1; on random frames of the drawing it also learns from
partial ones. Every random choice of an epoch follows from (seed, epoch), so that a resumed run repeats an
uninterrupted one, and several processes under `torchrun` make the same choices: each works on its share of
every batch, and the loss is that of the whole batch (less a few pairs, where it does not divide equally).
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sketchless.datasets.dataset import SketchDataset, Split
from sketchless.datasets.errors import CheckpointError, ConfigError, DataError, unknown_name
from sketchless.datasets.lazy import LazySketches

from ..device import tf32
from ..distributed import rank, world
from ..losses import LOSSES
from ..networks.encoder import Encoder
from ..tensorfile import load_tensors, load_weights, save_tensors
from .augment import random_affine, warp
from .frames import Frames
from .precision import average_precision
from .redraw import redraw

PAIRS = ("instance", "category")
PRECISIONS = ("auto", "float32", "tf32", "bfloat16")


@dataclass(frozen=True)
class Stage1Config:
    """Settings of stage-1 training."""

    loss: str = "contrastive"
    """`contrastive` (in-batch softmax), `triplet` (margin 0.3, the paper's) or `triplet-squared`."""
    frames: str = "complete"
    """`complete` sketches only (baseline B1), or `random` frames as well."""
    complete_share: float = 0.3
    """With `random`: share of complete sketches among the training frames."""
    epochs: int = 30
    batch: int = 64
    """Pairs of a sketch and its photo per step, all processes together."""
    pairs: str = "instance"
    """A sketch goes with the photo it depicts (`instance`), or with any photo of its `category`."""
    learning_rate: float = 2e-3
    """Peak of the schedule: linear warm-up over the first tenth, then cosine to 0."""
    weight_decay: float = 1e-2
    freeze: float = 0.0
    """Share of the backbone's blocks, from the input on, that keep their weights."""
    augment: float = 1.0
    """Strength of random rotation, scale and shift; 0 turns them off."""
    flip: bool = True
    """Mirror half of the pairs, sketch and photo alike."""
    removal: float = 0.0
    """Largest share of its strokes that a training sketch loses, late and short ones first; 0 turns it off."""
    deformation: float = 0.0
    """Strength of the smooth bending of training sketches; 0 turns it off, 1 moves corners by 8 px."""
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
        if self.pairs not in PAIRS:
            raise unknown_name("pairs", self.pairs, PAIRS)
        for name in ("epochs", "batch", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}={getattr(self, name)}: must be above 0")
        for name in ("weight_decay", "augment", "deformation", "patience", "seed"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name}={getattr(self, name)}: must be 0 or more")
        for name in ("complete_share", "freeze", "removal"):
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


def check_stage1(encoder: Encoder, dataset: SketchDataset, config: Stage1Config) -> None:
    """Refuse what `train_stage1` would refuse at its start, before anything is written.

    Raises:
        ConfigError: a loss that the encoder does not take.
        DataError: sketches without a photo to pair them with, or fewer than two kinds to tell apart.
    """
    encoder.check_loss(LOSSES[config.loss])
    labels, _ = _labels(dataset, dataset.split("train"), config.pairs)
    _labels(dataset, dataset.split("validation"), config.pairs)
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
        self.labels, self.photo_labels = _labels(dataset, train, config.pairs)
        self.val_labels, self.val_photo_labels = _labels(dataset, validation, config.pairs)
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
        self.sketches, self.reveal = train.sketches, (schedule, steps)
        self.frames = Frames.of(train.sketches, schedule, steps)
        self.photos = PhotoInputs(encoder, dataset, train.photos)
        self.val_frames = Frames.of(validation.sketches, schedule, steps)
        self.val_photos = PhotoInputs(encoder, dataset, validation.photos)
        stages = encoder.stages()
        for i, block in enumerate(stages):
            block.requires_grad_(i >= round(config.freeze * len(stages)))
        self.parameters = [p for p in encoder.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.batches = max(len(self.frames) // config.batch, 1)
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
            if progress.score > progress.best_score or not len(self.val_frames):
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
        rows = rows[: len(rows) // world() * world()]  # equal shares
        config, n = self.config, len(rows)
        mine = torch.arange(n).tensor_split(world())[rank()]
        frames, which = self._frames(rows, mine, generator)
        step = frames.lengths[which] - 1  # the complete sketch
        if config.frames == "random":
            partial = torch.rand(n, dtype=torch.float32, generator=generator) >= config.complete_share
            share = torch.rand(n, dtype=torch.float32, generator=generator)
            step = torch.where(partial[mine], (share[mine] * (step + 1)).long(), step)
        partners = self._partners(rows, generator)
        flipped = torch.rand(n, dtype=torch.float32, generator=generator) < (0.5 if config.flip else 0.0)
        views = random_affine(2 * n, config.augment, generator)
        sketches = self.encoder.sketch_inputs(frames.at(which, step))
        images = torch.cat([sketches, self.photos[partners[mine]]])  # [2B, 3, S, S]
        images = torch.where(flipped[mine].repeat(2).view(-1, 1, 1, 1), images.flip(-1), images)
        if config.augment > 0:
            images = warp(images, views[torch.cat([mine, n + mine])])
        images = images.to(self.device)
        mixed = config.precision == "bfloat16" or (config.precision == "auto" and self.device.type == "cuda")
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            loss: Tensor = self.step(images, self.labels[rows].to(self.device))
        return loss

    def _frames(self, rows: Tensor, mine: Tensor, generator: torch.Generator) -> tuple[Frames, Tensor]:
        """Frames of the sketches `rows[mine]`, redrawn if so configured, and where among them each one is."""
        removal, deformation = self.config.removal, self.config.deformation
        if removal == deformation == 0:
            return self.frames, rows[mine]
        seeds = torch.randint(1 << 62, (len(rows),), generator=generator)
        redrawn = [
            redraw(self.sketches[row], removal, deformation, np.random.default_rng(seed))
            for row, seed in zip(rows[mine].tolist(), seeds[mine].tolist(), strict=True)
        ]
        return Frames.of(redrawn, *self.reveal), torch.arange(len(mine))

    def _partners(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Photos [B] that go with the sketches."""
        if self.config.pairs == "instance":
            return self.labels[rows]
        share = torch.rand(len(rows), dtype=torch.float32, generator=generator)
        members = [(self.photo_labels == label).nonzero()[:, 0] for label in self.labels[rows]]
        return torch.stack([m[int(s * len(m))] for m, s in zip(members, share, strict=True)])

    @torch.inference_mode()
    def _score(self) -> float:
        """Mean average precision on validation: of complete sketches, or of five frames under `random`.

        With pairs of instances one photo is right, and its average precision is 1/rank.
        """
        if not len(self.val_frames):
            return 0.0
        self.encoder.eval()
        batch, n = 128, len(self.val_frames)
        gallery = torch.arange(len(self.val_photo_labels))
        photos = torch.cat(
            [self.encoder.embed_photos(self.val_photos[rows].to(self.device)) for rows in gallery.split(batch)]
        )
        shares = (0.2, 0.4, 0.6, 0.8, 1.0) if self.config.frames == "random" else (1.0,)
        scores = []
        for rows in torch.arange(n).split(batch):
            relevant = (self.val_labels[rows].unsqueeze(1) == self.val_photo_labels).to(self.device)
            for share in shares:
                step = (share * self.val_frames.lengths[rows]).long() - 1
                images = self.encoder.sketch_inputs(self.val_frames.at(rows, step.clamp_min(0)))
                similarity = self.encoder(images.to(self.device)) @ photos.T
                if not torch.isfinite(similarity).all():
                    raise DataError("stage 1: validation images give NaN; lower the learning rate")
                scores.append(average_precision(similarity, relevant))
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


class _Loss(nn.Module):
    """The encoder's loss as a module's `forward`, which is what DDP looks after."""

    def __init__(self, encoder: Encoder, loss: str) -> None:
        super().__init__()
        self.encoder, self.loss = encoder, LOSSES[loss]

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        sketches, photos = images.chunk(2)
        return self.encoder.loss(sketches, photos, labels, self.loss)


class PhotoInputs:
    """Network inputs of photos by row; the first ones, up to `room` bytes, are kept."""

    def __init__(self, encoder: Encoder, dataset: SketchDataset, ids: Sequence[str], room: int = 1 << 31) -> None:
        self.encoder, self.dataset, self.ids = encoder, dataset, ids
        self.room, self.kept = room, dict[int, Tensor]()

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Rows int64 [B], one at least, to [B, 3, S, S]."""
        return torch.stack([self._one(row) for row in rows.tolist()])

    def _one(self, row: int) -> Tensor:
        if row in self.kept:
            return self.kept[row]
        image = self.encoder.photo_inputs([self.dataset.photo(self.ids[row])])[0]
        if self.room >= image.nbytes:
            self.room -= image.nbytes
            self.kept[row] = image
        return image


def _labels(dataset: SketchDataset, split: Split, pairs: str) -> tuple[Tensor, Tensor]:
    """What makes a sketch and a photo a pair, as numbers: int64 [N] and [G]."""
    if pairs == "instance":
        if len(split.targets) and split.targets.min() < 0:
            fault = f"{dataset.name}: no photo is known for some sketches"
            raise DataError(f"{fault}; pair them by category (--pairs category)")
        return torch.from_numpy(split.targets), torch.arange(len(split.photos))
    if len(split.sketches) and not split.sketch_categories:
        raise DataError(f"{dataset.name}: has no categories; pair by instance (--pairs instance)")
    names, numbers = np.unique([*split.sketch_categories, *split.photo_categories], return_inverse=True)
    n = len(split.sketches)
    if lonely := set(numbers[:n].tolist()) - set(numbers[n:].tolist()):
        raise DataError(f"{dataset.name}: no photo of category {str(names[min(lonely)])!r} among those to pair")
    return torch.from_numpy(numbers[:n]), torch.from_numpy(numbers[n:])


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
