"""From pixels to vectors: backbones, stage-1 training, galleries and episode banks."""

from .backbones import BACKBONES, Backbone, make_backbone
from .bank import EpisodeBank, bank_splits, save_banks
from .completion import Completion, CompletionConfig, train_completion
from .device import resolve_device
from .encode import encode_banks
from .encoder import Encoder, EncoderConfig
from .ensemble import ensemble
from .frames import Frames
from .gallery import Gallery
from .losses import LOSSES
from .precision import average_precision, precision
from .registry import ENCODERS, load_encoder, make_encoder
from .stage1 import Progress, Stage1Config, train_stage1
from .vit import Tokens
from .zse import ZSE

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
