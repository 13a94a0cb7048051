"""Encoders by name."""

from __future__ import annotations

import os
from typing import Any

import torch

from sketchless.datasets.errors import CheckpointError
from sketchless.datasets.plugins import find

from .device import resolve_device
from .networks.backbones import BACKBONES
from .networks.dssa import DSSA
from .networks.encoder import Encoder, EncoderConfig
from .networks.manifold import Manifold
from .networks.sketch_a_net import SketchANet
from .networks.zse import ZSE
from .tensorfile import load_tensors, load_weights

ENCODERS: dict[str, type[Encoder]] = {"dssa": DSSA, "manifold": Manifold, "sketch-a-net": SketchANet, "zse": ZSE}


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
    if first == "hf":
        return Encoder
    part = find("backbone", name, BACKBONES, (*ENCODERS, "hf:<name or folder>"))
    return part if isinstance(part, type) and issubclass(part, Encoder) else Encoder


def load_encoder(path: str | os.PathLike[str], device: str | torch.device = "auto") -> Encoder:
    """Read an encoder written by `Encoder.save`, whichever it is. Raises CheckpointError, ConfigError."""
    tensors, meta = load_tensors(path, "encoder")
    try:
        encoder = make_encoder(EncoderConfig(**meta["config"]), meta["rebuild"])
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: describes an encoder unknown here ({error}); train it again") from error
    load_weights(encoder, tensors, path)
    return encoder.to(resolve_device(device)).eval()
