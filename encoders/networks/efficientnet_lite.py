"""EfficientNet-Lite: EfficientNet (Tan & Le, ICML 2019) without squeeze-and-excitation, with ReLU6.

The weights are those of the official TensorFlow release in the naming of `efficientnet-pytorch`, as a safetensors file.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import pad

from sketchless.datasets.errors import CheckpointError

from ..tensorfile import load_weights
from .layers import Pretrained

# Repeats, kernel, stride, expansion, channels of each stage of the narrowest and shallowest network.
STAGES = (
    *((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80)),
    *((3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320)),
)
VARIANTS = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2), "lite3": (1.2, 1.4), "lite4": (1.4, 1.8)}
"""Factors of width and depth."""
STEM, HEAD = 32, 1280  # channels, whatever the width
MEAN, DEVIATION = 127 / 255, 128 / 255  # of all channels


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow does: ceil(side / stride) positions, the odd pixel at the end."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, C, H, W] to [B, C', ceil(H / stride), ceil(W / stride)]."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        missing = [max((math.ceil(side / stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:]]
        (top, bottom), (left, right) = ((n // 2, n - n // 2) for n in missing)
        return super().forward(pad(x, (left, right, top, bottom)))


class Block(nn.Module):
    """Inverted residual: expand 1x1, filter each channel, project 1x1."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        if expansion != 1:
            self.expand_conv = SameConv(inputs, width, 1)
            self.bn0 = norm(width)
        self.depthwise_conv = SameConv(width, width, kernel, stride, groups=width)
        self.bn1 = norm(width)
        self.project_conv = SameConv(width, outputs, 1)
        self.bn2 = norm(outputs)
        self.expands, self.adds = expansion != 1, stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn0(self.expand_conv(x)).clamp(0, 6) if self.expands else x
        y = self.bn1(self.depthwise_conv(y)).clamp(0, 6)
        y = self.bn2(self.project_conv(y))
        out: Tensor = x + y if self.adds else y
        return out


class Network(nn.Module):
    """Pixels [B, 3, S, S] in -1..1 to maps [B, 1280, ceil(S / 32), ceil(S / 32)]."""

    def __init__(self, width: float, depth: float) -> None:
        super().__init__()
        self.conv_stem = SameConv(3, STEM, 3, 2)
        self.bn0 = norm(STEM)
        blocks, inputs = [], STEM
        for number, (repeats, kernel, stride, expansion, channels) in enumerate(STAGES):
            outputs = rounded(channels * width)
            ends = number in (0, len(STAGES) - 1)  # which are not deepened
            for i in range(repeats if ends else math.ceil(repeats * depth)):
                blocks.append(Block(inputs, outputs, kernel, stride if i == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.conv_head = SameConv(inputs, HEAD, 1)
        self.bn1 = norm(HEAD)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn0(self.conv_stem(x)).clamp(0, 6)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.bn1(self.conv_head(x)).clamp(0, 6)
        return out


class EfficientNetLite(Pretrained):
    """`efficientnet-lite:<file>`: images [B, 3, S, S] in 0..1 to maps [B, 1280, S / 32, S / 32], rounded up."""

    channels = HEAD

    def __init__(self, name: str, rebuild: dict[str, Any] | None = None) -> None:
        """With the weights of a safetensors file, which variant they are of follows from their shapes.

        Raises:
            CheckpointError: no such file, damaged, or weights of another network.
        """
        super().__init__()
        variant, weights = _read(name) if rebuild is None else (rebuild.get("variant"), None)
        if variant not in VARIANTS:
            raise CheckpointError(f"efficientnet-lite: no variant {variant!r}; there are {', '.join(VARIANTS)}")
        self.rebuild = {"variant": variant}
        self.model = Network(*VARIANTS[variant]).eval()
        if weights is not None:
            load_weights(self.model, weights, name)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.model((images - MEAN) / DEVIATION)
        return out

    def stages(self) -> list[nn.Module]:
        model = self.model
        assert isinstance(model, Network)
        first = nn.ModuleList([model.conv_stem, model.bn0])
        return [first, *model.blocks, nn.ModuleList([model.conv_head, model.bn1])]


def norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3)


def rounded(channels: float) -> int:
    """To the nearest multiple of 8, never more than a tenth down."""
    multiple = max(8, int(channels + 4) // 8 * 8)
    return multiple if multiple >= 0.9 * channels else multiple + 8


def _read(path: str) -> tuple[str, dict[str, Tensor]]:
    """The variant in a file, and its weights under our names in float32, without the classifier's."""
    about, cure = f"efficientnet-lite:{path}", "give the safetensors file of a lite0..4"
    if not os.path.isfile(path):
        raise CheckpointError(f"{about}: {'is a folder' if os.path.isdir(path) else 'no such file'}; {cure}")
    try:
        theirs = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:150]
        raise CheckpointError(f"{about}: cannot read its weights ({reason}); {cure}") from error
    records = {re.sub(r"(^|\.)_", r"\1", record): record for record in theirs if not record.startswith("_fc")}
    found = {name: theirs[record] for name, record in records.items()}
    found = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in found.items()}
    counts = [f"{name.removesuffix('running_mean')}num_batches_tracked" for name in found if "running_mean" in name]
    found = {name: torch.zeros((), dtype=torch.int64) for name in counts} | found
    variant, faults = min(((name, _faults(name, found)) for name in VARIANTS), key=lambda one: len(one[1]))
    if 2 * len(faults) > len(found):
        raise CheckpointError(f"{about}: holds the weights of another network; {cure}")
    faults |= {name: "holds NaN or infinity" for name, tensor in found.items() if not tensor.isfinite().all()}
    for name, fault in faults.items():
        record = records.get(name) or _record(name)
        raise CheckpointError(f"{about}: {record} {fault} (as weights of {variant}); fetch the file again")
    return variant, found


def _faults(variant: str, found: Mapping[str, Tensor]) -> dict[str, str]:
    """Names of tensors that are not what a variant has, and what is wrong with them."""
    with torch.device("meta"):
        wanted = Network(*VARIANTS[variant]).state_dict()
    faults = {name: "is missing" for name in wanted if name not in found}
    for name, have in found.items():
        if (want := wanted.get(name)) is None:
            faults[name] = "has no place"
        elif (have.shape, have.dtype) != (want.shape, want.dtype):
            faults[name] = f"is {have.dtype} {list(have.shape)}, not {want.dtype} {list(want.shape)}"
    return faults


def _record(name: str) -> str:
    """What the release calls a tensor of ours."""
    *modules, last = name.split(".")
    return ".".join([*(module if module.isdigit() else f"_{module}" for module in modules), last])
