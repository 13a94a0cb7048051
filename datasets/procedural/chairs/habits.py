"""The drawer of a chair: the habits of a person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..hand import Hand, a_hand


@dataclass(frozen=True)
class Habits:
    """How one person draws."""

    frontal: float  # share of the chair's turn that is drawn; people turn things to the front
    yaw: float  # degrees, error of the remembered viewpoint
    pitch: float  # degrees, the same
    perspective: float  # the drawer's distance / the camera's
    height_back: float  # heights above the seat are drawn this many times too high
    height_legs: float  # the same below the seat
    width: float  # the same sideways
    shear: float  # slope given to horizontal lines
    hand: Hand
    care: float  # 0 draws the outline only .. 1 draws all that they see
    patience: int  # strokes after which they call it finished
    thin_bars: float  # pixels; thinner bars become a single line
    edges: bool  # draws corners as separate strokes rather than closed outlines
    joins: float  # chance that the pen stays down where two strokes meet
    back_first: bool
    arms_first: bool
    rightwards: bool


def habits(rng: np.random.Generator, noise: float) -> Habits:
    """A person at random, whose faults are `noise` times the usual."""

    def error(spread: float) -> float:
        return float(noise * spread * np.clip(rng.normal(), -2.2, 2.2))

    edges = bool(rng.random() < 0.2)
    return Habits(
        frontal=float(np.exp(-noise * rng.uniform(0.0, 0.4))),
        yaw=error(6.0),
        pitch=error(4.0),
        perspective=float(np.exp(error(0.25))),
        height_back=float(np.exp(error(0.09))),
        height_legs=float(np.exp(error(0.11))),
        width=float(np.exp(error(0.07))),
        shear=error(0.03),
        hand=a_hand(rng, noise),
        care=float(np.clip(1 - noise * rng.uniform(0.0, 0.75), 0, 1)),
        patience=int(rng.integers(6, 16)) + 3 * edges,
        thin_bars=rng.uniform(3.0, 9.0),
        edges=edges,
        joins=rng.uniform(0.1, 0.9),
        back_first=bool(rng.random() < 0.55),
        arms_first=bool(rng.random() < 0.25),
        rightwards=bool(rng.random() < 0.8),
    )
