"""A read-only installation without a home that can be written still works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from sketchless.datasets.compiled import compiled
from sketchless.datasets.raster import birth_map
from sketchless.datasets.sketch import Sketch

ROOT = Path(__file__).parents[2]
ROWS = [[10.0, 20, 0], [200, 90, 0], [40, 240, 1]]
PROGRAM = f"""
import numba, sys
import sketchless.datasets.procedural.chairs.view, sketchless.datasets.procedural.objects.photo
import sketchless.envs.kernels.cpu
from sketchless.datasets.compiled import compiled
from sketchless.datasets.raster import birth_map
from sketchless.datasets.sketch import Sketch

try:
    numba.njit(cache=True)(birth_map)
except RuntimeError:
    pass
else:
    sys.exit("the cache can be written after all")
sys.stdout.buffer.write(birth_map(Sketch.from_rows({ROWS}), [1, 3], size=256).tobytes())
"""


def test_without_a_place_for_the_cache_each_process_compiles_again(tmp_path: Path) -> None:
    for room in ("datasets", "encoders", "envs"):  # stands for a folder without write permission, which root has
        target = tmp_path / "sketchless" / room
        shutil.copytree(ROOT / room, target, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
        for folder in [target, *(path for path in target.rglob("*") if path.is_dir())]:
            (folder / "__pycache__").write_text("")
    nowhere = tmp_path / "file"
    nowhere.write_text("")
    env = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")}
    env |= {
        **{"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1", "HOME": str(nowhere), "XDG_CACHE_HOME": str(nowhere)},
        **{"NUMBA_CACHE_DIR": str(nowhere)},
    }
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    here = birth_map(Sketch.from_rows(ROWS), [1, 3], size=256)
    assert np.array_equal(np.frombuffer(done.stdout, dtype=np.uint8).reshape(256, 256), here)


def test_a_full_disk_stops_no_first_call(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"  # every write to a file fails
    call = f"birth_map(Sketch.from_rows({ROWS}), [1, 3], size=256).tobytes()"
    names = "from sketchless.datasets.raster import birth_map\nfrom sketchless.datasets.sketch import Sketch"
    program = f"import sys\n{names}\n{limit}\nsys.stdout.buffer.write({call})"
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert not list((tmp_path / "cache").rglob("*.nbi"))
    here = birth_map(Sketch.from_rows(ROWS), [1, 3], size=256)
    assert np.array_equal(np.frombuffer(done.stdout, dtype=np.uint8).reshape(256, 256), here)


def test_a_damaged_cache_is_made_anew_and_numba_may_be_off(tmp_path: Path) -> None:
    call = f"print(birth_map(Sketch.from_rows({ROWS}), [1, 3], size=256).sum())"
    names = "from sketchless.datasets.raster import birth_map\nfrom sketchless.datasets.sketch import Sketch"

    def run(**settings: str) -> bytes:
        env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), **settings}
        return subprocess.run([sys.executable, "-c", f"{names}\n{call}"], env=env, stdout=-1, check=True).stdout

    here = run()
    (index,) = tmp_path.rglob("*.nbi")
    index.write_bytes(b"")  # as a crash of the machine may leave it
    assert run() == here
    (code,) = (path for path in tmp_path.rglob("*.nbc") if path.stat().st_size)
    code.write_bytes(code.read_bytes()[:20])
    assert run() == here
    assert code.stat().st_size > 20
    assert run(NUMBA_DISABLE_JIT="1") == here


def test_elsewhere_machine_code_is_kept() -> None:
    assert compiled(_twice)(21) == 42
    assert compiled(_twice).stats.cache_path  # type: ignore[attr-defined]


def _twice(number):  # type: ignore[no-untyped-def]
    return 2 * number
