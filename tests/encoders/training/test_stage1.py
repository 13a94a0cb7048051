from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sketchless.datasets import CheckpointError, ConfigError, DataError, SketchDataset, Split
from sketchless.encoders import Encoder, EncoderConfig, Frames, Progress, Stage1Config, make_encoder, train_stage1
from sketchless.encoders.networks.layers import photo_images, sketch_images
from sketchless.encoders.training.stage1 import _schedule, _Stage1, check_stage1

QUICK = Stage1Config(epochs=4, batch=8)
WHOLE = Stage1Config(epochs=1, batch=32, augment=0, flip=False)  # one step, images as they are
CHANCE = sum(1 / rank for rank in range(1, 9)) / 8  # mean of 1/rank among 8 photos: 0.34

Train = Callable[..., tuple[Encoder, Progress]]


@pytest.fixture
def train(polygons: SketchDataset) -> Train:
    """Train a fresh encoder; gives it and its progress."""

    def run(
        config: Stage1Config = QUICK, dataset: SketchDataset = polygons, **options: Any
    ) -> tuple[Encoder, Progress]:
        encoder = Encoder(EncoderConfig(size=32, dim=8))
        return encoder, train_stage1(encoder, dataset, config, **options)

    return run


class Killed(Exception):
    pass


def kill_at(limit: float) -> Callable[[float], None]:
    def on_step(share: float) -> None:
        if share > limit:
            raise Killed

    return on_step


def weights(encoder: Encoder) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in encoder.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def first_batch(polygons: SketchDataset, config: Stage1Config, **options: Any) -> tuple[Tensor, Tensor]:
    """Sketches and photos [32, S, S], first channel, of the first training step."""
    seen: list[Tensor] = []

    def keep(_: torch.nn.Module, args: tuple[Tensor]) -> None:
        seen.append(args[0][:, 0].clone())

    encoder = Encoder(EncoderConfig(size=32, dim=8))
    encoder.register_forward_pre_hook(keep)
    train_stage1(encoder, polygons, config, **options)
    return seen[0][:32], seen[0][32:]


def matches(images: Tensor, known: Tensor) -> Tensor:
    """bool [B, K]: image b is known k."""
    return (images.unsqueeze(1) - known).abs().amax(dim=(2, 3)) < 1e-6


@pytest.fixture
def complete(polygons: SketchDataset) -> tuple[Tensor, Tensor]:
    """First channel of the complete training sketches [32, S, S], and of their photos."""
    split = polygons.split("train")
    frames = Frames(split.sketches, "points", 1)
    photos = photo_images([polygons.photo(i) for i in split.photos], 32)
    return sketch_images(frames.birth < 255, 32)[:, 0], photos[split.targets, 0]


@pytest.mark.parametrize(
    ("loss", "frames"),
    [
        ("contrastive", "random"),
        ("triplet", "complete"),
        pytest.param("contrastive", "complete", marks=pytest.mark.slow),
        pytest.param("triplet", "random", marks=pytest.mark.slow),
    ],
)
def test_training_learns(loss: str, frames: str, train: Train) -> None:
    _, progress = train(Stage1Config(loss=loss, frames=frames, epochs=10, batch=8, augment=0.5))
    losses = [entry["loss"] for entry in progress.history]
    assert np.mean(losses[-3:]) < 0.8 * losses[0]
    assert progress.best_score > CHANCE + 0.2


@pytest.mark.parametrize("frames", ["complete", "random"])
def test_same_seed_same_weights(frames: str, train: Train) -> None:
    config = replace(QUICK, frames=frames, epochs=2)
    state = torch.get_rng_state()
    (one, first), (two, second), (other, _) = train(config), train(config), train(replace(config, seed=1))
    assert same(weights(one), weights(two))
    assert first == second
    assert not same(weights(one), weights(other))
    assert torch.equal(torch.get_rng_state(), state)


def redrawn_frames_limit() -> list[Any]:
    """All cases; by default those with an even number of second values, among which is every pair of values."""
    redrawn = ({}, {"removal": 0.5, "deformation": 1.0})
    return [
        pytest.param(redrawn[i], ("complete", "random")[j], (0.5, 0.7)[k], marks=[pytest.mark.slow] * ((i + j + k) % 2))
        for i, j, k in itertools.product(range(2), repeat=3)
    ]


@pytest.mark.parametrize(("redrawn", "frames", "limit"), redrawn_frames_limit())
def test_killed_and_resumed_equals_uninterrupted(
    redrawn: dict[str, float], frames: str, limit: float, train: Train, tmp_path: Path
) -> None:
    config = replace(QUICK, frames=frames, freeze=0.25, **redrawn)
    whole, progress = train(config)
    with pytest.raises(Killed):
        train(config, checkpoint=tmp_path / "c", on_step=kill_at(limit))
    torch.rand(5)  # nothing may hang on the global generator
    seen: list[int] = []
    resumed, again = train(config, checkpoint=tmp_path / "c", on_epoch=lambda p: seen.append(p.epoch))
    assert seen == [3, 4]
    assert same(weights(resumed), weights(whole))
    assert again == progress
    assert list(tmp_path.iterdir()) == [tmp_path / "c"]


def test_a_finished_run_is_taken_from_its_checkpoint(train: Train, tmp_path: Path) -> None:
    twice = replace(QUICK, epochs=2)
    whole, progress = train(twice, checkpoint=tmp_path / "c")
    resumed, again = train(twice, checkpoint=tmp_path / "c", on_step=kill_at(0))
    assert same(weights(resumed), weights(whole))
    assert again == progress


def test_checkpoint_of_other_work_is_refused(
    polygons: SketchDataset, train: Train, tmp_path: Path, refuses: Any
) -> None:
    path = tmp_path / "c"
    train(replace(QUICK, epochs=1), checkpoint=path)
    once = replace(QUICK, epochs=1)
    with refuses(CheckpointError, "was made with config .*'seed': 0.*this run has .*'seed': 1"):
        train(replace(once, seed=1), checkpoint=path)
    with refuses(CheckpointError, r"was made with reveal \['points', 20\], this run has \['points', 9\]"):
        train(once, checkpoint=path, steps=9)
    with refuses(CheckpointError, "was made with encoder .*'dim': 8"):
        train_stage1(Encoder(EncoderConfig(size=32, dim=9)), polygons, once, checkpoint=path)
    split = polygons.split("train")
    fewer = replace(split, sketches=split.sketches[:-1], targets=split.targets[:-1])
    with refuses(CheckpointError, "was made with data"):
        train(once, replace(polygons, splits={**polygons.splits, "train": fewer}), checkpoint=path)
    path.write_bytes(path.read_bytes()[:-9])
    with refuses(CheckpointError, "damaged"):
        train(once, checkpoint=path)


def test_a_data_set_that_moved_is_still_the_same(polygons: SketchDataset, train: Train, tmp_path: Path) -> None:
    once = replace(QUICK, epochs=1)
    train(once, checkpoint=tmp_path / "c")
    train(once, replace(polygons, spec={**polygons.spec, "root": "elsewhere"}), checkpoint=tmp_path / "c")


def test_patience_and_the_best_epoch(polygons: SketchDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.1, 0.5, 0.4, 0.5, 0.9])
    monkeypatch.setattr(_Stage1, "_score", lambda _: next(scores))
    kept: list[dict[str, Tensor]] = []
    encoder = Encoder(EncoderConfig(size=32, dim=8))
    config = replace(QUICK, epochs=9, patience=2)
    progress = train_stage1(encoder, polygons, config, on_epoch=lambda _: kept.append(weights(encoder)))
    # as good as before is not better: two epochs after the second one it stops
    assert (progress.epoch, progress.best_epoch, progress.best_score) == (4, 2, 0.5)
    assert same(weights(encoder), kept[1])
    assert not same(kept[1], kept[3])
    assert not encoder.training


def test_without_validation_the_last_epoch_stays(polygons: SketchDataset, train: Train) -> None:
    empty = Split((), np.zeros(0, np.int64), ())
    dataset = replace(polygons, splits={**polygons.splits, "validation": empty})
    assert train(replace(QUICK, epochs=3, patience=1), dataset)[1].best_epoch == 3


def test_frozen_blocks_keep_their_weights(polygons: SketchDataset) -> None:
    encoder = Encoder(EncoderConfig(size=32, dim=8))
    before = weights(encoder)
    train_stage1(encoder, polygons, replace(QUICK, epochs=1, freeze=0.5))
    changed = {name for name, tensor in weights(encoder).items() if not torch.equal(tensor, before[name])}
    assert {name for name in before if name.startswith(("backbone.blocks.2", "backbone.blocks.3", "head"))} == changed
    train_stage1(encoder, polygons, replace(QUICK, epochs=1))
    assert not torch.equal(encoder.state_dict()["backbone.blocks.0.0.weight"], before["backbone.blocks.0.0.weight"])


def test_a_batch_pairs_each_sketch_with_its_photo(polygons: SketchDataset, complete: tuple[Tensor, Tensor]) -> None:
    sketches, photos = first_batch(polygons, WHOLE)
    which = matches(sketches, complete[0])
    assert which.sum(dim=1).eq(1).all()
    assert which.sum(dim=0).eq(1).all()
    assert torch.equal(photos, complete[1][which.float().argmax(dim=1)])


def test_a_flip_is_shared_by_sketch_and_photo(polygons: SketchDataset, complete: tuple[Tensor, Tensor]) -> None:
    sketches, photos = first_batch(polygons, replace(WHOLE, flip=True))
    straight, mirrored = (matches(sketches, known).any(dim=1) for known in (complete[0], complete[0].flip(-1)))
    assert torch.equal(straight, ~mirrored)
    assert 8 < mirrored.sum() < 24
    assert torch.equal(matches(photos, complete[1]).any(dim=1), straight)
    assert torch.equal(matches(photos, complete[1].flip(-1)).any(dim=1), mirrored)


def test_augmentation_moves_sketch_and_photo_apart(polygons: SketchDataset, complete: tuple[Tensor, Tensor]) -> None:
    sketches, photos = first_batch(polygons, replace(WHOLE, augment=1.0))
    assert not matches(sketches, complete[0]).any()
    assert not matches(photos, complete[1]).any()


def test_random_frames_show_part_of_the_drawing(polygons: SketchDataset, complete: tuple[Tensor, Tensor]) -> None:
    random = replace(WHOLE, frames="random")
    for share, least, most in ((0.0, 0, 6), (0.5, 8, 24), (1.0, 32, 32)):
        sketches, _ = first_batch(polygons, replace(random, complete_share=share))
        assert least <= matches(sketches, complete[0]).any(dim=1).sum() <= most


def test_a_percentage_shows_that_frame_of_every_drawing(
    polygons: SketchDataset, complete: tuple[Tensor, Tensor]
) -> None:
    config = replace(WHOLE, frames="50")
    sketches, _ = first_batch(polygons, config, schedule="points", steps=4)
    frames = Frames(polygons.split("train").sketches, "points", 4)
    half = Encoder(EncoderConfig(size=32, dim=8)).sketch_inputs(frames.birth <= 1)[:, 0]  # of the frames 0..3
    assert matches(sketches, half).any(dim=1).all()
    assert not matches(sketches, complete[0]).any()


@pytest.mark.parametrize("change", [{"removal": 0.9}, {"deformation": 1.0}])
@pytest.mark.parametrize("frames", ["complete", "random"])
def test_redrawn_sketches_keep_their_photos(
    frames: str, change: dict[str, float], polygons: SketchDataset, complete: tuple[Tensor, Tensor]
) -> None:
    config = replace(WHOLE, frames=frames, complete_share=1.0)
    plain, partners = first_batch(polygons, config, schedule="strokes")
    sketches, photos = first_batch(polygons, replace(config, **change), schedule="strokes")
    assert matches(photos, complete[1]).any(dim=1).all()
    assert matches(plain, complete[0]).any(dim=1).all()
    assert 0 <= matches(sketches, complete[0]).any(dim=1).sum() < 16
    if "removal" in change:  # what is left is part of a drawing
        inside = (sketches.unsqueeze(1) <= complete[0] + 1e-6).all(dim=3).all(dim=2)
        assert inside.any(dim=1).all()
        assert (sketches.flatten(1).sum(dim=1) > 0).all()
    assert partners.shape == photos.shape


@pytest.mark.parametrize("frames", ["complete", "random"])
def test_complete_means_every_stroke(frames: str, polygons: SketchDataset, complete: tuple[Tensor, Tensor]) -> None:
    # 4 to 7 strokes, more than `steps`, which the schedule ignores
    config = replace(WHOLE, frames=frames, complete_share=1.0)
    sketches, _ = first_batch(polygons, config, schedule="strokes", steps=2)
    assert matches(sketches, complete[0]).any(dim=1).all()


def test_learning_rate_rises_then_falls_to_0() -> None:
    rates = [_schedule(i / 1000) for i in range(1001)]
    assert rates[0] < 0.01
    assert max(rates) == pytest.approx(1, abs=0.02)
    assert rates.index(max(rates)) in range(95, 106)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert rates[100:] == sorted(rates[100:], reverse=True)


def test_progress_ends_at_1(train: Train) -> None:
    shares: list[float] = []
    train(replace(QUICK, epochs=2), on_step=shares.append)
    assert len(shares) == 2 * 32 // 8
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_mixed_precision_learns_too(train: Train) -> None:
    encoder, progress = train(replace(QUICK, precision="bfloat16", epochs=2))
    assert np.isfinite(progress.loss)
    assert encoder.head.weight.dtype == torch.float32


def test_divergence_stops_and_keeps_the_last_good_checkpoint(train: Train, tmp_path: Path, refuses: Any) -> None:
    wild = replace(QUICK, learning_rate=1e38, weight_decay=0)
    with refuses(DataError, r"stage 1: .*nan.*lower the learning rate"):
        train(wild, checkpoint=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_nan_embeddings_are_no_perfect_score(polygons: SketchDataset, refuses: Any) -> None:
    encoder = Encoder(EncoderConfig(size=32, dim=8))
    stage1 = _Stage1(encoder, polygons, QUICK, "points", 20)
    with torch.no_grad():
        encoder.head.bias.fill_(float("nan"))
    with refuses(DataError, "NaN"):
        stage1._score()


def test_score_is_the_mean_reciprocal_rank(polygons: SketchDataset) -> None:
    encoder = Encoder(EncoderConfig(size=32, dim=8))
    split = polygons.split("validation")
    with torch.no_grad():
        photos = encoder(photo_images([polygons.photo(i) for i in split.photos], 32))
        sketches = encoder(sketch_images(Frames(split.sketches).birth < 255, 32))
    similarity = (sketches @ photos.T).tolist()
    ranks = [sum(s >= row[t] for s in row) for row, t in zip(similarity, split.targets, strict=True)]
    expected = np.mean([1 / rank for rank in ranks])
    assert _Stage1(encoder, polygons, QUICK, "points", 20)._score() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("encoder", "change", "kind", "match"),
    [
        ("small-cnn", {}, DataError, r"known for some sketches; pair them by category \(--pairs category\)"),
        ("small-cnn", {"pairs": "category"}, DataError, r"no categories; pair by instance \(--pairs instance\)"),
        ("dssa", {"loss": "triplet"}, ConfigError, "'dssa' has a loss of its own; choose loss triplet-squared"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_any_work(
    encoder: str, change: dict[str, Any], kind: Any, match: str, polygons: SketchDataset, refuses: Any
) -> None:
    split = polygons.split("validation")
    named = ("chair",) * len(split.sketches), ("chair",) * len(split.photos)
    lonely = Split(split.sketches, split.targets * 0 - 1, split.photos, *named)
    dataset = polygons if change else replace(polygons, splits={**polygons.splits, "validation": lonely})
    network = make_encoder(EncoderConfig(encoder, size=81, dim=8))
    for work in (check_stage1, train_stage1):
        with refuses(kind, match):
            work(network, dataset, replace(QUICK, **change))


def test_one_photo_is_not_enough(polygons: SketchDataset, train: Train, refuses: Any) -> None:
    split = polygons.split("train")
    one = replace(split, sketches=split.sketches[:2], targets=split.targets[:2])
    with refuses(DataError, "polygons: stage 1 needs sketches of two training photos"):
        train(dataset=replace(polygons, splits={**polygons.splits, "train": one}))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"loss": "tripplet"}, "unknown loss 'tripplet': did you mean 'triplet'"),
        ({"frames": "all"}, "unknown frames 'all'"),
        ({"frames": "0"}, "unknown frames '0'"),
        ({"frames": "100"}, "unknown frames '100'"),
        ({"precision": "fp16"}, "unknown precision 'fp16'"),
        ({"epochs": 0}, "epochs=0: must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"batch": 1}, "batch=1: a batch needs a second pair"),
        ({"freeze": 1.5}, r"freeze=1.5: must lie in 0\.\.1"),
        ({"complete_share": -0.1}, "complete_share=-0.1"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0: must be 0 or more"),
        ({"augment": -1.0}, "augment"),
        ({"removal": 1.5}, r"removal=1.5: must lie in 0\.\.1"),
        ({"deformation": -1.0}, "deformation=-1.0: must be 0 or more"),
        ({"patience": -1}, "patience"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_out_of_range(change: dict[str, Any], match: str, refuses: Any) -> None:
    with refuses(ConfigError, match):
        Stage1Config(**change)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["auto", "tf32", "float32"])
def test_training_on_a_gpu(precision: str, polygons: SketchDataset) -> None:
    encoder = Encoder(EncoderConfig(size=32, dim=8)).to("cuda")
    progress = train_stage1(encoder, polygons, replace(QUICK, epochs=8, precision=precision))
    assert progress.best_score > CHANCE
