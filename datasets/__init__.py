"""The ground floor: strokes and photos, reveal schedules, rasteriser. Imports no other room of the house."""

import sys
from typing import TYPE_CHECKING

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
from .lazy import Item, LazySketches, on_demand
from .procedural.objects import shapes
from .raster import birth_map, frames
from .sketch import SCHEDULES, Drawing, RasterSketch, Sketch, reveal

if TYPE_CHECKING:
    from .formats.svg import read_svg
    from .loading import load_dataset
    from .photos import read_photo
    from .procedural.chairs.dataset import procedural
    from .procedural.objects.dataset import objects
    from .readers.folder import folder
    from .readers.qmul import qmul
    from .readers.quickdraw import quickdraw
    from .readers.sketchy import sketchy
    from .readers.tu_berlin import tu_berlin

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

if not TYPE_CHECKING:  # on demand: an environment reads banks, and needs neither readers nor what draws
    del procedural  # the folder, imported with `shapes`; the name is the function's
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "folder": "readers.folder",
            "load_dataset": "loading",
            "objects": "procedural.objects.dataset",
            "procedural": "procedural.chairs.dataset",
            "qmul": "readers.qmul",
            "quickdraw": "readers.quickdraw",
            "read_photo": "photos",
            "read_svg": "formats.svg",
            "sketchy": "readers.sketchy",
            "tu_berlin": "readers.tu_berlin",
        },
    )
