"""`sketchless evaluate --task`: categories never seen, instances within a category, another data set.

The three tasks of Lin et al., "Zero-Shot Everything Sketch-Based Image Retrieval, and in Explainable Style"
(CVPR 2023), for any encoder. Complete sketches of the test split; values lie in 0..1.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sketchless.datasets.dataset import SketchDataset, Split
from sketchless.datasets.errors import ConfigError, DataError, unknown_name
from sketchless.datasets.sketch import Drawing
from sketchless.encoders import ZSE, Encoder, Frames, Tokens, average_precision, precision
from sketchless.encoders.networks.encoder import inference

from ..statistics import interval_of_many

FloatArray = npt.NDArray[np.float64]
TASKS = ("inter", "intra", "cross")
SCORES = ("ret", "rn")
CUTS = (100, 200)  # of P@k and mAP@k, as in the literature
PLACES = (1, 5, 10)  # of acc@q
BATCH = 128
PAIRS = 256  # through the relation network at once


@dataclass(frozen=True)
class Metric:
    """One metric of a task.

    Attributes:
        values: float64 [N], of every sketch, 0..1; its mean is the metric.
        chance: what a random order gives, on average.
        released: the metric as the code released with ZSE-SBIR counts it; None where it has no such metric.
        by_category: mean over categories of the means over their sketches.
    """

    values: FloatArray
    chance: float
    by_category: float
    released: float | None = None

    @property
    def mean(self) -> float:
        """Mean over the sketches."""
        return float(self.values.mean())


@dataclass(frozen=True)
class Retrieval:
    """How well an encoder does a task.

    Attributes:
        task: of `TASKS`.
        score: of `SCORES`.
        first: the first photos by `ret` that `rn` put in order; None if it ordered all.
        dataset: name of the data set.
        sketches, photos: how many.
        categories: their names; empty if the set has one category.
        metrics: by name.
    """

    task: str
    score: str
    first: int | None
    dataset: str
    sketches: int
    photos: int
    categories: tuple[str, ...]
    metrics: dict[str, Metric] = field(default_factory=dict)

    def summary(self) -> dict[str, dict[str, float | None]]:
        """Mean, 95 % interval over sketches (bootstrap), chance and other ways to count, by metric."""
        found: dict[str, dict[str, float | None]] = {}
        for name, metric in self.metrics.items():
            low, high = interval_of_many(metric.values)
            found[name] = {
                "mean": metric.mean,
                "low": low,
                "high": high,
                "chance": metric.chance,
                "by_category": metric.by_category,
                "released": metric.released,
            }
        return found


def zero_shot(
    encoder: Encoder,
    dataset: SketchDataset,
    task: str,
    score: str = "ret",
    first: int | None = None,
    on_step: Callable[[float], None] | None = None,
) -> Retrieval:
    """Evaluate an encoder on the test split of a data set.

    Args:
        encoder: trained, on its device.
        dataset: for `inter` and `intra` the one it was trained on, for `cross` another.
        task: `inter`: sketches and photos of the categories that no training photo has; a photo is relevant if
            it has the sketch's category. `intra`: the one photo that is depicted, among the photos of its category.
            `cross`: both, as far as the data set has categories and depicted photos, over all its categories.
        score: `ret` (cosine of the embeddings, every encoder) or `rn` (relation network, `zse` alone).
        first: with `rn`, order only the first so many photos by it and leave the rest as `ret` orders them.
        on_step: called with the share of the pairs that the relation network has read, 0..1.

    Raises:
        ConfigError: unknown task or score, `rn` of an encoder that has none, or `first` below 1 or with `ret`.
        DataError: the data set has nothing of what the task asks for.
    """
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    if score not in SCORES:
        raise unknown_name("score", score, SCORES)
    if score == "rn" and not isinstance(encoder, ZSE):
        raise ConfigError(f"encoder {encoder.config.backbone!r} has no relation network; use --score ret")
    if first is not None and (score == "ret" or first < 1):
        raise ConfigError(f"first={first}: 1 or more, and only with --score rn")
    split = unseen(dataset) if task == "inter" else dataset.split("test")
    if not split.sketches:
        raise DataError(f"{dataset.name}: has no test sketches")
    pictures = _Pictures(encoder, dataset, split, tokens=score == "rn")
    metrics: dict[str, Metric] = {}
    if task != "intra" and len(set(split.photo_categories)) > 1:
        relevant = same_category(split)
        everything = torch.ones_like(relevant)
        metrics |= by_category(pictures.score(everything, score, first, on_step), relevant, split.sketch_categories)
    targets = torch.from_numpy(split.targets)
    if task != "inter" and bool((targets >= 0).any()):
        rivals = same_category(split) & (targets >= 0).unsqueeze(1)
        metrics |= by_instance(pictures.score(rivals, score, first, on_step), rivals, targets, split.sketch_categories)
    if not metrics:
        what = {"inter": "two unseen categories", "intra": "depicted photos"}.get(task, "categories or depicted photos")
        raise DataError(f"{dataset.name}: the task {task} needs {what} in its test split; choose another task")
    names = tuple(sorted(set(split.photo_categories)))
    return Retrieval(task, score, first, dataset.name, len(split.sketches), len(split.photos), names, metrics)


def unseen(dataset: SketchDataset) -> Split:
    """The test sketches and photos of categories that training has not.

    Raises:
        DataError: the set has no categories, or all of them are in training too.
    """
    train, test = dataset.split("train"), dataset.split("test")
    if not test.photo_categories:
        raise DataError(f"{dataset.name}: has no categories; the task intra needs none")
    seen = {*train.photo_categories, *train.sketch_categories}
    found = of_categories(test, {*test.sketch_categories, *test.photo_categories} - seen)
    if not found.sketches or not found.photos:
        raise DataError(f"{dataset.name}: every test category is in training too; use a split with held-out categories")
    return found


def of_categories(split: Split, categories: Collection[str]) -> Split:
    """The sketches and photos of some categories of a split."""
    rows = [i for i, c in enumerate(split.sketch_categories) if c in categories]
    columns = [j for j, c in enumerate(split.photo_categories) if c in categories]
    place = {old: new for new, old in enumerate(columns)}
    return Split(
        [split.sketches[i] for i in rows],
        np.array([place.get(int(split.targets[i]), -1) for i in rows], dtype=np.int64),
        tuple(split.photos[j] for j in columns),
        tuple(split.sketch_categories[i] for i in rows),
        tuple(split.photo_categories[j] for j in columns),
    )


def by_category(score: Tensor, relevant: Tensor, categories: Sequence[str]) -> dict[str, Metric]:
    """mAP@all, mAP@200, P@100, P@200 of scores [N, G], photos being relevant or not (bool [N, G]).

    AP and P as `average_precision` and `precision` define them. A sketch without relevant photos is refused.
    """
    size, count = relevant.shape[1], relevant.sum(dim=1).double()  # R
    if not bool((count > 0).all()):
        raise DataError("a test sketch has a category of which there is no photo; leave it out")
    metrics = {}
    for k in (None, CUTS[-1]):
        values, released = (average_precision(score, relevant, k, interpolated) for interpolated in (False, True))
        # E AP@k = sum over i <= k of R/G 1/i (1 + (i - 1) (R - 1)/(G - 1)), divided by min(k, R)
        place = torch.arange(1, min(k or size, size) + 1, dtype=torch.float64)
        others = (place - 1) * (count.unsqueeze(1) - 1) / max(size - 1, 1)
        hits = ((1 + others) / place).sum(dim=1) * count / size / count.clamp_max(len(place))
        metrics[f"mAP@{k or 'all'}"] = _metric(values, hits, categories, released)
    for k in CUTS:
        released = precision(score, relevant, k, at_most_relevant=True)
        metrics[f"P@{k}"] = _metric(precision(score, relevant, k), count / size, categories, released)
    return metrics


def by_instance(score: Tensor, rivals: Tensor, targets: Tensor, categories: Sequence[str]) -> dict[str, Metric]:
    """acc@1, acc@5, acc@10: share of sketches whose photo is among the first q of the photos of its category.

    Args:
        score: [N, G].
        rivals: bool [N, G], the photos that a sketch's own is searched among; it is one of them.
        targets: int64 [N]; sketches with -1 are left out.
        categories: N names, or none.
    """
    known = targets >= 0
    own = score[known].gather(1, targets[known].unsqueeze(1))
    rank = ((score[known] >= own) & rivals[known]).sum(dim=1)  # ties count against us
    size = rivals[known].sum(dim=1)
    names = [c for c, k in zip(categories, known.tolist(), strict=False) if k]
    return {f"acc@{q}": _metric((rank <= q).double(), (q / size.double()).clamp_max(1), names) for q in PLACES}


def _metric(values: Tensor, chance: Tensor, categories: Sequence[str], released: Tensor | None = None) -> Metric:
    found: FloatArray = values.numpy()
    groups = np.unique(list(categories) or [""] * len(found), return_inverse=True)[1]
    means = np.bincount(groups, found) / np.bincount(groups)
    counted = None if released is None else float(released.mean())
    return Metric(found, float(chance.mean()), float(means.mean()), counted)


def same_category(split: Split) -> Tensor:
    """Whether sketch and photo are of one category, bool [N, G]; all are where the split has no categories."""
    if not split.photo_categories:
        return torch.ones(len(split.sketches), len(split.photos), dtype=torch.bool)
    sketches, photos = np.array(split.sketch_categories), np.array(split.photo_categories)
    return torch.from_numpy(sketches[:, None] == photos)  # [N, G]


class _Pictures:
    """Sketches and photos of a split, once through the encoder; with their patch tokens, if these are needed."""

    def __init__(self, encoder: Encoder, dataset: SketchDataset, split: Split, tokens: bool) -> None:
        self.encoder, self.with_tokens = encoder, tokens

        def photos(rows: range) -> Tensor:
            return encoder.photo_inputs([dataset.photo(split.photos[j]) for j in rows])

        def sketches(rows: range) -> Tensor:
            drawings: list[Drawing] = [split.sketches[i] for i in rows]
            return encoder.sketch_inputs(Frames(drawings, "points", 1).birth < 255)

        with inference(encoder):
            self.sketches, self.sketch_tokens = self._read(sketches, len(split.sketches), encoder)
            self.photos, self.photo_tokens = self._read(photos, len(split.photos), encoder.embed_photos)
        self.ret = (self.sketches @ self.photos.T).cpu()  # [N, G]

    def _read(
        self, images: Callable[[range], Tensor], count: int, embed: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, list[Tokens]]:
        rows, tokens = [], []
        for start in range(0, count, BATCH):
            batch = images(range(start, min(start + BATCH, count))).to(self.encoder.device)
            rows.append(embed(batch).float())
            if self.with_tokens:
                assert isinstance(self.encoder, ZSE)
                tokens.append(self.encoder.tokens(batch))
        return torch.cat(rows), tokens

    def score(self, wanted: Tensor, score: str, first: int | None, on_step: Callable[[float], None] | None) -> Tensor:
        """Scores [N, G] that are right, in each row, among the photos wanted (bool [N, G])."""
        if score == "ret":
            return self.ret
        assert isinstance(self.encoder, ZSE)
        sketches, photos = Tokens.join(self.sketch_tokens), Tokens.join(self.photo_tokens)
        if first is not None:
            best = self.ret.masked_fill(~wanted, -2).sort(dim=1, descending=True, stable=True).indices[:, :first]
            wanted = wanted & torch.zeros_like(wanted).scatter(1, best, True)
        out = self.ret - 2  # behind every photo that the relation network has read
        pairs = wanted.nonzero()
        with inference(self.encoder):
            for start in range(0, len(pairs), PAIRS):
                rows, columns = pairs[start : start + PAIRS].T
                out[rows, columns] = self.encoder.relation(sketches[rows], photos[columns]).float().cpu()
                if on_step is not None:
                    on_step(min(start + PAIRS, len(pairs)) / len(pairs))
        return out


def ways_to_count() -> dict[str, Any]:
    """What the numbers mean, for the JSON file."""
    return {
        "AP@k": "sum over i <= k of P_i rel_i, divided by min(k, R), R relevant photos; not interpolated",
        "P@k": "relevant photos among the first k, divided by k (by the gallery's size if that is less)",
        "released": "as the code of ZSE-SBIR: AP interpolated as in PASCAL VOC, P@k divided by min(k, R)",
        "acc@q": "share of sketches whose own photo is among the first q of its category, ties against it",
        "interval": "95 %, percentile bootstrap over sketches",
    }
