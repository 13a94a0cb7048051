"""A last layer that adapts to the kind of sketch, for categories that training has not seen.

After Pang et al., "Generalising Fine-Grained Sketch-Based Image Retrieval" (CVPR 2019): what a sketch of an unseen
category shares with seen ones are *traits* (how it is drawn, how large, how full), not its label. An unsupervised
dictionary holds K prototypes of traits, and the code of a sketch on it generates the parameters of the last layer:

    t     = LayerNorm(x)                                       trait descriptor of the unit feature x      [D]
    c     = softmax_k( -|t - p_k|^2 / (D tau) + g_k )          code; g: Gumbel noise, in training only     [K]
    A(c)  = I + sum_k c_k U_k,   W(c) = A(c) W0                hyper-network: the generated last layer     [d, D]
    loss  = metric loss + REBUILD |sg(t) - sum_k c_k p_k|^2 / D + USE (log K - H(mean code))

sg stops the gradient. The third term is 0 when the batch uses all prototypes alike, so that the dictionary cannot
collapse. No label of a category is used. The sizes and weights are ours.

In the paper the code of the *query* adapts both sides: sketch and photos pass the layer that the sketch generates, so
that every query sees a gallery of its own. An episode bank has one fixed gallery. But of two vectors through the same
A(c) the product is

    < A y_s, A y_p > = < A'A y_s, y_p >,    y = normalise(W0 x + b),

so the photo keeps y_p, the sketch takes normalise(A(c)'A(c) y_s), and the order of the photos is that of the paper's
scheme, but for the length of A y_p. This is not linear in a frozen feature: `features` gives the adapted embedding, and
the linear head is the identity, from which a policy starts.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, normalize

from ..distributed import gather, rank, world
from ..losses import Loss
from .backbones import make_backbone
from .encoder import Encoder
from .layers import SpatialAttention

PROTOTYPES = 4  # K
TEMPERATURE = 0.1  # tau
REBUILD, USE = 0.1, 0.1


class Manifold(Encoder):
    """`manifold`, on the small CNN, or `manifold:<backbone>`."""

    identity: Tensor
    step: Tensor

    def build(self, rebuild: dict[str, Any] | None) -> None:
        name = self.config.backbone.partition(":")[2] or "small-cnn"
        self.backbone = make_backbone(name, rebuild)
        channels, dim = self.backbone.channels, self.config.dim
        self.attention = SpatialAttention(channels) if self.config.attention else nn.Identity()
        self.head = nn.Linear(channels, dim)
        self.prototypes = nn.Parameter(nn.init.normal_(torch.empty(PROTOTYPES, channels)))
        self.generated = nn.Parameter(torch.zeros(PROTOTYPES, dim, dim))  # U, at 0: the plain head
        self.register_buffer("identity", torch.eye(dim), persistent=False)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))  # of training, behind the noise

    def features(self, images: Tensor) -> Tensor:
        """Sketches [B, 3, S, S] in 0..1 to adapted unit embeddings [B, d]."""
        x = super().features(images)
        return self.adapt(x, self.code(self.traits(x)))

    def linear_head(self) -> tuple[Tensor, Tensor]:
        """The identity [d, d] and 0 [d]."""
        return self.identity, self.identity.new_zeros(len(self.identity))

    def embed_photos(self, images: Tensor) -> Tensor:
        """Photos [G, 3, S, S] to y, their unit embeddings [G, d] before any sketch adapts them."""
        return normalize(self.head(super().features(images)), dim=-1)

    def traits(self, x: Tensor) -> Tensor:
        """Descriptors t [B, D] of unit features [B, D]."""
        return layer_norm(x.float(), x.shape[-1:])

    def code(self, traits: Tensor, noise: Tensor | float = 0.0) -> Tensor:
        """Codes [B, K], each a distribution over the prototypes."""
        distance = torch.cdist(traits, self.prototypes, compute_mode="donot_use_mm_for_euclid_dist").square()
        return (noise - distance / (traits.shape[-1] * TEMPERATURE)).softmax(dim=-1)

    def adapt(self, x: Tensor, code: Tensor) -> Tensor:
        """Embeddings normalise(A'A y) [B, d] of sketches with features [B, D] and codes [B, K]."""
        y = normalize(self.head(x), dim=-1).float().unsqueeze(-1)  # [B, d, 1]
        layer = self.identity + (code @ self.generated.flatten(1)).unflatten(1, self.identity.shape)  # A [B, d, d]
        return normalize((layer.mT @ (layer @ y))[..., 0], dim=-1)

    def loss(self, sketches: Tensor, photos: Tensor, labels: Tensor, metric_loss: Loss) -> Tensor:
        """The metric loss of adapted sketches and the two terms of the dictionary, on sketches. As `Encoder.loss`."""
        n = len(sketches)
        x = super().features(torch.cat([sketches, photos]))
        traits, y = self.traits(x[:n]), normalize(self.head(x[n:]), dim=-1).float()
        code = self.code(traits, self._noise(len(labels)).to(traits.device))
        metric = metric_loss(gather(self.adapt(x[:n], code)), gather(y), labels)
        return metric + self._dictionary(traits, code)

    def _dictionary(self, traits: Tensor, code: Tensor) -> Tensor:
        """What keeps the prototypes near the traits [B, D], given their noisy codes [B, K], and all of them in use."""
        # |sg(t) - sum_k c_k p_k|^2 / D
        rebuilt = gather((traits.detach() - code @ self.prototypes).square().mean(dim=1))
        usage = gather(self.code(traits)).mean(dim=0)  # [K]
        # log K - H(usage)
        spread = math.log(len(usage)) + (usage * usage.clamp_min(1e-12).log()).sum()
        return REBUILD * rebuilt.mean() + USE * spread

    def _noise(self, n: int) -> Tensor:
        """Gumbel noise of this process's share [B, K] of a batch of n, which follows from the seed and the step."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + int(self.step))
        self.step += 1
        exponential = torch.empty(n, len(self.prototypes), dtype=torch.float32).exponential_(generator=generator)
        return -exponential.log().tensor_split(world())[rank()]
