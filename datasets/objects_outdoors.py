"""What stands and moves outdoors in the object set, each a function from a random generator to a list of shapes."""

from __future__ import annotations

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
    Shape,
    any_colour,
    area,
    ellipse,
    flipped,
    like,
    line,
    one_of,
    polygon,
    rod,
    spline,
    symmetric,
    tilted,
)


def house(rng: np.random.Generator) -> list[Shape]:
    u = rng.uniform
    wide, high, roof, eaves = u(0.6, 1.2), u(0.4, 1.0), u(0.35, 0.9), u(0.03, 0.18)
    wall, tiles, wood = (like(rng, one_of(rng, CREAM, WHITE, RED, any_colour(rng))), like(rng,
            any_colour(rng)), any_colour(rng))  # fmt: skip
    ridge = wide * rng.choice([0.0, 0.0, u(0.3, 0.7), u(0.7, 0.95)])
    slope = polygon((-wide - eaves, -high), (-ridge, -high - roof), (ridge, -high - roof), (wide + eaves, -high))
    parts = []
    if rng.random() < 0.65:
        x, top = u(0.3, 0.6) * wide * rng.choice([-1, 1]), -high - roof * u(0.8, 1.25)
        parts.append(area(polygon((x - 0.1, -high), (x - 0.1, top), (x + 0.1, top), (x + 0.1, -high)), like(rng, RED)))
    parts += [area(polygon((-wide, -high), (wide, -high), (wide, high * 0.6), (-wide, high * 0.6)), wall, 0),
            area(slope, tiles, 0)]  # fmt: skip
    door, foot = u(-0.6, 0.6) * wide, high * 0.6
    dw, dh = u(0.12, 0.18), u(0.6, 0.75) * min(high, 0.8)
    frame = polygon((door - dw, foot), (door - dw, foot - dh), (door + dw, foot - dh), (door + dw, foot))
    if rng.random() < 0.35:
        frame = np.concatenate([frame[:1], ellipse(door, foot - dh, dw, dw, 180, 360), frame[-2:]])
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


def window(x: float, y: float, size: float, panes: int, glass: tuple[float, float, float]) -> list[Shape]:
    box = polygon((x - size, y - size), (x + size, y - size), (x + size, y + size), (x - size, y + size))
    bars = [rod(line((x, y - size), (x, y + size)), 0.035, WHITE, 3), rod(line((x - size, y), (x + size, y)), 0.035,
            WHITE, 3)]  # fmt: skip
    return [area(box, glass, 2), *bars[:panes]]


def wheel(x: float, y: float, r: float, hub: float, metal: tuple[float, float, float]) -> list[Shape]:
    return [area(ellipse(x, y, r), DARK), area(ellipse(x, y, r * hub), metal, 2)]


def car(rng: np.random.Generator) -> list[Shape]:
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
    pillar, inset, door = u(0.3, 0.6), 0.06, u(0.03, 0.06)
    post = b + (c - b) * pillar if style < 3 else c
    glass = like(rng, GLASS)
    parts.append(area(polygon((a + 0.12, belt), (b + 0.04, roof + inset), (post - door / 2, roof + inset),
            (post - door / 2, belt)), glass))  # fmt: skip
    if style < 3:
        parts.append(area(polygon((post + door, belt), (post + door, roof + inset), (c - 0.04, roof + inset),
                (d - 0.12, belt)), glass))  # fmt: skip
    parts.append(rod(line((post, belt), (post, low - 0.05)), 0.02, like(rng, paint, 0.2), 3))
    parts.append(rod(line((post - 0.2, belt + 0.1), (post - 0.08, belt + 0.1)), 0.03, metal, 3))
    parts.append(area(ellipse(nose + 0.08, belt + 0.2, u(0.05, 0.08)), like(rng, CREAM), 2))
    if rng.random() < 0.3:
        parts.append(rod(line((b + 0.1, roof - 0.1), (c - 0.1, roof - 0.1)), 0.03, DARK, 2))
    size, hub = u(0.18, 0.27), u(0.4, 0.65)
    return [*parts, *wheel(nose + u(0.35, 0.45), low, size, hub, metal), *wheel(tail - u(0.3, 0.42), low, size, hub,
            metal)]  # fmt: skip


def bicycle(rng: np.random.Generator) -> list[Shape]:
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
    parts += [rod(line(head, front), t, paint), rod(line(back, pedal, (head[0] + 0.04, head[1] + 0.12)), t, paint)]
    parts += [rod(line(joint, head), t, paint), rod(line(pedal, seat), t, paint), rod(line(back, joint), t * 0.8,
            paint)]  # fmt: skip
    if rng.random() < 0.5:  # dropped or upright handlebars
        bar = spline((head[0] - 0.1, head[1] - 0.12), (head[0] + 0.12, head[1] - 0.12), (head[0] + 0.2, head[1]),
                (head[0] + 0.02, head[1] + 0.08))  # fmt: skip
    else:
        bar = spline((head[0], head[1]), (head[0] - 0.02, head[1] - u(0.15, 0.3)), (head[0] - u(0.2,
                0.35), head[1] - u(0.1, 0.25)))  # fmt: skip
    long = u(0.15, 0.24)
    saddle = polygon((seat[0] - long, seat[1] - 0.06), (seat[0] + long, seat[1] - 0.04), (seat[0], seat[1] + 0.05))
    parts += [rod(bar, 0.06, DARK), area(saddle, DARK, 1), rod(ellipse(*pedal, u(0.1, 0.15)), 0.04, steel, 2)]
    parts.append(rod(line(pedal, (pedal[0] + 0.12, pedal[1] + u(-0.2, 0.2))), 0.04, steel, 3))
    if rng.random() < 0.3:
        x, y = head[0] + 0.2, head[1] + 0.02
        parts.append(area(polygon((x - 0.12, y), (x + 0.28, y), (x + 0.22, y + 0.26), (x - 0.08, y + 0.26)), like(rng,
                WOOD), 2))  # fmt: skip
    return parts


def boat(rng: np.random.Generator) -> list[Shape]:
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
    keel = spline((-stern, -sheer * 0.5), (-stern, -sheer * 0.5), (-stern * u(0.75, 0.95), deep),
            (-stern * 0.7, deep), (bow * u(0.4, 0.7), deep), (bow, -sheer), (bow, -sheer), (0, 0.06),
            (-stern, -sheer * 0.5))  # fmt: skip
    parts.append(area(keel, hull, 0))
    if rng.random() < 0.5:
        parts.append(rod(line((-stern * 0.92, deep * 0.45), (bow * 0.75, deep * 0.45)), 0.06, like(rng, WHITE), 2))
    for hole in np.linspace(-0.4, 0.4, 4)[: rng.choice([0, 0, 2, 3, 4])]:
        parts.append(area(ellipse(hole, deep * 0.45, 0.06), like(rng, GLASS), 2))
    return parts


def rocket(rng: np.random.Generator) -> list[Shape]:
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
        tip = (0.0, end + u(0.4, 0.85))
        flame = symmetric((edge * 0.7, end), (edge * 0.85, end + 0.2), tip, tip)
        parts += [area(flame, ORANGE, 2), area(flame * np.array([0.5, 0.9]), (0.95, 0.8, 0.3), 3)]
    parts += [area(polygon((-edge * 0.6, long * 0.5), (edge * 0.6, long * 0.5), (edge * 0.8, long * 0.66),
            (-edge * 0.8, long * 0.66)), DARK, 2)]  # fmt: skip
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
        parts.append(area(spline((0, long * u(0.2, 0.35)), (0.05, long * 0.5), (0, long * 0.55 + drop),
                (-0.05, long * 0.5), (0, long * 0.2)), trim, 2))  # fmt: skip
    return tilted(parts, u(-40, 40))


def snowman(rng: np.random.Generator) -> list[Shape]:
    u = rng.uniform
    snow, cloth = like(rng, WHITE, 0.02), any_colour(rng)
    radii = [u(0.5, 0.7), u(0.36, 0.5), u(0.24, 0.36)][:3] if rng.random() < 0.6 else [u(0.55, 0.75), u(0.32, 0.45)]
    y, middles = 0.0, []
    for k, r in enumerate(radii):
        y -= 0 if k == 0 else radii[k - 1] * 0.82 + r * 0.82
        middles.append(y)
    head, r = y, radii[-1]
    parts = []
    chest = middles[-2] if len(radii) == 3 else middles[0] - 0.2
    reach = radii[-2] * 0.8
    for side in (-1, 1) if rng.random() < 0.8 else ():
        hand = (side * (reach + u(0.35, 0.55)), chest - u(-0.15, 0.45))
        parts.append(rod(line((side * reach, chest), hand), 0.05, like(rng, BARK)))
        parts += [rod(line(hand, (hand[0] + side * 0.1 + dx, hand[1] - 0.1 + dy)), 0.03, BARK, 3) for dx,
                dy in ((0.03, 0.06), (-0.06, -0.03))]  # fmt: skip
    parts += [area(ellipse(0, at, size, size * u(0.88, 1)), snow, 0) for at, size in zip(middles, radii, strict=True)]
    if rng.random() < 0.55:
        neck = head + r * 0.85
        parts.append(area(polygon((r * 0.2, neck), (r * 0.6, neck), (r * 0.75, neck + u(0.3, 0.5)),
                (r * 0.35, neck + 0.4)), cloth))  # fmt: skip
        parts.append(rod(spline((-r * 0.75, neck - 0.05), (0, neck + 0.06), (r * 0.75, neck - 0.05)), u(0.1, 0.16),
                cloth))  # fmt: skip
    for k in range(rng.integers(0, 5)):
        parts.append(area(ellipse(0, middles[-2] - radii[-2] * 0.45 + k * 0.2, u(0.03, 0.06)), DARK, 2))
    parts += [area(ellipse(side * r * 0.35, head - r * 0.2, 0.045), DARK, 2) for side in (-1, 1)]
    parts.append(area(polygon((0, head - 0.02), (0, head + 0.08), (u(0.2, 0.4), head + u(0.04, 0.1))), ORANGE, 2))
    if rng.random() < 0.5:
        parts.append(rod(ellipse(0, head + r * 0.15, r * 0.5, r * 0.4, 30, 150), 0.03, DARK, 3))
    brim, tall, top = u(1.0, 1.4) * r, u(0.25, 0.55), head - r * 0.75
    hat = rng.integers(4)
    if hat == 0:  # a top hat
        taper = u(0.8, 1.1)
        parts += [area(polygon((-r * 0.65, top), (r * 0.65, top), (r * 0.65 * taper, top - tall),
                (-r * 0.65 * taper, top - tall)), DARK), rod(line((-brim, top), (brim, top)), 0.07, DARK)]  # fmt: skip
    elif hat == 1:  # a woollen one
        parts += [area(ellipse(0, top - tall * 0.75, 0.09), WHITE, 2), area(np.concatenate([ellipse(0, top + 0.05,
                r * 0.9, tall * 0.85, 180, 360), line((-r * 0.9, top + 0.05))]), cloth)]  # fmt: skip
        parts.append(rod(line((-r * 0.9, top + 0.05), (r * 0.9, top + 0.05)), 0.1, WHITE, 2))
    elif hat == 2:  # a bucket
        parts.append(area(polygon((-r * 0.85, top + 0.03), (r * 0.85, top + 0.03), (r * 0.55, top - tall),
                (-r * 0.55, top - tall)), like(rng, STEEL)))  # fmt: skip
    return parts
