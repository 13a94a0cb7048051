"""Pictures of an episode: the sketch so far and the photos that it brings up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.errors import DataError
from sketchless.datasets.raster import birth_map
from sketchless.datasets.sketch import CANVAS, reveal
from sketchless.encoders.bank import EpisodeBank

from .drawing import (
    APART,
    BAND,
    BETWEEN,
    CARD,
    DARK,
    EDGE,
    FINE,
    GAP,
    GREY,
    HEADING,
    INK,
    LABEL,
    LEFT,
    MARGIN,
    PAGE,
    PHOTO,
    SKETCH,
    TOP,
    TRUE,
    WIDTH,
    draw_card,
    draw_text,
)

_HINT = "No ranking yet: it appears with the first step."

_KEPT = 512  # thumbnails held at a time, 160 kB each
_DOTS = 64  # side of the text drawing in dots; a braille character has 2 x 4
_BRAILLE = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])

Row = tuple[Sequence[tuple[str, str]], Sequence[int] | None, int | None]  # heading in (text, colour), ranking, rank


class Renderer:
    """Draws the episodes of a bank.

    Args:
        bank: says which sketches, photos and reveal schedule.
        dataset: has their strokes and pixels. A variant `<id>~1` of a sketch is drawn as the sketch itself.

    Raises:
        DataError: a sketch or photo of the bank that the data set lacks.
        ConfigError: a split that the data set lacks.
    """

    def __init__(self, bank: EpisodeBank, dataset: SketchDataset) -> None:
        split = dataset.split(bank.split)
        known = {name: row for row, name in enumerate(split.sketch_ids)}
        photos = {photo for other in dataset.splits.values() for photo in other.photos}  # also distractors
        wanted = [name if name in known else name.rpartition("~")[0] or name for name in bank.sketch_ids]
        for kind, names, there in (("sketch", wanted, known), ("photo", bank.photo_ids, photos)):
            if missing := [name for name in names if name not in there]:
                raise DataError(
                    f"{dataset.name} ({bank.split}): no {kind} {missing[0]!r} ({len(missing)} of "
                    f"{len(names)} are missing); give the data set that the bank was encoded from"
                )
        self.bank = bank
        self._sketches, self._rows = split.sketches, [known[name] for name in wanted]
        self._steps = int(bank.provenance.get("steps", bank.features.shape[1]))
        self._photo = dataset.photo
        self._thumbnails: dict[str, Image.Image] = {}

    def rgb(
        self, sketch: int, step: int, ranking: Sequence[int] | None = None, rank: int | None = None
    ) -> npt.NDArray[np.uint8]:
        """One frame: the sketch, the five nearest photos, and the true one, wherever it is, in green.

        Args:
            sketch: row in the bank.
            step: frame on show, from 0.
            ranking: rows of the gallery, nearest first, at least five of them (or the whole gallery);
                None before the first step.
            rank: of the true photo, 1..G; None before the first step.

        Returns:
            uint8 [H, W, 3], H and W even and the same for every step and sketch.
        """
        progress = self._progress(sketch, step)
        if ranking is None or rank is None:
            return self._frame(sketch, step, [([(progress, DARK)], None, 0)])
        heading = [(f"{progress}  ·  ", GREY), (self._standing(rank), DARK)]
        return self._frame(sketch, step, [(heading, ranking, rank)])

    def compare(
        self, sketch: int, step: int, rows: Sequence[tuple[str, Sequence[int], int | None]]
    ) -> npt.NDArray[np.uint8]:
        """One frame with several rankings of the same sketch, one under another.

        Args:
            sketch, step: as for `rgb`.
            rows: (name, ranking, rank) of each; rank None where no photo is the true one.

        Returns:
            uint8 [H, W, 3], H and W even and the same for every step and sketch.
        """
        headed: list[Row] = [
            ([(f"{name}  ·  ", GREY), (self._standing(rank), DARK)], ranking, rank) for name, ranking, rank in rows
        ]
        return self._frame(sketch, step, headed, caption=self._progress(sketch, step))

    def ansi(self, sketch: int, step: int, ranking: Sequence[int] | None = None, rank: int | None = None) -> str:
        """The same in plain text: 32 x 16 braille characters, with the list of photos beside them."""
        # The middle of the pen's line: its whole width would close small gaps at this size.
        ink = np.pad(self._ink(sketch, step), 1, constant_values=True)
        middle = ink[1:-1, 1:-1] & ink[:-2, 1:-1] & ink[2:, 1:-1] & ink[1:-1, :-2] & ink[1:-1, 2:]
        cell = CANVAS // _DOTS
        dots = middle.reshape(_DOTS, cell, _DOTS, cell).any(axis=(1, 3))
        codes = (dots.reshape(_DOTS // 4, 4, _DOTS // 2, 2) * _BRAILLE[:, None, :]).sum(axis=(1, 3))
        drawing = ["".join(chr(0x2800 + code) for code in line) for line in codes]

        beside = [self._progress(sketch, step)]
        if ranking is None or rank is None:
            beside += ["", _HINT]
        else:
            beside += [self._standing(rank), ""]
            places = self._places(sketch, ranking, rank)
            for index, (photo, label, true) in enumerate(places):
                beside += ["   ..."] if index == TOP else []
                beside.append(f"{'>' if true else ' '} {label:>3}  {self.bank.photo_ids[photo]}{' (true)' * true}")
        beside += [""] * (len(drawing) - len(beside))
        return "\n".join(f"{line}   {text}".rstrip() for line, text in zip(drawing, beside, strict=True))

    # What is shown -----------------------------------------------------------------------------------------

    def _progress(self, sketch: int, step: int) -> str:
        return f"step {step + 1} of {int(self.bank.lengths[sketch])}"

    def _standing(self, rank: int | None) -> str:
        size = len(self.bank.photo_ids)
        return f"nearest of {size} photos" if rank is None else f"rank {int(rank)} of {size}"

    def _places(self, sketch: int, ranking: Sequence[int], rank: int | None) -> list[tuple[int, str, bool]]:
        """(gallery row, rank, whether true) of the photos on show; a true one beyond the five comes last."""
        shown = [int(photo) for photo in ranking[:TOP]]
        if rank is None:
            return [(p, str(i), False) for i, p in enumerate(shown, 1)]
        true = int(self.bank.targets[sketch])
        # Ties count against the true photo: its rank may be worse than the place a sorted list gives it.
        places = [(p, str(int(rank) if p == true else i), p == true) for i, p in enumerate(shown, 1)]
        return places if true in shown else [*places, (true, str(int(rank)), True)]

    def _ink(self, sketch: int, step: int) -> npt.NDArray[np.bool_]:
        drawing = self._sketches[self._rows[sketch]]
        knots = reveal(drawing, self.bank.reveal, self._steps)
        return birth_map(drawing, knots) <= min(step, len(knots) - 1)

    def _thumbnail(self, photo: int) -> Image.Image:
        name = self.bank.photo_ids[photo]
        if name not in self._thumbnails:
            if len(self._thumbnails) >= _KEPT:
                del self._thumbnails[next(iter(self._thumbnails))]
            side = PHOTO * FINE
            image = Image.fromarray(self._photo(name))
            self._thumbnails[name] = ImageOps.pad(image, (side, side), Image.Resampling.LANCZOS, CARD)
        return self._thumbnails[name]

    # How it is drawn ---------------------------------------------------------------------------------------

    def _frame(self, sketch: int, step: int, rows: Sequence[Row], caption: str = "") -> npt.NDArray[np.uint8]:
        bands = max(len(rows), 1)
        height = 2 * MARGIN + bands * BAND + (bands - 1) * BETWEEN
        page = Image.new("RGB", (WIDTH * FINE, height * FINE), PAGE)
        ink = Image.fromarray(self._ink(sketch, step).astype(np.uint8) * 255)
        drawing = Image.new("RGB", ink.size, CARD)
        drawing.paste(INK, mask=ink)
        top = (height - SKETCH - (LABEL if caption else 0)) // 2
        draw_card(page, (MARGIN, top), SKETCH, drawing)
        draw_text(page, (MARGIN + SKETCH // 2, top + SKETCH + 17), caption, 16, anchor="mm")
        for index, row in enumerate(rows):
            self._row(page, sketch, MARGIN + index * (BAND + BETWEEN), row)
        return np.array(page.reduce(FINE))

    def _row(self, page: Image.Image, sketch: int, top: int, row: Row) -> None:
        heading, ranking, rank = row
        x = float(LEFT)
        for text, colour in heading:
            x += draw_text(page, (x, top + 11), text, 20, colour=colour)
        photos = top + HEADING
        if ranking is None:
            draw_text(page, (LEFT, photos + PHOTO // 2), _HINT, 16)
            return
        for index, (photo, label, true) in enumerate(self._places(sketch, ranking, rank)):
            left = LEFT + index * (PHOTO + GAP) + (APART - GAP) * (index == TOP)
            edge, width, colour = (TRUE, 4, TRUE) if true else (EDGE, 1, GREY)
            caption = f"{label} · true photo" if true else label
            draw_card(page, (left, photos), PHOTO, self._thumbnail(photo), edge=edge, width=width)
            draw_text(page, (left + PHOTO // 2, photos + PHOTO + 18), caption, 15, colour=colour, anchor="mm")
