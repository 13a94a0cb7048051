"""Parts of other packages, by entry point and by `module:attribute`."""

from __future__ import annotations

from pathlib import Path

import pytest

from sketchless.agents import VPG, agent_class
from sketchless.benchmarks.cli import main
from sketchless.datasets import ConfigError
from sketchless.encoders import Encoder, EncoderConfig, make_encoder
from sketchless.encoders.networks.backbones import SmallCNN, make_backbone
from sketchless.envs import make_reward


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with a part for each group."""
    (tmp_path / "plugged_in.py").write_text(
        "from sketchless.agents import VPG\nfrom sketchless.encoders.networks.backbones import SmallCNN\n"
        "from sketchless.encoders import Encoder, make_backbone\nfrom torch import nn\n"
        "class Mine(VPG):\n    name = 'mine'\n"
        "def thirds(rank, size):\n    return rank / 3\n"
        "def net():\n    return SmallCNN()\n"
        "class Whole(Encoder):\n    def build(self, rebuild):\n"
        "        self.backbone, self.attention = make_backbone('small-cnn'), nn.Identity()\n"
        "        self.head = nn.Linear(128, self.config.dim)\n"
    )
    about = tmp_path / "plugged_in-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged-in\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[sketchless.agents]\nmine = plugged_in:Mine\nlost = plugged_in:Lost\n"
        "[sketchless.rewards]\nthirds = plugged_in:thirds\n"
        "[sketchless.backbones]\nnet = plugged_in:net\nwhole = plugged_in:Whole\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("prefix", ["", "plugged_in:"])
def test_parts_are_found(prefix: str) -> None:
    assert issubclass(agent_class(f"{prefix}{'Mine' if prefix else 'mine'}"), VPG)
    assert make_reward(f"{prefix}thirds").local(6, 10) == 2
    assert isinstance(make_backbone(f"{prefix}net"), SmallCNN)
    assert type(make_encoder(EncoderConfig(f"{prefix}net", size=32))) is Encoder
    whole = make_encoder(EncoderConfig(f"{prefix}{'Whole' if prefix else 'whole'}", size=32))
    assert type(whole).__name__ == "Whole"


def test_what_is_built_in_comes_first() -> None:
    assert agent_class("vpg") is VPG


def test_faults_are_one_line(refuses) -> None:
    with refuses(ConfigError, "did you mean 'mine'"):
        agent_class("mein")
    with refuses(ConfigError, "cannot be imported"):
        agent_class("lost")
    with refuses(ConfigError, "cannot be imported"):
        agent_class("plugged_in:Lost")


@pytest.mark.parametrize("code", ["def broken(:", "1/0", "raise RuntimeError('no\\nlicence')", "import absent"])
def test_whatever_a_module_raises_is_one_line(code: str, tmp_path: Path, refuses) -> None:
    (tmp_path / "broken_part.py").write_text(code)
    with refuses(ConfigError, r"^agent 'broken_part:Mine' cannot be imported: \w+Error: .* \(--debug shows where\)$"):
        agent_class("broken_part:Mine")


def test_a_part_may_stand_in_a_class(tmp_path: Path) -> None:
    (tmp_path / "nested_part.py").write_text("from sketchless.agents import VPG\nclass Parts:\n    Mine = VPG\n")
    assert agent_class("nested_part:Parts.Mine") is VPG


def test_info_lists_what_is_installed(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["info"]) == 0
    shown = capsys.readouterr().out
    assert "mine (plugged_in:Mine, plugged-in)" in shown
    assert "thirds (plugged_in:thirds, plugged-in)" in shown
    assert main(["info", "agents", "mine"]) == 0
    assert "learning_rate" in capsys.readouterr().out
