"""Encoders on categories that training has not seen, in pairs of the same seed.

python -m sketchless.benchmarks.zero_shot.unseen --seeds 3       `manifold` beside the same backbone with a plain head
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.loading import load_dataset
from sketchless.encoders import EncoderConfig, Stage1Config, encode_banks, make_encoder, train_stage1

from ..statistics import interval


def reciprocal_ranks(name: str, dataset: SketchDataset, seed: int, size: int, epochs: int) -> npt.NDArray[np.float64]:
    """1/rank [N] of the photo that each complete test sketch depicts, among all photos of the test split."""
    encoder = make_encoder(EncoderConfig(name, size=size, seed=seed))
    train_stage1(encoder, dataset, Stage1Config(epochs=epochs, seed=seed))
    bank = encode_banks(encoder, dataset, splits=("test",))["test"]
    complete = bank.features[torch.arange(len(bank)), bank.lengths - 1]
    similarity = encoder.cpu().embed(complete).detach() @ bank.gallery.T  # [N, G]
    own = similarity.gather(1, bank.targets.unsqueeze(1))
    return 1 / (similarity >= own).sum(dim=1).double().numpy()  # ties count against us


def compare(dataset: SketchDataset, names: tuple[str, str], seeds: int, size: int = 32, epochs: int = 20) -> float:
    """Print the mean of 1/rank of both and their difference with its 95 % interval over sketches; the difference."""
    ranks = {n: np.stack([reciprocal_ranks(n, dataset, s, size, epochs) for s in range(seeds)]) for n in names}
    for name, values in ranks.items():
        print(f"{name}: mean 1/rank {values.mean():.4f}, by seed {np.round(values.mean(axis=1), 4).tolist()}")
    change = (ranks[names[1]] - ranks[names[0]]).mean(axis=0)
    low, high = interval(change)
    print(f"{names[1]} - {names[0]}: {change.mean():+.4f} [{low:+.4f}, {high:+.4f}], {seeds} seeds")
    return float(change.mean())


def main(argv: Sequence[str] | None = None) -> None:
    """Compare on a data set whose test split holds other categories than the others."""
    parser = argparse.ArgumentParser(prog="python -m sketchless.benchmarks.zero_shot.unseen", description=__doc__)
    parser.add_argument("--dataset", default="objects")
    parser.add_argument("--encoders", nargs=2, default=("small-cnn", "manifold"))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(argv)
    compare(load_dataset(options.dataset), tuple(options.encoders), options.seeds)


if __name__ == "__main__":
    main()
