"""Photos in every mode and state of damage."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from sketchless.datasets import photos
from sketchless.datasets.errors import DataError, FormatError, SketchlessError, UnsafeFileError
from sketchless.datasets.photos import read_photo

Write = Callable[..., Path]
RED, GREEN, WHITE = [255, 0, 0], [0, 255, 0], [255, 255, 255]
NOISE = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: bytes | Image.Image, form: str = "PNG", **options: Any) -> Path:
        path = tmp_path / "chair_1.png"
        path.write_bytes(content if isinstance(content, bytes) else encoded(content, form, **options))
        return path

    return write


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("form", ["PNG", "BMP"])
def test_plain_rgb(form: str, write: Write) -> None:
    photo = read_photo(write(Image.fromarray(NOISE), form))
    assert photo.dtype == np.uint8
    assert photo.flags.writeable
    assert photo.flags.c_contiguous
    assert (photo == NOISE).all()


@pytest.mark.parametrize("progressive", [False, True])
def test_74_jpeg(progressive: bool, write: Write) -> None:
    image = Image.new("RGB", (32, 24), (200, 40, 90))
    photo = read_photo(write(image, "JPEG", progressive=progressive))
    assert photo.shape == (24, 32, 3)
    assert np.abs(photo.astype(int) - (200, 40, 90)).max() <= 3


def test_65_cmyk(write: Write) -> None:
    photo = read_photo(write(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert np.abs(photo[0, 0].astype(int) - (255, 0, 0)).max() <= 5


def test_66_palette(write: Write) -> None:
    image = Image.new("P", (4, 2))
    image.putpalette([*RED, *GREEN])
    image.putpixel((1, 0), 1)
    for form in ("GIF", "PNG"):
        assert read_photo(write(image, form))[0, :3].tolist() == [RED, GREEN, RED]


def test_66_transparent_palette(write: Write) -> None:
    image = Image.new("P", (4, 2))
    image.putpalette([*RED, *GREEN])
    image.putpixel((1, 0), 1)
    for form in ("GIF", "PNG"):
        assert read_photo(write(image, form, transparency=1))[0, :3].tolist() == [RED, WHITE, RED]
    several = bytes([255, 127])
    assert read_photo(write(image, "PNG", transparency=several))[0, 1].tolist() == [128, 255, 128]


@pytest.mark.parametrize("form", ["GIF", "PNG"])
def test_67_animation_gives_its_first_frame(form: str, write: Write) -> None:
    first, second = Image.new("RGB", (6, 5), "red"), Image.new("RGB", (6, 5), "lime")
    photo = read_photo(write(first, form, save_all=True, append_images=[second]))
    assert photo.shape == (5, 6, 3)
    assert (photo == RED).all()


def test_68_sixteen_bit_grey_is_scaled(write: Write) -> None:
    wide = np.array([[0, 128, 257, 25_700, 32_768, 65_535]], dtype=np.uint16)
    photo = read_photo(write(Image.fromarray(wide)))
    assert photo[0, :, 0].tolist() == [0, 0, 1, 100, 128, 255]
    assert (photo == photo[..., :1]).all()
    clear = read_photo(write(Image.fromarray(wide), transparency=257))
    assert clear[0, :, 0].tolist() == [0, 0, 255, 100, 128, 255]


@pytest.mark.parametrize(
    ("mode", "colour", "shown"),
    [
        pytest.param("RGBA", (0, 0, 0, 0), WHITE, id="69 transparent"),
        pytest.param("RGBA", (255, 0, 0, 255), RED, id="69 opaque"),
        pytest.param("RGBA", (0, 0, 0, 51), [204] * 3, id="69 a fifth"),
        pytest.param("LA", (0, 0), WHITE, id="72 transparent"),
        pytest.param("LA", (100, 255), [100] * 3, id="72 opaque"),
        pytest.param("L", 77, [77] * 3, id="grey"),
        pytest.param("1", 1, WHITE, id="71 white"),
        pytest.param("1", 0, [0, 0, 0], id="71 black"),
    ],
)
def test_modes(mode: str, colour: Any, shown: list[int], write: Write) -> None:
    photo = read_photo(write(Image.new(mode, (3, 2), colour)))
    assert photo.shape == (2, 3, 3)
    assert (photo == shown).all()


@pytest.mark.parametrize(("mode", "clear"), [("RGB", (255, 0, 0)), ("L", 9), ("1", 0)])
def test_69_a_colour_that_means_transparent(mode: str, clear: Any, write: Write) -> None:
    assert (read_photo(write(Image.new(mode, (3, 2), clear), transparency=clear)) == 255).all()


# Where the picture's top left pixel is stored, for each EXIF orientation.
@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: a.swapaxes(0, 1)[:, ::-1]),
        (7, lambda a: a.swapaxes(0, 1)[::-1, ::-1]),
        (8, lambda a: a.swapaxes(0, 1)[::-1]),
        (9, lambda a: a),
    ],
)
def test_70_exif_orientation(orientation: int, turned: Any, write: Write) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert (read_photo(write(Image.fromarray(NOISE), exif=exif)) == turned(NOISE)).all()
    stored = read_photo(write(Image.fromarray(NOISE), "JPEG"))
    assert (read_photo(write(Image.fromarray(NOISE), "JPEG", exif=exif)) == turned(stored)).all()


def test_70_broken_exif_leaves_a_good_picture(write: Write) -> None:
    path = write(Image.fromarray(NOISE), exif=b"Exif\0\0nonsense that is no TIFF header")
    assert (read_photo(path) == NOISE).all()


def test_73_colour_profile_is_ignored(write: Write) -> None:
    assert (read_photo(write(Image.fromarray(NOISE), icc_profile=b"no profile" * 40)) == NOISE).all()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
def test_58_59_truncated(form: str, share: float, write: Write, refuses: Any) -> None:
    whole = encoded(Image.fromarray(NOISE), form)
    with refuses(FormatError, "chair_1.png: "):
        read_photo(write(whole[: int(len(whole) * share)]))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="60 empty"),
        pytest.param(b"<!doctype html>\n<html><body>404</body></html>", id="61 HTML"),
        pytest.param(b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0/\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0", id="75 WEBP"),
        pytest.param(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40), id="75 HEIC"),
        pytest.param(b"II*\0\x08\0\0\0" + bytes(40), id="75 TIFF"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\nBoundingBox: 0 0 9 9\n", id="75 EPS"),
        pytest.param(b'<svg xmlns="http://www.w3.org/2000/svg"/>', id="75 SVG"),
        pytest.param(png_header(0, 5), id="no width"),
        pytest.param(bytes(1000), id="zeros"),
    ],
)
def test_no_picture(content: bytes, write: Write, refuses: Any) -> None:
    with refuses(FormatError, r"chair_1\.png: "):
        read_photo(write(content))


@pytest.mark.parametrize(
    ("size", "form"),
    [((12_000, 12_000), "62"), ((20_000, 20_000), "63"), ((2**31 - 1,) * 2, "63"), ((7072, 7072), "")],
)
def test_62_63_too_many_pixels(size: tuple[int, int], form: str, write: Write, refuses: Any) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filters = list(warnings.filters)
        with refuses(UnsafeFileError, r"chair_1\.png: .* scale it down"):
            read_photo(write(png_header(*size)))
        assert warnings.filters == filters
    assert limit == Image.MAX_IMAGE_PIXELS


def test_the_limit_can_be_set(write: Write, refuses: Any) -> None:
    path = write(Image.fromarray(NOISE))
    assert read_photo(path, max_pixels=1200).shape == (40, 30, 3)
    with refuses(UnsafeFileError, "30 x 40 pixels; at most 1,199"):
        read_photo(path, max_pixels=1199)


@pytest.mark.parametrize("size", [(1, 1_000_000), (1_000_000, 1), (2, 2001)])
def test_64_strip(size: tuple[int, int], write: Write, refuses: Any) -> None:
    with refuses(FormatError, "is a strip"):
        read_photo(write(png_header(*size)))


def test_thin_but_no_strip(write: Write) -> None:
    assert read_photo(write(Image.new("RGB", (1, 1000)))).shape == (1000, 1, 3)


@pytest.mark.parametrize("name", ["absent.png", "."])
def test_no_such_file(name: str, tmp_path: Path, refuses: Any) -> None:
    with refuses(DataError, "cannot be read"):
        read_photo(tmp_path / name)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP"])
def test_74_damaged_anywhere(form: str, write: Write) -> None:
    whole = encoded(Image.fromarray(NOISE), form)
    random = np.random.default_rng(0)
    messages: list[str] = []
    for place in [*range(min(len(whole), 120)), *random.integers(0, len(whole), 60).tolist()]:
        damaged = whole[:place] + random.bytes(2) + whole[place + 2 :]
        try:
            photo = read_photo(write(damaged), max_pixels=1_000_000)
            assert photo.dtype == np.uint8
            assert photo.ndim == photo.shape[2] == 3
        except SketchlessError as error:
            messages.append(str(error))
    assert messages
    assert not any("\n" in message for message in messages)


def test_threads_leave_the_warning_filters_alone(write: Write) -> None:
    path = write(Image.fromarray(NOISE))
    filters = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        assert all((photo == NOISE).all() for photo in pool.map(read_photo, [path] * 100))
    assert warnings.filters == filters


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files through /proc")
def test_files_are_closed(write: Write) -> None:
    good = write(Image.fromarray(NOISE))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        read_photo(good)
        with pytest.raises(FormatError):
            read_photo(__file__)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("zipped", [False, True])
def test_metadata_of_any_size_is_passed_over(zipped: bool, write: Write) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "x" * 3_000_000, zip=zipped)
    texts.add_itxt("Title", "é" * 2_000_000, zip=True)
    path = write(Image.fromarray(NOISE), pnginfo=texts)
    with pytest.raises(ValueError, match=r"(?i)too large"):
        Image.open(path).load()
    assert np.array_equal(read_photo(path), NOISE)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16", "CMYK"])
def test_a_picture_in_bands_is_the_picture(mode: str, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    if mode == "I;16":
        image = Image.fromarray(NOISE[..., 0].astype(np.uint16) * 250)
    else:
        image = Image.fromarray(NOISE).convert(mode)
    options = {"transparency": 3} if mode == "P" else {}
    path = write(image, "JPEG" if mode == "CMYK" else "PNG", **options)
    whole = read_photo(path)
    monkeypatch.setattr(photos, "BAND", 30 * 7)  # 7 of 40 rows
    assert np.array_equal(read_photo(path), whole)


def test_a_file_without_end(write: Write, monkeypatch: pytest.MonkeyPatch, refuses: Any) -> None:
    monkeypatch.setattr(photos, "MAX_BYTES", 1000)
    with refuses(UnsafeFileError, "no photo is that large"):
        read_photo(write(Image.fromarray(NOISE)))
