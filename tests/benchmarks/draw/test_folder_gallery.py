"""A gallery of any folder of photos."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from sketchless.benchmarks.draw import folder_gallery as module
from sketchless.benchmarks.draw.folder_gallery import folder_gallery
from sketchless.datasets.errors import DataError
from sketchless.datasets.photos import read_photo
from sketchless.encoders.networks.encoder import Encoder, EncoderConfig
from sketchless.encoders.registry import make_encoder


@pytest.fixture
def encoder() -> Encoder:
    return make_encoder(EncoderConfig(size=32, dim=8)).eval()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "photos"
    generator = np.random.default_rng(0)
    for name in ("a.png", "b.JPG", "chairs/c.png", "<img onerror=x>.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (40, 30, 3), np.uint8)).save(root / name, "PNG")
    return root


def test_what_cannot_be_read_is_named_and_left_out(folder: Path, encoder: Encoder, tmp_path: Path) -> None:
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no photo at all")
    (folder / ".hidden.png").write_bytes(b"")
    Image.new("RGB", (9, 9)).save(tmp_path / "secret.png")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    found = folder_gallery(folder, encoder)
    assert found.gallery.photo_ids == ("<img onerror=x>.png", "a.png", "b.JPG", "chairs/c.png")
    assert set(found.bad) == {"broken.png", "empty.jpg", "link.png"}
    assert "leads out" in found.bad["link.png"]


def test_nothing_is_passed_over_without_a_word(
    folder: Path, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(folder / "pipe.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "photo.webp").write_bytes(b"RIFF")
    (tmp_path / "elsewhere").mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "same").symlink_to(folder / "chairs")  # its photos are searched where they lie
    (folder / "locked").mkdir()
    scan = os.scandir

    def scandir(path: str) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = folder_gallery(folder, encoder)
    assert len(found.gallery) == 4
    assert found.bad == {
        "linked": "a link that leads out of the folder",
        "locked/": "cannot be listed (Permission denied)",
        "loop.png": "no file, or a link that leads nowhere",
        "photo.webp": "webp is not read; convert it to PNG or JPEG",
        "pipe.png": "no file, or a link that leads nowhere",
    }


def test_only_new_content_is_embedded_again(folder: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    first = folder_gallery(folder, encoder)
    read: list[str] = []

    def reading(path: Path) -> npt.NDArray[np.uint8]:
        read.append(path.name)
        return read_photo(path)

    monkeypatch.setattr(module, "read_photo", reading)
    (folder / "a.png").rename(folder / "moved.png")
    Image.new("RGB", (9, 9), "red").save(folder / "new.png")
    again = folder_gallery(folder, encoder)
    assert read == ["new.png"]
    moved = again.gallery.embeddings[again.gallery.photo_ids.index("moved.png")]
    assert torch.equal(moved, first.gallery.embeddings[first.gallery.photo_ids.index("a.png")])


def test_a_damaged_cache_is_made_anew(folder: Path, encoder: Encoder) -> None:
    first = folder_gallery(folder, encoder)
    (file,) = module.cache_folder().glob("gallery-*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(folder_gallery(folder, encoder).gallery.embeddings, first.gallery.embeddings)


def test_without_room_for_a_cache_it_works_all_the_same(
    folder: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert len(folder_gallery(folder, encoder).gallery) == 4


def test_a_photo_that_changes_while_it_is_searched_is_not_shown(folder: Path, encoder: Encoder) -> None:
    found = folder_gallery(folder, encoder)
    row = found.gallery.photo_ids.index("a.png")
    assert found.photo(row).shape == (40, 30, 3)
    Image.new("RGB", (9, 9)).save(folder / "a.png")
    with pytest.raises(DataError, match=r"a\.png: changed or removed"):
        found.photo(row)
    (folder / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png: changed or removed"):
        found.photo(row)


def test_a_folder_needs_two_photos(tmp_path: Path, encoder: Encoder) -> None:
    with pytest.raises(DataError, match="no such folder"):
        folder_gallery(tmp_path / "none", encoder)
    (tmp_path / "bad.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"0 readable photos.*bad\.png"):
        folder_gallery(tmp_path, encoder)
