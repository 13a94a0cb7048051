"""The settings that are tried of each method, and what a cell keeps for the choice among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from sketchless.agents import agent_class
from sketchless.benchmarks.ablation.experiment import run
from sketchless.benchmarks.ablation.knobs import KNOBS, SETTINGS, Knob, settings_of, told
from sketchless.benchmarks.ablation.sweep import METHODS, SWEEPS, cells, read_by
from sketchless.benchmarks.cli import main
from sketchless.benchmarks.metrics import Evaluation
from sketchless.benchmarks.reporting.results import read_records
from sketchless.benchmarks.training import by_photo
from sketchless.datasets.files import sha256
from sketchless.encoders import EpisodeBank, save_banks
from sketchless.envs.core import Core

COMMON = {"bank": "b", "bank_sha256": "0", "agent": "vpg", "reward": "combined", "mode": "residual", "steps": 600}
COMMON |= {"observation": "feature", "scale": 1.0, "split": "test", "device": "cpu"}


@pytest.fixture
def bank(make_bank, tmp_path: Path) -> Path:
    banks = {split: make_bank(n=9, steps=6, seed=i) for i, split in enumerate(("train", "validation", "test"))}
    for bank in banks.values():
        object.__setattr__(bank, "weight", banks["train"].weight)
        object.__setattr__(bank, "bias", banks["train"].bias)
    save_banks(tmp_path / "bank.safetensors", banks)
    return tmp_path / "bank.safetensors"


@pytest.mark.parametrize(
    ("scale", "ends", "shares", "values"),
    [
        ("log", (0.01, 1), (0, 0.5, 0.75, 1), [0.01, 0.1, 0.32, 1.0]),
        ("linear", (-3, -1), (0, 0.25, 1), [-3.0, -2.5, -1.0]),
        ("doubled", (4, 64), (0, 0.19, 0.2, 0.5, 0.99, 1), [4, 4, 8, 16, 64, 64]),
        ("width", (16, 256), (0, 0.5), [[16], [64]]),
        ("whole", (5, 45), (0, 0.5, 1), [5, 15, 45]),
    ],
)
def test_a_range_is_filled_by_its_scale(
    scale: str, ends: tuple[float, float], shares: tuple[float, ...], values: list[Any]
) -> None:
    assert [Knob("x", *ends, scale).at(share) for share in shares] == values


@pytest.mark.parametrize("method", KNOBS)
def test_every_method_has_as_many_settings_of_knobs_that_it_reads(method: str, make_bank: Any) -> None:
    settings = settings_of(method)
    assert len(settings) == SETTINGS
    assert settings[0] == {}
    default = agent_class(method)(Core(make_bank(n=2, width=1280))).config
    for knob in KNOBS[method]:
        assert knob.name in read_by(method)
        value = getattr(default, knob.name)
        assert knob.low <= (value[0] if isinstance(value, tuple) else value) <= knob.high
        tried = [setting[knob.name] for setting in settings[1:]]
        if knob.scale in ("log", "linear", "whole"):
            # one value in every eleventh of the range: the middle
            assert sorted(tried) == [knob.at((i + 0.5) / (SETTINGS - 1)) for i in range(SETTINGS - 1)]
        else:
            assert len({str(value) for value in tried}) == int(np.log2(knob.high / knob.low)) + 1
    assert len({told(setting) for setting in settings}) == SETTINGS


def test_the_settings_stay_as_they_are() -> None:
    """Cells of another day must be of the same settings."""
    assert settings_of("vpg")[1] == {"learning_rate": 0.0017, "samples": 4, "init_log_std": -2.9}
    assert settings_of("rank-softmax")[11] == {"learning_rate": 0.00067, "temperature": 0.18}
    assert told(settings_of("trpo")[1]) == (
        "KL 0.14, K 16, log sigma -2.4, damping 0.53, CG steps 7, step 0.00048, critic 128, critic's steps 8"
    )


def test_the_knobs_that_are_asked_for_are_tuned() -> None:
    names = {method: {knob.name for knob in knobs} for method, knobs in KNOBS.items()}
    assert {"target_kl", "init_beta"} <= names["ppo-a-kl"] & names["ppo-ac-kl"]
    assert {"target_kl", "cg_damping", "critic", "critic_updates"} <= names["trpo"]
    assert {"critic", "value_weight"} <= names["ppo-ac-clip"] & names["ppo-ac-kl"]
    assert all({"samples", "init_log_std"} <= of for method, of in names.items() if method != "rank-softmax")


def test_the_grid_has_them_and_measures_on_test() -> None:
    sweep = SWEEPS["knobs"]
    grid = cells("knobs", COMMON, [0, 1, 2], {})
    assert len(grid) == 3 * SETTINGS * len(KNOBS)
    assert {cell.settings["split"] for cell in grid} == {"test"}
    first = {cell.id: cell.settings for cell in grid if "/seed-1" in cell.id}
    assert first["knobs/grpo-0/seed-1"]["set"] == {"b1_penalty": 0.0}
    assert first["knobs/trpo-3/seed-1"]["set"] == settings_of("trpo")[3]
    assert sweep.setting_of["vpg-11"] == "VPG"
    assert set(sweep.setting_of.values()) == {METHODS.arms[method].label.split(",")[0] for method in KNOBS}
    assert sweep.joined(["trpo", "vpg-2"])[1] == [*(f"trpo-{i}" for i in range(SETTINGS)), "vpg-2"]


def test_what_is_kept_by_photo_by_hand() -> None:
    # 1/r: sketches of q 1 and 1/2, 1/4 and 1/4: means .75 and .25; of p 1/3 alone, its second frame is not drawn
    # (5 - r)/4: 1 .75 | .25 .25 and .5
    rank = np.array([[1, 2], [3, 0], [4, 4]])
    found = by_photo(Evaluation(rank, np.array([2, 1, 2]), 5, ("q1", "p1", "q2"), photo_ids=("q", "p", "q")))
    assert found == {"photos": ["p", "q"], "sketches": [1, 2], "m@A": [50.0, 56.25], "m@B": [33.3333, 50.0]}


def test_a_cell_keeps_the_validation_of_the_chosen_policy(bank: Path, tmp_path: Path) -> None:
    settings = {**COMMON, "bank": str(bank), "bank_sha256": sha256(bank), "seed": 0}
    settings["set"] = {"episodes": 4, "samples": 2, "eval_every": 2}
    plain, kept = ({**settings, **more} for more in ({}, {"chosen_on": "validation"}))
    results = []
    for name, one in {"plain": plain, "kept": kept}.items():
        (tmp_path / name).mkdir()
        results.append(run(one, tmp_path / name, lambda *_: False))
    assert "by_photo" not in results[0]
    found = results[1]["by_photo"]
    assert sum(found["sketches"]) == len(EpisodeBank.load(bank, "validation").sketch_ids)
    best = max(row["val_m_at_b"] for row in results[1]["history"])
    assert_allclose(np.average(found["m@B"], weights=found["sketches"]), best, atol=2e-4)
    assert results[0]["metrics"] == results[1]["metrics"]


@pytest.mark.usefixtures("no_figures", "forked_workers")
def test_the_command_runs_all_settings_of_a_method_and_packs_them(bank: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "grid"
    asked = ["ablate", "knobs", "--bank", str(bank), "--seeds", "0", "--passes", "0.2", "--workers", "1"]
    assert main([*asked, "--arms", "rank-softmax", "--out", str(out)]) == 0
    about = json.loads((out / "grid.json").read_text())
    assert about["arms"] == list(about["setting_of"]) == [f"rank-softmax-{i}" for i in range(SETTINGS)]
    before = json.loads((out / "knobs" / "rank-softmax-4" / "seed-0" / "result.json").read_text())["by_photo"]
    assert main(["report", str(out), "--pack"]) == 0
    assert "by_photo" not in (out / "grid.json").read_text()
    assert main(["report", str(out), "--verify"]) == 0
    records = read_records(out, json.loads((out / "grid.json").read_text()))
    assert records["knobs/rank-softmax-4/seed-0"].result["by_photo"] == before
    capsys.readouterr()
    assert main([*asked, "--arms", "trop", "--out", str(out)]) == 2
    assert "did you mean 'trpo'" in capsys.readouterr().err
