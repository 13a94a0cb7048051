"""A contact sheet: photos with their sketches beside them, to look at a data set."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .dataset import SketchDataset
from .errors import ConfigError
from .sketch import CANVAS, Drawing, RasterSketch

TILE = 148  # pixels, side of a picture
GUTTER = 10  # pixels between pictures
LABEL = 16  # pixels under each picture for its id
BLOCK_GAP = 34  # pixels between columns
FINER = 3  # supersampling of the ink
MOST_SKETCHES = 3  # beside one photo

INK, GREY, RULE = (28, 28, 34), (125, 125, 132), (232, 232, 236)


def contact_sheet(
    dataset: SketchDataset, split: str = "test", rows: int = 6, columns: int = 2, seed: int = 0
) -> Image.Image:
    """Photos of a split, each beside up to three of its sketches.

    Args:
        dataset: any.
        split: which of its splits.
        rows, columns: photos down and across; a small split fills fewer.
        seed: chooses among the photos that have sketches.

    Returns:
        An RGB image.

    Raises:
        ConfigError: unknown split, one without sketches, or fewer than one row or column.
    """
    if rows < 1 or columns < 1:
        raise ConfigError(f"a contact sheet of rows={rows} by columns={columns} shows nothing; give 1 or more")
    part = dataset.split(split)
    drawn = np.unique(part.targets)
    if not len(drawn):
        raise ConfigError(f"split {split!r} of {dataset.name!r} has no sketches to show")
    chosen = np.sort(np.random.default_rng(seed).permutation(drawn)[: rows * columns])
    beside = [np.flatnonzero(part.targets == target)[:MOST_SKETCHES] for target in chosen]

    columns = min(columns, -(-len(chosen) // rows))
    rows = -(-len(chosen) // columns)
    tiles = 1 + max(map(len, beside))
    block = tiles * (TILE + GUTTER) - GUTTER
    width = columns * (block + BLOCK_GAP) + BLOCK_GAP
    height = rows * (TILE + LABEL + GUTTER) + 2 * BLOCK_GAP - GUTTER
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)

    for place, (target, sketches) in enumerate(zip(chosen, beside, strict=True)):
        left = BLOCK_GAP + (place // rows) * (block + BLOCK_GAP)
        top = BLOCK_GAP + (place % rows) * (TILE + LABEL + GUTTER)
        photo_id = part.photos[target]
        _paste(sheet, pen, _photo_tile(dataset, photo_id), (left, top), photo_id)
        for number, which in enumerate(sketches, start=1):
            sketch = part.sketches[which]
            name = sketch.id.removeprefix(photo_id).lstrip("_") or sketch.id
            _paste(sheet, pen, _ink_tile(sketch), (left + number * (TILE + GUTTER), top), name)
    return sheet


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
