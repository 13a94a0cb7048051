"""The folder of a `train` run, read back: what was trained on which bank, and what came of it."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import TypedDict

from sketchless.agents import Agent, agent_class, load_agent
from sketchless.datasets.errors import CheckpointError
from sketchless.datasets.files import sha256
from sketchless.datasets.plugins import check_trust
from sketchless.datasets.schema import conform
from sketchless.encoders.bank import EpisodeBank, bank_path

from .metrics import METRICS, POINTS, Evaluation, FloatArray
from .runs import MAX_SEED, read_json
from .statistics import interval


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


def scores(baseline: Evaluation, refined: Mapping[int, Evaluation], rivals: Mapping[str, Evaluation]) -> dict[str, Any]:
    """What of a run's `results.json` follows from the ranks alone; plain JSON values.

    Args:
        baseline: B1 on the test drawings.
        refined: by seed.
        rivals: in `Stop-v0`, B1's lists, shown without anything learned.
    """
    ours = {m: np.stack([one.per_sketch(m) for one in refined.values()]) for m in METRICS}  # [S, N]
    change = {m: values - baseline.per_sketch(m) for m, values in ours.items()}
    stopped = {f"seed {seed}": one.stopping for seed, one in refined.items()}
    stopped |= {label: one.stopping for label, one in rivals.items()}
    return {
        **({"stopping": {k: one.summary() for k, one in stopped.items() if one}} if any(stopped.values()) else {}),
        "sketches": len(baseline.rank),
        "gallery": baseline.gallery,
        "baseline": baseline.summary(),
        "refined": {str(seed): one.summary() for seed, one in refined.items()},
        "mean": {m: float(values.mean()) for m, values in ours.items()},
        "change": {
            m: {"mean": float(values.mean()), "interval95": list(interval(values, baseline.photo_ids))}
            for m, values in change.items()
        },
        "curves": {
            "percent": POINTS.tolist(),
            "baseline": [curve.tolist() for curve in baseline.by_percentage()],
            "refined": [curve.tolist() for curve in mean_curves(refined)],
        },
    }


def mean_curves(refined: Mapping[int, Evaluation]) -> FloatArray:
    """Mean ranking percentile and mean 1/rank (0..1) at every twentieth of the sketches, over the seeds: [2, 20]."""
    curves: FloatArray = np.mean([one.by_percentage() for one in refined.values()], axis=0)
    return curves
