"""What is a method's own to set: the ranges of its knobs, and the settings that are tried of each method.

Every method gets as many settings: its default, and a Latin hypercube over all its knobs (McKay, Beckman and Conover,
1979), which tries as many levels of each knob as it has points, however many knobs there are.

Not here is what all methods share and nobody chose for one: drawings per update, the schedule of the step size, weight
decay, the policy, how credit is given. Neither is what has no effect where no action changes what follows (discount,
`gae_lambda`), nor what makes another method (the advantage, the penalty towards B1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

SETTINGS = 12
"""Settings of each method, its default among them."""

_CUBES, _SEED = 500, 0  # of these random hypercubes the one whose points are furthest apart is taken


@dataclass(frozen=True)
class Knob:
    """A setting of an agent, the range in which it is tried, and how the range is filled.

    `scale` is `log`: equal ratios, `linear`: equal differences, both to two significant digits; `doubled`: powers of
    two, `whole`: whole numbers in equal ratios, `width`: a single hidden layer of so many units, a power of two.
    """

    name: str
    low: float
    high: float
    scale: str = "log"

    def at(self, share: float) -> Any:
        """The value at a share (0..1) of the range."""
        if self.scale == "linear":
            return float(f"{self.low + share * (self.high - self.low):.2g}")
        if self.scale in ("doubled", "width"):
            first, last = int(np.log2(self.low)), int(np.log2(self.high))
            value = 2 ** (first + min(int(share * (last - first + 1)), last - first))
            return [value] if self.scale == "width" else value
        value = self.low * (self.high / self.low) ** share
        return round(value) if self.scale == "whole" else float(f"{value:.2g}")


_STEP = Knob("learning_rate", 3e-4, 1e-2)  # of TRPO: the critic's
_K = Knob("samples", 4, 64, "doubled")
_SIGMA = Knob("init_log_std", -3.0, -1.0, "linear")
_EPOCHS = Knob("epochs", 1, 8, "doubled")
_CLIP = Knob("clip", 0.05, 0.5)
_KL = (Knob("target_kl", 0.005, 0.5), Knob("init_beta", 0.1, 10.0))
_CRITIC = Knob("critic", 16, 256, "width")
_VALUE = Knob("value_weight", 0.05, 5.0)

KNOBS: dict[str, tuple[Knob, ...]] = {
    "vpg": (_STEP, _K, _SIGMA),
    "ppo-ac-clip": (_STEP, _K, _SIGMA, _EPOCHS, _CLIP, _CRITIC, _VALUE),
    "ppo-ac-kl": (_STEP, _K, _SIGMA, _EPOCHS, *_KL, _CRITIC, _VALUE),
    "ppo-a-kl": (_STEP, _K, _SIGMA, _EPOCHS, *_KL),
    "trpo": (
        Knob("target_kl", 0.01, 0.3),
        _K,
        _SIGMA,
        Knob("cg_damping", 0.01, 1.0),
        Knob("cg_steps", 5, 45, "whole"),
        _STEP,
        _CRITIC,
        Knob("critic_updates", 3, 30, "whole"),
    ),
    "ppo-a-clip": (_STEP, _K, _SIGMA, _EPOCHS, _CLIP),
    "grpo": (_STEP, _K, _SIGMA, _EPOCHS, _CLIP, Knob("beta", 1e-4, 1e-1)),
    "rank-softmax": (_STEP, Knob("temperature", 0.02, 0.5)),
}
"""Method -> its knobs. The default of each lies inside its range."""

REMARKS = (
    "Methods without a critic take the mean reward of the K samples of a state as their baseline, K = 16 by default; "
    "none is pulled towards B1. Settings are a method's default and points of a Latin hypercube over all its knobs. "
    "The step of TRPO is its critic's.",
)
"""What a reader of the table must know."""

_SHORT = {
    "learning_rate": "step",
    "samples": "K",
    "init_log_std": "log sigma",
    "target_kl": "KL",
    "init_beta": "beta at first",
    "value_weight": "critic's weight",
    "cg_damping": "damping",
    "cg_steps": "CG steps",
    "critic_updates": "critic's steps",
}


def settings_of(method: str) -> list[dict[str, Any]]:
    """The settings of a method that are tried, each as what differs from its default: `SETTINGS`, the default first.

    Raises:
        KeyError: a method without knobs.
    """
    knobs = KNOBS[method]
    cube = _hypercube(SETTINGS - 1, len(knobs))
    return [{}, *({knob.name: knob.at(share) for knob, share in zip(knobs, row, strict=True)} for row in cube)]


def told(setting: dict[str, Any]) -> str:
    """`"step 0.0023, K 8, log sigma -1.7"`; `"default"`."""
    words = [
        f"{_SHORT.get(name, name)} {value[0] if isinstance(value, list) else value:g}"
        for name, value in setting.items()
    ]
    return ", ".join(words) or "default"


def _hypercube(points: int, dimensions: int) -> npt.NDArray[np.float64]:
    """Shares in 0..1 [points, dimensions]: in every column the middle of each of `points` equal parts once."""
    rng = np.random.default_rng(_SEED)
    levels = rng.permuted(np.tile(np.arange(points), (_CUBES, dimensions, 1)), axis=2)
    apart = ((levels[..., :, None] - levels[..., None, :]) ** 2).sum(axis=1)  # [cubes, points, points]
    nearest = (apart + points**2 * dimensions * np.eye(points, dtype=np.int64)).min(axis=(1, 2))
    best = levels[nearest.argmax()]
    shares: npt.NDArray[np.float64] = (best.T + 0.5) / points
    return shares
