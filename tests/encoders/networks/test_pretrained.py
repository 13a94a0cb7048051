"""Pretrained backbones: image towers, their pixels, Inception-V3, and attention on all of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from sketchless.datasets import CheckpointError, ConfigError
from sketchless.encoders import Encoder, EncoderConfig, make_backbone
from sketchless.encoders.networks.backbones import InceptionV3
from sketchless.encoders.registry import load_encoder

Folder = Callable[[str], Path]
MEAN, STD = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Folder of a tiny random transformers model of a kind."""
    hf = pytest.importorskip("transformers")
    layers = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    text, vision = {**layers, "vocab_size": 9}, {**layers, "image_size": 32, "patch_size": 16}

    def make(kind: str) -> Path:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            model = {
                "clip": lambda: hf.CLIPModel(hf.CLIPConfig(text_config=text, vision_config=vision)),
                "clip tower": lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**vision)),
                "siglip": lambda: hf.SiglipModel(hf.SiglipConfig(text_config=text, vision_config=vision)),
                "vit": lambda: hf.ViTModel(hf.ViTConfig(**vision)),
                "convnext": lambda: hf.ConvNextModel(hf.ConvNextConfig(hidden_sizes=[4, 8, 8, 16], depths=[1] * 4)),
                "resnet": lambda: hf.ResNetModel(
                    hf.ResNetConfig(embedding_size=4, hidden_sizes=[4, 8, 8, 16], depths=[1] * 4, layer_type="basic")
                ),
            }[kind]()
        model.save_pretrained(tmp_path / kind)
        return tmp_path / kind

    return make


KINDS = {"clip": 5, "clip tower": 5, "siglip": 4, "vit": 5, "convnext": 1, "resnet": 1}  # positions of a 32 px map


@pytest.mark.parametrize("kind", KINDS)
def test_any_vision_model_gives_a_map(kind: str, folder: Folder) -> None:
    backbone = make_backbone(f"hf:{folder(kind)}")
    maps = backbone(IMAGES)
    assert (maps.shape[:2], maps.flatten(2).shape[2]) == ((2, 16), KINDS[kind])
    held = [id(p) for block in backbone.stages() for p in block.parameters()]
    assert sorted(held) == sorted(id(p) for p in backbone.parameters())


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_two_towers_give_the_image_tower_with_its_weights(kind: str, folder: Folder) -> None:
    import transformers

    where = folder(kind)
    whole = transformers.AutoModel.from_pretrained(where).eval()
    expected = whole.vision_model(IMAGES * 2 - 1).last_hidden_state
    backbone = make_backbone(f"hf:{where}")
    assert torch.equal(backbone(IMAGES)[..., 0].transpose(1, 2), expected)
    assert not [name for name in backbone.state_dict() if "text" in name]


@pytest.mark.parametrize("kind", ["clip", "convnext"])
def test_pixels_are_scaled_as_the_folder_says(kind: str, folder: Folder, tmp_path: Path) -> None:
    where = folder(kind)
    (where / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    encoder = Encoder(EncoderConfig(f"hf:{where}", size=32, dim=4)).eval()
    seen: list[torch.Tensor] = []
    hook = encoder.backbone.model.register_forward_pre_hook(  # type: ignore[union-attr]
        lambda module, args, kwargs: seen.append(kwargs["pixel_values"]), with_kwargs=True
    )
    with torch.no_grad():
        expected = encoder(IMAGES)
    hook.remove()
    for c in range(3):
        torch.testing.assert_close(seen[0][:, c], (IMAGES[:, c] - MEAN[c]) / STD[c])
    encoder.save(tmp_path / "encoder")
    where.rename(tmp_path / "gone")
    with torch.no_grad():
        assert torch.equal(load_encoder(tmp_path / "encoder", "cpu")(IMAGES), expected)


@pytest.mark.parametrize(
    ("about", "mean", "std"),
    [(None, 0.5, 0.5), ({}, 0.5, 0.5), ({"do_normalize": False, "image_mean": MEAN}, 0.0, 1.0)],
)
def test_pixels_of_folders_that_say_less(about: Any, mean: float, std: float, folder: Folder) -> None:
    where = folder("vit")
    if about is not None:
        (where / "preprocessor_config.json").write_text(json.dumps(about))
    backbone = make_backbone(f"hf:{where}")
    pixels = IMAGES * (1 / std) - mean / std
    tokens = backbone.model(pixel_values=pixels).last_hidden_state  # type: ignore[operator]
    assert torch.equal(backbone(IMAGES)[..., 0], tokens.transpose(1, 2))  # to the bit, as before there were such files


def test_damaged_preprocessor_is_one_line(folder: Folder, refuses: Any) -> None:
    where = folder("vit")
    (where / "preprocessor_config.json").write_text("{")
    with refuses(CheckpointError, "cannot load it"):
        make_backbone(f"hf:{where}")


@pytest.mark.parametrize("kind", [*KINDS, "small-cnn"])
def test_attention_without_preference_only_scales(kind: str, folder: Folder) -> None:
    """Equal scores: every position weighs 1/L, the map grows by 1 + 1/L, and the unit feature stays."""
    name = kind if kind == "small-cnn" else f"hf:{folder(kind)}"
    encoder = Encoder(EncoderConfig(name, size=32, dim=4, attention=True)).eval()
    last = encoder.attention.score[-1]  # type: ignore[union-attr, index]
    with torch.no_grad():
        last.weight.zero_()
        maps = encoder.backbone(IMAGES)
        torch.testing.assert_close(encoder.attention(maps), maps * (1 + 1 / maps.flatten(2).shape[2]))
        plain = nn.functional.normalize(maps.mean(dim=(2, 3)), dim=-1)
        torch.testing.assert_close(encoder.features(IMAGES), plain)


@pytest.fixture
def without_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torchvision", "torchvision.models", "timm"):
        monkeypatch.setitem(sys.modules, name, None)


class Halves(nn.Sequential):
    """Stand-in for a block: to a width, halving the map where the stride says so."""

    def __init__(self, before: int, width: int, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width))


@pytest.fixture
def library(without_libraries: None, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A torchvision with a thin Inception-V3; what it was asked for."""
    asked: list[dict[str, Any]] = []

    def inception_v3(**wanted: Any) -> Any:
        asked.append(wanted)
        blocks = [name for name in InceptionV3.names if "pool" not in name]
        widths = [3, *[4] * (len(blocks) - 1), 2048]
        return SimpleNamespace(**{name: Halves(widths[i], widths[i + 1]) for i, name in enumerate(blocks)})

    package = ModuleType("torchvision.models")
    package.inception_v3 = inception_v3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", package)
    return asked


def test_inception_needs_a_library(without_libraries: None, refuses: Any) -> None:
    with refuses(ConfigError, r"'inception-v3' needs torchvision or timm: pip install 'sketchless\[torchvision\]'"):
        make_backbone("inception-v3")


def test_inception_is_the_blocks_up_to_mixed_7c(library: list[dict[str, Any]], tmp_path: Path) -> None:
    encoder = Encoder(EncoderConfig("inception-v3", size=32, dim=4, attention=True)).train()
    backbone = encoder.backbone
    assert isinstance(backbone, InceptionV3)
    assert not any(module.training for module in backbone.model.modules())
    assert len(backbone.stages()) == 16
    assert backbone(IMAGES).shape == (2, 2048, 7, 7)  # two poolings of 3, step 2: 32 -> 15 -> 7
    x = IMAGES * 2 - 1
    for name, block in backbone.model.named_children():
        x = nn.functional.max_pool2d(x, 3, 2) if name.startswith("pool") else block(x)
    assert torch.equal(backbone(IMAGES), x)
    encoder.save(tmp_path / "encoder")
    again = load_encoder(tmp_path / "encoder", "cpu")
    with torch.no_grad():
        assert torch.equal(again(IMAGES), encoder.eval()(IMAGES))
    first, *others = (asked["weights"] for asked in library)
    assert first == "DEFAULT"
    assert set(others) == {None}


def test_inception_without_its_weights_is_one_line(
    library: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, refuses: Any
) -> None:
    def offline(**wanted: Any) -> Any:
        raise OSError("no route\nto host")

    monkeypatch.setattr(sys.modules["torchvision.models"], "inception_v3", offline)
    with refuses(CheckpointError, r"cannot get its weights \(no route\)"):
        make_backbone("inception-v3")


@pytest.mark.parametrize("name", ["torchvision", "timm"])
def test_inception_of_a_library(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(name, exc_type=ImportError)
    for other in {"torchvision", "timm"} - {name}:
        monkeypatch.setitem(sys.modules, other, None)
    backbone = make_backbone("inception-v3", rebuild={})
    with torch.no_grad():
        assert backbone(torch.rand(1, 3, 299, 299)).shape == (1, 2048, 8, 8)
