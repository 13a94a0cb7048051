"""ZSE-SBIR: tokens at their places, both scores, the loss; on small networks with random weights."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, layer_norm, normalize

from sketchless.datasets import ConfigError, SketchDataset
from sketchless.encoders import (
    LOSSES,
    ZSE,
    EncoderConfig,
    Frames,
    Stage1Config,
    Tokens,
    encode_banks,
    load_encoder,
    make_encoder,
    train_stage1,
)
from sketchless.encoders.networks.encoder import inference
from sketchless.encoders.networks.vit import Sizes
from sketchless.encoders.networks.zse import CrossAttention, RelationNetwork, relation_loss, strangers
from sketchless.encoders.tensorfile import save_tensors

SIDE = 8  # patches of 8 px in images of 64 px
COPIED = [(1, 5), (1, 6), (2, 5), (2, 6)]  # patches (y, x) amid what `planted` copies
DOWN, LEFT = 4, 4  # by so many patches


class Coloured(ZSE):
    """With the colours of noise, which tell patches apart before any training; contours of noise are all alike."""

    sizes = Sizes(layers=6, contours=False)


@pytest.fixture(scope="module")
def zse() -> ZSE:
    return Coloured(EncoderConfig("zse", size=64, dim=16)).eval()


@pytest.fixture(scope="module")
def planted() -> tuple[Tensor, Tensor]:
    """Pairs of noise images [60, 3, 64, 64]; the upper right quarter of the first is the lower left of the second.

    Any mix-up of rows and columns would look elsewhere.
    """
    random = torch.Generator().manual_seed(0)
    one, other = torch.rand(2, 60, 3, 64, 64, generator=random)
    other[:, :, 32:, :32] = one[:, :, :32, 32:]
    return one, other


@torch.no_grad()
def test_planted_matches_are_found_at_their_places(zse: ZSE, planted: tuple[Tensor, Tensor]) -> None:
    sketch, photo = (zse.tokens(images) for images in planted)
    assert sketch.places.shape == photo.places.shape == (60, 48)  # the selection has dropped 16 of 64
    match = zse.match(sketch, photo)
    found = []
    for n in range(60):
        for y, x in COPIED:
            here, there = y * SIDE + x, (y + DOWN) * SIDE + x - LEFT
            if here in sketch.places[n] and there in photo.places[n]:
                row = (sketch.places[n] == here).nonzero().item()
                found.append(photo.places[n, match[n, row].argmax()].item() == there)
    assert len(found) > 100
    assert sum(found) / len(found) > 0.8  # by chance: 1 in 48


@torch.no_grad()
def test_planted_matches_survive_the_pooling(zse: ZSE, planted: tuple[Tensor, Tensor]) -> None:
    sketch, photo = zse.attend(*(zse.tokens(images) for images in planted))
    cosines = zse.network.cosines(sketch, photo)
    assert cosines.shape == (60, 16, 16)
    half, found = SIDE // 2, []
    for y, x in ((0, 2), (0, 3), (1, 2), (1, 3)):  # cells of 2x2 patches
        v, u = y + DOWN // 2, x - LEFT // 2
        whole = kept(sketch)[:, y * half + x] & kept(photo)[:, v * half + u]
        found.append((cosines[:, y * half + x].argmax(dim=1) == v * half + u)[whole])
    assert torch.cat(found).numel() > 20
    assert torch.cat(found).float().mean() > 0.7  # by chance: 1 in 16


def kept(tokens: Tokens) -> Tensor:
    """Cells of 2x2 patches none of which was dropped: bool [B, 16]."""
    there = tokens.having(torch.ones_like(tokens.values[:, :, :1])).map()
    return avg_pool2d(there, 2).flatten(1) == 1


@torch.no_grad()
def test_match_is_the_cosine_after_attention(zse: ZSE, planted: tuple[Tensor, Tensor]) -> None:
    sketch, photo = (zse.tokens(images[:2]) for images in planted)
    one, other = zse.attend(sketch, photo)
    assert one.places is sketch.places
    match = zse.match(sketch, photo)
    assert match.shape == (2, 48, 48)
    for n, i, j in ((0, 3, 7), (1, 47, 0)):
        a, b = one.values[n, i], other.values[n, j]
        assert match[n, i, j].item() == pytest.approx((a @ b / (a.norm() * b.norm())).item(), abs=1e-5)


@torch.no_grad()
def test_cross_attention_is_that_of_torch() -> None:
    layer, theirs = CrossAttention(24), nn.MultiheadAttention(24, 8, batch_first=True)
    theirs.in_proj_weight = nn.Parameter(torch.cat([layer.query.weight, layer.key_value.weight]))
    theirs.in_proj_bias = nn.Parameter(torch.cat([layer.query.bias, layer.key_value.bias]))
    theirs.out_proj = layer.out  # type: ignore[assignment]
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 5, 24, generator=random), torch.randn(2, 9, 24, generator=random)
    first = layer_norm(x + theirs(x, y, y)[0], (24,))
    expected = layer_norm(first + layer.feed_forward(first), (24,))
    torch.testing.assert_close(layer(x, y), expected)


def test_the_papers_relation_network() -> None:
    network = RelationNetwork(768, 14)
    assert network.pool.weight.shape == (512, 768, 2, 2)
    widths = [(m.in_features, m.out_features) for m in network.mlp if isinstance(m, nn.Linear)]
    assert widths == [(2401, 343), (343, 49), (49, 1)]


@torch.no_grad()
def test_a_cell_without_tokens_matches_nothing() -> None:
    network = RelationNetwork(24, 4)
    values = torch.randn(1, 2, 24, generator=torch.Generator().manual_seed(0))
    tokens = Tokens(values, torch.tensor([[0, 11]]), torch.ones(1, 2) / 2, (4, 4))  # in cells 0 and 3
    cosines = network.cosines(tokens, tokens)[0]
    expected = torch.zeros(4, 4)
    expected[0, 0] = expected[3, 3] = 1
    expected[0, 3] = expected[3, 0] = cosines[0, 3]
    assert cosines[0, 3].abs() > 1e-3
    torch.testing.assert_close(cosines, expected)


@torch.no_grad()
def test_relation_scores_pairs_one_by_one(zse: ZSE, planted: tuple[Tensor, Tensor]) -> None:
    sketches, photos = (images[:3] for images in planted)
    scores = zse.relation(sketches, photos)
    assert scores.shape == (3,)
    assert ((scores > 0) & (scores < 1)).all()
    alone = [zse.relation(s[None], p[None]).item() for s, p in zip(sketches, photos, strict=True)]
    assert scores.tolist() == pytest.approx(alone, abs=1e-5)
    torch.testing.assert_close(scores, zse.relation(zse.tokens(sketches), photos))
    assert not torch.allclose(scores, zse.relation(photos, sketches), atol=1e-5)  # the sketch is the first


def test_a_stranger_is_the_next_pair_with_another_label() -> None:
    assert strangers(torch.tensor([5, 5, 7, 5, 7])).tolist() == [2, 2, 3, 4, 0]
    assert strangers(torch.tensor([3, 3])).tolist() == [-1, -1]


def test_relation_loss_by_hand() -> None:
    right, wrong = torch.tensor([0.89, 0.99]), torch.tensor([0.21, 0.77])
    # errors 0.1, 0 and 0.2; the second stranger does not count: (0.01 + 0 + 0.04) / 3
    loss = relation_loss(right, wrong, torch.tensor([True, False]))
    assert loss.item() == pytest.approx(0.05 / 3, abs=1e-6)


@torch.no_grad()
def test_loss_is_the_weighted_sum_of_both(zse: ZSE, planted: tuple[Tensor, Tensor]) -> None:
    sketches, photos = (images[:4] for images in planted)
    labels, partner = torch.tensor([0, 1, 1, 2]), [1, 3, 3, 0]
    hinge = []
    for i in range(4):
        distance = [(zse(sketches[i : i + 1]) - zse(photos[j : j + 1])).norm().item() for j in range(4)]
        hinge += [max(0.0, 1 + distance[i] - distance[j]) for j in range(4) if labels[i] != labels[j]]
    square = [(zse.relation(sketches[i : i + 1], photos[i : i + 1]).item() - 0.99) ** 2 for i in range(4)]
    square += [(zse.relation(sketches[i : i + 1], photos[j : j + 1]).item() - 0.01) ** 2 for i, j in enumerate(partner)]
    expected = 2 * sum(hinge) / len(hinge) + 4 * sum(square) / len(square)
    assert zse.loss(sketches, photos, labels, LOSSES["triplet"]).item() == pytest.approx(expected, abs=1e-4)
    contrastive = LOSSES["contrastive"](zse(sketches), zse(photos), labels).item()
    expected = 2 * contrastive + 4 * sum(square) / len(square)
    assert zse.loss(sketches, photos, labels, LOSSES["contrastive"]).item() == pytest.approx(expected, abs=1e-4)
    same = zse.loss(sketches, photos, torch.zeros(4, dtype=torch.int64), LOSSES["triplet"])
    assert same.item() == pytest.approx(4 * sum(square[:4]) / 4, abs=1e-4)  # nobody to tell apart


class TinyZSE(ZSE):
    sizes = Sizes(patch=8, width=24, layers=3, heads=2, hidden=32)


@pytest.fixture
def tiny() -> ZSE:
    return TinyZSE(EncoderConfig("zse", size=32, dim=8)).eval()


def test_saved_and_loaded_it_gives_the_same_scores(tiny: ZSE, tmp_path: Path) -> None:
    tiny.save(tmp_path / "zse")
    again = load_encoder(tmp_path / "zse", "cpu")
    assert isinstance(again, ZSE)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(again(images), tiny(images))
        assert torch.equal(again.relation(images[:2], images[2:]), tiny.relation(images[:2], images[2:]))


def test_a_file_of_before_pixels_had_statistics_gives_the_same_scores(tiny: ZSE, tmp_path: Path) -> None:
    for contours in (True, False):
        tiny.vit.sizes = replace(tiny.vit.sizes, contours=contours)
        rebuild = {k: v for k, v in tiny.rebuild.items() if k not in ("mean", "deviation")}
        about = {"config": asdict(tiny.config), "rebuild": rebuild}
        save_tensors(tmp_path / "zse", "encoder", tiny.state_dict(), about)
        images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            assert torch.equal(load_encoder(tmp_path / "zse", "cpu")(images), tiny(images))


@pytest.mark.parametrize("about", [{}, {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}])
def test_a_pretrained_one_comes_back_without_its_folder(about: dict[str, list[float]], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    layers = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    with torch.random.fork_rng(devices=[]):
        transformers.ViTModel(transformers.ViTConfig(image_size=32, patch_size=8, **layers)).save_pretrained(
            tmp_path / "vit"
        )
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(about))
    encoder = make_encoder(EncoderConfig(f"zse:hf:{tmp_path / 'vit'}", size=64, dim=8)).eval()
    assert isinstance(encoder, ZSE)
    encoder.save(tmp_path / "zse")
    (tmp_path / "vit").rename(tmp_path / "gone")
    again = load_encoder(tmp_path / "zse", "cpu")
    assert isinstance(again, ZSE)
    assert again.vit.mean.flatten().tolist() == torch.tensor(about.get("image_mean", [0.5])).tolist()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(again(images), encoder(images))


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (EncoderConfig("zse:vit"), "give zse, or zse:hf:"),
        (EncoderConfig("zse:hf:"), "give zse, or zse:hf:"),
        (EncoderConfig("zse", attention=True), "its own attention"),
        (EncoderConfig("zse", size=40), "no multiple of two patches"),
    ],
)
def test_what_it_cannot_be_is_refused(config: EncoderConfig, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make_encoder(config)


def test_ret_of_its_bank_is_ret_and_the_bank_plays(tiny: ZSE, polygons: SketchDataset) -> None:
    bank = encode_banks(tiny, polygons, steps=3, splits=["test"])["test"]
    split = polygons.split("test")
    with inference(tiny):
        sketches = tiny(tiny.sketch_inputs(Frames(split.sketches, "points", 1).birth < 255))
        photos = tiny(tiny.photo_inputs([polygons.photo(i) for i in split.photos]))
    embedded = normalize(bank.features[:, -1] @ bank.weight.T + bank.bias, dim=-1)
    torch.testing.assert_close(embedded @ bank.gallery.T, sketches @ photos.T, rtol=0, atol=1e-5)

    env = gymnasium.make("sketchless.envs:sketchless/OnTheFly-v0", bank=bank)
    observation, _ = env.reset(seed=0)
    assert observation.shape == (24,)
    for step in range(3):
        _, reward, terminated, _, info = env.step(np.zeros(8, dtype=np.float32))
        assert np.isfinite(reward)
        assert terminated == (step == 2)
    row = bank.sketch_ids.index(info["sketch_id"])
    similarity = embedded[row] @ bank.gallery.T
    assert info["rank"] == (similarity >= similarity[bank.targets[row]]).sum()


def test_training_lowers_the_loss_and_learns(polygons: SketchDataset) -> None:
    encoder = TinyZSE(EncoderConfig("zse", size=32, dim=8))
    config = Stage1Config(epochs=12, batch=16, augment=0, flip=False, learning_rate=2e-3)
    progress = train_stage1(encoder, polygons, config)
    losses = [entry["loss"] for entry in progress.history]
    assert losses[-1] < 0.8 * losses[0]


def _half(rank: int, folder: str) -> None:
    """One of two processes: its half of a batch, and the mean over the processes of the gradients."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    sketches, photos, labels = _batch()
    mine = slice(4 * rank, 4 * rank + 4)
    loss, gradient = _gradient(sketches[mine], photos[mine], labels)
    torch.distributed.all_reduce(gradient)
    if rank == 0:
        save_file({"loss": loss, "gradient": gradient / 2}, f"{folder}/found")
    torch.distributed.destroy_process_group()


def _batch() -> tuple[Tensor, Tensor, Tensor]:
    sketches, photos = torch.rand(2, 8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return sketches, photos, torch.tensor([0, 1, 1, 2, 2, 1, 0, 3])


def _gradient(sketches: Tensor, photos: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    encoder = TinyZSE(EncoderConfig("zse", size=32, dim=8))
    loss = encoder.loss(sketches, photos, labels, LOSSES["triplet"])
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None])


@pytest.mark.slow
def test_two_processes_share_a_batch(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_half, args=(str(tmp_path),), nprocs=2)
    found = load_file(tmp_path / "found")
    loss, gradient = _gradient(*_batch())
    torch.testing.assert_close(found["loss"], loss)
    torch.testing.assert_close(found["gradient"], gradient, rtol=1e-4, atol=1e-6)
