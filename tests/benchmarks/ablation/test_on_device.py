"""A cell of a grid on the stand-in for a GPU; carried out here, as a worker is a fresh process without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sketchless.benchmarks.ablation.cells import Cell, perform
from sketchless.benchmarks.runs import read_json
from sketchless.datasets.files import sha256
from sketchless.encoders import save_banks

from ...device_double import device_double

SETTINGS: dict[str, Any] = {
    **{"reward": "combined", "mode": "residual", "observation": "feature", "scale": 1.0, "split": "test", "seed": 0},
    **{"steps": 300, "set": {"episodes": 4, "samples": 3, "eval_every": 2}},
}


@pytest.fixture
def bank(make_bank, tmp_path: Path) -> Path:
    banks = {split: make_bank(n=9, steps=6, seed=i) for i, split in enumerate(("train", "validation", "test"))}
    for name in ("validation", "test"):
        for part in ("weight", "bias"):
            object.__setattr__(banks[name], part, getattr(banks["train"], part))
    save_banks(tmp_path / "bank.safetensors", banks)
    return tmp_path / "bank.safetensors"


@pytest.mark.parametrize("agent", ["ppo-a-clip", "frame-triplet", "ppo-ac-clip"])
def test_a_cell_gives_the_numbers_of_the_cpu(bank: Path, tmp_path: Path, agent: str) -> None:
    def result(device: str) -> dict[str, Any]:
        settings = {**SETTINGS, "agent": agent, "bank": str(bank), "bank_sha256": sha256(bank), "device": device}
        cell = Cell(f"{device}/seed-0", "sketchless.benchmarks.ablation.experiment:run", settings)
        assert perform(cell, tmp_path, lambda *_: False).state == "done"
        return read_json(tmp_path / cell.id / "result.json")

    here = result("cpu")
    with device_double():
        there = result("cuda")
    assert there["metrics"] == pytest.approx(here["metrics"], abs=1e-6)
    assert there["baseline"] == pytest.approx(here["baseline"])
    assert [look["val_m_at_b"] for look in there["history"]] == pytest.approx(
        [look["val_m_at_b"] for look in here["history"]], abs=1e-6
    )
