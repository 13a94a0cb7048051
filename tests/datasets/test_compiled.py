"""Machine code is kept away from the installation, and is done without where it cannot be kept."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import numpy.typing as npt
import pytest

from sketchless.datasets.compiled import compiled
from sketchless.datasets.raster import birth_map
from sketchless.datasets.sketch import Sketch

ROWS = [[10.0, 20, 0], [200, 90, 0], [40, 240, 1]]
PROGRAM = f"""
import sys
from sketchless.datasets.compiled import compiled
from sketchless.datasets.raster import birth_map
from sketchless.datasets.sketch import Sketch
{{first}}
sys.stdout.buffer.write(birth_map(Sketch.from_rows({ROWS}), [1, 3], size=256).tobytes())
"""


def here() -> npt.NDArray[np.uint8]:
    return birth_map(Sketch.from_rows(ROWS), [1, 3], size=256)


def elsewhere(first: str, env: dict[str, str]) -> npt.NDArray[np.uint8]:
    """What a fresh process finds."""
    command = [sys.executable, "-c", PROGRAM.format(first=first)]
    done = subprocess.run(command, env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return np.frombuffer(done.stdout, dtype=np.uint8).reshape(256, 256)


def _twice(number):  # type: ignore[no-untyped-def]
    return 2 * number


@compiled
def _next(number):  # type: ignore[no-untyped-def]
    return number + 1


@compiled
def _after_next(number):  # type: ignore[no-untyped-def]
    return _next(_next(number))


def _twice_after_next(number):  # type: ignore[no-untyped-def]
    return 2 * _after_next(number)


def test_without_a_place_for_the_cache_each_process_compiles_again(tmp_path: Path) -> None:
    nowhere = tmp_path / "file"  # stands for a folder without write permission, which root has
    nowhere.write_text("")
    env = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")}
    env |= {"HOME": str(nowhere), "XDG_CACHE_HOME": str(nowhere), "NUMBA_CACHE_DIR": str(nowhere)}
    found = elsewhere("assert compiled(birth_map).machine_code.stats.cache_path is None", env)
    assert np.array_equal(found, here())


def test_a_full_disk_stops_no_first_call(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"  # every write to a file fails
    found = elsewhere(limit, os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")})
    assert not list((tmp_path / "cache").rglob("*.nbi"))
    assert np.array_equal(found, here())


def test_a_damaged_cache_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    hits = []

    def calls() -> None:
        function = compiled(_twice)
        assert function(21) == 42
        hits.append(function.machine_code.stats.cache_hits.total())

    calls()
    (index,) = tmp_path.rglob("*.nbi")
    index.write_bytes(b"")  # as a crash of the machine may leave it
    calls()
    (code,) = (path for path in tmp_path.rglob("*.nbc") if path.stat().st_size)
    code.write_bytes(code.read_bytes()[:20])
    calls()
    assert code.stat().st_size > 20
    calls()
    assert hits == [0, 0, 0, 1]


def test_numba_may_be_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert compiled(_twice).machine_code is _twice


def test_nothing_is_kept_beside_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would outlive the package: `pip uninstall` leaves what it did not install."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    function = compiled(_twice)
    assert function(21) == 42
    (index,) = tmp_path.rglob("*.nbi")
    assert index.parent == Path(function.machine_code.stats.cache_path)


def test_one_calls_another_and_both_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    hits = []
    for _ in range(2):
        function = compiled(_twice_after_next)
        assert function(19) == 42  # 2 * (19 + 1 + 1)
        hits.append(function.machine_code.stats.cache_hits.total())
    assert hits == [0, 1]


def test_it_is_pickled_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(_next)) is copy.deepcopy(_next) is _next
