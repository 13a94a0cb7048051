from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation
from torch import Tensor

from sketchless.benchmarks.metrics import evaluate
from sketchless.datasets import ConfigError, SketchDataset
from sketchless.encoders import (
    LOSSES,
    Encoder,
    EncoderConfig,
    Frames,
    Stage1Config,
    encode_banks,
    load_encoder,
    make_encoder,
    train_stage1,
)
from sketchless.encoders.networks.dssa import DSSA, energy
from sketchless.encoders.networks.sketch_a_net import SketchANet, edge_map, map_side

SMALL = EncoderConfig("sketch-a-net", size=81, dim=8)


@pytest.fixture(scope="module")
def net() -> Encoder:
    return make_encoder(SMALL).eval()


def square() -> np.ndarray:
    picture = np.full((64, 64), 0.8, np.float32)
    picture[16:48, 16:48] = 0.2
    return picture


def pairs_of(encoder: Encoder, dataset: SketchDataset) -> tuple[Tensor, Tensor, Tensor]:
    split = dataset.split("train")
    sketches = encoder.sketch_inputs(Frames(split.sketches).birth < 255)
    photos = encoder.photo_inputs([dataset.photo(split.photos[i]) for i in split.targets])
    return sketches, photos, torch.from_numpy(split.targets)


def test_layers_of_the_paper() -> None:
    net = make_encoder(EncoderConfig("sketch-a-net", size=225, dim=256))
    assert isinstance(net, SketchANet)
    shapes, kernels = [], []
    for module in net.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.MaxPool2d)):
            module.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
        if isinstance(module, torch.nn.Conv2d):
            kernels.append((*module.kernel_size, module.stride[0]))
    with torch.inference_mode():
        assert net(torch.zeros(1, 1, 225, 225)).shape == (1, 256)
    assert shapes == [
        *((64, 71, 71), (64, 35, 35)),  # conv1, pool
        *((128, 31, 31), (128, 15, 15)),  # conv2, pool
        *((256, 15, 15), (256, 15, 15), (256, 15, 15), (256, 7, 7)),  # conv3 to 5, pool
        (512, 1, 1),  # fc6
    ]
    assert kernels == [(15, 15, 3), (5, 5, 1), (3, 3, 1), (3, 3, 1), (3, 3, 1), (7, 7, 1)]
    assert net.head.weight.shape == (256, 512)


@pytest.mark.parametrize("size", [81, 100, 129, 225])
def test_fc6_spans_the_last_map(size: int) -> None:
    net = make_encoder(replace(SMALL, size=size))
    assert isinstance(net, SketchANet)
    with torch.inference_mode():
        assert net.maps(torch.zeros(1, 1, size, size)).shape[2:] == (map_side(size), map_side(size))


def test_too_small_a_size_is_said(refuses: Any) -> None:
    with refuses(ConfigError, "'sketch-a-net': size=80; give 81 or more"):
        make_encoder(replace(SMALL, size=80))


def test_features_and_embeddings_are_unit_vectors(net: Encoder) -> None:
    images = torch.rand(3, 1, 81, 81, generator=torch.Generator().manual_seed(0))
    features, embeddings = net.features(images), net(images)
    assert features.shape == (3, 512)
    assert embeddings.shape == (3, 8)
    for vectors in (features, embeddings):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(embeddings, net.embed(features))


def test_training_and_evaluation_are_one_function(net: Encoder) -> None:
    images = torch.rand(3, 1, 81, 81, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([net(image[None]) for image in images])
    net.train()
    torch.testing.assert_close(net(images), alone, atol=1e-5, rtol=1e-4)
    net.eval()


def test_edges_of_a_square_are_its_outline() -> None:
    edges = edge_map(square())
    rows, columns = np.indices(edges.shape)
    # how far outside (positive) or inside of the square's border, which runs between pixels 15|16 and 47|48
    y, x = np.abs(rows - 31.5), np.abs(columns - 31.5)
    away = np.maximum(y, x) - 16
    assert edges.dtype == np.float32
    assert (edges[np.abs(away) > 3] == 0).all()
    assert (edges[(np.abs(away) < 1) & (np.minimum(y, x) < 14)] > 0.9).all()  # corners are rounded
    assert 0 <= edges.min() <= edges.max() == 1
    assert ((edges[32] > 0).sum(), (edges[:, 32] > 0).sum()) <= (8, 8)  # two lines, thin


def test_dark_and_bright_squares_have_the_same_edges() -> None:
    # Of two pixels that are equally near to an edge, the darker one is it: half a pixel of difference.
    for other in (1 - square(), 0.1 * square()):
        one, two = (edge_map(picture) > 0.9 for picture in (square(), other))
        assert not (one & ~binary_dilation(two)).any()
        assert not (two & ~binary_dilation(one)).any()


def test_a_flat_picture_has_no_edges() -> None:
    assert not edge_map(np.full((40, 30), 0.5, np.float32)).any()


def test_photos_become_one_channel_of_edges(net: Encoder, polygons: SketchDataset) -> None:
    sketches, photos, _ = pairs_of(net, polygons)
    assert sketches.shape == photos.shape == (32, 1, 81, 81)
    assert 0 <= photos.min() <= photos.max() <= 1
    assert net.photo_inputs([]).shape == (0, 1, 81, 81)
    # a line drawing and the outline of the polygon that it draws lie near each other
    likeness = torch.nn.functional.cosine_similarity(sketches.flatten(1), photos.flatten(1))
    others = torch.nn.functional.cosine_similarity(sketches.flatten(1), photos.roll(8, 0).flatten(1))
    assert likeness.mean() > others.mean() + 0.2


@pytest.mark.parametrize("name", ["sketch-a-net", "dssa"])
def test_an_epoch_lowers_the_loss(name: str, polygons: SketchDataset) -> None:
    encoder = make_encoder(replace(SMALL, backbone=name))
    batch = (*pairs_of(encoder, polygons), LOSSES["triplet-squared"])
    with torch.inference_mode():
        before = encoder.loss(*batch)
    config = Stage1Config(loss="triplet-squared", epochs=1, batch=8, learning_rate=1e-3, removal=0.3, deformation=0.5)
    train_stage1(encoder, polygons, config)
    with torch.inference_mode():
        assert encoder.loss(*batch) < 0.9 * before


@pytest.mark.parametrize("name", ["sketch-a-net", "dssa"])
def test_saved_and_loaded(name: str, tmp_path: Path) -> None:
    encoder = make_encoder(replace(SMALL, backbone=name)).eval()
    encoder.save(tmp_path / "e")
    again = load_encoder(tmp_path / "e", "cpu")
    images = torch.rand(2, 1, 81, 81, generator=torch.Generator().manual_seed(0))
    assert type(again) is type(encoder)
    assert torch.equal(again(images), encoder(images))
    assert torch.equal(again.embed_photos(images), encoder.embed_photos(images))


@pytest.mark.parametrize("name", ["sketch-a-net", "dssa"])
def test_episodes_without_refinement_rank_as_the_encoder_does(name: str, polygons: SketchDataset) -> None:
    encoder = make_encoder(replace(SMALL, backbone=name)).eval()
    if isinstance(encoder, DSSA):  # away from W = I, where its energy is a distance
        width = len(encoder.coupling)
        noise = torch.randn(width, width, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            encoder.coupling.copy_(width**0.5 * noise)
    bank = encode_banks(encoder, polygons, steps=2, splits=("validation",))["validation"]
    split = polygons.split("validation")
    with torch.inference_mode():
        sketches = encoder.features(encoder.sketch_inputs(Frames(split.sketches).birth < 255))
        photos = encoder.photo_inputs([polygons.photo(i) for i in split.photos])
        if isinstance(encoder, DSSA):
            distance = energy(sketches, encoder.features(photos), encoder.energy_matrix)
        else:
            distance = torch.cdist(encoder.embed(sketches), encoder(photos))
    own = distance.take_along_dim(torch.from_numpy(split.targets).unsqueeze(1), dim=1)
    rank = (distance < own).sum(dim=1) + 1
    assert rank.unique().numel() > 2
    assert evaluate(None, bank).rank[:, -1].tolist() == rank.tolist()
