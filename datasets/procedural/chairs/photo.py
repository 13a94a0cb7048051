"""The photo of a chair: a page of a product catalogue, from a z-buffer, one lamp and its shadows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from .build import build
from .measures import PHOTO, make_chair
from .solid import Array, Part, unit
from .view import Camera, corners, fill, triangles, viewpoint

PHOTO_SIZE = 192  # pixels, both ways
FINER = 2  # supersampling
LAMP_CELL = 0.8  # cm, a cell of the shadow map

# RGB in 0..1.
Colour = tuple[float, float, float]
WOODS: list[Colour] = [
    (0.78, 0.58, 0.36),
    (0.45, 0.28, 0.17),
    (0.86, 0.72, 0.53),
    (0.60, 0.36, 0.20),
    (0.30, 0.19, 0.13),
]
PAINTS: list[Colour] = [
    (0.13, 0.13, 0.14),
    (0.86, 0.85, 0.82),
    (0.55, 0.66, 0.62),
    (0.70, 0.20, 0.17),
    (0.25, 0.35, 0.48),
]
METALS: list[Colour] = [(0.62, 0.64, 0.67), (0.20, 0.20, 0.22), (0.74, 0.66, 0.50)]
CLOTHS: list[Colour] = [
    (0.52, 0.53, 0.54), (0.24, 0.26, 0.30), (0.80, 0.74, 0.64), (0.80, 0.60, 0.14), (0.16, 0.25, 0.42),
    (0.12, 0.42, 0.42), (0.66, 0.16, 0.16), (0.45, 0.30, 0.20), (0.35, 0.43, 0.30), (0.84, 0.83, 0.80),
    (0.72, 0.45, 0.42), (0.14, 0.14, 0.15),
]  # fmt: skip


def photo(seed: int, index: int) -> npt.NDArray[np.uint8]:
    """The product photo of that chair, uint8 [192, 192, 3]."""
    rng = np.random.default_rng([seed, index, PHOTO])
    chair = make_chair(seed, index)
    camera = viewpoint(seed, index, 0.5 * (chair.seat_height + chair.back_height))
    parts = build(chair, camera.eye)
    size = PHOTO_SIZE * FINER
    fill_share = rng.uniform(0.74, 0.9)
    left, top = rng.uniform(0.3, 0.7, 2) * (1 - fill_share) * size
    camera = camera.framed(corners(parts), (left, top, left + fill_share * size, top + fill_share * size))
    lamp = unit(np.array([rng.uniform(-0.55, 0.55), rng.uniform(0.2, 0.8), 1.6]))

    canvas = _backdrop(rng, size) * (1 - rng.uniform(0.25, 0.5) * _floor_shadow(parts, camera, lamp, size)[..., None])
    seen, owner, values = _look(parts, camera, size)
    canvas[seen] = _shade(rng, parts, owner[seen], values[seen], eye=camera.eye, lamp=lamp)
    canvas += rng.normal(0, 0.006, canvas.shape)
    small = canvas.reshape(PHOTO_SIZE, FINER, PHOTO_SIZE, FINER, 3).mean(axis=(1, 3))
    return np.asarray(np.clip(np.rint(small * 255), 0, 255), dtype=np.uint8)


def _backdrop(rng: np.random.Generator, size: int) -> Array:
    """White paper mostly; sometimes a grey sweep or a tinted wall. [size, size, 3]."""
    look = rng.random()
    tint = np.ones(3) if look < 0.85 else 1 - rng.uniform(0.0, 0.18, 3)
    base = 1.0 if look < 0.55 else rng.uniform(0.86, 0.97)
    fall = 0.0 if look < 0.55 else rng.uniform(0.02, 0.12)
    ramp = base - fall * np.linspace(0, 1, size)[:, None, None] ** 2
    image: Array = np.broadcast_to(ramp * tint, (size, size, 3)).copy()
    return image


def _floor_shadow(parts: list[Part], camera: Camera, lamp: Array, size: int) -> Array:
    """How dark the floor is, 0..1 [size, size]."""
    quarter = size // 4
    small = replace(camera, zoom=camera.zoom / 4, shift=(camera.shift[0] / 4, camera.shift[1] / 4))
    near = np.zeros((quarter, quarter))
    owner = np.zeros((quarter, quarter), dtype=np.int32)
    drops = []
    for part in parts:
        for grid in part.surfaces:
            drops.append(triangles(small.project(grid - grid[..., 2:] / lamp[2] * lamp)))
    faces = np.concatenate(drops)
    fill(faces, np.zeros(len(faces), dtype=np.int32), near, owner, np.zeros((quarter, quarter, 0)))
    mask = Image.fromarray((near > 0).astype(np.uint8) * 255)
    soft = mask.filter(ImageFilter.GaussianBlur(size / 110)).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(soft, dtype=np.float64) / 255


def _look(parts: list[Part], camera: Camera, size: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int32], Array]:
    """What each pixel shows: whether anything, which part, and position, normal and grain (3 + 3 + 2)."""
    faces, owners = [], []
    for number, part in enumerate(parts):
        for grid in part.surfaces:
            down, right = np.gradient(grid, axis=0), np.gradient(grid, axis=1)
            normal = unit(np.cross(down, right))
            normal = np.where((normal @ camera.eye)[..., None] < 0, -normal, normal)
            along = np.cumsum(np.linalg.norm(down, axis=-1), axis=0)
            across = np.cumsum(np.linalg.norm(right, axis=-1), axis=1)
            if along.max() < across.max():
                along, across = across, along
            grain = np.stack([across, along], -1)
            faces.append(triangles(np.concatenate([camera.project(grid), grid, normal, grain], -1)))
            owners.append(np.full(len(faces[-1]), number, dtype=np.int32))
    near, owner = np.zeros((size, size)), np.full((size, size), -1, dtype=np.int32)
    values = np.zeros((size, size, 8))
    fill(np.concatenate(faces), np.concatenate(owners), near, owner, values)
    return near > 0, owner, values


def _in_shadow(parts: list[Part], lamp: Array, position: Array) -> Array:
    """1 where another part stands between `position` [n, 3] and the lamp, else 0; [n]."""
    a = unit(np.cross(lamp, [0.0, 1.0, 0.0]))
    axes = np.stack([a, np.cross(lamp, a), lamp], -1)
    cells = 256
    middle = np.array([cells / 2, cells / 2, 500.0])
    scale = np.array([1 / LAMP_CELL, 1 / LAMP_CELL, 1.0])
    faces = np.concatenate([triangles(grid @ axes * scale + middle) for p in parts for grid in p.surfaces])
    near, owner = np.zeros((cells, cells)), np.zeros((cells, cells), dtype=np.int32)
    fill(faces, np.zeros(len(faces), dtype=np.int32), near, owner, np.zeros((cells, cells, 0)))
    spot = position @ axes * scale + middle
    shade = np.zeros(len(spot))
    for dx, dy in ((0, 0), (1, 0), (0, 1), (-1, 0), (0, -1)):
        x = np.clip(np.rint(spot[:, 0]).astype(int) + dx, 0, cells - 1)
        y = np.clip(np.rint(spot[:, 1]).astype(int) + dy, 0, cells - 1)
        shade += near[y, x] > spot[:, 2] + 2.0
    return shade / 5


def _pick(rng: np.random.Generator, colours: list[Colour]) -> Colour:
    return colours[rng.integers(len(colours))]


def _noise(rng: np.random.Generator, cells: int = 64) -> Array:
    """A tileable noise table [cells, cells], about -1..1."""
    table = rng.normal(0, 0.6, (cells, cells))
    return (table + np.roll(table, 1, 0) + np.roll(table, 1, 1)) / 1.7


def _shade(
    rng: np.random.Generator,
    parts: list[Part],
    owner: npt.NDArray[np.int32],
    values: Array,
    *,
    eye: Array,
    lamp: Array,
) -> Array:
    """Colours [n, 3] of n pixels."""
    position, normal, grain = values[:, :3], unit(values[:, 3:6]), values[:, 6:]
    frame = {"wood": WOODS, "paint": PAINTS, "metal": METALS}
    kind = str(rng.choice(["wood", "wood", "paint", "metal"]))
    cloth_like = rng.random() < 0.7
    looks = {  # colour; depth of the grain of wood, of a weave; gloss
        "frame": (_pick(rng, frame[kind]), 0.11 * (kind == "wood"), 0.0, 0.5 if kind == "metal" else 0.12),
        "soft": (_pick(rng, CLOTHS), 0.0, 0.06 if cloth_like else 0.01, 0.02 if cloth_like else 0.2),
        "metal": (_pick(rng, METALS[:2]), 0.0, 0.0, 0.5),
        "dark": ((0.12, 0.12, 0.13), 0.0, 0.0, 0.2),
    }
    order = list(looks)
    which = np.array([order.index(part.material) for part in parts])[owner]
    colour = np.array([looks[name][0] for name in order]) * rng.normal(1, 0.05, (len(order), 3))
    wood, weave, gloss = np.array([looks[name][1:] for name in order])[which].T

    table = _noise(rng)
    rings = table[(grain[:, 0] * 5).astype(int) % 64, (grain[:, 1] * 0.5 + 2 * grain[:, 0]).astype(int) % 64]
    cloth = table[(grain[:, 0] * 4).astype(int) % 64, (grain[:, 1] * 4).astype(int) % 64]
    paint = colour[which] * (1 + wood * rings + weave * cloth)[:, None]

    shadow = _in_shadow(parts, lamp, position)
    lit = np.maximum(normal @ lamp, 0) * (1 - 0.75 * shadow)
    sky = 0.5 + 0.13 * normal[:, 2] + 0.06 * normal[:, 0]
    shine = np.maximum(normal @ unit(lamp + eye), 0) ** 24 * gloss * (1 - shadow)
    return np.asarray(paint * (sky + 0.46 * lit)[:, None] + shine[:, None])
