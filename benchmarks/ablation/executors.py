"""Where the cells of a grid run: processes of this machine, or a Ray cluster.

An executor carries out cells, tells the progress of each, and comes back when all have ended or a signal came.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing import connection, resource_tracker
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from sketchless.datasets.errors import ConfigError, ResourceError

from ..runs import StopSignal
from .cells import Cell, Outcome, crashed, perform, throttle
from .progress import GridProgress

RETRIES_ON_A_CLUSTER = 5
"""How often Ray starts a cell again whose node or process was lost."""

_RAY_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # no line of the cluster's log is shown here
}
_GUARD = 'if __name__ == "__main__":'  # as a worker, a fresh process, reads the script once more
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


# Why no library's pool: in concurrent.futures and loky the death of one worker fails every cell that waits or runs;
# pebble's workers take tasks from one pipe under locks that they share, which a worker killed at that moment leaves
# locked. None can ask a running cell to save itself, tells of its progress, or ends with a runner that was killed. Here
# each worker has a pipe of its own: its death is one failed cell, and the pipe's end is the runner's.


class _Worker:
    """A fresh process that runs one cell after another, and dies with this one."""

    def __init__(self, cell: Cell, folder: Path, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, os.getpid(), folder, threads))
        self._folder, self._ready, self._stopping = folder, False, False
        resource_tracker.ensure_running()  # starting it would unblock the signals
        # A terminal's Ctrl-C comes to workers too: it waits until the new one is able to ignore it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        self.give(cell)

    def give(self, cell: Cell | None) -> None:
        """Have it run a cell; None ends it."""
        self.cell = cell
        self._send(cell)

    def stop(self) -> None:
        """Have it save and leave its cell."""
        if not self._stopping:
            self._stopping = True
            self._send("stop")
            if not self._ready:
                self.process.kill()

    def poll(self, progress: GridProgress) -> bool:
        """Take in what it has told. False when it is dead."""
        alive = self.process.is_alive()  # asked first: then all that it told before its end is there
        with contextlib.suppress(EOFError, OSError):
            while self.pipe.poll():
                self._take(self.pipe.recv(), progress)
        if self.cell and not alive:
            code = self.process.exitcode or 0
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            line = f"its process ended {how}; if memory ran out, use fewer workers"
            if code > 0 and not self._ready:  # it never came to its first cell
                line = f"its process ended {how} before it could begin: a script calls this below {_GUARD}"
            home = self._folder / self.cell.id
            progress.ended(self.cell.id, Outcome("stopped") if self._stopping else crashed(home, line, line))
            self.cell = None
        return alive

    def _take(self, told: Outcome | tuple[float, str], progress: GridProgress) -> None:
        self._ready = True
        if self.cell and isinstance(told, Outcome):
            progress.ended(self.cell.id, told)
            self.cell = None
        elif self.cell:
            progress.running(self.cell.id, *told)

    def _send(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # a dead worker is noticed by `poll`
            self.pipe.send(message)


def _local(todo: Sequence[Cell], folder: Path, n_workers: int, _gpus: float, progress: GridProgress) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = max(cores // n_workers, 1)
    waiting, workers, idle = deque(todo), list[_Worker](), list[_Worker]()
    try:
        with StopSignal() as stop:
            while waiting or workers:
                workers = [worker for worker in workers if worker.poll(progress)]
                if stop.asked:
                    waiting.clear()
                    for worker in workers:
                        worker.stop()
                for worker in [worker for worker in workers if not worker.cell]:
                    worker.give(waiting.popleft() if waiting else None)
                    if not worker.cell:
                        workers.remove(worker)
                        idle.append(worker)
                while waiting and len(workers) < n_workers:
                    workers.append(_Worker(waiting.popleft(), folder, threads))
                connection.wait([worker.pipe for worker in workers], timeout=0.2)
            for worker in idle:
                worker.process.join(timeout=5)
    finally:
        for worker in (*workers, *idle):
            worker.process.kill()
            worker.process.join()


def _work(pipe: connection.Connection, runner: int, folder: Path, threads: int) -> None:
    """The life of a worker process."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != runner:
        os._exit(1)
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    torch.set_num_threads(threads)
    inbox, stop = SimpleQueue[Cell | None](), threading.Event()

    def listen() -> None:
        message: Any = ""
        try:
            while message is not None:
                message = pipe.recv()
                stop.set() if message == "stop" else inbox.put(message)
        except (EOFError, OSError):  # the runner is dead, and another may take its place any moment
            os._exit(1)

    def send(message: Any) -> bool:
        try:
            pipe.send(message)
        except OSError:
            os._exit(1)
        return stop.is_set()

    threading.Thread(target=listen, daemon=True).start()
    while (cell := inbox.get()) is not None:
        send(perform(cell, folder, throttle(lambda share, note: send((share, note)))))


class Mailbox:
    """On a cluster: what the cells send, and whether they are to stop."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, str]] = {}
        self._stop = False

    def send(self, cell: str, share: float, note: str) -> bool:
        self._told[cell] = share, note
        return self._stop

    def poll(self, stop: bool) -> dict[str, tuple[float, str]]:
        self._stop, told, self._told = stop, self._told, {}
        return told


@contextlib.contextmanager
def _cluster() -> Iterator[Any]:
    """The module `ray`, joined to the cluster at RAY_ADDRESS, else to one of this machine."""
    for name, value in _RAY_QUIET.items():
        os.environ.setdefault(name, value)
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise ConfigError("executor 'ray': Ray is not installed; pip install \"sketchless[ray]\"") from error
    if ray.is_initialized():
        yield ray
        return
    address = os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if port.isdecimal():  # Ray itself would look for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    except (OSError, RuntimeError, ValueError) as error:
        why = str(error).strip().partition("\n")[0]
        raise ResourceError(f"RAY_ADDRESS={address!r}: no Ray cluster there ({why}); start it or unset it") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _ray(todo: Sequence[Cell], folder: Path, _workers: int, gpus: float, progress: GridProgress) -> None:
    folder = folder.resolve()
    with _cluster() as ray, contextlib.ExitStack() as stack:
        if gpus > ray.cluster_resources().get("GPU", 0.0) or (gpus > 1 and gpus % 1):
            raise ConfigError(f"gpus={gpus}: the cluster has no such share for a cell; choose fewer")
        here = importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=True
        )
        mailbox = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here)(
            Mailbox
        ).remote()
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES_ON_A_CLUSTER)(_on_node)
        path = [os.path.abspath(entry) for entry in sys.path]
        refs = {task.remote(cell, folder, mailbox, path, os.getcwd()): cell.id for cell in todo}
        stack.callback(lambda: [ray.cancel(ref, force=True) for ref in refs])
        stop = stack.enter_context(StopSignal())
        while refs:
            ended, _ = ray.wait(list(refs), num_returns=len(refs), timeout=0.5)
            for cell, told in ray.get(mailbox.poll.remote(stop.asked)).items():
                progress.running(cell, *told)
            for ref in ended:
                cell = refs.pop(ref)
                try:
                    outcome = ray.get(ref)
                except ray.exceptions.RayError as error:
                    outcome = crashed(folder / cell, f"{type(error).__name__}: {error}", str(error))
                progress.ended(cell, outcome)


def _on_node(cell: Cell, folder: Path, mailbox: Any, path: Sequence[str], where: str) -> Outcome:
    """A cell on a node of the cluster."""
    ray = importlib.import_module("ray")
    sys.path += [entry for entry in path if entry not in sys.path]
    os.chdir(where)
    torch.set_num_threads(1)

    def send(share: float, note: str) -> bool:
        try:
            return bool(ray.get(mailbox.send.remote(cell.id, share, note)))
        except ray.exceptions.RayError:  # the runner is dead
            return True

    return perform(cell, folder, throttle(send))


EXECUTORS = {"local": _local, "ray": _ray}
