"""The ground floor: strokes and photos, reveal schedules, rasteriser. Imports no other room of the house."""

from .archives import unpack
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
from .lazy import Item, LazySketches
from .loading import load_dataset
from .objects import objects
from .photos import read_photo
from .procedural import procedural
from .qmul import qmul
from .quickdraw import quickdraw
from .raster import birth_map, frames
from .sketch import SCHEDULES, Drawing, RasterSketch, Sketch, reveal
from .sketchy import sketchy
from .svg import read_svg
from .tu_berlin import tu_berlin

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
    "unpack",
]
