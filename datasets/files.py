"""Files that are either whole or not there: write to a temporary name, fsync, rename."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import ConfigError, ResourceError

_NO_ROOM = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it over `path` when the block ends well.

    A reader sees the old file or the new one, never a part. Whatever goes wrong, an existing file
    keeps its content and the temporary one is removed; that of a killed process by the next call for this path.

    Raises:
        ResourceError: the disk is full or a size limit was hit.
        ConfigError: the folder cannot be written, or `path` is a folder.
    """
    target = user_path(path)
    if target.is_dir():
        raise ConfigError(f"{target}: is a folder; name a file")
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        prefix = f"{target.name[:200]}.tmp-"
        _remove_abandoned(target.parent, prefix)
        with _locked_file(target.parent, prefix) as temporary:
            yield temporary
            with open(temporary, "rb+") as written:
                os.fsync(written.fileno())
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            os.replace(temporary, target)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise ResourceError(f"{target}: no room to write it ({error.strerror}); free some disk space") from error
        raise ConfigError(f"{target}: cannot be written ({error.strerror or error}); choose another path") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked_file(folder: Path, prefix: str) -> Iterator[Path]:
    """A new file, locked while this process lives: the lock tells a file that is being written from a dead one's."""
    while True:
        handle, name = tempfile.mkstemp(dir=folder, prefix=prefix)
        with open(handle, "rb"):
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            if os.path.exists(name):  # else another process took it for abandoned before the lock
                yield Path(name)
                return


def _remove_abandoned(folder: Path, prefix: str) -> None:
    for left in folder.glob(f"{glob.escape(prefix)}*"):
        with contextlib.suppress(OSError), open(left, "rb") as file:  # locked: another process writes it
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink(missing_ok=True)


def user_path(path: str | os.PathLike[str]) -> Path:
    """A path with `~` as the home folder. Raises ConfigError: no such user, or a name that no file can have."""
    if "\0" in os.fspath(path):
        raise ConfigError(f"{os.fspath(path)!r}: no file has NUL in its name; correct the path")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{os.fspath(path)}: its home folder is not known; write the path out") from error


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write `content` as readable JSON, all or nothing. NaN is refused (ValueError)."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256(data: bytes | str | os.PathLike[str]) -> str:
    """Hex SHA-256 of bytes, or of the file at a path."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with open(data, "rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else (hashlib.sha256(file.read()).hexdigest())
        )
