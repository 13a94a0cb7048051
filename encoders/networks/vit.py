"""A vision transformer that keeps what its retrieval token looks at, and where in the picture it was.

Lin et al., "Zero-Shot Everything Sketch-Based Image Retrieval, and in Explainable Style" (CVPR 2023): the
self-attention half of ZSE-SBIR. Token selection: Liang et al., "EViT" (ICLR 2022).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention

from sketchless.datasets.checks import as_count
from sketchless.datasets.errors import ConfigError

from .hugging_face import HuggingFace
from .layers import contours, scaled

SHARE_KEPT = 0.9  # of the tokens, at each layer that selects
SELECT_AT = (4, 7, 10)  # layers of 12, from 1; 196 tokens become 177, 160, 144
CROSS_HEADS = 8  # of the cross-attention that the tokens go through afterwards


@dataclass(frozen=True)
class Sizes:
    """What a vision transformer is made of; the defaults are for 64 px images and one CPU core."""

    patch: int = 8
    """Side of a patch, pixels: a power of 2, 4 or more."""
    width: int = 96
    """C, of the tokens."""
    layers: int = 4
    heads: int = 4
    hidden: int = 192
    """Width of the MLPs inside."""
    epsilon: float = 1e-6
    """Of the layer norms."""
    contours: bool = True
    """See the contours of pictures, as `small-cnn` does, instead of their colours; not with pretrained weights."""
    mean: Sequence[float] = (0.5,)
    """Of the channels, one for all or one each; where colours are seen, pixels become (pixel - mean) / deviation."""
    deviation: Sequence[float] = (0.5,)

    def __post_init__(self) -> None:
        for name in ("patch", "width", "layers", "heads", "hidden"):
            as_count(f"zse: {name}", getattr(self, name), 1)
        if not all(len(x) in (1, 3) for x in (self.mean, self.deviation)) or 0 in self.deviation:
            fault = f"mean {self.mean}, deviation {self.deviation}"
            raise ConfigError(f"zse: {fault}; want 1 or 3 numbers each, and no deviation of 0")
        if self.patch < 4 or self.patch & (self.patch - 1):
            fault = f"patches of {self.patch} px; the convolutional tokenizer halves, so give a power of 2, 4 or more"
            raise ConfigError(f"zse: {fault}")
        if self.width % math.lcm(self.heads, CROSS_HEADS):
            raise ConfigError(f"zse: width {self.width} does not divide into {self.heads} and {CROSS_HEADS} heads")

    def select_at(self) -> tuple[int, ...]:
        """Layers (from 1) after which tokens are dropped: the paper's, scaled to this depth."""
        return tuple(math.ceil(layer * self.layers / 12) for layer in SELECT_AT)


@dataclass(frozen=True)
class Tokens:
    """What is left of the patches of a batch of images, in the order of their places.

    Attributes:
        values: float [B, L, C], after the last layer.
        places: int64 [B, L], patch number y * w + x on the h x w grid, increasing.
        attention: float [B, L], of the retrieval token in the last layer, mean of its heads; sums to 1.
        grid: (h, w) in patches.
    """

    values: Tensor
    places: Tensor
    attention: Tensor
    grid: tuple[int, int]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Tensor | slice) -> Tokens:
        """Those of some of the images."""
        return Tokens(self.values[rows], self.places[rows], self.attention[rows], self.grid)

    @classmethod
    def join(cls, parts: Sequence[Tokens]) -> Tokens:
        """Those of several batches, one at least, as one batch."""
        values, places, attention = (
            torch.cat([getattr(p, x) for p in parts]) for x in ("values", "places", "attention")
        )
        return cls(values, places, attention, parts[0].grid)

    def having(self, values: Tensor) -> Tokens:
        """Other values [B, L, C'] at the same places."""
        return Tokens(values, self.places, self.attention, self.grid)

    def map(self) -> Tensor:
        """Values at their places, zeros where the token was dropped: [B, C, h, w]."""
        n, _, width = self.values.shape
        flat = self.values.new_zeros(n, self.grid[0] * self.grid[1], width)
        flat = flat.scatter(1, self.places.unsqueeze(2).expand(-1, -1, width), self.values)
        grid: Tensor = flat.transpose(1, 2).unflatten(2, self.grid)
        return grid


class Tokenizer(nn.Module):
    """Learnable tokenizer: the mean of a linear patch embedding and a stack of strided convolutions.

    The stack of the paper, for patches of 16 px and 768 channels, is 3-64 (7x7) -128 -256 -768 (3x3), stride
    2 each, ReLU between, no bias. Others have one convolution per halving and widths in the same proportion.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.linear = nn.Conv2d(3, sizes.width, sizes.patch, sizes.patch)
        halvings = sizes.patch.bit_length() - 1
        widths = [max(sizes.width // (3 * 2**k), 4) for k in reversed(range(halvings - 1))]
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)]
        for fan_in, width in zip(widths, [*widths[1:], sizes.width], strict=True):
            layers += [nn.ReLU(), nn.Conv2d(fan_in, width, 3, 2, 1, bias=False)]
        self.stack = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = (self.linear(images) + self.stack(images)) / 2  # [B, C, h, w]
        return out


class Block(nn.Module):
    """One pre-norm transformer layer, which also tells what its first token looks at."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.before = nn.LayerNorm(sizes.width, sizes.epsilon)
        self.qkv = nn.Linear(sizes.width, 3 * sizes.width)
        self.out = nn.Linear(sizes.width, sizes.width)
        self.after = nn.LayerNorm(sizes.width, sizes.epsilon)
        self.mlp = nn.Sequential(nn.Linear(sizes.width, sizes.hidden), nn.GELU(), nn.Linear(sizes.hidden, sizes.width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, 1 + L, C] to tokens of that shape, and the first one's attention [B, L] to the others."""
        qkv = self.qkv(self.before(x)).unflatten(2, (3, self.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # [B, heads, 1 + L, C / heads]
        x = x + self.out(scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        x = x + self.mlp(self.after(x))
        score = query[:, :, :1] @ key.transpose(2, 3) / math.sqrt(query.shape[3])
        return x, score.softmax(dim=3).mean(dim=1)[:, 0, 1:]


class ViT(nn.Module):
    """Images [B, 3, S, S] in 0..1 to a retrieval token and the patch tokens it looks at most.

    Like the paper's but for dropout, which it has none of.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, sizes: Sizes, size: int) -> None:
        """With random weights, for images of `size` px. Raises ConfigError: no even number of patches."""
        super().__init__()
        if size % (2 * sizes.patch):
            raise ConfigError(f"zse: size {size} is no multiple of two patches ({2 * sizes.patch} px); give one")
        self.sizes, self.side = sizes, size // sizes.patch
        self.tokenizer = Tokenizer(sizes)
        self.retrieval = nn.Parameter(0.02 * torch.randn(1, 1, sizes.width, generator=torch.default_generator))
        places = torch.randn(1, 1 + self.side**2, sizes.width, generator=torch.default_generator)
        self.positions = nn.Parameter(0.02 * places)
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(sizes.width, sizes.epsilon)
        for name in ("mean", "deviation"):  # no weights: they come back with the sizes
            values = torch.tensor(getattr(sizes, name), dtype=torch.float32).view(1, -1, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tokens]:
        """The retrieval token [B, C] and the kept patch tokens, both after the last layer."""
        if self.sizes.contours:
            pixels = contours(images).expand_as(images)
        else:
            pixels = scaled(images, self.mean, self.deviation)
        patches = self.tokenizer(pixels).flatten(2).transpose(1, 2)  # [B, h w, C], row by row
        x = torch.cat([self.retrieval.expand(len(images), -1, -1), patches], dim=1) + self.positions
        places = torch.arange(self.side**2, device=images.device).expand(len(images), -1)
        for number, block in enumerate(self.blocks, start=1):
            x, attention = block(x)
            if number in self.sizes.select_at():
                kept = most(attention, SHARE_KEPT)
                attention, places = attention.gather(1, kept), places.gather(1, kept)
                chosen = x[:, 1:].gather(1, kept.unsqueeze(2).expand(-1, -1, x.shape[2]))
                x = torch.cat([x[:, :1], chosen], dim=1)
        x = self.norm(x)
        attention = attention / attention.sum(dim=1, keepdim=True)
        return x[:, 0], Tokens(x[:, 1:], places, attention, (self.side, self.side))


def most(attention: Tensor, share: float) -> Tensor:
    """Columns of the share of values [B, L] that are highest, in increasing order: int64 [B, ceil(share L)]."""
    count = math.ceil(share * attention.shape[1])
    return attention.topk(count, dim=1).indices.sort(dim=1).values


def pretrained(name: str, size: int) -> ViT:
    """A ViT with the weights of a `transformers` one; the convolutional tokenizer is new, as in the paper.

    Pixels are scaled as `HuggingFace` scales them.

    Args:
        name: folder, or name on the hub.
        size: side of the images, pixels; position embeddings are stretched to it.

    Raises:
        ConfigError: transformers is not installed, or the model is no ViT. CheckpointError: it cannot be loaded.
    """
    theirs = HuggingFace(name)
    model = theirs.model
    about: Any = model.config
    if about.model_type != "vit" or about.hidden_act != "gelu":
        raise ConfigError(f"hf:{name}: is a {type(model).__name__}; zse needs a ViTModel with GELU")
    if theirs.blue_first:
        raise ConfigError(f"hf:{name}: wants blue first, which zse does not; use another model")
    sizes = Sizes(
        patch=about.patch_size,
        width=about.hidden_size,
        layers=about.num_hidden_layers,
        heads=about.num_attention_heads,
        hidden=about.intermediate_size,
        epsilon=about.layer_norm_eps,
        contours=False,
        mean=theirs.mean.flatten().tolist(),
        deviation=theirs.deviation.flatten().tolist(),
    )
    vit = ViT(sizes, size)
    state = _translated(model.state_dict(), sizes.layers)
    state["positions"] = _stretch(state["positions"], vit.side)
    vit.load_state_dict(vit.state_dict() | state)
    return vit


# What transformers 5 calls the parts of a ViT, and what it called them before.
NAMES_BEFORE_5 = (
    ("layers.", "encoder.layer."),
    *((f"attention.{x[0]}_proj", f"attention.attention.{x}") for x in ("query", "key", "value")),
    ("attention.o_proj", "attention.output.dense"),
    ("mlp.fc1", "intermediate.dense"),
    ("mlp.fc2", "output.dense"),
)


def _translated(theirs: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Weights of a `transformers` ViT under our names."""
    for now, then in NAMES_BEFORE_5:
        theirs = {name.replace(then, now): tensor for name, tensor in theirs.items()}
    state = {"retrieval": theirs["embeddings.cls_token"], "positions": theirs["embeddings.position_embeddings"]}
    names = {"tokenizer.linear": "embeddings.patch_embeddings.projection", "norm": "layernorm"}
    for i in range(layers):
        ours, layer = f"blocks.{i}", f"layers.{i}"
        names |= {
            f"{ours}.before": f"{layer}.layernorm_before",
            f"{ours}.out": f"{layer}.attention.o_proj",
            f"{ours}.after": f"{layer}.layernorm_after",
            f"{ours}.mlp.0": f"{layer}.mlp.fc1",
            f"{ours}.mlp.2": f"{layer}.mlp.fc2",
        }
    for part in ("weight", "bias"):
        state |= {f"{ours}.{part}": theirs[f"{name}.{part}"] for ours, name in names.items()}
    for i in range(layers):
        parts = [f"layers.{i}.attention.{x}_proj" for x in "qkv"]
        weights = [theirs[f"{part}.weight"] for part in parts]
        # with qkv_bias=false there are none
        biases = [theirs.get(f"{p}.bias", w.new_zeros(len(w))) for p, w in zip(parts, weights, strict=True)]
        state |= {f"blocks.{i}.qkv.weight": torch.cat(weights), f"blocks.{i}.qkv.bias": torch.cat(biases)}
    return state


def _stretch(positions: Tensor, side: int) -> Tensor:
    """Position embeddings [1, 1 + L, C] of a square grid to those of another: [1, 1 + side^2, C]."""
    grid = math.isqrt(positions.shape[1] - 1)
    maps = positions[:, 1:].transpose(1, 2).unflatten(2, (grid, grid))
    if grid != side:
        maps = interpolate(maps, size=(side, side), mode="bicubic")
    return torch.cat([positions[:, :1], maps.flatten(2).transpose(1, 2)], dim=1)
