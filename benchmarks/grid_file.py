"""A grid in two files: `grid.json` (cells, settings, versions, scores) and `ranks.safetensors` (ranks, curves, names).

Of every cell that is kept which its folder says, but for what follows from the rest: its curves by percentage, from
its ranks. What several cells share is kept once: settings, machines, ranks of B1 and lengths. Ranks, the curves of
training, what settings are chosen on and the names of the drawings are compressed.
"""

from __future__ import annotations

import json
import lzma
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from typing_extensions import NotRequired, TypedDict

from sketchless.datasets.errors import CheckpointError, ConfigError
from sketchless.datasets.files import replacing
from sketchless.datasets.schema import conform
from sketchless.encoders.tensorfile import load_tensors, save_tensors

from .metrics import Evaluation
from .runs import read_json

CELL_FILES = ("manifest.json", "result.json", "ranks.safetensors")
"""What of a cell's folder is in a packed grid."""


class Machine(TypedDict):
    """What the numbers may depend on."""

    python: NotRequired[str]
    versions: NotRequired[dict[str, str | None]]
    system: NotRequired[str]
    cpus: NotRequired[int | None]
    threads: NotRequired[int]
    gpu: NotRequired[str | None]


class PackedCell(TypedDict):
    """A cell in `grid.json`: `machine`, `agent`, `lengths`, `b1` and those of `shown` are places in shared lists.

    `settings`: those that not all cells have. `shown`: by whom, "" for the agent, else a rival.
    """

    experiment: NotRequired[str]
    settings: dict[str, Any]
    started: NotRequired[str]
    machine: int
    agent: NotRequired[int]
    lengths: int
    b1: int | None
    shown: NotRequired[dict[str, int]]
    stroke_cost: NotRequired[float]
    result: dict[str, Any]


class PackedGrid(TypedDict):
    """What a packed `grid.json` holds of its cells.

    Attributes:
        machines: those that cells ran on.
        agents: settings of agents in full, less the seed, which is the cell's; since 0.3.
        shared: settings that all cells have; since 0.3.
    """

    machines: list[Machine]
    agents: NotRequired[list[dict[str, Any]]]
    shared: NotRequired[dict[str, Any]]
    cells: dict[str, PackedCell]


class Manifest(Machine):
    """What a cell was begun with, and where."""

    experiment: NotRequired[str]
    settings: NotRequired[dict[str, Any]]
    started: NotRequired[str]


_Names = Annotated[list[str], Field(min_length=1)]
_Shape = Annotated[list[PositiveInt], Field(min_length=1, max_length=2)]


class _Contents(TypedDict):
    """What compressed ranks are of. Arrays of one type and shape stand side by side, as the last dimension of a block.

    Attributes:
        blocks: names of the arrays, their type, the shape of each, [N] or [N, T]; one block after the other.
        curves: of a cell, by its id.
    """

    blocks: list[tuple[_Names, Literal["uint8", "int16", "int32"], _Shape]]
    curves: dict[str, dict[str, Any]]
    sketch_ids: list[str]
    photo_ids: list[str]


MAX_BYTES = 1 << 30  # of the ranks of a grid; the largest that ships has 1.4 million
MAX_CONTENTS = 1 << 26  # bytes of what they are of; the largest that ships has 0.3 million
_OF_THE_CELL = ("experiment", "settings", "started")
_CURVES = ("history", "tau_by_step", "by_photo")  # of a result: what is long
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class CellRecord:
    """What is kept of a cell.

    Attributes:
        manifest: its experiment and settings, when it began, versions and machine.
        result: as `training.cell_result` gives it.
        split: what it was measured on.
        refined: ranks of its agent.
        baseline: ranks of B1 on the same drawings; None in grids of version 0.1.0.
        rivals: in `Stop-v0`, those ranks of B1 as rivals that learn nothing show them, by name.
    """

    manifest: Mapping[str, Any]
    result: Mapping[str, Any]
    split: str
    refined: Evaluation
    baseline: Evaluation | None
    rivals: Mapping[str, Evaluation] = field(default_factory=dict)


_RIVAL = "shown/"  # before the name of a rival


def write_ranks(
    path: Path, split: str, refined: Evaluation, baseline: Evaluation, rivals: Mapping[str, Evaluation]
) -> None:
    """Write a cell's ranks, and in `Stop-v0` the steps at which lists are shown."""
    tensors = {
        "rank": torch.from_numpy(refined.rank.astype(np.int32)),
        "baseline": torch.from_numpy(baseline.rank.astype(np.int32)),
        "lengths": torch.from_numpy(refined.lengths),
    }
    for name, one in {"": refined, **rivals}.items():
        if one.shown is not None:
            tensors[f"{_RIVAL}{name}"] = _packed(one.shown)
    about = {"split": split, "gallery": refined.gallery, "sketch_ids": list(refined.sketch_ids)}
    about["photo_ids"] = list(refined.photo_ids)
    if refined.shown is not None:
        about["stroke_cost"] = refined.stroke_cost
    save_tensors(path, "ranks", tensors, about)


def read_cell(folder: Path) -> CellRecord:
    """A cell that lies in a folder of its own. Raises CheckpointError for a missing or damaged file."""
    file = folder / "ranks.safetensors"
    tensors, meta = load_tensors(file, "ranks")
    if not {"rank", "lengths"} <= set(tensors):
        raise CheckpointError(f"{file}: holds no ranks with their lengths; run it again")
    split, drawings = _described(file, meta)
    refined = _evaluation(file, tensors["rank"], tensors["lengths"], drawings)
    baseline = None
    if "baseline" in tensors:
        baseline = _evaluation(file, tensors["baseline"], tensors["lengths"], drawings)
    steps = {name.removeprefix(_RIVAL): steps for name, steps in tensors.items() if name.startswith(_RIVAL)}
    refined, rivals = _with_steps(file, refined, baseline, steps, meta.get("stroke_cost", 0.0))
    file = folder / "manifest.json"
    manifest = read_json(file)
    conform(Manifest, manifest, file, error=CheckpointError, cure="run it again")
    return CellRecord(manifest, read_json(folder / "result.json"), split, refined, baseline, rivals)


def write_grid(folder: Path, about: Mapping[str, Any], cells: Mapping[str, CellRecord]) -> None:
    """Write a grid into `folder`, all of whose cells were measured on the same drawings.

    Args:
        folder: gets `ranks.safetensors`, then `grid.json`; both are replaced.
        about: what `grid.json` says of the grid.
        cells: by id, such as `"methods/trpo/seed-3"`.

    Raises:
        ConfigError: no cell, cells of different drawings, or the folder cannot be written. ResourceError: no room.
    """
    if not cells:
        raise ConfigError(f"{folder}: no cell to write")
    first = next(iter(cells.values()))
    of_cells = [cell.manifest.get("settings", {}) for cell in cells.values()]
    shared = {k: value for k, value in of_cells[0].items() if all(k in of and of[k] == value for of in of_cells)}
    machines, agents = list[dict[str, Any]](), list[dict[str, Any]]()
    arrays: dict[str, list[npt.NDArray[np.int64]]] = {"lengths": [], "b1": [], "shown": []}
    tensors, lines, curves = dict[str, Tensor](), [], dict[str, dict[str, Any]]()
    for name, cell in cells.items():
        refined, baseline = cell.refined, cell.baseline
        if (cell.split, refined.sketch_ids) != (first.split, first.refined.sketch_ids):
            raise ConfigError(f"{folder}: cell {name} was measured on other drawings than the first; run it again")
        tensors[name] = _packed(refined.rank)
        machine = {key: value for key, value in cell.manifest.items() if key not in _OF_THE_CELL}
        settings, result = cell.manifest.get("settings", {}), dict(cell.result)
        if result.get("settings") == settings:
            result.pop("settings", None)
        if result.get("by_percentage") == dict(
            zip(("rp", "rr"), (curve.tolist() for curve in refined.by_percentage()), strict=True)
        ):
            result.pop("by_percentage", None)
        curves[name] = {key: result.pop(key) for key in _CURVES if key in result}
        said = {
            **{key: cell.manifest[key] for key in _OF_THE_CELL if key in cell.manifest},
            "settings": {key: value for key, value in settings.items() if key not in shared},
            "machine": _place(machine, machines),
            "lengths": _place(refined.lengths, arrays["lengths"]),
            "b1": None if baseline is None else _place(baseline.rank, arrays["b1"]),
            **_steps_of(cell, arrays["shown"]),
            "result": result,
        }
        if (agent := result.get("agent_settings", {})).get("seed") == settings.get("seed", math.nan):
            said["agent"] = _place({key: value for key, value in agent.items() if key != "seed"}, agents)
            del result["agent_settings"]
        lines.append(f"    {json.dumps(name)}: {json.dumps(said, allow_nan=False, separators=(',', ':'))}")
    for kind, found in arrays.items():
        tensors |= {f"{kind}/{place}": _packed(array) for place, array in enumerate(found)}
    names = {"sketch_ids": list(first.refined.sketch_ids), "photo_ids": list(first.refined.photo_ids)}
    save_tensors(
        folder / "ranks.safetensors",
        "grid ranks",
        _compressed(tensors, {"curves": curves, **names}),
        {"split": first.split, "gallery": first.refined.gallery},
    )
    about = {**about, "machines": machines, "agents": agents, "shared": shared}
    head = json.dumps(about, indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(folder / "grid.json") as temporary:
        text = head.removesuffix("\n}") + ',\n  "cells": {\n' + ",\n".join(lines) + "\n  }\n}\n"
        temporary.write_text(text, encoding="utf-8")


def read_packed(folder: Path, about: Mapping[str, Any]) -> dict[str, CellRecord]:
    """The cells of a grid that `write_grid` wrote, by id; `about` is the content of its `grid.json`.

    Raises:
        CheckpointError: a missing or damaged file, or cells without their ranks.
    """
    file = folder / "ranks.safetensors"
    tensors, meta = load_tensors(file, "grid ranks")
    curves = dict[str, dict[str, Any]]()
    if "contents" in tensors:  # since 0.3
        tensors, contents = _decompressed(file, tensors)
        curves, meta = contents["curves"], {**meta, **contents}
    split, drawings = _described(file, meta)
    conform(PackedGrid, about, folder / "grid.json", error=CheckpointError, cure="pack it again")
    if unknown := curves.keys() - about["cells"].keys():
        raise CheckpointError(f"{file}: holds curves of {min(unknown)!r}, no cell of grid.json; pack the grid again")
    cells = {}
    for name, cell in about["cells"].items():
        kept = {"rank": name, "lengths": f"lengths/{cell['lengths']}"}
        if cell["b1"] is not None:
            kept["b1"] = f"b1/{cell['b1']}"
        kept |= {f"{_RIVAL}{label}": f"shown/{place}" for label, place in cell.get("shown", {}).items()}
        if lost := [record for record in kept.values() if record not in tensors]:
            raise CheckpointError(f"{file}: lacks {lost[0]!r} of the cell {name!r}; pack the grid again")
        for what, known in (("machine", about["machines"]), ("agent", about.get("agents", []))):
            if what in cell and not 0 <= cell[what] < len(known):
                raise CheckpointError(
                    f"{folder / 'grid.json'}: cells.{name}.{what} is {cell[what]}, where {len(known)} {what}s are "
                    "listed from 0 on; pack the grid again"
                )
        rank, lengths = (tensors[kept[part]] for part in ("rank", "lengths"))
        b1 = tensors[kept["b1"]] if "b1" in kept else None
        steps = {label: tensors[kept[f"{_RIVAL}{label}"]] for label in cell.get("shown", {})}
        settings = {**about.get("shared", {}), **cell["settings"]}
        manifest = {key: cell.get(key) for key in _OF_THE_CELL if key in cell} | {"settings": settings}
        manifest |= about["machines"][cell["machine"]]
        refined = _evaluation(file, rank, lengths, drawings)
        baseline = None if b1 is None else _evaluation(file, b1, lengths, drawings)
        refined, rivals = _with_steps(file, refined, baseline, steps, cell.get("stroke_cost", 0.0))
        result = {"settings": settings, **cell["result"], **curves.get(name, {})}
        if "agent" in cell:
            result["agent_settings"] = {**about["agents"][cell["agent"]], "seed": settings.get("seed")}
        cells[name] = CellRecord(manifest, result, split, refined, baseline, rivals)
    return cells


def _steps_of(cell: CellRecord, known: list[npt.NDArray[np.int64]]) -> dict[str, Any]:
    """Who shows lists when, as places among the steps that are known."""
    by = {"": cell.refined, **cell.rivals}
    shown = {label: _place(one.shown, known) for label, one in by.items() if one.shown is not None}
    return {"shown": shown, "stroke_cost": cell.refined.stroke_cost} if shown else {}


def _with_steps(
    file: Path, refined: Evaluation, baseline: Evaluation | None, steps: Mapping[str, Tensor], cost: Any
) -> tuple[Evaluation, dict[str, Evaluation]]:
    """The agent's ranks with the steps at which it shows lists, and the rivals', which show B1's."""
    if not steps:
        return refined, {}
    if "" not in steps or baseline is None or not isinstance(cost, int | float):
        raise CheckpointError(f"{file}: does not say when the agent shows lists, or at what cost; run it again")
    try:
        found = {
            name: (baseline if name else refined).shown_at(shown.long().numpy(), float(cost))
            for name, shown in steps.items()
        }
    except ConfigError as error:
        raise CheckpointError(f"{file}: {error}; run it again") from error
    return found.pop(""), found


class _Drawings(NamedTuple):
    gallery: int
    sketch_ids: tuple[str, ...]
    photo_ids: tuple[str, ...]


def _described(file: Path, meta: Mapping[str, Any]) -> tuple[str, _Drawings]:
    """Split, number of photos, names of the drawings and of the photos that they depict."""
    names, gallery = meta.get("sketch_ids", []), meta.get("gallery", 0)
    if not isinstance(names, list) or type(gallery) is not int:
        raise CheckpointError(f"{file}: its description is damaged; run it again")
    sketches = tuple(map(str, names))
    photos = meta.get("photo_ids") or [_photo_of(sketch) for sketch in sketches]
    if not isinstance(photos, list) or len(photos) != len(sketches):
        raise CheckpointError(f"{file}: names {len(sketches)} sketches, but not the photo of each; run it again")
    return str(meta.get("split", "test")), _Drawings(gallery, sketches, tuple(map(str, photos)))


def _photo_of(sketch: str) -> str:
    """Its photo's name as in the QMUL and the procedural sets, for files of 0.1 that do not say it."""
    return sketch.rpartition("_")[0] or sketch


def _evaluation(file: Path, rank: Tensor, lengths: Tensor, drawings: _Drawings) -> Evaluation:
    if rank.dim() != 2 or lengths.shape != rank.shape[:1] or rank.is_floating_point() or lengths.is_floating_point():
        raise CheckpointError(f"{file}: want whole ranks [N, T] and lengths [N]; run it again")
    if ((lengths < 1) | (lengths > rank.shape[1])).any():
        raise CheckpointError(f"{file}: want lengths of 1..{rank.shape[1]} steps; run it again")
    gallery, names, photos = drawings
    return Evaluation(rank.long().numpy(), lengths.long().numpy(), gallery, names, photo_ids=photos)


def _place(value: T, known: list[T]) -> int:
    """Where a value stands in a list, to which it is added if need be."""
    for place, other in enumerate(known):
        if np.array_equal(value, other) if isinstance(value, np.ndarray) else value == other:  # type: ignore[arg-type]
            return place
    known.append(value)
    return len(known) - 1


def _packed(values: npt.NDArray[np.int64]) -> Tensor:
    """In the narrowest type that holds them."""
    narrow = next(kind for kind in (np.uint8, np.int16, np.int32) if values.max(initial=0) <= np.iinfo(kind).max)
    return torch.from_numpy(values.astype(narrow))


def _compressed(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> dict[str, Tensor]:
    """Their values, and what they are, each as an xz file."""
    blocks: dict[tuple[str, tuple[int, ...]], dict[str, npt.NDArray[Any]]] = {}
    for name, tensor in tensors.items():
        array = tensor.numpy()
        blocks.setdefault((str(array.dtype), array.shape), {})[name] = array.astype(array.dtype.newbyteorder("<"))
    # Ranks of one list in all cells are alike: side by side the grids that ship take 7 % less.
    ranks = b"".join(np.stack(list(arrays.values()), axis=-1).tobytes() for arrays in blocks.values())
    contents = {"blocks": [(list(arrays), *kind) for kind, arrays in blocks.items()], **about}
    texts = {"contents": json.dumps(contents, allow_nan=False, separators=(",", ":")).encode(), "ranks": ranks}
    return {name: torch.frombuffer(bytearray(lzma.compress(text)), dtype=torch.uint8) for name, text in texts.items()}


def _decompressed(file: Path, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], _Contents]:
    try:
        contents = json.loads(_unpacked(file, tensors, "contents", MAX_CONTENTS))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: its contents cannot be read ({error}); pack the grid again") from error
    conform(_Contents, contents, file, error=CheckpointError, cure="pack the grid again")
    blocks = [
        (names, np.dtype(kind).newbyteorder("<"), [*shape, len(names)]) for names, kind, shape in contents["blocks"]
    ]
    every = [name for names, _, _ in blocks for name in names]
    if len(set(every)) < len(every):
        raise CheckpointError(f"{file}: its contents name an array twice; pack the grid again")
    sizes = [math.prod(shape) * kind.itemsize for _, kind, shape in blocks]
    if sum(sizes) > MAX_BYTES:
        raise CheckpointError(f"{file}: claims more than {MAX_BYTES:,} bytes of ranks; pack the grid again")
    data = _unpacked(file, tensors, "ranks", sum(sizes))
    if len(data) != sum(sizes):
        raise CheckpointError(f"{file}: holds {len(data):,} of {sum(sizes):,} bytes of ranks; pack the grid again")
    found, start = {}, 0
    for (names, kind, shape), size in zip(blocks, sizes, strict=True):
        block = np.frombuffer(data, kind, math.prod(shape), start).reshape(shape)
        for place, name in enumerate(names):
            found[name] = torch.from_numpy(block[..., place].astype(kind.newbyteorder("=")))
        start += size
    return found, contents


def _unpacked(file: Path, tensors: Mapping[str, Tensor], name: str, size: int) -> bytes:
    """At most `size` bytes, and one more if there are more."""
    try:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=1 << 26)
        return unpacker.decompress(tensors[name].numpy().tobytes(), max_length=size + 1)
    except (KeyError, TypeError, lzma.LZMAError, EOFError) as error:  # TypeError: bfloat16, which numpy lacks
        raise CheckpointError(f"{file}: its {name} cannot be unpacked ({error}); pack the grid again") from error
