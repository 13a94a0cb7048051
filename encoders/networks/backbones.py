"""Backbones by name: from an image to a feature map."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from sketchless.datasets.errors import CheckpointError, ConfigError
from sketchless.datasets.plugins import find


class Backbone(nn.Module):
    """A network from images [B, 3, S, S] in 0..1 to feature maps [B, C, h, w].

    Attributes:
        channels: C.
        rebuild: plain JSON values from which `make_backbone(name, rebuild=...)` makes the same network
            without its pretrained weights.
    """

    channels: int
    rebuild: dict[str, Any]

    def stages(self) -> list[nn.Module]:
        """Blocks from the input on, for freezing the first ones."""
        return []


def contours(images: Tensor) -> Tensor:
    """Strength of the luminance gradient (Sobel) of images [B, 3, S, S]: [B, 1, S, S], 1 at a step from 0 to 1."""
    sobel = images.new_tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]) / 4
    kernels = torch.stack([sobel, sobel.T]).unsqueeze(1)  # [2, 1, 3, 3]
    grey = images.mean(dim=1, keepdim=True)  # [B, 1, S, S]
    gradient = nn.functional.conv2d(nn.functional.pad(grey, (1, 1, 1, 1), mode="replicate"), kernels)
    return (gradient.square().sum(dim=1, keepdim=True) + 1e-6).sqrt()


def scaled(images: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """(images - mean) / deviation of images [B, C, S, S]; where both are 0.5, `images * 2 - 1` to the bit."""
    return images * (1 / deviation) - mean / deviation


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


class Pretrained(Backbone):
    """Kept in evaluation mode also while training: dropout would blur retrieval, and the statistics of a
    batch norm mean little on batches that mix sketches and photos.
    """

    model: nn.Module

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.model.eval()
        return self


class HuggingFace(Pretrained):
    """Any `transformers` vision model, convolutional or transformer, as a feature map, in float32.

    Of a model of images and text (CLIP, SigLIP) it is the image tower. The tokens of a transformer, its class
    token too, become the L positions of a map [B, C, L, 1]; so spatial attention weights tokens.

    Pixels are scaled by the mean and deviation in the folder's `preprocessor_config.json`; without one, to -1..1.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, name: str, rebuild: dict[str, Any] | None = None) -> None:
        super().__init__()
        try:
            import transformers
        except ImportError as error:
            raise ConfigError(f"backbone 'hf:{name}' needs transformers: pip install 'sketchless[hf]'") from error
        try:
            if rebuild is None:
                model = transformers.AutoModel.from_pretrained(name)
            else:
                model = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(**rebuild))
            model = getattr(model, "vision_model", model)
            pixels = _pixels(name) if rebuild is None else {}
        except Exception as error:  # damaged folders raise nearly anything
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise CheckpointError(f"hf:{name}: cannot load it ({reason}); give a folder or a hub name") from error
        for key, value in pixels.items():
            setattr(model.config, key, value)  # so that they come back with it
        self.rebuild = model.config.to_dict()
        for key, attribute in {"image_mean": "mean", "image_std": "deviation"}.items():
            values = torch.tensor(getattr(model.config, key, [0.5])).view(1, -1, 1, 1)
            self.register_buffer(attribute, values, persistent=False)
        self.model = model.float().eval()
        # Vision transformers have positions for one image size and stretch them only when told to.
        stretches = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
        self.options = {"interpolate_pos_encoding": True} if stretches else {}
        size = getattr(model.config, "image_size", 224)
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        try:
            with torch.inference_mode():
                self.channels = self(torch.zeros(1, 3, height, width)).shape[1]
        except (AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(f"hf:{name}: {type(model).__name__} is no vision model with a feature map") from error

    def forward(self, images: Tensor) -> Tensor:
        pixels = scaled(images, self.mean, self.deviation)
        out: Tensor = self.model(pixel_values=pixels, **self.options).last_hidden_state
        if out.dim() == 3:  # tokens [B, L, C]
            out = out.transpose(1, 2).unsqueeze(-1)  # [B, C, L, 1]
        return out

    def stages(self) -> list[nn.Module]:
        blocks: list[nn.Module] = []
        for child in self.model.children():
            # the first list of blocks in it, if that list is all it has
            inner = next((m for m in child.modules() if isinstance(m, (nn.ModuleList, nn.Sequential))), None)
            whole = inner is not None and len(list(inner.parameters())) == len(list(child.parameters()))
            blocks += list(inner) if inner is not None and whole else [child]
        return blocks


def _pixels(name: str) -> dict[str, list[float]]:
    """Mean and deviation of the channels that a pretrained model is used to, where it says so."""
    from transformers.utils import cached_file

    file = cached_file(
        name,
        "preprocessor_config.json",
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    about = json.loads(Path(file).read_text(encoding="utf-8")) if file else {}
    if about.get("do_normalize") is False:
        return {"image_mean": [0.0], "image_std": [1.0]}
    return {key: about[key] for key in ("image_mean", "image_std") if key in about}


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


def make_backbone(name: str, rebuild: dict[str, Any] | None = None) -> Backbone:
    """Build a backbone.

    Args:
        name: `"small-cnn"`, `"inception-v3"`, `"hf:<name or folder>"`, an entry point of the group
            `sketchless.backbones`, or `"module:function"`; the last two return a `Backbone`.
        rebuild: the `rebuild` of a saved one: same network, weights left to the caller.

    Raises:
        ConfigError: unknown name, or the library behind it is not installed.
        CheckpointError: the pretrained weights cannot be loaded.
    """
    if name.startswith("hf:"):
        return HuggingFace(name[3:], rebuild)
    if name == "inception-v3":
        return InceptionV3(rebuild)
    backbone = find("backbone", name, BACKBONES, ("hf:<name or folder>",))()
    if not isinstance(backbone, Backbone):
        raise ConfigError(f"backbone {name!r} gives a {type(backbone).__name__}, not a Backbone")
    return backbone
