"""A contact sheet: photos with their sketches beside them, to look at a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from .dataset import SketchDataset, Split
from .errors import ConfigError
from .sketch import CANVAS, Drawing, RasterSketch

TILE = 148  # pixels, side of a picture
GUTTER = 10  # pixels between pictures
LABEL = 16  # pixels under each picture for its id
BLOCK_GAP = 34  # pixels between columns
FINER = 3  # supersampling of the ink
MAX_SKETCHES = 3  # beside one photo

INK, GREY, RULE = (28, 28, 34), (125, 125, 132), (232, 232, 236)


def contact_sheet(
    dataset: SketchDataset, split: str = "test", rows: int = 6, columns: int = 2, seed: int = 0
) -> Image.Image:
    """Photos of a split, each beside up to three of its sketches (or of its category, where no more is known).

    Args:
        dataset: any.
        split: which of its splits.
        rows, columns: photos down and across; a small split fills fewer.
        seed: chooses among the photos that have sketches, of every category as many as may be.

    Returns:
        An RGB image.

    Raises:
        ConfigError: unknown split, one without sketches, or fewer than one row or column.
    """
    if rows < 1 or columns < 1:
        raise ConfigError(f"a contact sheet of rows={rows} by columns={columns} shows nothing; give 1 or more")
    part = dataset.split(split)
    if not len(part.sketches):
        raise ConfigError(f"split {split!r} of {dataset.name!r} has no sketches to show")
    blocks = _blocks(part, rows * columns, np.random.default_rng(seed))

    columns = min(columns, -(-len(blocks) // rows))
    rows = -(-len(blocks) // columns)
    tiles = 1 + max(len(block.sketches) for block in blocks)
    across = tiles * (TILE + GUTTER) - GUTTER
    width = columns * (across + BLOCK_GAP) + BLOCK_GAP
    height = rows * (TILE + LABEL + GUTTER) + 2 * BLOCK_GAP - GUTTER
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)

    for place, block in enumerate(blocks):
        left = BLOCK_GAP + (place // rows) * (across + BLOCK_GAP)
        top = BLOCK_GAP + (place % rows) * (TILE + LABEL + GUTTER)
        if block.photo is not None:
            _paste(sheet, pen, _photo_tile(dataset, block.photo), (left, top), block.label)
        else:
            pen.text((left, top + TILE / 2), block.label, fill=GREY, font=ImageFont.load_default(16), anchor="lm")
        for number, which in enumerate(block.sketches, start=1):
            sketch = part.sketches[which]
            name = _short(sketch.id).removeprefix(block.label).lstrip("_-") or _short(sketch.id)
            _paste(sheet, pen, _ink_tile(sketch), (left + number * (TILE + GUTTER), top), name)
    return sheet


class _Block(NamedTuple):
    """A photo, if there is one, and the rows of sketches beside it."""

    photo: str | None
    label: str
    sketches: Sequence[int]


def _blocks(part: Split, most: int, rng: np.random.Generator) -> list[_Block]:
    """Photos with sketches of them; where only categories are known, categories with one of their photos."""
    drawn = np.unique(part.targets[part.targets >= 0])
    if len(drawn):
        chosen = np.sort(_mixed(part, rng.permutation(drawn))[:most])
        return [
            _Block(
                part.photos[target],
                _short(part.photos[target]),
                np.flatnonzero(part.targets == target)[:MAX_SKETCHES].tolist(),
            )
            for target in chosen
        ]
    sketches, photos = np.array(part.sketch_categories), np.array(part.photo_categories)
    blocks = []
    for category in np.sort(rng.permutation(np.unique(sketches))[:most]).tolist():
        shown = rng.permutation(np.flatnonzero(photos == category))
        beside = rng.permutation(np.flatnonzero(sketches == category))[:MAX_SKETCHES]
        blocks.append(_Block(part.photos[shown[0]] if len(shown) else None, category, beside.tolist()))
    return blocks


def _short(id: str) -> str:
    """An id without the folders, the suffix and the file that ids of files and of their records have."""
    name = id.rpartition("/")[2]
    return name.rpartition("#")[2] if "#" in name or name == id else PurePosixPath(name).stem


def _mixed(part: Split, photos: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The first photo of every category, then the second of every one, and so on."""
    if not part.photo_categories:
        return photos
    seen: Counter[str] = Counter()
    turn = []
    for photo in photos:
        turn.append(seen[part.photo_categories[photo]])
        seen[part.photo_categories[photo]] += 1
    return photos[np.argsort(turn, kind="stable")]


def _paste(sheet: Image.Image, pen: ImageDraw.ImageDraw, tile: Image.Image, place: tuple[int, int], label: str) -> None:
    left, top = place
    sheet.paste(tile, place)
    pen.rectangle((left - 1, top - 1, left + TILE, top + TILE), outline=RULE)
    font = ImageFont.load_default(11)
    while pen.textlength(label, font=font) > TILE:
        label = label.rstrip("…")[:-1] + "…"
    pen.text((left + TILE / 2, top + TILE + 3), label, fill=GREY, font=font, anchor="ma")


def _photo_tile(dataset: SketchDataset, photo_id: str) -> Image.Image:
    """The whole photo on a white square."""
    photo = Image.fromarray(dataset.photo(photo_id))
    photo.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
    tile = Image.new("RGB", (TILE, TILE), "white")
    tile.paste(photo, ((TILE - photo.width) // 2, (TILE - photo.height) // 2))
    return tile


def _ink_tile(sketch: Drawing) -> Image.Image:
    """Dark ink on white."""
    if isinstance(sketch, RasterSketch):
        paper = Image.fromarray(np.where(sketch.ink, np.uint8(0), np.uint8(255))).convert("RGB")
        return paper.resize((TILE, TILE), Image.Resampling.LANCZOS)
    size = TILE * FINER
    tile = Image.new("RGB", (size, size), "white")
    pen = ImageDraw.Draw(tile)
    for stroke in sketch.strokes():
        xy = [(float(x), float(y)) for x, y in stroke * (size / CANVAS)]
        pen.line(xy, fill=INK, width=4, joint="curve")
        if len(set(xy)) == 1:
            pen.circle(xy[0], 3, fill=INK)
    return tile.resize((TILE, TILE), Image.Resampling.LANCZOS)
