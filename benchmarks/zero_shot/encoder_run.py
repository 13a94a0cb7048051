"""The encoder of an `encode` run, with the data set it was trained on; or an encoder file, which does not say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.errors import CheckpointError
from sketchless.datasets.loading import identity, load_dataset

from ..runs import read_json


@dataclass(frozen=True)
class EncoderRun:
    """Where an encoder lies.

    Attributes:
        file: of the encoder.
        dataset: as the run was told; None of a file alone.
        learned: the data set that the weights were trained on, if that is known: the run's, or, if it took them from
            an earlier run (`--load`), that one's.
        carving: seed and number of photos of the run's validation split, as `load_dataset` takes them.
    """

    file: Path
    dataset: str | None
    learned: str | None
    carving: dict[str, Any]

    @classmethod
    def find(cls, path: str) -> EncoderRun:
        """The encoder of a run's folder, or in a file. Raises CheckpointError: none, or a folder of something else."""
        folder = Path(path)
        if not folder.exists():
            raise CheckpointError(f"{path}: no such encode run or encoder file")
        if not folder.is_dir():
            return cls(folder, None, None, {})
        manifest = read_json(folder / "manifest.json")
        if manifest.get("command") != "encode":
            raise CheckpointError(f"{folder}: holds a {manifest.get('command')} run; give the folder of an encode run")
        run = manifest["config"]
        learned = run["dataset"]
        if run.get("load") is not None:
            earlier = Path(run["load"]).parent
            learned = cls.find(str(earlier)).learned if (earlier / "manifest.json").is_file() else None
        seed = run["seed"] if run.get("split_seed") is None else run["split_seed"]
        carving = {"seed": seed, "validation": run["validation"]}
        return cls(folder / "encoder.safetensors", run["dataset"], learned, carving)

    def load(self, name: str) -> SketchDataset:
        """The data set of that name; the run's own is carved as the run did. Raises as `load_dataset`."""
        own = self.dataset is not None and identity(name) == identity(self.dataset)
        return load_dataset(name, **(self.carving if own else {}))
