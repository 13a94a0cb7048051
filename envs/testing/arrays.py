"""Arrays and tensors within whatever an environment or an agent gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]


def leaves_of(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Arrays, tensors and numbers in dicts, sequences and arrays of objects, and where they stand."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.tolist()
    if isinstance(value, (dict, list, tuple)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves_of(part, f"{name}[{key!r}]")
    elif isinstance(value, (np.ndarray, Tensor, np.generic, int, float)):
        yield name, value


def as_array(leaf: Any) -> Array:
    """A copy."""
    return leaf.detach().cpu().numpy().copy() if isinstance(leaf, Tensor) else np.array(leaf)


def arrays_of(value: Any) -> list[Array]:
    return [as_array(leaf) for _, leaf in leaves_of(value)]


def all_equal(a: Any, b: Any) -> bool:
    ours, theirs = arrays_of(a), arrays_of(b)
    return len(ours) == len(theirs) and all(map(_same, ours, theirs))


def _same(a: Array, b: Array) -> bool:
    """Equal, where NaN is as good as NaN."""
    return np.array_equal(a, b, equal_nan=a.dtype.kind in "fc" and b.dtype.kind in "fc")


def share_memory(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor) and not a.is_cpu:
        return a.numel() > 0 and a.device == b.device and a.data_ptr() == b.data_ptr()
    views = [x.detach().numpy() if isinstance(x, Tensor) and x.is_cpu else x for x in (a, b)]
    return all(isinstance(x, np.ndarray) for x in views) and np.shares_memory(views[0], views[1])


def overwrite(value: Any) -> None:
    """Change every number in place."""
    for _, leaf in leaves_of(value):
        if isinstance(leaf, Tensor):
            leaf.logical_not_() if leaf.dtype == torch.bool else leaf.add_(1)
        elif isinstance(leaf, np.ndarray) and leaf.flags.writeable:
            np.logical_not(leaf, out=leaf) if leaf.dtype == bool else np.add(leaf, 1, out=leaf, casting="unsafe")
