"""Measures, colours and small parts of the pictures: cards, round corners, text."""

from __future__ import annotations

from functools import cache

from PIL import Image, ImageDraw, ImageFont

TOP = 5  # photos shown in order


# Lengths in pixels of the finished picture; even sums, as video codecs want them.
_MARGIN, _GAP, _APART = 24, 10, 26


_SKETCH, _PHOTO, _HEADING, _LABEL, _BETWEEN = 180, 118, 34, 28, 20


_BAND = _HEADING + _PHOTO + _LABEL  # height of one row of photos


_LEFT = _MARGIN + _SKETCH + _APART  # where photos begin


_WIDTH = _LEFT + (TOP + 1) * _PHOTO + (TOP - 1) * _GAP + _APART + _MARGIN


_ROUND = 8  # radius of corners


_FINE = 2  # drawn this much larger, then reduced: smooth letters and corners


_PAGE, _CARD, _EDGE = "#f4f5f7", "#ffffff", "#d9dce2"


_DARK, _GREY, _TRUE, _INK = "#1b2130", "#5f6879", "#12924f", "#12151c"


def _card(
    page: Image.Image,
    corner: tuple[int, int],
    side: int,
    picture: Image.Image,
    *,
    edge: str = _EDGE,
    width: int = 1,
) -> None:
    """A square picture with rounded corners; the edge lies outside of it."""
    left, top, size, border = corner[0] * _FINE, corner[1] * _FINE, side * _FINE, width * _FINE
    page.paste(picture.resize((size, size), Image.Resampling.LANCZOS), (left, top), _rounded(size))
    outer = (left - border, top - border, left + size + border - 1, top + size + border - 1)
    ImageDraw.Draw(page).rounded_rectangle(outer, _ROUND * _FINE + border, outline=edge, width=border)


@cache
def _rounded(size: int) -> Image.Image:
    mask = Image.new("L", (size, size))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, size - 1, size - 1), _ROUND * _FINE, fill=255)
    return mask


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size * _FINE)


def _text(
    page: Image.Image,
    at: tuple[float, float],
    text: str,
    size: int,
    *,
    colour: str = _GREY,
    anchor: str = "lm",
) -> float:
    """Write text and give its width in pixels."""
    draw, font = ImageDraw.Draw(page), _font(size)
    draw.text((at[0] * _FINE, at[1] * _FINE), text, colour, font, anchor)
    return draw.textlength(text, font) / _FINE
