from __future__ import annotations

import copy
import json
import pickle
import random
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import normalize

from sketchless.datasets import CheckpointError, ConfigError, DataError, SketchlessError
from sketchless.encoders import EpisodeBank, bank_splits, resolve_device, save_banks
from sketchless.encoders.bank import bank_path
from sketchless.encoders.tensorfile import load_tensors, save_tensors

NAMES = ("features", "lengths", "targets", "gallery", "weight", "bias")


def assert_same(one: EpisodeBank, other: EpisodeBank, tolerance: float = 0) -> None:
    for name in NAMES:
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=tolerance)
    for name in ("sketch_ids", "photo_ids", "split", "reveal", "provenance"):
        assert getattr(one, name) == getattr(other, name)


def changed(tensor: Tensor, place: tuple[int, ...], value: float) -> Tensor:
    out = tensor.clone()
    out[place] = value
    return out


def test_round_trip_is_exact(bank: EpisodeBank, tmp_path: Path) -> None:
    train = replace(bank, split="train", targets=bank.targets.flip(0))
    save_banks(tmp_path / "bank", {"test": bank, "train": train})
    assert set(bank_splits(tmp_path / "bank")) == {"train", "test"}
    assert_same(EpisodeBank.load(tmp_path / "bank", "test"), bank)
    assert_same(EpisodeBank.load(tmp_path / "bank", "train"), train)


def test_half_precision_keeps_directions_and_lengths(bank: EpisodeBank, tmp_path: Path) -> None:
    save_banks(tmp_path / "bank", {"test": bank}, torch.float16)
    loaded = EpisodeBank.load(tmp_path / "bank")
    assert_same(loaded, bank, tolerance=1e-3)
    torch.testing.assert_close(loaded.features.norm(dim=-1), torch.ones(5, 4), rtol=0, atol=1e-6)
    assert loaded.features.dtype == torch.float32


def test_mapped_bank_is_equal(bank: EpisodeBank, tmp_path: Path) -> None:
    save_banks(tmp_path / "bank", {"test": bank})
    assert_same(EpisodeBank.load(tmp_path / "bank", mmap=True), bank)


def test_equal_banks_give_equal_bytes(bank: EpisodeBank, tmp_path: Path) -> None:
    save_banks(tmp_path / "one", {"test": bank})
    save_banks(tmp_path / "two", {"test": EpisodeBank.load(tmp_path / "one")})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_length_photos_and_device(bank: EpisodeBank) -> None:
    assert len(bank) == 5
    assert bank.photos().photo_ids == ("x", "y", "z")
    assert torch.equal(bank.photos().embeddings, bank.gallery)
    assert_same(bank.to("cpu"), bank)
    assert bank.to("cpu").features.data_ptr() == bank.features.data_ptr()


def test_deep_copies_share_the_bank_and_its_tensors(bank: EpisodeBank) -> None:
    owner = {"bank": bank, "frames": bank.features, "bias": bank.bias}
    assert all(ours is theirs for ours, theirs in zip(copy.deepcopy(owner).values(), owner.values(), strict=True))
    assert_same(pickle.loads(pickle.dumps(bank)), bank)


FAULTS: dict[str, tuple[Callable[[EpisodeBank], dict[str, Any]], str]] = {
    "NaN feature": (lambda b: {"features": changed(b.features, (2, 1, 0), float("nan"))}, r"features\[2, 1\].*nan"),
    "infinite feature": (lambda b: {"features": changed(b.features, (2, 1, 0), float("inf"))}, r"features\[2, 1\]"),
    "zero feature": (lambda b: {"features": changed(b.features, (4, 3), 0)}, r"features\[4, 3\] has length 0"),
    "long photo": (lambda b: {"gallery": b.gallery * 2}, r"gallery\[0\] has length 2"),
    "NaN photo": (lambda b: {"gallery": changed(b.gallery, (1, 0), float("nan"))}, r"gallery\[1\].*nan"),
    "target behind": (lambda b: {"targets": changed(b.targets, (0,), 3)}, "target lies outside"),
    "target before": (lambda b: {"targets": changed(b.targets, (0,), -1)}, "target lies outside"),
    "length 0": (lambda b: {"lengths": changed(b.lengths, (1,), 0)}, r"length lies outside 1\.\.4"),
    "length beyond": (lambda b: {"lengths": changed(b.lengths, (1,), 5)}, r"length lies outside 1\.\.4"),
    "one photo": (lambda b: {"gallery": b.gallery[:1], "photo_ids": ("x",)}, "gallery of 1 photos"),
    "lost photo id": (lambda b: {"photo_ids": ("x", "y")}, "3 photos with 2 ids"),
    "photo twice": (lambda b: {"photo_ids": ("x", "y", "x")}, "twice"),
    "lost sketch id": (lambda b: {"sketch_ids": ("a", "b")}, "5 sketches but.*2 ids"),
    "lost target": (lambda b: {"targets": b.targets[:4]}, r"targets \(4,\)"),
    "lost length": (lambda b: {"lengths": torch.tensor(4)}, r"lengths \(\)"),
    "head width": (lambda b: {"weight": b.weight[:, :5]}, r"head \(2, 5\)"),
    "head bias": (lambda b: {"bias": b.bias[:1]}, "head"),
    "NaN head": (lambda b: {"weight": changed(b.weight, (0, 0), float("nan"))}, "head holds NaN"),
    "no sketch": (lambda b: {"features": b.features[:0]}, r"features are \(0, 4, 6\)"),
    "no frames": (lambda b: {"features": b.features[:, 0]}, r"features are \(5, 6\)"),
    "flat gallery": (lambda b: {"gallery": b.gallery[0]}, r"gallery is \(2,\)"),
    "double": (lambda b: {"features": b.features.double()}, r"features is torch\.float64"),
    "real targets": (lambda b: {"targets": b.targets.float()}, r"targets is torch\.float32"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_bank_names_its_fault(name: str, bank: EpisodeBank, refuses: Any) -> None:
    change, match = FAULTS[name]
    with refuses(DataError, match):
        replace(bank, **change(bank))


def test_a_fault_in_a_file_names_the_file(bank: EpisodeBank, tmp_path: Path, refuses: Any) -> None:
    bank.features[1, 2] = 0  # behind its back
    save_banks(tmp_path / "bank", {"test": bank})
    with refuses(DataError, r"bank: bank \(test\): features\[1, 2\] has length 0"):
        EpisodeBank.load(tmp_path / "bank")


def test_names_that_do_not_exist(bank: EpisodeBank, tmp_path: Path, refuses: Any) -> None:
    save_banks(tmp_path / "bank", {"test": bank})
    with refuses(ConfigError, "unknown split 'tset': did you mean 'test'"):
        EpisodeBank.load(tmp_path / "bank", "tset")
    with refuses(ConfigError, "unknown bank 'nothing-of-mine'.*path of a bank file"):
        EpisodeBank.load("nothing-of-mine")
    with refuses(CheckpointError, "no such file"):
        EpisodeBank.load(tmp_path / "other" / "bank")
    with refuses(CheckpointError, "is a folder"):
        EpisodeBank.load(tmp_path)


def test_a_path_is_never_taken_for_another_file(bank: EpisodeBank, tmp_path: Path) -> None:
    save_banks(tmp_path / "bank", {"test": bank})
    save_banks(tmp_path / "bank.safetensors", {"train": replace(bank, split="train")})
    assert bank_path(tmp_path / "bank") == tmp_path / "bank"
    assert bank_splits(tmp_path / "bank") == ("test",)


def test_banks_of_one_file_belong_together(bank: EpisodeBank, tmp_path: Path, refuses: Any) -> None:
    with refuses(ConfigError, "no bank"):
        save_banks(tmp_path / "bank", {})
    for change, match in (({"weight": bank.weight + 1}, "one encoder"), ({"reveal": "ink"}, "strokes and ink")):
        with refuses(ConfigError, match):
            save_banks(tmp_path / "bank", {"test": bank, "train": replace(bank, **change)})
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_an_error(bank: EpisodeBank, tmp_path: Path, refuses: Any) -> None:
    save_banks(tmp_path / "bank", {"test": bank})
    with refuses(ConfigError, "0 GPUs"):
        EpisodeBank.load(tmp_path / "bank", device="cuda")
    with refuses(ConfigError, "'cuda:7' asked for"):
        bank.to("cuda:7")
    assert EpisodeBank.load(tmp_path / "bank", device="auto").features.device.type == "cpu"


@pytest.mark.parametrize("device", ["gpu", "", "meta", "cuda:x", None])
def test_no_such_device(device: Any, refuses: Any) -> None:
    with refuses(ConfigError, "use auto, cpu or cuda"):
        resolve_device(device)


def test_features_are_unit_rows(bank: EpisodeBank) -> None:
    torch.testing.assert_close(normalize(bank.features, dim=-1), bank.features)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(draw=st.randoms(use_true_random=False))
def test_damaged_descriptions(draw: random.Random, mutated: Any, bank: EpisodeBank, tmp_path: Path) -> None:
    save_banks(tmp_path / "bank", {"test": bank, "train": replace(bank, split="train")})
    tensors, meta = load_tensors(tmp_path / "bank", "bank")
    text = json.dumps(mutated(meta, draw))
    save_file(tensors, tmp_path / "bank", {"sketchless": f"{zlib.crc32(text.encode()):08x} {text}"})
    for read in (bank_splits, EpisodeBank.load):
        try:
            read(tmp_path / "bank")  # type: ignore[operator]
        except SketchlessError as error:
            assert str(error).isprintable()  # noqa: PT017


@pytest.mark.parametrize("read", [bank_splits, EpisodeBank.load])
def test_a_file_of_no_split_is_refused(read: Any, bank: EpisodeBank, tmp_path: Path, refuses: Any) -> None:
    save_tensors(tmp_path / "bank", "bank", {}, {"splits": {}, "reveal": bank.reveal, "provenance": {}})
    with refuses(CheckpointError, "bank: splits: .*at least 1 item.*; encode it again"):
        read(tmp_path / "bank")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"test/features": torch.zeros(5, 4, 0)}, "features are"),
        ({"test/features": torch.zeros(5, 4, 6, dtype=torch.float64)}, "features is torch.float64"),
        ({"test/features": torch.zeros(5, 4, 6).to(torch.float8_e4m3fn)}, "features is torch.float8"),
        ({"test/features": torch.zeros(5, 4, 6, dtype=torch.complex64)}, "features is torch.complex64"),
        ({"test/gallery": torch.zeros(1 << 40, 0)}, "gallery of 1099511627776 photos with"),
        ({"test/lengths": torch.tensor(1)}, "5 sketches but lengths"),
        ({"test/self": torch.zeros(1)}, "'self', which is no part"),
        ({"head/more": torch.zeros(1)}, "'more', which is no part"),
    ],
)
def test_tensors_of_other_kinds(
    change: dict[str, Tensor], said: str, bank: EpisodeBank, tmp_path: Path, refuses: Any
) -> None:
    save_banks(tmp_path / "bank", {"test": bank})
    tensors, meta = load_tensors(tmp_path / "bank", "bank")
    save_tensors(tmp_path / "bank", "bank", {**tensors, **change}, meta)
    with refuses(CheckpointError if "no part" in said else DataError, said):
        EpisodeBank.load(tmp_path / "bank")


def test_which_split_is_asked_for_where_there_are_several(make_bank, tmp_path: Path, refuses) -> None:
    bank = make_bank(n=3, steps=2)
    save_banks(tmp_path / "two", {"train": bank, "test": bank})
    with refuses(ConfigError, "holds the splits test, train: say which, as split=|holds the splits train, test"):
        EpisodeBank.load(tmp_path / "two")
    save_banks(tmp_path / "one", {"validation": bank})
    assert EpisodeBank.load(tmp_path / "one").split == "validation"


def test_a_bank_and_its_gallery_show_their_sizes(make_bank) -> None:
    bank = make_bank(n=12, steps=5, width=32, dim=8, photos=10, lengths=[2, *[5] * 11])
    assert repr(bank).splitlines() == [
        "EpisodeBank: train, points",
        "  drawings   steps  photos  feature  embedding",
        "        12  2 to 5      10       32          8",
    ]
    assert repr(bank.photos()).splitlines() == ["Gallery", "  photos  embedding", "      10          8"]
