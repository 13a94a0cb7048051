"""Training on several processes: each takes its share of a batch, all see the loss of the whole batch.

A metric-learning loss compares every sketch with every photo of the batch, so halves of a batch on two
processes are another loss than the batch. `gather` puts the embeddings of all processes together, with their
gradients; the loss over them is the same number on every process, and DDP's mean over the processes of the
gradients is the gradient of that loss.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx

from sketchless.datasets.errors import ConfigError


def gather(part: Tensor) -> Tensor:
    """Rows of all processes, in the order of their ranks: [B, ...] of each to [W B, ...]; alone: as it is."""
    if world() == 1:
        return part
    whole: Tensor = _Gather.apply(part)  # type: ignore[no-untyped-call]
    return whole


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, part: Tensor) -> Tensor:
        parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(world())]
        dist.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        # Every process has a loss of its own over the whole: a part's gradient is the sum over their losses.
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total.chunk(world())[rank()]


def world() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process among them, from 0."""
    return dist.get_rank() if world() > 1 else 0


def anyone(says: bool) -> bool:
    """Whether it is true on any of the processes."""
    if world() == 1:
        return says
    heard: list[bool] = [False] * world()
    dist.all_gather_object(heard, says)
    return any(heard)


@contextlib.contextmanager
def torchrun() -> Iterator[torch.device | None]:
    """Inside: in touch with the other processes that `torchrun` has started, if it has.

    Yields:
        The device of this process under `torchrun`: a GPU of its own where there are any, else the CPU.
        None without `torchrun`.

    Raises:
        ConfigError: its variables are set, but do not lead to the other processes.
    """
    # All of them: some schedulers, and shells that a run was started from, leave a rank behind.
    if not {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        yield None
        return
    if dist.is_initialized():
        yield None
        return
    gpu = torch.cuda.is_available()
    local = os.environ["LOCAL_RANK"]
    if not local.isdecimal():
        raise ConfigError(f"LOCAL_RANK={local!r} is no number; unset it to run without torchrun")
    device = torch.device("cuda", int(local)) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if gpu else "gloo")
    except (RuntimeError, ValueError) as error:  # no such address, or ranks that are no numbers
        fault = f"cannot meet the other processes of torchrun ({' '.join(str(error).split())[:150]})"
        raise ConfigError(f"{fault}; unset RANK, LOCAL_RANK and WORLD_SIZE to run alone") from error
    try:
        yield device
    finally:
        dist.destroy_process_group()
