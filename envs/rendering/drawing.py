"""Measures, colours and small parts of the pictures: cards, round corners, text."""

from __future__ import annotations

from functools import cache

from PIL import Image, ImageDraw, ImageFont

TOP = 5  # photos shown in order


# Lengths in pixels of the finished picture; even sums, as video codecs want them.
MARGIN, GAP, APART = 24, 10, 26


SKETCH, PHOTO, HEADING, LABEL, BETWEEN = 180, 118, 34, 28, 20


BAND = HEADING + PHOTO + LABEL  # height of one row of photos


LEFT = MARGIN + SKETCH + APART  # where photos begin


WIDTH = LEFT + (TOP + 1) * PHOTO + (TOP - 1) * GAP + APART + MARGIN


_ROUND = 8  # radius of corners


FINE = 2  # drawn this much larger, then reduced: smooth letters and corners


PAGE, CARD, EDGE = "#f4f5f7", "#ffffff", "#d9dce2"


DARK, GREY, TRUE, INK = "#1b2130", "#5f6879", "#12924f", "#12151c"


def draw_card(
    page: Image.Image,
    corner: tuple[int, int],
    side: int,
    picture: Image.Image,
    *,
    edge: str = EDGE,
    width: int = 1,
) -> None:
    """A square picture with rounded corners; the edge lies outside of it."""
    left, top, size, border = corner[0] * FINE, corner[1] * FINE, side * FINE, width * FINE
    page.paste(picture.resize((size, size), Image.Resampling.LANCZOS), (left, top), _rounded(size))
    outer = (left - border, top - border, left + size + border - 1, top + size + border - 1)
    ImageDraw.Draw(page).rounded_rectangle(outer, _ROUND * FINE + border, outline=edge, width=border)


@cache
def _rounded(size: int) -> Image.Image:
    mask = Image.new("L", (size, size))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, size - 1, size - 1), _ROUND * FINE, fill=255)
    return mask


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size * FINE)


def draw_text(
    page: Image.Image,
    at: tuple[float, float],
    text: str,
    size: int,
    *,
    colour: str = GREY,
    anchor: str = "lm",
) -> float:
    """Write text and give its width in pixels."""
    draw, font = ImageDraw.Draw(page), _font(size)
    draw.text((at[0] * FINE, at[1] * FINE), text, colour, font, anchor)
    return draw.textlength(text, font) / FINE
