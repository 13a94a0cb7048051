from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sketchless.datasets import CheckpointError, ConfigError
from sketchless.encoders import Encoder, EncoderConfig, make_backbone
from sketchless.encoders.networks.backbones import SmallCNN
from sketchless.encoders.networks.layers import SpatialAttention
from sketchless.encoders.registry import load_encoder

Folder = Callable[..., Path]


@pytest.fixture
def hf_folder(tmp_path: Path) -> Folder:
    """Folder of a tiny random transformers model: `mobilenet`, `vit`, or `text`, which sees nothing."""
    transformers = pytest.importorskip("transformers")

    def make(kind: str, dtype: torch.dtype = torch.float32) -> Path:
        layers = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
        with torch.random.fork_rng(devices=[]):
            if kind == "mobilenet":
                config = transformers.MobileNetV2Config(depth_multiplier=0.1, min_depth=4, image_size=32)
                model = transformers.MobileNetV2Model(config)
            elif kind == "vit":
                model = transformers.ViTModel(transformers.ViTConfig(image_size=16, patch_size=8, **layers))
            else:
                model = transformers.BertModel(transformers.BertConfig(vocab_size=9, **layers))
        model.to(dtype).save_pretrained(tmp_path / kind)
        return tmp_path / kind

    return make


def first_gradients(image: torch.Tensor) -> torch.Tensor:
    """The edge image [S, S] that the convolutions of a small CNN see."""
    net, seen = SmallCNN(), []
    net.blocks.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    net(image.expand(1, 3, -1, -1))
    return seen[0][0, 0].detach()


def test_small_cnn_sees_a_step_as_an_edge() -> None:
    image = torch.zeros(8, 8)
    image[:, 4:] = 1
    # Sobel / 4 at columns 3 and 4 of a unit step: (1 + 2 + 1) / 4 = 1; flat and at the border: 0 (root of 1e-6)
    expected = torch.full((8, 8), 1e-3)
    expected[:, 3:5] = 1
    torch.testing.assert_close(first_gradients(image), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(first_gradients(image.T), expected.T, rtol=0, atol=1e-5)


def test_small_cnn_ignores_colour_and_polarity() -> None:
    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)).unsqueeze(0)
    net = SmallCNN()
    torch.testing.assert_close(net(image), net(image[:, [2, 0, 1]]))
    torch.testing.assert_close(net(image), net(1 - image), rtol=1e-3, atol=1e-5)


def test_small_cnn_shapes_and_blocks() -> None:
    net = SmallCNN(channels=24)
    assert net(torch.rand(2, 3, 64, 64)).shape == (2, 24, 4, 4)
    assert len(net.stages()) == 4
    assert sum(p.numel() for block in net.stages() for p in block.parameters()) == sum(
        p.numel() for p in net.parameters()
    )


def test_attention_is_b_plus_b_times_softmax_over_positions() -> None:
    attention = SpatialAttention(6)
    maps = torch.randn(2, 6, 3, 4, generator=torch.Generator().manual_seed(0))
    out = attention(maps)
    score = attention.score(maps)
    for n in range(2):
        weights = score[n, 0].exp() / sum(score[n, 0, i, j].exp() for i in range(3) for j in range(4))
        assert weights.sum().item() == pytest.approx(1)
        for c in range(6):
            torch.testing.assert_close(out[n, c], maps[n, c] + maps[n, c] * weights)


@pytest.mark.parametrize(("kind", "shape"), [("mobilenet", (2, 1280, 1, 1)), ("vit", (2, 16, 17, 1))])
def test_hf_models_give_maps(kind: str, shape: tuple[int, ...], hf_folder: Folder) -> None:
    backbone = make_backbone(f"hf:{hf_folder(kind)}")
    maps = backbone(torch.rand(2, 3, 32, 32))
    assert maps.shape == shape
    assert backbone.channels == shape[1]


def test_hf_model_sees_images_in_minus_1_to_1(hf_folder: Folder) -> None:
    backbone = make_backbone(f"hf:{hf_folder('vit')}")
    images = torch.rand(2, 3, 16, 16)
    tokens = backbone.model(pixel_values=images * 2 - 1).last_hidden_state  # type: ignore[operator]
    torch.testing.assert_close(backbone(images)[:, :, :, 0], tokens.transpose(1, 2))


@pytest.mark.parametrize("kind", ["mobilenet", "vit"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_hf_encoder_comes_back_without_its_folder(
    kind: str, dtype: torch.dtype, hf_folder: Folder, tmp_path: Path
) -> None:
    folder = hf_folder(kind, dtype)
    encoder = Encoder(EncoderConfig(f"hf:{folder}", size=32, dim=8, attention=True)).eval()
    encoder.save(tmp_path / "encoder")
    folder.rename(tmp_path / "gone")
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        expected = encoder(images)
        assert torch.equal(load_encoder(tmp_path / "encoder", "cpu")(images), expected)
    assert expected.dtype == torch.float32


def test_hf_weights_are_the_pretrained_ones(hf_folder: Folder) -> None:
    folder = hf_folder("vit")
    one, other = (make_backbone(f"hf:{folder}").state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_hf_model_stays_in_evaluation_mode(hf_folder: Folder) -> None:
    backbone = make_backbone(f"hf:{hf_folder('mobilenet')}").train()
    assert not any(module.training for module in backbone.model.modules())  # type: ignore[union-attr]
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(backbone(images), backbone(images))


@pytest.mark.parametrize(("kind", "least"), [("mobilenet", 15), ("vit", 4)])
def test_hf_blocks_hold_every_weight_once(kind: str, least: int, hf_folder: Folder) -> None:
    backbone = make_backbone(f"hf:{hf_folder(kind)}")
    blocks = backbone.stages()
    held = [id(p) for block in blocks for p in block.parameters()]
    assert len(blocks) >= least
    assert sorted(held) == sorted(id(p) for p in backbone.parameters())


def test_hf_folder_that_cannot_be_used(hf_folder: Folder, tmp_path: Path, refuses: Any) -> None:
    with refuses(CheckpointError, "cannot load it"):
        make_backbone(f"hf:{tmp_path / 'missing'}")
    with refuses(ConfigError, "BertModel is no vision model"):
        make_backbone(f"hf:{hf_folder('text')}")
    weights = hf_folder("vit") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with refuses(CheckpointError, "cannot load it"):
        make_backbone(f"hf:{weights.parent}")


def test_unknown_backbone(refuses: Any) -> None:
    with refuses(ConfigError, "unknown backbone 'smal-cnn': did you mean 'small-cnn'"):
        make_backbone("smal-cnn")


def test_backbone_from_a_module(noisy_backbone: str, refuses: Any) -> None:
    assert isinstance(Encoder(EncoderConfig(noisy_backbone)).backbone.net, nn.Sequential)
    for name, match in (
        ("noisy:wrong", "gives a Identity, not a Backbone"),
        ("noisy:missing", "cannot be imported"),
        ("no_such_module:make", "cannot be imported"),
    ):
        with refuses(ConfigError, match):
            make_backbone(name)


def test_backbone_that_lies_about_its_channels(noisy_backbone: str, refuses: Any) -> None:
    with refuses(ConfigError, "'noisy:lying' fails on images of 64 px"):
        Encoder(EncoderConfig("noisy:lying"))


def test_building_an_encoder_leaves_batch_statistics_alone(noisy_backbone: str) -> None:
    encoder = Encoder(EncoderConfig(noisy_backbone))
    assert encoder.training
    assert not encoder.backbone.net[1].running_mean.any()  # type: ignore[index, union-attr]
