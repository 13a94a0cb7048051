"""Encoders by name."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from sketchless.datasets.errors import CheckpointError
from sketchless.datasets.plugins import check_trust, find
from sketchless.datasets.schema import conform

from .device import resolve_device
from .networks.backbones import BACKBONES, PRETRAINED
from .networks.dssa import DSSA
from .networks.encoder import Encoder, EncoderConfig
from .networks.manifold import Manifold, ManifoldApart
from .networks.sketch_a_net import SketchANet
from .networks.zse import ZSE
from .tensorfile import fitted, load_tensors
from .zoo import pretrained

ENCODERS: dict[str, type[Encoder]] = {
    "dssa": DSSA,
    "manifold": Manifold,
    "manifold-apart": ManifoldApart,
    "sketch-a-net": SketchANet,
    "zse": ZSE,
}
"""Encoders that are more than a backbone under the usual pooling and head, by name."""


class EncoderFile(BaseModel):
    """What an encoder's file says of it."""

    model_config = ConfigDict(extra="forbid")

    config: EncoderConfig
    rebuild: dict[str, Any]


def make_encoder(config: EncoderConfig, rebuild: dict[str, Any] | None = None) -> Encoder:
    """The encoder of that name: one of `ENCODERS`, else an `Encoder` on the backbone of that name.

    `"module:Class"`, or an entry point of the group `sketchless.backbones`, may also be a subclass of `Encoder`.

    Args:
        config: its `backbone` is the name; what follows the first colon is the encoder's own affair.
        rebuild: of a saved encoder: the same network, without its pretrained weights.

    Raises:
        ConfigError: unknown name, or a network that does not take images of this size.
        CheckpointError: pretrained weights that cannot be loaded.
    """
    return _encoder_class(config.backbone)(config, rebuild)


def _encoder_class(name: str) -> type[Encoder]:
    first = name.partition(":")[0]
    if first in ENCODERS:
        return ENCODERS[first]
    if first in PRETRAINED:
        return Encoder
    part = find("backbone", name, BACKBONES, (*ENCODERS, *(f"{kind}:<file or folder>" for kind in PRETRAINED)))
    return part if isinstance(part, type) and issubclass(part, Encoder) else Encoder


def load_encoder(
    name: str | os.PathLike[str], device: str | torch.device = "auto", trust: Collection[str] = ()
) -> Encoder:
    """Read an encoder written by `Encoder.save`, whichever it is: `load_encoder("small-cnn/procedural")`.

    The file may come from anyone: no network is asked, no code that it names is run, and it takes no more memory than
    its own weights.

    Args:
        name: path of the file or of its folder, a name of `sketchless zoo`, or `owner/name` of a repository on the
            Hugging Face hub. What exists as a path comes first.
        device: where to.
        trust: each `module:attribute` that may be imported where the file names it as its backbone.

    Raises:
        UnsafeFileError: it names code that is not in `trust`.
        CheckpointError: no such file, damaged, or it describes another network than its weights are of.
        ConfigError: unknown name, no such device, or a library that it needs is not installed.
    """
    path = pretrained(name, "encoder").file
    tensors, meta = load_tensors(path, "encoder")
    parts = {name: meta[name] for name in ("config", "rebuild") if name in meta}
    about = conform(EncoderFile, parts, path, error=CheckpointError, cure="train it again")
    backbone = about.config.backbone
    while backbone.startswith(("manifold:", "manifold-apart:")):
        backbone = backbone.partition(":")[2]
    if backbone.partition(":")[0] not in (*ENCODERS, *PRETRAINED):
        check_trust("backbone", backbone, trust, path)
    tensors = {name: weight.float() if weight.dtype == torch.float16 else weight for name, weight in tensors.items()}
    encoder = fitted(lambda: make_encoder(about.config, about.rebuild), tensors, path)
    return encoder.to(resolve_device(device)).eval()
