"""A stand-in for CUDA graphs, beside `device_double`: a capture records each operation, a replay does them once more.

As on a GPU, a capture changes nothing, what it gives has no value before a replay, and Python runs in the capture
alone: a number that it computed and a branch that it took stay as they were. A wait of the host, a copy from it, a
generator that the graph does not know, and an optimiser that is not `capturable` are refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

Call = tuple[Callable[..., Any], Any, Any, Any]  # function, arguments, keywords, what it gave


class Graph:
    """`torch.cuda.CUDAGraph` of plain tensors on the CPU: those inside of the stand-in's."""

    current: Graph | None = None  # in whose capture we are

    def __init__(self) -> None:
        self.generators: list[torch.Generator] = []
        self._calls: list[Call] = []
        self._made: list[Tensor] = []  # in the capture
        self._before: list[tuple[Tensor, Tensor]] = []  # what the capture wrote into, and what was there

    def register_generator_state(self, generator: torch.Generator) -> None:
        self.generators.append(generator)

    def record(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        given = tree_leaves((args, kwargs))
        for generator in given:
            if isinstance(generator, torch.Generator) and not any(generator is one for one in self.generators):
                raise RuntimeError("Attempt to increase offset for a CUDA generator not in capture mode.")
        self._before += [(tensor, tensor.clone()) for tensor in written(function, args, kwargs)]
        found = function(*args, **kwargs)
        held = {storage(leaf) for leaf in given if isinstance(leaf, Tensor)}
        fresh = [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor) and storage(leaf) not in held]
        self._made += fresh
        if fresh or list(written(function, args, kwargs)):  # else a view
            self._calls.append((function, args, kwargs, found if fresh else None))
        return found

    def replay(self) -> None:
        assert Graph.current is None
        with torch.no_grad(), torch._C.DisableTorchFunction():
            for function, args, kwargs, found in self._calls:
                again = function(*args, **kwargs)
                for old, new in zip(tree_leaves(found), tree_leaves(again), strict=False):
                    if isinstance(old, Tensor) and old is not new:
                        old.copy_(new)

    @contextlib.contextmanager
    def capture(self) -> Iterator[None]:
        states = [generator.get_state() for generator in self.generators]
        Graph.current = self
        try:
            yield
        finally:
            Graph.current = None
            with torch.no_grad(), torch._C.DisableTorchFunction():
                for tensor, before in reversed(self._before):
                    tensor.copy_(before)
                for tensor in self._made:
                    tensor.fill_(torch.nan if tensor.is_floating_point() else -1)
            for generator, state in zip(self.generators, states, strict=True):
                generator.set_state(state)


def storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def written(function: Any, args: Any, kwargs: Any) -> Iterator[Tensor]:
    """The arguments that an operation writes into, by its schema."""
    schema = getattr(function, "_schema", None)
    for at, argument in enumerate(schema.arguments if schema else ()):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[at] if at < len(args) else kwargs.get(argument.name)
            yield from (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def call(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Do it; in a capture, record it too."""
    graph = Graph.current
    return function(*args, **kwargs) if graph is None else graph.record(function, args, kwargs)


def as_it_is(value: Any) -> Any:
    """A number of the host, of which a capture keeps what it is now."""
    return value.clone() if isinstance(value, Tensor) and Graph.current is not None else value


def refuse_in_capture(what: str) -> None:
    if Graph.current is not None:
        raise RuntimeError(f"CUDA error: operation not permitted when stream is capturing ({what})")


class Stream:
    def __init__(self, device: Any = None) -> None:
        pass

    def wait_stream(self, other: Stream) -> None:
        assert isinstance(other, Stream)

    def is_capturing(self) -> bool:
        return Graph.current is not None


def patch_graphs(patch: pytest.MonkeyPatch, device: torch.device) -> None:
    """Put them in the place of torch's."""
    here = Stream()

    @contextlib.contextmanager
    def stream(aside: Stream) -> Iterator[None]:
        yield

    @contextlib.contextmanager
    def graph(cuda_graph: Graph, stream: Stream | None = None) -> Iterator[None]:
        with cuda_graph.capture():
            yield

    def accelerator(*_: Any, **__: Any) -> torch.device | None:
        # A torch built for CUDA would ask the driver, which is not there; optimisers ask this in a capture.
        return device if Graph.current is not None else None

    for name, double in {"CUDAGraph": Graph, "graph": graph, "Stream": Stream, "stream": stream}.items():
        patch.setattr(torch.cuda, name, double)
    patch.setattr(torch.cuda, "current_stream", lambda *_: here)
    patch.setattr(torch.cuda, "is_current_stream_capturing", here.is_capturing)
    patch.setattr(torch.accelerator, "current_accelerator", accelerator)
    patch.setattr(torch.accelerator, "current_stream", lambda *_: here)
