"""From pixels to vectors: backbones, stage-1 training, galleries and episode banks."""

from typing import TYPE_CHECKING

from sketchless.datasets.lazy import on_demand

from .bank import EpisodeBank, bank_splits, save_banks
from .device import resolve_device
from .ensemble import ensemble
from .gallery import Gallery
from .losses import LOSSES
from .networks.backbones import BACKBONES, make_backbone
from .networks.encoder import Encoder, EncoderConfig
from .networks.layers import Backbone

if TYPE_CHECKING:
    from .encode import encode_banks
    from .networks.vit import Tokens
    from .networks.zse import ZSE
    from .registry import ENCODERS, load_encoder, make_encoder
    from .training.completion import Completion, CompletionConfig, train_completion
    from .training.config import Stage1Config
    from .training.frames import Frames
    from .training.precision import average_precision, precision
    from .training.stage1 import Progress, train_stage1

__all__ = [
    "BACKBONES",
    "ENCODERS",
    "LOSSES",
    "ZSE",
    "Backbone",
    "Completion",
    "CompletionConfig",
    "Encoder",
    "EncoderConfig",
    "EpisodeBank",
    "Frames",
    "Gallery",
    "Progress",
    "Stage1Config",
    "Tokens",
    "average_precision",
    "bank_splits",
    "encode_banks",
    "ensemble",
    "load_encoder",
    "make_backbone",
    "make_encoder",
    "precision",
    "resolve_device",
    "save_banks",
    "train_completion",
    "train_stage1",
]

if not TYPE_CHECKING:  # on demand: an environment reads banks, and trains no encoder
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "ENCODERS": "registry",
            "ZSE": "networks.zse",
            "Completion": "training.completion",
            "CompletionConfig": "training.completion",
            "Frames": "training.frames",
            "Progress": "training.stage1",
            "Stage1Config": "training.config",
            "Tokens": "networks.vit",
            "average_precision": "training.precision",
            "encode_banks": "encode",
            "load_encoder": "registry",
            "make_encoder": "registry",
            "precision": "training.precision",
            "train_completion": "training.completion",
            "train_stage1": "training.stage1",
        },
    )
