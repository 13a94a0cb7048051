"""Encoders of your own, both ways: a backbone for the shared head, and an `Encoder` that changes one step.

python examples/my_encoder.py      (a few seconds)
PYTHONPATH=examples sketchless encode --encoder my_encoder:patches      (from the repository's folder)
PYTHONPATH=examples sketchless encode --encoder my_encoder:Sharp
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import normalize

from sketchless.datasets import SketchDataset, procedural
from sketchless.encoders import (
    Backbone,
    Encoder,
    EncoderConfig,
    Stage1Config,
    make_backbone,
    make_encoder,
    train_stage1,
)


class Patches(Backbone):
    """Patches of 8x8 pixels, each through a small network: [B, 3, S, S] to [B, 64, S/8, S/8]."""

    def __init__(self) -> None:
        super().__init__()
        self.channels, self.rebuild = 64, {}
        self.net = nn.Sequential(nn.Conv2d(3, 128, 8, stride=8), nn.ReLU(), nn.Conv2d(128, self.channels, 1))

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.net(images)
        return out


def patches() -> Backbone:
    return Patches()


class Sharp(Encoder):
    """The small CNN pooled by (mean of B^3)^(1/3), which strong responses dominate (GeM; Radenovic et al., 2018)."""

    def build(self, rebuild: dict[str, Any] | None) -> None:
        self.backbone = make_backbone("small-cnn", rebuild)
        self.head = nn.Linear(self.backbone.channels, self.config.dim)

    def features(self, images: Tensor) -> Tensor:
        maps = self.backbone(images).clamp_min(1e-6)  # [B, D, h, w]
        return normalize(maps.pow(3).mean(dim=(2, 3)).pow(1 / 3), dim=-1)


def main(dataset: SketchDataset | None = None, epochs: int = 2) -> dict[str, float]:
    """Train both for a moment; mean of 1/rank on validation, by name."""
    dataset = dataset or procedural(train=48, validation=16, test=2, drawers=1)
    scores = {}
    for name in ("my_encoder:patches", "my_encoder:Sharp"):
        encoder = make_encoder(EncoderConfig(name, size=64, dim=32))
        scores[name] = train_stage1(encoder, dataset, Stage1Config(epochs=epochs, batch=16)).best_score
        print(f"{name}: mean 1/rank {scores[name]:.3f}")
    return scores


if __name__ == "__main__":
    main()
