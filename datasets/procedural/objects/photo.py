"""The photo of an object: its shapes in relief under a lamp, before paper, a floor, a blur or a pattern."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from ...compiled import compiled
from .catalogue import make_object, stream
from .shapes import any_colour, extent, moved, on_top

PHOTO_SIZE = 128  # pixels, both ways
FINER = 2  # supersampling

Floats = npt.NDArray[np.float32]


def photo(seed: int, category: str, index: int) -> npt.NDArray[np.uint8]:
    """The photo of that object, uint8 [128, 128, 3]."""
    rng = stream(seed, category, index, "photo")
    shapes = make_object(seed, category, index).shapes
    frame = PHOTO_SIZE * FINER
    low, high = extent(shapes)
    scale = frame * rng.uniform(0.66, 0.92) / float((high - low).max())
    spare = frame - scale * (high - low)
    owner = on_top(moved(shapes, np.eye(2) * scale, spare * rng.uniform(0.25, 0.75, 2) - scale * low), frame)

    angle = rng.uniform(-2.6, -0.5)  # of the lamp, from above
    lamp = np.array([np.cos(angle), np.sin(angle), rng.uniform(0.8, 1.6)], dtype=np.float32)
    lamp /= np.linalg.norm(lamp)
    paint = np.array([(0, 0, 0), *(shape.colour for shape in shapes)], dtype=np.float32)
    grain = 1 + np.float32(rng.uniform(0.02, 0.09)) * _blotches(rng, 96)
    picture = backdrop(rng) * (1 - _shadow(rng, owner > 0, lamp))[..., None]
    expose(owner, paint, rng.uniform(7, 16), lamp, rng.uniform(0.0, 0.35), grain, picture)

    picture *= (rng.uniform(0.85, 1.1) * rng.uniform(0.93, 1.07, 3)).astype(np.float32)  # exposure, white balance
    picture += np.float32(rng.uniform(0.005, 0.03)) * rng.standard_normal(picture.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(picture * 255), 0, 255), dtype=np.uint8)


def _blotches(rng: np.random.Generator, cells: int) -> Floats:
    """Smooth noise about -1..1 with so many blotches across, [128, 128]."""
    rough = Image.fromarray(np.float32(0.6) * rng.standard_normal((cells, cells), dtype=np.float32))
    return np.asarray(rough.resize((PHOTO_SIZE, PHOTO_SIZE), Image.Resampling.BILINEAR))


def backdrop(rng: np.random.Generator) -> Floats:
    """What is behind the object: paper, wall and floor, something out of focus, or a pattern; [128, 128, 3]."""
    across = np.linspace(0, 1, PHOTO_SIZE, dtype=np.float32)
    down = across[:, None]
    near, far = (np.array(any_colour(rng), dtype=np.float32) for _ in range(2))
    pale = np.float32(rng.uniform(0.35, 0.85))
    near, far = near + pale * (1 - near), far + pale * (1 - far)
    look = rng.random()
    if look < 0.3:
        share = down * np.float32(rng.uniform(0.0, 0.5))
    elif look < 0.55:
        share = (down > rng.uniform(0.55, 0.8)) + np.float32(0.1) * _blotches(rng, int(rng.integers(8, 60)))
    elif look < 0.8:
        share = 0.5 + np.float32(0.5) * _blotches(rng, int(rng.integers(3, 9)))
    else:
        turn, pitch = rng.uniform(0, np.pi), rng.uniform(4, 14)
        wave = across * np.float32(pitch * np.cos(turn)) + down * np.float32(pitch * np.sin(turn))
        share = (wave % 1 < 0.5) * np.float32(rng.uniform(0.2, 0.7))
    fade = 1 - np.float32(rng.uniform(0.0, 0.35)) * ((across - 0.5) ** 2 + (down - 0.5) ** 2)
    image: Floats = (near + share[..., None] * (far - near)) * fade[..., None]
    return image


def _shadow(rng: np.random.Generator, mask: npt.NDArray[np.bool_], lamp: Floats) -> Floats:
    """How dark the object makes what is behind it, 0..1 [128, 128]."""
    coarse = Image.fromarray(mask[::8, ::8].astype(np.uint8) * 255)
    soft = coarse.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.5)))
    cast = np.asarray(soft.resize((PHOTO_SIZE, PHOTO_SIZE), Image.Resampling.BICUBIC)) * np.float32(1 / 255)
    throw = np.rint(-lamp[1::-1] * rng.uniform(3, 11)).astype(int)
    return np.asarray(np.roll(cast, throw.tolist(), axis=(0, 1)) * np.float32(rng.uniform(0.1, 0.5)))


@compiled
def expose(owner, paint, round_off, lamp, gloss, grain, picture):  # type: ignore[no-untyped-def]
    """Lay an object over a picture, its shapes in relief: they bulge towards the onlooker.

    Args:
        owner: uint8 [2 h, 2 w], which shape is seen, 0 for none.
        paint: float32 [shapes + 1, 3], colour of each.
        round_off: fine pixels from the border of a shape within which it bends away.
        lamp: float32 [3], direction towards the lamp: right, down, out of the picture.
        gloss: strength of the highlights.
        grain: float32 [h, w], factor on the light.
        picture: float32 [h, w, 3], what is behind; changed in place.
    """
    h, w = owner.shape
    far = np.float32(round_off)
    depth = _depth(owner, far)
    halfway = lamp + np.array([0, 0, 1], dtype=np.float32)
    halfway /= np.sqrt((halfway * halfway).sum())
    half, quarter = np.float32(0.5), np.float32(0.25)
    thing, seen = np.zeros_like(picture), np.zeros_like(grain)
    share = np.float32(1 / FINER**2)  # of a pixel that each fine one makes up
    for y in range(h):
        for x in range(w):
            me = owner[y, x]
            if me == 0:
                continue
            here = depth[y, x]
            left = depth[y, x - 2] if x > 1 and owner[y, x - 2] == me else here - 2
            right = depth[y, x + 2] if x + 2 < w and owner[y, x + 2] == me else here - 2
            up = depth[y - 2, x] if y > 1 and owner[y - 2, x] == me else here - 2
            down = depth[y + 2, x] if y + 2 < h and owner[y + 2, x] == me else here - 2
            # Steep at the border, level from `round_off` on.
            steep = (1 - here / far) * quarter
            nx, ny = (left - right) * steep, (up - down) * steep
            nz = np.sqrt(max(1 - nx * nx - ny * ny, np.float32(0.05)))
            lit = max(nx * lamp[0] + ny * lamp[1] + nz * lamp[2], np.float32(0))
            light = (half + half * lit / lamp[2]) * grain[y // FINER, x // FINER]
            shine = max(nx * halfway[0] + ny * halfway[1] + nz * halfway[2], np.float32(0))
            for _ in range(5):  # to the power of 32
                shine *= shine
            for c in range(3):
                thing[y // FINER, x // FINER, c] += share * (paint[me, c] * light + gloss * shine)
            seen[y // FINER, x // FINER] += share
    for y in range(len(picture)):
        for x in range(picture.shape[1]):
            for c in range(3):
                picture[y, x, c] = picture[y, x, c] * (1 - seen[y, x]) + thing[y, x, c]


@compiled
def _depth(owner, far):  # type: ignore[no-untyped-def]
    """Distance of each pixel to the border of its shape, at most `far`: two chamfer passes; float32 [h, w]."""
    h, w = owner.shape
    depth = np.full((h, w), far, dtype=np.float32)
    straight, across, border = np.float32(1), np.float32(1.4142135), np.float32(0.5)
    for turn in range(2):
        step = 1 - 2 * turn  # first from the upper left, then from the lower right
        for i in range(h):
            y = i if turn == 0 else h - 1 - i
            for j in range(w):
                x = j if turn == 0 else w - 1 - j
                me = owner[y, x]
                if me == 0:
                    continue
                d = depth[y, x]
                for dy, dx in ((0, -1), (-1, -1), (-1, 0), (-1, 1)):
                    v, u = y + step * dy, x + step * dx
                    if 0 <= v < h and 0 <= u < w:
                        if owner[v, u] == me:
                            d = min(d, depth[v, u] + (across if dx and dy else straight))
                        elif dx == 0 or dy == 0:
                            d = border
                depth[y, x] = d
    return depth
