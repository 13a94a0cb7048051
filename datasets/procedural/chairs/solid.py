"""The two solids that chairs are made of: bars swept along a path, and plates between two faces.

A part carries its surfaces, for the photo, and its lines, for the drawing. Lines that depend on where the
onlooker stands (the two sides of a round leg) are worked out from `eye`, the direction towards them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Line:
    """A line somebody may draw.

    Attributes:
        points: [n, 3] cm; closed where the last point is the first.
        level: 0 the coarse outline .. 5 the last detail.
        kind: what it belongs to, such as `"leg"`.
        spine: [m, 3] what stands for a thin bar in a quick drawing, None elsewhere.
    """

    points: Array
    level: int
    kind: str
    spine: Array | None = None


@dataclass(frozen=True, eq=False)
class Part:
    """A piece of a chair.

    Attributes:
        material: `"frame"` or `"soft"`.
        surfaces: grids of points [r, c, 3] cm, smooth inside, meeting at sharp edges.
        lines: what can be drawn of it.
    """

    material: str
    surfaces: tuple[Array, ...]
    lines: tuple[Line, ...]


def unit(vectors: Array) -> Array:
    """[..., 3] scaled to length 1; a zero vector stays zero."""
    unit: Array = vectors / np.maximum(np.sqrt((vectors * vectors).sum(-1, keepdims=True)), 1e-9)
    return unit


def cross(a: Array, b: Array) -> Array:
    """Cross product of [..., 3] by [..., 3]; numpy's own takes five times as long on small arrays."""
    (ax, ay, az), (bx, by, bz) = a.T, b.T
    product: Array = np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx]).T
    return product


def bar(
    path: npt.ArrayLike,
    width: npt.ArrayLike,
    depth: npt.ArrayLike,
    side: npt.ArrayLike,
    eye: Array,
    *,
    kind: str,
    level: int,
    round: bool = False,
    material: str = "frame",
) -> Part:
    """A bar along `path` [k, 3], `width` cm ([k] or one) across towards `side`, `depth` cm the other way."""
    spine = np.asarray(path, dtype=np.float64)
    along = unit(np.gradient(spine, axis=0))
    across = np.asarray(side, dtype=np.float64)
    across = unit(across - (along @ across)[:, None] * along)
    other = cross(along, across)
    w = np.broadcast_to(np.asarray(width, dtype=np.float64) / 2, len(spine))[:, None]
    d = np.broadcast_to(np.asarray(depth, dtype=np.float64) / 2, len(spine))[:, None]

    turn = np.linspace(0, 2 * np.pi, 11) if round else np.pi * np.array([0.25, 0.75, 1.25, 1.75, 2.25])
    reach = 1.0 if round else np.sqrt(2)
    a, b = (w * across)[:, None], (d * other)[:, None]
    ring = spine[:, None] + reach * (np.cos(turn)[:, None] * a + np.sin(turn)[:, None] * b)
    sides = (ring,) if round else tuple(ring[:, i : i + 2] for i in range(4))
    ends = tuple(np.stack([ring[i], np.broadcast_to(spine[i], ring[i].shape)]) for i in (0, -1))

    # The contour lies where the surface turns away from the eye.
    normal = unit(cross(along, eye))
    reach_a = np.abs((across * normal).sum(-1, keepdims=True)) * w
    reach_b = np.abs((other * normal).sum(-1, keepdims=True)) * d
    out = normal * (np.hypot(reach_a, reach_b) if round else reach_a + reach_b)
    contour = np.concatenate([spine + out, (spine - out)[::-1]])
    return Part(material, (*sides, *ends), (Line(contour, level, kind, spine),))


def rim(grid: Array) -> Array:
    """The closed border of a grid [r, c, 3] as [n, 3]."""
    return np.concatenate([grid[0], grid[1:, -1], grid[-1, -2::-1], grid[-2::-1, 0]])


def plate(
    front: Array, back: Array, eye: Array, *, kind: str, level: int, edge_level: int, material: str = "soft"
) -> Part:
    """A plate between two faces [r, c, 3]; the face turned to the eye is drawn, the other's rim later."""
    if ((front - back).mean(axis=(0, 1)) @ eye) < 0:
        front, back = back, front
    edges = tuple(
        np.stack([f, b])
        for f, b in (
            (front[0], back[0]),
            (front[-1], back[-1]),
            (front[:, 0], back[:, 0]),
            (front[:, -1], back[:, -1]),
        )
    )
    lines = (Line(rim(front), level, kind), Line(rim(back), edge_level, f"{kind} edge"))
    return Part(material, (front, back, *edges), lines)


def ball(center: npt.ArrayLike, radius: float, eye: Array, *, kind: str, level: int) -> Part:
    """A ball, drawn as a circle."""
    middle = np.asarray(center, dtype=np.float64)
    a = unit(np.cross(eye, [0.0, 0.0, 1.0]))
    b = np.cross(eye, a)
    turn = np.linspace(0, 2 * np.pi, 9)[:, None]
    circle = middle + radius * (np.cos(turn) * a + np.sin(turn) * b)
    tilt = np.linspace(0, np.pi, 6)[:, None]
    rounds = np.stack(
        [np.sin(tilt) * np.cos(turn.T), np.sin(tilt) * np.sin(turn.T), np.broadcast_to(np.cos(tilt), (6, 9))],
        -1,
    )
    return Part("dark", (middle + radius * rounds,), (Line(circle, level, kind),))
