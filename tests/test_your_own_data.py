"""The five steps of docs/your-own-data.md, from an empty folder to a trained agent, run as they stand there.

By default with fewer photos, whose making takes longest.
"""

from __future__ import annotations

import json
import re
import shlex
import textwrap
from pathlib import Path

import pytest

from sketchless.benchmarks.cli import main

PAGE = Path(__file__).parents[1] / "docs/your-own-data.md"
QUICK = {  # what makes a step small
    "info": "",
    "encode": "--epochs 1 --size 32 --device cpu",
    "train": "--passes 0.5 --no-gif --device cpu --logger none",
    "evaluate": "--device cpu",
}


def blocks(language: str) -> list[str]:
    found = re.findall(
        rf"^ *```{language}\n(.*?)^ *```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    return [textwrap.dedent(block) for block in found]


@pytest.mark.parametrize("photos", [20, pytest.param(60, marks=pytest.mark.slow)])
def test_the_five_steps(
    photos: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (program,) = blocks("python")
    assert program.count("60") == 2
    exec(program.replace("60", str(photos)), {})
    commands = [shlex.split(block) for block in blocks("sh")]
    assert [command[1] for command in commands] == list(QUICK)
    for command in commands:
        assert command[0] == "sketchless"
        assert main([*command[1:], *shlex.split(QUICK[command[1]])]) == 0, capsys.readouterr()
    said = capsys.readouterr().out
    assert '"file name"' not in said
    assert f'"key photo": {3 * photos}' in said  # of three drawers
    results = json.loads((tmp_path / "runs/my-agent/results.json").read_text())
    assert results
    assert (tmp_path / "my-set.png").is_file()


def test_the_line_of_the_page_is_a_drawing(tmp_path: Path) -> None:
    from sketchless.datasets.formats.ndjson import parse_own

    (text,) = blocks("json")
    record = parse_own(text.strip().encode(), "1")
    assert (record.photo, record.canvas, len(record.strokes)) == ("chair/a", (256, 256), 2)
