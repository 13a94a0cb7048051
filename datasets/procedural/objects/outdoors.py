"""What stands and moves outdoors in the object set, each a function from a random generator to a list of shapes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .shapes import (
    BARK,
    BRASS,
    CREAM,
    DARK,
    GLASS,
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
    one_of,
    polygon,
    rod,
    shifted,
    spline,
    symmetric,
    tilted,
    trapezium,
)


def house(rng: np.random.Generator) -> list[Shape]:
    """One or two floors; gable, hipped or nearly flat roof; door, windows and chimney anywhere."""
    u = rng.uniform
    wide, high, roof, eaves = u(0.6, 1.2), u(0.4, 1.0), u(0.35, 0.9), u(0.03, 0.18)
    wall, tiles, wood = like(rng, one_of(rng, CREAM, WHITE, RED, any_colour(rng))), any_colour(rng), any_colour(rng)
    ridge = wide * rng.choice([0.0, 0.0, u(0.3, 0.7), u(0.7, 0.95)])
    foot = high * 0.6
    parts = []
    if rng.random() < 0.65:  # a chimney
        x, top = u(0.3, 0.6) * wide * rng.choice([-1, 1]), -high - roof * u(0.8, 1.25)
        parts.append(area(box(x - 0.1, top, x + 0.1, -high), like(rng, RED)))
    parts.append(area(box(-wide, -high, wide, foot), wall, 0))
    parts.append(area(trapezium(-high - roof, ridge, -high, wide + eaves), tiles, 0))
    door, dw, dh = u(-0.6, 0.6) * wide, u(0.12, 0.18), u(0.6, 0.75) * min(high, 0.8)
    frame = box(door - dw, foot - dh, door + dw, foot)
    if rng.random() < 0.35:  # with an arch
        frame = np.concatenate([ellipse(door, foot - dh, dw, dw, 180, 360), frame[2:4], frame[:1]])
    parts += [area(frame, wood), area(ellipse(door + dw * 0.6, foot - dh / 2, 0.03), BRASS, 3)]
    size, panes = u(0.12, 0.19), rng.integers(3)
    for floor in range(1 + (high > 0.7)):
        y = -high + 0.12 + size + floor * 0.62
        for x in np.linspace(-wide + size + 0.12, wide - size - 0.12, rng.integers(2, 5)):
            if abs(x - door) > dw + size + 0.03 or y + size < foot - dh - dw - 0.05:
                parts += window(x, y, size, int(panes), like(rng, GLASS))
    if ridge == 0 and roof > 0.55 and rng.random() < 0.6:
        parts.append(area(ellipse(0, -high - roof * 0.38, 0.13), like(rng, GLASS), 2))
    return parts


def window(x: float, y: float, size: float, panes: int, glass: Colour) -> list[Shape]:
    bars = [line((x, y - size), (x, y + size)), line((x - size, y), (x + size, y))][:panes]
    return [area(box(x - size, y - size, x + size, y + size), glass, 2), *(rod(bar, 0.035, WHITE, 3) for bar in bars)]


def wheel(x: float, y: float, r: float, hub: float, metal: Colour) -> list[Shape]:
    return [area(ellipse(x, y, r), DARK), area(ellipse(x, y, r * hub), metal, 2)]


def car(rng: np.random.Generator) -> list[Shape]:
    """Saloon, hatchback, van or pickup, each of its own proportions."""
    u = rng.uniform
    paint, metal = any_colour(rng), like(rng, STEEL)
    belt, roof, low = u(-0.15, 0.0), u(-0.65, -0.4), 0.3
    nose, tail = u(-1.25, -1.0), u(0.95, 1.25)
    a, b = nose + u(0.25, 0.65), nose + u(0.75, 1.0)  # foot and head of the windscreen
    style = rng.integers(4)  # saloon, hatchback, van, pickup
    d = [tail - u(0.3, 0.5), tail - 0.08, tail - 0.03, u(0.05, 0.25)][style]  # foot of the rear window
    c = [d - u(0.2, 0.35), d - u(0.1, 0.3), d - 0.04, d - u(0.02, 0.1)][style]
    boot = belt + u(-0.02, 0.08)
    shell = spline((nose, low), (nose, low), (nose - 0.03, belt + 0.15), (nose + 0.12, belt + u(0.02, 0.1)),
            (a, belt), (a, belt), (b, roof), ((b + c) / 2, roof - 0.04), (c, roof), (d, boot), (d, boot),
            (tail - 0.05, boot + 0.02), (tail, belt + 0.2), (tail, low), (tail, low), (nose, low))  # fmt: skip
    parts = [area(shell, paint, 0)]
    pillar, inset, door = u(0.3, 0.6), 0.06, u(0.02, 0.05)
    post = b + (c - b) * pillar if style < 3 else c
    glass = like(rng, GLASS)
    top = roof + inset
    parts.append(area(polygon((a + 0.12, belt), (b + 0.04, top), (post - door, top), (post - door, belt)), glass))
    if style < 3:
        parts.append(area(polygon((post + door, belt), (post + door, top), (c - 0.04, top), (d - 0.12, belt)), glass))
    parts.append(rod(line((post, belt), (post, low - 0.05)), 0.02, like(rng, paint, 0.2), 3))
    parts.append(rod(line((post - 0.2, belt + 0.1), (post - 0.08, belt + 0.1)), 0.03, metal, 3))
    parts.append(area(ellipse(nose + 0.08, belt + 0.2, u(0.05, 0.08)), like(rng, CREAM), 2))
    if rng.random() < 0.3:
        parts.append(rod(line((b + 0.1, roof - 0.1), (c - 0.1, roof - 0.1)), 0.03, DARK, 2))
    size, hub = u(0.18, 0.27), u(0.4, 0.65)
    front, back = nose + u(0.35, 0.45), tail - u(0.3, 0.42)
    return [*parts, *wheel(front, low, size, hub, metal), *wheel(back, low, size, hub, metal)]


def bicycle(rng: np.random.Generator) -> list[Shape]:
    """Top tube or low step; spokes or none; dropped or upright handlebars; a small front wheel; a basket."""
    u = rng.uniform
    paint, tyre, steel = any_colour(rng), like(rng, DARK), like(rng, STEEL)
    r, reach = u(0.42, 0.58), u(0.72, 0.9)
    small = r * (1.0 if rng.random() < 0.75 else u(0.55, 0.8))
    back, front, pedal = (-reach, 0.0), (reach, r - small), (u(-0.15, 0.0), 0.05)
    seat, head = (u(-0.45, -0.3), -u(0.5, 0.8)), (reach - u(0.25, 0.35), -u(0.55, 0.8))
    parts: list[Shape] = []
    spokes = int(rng.choice([0, 3, 4, 5]))
    for (x, y), size in ((back, r), (front, small)):
        for a in np.radians(u(0, 180) + np.arange(spokes) * 180 / max(spokes, 1)):
            dx, dy = size * np.cos(a), size * np.sin(a)
            parts.append(rod(line((x - dx, y - dy), (x + dx, y + dy)), 0.015, steel, 3))
        parts.append(rod(ellipse(x, y, size), u(0.05, 0.09), tyre, 0))
    t, low = u(0.05, 0.08), u(0.2, 0.75) if rng.random() < 0.4 else 0.1  # a low step or a top tube
    joint = (seat[0] + (pedal[0] - seat[0]) * low, seat[1] + 0.12 + (pedal[1] - seat[1]) * low)
    x, y = head
    for tube in ((head, front), (back, pedal, (x + 0.04, y + 0.12)), (joint, head), (pedal, seat), (back, joint)):
        parts.append(rod(line(*tube), t, paint))
    if rng.random() < 0.5:  # dropped or upright handlebars
        bar = spline((x - 0.1, y - 0.12), (x + 0.12, y - 0.12), (x + 0.2, y), (x + 0.02, y + 0.08))
    else:
        bar = spline((x, y), (x - 0.02, y - u(0.15, 0.3)), (x - u(0.2, 0.35), y - u(0.1, 0.25)))
    long = u(0.15, 0.24)
    saddle = polygon((seat[0] - long, seat[1] - 0.06), (seat[0] + long, seat[1] - 0.04), (seat[0], seat[1] + 0.05))
    parts += [rod(bar, 0.06, DARK), area(saddle, DARK, 1), rod(ellipse(*pedal, u(0.1, 0.15)), 0.04, steel, 2)]
    parts.append(rod(line(pedal, (pedal[0] + 0.12, pedal[1] + u(-0.2, 0.2))), 0.04, steel, 3))
    if rng.random() < 0.3:
        parts.append(area(shifted(trapezium(0, 0.2, 0.26, 0.15), x + 0.28, y + 0.02), like(rng, WOOD), 2))
    return parts


def boat(rng: np.random.Generator) -> list[Shape]:
    """A mainsail and perhaps a jib, a flag, battens, a stripe or portholes; the hull flat or deep."""
    u = rng.uniform
    hull, cloth, jib = (like(rng, any_colour(rng)), like(rng, WHITE), like(rng, one_of(rng, WHITE, any_colour(rng))))
    bow, stern, deep, sheer = u(0.8, 1.1), u(0.7, 1.0), u(0.22, 0.42), u(0.0, 0.15)
    mast, x, low = u(1.2, 1.9), u(-0.2, 0.25), u(-0.2, -0.1)
    parts = [rod(line((x, 0.05), (x, -mast)), 0.05, like(rng, WOOD))]
    boom = -stern * u(0.7, 1.0)
    leech = spline((x - 0.06, -mast + 0.08), ((x + boom) / 2 - u(0.0, 0.25), -mast * u(0.45, 0.6)), (boom, low))
    parts.append(area(np.concatenate([leech, line((x - 0.06, low), (x - 0.06, -mast + 0.08))]), cloth, 0))
    if rng.random() < 0.75:
        luff = spline((x + 0.06, -mast * u(0.7, 1.0)), ((x + bow) / 2 + u(0.0, 0.12), -mast * 0.45), (bow * 0.95, low))
        parts.append(area(np.concatenate([luff, line((x + 0.06, low), luff[0])]), jib, 0))
    for t in np.linspace(0, 1, 5)[1 : rng.integers(1, 5)]:
        start, end = (x - 0.06, -mast + t * (mast + low)), leech[int(t * (len(leech) - 1))]
        parts.append(rod(line(start, (float(end[0]), float(end[1]))), 0.015, GREY, 3))
    if rng.random() < 0.5:
        parts.append(area(polygon((x, -mast), (x - u(0.2, 0.35), -mast + 0.1), (x, -mast + 0.2)), like(rng, RED), 2))
    aft = (-stern, -sheer * 0.5)
    keel = spline(aft, aft, (-stern * u(0.75, 0.95), deep), (-stern * 0.7, deep), (bow * u(0.4, 0.7), deep),
            (bow, -sheer), (bow, -sheer), (0, 0.06), aft)  # fmt: skip
    parts.append(area(keel, hull, 0))
    if rng.random() < 0.5:
        parts.append(rod(line((-stern * 0.92, deep * 0.45), (bow * 0.75, deep * 0.45)), 0.06, like(rng, WHITE), 2))
    for hole in np.linspace(-0.4, 0.4, 4)[: rng.choice([0, 0, 2, 3, 4])]:
        parts.append(area(ellipse(hole, deep * 0.45, 0.06), like(rng, GLASS), 2))
    return parts


def rocket(rng: np.random.Generator) -> list[Shape]:
    """Slim to fat; small to wide fins; one to three windows; with a nose cone, a flame, a middle fin."""
    u = rng.uniform
    wide, long, blunt, tail = u(0.26, 0.42), u(0.9, 1.4), u(0.5, 1.0), u(0.5, 1.0)
    paint, trim = like(rng, one_of(rng, WHITE, GREY, any_colour(rng))), one_of(rng, RED, any_colour(rng))
    end = long * 0.55
    hull = symmetric((0, -long), (0, -long), (wide * blunt * 0.75, -long * 0.6), (wide, -0.05), (wide * tail, end))
    span, drop, root = u(0.25, 0.55), u(0.1, 0.45), u(0.0, 0.3)
    edge = wide * tail * 0.9
    top, tip, inner = (wide * 0.9, root), (edge + span * u(0.8, 1), end + drop), (edge, end - 0.05)
    fin = spline(top, top, (edge + span, end - 0.05), tip, tip, inner, inner, top)
    parts = []
    if rng.random() < 0.6:
        tongue = (0.0, end + u(0.4, 0.85))
        flame = symmetric((edge * 0.7, end), (edge * 0.85, end + 0.2), tongue, tongue)
        parts += [area(flame, ORANGE, 2), area(flame * np.array([0.5, 0.9]), (0.95, 0.8, 0.3), 3)]
    parts.append(area(trapezium(end - 0.05, edge * 0.6, end + 0.12, edge * 0.8), DARK, 2))
    parts += [area(fin, trim), area(flipped(fin), trim), area(hull, paint, 0)]
    cut = -long * u(0.45, 0.7)
    if rng.random() < 0.7:
        nose = hull[hull[:, 1] < cut]
        parts.append(area(np.concatenate([nose, nose[:1]]), trim))
    size = u(0.3, 0.5) * wide
    for k in range(rng.integers(1, 4)):
        y = cut + 0.3 + k * size * 2.7
        if y + size < long * 0.5:
            parts += [area(ellipse(0, y, size), trim), area(ellipse(0, y, size * 0.65), like(rng, GLASS), 2)]
    if rng.random() < 0.5:
        parts.append(area(symmetric((0, long * u(0.2, 0.35)), (0.06, long * 0.5), (0, end + drop)), trim, 2))
    return tilted(parts, u(-40, 40))


def snowman(rng: np.random.Generator) -> list[Shape]:
    """Two or three balls; top hat, woollen hat, bucket or none; arms, scarf, buttons and smile come and go."""
    u = rng.uniform
    snow, cloth = like(rng, WHITE, 0.02), any_colour(rng)
    radii = [u(0.5, 0.7), u(0.36, 0.5), u(0.24, 0.36)] if rng.random() < 0.6 else [u(0.55, 0.75), u(0.32, 0.45)]
    middles = [0.0]
    for lower, upper in pairwise(radii):
        middles.append(middles[-1] - 0.82 * (lower + upper))
    (chest, head), (reach, r) = middles[-2:], radii[-2:]
    parts = []
    for side in (-1, 1) if rng.random() < 0.8 else ():
        x, y = side * (reach * 0.8 + u(0.35, 0.55)), chest - u(-0.1, 0.5)
        parts.append(rod(line((side * reach * 0.8, chest - 0.1), (x, y)), 0.05, like(rng, BARK)))
        parts += [rod(line((x, y), (x + side * dx, y - dy)), 0.03, BARK, 3) for dx, dy in ((0.13, 0.04), (0.04, 0.13))]
    parts += [area(ellipse(0, at, size, size * u(0.88, 1)), snow, 0) for at, size in zip(middles, radii, strict=True)]
    if rng.random() < 0.55:
        y = head + r * 0.85
        end = polygon((r * 0.2, y), (r * 0.6, y), (r * 0.75, y + u(0.3, 0.5)), (r * 0.35, y + 0.4))
        around = spline((-r * 0.75, y - 0.05), (0, y + 0.06), (r * 0.75, y - 0.05))
        parts += [area(end, cloth), rod(around, u(0.1, 0.16), cloth)]
    for k in range(rng.integers(0, 5)):
        parts.append(area(ellipse(0, chest - reach * 0.45 + k * 0.2, u(0.03, 0.06)), DARK, 2))
    parts += [area(ellipse(side * r * 0.35, head - r * 0.2, 0.045), DARK, 2) for side in (-1, 1)]
    parts.append(area(polygon((0, head - 0.02), (0, head + 0.08), (u(0.2, 0.4), head + u(0.04, 0.1))), ORANGE, 2))
    if rng.random() < 0.5:
        parts.append(rod(ellipse(0, head + r * 0.15, r * 0.5, r * 0.4, 30, 150), 0.03, DARK, 3))
    brim, tall, top = u(1.0, 1.4) * r, u(0.25, 0.55), head - r * 0.75
    hat = rng.integers(4)
    if hat == 0:  # a top hat
        parts.append(area(trapezium(top - tall, r * u(0.5, 0.7), top, r * 0.65), DARK))
        parts.append(rod(line((-brim, top), (brim, top)), 0.07, DARK))
    elif hat == 1:  # a woollen one
        cap = symmetric((0, top - tall * 0.8), (r * 0.7, top - tall * 0.5), (r * 0.9, top + 0.05))
        hem = line((-r * 0.9, top + 0.05), (r * 0.9, top + 0.05))
        parts += [area(ellipse(0, top - tall * 0.8, 0.09), WHITE, 2), area(cap, cloth), rod(hem, 0.1, WHITE, 2)]
    elif hat == 2:  # a bucket
        parts.append(area(trapezium(top - tall, r * 0.55, top + 0.03, r * 0.85), like(rng, STEEL)))
    return parts
