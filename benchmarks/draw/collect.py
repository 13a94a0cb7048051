"""Collecting a data set: a photo is shown for some seconds, hidden, and drawn from memory, as for the QMUL sets.

The folder that grows is a data set of its own, see docs/your-own-data.md: `photos/`, and `sketches/` with one NDJSON
file a drawing. What is being drawn is kept after every stroke, so that no crash loses it.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from sketchless.datasets.errors import ConfigError, DataError, FormatError, ResourceError, SketchlessError
from sketchless.datasets.files import replacing, sha256, write_json
from sketchless.datasets.photos import read_photo
from sketchless.datasets.readers.folder import split_meant
from sketchless.datasets.readers.twins import normal
from sketchless.datasets.sketch import CANVAS

from .folder_gallery import list_photos
from .session import (
    LIMITS,
    MAX_NUMBER,
    MAX_POINTS,
    MAX_STROKES,
    InkStroke,
    Job,
    OutOfStep,
    stroke_of,
    touches_canvas,
    whole,
)

MAX_STEM = 255 - len("_100.ndjson")  # bytes of a photo's name without its suffix, as file systems take 255
MAX_UNDONE, MAX_UNDONE_POINTS = 1000, 50_000  # strokes taken back that are kept with a drawing, and their points


class Collector:
    """The photos to draw, which are drawn, and who draws which.

    Args:
        photos: folder of photos.
        out: the data set; photos are copied into it. A set begun earlier is gone on with.
        seconds: a photo is shown.
        seed: of the order of the photos.
        drawings: wanted of each photo.

    Attributes:
        bad: photos that cannot be read, by path, and why; they are left out.

    Raises:
        DataError: no readable photo, or two whose names differ by the suffix alone. ConfigError: settings out of
            range, a folder that cannot be written or to which another server writes. ResourceError: no room, no locks.
    """

    def __init__(self, photos: Path, out: Path, seconds: float = 10.0, seed: int = 0, drawings: int = 1) -> None:
        if not 0 < seconds <= 600:
            raise ConfigError(f"seconds={seconds:g}: a photo is shown for 0 to 600 seconds")
        if not 1 <= drawings <= 100:
            raise ConfigError(f"drawings={drawings}: want 1 to 100 of each photo")
        if out.resolve().is_relative_to(photos.resolve()):
            raise ConfigError(f"{out}: lies in the folder of the photos; choose another --out")
        self.out, self.seconds, self.drawings = out, seconds, drawings
        names, self.bad = list_photos(photos)
        self._lock = _lock(out)
        for name in list(names):
            try:
                read_photo(photos / name)
                if len(os.fsencode(Path(name).stem)) > MAX_STEM:
                    raise DataError("its name is too long for that of its drawings; rename it")
            except SketchlessError as error:
                self.bad[name] = str(error).removeprefix(f"{photos / name}: ")
                names.remove(name)
        # what the reader of the set would refuse is refused before anybody has drawn
        stems = [normal(Path(name).with_suffix("").as_posix()).casefold() for name in names]
        many = Counter(stems)
        if twice := next((n for n, s in zip(names, stems, strict=True) if many[s] > 1), None):
            raise DataError(f"{photos / twice}: another photo has its name but for case or suffix; rename one")
        for name in sorted({name.partition("/")[0] for name in names if "/" in name}):
            if (meant := split_meant(name)) not in (None, "train"):
                raise DataError(f"{photos / name}: states no split; rename it {meant}, or otherwise if none is meant")
        if not names:
            raise DataError(f"{photos}: no readable photo ({len(self.bad)} left out); give a folder of PNG or JPEG")
        self._copy(photos, names)
        self.names = tuple(names)
        rows = list(range(len(names)))
        random.Random(seed).shuffle(rows)
        self._order = rows
        self._taken: set[int] = set()

    def _copy(self, photos: Path, names: list[str]) -> None:
        for name in names:
            there = self.out / "photos" / name
            if not there.exists():
                with replacing(there) as temporary:
                    shutil.copyfile(photos / name, temporary)

    def photo(self, row: int) -> npt.NDArray[np.uint8]:
        """Pixels of a photo. Raises as `read_photo`."""
        return read_photo(self.out / "photos" / self.names[row])

    def about(self) -> dict[str, Any]:
        """What the page says of the whole."""
        progress = {"done": self.done(), "total": self.total()}
        limits = {**LIMITS, "undone": MAX_UNDONE, "undone_points": MAX_UNDONE_POINTS}
        return {"about": f"{len(self.names)} photos", "seconds": self.seconds, "limits": limits, **progress}

    def total(self) -> int:
        """Drawings wanted."""
        return len(self.names) * self.drawings

    def done(self) -> int:
        """Drawings finished."""
        return sum(min(len(self.files(row)), self.drawings) for row in range(len(self.names)))

    def files(self, row: int) -> list[Path]:
        """Finished drawings of a photo."""
        return [file for n in range(1, self.drawings + 1) if (file := self.file(row, n)).is_file()]

    def file(self, row: int, number: int) -> Path:
        """Where drawing `number`, from 1, of a photo lies."""
        return self.out / "sketches" / f"{Path(self.names[row]).with_suffix('').as_posix()}_{number}.ndjson"

    def partial(self, row: int) -> Path:
        """Where a drawing that is not finished lies."""
        return self.out / ".unfinished" / f"{sha256(self.names[row].encode())[:32]}.json"

    def desk(self) -> CollectDesk:
        """For one more connection."""
        return CollectDesk(self)

    def claim(self, skipped: set[int], wanted: str | None = None) -> int | None:
        """The next photo that nobody draws: the one wanted, then unfinished ones, those skipped last.

        None: all are drawn.
        """
        free = [row for row in self._order if row not in self._taken and len(self.files(row)) < self.drawings]
        free.sort(
            key=lambda row: (
                self.names[row] != wanted,
                row in skipped,
                len(self.files(row)),
                not self.partial(row).exists(),
            )
        )
        if not free:
            return None
        self._taken.add(free[0])
        return free[0]

    def release(self, row: int) -> None:
        """Nobody draws this photo any more."""
        self._taken.discard(row)

    def close(self) -> None:
        """Let others write to the folder."""
        self._lock.close()


class CollectDesk:
    """One person who draws: one photo after the other."""

    def __init__(self, collector: Collector) -> None:
        self._all = collector
        self._row: int | None = None
        self._skipped: set[int] = set()
        self._undone: list[dict[str, Any]] = []  # strokes taken back, and when
        self._gone, self._lock = False, threading.Lock()  # answers are made on another thread

    def take(self, message: Mapping[str, Any]) -> tuple[str, Job]:
        """Answer a message: `next`, `record` a drawing so far, `finish` it, or `skip` the photo.

        Raises:
            FormatError, ResourceError: a message that makes no sense, or a drawing beyond the limits. OutOfStep:
                strokes that were taken back are missing here.
        """
        kind = message.get("type")
        whole(message, "seq", 0, 1_000_000_000)
        if kind == "next":
            wanted = message.get("name")  # of a page whose connection was lost
            return "task", lambda: self._task(wanted=wanted)
        if self._row is None:
            raise FormatError("no photo is being drawn here: reload the page")
        if kind == "skip":
            self._skipped.add(self._row)
            return "task", lambda: self._task(leave=True)
        if kind not in ("record", "finish"):
            raise FormatError(f"message type {str(kind)[:40]!r} is unknown; reload the page")
        drawing, row = _drawing(message, self._undone), self._row
        if kind == "finish" and not drawing["drawing"]:
            raise FormatError("nothing is drawn yet: draw, or skip the photo")
        if kind == "finish" and not touches_canvas([stroke_of(rows) for rows in message["strokes"]]):
            raise FormatError("nothing that was drawn lies on the canvas: draw inside, or skip the photo")
        # kept at once and in order: the newest alone would not do
        self._keep(row, drawing)
        self._undone = drawing["undone"]
        if kind == "record":
            kept = {"type": "kept", "seq": message["seq"], "strokes": len(drawing["drawing"])}
            return "kept", lambda: kept
        self._finish(row, drawing)
        return "task", lambda: self._task(leave=True)

    def close(self) -> None:
        """The person has gone; what is unfinished stays for the next one."""
        with self._lock:
            self._gone = True
            self._leave()

    def _leave(self) -> None:
        if self._row is not None:
            self._all.release(self._row)
            self._row = None

    def _task(self, leave: bool = False, wanted: Any = None) -> dict[str, Any]:
        with self._lock:
            if leave:
                self._leave()
            if self._row is None and not self._gone:
                self._row = self._all.claim(self._skipped, wanted)
        progress = {"done": self._all.done(), "total": self._all.total()}
        if self._row is None:
            return {"type": "finished", **progress}
        begun = _read(self._all.partial(self._row))
        begun = {name: begun.get(name, []) for name in ("strokes", "undone", "redone")}
        try:
            _drawing(begun, [])
        except SketchlessError:  # a damaged file is begun anew, as one that is no JSON
            begun = {name: [] for name in begun}
        self._undone = [{"stroke": np.array(u["rows"]).T.tolist(), "at": u["at"]} for u in begun["undone"]]
        task = {"type": "task", "photo": self._row, "name": self._all.names[self._row], "seconds": self._all.seconds}
        return {**task, **progress, **begun}

    def _keep(self, row: int, drawing: dict[str, Any]) -> None:
        strokes = [np.array(axes).T.tolist() for axes in drawing["drawing"]]
        undone = [{"rows": np.array(u["stroke"]).T.tolist(), "at": u["at"]} for u in drawing["undone"]]
        write_json(self._all.partial(row), {"strokes": strokes, "undone": undone, "redone": drawing["redone"]})

    def _finish(self, row: int, drawing: dict[str, Any]) -> None:
        number = len(self._all.files(row)) + 1
        record = {
            "word": Path(self._all.names[row]).parent.name or "photo",
            "key_id": str(number),
            "photo": self._all.names[row],
            "canvas": [CANVAS, CANVAS],
            "recorded": datetime.fromtimestamp(time.time(), timezone.utc).isoformat(timespec="seconds"),
            "seconds_shown": self._all.seconds,
            **drawing,
        }
        with replacing(self._all.file(row, number)) as temporary:
            temporary.write_text(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        self._all.partial(row).unlink(missing_ok=True)


def _drawing(message: Mapping[str, Any], before: list[dict[str, Any]]) -> dict[str, Any]:
    """Strokes [[x ..], [y ..], [t ..]], those undone and when, and when the last of those was put back.

    Of the undone strokes the first `past` are those of `before`, so that a message holds only what is new.
    """
    strokes, undone, redone = message.get("strokes"), message.get("undone", []), message.get("redone", [])
    if not (isinstance(strokes, list) and isinstance(undone, list) and isinstance(redone, list)):
        raise FormatError("a drawing needs its lists of strokes; reload the page")
    past = whole({"past": 0, **message}, "past", 0, MAX_UNDONE)
    if past > len(before):
        raise OutOfStep(f"undone stroke {past} is unknown here; the page sends all again")
    if len(strokes) > MAX_STROKES:
        raise ResourceError(f"more than {MAX_STROKES} strokes: finish the drawing")
    ink = [stroke_of(rows) for rows in strokes]
    if sum(len(stroke.rows) for stroke in ink) > MAX_POINTS:
        raise ResourceError(f"more than {MAX_POINTS:,} points: finish the drawing")
    gone = before[:past]
    if max(past + len(undone), len(redone)) > MAX_UNDONE:
        raise ResourceError(f"more than {MAX_UNDONE} strokes were taken back: finish the drawing")
    for entry in undone:
        if not isinstance(entry, dict):
            raise FormatError("an undone stroke is an object of rows and at; reload the page")
        gone.append({"stroke": _axes(stroke_of(entry.get("rows"))), "at": whole(entry, "at", 0, MAX_NUMBER)})
    if sum(len(entry["stroke"][0]) for entry in gone) > MAX_UNDONE_POINTS:
        raise ResourceError(f"more than {MAX_UNDONE_POINTS:,} points were taken back: finish the drawing")
    times = [whole({"redone": time}, "redone", 0, MAX_NUMBER) for time in redone]
    return {"drawing": [_axes(stroke) for stroke in ink], "undone": gone, "redone": times}


def _axes(stroke: InkStroke) -> list[list[float]]:
    axes: list[list[float]] = np.round(stroke.rows, 3).T.tolist()
    return axes


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _lock(out: Path) -> IO[str]:
    try:
        (out / ".unfinished").mkdir(parents=True, exist_ok=True)
        lock = open(out / ".unfinished" / "lock", "w")  # noqa: SIM115 (held while drawings are collected)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror}); choose another --out") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(f"{out}: another server collects there; choose another --out") from error
    except OSError as error:
        raise ResourceError(f"{out}: this file system has no locks ({error.strerror}); use another") from error
    return lock
