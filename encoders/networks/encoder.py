"""The Siamese encoder of stage 1: backbone, attention, pooling, linear head."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from sketchless.datasets.checks import as_count
from sketchless.datasets.errors import ConfigError

from ..device import tf32
from ..distributed import gather
from ..losses import Loss
from ..tensorfile import save_tensors
from .backbones import make_backbone
from .layers import SpatialAttention, photo_images, sketch_images

MAX_SIZE = 1024  # px; the canvas of sketches has 256
MAX_DIM = 1 << 16


@dataclass(frozen=True)
class EncoderConfig:
    """What an encoder is made of."""

    backbone: str = "small-cnn"
    """A name of `ENCODERS`, or of a backbone: `small-cnn`, `hf:<name or folder>`, `efficientnet-lite:<file>`,
    `module:function`; or `module:Class`, a subclass of `Encoder`."""
    size: int = 64
    """Side of the network's input, pixels."""
    dim: int = 64
    """Width d of the embedding."""
    attention: bool = False
    """Weight the feature map by spatial attention before pooling; `dssa` and `zse` have their own."""
    seed: int = 0
    """Initial weights, where they are not pretrained, follow from it."""

    def __post_init__(self) -> None:
        for name, (least, most) in {"size": (8, MAX_SIZE), "dim": (1, MAX_DIM), "seed": (0, (1 << 63) - 1)}.items():
            if not least <= as_count(f"encoder: {name}", getattr(self, name), least) <= most:
                raise ConfigError(f"encoder: {name}={getattr(self, name)}; give {least} to {most}")


class Encoder(nn.Module):
    """Sketches and photos through one network: image -> feature [D] -> embedding [d], both of length 1.

    Other encoders are subclasses: each overrides what it does differently, in a file of its own.
    """

    def __init__(self, config: EncoderConfig, rebuild: dict[str, Any] | None = None) -> None:
        """A new encoder on the CPU; equal configs give equal weights, and the global generator is left alone.

        Raises:
            ConfigError: unknown backbone, or one that does not take images of this size.
            CheckpointError: pretrained weights that cannot be loaded.
        """
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(config.seed)
            self.build(rebuild)
            self.float()  # also where a user's default is float64
            if self.device.type != "meta":
                self._try()

    def build(self, rebuild: dict[str, Any] | None) -> None:
        """Make the layers. A `rebuild` says: of a saved encoder, whose weights the caller loads."""
        self.backbone = make_backbone(self.config.backbone, rebuild)
        self.attention = SpatialAttention(self.backbone.channels) if self.config.attention else nn.Identity()
        self.head = nn.Linear(self.backbone.channels, self.config.dim)

    def _try(self) -> None:
        size = self.config.size
        try:
            with inference(self):
                self(torch.zeros(1, 3, size, size, dtype=torch.float32))
        except (RuntimeError, ValueError, IndexError) as error:
            fault = f"fails on images of {size} px ({' '.join(str(error).split())[:150]})"
            raise ConfigError(f"backbone {self.config.backbone!r} {fault}; choose another size") from error

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def rebuild(self) -> dict[str, Any]:
        """Plain JSON values from which `make_encoder(config, rebuild)` makes the same network, without weights."""
        return self.backbone.rebuild

    def stages(self) -> list[nn.Module]:
        """Pretrained blocks from the input on, for freezing the first ones; empty if there are none."""
        return self.backbone.stages()

    def sketch_inputs(self, frames: Tensor) -> Tensor:
        """Binary frames [B, H, W] as this network wants them: [B, 3, S, S] in 0..1."""
        return sketch_images(frames, self.config.size)

    def photo_inputs(self, photos: list[npt.NDArray[np.uint8]]) -> Tensor:
        """Photos uint8 [H, W, 3] as this network wants them: [G, 3, S, S] in 0..1."""
        return photo_images(photos, self.config.size)

    def maps(self, images: Tensor) -> Tensor:
        """Images [B, 3, S, S] in 0..1 to the attended feature map [B, C, h, w]."""
        images = images.contiguous(memory_format=torch.channels_last)  # the faster layout for convolutions
        maps: Tensor = self.attention(self.backbone(images))
        return maps

    def features(self, images: Tensor) -> Tensor:
        """Images [B, 3, S, S] in 0..1 to unit features [B, D]."""
        return normalize(self.maps(images).mean(dim=(2, 3)), dim=-1)

    def embed(self, features: Tensor) -> Tensor:
        """Features [..., D] of sketches to unit embeddings [..., d]."""
        weight, bias = self.linear_head()
        return normalize(linear(features, weight, bias), dim=-1)

    def linear_head(self) -> tuple[Tensor, Tensor]:
        """Weight [d, D] and bias [d] of the last layer, which is what episode banks freeze and policies start at."""
        return self.head.weight, self.head.bias

    def embed_photos(self, images: Tensor) -> Tensor:
        """Photos [G, 3, S, S] to the unit vectors [G, d] that embeddings of sketches are compared with."""
        out: Tensor = self(images)
        return out

    def forward(self, images: Tensor) -> Tensor:
        return self.embed(self.features(images))

    def loss(self, sketches: Tensor, photos: Tensor, labels: Tensor, metric_loss: Loss) -> Tensor:
        """What stage 1 makes small, over the pairs of a batch (of all processes, where several train).

        Args:
            sketches, photos: network inputs [B, 3, S, S]; photo i matches sketch i.
            labels: int64 [W B] of the whole batch; pairs with equal labels are no negatives of each other.
            metric_loss: of `LOSSES`.
        """
        n = len(sketches)
        embeddings = self(torch.cat([sketches, photos])).float()
        return metric_loss(gather(embeddings[:n]), gather(embeddings[n:]), labels)

    def check_loss(self, metric_loss: Loss) -> None:
        """Raises ConfigError where `loss` does not take this metric loss, before any training."""

    def digest(self) -> str:
        """SHA-256 of the weights, in hex."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def round_to_half(self) -> None:
        """Round matrices and kernels to float16 values; the network stays float32.

        Raises:
            ConfigError: a weight is beyond 65,504, where float16 ends.
        """
        for name, weight in self.named_parameters():
            if weight.dim() > 1:
                rounded = weight.detach().half().float()
                if not rounded.isfinite().all():
                    raise ConfigError(
                        f"encoder: {name} has weights beyond 65,504, where float16 ends, or NaN; leave out --half"
                    )
                weight.data.copy_(rounded)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights and config to one file, for `load_encoder`. Raises ResourceError, ConfigError.

        Matrices and kernels whose values are float16 are stored so.
        """
        meta = {"config": asdict(self.config), "rebuild": self.rebuild}
        save_tensors(path, "encoder", {name: _narrow(weight) for name, weight in self.state_dict().items()}, meta)


def _narrow(weight: Tensor) -> Tensor:
    half = weight.half() if weight.dim() > 1 and weight.dtype == torch.float32 else weight
    return half if torch.equal(half.to(weight.dtype), weight) else weight


@contextlib.contextmanager
def inference(encoder: nn.Module) -> Iterator[None]:
    """Inside: evaluation mode, no gradients, full float32 also on a GPU. Then the mode is as before."""
    training = encoder.training
    encoder.eval()
    try:
        with torch.inference_mode(), tf32(False):
            yield
    finally:
        encoder.train(training)
