"""Photos from files of unknown origin, as plain RGB arrays."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings

import numpy as np
import numpy.typing as npt
from PIL import Image

from .errors import DataError, FormatError, UnsafeFileError

MAX_ASPECT = 1000
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
        UnsafeFileError: more than `max_pixels`.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    with file:
        try:
            # Pillow warns of large pictures; the check below says it better. The lock keeps threads from
            # restoring each other's filters.
            with _filters, warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                image = Image.open(file, formats=FORMATS)
            width, height = image.size
        except Image.DecompressionBombError as error:
            raise UnsafeFileError(f"{path}: a picture beyond Pillow's own size limit; scale it down") from error
        except Exception as error:  # damaged files raise nearly anything
            raise FormatError(f"{path}: no readable {', '.join(FORMATS)} picture; convert it to PNG") from error
        if width * height > max_pixels:
            raise UnsafeFileError(
                f"{path}: {width} x {height} pixels; at most {max_pixels:,} are accepted, scale it down"
            )
        if max(width, height) > MAX_ASPECT * min(width, height):
            raise FormatError(f"{path}: {width} x {height} pixels is a strip, not a photo; crop it")
        try:
            return _rgb(image)
        except Exception as error:
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise FormatError(f"{path}: damaged picture ({reason}); get the file again") from error


def _rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    image.load()
    turn = None
    with contextlib.suppress(Exception):  # a broken EXIF block leaves a good picture
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    if image.mode.startswith(("I", "F")):
        image = _eight_bit(image)
    elif "A" in image.getbands() or "transparency" in image.info:
        picture = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    if turn is not None:
        image = image.transpose(turn)
    return np.array(image.convert("RGB"))


def _eight_bit(image: Image.Image) -> Image.Image:
    wide = np.asarray(image).astype(np.int64)
    grey = np.clip((wide + 128) // 257, 0, 255).astype(np.uint8)
    grey[wide == image.info.get("transparency", -1)] = 255
    return Image.fromarray(grey)
