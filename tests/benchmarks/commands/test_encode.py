"""`sketchless encode`: what it refuses, it refuses before it claims its folder; what it prints of validation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sketchless.benchmarks.cli import main
from sketchless.datasets import loading, procedural
from sketchless.encoders import save_banks

FEW = ["--epochs", "1", "--size", "32", "--batch", "8", "--validation", "4"]


@pytest.fixture
def by_category(tmp_path: Path) -> Path:
    """A folder of TU-Berlin, in which only the category of a photo is known."""
    draw = np.random.default_rng(0)
    for category in ("ant", "bee", "cow", "dog"):
        for folder, name in (("png", "{}.png"), ("ImageResized", "{}.jpg")):
            (tmp_path / "set" / folder / category).mkdir(parents=True)
            for number in range(10):
                picture = np.full((64, 64, 3), 255, np.uint8)
                picture[draw.integers(5, 30) :, 10:30] = 0
                Image.fromarray(picture).save(tmp_path / "set" / folder / category / name.format(number))
    return tmp_path / "set"


@pytest.fixture
def chairs(monkeypatch: pytest.MonkeyPatch) -> None:
    def few(seed: int = 0, validation: int = 4):
        return procedural(seed=seed, train=14, test=6, validation=validation, drawers=1)

    monkeypatch.setitem(loading.DATASETS, "procedural", few)


def test_the_corrected_command_takes_the_folder(by_category: Path, tmp_path: Path, capsys) -> None:
    command = ["encode", "--dataset", str(by_category), *FEW, "--out", str(tmp_path / "run")]
    assert main(command) == 2
    assert "pair them by category (--pairs category)" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main([*command, "--pairs", "category"]) == 0
    said = capsys.readouterr().out
    assert "validation mAP 0." in said
    assert "1/rank" not in said


def test_pairs_of_instances_are_judged_by_the_rank(chairs: None, tmp_path: Path, capsys) -> None:
    assert main(["encode", *FEW, "--steps", "2", "--out", str(tmp_path / "run")]) == 0
    assert "validation 1/rank 0." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (["--pairs", "category"], "pair by instance (--pairs instance)"),
        (["--encoder", "dssa", "--size", "129", "--loss", "triplet"], "choose loss triplet-squared"),
        (["--reveal", "pionts"], "did you mean 'points'"),
        (["--steps", "0"], "steps=0"),
        (["--variants", "-1"], "variants=-1: must be 0 or more"),
        (["--join", "none.safetensors"], ": no effect, as --join encodes nothing; leave it out"),
    ],
)
def test_what_is_refused_claims_no_folder(wrong: list[str], match: str, chairs: None, tmp_path: Path, capsys) -> None:
    assert main(["encode", *FEW, *wrong, "--out", str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err
    assert match in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--join", "a", "b", "--mirror"], "--mirror"),
        (["--join", "a", "b", "--frames", "25", "--complete"], "--frames, --complete"),
        (["--join", "a", "b", "--encoder", "dssa"], "--encoder"),
        (["--join", "a", "b", "--load", "c", "--seed", "3"], "--load, --seed"),
        (["--join", "a", "b", "--preset", "paper"], "--preset"),
        (["--load", "a", "--frames", "random", "--learning-rate", "1"], "--frames, --learning-rate"),
        (["--load", "a", "--encoder", "sketch-a-net", "--size", "64"], "--encoder, --size"),
        (["--load", "a", "--preset", "paper"], "--preset"),
    ],
)
def test_options_without_effect_are_refused(
    arguments: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["encode", *arguments]) == 2
    err = capsys.readouterr().err
    assert sorted(err.partition(": no effect, as ")[0].removeprefix("sketchless: ").split(", ")) == sorted(
        named.split(", ")
    )
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--join", "a.safetensors", "b", "--half", "--late", "0", "4", "--device", "cpu"],
        ["--load", "a.safetensors", "--seed", "3", "--split-seed", "0", "--noise", "3", "--mirror", "--complete"],
    ],
)
def test_options_with_an_effect_are_not(arguments: list[str], capsys) -> None:
    assert main(["encode", *arguments]) == 2
    assert "a.safetensors: no such file" in capsys.readouterr().err


def test_photos_that_cannot_be_read_are_told_before_it_trains(tmp_path: Path, capsys) -> None:
    root, draw = tmp_path / "my-set", np.random.default_rng(0)
    for folder in ("photos", "sketches"):
        (root / folder).mkdir(parents=True)
    for i in range(12):
        Image.fromarray(draw.integers(0, 256, (64, 64, 3), np.uint8)).save(root / f"photos/c{i}.png")
        (root / f"sketches/c{i}.svg").write_text(f'<svg viewBox="0 0 256 256"><path d="M{i + 99} 9h99v99"/></svg>')
    info = ["info", "--dataset", str(root)]
    encode = ["encode", "--dataset", str(root), *FEW, "--out", str(tmp_path / "run")]
    assert main(info) == 0
    assert "cannot" not in capsys.readouterr().out
    whole = (root / "photos/c3.png").read_bytes()
    (root / "photos/c3.png").write_bytes(whole[: len(whole) // 2])  # a copy that broke off
    damaged = f"{root}/photos/c3.png: damaged picture (image file is truncated); save it again"
    assert main(encode) == 2
    assert capsys.readouterr().err == f"sketchless: {damaged}\n"
    (root / "photos/c5.png").write_text("x")
    assert main(info) == 0
    report = json.loads(capsys.readouterr().out.partition("\n")[2])
    found = report["photos_that_cannot_be_read"]
    assert found["count"] == 2
    assert damaged in found["first"]
    assert any("c5.png: no readable PNG" in fault for fault in found["first"])
    assert main(encode) == 2
    err = capsys.readouterr().err
    assert "(and 1 more photos cannot be read, see `sketchless info`)" in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_banks_that_do_not_join_claim_no_folder(make_bank, tmp_path: Path, capsys) -> None:
    for name, n in (("one", 9), ("other", 8)):
        save_banks(tmp_path / f"{name}.safetensors", {"test": replace(make_bank(n=n, steps=6), split="test")})
    both = [str(tmp_path / f"{name}.safetensors") for name in ("one", "other")]
    assert main(["encode", "--join", *both, "--out", str(tmp_path / "run")]) == 2
    assert "the banks differ in" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main(["encode", "--join", both[0], both[0], "--out", str(tmp_path / "run")]) == 0
    assert "join" in json.loads((tmp_path / "run" / "manifest.json").read_text())["config"]
