"""The ground floor: strokes and photos, reveal schedules, rasteriser. Imports no other room of the house."""

import sys

from .dataset import SPLITS, SketchDataset, Split
from .errors import (
    CheckpointError,
    ConfigError,
    DataError,
    FormatError,
    ResourceError,
    SketchlessError,
    UnsafeFileError,
)
from .formats.svg import read_svg
from .lazy import Item, LazySketches
from .loading import load_dataset
from .photos import read_photo
from .procedural.chairs.dataset import procedural
from .procedural.objects import shapes
from .procedural.objects.dataset import objects
from .raster import birth_map, frames
from .readers.folder import folder
from .readers.qmul import qmul
from .readers.quickdraw import quickdraw
from .readers.sketchy import sketchy
from .readers.tu_berlin import tu_berlin
from .sketch import SCHEDULES, Drawing, RasterSketch, Sketch, reveal

sys.modules[f"{__name__}.shapes"] = shapes  # its path in 0.1

__all__ = [
    "SCHEDULES",
    "SPLITS",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "Drawing",
    "FormatError",
    "Item",
    "LazySketches",
    "RasterSketch",
    "ResourceError",
    "Sketch",
    "SketchDataset",
    "SketchlessError",
    "Split",
    "UnsafeFileError",
    "birth_map",
    "folder",
    "frames",
    "load_dataset",
    "objects",
    "procedural",
    "qmul",
    "quickdraw",
    "read_photo",
    "read_svg",
    "reveal",
    "sketchy",
    "tu_berlin",
]
