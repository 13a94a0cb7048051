"""The benchmark of drawing asks a server as the page does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sketchless.benchmarks.speed import draw

from .conftest import Served


def test_every_stroke_of_everybody_is_waited_for(serve: Callable[..., Served]) -> None:
    port = serve().port
    drawings = draw._drawings()
    assert len(drawings) == draw.EXAMPLES
    assert min(map(len, drawings)) >= 5  # strokes of a procedural chair
    waits, lost = asyncio.run(draw._crowd(port, 4, [strokes[:2] for strokes in drawings[:3]]))
    assert (len(waits), lost) == (8, 0)
    assert all(wait > 0 for wait in waits)
