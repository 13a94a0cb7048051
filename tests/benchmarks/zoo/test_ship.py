"""What ships comes out of its commands again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sketchless.benchmarks.runs import processor
from sketchless.benchmarks.zoo import ship
from sketchless.encoders.zoo import BANKS, zoo


def test_all_that_ships_has_a_command() -> None:
    made = [name for one in ship.ALL for name in one.take.values()]
    assert sorted(made) == sorted(path.name for path in BANKS.glob("*.safetensors"))
    assert [one.name for one in ship.ALL if one.name is not None] == list(zoo())
    for one in ship.ALL:
        if one.name is not None:
            entry = zoo()[one.name]
            assert entry.made_by == " ".join(["sketchless", *one.command])
            assert entry.file in one.take.values()


def test_a_file_that_differs_is_named(tmp_path: Path) -> None:
    for own, name in ship.ENCODER.take.items():
        (tmp_path / own).write_bytes((BANKS / name).read_bytes())
    assert ship.changed(ship.ENCODER, tmp_path) == []
    (tmp_path / "bank.safetensors").write_bytes(b"other")
    assert ship.changed(ship.ENCODER, tmp_path) == ["procedural.safetensors"]


@pytest.mark.slow
def test_the_encoder_and_its_bank_come_out_again(tmp_path: Path) -> None:
    made = zoo()["small-cnn/procedural"].model_dump()
    here = {"torch": torch.__version__, "processor": processor()}
    there = {"torch": made["versions"]["torch"], "processor": made["processor"]}
    if here != there:
        pytest.skip(f"made with {there}, here is {here}")
    ship.make(ship.ENCODER, tmp_path / "run")
    assert ship.changed(ship.ENCODER, tmp_path / "run") == []
