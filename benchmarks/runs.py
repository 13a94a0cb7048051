"""The folder a run writes: one owner, a manifest, nothing half-written."""

from __future__ import annotations

import ast
import contextlib
import itertools
import json
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path, PurePosixPath
from types import FrameType
from typing import Any

import torch
from filelock import BaseFileLock, FileLock, Timeout
from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from sketchless.datasets.errors import CheckpointError, ConfigError, ResourceError, printable
from sketchless.datasets.files import write_json

MAX_SEED, MAX_SEEDS = 1 << 63, 10_000
_PACKAGES = ("sketchless", "torch", "gymnasium", "stable-baselines3", "numpy", "scipy", "numba")


class RunFolder:
    """A folder that one process writes: its lock, what it was begun with, and whether it is finished.

    Args:
        path: of the folder; made when its lock is taken.
        manifest: name of the file that says what was begun.
        results: name of the file that ends the run.
        lock: name of the file that is locked.
    """

    def __init__(
        self, path: Path, manifest: str = "manifest.json", results: str = "results.json", lock: str = ".lock"
    ) -> None:
        self.path, self._manifest, self._results, self._lock = path, path / manifest, path / results, path / lock
        self._descriptor: int | None = None

    @property
    def finished(self) -> bool:
        """Whether its results are there."""
        return self._results.exists()

    @contextlib.contextmanager
    def locked(self, held: Callable[[], None] | None = None) -> Iterator[RunFolder]:
        """Hold the folder's lock, and remove the temporary files of killed saves.

        While another process holds it, call `held` and try again. The lock goes with the process, however that ends.

        Raises:
            ConfigError: the folder cannot be written, or another process writes there and `held` is None.
            ResourceError: the file system has no locks, or the folder was removed meanwhile.
        """
        lock = FileLock(self._lock)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            while not _acquired(lock):
                if held is None:
                    raise ConfigError(f"{self.path}: another run is writing there; choose another --out")
                held()
            descriptor = os.open(self.path, os.O_RDONLY)
        except NotImplementedError as error:
            raise ResourceError(f"{self.path}: this file system has no locks ({error}); use another") from error
        except OSError as error:
            reason = error.strerror or error
            raise ConfigError(f"{self.path}: cannot be written ({reason}); choose another --out") from error
        self._descriptor = descriptor
        try:
            for left in self.path.glob("*.tmp-*"):
                left.unlink(missing_ok=True)
            yield self
        finally:
            self._descriptor = None
            os.close(descriptor)
            lock.release()

    def check(self) -> None:
        """Raise ResourceError if the folder that was locked is no longer there: saving would make half of another."""
        if self._descriptor is None:
            return
        try:
            there = os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except FileNotFoundError:
            there = False
        if not there:
            raise ResourceError(f"{self.path}: was removed or replaced while it was written; run it again")

    def refuse_other(self, begun_with: Mapping[str, Any], free: Collection[str] = ()) -> dict[str, Any] | None:
        """What the manifest says, or None if nothing was begun.

        Raises:
            ConfigError: it was begun with something else; settings named in `free` may differ.
            CheckpointError: a damaged manifest, or results without one.
        """
        if not self._manifest.exists() and not self.finished:
            return None
        earlier = read_json(self._manifest)
        mine = json.loads(json.dumps(begun_with))
        for outer, inner, before, now in _differences({name: earlier.get(name) for name in mine}, mine):
            if not {outer, inner} & set(free):
                raise ConfigError(
                    f"{self.path}: was begun with {inner}={before!r}, not {now!r}; "
                    "repeat its settings to go on with it, or choose another --out"
                )
        return earlier

    def claim(self, begun_with: Mapping[str, Any], free: Collection[str] = ()) -> dict[str, Any] | None:
        """Write the manifest: `begun_with`, and the machine; or find the same one there, and return it.

        Raises as `refuse_other`.
        """
        earlier = self.refuse_other(begun_with, free)
        if earlier is None:
            write_json(self._manifest, {**begun_with, **machine()})
        return earlier


def is_below(name: str) -> bool:
    """Whether a name is that of a folder below another one, plainly written: not absolute, without `..` or `.`."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and str(path) == name and path != PurePosixPath()


def _acquired(lock: BaseFileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, Any]]:
    """Key, key within it, and both values of what differs; a value that is no mapping has its own key within it."""
    for key in now:
        old, new = before[key], now[key]
        if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
            old, new = {key: old}, {key: new}
        for inner in {**new, **old}:
            if old.get(inner) != new.get(inner):
                yield key, inner, old.get(inner), new.get(inner)


@contextlib.contextmanager
def begin_run(
    out: str | None, command: str, config: Mapping[str, Any], varying: str | None = None
) -> Iterator[RunFolder]:
    """Open `out`, or a new `runs/<command>-<date>`, for one run alone.

    A folder that holds an interrupted run of the same command and settings is taken up again; if the number of
    threads is another one, and `varying` names what it changes the last digits of, that is said.

    Raises:
        ConfigError: the folder holds a finished run or one of other settings, another process writes to
            it, or it cannot be written.
        ResourceError: it was removed while it was written.
    """
    with RunFolder(Path(out) if out else new_folder(command)).locked() as run:
        if run.finished:
            raise ConfigError(f"{run.path}: holds a finished run; choose another --out or remove it")
        earlier = run.claim({"command": command, "config": dict(config)})
        if earlier and (warning := other_threads(earlier, varying)):
            print(f"{run.path}: {warning}", file=sys.stderr)
        yield run
        run.check()


@contextlib.contextmanager
def run_folder(out: str | None, command: str, config: Mapping[str, Any], varying: str | None = None) -> Iterator[Path]:
    """The path of `begin_run`. Raises as that."""
    with begin_run(out, command, config, varying) as run:
        yield run.path


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


def other_threads(manifest: Mapping[str, Any], varying: str | None) -> str | None:
    """What to say where a run goes on with another number of threads than it began with, if `varying` varies so."""
    before, now = manifest.get("threads"), torch.get_num_threads()
    if varying is None or before == now or not isinstance(before, int):
        return None
    return f"was begun with {before} threads and goes on with {now}: the last digits of {varying} may be others"


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


def processor() -> str:
    """What this machine's processor is called."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises CheckpointError for a missing or damaged file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file; is this the folder of a run?") from error
    except (OSError, ValueError, RecursionError) as error:
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


class _Lines(Progress):
    """Progress where output is a file: no bar that moves, a line for each tenth."""

    def __init__(self, console: Console) -> None:
        super().__init__(console=console, disable=True)
        self._tenths: dict[TaskID, int] = {}

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """As `Progress.update`."""
        super().update(task_id, **changes)
        task = self.tasks[self.task_ids.index(task_id)]
        tenth = int(task.percentage + 1e-6) // 10
        if tenth > self._tenths.get(task_id, 0):
            self._tenths[task_id] = tenth
            told = f"{task.description}  {10 * tenth}%  {task.fields.get('note', '')}"
            self.console.print(printable(told).rstrip(), markup=False, highlight=False)


def progress_bar(console: Console) -> Progress:
    """A progress display whose tasks carry a `note` behind the time left; lines where the output is no terminal."""
    if not console.is_terminal:
        return _Lines(console)
    return Progress(
        _Told("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        _Told("{task.fields[note]}"),
        console=console,
    )


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
            values[name] = ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
        except (ValueError, SyntaxError):
            values[name] = text
    return values
