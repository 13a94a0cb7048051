"""Path data of SVG (W3C SVG 1.1, section 8.3) as cubic Bezier curves, and those as points.

Points are complex numbers, x + iy; a subpath is a complex array [K, 4] of K curves end to end.
"""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ..errors import FormatError, ResourceError
from ..sketch import MAX_POINTS, MAX_STROKES

Curves = npt.NDArray[np.complex128]
Curve = tuple[complex, complex, complex, complex]

TOLERANCE = 0.1  # pixels between a curve and the chords that stand for it
MAX_CHORDS = 1000  # of one curve
MAX_CURVES = 100_000  # of one path
MAX_TEXT = 1_500_000  # characters of one list of numbers

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_COMMAND = re.compile(r"([MmZzLlHhVvCcSsQqTtAa])([^MmZzLlHhVvCcSsQqTtAa]*)")
_FLAG = re.compile("[01]")
_BETWEEN = re.compile(r"[\s,]*")
_TAKES = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7, "Z": 0}


def numbers(text: str) -> list[float]:
    """Numbers parted by commas, spaces or nothing (`10-5`). Raises FormatError for anything else or not finite,
    ResourceError for more than a drawing has.
    """
    if len(text) > MAX_TEXT:
        raise too_long()
    rest = _NUMBER.sub("", text).strip(" \t\r\n\f,")
    if rest:
        raise FormatError(f"{rest[:20]!r} stands where a number should")
    return _finite(_NUMBER.findall(text))


def subpaths(data: str) -> list[Curves]:
    """Subpaths of path data, in order; lines are curves too. One that is only moved to draws nothing: left out.

    Raises:
        FormatError: an unknown command, a number too few or many, a number that is not finite.
        ResourceError: over 100,000 curves or 10,000 subpaths.
    """
    found: list[Curves] = []
    total = 0
    for curves in _walk(data):
        total += len(curves)
        if curves:
            found.append(np.array(curves))
        if len(found) > MAX_STROKES or total > MAX_CURVES:
            raise too_long()
    return found


def too_long() -> ResourceError:
    """The error for more curves or strokes than a drawing has."""
    return ResourceError(f"over {MAX_STROKES:,} strokes or {MAX_CURVES:,} curves; no sketch is that long, leave it out")


def chords(curves: Curves) -> npt.NDArray[np.float64]:
    """Points [p, 2] of a subpath, no farther from it than `TOLERANCE`. Raises ResourceError beyond 1,000,000."""
    # In n equal steps a cubic errs by at most 3/4 M / n^2, M the larger of |p0 - 2 p1 + p2| and |p1 - 2 p2 + p3|.
    bend = np.abs(curves[:, :-2] - 2 * curves[:, 1:-1] + curves[:, 2:]).max(axis=1)
    steps = np.clip(np.ceil(np.sqrt(0.75 * bend / TOLERANCE)), 1, MAX_CHORDS).astype(np.int64)
    if steps.sum() >= MAX_POINTS:
        raise ResourceError(f"curves of {steps.sum():,} points; at most {MAX_POINTS:,} are accepted, thin it out")
    curve = np.repeat(np.arange(len(curves)), steps)
    t = (np.arange(len(curve)) - np.repeat(np.cumsum(steps) - steps, steps) + 1) / steps[curve]
    p0, p1, p2, p3 = curves[curve].T
    # B(t) = (1-t)^3 p0 + 3 (1-t)^2 t p1 + 3 (1-t) t^2 p2 + t^3 p3
    s = 1 - t
    path = s**3 * p0 + 3 * s**2 * t * p1 + 3 * s * t**2 * p2 + t**3 * p3
    path[t == 1] = curves[:, 3]
    points = np.concatenate([curves[:1, 0], path])
    return np.stack([points.real, points.imag], axis=1)


def line(start: complex, end: complex) -> Curve:
    """A straight line as a curve."""
    return start, start + (end - start) / 3, end - (end - start) / 3, end


def _walk(data: str) -> Iterator[list[Curve]]:
    """Curves of each subpath, of which some may be empty."""
    here = start = control = 0j
    curves: list[Curve] = []
    before = "none"
    for number, (command, values) in enumerate(_commands(data)):
        kind, base = command.upper(), here if command.islower() else 0j
        if number == 0 and kind != "M":
            raise FormatError(f"path data starts with {command!r}, not with a move")
        if kind == "M":
            yield curves
            here = start = base + complex(*values)
            curves = []
        elif kind == "Z":
            if curves or before == "M":
                yield [*curves, line(here, start)]
            here, curves = start, []
        elif kind in "LHV":
            x = base.real + values[0] if kind != "V" else here.real
            y = base.imag + values[-1] if kind != "H" else here.imag
            curves.append(line(here, complex(x, y)))
        elif kind == "A":
            curves += _arc(here, values, base + complex(*values[5:]))
        else:
            given = [base + complex(x, y) for x, y in zip(values[::2], values[1::2], strict=True)]
            mirrored = 2 * here - control if before in {"S": "CS", "T": "QT"}.get(kind, "") else here
            if kind in "CS":
                first, second, end = [mirrored, *given] if kind == "S" else given
                control = second
            else:
                control, end = given if kind == "Q" else (mirrored, given[0])
                first, second = here + 2 / 3 * (control - here), end + 2 / 3 * (control - end)
            curves.append((here, first, second, end))
        if curves:
            here = curves[-1][3]
        if len(curves) > MAX_CURVES:
            raise too_long()
        before = kind
    yield curves


def _commands(data: str) -> Iterator[tuple[str, Sequence[float]]]:
    """Commands with the values of one use each: further pairs after a move are lines."""
    end = 0
    for match in _COMMAND.finditer(data):
        if data[end : match.start()].strip():
            raise FormatError(f"unknown path command {data[end : match.start()].strip()[:20]!r}")
        end = match.end()
        command, takes = match[1], _TAKES[match[1].upper()]
        values = _arc_values(match[2]) if takes == 7 else numbers(match[2])
        if len(values) % takes if takes and values else bool(values) == (takes == 0):
            raise FormatError(f"path command {command!r} with {len(values)} numbers; it takes {takes} at a time")
        for place in range(0, max(len(values), 1), takes or 1):
            yield command, values[place : place + takes]
            command = {"M": "L", "m": "l"}.get(command, command)
    if data[end:].strip():
        raise FormatError(f"unknown path command {data[end:].strip()[:20]!r}")


def _arc_values(text: str) -> list[float]:
    """The flags of an arc may stand without anything between: `a1 1 0 0110 10`."""
    texts: list[str] = []
    place = _end(_BETWEEN.match(text))
    while place < len(text):
        match = (_FLAG if len(texts) % 7 in (3, 4) else _NUMBER).match(text, place)
        if match is None:
            raise FormatError(f"{text[place : place + 20]!r} in an arc, where a number or a flag should stand")
        texts.append(match[0])
        place = _end(_BETWEEN.match(text, match.end()))
    return _finite(texts)


def _end(match: re.Match[str] | None) -> int:
    return match.end() if match else 0


def _finite(texts: Sequence[str]) -> list[float]:
    values = [float(text) for text in texts]
    for text, value in zip(texts, values, strict=True):
        if not math.isfinite(value):
            raise FormatError(f"{text[:20]!r} is beyond any number")
    return values


def _arc(start: complex, values: Sequence[float], end: complex) -> list[Curve]:
    """An elliptic arc by its centre (SVG 1.1, appendix F.6), cut into quarters at most."""
    rx, ry, turn = abs(values[0]), abs(values[1]), cmath.exp(1j * math.radians(values[2]))
    large, sweep = values[3] != 0, values[4] != 0
    if start == end:
        return []
    if rx == 0 or ry == 0:
        return [line(start, end)]
    # On the circle of radius 1: turn back by the axis, divide by the radii.
    half = (start - end) / 2 / turn
    half = complex(half.real / rx, half.imag / ry)
    if abs(half) > 1:  # radii too small to reach: scaled until they just do
        rx, ry, half = rx * abs(half), ry * abs(half), half / abs(half)
    centre = 1j * half / abs(half) * math.sqrt(max(1 - abs(half) ** 2, 0)) * (1 if large == sweep else -1)
    first, last = cmath.phase(half - centre), cmath.phase(-half - centre)
    angle = (last - first) % math.tau if sweep else -((first - last) % math.tau)
    quarters = max(math.ceil(abs(angle) / (math.pi / 2) - 1e-9), 1)
    step = angle / quarters
    # Control points lie 4/3 tan(step / 4) along the tangents.
    reach = 4 / 3 * math.tan(step / 4)
    middle = (start + end) / 2

    def place(point: complex) -> complex:
        point += centre
        return middle + complex(point.real * rx, point.imag * ry) * turn

    corners = [cmath.exp(1j * (first + quarter * step)) for quarter in range(quarters + 1)]
    ends = [start, *map(place, corners[1:-1]), end]
    leaving = [place(corner + 1j * corner * reach) for corner in corners[:-1]]
    arriving = [place(corner - 1j * corner * reach) for corner in corners[1:]]
    return list(zip(ends[:-1], leaving, arriving, ends[1:], strict=True))
