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
from torch.nn.functional import adaptive_avg_pool2d, layer_norm, normalize

from ..distributed import gather, rank, world
from ..losses import Loss
from .backbones import SmallCNN, make_backbone
from .encoder import Encoder
from .layers import SpatialAttention

PROTOTYPES = 4  # K
TEMPERATURE = 0.1  # tau
REBUILD, USE = 0.1, 0.1
APART_PROTOTYPES = 16  # K of the form with a dictionary apart
DRAWN = 16  # side of the picture that its codes are to draw
HIDDEN = 64  # width of its hyper-network


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
        layer = self.identity + self.generate(code).unflatten(1, self.identity.shape)  # A [B, d, d]
        return normalize((layer.mT @ (layer @ y))[..., 0], dim=-1)

    def generate(self, code: Tensor) -> Tensor:
        """A - I of codes [B, K], row by row: [B, d d]."""
        return code @ self.generated.flatten(1)

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
        return REBUILD * rebuilt.mean() + USE * self._idle(traits)

    def _idle(self, traits: Tensor) -> Tensor:
        """log K - H(mean code) of traits [B, D]: 0 where all prototypes are used alike."""
        usage = gather(self.code(traits)).mean(dim=0)  # [K]
        return math.log(len(usage)) + (usage * usage.clamp_min(1e-12).log()).sum()

    def _noise(self, n: int) -> Tensor:
        """Gumbel noise of this process's share [B, K] of a batch of n, which follows from the seed and the step."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + int(self.step))
        self.step += 1
        exponential = torch.empty(n, len(self.prototypes), dtype=torch.float32).exponential_(generator=generator)
        return -exponential.log().tensor_split(world())[rank()]


class ManifoldApart(Manifold):
    """`manifold-apart`, on the small CNN, or `manifold-apart:<backbone>`: the dictionary is learned apart.

    The form of the paper, as far as it is recalled: the paper was not read for this. *Recalled*: a dictionary of
    prototypes of visual traits; a Gumbel-softmax code on it; both learned from sketches without any label or pair,
    apart from retrieval; the code of a sketch generates the parameters of the last layer, for sketch and photos alike.
    *Chosen here*: everything else, which is

        t     = LayerNorm(g(sketch))           g: a small CNN of its own, pooled                   [D']
        c     = code of t, as above, with K = 16 prototypes                                        [K]
        drawn = sigmoid(V sum_k c_k p_k + v)   the sketch at 16 x 16 px                            [256]
        apart = |ink - drawn|^2 / |ink|^2 + USE (log K - H(mean code))

        A(c)  = I + h(sum_k c_k p_k)           h: a layer of 64, ReLU, a layer of d d from 0       [d, d]
        loss  = metric loss + apart

    The terms share no weights: no gradient of the metric loss reaches g, the prototypes, V or v, and none of `apart`
    the backbone, the head or h. AdamW keeps its moments weight by weight, so that one optimiser is two; only the bound
    on the length of the gradient is of both. The metric loss sees codes without noise, as they are in use.
    """

    def build(self, rebuild: dict[str, Any] | None) -> None:
        super().build(rebuild)
        del self.generated
        dim = self.config.dim
        self.describer = SmallCNN()
        width = self.describer.channels
        self.prototypes = nn.Parameter(nn.init.normal_(torch.empty(APART_PROTOTYPES, width)))
        self.drawer = nn.Linear(width, DRAWN**2)
        last = nn.Linear(HIDDEN, dim**2)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.generator = nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), last)

    def features(self, images: Tensor) -> Tensor:
        """Sketches [B, 3, S, S] in 0..1 to adapted unit embeddings [B, d]."""
        return self.adapt(Encoder.features(self, images), self.code(self.describe(images)))

    def describe(self, images: Tensor) -> Tensor:
        """Descriptors t [B, D'] of sketches [B, 3, S, S]."""
        return self.traits(self.describer(images).mean(dim=(2, 3)))

    def generate(self, code: Tensor) -> Tensor:
        """A - I of codes [B, K], row by row: [B, d d]."""
        generated: Tensor = self.generator(code @ self.prototypes.detach())
        return generated

    def loss(self, sketches: Tensor, photos: Tensor, labels: Tensor, metric_loss: Loss) -> Tensor:
        """The metric loss of adapted sketches, and what the dictionary learns from, on sketches. As `Encoder.loss`."""
        n = len(sketches)
        x = Encoder.features(self, torch.cat([sketches, photos]))
        traits, y = self.describe(sketches), normalize(self.head(x[n:]), dim=-1).float()
        metric = metric_loss(gather(self.adapt(x[:n], self.code(traits).detach())), gather(y), labels)
        code = self.code(traits, self._noise(len(labels)).to(traits.device))
        return metric + self._apart(sketches, traits, code)

    def _apart(self, sketches: Tensor, traits: Tensor, code: Tensor) -> Tensor:
        """How badly noisy codes [B, K] draw the sketches [B, 3, S, S], and how unlike the prototypes are used."""
        ink = adaptive_avg_pool2d(sketches.mean(dim=1), DRAWN).flatten(1).float()  # [B, 256]
        drawn = self.drawer(code @ self.prototypes).float().sigmoid()
        # |ink - drawn|^2 / |ink|^2
        missed = gather((ink - drawn).square().sum(dim=1)).sum() / gather(ink.square().sum(dim=1)).sum()
        return missed + USE * self._idle(traits)
