from __future__ import annotations

import json
import resource
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sketchless.datasets import CheckpointError, ConfigError, ResourceError
from sketchless.encoders.tensorfile import load_tensors, read_meta, save_tensors

TENSORS = {
    "b/weights": torch.arange(6.0).reshape(2, 3),
    "a/step": torch.tensor(3),
    "a/half": torch.tensor([0.5, -2.0], dtype=torch.float16),
    "a/brain": torch.tensor([[1.0]], dtype=torch.bfloat16),
    "a/mask": torch.tensor([True, False, True]),
    "a/none": torch.zeros(0, 4),
}
META = {"ids": ["ä", "b"], "spec": {"z": 1, "a": None}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_tensors(tmp_path / "file", "toy", TENSORS, META)
    return tmp_path / "file"


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: what a full disk looks like."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_was_saved_comes_back(file: Path) -> None:
    tensors, meta = load_tensors(file, "toy")
    assert set(tensors) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)
    assert {name: meta[name] for name in META} == META
    assert read_meta(file, "toy") == meta


def test_a_prefix_picks_and_is_cut_off(file: Path) -> None:
    assert set(load_tensors(file, "toy", prefix="b/")[0]) == {"weights"}


def test_any_safetensors_reader_opens_it(file: Path) -> None:
    assert torch.equal(load_file(file)["b/weights"], TENSORS["b/weights"])


def test_tensors_that_share_memory_are_saved(tmp_path: Path) -> None:
    whole = torch.arange(4.0)
    save_tensors(tmp_path / "file", "toy", {"whole": whole, "part": whole[::2], "wide": whole[:1].expand(3)}, {})
    tensors, _ = load_tensors(tmp_path / "file", "toy")
    assert tensors["part"].tolist() == [0, 2]
    assert tensors["wide"].tolist() == [0, 0, 0]


def test_equal_content_gives_equal_bytes_in_any_process(file: Path) -> None:
    backwards = {name: TENSORS[name] for name in reversed(TENSORS)}
    save_tensors(file.with_name("again"), "toy", backwards, dict(reversed(META.items())))
    assert file.with_name("again").read_bytes() == file.read_bytes()
    script = (
        "import sys; from sketchless.encoders.tensorfile import *\n"
        "tensors, meta = load_tensors(sys.argv[1], 'toy')\n"
        "save_tensors(sys.argv[2], 'toy', tensors, {k: meta[k] for k in ('spec', 'ids')})"
    )
    subprocess.run([sys.executable, "-c", script, file, file.with_name("other")], check=True)
    assert file.with_name("other").read_bytes() == file.read_bytes()


def test_a_full_disk_keeps_the_old_file(file: Path, refuses: Any) -> None:
    before = file.read_bytes()
    with room_for(1000), refuses(ResourceError, "no room"):
        save_tensors(file, "toy", {"big": torch.zeros(1000)}, {})
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_failure_while_writing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        save_tensors(tmp_path / "file", "toy", TENSORS, {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_no_temporary_files_stay(file: Path) -> None:
    save_tensors(file, "toy", TENSORS, META)
    assert list(file.parent.iterdir()) == [file]


def test_a_folder_is_no_place_to_write(tmp_path: Path, refuses: Any) -> None:
    with refuses(ConfigError, "is a folder"):
        save_tensors(tmp_path, "toy", TENSORS, META)


def test_mapped_tensors_are_equal_and_never_change_the_file(file: Path) -> None:
    before = file.read_bytes()
    tensors, _ = load_tensors(file, "toy", mmap=True)
    for name, tensor in TENSORS.items():
        assert torch.equal(tensors[name], tensor)
    tensors["b/weights"] += 1
    assert file.read_bytes() == before


def test_a_loaded_file_may_be_replaced(file: Path) -> None:
    tensors, _ = load_tensors(file, "toy")
    mapped, _ = load_tensors(file, "toy", mmap=True)
    save_tensors(file, "toy", {"b/weights": torch.zeros(2, 3)}, {})
    assert torch.equal(tensors["b/weights"], TENSORS["b/weights"])
    assert torch.equal(mapped["b/weights"], TENSORS["b/weights"])


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"kind": "toy"}',
        '{"kind": "toy", "version": "x", "checksums": {}}',
        '{"kind": "toy", "version": true, "checksums": {}}',
        '{"kind": "toy", "version": 1}',
        '{"kind": "toy", "version": 1, "checksums": [1, 2]}',
    ],
)
def test_a_crafted_description_is_one_line(tmp_path: Path, refuses: Any, text: str) -> None:
    save_file(TENSORS, tmp_path / "file", {"sketchless": f"{zlib.crc32(text.encode()):08x} {text}"})
    with refuses(CheckpointError, "damaged"):
        load_tensors(tmp_path / "file", "toy")


def test_every_flipped_bit_is_noticed(file: Path, refuses: Any) -> None:
    data = file.read_bytes()
    places = torch.randperm(8 * len(data), generator=torch.Generator().manual_seed(0))[:400].tolist()
    for place in places:
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        file.write_bytes(damaged)
        with refuses(CheckpointError, str(file)):
            load_tensors(file, "toy")


@pytest.mark.parametrize("part", range(16))
def test_a_truncated_file_is_refused(part: int, file: Path, refuses: Any) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * part // 16])
    with refuses(CheckpointError, "damaged"):
        load_tensors(file, "toy")


def test_what_is_no_file_of_this_kind_is_refused(file: Path, refuses: Any) -> None:
    with refuses(CheckpointError, "is a sketchless toy file, not a sketchless bank file"):
        load_tensors(file, "bank")
    with refuses(CheckpointError, "no such file"):
        load_tensors(file.with_name("missing"), "toy")
    with refuses(CheckpointError, "is a folder"):
        load_tensors(file.parent, "toy")
    save_file(TENSORS, file)
    with refuses(CheckpointError, "no file of ours"):
        load_tensors(file, "toy")
    file.write_text("hello")
    with refuses(CheckpointError, "damaged"):
        load_tensors(file, "toy")


def test_a_newer_version_is_refused(file: Path, refuses: Any) -> None:
    text = json.dumps({"kind": "toy", "version": 2})
    save_file(TENSORS, file, {"sketchless": f"{zlib.crc32(text.encode()):08x} {text}"})
    with refuses(CheckpointError, "version 2 is newer than 1; update"):
        load_tensors(file, "toy")


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    save_tensors("~/deep/file", "toy", TENSORS, META)
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert load_tensors("~/deep/file", "toy")[0].keys() == TENSORS.keys()
    assert read_meta(tmp_path / "deep" / "file", "toy")["ids"] == META["ids"]
