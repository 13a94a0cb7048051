"""A data set of polygons that trains in a second, and small encoders and banks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageDraw
from torch.nn.functional import normalize

from sketchless.datasets import Sketch, SketchDataset, Split
from sketchless.encoders import Encoder, EncoderConfig, EpisodeBank

DRAWERS = 2


def corners(photo: str) -> npt.NDArray[np.float64]:
    """Corners [k, 2] of the polygon that a photo shows, k = 4 to 7, on a 256 px canvas."""
    rng = np.random.default_rng(int(photo))
    angle = np.sort(rng.uniform(0, 2 * np.pi, int(photo) % 4 + 4))
    return 128 + rng.uniform(40, 110, (len(angle), 1)) * np.stack([np.cos(angle), np.sin(angle)], 1)


def photo(name: str) -> npt.NDArray[np.uint8]:
    image = Image.new("RGB", (64, 64), (200, 190, 180))
    ImageDraw.Draw(image).polygon([tuple(c / 4) for c in corners(name).tolist() for c in [np.array(c)]], (60, 50, 40))
    return np.asarray(image).copy()


def drawing(name: str, drawer: int) -> Sketch:
    rng = np.random.default_rng([int(name), drawer])
    ring = corners(name) + rng.normal(0, 3, corners(name).shape)
    edges = zip(ring, np.roll(ring, -1, axis=0), strict=True)
    return Sketch.from_strokes([np.linspace(a, b, 6) for a, b in edges], f"{name}_{drawer}")


def split(first: int, photos: int) -> Split:
    names = tuple(str(i) for i in range(first, first + photos))
    sketches = tuple(drawing(name, k) for name in names for k in range(DRAWERS))
    return Split(sketches, np.repeat(np.arange(photos), DRAWERS), names)


@pytest.fixture(scope="session")
def polygons() -> SketchDataset:
    """32 training, 16 validation and 8 test sketches, two of each photo."""
    splits = {"train": split(0, 16), "validation": split(100, 8), "test": split(200, 4)}
    return SketchDataset("polygons", {"name": "polygons", "root": "here"}, splits, photo, {})


@pytest.fixture
def encoder() -> Encoder:
    return Encoder(EncoderConfig(size=32, dim=8))


@pytest.fixture
def bank() -> EpisodeBank:
    """5 sketches, up to 4 frames, 6 features; 3 photos in 2 dimensions."""
    generator = torch.Generator().manual_seed(0)
    return EpisodeBank(
        features=normalize(torch.randn(5, 4, 6, generator=generator), dim=-1),
        lengths=torch.tensor([4, 1, 2, 4, 3]),
        targets=torch.tensor([0, 1, 2, 0, 1]),
        gallery=normalize(torch.randn(3, 2, generator=generator), dim=-1),
        weight=torch.randn(2, 6, generator=generator),
        bias=torch.randn(2, generator=generator),
        sketch_ids=("a", "b", "c", "d", "e"),
        photo_ids=("x", "y", "z"),
        split="test",
        reveal="strokes",
        provenance={"data": {"name": "toy"}},
    )


@pytest.fixture
def noisy_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """`module:function` of a backbone with dropout and batch norm, which train and evaluate differently."""
    (tmp_path / "noisy.py").write_text(
        "from torch import nn\n"
        "from sketchless.encoders import Backbone\n"
        "class Noisy(Backbone):\n"
        "    def __init__(self, channels=8):\n"
        "        super().__init__()\n"
        "        self.channels, self.rebuild = channels, {}\n"
        "        self.net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5))\n"
        "    def forward(self, images):\n"
        "        return self.net(images)\n"
        "def wrong():\n"
        "    return nn.Identity()\n"
        "def lying():\n"
        "    return Noisy(channels=9)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "noisy:Noisy"
