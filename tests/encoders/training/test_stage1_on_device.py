"""Stage 1 and encoding on the stand-in for a GPU: the CPU's numbers, and one wait of the host a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sketchless.datasets import SketchDataset
from sketchless.encoders import Encoder, EncoderConfig, Stage1Config, encode_banks, train_stage1

from ...device_double import Double, device_double, numbers

# 32 sketches: four steps an epoch. In float32, as bfloat16 on a GPU would give other numbers than a CPU.
CONFIG = Stage1Config(epochs=2, batch=8, precision="float32")


def trained(dataset: SketchDataset, device: str, **options: Any) -> tuple[Encoder, list[dict[str, float]]]:
    encoder = Encoder(EncoderConfig(size=32, dim=8)).to(device)
    return encoder, train_stage1(encoder, dataset, CONFIG, **options).history


def assert_same(here: Encoder, there: Encoder) -> None:
    for (name, one), other in zip(here.state_dict().items(), there.state_dict().values(), strict=True):
        np.testing.assert_allclose(numbers(one), numbers(other), rtol=1e-3, atol=1e-4, err_msg=name)


def test_stage_1_learns_what_it_learns_on_the_cpu(polygons: SketchDataset, tmp_path: Path) -> None:
    here, history = trained(polygons, "cpu")
    with device_double():
        there, found = trained(polygons, "cuda", checkpoint=tmp_path / "stage1.safetensors")
        assert all(isinstance(p, Double) for p in there.parameters())
        assert_same(here, there)
        again, resumed = trained(polygons, "cuda", checkpoint=tmp_path / "stage1.safetensors")
        assert resumed == found
        assert_same(there, again)
    for one, other in zip(history, found, strict=True):
        assert other == pytest.approx(one, rel=1e-3, abs=1e-3)


def test_a_step_waits_once(polygons: SketchDataset) -> None:
    with device_double() as waits:
        waits.take()
        found: list[list[str]] = []
        trained(polygons, "cuda", on_step=lambda _: found.append(waits.take()))
    waited = [[line.split()[-1] for line in lines] for lines in found]
    assert waited[1:4] == [["tolist"]] * 3  # of the first epoch; then it is validated


def test_banks_are_those_of_the_cpu(polygons: SketchDataset) -> None:
    here = encode_banks(Encoder(EncoderConfig(size=32, dim=8)), polygons, steps=4, splits=["test"])["test"]
    with device_double():
        encoder = Encoder(EncoderConfig(size=32, dim=8)).to("cuda")
        there = encode_banks(encoder, polygons, steps=4, splits=["test"])["test"]
        for name in ("features", "gallery", "weight", "bias"):
            assert not isinstance(getattr(there, name), Double)  # on the CPU, to be written
            np.testing.assert_allclose(getattr(here, name), getattr(there, name), atol=1e-5)
