"""Settings that suit a backbone."""

from __future__ import annotations

from typing import Any

import pytest

from sketchless.datasets.errors import ConfigError
from sketchless.encoders.networks.encoder import EncoderConfig
from sketchless.encoders.training.config import Stage1Config
from sketchless.encoders.training.recipes import PRESETS, RECIPES, recipe

SKETCH_A_NET = (225, 256, 40, 1e-3, 0.0, "triplet-squared", 0.3, 1.0)


@pytest.mark.parametrize(
    ("backbone", "values"),
    {
        "small-cnn": (64, 64, 30, 2e-3, 0.0, "contrastive", 0.0, 0.0),
        "manifold": (64, 64, 30, 2e-3, 0.0, "contrastive", 0.0, 0.0),
        "manifold-apart": (64, 64, 30, 2e-3, 0.0, "contrastive", 0.0, 0.0),
        **dict.fromkeys(
            ("manifold:small-cnn", "manifold-apart:small-cnn"), (64, 64, 30, 2e-3, 0.0, "contrastive", 0.0, 0.0)
        ),
        "manifold:inception-v3": (299, 64, 12, 3e-4, 0.4, "contrastive", 0.0, 0.0),
        "manifold-apart:hf:some/model": (128, 64, 12, 3e-4, 0.4, "contrastive", 0.0, 0.0),
        "inception-v3": (299, 64, 12, 3e-4, 0.4, "contrastive", 0.0, 0.0),
        "zse": (64, 64, 20, 1e-3, 0.0, "contrastive", 0.0, 0.0),
        "zse:hf:some/vit": (224, 64, 30, 1e-5, 0.0, "triplet", 0.0, 0.0),
        "hf:some/model": (128, 64, 12, 3e-4, 0.4, "contrastive", 0.0, 0.0),
        "mine:net": (128, 64, 12, 3e-4, 0.4, "contrastive", 0.0, 0.0),
        "sketch-a-net": SKETCH_A_NET,
        "dssa": SKETCH_A_NET,
    }.items(),
)
def test_values(backbone: str, values: tuple[Any, ...]) -> None:
    of_encoder, of_stage1 = recipe(backbone)
    encoder, stage1 = EncoderConfig(**of_encoder), Stage1Config(**of_stage1)
    assert encoder.backbone == backbone
    assert (encoder.size, encoder.dim, stage1.epochs, stage1.learning_rate, stage1.freeze) == values[:5]
    assert (stage1.loss, stage1.removal, stage1.deformation) == values[5:]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("backbone", [*RECIPES, "manifold", "manifold-apart:small-cnn"])
def test_every_preset_fits_every_backbone(backbone: str, preset: str) -> None:
    of_encoder, of_stage1 = recipe(backbone, preset)
    encoder, stage1 = EncoderConfig(**of_encoder), Stage1Config(**of_stage1)  # which check their values
    for name, value in PRESETS[preset].items():
        own = name == "attention" and backbone in ("dssa", "zse", "zse:hf")
        assert getattr(encoder if hasattr(encoder, name) else stage1, name) == (False if own else value)


def test_an_unknown_preset() -> None:
    with pytest.raises(ConfigError, match="paper"):
        recipe("small-cnn", "papr")
