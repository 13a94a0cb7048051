"""Zip and tar archives of data sets, unpacked without trust: all members are checked before any is written."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from lzma import LZMAError
from pathlib import Path
from typing import IO, NamedTuple

from ..errors import ConfigError, DataError, FormatError, ResourceError, SketchlessError, UnsafeFileError

MAX_MEMBERS = 2_000_000
MAX_MEMBER = 2 << 30  # bytes
MAX_TOTAL = 100 << 30  # bytes
MAX_RATIO = 200  # unpacked to packed; pictures reach 2, line drawings in text 20
FREE = 10 << 20  # bytes for which no ratio is asked

# What zipfile, tarfile and their decompressors raise for a damaged archive.
_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, LZMAError),
    *(RuntimeError, ValueError, struct.error),
)


class Member(NamedTuple):
    """A file of an archive."""

    name: str
    size: int
    open: Callable[[], IO[bytes] | None]


def unpack(archive: str | os.PathLike[str], folder: str | os.PathLike[str]) -> int:
    """Unpack a zip or tar archive into a folder that does not exist yet. Archives within it stay packed.

    Args:
        archive: `.zip`, or `.tar`, plain or packed by gzip, bzip2 or xz.
        folder: made whole or not at all.

    Returns:
        How many files were written.

    Raises:
        DataError: the archive cannot be opened.
        FormatError: no such archive, or a damaged one.
        UnsafeFileError: a member outside of the folder, a link or a device, one name twice, encrypted; over 2 GB,
            100 GB in all, 2,000,000 members or 200 times the size of the archive.
        ConfigError: the folder exists, or cannot be written.
        ResourceError: no room.
    """
    target = Path(folder)
    if target.exists():
        raise ConfigError(f"{target}: is there already; name a new folder")
    with _opened(Path(archive)) as members:
        checked = _check(Path(archive), members)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=f"{target.name[:100]}.tmp-"))
        except OSError as error:
            raise ConfigError(f"{target}: cannot be written ({error.strerror}); choose another folder") from error
        try:
            for member in checked:
                _write(member, staging / member.name)
            staging.chmod(0o755)
            os.replace(staging, target)
        except _DAMAGE as error:
            raise FormatError(f"{archive}: damaged ({_reason(error)}); get it again") from error
        except OSError as error:
            raise ResourceError(f"{target}: cannot be written ({error.strerror}); is there room?") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return len(checked)


def refuse(archive: Path) -> SketchlessError:
    """What is wrong with an archive in place of a folder: itself, if it is unsafe, or that it is packed."""
    with contextlib.suppress(FormatError), _opened(archive) as members:
        try:
            _check(archive, members)
        except UnsafeFileError as error:
            return error
        made = f"sketchless.datasets.unpack({str(archive)!r}, <folder>)"
        return DataError(f"{archive}: is an archive; unpack it, such as by {made}, and give the folder")
    return DataError(f"{archive}: is a file; give the folder of a data set (unpack an archive first)")


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[Iterator[Member]]:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                yield _zip_members(archive, packed)
        else:
            with tarfile.open(archive, "r:*") as tape:
                yield _tar_members(archive, tape)
    except _DAMAGE as error:
        raise FormatError(f"{archive}: no whole zip or tar archive ({_reason(error)}); get it again") from error
    except OSError as error:
        if error.errno is None:  # bzip2's way to say that its data are damaged
            raise FormatError(f"{archive}: damaged ({_reason(error)}); get it again") from error
        raise DataError(f"{archive}: cannot be read ({error.strerror}); check the path") from error


def _zip_members(archive: Path, packed: zipfile.ZipFile) -> Iterator[Member]:
    for info in packed.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise UnsafeFileError(f"{archive}: member {info.filename[:80]!r} is a link or a device; repack without it")
        if info.flag_bits & 1:
            raise UnsafeFileError(
                f"{archive}: member {info.filename[:80]!r} is encrypted; repack it without a password"
            )
        # `filename` ends at a NUL and has its backslashes turned: judge what the archive says.
        if info.is_dir():
            _safe(archive, info.orig_filename)
        else:
            yield Member(info.orig_filename, info.file_size, lambda info=info: packed.open(info))  # type: ignore[misc]


def _tar_members(archive: Path, tape: tarfile.TarFile) -> Iterator[Member]:
    for info in tape:
        if not (info.isreg() or info.isdir()):
            raise UnsafeFileError(f"{archive}: member {info.name[:80]!r} is a link or a device; repack without it")
        if info.isdir():
            _safe(archive, info.name)
        else:
            yield Member(info.name, info.size, lambda info=info: tape.extractfile(info))  # type: ignore[misc]


def _check(archive: Path, members: Iterator[Member]) -> list[Member]:
    """All members, if none of them does harm."""
    packed = archive.stat().st_size
    checked: list[Member] = []
    names: set[str] = set()
    total = 0
    for member in members:
        name = _safe(archive, member.name)
        if name.casefold() in names:
            raise UnsafeFileError(f"{archive}: member {name[:80]!r} is there twice; repack it once")
        names.add(name.casefold())
        total += member.size
        if member.size > MAX_MEMBER or total > MAX_TOTAL or len(names) > MAX_MEMBERS:
            raise UnsafeFileError(
                f"{archive}: over {MAX_MEMBERS:,} members, {MAX_MEMBER >> 30} GB in one of them or "
                f"{MAX_TOTAL >> 30} GB in all, at {name[:80]!r}; unpack it by hand if you trust it"
            )
        if total > max(FREE, MAX_RATIO * packed):
            raise UnsafeFileError(
                f"{archive}: unpacks to over {MAX_RATIO} times its size, at {name[:80]!r}; unpack it by hand if you "
                f"trust it"
            )
        checked.append(member._replace(name=name))
    return checked


def _safe(archive: Path, name: str) -> str:
    """A member's name below the folder, without `.` parts."""
    parts = name.split("/")
    wrong = name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0] or not name.isprintable()
    kept = [part for part in parts if part not in ("", ".")]
    if wrong or (not kept and "." not in parts):
        raise UnsafeFileError(f"{archive}: member {name[:80]!r} leads out of the folder; repack without it")
    return "/".join(kept)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:80] or type(error).__name__


def _write(member: Member, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        source = member.open()
    except OSError as error:  # a place beyond the end of the archive
        raise EOFError(f"no content where {member.name[:80]!r} should lie") from error
    if source is None:
        raise EOFError(f"member {member.name[:80]!r} has no content")
    with source, open(path, "xb") as written:
        shutil.copyfileobj(source, written, 1 << 20)
