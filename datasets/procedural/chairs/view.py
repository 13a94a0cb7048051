"""Looking at a chair: a camera, and which of its points can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ...compiled import compiled
from .measures import VIEWPOINT
from .solid import Array, Part

IntGrid = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Camera:
    """A camera that looks at the middle of the chair.

    Attributes:
        yaw: degrees from straight ahead, the chair's own left positive.
        pitch: degrees down.
        distance: cm; small ones exaggerate the perspective.
        height: cm of the point looked at.
        zoom, shift: cm on the picture plane -> the caller's units.
    """

    yaw: float
    pitch: float
    distance: float
    height: float
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    @property
    def eye(self) -> Array:
        """Direction towards the camera, [3]."""
        yaw, pitch = np.radians([self.yaw, self.pitch])
        return np.array([np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), np.sin(pitch)])

    def project(self, points: Array) -> Array:
        """[..., 3] cm to x, y (down) on the picture and closeness, which grows towards the camera."""
        yaw = np.radians(self.yaw)
        right = np.array([-np.cos(yaw), np.sin(yaw), 0.0])
        eye = self.eye
        axes = np.stack([right, np.cross(right, eye), eye], -1)  # right, down, towards the camera
        turned = (points - np.array([0.0, 0.0, self.height])) @ axes
        near = self.distance / (self.distance - turned[..., 2])
        return np.stack(
            [
                turned[..., 0] * near * self.zoom + self.shift[0],
                turned[..., 1] * near * self.zoom + self.shift[1],
                near,
            ],
            -1,
        )

    def framed(self, points: Array, box: tuple[float, float, float, float]) -> Camera:
        """This camera, zoomed and shifted so that `points` [n, 3] fill the box (left, top, right, bottom)."""
        plain = replace(self, zoom=1.0, shift=(0.0, 0.0))
        xy = plain.project(points)[:, :2]
        low, high = xy.min(axis=0), xy.max(axis=0)
        zoom = float(min((box[2] - box[0]) / (high[0] - low[0]), (box[3] - box[1]) / (high[1] - low[1])))
        middle = zoom * (low + high) / 2
        return replace(self, zoom=zoom, shift=((box[0] + box[2]) / 2 - middle[0], (box[1] + box[3]) / 2 - middle[1]))


def viewpoint(seed: int, index: int, seat_height: float) -> Camera:
    """Where the photographer stood: mostly three quarters from the front, a little above the seat."""
    rng = np.random.default_rng([seed, index, VIEWPOINT])
    side = 1 if rng.random() < 0.5 else -1
    yaw = side * rng.uniform(8, 48)
    return Camera(yaw, rng.uniform(8, 24), rng.uniform(220, 420), seat_height)


def corners(parts: Sequence[Part]) -> Array:
    """Every point of every surface, [n, 3]."""
    return np.concatenate([grid.reshape(-1, 3) for part in parts for grid in part.surfaces])


def triangles(grid: Array) -> Array:
    """A grid [r, c, k] as triangles [2 (r-1) (c-1), 3, k]."""
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    return np.stack([a, b, c, a, c, d], 2).reshape(-1, 3, grid.shape[-1])


@compiled
def fill(corners, owner, near, owners, values):  # type: ignore[no-untyped-def]
    """Draw triangles [n, 3, 3 + k] (x, y, closeness, k values) of `owner` [n], the nearest one winning.

    Writes near float64 [H, W] (0: nothing), owners int32 [H, W] and values float64 [H, W, k].
    """
    height, width = near.shape
    extra = values.shape[2]
    for n in range(len(corners)):
        t = corners[n]
        ux, uy = t[1, 0] - t[0, 0], t[1, 1] - t[0, 1]
        vx, vy = t[2, 0] - t[0, 0], t[2, 1] - t[0, 1]
        area = ux * vy - uy * vx
        if abs(area) < 1e-9:
            continue
        left = max(int(np.ceil(min(t[0, 0], t[1, 0], t[2, 0]))), 0)
        right = min(int(np.floor(max(t[0, 0], t[1, 0], t[2, 0]))), width - 1)
        top = max(int(np.ceil(min(t[0, 1], t[1, 1], t[2, 1]))), 0)
        bottom = min(int(np.floor(max(t[0, 1], t[1, 1], t[2, 1]))), height - 1)
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                px, py = x - t[0, 0], y - t[0, 1]
                b1 = (px * vy - py * vx) / area
                b2 = (ux * py - uy * px) / area
                b0 = 1.0 - b1 - b2
                if b0 < -1e-9 or b1 < -1e-9 or b2 < -1e-9:
                    continue
                depth = b0 * t[0, 2] + b1 * t[1, 2] + b2 * t[2, 2]
                if depth > near[y, x]:
                    near[y, x] = depth
                    owners[y, x] = owner[n]
                    for k in range(extra):
                        values[y, x, k] = b0 * t[0, 3 + k] + b1 * t[1, 3 + k] + b2 * t[2, 3 + k]
