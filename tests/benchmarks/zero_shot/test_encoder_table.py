"""The table of encoders: page and command say the same, and what is measured is the network that is named."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sketchless.benchmarks.cli import main
from sketchless.benchmarks.commands.info import InfoConfig, run
from sketchless.benchmarks.zero_shot import encoder_table
from sketchless.encoders import BACKBONES, ENCODERS, EncoderConfig, make_encoder
from sketchless.encoders.networks.backbones import PRETRAINED

DOCS = Path(__file__).parents[3] / "docs"


def table(text: str) -> list[list[str]]:
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if set("".join(row)) - set("-: ")]


def test_page_and_command_show_the_same_table() -> None:
    """After a change: python -m sketchless.benchmarks.zero_shot.encoder_table"""
    printed = io.StringIO()
    run(InfoConfig(topic="encoders"), Console(file=printed, width=400))
    shown = table(printed.getvalue())
    assert table((DOCS / "encoders.md").read_text(encoding="utf-8")) == shown
    names = {row["encoder"].partition(":")[0] for row in encoder_table.entries().values()}
    assert names == {*BACKBONES, *ENCODERS, *PRETRAINED}
    assert len(shown) == 1 + len(encoder_table.entries())


def test_a_narrow_console_has_names_and_numbers_whole() -> None:
    printed = io.StringIO()
    run(InfoConfig(topic="encoders"), Console(file=printed, width=80))
    lines = [line.rstrip() for line in printed.getvalue().splitlines()]
    kept = [i for i, column in enumerate(encoder_table.COLUMNS) if column not in encoder_table.WORDS]
    rows = [encoder_table.COLUMNS, *encoder_table.cells(encoder_table.entries())]
    assert max(map(len, lines)) <= 80
    for line, row in zip(lines, rows, strict=False):
        assert line.split() == " ".join(row[i] for i in kept).split()


def test_rows_follow_the_registry(tmp_path: Path) -> None:
    row = {"encoder": "small-cnn"}
    (tmp_path / "t.json").write_text(json.dumps({"encoders": {"a": row, "b": {"encoder": "gone"}}}))
    rows = encoder_table.entries(tmp_path / "t.json")
    assert rows["a"] == row
    assert "b" not in rows
    assert rows["inception-v3"] == {"encoder": "inception-v3"}  # registered, unknown to the file
    assert encoder_table.cells(rows)[0] == ("a", *["-"] * 10)


def test_cells_by_hand() -> None:
    row = {
        **{"paper": "p", "input": "i", "loss": "l", "parameters": 2_345_678, "images_per_second": 99.6},
        "chair_v2": {"m@A": 80.106, "m@B": 33.0},
    }
    expected = ("x", "p", "2.35 M", "i", "l", "100", "80.11", "33.00", "-", "-", "-")
    assert encoder_table.cells({"x": row}) == [expected]


def test_measure_fills_in_what_can_be_built(capsys: pytest.CaptureFixture[str]) -> None:
    def row(name: str) -> dict[str, Any]:
        return {"encoder": name, "rebuild": {}, "size": 32, "dim": 8, "parameters": None, "images_per_second": None}

    rows = {"one": row("small-cnn"), "other": row("manifold")}
    encoder_table.measure(rows, rounds=1)
    for entry in rows.values():
        encoder = make_encoder(EncoderConfig(entry["encoder"], size=32, dim=8))
        assert entry["parameters"] == sum(p.numel() for p in encoder.parameters())
        assert entry["images_per_second"] > 0


def test_figure_is_drawn(tmp_path: Path) -> None:
    encoder_table.figure(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_unknown_topic_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "encodrs"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "did you mean 'encoders'" in said
