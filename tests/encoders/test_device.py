"""Devices and threads."""

import subprocess
import sys

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
