"""What is trained, by name: weights that ship, a file or folder of one's own, a repository of the Hugging Face hub."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from sketchless.datasets.errors import CheckpointError, ConfigError, unknown_name
from sketchless.datasets.files import sha256, user_path
from sketchless.datasets.plugins import check_trust
from sketchless.datasets.schema import read_json

from .bank import EpisodeBank, shipped_banks

Kind = Literal["agent", "encoder"]
WEIGHTS: dict[Kind, str] = {"agent": "agent.safetensors", "encoder": "encoder.safetensors"}
"""File of the weights in a folder or repository."""
MANIFEST = "manifest.json"
BANKS = Path(__file__).parent / "banks"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w-]*(?:\.[\w-]+)*/[A-Za-z0-9][\w-]*(?:\.[\w-]+)*", re.ASCII)


class BankNamed(BaseModel):
    """A bank as a manifest names it; `path` is the name of one that ships, or seen from a run's folder."""

    name: str
    sha256: str
    path: str


class Config(BaseModel):
    """Settings of a run. Loading reads the bank and the reward alone; no name here is a path that is followed."""

    model_config = ConfigDict(extra="allow")

    bank: BankNamed | None = None
    reward: str = "inv-rank"


class Manifest(BaseModel):
    """What stands beside weights: where they come from."""

    model_config = ConfigDict(extra="allow")

    config: Config = Field(default_factory=Config)


class Change(TypedDict):
    """By how much a metric is above B1's, in percentage points."""

    mean: float
    interval95: tuple[float, float]


class Scores(BaseModel):
    """Metrics, in percent, on the test drawings.

    Attributes:
        B1: of the encoder alone.
        agent: of an agent's mean actions.
        change: mean over all seeds of its run.
        seeds: how many those are.
    """

    sketches: int
    photos: int
    B1: dict[str, float]
    agent: dict[str, float] | None = None
    change: dict[str, Change] | None = None
    seeds: int = 1


class Described(Manifest):
    """A manifest that tells people of weights, and which they are.

    Attributes:
        kind: `"agent"` or `"encoder"`.
        name: of the method or the backbone.
        sha256: of the file of the weights, hex.
        dataset: what it was trained on.
        made_by: the command, as far as it is known.
        settings: of the method or the network.
        scores: None where they are not known.
        licence: of the weights.
    """

    kind: Kind
    name: str
    sha256: str
    dataset: str
    made_by: str
    settings: dict[str, Any]
    scores: Scores | None
    licence: str = "MIT"


class Entry(Described):
    """What ships; its `file` of weights lies beside the banks."""

    file: str

    @property
    def path(self) -> Path:
        """Of the weights."""
        return BANKS / self.file


@cache
def zoo() -> dict[str, Entry]:
    """All that ships, by name: `"grpo/procedural"` is GRPO, trained on the bank `procedural`."""
    return read_json(BANKS / "zoo.json", dict[str, Entry], error=CheckpointError, cure="install sketchless again")


@dataclass(frozen=True)
class Pretrained:
    """Weights that were found, and what their manifest says; both may come from anyone.

    Attributes:
        file: of the weights.
        manifest: an empty one where there is none.
    """

    file: Path
    manifest: Manifest = field(default_factory=Manifest)

    def bank(self, split: str = "train") -> EpisodeBank:
        """The bank that it was trained on, where that is one that ships. Raises ConfigError: another."""
        named = self.manifest.config.bank
        file = shipped_banks().get(named.path) if named else None
        if named is None or file is None or sha256(file) != named.sha256:
            trained = f"was trained on the bank {named.name[:80]!r}, which does not ship" if named else "names no bank"
            raise ConfigError(f"{self.file}: {trained}; give env, an environment or a bank")
        return EpisodeBank.load(file, split)

    def reward(self) -> str:
        """Name of the reward that it was trained with. Raises UnsafeFileError: the manifest names code."""
        name = self.manifest.config.reward
        check_trust("reward", name, (), self.file.parent / MANIFEST)
        return name


def pretrained(name: str | os.PathLike[str], kind: Kind) -> Pretrained:
    """Find weights: a file or folder that exists comes first, then what ships, then a repository of the hub.

    Args:
        name: path of a file, or of a folder (written by `sketchless zoo`, or of a run); a name of `zoo()`; or a
            repository as `owner/name`, of which the weights and the manifest alone are fetched.
        kind: what it must be.

    Raises:
        CheckpointError: no such file or folder, nothing of this kind in it, or the hub does not give it.
        ConfigError: a name that is nearly one of `zoo()` or none at all, or `huggingface_hub` is not installed.
    """
    where = user_path(name)
    if os.path.isdir(where):
        return _in_folder(where, kind)
    said = os.fspath(name)
    if os.path.exists(where) or not isinstance(name, str) or said.endswith(".safetensors") or where.is_absolute():
        return Pretrained(where)  # whoever reads the file complains
    if (entry := zoo().get(said)) is not None:
        if entry.kind != kind:
            raise ConfigError(f"{said!r} is an {entry.kind}, not an {kind}; load it as that")
        return Pretrained(entry.path, entry)
    return _in_folder(fetch(said, kind), kind, said)


def is_repository(name: str) -> bool:
    """Whether a name may be that of a repository: `owner/name`, without options, versions or dots that lead upwards."""
    return _REPOSITORY.fullmatch(name) is not None


def fetch(repository: str, *kinds: Kind) -> Path:
    """Download weights and manifest of a hub repository into the library's cache; returns the folder.

    No other file is asked for.

    Raises:
        ConfigError: no name of a repository, or nearly one of `zoo()`; or `huggingface_hub` is not installed.
        CheckpointError: no such repository, no leave to read it, or no network.
    """
    if not is_repository(repository) or difflib.get_close_matches(repository.lower(), zoo(), n=1, cutoff=0.8):
        known = [name for name, entry in zoo().items() if entry.kind in kinds]
        also = ["<file or folder>", "<owner/name on the hub>"]
        raise unknown_name(f"pretrained {' or '.join(kinds)}", repository, [*known, *also])
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        cure = "pip install 'sketchless[hf]'"
        raise ConfigError(f"{repository}: no such folder, and the hub needs huggingface_hub: {cure}") from error
    try:
        return Path(snapshot_download(repository, allow_patterns=[*(WEIGHTS[kind] for kind in kinds), MANIFEST]))
    except Exception as error:  # the library raises its own errors and those of whatever carries its requests
        fault = " ".join(str(error).split())[:150] or type(error).__name__
        cure = "correct the name, go online, or give a folder"
        raise CheckpointError(f"{repository}: no folder, and the hub does not give it ({fault}); {cure}") from error


def _in_folder(folder: Path, kind: Kind, name: str | None = None) -> Pretrained:
    """The weights in a folder: `agent.safetensors`, or the first seed of a run."""
    seeds = [file for file in folder.glob(f"{kind}-*.safetensors") if file.stem.partition("-")[2].isdecimal()]
    files = [folder / WEIGHTS[kind], *sorted(seeds, key=lambda file: int(file.stem.partition("-")[2]))]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise CheckpointError(f"{name or folder}: holds no {WEIGHTS[kind]}; give what `sketchless zoo` or a run wrote")
    about = folder / MANIFEST
    if not about.is_file():
        return Pretrained(file)
    return Pretrained(file, read_json(about, Manifest, error=CheckpointError, cure="give the file of the weights"))
