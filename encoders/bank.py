"""EpisodeBank: everything that episodes on one split need, in tensors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, normalize

from sketchless.datasets.errors import CheckpointError, ConfigError, DataError, unknown_name
from sketchless.datasets.files import user_path
from sketchless.datasets.schema import conform
from sketchless.datasets.tables import ShownAsTable

from .device import resolve_device
from .gallery import Gallery, not_unit
from .tensorfile import load_tensors, read_meta, save_tensors


@dataclass
class SplitFile:
    """What a bank's file says of a split."""

    sketch_ids: tuple[str, ...]
    photo_ids: tuple[str, ...]


@dataclass
class BankFile:
    """What a bank's file says of itself."""

    splits: dict[str, SplitFile]
    reveal: str
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        if not self.splits:
            raise ValueError("splits: Dictionary should have at least 1 item after validation, not 0")


_TENSORS = ("features", "lengths", "targets", "gallery", "weight", "bias")


@dataclass(frozen=True, eq=False, repr=False)
class EpisodeBank(ShownAsTable):
    """The frozen features of every frame of every sketch of one split, and the photos to rank.

    Its tensors are not to be written to: environments share them, and so do deep copies.

    Attributes:
        features: float32 [N, T, D], rows of length 1; beyond a sketch's length the last frame repeats.
        lengths: int64 [N], frames of each episode, 1..T.
        targets: int64 [N], row in the gallery of the photo that each sketch depicts.
        gallery: float32 [G, d], rows of length 1, G >= 2.
        weight, bias: [d, D] and [d], the frozen stage-1 head: embedding = normalise(weight x + bias).
        sketch_ids, photo_ids: N and G names.
        split: `"train"`, `"validation"` or `"test"`.
        reveal: name of the reveal schedule.
        provenance: data set, encoder, hashes; plain JSON values.
    """

    features: Tensor
    lengths: Tensor
    targets: Tensor
    gallery: Tensor
    weight: Tensor
    bias: Tensor
    sketch_ids: tuple[str, ...]
    photo_ids: tuple[str, ...]
    split: str
    reveal: str = "points"
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fault = next(self._faults(), None)
        if fault:
            raise DataError(f"bank ({self.split}): {fault}; encode it again")

    def _faults(self) -> Iterator[str]:
        yield from self._faults_of_shape()  # the other checks rely on the shapes
        yield from self._faults_of_content()

    def _faults_of_shape(self) -> Iterator[str]:
        if self.features.dim() != 3 or 0 in self.features.shape:
            yield f"features are {tuple(self.features.shape)}, not [N, T, D] with at least one sketch"
        if self.gallery.dim() != 2:
            yield f"gallery is {tuple(self.gallery.shape)}, not [G, d]"
        for name in _TENSORS:
            wanted = torch.int64 if name in ("lengths", "targets") else torch.float32
            if getattr(self, name).dtype != wanted:
                yield f"{name} is {getattr(self, name).dtype}, not {wanted}"
        (n, _, width), (size, dim) = self.features.shape, self.gallery.shape
        if size < 2 or len(self.photo_ids) != size:
            yield f"gallery of {size} photos with {len(self.photo_ids)} ids; retrieval needs two or more"
        if (tuple(self.lengths.shape), tuple(self.targets.shape), len(self.sketch_ids)) != ((n,), (n,), n):
            found = f"lengths {tuple(self.lengths.shape)}, targets {tuple(self.targets.shape)}"
            yield f"{n} sketches but {found}, {len(self.sketch_ids)} ids"
        if tuple(self.weight.shape) != (dim, width) or tuple(self.bias.shape) != (dim,):
            yield f"head {tuple(self.weight.shape)} does not map {width} features to {dim} dimensions"

    def _faults_of_content(self) -> Iterator[str]:
        steps, size = self.features.shape[1], len(self.gallery)
        if len(set(self.photo_ids)) != size:
            yield "a photo id stands in the gallery twice"
        if self.targets.min() < 0 or self.targets.max() >= size:
            yield f"a target lies outside the gallery of {size} photos"
        if self.lengths.min() < 1 or self.lengths.max() > steps:
            yield f"a length lies outside 1..{steps}"
        for name in ("features", "gallery"):
            vectors = getattr(self, name)
            place = not_unit(vectors)
            if place is not None:
                yield f"{name}{list(place)} has length {float(vectors[place].norm()):g} instead of 1"
        if not (torch.isfinite(self.weight).all() and torch.isfinite(self.bias).all()):
            yield "head holds NaN or infinite weights"

    def as_table(self) -> tuple[str, list[list[str]]]:
        shortest, longest = int(self.lengths.min()), int(self.lengths.max())
        steps = str(longest) if shortest == longest else f"{shortest} to {longest}"
        (n, _, width), (size, dim) = self.features.shape, self.gallery.shape
        numbers = [str(n), steps, str(size), str(width), str(dim)]
        header = ["drawings", "steps", "photos", "feature", "embedding"]
        return f"EpisodeBank: {self.split}, {self.reveal}", [header, numbers]

    def __len__(self) -> int:
        return len(self.features)

    def __deepcopy__(self, memo: dict[int, Any]) -> EpisodeBank:
        # Nothing writes into a bank, and gymnasium copies an environment's arguments whenever one asks for its spec.
        for name in _TENSORS:
            memo[id(getattr(self, name))] = getattr(self, name)
        return self

    def embed(self, features: Tensor) -> Tensor:
        """The frozen head on features [..., D], in float64 and not yet of length 1: [..., d]."""
        weight, bias = self.weight.detach().double(), self.bias.detach().double()
        return linear(features.double(), weight, bias)

    def photos(self) -> Gallery:
        """The gallery with its ids."""
        return Gallery(self.gallery, self.photo_ids)

    def to(self, device: str | torch.device) -> EpisodeBank:
        """The same bank with its tensors on a device (no copy where they are there already)."""
        chosen = resolve_device(device)
        return replace(self, **{name: getattr(self, name).to(chosen) for name in _TENSORS})

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] = "procedural",
        split: str | None = None,
        device: str | torch.device = "auto",
        mmap: bool = False,
    ) -> EpisodeBank:
        """Read one split of a bank file.

        Args:
            path: file written by `save_banks`, or the name of a bank that ships: `"procedural"`.
            split: `"train"`, `"validation"` or `"test"`; may be left out where the file holds one alone.
            device: `"auto"`, `"cpu"`, `"cuda"`, `"cuda:1"` ...
            mmap: map float32 features from the file instead of copying them (CPU only, which `"auto"` then is); their
                content is checked, their checksum is not.

        Raises:
            CheckpointError: no such file, damaged, or not a bank. ConfigError: no such split or device, or several
                splits to choose from.
            DataError: the content contradicts itself (NaN, vectors not of length 1, targets outside).
        """
        where = bank_path(path)
        file = _about(where)
        if split is None:
            if len(file.splits) > 1:
                raise ConfigError(f"{where} holds the splits {', '.join(file.splits)}: say which, as split=")
            split = next(iter(file.splits))
        device = "cpu" if mmap and device == "auto" else device
        if split not in file.splits:
            raise unknown_name("split", split, file.splits)
        about = file.splits[split]
        tensors, _ = load_tensors(where, "bank", resolve_device(device), prefix=f"{split}/", mmap=mmap)
        head, _ = load_tensors(where, "bank", resolve_device(device), prefix="head/")
        for place, found, wanted in ((split, tensors, _TENSORS[:4]), ("head", head, _TENSORS[4:])):
            if odd := sorted({*wanted} ^ {*found}):
                fault = f"lacks {odd[0]}" if odd[0] in wanted else f"holds {odd[0][:40]!r}, which is no part of a bank"
                raise CheckpointError(f"{where}: {place} {fault}; encode it again")
        if tensors["features"].dtype == torch.float16:
            tensors["features"] = normalize(tensors["features"].float(), dim=-1)
        try:
            return cls(
                **tensors,
                **head,
                sketch_ids=about.sketch_ids,
                photo_ids=about.photo_ids,
                split=split,
                reveal=file.reveal,
                provenance=file.provenance,
            )
        except DataError as error:
            raise DataError(f"{where}: {error}") from error


def save_banks(
    path: str | os.PathLike[str], banks: Mapping[str, EpisodeBank], feature_dtype: torch.dtype = torch.float32
) -> None:
    """Write banks of one encoder, by split, into one file; equal banks give equal bytes.

    Args:
        path: where to; replaced only when the new file is whole.
        banks: by split name.
        feature_dtype: float32, or float16 for half the size (loaded as float32 again, length 1 restored).

    Raises:
        ConfigError: no banks, or of different encoders or reveal schedules. ResourceError: no room.
    """
    if not banks:
        raise ConfigError("no bank to save")
    first = next(iter(banks.values()))
    tensors = {"head/weight": first.weight, "head/bias": first.bias}
    for split, bank in banks.items():
        if not (torch.equal(bank.weight, first.weight) and torch.equal(bank.bias, first.bias)):
            raise ConfigError("banks of one file must come from one encoder")
        if bank.reveal != first.reveal:
            raise ConfigError(f"banks of one file must share a reveal schedule, not {first.reveal} and {bank.reveal}")
        for name in _TENSORS[:4]:
            tensors[f"{split}/{name}"] = getattr(bank, name)
        tensors[f"{split}/features"] = bank.features.to(feature_dtype)
    about = {s: {"sketch_ids": list(b.sketch_ids), "photo_ids": list(b.photo_ids)} for s, b in banks.items()}
    save_tensors(path, "bank", tensors, {"splits": about, "reveal": first.reveal, "provenance": dict(first.provenance)})


def bank_splits(path: str | os.PathLike[str] = "procedural") -> tuple[str, ...]:
    """Names of the splits in a bank file. Raises as `EpisodeBank.load`."""
    return tuple(_about(bank_path(path)).splits)


def _about(path: Path) -> BankFile:
    meta = read_meta(path, "bank")
    parts = {part.name: meta[part.name] for part in fields(BankFile) if part.name in meta}
    return conform(BankFile, parts, path, error=CheckpointError, cure="encode it again")


def shipped_banks() -> dict[str, Path]:
    """Files of the banks that ship, by name."""
    files = (Path(__file__).parent / "banks").glob("*.safetensors")
    return {file.stem: file for file in files if not file.stem.endswith(("-encoder", "-agent"))}


def bank_path(path: str | os.PathLike[str]) -> Path:
    """Path of a bank file, given its path or the name of one that ships."""
    shipped = shipped_banks()
    if str(path) in shipped:
        return shipped[str(path)]
    where = user_path(path)
    if not os.path.exists(where) and where.suffix == "" and len(where.parts) == 1:
        raise unknown_name("bank", str(path), [*shipped, "<path of a bank file>"])
    return where
