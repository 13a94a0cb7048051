"""Completion: from a partial sketch to a complete one, on small rasters, so that an encoder sees a whole sketch early.

Two-stage baseline TS of Bhunia et al. (CVPR 2020): complete the partial sketch generatively, then retrieve with B1.
How is not given there; here a convolutional encoder-decoder guesses the missing ink, of each frame from it alone.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.errors import CheckpointError, ConfigError, DataError
from sketchless.datasets.schema import conform

from ..networks.encoder import inference
from ..tensorfile import fitted, load_tensors, save_tensors
from .augment import random_affine, warp
from .frames import Frames

SIDE = 64  # pixels of the raster that is completed
INK = 0.3  # share of a pixel of that raster under ink from which it counts as drawn: keeps a line about a pixel wide
GROUPS = 4  # of channels that are normalised together
MIN_PROBABILITY = (
    0.4  # probability below which no pixel is added, chosen on Chair-V2's validation sketches among 0, 0.25 and 0.4
)


@dataclass(frozen=True)
class CompletionConfig:
    """Settings of the completion network and its training."""

    width: int = 8
    """Channels of the first layer; each halving of the raster doubles them, up to eight times as many."""
    epochs: int = 30
    """Passes over the training sketches, one random frame of each a pass."""
    batch: int = 32
    learning_rate: float = 2e-3
    augment: float = 1.0
    """Strength of random rotation, scale and shift."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "epochs", "batch", "learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"completion: {name}={getattr(self, name)}; give a finite number above 0")
        if self.width % GROUPS:
            raise ConfigError(f"completion: width={self.width}; give a multiple of {GROUPS}")


class _File(BaseModel):
    """What a completion network's file says of it."""

    config: CompletionConfig


class Completion(nn.Module):
    """Ink so far [B, 1, 64, 64] in 0..1 to logits of ink in the complete sketch, of the same shape (a small U-Net)."""

    def __init__(self, config: CompletionConfig | None = None) -> None:
        super().__init__()
        self.config = config or CompletionConfig()
        widths = [self.config.width * factor for factor in (1, 2, 4, 8, 8)]
        pairs = list(itertools.pairwise(widths))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.config.seed)
            self.first = _block(1, widths[0])
            self.down = nn.ModuleList(_block(a, b, stride=2) for a, b in pairs)  # 64 -> 32, 16, 8, 4
            self.up = nn.ModuleList(_block(a + b, a) for a, b in reversed(pairs))
            self.last = nn.Conv2d(widths[0], 1, 1)
        self.float()

    def forward(self, ink: Tensor) -> Tensor:
        maps = [self.first(ink)]
        for block in self.down:
            maps.append(block(maps[-1]))
        x = maps.pop()
        for block in self.up:
            x = block(torch.cat([interpolate(x, scale_factor=2.0), maps.pop()], dim=1))
        logits: Tensor = self.last(x)
        return logits

    def complete(self, frames: Tensor) -> Tensor:
        """Binary frames [B, H, W] with the ink that is missing in them as guessed from each alone: bool [B, H, W].

        As many pixels are added as the network expects, the likeliest ones: all above a low threshold would flood a
        sketch of which it only knows the outline.
        """
        ink = frames != 0
        small = shrink(ink)
        with inference(self):
            likely = self(small.to(self.last.weight.device)).sigmoid().cpu()
        likely = likely.masked_fill(small > INK, 0.0).flatten(1)  # [B, 64 * 64]
        # k = round(sum_i p_i), over the pixels without ink
        order = likely.argsort(dim=1, descending=True, stable=True)
        first = torch.arange(likely.shape[1]) < likely.sum(dim=1, keepdim=True).round()
        first &= likely.gather(1, order) >= MIN_PROBABILITY
        added = torch.zeros_like(first).scatter(1, order, first).view(small.shape)
        return ink | (interpolate(added.float(), size=ink.shape[-2:])[:, 0] > 0)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights and settings to one file. Raises ResourceError, ConfigError."""
        save_tensors(path, "completion", self.state_dict(), {"config": asdict(self.config)})

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Completion:
        """Read what `save` wrote. Raises CheckpointError: no such file, damaged, another kind of file."""
        tensors, meta = load_tensors(path, "completion")
        parts = {"config": meta["config"]} if "config" in meta else {}
        config = conform(_File, parts, path, error=CheckpointError, cure="train it again").config
        return fitted(lambda: cls(config), tensors, path).to(device).eval()


def shrink(ink: Tensor) -> Tensor:
    """Binary frames [B, H, W] to the share of ink in each pixel of the small raster: [B, 1, 64, 64] in 0..1."""
    return interpolate(ink.float().unsqueeze(1), size=(SIDE, SIDE), mode="area")


def train_completion(
    dataset: SketchDataset,
    config: CompletionConfig,
    *,
    schedule: str = "points",
    steps: int = 20,
    device: str | torch.device = "cpu",
    on_step: Callable[[float, str], None] | None = None,
) -> Completion:
    """Train a completion network on random frames of the training sketches.

    Args:
        dataset: trains on the sketches of `train`; nothing else is looked at.
        config: settings.
        schedule, steps: reveal schedule of the frames.
        device: where to.
        on_step: called with the share of the work done, 0..1, and how it goes.

    Raises:
        DataError: a loss that is not finite.
    """
    frames = Frames(dataset.split("train").sketches, schedule, steps)
    network = Completion(config).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate)
    batches = math.ceil(len(frames) / config.batch)
    total = batches * config.epochs
    decay = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=total + 1)
    generator = torch.Generator().manual_seed(config.seed)
    for done in range(1, total + 1):
        if done % batches == 1 or batches == 1:
            order = torch.randperm(len(frames), generator=generator).tensor_split(batches)
        rows = order[(done - 1) % batches]
        partial, whole = (image.to(device) for image in _pair(frames, rows, config.augment, generator))
        # -mean( y log p + (1 - y) log(1 - p) ),  y the ink of the complete sketch, p from the partial one
        loss = binary_cross_entropy_with_logits(network(partial), whole)
        if not math.isfinite(loss.item()):
            raise DataError(f"completion: loss {loss.item()} in step {done}; lower the learning rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        decay.step()
        if on_step is not None:
            on_step(done / total, f"loss {loss.item():.3f}")
    network.eval()
    return network


def _pair(frames: Frames, rows: Tensor, augment: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A random frame of each sketch and its complete drawing, both seen alike: [B, 1, 64, 64] in 0..1 and 0 or 1."""
    n, lengths = len(rows), frames.lengths[rows]
    step = (torch.rand(n, dtype=torch.float32, generator=generator) * lengths).long()
    both = torch.cat([shrink(frames.at(rows, step)), shrink(frames.at(rows, lengths - 1))])
    both = torch.where(
        (torch.rand(n, dtype=torch.float32, generator=generator) < 0.5).repeat(2).view(-1, 1, 1, 1), both.flip(-1), both
    )
    if augment > 0:
        both = warp(both, random_affine(n, augment, generator).repeat(2, 1, 1))
    partial, whole = both.chunk(2)
    return partial, (whole > INK).float()


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(GROUPS, outputs), nn.SiLU())
