"""Tensors and their JSON description in one safetensors file: no pickle, all or nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from sketchless.datasets.errors import CheckpointError
from sketchless.datasets.files import replacing

VERSION = 1
_KEY = "sketchless"  # a single metadata key: several would be written in no fixed order


def save_tensors(
    path: str | os.PathLike[str], kind: str, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]
) -> None:
    """Write `tensors` and `meta` (plain JSON values) to `path`; equal content gives equal bytes.

    Raises:
        ResourceError: no room. ConfigError: the path cannot be written.
    """
    head = json.dumps({"kind": kind, "version": VERSION, **meta}, sort_keys=True, allow_nan=False)
    with replacing(path) as temporary:
        # clone: safetensors refuses tensors that share memory
        save_file({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, temporary, {_KEY: head})


def read_meta(path: str | os.PathLike[str], kind: str) -> dict[str, Any]:
    """The JSON description alone. Raises CheckpointError as `load_tensors`."""
    return _open(path, kind)[1]


def load_tensors(
    path: str | os.PathLike[str], kind: str, device: str | torch.device = "cpu", prefix: str = "", mmap: bool = False
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read the tensors whose names begin with `prefix` (cut off in the result), and the description.

    Args:
        path: file written by `save_tensors`.
        kind: what the file must be, such as `"bank"`.
        device: where the tensors go.
        prefix: part of the file to read, such as `"test/"`.
        mmap: leave CPU tensors on disk until they are touched; they are then read-only.

    Raises:
        CheckpointError: no such file, damaged, another kind of file, or written by a newer version.
    """
    file, meta = _open(path, kind)
    tensors = {}
    try:
        for name in file.keys():  # noqa: SIM118 (a safetensors handle is not a mapping)
            if name.startswith(prefix):
                tensor = file.get_tensor(name)
                tensors[name[len(prefix) :]] = tensor.to(device) if mmap else tensor.clone().to(device)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise CheckpointError(f"{path}: damaged ({error}); write it again") from error
    return tensors, meta


def _open(path: str | os.PathLike[str], kind: str) -> tuple[Any, dict[str, Any]]:
    where = Path(path)
    if not where.is_file():
        fault = "is a folder, not a file" if where.is_dir() else "no such file"
        raise CheckpointError(f"{where}: {fault}; expected a sketchless {kind} file")
    try:
        file = safe_open(where, framework="pt")
        head = (file.metadata() or {}).get(_KEY)
        meta = json.loads(head) if head is not None else {}
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(f"{where}: damaged or no safetensors file ({error}); write it again") from error
    if not isinstance(meta, dict) or meta.get("kind") != kind:
        found = f"a sketchless {meta['kind']} file" if isinstance(meta, dict) and "kind" in meta else "no file of ours"
        raise CheckpointError(f"{where}: is {found}, not a sketchless {kind} file")
    if meta.get("version", 0) > VERSION:
        raise CheckpointError(f"{where}: format version {meta['version']} is newer than {VERSION}; update sketchless")
    return file, meta
