"""`sketchless explain`: why a photo is found for a sketch, as one picture, and stroke by stroke, as an animation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from sketchless.agents import load_agent
from sketchless.datasets.dataset import SketchDataset, Split
from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.datasets.files import replacing
from sketchless.datasets.photos import read_photo
from sketchless.datasets.raster import birth_map
from sketchless.datasets.sketch import Drawing, RasterSketch
from sketchless.encoders.bank import EpisodeBank
from sketchless.encoders.networks.correspondence import token_model
from sketchless.encoders.registry import load_encoder
from sketchless.encoders.zoo import zoo

from ..display.animation import gif
from ..display.terminal import Terminal
from ..explanation.episode import (
    DROPPED,
    Step,
    bank_of_one,
    explain_episode,
    last_similarity,
    rank_of,
    standing,
    turning_point,
    whereabouts,
)
from ..explanation.pair import Explanation, explain
from ..explanation.pictures import EpisodePictures, pair_picture
from ..zero_shot.encoder_run import EncoderRun

SHIPPED = "small-cnn/procedural"
SECONDS, HOLD = 0.8, 3.0  # a frame of the animation and its last one are shown


@dataclass(frozen=True)
class ExplainConfig:
    """Explain a retrieval: sketchless explain SKETCH PHOTO, or sketchless explain SKETCH --gallery."""

    sketch: Positional[str | None] = None
    """Id of a sketch of the split, or a picture file (dark on light, see `--invert`); by default the split's first
    one."""
    photo: Positional[str | None] = None
    """Id of a photo of the split, or a picture file; by default the one that the sketch depicts."""
    invert: bool = False
    """The sketch is a picture file of light ink on a dark ground."""
    gallery: bool = False
    """Search the split's photos, explain the best ones and the true one."""
    top: int = 1
    """How many of the best ones."""
    encoder: str = "procedural"
    """Folder of an encode run, an encoder file, or `procedural`: the one that ships."""
    agent: str | None = None
    """Agent file of a train run on that encoder's bank: ranks and scores are those of its refined embedding."""
    dataset: str | None = None
    """A data set or its folder, as for encode; by default that of the encode run, split as it was there, and
    `procedural` for a file."""
    split: str = "test"
    """Whose sketches and photos."""
    reveal: str = "points"
    """Reveal schedule of the episode: `points` (the paper's), `strokes` or `ink`."""
    steps: int = 20
    """Frames of the episode (not with `strokes`)."""
    out: str = "explanation.png"
    """Picture to write."""
    arrays: str | None = None
    """Also write the arrays of the (first) explanation, as .npz."""
    gif: str | None = None
    """Also explain the episode step by step: a table, and an animation in this file."""
    trust: tuple[str, ...] = ()
    """Each `module:attribute` that a file may name as a part of it: code, which is refused otherwise."""
    device: str = "auto"
    """`auto`, `cpu` or `cuda`."""


@dataclass(frozen=True, eq=False)
class Explained:
    """What a run explained.

    Attributes:
        photos: names, in the order of the picture.
        pairs: an explanation of each.
        rank: of the sketch's own photo among those of the split, where it was searched and is known.
        steps: of the episode, where it was asked for.
    """

    photos: list[str]
    pairs: list[Explanation]
    rank: int | None
    steps: list[Step]


def run(config: ExplainConfig, console: Console | None = None) -> Explained:
    """Explain, write the pictures and print what they say.

    Raises:
        ConfigError: unknown ids, settings that exclude each other, a picture where strokes are needed.
        CheckpointError, DataError: files that cannot be read.
    """
    console = console or Terminal()
    _check(config)
    trained = EncoderRun.find(str(zoo()[SHIPPED].path) if config.encoder == "procedural" else config.encoder)
    encoder = load_encoder(trained.file, config.device, config.trust)
    model = token_model(encoder)  # before the data set, which takes a while
    dataset = trained.load(config.dataset or trained.dataset or "procedural")
    dataset, row = _with_photo(dataset, config)
    split = dataset.split(config.split)
    drawing, true = _sketch(config, dataset.name, split)
    if config.gif and isinstance(drawing, RasterSketch):  # before anything is written
        raise ConfigError(f"sketch {drawing.id!r} is a picture without strokes: it has no episode; leave out --gif")
    row = true if row is None else row
    frame = birth_map(drawing, [max(len(drawing), 1)]) == 0
    rank, shown = None, [] if row is None else [row]
    search = config.gallery or row is None
    if search or config.gif:
        bank = bank_of_one(encoder, dataset, config.split, drawing, row or 0, config.reveal, config.steps)
        agent = load_agent(config.agent, bank) if config.agent else None
    if search:
        similarity = last_similarity(encoder, bank, agent)
        rank = None if true is None else rank_of(similarity, true)
        best = similarity.argsort(descending=True, stable=True).tolist()[: config.top]
        shown = best + [true] * (true is not None and true not in best)
        _say_gallery(console, split, drawing, true, rank, best, similarity.tolist())
    names = [split.photos[i] for i in shown]
    pairs = [explain(encoder, frame, dataset.photo(name), model) for name in names]
    for name, pair in zip(names, pairs, strict=True):
        _say_pair(console, drawing.id, name, pair)
    titles = [_title(drawing.id, split.photos[i], p, i == true) for i, p in zip(shown, pairs, strict=True)]
    _write(config.out, [pair_picture(pair, title) for pair, title in zip(pairs, titles, strict=True)])
    console.print(f"written to {config.out}")
    if config.arrays:
        pairs[0].save(config.arrays)
        console.print(f"arrays of {names[0]} in {config.arrays}")
    steps: list[Step] = []
    if config.gif:
        bank = replace(bank, targets=torch.tensor([shown[0] if row is None else row]))
        steps = explain_episode(encoder, bank, drawing, dataset.photo(bank.photo_ids[int(bank.targets)]), agent)
        _say_episode(console, drawing, bank, steps)
        gif(config.gif, EpisodePictures(bank, dataset).explained(steps), SECONDS, HOLD)
        console.print(f"written to {config.gif}")
    return Explained(names, pairs, rank, steps)


def _check(config: ExplainConfig) -> None:
    if config.gallery and config.photo is not None:
        raise ConfigError("give a photo or --gallery, not both")
    if config.top < 1:
        raise ConfigError(f"top={config.top}: explain 1 photo or more")
    if config.invert and not (config.sketch and Path(config.sketch).is_file()):
        raise ConfigError("invert turns a picture file: give one as the sketch, or leave it out")
    if config.agent and not (config.gallery or config.gif):
        raise ConfigError("an agent changes ranks, not patches: add --gallery or --gif to see them")


def _with_photo(dataset: SketchDataset, config: ExplainConfig) -> tuple[SketchDataset, int | None]:
    """The data set, with a photo from a file as the last of its split's; and the row of the photo asked for."""
    name, split = config.photo, dataset.split(config.split)
    if name is None:
        return dataset, None
    if name in split.photos:
        return dataset, split.photos.index(name)
    if not Path(name).is_file():
        raise unknown_name(f"photo of {dataset.name} ({config.split}), or file,", name, split.photos)
    pixels = read_photo(name)

    def photo(id: str) -> npt.NDArray[np.uint8]:
        return pixels if id == name else dataset.photo(id)

    categories = (*split.photo_categories, "") if split.photo_categories else ()
    grown = replace(split, photos=(*split.photos, name), photo_categories=categories)
    return replace(dataset, photo=photo, splits={**dataset.splits, config.split: grown}), len(split.photos)


def _sketch(config: ExplainConfig, name: str, split: Split) -> tuple[Drawing, int | None]:
    """The drawing and the row of the photo that it depicts, None where that is unknown."""
    if not len(split.sketches):
        raise ConfigError(f"{name} ({config.split}) has no sketches; choose another split")
    if config.sketch is not None and Path(config.sketch).is_file():
        return RasterSketch.from_picture(read_photo(config.sketch), Path(config.sketch).name, config.invert), None
    found = 0
    if config.sketch is not None:
        ids = [sketch.id for sketch in split.sketches]
        if config.sketch not in ids:
            raise unknown_name(f"sketch of {name} ({config.split}), or file,", config.sketch, ids)
        found = ids.index(config.sketch)
    target = int(split.targets[found])
    return split.sketches[found], target if target >= 0 else None


def _say_episode(console: Console, drawing: Drawing, bank: EpisodeBank, steps: list[Step]) -> None:
    photo = bank.photo_ids[int(bank.targets)]
    table = Table(title=f"{drawing.id}: rank of {photo} among {len(bank.photo_ids)} photos")
    for column in ("step", "rank", "score", "change", "best new ink", "gain", "photo there"):
        table.add_column(column, justify="right" if column in ("step", "rank", "score", "change", "gain") else "left")
    for number, step in enumerate(steps, start=1):
        best, cells = step.best(), ["-", "", ""]
        if best is not None:
            here, there = whereabouts(best.place, step.explanation.sketch_attention.shape), DROPPED
            if best.match is not None:
                where = whereabouts(best.match, step.explanation.photo_attention.shape)
                there = f"{where} {best.strength:.2f}"
            cells = [here, f"{best.gain:+.3f}", there]
        table.add_row(str(number), str(step.rank), f"{step.score:.3f}", f"{step.gain:+.3f}", *cells)
    console.print(table)
    console.print(standing(turning_point(steps), steps))


def _say_gallery(
    console: Console,
    split: Split,
    drawing: Drawing,
    true: int | None,
    rank: int | None,
    best: Iterable[int],
    similarity: list[float],
) -> None:
    listed = ", ".join(f"{split.photos[i]} ({similarity[i]:.3f})" for i in best)
    console.print(f"best of {len(split.photos)} photos for {drawing.id}: {listed}")
    if true is None:
        console.print("which photo it depicts is not known")
    else:
        console.print(f"its own photo, {split.photos[true]} ({similarity[true]:.3f}), has rank {rank}")


def _say_pair(console: Console, sketch: str, photo: str, pair: Explanation) -> None:
    strongest = pair.strongest(3)
    told = [
        f"{whereabouts(tuple(pair.places[i]), pair.sketch_attention.shape)} - "
        f"{whereabouts(tuple(pair.matches[i]), pair.photo_attention.shape)} ({pair.strength[i]:.2f})"
        for i in strongest
    ]
    console.print(f"{sketch}, {photo}: cosine {pair.score:.3f}; patches that answer most: {', '.join(told)}")


def _title(sketch: str, photo: str, pair: Explanation, true: bool) -> str:
    return f"{sketch}  ·  {photo}{' (true photo)' * true}  ·  cosine {pair.score:.3f}"


def _write(path: str, pictures: list[npt.NDArray[np.uint8]]) -> None:
    with replacing(path) as temporary:
        Image.fromarray(np.concatenate(pictures)).save(temporary, "PNG")
