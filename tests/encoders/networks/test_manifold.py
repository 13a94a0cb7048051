"""The manifold encoders: a dictionary of traits and the last layer that it generates."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from sketchless.datasets import ConfigError, SketchDataset
from sketchless.encoders import (
    LOSSES,
    Encoder,
    EncoderConfig,
    Stage1Config,
    encode_banks,
    load_encoder,
    make_encoder,
    train_stage1,
)
from sketchless.encoders.networks import manifold as module
from sketchless.encoders.networks.manifold import Manifold, ManifoldApart

IMAGES = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
QUICK = Stage1Config(epochs=2, batch=8, precision="float32")


def make(name: str = "manifold", seed: int = 0) -> Manifold:
    encoder = make_encoder(EncoderConfig(name, size=32, dim=8, seed=seed))
    assert isinstance(encoder, Manifold)
    return encoder.eval()


def adapted(seed: int = 0) -> Manifold:
    """One whose generated layer is not the plain head any more."""
    encoder = make(seed=seed)
    with torch.no_grad():
        encoder.generated.normal_(0, 0.3, generator=torch.Generator().manual_seed(seed))
    return encoder


def test_at_the_start_it_is_the_plain_head() -> None:
    encoder = make()
    plain = normalize(encoder.head(Encoder.features(encoder, IMAGES)), dim=-1)
    for embeddings in (encoder(IMAGES), encoder.features(IMAGES), encoder.embed_photos(IMAGES)):
        torch.testing.assert_close(embeddings, plain)


def test_features_are_the_embedding_and_the_head_is_the_identity() -> None:
    encoder = adapted()
    features = encoder.features(IMAGES)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(6))
    torch.testing.assert_close(encoder(IMAGES), features)
    weight, bias = encoder.linear_head()
    assert torch.equal(weight, torch.eye(8))
    assert not bias.any()
    assert not torch.allclose(features, encoder.embed_photos(IMAGES), atol=1e-2)


def test_photos_rank_as_if_both_sides_had_passed_the_sketchs_layer() -> None:
    """<A y_s, A y_p> for a loop over sketches is <e_s, y_p> times a positive number."""
    encoder = adapted()
    with torch.no_grad():
        photos = encoder.embed_photos(IMAGES.flip(-1))
        fast = encoder(IMAGES) @ photos.T
        x = Encoder.features(encoder, IMAGES)
        for i in range(len(x)):
            code = encoder.code(encoder.traits(x[i : i + 1]))[0]
            layer = torch.eye(8) + sum(code[k] * encoder.generated[k] for k in range(len(code)))
            slow = photos @ layer.T @ (layer @ normalize(encoder.head(x[i]), dim=-1))
            torch.testing.assert_close(normalize(fast[i], dim=0), normalize(slow, dim=0))
            assert fast[i] @ slow > 0


def test_code_by_hand() -> None:
    encoder = make()
    encoder.prototypes = nn.Parameter(torch.zeros(2, 128))
    with torch.no_grad():
        encoder.prototypes[0] = 1
    traits = torch.ones(1, 128)
    # |t - p|^2 / D is 0 and 1; over tau = 0.1: softmax(0, -10)
    expected = torch.tensor([[1.0, math.exp(-10)]]) / (1 + math.exp(-10))
    torch.testing.assert_close(encoder.code(traits), expected, rtol=1e-4, atol=0)
    # noise of 10 on the second makes them equal
    torch.testing.assert_close(encoder.code(traits, torch.tensor([[0.0, 10.0]])), torch.tensor([[0.5, 0.5]]))


def test_codes_are_distributions() -> None:
    code = make().code(torch.randn(5, 128))
    assert code.shape == (5, module.PROTOTYPES)
    torch.testing.assert_close(code.sum(dim=1), torch.ones(5))


def test_terms_of_the_dictionary_by_hand() -> None:
    encoder = make()
    encoder.prototypes = nn.Parameter(torch.zeros(2, 128))
    with torch.no_grad():
        encoder.prototypes[0], encoder.prototypes[1] = 3.0, -3.0
    one = torch.full((2, 128), 3.0)
    both = torch.stack([one[0], -one[0]])
    exact = torch.eye(2)
    # all traits at one prototype: rebuilt exactly, but one of two used: log 2 - 0
    assert encoder._dictionary(one, exact[[0, 0]]).item() == pytest.approx(module.USE * math.log(2), rel=1e-5)
    # both used alike and rebuilt exactly: nothing to gain
    assert encoder._dictionary(both, exact).item() == pytest.approx(0, abs=1e-6)
    # codes the wrong way round: every entry is 6 off
    assert encoder._dictionary(both, exact.flip(0)).item() == pytest.approx(module.REBUILD * 36, rel=1e-5)


@pytest.mark.parametrize("use", [0.0, module.USE])
def test_equal_use_keeps_prototypes_from_dying(use: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """From one prototype in the middle and the others far: without that term they stay out of use."""
    monkeypatch.setattr(module, "USE", use)
    encoder = make()
    generator = torch.Generator().manual_seed(0)
    traits = 0.5 * torch.randn(64, 128, generator=generator)
    with torch.no_grad():
        encoder.prototypes.copy_(torch.randn(module.PROTOTYPES, 128, generator=generator))
        encoder.prototypes[0] = 0
    optimizer = torch.optim.Adam([encoder.prototypes], lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        encoder._dictionary(traits, encoder.code(traits, encoder._noise(64))).backward()
        optimizer.step()
    usage = encoder.code(traits).mean(dim=0).detach()
    used = float(-(usage * usage.log()).sum() / math.log(len(usage)))  # 1: all alike
    assert used > 0.9 if use else used < 0.5


def test_loss_is_the_metric_loss_and_the_dictionarys() -> None:
    encoder = adapted()
    labels = torch.arange(3)
    noise = encoder._noise(3)
    encoder.step.zero_()
    total = encoder.loss(IMAGES[:3], IMAGES[3:], labels, LOSSES["triplet"])
    x = Encoder.features(encoder, IMAGES[:3])
    code = encoder.code(encoder.traits(x), noise)
    metric = LOSSES["triplet"](encoder.adapt(x, code), encoder.embed_photos(IMAGES[3:]), labels)
    torch.testing.assert_close(total, metric + encoder._dictionary(encoder.traits(x), code))
    total.backward()
    for part in (encoder.prototypes, encoder.generated, encoder.head.weight):
        assert part.grad is not None
        assert part.grad.abs().sum() > 0


def test_noise_is_gumbel_and_follows_from_seed_and_step() -> None:
    before = torch.get_rng_state()
    one, other = make(), make(seed=1)
    first, second = one._noise(4000), one._noise(4000)
    assert not torch.equal(first, second)
    assert torch.equal(make()._noise(4000), first)
    assert not torch.equal(other._noise(4000), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.mean().item() == pytest.approx(0.5772, abs=0.05)  # Euler's constant
    assert first.var().item() == pytest.approx(math.pi**2 / 6, abs=0.15)


def test_evaluation_has_no_noise() -> None:
    encoder = adapted()
    assert torch.equal(encoder(IMAGES), encoder(IMAGES))
    assert encoder.step == 0


def test_killed_and_resumed_equals_uninterrupted(polygons: SketchDataset, tmp_path: Path) -> None:
    def kill(_: Any) -> None:
        raise KeyboardInterrupt

    whole = make()
    train_stage1(whole, polygons, QUICK)
    with pytest.raises(KeyboardInterrupt):
        train_stage1(make(), polygons, QUICK, checkpoint=tmp_path / "c", on_epoch=kill)
    resumed = make()
    train_stage1(resumed, polygons, QUICK, checkpoint=tmp_path / "c")
    assert resumed.digest() == whole.digest() != make().digest()


def test_saved_encoder_and_its_banks_come_back(polygons: SketchDataset, tmp_path: Path) -> None:
    encoder = adapted()
    encoder.save(tmp_path / "encoder")
    loaded = load_encoder(tmp_path / "encoder", "cpu")
    assert isinstance(loaded, Manifold)
    assert torch.equal(loaded(IMAGES), encoder(IMAGES))
    bank = encode_banks(loaded, polygons, splits=("test",), steps=3)["test"]
    split = polygons.split("test")
    photos = encoder.photo_inputs([polygons.photo(name) for name in split.photos])
    torch.testing.assert_close(bank.gallery, encoder.embed_photos(photos).detach())
    assert bank.features.shape == (8, 3, 8)


def test_any_backbone(refuses: Any) -> None:
    assert make("manifold:small-cnn").digest() == make().digest()
    with refuses(ConfigError, "did you mean 'small-cnn'"):
        make("manifold:smal-cnn")


def apart(seed: int = 0) -> ManifoldApart:
    encoder = make("manifold-apart", seed)
    assert isinstance(encoder, ManifoldApart)
    with torch.no_grad():  # else its layer is the plain head
        encoder.generator[-1].weight.normal_(0, 0.3, generator=torch.Generator().manual_seed(seed))
    return encoder


def test_apart_starts_as_the_plain_head_and_then_adapts_sketches_alone() -> None:
    encoder = make("manifold-apart")
    plain = normalize(encoder.head(Encoder.features(encoder, IMAGES)), dim=-1)
    torch.testing.assert_close(encoder(IMAGES), plain)
    torch.testing.assert_close(encoder.embed_photos(IMAGES), plain)
    changed = apart()
    assert not torch.allclose(changed(IMAGES), plain, atol=1e-2)
    torch.testing.assert_close(changed.embed_photos(IMAGES), plain)


def test_apart_photos_rank_as_if_both_sides_had_passed_the_layer_of_the_prototypes() -> None:
    encoder = apart()
    with torch.no_grad():
        photos = encoder.embed_photos(IMAGES.flip(-1))
        fast = encoder(IMAGES) @ photos.T
        for i, y in enumerate(normalize(encoder.head(Encoder.features(encoder, IMAGES)), dim=-1)):
            code = encoder.code(encoder.describe(IMAGES[i : i + 1]))[0]
            mixed = sum(code[k] * encoder.prototypes[k] for k in range(len(code)))
            layer = torch.eye(8) + encoder.generator(mixed).view(8, 8)
            slow = photos @ layer.T @ (layer @ y)
            torch.testing.assert_close(normalize(fast[i], dim=0), normalize(slow, dim=0))


@pytest.mark.parametrize("metric", [True, False])
def test_apart_the_two_losses_share_no_weights(metric: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = apart()
    if metric:
        monkeypatch.setattr(encoder, "_apart", lambda *_: 0)
    loss = LOSSES["triplet"] if metric else lambda sketches, *_: 0 * sketches.detach().sum()
    encoder.loss(IMAGES[:3], IMAGES[3:], torch.arange(3), loss).backward()
    reached = {name.partition(".")[0] for name, p in encoder.named_parameters() if p.grad is not None and p.grad.any()}
    of_metric, of_dictionary = {"backbone", "head", "generator"}, {"describer", "prototypes", "drawer"}
    assert reached == (of_metric if metric else of_dictionary)
    assert of_metric | of_dictionary == {name.partition(".")[0] for name, _ in encoder.named_parameters()}


def test_apart_what_the_dictionary_learns_from_by_hand() -> None:
    encoder = apart()
    encoder.prototypes = nn.Parameter(torch.zeros(2, 128))
    with torch.no_grad():
        encoder.prototypes[0], encoder.prototypes[1] = 3.0, -3.0
        encoder.drawer.weight.zero_()
        encoder.drawer.bias.zero_()  # draws 1/2 everywhere
    one = torch.full((2, 128), 3.0)
    both = torch.stack([one[0], -one[0]])
    ink = torch.zeros(2, 3, 32, 32)
    ink[:, :, :16] = 1  # half of each sketch: (1/2)^2 everywhere, over 1 in one half
    half = 0.25 / 0.5
    assert encoder._apart(ink, both, torch.eye(2)).item() == pytest.approx(half, rel=1e-5)
    idle = module.USE * math.log(2)  # one of two prototypes used
    assert encoder._apart(ink, one, torch.eye(2)).item() == pytest.approx(half + idle, rel=1e-5)


def test_apart_the_dictionary_learns_to_draw_and_uses_its_prototypes(polygons: SketchDataset) -> None:
    """Four figures, alike in their category: no pair or label is given."""
    figures = torch.zeros(4, 3, 32, 32)
    figures[0, :, :, 14:18] = figures[1, :, 14:18] = 1
    figures[2, :, :, :4] = figures[3, :, :4] = 1
    encoder = apart()
    parameters = [*encoder.describer.parameters(), *encoder.drawer.parameters(), encoder.prototypes]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2)
    losses = []
    for _ in range(150):
        traits = encoder.describe(figures)
        loss = encoder._apart(figures, traits, encoder.code(traits, encoder._noise(4)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert len(set(encoder.code(encoder.describe(figures)).argmax(dim=1).tolist())) == 4


def test_apart_is_saved_and_comes_back(tmp_path: Path) -> None:
    encoder = apart()
    encoder.save(tmp_path / "encoder")
    loaded = load_encoder(tmp_path / "encoder", "cpu")
    assert isinstance(loaded, ManifoldApart)
    assert torch.equal(loaded(IMAGES), encoder(IMAGES))
