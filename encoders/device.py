"""Choosing the device, never silently another one than asked for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from sketchless.datasets.errors import ConfigError

# A fork keeps one thread. PyTorch's OpenMP pool would wait for the others for ever, in an AsyncVectorEnv's
# worker for one, so a forked child computes in its own thread, as PyTorch's data loader does.
_FORKED: list[bool] = []


def _after_fork() -> None:
    torch.set_num_threads(1)
    _FORKED.append(True)


os.register_at_fork(after_in_child=_after_fork)


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """`"auto"`: the GPU when there is one, else the CPU; anything else is taken at its word.

    A forked process, such as a worker of `AsyncVectorEnv`, cannot use CUDA once its parent has: there it is the CPU.

    Raises:
        ConfigError: not a device, or a CUDA device that this machine lacks.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() and not _FORKED else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"device {device!r} does not exist: use auto, cpu or cuda") from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {str(chosen)!r} asked for, but this machine has {torch.cuda.device_count()} GPUs")
    if chosen.type not in ("cpu", "cuda"):
        raise ConfigError(f"device {str(chosen)!r} is not supported: use auto, cpu or cuda")
    return chosen


def busy(device: torch.device) -> str | None:
    """A line on threads that would wait for each other, where others keep this machine's processors busy."""
    threads = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0]
    if device.type != "cpu" or threads == 1 or load + threads <= cores + 0.5:
        return None
    return (
        f"this machine is busy (load {load:.1f}, {cores} cores): {threads} threads wait for each other and can take "
        "ten times as long as one; start the command with OMP_NUM_THREADS=1 before it"
    )


@contextlib.contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Inside, whether float32 products and convolutions on a GPU may round to TF32; then as before."""
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolution.allow_tf32
    matmul.allow_tf32 = convolution.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32, convolution.allow_tf32 = before
