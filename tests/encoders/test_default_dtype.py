"""Encoders compute in float32, whatever torch's default is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sketchless.datasets import SketchDataset
from sketchless.encoders import (
    EncoderConfig,
    EpisodeBank,
    Stage1Config,
    encode_banks,
    ensemble,
    load_encoder,
    make_encoder,
    save_banks,
    train_stage1,
)


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("name", "size", "loss"),
    [
        ("small-cnn", 32, "contrastive"),
        ("manifold", 32, "triplet"),
        ("manifold-apart", 32, "triplet"),
        ("zse", 32, "contrastive"),
        ("dssa", 81, "triplet-squared"),
    ],
)
def test_from_training_to_a_bank(name: str, size: int, loss: str, tmp_path: Path, polygons: SketchDataset) -> None:
    encoder = make_encoder(EncoderConfig(name, size, 8))
    train_stage1(encoder, polygons, Stage1Config(epochs=1, batch=8, loss=loss, frames="random"))
    encoder.save(tmp_path / "encoder")
    again = load_encoder(tmp_path / "encoder", "cpu")
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    banks = encode_banks(again, polygons, steps=4, splits=("test",), variants=1)
    save_banks(tmp_path / "bank", {"test": ensemble([banks["test"]] * 2, (0.0, 4.0))})
    assert EpisodeBank.load(tmp_path / "bank").features.dtype == torch.float32
