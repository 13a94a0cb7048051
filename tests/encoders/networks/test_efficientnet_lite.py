"""EfficientNet-Lite as a backbone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sketchless.datasets import CheckpointError
from sketchless.datasets.photos import read_photo
from sketchless.encoders import EncoderConfig, load_encoder, make_backbone, make_encoder
from sketchless.encoders.networks.efficientnet_lite import VARIANTS, EfficientNetLite, Network, SameConv, rounded
from sketchless.encoders.networks.layers import photo_images

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
# ImageNet's barber, folding and rocking chair, couch, throne, bench, toilet seat, table and desk.
SEATS = {423, 559, 765, 831, 857, 703, 861, 532, 526}


def release(path: Path, variant: str) -> Path:
    """A file of random weights in the form of the release."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        state = Network(*VARIANTS[variant]).state_dict()
    theirs = {re.sub(r"(^|\.)(?=[a-z])", r"\1_", k).replace("._weight", ".weight"): v for k, v in state.items()}
    theirs = {re.sub(r"\._(bias|running|num)", r".\1", k): v for k, v in theirs.items() if "num_batches" not in k}
    save_file({**theirs, "_fc.weight": torch.zeros(9, 1280), "_fc.bias": torch.zeros(9)}, path)
    return path


@pytest.mark.parametrize("variant", ["lite0", "lite2"])
def test_the_variant_follows_from_the_weights_and_comes_back(variant: str, tmp_path: Path) -> None:
    encoder = make_encoder(EncoderConfig(f"efficientnet-lite:{release(tmp_path / 'w', variant)}", 64, 4)).eval()
    assert encoder.rebuild == {"variant": variant}
    assert encoder.backbone(IMAGES).shape == (2, 1280, 2, 2)
    held = [id(p) for block in encoder.stages() for p in block.parameters()]
    assert sorted(held) == sorted(id(p) for p in encoder.backbone.parameters())
    encoder.save(tmp_path / "encoder")
    (tmp_path / "w").unlink()
    with torch.no_grad():
        torch.testing.assert_close(load_encoder(tmp_path / "encoder", "cpu")(IMAGES), encoder(IMAGES))


def test_same_padding() -> None:
    """Kernel 3, stride 2. Side 4: (2 - 1) 2 + 3 - 4 = 1 pixel missing, at the end; side 5: 1 at each end."""
    conv = SameConv(1, 1, 3, 2)
    with torch.no_grad():
        conv.weight.fill_(1)
        assert conv(torch.arange(4.0).expand(1, 1, 1, 4))[0, 0, 0].tolist() == [3, 5]  # 0+1+2, 2+3
        assert conv(torch.arange(5.0).expand(1, 1, 1, 5))[0, 0, 0].tolist() == [1, 6, 7]  # 0+1, 1+2+3, 3+4


def test_widths_are_rounded_to_8() -> None:
    assert [rounded(1.1 * c) for c in (16, 24, 40, 80, 112, 192, 320)] == [16, 24, 48, 88, 120, 208, 352]  # lite2's
    assert rounded(1.2 * 16) == 24  # 19.2: 16 is more than a tenth down


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_those_numbers(kind: torch.dtype, tmp_path: Path) -> None:
    weights = load_file(release(tmp_path / "w", "lite0"))
    save_file({name: tensor.to(kind) for name, tensor in weights.items()}, tmp_path / "w")
    state = make_backbone(f"efficientnet-lite:{tmp_path / 'w'}").state_dict()
    found, expected = state["model.blocks.3.bn1.weight"], weights["_blocks.3._bn1.weight"].to(kind).float()
    assert torch.equal(found, expected)
    assert {tensor.dtype for name, tensor in state.items() if "num_batches" not in name} == {torch.float32}


@pytest.mark.parametrize(
    ("record", "tensor", "said"),
    [
        ("_blocks.3._bn1.running_mean", None, r"_blocks\.3\._bn1\.running_mean is missing \(as weights of lite2\)"),
        ("_conv_stem.weight", torch.full((32, 3, 3, 3), torch.nan), r"w: _conv_stem\.weight holds NaN or infinity"),
        ("_bn1.bias", torch.zeros(7), r"_bn1\.bias is torch.float32 \[7\], not torch.float32 \[1280\]"),
        ("_bn1.bias", torch.zeros(1280, dtype=torch.int8), r"_bn1\.bias is torch.int8 \[1280\], not torch.float32"),
        ("_bn2.bias", torch.zeros(7), r"_bn2\.bias has no place"),
    ],
)
def test_a_fault_names_the_record_of_the_file(
    record: str, tensor: torch.Tensor | None, said: str, tmp_path: Path, refuses: Any
) -> None:
    weights = load_file(release(tmp_path / "w", "lite2"))
    weights.pop(record, None)
    save_file(weights if tensor is None else {**weights, record: tensor}, tmp_path / "w")
    with refuses(CheckpointError, f"{said}.*; fetch the file again"):
        make_backbone(f"efficientnet-lite:{tmp_path / 'w'}")


def test_faults_are_one_line(tmp_path: Path, refuses: Any) -> None:
    with refuses(CheckpointError, "is a folder; give the safetensors file"):
        make_backbone(f"efficientnet-lite:{tmp_path}")
    for content, said in ((None, "no such file"), (b"x" * 20, "cannot read")):
        if content is not None:
            (tmp_path / "w").write_bytes(content)
        with refuses(CheckpointError, said):
            make_backbone(f"efficientnet-lite:{tmp_path / 'w'}")
    save_file({"x": torch.zeros(1)}, tmp_path / "w")
    with refuses(CheckpointError, "another network"):
        make_backbone(f"efficientnet-lite:{tmp_path / 'w'}")
    for variant in ("lite9", None, []):
        with refuses(CheckpointError, "no variant"):
            make_backbone("efficientnet-lite:gone", {"variant": str(variant)})


@pytest.mark.data
@pytest.mark.parametrize("variant", ["lite0", "lite2"])
def test_the_released_weights_know_chairs(variant: str, chair_v2: Path) -> None:
    file = chair_v2.parents[1] / "weights" / "efficientnet_lite" / f"{variant}.safetensors"
    if not file.is_file():
        pytest.skip(f"no weights at {file}")
    backbone = make_backbone(f"efficientnet-lite:{file}").eval()
    assert isinstance(backbone, EfficientNetLite)
    assert backbone.rebuild == {"variant": variant}
    weights = load_file(file)
    photos = sorted(path for path in chair_v2.rglob("*") if path.suffix.lower() in (".png", ".jpg"))[::8]
    images = photo_images([read_photo(path) for path in photos], 192)
    with torch.inference_mode():
        maps = backbone(images)
        assert maps.shape == (len(photos), 1280, 6, 6)
        logits = maps.mean(dim=(2, 3)) @ weights["_fc.weight"].T + weights["_fc.bias"]
    seen = np.isin(logits.argmax(dim=1).numpy(), list(SEATS)).mean()
    assert seen > 0.6
