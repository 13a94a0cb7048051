"""Devices and threads."""

import os
import subprocess
import sys

import pytest
import torch

from sketchless.encoders.device import busy

FORK = """
import os, torch
import sketchless.encoders
torch.set_num_threads(2)
torch.ones(1 << 20).clone()  # starts the pool of threads
child = os.fork()
if not child:
    torch.ones(1 << 20).clone()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_forked_child_computes() -> None:
    """It would wait for ever for the threads that a fork leaves behind."""
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=300)


@pytest.mark.parametrize(
    ("load", "threads", "told"),
    [(0.4, 2, False), (1.0, 2, True), (5.0, 1, False)],  # on two cores: 2.4, 3 and 6 that want to run
)
def test_threads_on_a_busy_machine_are_told(
    load: float, threads: int, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    line = busy(torch.device("cpu"))
    assert (line is not None and "OMP_NUM_THREADS=1" in line) == told
    assert busy(torch.device("cuda")) is None
