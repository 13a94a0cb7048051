"""The server of `sketchless draw`: the page, the photos, and one socket a connection.

Every connection has its own drawing and nothing of another's. Of each kind of answer only the newest is made, by one
worker thread for all, so that nothing piles up: a client that does not read is dropped, not buffered.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from sketchless.datasets.errors import ResourceError, SketchlessError

from .collect import Collector
from .engine import Engine, Example, Photo
from .guard import Guard
from .session import LIMITS, MAX_MESSAGE, Job, OutOfStep, Session, parse

PAGE = Path(__file__).parent / "page"
FILES = {
    "": ("index.html", "text/html"),
    "style.css": ("style.css", "text/css"),
    "draw.js": ("draw.js", "text/javascript"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
THUMBNAIL, WHOLE = 256, 768  # pixels of the longer side of a photo in a list, and of one to be drawn
AHEAD = 500  # photos made ready for a first look
BUSY = 1013  # close code: try again later

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What one server and one connection may use."""

    sockets: int = 64  # connections that draw
    connections: int = 256  # connections of any kind
    rate: float = 40.0  # messages a second and connection; beyond it they are read more slowly
    burst: float = 80.0  # messages at once
    send_seconds: float = 10.0  # a client that has not taken an answer in this time is dropped
    idle_seconds: float = 3600.0  # nothing said for so long
    header_seconds: float = 10.0  # a request has to be whole by then


@dataclass(frozen=True)
class Film:
    """Work that takes seconds: done beside that of the others, who would wait for it."""

    work: Callable[[], bytes]


class Desk(Protocol):
    """What answers the messages of one connection: a drawing that is searched, or one that is collected."""

    def take(self, message: dict[str, Any]) -> tuple[str, Job]:
        """The slot of an answer and the work for it."""
        ...

    def close(self) -> None:
        """The connection is gone."""
        ...


def create_app(
    engine: Engine | None,
    collector: Collector | None = None,
    token: str | None = None,
    limits: Limits | None = None,
) -> Guard:
    """The ASGI application: searches with an engine, or collects drawings.

    Args:
        engine: what is searched.
        collector: instead: where drawings go.
        token: that visitors must show; None on a loopback address.
        limits: of use.
    """
    source: Engine | Collector | None = engine or collector
    assert source is not None
    hall = _Hall(engine, collector, source.photo, limits or Limits())
    routes: list[Route | WebSocketRoute] = [Route("/" + path, _file(*file)) for path, file in FILES.items()]
    routes += [
        Route("/world.json", hall.world),
        Route("/examples.json", hall.examples),
        Route("/example/{number:int}", hall.example),
        Route("/photo/{row:int}", hall.serve_photo),
        WebSocketRoute("/draw", hall.socket),
    ]
    return Guard(Starlette(routes=routes), token)


def _file(name: str, kind: str) -> Callable[[Request], Any]:
    content = (PAGE / name).read_bytes()

    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind, headers={"cache-control": "no-cache"})

    return answer


class _Hall:
    """What all connections share, none of it about a drawing."""

    def __init__(
        self, engine: Engine | None, collector: Collector | None, photo: Callable[[int], Photo], limits: Limits
    ) -> None:
        self.engine, self.collector, self.limits = engine, collector, limits
        self.sockets = 0
        self.ahead: asyncio.Task[None] | None = None
        self.worker = ThreadPoolExecutor(1, "draw")  # one: torch uses the other cores, and agents are not shared
        self.films = ThreadPoolExecutor(1, "films")
        self.reader = ThreadPoolExecutor(1, "photos")
        side, kept = (WHOLE, 64) if collector else (THUMBNAIL, 4096)  # 100 KB and 10 KB each
        self.thumbnail = lru_cache(kept)(lambda row: thumbnail(photo(row), side))

    # Plain requests --------------------------------------------------------------------------------------

    async def world(self, request: Request) -> Response:
        """What the page has to know before the first stroke."""
        if self.collector is not None:
            return JSONResponse({"mode": "collect", **self.collector.about()})
        assert self.engine is not None
        if self.ahead is None:
            self.ahead = asyncio.create_task(self._look_ahead())
        return JSONResponse(
            {
                "mode": "search",
                "about": self.engine.about,
                "names": self.engine.names,
                "refined": None if self.engine.agent is None else self.engine.agent.name,
                "explains": self.engine.tokens is not None,
                "limits": LIMITS,
            }
        )

    async def _look_ahead(self) -> None:
        """Make the first thumbnails before they are asked for, one at a time, so that nobody waits for all of them."""
        assert self.engine is not None
        for row in range(min(AHEAD, len(self.engine.names))):
            with contextlib.suppress(SketchlessError):  # told to who asks for the photo
                await asyncio.get_running_loop().run_in_executor(self.reader, self.thumbnail, row)

    async def examples(self, request: Request) -> Response:
        """Photos of the drawings to show: rows in the gallery."""
        return JSONResponse([example.target for example in await self._examples()])

    async def _examples(self) -> Sequence[Example]:
        if self.engine is None:
            return ()
        return await asyncio.get_running_loop().run_in_executor(self.reader, self.engine.examples)

    async def example(self, request: Request) -> Response:
        number = request.path_params["number"]
        examples = await self._examples()
        if number >= len(examples):
            return PlainTextResponse(f"there is no example {number}\n", 404)
        found = examples[number]
        return JSONResponse({"target": found.target, "strokes": [s.tolist() for s in found.sketch.strokes()]})

    async def serve_photo(self, request: Request) -> Response:
        row = request.path_params["row"]
        names = self.engine.names if self.engine else self.collector.names if self.collector else ()
        if row >= len(names):
            return PlainTextResponse(f"there is no photo {row}\n", 404)
        try:
            content = await asyncio.get_running_loop().run_in_executor(self.reader, self.thumbnail, row)
        except SketchlessError as error:
            return PlainTextResponse(f"{error}\n", 410)
        return Response(content, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})

    # Sockets ---------------------------------------------------------------------------------------------

    async def socket(self, socket: WebSocket) -> None:
        await socket.accept()
        if self.sockets >= self.limits.sockets:
            await socket.close(BUSY, f"{self.sockets} people draw here already; try again later")
            return
        self.sockets += 1
        desk: Desk = _Search(self.engine) if self.engine is not None else self.collector.desk()  # type: ignore[union-attr]
        try:
            await _Connection(socket, desk, self.worker, self.films, self.limits).run()
        except asyncio.CancelledError:
            pass  # the server stops, and the client has not hung up in time
        finally:
            self.sockets -= 1
            desk.close()


class _Search:
    """A drawing that is searched."""

    def __init__(self, engine: Engine) -> None:
        self._session = Session(engine)

    def take(self, message: dict[str, Any]) -> tuple[str, Job]:
        slot, job = self._session.take(message)
        return (slot, self._animation(job)) if slot == "gif" else (slot, job)

    def close(self) -> None:
        pass

    def _animation(self, job: Job) -> Job:
        def work() -> Film | Job:
            made = job()
            if callable(made):
                return self._animation(made)
            strokes, standings, target = made
            points = [stroke.points for stroke in strokes]

            def render() -> bytes:
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "drawing.gif"
                    self._session.engine.animation(path, points, standings, target)
                    return path.read_bytes()

            return Film(render)

        return work


class _Connection:
    """Reads messages, does the newest work of each slot, sends the answers."""

    def __init__(
        self, socket: WebSocket, desk: Desk, worker: ThreadPoolExecutor, films: ThreadPoolExecutor, limits: Limits
    ) -> None:
        self.socket, self.desk, self.worker, self.films, self.limits = socket, desk, worker, films, limits
        self.film: asyncio.Future[bytes] | None = None  # being made
        self.slots: dict[str, tuple[Job, int | None, float]] = {}
        self.notices: deque[dict[str, Any]] = deque(maxlen=4)
        self.wake = asyncio.Event()

    async def run(self) -> None:
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._answer())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if self.film is not None:
                self.film.cancel()
            while left := [task for task in tasks if not task.done()]:
                for task in left:
                    task.cancel()  # again and again: before Python 3.12, wait_for may swallow it
                await asyncio.wait(left, timeout=0.05)
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, _GONE):
                    log.error("a connection ended by a fault", exc_info=outcome)
            if self.socket.application_state is not WebSocketState.DISCONNECTED:
                with contextlib.suppress(Exception):  # it may be gone already
                    await asyncio.wait_for(self.socket.close(1011), 1)

    async def _read(self) -> None:
        allowed, before, told = self.limits.burst, time.monotonic(), 0.0
        while True:
            got = await asyncio.wait_for(self.socket.receive(), self.limits.idle_seconds)
            if got["type"] == "websocket.disconnect":
                return
            now = time.monotonic()
            allowed = min(self.limits.burst, allowed + (now - before) * self.limits.rate) - 1
            before = now
            self._take(got, now)
            if allowed < 0:  # what comes faster waits on the client's side
                if now - told > 1:
                    told = now
                    self._notice(ResourceError(f"more than {self.limits.rate:g} messages a second: slowed down"), None)
                await asyncio.sleep(-allowed / self.limits.rate)

    def _take(self, got: Any, now: float) -> None:
        seq = None
        try:
            text = got.get("text")
            if text is None:
                raise ResourceError("a message of bytes: this server reads text")
            message = parse(text)
            seq = message.get("seq") if type(message.get("seq")) is int else None
            slot, job = self.desk.take(message)
            self.slots[slot] = (job, seq, now)
            self.wake.set()
        except SketchlessError as error:
            self._notice(error, seq)

    def _notice(self, error: SketchlessError, seq: int | None) -> None:
        again = isinstance(error, OutOfStep)
        self.notices.append({"type": "resend" if again else "error", "seq": seq, "message": str(error)})
        self.wake.set()

    async def _answer(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self.wake.wait()
            self.wake.clear()
            while self.notices or self.slots or (self.film is not None and self.film.done()):
                if self.notices:
                    await self._send(self.notices.popleft())
                    continue
                seq = None
                try:
                    if self.film is not None and self.film.done():
                        film, self.film = self.film, None
                        await self._send(film.result())
                        continue
                    job, seq, asked = self.slots.pop(next(iter(self.slots)))
                    answer = await loop.run_in_executor(self.worker, job)
                    while callable(answer):  # what is left, behind the work of others that waits
                        answer = await loop.run_in_executor(self.worker, answer)
                    if isinstance(answer, Film):
                        self._make(answer)
                        continue
                except SketchlessError as error:
                    self._notice(error, seq)
                    continue
                if isinstance(answer, dict):
                    answer["ms"] = round(1000 * (time.monotonic() - asked), 1)
                await self._send(answer)

    def _make(self, film: Film) -> None:
        if self.film is not None:
            raise ResourceError("a GIF is being made already: wait for it")
        self.film = asyncio.get_running_loop().run_in_executor(self.films, film.work)
        self.film.add_done_callback(lambda _: self.wake.set())

    async def _send(self, answer: dict[str, Any] | bytes) -> None:
        sent = self.socket.send_bytes(answer) if isinstance(answer, bytes) else self.socket.send_json(answer)
        await asyncio.wait_for(sent, self.limits.send_seconds)


# What ends a connection without a fault of ours; TimeoutError is another one in Python 3.10.
_GONE = (WebSocketDisconnect, OSError, asyncio.TimeoutError)


def thumbnail(photo: Photo, side: int = THUMBNAIL) -> bytes:
    """A photo as the page shows it: a small JPEG."""
    image, out = Image.fromarray(photo), io.BytesIO()
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    image.save(out, "JPEG", quality=88)
    return out.getvalue()


class _Patient(H11Protocol):
    """HTTP that hangs up on those who do not finish their request (slow loris)."""

    seconds = Limits.header_seconds

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.loop.call_later(self.seconds, self._hang_up)

    def _hang_up(self) -> None:
        if self.cycle is None and self in self.connections and not self.transport.is_closing():
            self.transport.close()


class _Abrupt(WebSocketsSansIOProtocol):
    """A socket that does not wait for a client to read what is left when its connection has ended."""

    async def run_asgi(self) -> None:
        await super().run_asgi()
        if not self.writable.is_set():
            self.transport.abort()


def make_server(app: Any, host: str, port: int, limits: Limits | None = None) -> uvicorn.Server:
    """A server for an application of `create_app`; its sockets are bound when it runs."""
    limits = limits or Limits()
    patient = type("Patient", (_Patient,), {"seconds": limits.header_seconds})
    config = uvicorn.Config(
        app,
        host,
        port,
        http=patient,
        ws=_Abrupt,
        ws_max_size=4 * MAX_MESSAGE,
        ws_per_message_deflate=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=1 << 14,
        lifespan="off",
        log_level="warning",
        server_header=False,
    )
    return uvicorn.Server(config)
