"""TU-Berlin (Eitz et al., SIGGRAPH 2012): 20,000 sketches in 250 categories; extended by photos of the same ones."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path

from ..dataset import SketchDataset
from ..errors import DataError, unknown_name
from ..files import user_path
from .filelists import Drawn, Photo
from .folders import PICTURES, categories, first_folder
from .holdout import Holdout
from .multicategory import assemble, read_file

SITE = "https://cybertron.cg.tu-berlin.de/eitz/projects/classifysketch"
_FOLDERS = {"svg": ("svg", "sketches_svg/svg"), "png": ("png", "png_ready", "sketches_png/png")}
_PHOTOS = ("ImageResized", "ImageResized_ready")


def tu_berlin(
    root: str | os.PathLike[str],
    seed: int = 0,
    validation: int | None = None,
    validation_categories: int = 0,
    unseen: Sequence[str] | str | None = None,
    filelists: str | None = None,
    sketches: str | None = None,
    invert: bool = False,
) -> SketchDataset:
    """Read TU-Berlin. Sketches and photos are paired by category alone, so all targets are -1.

    Sketches stay in their files until asked for. Without `unseen` or `filelists` a tenth of the photos, and of the
    sketches of their categories, make the test split. Without photos (the release has none) splits have no gallery.

    Args:
        root: folder with `png/<category>/<n>.png` or `svg/<category>/<n>.svg`, and `ImageResized/<category>/*.jpg`
            for extended TU-Berlin.
        seed, validation, validation_categories, unseen, filelists: how to split, see `Holdout`.
        sketches: `"svg"` (strokes) or `"png"` (pictures); by default SVG where it lies there, but PNG with
            `filelists`, which name that.
        invert: pictures are light on dark.

    Raises:
        DataError: no sketches where they should lie.
        UnsafeFileError: a link or a path that leads out of the folder.
        ConfigError: impossible options.
    """
    home, how = user_path(root), Holdout(seed, validation, validation_categories, unseen, filelists)
    if sketches not in (None, *_FOLDERS):
        raise unknown_name("kind of sketches", sketches, _FOLDERS)
    either = ["svg", "png"] if filelists is None else ["png", "svg"]
    kinds = [sketches] if sketches else either
    found = [(kind, folder) for kind in kinds if (folder := first_folder(home, *_FOLDERS[kind]))]
    if not found:
        places = " and ".join(f"{kind}/<category>/" for kind in kinds)
        raise DataError(f"{home}: lacks {places}; get the sketches from {SITE}")
    kind, folder = found[0]
    files = categories(home, folder, (f".{kind}",))
    drawn = [Drawn(item, category) for category, members in files.items() for item in members]
    gallery = first_folder(home, *_PHOTOS)
    shown = categories(home, gallery, PICTURES) if gallery else {}
    photos = [Photo(item.id, category) for category, members in shown.items() for item in members]
    spec = {"name": "tu-berlin", "root": str(home), "sketches": kind, "invert": bool(invert)}
    return assemble(
        spec, drawn, photos, functools.partial(read_file, home, False, bool(invert)), how, {"sketches": kind}
    )


def is_tu_berlin(folder: Path) -> bool:
    """Whether a folder holds TU-Berlin."""
    return any(first_folder(folder, *paths) for paths in _FOLDERS.values())
