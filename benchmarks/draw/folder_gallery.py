"""A gallery out of any folder of photos; embeddings are kept by the content of the files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.errors import CheckpointError, ConfigError, DataError, ResourceError, SketchlessError
from sketchless.datasets.files import sha256
from sketchless.datasets.photos import read_photo
from sketchless.datasets.readers.folders import PICTURES
from sketchless.encoders.gallery import Gallery
from sketchless.encoders.networks.encoder import Encoder
from sketchless.encoders.tensorfile import load_tensors, save_tensors

MAX_PHOTOS = 50_000
UNREAD = (".webp", ".avif", ".heic", ".heif", ".tif", ".tiff", ".jfif", ".jp2")  # pictures, but none that is read
BATCH = 8  # photos in memory at a time: of a telephone each takes 36 MB
SAVE_EVERY = 64  # batches


@dataclass(frozen=True, eq=False)
class FolderGallery:
    """The readable photos of a folder.

    Attributes:
        gallery: their embeddings; ids are paths below the folder.
        bad: what was left out, by path, and why.
    """

    root: Path
    gallery: Gallery
    hashes: tuple[str, ...]
    bad: dict[str, str]

    def photo(self, row: int) -> npt.NDArray[np.uint8]:
        """Pixels of a photo. Raises DataError: the file is not what it was when it was embedded."""
        name = self.gallery.photo_ids[row]
        try:
            if (self.root / name).is_file() and sha256(self.root / name) == self.hashes[row]:
                return read_photo(self.root / name)
        except OSError:
            pass
        raise DataError(f"{name}: changed or removed since the start; start again to search what is there now")


def folder_gallery(
    root: Path, encoder: Encoder, mirror: bool = False, on_step: Callable[[float], None] | None = None
) -> FolderGallery:
    """Embed the PNG, JPEG, GIF and BMP files below a folder; what cannot be read is left out and named.

    Args:
        root: the folder; hidden files and links that lead out of it are passed over.
        encoder: trained.
        mirror: flip the photos left to right, as the bank's were.
        on_step: called with the share of the work done, 0..1.

    Raises:
        DataError: no such folder, or fewer than two readable photos. ConfigError: over 50,000 photos.
    """
    names, bad = list_photos(root)
    cache = cache_folder() / f"gallery-{encoder.digest()[:16]}{'-mirrored' * mirror}.safetensors"
    known, fresh = _read_cache(cache), False
    hashes: dict[str, str] = {}
    for start in range(0, len(names), BATCH):
        pixels: dict[str, npt.NDArray[np.uint8]] = {}
        for name in names[start : start + BATCH]:
            try:
                hashes[name] = sha256(root / name)
                if hashes[name] not in known:
                    pixels[name] = read_photo(root / name)
            except (SketchlessError, OSError) as error:
                hashes.pop(name, None)
                bad[name] = str(error).removeprefix(f"{root / name}: ")
        if pixels:
            shim = SketchDataset("photos", {}, {}, pixels.__getitem__, {})
            rows = Gallery.encode(encoder, shim, tuple(pixels), BATCH, mirror).embeddings
            known |= {hashes[name]: row for name, row in zip(pixels, rows, strict=True)}
            fresh = True
        if fresh and start // BATCH % SAVE_EVERY == SAVE_EVERY - 1:
            _write_cache(cache, known)
            fresh = False
        if on_step is not None:
            on_step(min(start + BATCH, len(names)) / len(names))
    if fresh:
        _write_cache(cache, known)
    good = [name for name in names if name in hashes]
    if len(good) < 2:
        first = next((f"; {name}: {why}" for name, why in bad.items()), "")
        raise DataError(
            f"{root}: {len(good)} readable photos, a gallery needs two or more ({len(bad)} left out{first})"
        )
    gallery = Gallery(torch.stack([known[hashes[name]] for name in good]), tuple(good))
    return FolderGallery(root, gallery, tuple(hashes[name] for name in good), bad)


def list_photos(root: Path) -> tuple[list[str], dict[str, str]]:
    """Paths of the photos below a folder, in order; and those that are not to be used, with the reason.

    Raises:
        DataError: no such folder. ConfigError: over 50,000 photos.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder of photos")
    home, names, bad = os.path.realpath(root), list[str](), dict[str, str]()

    def unlisted(error: OSError) -> None:
        bad[os.path.join(os.path.relpath(error.filename, root), "")] = f"cannot be listed ({error.strerror})"

    for folder, below, files in os.walk(root, onerror=unlisted):
        below[:] = sorted(name for name in below if not name.startswith("."))
        linked = [name for name in below if os.path.islink(os.path.join(folder, name))]  # those walk passes over
        for file in [*linked, *sorted(files)]:
            path = Path(folder) / file
            name, kind = path.relative_to(root).as_posix(), path.suffix.lower()
            if file.startswith(".") or (file not in linked and kind not in (*PICTURES, *UNREAD)):
                continue
            if not name.isprintable():
                bad[ascii(name)] = "its name is no printable text; rename it"
            elif not Path(os.path.realpath(path)).is_relative_to(home):
                bad[name] = "a link that leads out of the folder"
            elif kind in UNREAD and path.is_file():
                bad[name] = f"{kind[1:]} is not read; convert it to PNG or JPEG"
            elif file not in linked and not path.is_file():  # a pipe would be waited for without end
                bad[name] = "no file, or a link that leads nowhere"
            elif file not in linked:
                names.append(name)
    if len(names) > MAX_PHOTOS:
        raise ConfigError(f"{root}: {len(names):,} photos; at most {MAX_PHOTOS:,} are searched, give a smaller folder")
    return names, bad


def cache_folder() -> Path:
    """Where embeddings are kept: `sketchless` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(home) / "sketchless"


def _read_cache(path: Path) -> dict[str, Tensor]:
    try:
        tensors, meta = load_tensors(path, "gallery-cache")
        return dict(zip(meta["hashes"], tensors["embeddings"], strict=True))
    except (CheckpointError, KeyError, ValueError):  # none yet, or a damaged one: it is made anew
        return {}


def _write_cache(path: Path, known: dict[str, Tensor]) -> None:
    newest = dict(list(known.items())[-2 * MAX_PHOTOS :])
    with contextlib.suppress(ConfigError, ResourceError):  # no home, no room: the next start takes as long as this one
        meta = {"hashes": list(newest)}
        save_tensors(path, "gallery-cache", {"embeddings": torch.stack(list(newest.values()))}, meta)
