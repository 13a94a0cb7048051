from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sketchless.datasets import (
    ConfigError,
    DataError,
    Item,
    LazySketches,
    Sketch,
    SketchDataset,
    Split,
    birth_map,
    frames,
    reveal,
)
from sketchless.encoders import (
    Encoder,
    EncoderConfig,
    EpisodeBank,
    Frames,
    Gallery,
    Stage1Config,
    encode_banks,
    train_stage1,
)
from sketchless.encoders.encode import frame_features
from sketchless.encoders.networks.encoder import inference
from sketchless.encoders.training import frames as frames_module


def direct(encoder: Encoder, sketch: Sketch, schedule: str, steps: int) -> Tensor:
    """Features [T, D] of one sketch, frame by frame, averaged down to 32 px with numpy."""
    knots = reveal(sketch, schedule, steps)
    ink = frames(birth_map(sketch, knots), len(knots)) / 255
    small = ink.reshape(len(knots), 32, 8, 32, 8).mean(axis=(2, 4))
    images = torch.from_numpy(small).float().unsqueeze(1).repeat(1, 3, 1, 1)
    with torch.no_grad():
        return torch.cat([encoder.features(image[None]) for image in images])


@pytest.mark.parametrize(("schedule", "steps"), [("points", 5), ("strokes", 20), ("ink", 3)])
def test_features_are_those_of_the_frames(schedule: str, steps: int, encoder: Encoder, polygons: SketchDataset) -> None:
    banks = encode_banks(encoder, polygons, schedule=schedule, steps=steps)
    assert set(banks) == {"train", "validation", "test"}
    for name, bank in banks.items():
        split = polygons.split(name)
        assert bank.sketch_ids == tuple(sketch.id for sketch in split.sketches)
        assert np.array_equal(bank.targets.numpy(), split.targets)
        for row, sketch in enumerate(split.sketches[:3]):
            expected = direct(encoder, sketch, schedule, steps)
            assert bank.lengths[row] == len(expected)
            torch.testing.assert_close(bank.features[row, : len(expected)], expected, rtol=0, atol=1e-5)


def test_beyond_its_length_the_last_frame_repeats(encoder: Encoder, polygons: SketchDataset) -> None:
    bank = encode_banks(encoder, polygons, schedule="strokes", splits=["train"])["train"]
    assert bank.features.shape[1] == bank.lengths.max() == 7
    assert bank.lengths.min() == 4
    for row, length in enumerate(bank.lengths.tolist()):
        assert (bank.features[row, length:] == bank.features[row, length - 1]).all()


def test_gallery_and_head_are_the_encoders(encoder: Encoder, polygons: SketchDataset) -> None:
    bank = encode_banks(encoder, polygons, steps=2)["test"]
    expected = Gallery.encode(encoder, polygons, polygons.split("test").photos)
    assert torch.equal(bank.gallery, expected.embeddings)
    assert bank.photo_ids == expected.photo_ids
    embedded = torch.nn.functional.normalize(bank.features @ bank.weight.T + bank.bias, dim=-1)
    torch.testing.assert_close(embedded, encoder.embed(bank.features).detach())


def test_variants_are_training_sketches_of_their_own(encoder: Encoder, polygons: SketchDataset) -> None:
    banks = encode_banks(encoder, polygons, steps=3, variants=2, seed=4)
    plain = encode_banks(encoder, polygons, steps=3)
    bank, base = banks["train"], plain["train"]
    n = len(base)
    assert bank.sketch_ids == tuple(f"{i}{k}" for k in ("", "~1", "~2") for i in base.sketch_ids)
    assert torch.equal(bank.targets, base.targets.repeat(3))
    assert torch.equal(bank.features[:n], base.features)
    first, second = bank.features[n : 2 * n], bank.features[2 * n :]
    for one, other in ((base.features, first), (base.features, second), (first, second)):
        assert ((one - other).norm(dim=-1).max(dim=1).values > 1e-3).all()  # every sketch changed
    for name in ("validation", "test"):
        assert torch.equal(banks[name].features, plain[name].features)


def test_encoding_follows_from_the_seed(encoder: Encoder, polygons: SketchDataset) -> None:
    state = torch.get_rng_state()
    one, same, other = (
        encode_banks(encoder, polygons, steps=2, variants=1, seed=seed, splits=["train"])["train"] for seed in (1, 1, 2)
    )
    assert torch.equal(one.features, same.features)
    assert not torch.equal(one.features, other.features)
    assert torch.equal(torch.get_rng_state(), state)


def test_encoding_evaluates_also_while_training(noisy_backbone: str, polygons: SketchDataset) -> None:
    encoder = Encoder(EncoderConfig(noisy_backbone, size=32)).train()
    one, same = (encode_banks(encoder, polygons, steps=2, splits=["test"])["test"] for _ in range(2))
    assert torch.equal(one.features, same.features)
    assert encoder.training


def test_a_policy_can_learn_from_the_bank(encoder: Encoder, polygons: SketchDataset) -> None:
    bank = encode_banks(encoder, polygons, steps=2, splits=["test"])["test"]
    layer = torch.nn.Linear(bank.features.shape[-1], 2)
    (layer(bank.features) @ bank.gallery[:, :2].T).sum().backward()
    assert layer.weight.grad is not None


def test_provenance_tells_where_the_bank_comes_from(encoder: Encoder, polygons: SketchDataset) -> None:
    origin = encode_banks(encoder, polygons, steps=2, splits=["test"], provenance={"note": 1})["test"].provenance
    assert origin["data"] == polygons.spec
    assert origin["encoder"]["size"] == 32
    assert origin["weights"] == encoder.digest()
    assert (origin["steps"], origin["note"]) == (2, 1)


def test_progress_ends_at_1(encoder: Encoder, polygons: SketchDataset) -> None:
    shares: list[float] = []
    encode_banks(encoder, polygons, steps=1, variants=1, on_step=shares.append)
    assert len(shares) == 2 * 32 + 16 + 8
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_splits_without_sketches_are_left_out(encoder: Encoder, polygons: SketchDataset) -> None:
    empty = replace(polygons.split("validation"), sketches=(), targets=np.zeros(0, np.int64))
    dataset = replace(polygons, splits={**polygons.splits, "validation": empty})
    assert set(encode_banks(encoder, dataset, steps=1)) == {"train", "test"}


def test_nonsense_is_refused(encoder: Encoder, polygons: SketchDataset, refuses: Any) -> None:
    with refuses(ConfigError, "variants=-1"):
        encode_banks(encoder, polygons, variants=-1)
    with refuses(ConfigError, "unknown split 'trian': did you mean 'train'"):
        encode_banks(encoder, polygons, splits=["trian"])
    with refuses(ConfigError, "unknown reveal schedule"):
        encode_banks(encoder, polygons, schedule="point")


def test_mirror_flips_frames_and_photos(encoder: Encoder, polygons: SketchDataset) -> None:
    bank = encode_banks(encoder, polygons, steps=2, splits=["test"], mirror=True)["test"]
    split = polygons.split("test")
    frames = Frames(split.sketches, steps=2)
    with inference(encoder):
        sketch = encoder.features(encoder.sketch_inputs(frames.at(torch.tensor([3]), torch.tensor([1]))).flip(-1))
        photo = encoder(encoder.photo_inputs([polygons.photo(split.photos[2])]).flip(-1))
    torch.testing.assert_close(bank.features[3, 1:], sketch)
    torch.testing.assert_close(bank.gallery[2:3], photo)


def in_files(dataset: SketchDataset) -> SketchDataset:
    """The same set with sketches that are read when they are asked for."""

    def lazy(split: Split) -> Split:
        known = {sketch.id: sketch for sketch in split.sketches}
        items = [Item(name, 0) for name in split.sketch_ids]
        return replace(split, sketches=LazySketches(items, lambda item: known[item.id]))

    return replace(dataset, splits={name: lazy(split) for name, split in dataset.splits.items()})


@pytest.mark.parametrize(("schedule", "room"), [("points", 0), ("strokes", 10 * 256 * 256)])
def test_sketches_in_files_train_and_encode_alike(
    schedule: str, room: int, polygons: SketchDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few birth maps there is room for."""
    config = Stage1Config(epochs=1, batch=8, frames="random")

    def trained(dataset: SketchDataset) -> tuple[list[dict[str, float]], dict[str, EpisodeBank]]:
        encoder = Encoder(EncoderConfig(size=32, dim=8))
        done = train_stage1(encoder, dataset, config, schedule=schedule, steps=4)
        return done.history, encode_banks(encoder, dataset, schedule=schedule, steps=4, splits=["test"])

    history, banks = trained(polygons)
    monkeypatch.setattr(frames_module.Frames.__init__, "__defaults__", (room,))
    lazy_history, lazy_banks = trained(in_files(polygons))
    assert history == lazy_history
    for name, bank in banks.items():
        assert torch.equal(bank.features, lazy_banks[name].features)
        assert bank.sketch_ids == lazy_banks[name].sketch_ids


def test_sketches_without_a_photo_of_their_own_make_no_episodes(
    encoder: Encoder, polygons: SketchDataset, refuses: Any
) -> None:
    split = polygons.split("test")
    lonely = Split(split.sketches, split.targets * 0 - 1, split.photos, ("chair",) * 8, ("chair",) * 4)
    with refuses(DataError, r"polygons \(test\): of some sketches only the category is known"):
        encode_banks(encoder, replace(polygons, splits={"test": lonely}), splits=["test"])


def test_pairs_of_a_category_need_photos_of_it(encoder: Encoder, polygons: SketchDataset, refuses: Any) -> None:
    split = polygons.split("train")
    lonely = Split(split.sketches, split.targets * 0 - 1, (), ("chair",) * 32)
    dataset = replace(polygons, splits={**polygons.splits, "train": lonely})
    with refuses(DataError, "no photo of category 'chair' among those to pair"):
        train_stage1(encoder, dataset, Stage1Config(pairs="category"))
    with refuses(DataError, "has no categories; pair by instance"):
        train_stage1(encoder, polygons, Stage1Config(pairs="category"))


def test_large_images_are_encoded_fewer_at_once(polygons: SketchDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 1024 px a sixteenth of 32 photos and of 254 frames; up to 256 px 32 and 254."""
    sizes: list[int] = []

    def record(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return torch.nn.functional.normalize(torch.ones(len(images), 8), dim=-1)

    for size, photos, drawn in ((1024, [2] * 8, [15, 5]), (256, [16], [20])):
        encoder = Encoder(EncoderConfig(size=size, dim=8))
        monkeypatch.setattr(encoder, "embed_photos", record)
        monkeypatch.setattr(encoder, "features", record)
        sizes.clear()
        Gallery.encode(encoder, polygons, polygons.split("train").photos)
        assert sizes == photos
        sizes.clear()
        assert frame_features(encoder, torch.zeros(20, 256, 256, dtype=torch.bool)).shape == (20, 8)
        assert sizes == drawn


GROWTH = """
import ctypes
import torch
from sketchless.datasets import load_dataset
from sketchless.encoders import Encoder, EncoderConfig, encode_banks

ctypes.CDLL(None).mallopt(-3, 1 << 30), ctypes.CDLL(None).mallopt(-1, (1 << 31) - 1)  # as our commands keep memory
torch.set_num_threads(1)
held = []

def on_step(share):
    with open("/proc/self/statm") as file:
        held.append(int(file.read().split()[1]) * 4096 / 2**20)

encoder = Encoder(EncoderConfig("small-cnn", size=192))
encode_banks(encoder, load_dataset("procedural"), splits=("validation",), on_step=on_step)
print(len(held), max(held) - held[20])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_sketches() -> None:
    """20 frames of a sketch at 192 px take 100 MB for an instant; what stays of a sketch are 10 KB."""
    done = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True)
    sketches, grown = done.stdout.split()
    assert int(sketches) > 100
    assert float(grown) < 30  # MB
