"""The vision transformer of ZSE-SBIR: its tokenizer, what it keeps and where that was, pretrained weights."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sketchless.datasets import ConfigError
from sketchless.encoders import Tokens
from sketchless.encoders.networks import vit
from sketchless.encoders.networks.layers import scaled
from sketchless.encoders.networks.vit import Block, Sizes, Tokenizer, ViT, most, pretrained

MakeFolder = Callable[..., Path]
TINY = Sizes(patch=8, width=24, layers=3, heads=2, hidden=32)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """A tiny random transformers ViT for images of 32 px."""
    transformers = pytest.importorskip("transformers")
    layers = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}

    def make(**options: object) -> Path:
        with torch.random.fork_rng(devices=[]):
            model = transformers.ViTModel(transformers.ViTConfig(image_size=32, patch_size=8, **layers, **options))
        model.save_pretrained(tmp_path / "vit")
        return tmp_path / "vit"

    return make


@pytest.fixture
def folder(make_folder: MakeFolder) -> Path:
    return make_folder()


def test_tokenizer_is_the_mean_of_both_and_has_the_papers_stack() -> None:
    tokenizer = Tokenizer(Sizes(patch=16, width=768, layers=12, heads=12, hidden=3072))
    shapes = [tuple(m.weight.shape) for m in tokenizer.stack if isinstance(m, nn.Conv2d)]
    assert shapes == [(64, 3, 7, 7), (128, 64, 3, 3), (256, 128, 3, 3), (768, 256, 3, 3)]
    image = torch.rand(1, 3, 32, 32)
    expected = (tokenizer.linear(image) + tokenizer.stack(image)) / 2
    assert expected.shape == (1, 768, 2, 2)
    torch.testing.assert_close(tokenizer(image), expected)


def test_the_paper_keeps_144_of_196_tokens() -> None:
    assert Sizes(layers=12).select_at() == (4, 7, 10)
    left = [196]
    for _ in range(3):
        left.append(most(torch.rand(1, left[-1]), vit.SHARE_KEPT).shape[1])
    assert left == [196, 177, 160, 144]


def test_the_highest_are_kept_in_order_of_place() -> None:
    attention = torch.tensor([[0.1, 0.4, 0.2, 0.3], [0.9, 0.0, 0.05, 0.05]])
    assert most(attention[:1], 0.5).tolist() == [[1, 3]]
    assert most(attention, 0.25).tolist() == [[1], [0]]
    assert most(attention[:1], 0.6).tolist() == [[1, 2, 3]]  # ceil(2.4)


@torch.no_grad()
def test_selection_follows_the_retrieval_tokens_attention(images: Tensor) -> None:
    net = ViT(TINY, 64)
    looks: list[Tensor] = []
    for block in net.blocks:
        block.register_forward_hook(lambda module, args, out: looks.append(out[1]))
    _, tokens = net(images)
    for n in range(len(images)):
        places = list(range(64))
        for layer, look in enumerate(looks, start=1):
            share = look[n].tolist()
            assert len(share) == len(places)
            if layer in TINY.select_at():
                best = sorted(range(len(places)), key=lambda i: -share[i])[: math.ceil(0.9 * len(places))]
                places, share = [places[i] for i in sorted(best)], [share[i] for i in sorted(best)]
        assert tokens.places[n].tolist() == places
        expected = torch.tensor(share) / sum(share)
        torch.testing.assert_close(tokens.attention[n], expected)
    torch.testing.assert_close(tokens.attention.sum(dim=1), torch.ones(3))
    assert tokens.values.shape == (3, len(places), 24)
    assert tokens.grid == (8, 8)


@torch.no_grad()
def test_attention_is_that_of_torch() -> None:
    block, theirs = Block(TINY), nn.MultiheadAttention(24, 2, batch_first=True)
    theirs.in_proj_weight, theirs.in_proj_bias = block.qkv.weight, block.qkv.bias
    theirs.out_proj = block.out  # type: ignore[assignment]
    x = torch.randn(2, 7, 24, generator=torch.Generator().manual_seed(0))
    inner = block.before(x)
    mixed, weights = theirs(inner, inner, inner)
    expected = x + mixed
    expected = expected + block.mlp(block.after(expected))
    out, look = block(x)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(look, weights[:, 0, 1:])


def test_map_puts_tokens_back_to_their_places() -> None:
    tokens = Tokens(torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[1, 2, 5]]), torch.ones(1, 3) / 3, (2, 3))
    assert tokens.map().tolist() == [[[[0, 1, 2], [0, 0, 3]]]]


def test_batches_join_and_part(images: Tensor) -> None:
    with torch.no_grad():
        tokens = ViT(TINY, 64)(images)[1]
    again = Tokens.join([tokens[:1], tokens[torch.tensor([1, 2])]])
    assert len(again) == 3
    for name in ("values", "places", "attention"):
        assert torch.equal(getattr(again, name), getattr(tokens, name))


STATISTICS = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}  # ImageNet's, as DINO's


@torch.no_grad()
@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize("about", [None, STATISTICS, {"do_normalize": False, **STATISTICS}])
def test_pretrained_weights_compute_what_transformers_computes(
    about: dict[str, object] | None, qkv_bias: bool, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    folder = make_folder(qkv_bias=qkv_bias)
    if about is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(about))
    net = pretrained(str(folder), 32).eval()
    # The one difference is the new tokenizer and the selection: take both away.
    monkeypatch.setattr(vit, "SHARE_KEPT", 1.0)
    net.tokenizer.stack[-1].weight.zero_()
    net.tokenizer.linear.weight.mul_(2)
    net.tokenizer.linear.bias.mul_(2)
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    pixels = image * 2 - 1
    if about is not None:
        mean, deviation = (torch.tensor(STATISTICS[name]).view(1, 3, 1, 1) for name in ("image_mean", "image_std"))
        pixels = (image - mean) / deviation if about is STATISTICS else image
    expected = transformers.ViTModel.from_pretrained(folder).eval()(pixel_values=pixels).last_hidden_state
    retrieval, tokens = net(image)
    torch.testing.assert_close(retrieval, expected[:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(tokens.values, expected[:, 1:], rtol=0, atol=1e-5)


@torch.no_grad()
def test_pixels_without_statistics_are_as_before_there_were_any(images: Tensor) -> None:
    net = ViT(replace(TINY, contours=False), 64)
    assert not {"mean", "deviation"} & {name.rpartition(".")[2] for name in net.state_dict()}
    seen: list[Tensor] = []
    net.tokenizer.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    net(images)
    assert torch.equal(seen[0], images * 2 - 1)  # to the bit
    half = torch.tensor([0.5]).view(1, 1, 1, 1)
    everything = torch.arange(2**24 + 1).view(1, 1, 1, -1) / 2**24  # each float32 that 24 bits of 0..1 give
    assert torch.equal(scaled(everything, half, half), everything * 2 - 1)


def test_names_of_transformers_4_are_understood(folder: Path) -> None:
    state = pretrained(str(folder), 32).state_dict()
    import transformers

    old = transformers.ViTModel.from_pretrained(folder).state_dict()
    for now, then in vit.NAMES_BEFORE_5:
        old = {name.replace(now, then): tensor for name, tensor in old.items()}
    assert "encoder.layer.0.attention.attention.query.weight" in old
    assert "encoder.layer.1.attention.output.dense.bias" in old
    assert "encoder.layer.1.intermediate.dense.bias" in old
    assert "encoder.layer.1.output.dense.bias" in old
    found = vit._translated(old, 2)
    assert all(torch.equal(found[name], state[name]) for name in found)


def test_positions_are_stretched_along_their_own_axis(folder: Path) -> None:
    assert pretrained(str(folder), 64).positions.shape == (1, 65, 24)
    ramp = torch.arange(4.0).repeat(4)  # grows along x, row by row
    stretched = vit._stretch(torch.cat([torch.tensor([7.0]), ramp]).view(1, 17, 1), 8)[0, :, 0]
    assert stretched[0] == 7
    maps = stretched[1:].view(8, 8)
    assert (maps.diff(dim=1)[:, 1:-1] > 0).all()
    torch.testing.assert_close(maps, maps[:1].expand(8, 8))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Sizes(patch=14), "power of 2"),
        (lambda: Sizes(width=100), "width 100"),
        (lambda: ViT(TINY, 40), "no multiple of two patches"),
    ],
)
def test_impossible_sizes_are_refused(make: Callable[[], object], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        make()


def test_only_a_vit_is_taken(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    with torch.random.fork_rng(devices=[]):
        config = transformers.MobileNetV2Config(depth_multiplier=0.1, min_depth=4, image_size=32)
        transformers.MobileNetV2Model(config).save_pretrained(tmp_path / "cnn")
    with pytest.raises(ConfigError, match="MobileNetV2Model; zse needs a ViTModel"):
        pretrained(str(tmp_path / "cnn"), 32)
