"""A bank file as a run knows it: where it lies, what is in it, and its hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sketchless.datasets.errors import ConfigError
from sketchless.datasets.files import sha256
from sketchless.encoders.bank import EpisodeBank, bank_path
from sketchless.encoders.tensorfile import read_meta


@dataclass(frozen=True)
class BankFile:
    """A bank file whose description has been read, once.

    Attributes:
        name: as the user named it: a path, or a bank that ships.
        path: of the file.
        splits: split -> ids of its drawings and photos.
        provenance: data set, encoder, hashes; plain JSON values.
    """

    name: str
    path: Path
    splits: Mapping[str, Any]
    provenance: Mapping[str, Any]

    @classmethod
    def open(cls, name: str, *needed: str) -> BankFile:
        """Read what is in the file.

        Args:
            name: path of a bank file, or the name of one that ships.
            needed: splits that must be there.

        Raises:
            CheckpointError: no such file, damaged, or not a bank. ConfigError: lacks a split that is needed.
        """
        path = bank_path(name)
        meta = read_meta(path, "bank")
        for split in needed:
            if split not in meta["splits"]:
                raise ConfigError(f"{name}: has no {split} split; give its data set one and encode it again")
        return cls(name, path, meta["splits"], meta["provenance"])

    @cached_property
    def sha256(self) -> str:
        """Of the whole file, hex."""
        return sha256(self.path)

    @property
    def ships(self) -> bool:
        """Whether it is one of the package's own, which are found by name."""
        return self.path.parent == bank_path("procedural").parent

    @property
    def dataset(self) -> str:
        """What the bank was made from, for people: the data set's folder or name, else the file's name."""
        data = self.provenance.get("data")
        said = data.get("root") or data.get("name") if isinstance(data, Mapping) else None
        return Path(said).name if isinstance(said, str) else self.path.name

    def load(self, split: str, device: str = "cpu") -> EpisodeBank:
        """One split, on a device. Raises as `EpisodeBank.load`."""
        return EpisodeBank.load(self.path, split, device)


def check_alike(files: Sequence[BankFile], split: str) -> None:
    """Raise ConfigError for banks of different drawings or photos in a split: what is measured there is not paired."""
    for file in files:
        if file.splits[split] != files[0].splits[split]:
            fault = f"{file.name}: has other drawings or photos in its {split} split than {files[0].name}"
            raise ConfigError(f"{fault}; encode the same set with the same --split-seed")
