"""From the measures of a chair to its parts in space."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from .measures import Chair
from .solid import Array, Line, Part, ball, bar, plate

UP, ACROSS = np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])


def build(chair: Chair, eye: Array) -> list[Part]:
    """All parts of a chair, coarse ones first; `eye` [3] is the direction towards the onlooker."""
    legs = _pedestal if chair.leg_style == "pedestal" else _legs
    back = _solid_back if chair.back_style == "solid" else _open_back
    return [part for piece in (_seat, back, legs, _arms) for part in piece(chair, eye)]


def half_width(chair: Chair, y: float) -> float:
    """Half the width of the seat at depth y (cm), before its corners are rounded."""
    share = y / chair.seat_depth + 0.5
    return chair.seat_width / 2 * (chair.seat_taper + (1 - chair.seat_taper) * share)


def corner_radius(chair: Chair) -> float:
    return chair.seat_round * min(chair.seat_width * chair.seat_taper, chair.seat_depth) / 2


def _rounding(radius: float, gap: Array) -> Array:
    """How far a border rounded with `radius` lies inside its square one, `gap` before the end."""
    into = np.clip(radius - gap, 0.0, radius)
    return radius - np.sqrt(np.maximum(radius**2 - into**2, 0.0))


# ---- seat ---------------------------------------------------------------------------------------------


def _slab(chair: Chair, inset: float, low: float, high: float, bulge: float = 0.0) -> tuple[Array, Array]:
    """Upper and lower face of a slab of the outline of the seat, `inset` cm inside it."""
    radius = max(corner_radius(chair) - inset / 2, 1.0)
    length = chair.seat_depth - 2 * inset
    y = -np.cos(np.linspace(0, np.pi, 13)) * length / 2
    half = np.array([half_width(chair, value) for value in y]) - inset
    half = half - _rounding(radius, length / 2 - np.abs(y))
    x = half[:, None] * -np.cos(np.linspace(0, np.pi, 9))
    dome = bulge * (1 - (2 * y / length) ** 4)[:, None] * (1 - np.linspace(-1, 1, 9) ** 4)
    depth = np.broadcast_to(y[:, None], x.shape)
    upper = np.stack([x, depth, high + dome], -1)
    lower = np.stack([x, depth, np.full_like(x, low)], -1)
    return upper, lower


def _seat(chair: Chair, eye: Array) -> Iterator[Part]:
    top = chair.seat_height
    bottom = top - chair.seat_thickness
    soft = chair.seat_thickness > 4
    upper, lower = _slab(chair, 0.0, bottom, top, 1.5 if soft else 0.0)
    material = "soft" if soft else "frame"
    yield plate(upper, lower, eye, kind="seat", level=0, edge_level=3, material=material)
    if chair.cushion:
        upper, lower = _slab(chair, 1.5, top, top + chair.cushion * 0.7, chair.cushion * 0.4)
        yield plate(upper, lower, eye, kind="cushion", level=4, edge_level=5)
    if chair.apron and chair.leg_style != "pedestal":
        upper, lower = _slab(chair, 2.5, bottom - chair.apron, bottom)
        yield plate(upper, lower, eye, kind="apron", level=4, edge_level=4, material="frame")


# ---- back ---------------------------------------------------------------------------------------------


def _back_surface(chair: Chair) -> tuple[Callable[[Array, Array], Array], float, Array]:
    """The surface of the back, (u -1..1 across, v 0..1 upwards) -> cm; half its foot's width; its normal."""
    radius = corner_radius(chair)
    edge = half_width(chair, -chair.seat_depth / 2)
    half = min(edge * chair.back_width, edge - 0.3 * radius)
    if chair.back_style == "solid":
        half = edge * chair.back_width * (1 - 0.12 * chair.seat_round)
    y_foot = -chair.seat_depth / 2 + 1 + float(_rounding(radius, np.array(max(edge - half, 0.0))))
    lean = np.tan(np.radians(chair.back_rake))

    def surface(u: Array, v: Array) -> Array:
        u, v = np.broadcast_arrays(u, v)
        middle = 1 - u**2
        rise = v * chair.back_height
        x = u * half * (1 + (chair.back_flare - 1) * v)
        y = y_foot - lean * rise - chair.back_bow * middle * np.minimum(2 * v, 1)
        z = chair.seat_height + rise + chair.back_arch * middle * v**2
        return np.stack([x, y, z], -1)

    normal = np.array([0.0, np.cos(np.radians(chair.back_rake)), np.sin(np.radians(chair.back_rake))])
    return surface, half, normal


def _panel(chair: Chair, eye: Array, low: float, material: str, foot_round: float = 0.0) -> Part:
    """A curved panel from share `low` of the height of the back to its top."""
    surface, half, normal = _back_surface(chair)
    height = (1 - low) * chair.back_height
    width = half * chair.back_flare
    radius = max(chair.back_round * min(width, chair.back_height) * 0.95, 0.8)
    gap = height * (1 + np.cos(np.linspace(0, np.pi, 13))) / 2  # from the top, rows going up
    inside = np.maximum(_rounding(radius, gap), _rounding(foot_round * radius, height - gap))
    u = np.maximum(1 - inside / width, 0.0)[:, None] * -np.cos(np.linspace(0, np.pi, 9))
    front = surface(u, 1 - gap[:, None] / chair.back_height)
    back = front - chair.back_thickness * normal
    return plate(front, back, eye, kind="back", level=0, edge_level=5, material=material)


def _solid_back(chair: Chair, eye: Array) -> Iterator[Part]:
    lift = chair.back_lift if chair.back_lift > 3 else 0.0
    low = lift / chair.back_height
    material = "frame" if chair.back_thickness < 2.2 else "soft"
    yield _panel(chair, eye, low, material, 0.6 if lift else 0.0)
    if lift:
        surface, _, normal = _back_surface(chair)
        v = np.linspace(-0.08, low + 0.15, 4)
        for u in (0.0,) if chair.leg_style == "pedestal" else (-0.72, 0.72):
            width = 5.0 if u == 0 else chair.stile
            path = surface(np.full(4, u), v) - (chair.back_thickness * 0.6) * normal
            yield bar(path, width, 1.5, ACROSS, eye, kind="back post", level=3)


def _open_back(chair: Chair, eye: Array) -> Iterator[Part]:
    surface, half, normal = _back_surface(chair)
    height = chair.back_height
    width = half * chair.back_flare
    radius = max(chair.back_round * min(width, height) * 0.95, 0.8)

    def hoop(aside: float, below: float) -> Array:
        """Up one side, across and down the other, that many cm inside the border."""
        corner = max(radius - max(aside, below), 0.5)
        turn = np.linspace(0, np.pi / 2, 7)
        top = height - below
        u = 1 - (aside + corner * (1 - np.cos(turn))) / width
        v = (top - corner * (1 - np.sin(turn))) / height
        climb = np.linspace(0, v[0], 5)[:-1]
        u = np.concatenate([np.full(4, u[0]), u, np.linspace(u[-1], 0, 4)[1:]])
        v = np.concatenate([climb, v, np.full(3, v[-1])])
        return surface(np.concatenate([-u, u[-2::-1]]), np.concatenate([v, v[-2::-1]]))

    crest = max(chair.crest, chair.stile)
    middle = hoop(chair.stile / 2, chair.stile / 2)
    frame = bar(middle, chair.back_thickness, chair.stile, normal, eye, kind="back", level=0)
    surfaces = list(frame.surfaces)
    if crest > chair.stile + 1:
        surfaces += _panel(chair, eye, 1 - crest / height, "frame").surfaces
    ahead = chair.back_thickness / 2 * normal  # onto the face that the onlooker sees
    lines = (Line(hoop(0, 0) + ahead, 0, "back"), Line(hoop(chair.stile, crest) + ahead, 3, "back inner"))
    yield Part("frame", tuple(surfaces), lines)

    inner, roof = 1 - chair.stile / half, 1 - 0.6 * crest / height
    kind = "cross" if chair.back_style == "cross" else "slat"
    low = chair.back_lift / height if chair.back_lift > 5 and chair.back_style != "spindles" else 0.0

    def rod(u: tuple[float, float], v: tuple[float, float], size: float, depth: float) -> Part:
        path = surface(np.linspace(*u, 7), np.linspace(*v, 7)) - (chair.back_thickness / 2) * normal
        return bar(path, depth, size, normal, eye, kind=kind, level=4, round=size == depth)

    if low and chair.back_style != "ladder":
        rail = surface(np.linspace(-inner, inner, 7), np.full(7, low)) - (chair.back_thickness / 2) * normal
        yield bar(rail, 1.6, 3.0, normal, eye, kind="back rail", level=3)
    if chair.back_style == "slats":
        size = min(1.1 * inner * half / chair.slats, 6.0)
        for u in inner * (2 * np.arange(1, chair.slats + 1) / (chair.slats + 1) - 1):
            yield rod((u, u), (low, roof), size, 1.0)
    elif chair.back_style == "spindles":
        for u in inner * (2 * np.arange(1, chair.slats + 2) / (chair.slats + 2) - 1):
            arch = 0.5 * chair.back_round * u**4
            yield rod((0.8 * u, u), (0.0, roof - arch), 1.3, 1.3)
    elif chair.back_style == "ladder":
        rungs = min(chair.slats, 4)
        size = min(0.5 * (height - crest) / (rungs + 1), 6.0)
        bottom = max(low, 0.12)
        for v in bottom + (roof - bottom) * np.arange(rungs) / rungs:
            yield rod((-inner, inner), (v, v), size, 1.4)
    else:
        reach = 1 - 0.3 * chair.back_round
        for side in (-inner, inner):
            yield rod((side, -side * reach), (low, roof), 2.8, 1.0)


# ---- legs ---------------------------------------------------------------------------------------------


def _legs(chair: Chair, eye: Array) -> Iterator[Part]:
    splayed = chair.leg_style == "splayed"
    top = chair.seat_height - chair.seat_thickness
    inset = chair.leg_size / 2 + 1 + 0.29 * corner_radius(chair) + (0.07 * chair.seat_width if splayed else 0)
    out = np.tan(np.radians(chair.leg_splay + (6 if splayed else 0))) * top
    rake = np.tan(np.radians(chair.leg_rake + (4 if splayed else 0))) * top
    taper = 1.0 if chair.leg_style == "straight" else chair.leg_taper

    ends = {}
    for side in (-1, 1):
        for front in (-1, 1):
            y = front * (chair.seat_depth / 2 - inset)
            x = side * (half_width(chair, y) - inset)
            head = np.array([x, y, top])
            foot = np.array([x + side * out, y + front * rake * (0.5 if front > 0 else 1.0), 0.0])
            ends[side, front] = head, foot
            size = chair.leg_size * np.array([1, taper])
            yield bar([head, foot], size, size, ACROSS, eye, kind="leg", level=1, round=chair.leg_round)

    def at(side: int, front: int, share: float) -> Array:
        head, foot = ends[side, front]
        return np.asarray(foot + share * (head - foot))

    def stretcher(start: Array, end: Array) -> Part:
        size = 0.55 * chair.leg_size
        across = np.cross(end - start, UP)
        return bar([start, end], 0.8 * size, size, across, eye, kind="stretcher", level=3, round=chair.leg_round)

    high = chair.stretcher_height
    if chair.stretchers != "none":
        for side in (-1, 1):
            yield stretcher(at(side, -1, high), at(side, 1, high))
    if chair.stretchers == "h":
        middle = [(at(side, -1, high) + at(side, 1, high)) / 2 for side in (-1, 1)]
        yield stretcher(*middle)
    if chair.stretchers == "box":
        for front in (-1, 1):
            yield stretcher(at(-1, front, high * 0.7), at(1, front, high * 0.7))


def _pedestal(chair: Chair, eye: Array) -> Iterator[Part]:
    hub = 11.0 if chair.casters else 8.0
    tip = 5.5 if chair.casters else 1.5
    top = chair.seat_height - chair.seat_thickness
    thick = chair.leg_size
    z = np.array([hub - 3, 0.55 * top, 0.56 * top, top])
    width = thick * np.array([1.1, 1.1, 0.7, 0.7])
    yield bar(UP * z[:, None], width, width, ACROSS, eye, kind="column", level=1, round=True, material="metal")
    for k in range(chair.star_arms):
        angle = 2 * np.pi * (k + 0.25 + chair.leg_taper) / chair.star_arms
        out = np.array([np.cos(angle), np.sin(angle), 0.0])
        path = np.array([out * 2 + UP * hub, out * chair.star_radius + UP * tip])
        size = thick * np.array([1.0, 0.6])
        across = np.cross(out, UP)
        yield bar(path, size, size * 0.7, across, eye, kind="leg", level=2, material="metal")
        if chair.casters:
            yield ball(out * (chair.star_radius - 1) + UP * 2.8, 2.8, eye, kind="caster", level=5)


# ---- arms ---------------------------------------------------------------------------------------------


def _arms(chair: Chair, eye: Array) -> Iterator[Part]:
    if chair.arms == "none":
        return
    surface, _, _ = _back_surface(chair)
    high = min(chair.arm_height, 0.85 * chair.back_height)
    front = chair.seat_depth * (chair.arm_length - 0.5)
    wide = half_width(chair, front) + 1 + chair.arm_flare
    top = chair.seat_height + high
    size = chair.arm_size
    for side in (-1, 1):
        if chair.arms == "panel":
            yield _side_panel(chair, eye, side)
            continue
        start = surface(np.array(float(side)), np.array(high / chair.back_height)) - [0, 1, 0]
        foot = np.array([side * (half_width(chair, front) - 0.5), front - 3, chair.seat_height - 2])
        if chair.arms == "posts":
            knee = np.array([side * wide, front, top + 0.5])
            middle = (start + knee) / 2 + [side * 1.5, 0, 0.5]
            yield bar([start, middle, knee], size, 2.2, ACROSS, eye, kind="arm", level=2)
            yield bar([knee - [0, 3, 1], foot], 2.4, 2.4, ACROSS, eye, kind="arm post", level=2)
        else:
            t = np.linspace(0, 1, 12)[:, None]
            knee = np.array([side * (wide + 1), front + 4, top + 1])
            bend = (1 - t) ** 3 * start + 3 * (1 - t) ** 2 * t * ((start + 3 * knee) / 4)
            path = bend + 3 * (1 - t) * t**2 * (knee + np.array([0.0, 4.0, -2.0])) + t**3 * foot
            yield bar(path, size * 0.7, 2.4, ACROSS, eye, kind="arm", level=2, round=True)


def _side_panel(chair: Chair, eye: Array, side: int) -> Part:
    """The upholstered side of an armchair, with a rounded front corner."""
    high = min(chair.arm_height, 0.85 * chair.back_height)
    low = chair.seat_height - 0.9 * chair.seat_thickness
    top = chair.seat_height + high
    front = chair.seat_depth * (chair.arm_length - 0.5)
    rear = -chair.seat_depth / 2 - 3
    radius = 2 + 5 * chair.back_round
    z = low + (top - low) * (1 - np.cos(np.linspace(0, np.pi, 11))) / 2
    end = front - _rounding(radius, top - z)
    y = rear + (end - rear)[:, None] * (1 - np.cos(np.linspace(0, np.pi, 7))) / 2
    inner = half_width(chair, 0.0) - 0.5 + chair.arm_flare * 0.5 * (z - low)[:, None] / (top - low)
    x = np.broadcast_to(inner, y.shape)
    face = np.stack([side * x, y, np.broadcast_to(z[:, None], y.shape)], -1)
    outer = face + side * chair.arm_size * ACROSS
    return plate(outer, face, eye, kind="arm", level=2, edge_level=3)
