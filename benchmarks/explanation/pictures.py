"""Explanations for the eye: one picture of a sketch and a photo, and an animation of an episode."""

from __future__ import annotations

import colorsys
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.raster import birth_map
from sketchless.datasets.sketch import reveal
from sketchless.encoders.bank import EpisodeBank
from sketchless.envs.rendering.drawing import (
    BAND,
    DARK,
    EDGE,
    FINE,
    GREY,
    INK,
    MARGIN,
    PAGE,
    TRUE,
    WIDTH,
    draw_card,
    draw_text,
)
from sketchless.envs.rendering.renderer import Renderer

from .episode import Step, sentence
from .pair import Explanation, FloatArray

Picture = npt.NDArray[np.uint8]
Point = tuple[float, float]
Link = tuple[tuple[int, int], tuple[int, int], tuple[int, int, int], float]  # places, colour, weight 0..1

CAPTIONS = {  # of attention and correspondences, by whether they are of the feature map alone
    False: ("where it looks", "which patch of the photo answers which patch of the sketch"),
    True: ("strength of its map", "which patches look alike in its feature map, not what they add to the score"),
}
LINES = 20  # strongest correspondences drawn

# Lengths in pixels of the finished picture.
_SMALL, _LARGE, _SPACE, _HEAD = 227, 280, 24, 30
_GAINED, _LOST, _NEW = (18, 146, 79), (176, 84, 64), (230, 97, 16)
_WARM = np.array([226, 74, 20])


def pair_picture(explanation: Explanation, title: str) -> Picture:
    """One explanation, uint8 [H, W, 3]: sketch, photo, attention in both, correspondences, synthesis.

    Drawn are the strongest correspondences of patches with ink, the wider and the less transparent the
    stronger; their colour follows the place in the sketch. In the attention, patches that the network dropped
    are hatched.
    """
    height = 3 * MARGIN + 3 * _HEAD + _SMALL + _LARGE
    page = Image.new("RGB", (WIDTH * FINE, height * FINE), PAGE)
    draw_text(page, (MARGIN, MARGIN + 6), title, 20, colour=DARK)
    top = MARGIN + 2 * _HEAD
    e = explanation
    looks, answers = CAPTIONS[e.alike]
    upper = {
        "sketch": Image.fromarray(e.sketch),
        "photo": Image.fromarray(e.photo),
        f"{looks} in the sketch": _heat(e.sketch, e.sketch_attention),
        f"{looks} in the photo": _heat(e.photo, e.photo_attention),
    }
    for index, (name, picture) in enumerate(upper.items()):
        left = MARGIN + index * (_SMALL + _SPACE)
        draw_text(page, (left, top - 14), name, 15)
        draw_card(page, (left, top), _SMALL, picture)
    top += _SMALL + MARGIN + _HEAD
    between = WIDTH - 2 * MARGIN - 3 * _LARGE - 2 * _SPACE
    draw_text(page, (MARGIN, top - 14), answers, 15)
    at = (MARGIN, top), (MARGIN + _LARGE + between, top)
    draw_card(page, at[0], _LARGE, Image.fromarray(e.sketch))
    draw_card(page, at[1], _LARGE, Image.fromarray(e.photo))
    _links(page, at, e, _strongest(e))
    left = WIDTH - MARGIN - _LARGE
    draw_text(page, (left, top - 14), "the sketch in patches of the photo", 15)
    draw_card(page, (left, top), _LARGE, Image.fromarray(e.synthesis))
    return np.array(page.reduce(FINE))


class EpisodePictures(Renderer):
    """Draws the explained episode of a bank of one drawing; the arguments are those of `Renderer`."""

    def __init__(self, bank: EpisodeBank, dataset: SketchDataset) -> None:
        super().__init__(bank, dataset)
        self._birth = birth_map(self._sketches[0], reveal(self._sketches[0], bank.reveal, self._steps))

    def explained(self, steps: Sequence[Step]) -> list[Picture]:
        """One frame a step, uint8 [H, W, 3], H and W even.

        The sketch so far with its newest ink in orange, the photo, lines from the patches with new ink to
        those that answer them (green where the ink brought the photo up, red where it sent it down), the rank
        so far, and the five nearest photos with the explained one framed.
        """
        return [self._explained(steps, number) for number in range(len(steps))]

    def _explained(self, steps: Sequence[Step], number: int) -> Picture:
        step, top = steps[number], MARGIN + _HEAD
        height = top + _LARGE + _SPACE + BAND + MARGIN
        page = Image.new("RGB", (WIDTH * FINE, (height + height % 2) * FINE), PAGE)
        between = (WIDTH - 2 * MARGIN - 3 * _LARGE) // 2
        at = (MARGIN, top), (MARGIN + _LARGE + between, top)
        heads = f"{self._progress(0, number)}, newest ink in orange", "the photo", "rank of the photo"
        for index, head in enumerate(heads):
            draw_text(page, (MARGIN + index * (_LARGE + between), top - 16), head, 16, colour=DARK)
        draw_card(page, at[0], _LARGE, self._drawing(number))
        draw_card(page, at[1], _LARGE, Image.fromarray(step.explanation.photo), edge=TRUE, width=3)
        _links(page, at, step.explanation, _new_links(step))
        self._curve(page, (WIDTH - MARGIN - _LARGE, top), [s.rank for s in steps[: number + 1]], len(steps))
        bottom = top + _LARGE + _SPACE
        heading = [(f"{self._standing(step.rank)}  ·  ", DARK), (f"cosine {step.score:.3f} ({step.gain:+.3f})", GREY)]
        self._row(page, 0, bottom, (heading, step.order, step.rank))
        for line, text in enumerate(textwrap.wrap(sentence(step), 24)[:6]):
            draw_text(page, (MARGIN, bottom + 44 + 22 * line), text, 15)
        return np.array(page.reduce(FINE))

    def _drawing(self, number: int) -> Image.Image:
        picture = np.full((*self._birth.shape, 3), 255, dtype=np.uint8)
        picture[self._birth < number] = _rgb(INK)
        picture[self._birth == number] = _NEW
        return Image.fromarray(picture)

    def _curve(self, page: Image.Image, corner: tuple[int, int], ranks: Sequence[int], steps: int) -> None:
        """Rank against step, rank 1 at the top, in equal steps of its logarithm."""
        draw_card(page, corner, _LARGE, Image.new("RGB", (4, 4), "#ffffff"))
        draw, size = ImageDraw.Draw(page), len(self.bank.photo_ids)
        left, top, right, bottom = corner[0] + 44, corner[1] + 18, corner[0] + _LARGE - 18, corner[1] + _LARGE - 34

        def where(step: int, rank: float) -> Point:
            x = left + (right - left) * step / max(steps - 1, 1)
            return x * FINE, (top + (bottom - top) * math.log(rank) / math.log(size)) * FINE

        for rank in sorted({1, *(10**k for k in range(1, 9) if 10**k < 0.7 * size), size}):
            (x, y), (end, _) = where(0, rank), where(steps - 1, rank)
            draw.line((x, y, end, y), EDGE, FINE)
            draw_text(page, (left - 8, y / FINE), str(rank), 13, anchor="rm")
        for step in {0, steps - 1}:
            draw_text(page, (where(step, 1)[0] / FINE, bottom + 16), str(step + 1), 13, anchor="mm")
        points = [where(step, rank) for step, rank in enumerate(ranks)]
        if len(points) > 1:
            draw.line(points, TRUE, 3 * FINE, joint="curve")
        x, y = points[-1]
        draw.ellipse((x - 5 * FINE, y - 5 * FINE, x + 5 * FINE, y + 5 * FINE), TRUE)


def _strongest(explanation: Explanation) -> list[Link]:
    rows = explanation.strongest(LINES)
    values = explanation.strength[rows]
    weights = _weights(values)
    links: list[Link] = []
    for row, weight in zip(rows, weights, strict=True):
        (y, x), (h, w) = explanation.places[row], explanation.sketch_attention.shape
        turn = math.atan2((y + 0.5) / h - 0.5, (x + 0.5) / w - 0.5) / math.tau
        red, green, blue = (round(255 * c) for c in colorsys.hsv_to_rgb(turn % 1, 0.85, 0.78))
        links.append(((int(y), int(x)), _place(explanation.matches[row]), (red, green, blue), weight))
    return links[::-1]  # the strongest on top


def _new_links(step: Step) -> list[Link]:
    answered = [a for a in step.answers if a.match is not None]
    weights = _weights(np.array([abs(a.gain) for a in answered]))
    return [
        (a.place, a.match or (0, 0), _GAINED if a.gain > 0 else _LOST, weight)
        for a, weight in sorted(zip(answered, weights, strict=True), key=lambda pair: pair[1])
    ]


def _weights(values: npt.NDArray[Any]) -> list[float]:
    """Values in 0..1 from the least to the greatest; all 1 where they do not differ."""
    spread = float(np.ptp(values)) if len(values) else 0.0
    return [1.0] * len(values) if spread == 0 else ((values - values.min()) / spread).tolist()


def _links(
    page: Image.Image, at: tuple[tuple[int, int], tuple[int, int]], explanation: Explanation, links: Sequence[Link]
) -> None:
    """Frame linked patches in the two cards at these corners and join them by lines."""
    grids = explanation.sketch_attention.shape, explanation.photo_attention.shape
    (left, top), (right, _) = at
    layer = Image.new("RGBA", ((right - left + _LARGE) * FINE, _LARGE * FINE))
    draw = ImageDraw.Draw(layer)
    columns = [column for (_, column), _, _, _ in links] or [0]
    first, spread = min(columns), max(columns) - min(columns) + 1
    for place, match, colour, weight in links:
        shade, middles = (*colour, round(255 * (0.3 + 0.65 * weight))), []
        for start, grid, (row, column) in zip((0, right - left), grids, (place, match), strict=True):
            cell = _LARGE * FINE / grid[1], _LARGE * FINE / grid[0]
            x, y = start * FINE + column * cell[0], row * cell[1]
            draw.rectangle((x + 1, y + 1, x + cell[0] - 2, y + cell[1] - 2), outline=shade, width=2 * FINE)
            # not all at the middle: lines between patches of one row would lie on each other
            middles.append((x + cell[0] / 2, y + cell[1] * (0.1 + 0.8 * (place[1] - first + 0.5) / spread)))
        draw.line(middles, shade, round((1 + 2 * weight) * FINE))
    page.paste(layer, (left * FINE, top * FINE), layer)


def _heat(picture: Picture, attention: FloatArray) -> Image.Image:
    """Attention laid over a faded picture, warm where it is high; dropped patches are hatched."""
    grey = np.asarray(Image.fromarray(picture).convert("L"), dtype=np.float64)[..., None]
    faded = 255 - 0.55 * (255 - np.repeat(grey, 3, axis=2))
    low, high = np.nanmin(attention), np.nanmax(attention)
    share = np.nan_to_num((attention - low) / max(high - low, np.finfo(np.float32).tiny)) * 0.8
    sides = len(picture) // attention.shape[0], picture.shape[1] // attention.shape[1]

    def spread(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.repeat(np.repeat(values, sides[0], axis=0), sides[1], axis=1)

    cover = spread(share)[..., None]
    warm = faded * (1 - cover) + _WARM * cover
    down, right = np.indices(faded.shape[:2])
    hatched = spread(np.isnan(attention)) & ((down + right) % 8 < 2)
    warm[hatched] = (168, 174, 184)
    return Image.fromarray(np.rint(warm).astype(np.uint8))


def _place(pair: npt.NDArray[np.int64]) -> tuple[int, int]:
    return int(pair[0]), int(pair[1])


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))
