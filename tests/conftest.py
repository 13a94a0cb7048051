"""Fixtures that several rooms share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]


@pytest.fixture(scope="session")
def chair_v2() -> Path:
    """Folder of the real Chair-V2, which is not part of the project. For tests marked `data`."""
    home = os.environ.get("SKETCHLESS_DATA") or Path(__file__).parents[2] / "shared" / "data"
    folder = Path(home) / "qmul-chair-v2"
    if not folder.is_dir():
        pytest.skip(f"no Chair-V2 at {folder}: set SKETCHLESS_DATA to the folder that holds qmul-chair-v2")
    return folder


@contextmanager
def _refuses(kind: type[Exception], match: str) -> Iterator[None]:
    with pytest.raises(kind, match=match) as caught:
        yield
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="session")
def refuses() -> Refuses:
    """Context manager: the block must raise exactly this error, in one line that matches."""
    return _refuses
