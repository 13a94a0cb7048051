"""Backbones by name: from an image to a feature map."""

from __future__ import annotations

import contextlib
import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from sketchless.datasets.errors import CheckpointError, ConfigError
from sketchless.datasets.plugins import find

from .efficientnet_lite import EfficientNetLite
from .hugging_face import HuggingFace
from .layers import Backbone, Pretrained, contours


class SmallCNN(Backbone):
    """Four strided convolutions for images of about 64 px, on edges instead of colours.

    Photo and sketch share little but their contours, so the first step is fixed: the strength of the
    luminance gradient (Sobel), which makes an edge map of a photo and leaves a line drawing one.
    Group normalisation keeps training and evaluation the same function.
    """

    def __init__(self, channels: int = 128) -> None:
        super().__init__()
        self.channels = channels
        self.rebuild = {}
        widths = [1, 32, 64, 128, channels]
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(fan_in, width, 3, stride=2, padding=1, bias=False),
                    nn.GroupNorm(8, width),
                    nn.ReLU(),
                )
                for fan_in, width in itertools.pairwise(widths)
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.blocks(contours(images))
        return out

    def stages(self) -> list[nn.Module]:
        return list(self.blocks)


class InceptionV3(Pretrained):
    """Inception-V3 up to Mixed_7c, the backbone of Bhunia et al. (CVPR 2020): 299 px to [B, 2048, 8, 8].

    ImageNet weights and blocks come from torchvision, else from timm; their names are the same, so that a saved
    encoder loads with either. Both ship Google's original weights, which know pixels in -1..1.
    """

    channels = 2048
    names = (
        *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "pool_1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "pool_2"),
        *("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
        *("Mixed_7a", "Mixed_7b", "Mixed_7c"),
    )

    def __init__(self, rebuild: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.rebuild = {}
        whole = _inception(pretrained=rebuild is None)
        self.model = nn.Sequential(
            OrderedDict((n, nn.MaxPool2d(3, 2) if n.startswith("pool") else getattr(whole, n)) for n in self.names)
        ).eval()

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.model(images * 2 - 1)
        return out

    def stages(self) -> list[nn.Module]:
        return [block for block in self.model.children() if not isinstance(block, nn.MaxPool2d)]


def _inception(pretrained: bool) -> Any:
    makers: list[Callable[[], Any]] = []
    with contextlib.suppress(ImportError, RuntimeError):  # RuntimeError: one built for another torch
        from torchvision.models import inception_v3

        makers.append(lambda: inception_v3(weights="DEFAULT" if pretrained else None, init_weights=False))
    with contextlib.suppress(ImportError, RuntimeError):
        from timm import create_model

        makers.append(lambda: create_model("inception_v3", pretrained=pretrained))
    if not makers:
        cure = "pip install 'sketchless[torchvision]' or 'sketchless[timm]'"
        raise ConfigError(f"backbone 'inception-v3' needs torchvision or timm: {cure}")
    try:
        return makers[0]()
    except Exception as error:  # whatever a download can raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"inception-v3: cannot get its weights ({reason}); connect once, they are kept"
        ) from error


BACKBONES: dict[str, Callable[..., Backbone]] = {"small-cnn": SmallCNN, "inception-v3": InceptionV3}
"""Networks under the usual pooling and head, by name."""

PRETRAINED: dict[str, Callable[[str, dict[str, Any] | None], Backbone]] = {
    "hf": HuggingFace,
    "efficientnet-lite": EfficientNetLite,
}
"""By what stands before the colon; the rest says where the weights are."""


def make_backbone(name: str, rebuild: dict[str, Any] | None = None) -> Backbone:
    """Build a backbone.

    Args:
        name: `"small-cnn"`, `"inception-v3"`, `"hf:<name or folder>"`, `"efficientnet-lite:<file>"`, an entry
            point of the group `sketchless.backbones`, or `"module:function"`; the last two return a `Backbone`.
        rebuild: the `rebuild` of a saved one: same network, weights left to the caller.

    Raises:
        ConfigError: unknown name, or the library behind it is not installed.
        CheckpointError: the pretrained weights cannot be loaded.
    """
    first, _, rest = name.partition(":")
    if first in PRETRAINED:
        return PRETRAINED[first](rest, rebuild)
    if name == "inception-v3":
        return InceptionV3(rebuild)
    backbone = find("backbone", name, BACKBONES, ("hf:<name or folder>", "efficientnet-lite:<file>"))()
    if not isinstance(backbone, Backbone):
        raise ConfigError(f"backbone {name!r} gives a {type(backbone).__name__}, not a Backbone")
    return backbone
