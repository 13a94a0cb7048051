from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sketchless.datasets import CheckpointError, ConfigError, ResourceError
from sketchless.encoders import Encoder, EncoderConfig
from sketchless.encoders.device import tf32
from sketchless.encoders.networks.encoder import inference
from sketchless.encoders.networks.layers import photo_images, sketch_images
from sketchless.encoders.registry import load_encoder
from sketchless.encoders.tensorfile import load_tensors, load_weights, save_tensors

IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def weights_equal(one: Encoder, other: Encoder) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("attention", [False, True])
def test_features_and_embeddings_are_unit_vectors(attention: bool) -> None:
    encoder = Encoder(EncoderConfig(size=32, dim=5, attention=attention))
    features, embeddings = encoder.features(IMAGES), encoder(IMAGES)
    assert features.shape == (3, 128)
    assert embeddings.shape == (3, 5)
    for vectors in (features, embeddings):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(encoder.embed(features), embeddings)


def test_feature_is_the_mean_over_the_map(encoder: Encoder) -> None:
    mean = encoder.backbone(IMAGES).mean(dim=(2, 3))
    torch.testing.assert_close(encoder.features(IMAGES), mean / mean.norm(dim=1, keepdim=True))


def test_memory_layout_does_not_matter(encoder: Encoder) -> None:
    assert torch.equal(encoder(IMAGES), encoder(IMAGES.contiguous(memory_format=torch.channels_last)))


def test_weights_follow_from_the_seed_and_nothing_else() -> None:
    torch.rand(3)
    state = torch.get_rng_state()
    first, other = Encoder(EncoderConfig(seed=5)), Encoder(EncoderConfig(seed=6))
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert weights_equal(first, Encoder(EncoderConfig(seed=5)))
    assert not weights_equal(first, other)


@pytest.mark.parametrize("change", [{"size": 7}, {"dim": 0}, {"seed": -1}])
def test_config_out_of_range(change: dict[str, int], refuses: Any) -> None:
    with refuses(ConfigError, f"{next(iter(change))}="):
        EncoderConfig(**change)  # type: ignore[arg-type]


def test_inference_restores_the_mode(encoder: Encoder) -> None:
    for training in (True, False):
        encoder.train(training)
        with inference(encoder):
            assert not encoder.training
            assert not encoder(IMAGES).requires_grad
        assert encoder.training == training


def test_tf32_is_as_before_afterwards() -> None:
    backends = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [backend.allow_tf32 for backend in backends]
    for allowed in (True, False):
        with contextlib.suppress(KeyError), tf32(allowed):
            assert [backend.allow_tf32 for backend in backends] == [allowed, allowed]
            raise KeyError
        assert [backend.allow_tf32 for backend in backends] == before


def test_sketches_are_averaged_down() -> None:
    frames = torch.rand(4, 256, 256, generator=torch.Generator().manual_seed(0)) < 0.1
    images = sketch_images(frames, 32)
    expected = frames.numpy().reshape(4, 32, 8, 32, 8).mean(axis=(2, 4))
    assert images.shape == (4, 3, 32, 32)
    for channel in range(3):
        np.testing.assert_allclose(images[:, channel], expected, atol=1e-6)
    assert torch.equal(sketch_images(frames.byte() * 255, 32), images)


@pytest.mark.parametrize("size", [32, 64, 100, 224, 256, 299])
def test_resizing_keeps_the_mean_ink(size: int) -> None:
    frames = torch.zeros(1, 256, 256, dtype=torch.bool)
    frames[0, 60:63, 50:200] = True
    images = sketch_images(frames, size)
    assert images.mean().item() == pytest.approx(frames.float().mean().item(), rel=0.02)
    assert 0 <= images.min() <= images.max() <= 1


def test_photos_of_any_size_fit() -> None:
    generator = np.random.default_rng(0)
    photos = [generator.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((32, 32), (64, 96), (50, 41))]
    images = photo_images(photos, 32)
    assert images.shape == (3, 3, 32, 32)
    np.testing.assert_allclose(images[0], photos[0].transpose(2, 0, 1) / 255, atol=1e-6)
    expected = (photos[1] / 255).reshape(32, 2, 32, 3, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    np.testing.assert_allclose(images[1], expected, atol=1e-6)
    assert photo_images([], 32).shape == (0, 3, 32, 32)


@pytest.fixture
def saved(encoder: Encoder, tmp_path: Path) -> Path:
    encoder.save(tmp_path / "encoder")
    return tmp_path / "encoder"


def test_saved_encoder_gives_bit_identical_embeddings(encoder: Encoder, saved: Path) -> None:
    loaded = load_encoder(saved, "cpu")
    assert loaded.config == encoder.config
    assert loaded.digest() == encoder.digest()
    assert not loaded.training
    assert torch.equal(loaded(IMAGES), encoder(IMAGES))


def test_saving_again_gives_the_same_bytes(saved: Path) -> None:
    before = saved.read_bytes()
    load_encoder(saved, "cpu").save(saved)
    assert saved.read_bytes() == before


def test_digest_sees_one_changed_weight(encoder: Encoder) -> None:
    before = encoder.digest()
    with torch.no_grad():
        encoder.head.bias[0] += 1
    assert encoder.digest() != before


@pytest.mark.parametrize("part", range(16))
def test_truncated_file(part: int, saved: Path, refuses: Any) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: len(data) * part // 16])
    with refuses(CheckpointError, "damaged"):
        load_encoder(saved, "cpu")


def test_flipped_bits(saved: Path, refuses: Any) -> None:
    data = saved.read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    places = [*range(0, 8 * header, 97), *range(8 * header, 8 * len(data), 8 * len(data) // 40)]
    for place in places:
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
        saved.write_bytes(damaged)
        with refuses(CheckpointError, "encoder"):
            load_encoder(saved, "cpu")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"head.bias": torch.full((8,), float("nan"))}, "head.bias holds NaN"),
        ({"head.bias": torch.zeros(9)}, "do not fit.*head.bias"),
        ({"more": torch.zeros(1)}, "do not fit.*more"),
    ],
)
def test_weights_that_do_not_fit(change: dict[str, Any], match: str, saved: Path, refuses: Any) -> None:
    tensors, meta = load_tensors(saved, "encoder")
    save_tensors(saved, "encoder", {**tensors, **change}, meta)
    with refuses(CheckpointError, match):
        load_encoder(saved, "cpu")


def test_missing_weights(encoder: Encoder, refuses: Any) -> None:
    with refuses(CheckpointError, "somewhere: weights do not fit.*is missing"):
        load_weights(encoder, {}, "somewhere")


def test_encoder_of_another_make(saved: Path, refuses: Any) -> None:
    tensors, meta = load_tensors(saved, "encoder")
    changes = {"colour": {**meta["config"], "colour": True}, "size": {"size": "big"}, "4 GB": {"size": 12_000}}
    for said, config in changes.items():
        save_tensors(saved, "encoder", tensors, {**meta, "config": config})
        with refuses(CheckpointError, f"config.*{'12000' if said == '4 GB' else said}"):
            load_encoder(saved, "cpu")


def test_files_that_are_no_encoder(saved: Path, refuses: Any) -> None:
    with refuses(CheckpointError, "no such file"):
        load_encoder(saved.with_name("missing"))
    with refuses(CheckpointError, "holds no encoder.safetensors"):
        load_encoder(saved.parent)
    save_tensors(saved, "bank", {}, {})
    with refuses(CheckpointError, "is a sketchless bank file, not a sketchless encoder file"):
        load_encoder(saved)


def test_a_folder_is_no_place_to_save(encoder: Encoder, tmp_path: Path, refuses: Any) -> None:
    with refuses(ConfigError, "is a folder"):
        encoder.save(tmp_path)


def test_a_full_disk_is_said(encoder: Encoder, saved: Path, monkeypatch: pytest.MonkeyPatch, refuses: Any) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    before = saved.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", full)
    with refuses(ResourceError, "no room"):
        encoder.save(saved)
    assert saved.read_bytes() == before
