"""The command `sketchless zoo`."""

from __future__ import annotations

from pathlib import Path

import pytest

from sketchless.benchmarks.cli import main
from sketchless.encoders.zoo import zoo


def test_the_list_names_all_that_ships(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["zoo"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, entry in zoo().items():
        (line,) = (line for line in lines if f" {name} " in line)
        assert entry.kind in line
        assert entry.sha256[:8] in line
    (grpo,) = (line for line in lines if " grpo/procedural " in line)
    scores = zoo()["grpo/procedural"].scores
    assert scores is not None
    assert scores.agent is not None
    assert scores.change is not None
    low, high = scores.change["m@B"]["interval95"]
    assert f"{scores.agent['m@B']:.2f}" in grpo
    assert f"[{low:+.2f}, {high:+.2f}]" in grpo


def test_a_name_is_shown_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", "grpo/procedural"]) == 0
    assert 'agent = Agent.from_pretrained("grpo/procedural")' in capsys.readouterr().out
    assert main(["zoo", "grpo/procedural", "--out", str(tmp_path / "grpo")]) == 0
    assert "README.md, agent.safetensors, manifest.json" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "grpo" / "agent.safetensors").read_bytes() == zoo()["grpo/procedural"].path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["grop/procedural"], "unknown pretrained agent or encoder 'grop/procedural': did you mean 'grpo/procedural'"),
        (["--out", "x"], "belong to a target"),
        (["--private"], "belong to a target"),
        (["grpo/procedural", "--private"], "--private belongs to --push"),
        (["grpo/procedural", "--seed", "1"], "leave it out"),
        (["grpo/procedural", "--push", "nowhere"], "is no repository; give owner/name"),
    ],
)
def test_wrong_use_is_one_line(arguments: list[str], fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert fault in line
