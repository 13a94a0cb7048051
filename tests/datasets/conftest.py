"""Tiny sets in the layouts in which they are released."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

Build = Callable[..., Path]
CATEGORIES = ("cow", "hot-air_balloon", "tea cup", "zebra")


def photo(path: Path, colour: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (colour % 256, colour // 256, 7)).save(path, comment=str(colour))  # no two are equal


def picture(path: Path, row: int) -> None:
    """Dark ink on white: a line in that row of 64, shorter the second time: no two are equal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(image).line((4, row % 64, 60 - row // 64, row % 64), fill="black")
    image.save(path)


def drawing(path: Path, row: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'<svg viewBox="0 0 128 64"><path d="M10 {row % 64}h{20 + row // 64}m5 1h9"/></svg>')


@pytest.fixture
def build_sketchy(tmp_path: Path) -> Build:
    """`photos` photos a category with two sketches each, as PNG, SVG or both; photos of one name differ in colour."""

    def build(
        photos: int = 5, kinds: Sequence[str] = ("png", "svg"), scaling: str = "tx_000000000000", extended: int = 0
    ) -> Path:
        root = tmp_path / "sketchy"
        for c, category in enumerate(CATEGORIES):
            for i in range(photos):
                name, n = f"n0{c}_{i}", c * 20 + i
                photo(root / "256x256/photo" / scaling / category / f"{name}.jpg", n)
                for k in (1, 2):
                    if "png" in kinds:
                        picture(root / "256x256/sketch" / scaling / category / f"{name}-{k}.png", 2 * n + k)
                    if "svg" in kinds:
                        drawing(root / "sketches" / category / f"{name}-{k}.svg", 2 * n + k)
            for i in range(extended):
                photo(root / "EXTEND_image_sketchy" / category / f"ext_{i}.jpg", 500 + c * 20 + i)
        return root

    return build


@pytest.fixture
def build_tu_berlin(tmp_path: Path) -> Build:
    """`sketches` sketches and `photos` photos a category."""

    def build(sketches: int = 10, photos: int = 5, kinds: Sequence[str] = ("png",)) -> Path:
        root = tmp_path / "tu-berlin"
        for c, category in enumerate(CATEGORIES):
            for i in range(1, sketches + 1):
                n = c * sketches + i
                if "png" in kinds:
                    picture(root / "png" / category / f"{n}.png", n)
                if "svg" in kinds:
                    drawing(root / "svg" / category / f"{n}.svg", n)
            for i in range(photos):
                photo(root / "ImageResized" / category.replace("tea cup", "tea_cup") / f"{i}.jpg", c * 20 + i)
        return root

    return build


def record(key: int, word: str = "cow", **changes: Any) -> dict[str, Any]:
    """A drawing of two strokes, the second of them a dot."""
    drawing = [[[0, 100, 255], [key % 200, 50, 40]], [[128], [60]]]
    whole = {
        "word": word,
        "countrycode": "VE",
        "timestamp": "2017-03-02 23:25:10.07453 UTC",
        "recognized": True,
        "key_id": str(5_000_000_000_000_000 + key),
        "drawing": drawing,
    }
    return {key: value for key, value in (whole | changes).items() if value is not None}


@pytest.fixture
def build_quickdraw(tmp_path: Path) -> Build:
    """`drawings` drawings a category as NDJSON, packed or not, or as PNG; `photos` photos a category."""

    def build(drawings: int = 10, photos: int = 5, kind: str = "ndjson") -> Path:
        root = tmp_path / "quickdraw"
        root.mkdir()
        for c, category in enumerate(CATEGORIES):
            lines = [json.dumps(record(c * 20 + i, category)) for i in range(drawings)]
            content = ("\n".join(lines) + "\n").encode()
            if kind == "ndjson":
                (root / f"{category}.ndjson").write_bytes(content)
            if kind == "ndjson.gz":
                (root / f"{category}.ndjson.gz").write_bytes(gzip.compress(content))
            if kind == "png":
                for i in range(drawings):
                    picture(root / "QuickDraw_sketches_final" / category / f"{c * 20 + i}.png", c * 20 + i)
            for i in range(photos):
                photo(root / "QuickDraw_images_final" / category / f"{i}.jpg", c * 20 + i)
        return root

    return build
