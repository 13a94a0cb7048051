"""Photos from files of unknown origin, as plain RGB arrays."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from .errors import DataError, FormatError, UnsafeFileError

MAX_ASPECT = 1000
MAX_BYTES = 200_000_000
BAND = 1 << 20  # pixels that are converted at a time
# WebP is left out: its decoder claims memory for the whole picture before the size can be checked.
FORMATS = ("PNG", "JPEG", "GIF", "BMP")

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG = b"\x89PNG\r\n\x1a\n"
_METADATA = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_ORIENTATION = 0x0112  # EXIF tag
_filters = threading.Lock()


def read_photo(path: str | os.PathLike[str], max_pixels: int = 50_000_000) -> npt.NDArray[np.uint8]:
    """Read one PNG, JPEG, GIF or BMP as it is meant to be seen.

    Transparency is laid on white, the EXIF orientation is applied, 16-bit grey is scaled to 8 bits, an
    animation gives its first frame; colour profiles are ignored.

    Args:
        path: the file; its content decides the format, not its name.
        max_pixels: largest width x height accepted; checked before anything is decoded.

    Returns:
        uint8 [H, W, 3], RGB, a fresh array.

    Raises:
        DataError: the file cannot be opened.
        FormatError: no picture of these formats, damaged, or a strip (one side over 1000 times the other).
        UnsafeFileError: more than `max_pixels`, or 200 MB.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    if len(content) > MAX_BYTES:
        raise UnsafeFileError(f"{path}: over {MAX_BYTES // 1_000_000} MB; no photo is that large, scale it down")
    try:
        # Pillow warns of large pictures; the check below says it better. The lock keeps threads from
        # restoring each other's filters.
        with _filters, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(_without_metadata(content)), formats=FORMATS)
        width, height = image.size
    except Image.DecompressionBombError as error:
        raise UnsafeFileError(f"{path}: a picture beyond Pillow's own size limit; scale it down") from error
    except Exception as error:  # damaged files raise nearly anything
        raise FormatError(f"{path}: no readable {', '.join(FORMATS)} picture; convert it to PNG") from error
    if width * height > max_pixels:
        raise UnsafeFileError(f"{path}: {width} x {height} pixels; at most {max_pixels:,} are accepted, scale it down")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise FormatError(f"{path}: {width} x {height} pixels is a strip, not a photo; crop it")
    try:
        return _rgb(image)
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise FormatError(f"{path}: damaged picture ({reason}); save it again") from error


def _without_metadata(content: bytes) -> bytes:
    """A PNG without its texts and colour profiles, which Pillow unpacks and refuses beyond 1 MB; others as they are."""
    if not content.startswith(_PNG):
        return content
    kept, place = [content[: len(_PNG)]], len(_PNG)
    while place + 8 <= len(content):
        end = place + 12 + int.from_bytes(content[place : place + 4], "big")
        if content[place + 4 : place + 8] not in _METADATA:
            kept.append(content[place:end])
        place = end
    return b"".join(kept)


def _rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    image.load()
    turn = None
    with contextlib.suppress(Exception):  # a broken EXIF block leaves a good picture
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    if turn is not None:
        image = image.transpose(turn)
    out = np.empty((image.height, image.width, 3), dtype=np.uint8)
    rows = max(BAND // image.width, 1)
    for top in range(0, image.height, rows):  # a band at a time, as some modes take ten times the memory on the way
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        out[top : top + rows] = np.asarray(_plain(band, image.info))
    return out


def _plain(image: Image.Image, info: Mapping[Any, Any]) -> Image.Image:
    """8 bits a channel, no transparency."""
    transparent = info.get("transparency")
    if image.mode.startswith(("I", "F")):
        wide = np.asarray(image).astype(np.int64)
        grey = np.clip((wide + 128) // 257, 0, 255).astype(np.uint8)
        grey[wide == (-1 if transparent is None else transparent)] = 255
        image = Image.fromarray(grey)
    elif "A" in image.getbands() or transparent is not None:
        if transparent is not None:
            image.info["transparency"] = transparent
        picture = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return image.convert("RGB")
