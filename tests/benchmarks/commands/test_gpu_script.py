"""The script for a GPU that is lent for minutes: it must run the first time."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from sketchless.benchmarks.commands.bench import run
from sketchless.benchmarks.speed.measure import BenchConfig

from ...device_double import device_double

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "gpu.sh"
PARTS = ("kernels", "env", "training", "seeds")


@pytest.mark.slow
def test_every_part_runs_and_leaves_its_results(tmp_path: Path) -> None:
    command = ["sh", str(SCRIPT), str(tmp_path), "cpu", "--quick"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=SCRIPT.parents[1])
    assert done.returncode == 0, done.stdout + done.stderr
    for part in PARTS:
        assert json.loads((tmp_path / part / "results.json").read_text())["seconds"] > 0


def test_kernels_run_on_the_stand_in(tmp_path: Path) -> None:
    """Nothing mixes devices, nor asks numpy for what is on the device."""
    config = BenchConfig("kernels", quick=True, galleries=(30,), batches=(2,), device="cuda", out=str(tmp_path / "run"))
    with device_double():
        found = run(config, Console(quiet=True))
    assert found["config"]["device"] == "cuda"
