"""ZSE-SBIR: one network for categories never seen, for instances and for other data sets, with reasons.

Lin et al., "Zero-Shot Everything Sketch-Based Image Retrieval, and in Explainable Style" (CVPR 2023). Two
scores of a sketch and a photo:

- `ret`: the cosine of their retrieval tokens (behind the linear head), one dot product. This is the embedding of
  the `Encoder`, so galleries, episode banks and environments work with it.
- `rn`: their patch tokens attend to each other, and a small network reads the matrix of their cosines. A
  forward pass per pair, but the matrix says which patch of the photo answers which patch of the sketch.

Different from the released code, which mixes up places: tokens return to their own place on the grid before
they are pooled, each modality takes the values (not only the keys) of the other, cross-attention is between
patches alone, and the triplet loss is on the retrieval token that `ret` compares (scaled to length 1, with
every other photo of the batch as a negative), not on one that has attended to the photo already. There is no
dropout.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, normalize, scaled_dot_product_attention

from sketchless.datasets.errors import CheckpointError, ConfigError
from sketchless.datasets.schema import conform

from ..distributed import gather, rank
from ..losses import Loss, triplet
from .encoder import Encoder
from .vit import CROSS_HEADS, Sizes, Tokens, ViT, pretrained

MARGIN = 1.0  # of the triplet loss, Euclidean distance
TARGETS = (0.01, 0.99)  # of the relation score, for pairs that do not and that do match
WEIGHTS = (2.0, 4.0)  # of the metric loss and of the relation score's squared error


class CrossAttention(nn.Module):
    """One post-norm layer in which the tokens of one modality attend to those of the other.

    x = LN(x + MHA(query=x, key=y, value=y)), then x = LN(x + FF(x)); FF is 768-1024-768 in the paper.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        hidden = width * 4 // 3
        self.feed_forward = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Tokens x [B, L, C] that attend to y [B, L', C]: [B, L, C]."""
        query = self.query(x).unflatten(2, (CROSS_HEADS, -1)).transpose(1, 2)
        key, value = self.key_value(y).unflatten(2, (2, CROSS_HEADS, -1)).permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = self.norms[0](x + self.out(seen))
        out: Tensor = self.norms[1](x + self.feed_forward(x))
        return out


class RelationNetwork(nn.Module):
    """Kernel relation network: cosines between cells of 2x2 patches -> MLP -> sigmoid.

    With n = 7x7 cells, as in the paper: tokens of 768, a 2x2/2 convolution to 512, and an MLP 2401-343-49-1.
    The convolution has no bias, so that a cell whose tokens were all dropped is zero and matches nothing.
    """

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        cells = (side // 2) ** 2
        self.pool = nn.Conv2d(width, width * 2 // 3, 2, 2, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(cells**2, cells * side // 2),
            nn.ReLU(),
            nn.Linear(cells * side // 2, cells),
            nn.ReLU(),
            nn.Linear(cells, 1),
        )

    def cosines(self, sketch: Tokens, photo: Tokens) -> Tensor:
        """[B, n, n]; entry (i, j) belongs to cell i of the sketch and cell j of the photo, row by row."""
        one, other = (normalize(self.pool(t.map()).flatten(2), dim=1) for t in (sketch, photo))  # [B, C', n]
        return one.transpose(1, 2) @ other

    def forward(self, sketch: Tokens, photo: Tokens) -> Tensor:
        """Relation scores [B], between 0 and 1."""
        score: Tensor = self.mlp(self.cosines(sketch, photo).flatten(1))[:, 0]
        return score.sigmoid()


class ZSE(Encoder):
    """`zse`: small, with random weights; `zse:hf:<name or folder>`: on a pretrained `transformers` ViT."""

    sizes = Sizes()  # of a ViT that is not pretrained

    def build(self, rebuild: dict[str, Any] | None) -> None:
        name, size = self.config.backbone, self.config.size
        family, _, model = name.partition(":hf:")
        if family != "zse" or name.endswith(":hf:"):
            raise ConfigError(f"encoder {name!r}: give zse, or zse:hf:<name or folder> of a ViT")
        if self.config.attention:
            raise ConfigError("zse has its own attention; leave out --attention")
        if model and rebuild is None:
            self.vit = pretrained(model, size)
        else:
            saved = rebuild and conform(Sizes, rebuild, f"encoder {name!r}: sizes", error=CheckpointError)
            self.vit = ViT(saved or self.sizes, size)
        width = self.vit.sizes.width
        self.sketch_attention, self.photo_attention = CrossAttention(width), CrossAttention(width)
        self.network = RelationNetwork(width, self.vit.side)
        self.head = nn.Linear(width, self.config.dim)

    @property
    def rebuild(self) -> dict[str, Any]:
        return asdict(self.vit.sizes)

    def stages(self) -> list[nn.Module]:
        return list(self.vit.blocks)

    def features(self, images: Tensor) -> Tensor:
        """Images [B, 3, S, S] in 0..1 to their retrieval tokens, scaled to length 1: [B, D]."""
        return normalize(self.vit(images)[0], dim=-1)

    def tokens(self, images: Tensor) -> Tokens:
        """Patch tokens of images [B, 3, S, S] in 0..1 that the selection keeps."""
        out: Tokens = self.vit(images)[1]
        return out

    def attend(self, sketch: Tokens, photo: Tokens) -> tuple[Tokens, Tokens]:
        """Both after cross-attention; their places are as before."""
        one = self.sketch_attention(sketch.values, photo.values)
        other = self.photo_attention(photo.values, sketch.values)
        return sketch.having(one), photo.having(other)

    def match(self, sketch: Tokens, photo: Tokens) -> Tensor:
        """Cosines [B, L, L'] after cross-attention.

        Entry (i, j) belongs to `places[i]` of the sketch and `places[j]` of the photo.
        """
        one, other = (normalize(t.values, dim=-1) for t in self.attend(sketch, photo))
        return one @ other.transpose(1, 2)

    def relation(self, sketch: Tokens | Tensor, photo: Tokens | Tensor) -> Tensor:
        """Scores `rn` [B] of pairs, between 0 and 1; images [B, 3, S, S] in 0..1, or their tokens.

        Not symmetric: each modality has a cross-attention of its own, and the sketch is the first.
        """
        one, other = (self.tokens(x) if isinstance(x, Tensor) else x for x in (sketch, photo))
        out: Tensor = self.network(*self.attend(one, other))
        return out

    def loss(self, sketches: Tensor, photos: Tensor, labels: Tensor, metric_loss: Loss) -> Tensor:
        """2 metric_loss(ret) + 4 MSE(rn, targets); the paper's metric loss is `triplet`, here with margin 1.

        It takes every other photo of the batch as a negative; the relation score is learned from each matching
        pair and one that does not match.
        """
        n, first = len(sketches), rank() * len(sketches)
        tokens, patches = self.vit(torch.cat([sketches, photos]))
        embeddings = self.embed(normalize(tokens, dim=-1)).float()
        pairs = gather(embeddings[:n]), gather(embeddings[n:])
        apart = triplet(*pairs, labels, MARGIN) if metric_loss is triplet else metric_loss(*pairs, labels)
        sketch, photo = patches[:n], patches[n:]
        everyone = Tokens(gather(photo.values), gather(photo.places), gather(photo.attention), photo.grid)
        partner = strangers(labels)[first : first + n]
        right, wrong = self.relation(sketch, photo), self.relation(sketch, everyone[partner.clamp_min(0)])
        return WEIGHTS[0] * apart + WEIGHTS[1] * relation_loss(gather(right), gather(wrong), strangers(labels) >= 0)


def relation_loss(right: Tensor, wrong: Tensor, valid: Tensor) -> Tensor:
    """Mean squared error of relation scores [B] of pairs that match and [B] that do not, where these are valid."""
    scores = torch.cat([right, wrong[valid]]).float()
    target = torch.full_like(scores, TARGETS[0])
    target[: len(right)] = TARGETS[1]
    return mse_loss(scores, target)


def strangers(labels: Tensor) -> Tensor:
    """For each of B pairs the next one, around the end, with another label: int64 [B]; -1 if there is none."""
    n = len(labels)
    rows = torch.arange(n, device=labels.device)
    ahead = (rows - rows.unsqueeze(1)) % n  # [B, B]
    ahead = ahead.masked_fill(labels == labels.unsqueeze(1), n)
    steps, column = ahead.min(dim=1)
    return torch.where(steps < n, column, -1)
