"""The household of the object set, each thing a function from a random generator to a list of shapes."""

from __future__ import annotations

import numpy as np

from ..hand import Array
from .shapes import (
    BRASS,
    CREAM,
    DARK,
    GLASS,
    ORANGE,
    STEEL,
    WHITE,
    WOOD,
    Shape,
    any_colour,
    area,
    box,
    ellipse,
    flipped,
    half_width,
    like,
    line,
    one_of,
    polygon,
    rod,
    shifted,
    spline,
    symmetric,
    tilted,
    trapezium,
    turned,
)


def mug(rng: np.random.Generator) -> list[Shape]:
    """Straight or bellied, its ear round or square; bands, a heart or dots; sometimes a saucer."""
    u = rng.uniform
    top, foot, high, deep = u(0.5, 0.8), u(0.38, 0.75), u(0.55, 0.95), u(0.06, 0.2)
    belly = (top + foot) / 2 * u(0.85, 1.25)
    glaze, band = like(rng, any_colour(rng)), like(rng, any_colour(rng))
    wall = symmetric((top, -high), (belly, 0), (foot, high - 0.12), (foot * 0.85, high), (0, high + 0.04))
    reach, low, lift = u(0.3, 0.65), u(0.3, 0.7) * high, u(0.3, 0.8) * high
    if rng.random() < 0.35:  # a handle with corners
        ear = line((belly * 0.9, -lift), (top + reach, -lift), (belly + reach * u(0.7, 1.0), low), (foot * 0.9, low))
    else:
        ear = spline((belly * 0.9, -lift), (top + reach * 0.8, -lift * 1.1), (belly + reach, low * 0.3),
                (foot * 0.9, low))  # fmt: skip
    parts = [rod(ear, u(0.1, 0.2), glaze), area(wall, glaze, 0)]
    parts.append(area(ellipse(0, -high, top, deep), like(rng, (0.35, 0.24, 0.16)) if rng.random() < 0.5 else glaze))
    pattern = rng.integers(4)
    if pattern == 1:
        for y in np.linspace(-0.4, 0.5, rng.integers(1, 4)) * high:
            half = half_width(wall, y) * 0.98
            parts.append(rod(spline((-half, y), (0, y + deep * 0.7), (half, y)), u(0.04, 0.1), band, 2))
    elif pattern == 2:
        parts.append(area(heart(0, u(-0.1, 0.3), u(0.18, 0.32)), band, 2))
    elif pattern == 3:
        for x, y in [(-0.25, -0.2), (0.2, 0.0), (-0.1, 0.35), (0.25, 0.5)][: rng.integers(2, 5)]:
            parts.append(area(ellipse(x, y * high, 0.1), band, 2))
    if rng.random() < 0.25:
        parts.insert(0, area(ellipse(0, high, foot + u(0.25, 0.5), u(0.12, 0.2)), like(rng, glaze)))
    return parts


def heart(x: float, y: float, size: float) -> Array:
    path = symmetric((0, -0.4), (0, -0.4), (0.55, -0.9), (1, -0.3), (0, 1), (0, 1))
    return shifted(path * size, x, y)


def teapot(rng: np.random.Generator) -> list[Shape]:
    """Squat to tall; the handle at the back or over the lid; spout, lid, foot and band vary."""
    u = rng.uniform
    wide, high, neck, foot = u(0.6, 0.95), u(0.45, 0.8), u(0.25, 0.45), u(0.3, 0.55)
    glaze, other = any_colour(rng), any_colour(rng)
    shoulder = u(-0.5, 0.35) * high
    wall = symmetric((neck, -high), (wide, shoulder), (wide * u(0.75, 1), high * 0.6), (foot, high))
    tip, rise, thick = wide + u(0.3, 0.6), -high * u(0.5, 1.1), u(0.07, 0.12)
    root = u(0.1, 0.6) * high
    upper = spline((wide * 0.7, root - 0.25), (wide + 0.15, root - 0.25), (tip - thick, rise))
    under = spline((tip + thick, rise - 0.03), (wide + 0.25, root + 0.1), (wide * 0.7, root + 0.25))
    parts = [area(np.concatenate([upper, under, upper[:1]]), like(rng, glaze))]
    if rng.random() < 0.3:  # a bail over the lid
        grip = spline((-wide * 0.75, shoulder * 0.5 - 0.1), (-wide * 0.7, -high - 0.4), (0, -high - u(0.55, 0.8)),
                (wide * 0.7, -high - 0.4), (wide * 0.75, shoulder * 0.5 - 0.1))  # fmt: skip
        parts.append(rod(grip, u(0.06, 0.1), like(rng, WOOD)))
    else:
        back = u(0.3, 0.6)
        grip = spline((-neck * 1.3, -high * 0.75), (-wide - back, -high * u(0.7, 1.0)), (-wide - back, high * 0.2),
                (-wide * 0.85, high * u(0.3, 0.6)))  # fmt: skip
        parts.append(rod(grip, u(0.1, 0.16), like(rng, glaze)))
    peak = -high - u(0.12, 0.3)
    lid = symmetric((0, peak), (neck * 0.7, -high - 0.1), (neck * 1.05, -high), (neck * 1.05, -high), (0, -high + 0.06))
    knob = u(0.06, 0.13)
    parts += [area(wall, glaze, 0), area(ellipse(0, peak - knob * 0.7, knob), other, 2), area(lid, other)]
    if rng.random() < 0.5:
        y = u(-0.1, 0.4) * high
        half = half_width(wall, y) * 0.98
        parts.append(rod(spline((-half, y), (0, y + 0.1), (half, y)), u(0.04, 0.12), other, 2))
    if rng.random() < 0.5:
        parts.insert(0, area(trapezium(high - 0.05, foot, high + 0.1, foot * 1.15), other))
    return parts


def lamp(rng: np.random.Generator) -> list[Shape]:
    """On a rod or a vase, or on a jointed arm; the shade straight or curved, with bands."""
    u = rng.uniform
    cloth, metal = like(rng, any_colour(rng)), like(rng, one_of(rng, BRASS, DARK, STEEL, WOOD))
    wide, high, neck = u(0.4, 0.7), u(0.4, 0.7), u(0.12, 0.4)
    bow = u(-0.12, 0.12)
    hem = (wide, high)
    side = symmetric((neck, 0), ((neck + wide) / 2 + bow, high / 2), hem, hem, (0, high + u(0.03, 0.1)))
    shade = [area(side, cloth, 0)]
    for y in (0.15, 0.85)[: rng.integers(3)]:
        half = half_width(side, y * high) * 0.96
        shade.append(rod(line((-half, y * high), (half, y * high)), 0.05, like(rng, cloth, 0.15), 3))
    if rng.random() < 0.4:  # an arm lamp on a desk
        elbow, at = (u(-0.9, -0.5), u(0.0, 0.4)), u(-0.35, 0.1)
        head = tilted([area(ellipse(0, high, wide * 0.35, 0.14), like(rng, CREAM), 2), *shade[:1]], u(-50, -10))
        parts = [rod(line((at, 1.2), elbow, (0, 0.05)), u(0.06, 0.1), metal), *head]
        parts.append(area(ellipse(elbow[0], elbow[1], u(0.07, 0.1)), metal, 3))
        stand = symmetric((0, 1.1), (u(0.3, 0.5), 1.2), (0.5, 1.3), (0.5, 1.3), (0, 1.32))
        return [*parts, area(shifted(stand, at, 0), metal)]
    tall, base = high + u(0.6, 1.3), u(0.28, 0.5)
    if rng.random() < 0.5:  # a vase for a foot
        belly = u(0.2, 0.42)
        vase = symmetric((0.07, high), (belly, high + (tall - high) * u(0.35, 0.65)), (base * 0.6, tall))
        foot = [area(vase, any_colour(rng), 1)]
    else:
        foot = [rod(line((0, high), (0, tall)), u(0.05, 0.11), metal)]
        for y in np.linspace(high, tall, 4)[1 : rng.integers(1, 4)]:
            foot.append(area(ellipse(0, y, u(0.08, 0.14)), metal, 3))
    rim = (base, tall + 0.1)
    foot.append(area(symmetric((0, tall - 0.06), (base * 0.8, tall), rim, rim, (0, tall + 0.12)), metal))
    if rng.random() < 0.4:
        foot.insert(0, rod(line((wide * 0.5, high), (wide * 0.5, high + u(0.2, 0.4))), 0.03, metal, 3))
    return [*foot, *shade]


def umbrella(rng: np.random.Generator) -> list[Shape]:
    """Three to seven gores of one or two colours; shallow to deep; a crook or a straight stick."""
    u = rng.uniform
    high, n, dip, long = u(0.5, 0.95), int(rng.integers(3, 8)), u(0.04, 0.14), u(0.8, 1.3)
    colours = [any_colour(rng) for _ in range(rng.integers(1, 3))]
    x = -np.cos(np.linspace(0, np.pi, n + 1))  # feet of the ribs
    point, belly = u(1.0, 1.6), u(1.6, 2.4)

    def rib(foot: float) -> Array:
        t = np.linspace(0, 1, 14)
        return np.stack([foot * np.sin(t * np.pi / 2) ** point, high * t**belly - high], -1)

    hook, metal = u(0.14, 0.26), like(rng, one_of(rng, WOOD, DARK, STEEL))
    crook = line((0, -high), (0, long))
    if rng.random() < 0.75:
        crook = np.concatenate([crook, ellipse(hook, long, hook, None, 180, u(-20, 30))])
    parts = [rod(line((0, -high - u(0.1, 0.25)), (0, -high + 0.1)), 0.06, metal, 2), rod(crook, u(0.05, 0.09), metal)]
    hem = []
    for k in range(n):
        scallop = spline((x[k], 0), ((x[k] + x[k + 1]) / 2, -dip * min(1.0, n * (x[k + 1] - x[k]) / 2)), (x[k + 1], 0))
        hem.append(scallop)
        gore = np.concatenate([rib(x[k]), scallop, rib(x[k + 1])[::-1]])
        parts.append(area(gore, colours[k % len(colours)], -1))
    parts.append(rod(np.concatenate([rib(-1.0), *hem, rib(1.0)[::-1]]), 0.015, like(rng, colours[0], 0.15), 0))
    parts += [rod(rib(foot), 0.015, like(rng, colours[0], 0.15), 2) for foot in x[1:-1]]
    return tilted(parts, u(-35, 35))


def scissors(rng: np.random.Generator) -> list[Shape]:
    """Open wide or little; round or long rings, at times one larger; short to long blades."""
    u = rng.uniform
    open_, long, blade, shank = u(12, 38), u(0.8, 1.4), u(0.09, 0.17), u(0.3, 0.55)
    rx, ry, thick = u(0.2, 0.34), u(0.26, 0.46), u(0.08, 0.15)
    steel, grip = like(rng, STEEL), like(rng, one_of(rng, any_colour(rng), DARK))
    uneven = u(1.0, 1.35) if rng.random() < 0.5 else 1.0
    blunt = u(0.0, 0.08)
    edge = spline((-0.05, shank), (-0.04, 0), (-blade, -0.25), (-blunt, -long))
    half = np.concatenate([edge, line((0.05, -long), (0.06, shank), (-0.05, shank))])
    parts = []
    for side in (1, -1):
        size = uneven if side > 0 else 1.0
        loop = shifted(turned(ellipse(0, 0, rx * size, ry * size), 18), -rx * size * 0.55, shank + ry * size * 0.85)
        one = [rod(loop, thick, grip, 1), area(half, steel, 0)]
        if side < 0:
            one = [Shape(flipped(s.path), s.colour, s.level, s.width) for s in one]
        parts += tilted(one, side * open_ / 2)
    parts.append(area(ellipse(0, 0, u(0.04, 0.07)), like(rng, BRASS), 2))
    return tilted(parts, u(-90, 90))


def key(rng: np.random.Generator) -> list[Shape]:
    """A ring, clover, diamond or plate at the head; one to four teeth; collars."""
    u = rng.uniform
    metal, thick, long = like(rng, one_of(rng, BRASS, STEEL, DARK)), u(0.07, 0.13), u(0.9, 1.5)
    size = u(0.25, 0.4)
    style = rng.integers(4)
    if style == 0:
        bow = [rod(ellipse(0, 0, size, size * u(0.7, 1.2)), thick, metal, 0)]
    elif style == 1:  # a clover
        leaves = ((0, -size * 0.55), (-size * 0.55, 0.1), (size * 0.55, 0.1))
        bow = [rod(ellipse(x, y, size * 0.5), thick * 0.9, metal, 0) for x, y in leaves]
    elif style == 2:
        bow = [rod(polygon((0, -size), (size, 0), (0, size), (-size, 0)), thick, metal, 0)]
    else:
        bow = [area(symmetric((0, -size), (size, -size * 0.6), (size, size * 0.5), (0.06, size)), metal, 0),
                area(ellipse(0, -size * 0.4, size * u(0.2, 0.35)), DARK)]  # fmt: skip
    tip = size + long
    shaft = [rod(line((0, size * 0.95), (0, tip)), thick, metal, 0)]
    y, teeth = tip - u(0.02, 0.12), []
    for _ in range(rng.integers(1, 5)):
        deep, tall = u(0.14, 0.42), u(0.08, 0.14)
        teeth.append(area(box(0, y - tall, deep, y), metal))
        y -= tall + u(0.04, 0.1)
    places = (size + 0.12, size + 0.24, y - 0.1)[: rng.integers(4)]
    collars = [rod(line((-thick, at), (thick, at)), 0.06, metal, 2) for at in places]
    return tilted([*teeth, *shaft, *collars, *bow], u(-90, 90))


def spectacles(rng: np.random.Generator) -> list[Shape]:
    """Round, square, cat's-eye or pilot's; thin or thick; clear or dark; the arms turned in or out."""
    u = rng.uniform
    frame, thick = like(rng, one_of(rng, DARK, BRASS, any_colour(rng))), u(0.05, 0.13)
    rx, gap = u(0.38, 0.5), u(0.1, 0.2)
    ry, drop = rx * u(0.6, 1.05), u(-0.1, 0.15)
    style = rng.integers(4)
    if style == 0:
        lens = ellipse(0, 0, rx, ry)
    elif style == 1:  # nearly square
        lens = spline((-rx, -ry), (0, -ry * 1.05), (rx, -ry), (rx * 0.95, ry * 0.7), (0, ry), (-rx * 0.95, ry * 0.7),
                (-rx, -ry))  # fmt: skip
    elif style == 2:  # a cat's eye
        lens = spline((-rx * 0.9, -ry * 0.6), (rx * 0.4, -ry * 0.8), (rx * 1.25, -ry * 1.3), (rx * 1.25, -ry * 1.3),
                (rx * 0.8, ry * 0.5), (0, ry), (-rx * 0.8, ry * 0.5), (-rx * 0.9, -ry * 0.6))  # fmt: skip
    else:  # a pilot's
        lens = spline((-rx * 0.8, -ry * 0.8), (rx * 0.9, -ry * 0.85), (rx, 0), (rx * 0.5, ry), (-rx * 0.4, ry * 0.7),
                (-rx * 0.8, -ry * 0.8))  # fmt: skip
    glass = like(rng, one_of(rng, GLASS, GLASS, DARK, ORANGE))
    right = shifted(lens, gap + rx, 0)
    out, way, far = float(right[:, 0].max()), u(-0.35, 0.55), u(0.5, 1.0)
    top = -ry * u(0.3, 0.7)
    end = out + way * 0.5
    arm = spline((out, top), (out + 0.08, top), (end + 0.08, top - far * 0.7), (end, top - far),
            (end - 0.05, top - far + u(0.0, 0.25)))  # fmt: skip
    parts = [rod(path, thick * 0.7, frame) for path in (arm, flipped(arm))]
    parts += [area(path, glass, -1) for path in (right, flipped(right))]
    parts += [rod(path, thick, frame, 0) for path in (right, flipped(right))]
    bridge = spline((-gap - 0.05, drop - 0.1), (0, drop - 0.1 - u(0.0, 0.15)), (gap + 0.05, drop - 0.1))
    parts.append(rod(bridge, thick, frame))
    if style == 3 or rng.random() < 0.15:
        parts.append(rod(line((-gap - 0.2, -ry * 0.8), (gap + 0.2, -ry * 0.8)), thick * 0.7, frame, 2))
    if rng.random() < 0.5:
        parts += [rod(line((x - 0.06, 0.05), (x + 0.06, -0.15)), 0.03, WHITE, 3) for x in (gap + rx, -gap - rx)]
    return parts


def guitar(rng: np.random.Generator) -> list[Shape]:
    """Waist, bouts and neck vary; with a hole or pickups, with or without a cutaway."""
    u = rng.uniform
    paint, wood = like(rng, one_of(rng, WOOD, ORANGE, any_colour(rng))), like(rng, (0.35, 0.22, 0.14))
    low, waist, up, long, neck = u(0.48, 0.62), u(0.28, 0.4), u(0.36, 0.5), u(0.5, 0.65), u(1.0, 1.4)
    thin, head = u(0.06, 0.09), u(0.25, 0.38)
    bout = [(waist, -0.05), (low, long * 0.55), (low * 0.55, long * 0.98)]
    half = [(0, -long), (up * 0.6, -long * 0.98), (up, -long * 0.6), *bout, (0, long)]
    body = symmetric(*half)
    if rng.random() < 0.4:  # a cutaway with a horn
        tip = (up * u(0.8, 1.1), -long * u(0.8, 1.15))
        left = [(-x, y) for x, y in reversed(half)]
        body = spline((thin, -long), (thin, -long * 0.65), (up * 0.5, -long * 0.55), tip, tip,
                (up * 0.9, -long * 0.4), *bout, *left, (thin, -long))  # fmt: skip
    end = -long - neck
    parts = [area(body, paint, 0)]
    flare = u(1.2, 1.9) * thin
    parts.append(area(trapezium(end - head, flare, end, thin), wood))
    for y in np.linspace(end - head * 0.85, end - head * 0.25, 3):
        for side in (-1, 1):
            parts.append(area(ellipse(side * (flare + 0.04), y, 0.05, 0.035), STEEL, 3))
    if rng.random() < 0.65:
        parts.append(area(ellipse(0, -long * u(0.1, 0.3), u(0.14, 0.2)), DARK, 1))
    else:
        parts += [rod(line((-0.18, y), (0.18, y)), 0.07, DARK, 2) for y in (-0.12, 0.12)]
    parts.append(area(box(-thin, end, thin, -long * u(0.4, 0.7)), wood))
    frets = np.linspace(end, -long, rng.integers(3, 8))[1:-1]
    parts += [rod(line((-thin, y), (thin, y)), 0.015, STEEL, 3) for y in frets]
    bridge, wide = long * u(0.4, 0.6), u(0.14, 0.25)
    parts += [rod(line((x * 0.6, end), (x, bridge)), 0.012, CREAM, 3) for x in (-0.04, 0.04)]
    parts.append(rod(line((-wide, bridge), (wide, bridge)), u(0.05, 0.09), wood, 2))
    return tilted(parts, u(-50, 50))
