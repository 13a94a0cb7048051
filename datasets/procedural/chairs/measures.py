"""The chairs of the procedural set: what varies between them, and how one is drawn at random.

A chair is a pure function of (seed, index). Lengths are centimetres, angles degrees. The chair stands on
z = 0 with its seat around the z axis; x runs across, y from the back to the front.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

# One independent random stream for each purpose, so that no part disturbs another.
SHAPE, VIEWPOINT, PHOTO, DRAWER = range(4)


@dataclass(frozen=True)
class Chair:
    """Everything that tells one chair from another, apart from its colours."""

    seat_height: float  # cm, floor to the top of the seat
    seat_width: float  # cm, front edge
    seat_depth: float  # cm
    seat_taper: float  # width of the rear edge / front edge
    seat_round: float  # 0 square corners .. 1 a disc
    seat_thickness: float  # cm
    apron: float  # cm of frame under the seat, 0 without
    cushion: float  # cm, 0 without
    back_style: str  # solid, slats, ladder, cross or spindles
    back_height: float  # cm above the seat
    back_width: float  # width at its foot / rear edge of the seat
    back_flare: float  # width at its top / at its foot
    back_rake: float  # degrees that it leans backwards
    back_bow: float  # cm that its middle lies behind its sides
    back_arch: float  # cm that the middle of its top rises
    back_round: float  # 0 square top corners .. 1 a half disc
    back_lift: float  # cm between seat and a solid back (or the lowest rail)
    back_thickness: float  # cm
    stile: float  # cm, width of the side posts of an open back
    crest: float  # cm, height of its top rail
    slats: int  # slats, spindles or rungs
    leg_style: str  # straight, tapered, splayed or pedestal
    leg_size: float  # cm, width at the top
    leg_taper: float  # width at the foot / at the top
    leg_splay: float  # degrees outwards, sideways
    leg_rake: float  # degrees outwards, front and back
    leg_round: bool  # turned rather than square
    stretchers: str  # none, sides, h or box
    stretcher_height: float  # share of the height of the legs
    star_arms: int  # feet of a pedestal
    star_radius: float  # cm
    casters: bool  # wheels under a pedestal
    arms: str  # none, posts, loop or panel
    arm_height: float  # cm above the seat
    arm_length: float  # share of the depth of the seat
    arm_flare: float  # cm that the arms open towards the front
    arm_size: float  # cm, width of the armrest


# How a field is drawn: (low, high) evenly between; (chance, low, high) that or else zero; [..] one of these.
Rule = tuple[float, float] | tuple[float, float, float] | list[Any]

COMMON: dict[str, Rule] = {
    "seat_height": (42, 49),
    "seat_width": (42, 54),
    "seat_depth": (39, 50),
    "seat_taper": (0.78, 1.0),
    "seat_round": (0.05, 0.45),
    "seat_thickness": (2.0, 6.0),
    "apron": (0.5, 3.0, 7.0),
    "cushion": (0.3, 2.5, 6.0),
    "back_style": ["solid", "slats", "ladder", "cross", "spindles"],
    "back_height": (36, 56),
    "back_width": (0.86, 1.04),
    "back_flare": (0.85, 1.15),
    "back_rake": (4, 15),
    "back_bow": (0.0, 5.0),
    "back_arch": (-1.5, 5.0),
    "back_round": (0.0, 0.5),
    "back_lift": (0.0, 14.0),
    "back_thickness": (1.8, 4.0),
    "stile": (2.4, 4.5),
    "crest": (3.0, 10.0),
    "slats": [2, 3, 3, 4, 4, 5],
    "leg_style": ["straight", "tapered", "splayed"],
    "leg_size": (2.8, 5.2),
    "leg_taper": (0.5, 1.0),
    "leg_splay": (0.0, 4.0),
    "leg_rake": (0.0, 6.0),
    "leg_round": [False, False, True],
    "stretchers": ["none", "none", "sides", "h", "box"],
    "stretcher_height": (0.22, 0.55),
    "star_arms": [4, 5, 5],
    "star_radius": (27, 36),
    "casters": [False, True],
    "arms": ["none", "none", "none", "posts", "loop"],
    "arm_height": (17, 25),
    "arm_length": (0.6, 0.95),
    "arm_flare": (0.0, 5.0),
    "arm_size": (3.0, 5.5),
}

# The families of chairs, each by what sets it apart from COMMON.
FAMILIES: dict[str, dict[str, Rule]] = {
    "dining": {"back_style": ["solid", "slats", "ladder", "cross"], "leg_style": ["straight", "tapered"]},
    "windsor": {
        "back_style": ["spindles", "spindles", "slats"],
        "back_round": (0.45, 1.0),
        "back_arch": (1.0, 6.0),
        "back_height": (44, 62),
        "crest": (2.0, 4.0),
        "stile": (2.0, 3.0),
        "slats": [4, 5, 6, 7],
        "seat_round": (0.35, 0.8),
        "leg_style": ["splayed"],
        "leg_round": [True],
        "leg_size": (2.6, 4.0),
        "stretchers": ["none", "h", "h", "box"],
        "apron": (0.0, 0.0),
    },
    "bistro": {
        "seat_round": (0.75, 1.0),
        "seat_taper": (0.92, 1.0),
        "back_style": ["ladder", "cross", "spindles", "solid"],
        "back_round": (0.5, 1.0),
        "back_height": (36, 50),
        "leg_round": [True],
        "leg_size": (2.2, 3.4),
        "stretchers": ["none", "box"],
    },
    "shell": {
        "back_style": ["solid"],
        "back_height": (28, 48),
        "back_width": (0.95, 1.12),
        "back_round": (0.4, 1.0),
        "back_bow": (3.0, 8.0),
        "back_thickness": (1.6, 2.6),
        "seat_thickness": (1.6, 3.0),
        "seat_round": (0.4, 0.9),
        "apron": (0.0, 0.0),
        "cushion": (0.2, 2.5, 5.0),
        "leg_style": ["splayed", "splayed", "tapered", "pedestal"],
        "leg_size": (2.2, 3.8),
        "leg_round": [True],
        "stretchers": ["none", "none", "sides"],
        "casters": [False],
        "arms": ["none", "none", "loop"],
    },
    "office": {
        "seat_height": (44, 53),
        "seat_thickness": (4.5, 9.0),
        "seat_round": (0.2, 0.6),
        "back_style": ["solid", "solid", "solid", "ladder", "slats"],
        "back_height": (38, 66),
        "back_round": (0.15, 0.7),
        "back_thickness": (3.0, 7.0),
        "back_bow": (2.0, 7.0),
        "apron": (0.0, 0.0),
        "cushion": (0.0, 0.0),
        "leg_style": ["pedestal"],
        "leg_size": (4.0, 6.0),
        "casters": [True, True, True, False],
        "arms": ["none", "loop", "posts"],
    },
    "armchair": {
        "seat_height": (36, 44),
        "seat_width": (50, 62),
        "seat_depth": (46, 56),
        "seat_taper": (0.85, 1.0),
        "seat_thickness": (8.0, 15.0),
        "back_style": ["solid"],
        "back_height": (36, 62),
        "back_width": (0.95, 1.08),
        "back_rake": (8, 20),
        "back_lift": (0.0, 0.0),
        "back_thickness": (6.0, 11.0),
        "apron": (0.0, 0.0),
        "cushion": (0.7, 5.0, 10.0),
        "leg_style": ["tapered", "straight", "splayed"],
        "leg_size": (3.5, 6.0),
        "stretchers": ["none"],
        "arms": ["panel", "panel", "posts", "none"],
        "arm_height": (15, 24),
        "arm_length": (0.75, 1.02),
        "arm_size": (5.0, 11.0),
    },
    "bar": {
        "seat_height": (62, 76),
        "seat_width": (36, 45),
        "seat_depth": (34, 42),
        "back_height": (18, 40),
        "leg_splay": (2.0, 5.0),
        "leg_rake": (2.0, 6.0),
        "stretchers": ["sides", "box", "box"],
        "cushion": (0.2, 2.5, 5.0),
        "arms": ["none"],
    },
}

FAMILY_SHARES = {"dining": 6, "windsor": 3, "bistro": 3, "shell": 3, "office": 4, "armchair": 4, "bar": 2}


def make_chair(seed: int, index: int) -> Chair:
    """The chair of that number in the endless row of chairs of that seed."""
    rng = np.random.default_rng([seed, index, SHAPE])
    names = [name for name, share in FAMILY_SHARES.items() for _ in range(share)]
    rules = COMMON | FAMILIES[names[rng.integers(len(names))]]
    return Chair(**{field.name: _draw(rng, rules[field.name]) for field in fields(Chair)})


def _draw(rng: np.random.Generator, rule: Rule) -> Any:
    if isinstance(rule, list):
        return rule[rng.integers(len(rule))]
    if len(rule) == 3 and rng.random() >= rule[0]:
        return 0.0
    return float(rng.uniform(rule[-2], rule[-1]))
