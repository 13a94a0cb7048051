"""Settings of the encoder and of stage 1 that suit a backbone, and presets over them: plain data."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sketchless.datasets.errors import unknown_name

from ..networks.encoder import EncoderConfig

_PRETRAINED = {"epochs": 12, "learning_rate": 3e-4, "freeze": 0.4}
_SKETCH_A_NET = {
    **{"size": 225, "dim": 256, "epochs": 40, "learning_rate": 1e-3},
    **{"loss": "triplet-squared", "removal": 0.3, "deformation": 1.0},
}
# What differs from the defaults of `EncoderConfig` and `Stage1Config`.
RECIPES: dict[str, dict[str, Any]] = {
    "small-cnn": {},
    "inception-v3": {"size": 299, **_PRETRAINED},
    "zse": {"epochs": 20, "learning_rate": 1e-3},
    "zse:hf": {"size": 224, "learning_rate": 1e-5, "loss": "triplet"},  # the paper's
    "hf": {"size": 128, **_PRETRAINED},  # and every other backbone
    "sketch-a-net": _SKETCH_A_NET,
    "dssa": _SKETCH_A_NET,
}
# What a preset says stands above the recipe.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # Bhunia et al., CVPR 2020, section 4; weight decay, flips, frozen blocks and patience are not theirs
    "paper": {
        **{"attention": True, "loss": "triplet"},
        **{"batch": 16, "learning_rate": 1e-4, "epochs": 100, "patience": 20},
    },
}
MANIFOLDS = ("manifold", "manifold-apart")  # of the backbone behind the colon, by default the small CNN
OWN_ATTENTION = ("dssa", "zse", "zse:hf")


def recipe(backbone: str, preset: str = "default") -> tuple[dict[str, Any], dict[str, Any]]:
    """Keywords of `EncoderConfig` and of `Stage1Config` for a backbone; what is not among them keeps its default.

    Raises:
        ConfigError: no such preset.
    """
    if preset not in PRESETS:
        raise unknown_name("preset", preset, PRESETS)
    first, _, rest = backbone.partition(":")
    trained = (rest or "small-cnn") if first in MANIFOLDS else backbone
    family = ":".join(trained.split(":")[:2])  # zse:hf of zse:hf:<folder>
    values = {"backbone": backbone, **RECIPES.get(family, RECIPES["hf"]), **PRESETS[preset]}
    if family in OWN_ATTENTION:
        values.pop("attention", None)
    of_encoder = {field.name for field in fields(EncoderConfig)}
    return (
        {name: value for name, value in values.items() if name in of_encoder},
        {name: value for name, value in values.items() if name not in of_encoder},
    )
