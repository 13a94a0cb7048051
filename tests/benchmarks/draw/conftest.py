"""A small world to draw in, served on a free port."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from websockets.sync.client import ClientConnection, connect

from sketchless.agents import make_agent
from sketchless.benchmarks.commands.draw import listen
from sketchless.benchmarks.draw.engine import Engine, Example
from sketchless.benchmarks.draw.server import Limits, create_app, make_server
from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.loading import load_dataset
from sketchless.encoders.encode import encode_banks
from sketchless.encoders.networks.encoder import EncoderConfig
from sketchless.encoders.registry import make_encoder
from sketchless.envs.core import Core

PATIENCE = 300.0  # seconds: for hangs alone, as a slow machine is not one


def small_dataset() -> SketchDataset:
    """Procedural chairs: a dozen photos to search."""
    return load_dataset("procedural", train=4, validation=2, test=12, drawers=1)


@pytest.fixture(scope="session")
def engine() -> Engine:
    """An untrained encoder, and an agent that does something."""
    dataset = small_dataset()
    encoder = make_encoder(EncoderConfig(size=32, dim=8)).eval()
    bank = encode_banks(encoder, dataset, schedule="strokes", splits=["test"])["test"]
    agent = make_agent("ppo-a-clip", Core(bank, "inv-rank"))
    agent.policy.mean.weight.data.normal_(0, 0.3, generator=torch.Generator().manual_seed(3))
    split = dataset.split("test")
    examples = [Example(sketch, int(target)) for sketch, target in zip(split.sketches, split.targets, strict=True)]
    made = Engine(
        encoder, bank, agent, lambda row: dataset.photo(bank.photo_ids[row]), lambda: examples[:3], "12 photos"
    )
    made.warm_up()
    return made


class Served:
    """A running server."""

    def __init__(self, port: int) -> None:
        self.port, self.url = port, f"http://127.0.0.1:{port}/"

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def socket(self, **options: Any) -> ClientConnection:
        return connect(f"ws://127.0.0.1:{self.port}/draw", open_timeout=PATIENCE, close_timeout=2, **options)


@contextlib.contextmanager
def serving(app: Any, port: int = 0, limits: Limits | None = None) -> Iterator[Served]:
    """Serve an application from a thread."""
    listening = listen("127.0.0.1", port)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)  # what a deaf client lets pile up
    server = make_server(app, "127.0.0.1", listening.getsockname()[1], limits)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Served(listening.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listening.close()
        assert not thread.is_alive()


@pytest.fixture
def serve(engine: Engine) -> Iterator[Callable[..., Served]]:
    """Starts a server with limits, or a token."""
    with contextlib.ExitStack() as stack:

        def start(limits: Limits | None = None, token: str | None = None) -> Served:
            return stack.enter_context(serving(create_app(engine, token=token, limits=limits), limits=limits))

        yield start


def ask(socket: ClientConnection, message: dict[str, Any]) -> dict[str, Any]:
    """Send a message and take the next answer."""
    socket.send(json.dumps(message))
    return answer(socket)


def answer(socket: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(socket.recv(timeout=PATIENCE))
    return found
