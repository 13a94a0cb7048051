"""Encoders on categories that training has not seen, in pairs of the same seed.

python -m sketchless.benchmarks.zero_shot.unseen --seeds 3       `manifold` beside the same backbone with a plain head
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.errors import unknown_name
from sketchless.datasets.loading import load_dataset
from sketchless.encoders import EncoderConfig, Stage1Config, encode_banks, make_encoder, train_stage1

from ..statistics import pigeonhole_bootstrap
from .tasks import of_categories, same_category

FloatArray = npt.NDArray[np.float64]
AMONG = ("all photos", "its category")
"""The photos of the test split that a sketch's own one is searched among."""


def held_out(dataset: SketchDataset, categories: Collection[str]) -> SketchDataset:
    """The set with some of its training categories as its test, and without its own: to choose settings on.

    Raises:
        ConfigError: a category that training has not.
    """
    train = dataset.split("train")
    seen = {*train.photo_categories}
    for name in categories:
        if name not in seen:
            raise unknown_name("category", name, sorted(seen))
    rest = seen - {*categories}
    splits = {name: of_categories(dataset.split(name), rest) for name in ("train", "validation")}
    return replace(dataset, splits={**splits, "test": of_categories(train, categories)})


def reciprocal_ranks(name: str, dataset: SketchDataset, seed: int, size: int, epochs: int) -> dict[str, FloatArray]:
    """1/rank [N] of the photo that each complete test sketch depicts, among the photos of `AMONG`."""
    encoder = make_encoder(EncoderConfig(name, size=size, seed=seed))
    train_stage1(encoder, dataset, Stage1Config(epochs=epochs, seed=seed))
    bank = encode_banks(encoder, dataset, splits=("test",), steps=1)["test"]
    similarity = encoder.cpu().embed(bank.features[:, 0]).detach() @ bank.gallery.T  # [N, G]
    nearer = similarity >= similarity.gather(1, bank.targets.unsqueeze(1))  # ties count against us
    rivals = (torch.ones_like(nearer), same_category(dataset.split("test")))
    return {among: 1 / (nearer & who).sum(dim=1).double().numpy() for among, who in zip(AMONG, rivals, strict=True)}


def compare(
    dataset: SketchDataset, names: tuple[str, str], seeds: Sequence[int], size: int = 32, epochs: int = 20
) -> dict[str, float]:
    """Print the means of 1/rank of both and their difference, with its 95 % interval; the differences, by `AMONG`.

    Intervals draw anew photos, sketches within them, and seeds.
    """
    ranks = {n: [reciprocal_ranks(n, dataset, seed, size, epochs) for seed in seeds] for n in names}
    test = dataset.split("test")
    photos = [test.photos[target] for target in test.targets]
    found = {}
    for among in AMONG:
        values = {n: np.stack([run[among] for run in runs]) for n, runs in ranks.items()}  # [S, N] each
        for name in names:
            by_seed = np.round(values[name].mean(axis=1), 4).tolist()
            print(f"among {among}, {name}: mean 1/rank {values[name].mean():.4f}, by seed {by_seed}")
        change = pigeonhole_bootstrap(values[names[1]] - values[names[0]], photos, [str(seed) for seed in seeds])
        mean, low, high = change.estimate
        print(f"among {among}, {names[1]} - {names[0]}: {mean:+.4f} [{low:+.4f}, {high:+.4f}], {len(seeds)} seeds")
        found[among] = mean
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Compare on a data set whose test split holds other categories than the others."""
    parser = argparse.ArgumentParser(prog="python -m sketchless.benchmarks.zero_shot.unseen", description=__doc__)
    parser.add_argument("--dataset", default="objects")
    parser.add_argument("--encoders", nargs=2, default=("small-cnn", "manifold"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--held-out", nargs="*", help="categories of training that are the test instead")
    options = parser.parse_args(argv)
    dataset = load_dataset(options.dataset)
    if options.held_out:
        dataset = held_out(dataset, options.held_out)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    compare(dataset, tuple(options.encoders), seeds)


if __name__ == "__main__":
    main()
