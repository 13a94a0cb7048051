"""Which sketches and photos of a multi-category set stand in which split.

Zero-shot work tests on categories that were never seen in training. They are named by `unseen`, or by the file
lists that such work publishes (`filelists`); without either, the test split is that of the release or a share of
the photos, the same for every seed. Validation photos are drawn by the seed from what is left for training.
"""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import as_count
from ..errors import ConfigError, unknown_name
from .filelists import Drawn, Part, Photo, listed, names
from .twins import plain

TEST = 0x7E57  # seed of a test split that no release states: the same one whatever `seed`
SHARE = 0.1  # of the photos (or of the sketches, if there are no photos) that a split takes by default
MAX_SHARE = 0.25  # that validation takes, however many are asked for


@dataclass(frozen=True)
class Holdout:
    """How to split.

    Attributes:
        seed: of what is drawn for validation.
        validation: photos taken from training, at most a quarter of them; by default a tenth.
        validation_categories: hold out so many whole categories for validation instead.
        unseen: categories of the test split: names, or a file of lines `<name>` or `<name> <id>`.
        filelists: folder of lists `*_train.txt` and `*_zero.txt` with lines `<path> <label>`.
    """

    seed: int = 0
    validation: int | None = None
    validation_categories: int = 0
    unseen: Sequence[str] | str | None = None
    filelists: str | None = None

    def __post_init__(self) -> None:
        for name in ("seed", "validation", "validation_categories"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, as_count(name, value, 0))
        if self.unseen is not None and self.filelists is not None:
            raise ConfigError("unseen= and filelists= both say what to test on; give one of them")

    def spec(self) -> dict[str, Any]:
        """The options as plain JSON values."""
        unseen = self.unseen if self.unseen is None or isinstance(self.unseen, str) else list(self.unseen)
        return {
            "seed": self.seed,
            "validation": self.validation,
            "validation_categories": self.validation_categories,
            "unseen": unseen,
            "filelists": self.filelists,
        }

    def divide(
        self,
        root: Path,
        sketches: Sequence[Drawn],
        photos: Sequence[Photo],
        test: Collection[str] = (),
        twins: Mapping[str, str] | None = None,
    ) -> tuple[dict[str, Part], list[str]]:
        """Sketches and photos of `train`, `validation` and `test`, and notes on what is not as it was asked for.

        Args:
            root: folder that paths in file lists are relative to; also that of a file of names.
            sketches, photos: of all categories.
            test: photo ids of the released test split, for a set of instances.
            twins: other ids by which file lists may name a photo.

        Raises:
            ConfigError: unknown categories, or nothing left to train on.
            DataError, FormatError, UnsafeFileError: as `listed`.
        """
        rng = np.random.default_rng(self.seed)
        whole = (list(sketches), list(photos))
        notes: list[str] = []
        if self.filelists is not None:
            train, held = listed(root, _below(root, self.filelists), whole, twins or {})
        elif self.unseen is not None:
            train, held = _by_category(whole, self._unseen(root, whole))
        elif test:
            train, held = _by_photo(whole, test)
        else:
            train, held = _split_off(whole, None, np.random.default_rng(TEST), [])
        if self.validation_categories:
            seen = sorted({sketch.category for sketch in train[0]})
            if self.validation_categories >= len(seen):
                raise ConfigError(
                    f"validation_categories={self.validation_categories}: leaves none of {len(seen)} to learn from"
                )
            chosen = rng.permutation(len(seen))[: self.validation_categories]
            train, validation = _by_category(train, {seen[place] for place in chosen})
        else:
            train, validation = _split_off(train, self.validation, rng, notes)
        return {"train": train, "validation": validation, "test": held}, notes

    def _unseen(self, root: Path, whole: Part) -> set[str]:
        given = self.unseen or ()
        if isinstance(given, str):
            file = _below(root, given)
            wanted = names(file) if os.path.isfile(file) else given.split(",")
        else:
            wanted = list(given)
        known = {plain(category): category for category in _categories(whole)}
        for name in wanted:
            if plain(name) not in known:
                raise unknown_name("category", name, known.values())
        if not wanted:
            raise ConfigError("unseen= names no category; leave it out to test on seen ones")
        return {known[plain(name)] for name in wanted}


def at_most_a_share(asked: int, pool: int, split: str = "validation") -> tuple[int, list[str]]:
    """How many of `pool` photos are taken where so many are asked for; and a line for the report if it is fewer."""
    most = math.ceil(MAX_SHARE * pool)
    if asked <= most < pool or not asked:
        return asked, []
    most = min(most, max(pool - 1, 0))
    return most, [f"{split}: {most} of {pool} photos, a quarter, instead of {asked}, to leave the rest to learn from"]


def _below(root: Path, name: str) -> Path:
    """A file that is named from here or from the folder of the set."""
    path = Path(os.path.expanduser(name))  # unlike `expanduser` of a Path it takes any text
    return path if os.path.exists(path) else root / path


def _categories(part: Part) -> list[str]:
    return sorted({sketch.category for sketch in part[0]} | {photo.category for photo in part[1]})


def _by_category(part: Part, held: Collection[str]) -> tuple[Part, Part]:
    sketches, photos = part
    return (
        ([s for s in sketches if s.category not in held], [p for p in photos if p.category not in held]),
        ([s for s in sketches if s.category in held], [p for p in photos if p.category in held]),
    )


def _by_photo(part: Part, held: Collection[str]) -> tuple[Part, Part]:
    sketches, photos = part
    return (
        ([s for s in sketches if s.photo not in held], [p for p in photos if p.id not in held]),
        ([s for s in sketches if s.photo in held], [p for p in photos if p.id in held]),
    )


def _split_off(part: Part, count: int | None, rng: np.random.Generator, notes: list[str]) -> tuple[Part, Part]:
    """Take so many photos out, with the sketches that depict them, or with as large a share of their categories'."""
    sketches, photos = part
    depicted = {sketch.photo for sketch in sketches} & {photo.id for photo in photos}
    if depicted:
        pool = [Photo(photo.id, "") for photo in photos if photo.id in depicted]
    else:
        pool = photos or [Photo(sketch.item.id, sketch.category) for sketch in sketches]
    if count is None:
        count = max(min(math.ceil(SHARE * len(pool)), len(pool) - 1), 0)
    else:
        count, said = at_most_a_share(count, len(pool))
        notes += said
    left = Counter(photo.category for photo in pool)
    chosen: set[str] = set()
    for place in rng.permutation(len(pool)):
        if len(chosen) == count:
            break
        if left[pool[place].category] > 1:  # each category keeps a photo
            left[pool[place].category] -= 1
            chosen.add(pool[place].id)
    if depicted or not chosen:
        return _by_photo(part, chosen)
    held = _same_share(sketches, photos, chosen, rng) if photos else chosen
    return (
        ([s for s in sketches if s.item.id not in held], [p for p in photos if p.id not in chosen]),
        ([s for s in sketches if s.item.id in held], [p for p in photos if p.id in chosen]),
    )


def _same_share(
    sketches: Sequence[Drawn], photos: Sequence[Photo], chosen: Collection[str], rng: np.random.Generator
) -> set[str]:
    """Of each category as large a share of the sketches as of the photos: at least one, never all."""
    total, taken = Counter(photo.category for photo in photos), Counter(p.category for p in photos if p.id in chosen)
    members = defaultdict(list)
    for sketch in sketches:
        members[sketch.category].append(sketch.item.id)
    held: set[str] = set()
    for category in sorted(taken):
        ids = members[category]
        number = min(max(round(len(ids) * taken[category] / total[category]), 1), len(ids) - 1)
        held.update(ids[place] for place in rng.permutation(len(ids))[: max(number, 0)])
    return held
