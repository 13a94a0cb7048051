"""Tensors and their JSON description in one safetensors file: no pickle, all or nothing."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from sketchless.datasets.errors import CheckpointError, SketchlessError
from sketchless.datasets.files import replacing, user_path
from sketchless.datasets.schema import conform

VERSION = 1
MAX_DESCRIPTION = 1 << 26  # characters of JSON
M = TypeVar("M", bound=nn.Module)
_KEY = "sketchless"  # a single metadata key: several would be written in no fixed order


@dataclass
class Envelope:
    """What every description says, whatever the kind of file."""

    kind: str
    version: int
    checksums: dict[str, int]


def save_tensors(
    path: str | os.PathLike[str], kind: str, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]
) -> None:
    """Write `tensors` and `meta` (plain JSON values) to `path`; equal content gives equal bytes.

    A checksum of every tensor and of the description goes with them: safetensors has none of its own.

    Raises:
        ResourceError: no room. ConfigError: the path cannot be written.
    """
    # clone: safetensors refuses tensors that share memory
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    checksums = {name: _checksum(tensor) for name, tensor in plain.items()}
    about = {**meta, "kind": kind, "version": VERSION, "checksums": checksums}
    text = json.dumps(about, sort_keys=True, allow_nan=False)
    head = f"{zlib.crc32(text.encode()):08x} {text}"
    with replacing(path) as temporary:
        # not `save_file`, which hides that the disk is full
        temporary.write_bytes(save(plain, {_KEY: head}))


def read_meta(path: str | os.PathLike[str], kind: str) -> dict[str, Any]:
    """The JSON description alone. Raises CheckpointError as `load_tensors`."""
    return _open(path, kind)[1]


def load_tensors(
    path: str | os.PathLike[str],
    kind: str,
    device: str | torch.device = "cpu",
    prefix: str = "",
    mmap: bool = False,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read the tensors whose names begin with `prefix` (cut off in the result), and the description.

    Args:
        path: file written by `save_tensors`.
        kind: what the file must be, such as `"bank"`.
        device: where the tensors go.
        prefix: part of the file to read, such as `"test/"`.
        mmap: map CPU tensors from the file instead of copying them. Their checksums are not looked at,
            which would read the whole file; changes in memory never reach the file.

    Raises:
        CheckpointError: no such file, damaged, another kind of file, or written by a newer version.
    """
    file, meta = _open(path, kind)
    tensors = {}
    try:
        for name in meta["checksums"]:
            if name.startswith(prefix):
                tensor = file.get_tensor(name)
                if not mmap and _checksum(tensor) != meta["checksums"][name]:
                    raise CheckpointError(f"{path}: damaged (checksum of {name} is wrong); write it again")
                tensors[name[len(prefix) :]] = tensor.to(device) if mmap else tensor.clone().to(device)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise CheckpointError(f"{path}: damaged ({error}); write it again") from error
    return tensors, meta


def _checksum(tensor: torch.Tensor) -> int:
    """CRC-32 of dtype, shape and bytes."""
    start = zlib.crc32(f"{tensor.dtype} {list(tensor.shape)}".encode())
    return zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, start)


def _open(path: str | os.PathLike[str], kind: str) -> tuple[Any, dict[str, Any]]:
    where = user_path(path)
    if not os.path.isfile(where):  # unlike `Path.is_file`, raises for no path
        fault = "is a folder, not a file" if os.path.isdir(where) else "no such file"
        raise CheckpointError(f"{where}: {fault}; expected a sketchless {kind} file")
    try:
        file = safe_open(where, framework="pt")
        head = (file.metadata() or {}).get(_KEY)
        checksum, _, text = (head or "").partition(" ")
        if head is not None and checksum != f"{zlib.crc32(text.encode()):08x}":
            raise ValueError("checksum of the description is wrong")
        if len(text) > MAX_DESCRIPTION:
            raise ValueError(f"a description of {len(text):,} characters, more than {MAX_DESCRIPTION:,}")
        meta = json.loads(text) if head is not None else {}
    except (SafetensorError, ValueError, OSError, RecursionError) as error:
        raise CheckpointError(f"{where}: damaged or no safetensors file ({error}); write it again") from error
    if not isinstance(meta, dict) or meta.get("kind") != kind:
        other = meta.get("kind") if isinstance(meta, dict) else None
        known = isinstance(other, str) and other.isidentifier()  # not a page of text
        found = f"a sketchless {other} file" if known else "no file of ours"
        raise CheckpointError(f"{where}: is {found}, not a sketchless {kind} file")
    version = meta.get("version")
    if type(version) is int and version > VERSION:
        raise CheckpointError(f"{where}: format version {version} is newer than {VERSION}; update sketchless")
    common = {part.name: meta[part.name] for part in fields(Envelope) if part.name in meta}
    conform(Envelope, common, f"{where}: damaged description", error=CheckpointError)
    return file, meta


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """`load_state_dict` with one-line errors. Raises CheckpointError: other names, shapes or types, or NaN."""
    _check_fit(module, tensors, path)
    bad = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise CheckpointError(f"{path}: {bad[0]} holds NaN or infinite weights; use an earlier checkpoint")
    module.load_state_dict(tensors)


def fitted(make: Callable[[], M], tensors: Mapping[str, Tensor], path: str | os.PathLike[str]) -> M:
    """The network that a file describes, with the weights in that file.

    It is made on the meta device first, where it takes no memory, and for good only if the weights fit it: whatever
    the description says, the cost follows from the size of the file.

    Args:
        make: makes it, with any weights, on the default device.
        tensors: the file's.
        path: of the file, for the error.

    Raises:
        CheckpointError: other weights than the file's, or it cannot be made.
        SketchlessError: what `make` raises on purpose.
    """
    try:
        with torch.device("meta"), _limits(tensors):
            _check_fit(make(), tensors, path)
        module = make()
    except SketchlessError:
        raise
    except _TooLargeError as error:
        raise CheckpointError(f"{path}: describes a larger network than its weights are of; train it again") from error
    except Exception as error:  # torch and transformers raise nearly anything for settings that make no sense
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise CheckpointError(f"{path}: describes a network that cannot be made ({reason}); train it again") from error
    load_weights(module, tensors, path)
    return module


class _TooLargeError(Exception):
    pass


@contextlib.contextmanager
def _limits(tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside, networks may get about the weights that are given, and a proportionate number of layers."""
    left = [2 * sum(tensor.numel() for tensor in tensors.values()) + (1 << 20), 100 * len(tensors) + 1000]

    def count(module: nn.Module, name: str, part: nn.Module | nn.Parameter | None) -> None:
        left[0] -= part.numel() if isinstance(part, Tensor) else 0
        left[1] -= 1
        if min(left) < 0:
            raise _TooLargeError

    hooks = [register_module_parameter_registration_hook(count), register_module_module_registration_hook(count)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _check_fit(module: nn.Module, tensors: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    fault = next(_misfits(module.state_dict(), tensors), None)
    if fault:
        raise CheckpointError(f"{path}: weights do not fit the network ({fault})")


def _misfits(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Iterator[str]:
    for name in sorted({*wanted, *found}):
        if name not in found or name not in wanted:
            yield f"{name} is missing" if name not in found else f"{name} has no place in it"
            continue
        want, have = wanted[name], found[name]
        if (want.shape, want.dtype) != (have.shape, have.dtype):
            yield f"{name} is {have.dtype} {list(have.shape)}, not {want.dtype} {list(want.shape)}"
