"""The benchmark of drawing asks a server as the page does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sketchless.benchmarks.draw.engine import Engine
from sketchless.benchmarks.speed import draw

from .conftest import Served


def test_every_stroke_of_everybody_is_waited_for(serve: Callable[..., Served], engine: Engine) -> None:
    port = serve().port
    drawings = draw._drawings(port)
    examples = engine.examples()
    assert [len(strokes) for strokes in drawings] == [e.sketch.n_strokes for e in examples]
    waits, lost = asyncio.run(draw._crowd(port, 4, [strokes[:2] for strokes in drawings]))
    assert (len(waits), lost) == (8, 0)
    assert all(wait > 0 for wait in waits)
