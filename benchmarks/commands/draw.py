"""`sketchless draw`: a person draws, and the photos come. Serves one page on this machine."""

from __future__ import annotations

import contextlib
import secrets
import socket
import webbrowser
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from sketchless.datasets.errors import ConfigError


@dataclass(frozen=True)
class DrawConfig:
    """Draw in the browser and see photos ranked after every stroke: procedural chairs, or what is asked for. With
    --collect: gather drawings of photos as a data set."""

    run: str | None = None
    """Folder of a `train` run (its first agent) or an `encode` run (B1 alone)."""
    bank: str | None = None
    """Bank file, or the name of one that ships; with --agent, refined by it."""
    encoder: str | None = None
    """Encoder that the bank was made with; by default the file beside it."""
    agent: str | None = None
    """Agent file of a train run on that bank."""
    photos: str | None = None
    """Folder of photos to search instead of the bank's."""
    split: str = "test"
    """Whose photos and example drawings."""
    collect: str | None = None
    """Folder of photos to be drawn from memory; nothing is searched."""
    out: str | None = None
    """With --collect: folder of the data set; one begun earlier is gone on with."""
    seconds: float = 10.0
    """With --collect: how long a photo is shown."""
    drawings: int = 1
    """With --collect: drawings wanted of each photo."""
    seed: int = 0
    """With --collect: of the order of the photos."""
    host: str = "127.0.0.1"
    """Address to listen on; another one than of this machine alone is reached by a link with a token."""
    port: int = 8080
    """Port; 0 takes a free one."""
    open: bool = True
    """Open the browser where there is one."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""


def run(config: DrawConfig, console: Console | None = None) -> None:
    """Serve until interrupted.

    Raises:
        ConfigError: settings that exclude each other, a port in use, or the extra `draw` is not installed.
        CheckpointError, DataError, ResourceError: see the parts.
    """
    console = console or Console()
    try:
        from ..draw.server import create_app, make_server
    except ModuleNotFoundError as error:
        if error.name in ("starlette", "uvicorn", "websockets"):
            raise ConfigError(f'{error.name} is not installed: pip install "sketchless[draw]"') from error
        raise
    from ..draw.collect import Collector
    from ..draw.guard import is_loopback
    from ..draw.sources import find_files, open_engine

    _check(config)
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(listen(config.host, config.port))
        engine = collector = None
        if config.collect is not None:
            collector = Collector(
                Path(config.collect), Path(str(config.out)), config.seconds, config.seed, config.drawings
            )
            stack.callback(collector.close)
            for name, why in list(collector.bad.items())[:20]:
                console.print(f"left out {name}: {why}", markup=False, highlight=False, soft_wrap=True)
            if collector.bad:
                console.print(f"{len(collector.bad)} files left out")
            console.print(f"{collector.done()} of {collector.total()} drawings are in {config.out}", markup=False)
        else:
            files = find_files(config.run, config.bank, config.encoder, config.agent)
            # one frame at a time is too little work for more threads, and waiting for each other they are slower
            torch.set_num_threads(1)
            engine = open_engine(files, config.photos, config.split, config.device, console)
            engine.warm_up()
            console.print(f"searching {engine.about}", markup=False)
        token = None if is_loopback(config.host) else secrets.token_urlsafe(16)
        host, port = listening.getsockname()[:2]
        shown = config.host if token is None else _reachable(host)
        address = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/" + (f"?token={token}" if token else "")
        if token:
            console.print("[yellow]others on the network can reach this server: give the link to those who may draw[/]")
        console.print(f"draw at {address}  (Ctrl-C stops)", markup=False, highlight=False, soft_wrap=True)
        if config.open:
            with contextlib.suppress(Exception):  # no browser is no fault
                webbrowser.open(address)
        make_server(create_app(engine, collector, token), config.host, port).run(sockets=[listening])


def _check(config: DrawConfig) -> None:
    if not 0 <= config.port < 65536:
        raise ConfigError(f"port={config.port}: want 0 to 65535")
    if config.collect is None:
        if config.out is not None:
            raise ConfigError("--out belongs to --collect; give the folder of photos to draw")
        return
    if config.out is None:
        raise ConfigError("--collect needs --out, the folder of the data set")
    for name in ("run", "bank", "encoder", "agent", "photos"):
        if getattr(config, name) is not None:
            raise ConfigError(f"--collect searches nothing: leave out --{name}")


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises ConfigError: the port is in use, or no such address here."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError as error:
        found.close()
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another --port or --host"
        ) from error
    return found


def _reachable(host: str) -> str:
    """A name under which others reach an address; of all addresses, that of the machine."""
    return socket.gethostname() if host in ("0.0.0.0", "::") else host
