"""The folder of a `train` run, read back: what was trained on which bank, and what came of it."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from sketchless.agents import Agent, agent_class, load_agent
from sketchless.datasets.errors import CheckpointError
from sketchless.datasets.files import sha256
from sketchless.datasets.plugins import check_trust
from sketchless.datasets.schema import conform
from sketchless.encoders.bank import EpisodeBank, bank_path

from .metrics import METRICS
from .runs import MAX_SEED, read_json


class RecordedBank(TypedDict):
    """How a manifest names the bank: `path` is the name of one that ships, or seen from the run's folder."""

    name: str
    sha256: str
    path: str


class _Settings(TypedDict):
    agent: str
    preset: str
    mode: str | None
    observation: str
    bank: RecordedBank


class _Manifest(TypedDict):
    command: str
    config: _Settings


class _Results(TypedDict):
    baseline: dict[str, float]
    refined: dict[str, dict[str, float]]


@dataclass(frozen=True)
class TrainRun:
    """A run that `sketchless train` wrote.

    Attributes:
        folder: of the run.
        settings: of its manifest.
    """

    folder: Path
    settings: _Settings

    @classmethod
    def find(cls, folder: Path) -> TrainRun:
        """Read the manifest. Raises CheckpointError: none, a damaged one, or that of another command."""
        file = folder / "manifest.json"
        manifest = read_json(file)
        if manifest.get("command") != "train":
            command = str(manifest.get("command"))[:80]
            raise CheckpointError(f"{folder}: holds a {command!r} run; give the folder of a train run")
        return cls(folder, conform(_Manifest, manifest, file, error=CheckpointError, cure="train it again")["config"])

    def results(self) -> dict[str, Any]:
        """What its `results.json` holds. Raises CheckpointError: unfinished, or damaged."""
        file = self.folder / "results.json"
        saved = read_json(file)
        conform(_Results, saved, file, error=CheckpointError, cure="train it again")
        if not saved["refined"]:
            raise CheckpointError(f"{file}: names no seed; train it again")
        for seed, metrics in saved["refined"].items():
            if not (seed.isascii() and seed.isdecimal() and len(seed) <= len(str(MAX_SEED))):
                raise CheckpointError(f"{file}: {seed[:80]!r} is no seed; train it again")
            if missing := set(METRICS) - set(metrics):
                raise CheckpointError(f"{file}: seed {seed} has no {min(missing)}; train it again")
        return saved

    def bank(self, given: str | None = None) -> Path:
        """The bank, where the manifest says or where it is `given` to be. Raises CheckpointError: none, or another."""
        recorded = self.settings["bank"]
        path = bank_path(given or recorded["path"])
        if not given and not os.path.isfile(path):  # unlike `Path.is_file`, raises for no path
            path = self.folder / recorded["path"]
        if not os.path.isfile(path):
            raise CheckpointError(f"{path}: no such file; say where the run's bank is with --bank")
        if sha256(path) != recorded["sha256"]:
            raise CheckpointError(
                f"{path}: is not the bank {recorded['name']!r} that {self.folder} was trained on; give --bank"
            )
        return path

    def agents(self, seeds: Collection[str], bank: EpisodeBank, trust: Collection[str] = ()) -> dict[str, Agent]:
        """The agents by seed, to act on a bank. The run's reward has no part in that, and is not looked for.

        Raises:
            UnsafeFileError: its agent is a `module:attribute` that is not in `trust`; nothing was imported.
            CheckpointError: a missing or damaged file. ConfigError: an unknown agent.
        """
        name = self.settings["agent"]
        check_trust("agent", name, trust, self.folder / "manifest.json")
        make = agent_class(name)
        return {seed: load_agent(self.folder / f"agent-{seed}.safetensors", bank, make) for seed in seeds}
