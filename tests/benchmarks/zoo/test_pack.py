"""Weights as a folder with manifest and card, and on a hub that is a fake."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sketchless.agents import Agent
from sketchless.benchmarks import evaluate, pack, push_to_hub
from sketchless.benchmarks.zoo.describe import bare, described
from sketchless.datasets import CheckpointError, ConfigError
from sketchless.datasets.errors import ResourceError
from sketchless.datasets.files import sha256
from sketchless.encoders import EpisodeBank, load_encoder
from sketchless.encoders.bank import bank_path
from sketchless.encoders.tensorfile import load_tensors
from sketchless.encoders.zoo import zoo

METRICS = {"m@A": 80.0, "m@B": 30.0, "A@1": 40.0, "A@5": 70.0, "A@10": 90.0}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A train run on a bank of somebody's own, of seeds 7 and 3, whose agents are one that ships."""
    folder = tmp_path / "run"
    folder.mkdir()
    for seed in (7, 3):
        shutil.copy(zoo()["grpo/procedural"].path, folder / f"agent-{seed}.safetensors")
    bank = {"name": "chairs.safetensors", "sha256": "ab" * 32, "path": "/home/me/secret/chairs.safetensors"}
    config = {"agent": "grpo", "preset": "default", "mode": None, "observation": "feature", "reward": "combined"}
    config |= {"set": ["samples=8"], "bank": bank}
    change = {metric: {"mean": 1.25, "interval95": [0.5, 2.0]} for metric in METRICS}
    refined = {"7": {**METRICS, "m@B": 31.0}, "3": {**METRICS, "m@B": 31.5}}
    results = {"agent": "grpo", "sketches": 12, "gallery": 4, "baseline": METRICS, "refined": refined}
    results |= {"resampled": "photos", "change": change}
    grid = {"command": "sketchless train --agent grpo --bank chairs.safetensors", "dataset": "my|chairs`"}
    for name, content in (
        ("manifest", {"command": "train", "config": config, "python": "3.11.7", "cpus": 64}),
        ("results", results),
        ("grid", grid),
    ):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_a_run_becomes_weights_a_manifest_and_a_card(run: Path, tmp_path: Path) -> None:
    out = pack(str(run), tmp_path / "out")
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "agent.safetensors", "manifest.json"]
    assert (out / "agent.safetensors").read_bytes() == (run / "agent-7.safetensors").read_bytes()
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["scores"]["agent"]["m@B"] == 31.0
    assert (manifest["seed"], manifest["scores"]["seeds"], manifest["name"]) == (7, 2, "grpo")
    assert manifest["sha256"] == sha256(out / "agent.safetensors")
    assert manifest["config"]["set"] == ["samples=8"]
    everything = (out / "manifest.json").read_text() + (out / "README.md").read_text()
    assert "secret" not in everything
    assert "cpus" not in everything


def test_the_card_says_what_the_manifest_does(run: Path, tmp_path: Path) -> None:
    card = (pack(str(run), tmp_path / "out", place="ann/chairs") / "README.md").read_text()
    assert card.startswith("---\nlicense: mit\n")
    assert "# Agent `grpo`, trained on `my/chairs'`" in card  # no table and no code span can be left
    assert 'agent = Agent.from_pretrained("ann/chairs")' in card
    assert "| B1, the encoder alone | 80.00 | 30.00 | 40.00 | 70.00 | 90.00 |" in card
    assert "| agent | 80.00 | 31.00 | 40.00 | 70.00 | 90.00 |" in card
    assert "| change | +1.25 [+0.50, +2.00] |" in card
    assert "12 test drawings and 4 photos" in card
    assert "mean of the 2 seeds of its run" in card
    assert "sketchless train --agent grpo --bank chairs.safetensors" in card
    assert sha256(run / "agent-7.safetensors") in card


def test_another_seed(run: Path, tmp_path: Path) -> None:
    assert (
        json.loads((pack(str(run), tmp_path / "o", 3) / "manifest.json").read_text())["scores"]["agent"]["m@B"] == 31.5
    )
    with pytest.raises(ConfigError, match="unknown seed of the run"):
        pack(str(run), tmp_path / "p", 4)
    with pytest.raises(ConfigError, match="--seed chooses among the agents of a train run"):
        pack(str(tmp_path / "o"), tmp_path / "p", 3)


def test_what_was_packed_loads_and_is_packed_again(run: Path, tmp_path: Path) -> None:
    first = pack(str(run), tmp_path / "first")
    bank = EpisodeBank.load("procedural", "validation", "cpu")
    assert Agent.from_pretrained(first, bank).name == "grpo"
    with pytest.raises(ConfigError, match=r"trained on the bank 'chairs\.safetensors', which does not ship"):
        Agent.from_pretrained(first)
    again = pack(str(first), tmp_path / "again")
    assert (again / "manifest.json").read_bytes() == (first / "manifest.json").read_bytes()


@pytest.mark.parametrize("name", sorted(zoo()))
def test_what_ships_is_packed_by_name_and_loads_alike(name: str, tmp_path: Path) -> None:
    out, kind = pack(name, tmp_path / "out"), zoo()[name].kind
    if kind == "encoder":
        assert load_encoder(out, "cpu").digest() == load_encoder(name, "cpu").digest()
    else:
        here, there = (Agent.from_pretrained(one) for one in (out, name))  # with its bank, which ships
        assert here.core.bank.sketch_ids == there.core.bank.sketch_ids
        assert torch.equal(here.policy.mean.weight, there.policy.mean.weight)


@pytest.mark.parametrize("name", sorted(zoo()))
def test_the_scores_are_those_of_evaluate(name: str) -> None:
    entry = zoo()[name]
    assert entry.scores is not None
    bank = EpisodeBank.load(entry.config.bank.path if entry.config.bank else "procedural", "test", "cpu")
    b1 = evaluate(None, bank)
    assert (entry.scores.sketches, entry.scores.photos) == (len(b1.rank), b1.gallery)
    assert pytest.approx(b1.summary(), abs=0.05) == entry.scores.B1  # another processor's last digits
    if entry.kind == "agent":
        found = evaluate(Agent.from_pretrained(name, bank), bank).summary()
        assert entry.scores.agent == pytest.approx(found, abs=0.05)
        assert entry.scores.change is not None
        for metric, change in entry.scores.change.items():
            assert change["mean"] == pytest.approx(found[metric] - b1.summary()[metric], abs=0.05)


@pytest.mark.parametrize("name", [name for name, entry in zoo().items() if entry.kind == "agent"])
def test_an_agent_holds_no_feature_of_a_drawing_or_photo(name: str, tmp_path: Path) -> None:
    """A row that points where a feature or an embedding does, at any length, would have cosine 1 with it."""
    tensors, _ = load_tensors(pack(name, tmp_path / "out") / "agent.safetensors", "agent")
    path = Agent.from_pretrained(name).core.bank.provenance and zoo()[name].config.bank
    assert path is not None
    banks = [EpisodeBank.load(path.path, split, "cpu") for split in ("train", "validation", "test")]
    known = {bank.features.shape[-1]: [] for bank in banks} | {bank.gallery.shape[-1]: [] for bank in banks}
    for bank in banks:
        known[bank.features.shape[-1]].append(bank.features.flatten(0, 1))
        known[bank.gallery.shape[-1]].append(bank.gallery)
    seen = 0
    for tensor in tensors.values():
        for rows in (tensor, tensor.mT if tensor.dim() > 1 else tensor):
            if rows.is_floating_point() and rows.dim() and rows.shape[-1] in known:
                unit = torch.nn.functional.normalize(rows.reshape(-1, rows.shape[-1]), dim=-1)
                assert float((unit @ torch.cat(known[rows.shape[-1]]).T).max()) < 0.999
                seen += 1
    assert seen > 3
    assert sum(tensor.nbytes for tensor in tensors.values()) < 200_000


def test_an_encode_run_becomes_an_encoder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(zoo()["small-cnn/procedural"].path, run / "encoder.safetensors")
    config = {"dataset": "/home/me/sketchy?unseen=cow", "load": None, "seed": 0, "validation": 50, "epochs": 3}
    (run / "manifest.json").write_text(json.dumps({"command": "encode", "config": config}))
    test = {"sketches": 5, "photos": 4, "tied": 0.0, **METRICS}
    (run / "results.json").write_text(json.dumps({"baseline": {"test": test}}))
    out = pack(str(run), tmp_path / "out")
    assert load_encoder(out, "cpu").config.dim == 64
    card = (out / "README.md").read_text()
    assert "# Encoder `small-cnn`, trained on `sketchy?unseen=cow`" in card
    assert "| B1, the encoder alone | 80.00 |" in card
    assert "/home" not in card + (out / "manifest.json").read_text()
    shutil.copy(out / "encoder.safetensors", tmp_path / "alone.safetensors")
    assert "Not measured." in (pack(str(tmp_path / "alone.safetensors"), tmp_path / "o") / "README.md").read_text()


@pytest.mark.parametrize("part", ["B1", "agent", "change"])
def test_scores_that_lack_a_metric_are_one_line(run: Path, tmp_path: Path, part: str) -> None:
    file = pack(str(run), tmp_path / "out") / "manifest.json"
    manifest = json.loads(file.read_text())
    del manifest["scores"][part]["A@5"]
    file.write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=f"out: its scores of {part} lack A@5; fetch or train it again$"):
        described(str(file.parent))


def test_weights_that_are_not_those_of_the_manifest_are_refused(run: Path, tmp_path: Path) -> None:
    out = pack(str(run), tmp_path / "out")
    shutil.copy(zoo()["ppo-a-clip/procedural"].path, out / "agent.safetensors")
    with pytest.raises(CheckpointError, match="is not the file that its manifest tells of"):
        pack(str(out), tmp_path / "again")
    (out / "agent.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="damaged or no safetensors file"):
        pack(str(out), tmp_path / "again")
    (out / "manifest.json").write_text('{"kind": "../agent"}')
    with pytest.raises(CheckpointError, match="kind"):
        pack(str(out), tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_what_cannot_be_packed(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is there and not empty; choose another --out"):
        pack("grpo/procedural", run)
    for name in ("grop/procedural", "../x", "a/b c"):
        with pytest.raises(ConfigError, match="unknown pretrained agent or encoder"):
            described(name)
    with pytest.raises(CheckpointError, match="is a sketchless bank file"):
        described(str(bank_path("procedural")))
    (run / "agent-7.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"agent-7\.safetensors: no such file"):
        described(str(run))


def test_names_without_folders() -> None:
    assert bare("efficientnet-lite:/home/me/w.npz") == "efficientnet-lite:w.npz"
    assert bare("manifold:hf:google/vit") == "manifold:hf:google/vit"
    assert bare("manifold:hf:~/vit") == "manifold:hf:vit"
    assert bare("small-cnn") == "small-cnn"


class HfApi:
    """Takes uploads into memory."""

    calls: list[Any]

    def create_repo(self, repository: str, private: bool, exist_ok: bool) -> str:
        if repository.startswith("bob/"):
            raise OSError("403 Forbidden\nnot yours")
        self.calls.append((repository, private, exist_ok))
        return f"https://huggingface.co/{repository}"

    def upload_folder(self, repo_id: str, folder_path: Path, commit_message: str) -> None:
        self.calls.append((repo_id, {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}))


def test_a_push_uploads_what_pack_writes(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    HfApi.calls = []
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=HfApi))  # type: ignore[arg-type]
    assert push_to_hub(str(run), "ann/chairs", private=True) == "https://huggingface.co/ann/chairs"
    (made, (repository, files)) = HfApi.calls
    assert made == ("ann/chairs", True, True)
    assert repository == "ann/chairs"
    expected = pack(str(run), tmp_path / "out", place="ann/chairs")
    assert files == {path.name: path.read_bytes() for path in expected.iterdir()}
    with pytest.raises(ResourceError, match=r"^bob/chairs: .* not take it \(403 Forbidden not yours\); log in"):
        push_to_hub(str(run), "bob/chairs")
    with pytest.raises(ConfigError, match="is no repository; give owner/name"):
        push_to_hub(str(run), "../chairs")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"pip install 'sketchless\[hf\]'"):
        push_to_hub(str(run), "ann/chairs")
