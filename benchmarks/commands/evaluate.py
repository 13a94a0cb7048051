"""`sketchless evaluate`: the numbers of a run, of a bank's baseline, or of an encoder's zero-shot tasks, from files."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from tyro.conf import Positional

from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.errors import CheckpointError, ConfigError, printable
from sketchless.datasets.errors import shown as in_short
from sketchless.datasets.files import write_json
from sketchless.datasets.loading import identity
from sketchless.encoders.bank import EpisodeBank, bank_path, bank_splits
from sketchless.encoders.registry import load_encoder

from ..display.tables import LEGEND, comparison, in_words, scores
from ..display.terminal import Terminal
from ..metrics import Evaluation, evaluate
from ..runs import progress_bar
from ..train_run import TrainRun
from ..training import stop_rivals
from ..zero_shot.encoder_run import EncoderRun
from ..zero_shot.published import ZERO_SHOT
from ..zero_shot.table import retrieval
from ..zero_shot.tasks import Retrieval, ways_to_count, zero_shot
from .train import Trained, results


@dataclass(frozen=True)
class EvaluateConfig:
    """Evaluate the agents of a run on the test drawings, the baseline B1 on every split of a bank, or, with
    --task, an encoder on categories it has not seen, on instances, or on another data set."""

    target: Positional[str] = "procedural"
    """Folder of a `train` run, a bank file, or the name of a bank that ships; with --task, folder of an `encode`
    run, or an encoder file."""
    bank: str | None = None
    """Bank of the run, if it has moved."""
    split: str = "test"
    """Split that the agents of a run play."""
    task: str | None = None
    """`inter` (test categories that training has not), `intra` (instances within a category) or `cross` (another
    data set)."""
    dataset: str | None = None
    """With --task: the data set; by default the one that the encoder was trained on."""
    score: str = "ret"
    """With --task: `ret` (cosine of embeddings) or `rn` (relation network of `zse`, pair by pair)."""
    first: int | None = None
    """With --score rn: order only the first so many photos by it, the rest by ret; by default all."""
    json: str | None = None
    """With --task: write the numbers to this file too."""
    trust: tuple[str, ...] = ()
    """Each `module:attribute` that a file may name as a part of it: code, which is refused otherwise."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""


def run(config: EvaluateConfig, console: Console | None = None) -> dict[str, Evaluation] | Retrieval:
    """Print the table of a run (and whether its `results.json` says the same), the B1 row of each split, or a task.

    Raises:
        CheckpointError: no such run, bank or encoder, a damaged file, another bank than the run's, or results
            that do not repeat.
        UnsafeFileError: a file names code that is not in `trust`.
        ConfigError, DataError: see `zero_shot`.
    """
    console = console or Terminal()
    if config.task is not None:
        return _task(config, config.task, console)
    if config.dataset or config.json or config.first or config.score != "ret":
        raise ConfigError("--dataset, --score, --first and --json belong to a --task: inter, intra or cross")
    folder = Path(config.target)
    if not os.path.isdir(folder):
        if not os.path.exists(bank_path(config.target)):
            raise CheckpointError(f"{config.target}: no such run folder or bank file")
        splits = bank_splits(config.target)
        rows = {f"B1, {s}": evaluate(None, EpisodeBank.load(config.target, s, config.device)) for s in splits}
        console.print(scores(rows))
        console.print(LEGEND)
        return rows
    run, saved = TrainRun.find(folder), TrainRun.find(folder).results()
    bank = EpisodeBank.load(run.bank(config.bank), config.split, config.device)
    agents = {int(seed): agent for seed, agent in run.agents(saved["refined"], bank, config.trust).items()}
    baseline = evaluate(None, bank)
    refined = {seed: evaluate(agent, bank) for seed, agent in agents.items()}
    name, path = run.settings["agent"], run.bank(config.bank)
    validation = EpisodeBank.load(path, "validation", config.device) if "validation" in bank_splits(path) else None
    trained = Trained(baseline, refined, folder, stop_rivals(next(iter(agents.values())).core, validation, bank))
    console.print(comparison(baseline, list(refined.values()), name))
    console.print(LEGEND)
    if shown := trained.shown(name):
        console.print(shown)
    by_seed = {f"seed {seed}": evaluation for seed, evaluation in refined.items()}
    for sentence in in_words(baseline, by_seed):
        console.print(sentence)
    if config.split == "test":
        found = results(trained, agents, name, saved.get("seconds", 0.0))
        if "resampled" not in saved:  # intervals of a run of 0.2, which drew sketches alone
            saved.pop("change", None)
        if different := first_difference(saved, json.loads(json.dumps(found))):
            where, before, now = different
            raise CheckpointError(
                f"{folder / 'results.json'}: says {before} of {where}, evaluating gives {now}; "
                "the files do not belong together"
            )
        console.print("equal to results.json in every digit")
    return {"B1": baseline} | by_seed


def first_difference(saved: Any, found: Any, where: str = "") -> tuple[str, str, str] | None:
    """Where what was saved is not what was found, and both in short; what was not saved then is not looked at."""
    if isinstance(saved, dict) and isinstance(found, dict):
        inner = (first_difference(saved[key], found.get(key), f"{where}.{key}" if where else key) for key in saved)
        return next((difference for difference in inner if difference), None)
    if saved == found:
        return None
    before, now = (json.dumps(value) for value in (saved, found))
    return printable(where), in_short(before[:80]), in_short(now[:80])


def _task(config: EvaluateConfig, task: str, console: Console) -> Retrieval:
    if config.json is not None and Path(config.json).exists():
        raise ConfigError(f"{config.json}: exists; remove it or name another file")
    trained = EncoderRun.find(config.target)
    if trained.learned is None and config.dataset is None:
        raise ConfigError(f"{trained.file}: what it was trained on is not known; give --dataset")
    encoder = load_encoder(trained.file, config.device, config.trust)
    dataset = _data(task, config.dataset, trained)
    with progress_bar(console) as bar:
        row = bar.add_task(f"{task}, {config.score}", total=1.0, note="")
        found = zero_shot(encoder, dataset, task, config.score, config.first, lambda x: bar.update(row, completed=x))
        bar.update(row, completed=1.0)
    console.print(retrieval(found))
    if config.json is not None:
        content = {key: getattr(found, key) for key in ("task", "score", "first", "dataset", "sketches", "photos")}
        content |= {"categories": list(found.categories), "metrics": found.summary(), "definitions": ways_to_count()}
        content |= {"data": dict(dataset.spec), "encoder": asdict(encoder.config), "weights": encoder.digest()}
        content["published"] = ZERO_SHOT
        write_json(config.json, content)
        console.print(f"written to {config.json}")
    return found


def _data(task: str, given: str | None, trained: EncoderRun) -> SketchDataset:
    """The data set that is asked for, if it is one for the task."""
    name = given or trained.learned
    assert name is not None
    if trained.learned is None:
        return trained.load(name)
    (asked, options), (learned, before) = identity(name), identity(trained.learned)
    rule = None
    if (task == "cross") == (asked == learned):
        rule = "another data set than" if task == "cross" else "the data set"
    elif task != "cross" and options != before:  # which may test on categories that were trained on
        rule = "the data set with the options"
    if rule is not None:
        raise ConfigError(f"--task {task} wants {rule} the encoder was trained on, {trained.learned}; see --dataset")
    return trained.load(name)
