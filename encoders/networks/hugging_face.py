"""Pretrained vision models of the library `transformers` as backbones."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from sketchless.datasets.errors import CheckpointError, ConfigError, SketchlessError
from sketchless.datasets.schema import conform

from .layers import Pretrained, scaled

MAX_NUMBER = 1 << 20  # in the description of a saved model; the largest that vision models have is an image side
MAX_SIDE = 2048  # of the images a saved model says it is for, pixels
# Settings that make no difference to the layers, but reach for a network, foreign code or much memory.
UNUSED = {
    *("auto_map", "quantization_config", "attn_implementation", "experts_implementation", "dtype", "torch_dtype"),
    *("num_labels", "id2label", "label2id"),
}
PIXELS = ("image_mean", "image_std", "channel_order")  # our names in a model's config, so that they come back with it


class HuggingFace(Pretrained):
    """Any `transformers` vision model, convolutional or transformer, as a feature map, in float32.

    Of a model of images and text (CLIP, SigLIP) it is the image tower. The tokens of a transformer, its class
    token too, become the L positions of a map [B, C, L, 1]; so spatial attention weights tokens.

    Pixels are scaled as the folder's own image processor scales them; without one, to -1..1.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, name: str, rebuild: dict[str, Any] | None = None) -> None:
        """From a folder or a name on the hub, or, with `rebuild`, from that alone: no file and no network is asked.

        Raises:
            ConfigError: transformers is not installed, no vision model with a feature map, one whose maps are random,
                or one that could not be rebuilt when the trained encoder is loaded.
            CheckpointError: the model or its image processor cannot be loaded, or scales pixels by 0.
        """
        super().__init__()
        try:
            import transformers
        except ImportError as error:
            raise ConfigError(f"backbone 'hf:{name}' needs transformers: pip install 'sketchless[hf]'") from error
        try:
            if rebuild is None:
                model = transformers.AutoModel.from_pretrained(name, trust_remote_code=False)
                model = getattr(model, "vision_model", model)
                for key, value in _pixels(name, model.config.model_type).items():
                    setattr(model.config, key, value)
            else:
                model = _rebuilt(rebuild)
        except SketchlessError:
            raise
        except Exception as error:  # damaged folders raise nearly anything
            fault = f"cannot load it ({_reason(error)}); give a folder or a hub name"
            raise CheckpointError(f"hf:{name}: {fault}") from error
        self.rebuild = model.config.to_dict() if rebuild is None else rebuild
        about = model.config
        for key, attribute in {"image_mean": "mean", "image_std": "deviation"}.items():
            self.register_buffer(attribute, _channels(about, key), persistent=False)
        self.blue_first = getattr(about, "channel_order", "rgb") == "bgr"
        self.model = model.float().eval()
        # Vision transformers have positions for one image size and stretch them only when told to.
        stretches = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
        self.options = {"interpolate_pos_encoding": True} if stretches else {}
        size = getattr(about, "image_size", 224)
        height, width = size if isinstance(size, (list, tuple)) else (size, size)
        images = torch.rand(
            1, 3, height, width, dtype=torch.float32, generator=torch.Generator().manual_seed(0), device="cpu"
        ).to(next(model.parameters()).device)
        try:
            with torch.inference_mode(), torch.random.fork_rng(devices=[]):
                maps = self(images)
                self.channels = maps.shape[1]
                same = rebuild is not None or torch.equal(maps, self(images))
        except (AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise ConfigError(f"hf:{name}: {type(model).__name__} is no vision model with a feature map") from error
        if rebuild is None:
            self._check(name, same)

    def _check(self, name: str, same: bool) -> None:
        """Refuse what training would be wasted on."""
        kind = type(self.model).__name__
        if not same:
            raise ConfigError(f"hf:{name}: {kind} gives another map each time (random masks); use another model")
        try:
            with torch.device("meta"):
                again = _rebuilt(json.loads(json.dumps(self.rebuild)))
            shapes = [{k: v.shape for k, v in model.state_dict().items()} for model in (self.model, again)]
            reason = "" if shapes[0] == shapes[1] else "it comes back with other weights"
        except Exception as error:
            reason = _reason(error)
        if reason:
            fault = f"{kind} cannot be made again from its own config, so that no trained encoder would load"
            raise ConfigError(f"hf:{name}: {fault} ({reason}); use another model")

    def pixels(self, images: Tensor) -> Tensor:
        """Images [B, 3, S, S] in 0..1 as the model wants them."""
        return scaled(images.flip(1) if self.blue_first else images, self.mean, self.deviation)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.model(pixel_values=self.pixels(images), **self.options).last_hidden_state
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


def _rebuilt(about: Mapping[str, Any]) -> Any:
    """The model of a saved description, with weights of its own.

    Raises:
        ConfigError: it names another model to fetch, or numbers out of all proportion.
    """
    from transformers import AutoConfig, AutoModel

    settings = _harmless(about)
    for place, value in _leaves(settings):
        key = place.rpartition(".")[2]
        named = isinstance(value, str) and (key == "backbone" or (key == "architecture" and not value.isidentifier()))
        if named or (key == "use_pretrained_backbone" and value):
            raise ConfigError(f"hf: {place}={value!r} would fetch another model; use one that is complete in itself")
        if isinstance(value, (int, float)) and not abs(value) <= (MAX_SIDE if key == "image_size" else MAX_NUMBER):
            raise ConfigError(f"hf: {place}={str(value)[:20]} is beyond any vision model")
    return AutoModel.from_config(AutoConfig.for_model(**settings), trust_remote_code=False)


def _harmless(about: Any) -> Any:
    """A copy without `UNUSED` and private settings, at any depth."""
    if isinstance(about, Mapping):
        return {k: _harmless(v) for k, v in about.items() if not (k in UNUSED or str(k).startswith("_"))}
    return [_harmless(x) for x in about] if isinstance(about, (list, tuple)) else about


def _channels(about: Any, key: str) -> Tensor:
    """Numbers [1, C, 1, 1] in a model's config, one for all channels or one each. Raises CheckpointError."""
    numbers = conform(list[float], getattr(about, key, [0.5]), f"hf: {key}", error=CheckpointError)
    if len(numbers) not in (1, 3) or (key == "image_std" and 0 in numbers):
        raise CheckpointError(f"hf: {key}={numbers[:9]}: want 1 or 3 numbers, and no deviation of 0; write it again")
    return torch.tensor(numbers, dtype=torch.float32).view(1, -1, 1, 1)


def _leaves(about: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of what is in nested settings; the parts of a list have the list's name."""
    if isinstance(about, Mapping):
        for key, value in about.items():
            yield from _leaves(value, f"{place}.{key}" if place else str(key))
    elif isinstance(about, (list, tuple)):
        for value in about:
            yield from _leaves(value, place)
    else:
        yield place, about


def image_processor(name: str, kind: str) -> Any:
    """The image processor of a folder, which leaves the size of pictures alone; None where the folder has none.

    Args:
        name: folder, or name on the hub.
        kind: `model_type` of its model.
    """
    from transformers import AutoImageProcessor
    from transformers.models.auto.image_processing_auto import get_image_processor_config

    # A timm model's is described in config.json.
    if kind != "timm_wrapper" and not get_image_processor_config(name):
        return None
    size = {"do_resize": False, "do_center_crop": False, "do_pad": False}
    return AutoImageProcessor.from_pretrained(name, trust_remote_code=False, **size)


def _pixels(name: str, kind: str) -> dict[str, Any]:
    """Mean and deviation of the channels and their order, as the folder's image processor has them.

    It is asked, not read: what it makes of plain pictures shows what its many settings come to. Each channel it gives
    is a (pixel - mean) / deviation of one channel of the picture, or it is refused.
    """
    processor: Any = image_processor(name, kind)
    if processor is None:
        return {}

    def seen(*colour: int) -> Any:
        values = processor(images=Image.new("RGB", (32, 32), colour), return_tensors="np")["pixel_values"]
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 4 or values.shape[:2] != (1, 3):
            fault = f"its image processor gives pixels {values.shape}, not one picture of three channels"
            raise ConfigError(f"hf:{name}: {fault}; use another model")
        return values[0, :, values.shape[2] // 2, values.shape[3] // 2]

    with np.errstate(all="ignore"):
        black, white, red = seen(0, 0, 0), seen(255, 255, 255), seen(255, 0, 0)
    slope = white - black
    if not (np.isfinite(slope).all() and (slope != 0).all()):
        fault = "its image processor makes NaN, infinity or nothing of pixels, as by a deviation of 0"
        raise CheckpointError(f"hf:{name}: {fault}; correct its preprocessor_config.json")
    order = [2, 1, 0] if abs(red[2] - white[2]) < abs(red[0] - white[0]) else [0, 1, 2]
    colour = np.array([37, 101, 203])
    if not np.allclose(seen(*colour), black + slope * colour[order] / 255, rtol=0, atol=1e-5 * np.abs(slope).max()):
        fault = "its image processor does more than scale the channels of a picture"
        raise ConfigError(f"hf:{name}: {fault}; use another model")
    found = {"image_mean": -black / slope, "image_std": 1 / slope}
    pixels: dict[str, Any] = {}
    for key, values in found.items():  # as written down, where that is what comes of it
        said: Any = getattr(processor, key, None)
        same = isinstance(said, (list, tuple)) and len(said) == 3 and np.allclose(said, values, rtol=2e-6, atol=1e-6)
        pixels[key] = [float(x) for x in (said if same else values)]
    return pixels | ({"channel_order": "bgr"} if order[0] else {})


def _reason(error: Exception) -> str:
    return " ".join((str(error).splitlines() or [type(error).__name__])[0].split())[:200] or type(error).__name__
