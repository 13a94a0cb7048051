"""The folder a run writes: one owner, a manifest, nothing half-written."""

from __future__ import annotations

import ast
import contextlib
import fcntl
import itertools
import json
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from sketchless.datasets.errors import CheckpointError, ConfigError, ResourceError, printable
from sketchless.datasets.files import write_json
from sketchless.encoders.bank import EpisodeBank, bank_splits

MAX_SEED, MAX_SEEDS = 1 << 63, 10_000
_PACKAGES = ("sketchless", "torch", "gymnasium", "stable-baselines3", "numpy", "scipy", "numba")


def new_folder(name: str) -> Path:
    """Make `runs/<name>-<date>` for this process alone; a second one of the same second is `runs/<name>-<date>-2`.

    Raises:
        ConfigError: it cannot be written.
    """
    first = Path("runs") / f"{name}-{datetime.now().strftime('%Y%m%d-%H%M%S')}"
    names = itertools.chain([first.name], (f"{first.name}-{number}" for number in itertools.count(2)))
    try:
        first.parent.mkdir(parents=True, exist_ok=True)
        while True:
            folder = first.with_name(next(names))
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder
    except OSError as error:
        raise ConfigError(f"{first}: cannot be written ({error.strerror}); choose another --out") from error


@contextlib.contextmanager
def run_folder(out: str | None, command: str, config: Mapping[str, Any]) -> Iterator[Path]:
    """Open `out`, or a new `runs/<command>-<date>`, for one run alone.

    A folder that holds an interrupted run of the same command and settings is taken up again. Temporary
    files that a killed run left are removed.

    Raises:
        ConfigError: the folder holds a finished run or one of other settings, another process writes to
            it, or it cannot be written.
    """
    folder = Path(out) if out else new_folder(command)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "w")  # noqa: SIM115 (held until the run ends)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror}); choose another --out") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"{folder}: another run is writing there; choose another --out") from error
        except OSError as error:
            raise ResourceError(f"{folder}: this file system has no locks ({error.strerror}); use another") from error
        if (folder / "results.json").exists():
            raise ConfigError(f"{folder}: holds a finished run; choose another --out or remove it")
        for left in folder.glob("*.tmp-*"):
            left.unlink()
        _claim(folder, command, config)
        yield folder


def _claim(folder: Path, command: str, config: Mapping[str, Any]) -> None:
    mine = json.loads(json.dumps({"command": command, "config": dict(config)}))
    if not (folder / "manifest.json").exists():
        write_json(folder / "manifest.json", {**mine, **machine()})
        return
    earlier = read_json(folder / "manifest.json")
    for key in {*mine["config"], *earlier.get("config", {})}:
        before, now = earlier.get("config", {}).get(key), mine["config"].get(key)
        if before != now or earlier.get("command") != command:
            raise ConfigError(
                f"{folder}: holds a {earlier.get('command')} run with {key}={before!r}, not {now!r}; "
                "repeat its settings to go on with it, or choose another --out"
            )


def machine() -> dict[str, Any]:
    """What the numbers of a run may depend on: versions, threads, device; and when it began."""
    versions = {name: _version(name) for name in _PACKAGES}
    return {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": versions,
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises CheckpointError for a missing or damaged file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file; is this the folder of a run?") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); run it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: is no JSON object; run it again")
    return content


def parse_seeds(text: str) -> list[int]:
    """`"0-2,7"` -> [0, 1, 2, 7]. Raises ConfigError for anything else, nothing, or a seed twice."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ConfigError(f"seeds {text!r}: give numbers and ranges such as 0-9 or 0,2,5")
        span = range(int(first), int(last or first) + 1)
        if span.stop > MAX_SEED or len(span) > MAX_SEEDS:
            raise ConfigError(f"seeds {text!r}: want seeds below 2^63, {MAX_SEEDS:,} at most")
        seeds += span
    if not seeds or len(set(seeds)) != len(seeds):
        raise ConfigError(f"seeds {text!r}: {'a seed stands there twice' if seeds else 'the range is empty'}")
    return seeds


def first_of_each(seeds: Sequence[int], banks: int) -> list[int]:
    """The first of the seeds that stand on the same bank, where seed s stands on bank s mod their number."""
    first: dict[int, int] = {}
    for seed in seeds:
        first.setdefault(seed % banks, seed)
    return sorted(first.values())


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop, has saved what it had and says so in its message."""


class StopSignal:
    """Turns the first SIGINT or SIGTERM into `asked`, so that work can be saved; the second one kills.

    >>> with StopSignal() as stop:
    ...     stop.asked
    False
    """

    asked = False

    def __enter__(self) -> StopSignal:
        # Python hands signals to the main thread only.
        caught = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
        self._before = {number: signal.signal(number, self._note) for number in caught}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("stopping: saving what there is (again to stop at once)", file=sys.stderr)


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def __float__(self) -> float:
        return round(time.perf_counter() - self._start, 3)


class _Told(TextColumn):
    """What a task tells, as text: never markup."""

    def render(self, task: Task) -> Text:
        return Text(printable(self.text_format.format(task=task)), justify=self.justify)


def progress_bar(console: Console) -> Progress:
    """A progress display whose tasks carry a `note` behind the time left."""
    return Progress(
        _Told("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        _Told("{task.fields[note]}"),
        console=console,
    )


def open_banks(bank: str, device: str) -> dict[str, EpisodeBank]:
    """The splits of a bank file, on a device. Raises ConfigError without a train and a test split."""
    banks = {split: EpisodeBank.load(bank, split, device) for split in bank_splits(bank)}
    for split in ("train", "test"):
        if split not in banks:
            raise ConfigError(f"{bank}: has no {split} split; encode the data set again")
    return banks


def parse_values(pairs: Sequence[str]) -> dict[str, Any]:
    """`["learning_rate=1e-3"]` -> `{"learning_rate": 0.001}`. Raises ConfigError where there is no `=`."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ConfigError(f"setting {pair!r}: write it as name=value")
        if name in values:
            raise ConfigError(f"setting {name} is given twice; give it once")
        try:
            values[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            values[name] = text
    return values


@contextlib.contextmanager
def locked(path: Path, held: Callable[[], None]) -> Iterator[None]:
    """Hold the lock at `path`. While another process holds it, call `held` and try again.

    The lock goes with the process that holds it, however that ends.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "w")  # noqa: SIM115 (held until the block ends)
    except OSError as error:
        raise ConfigError(f"{path.parent}: cannot be written ({error.strerror}); choose another folder") from error
    with file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                held()
            except OSError as error:
                raise ResourceError(
                    f"{path.parent}: this file system has no locks ({error.strerror}); use another"
                ) from error
        yield
