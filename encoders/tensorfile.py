"""Tensors and their JSON description in one safetensors file: no pickle, all or nothing."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from sketchless.datasets.errors import CheckpointError
from sketchless.datasets.files import replacing

VERSION = 1
_KEY = "sketchless"  # a single metadata key: several would be written in no fixed order


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
    where = Path(path)
    if not where.is_file():
        fault = "is a folder, not a file" if where.is_dir() else "no such file"
        raise CheckpointError(f"{where}: {fault}; expected a sketchless {kind} file")
    try:
        file = safe_open(where, framework="pt")
        head = (file.metadata() or {}).get(_KEY)
        checksum, _, text = (head or "").partition(" ")
        if head is not None and checksum != f"{zlib.crc32(text.encode()):08x}":
            raise ValueError("checksum of the description is wrong")
        meta = json.loads(text) if head is not None else {}
    except (SafetensorError, ValueError, OSError, RecursionError) as error:
        raise CheckpointError(f"{where}: damaged or no safetensors file ({error}); write it again") from error
    if not isinstance(meta, dict) or meta.get("kind") != kind:
        known = isinstance(meta, dict) and "kind" in meta
        found = f"a sketchless {meta['kind']} file" if known else "no file of ours"
        raise CheckpointError(f"{where}: is {found}, not a sketchless {kind} file")
    version, checksums = meta.get("version"), meta.get("checksums")
    if type(version) is int and version > VERSION:
        raise CheckpointError(f"{where}: format version {version} is newer than {VERSION}; update sketchless")
    if type(version) is not int or not isinstance(checksums, dict):
        raise CheckpointError(f"{where}: damaged (its description lacks a version or checksums); write it again")
    return file, meta


def load_weights(module: nn.Module, tensors: dict[str, Tensor], path: str | os.PathLike[str]) -> None:
    """`load_state_dict` with one-line errors. Raises CheckpointError: other names, shapes, or NaN."""
    bad = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise CheckpointError(f"{path}: {bad[0]} holds NaN or infinite weights; use an earlier checkpoint")
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        fault = str(error).replace("\n", " ").replace("\t", "")[:200]
        raise CheckpointError(f"{path}: weights do not fit the network ({fault})") from error
