"""Weights by name: what ships, folders, and a hub that is a fake."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from sketchless.datasets import CheckpointError, ConfigError, UnsafeFileError
from sketchless.datasets.files import sha256
from sketchless.encoders import EpisodeBank, load_encoder
from sketchless.encoders.zoo import BANKS, is_repository, pretrained, zoo

ENCODER = "small-cnn/procedural"
SHA256 = {
    "small-cnn/procedural": "91603f587cbf6aa53d88cce3ad6475e8a93e0c3d3be7506a9583ad20c0ab0bb3",
    "ppo-a-clip/procedural": "390873d292eb9754082df667bac6f38ade45eedcc9028f6fcd32ea32bbce8d89",
    "grpo/procedural": "2007815566d713fb4f2750f6b821537c36f693990d1bcb0344878b118f506f7b",
    "rank-softmax/procedural": "aa3d252efa7a6fc3a194af8f081d473421e548fdefed028f74963677666de67e",
    "ppo-a-clip/procedural-strokes": "e887ded5e51bc796a8a59b2137b1f1e000dfbf8ab3504cad6fa97ca50d97616b",
}


class Hub:
    """A hub of local folders in the place of the library: keeps what was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, list[tuple[str, list[str]]]()

    def snapshot_download(self, repository: str, allow_patterns: list[str]) -> str:
        self.asked.append((repository, allow_patterns))
        if not (self.folder / repository).is_dir():
            raise OSError("401 Client Error.\nRepository Not Found")
        return str(self.folder / repository)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    fake = Hub(tmp_path / "hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)  # type: ignore[arg-type]
    return fake


def folder_of(path: Path, manifest: dict[str, Any] | None = None) -> Path:
    """The encoder that ships, as `sketchless zoo` writes it."""
    path.mkdir(parents=True)
    shutil.copy(zoo()[ENCODER].path, path / "encoder.safetensors")
    if manifest is not None:
        (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def test_what_ships_is_what_was_published() -> None:
    assert {name: entry.sha256 for name, entry in zoo().items()} == SHA256
    assert {name: sha256(entry.path) for name, entry in zoo().items()} == SHA256
    files = {entry.file for entry in zoo().values()}
    assert files == {path.name for path in BANKS.glob("*.safetensors") if path.stem.endswith(("-agent", "-encoder"))}
    assert all(entry.path.stat().st_size < 1_000_000 for entry in zoo().values())


def test_an_encoder_by_name_is_the_one_of_its_bank() -> None:
    bank = EpisodeBank.load("procedural", "test", "cpu")
    encoder = load_encoder(ENCODER, "cpu")
    assert encoder.digest() == bank.provenance["weights"]
    assert torch.equal(encoder.linear_head()[0], bank.weight)


def test_a_path_that_exists_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ENCODER).mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"^small-cnn/procedural: holds no encoder\.safetensors; give"):
        load_encoder(ENCODER)
    folder_of(tmp_path / "mine")
    assert pretrained("mine", "encoder").file == Path("mine/encoder.safetensors")


def test_an_encoder_from_a_folder_a_file_and_the_hub(tmp_path: Path, hub: Hub) -> None:
    there = folder_of(tmp_path / "hub" / "ann" / "chairs.2", {"config": {"dataset": "chairs"}})
    expected = load_encoder(ENCODER, "cpu").digest()
    for name in (str(there), there / "encoder.safetensors", "ann/chairs.2"):
        assert load_encoder(name, "cpu").digest() == expected
    assert hub.asked == [("ann/chairs.2", ["encoder.safetensors", "manifest.json"])]


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("small-cnn/procedura", "did you mean 'small-cnn/procedural'"),
        ("Small-CNN/Procedural", "did you mean 'small-cnn/procedural'"),
        ("small-cnn", "unknown pretrained encoder"),
        ("../x", "unknown pretrained encoder '../x'"),
        ("ann/../x", "unknown pretrained encoder"),
        ("ann/x --force", "unknown pretrained encoder"),
        ("ann/x?revision=1", "unknown pretrained encoder"),
        ("-ann/x", "unknown pretrained encoder"),
        ("ann/x/y", "unknown pretrained encoder"),
        ("https://ann/x", "unknown pretrained encoder"),
        ("grpo/procedural", "'grpo/procedural' is an agent, not an encoder"),
    ],
)
def test_what_is_no_name_asks_no_hub(name: str, fault: str, hub: Hub) -> None:
    with pytest.raises(ConfigError, match=fault) as error:
        load_encoder(name)
    assert "\n" not in str(error.value)
    assert hub.asked == []


def test_a_hub_that_does_not_give_it_is_one_line(hub: Hub) -> None:
    with pytest.raises(CheckpointError, match="does not give it") as error:
        load_encoder("ann/nothing")
    assert str(error.value) == (
        "ann/nothing: no folder, and the hub does not give it (401 Client Error. Repository Not Found); "
        "correct the name, go online, or give a folder"
    )


def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"pip install 'sketchless\[hf\]'$"):
        load_encoder("ann/chairs")


def test_a_repository_without_the_weights_or_with_damaged_ones(tmp_path: Path, hub: Hub) -> None:
    there = folder_of(tmp_path / "hub" / "ann" / "chairs")
    data = bytearray((there / "encoder.safetensors").read_bytes())
    data[-1] ^= 1
    (there / "encoder.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        load_encoder("ann/chairs")
    (there / "encoder.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"^ann/chairs: holds no encoder\.safetensors"):
        load_encoder("ann/chairs")


@pytest.mark.parametrize("manifest", ["[1]", "{", '{"config": {"bank": "procedural"}}', '{"config": {"reward": 1}}'])
def test_a_damaged_manifest_is_one_line(tmp_path: Path, manifest: str) -> None:
    there = folder_of(tmp_path / "mine")
    (there / "manifest.json").write_text(manifest)
    with pytest.raises(CheckpointError, match=r"manifest\.json: .*; give the file of the weights") as error:
        load_encoder(there)
    assert "\n" not in str(error.value)
    assert load_encoder(there / "encoder.safetensors", "cpu").config.dim == 64  # the cure


def test_a_manifest_leads_nowhere_and_runs_nothing(tmp_path: Path) -> None:
    bank = {"name": "b.safetensors", "sha256": zoo()["grpo/procedural"].config.bank.sha256, "path": "../b.safetensors"}  # type: ignore[union-attr]
    there = folder_of(tmp_path / "mine", {"config": {"bank": bank, "reward": "os:system"}})
    found = pretrained(there, "encoder")
    with pytest.raises(ConfigError, match=r"trained on the bank 'b\.safetensors', which does not ship; give env"):
        found.bank()
    with pytest.raises(UnsafeFileError, match="reward 'os:system' is code"):
        found.reward()
    bank |= {"path": "procedural", "sha256": "0" * 64}  # a name that ships, another file
    (there / "manifest.json").write_text(json.dumps({"config": {"bank": bank}}))
    with pytest.raises(ConfigError, match="does not ship"):
        pretrained(there, "encoder").bank()


def test_names_of_repositories() -> None:
    assert all(map(is_repository, ("a/b", "ann-1/chairs_v2.0", "A/9")))
    wrong = ("a", "a/b/c", "a/..", "../a", "a/b\n", "a /b", "a/b@main", "a/.b", "a//b", "/a/b", "a/b..c", "", "ä/b")
    assert not any(map(is_repository, wrong))


def test_the_first_seed_of_a_run_is_taken_by_number(tmp_path: Path) -> None:
    for seed in (10, 9, 11):
        (tmp_path / f"agent-{seed}.safetensors").touch()
    (tmp_path / "agent-1.part.safetensors").touch()
    assert pretrained(tmp_path, "agent").file.name == "agent-9.safetensors"
