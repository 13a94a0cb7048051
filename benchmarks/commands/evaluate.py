"""`sketchless evaluate`: the numbers of a run, of a bank's baseline, or of an encoder's zero-shot tasks, from files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from tyro.conf import Positional

from sketchless.agents import agent_class
from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.errors import CheckpointError, ConfigError
from sketchless.datasets.files import sha256, write_json
from sketchless.datasets.loading import identity
from sketchless.encoders.bank import EpisodeBank, bank_path, bank_splits
from sketchless.encoders.registry import load_encoder
from sketchless.envs.core import Core

from ..display.tables import comparison, scores
from ..display.terminal import Terminal
from ..metrics import Evaluation, evaluate
from ..runs import progress_bar, read_json
from ..zero_shot.encoder_run import EncoderRun
from ..zero_shot.published import ZERO_SHOT
from ..zero_shot.table import retrieval
from ..zero_shot.tasks import Retrieval, ways_to_count, zero_shot


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
        ConfigError, DataError: see `zero_shot`.
    """
    console = console or Terminal()
    if config.task is not None:
        return _task(config, config.task, console)
    if config.dataset or config.json or config.first or config.score != "ret":
        raise ConfigError("--dataset, --score, --first and --json belong to a --task: inter, intra or cross")
    folder = Path(config.target)
    if not folder.is_dir():
        if not bank_path(config.target).exists():
            raise CheckpointError(f"{config.target}: no such run folder or bank file")
        splits = bank_splits(config.target)
        rows = {f"B1, {s}": evaluate(None, EpisodeBank.load(config.target, s, config.device)) for s in splits}
        console.print(scores(rows))
        return rows
    manifest, saved = read_json(folder / "manifest.json"), read_json(folder / "results.json")
    if manifest.get("command") != "train":
        raise CheckpointError(f"{folder}: holds a {manifest.get('command')} run; give the folder of a train run")
    settings = manifest["config"]
    path = recorded_bank(folder, settings["bank"], config.bank)
    bank = EpisodeBank.load(path, config.split, config.device)
    make = agent_class(settings["agent"])
    rows = {"B1": evaluate(None, bank)}
    for seed in saved["refined"]:
        file = folder / f"agent-{seed}.safetensors"
        mode = settings["mode"] or make.modes.get(settings["preset"], "residual")
        core = Core(bank, settings["reward"], mode, settings["observation"])
        rows[f"seed {seed}"] = evaluate(make.load(file, core), bank)
    console.print(comparison(rows["B1"], [rows[f"seed {seed}"] for seed in saved["refined"]], settings["agent"]))
    if config.split == "test":
        found = {"baseline": rows["B1"].summary()} | {s: rows[f"seed {s}"].summary() for s in saved["refined"]}
        before = {"baseline": saved["baseline"]} | saved["refined"]
        if found != before:
            wrong = next(name for name in found if found[name] != before[name])
            raise CheckpointError(
                f"{folder / 'results.json'}: says {json.dumps(before[wrong])} of {wrong}, evaluating gives "
                f"{json.dumps(found[wrong])}; the files do not belong together"
            )
        console.print("equal to results.json in every digit")
    return rows


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


def recorded_bank(folder: Path, recorded: dict[str, str], given: str | None) -> Path:
    """The bank of a run, where its manifest says or where it is `given` to be. Raises CheckpointError: another."""
    path = bank_path(given) if given else bank_path(recorded["path"])
    if not given and not path.is_file():
        path = folder / recorded["path"]
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; say where the run's bank is with --bank")
    if sha256(path) != recorded["sha256"]:
        raise CheckpointError(f"{path}: is not the bank {recorded['name']} that {folder} was trained on; give --bank")
    return path
