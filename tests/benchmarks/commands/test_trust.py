"""The option --trust of the commands that read encoder files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sketchless.benchmarks.cli import main
from sketchless.encoders import EncoderConfig, make_encoder


@pytest.mark.parametrize(
    "command",
    [
        ["encode", "--out", "run", "--load"],
        ["explain", "--out", "explanation.png", "--encoder"],
        ["evaluate", "--task", "inter", "--dataset", "procedural"],
    ],
)
def test_code_in_an_encoder_file(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "part_of_mine.py").write_text("from sketchless.encoders.networks.backbones import SmallCNN as net\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    make_encoder(EncoderConfig("part_of_mine:net", 32, 4)).save("encoder")
    monkeypatch.delitem(sys.modules, "part_of_mine")
    assert main([*command, "encoder"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "--trust 'part_of_mine:net'" in said
    assert "part_of_mine" not in sys.modules
    assert not {path.name for path in tmp_path.iterdir()} - {"encoder", "part_of_mine.py", "__pycache__"}
    monkeypatch.setattr("sketchless.encoders.registry.fitted", lambda *_: sys.exit(77))  # it has got so far
    with pytest.raises(SystemExit, match="77"):
        main([*command, "encoder", "--trust", "other:x", "--trust", "part_of_mine:net"])
