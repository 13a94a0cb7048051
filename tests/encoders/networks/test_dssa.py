from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from sketchless.datasets import ConfigError
from sketchless.encoders import LOSSES, EncoderConfig, make_encoder
from sketchless.encoders.networks.dssa import DSSA, MARGIN, PENALTY, energy, near_identity, photo_vectors

IMAGES = torch.rand(3, 1, 129, 129, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def net() -> DSSA:
    made = make_encoder(EncoderConfig("dssa", size=129, dim=8))
    assert isinstance(made, DSSA)
    return made


def vectors(n: int, width: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(n, width, generator=generator, dtype=torch.float64), dim=-1)


def matrix(width: int, seed: int = 0) -> Tensor:
    noise = torch.randn(width, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.eye(width, dtype=torch.float64) + 0.3 * noise


def loop_energy(s: Tensor, p: Tensor, w: Tensor) -> float:
    n = len(s)
    return sum(float(w[i, j]) * (float(s[i]) - float(p[j])) ** 2 for i in range(n) for j in range(n))


def test_energy_by_hand() -> None:
    w = torch.tensor([[1.0, 2.0], [0.0, 1.0]])
    # 1 (1 - 0)^2 + 2 (1 - 3)^2 + 0 (2 - 0)^2 + 1 (2 - 3)^2 = 1 + 8 + 0 + 1
    assert energy(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 3.0]]), w).item() == 10


def test_more_attention_is_refused(refuses: Any) -> None:
    with refuses(ConfigError, "its own attention"):
        make_encoder(EncoderConfig("dssa", size=129, dim=8, attention=True))


@pytest.mark.parametrize("seed", range(3))
def test_energy_equals_the_double_loop(seed: int) -> None:
    s, p, w = vectors(4, 6, seed), vectors(5, 6, seed + 10), matrix(6, seed)
    expected = torch.tensor([[loop_energy(a, b, w) for b in p] for a in s], dtype=torch.float64)
    torch.testing.assert_close(energy(s, p, w), expected)


def test_identity_gives_squared_distances_and_no_penalty() -> None:
    s, p, eye = vectors(4, 6, 0), vectors(5, 6, 1), torch.eye(6, dtype=torch.float64)
    torch.testing.assert_close(energy(s, p, eye), torch.cdist(s, p).square())
    assert near_identity(eye).item() == 0
    assert near_identity(eye + 0.5).item() == pytest.approx(36 * 0.25)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_order_by_cosine_is_order_by_energy(seed: int, spread: float, net: DSSA) -> None:
    width = len(net.coupling)
    noise = torch.randn(width, width, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        net.coupling.copy_(spread * width**0.5 * noise)
    s, p = vectors(6, width, seed).float(), vectors(20, width, seed + 10).float()
    if spread == 0:
        expected = torch.cdist(s, p)
    else:
        expected = energy(s.double(), p.double(), net.energy_matrix.double())
        assert not torch.equal(expected.argsort(dim=1), torch.cdist(s, p).argsort(dim=1))  # it matters
    g = photo_vectors(p, net.energy_matrix)
    torch.testing.assert_close(g.norm(dim=1), torch.ones(20))
    assert torch.equal((net.embed(s) @ g.T).argsort(dim=1, descending=True), expected.argsort(dim=1))


def test_all_photo_vectors_are_equally_long_before_they_are_divided() -> None:
    p, w = vectors(9, 6, 0), matrix(6)
    length = (1 + w.sum(dim=0).abs().max() ** 2).sqrt()
    torch.testing.assert_close(photo_vectors(p, w)[:, :6] * length, p)


def test_attention_mask_sums_to_1(net: DSSA) -> None:
    maps = net.blocks(IMAGES)
    mask = net.attention.mask(maps)
    assert mask.shape == (3, 1, *maps.shape[2:])
    torch.testing.assert_close(mask.sum(dim=(1, 2, 3)), torch.ones(3))
    torch.testing.assert_close(net.maps(IMAGES), maps * (1 + mask))


def test_without_attention_weights_the_fusion_is_of_the_plain_map(net: DSSA) -> None:
    with torch.no_grad():
        for weight in net.attention.parameters():
            weight.zero_()
    maps = net.blocks(IMAGES)
    assert maps.shape[2:] == (3, 3)
    plain = maps * (1 + 1 / 9)
    coarse = normalize(net.fc7(normalize(net.fc6(plain).relu().flatten(1), dim=1)), dim=1)
    fine = normalize(maps.mean(dim=(2, 3)), dim=1)
    torch.testing.assert_close(net.features(IMAGES), torch.cat([coarse, fine], dim=1) / 2**0.5)


def test_features_and_embeddings_are_unit_vectors(net: DSSA) -> None:
    features, embeddings, photos = net.features(IMAGES), net(IMAGES), net.embed_photos(IMAGES)
    assert features.shape == (3, 8 + 256)
    assert embeddings.shape == photos.shape == (3, 8 + 256 + 2)
    for some in (features, embeddings, photos):
        torch.testing.assert_close(some.norm(dim=1), torch.ones(3))


def test_loss_is_the_triplet_of_energies_and_reaches_w(net: DSSA) -> None:
    sketches, photos, labels = IMAGES, IMAGES.flip(0), torch.tensor([0, 1, 1])
    with torch.no_grad():
        net.coupling.copy_(torch.randn(264, 264, generator=torch.Generator().manual_seed(0)))
    loss = net.loss(sketches, photos, labels, LOSSES["triplet-squared"])
    loss.backward()
    with torch.inference_mode():
        e = energy(net.features(sketches), net.features(photos), net.energy_matrix).tolist()
    terms = [max(0.0, MARGIN + e[i][i] - e[i][j]) for i, j in ((0, 1), (0, 2), (1, 0), (2, 0))]
    expected = sum(terms) / 4 + PENALTY * near_identity(net.energy_matrix).item()
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert net.coupling.grad is not None
    assert net.coupling.grad.count_nonzero() > 0.9 * net.coupling.numel()


def test_at_the_start_it_is_the_squared_triplet(net: DSSA) -> None:
    labels = torch.arange(3)
    with torch.inference_mode():
        loss = net.loss(IMAGES, IMAGES.flip(0), labels, LOSSES["triplet-squared"])
        plain = LOSSES["triplet-squared"](net.features(IMAGES), net.features(IMAGES.flip(0)), labels)
    assert loss.item() == pytest.approx(plain.item(), abs=1e-5)


def test_another_loss_is_refused(net: DSSA, refuses: Any) -> None:
    with refuses(ConfigError, "'dssa' has a loss of its own; choose loss triplet-squared"):
        net.loss(IMAGES, IMAGES, torch.arange(3), LOSSES["contrastive"])
