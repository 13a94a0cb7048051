"""Data sets by name and folder, and options behind them: all that is wrong is one typed line."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sketchless.datasets.errors import ConfigError, DataError, SketchlessError
from sketchless.datasets.loading import identity, load_dataset

Build = Callable[..., Path]


@pytest.mark.parametrize(
    ("query", "match"),
    [
        ("seed=two", "seed='two': must be a whole number"),
        ("seed=-1", "seed=-1: must be a whole number"),
        ("seed=1.5", "seed='1.5': must be a whole number"),
        ("seed=true", "seed=True: must be a whole number"),
        ("seed=²", "seed='²': must be a whole number"),
        ("seed=٣", "seed='٣': must be a whole number"),
        ("seed=" + "9" * 5000, "seed='9999.*: must be a whole number"),
        ("seed=null", "seed=None: must be a whole number"),
        ("validation=", "validation='': must be a whole number"),
        ("invert=yes", "invert='yes': must be true or false"),
        ("invert=2", "invert=2: must be true or false"),
        ("invert=null", "invert=None: must be true or false"),
        ("unseen=true", "unseen=True: must be a list of names"),
        ("unseen=5", "unknown category '5'"),
        ("sketches=5", "unknown kind of sketches '5'"),
        ("sketches=false", "sketches=False: must be a name"),
        ("seed=1&seed=2", "option 'seed' stands 2 times; give it once"),
        ("seeed=1", "unknown option of data set 'sketchy': 'seeed': did you mean 'seed'"),
        ("return=1", "unknown option of data set 'sketchy': 'return'"),
        ("a&b", "are not <option>=<value>"),
    ],
)
def test_options_of_a_url(query: str, match: str, build_sketchy: Build, refuses: Any) -> None:
    with refuses(ConfigError, match):
        load_dataset(f"{build_sketchy(kinds=['png'])}?{query}")


@pytest.mark.parametrize(
    "options",
    [
        {"seed": "x"},
        {"seed": []},
        {"validation": 2.5},
        {"unseen": [1]},
        {"unseen": {"zebra"}},
        {"filelists": 3.5},
        {"allow_missing": "no"},
        {"validation_categories": None},
        {"sketches": ["png"]},
    ],
)
def test_options_of_python(options: dict[str, Any], build_sketchy: Build) -> None:
    with pytest.raises(SketchlessError, match=next(iter(options))):
        load_dataset(str(build_sketchy(kinds=["png"])), **options)


def test_names_that_look_like_numbers(build_tu_berlin: Build) -> None:
    root = build_tu_berlin()
    (root / "png/cow").rename(root / "png/5")
    assert set(load_dataset(f"{root}?unseen=5").split("test").sketch_categories) == {"5"}


@pytest.mark.parametrize("value", ["true", "1"])
def test_flags(value: str, build_sketchy: Build) -> None:
    assert load_dataset(f"{build_sketchy(kinds=['png'])}?keep_invalid={value}").spec["keep_invalid"] is True


def test_the_home_folder(build_sketchy: Build, monkeypatch: pytest.MonkeyPatch, refuses: Any) -> None:
    root = build_sketchy(kinds=["png"])
    monkeypatch.setenv("HOME", str(root.parent))
    data = load_dataset("~/sketchy?seed=3")
    assert data.spec["root"] == str(root)
    assert load_dataset("sketchy", root="~/sketchy").spec["root"] == str(root)
    assert load_dataset(**data.spec).split("test").photos == data.split("test").photos
    assert identity("~/sketchy") == identity(str(root)) == (os.path.realpath(root), {})
    with refuses(ConfigError, "its home folder is not known"):
        load_dataset("~nobody-of-that-name/sketchy")


def _tar() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tape:
        tape.addfile(tarfile.TarInfo("png"))
    return packed.getvalue()


def _zip() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("../x", b"")
    return packed.getvalue()


@pytest.mark.parametrize("content", [_zip(), _tar(), gzip.compress(_tar(), mtime=0)], ids=["zip", "tar", "gzip"])
def test_76_to_83_an_archive_is_not_opened(content: bytes, tmp_path: Path, refuses: Any) -> None:
    (tmp_path / "set").write_bytes(content)
    with refuses(DataError, "set: is an archive; unpack it and give the folder"):
        load_dataset(str(tmp_path / "set"))


def test_a_file_in_place_of_a_folder(tmp_path: Path, refuses: Any) -> None:
    (tmp_path / "set").write_text("cow")
    with refuses(DataError, "set: is a file; give the folder"):
        load_dataset(str(tmp_path / "set"))
    with refuses(ConfigError, "NUL"):
        load_dataset("./se\0t")
