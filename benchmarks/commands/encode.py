"""`sketchless encode`: train (or load) the stage-1 encoder of a data set and write its episode banks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from rich.console import Console
from rich.progress import Progress
from tyro.conf import Suppress, arg

from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.errors import ConfigError, DataError
from sketchless.datasets.files import sha256, write_json
from sketchless.datasets.loading import load_dataset, photo_faults
from sketchless.datasets.sketch import check_schedule
from sketchless.encoders.bank import EpisodeBank, bank_path, bank_splits, save_banks
from sketchless.encoders.device import busy, resolve_device
from sketchless.encoders.distributed import anyone, rank, torchrun, world
from sketchless.encoders.encode import encode_banks
from sketchless.encoders.ensemble import ensemble
from sketchless.encoders.networks.encoder import Encoder, EncoderConfig
from sketchless.encoders.registry import load_encoder, make_encoder
from sketchless.encoders.training.completion import Completion, CompletionConfig, train_completion
from sketchless.encoders.training.config import Stage1Config
from sketchless.encoders.training.recipes import recipe
from sketchless.encoders.training.stage1 import Progress as Stage1Progress
from sketchless.encoders.training.stage1 import check_stage1, train_stage1
from sketchless.envs.game.noise import plant_noise

from ..display.tables import scores
from ..display.terminal import Terminal
from ..metrics import evaluate
from ..runs import Interrupted, StopSignal, Stopwatch, progress_bar, run_folder

CHECKPOINT = "stage1.part.safetensors"


@dataclass(frozen=True)
class EncoderOptions(EncoderConfig):
    """The encoder as an option: its name, and the seed of the whole run."""

    backbone: Annotated[str, arg(name="encoder")] = EncoderConfig.backbone
    """`small-cnn`, `sketch-a-net`, `dssa`, `manifold`, `manifold-apart`, `zse` (or `zse:hf:<name or folder>` of a ViT),
    `inception-v3`, `hf:<name or folder>` of a transformers vision model, `efficientnet-lite:<file>`, or
    `module:function`."""
    seed: Suppress[int] = 0


@dataclass(frozen=True)
class Stage1Options(Stage1Config):
    """Stage 1 with the seed of the whole run."""

    seed: Suppress[int] = 0


@dataclass(frozen=True)
class EncodeConfig:
    """Train the stage-1 encoder of a data set (or load one) and write the banks of its splits into one file."""

    dataset: str = "procedural"
    """`procedural`, `objects`, or the folder of a data set (QMUL, Sketchy, TU-Berlin, QuickDraw); options follow as in
    `./sketchy?unseen=cow,bat`."""
    preset: str = "default"
    """What holds for the encoder and its training where no option says otherwise: what suits the encoder (`default`),
    or the `paper`'s loss, attention, batch, step and epochs; weight decay, flips, frozen blocks and when to stop stay
    ours. Together with `--encoder` and `--preset`, `--help` shows the values."""
    load: str | None = None
    """Encoder file of an earlier run, instead of training one; options of the encoder and of training are refused."""
    join: tuple[str, ...] = ()
    """Bank files of earlier runs to join into an ensemble; nothing is trained or encoded, and options that say how are
    refused."""
    late: tuple[float, ...] = ()
    """Of each bank that is joined, the exponent of its weight (t/T)^late at step t of T: with 0 it is the same in all
    steps, with 4 it grows towards the end. By default all are 0."""
    until: tuple[float, ...] = ()
    """Of each bank that is joined, the percentage of the steps up to which it ranks alone, from where the one before it
    ends, as in `25 50 75 100`: an encoder for each part of the drawing."""
    mirror: bool = False
    """Encode everything mirrored: with the plain bank, a member of an ensemble."""
    validation: int = 50
    """Photos of the validation split, taken from the training photos."""
    seed: int = 0
    """Of the validation split, the weights, the order and the augmentation."""
    split_seed: int | None = None
    """Of the validation split alone, so that runs of several seeds can be joined; by default the seed."""
    complete: bool = False
    """Complete the frames generatively before encoding (baseline TS), with a network trained on the same sketches."""
    reveal: str = "points"
    """Reveal schedule: `points` (the paper's), `strokes` or `ink`."""
    steps: int = 20
    """Frames of an episode (not with `strokes`)."""
    variants: int = 0
    """Further encodings of each training sketch under small changes of viewpoint."""
    noise: int = 0
    """Noise strokes planted in every training sketch once the encoder is trained or loaded."""
    half: bool = False
    """Store features and the encoder's large weights as float16: half the size."""
    trust: tuple[str, ...] = ()
    """Each `module:attribute` that a file may name as a part of it: code, which is refused otherwise."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""
    out: str | None = None
    """Folder of the run; an interrupted run of the same settings is taken up again."""
    encoder: Annotated[EncoderOptions, arg(name="")] = field(default_factory=EncoderOptions)
    stage1: Annotated[Stage1Options, arg(name="")] = field(default_factory=Stage1Options)

    @classmethod
    def defaults(cls, arguments: Sequence[str]) -> EncodeConfig:
        """What holds where the command line is silent: it depends on the encoder and the preset that it names.

        Raises:
            ConfigError: no such preset.
        """
        known = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        known.add_argument("--encoder", nargs="?", default=EncoderConfig.backbone, const=EncoderConfig.backbone)
        known.add_argument("--preset", nargs="?", default=cls.preset, const=cls.preset)
        named, _ = known.parse_known_args(arguments)
        encoder, stage1 = recipe(named.encoder, named.preset)
        return cls(preset=named.preset, encoder=EncoderOptions(**encoder), stage1=Stage1Options(**stage1))


def run(config: EncodeConfig, console: Console | None = None) -> Path:
    """Carry out an encoding run and write its folder: `encoder.safetensors`, `bank.safetensors`, JSON files.

    Under `torchrun` all processes train together; the first one writes.

    Returns:
        Path of the bank file; of the encoder, if the set knows its photos by category only.

    Raises:
        ConfigError, CheckpointError, DataError, ResourceError: see the parts.
        Interrupted: SIGINT or SIGTERM came; the epochs done so far are in the folder.
    """
    with torchrun() as own:
        if world() > 1 and config.out is None:
            raise ConfigError("under torchrun all processes need the folder of the run: give --out")
        if world() > 1 and config.join:
            raise ConfigError("--join trains nothing: run it without torchrun")
        if rank():
            console = Console(quiet=True)
        return _run(config, own or resolve_device(config.device), console or Terminal())


def _run(config: EncodeConfig, device: torch.device, console: Console) -> Path:
    watch = Stopwatch()
    stage1 = replace(config.stage1, seed=config.seed)
    _check_used(config)
    if config.join:
        return _join(config, console)
    if config.late or config.until:
        raise ConfigError("--late and --until weigh the banks of --join; give them too")
    check_schedule(config.reveal, config.steps)
    if config.variants < 0:
        raise ConfigError(f"variants={config.variants}: must be 0 or more")
    encoder = _encoder(config, device)  # first, as drawing a data set takes a while and a wrong name none
    split_seed = config.seed if config.split_seed is None else config.split_seed
    dataset = load_dataset(config.dataset, seed=split_seed, validation=config.validation)
    for note in (*dataset.report.get("notes", ()), busy(device)):
        if note:
            console.print(note, markup=False, highlight=False)
    if not config.load:
        check_stage1(encoder, dataset, stage1)  # before the folder is claimed for settings that cannot be
    with console.status("reading photos"):
        faults = photo_faults(dataset)
    if faults:  # of the test would be met when all is trained
        more = f" (and {len(faults) - 1} more photos cannot be read, see `sketchless info`)" if faults[1:] else ""
        raise DataError(faults[0] + more)
    with _folder(config) as folder, StopSignal() as stop, progress_bar(console) as bar:
        history = [] if config.load else _train(encoder, dataset, stage1, config, folder, bar, stop, console)
        bank = folder / "bank.safetensors"
        if rank():
            return bank
        if config.half:
            encoder.round_to_half()  # before it encodes, so that the bank is that of the encoder in the file
        encoder.save(folder / "encoder.safetensors")
        if any(len(split.targets) and split.targets.min() < 0 for split in dataset.splits.values()):
            bar.stop()
            about = {"data": dict(dataset.report), "stage1": history, "seconds": float(watch)}
            write_json(folder / "results.json", about)
            (folder / CHECKPOINT).unlink(missing_ok=True)
            console.print("photos are known by category only, so that there are no episodes and no bank; go on with")
            console.print(f"  sketchless evaluate {folder} --task inter")
            return folder / "encoder.safetensors"
        completion = _completion(config, dataset, device, folder, bar, stop) if config.complete else None
        task = bar.add_task("encode frames", total=1.0, note="")

        def tick(share: float) -> None:
            bar.update(task, completed=share)
            if stop.asked:
                raise Interrupted(f"stopped while encoding; the same command with --out {folder} goes on")

        if config.noise:
            dataset = plant_noise(dataset, config.noise, seed=config.seed, splits=("train",)).dataset
        banks = encode_banks(
            encoder,
            dataset,
            schedule=config.reveal,
            steps=config.steps,
            variants=config.variants,
            mirror=config.mirror,
            seed=config.seed,
            redraw=completion and completion.complete,
            provenance={
                "stage1": None if config.load else asdict(stage1),
                **({"noise": config.noise} if config.noise else {}),
                **({"completion": asdict(completion.config)} if completion else {}),
            },
            on_step=tick,
        )
        save_banks(bank, banks, torch.float16 if config.half else torch.float32)
        (folder / CHECKPOINT).unlink(missing_ok=True)
        bar.stop()
        about = {"data": dict(dataset.report), "stage1": history, "seconds": float(watch)}
        _report(bank, banks, about, console)
    return bank


def _join(config: EncodeConfig, console: Console) -> Path:
    """The ensemble of some banks, as a bank."""
    watch = Stopwatch()
    names = bank_splits(config.join[0])
    members = {name: [EpisodeBank.load(member, name, "cpu") for member in config.join] for name in names}
    banks = {name: ensemble(of_split, config.late, config.until) for name, of_split in members.items()}
    with _folder(config) as folder:  # claimed once the banks are known to join
        bank = folder / "bank.safetensors"
        save_banks(bank, banks, torch.float16 if config.half else torch.float32)
        about = {"members": [sha256(bank_path(member)) for member in config.join], "seconds": float(watch)}
        _report(bank, banks, about, console)
    return bank


def _report(path: Path, banks: dict[str, EpisodeBank], about: dict[str, Any], console: Console) -> None:
    """Scores of the bank as it was written, without refinement, to the terminal and to `results.json`."""
    written = {split: EpisodeBank.load(path, split, bank.features.device) for split, bank in banks.items()}
    rows = {split: evaluate(None, bank) for split, bank in written.items()}  # `half` has rounded features
    console.print(scores({f"B1, {split}": e for split, e in rows.items()}))
    summary = {
        split: {"sketches": len(e.rank), "photos": e.gallery, "tied": e.tied, **e.summary()}
        for split, e in rows.items()
    }
    write_json(path.with_name("results.json"), {"baseline": summary, "bank_sha256": sha256(path), **about})
    console.print(f"written to {path}: use it with  sketchless train --bank {path}")


def _folder(config: EncodeConfig) -> AbstractContextManager[Path]:
    if rank():
        return nullcontext(Path(str(config.out)))
    return run_folder(config.out, "encode", _used(config), varying="the encoder")


def _used(config: EncodeConfig) -> dict[str, Any]:
    """Settings for the manifest; None: not used, as a loaded encoder and a joined bank have had theirs."""
    unused = _unused(config)
    return {
        name: None if name in unused else value
        for name, value in _flat(config).items()
        if name not in ("out", "trust", "preset")
    }


def _flat(config: EncodeConfig) -> dict[str, Any]:
    """All options by name; one seed for all."""
    settings = asdict(config)
    encoder, stage1 = settings.pop("encoder"), settings.pop("stage1")
    return {"encoder": encoder.pop("backbone"), **encoder, **stage1, **settings}


def _unused(config: EncodeConfig) -> set[str]:
    """Names of the options without effect."""
    if config.join:
        return _flat(config).keys() - {"join", "late", "until", "half", "out", "trust"}
    of_training = {"encoder", "preset", *asdict(config.encoder), *asdict(config.stage1)}
    return of_training - {"seed"} if config.load else set()


def _check_used(config: EncodeConfig) -> None:
    """Raise ConfigError for options that were given, other than by default, and have no effect."""
    encoder, stage1 = recipe(config.encoder.backbone, config.preset)
    usual = _flat(EncodeConfig(encoder=EncoderOptions(**encoder), stage1=Stage1Options(**stage1)))
    usual["encoder"] = EncoderConfig.backbone
    found = _flat(config)
    unused = _unused(config) - {"device"}  # which says where, not what
    if given := [f"--{name.replace('_', '-')}" for name in found if name in unused and found[name] != usual[name]]:
        why = "--join encodes nothing" if config.join else "the encoder of --load is trained"
        raise ConfigError(f"{', '.join(given)}: no effect, as {why}; leave it out")


def _completion(
    config: EncodeConfig,
    dataset: SketchDataset,
    device: torch.device,
    folder: Path,
    bar: Progress,
    stop: StopSignal,
) -> Completion:
    """Train the completion network, or find it trained in the folder."""
    file = folder / "completion.safetensors"
    if file.exists():
        return Completion.load(file, device)
    task = bar.add_task("completion", total=1.0, note="")

    def step(share: float, note: str) -> None:
        bar.update(task, completed=share, note=note)
        if stop.asked:
            raise Interrupted(f"stopped; the same command with --out {folder} trains the completion again")

    network = train_completion(
        dataset,
        CompletionConfig(seed=config.seed),
        schedule=config.reveal,
        steps=config.steps,
        device=device,
        on_step=step,
    )
    network.save(file)
    return network


def _encoder(config: EncodeConfig, device: torch.device) -> Encoder:
    if config.load is not None:
        return load_encoder(config.load, device, config.trust)
    return make_encoder(replace(config.encoder, seed=config.seed)).to(device)


def _train(
    encoder: Encoder,
    dataset: SketchDataset,
    stage1: Stage1Config,
    config: EncodeConfig,
    folder: Path,
    bar: Progress,
    stop: StopSignal,
    console: Console,
) -> list[dict[str, float]]:
    task = bar.add_task("stage 1", total=1.0, note="")
    metric = "mAP" if stage1.pairs == "category" else "1/rank"  # which is AP where one photo is right

    def epoch(progress: Stage1Progress) -> None:
        note = f"epoch {progress.epoch}  loss {progress.loss:.3f}  validation {metric} {progress.score:.3f}"
        bar.update(task, note=note)
        if anyone(stop.asked):
            raise Interrupted(f"stopped after epoch {progress.epoch}; the same command with --out {folder} goes on")

    done = train_stage1(
        encoder,
        dataset,
        stage1,
        schedule=config.reveal,
        steps=config.steps,
        checkpoint=folder / CHECKPOINT,
        on_step=lambda share: bar.update(task, completed=share),
        on_epoch=epoch,
    )
    bar.update(task, completed=1.0)
    console.print(f"stage 1: best epoch {done.best_epoch} of {done.epoch}, validation {metric} {done.best_score:.3f}")
    return done.history
