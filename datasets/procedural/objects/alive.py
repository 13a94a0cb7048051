"""What grows and lives in the object set, each a function from a random generator to a list of shapes."""

from __future__ import annotations

import numpy as np

from ..hand import Array
from .shapes import (
    BARK,
    BRASS,
    CREAM,
    DARK,
    GREEN,
    GREY,
    ORANGE,
    RED,
    STEEL,
    WHITE,
    WOOD,
    Colour,
    Shape,
    any_colour,
    area,
    box,
    ellipse,
    flipped,
    like,
    line,
    moved,
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


def fish(rng: np.random.Generator) -> list[Shape]:
    """Slim to round; the tail forked or full; fins above and below; bands or scales."""
    u = rng.uniform
    skin, fins = any_colour(rng), any_colour(rng)
    back, belly, long, snout = u(0.3, 0.7), u(0.3, 0.65), u(0.8, 1.1), u(0.05, 0.4)
    hump, root = u(-0.45, 0.2), u(0.08, 0.16)
    top = spline((-long, 0), (-long, 0), (-long + 0.03, -0.08), (-long + 0.2, -back * (0.4 + snout)), (hump, -back),
            (long * 0.6, -back * 0.45), (long, -root))  # fmt: skip
    under = spline((long, root), (long * 0.55, belly * 0.5), (hump + u(0.0, 0.25), belly),
            (-long + 0.2, belly * 0.55), (-long + 0.03, 0.08), (-long, 0))  # fmt: skip
    body = np.concatenate([top, under])
    span, fork, out = u(0.35, 0.65), u(-0.2, 0.3), u(0.4, 0.6)
    stalk, high, low = (long - 0.1, 0), (long + out, -span), (long + out, span)
    tail = spline(stalk, stalk, (long + out * 0.6, -span * 0.8), high, high, (long + out - fork, 0), low, low,
            (long + out * 0.6, span * 0.8), stalk)  # fmt: skip
    parts = [area(tail, fins, 0)]
    start, end, rise = hump - u(0.1, 0.3), hump + u(0.25, 0.7), u(0.12, 0.4)
    for side, chance in ((-back, 0.85), (belly, 0.6)):
        if rng.random() < chance:
            tip, fore, aft = side + np.sign(side) * rise, (start, side * 0.8), (end, side * 0.5)
            parts.append(area(spline(fore, fore, (start + 0.1, tip), (end, tip * u(0.8, 1)), aft, aft, fore), fins))
    parts.append(area(body, skin, 0))
    gill = -long + u(0.4, 0.55)
    bands = rng.integers(3)
    if bands == 1:
        for x in np.linspace(gill + 0.25, long * 0.75, rng.integers(2, 5)):
            high, low = np.interp(x, top[:, 0], top[:, 1]), np.interp(x, under[::-1, 0], under[::-1, 1])
            parts.append(rod(spline((x, high * 0.9), (x + 0.06, 0), (x, low * 0.9)), u(0.05, 0.12), like(rng, fins), 2))
    elif bands == 2:
        for x, y in [(0.0, -0.35), (0.3, 0.1), (0.05, 0.35), (0.5, -0.15), (0.35, -0.3)][: rng.integers(3, 6)]:
            scale = ellipse(x, y * min(back, belly) * 1.5, 0.09, None, -80, 80)
            parts.append(rod(scale, 0.025, like(rng, fins, 0.1), 3))
    cheek = spline((gill, -back * 0.45), (gill + 0.12, 0), (gill, belly * 0.45))
    mouth = spline((-long + 0.02, u(0.04, 0.1)), (-long + 0.12, 0.12), (-long + u(0.14, 0.25), u(0.06, 0.16)))
    parts += [rod(cheek, 0.03, like(rng, skin, 0.15), 2), rod(mouth, 0.025, DARK, 2)]
    x, y, size = -long + u(0.22, 0.32), -back * u(0.15, 0.3), u(0.06, 0.12)
    parts += [area(ellipse(x, y, size), WHITE, 2), area(ellipse(x, y, size * 0.5), DARK, 3)]
    if rng.random() < 0.6:
        at, size = gill + u(0.2, 0.3), u(0.15, 0.3)
        parts.append(area(spline((at, 0.08), (at, 0.08), (at + size, 0.0), (at + size, 0.25), (at, 0.08)), fins, 2))
    return tilted(parts, u(-15, 15))


def cloud(rng: np.random.Generator, rx: float, ry: float, bumps: int, depth: float) -> Array:
    """A closed path of so many bulges around an ellipse."""
    turn = np.linspace(0, 2 * np.pi, bumps * 8 + 1)
    swell = 1 - depth + depth * np.abs(np.sin(turn * bumps / 2 + np.pi / 2 * (bumps % 2))) ** 0.7
    uneven = 1 + 0.07 * np.cos(turn * 2 + rng.uniform(0, 6)) + 0.05 * np.cos(turn * 3 + rng.uniform(0, 6))
    path = np.stack([rx * np.cos(turn), ry * np.sin(turn)], -1) * (swell * uneven)[:, None]
    path[-1] = path[0]
    return path


def tree(rng: np.random.Generator) -> list[Shape]:
    """A fir of two to five layers, an egg-shaped crown, or a cloud of leaves; fruit, a fork, a hole."""
    u = rng.uniform
    bark, leaf = like(rng, BARK), like(rng, one_of(rng, GREEN, GREEN, ORANGE, (0.35, 0.55, 0.25)))
    thick, tall, flare = u(0.08, 0.18), u(0.5, 0.9), u(1.0, 2.0)
    trunk = area(trapezium(0, thick, tall, thick * flare), bark, 0)
    wide = u(0.5, 0.95)
    style = rng.integers(3)
    if style == 0:  # a fir in layers
        n, high, parts = int(rng.integers(2, 6)), u(1.1, 1.9), [trunk]
        for k in range(n):
            top, size = (0.0, -high + k * high / n), wide * (0.45 + 0.55 * (k + 1) / n)
            foot = top[1] + high / n * 1.5
            skirt = spline((size, foot), (0, foot + u(-0.05, 0.12)), (-size, foot))
            parts.insert(1, area(np.concatenate([line(top), skirt, line(top)]), like(rng, leaf, 0.03), 0))
        return parts
    if style == 1:  # a slender or an egg-shaped crown
        high, low = u(0.7, 1.2), u(0.5, 1.4)
        fat = wide * u(0.6, 0.9)
        half = [(0, -2 * high), (fat * low * 0.6, -high * 1.6), (fat, -high * 0.4 * low), (fat * 0.6, 0.05), (0, 0.18)]
        crown = area(symmetric(*half), leaf, 0)
    else:
        high = wide * u(0.7, 1.1)
        crown = area(shifted(cloud(rng, wide, high, int(rng.integers(5, 12)), u(0.12, 0.28)), 0, -high * 0.75), leaf, 0)
    parts = [trunk, crown]
    if rng.random() < 0.5:  # the fork is seen through the leaves
        for side in (-1, 1):
            parts.append(rod(line((0, 0.12), (side * u(0.1, 0.3), -u(0.2, 0.5))), thick * 0.6, bark, 2))
    for _ in range(int(rng.choice([0, 0, 4, 7]))):
        a, r = u(0, 6.28), u(0.2, 0.7)
        parts.append(area(ellipse(wide * r * np.cos(a), -high * 0.75 + high * r * np.sin(a), 0.06), RED, 3))
    if rng.random() < 0.3:
        parts.append(area(ellipse(0, tall * 0.5, thick * 0.5, 0.1), DARK, 2))
    return parts


def petal(long: float, wide: float, point: float, degrees: float, root: float) -> Array:
    """One petal that leaves the middle at `root`; `point` 0 is round and 1 pointed."""
    tip, widest = (0.0, long), (wide * (1 - 0.35 * point), long * (0.75 - 0.1 * point))
    return turned(shifted(symmetric((0, 0), (wide * 0.6, long * 0.35), widest, tip, tip), 0, root), degrees)


def flower(rng: np.random.Generator) -> list[Shape]:
    """Four to ten petals, round or pointed, or a tulip; the stem bent; leaves on either side."""
    u = rng.uniform
    colour, green = any_colour(rng), like(rng, GREEN)
    tall, bend = u(1.1, 1.8), u(-0.4, 0.4)
    stem = spline((0, 0), (bend * 0.6, tall * 0.5), (bend, tall))
    parts = [rod(stem, u(0.05, 0.09), green, 0)]
    for side in one_of(rng, (), (1,), (-1,), (-1, 1)):
        x, y = stem[int(u(0.4, 0.85) * (len(stem) - 1))]
        leaf = petal(u(0.4, 0.7), u(0.12, 0.22), 1.0, -side * u(50, 130), 0.0)
        parts.append(area(shifted(leaf, x, y), like(rng, green)))
    if rng.random() < 0.25:  # a tulip
        wide, high = u(0.28, 0.45), u(0.6, 0.85)
        for x in (-1, 1):
            tip = (x * wide * u(0.9, 1.25), -high)
            side_petal = spline((0, 0.1), (x * wide, 0), tip, tip, (0, -high * 0.4), (0, 0.1))
            parts.append(area(side_petal, like(rng, colour, 0.04), 0))
        cup = symmetric((0, 0.12), (wide * 0.8, -0.05), (wide * 0.55, -high * 0.7), (0, -high), (0, -high))
        parts.append(area(cup, like(rng, colour, 0.04), 0))
        return parts
    n, long, core, point = int(rng.integers(4, 11)), u(0.35, 0.65), u(0.13, 0.3), u(0, 1)
    wide, spin = min(u(1.3, 2.4) / n * (core + long * 0.6), 0.4), u(0, 360)
    for degrees in spin + np.arange(n) * 360 / n:
        parts.append(area(petal(long, wide, point, degrees, core * 0.7), like(rng, colour, 0.03), 0))
    parts.append(area(ellipse(0, 0, core), like(rng, one_of(rng, BRASS, ORANGE, DARK, CREAM)), 0))
    if rng.random() < 0.35:
        seeds = core * 0.5 * np.exp(1j * np.linspace(0, 5, 5))
        parts += [area(ellipse(at.real, at.imag, 0.03), DARK, 3) for at in seeds]
    return parts


def cat(rng: np.random.Generator) -> list[Shape]:
    """The face of a cat: ears, cheeks and eyes vary, awake or asleep; whiskers and stripes."""
    u = rng.uniform
    fur = like(rng, one_of(rng, ORANGE, GREY, DARK, CREAM, WOOD, WHITE))
    dark = like(rng, fur, 0.2)
    wide, high, chin = u(0.75, 1.0), u(0.65, 0.85), u(0.3, 0.65)
    near, far, tall, lean = u(0.18, 0.35), u(0.85, 1.0), u(0.35, 0.7), u(-0.1, 0.25)
    inner = (wide * near, -high * 0.97)
    outer = (wide * far, -high * 0.4)
    tip = (wide * (near + far) / 2 + lean, -high - tall * 0.75)
    cheek, jaw = (wide * 1.03, 0.1), (wide * chin * 1.1, high * 0.85)
    parts = [area(symmetric((0, -high), inner, inner, tip, tip, outer, outer, cheek, jaw, (0, high)), fur, 0)]
    pink = like(rng, (0.85, 0.6, 0.58))
    ear = np.array([inner, tip, outer])
    ear = ear.mean(axis=0) + (ear - ear.mean(axis=0)) * 0.55
    for side in (ear, flipped(ear)):
        parts.append(area(np.concatenate([side, side[:1]]), pink, 2))
    x, y, rx = u(0.3, 0.45) * wide, u(-0.25, 0.0), u(0.12, 0.2)
    ry, slit = rx * u(0.5, 1.15), u(0.25, 0.75)
    iris = like(rng, one_of(rng, GREEN, BRASS, STEEL))
    asleep = rng.random() < 0.15
    for side in (-x, x):
        if asleep:
            parts.append(rod(ellipse(side, y, rx, rx * 0.6, 10, 170), 0.05, DARK, 1))
        else:
            parts.append(area(ellipse(side, y, rx, ry), iris, 1))
            parts.append(area(ellipse(side, y, rx * slit * 0.7, ry * 0.85), DARK, 2))
    nose, drop = u(0.07, 0.13), u(0.15, 0.3)
    parts.append(area(polygon((-nose, drop), (nose, drop), (0, drop + nose * 1.1)), pink, 1))
    smile, low, n, span = u(0.12, 0.26), drop + nose * 1.1, int(rng.integers(2, 4)), u(0.85, 1.25)
    lip = spline((0, low), (smile * 0.5, low + u(0.1, 0.16)), (smile, low + 0.05))
    parts += [rod(path, 0.03, dark, 2) for path in (lip, flipped(lip))]
    for slope in (np.arange(n) - (n - 1) / 2) * u(0.12, 0.22):
        whisker = line((0.25, low + slope * 0.4), (span, low - 0.05 + slope * 1.6))
        parts += [rod(path, 0.015, WHITE, 2) for path in (whisker, flipped(whisker))]
    if rng.random() < 0.45:
        for at in (-0.15, 0.0, 0.15):
            parts.append(rod(line((at, -high * 0.85), (at * 0.8, -high * (0.5 if at else 0.4))), 0.06, dark, 3))
    return parts


def butterfly(rng: np.random.Generator) -> list[Shape]:
    """Broad to narrow wings, with corners or tails; spots or inner wings; feelers."""
    u = rng.uniform
    colour, other = any_colour(rng), any_colour(rng)
    out, up, low, tail = u(0.8, 1.1), u(0.6, 1.0), u(0.45, 0.8), u(0.45, 0.95)
    blunt, tip = u(0.75, 1.05), (out, -up)
    corner = [tip] * int(rng.integers(1, 3))
    neck, hip, waist, foot = (0.03, -0.25), (0.05, 0.1), (0.03, 0.0), (0.05, 0.35)
    upper = spline(neck, neck, (out * 0.5, -up * blunt), *corner, (out * u(0.8, 1), -0.1), hip, hip, neck)
    end = [(low * 0.55, tail), (low * 0.55, tail)] if rng.random() < 0.35 else [(low * 0.6, tail * 0.8)]
    lower = spline(waist, waist, (low, 0.08), (low * 1.05, tail * 0.45), *end, foot, foot, waist)
    parts = [area(path, colour, 0) for path in (lower, flipped(lower), upper, flipped(upper))]
    big, small = (out * 0.62, -up * 0.5, u(0.1, 0.2)), (out * 0.82, -up * 0.7, u(0.05, 0.09))
    for x, y, size in (big, small, (low * 0.62, tail * 0.42, 0.12)):
        if rng.random() < 0.6:
            parts += [area(ellipse(side * x, y, size), other, 2) for side in (-1, 1)]
    if rng.random() < 0.4:  # a smaller wing within the wing
        inset = upper.mean(axis=0) + (upper - upper.mean(axis=0)) * u(0.5, 0.65)
        parts[4:4] = [area(path, other, 2) for path in (inset, flipped(inset))]
    fat, long = u(0.05, 0.1), u(0.35, 0.6)
    feeler, curl = u(0.3, 0.55), u(0.1, 0.4)
    for side in (-1, 1):
        x = side * curl
        parts.append(rod(spline((0, -0.3), (x * 0.5, -0.3 - feeler * 0.7), (x * 1.2, -0.3 - feeler)), 0.025, DARK, 2))
        if curl > 0.25:
            parts.append(area(ellipse(x * 1.2, -0.3 - feeler, 0.04), DARK, 3))
    parts += [area(ellipse(0, long * 0.25, fat, long), DARK, 1), area(ellipse(0, -0.3, fat * 1.2), DARK, 1)]
    return tilted(parts, u(-30, 30))


def mushroom(rng: np.random.Generator) -> list[Shape]:
    """Flat, round or pointed; dots, gills or plain; a ring, grass, a small one beside it."""
    u = rng.uniform
    skin, stalk = like(rng, one_of(rng, RED, WOOD, CREAM, any_colour(rng))), like(rng, CREAM)
    parts = one_mushroom(rng, skin, stalk)
    if rng.random() < 0.3:
        parts += moved(one_mushroom(rng, skin, stalk), np.eye(2) * u(0.4, 0.6), (rng.choice([-1, 1]) * u(0.5, 0.8), 0))
    if rng.random() < 0.35:
        for x in np.linspace(-0.5, 0.5, 5):
            parts.append(rod(line((x, 0), (x + u(-0.1, 0.1), -u(0.1, 0.3))), 0.03, GREEN, 3))
    return parts


def one_mushroom(rng: np.random.Generator, skin: Colour, stalk: Colour) -> list[Shape]:
    """Its foot at (0, 0)."""
    u = rng.uniform
    wide, high, point, tall = u(0.55, 1.0), u(0.35, 0.95), u(0.0, 0.45), u(0.5, 1.1)
    top, foot, hem = u(0.12, 0.26), u(0.14, 0.4), u(0.04, 0.18)
    crown, edge = (wide * (0.65 - point), -high * (0.88 - 0.4 * point)), (wide, hem * 0.5)
    cap = symmetric((0, -high), crown, (wide, -0.1), edge, (wide * 0.9, hem * 0.6), (0, hem + u(0, 0.1)))
    stem = symmetric((top, 0), (top * u(0.85, 1.1), tall * 0.5), (foot, tall * 0.92), (foot * 0.8, tall), (0, tall))
    parts = [area(stem, stalk, 0)]
    if rng.random() < 0.4:
        y, flare = u(0.2, 0.35) * tall, u(1.5, 2.2) * top
        hem_of_ring = (flare, y + 0.18)
        parts.append(area(symmetric((top, y), hem_of_ring, hem_of_ring, (0, y + 0.24)), like(rng, stalk), 2))
    parts.append(area(cap, skin, 0))
    look = rng.integers(3)
    if look == 0:
        for x, y in [(0.0, -0.6), (-0.5, -0.3), (0.45, -0.35), (0.1, -0.2), (-0.2, -0.05)][: rng.integers(3, 6)]:
            parts.append(area(ellipse(x * wide, y * high, u(0.08, 0.15), u(0.07, 0.12)), WHITE, 2))
    elif look == 1:  # seen from a little below: the gills
        parts.append(area(ellipse(0, hem * 0.7, wide * 0.92, hem + 0.06), like(rng, stalk), 1))
        for x in np.linspace(-1, 1, 6):
            parts.append(rod(line((x * top * 0.7, hem * 0.5), (x * wide * 0.75, hem * 1.1)), 0.015, BARK, 3))
        parts.append(area(box(-top, hem * 0.8, top, tall * 0.5), stalk, -1))
    return moved(parts, np.eye(2), (0, -tall))
