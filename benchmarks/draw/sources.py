"""What is searched, from the options of the command: what ships, a run, files, or a folder of photos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from rich.console import Console

from sketchless.agents import load_agent
from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.errors import CheckpointError, ConfigError
from sketchless.datasets.loading import load_dataset
from sketchless.datasets.sketch import Sketch
from sketchless.encoders.bank import EpisodeBank, bank_path
from sketchless.encoders.networks.encoder import Encoder
from sketchless.encoders.registry import load_encoder
from sketchless.encoders.zoo import BANKS, zoo
from sketchless.envs.rendering.camera import dataset_of

from ..runs import progress_bar, read_json
from ..train_run import TrainRun
from .engine import Engine, Example
from .folder_gallery import folder_gallery

BANK = "procedural-strokes"  # one stroke a step, as a person draws
ENCODER, AGENT = "small-cnn/procedural", "ppo-a-clip/procedural-strokes"  # that bank's
EXAMPLES = 12


@dataclass(frozen=True)
class Files:
    """Which bank, encoder and agent; None: no agent, B1 alone."""

    bank: str
    encoder: str
    agent: str | None


def find_files(
    run: str | None = None, bank: str | None = None, encoder: str | None = None, agent: str | None = None
) -> Files:
    """The files that options mean: those of a run's folder, those named, or those that ship.

    Raises:
        ConfigError: options that exclude each other, or a bank whose encoder is not known. CheckpointError: no run.
    """
    if run is not None:
        if bank or agent:
            raise ConfigError("--run brings its bank and agent: give it or --bank and --agent, not both")
        return _of_run(Path(run), encoder)
    if bank is None:
        if encoder or agent:
            raise ConfigError("--encoder and --agent belong to a --bank; give it too")
        return Files(BANK, str(zoo()[ENCODER].path), str(zoo()[AGENT].path))
    return Files(bank, encoder or _encoder_of(bank_path(bank)), agent)


def _of_run(folder: Path, encoder: str | None) -> Files:
    manifest = read_json(folder / "manifest.json")
    if manifest.get("command") == "encode":
        path = str(folder / "bank.safetensors")
        return Files(path, encoder or _encoder_of(Path(path)), None)
    bank = TrainRun.find(folder).bank()
    agents = sorted(folder.glob("agent-*.safetensors"))
    if not agents:
        raise CheckpointError(f"{folder}: has no agent-<seed>.safetensors; train it to its end")
    return Files(str(bank), encoder or _encoder_of(bank), str(agents[0]))


def _encoder_of(bank: Path) -> str:
    if bank.parent == BANKS:
        return str(zoo()[ENCODER].path)
    beside = bank.with_name("encoder.safetensors")
    if not beside.is_file():
        raise ConfigError(f"{bank}: its encoder.safetensors is not beside it; give --encoder")
    return str(beside)


def open_engine(files: Files, photos: str | None, split: str, device: str, console: Console) -> Engine:
    """Load everything and make the gallery.

    Raises:
        CheckpointError: files that are missing, damaged or do not belong together. ConfigError: an ensemble or a
            completing encoder, which cannot embed what is drawn. DataError: the data set or the photos.
    """
    bank = EpisodeBank.load(files.bank, split, device)
    encoder = load_encoder(files.encoder, device)
    _belong(files, bank, encoder)
    # one drawing stands for the bank: what is embedded comes from the pen
    one = replace(
        bank,
        features=bank.features[:1],
        lengths=bank.lengths[:1],
        targets=bank.targets[:1],
        sketch_ids=bank.sketch_ids[:1],
    )
    if photos is None:
        agent = load_agent(files.agent, one) if files.agent else None
        dataset = dataset_of(bank)
        about = f"{len(bank.photo_ids)} photos of {dataset.name} ({split})"
        return Engine(
            encoder, one, agent, lambda row: dataset.photo(bank.photo_ids[row]), _examples(dataset, bank), about
        )
    with progress_bar(console) as bar:
        task = bar.add_task("embed photos", total=1.0, note="")
        mirror = bool(bank.provenance.get("mirror", False))
        found = folder_gallery(Path(photos), encoder, mirror, lambda share: bar.update(task, completed=share))
    for name, why in list(found.bad.items())[:20]:
        console.print(f"left out {name}: {why}", markup=False, highlight=False, soft_wrap=True)
    if found.bad:
        console.print(f"{len(found.bad)} files left out, {len(found.gallery)} photos searched")
    gallery = found.gallery
    one = replace(
        one,
        gallery=gallery.embeddings.to(one.features.device),
        photo_ids=gallery.photo_ids,
        targets=torch.zeros_like(one.targets),
    )
    agent = load_agent(files.agent, one) if files.agent else None
    return Engine(encoder, one, agent, found.photo, tuple, f"{len(gallery)} photos of {Path(photos).resolve().name}")


def _belong(files: Files, bank: EpisodeBank, encoder: Encoder) -> None:
    origin = bank.provenance
    if "ensemble" in origin:
        raise ConfigError(f"{files.bank}: an ensemble has no one encoder to draw for; give the bank of a member")
    if origin.get("completion"):
        raise ConfigError(
            f"{files.bank}: its frames were completed before encoding; give a bank made without --complete"
        )
    if origin.get("weights") != encoder.digest():
        raise CheckpointError(
            f"{files.encoder}: is not the encoder that {files.bank} was made with; give the one of its run (--encoder)"
        )


def _examples(dataset: SketchDataset, bank: EpisodeBank) -> Callable[[], tuple[Example, ...]]:
    """The first drawings of the bank, each of another photo; the data set is read when they are asked for."""

    @cache
    def read() -> tuple[Example, ...]:
        few = dict(dataset.spec)
        if dataset.name == "procedural" and bank.split == "test":  # drawing all of it takes seconds
            few |= {"test": min(few["test"], EXAMPLES), "drawers": 1}
        split = load_dataset(**few).split(bank.split)
        rows = {name: row for row, name in enumerate(bank.photo_ids)}
        found: dict[int, Example] = {}
        for sketch, target in zip(split.sketches, split.targets.tolist(), strict=True):
            row = rows.get(split.photos[target], -1)
            if row >= 0 and row not in found and isinstance(sketch, Sketch) and len(sketch):
                found[row] = Example(sketch, row)
            if len(found) == EXAMPLES:
                break
        return tuple(found.values())

    return read
