"""The encoder of an `encode` run, with the data set it was trained on; or an encoder file, which does not say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import NotRequired, TypedDict

from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.errors import CheckpointError
from sketchless.datasets.loading import identity, load_dataset
from sketchless.datasets.schema import conform

from ..runs import read_json


class _Settings(TypedDict):
    dataset: str | None
    load: NotRequired[str | None]
    seed: int | None
    split_seed: NotRequired[int | None]
    validation: int | None


class _Manifest(TypedDict):
    command: str
    config: _Settings


@dataclass(frozen=True)
class EncoderRun:
    """Where an encoder lies.

    Attributes:
        file: of the encoder.
        dataset: as the run was told; None of a file alone.
        learned: the data set that the weights were trained on, if that is known: the run's, or, if it took them from
            an earlier run (`--load`), that one's.
        validation_split: seed and number of photos of the run's validation split, as `load_dataset` takes them.
    """

    file: Path
    dataset: str | None
    learned: str | None
    validation_split: dict[str, Any]

    @classmethod
    def find(cls, path: str) -> EncoderRun:
        """The encoder of a run's folder, or in a file. Raises CheckpointError: none, or a folder of something else."""
        folder = Path(path)
        if not folder.exists():
            raise CheckpointError(f"{path}: no such encode run or encoder file")
        if not folder.is_dir():
            return cls(folder, None, None, {})
        run = _settings(folder)
        seed = run["seed"] if run.get("split_seed") is None else run["split_seed"]
        validation_split = {"seed": seed, "validation": run["validation"]}
        return cls(folder / "encoder.safetensors", run["dataset"], _learned(folder), validation_split)

    def load(self, name: str) -> SketchDataset:
        """The data set of that name; the run's own is split as in the run. Raises as `load_dataset`."""
        own = self.dataset is not None and identity(name) == identity(self.dataset)
        return load_dataset(name, **(self.validation_split if own else {}))


def _settings(folder: Path) -> _Settings:
    file = folder / "manifest.json"
    manifest = read_json(file)
    if manifest.get("command") != "encode":
        command = str(manifest.get("command"))[:80]
        raise CheckpointError(f"{folder}: holds a {command!r} run; give the folder of an encode run")
    return conform(_Manifest, manifest, file, error=CheckpointError, cure="encode it again")["config"]


def _learned(folder: Path) -> str | None:
    """The data set of the run that trained the weights, which this one may have taken from another's folder."""
    seen = set[Path]()
    while (load := (run := _settings(folder)).get("load")) is not None:
        seen.add(folder.resolve())
        folder = Path(load).parent
        if not (folder / "manifest.json").is_file():
            return None
        if folder.resolve() in seen:
            raise CheckpointError(f"{folder}: took its encoder from itself; encode it again")
    return run["dataset"]
