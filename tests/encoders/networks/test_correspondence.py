"""Patches of a feature map: at their places, whatever the network's padding does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, normalize, pixel_unshuffle

from sketchless.datasets import ConfigError
from sketchless.encoders import ZSE, Encoder, EncoderConfig, make_encoder
from sketchless.encoders.networks.correspondence import MapTokens, moved, token_model
from sketchless.encoders.networks.encoder import inference


def seeing(view: Callable[[Tensor], Tensor], size: int = 64) -> Encoder:
    """An encoder whose feature map is a function of the images and whose features are its own: no head."""

    class View(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return view(images)

    class Seeing(Encoder):
        def features(self, images: Tensor) -> Tensor:
            return super().features(images)

    encoder = Seeing(EncoderConfig(size=size, dim=8)).eval()
    encoder.backbone = View()  # type: ignore[assignment]
    return encoder


def planted() -> tuple[Tensor, Tensor]:
    """Noise [1, 3, 64, 64] twice; what the first has in 16 x 24 px at row 8, column 32 the other has at 40, 0."""
    random = torch.Generator().manual_seed(0)
    one, other = torch.rand(2, 1, 3, 64, 64, generator=random)
    other[:, :, 40:56, 0:24] = one[:, :, 8:24, 32:56]
    return one, other


def matches(model: MapTokens) -> dict[tuple[int, int], tuple[int, int]]:
    one, other = planted()
    with inference(model.encoder):
        sketch, photo = model.tokens(one), model.tokens(other)
        best = model.match(sketch, photo)[0].argmax(dim=1)
    width = sketch.grid[1]
    places, found = sketch.places[0].tolist(), photo.places[0][best].tolist()
    return {divmod(p, width): divmod(f, width) for p, f in zip(places, found, strict=True)}


def test_planted_patches_are_found_at_their_place() -> None:
    found = matches(MapTokens(seeing(lambda images: pixel_unshuffle(images, 8))))
    copied = [(y, x) for y in (1, 2) for x in (4, 5, 6)]
    assert all(found[y, x] == (y + 4, x - 4) for y, x in copied)


def test_a_transposed_grid_is_caught() -> None:
    found = matches(MapTokens(seeing(lambda images: pixel_unshuffle(images, 8).transpose(2, 3))))
    assert all(found[y, x] != (y + 4, x - 4) for y in (1, 2) for x in (4, 5, 6))


def test_a_coarse_map_is_read_between_its_positions() -> None:
    """16 px cells, read at 8 px: a patch of the finer grid is found, though its copy lies astride two cells."""
    model = MapTokens(seeing(lambda images: pixel_unshuffle(images, 16)))
    assert (model.parts, model.stride, model.middle) == (2, (16.0, 16.0), pytest.approx((8, 8), abs=0.5))
    # Cells of 16 px about the middle of the two innermost patches, wholly inside what was copied.
    assert matches(model)[1, 5] in {(5, 1), (5, 2)}


def test_the_small_cnn_finds_what_is_planted() -> None:
    """A position sees 33 px: where those lie in the copied quarter, the match is exact."""
    model = MapTokens(Encoder(EncoderConfig(size=96, dim=64)).eval())  # 6 x 6 positions, read as 12 x 12 patches
    one, other = torch.rand(2, 1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    other[:, :, 48:, :48] = one[:, :, :48, 48:]
    with inference(model.encoder):
        sketch, photo = model.tokens(one), model.tokens(other)
        best = model.match(sketch, photo)[0].argmax(dim=1).reshape(sketch.grid)
    assert sketch.grid == (12, 12)
    # Patches 2 and 3 of the quarter's 6: their middles are 20 and 28 px from its edge, all they see is inside.
    assert [divmod(int(best[y, x]), 12) for y in (2, 3) for x in (8, 9)] == [(8, 2), (8, 3), (9, 2), (9, 3)]


@pytest.mark.parametrize(("down", "right"), [(0, 0), (3, -2), (-4, 4)])
def test_where_a_position_looks_is_measured(down: int, right: int) -> None:
    """Moved down by 3, the image has at the middle of a cell what was 3 px above it."""
    encoder = seeing(lambda images: avg_pool2d(moved(images, down, right), 16))
    assert MapTokens(encoder).middle == pytest.approx((8 - down, 8 - right), abs=0.5)


def test_moving_repeats_the_edge() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3)
    assert moved(image, 1, 0)[0, 0].tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 5]]
    assert moved(image, 0, -2)[0, 0].tolist() == [[2, 2, 2], [5, 5, 5], [8, 8, 8]]
    assert moved(image, -1, 1)[0, 0].tolist() == [[3, 3, 4], [6, 6, 7], [6, 6, 7]]


def test_attention_is_the_share_of_the_pooled_feature() -> None:
    model = MapTokens(Encoder(EncoderConfig(size=64, dim=16)).eval())
    image = planted()[0]
    with inference(model.encoder):
        tokens = model.tokens(image)
        maps = [[model._maps(image, y, x)[0].flatten(1) for x in (0, 1)] for y in (0, 1)]
    columns = torch.cat([m for row in maps for m in row], dim=1)  # [C, L] in another order
    share = columns.T @ columns.mean(dim=1)
    assert tokens.attention.sum() == pytest.approx(1)
    assert sorted(tokens.attention[0].tolist()) == pytest.approx(sorted((share / share.sum()).tolist()), rel=1e-4)


def test_values_sum_to_the_embedding_where_the_map_is_pooled() -> None:
    encoder = Encoder(EncoderConfig(size=128, dim=16)).eval()  # a map of 8 x 8, which is read as it is
    model, image = MapTokens(encoder), torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    model.middle = (model.stride[0] / 2, model.stride[1] / 2)  # do not move the picture
    with inference(encoder):
        added = model.tokens(image).values.mean(dim=1)  # [1, d]
        _, bias = encoder.linear_head()
        length = encoder.maps(image).mean(dim=(2, 3)).norm()
        torch.testing.assert_close(normalize(added / length + bias, dim=1), encoder(image))


@pytest.mark.parametrize(("name", "size", "dim"), [("sketch-a-net", 129, 8), ("dssa", 129, 8), ("manifold", 128, 64)])
def test_values_are_the_map_itself_where_features_are_the_encoders_own(name: str, size: int, dim: int) -> None:
    encoder = make_encoder(EncoderConfig(name, size=size, dim=dim)).eval()
    model, image = MapTokens(encoder), torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    model.parts, model.middle = 1, (model.stride[0] / 2, model.stride[1] / 2)  # do not move the picture
    with inference(encoder):
        torch.testing.assert_close(model.tokens(image).values.mT, encoder.maps(image).flatten(2))


def test_tokens_of_a_transformer_keep_their_places() -> None:
    """A class token first, then 8 x 8 patches row by row."""

    def view(images: Tensor) -> Tensor:
        patches = pixel_unshuffle(images, 8).flatten(2)
        return torch.cat([torch.ones_like(patches[:, :, :1]), patches], dim=2).unsqueeze(3)  # [B, C, 65, 1]

    model = MapTokens(seeing(view))
    assert (model.height, model.width, model.parts) == (8, 8, 1)
    assert matches(model)[2, 6] == (6, 2)


def test_zse_is_its_own_token_model() -> None:
    zse = ZSE(EncoderConfig("zse", size=32, dim=8)).eval()
    assert token_model(zse) is zse


def test_what_cannot_be_explained(refuses) -> None:
    with refuses(ConfigError, "1 x 1 patches"):
        MapTokens(seeing(lambda images: images.mean(dim=(2, 3), keepdim=True)))
    blind = Encoder(EncoderConfig(size=64, dim=8))
    del blind.attention
    with refuses(ConfigError, "no map of patches"):
        token_model(blind)


def test_measuring_leaves_no_trace() -> None:
    encoder = Encoder(EncoderConfig(size=64, dim=8)).eval()
    state = torch.random.get_rng_state()
    first = MapTokens(encoder).middle
    assert MapTokens(encoder).middle == first
    assert all(p.grad is None for p in encoder.parameters())
    assert np.array_equal(torch.random.get_rng_state().numpy(), state.numpy())
