"""A stand-in for a CUDA device, on the CPU: what runs on it would run on a GPU, and every wait of the host is counted.

A `Double` is a tensor that says it is on `cuda:0` and computes on the CPU. Inside `device_double()` torch's factory
functions and moves understand the device, and

- an operation that mixes it with a CPU tensor of one dimension or more raises RuntimeError, as CUDA would;
- everything that makes the host wait for the device (`item`, `tolist`, `bool`, `nonzero`, a mask as an index, a copy to
  the host) is noted with the line of ours that asked for it.

The random numbers are those of the CPU, so results can be compared with the CPU's. Time and memory say nothing, and a
kernel written for CUDA alone is not run: the portable one is.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch

from .graph_double import as_it_is, call, patch_graphs, refuse_in_capture

CUDA = torch.device("cuda", 0)
ROOT = str(Path(__file__).resolve().parents[1])
_NO_FUNCTION = torch._C._disabled_torch_function_impl
_aten = torch.ops.aten

# What the host has to wait for. `index` and `index_put` wait where an index is a mask.
_WAITING = {_aten._local_scalar_dense, _aten.nonzero, _aten.masked_select, _aten.equal, _aten._unique2}
_MASKED = {_aten.index, _aten.index_put, _aten.index_put_, _aten._index_put_impl_}
# Tensors of which these only read a shape, or that are numbers of the host by contract.
_MIXING_ALLOWED = {_aten.copy_, _aten._to_copy}
_FACTORIES = {
    *(torch.zeros, torch.ones, torch.empty, torch.full, torch.arange, torch.linspace, torch.eye, torch.rand),
    *(torch.randn, torch.randint, torch.randperm, torch.tensor, torch.as_tensor, torch.empty_strided),
}


_MOVES = ("to", "cpu", "cuda", "pin_memory")


@dataclass
class Waits:
    """Where the host waited for the device, in order."""

    lines: list[str] = field(default_factory=list)
    paused: bool = False

    def note(self, why: str) -> None:
        if not self.paused:
            refuse_in_capture(why)
            stack = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_stack(None)]  # innermost first
            others = [place for place in stack if place[0] != __file__]
            near = [place for place in others if place[0].startswith(ROOT) or "/sketchless/" in place[0]]
            name, line = (near or others)[0]
            self.lines.append(f"{Path(name).name}:{line} {why}")

    def take(self) -> list[str]:
        """Those since the last time."""
        taken, self.lines = self.lines, []
        return taken


_waits = Waits()


class Double(Tensor):
    """A tensor on the device that stands in for CUDA."""

    inner: Tensor
    readable: bool  # by numpy, as a view that was asked for with `as_subclass`
    __torch_function__ = _NO_FUNCTION

    @staticmethod
    def __new__(cls, inner: Tensor) -> Double:
        made: Double = Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device="cpu",
        )
        made.inner = inner
        made.readable = False
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return CUDA

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    def as_subclass(self, cls: Any) -> Any:
        """A view that numpy may read, if `cls` is a class of such views; the class itself is not taken over."""
        view: Any = self.view(self.shape)
        view.readable = hasattr(cls, "__array_function__")
        return view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if not self.readable:
            raise TypeError("can't convert cuda:0 device type tensor to numpy; use Tensor.cpu() first")
        _waits.note("numpy")
        return np.array(self.inner.detach().numpy(), dtype=dtype)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return function(*_map(_array, args), **_map(_array, kwargs))

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"Double({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        packet = func.overloadpacket
        given: list[Tensor] = []

        def plain(leaf: Any) -> Any:
            if isinstance(leaf, Tensor):
                given.append(leaf)
            return _plain(leaf) if isinstance(leaf, Double) else as_it_is(leaf)

        plain_args, plain_kwargs = _map(plain, args), _map(plain, kwargs)
        strange = [leaf for leaf in given if not isinstance(leaf, Double) and leaf.dim() > 0 and leaf.numel() > 0]
        if strange and packet not in _MIXING_ALLOWED and not _is_optimizer(packet):
            where = f"cuda:0 and cpu, {list(strange[0].shape)} ({func})"
            raise RuntimeError(f"Expected all tensors to be on the same device, but found {where}")
        if packet in _WAITING:
            _waits.note(str(packet).removeprefix("aten."))
        if packet in _MASKED and any(at is not None and at.dtype in (torch.bool, torch.uint8) for at in args[1]):
            _waits.note("index by a mask")
        if "device" in plain_kwargs:
            plain_kwargs["device"] = torch.device("cpu")
        if packet is _aten.copy_ and not isinstance(args[1], Double):
            refuse_in_capture("copy from the host")
        if (
            packet is _aten._fused_adam_
            and isinstance(kwargs.get("lr"), Tensor)
            and kwargs["lr"].dtype != torch.float32
        ):
            raise RuntimeError(f"expected scalar type Float but found {kwargs['lr'].dtype}")
        found = call(func, plain_args, plain_kwargs)
        if torch.Tag.inplace_view in func.tags:  # what says the shape of the outer tensor has to follow
            with no_dispatch():
                func(*args, **kwargs)
        known = {id(leaf.inner): leaf for leaf in given if isinstance(leaf, Double)}  # changed in place

        def outer(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            if id(leaf) in known:
                return known[id(leaf)]
            made = wrap(leaf)
            made.readable = any(one.readable for one in known.values())
            return made

        return _map(outer, found)


def _is_optimizer(packet: Any) -> bool:
    return "fused_adam" in str(packet) or "_foreach" in str(packet)


def _map(change: Any, value: Any) -> Any:
    """`torch.utils._pytree.tree_map` of what operations take and give, several times as fast."""
    if isinstance(value, (list, tuple)):
        return type(value)([_map(change, inner) for inner in value])
    if isinstance(value, dict):
        return {key: _map(change, inner) for key, inner in value.items()}
    return change(value)


def _plain(leaf: Any) -> Any:
    return leaf.inner if isinstance(leaf, Double) else leaf


def _array(leaf: Any) -> Any:
    return np.asarray(leaf) if isinstance(leaf, Tensor) else leaf


def wrap(tensor: Tensor) -> Double:
    return Double(tensor)


class _ToDevice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:  # type: ignore[override]
        return wrap(tensor.detach().clone())

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _plain(grads[0])


def to_device(tensor: Tensor) -> Tensor:
    """A copy on the device."""
    if isinstance(tensor, Double):
        return tensor
    refuse_in_capture("copy from the host")
    moved: Tensor = _ToDevice.apply(tensor) if tensor.requires_grad else wrap(tensor.detach().clone())  # type: ignore[no-untyped-call]
    return moved


def to_host(tensor: Tensor) -> Tensor:
    """A copy on the CPU; the host waits for it."""
    if not isinstance(tensor, Double):
        return tensor
    _waits.note("copy to the host")
    return tensor.inner.detach().clone()


def _on_cuda(device: Any) -> bool:
    if device is None or isinstance(device, bool):
        return False
    if isinstance(device, int):
        return True
    return torch.device(device).type == "cuda"


class _Moves(TorchFunctionMode):
    """Factory functions and moves that know the device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        first = args[0] if args else None
        if func in _FACTORIES:
            return self._make(func, args, kwargs)
        if isinstance(first, Tensor) and name in _MOVES:
            move: Any = getattr(self, f"_{name}")
            return move(first, args[1:], kwargs)
        if isinstance(first, Double):
            found = self._of_double(func, name, args, kwargs)
            if found is not NotImplemented:
                return found
        return func(*args, **kwargs)

    def _to(self, tensor: Tensor, args: Any, kwargs: Any) -> Tensor:
        return self._move(tensor, args, kwargs)

    def _cpu(self, tensor: Tensor, args: Any, kwargs: Any) -> Tensor:
        return to_host(tensor)

    def _cuda(self, tensor: Tensor, args: Any, kwargs: Any) -> Tensor:
        return to_device(tensor)

    def _pin_memory(self, tensor: Tensor, args: Any, kwargs: Any) -> Tensor:
        return tensor

    def _of_double(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """What a method of a tensor on the device gives, where it is not one operation of torch."""
        first, *rest = args
        if name.startswith("new_"):
            return wrap(call(func, (first.inner, *map(_plain, rest)), kwargs))
        if name == "tolist" or (name == "numpy" and kwargs.get("force")):
            _waits.note(name)
            return func(first.inner.detach(), *rest, **kwargs)
        if name == "numpy":
            raise TypeError("can't convert cuda:0 device type tensor to numpy; use Tensor.cpu() first")
        if name == "__set__" and getattr(func, "__self__", None) is torch.Tensor.data:
            first.inner = _plain(rest[0]).detach()
            return None
        return NotImplemented

    def _make(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        first = args[0] if args else None
        device = kwargs.pop("device", None)
        generator = kwargs.get("generator")
        if func in (torch.as_tensor, torch.tensor) and isinstance(first, Tensor):
            if device is None:
                return self._move(first, (), kwargs) if isinstance(first, Double) else func(first, *args[1:], **kwargs)
            moved = self._move(first, (device,), kwargs)
            return moved.clone() if func is torch.tensor else moved
        if generator is not None and _on_cuda(device) != (generator.device.type == "cuda"):
            raise RuntimeError(f"Expected a {torch.device(device or 'cpu')} generator, found one on {generator.device}")
        wants_grad = kwargs.pop("requires_grad", False)
        if _on_cuda(device):
            if func in (torch.as_tensor, torch.tensor):
                refuse_in_capture("copy from the host")
            made = wrap(call(func, args, kwargs))
        else:
            made = func(*args, **kwargs, **({} if device is None else {"device": device}))
        return made.requires_grad_() if wants_grad else made

    def _move(self, tensor: Tensor, args: Any, kwargs: dict[str, Any]) -> Tensor:
        device = kwargs.pop("device", None)
        dtype = kwargs.pop("dtype", None)
        for one in args:
            if isinstance(one, torch.dtype):
                dtype = one
            elif isinstance(one, Tensor):
                device, dtype = one.device, one.dtype
            elif isinstance(one, (str, torch.device, int)) and not isinstance(one, bool):
                device = one
        device = CUDA if isinstance(device, int) else device
        moved = tensor
        if device is not None and torch.device(device).type != "meta":
            moved = to_device(tensor) if _on_cuda(device) else to_host(tensor)
        elif device is not None:
            return _plain(tensor).to("meta")
        return moved if dtype is None or moved.dtype == dtype else moved.to(dtype)


class _Generator(torch.Generator):
    """A generator that says where it is; its numbers are the CPU's."""

    _where = torch.device("cpu")

    def __new__(cls, device: Any = "cpu") -> Any:
        made = super().__new__(cls, "cpu")
        made._where = torch.device("cuda", 0) if _on_cuda(device) else torch.device(device)
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self._where

    def manual_seed(self, seed: int) -> _Generator:
        super().manual_seed(seed)
        return self


@contextlib.contextmanager
def device_double() -> Iterator[Waits]:
    """Inside, `"cuda"` is there. Gives the waits of the host."""
    _waits.lines, _waits.paused = [], False
    with pytest.MonkeyPatch.context() as patch:
        about = {"is_available": True, "device_count": 1, "current_device": 0, "get_device_name": "the stand-in"}
        for name, answer in about.items():
            patch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)
        for name in ("synchronize", "init", "_lazy_init", "set_device"):
            patch.setattr(torch.cuda, name, lambda *_: None)
        patch_graphs(patch, CUDA)
        patch.setattr(torch.backends.cudnn, "is_acceptable", lambda *_: False)
        patch.setattr(torch.cuda, "get_rng_state", lambda *_: torch.get_rng_state())
        patch.setattr(torch.cuda, "set_rng_state", lambda state, *_: torch.set_rng_state(state))
        patch.setattr(torch, "Generator", _Generator)
        patch.setattr(torch, "_assert_async", _assert_async)
        patch.setattr("sketchless.envs.kernels.cpu._discordant_pairs_on_gpu", _portable_kernel)
        grouped = torch._C._group_tensors_by_device_and_dtype  # type: ignore[attr-defined]
        patch.setattr(torch._C, "_group_tensors_by_device_and_dtype", _grouped(grouped))
        patch.setattr(torch.nn.Module, "_apply", _swapping(torch.nn.Module._apply))
        with _Moves():
            yield _waits


def _grouped(theirs: Any) -> Any:
    """What optimisers are told about where their tensors are."""

    def group(lists: Any, with_indices: bool = False) -> Any:
        on_device = any(isinstance(tensor, Double) for tensors in lists for tensor in tensors)
        found = theirs(lists, with_indices)
        return {(CUDA, kind): value for (_, kind), value in found.items()} if on_device else found

    return group


def _swapping(theirs: Any) -> Any:
    """A module that moves keeps its parameters' identity; theirs cannot take over a tensor of another kind."""

    def apply(self: Any, fn: Any, recurse: bool = True) -> Any:
        before = torch.__future__.get_swap_module_params_on_conversion()
        torch.__future__.set_swap_module_params_on_conversion(True)
        try:
            return theirs(self, fn, recurse)
        finally:
            torch.__future__.set_swap_module_params_on_conversion(before)

    return apply


def _assert_async(holds: Tensor, fault: str = "") -> None:
    """On a GPU the next wait finds it; here it is found at once, and the host did not wait."""

    def look(holds: Tensor) -> None:
        if not bool(holds):
            raise RuntimeError(f"device-side assertion: {fault}")

    call(look, (_plain(holds),), {})


def _portable_kernel() -> Any:
    from sketchless.envs.kernels.cpu import discordant_pairs_torch

    return discordant_pairs_torch


def numbers(tensor: Tensor) -> np.ndarray[Any, Any]:
    """What a tensor holds, wherever it is; for tests, so nothing is noted."""
    found: np.ndarray[Any, Any] = _plain(tensor.detach()).numpy()
    return found
