"""What one connection knows: its drawing, its target, what to answer. Pure: no sockets, no clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from sketchless.datasets.errors import ConfigError, FormatError, ResourceError, SketchlessError
from sketchless.datasets.sketch import CANVAS, MAX_COORDINATE, MAX_STEPS

from ..live import Standing
from .engine import Engine

MAX_MESSAGE = 1 << 19  # characters
MAX_STROKES = MAX_STEPS  # as many as an episode by strokes has frames
MAX_POINTS = 10_000  # of a drawing
MAX_NUMBER = 1_000_000_000  # of sequence numbers and milliseconds
LIMITS = {"strokes": MAX_STROKES, "points": MAX_POINTS}  # told to the page, so that it stops before

Job = Callable[[], Any]  # gives an answer, or the job that is left, so that others have their turn between


class OutOfStep(SketchlessError):
    """The page and the server disagree on what is drawn: the page has to send the whole drawing."""


@dataclass(frozen=True, eq=False)
class InkStroke:
    """One stroke as the page sent it: rows of x, y in canvas pixels and ms since the drawing began."""

    rows: npt.NDArray[np.float64]  # [p, 3]

    @property
    def points(self) -> npt.NDArray[np.float64]:
        return self.rows[:, :2]


@dataclass(eq=False)
class Session:
    """The drawing of one connection.

    Strokes that are known keep where they stood, so that undoing gives back exactly what was there before.
    """

    engine: Engine
    strokes: tuple[InkStroke, ...] = ()
    target: int | None = None
    shown: int | None = None  # strokes on show while replaying; None: all
    _known: tuple[tuple[InkStroke, ...], list[Standing]] = field(default=((), []))

    def take(self, message: Mapping[str, Any]) -> tuple[str, Job]:
        """Change the drawing as a message says; gives what is to be answered: a slot and the work for it.

        Only the newest work of a slot is worth doing. It may run on another thread.

        Raises:
            FormatError, ConfigError: a message that makes no sense. ResourceError: a drawing beyond the limits.
            OutOfStep: strokes missing here.
        """
        kind, seq = message.get("type"), whole(message, "seq", 0, MAX_NUMBER)
        if kind == "draw":
            self._draw(message)
        elif kind == "show":
            self.shown = whole(message, "at", 0, len(self.strokes))
        elif kind == "target":
            self.target = None if message.get("photo") is None else self._photo(message)
        elif kind == "explain":
            photo, strokes = self._photo(message), self._on_show()
            if not strokes:
                raise ConfigError("draw something first: there is no ink to explain")
            return "explain", lambda: self._explain(seq, strokes, photo)
        elif kind != "gif":
            raise FormatError(f"message type {str(kind)[:40]!r} is unknown; reload the page")
        drawing, on_show, target = self.strokes, self._on_show(), self.target
        if kind == "gif":
            if not drawing:
                raise ConfigError("draw something first: there is nothing to save")
            return "gif", lambda: self._follow(drawing, lambda standings: (drawing, standings, target))
        count = len(on_show)
        return "rank", lambda: self._follow(drawing, lambda standings: self._ranked(seq, standings, count, target))

    # The drawing -----------------------------------------------------------------------------------------

    def _draw(self, message: Mapping[str, Any]) -> None:
        keep = whole(message, "keep", 0, MAX_STROKES)
        if keep > len(self.strokes):
            raise OutOfStep(f"stroke {keep} is unknown here; the page sends the whole drawing again")
        rows = message.get("strokes")
        if not isinstance(rows, list):
            raise FormatError("a drawing needs its list of strokes; reload the page")
        if keep + len(rows) > MAX_STROKES:
            raise ResourceError(f"more than {MAX_STROKES} strokes: undo some or clear the drawing")
        drawing = (*self.strokes[:keep], *(stroke_of(row) for row in rows))
        if sum(len(stroke.rows) for stroke in drawing) > MAX_POINTS:
            raise ResourceError(f"more than {MAX_POINTS:,} points: undo a stroke or clear the drawing")
        if drawing and not touches_canvas(drawing[:1]):
            raise FormatError("the first stroke lies outside of the canvas: begin inside")
        self.strokes, self.shown = drawing, None

    def _on_show(self) -> tuple[InkStroke, ...]:
        return self.strokes if self.shown is None else self.strokes[: self.shown]

    def _photo(self, message: Mapping[str, Any]) -> int:
        return whole(message, "photo", 0, len(self.engine.names) - 1)

    # The answers, which may be made on another thread ---------------------------------------------------------

    def _follow(self, strokes: tuple[InkStroke, ...], then: Callable[[list[Standing]], Any]) -> Any:
        """What `then` makes of where a drawing stands, or, after one stroke that is new, the job that is left."""
        before, standings = self._known
        same = 0
        while same < min(len(before), len(strokes)) and before[same] is strokes[same]:
            same += 1
        found = self.engine.follow([s.points for s in strokes[: same + 1]], standings[:same])
        self._known = strokes[: same + 1], found
        return then(found) if len(found) == len(strokes) else lambda: self._follow(strokes, then)

    def _ranked(self, seq: int, standings: list[Standing], count: int, target: int | None) -> dict[str, Any]:
        answer: dict[str, Any] = {"type": "ranked", "seq": seq, "strokes": len(standings), "at": count}
        if count:
            answer |= self.engine.lists(standings[count - 1])
        if target is not None and standings:
            answer["target"] = self.engine.curve(standings, target)
        return answer

    def _explain(self, seq: int, strokes: tuple[InkStroke, ...], photo: int) -> dict[str, Any]:
        return {
            "type": "explained",
            "seq": seq,
            "strokes": len(strokes),
            **self.engine.explanation([s.points for s in strokes], photo),
        }


def parse(text: str) -> dict[str, Any]:
    """A message: one JSON object. Raises FormatError: anything else. ResourceError: too long."""
    if len(text) > MAX_MESSAGE:
        raise ResourceError(
            f"a message of {len(text):,} characters: at most {MAX_MESSAGE:,} are read; draw less at once"
        )
    try:
        message = json.loads(text, parse_constant=_constant)
    except RecursionError as error:
        raise FormatError("a message is nested too deep; reload the page") from error
    except ValueError as error:  # also a whole number of thousands of digits
        raise FormatError("a message is no JSON; reload the page") from error
    if not isinstance(message, dict):
        raise FormatError("a message is no JSON object; reload the page")
    return message


def _constant(name: str) -> NoReturn:
    raise FormatError(f"{name} is no number of JSON; reload the page")


def stroke_of(rows: Any) -> InkStroke:
    """A stroke from rows [x, y] or [x, y, ms]. Raises FormatError, ResourceError: no such rows, too many."""
    if not isinstance(rows, list) or not rows:
        raise FormatError("a stroke is a list of one point or more")
    if len(rows) > MAX_POINTS:
        raise ResourceError(f"a stroke of {len(rows):,} points: at most {MAX_POINTS:,} are read")
    for row in rows:
        if not isinstance(row, list) or len(row) not in (2, 3) or not all(type(v) in (int, float) for v in row):
            raise FormatError("a point is [x, y] or [x, y, ms]")
        # written so that NaN and infinity, as 1e999 reads, are refused too
        if not (all(abs(v) <= MAX_COORDINATE for v in row[:2]) and all(abs(v) <= MAX_NUMBER for v in row[2:])):
            raise FormatError("a point has a number that is not finite or beyond all bounds")
    return InkStroke(np.array([[*row, 0][:3] for row in rows], dtype=np.float64))


def touches_canvas(strokes: Sequence[InkStroke]) -> bool:
    """Whether any point lies inside the canvas: elsewise it is no drawing that can be read again."""
    return any(((stroke.points >= 0) & (stroke.points < CANVAS)).all(axis=1).any() for stroke in strokes)


def whole(message: Mapping[str, Any], name: str, least: int, most: int) -> int:
    """A whole number of a message. Raises FormatError: none, or out of range."""
    value = message.get(name)
    if type(value) is not int or not least <= value <= most:
        raise FormatError(f"{name}={str(value)[:40]} in a message: want a whole number from {least} to {most}")
    return value
