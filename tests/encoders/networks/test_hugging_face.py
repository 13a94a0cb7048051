"""Every vision model of transformers: its pixels are those of its own image processor, and it comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sketchless.datasets import CheckpointError, ConfigError
from sketchless.encoders import EncoderConfig, load_encoder, make_backbone, make_encoder
from sketchless.encoders.networks.hugging_face import HuggingFace, image_processor

transformers = pytest.importorskip("transformers")
auto = pytest.importorskip("transformers.models.auto.modeling_auto")
processing = pytest.importorskip("transformers.models.auto.image_processing_auto")

# Sizes for all that have a setting of the name; then what a kind needs besides, or instead.
SMALL: dict[str, Any] = {
    **{"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32},
    **{"image_size": 32, "patch_size": 8, "embed_dim": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]},
    **{"num_heads": [1, 2, 2, 2], "window_size": 2},
}
STAGES = {"num_attention_heads": [1, 1, 2, 2], "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
OWN: dict[str, dict[str, Any]] = {
    "bit": {"embedding_size": 8, "hidden_sizes": [32, 32, 32, 32], "num_groups": 4},
    "convnext": {"image_size": 64, "patch_size": 4},
    "convnextv2": {"image_size": 64, "patch_size": 4},
    "aimv2_vision_model": {"image_size": 64},
    "efficientnet": {"width_coefficient": 0.1, "depth_coefficient": 0.1, "image_size": 64, "hidden_dim": 128},
    "glpn": STAGES,
    "levit": {"image_size": 64, "hidden_sizes": [16, 32, 32], "num_attention_heads": [1, 2, 2], "key_dim": [8, 8, 8]}
    | {"depths": [1, 1, 1], "patch_size": 16},
    "mobilevit": {"image_size": 64, "patch_size": 2, "hidden_sizes": [16, 16, 16], "neck_hidden_sizes": [8] * 7},
    "mobilevitv2": {"image_size": 64, "patch_size": 2},
    "pvt": {**STAGES, "image_size": 64},
    "swin": {"image_size": 64, "patch_size": 4},
    "swinv2": {"image_size": 64, "patch_size": 4},
    "swin2sr": {"image_size": 32, "patch_size": 1},
    "yolos": {"image_size": [32, 32]},
}
LARGE = {"cohere2_vision", "llama4", "mllama", "depth_pro"}  # no small model of the kind can be made by these settings
ELSEWHERE = {"dinat", "timm_backbone", "timm_wrapper"}  # need another library
OBJECTS = {"conditional_detr", "dab-detr", "deformable_detr", "detr", "table-transformer"}  # on a backbone to fetch
KINDS = sorted({*auto.MODEL_FOR_IMAGE_MAPPING_NAMES, "clip_vision_model"} - LARGE - ELSEWHERE - OBJECTS)
REFUSED = {
    "vit_mae": "gives another map each time",
    **dict.fromkeys(("timesformer", "videomae"), "not one picture"),
    **dict.fromkeys(("imagegpt", "videoprism_vision_model", "vivit"), "is no vision model|cannot load it"),
}
QUICK = {"bit", "convnext", "efficientnet", "mobilevit", "siglip_vision_model", "vit_mae", "vivit"}
PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def folder(kind: str, where: Path, **more: Any) -> Path:
    """A tiny random model of a kind, with the image processor of its kind where there is one."""
    defaults = transformers.AutoConfig.for_model(kind).to_dict()
    small = {k: v for k, v in SMALL.items() if k in defaults and type(v) is type(defaults[k])}
    small = {k: v[: len(defaults[k])] if isinstance(v, list) else v for k, v in small.items()}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        config = transformers.AutoConfig.for_model(kind, **{**small, **OWN.get(kind, {})})
        transformers.AutoModel.from_config(config).save_pretrained(where)
    names = processing.IMAGE_PROCESSOR_MAPPING_NAMES.get(kind, {})
    name = names.get("pil") if isinstance(names, dict) else names[0]
    if name is not None:
        processor = getattr(transformers, name, None) or processing.get_image_processor_class_from_name(name)
        processor(**more).save_pretrained(where)
    return where


def wanted(where: Path, kind: str) -> torch.Tensor:
    """PICTURE as the folder's image processor gives it: [1, 3, 64, 64]."""
    return image_processor(str(where), kind)(images=Image.fromarray(PICTURE), return_tensors="pt")["pixel_values"]


def given() -> torch.Tensor:
    return torch.from_numpy(PICTURE).permute(2, 0, 1).unsqueeze(0).float() / 255


@pytest.mark.parametrize("kind", [k if k in QUICK else pytest.param(k, marks=pytest.mark.slow) for k in KINDS])
def test_every_kind(kind: str, tmp_path: Path, refuses: Any) -> None:
    try:
        where = folder(kind, tmp_path / "model")
    except ImportError:
        pytest.skip(f"{kind} needs a library that is not installed")
    if kind in REFUSED:
        with refuses(CheckpointError if kind == "imagegpt" else ConfigError, REFUSED[kind]):
            make_backbone(f"hf:{where}")
        return
    backbone = make_backbone(f"hf:{where}")
    assert isinstance(backbone, HuggingFace)
    expected = given() * 2 - 1 if image_processor(str(where), kind) is None else wanted(where, kind)
    assert (backbone.pixels(given()) - expected).abs().max() < 1e-5
    encoder = make_encoder(EncoderConfig(f"hf:{where}", 64, 4)).eval()
    encoder.save(tmp_path / "encoder")
    where.rename(tmp_path / "gone")
    again = load_encoder(tmp_path / "encoder", "cpu")
    with torch.no_grad():
        torch.testing.assert_close(again(given()), encoder(given()), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("vit", {"do_normalize": False}),
        ("vit", {"do_rescale": False, "image_mean": [100.0, 110.0, 120.0], "image_std": [50.0, 60.0, 70.0]}),
        ("vit", {"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3}),
        ("efficientnet", {"include_top": False}),
        ("efficientnet", {"rescale_offset": True, "rescale_factor": 1 / 127.5, "do_normalize": False}),
        ("mobilevit", {"do_flip_channel_order": False}),
        ("beit", {"image_mean": [0.1, 0.2, 0.3]}),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_whatever_the_processor_is_told(kind: str, more: dict[str, Any], nested: bool, tmp_path: Path) -> None:
    where = folder(kind, tmp_path, **more)
    if nested:  # as transformers 5 saves it with a tokenizer
        file = where / "preprocessor_config.json"
        if not file.exists():
            pytest.skip("this transformers knows no other place")
        about = json.loads(file.read_text())
        file.unlink()
        (where / "processor_config.json").write_text(json.dumps({"image_processor": about}))
        if not processing.get_image_processor_config(str(where)):
            pytest.skip("this transformers knows no other place")
    backbone = make_backbone(f"hf:{where}")
    assert isinstance(backbone, HuggingFace)
    assert (backbone.pixels(given()) - wanted(where, kind)).abs().max() < 1e-5 * max(1, wanted(where, kind).abs().max())


def test_blue_first_is_seen(tmp_path: Path) -> None:
    backbone = make_backbone(f"hf:{folder('mobilevit', tmp_path)}")
    assert isinstance(backbone, HuggingFace)
    assert torch.equal(backbone.pixels(given()), given().flip(1))


@pytest.mark.parametrize("value", [0.0, [0.5, 0.0, 0.5]])
def test_a_deviation_of_0_is_one_line(value: Any, tmp_path: Path, refuses: Any) -> None:
    where = folder("vit", tmp_path)
    file = where / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "image_std": value}))
    with refuses(CheckpointError, "deviation of 0|cannot load it"):
        make_backbone(f"hf:{where}")


TOWERS = {
    **dict.fromkeys(("blip", "align", "clipseg", "metaclip_2", "owlvit"), "cannot be made again|is no vision model"),
    "vit_mae": "another map each time",
}


@pytest.mark.parametrize("kind", TOWERS)
def test_what_would_not_come_back_is_refused_before_it_is_trained(kind: str, tmp_path: Path, refuses: Any) -> None:
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    vision = {**small, "image_size": 64, "patch_size": 16}
    if kind == "align":
        vision = {"width_coefficient": 0.1, "depth_coefficient": 0.1, "hidden_dim": 128}
    towers = {} if kind == "vit_mae" else {"vision_config": vision, "text_config": {**small, "vocab_size": 99}}
    if kind == "vit_mae":
        where = folder(kind, tmp_path)
    else:
        config = transformers.AutoConfig.for_model(kind, projection_dim=16, **towers)
        where = tmp_path
        with torch.random.fork_rng(devices=[]):
            transformers.AutoModel.from_config(config).save_pretrained(where)
    with refuses(ConfigError, TOWERS[kind]):
        make_encoder(EncoderConfig(f"hf:{where}", 64, 4))


@pytest.mark.slow
def test_a_timm_model_says_its_pixels_in_config_json(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", exc_type=ImportError)
    pytest.importorskip("torchvision", exc_type=ImportError)
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    model = timm.create_model("resnet10t.c3_in1k", pretrained=False)
    cfg = {"input_size": (3, 64, 64), "mean": mean, "std": std, "crop_pct": 1.0, "num_classes": 0}
    timm.models.save_for_hf(model, tmp_path, model_config={"pretrained_cfg": cfg}, safe_serialization=True)
    backbone = make_backbone(f"hf:{tmp_path}")
    assert isinstance(backbone, HuggingFace)
    expected = (given() - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    assert (backbone.pixels(given()) - expected).abs().max() < 1e-5
