"""How long a person who draws waits: from a stroke's end to the ranked answer, over the loopback address."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.console import Console

from sketchless.datasets.errors import ConfigError, ResourceError
from sketchless.datasets.loading import load_dataset

from .measure import BenchConfig, number_table

CROWD = 20  # people who draw at once
PAUSE = 0.1  # seconds between the messages of a stroke: ten a second, as the page sends them
START_SECONDS = 600.0  # photos are embedded in it
EXAMPLES = 12  # drawings of procedural chairs
AIMS_MS = {1: 60.0, CROWD: 500.0}  # p95 on the default set
OWN_AIM_MS = 250.0  # of one person, on a run of one's own: MobileNetV2 at 192 px and 1,000 photos


def bench_draw(config: BenchConfig, console: Console) -> dict[str, Any]:
    """Draw chairs against a server in a process of its own: alone and in a crowd on the default set, else alone.

    Raises:
        ConfigError: the extra `draw` is not installed. ResourceError: the server does not start.
    """
    try:
        import websockets  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError('websockets is not installed: pip install "sketchless[draw]"') from error
    rows = []
    table = number_table("from a stroke's end to its ranks, ms", "strokes", "unanswered", "median", "p95", "aim of p95")
    served = [part for name in ("run", "photos") if (path := getattr(config, name)) for part in (f"--{name}", path)]
    aims = {1: OWN_AIM_MS} if served else AIMS_MS
    drawings = _drawings()[: 2 if config.quick else None]
    with _server(served) as port:
        about = _get(port, "world.json")["about"]
        for people, aim in aims.items():
            waits, lost = asyncio.run(_crowd(port, people, drawings))
            median, high = (1000 * float(np.quantile(waits, q)) for q in (0.5, 0.95))
            strokes = len(waits) + lost
            rows.append({"people": people, "strokes": strokes, "unanswered": lost, "median_ms": median, "p95_ms": high})
            told = (str(strokes), str(lost), f"{median:.1f}", f"{high:.1f}", f"{aim:.0f}")
            table.add_row("1 person" if people == 1 else f"{people} people at once", *told)
    console.print(table)
    return {"searched": about, "draw": rows, "aims_ms": {str(people): aim for people, aim in aims.items()}}


@contextlib.contextmanager
def _server(options: list[str]) -> Iterator[int]:
    """`sketchless draw` on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "sketchless.benchmarks.cli", "draw", "--no-open", "--port", str(port), *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            end = time.monotonic() + START_SECONDS
            while True:
                with contextlib.suppress(OSError):
                    _get(port, "world.json")
                    break
                if process.poll() is not None or time.monotonic() > end:
                    process.kill()
                    fault = " ".join((process.stderr.read() if process.stderr else "").split())[-200:]
                    raise ResourceError(f"sketchless draw did not start ({fault or 'no answer'}); run it alone to see")
                time.sleep(0.1)
            yield port
        finally:
            process.terminate()


def _get(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30) as answer:
        return json.load(answer)


def _drawings() -> list[list[list[list[float]]]]:
    """Strokes of the example drawings."""
    chairs = load_dataset("procedural", train=2, validation=1, test=EXAMPLES, drawers=1).split("test")
    return [[stroke.tolist() for stroke in sketch.strokes()] for sketch in chairs.sketches]


async def _crowd(port: int, people: int, drawings: list[list[list[list[float]]]]) -> tuple[list[float], int]:
    """Seconds waited for each stroke, and how many strokes got no answer."""
    told = await asyncio.gather(*(_person(port, person, drawings, people > 1) for person in range(people)))
    return [wait for waits, _ in told for wait in waits], sum(lost for _, lost in told)


async def _person(
    port: int, person: int, drawings: list[list[list[list[float]]]], one: bool
) -> tuple[list[float], int]:
    from websockets.asyncio.client import connect

    mine = [drawings[person % len(drawings)]] if one else drawings
    waits, lost, seq = list[float](), 0, 0
    async with connect(f"ws://127.0.0.1:{port}/draw", max_size=None) as server:
        await asyncio.sleep(PAUSE * person / CROWD)  # nobody draws in step
        for drawing in mine:
            for count, stroke in enumerate(drawing):
                for end in (len(stroke) // 3, 2 * len(stroke) // 3, len(stroke)):  # under way, and at its end
                    seq += 1
                    part = stroke[: max(end, 1)]
                    sent = time.perf_counter()
                    await server.send(json.dumps({"type": "draw", "seq": seq, "keep": count, "strokes": [part]}))
                    if end < len(stroke):
                        await asyncio.sleep(PAUSE)
                try:
                    await asyncio.wait_for(_answered(server, seq), 30)
                    waits.append(time.perf_counter() - sent)
                except asyncio.TimeoutError:
                    lost += 1
    return waits, lost


async def _answered(server: Any, seq: int) -> None:
    async for text in server:
        if json.loads(text).get("seq") == seq:
            return
