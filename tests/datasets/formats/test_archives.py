"""Archives are unpacked whole and safely, or refused. Ids are rows of the bad-input catalogue."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from sketchless.datasets import load_dataset, unpack
from sketchless.datasets.errors import (
    ConfigError,
    DataError,
    FormatError,
    ResourceError,
    SketchlessError,
    UnsafeFileError,
)
from sketchless.datasets.formats import archives

Make = Callable[..., Path]
Entry = tuple[str, bytes]
FINE: list[Entry] = [("png/cow/1.png", b"one"), ("png/cow/2.png", b"two"), ("./png/zebra/3.png", b"three")]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """An archive of these entries, of the kind its name says; `of` changes the header of each."""

    def make(name: str, entries: Sequence[Entry], of: Callable[[Any], Any] = lambda info: info) -> Path:
        path = tmp_path / name
        if name.endswith(".zip"):
            with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
                warnings.simplefilter("ignore")  # of names that are there twice
                for member, content in entries:
                    info = zipfile.ZipInfo("placeholder")
                    info.filename = member
                    info.compress_type = zipfile.ZIP_DEFLATED
                    packed.writestr(of(info), content)
        else:
            with tarfile.open(path, f"w:{'' if name.endswith('.tar') else name.rpartition('.')[2]}") as tape:  # type: ignore[call-overload]
                for member, content in entries:
                    info = tarfile.TarInfo(member)
                    info.size = len(content)
                    tape.addfile(of(info), io.BytesIO(content))
        return path

    return make


def untouched(folder: Path, *known: Path) -> bool:
    """Whether there is nothing in a folder but what was known."""
    return sorted(folder.iterdir()) == sorted(known)


KINDS = ["x.zip", "x.tar", "x.tar.gz", "x.tar.bz2", "x.tar.xz"]


@pytest.mark.parametrize("name", KINDS)
def test_unpack(name: str, make: Make, tmp_path: Path) -> None:
    path = make(name, FINE)
    assert unpack(path, tmp_path / "new" / "set") == 3
    found = {str(p.relative_to(tmp_path / "new/set")): p.read_bytes() for p in (tmp_path / "new").rglob("*.png")}
    assert found == {"png/cow/1.png": b"one", "png/cow/2.png": b"two", "png/zebra/3.png": b"three"}
    assert os.listdir(tmp_path / "new") == ["set"]


def test_folders_of_an_archive_are_no_files(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tape:
        for member in (".", "./png"):
            info = tarfile.TarInfo(member)
            info.type = tarfile.DIRTYPE
            tape.addfile(info)
        tape.addfile(tarfile.TarInfo("./png/1.png"))
    assert unpack(tmp_path / "x.tar", tmp_path / "one") == 1
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("png/", "")
        packed.writestr("png/1.png", "")
    assert unpack(tmp_path / "x.zip", tmp_path / "two") == 1


@pytest.mark.parametrize("kind", ["x.zip", "x.tar", "x.tar.gz"])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("../../x", id="76-82-dots"),
        pytest.param("a/../../x", id="76-82-dots-within"),
        pytest.param("a/..", id="76-82-dots-at-the-end"),
        pytest.param("/etc/x", id="77-absolute"),
        pytest.param("//x", id="77-absolute-twice"),
        pytest.param("C:/x", id="77-drive"),
        pytest.param("..\\x", id="78-backslash"),
        pytest.param("a\\..\\..\\x", id="78-backslash-within"),
        pytest.param("a\nb", id="line-break"),
    ],
)
def test_76_to_78_82_members_outside(kind: str, name: str, make: Make, tmp_path: Path, refuses: Any) -> None:
    path = make(kind, [*FINE, (name, b"harm")])
    with refuses(UnsafeFileError, rf"{kind}: member .* leads out of the folder"):
        unpack(path, tmp_path / "set")
    assert untouched(tmp_path, path)
    with refuses(UnsafeFileError, "leads out of the folder"):
        load_dataset(str(path))


def as_zip_link(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def as_tar(kind: bytes) -> Callable[[tarfile.TarInfo], tarfile.TarInfo]:
    def change(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.type, info.linkname, info.size = kind, "/etc/passwd", 0
        return info

    return change


@pytest.mark.parametrize(
    ("name", "of"),
    [
        pytest.param("x.zip", as_zip_link, id="79-zip-symlink"),
        pytest.param("x.tar", as_tar(tarfile.SYMTYPE), id="79-tar-symlink"),
        pytest.param("x.tar", as_tar(tarfile.LNKTYPE), id="79-tar-hard-link"),
        pytest.param("x.tar", as_tar(tarfile.CHRTYPE), id="79-tar-device"),
        pytest.param("x.tar", as_tar(tarfile.FIFOTYPE), id="79-tar-fifo"),
    ],
)
def test_79_links_and_devices(name: str, of: Any, make: Make, tmp_path: Path, refuses: Any) -> None:
    path = make(name, [("png/1.png", b"/etc/passwd")], of)
    with refuses(UnsafeFileError, rf"{name}: member 'png/1.png' is a link or a device"):
        unpack(path, tmp_path / "set")
    assert untouched(tmp_path, path)


@pytest.mark.parametrize("kind", ["x.zip", "x.tar"])
@pytest.mark.parametrize("twin", ["png/cow/1.png", "png/COW/1.PNG", "./png//cow/1.png"])
def test_80_one_name_twice(kind: str, twin: str, make: Make, tmp_path: Path, refuses: Any) -> None:
    path = make(kind, [*FINE, (twin, b"other")])
    with refuses(UnsafeFileError, "is there twice"):
        unpack(path, tmp_path / "set")
    assert untouched(tmp_path, path)


def test_81_encrypted(make: Make, tmp_path: Path, refuses: Any) -> None:
    path = make("x.zip", FINE[:1])
    content = bytearray(path.read_bytes())
    content[6] |= 1  # general purpose flag of the local header and of the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with refuses(UnsafeFileError, "'png/cow/1.png' is encrypted"):
        unpack(path, tmp_path / "set")


@pytest.mark.parametrize("kind", ["x.zip", "x.tar.gz", "x.tar.xz"])
def test_83_bomb(kind: str, make: Make, tmp_path: Path, refuses: Any) -> None:
    path = make(kind, [("a.png", bytes(25_000_000))])
    assert path.stat().st_size < 100_000
    with refuses(UnsafeFileError, "unpacks to over 200 times its size, at 'a.png'"):
        unpack(path, tmp_path / "set")
    assert untouched(tmp_path, path)


@pytest.mark.parametrize("limit", ["MAX_MEMBERS", "MAX_MEMBER", "MAX_TOTAL"])
@pytest.mark.parametrize("kind", ["x.zip", "x.tar"])
def test_83_limits(
    limit: str, kind: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: Any
) -> None:
    path = make(kind, FINE)
    most = {"MAX_MEMBERS": 3, "MAX_MEMBER": 5, "MAX_TOTAL": 11}[limit]
    monkeypatch.setattr(archives, limit, most)
    assert unpack(path, tmp_path / "whole") == 3
    monkeypatch.setattr(archives, limit, most - 1)
    with refuses(UnsafeFileError, "unpack it by hand if you trust it"):
        unpack(path, tmp_path / "set")


def test_83_a_size_that_is_a_lie(make: Make, tmp_path: Path, refuses: Any) -> None:
    """A member said to be of 3 bytes that goes on for 20 MB gives no more than 3, and its checksum tells."""
    path = make("x.zip", [("a.png", bytes(20_000_000))])
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = (3).to_bytes(4, "little")
    path.write_bytes(content)
    with refuses(FormatError, "damaged"):
        unpack(path, tmp_path / "set")
    assert untouched(tmp_path, path)


def test_83_an_archive_in_an_archive_stays_packed(make: Make, tmp_path: Path) -> None:
    inner = make("inner.zip", [("a.png", bytes(1000))]).read_bytes()
    assert unpack(make("x.zip", [("inner.zip", inner)]), tmp_path / "set") == 1
    assert (tmp_path / "set/inner.zip").read_bytes() == inner


@pytest.mark.parametrize("kind", KINDS)
def test_damaged(kind: str, make: Make, tmp_path: Path, refuses: Any) -> None:
    path = make(kind, [(f"{i}.png", os.urandom(3000)) for i in range(5)])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with refuses(FormatError, rf"{kind}: .*get it again"):
        unpack(path, tmp_path / "set")
    assert untouched(tmp_path, path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_byte_anywhere(kind: str, make: Make, tmp_path: Path) -> None:
    whole = make(kind, [(f"{i}.txt", b"all the same %d" % i * 50) for i in range(5)]).read_bytes()
    for trial in range(40):
        damaged = bytearray(whole)
        damaged[trial * 7919 % len(whole)] ^= 1 << trial % 8
        (tmp_path / kind).write_bytes(damaged)
        try:
            assert unpack(tmp_path / kind, tmp_path / f"set{trial}") <= 5
        except SketchlessError as error:
            message = str(error)
            assert "\n" not in message and kind in message  # noqa: PT018
            assert not (tmp_path / f"set{trial}").exists()
    assert not list(tmp_path.glob("*.tmp-*"))


def test_a_member_that_is_a_file_and_a_folder(make: Make, tmp_path: Path, refuses: Any) -> None:
    path = make("x.zip", [("a", b"file"), ("a/b", b"in it")])
    with refuses(ResourceError, "cannot be written"):
        unpack(path, tmp_path / "set")
    assert untouched(tmp_path, path)


def test_an_existing_folder_is_left_alone(make: Make, tmp_path: Path, refuses: Any) -> None:
    (tmp_path / "set").mkdir()
    with refuses(ConfigError, "is there already"):
        unpack(make("x.zip", FINE), tmp_path / "set")
    with refuses(DataError, "cannot be read"):
        unpack(tmp_path / "none.zip", tmp_path / "new")
    with refuses(FormatError, "no whole zip or tar"):
        (tmp_path / "x.7z").write_bytes(b"7z\xbc\xaf\x27\x1c")
        unpack(tmp_path / "x.7z", tmp_path / "new")


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_in_place_of_a_folder(kind: str, make: Make, refuses: Any) -> None:
    with refuses(DataError, rf"{kind}: is an archive; unpack it, such as by sketchless.datasets.unpack\("):
        load_dataset(str(make(kind, FINE)))


def test_a_file_in_place_of_a_folder(tmp_path: Path, refuses: Any) -> None:
    (tmp_path / "x.7z").write_bytes(b"7z\xbc\xaf\x27\x1c")
    with refuses(DataError, "is a file; give the folder"):
        load_dataset(str(tmp_path / "x.7z"))
