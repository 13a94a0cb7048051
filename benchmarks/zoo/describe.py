"""What is known of weights: of a run's, of those that ship, and of a file alone."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any

from typing_extensions import TypedDict

from sketchless.agents.checkpoint import About
from sketchless.datasets.errors import CheckpointError, ConfigError, unknown_name
from sketchless.datasets.files import sha256, user_path
from sketchless.datasets.schema import conform, read_json
from sketchless.encoders.bank import shipped_banks
from sketchless.encoders.registry import EncoderFile
from sketchless.encoders.tensorfile import load_tensors
from sketchless.encoders.zoo import MANIFEST, WEIGHTS, Described, Kind, Manifest, Scores, fetch, zoo

from ..metrics import METRICS
from ..runs import read_json as read_object
from ..train_run import TrainRun

_OF_A_RUN = ("started", "python", "versions", "system", "gpu")


class _Results(TypedDict):
    """What is read of an encode run's."""

    baseline: dict[str, dict[str, int | float]]


def described(target: str, seed: int | None = None) -> tuple[Path, Described]:
    """The file of weights, and what is known of them.

    Args:
        target: folder of a train or encode run, or one that `pack` wrote; a file of weights; a name of the zoo; or
            `owner/name` of a repository on the hub. What exists as a path comes first.
        seed: which agent of a train run; by default the first, as a choice by test scores would flatter.

    Raises:
        CheckpointError: nothing of that name, a damaged file, or weights that are not those of their manifest.
        ConfigError: unknown name, a seed that the run lacks or that makes no sense.
    """
    where = user_path(target)
    run = where.is_dir() and read_object(where / MANIFEST)
    command = None if not run or "kind" in run else run.get("command")  # what `pack` wrote keeps the run's command
    if seed is not None and command != "train":
        raise ConfigError(f"{target}: --seed chooses among the agents of a train run; leave it out")
    if not os.path.exists(where) and (entry := zoo().get(target)) is not None:
        found = entry.path, Described.model_validate(entry.model_dump(exclude={"file"}, exclude_unset=True))
    elif run and "kind" in run:
        found = _packed(where)
    elif where.is_dir():
        found = _encoder_run(where) if command == "encode" else _train_run(where, seed)
    elif where.is_file():
        found = where, _alone(where, _kind(where))
    else:
        found = _packed(fetch(target, "agent", "encoder"))
    file, about = found
    load_tensors(file, about.kind)  # raises where it is damaged
    if sha256(file) != about.sha256:
        raise CheckpointError(f"{file}: is not the file that its manifest tells of; fetch or train it again")
    if (scores := about.scores) is not None:
        for name, values in {"B1": scores.B1, "agent": scores.agent, "change": scores.change}.items():
            if values is not None and (lost := [metric for metric in METRICS if metric not in values]):
                raise CheckpointError(f"{target}: its scores of {name} lack {lost[0]}; fetch or train it again")
    return found


def _packed(folder: Path) -> tuple[Path, Described]:
    about = read_json(folder / MANIFEST, Described, error=CheckpointError, cure="give a folder `sketchless zoo` wrote")
    return folder / WEIGHTS[about.kind], about


def _train_run(folder: Path, seed: int | None) -> tuple[Path, Described]:
    run, manifest = TrainRun.find(folder), read_object(folder / MANIFEST)
    saved = run.results()
    seeds = list(saved["refined"])
    chosen = seeds[0] if seed is None else str(seed)
    if chosen not in seeds:
        raise unknown_name("seed of the run", chosen, seeds)
    file = folder / f"agent-{chosen}.safetensors"
    alone = _alone(file, "agent")
    grid = read_object(folder / "grid.json") if (folder / "grid.json").exists() else {}
    scores = {
        "sketches": saved.get("sketches"),
        "photos": saved.get("gallery"),
        "B1": {metric: saved["baseline"].get(metric) for metric in METRICS},
        "agent": {metric: saved["refined"][chosen][metric] for metric in METRICS},
        "change": saved.get("change") if "resampled" in saved else None,  # intervals of 0.2 drew sketches alone
        "seeds": len(seeds),
    }
    about = alone.model_dump(exclude_unset=True) | _origin(manifest)
    about |= {
        "dataset": str(grid.get("dataset", run.settings["bank"]["name"])),
        "made_by": str(grid.get("command", f"sketchless train --agent {alone.name}")),
        "scores": conform(Scores, scores, folder / "results.json", error=CheckpointError, cure="train it again"),
        "seed": int(chosen),
    }
    return file, Described.model_validate(about)


def _encoder_run(folder: Path) -> tuple[Path, Described]:
    file, manifest = folder / WEIGHTS["encoder"], read_object(folder / MANIFEST)
    baseline = read_json(folder / "results.json", _Results, error=CheckpointError, cure="encode it again")["baseline"]
    test = baseline.get("test", {})
    counts = {"sketches": test.get("sketches"), "photos": test.get("photos")}
    scores = {**counts, "B1": {metric: test.get(metric) for metric in METRICS}} if test else None
    origin = _origin(manifest)
    about = _alone(file, "encoder").model_dump(exclude_unset=True) | origin
    about |= {
        "dataset": str(origin["config"].get("dataset")),
        "made_by": "sketchless encode",
        "scores": scores and conform(Scores, scores, folder / "results.json", error=CheckpointError),
    }
    return file, Described.model_validate(about)


def _kind(file: Path) -> Kind:
    try:
        load_tensors(file, "agent")
    except CheckpointError as error:
        if "is a sketchless encoder file" in str(error):
            return "encoder"
        raise
    return "agent"


def _alone(file: Path, kind: Kind) -> Described:
    """What a file says itself. Raises CheckpointError: missing or damaged."""
    _, meta = load_tensors(file, kind)
    if kind == "agent":
        agent = conform(About, meta, file, error=CheckpointError, cure="train it again")
        name, settings = agent.agent, agent.config | {"environment": str(agent.core)}
    else:
        encoder = conform(
            EncoderFile,
            {key: meta[key] for key in ("config", "rebuild") if key in meta},
            file,
            error=CheckpointError,
            cure="train it again",
        )
        name, settings = bare(encoder.config.backbone), asdict(encoder.config)
    return Described(
        kind=kind,
        name=name,
        sha256=sha256(file),
        dataset="not known",
        made_by="not known",
        settings=settings,
        scores=None,
    )


def _origin(manifest: dict[str, Any]) -> dict[str, Any]:
    """What of a run's manifest others may see: no folders of its maker."""
    said = conform(Manifest, {"config": manifest.get("config", {})}, MANIFEST, error=CheckpointError)
    config = said.config.model_dump(exclude_unset=True)
    for key in ("dataset", "encoder", "load"):
        if isinstance(config.get(key), str):
            config[key] = bare(config[key])
    if isinstance(config.get("join"), list):
        config["join"] = [bare(str(path)) for path in config["join"]]
    bank = config.get("bank")
    if isinstance(bank, dict) and bank.get("path") not in shipped_banks():
        config["bank"] = bank | {"path": bare(str(bank.get("path")))}
    kept = {key: manifest[key] for key in ("command", *_OF_A_RUN) if key in manifest}
    return kept | {"config": config}


def bare(name: str) -> str:
    """A data set, file or backbone without the folders that lead to it.

    >>> bare("/home/me/data/sketchy?unseen=cow"), bare("hf:./mobilenet"), bare("hf:google/vit")
    ('sketchy?unseen=cow', 'hf:mobilenet', 'hf:google/vit')
    """
    _, hub, rest = name.partition("hf:")
    if hub and rest[:1] not in ("/", ".", "~"):
        return name
    kind, colon, path = name.rpartition(":")
    path, mark, options = path.partition("?")
    return f"{kind}{colon}{PurePath(path).name}{mark}{options}"
