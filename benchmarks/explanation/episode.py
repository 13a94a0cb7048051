"""Which ink brought the photo up: a retrieval explained step by step, along the episode."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sketchless.datasets.dataset import SketchDataset, Split
from sketchless.datasets.errors import ConfigError
from sketchless.datasets.raster import birth_map
from sketchless.datasets.sketch import CANVAS, MAX_STEPS, Drawing, RasterSketch, reveal
from sketchless.encoders.bank import EpisodeBank
from sketchless.encoders.encode import encode_banks
from sketchless.encoders.networks.correspondence import token_model
from sketchless.encoders.networks.encoder import Encoder
from sketchless.envs.ranking import count_rank

from ..live import Ranker
from .pair import Explanation, explain, patch_of

BoolArray = npt.NDArray[np.bool_]
DROPPED = "(patch dropped by the network)"
_NOTHING = np.zeros((0, CANVAS, CANVAS), dtype=bool)


@dataclass(frozen=True)
class Answer:
    """New ink in one patch of the sketch, and what the photo has for it.

    Attributes:
        place: row and column of the patch.
        gain: by how much its new ink moved the score.
        match: row and column of the photo's patch; None where the network dropped the sketch's.
        strength: cosine of the two patches, NaN where there is no match.
    """

    place: tuple[int, int]
    gain: float
    match: tuple[int, int] | None
    strength: float


@dataclass(frozen=True, eq=False)
class Step:
    """One step of an episode.

    Attributes:
        rank: of the photo, 1..G, ties against it.
        score: cosine of the (refined) embedding with the photo's.
        gain: by how much the score rose, from an empty canvas on.
        order: rows of the gallery, nearest first.
        answers: of the patches with new ink, in the order in which the pen reached them; their gains sum to `gain`.
        explanation: of the drawing so far with the photo.
    """

    rank: int
    score: float
    gain: float
    order: list[int]
    answers: tuple[Answer, ...]
    explanation: Explanation

    def best(self) -> Answer | None:
        """The patch whose new ink helped most; None if none did."""
        return max((a for a in self.answers if a.gain > 0), key=lambda a: a.gain, default=None)


def bank_of_one(
    encoder: Encoder, dataset: SketchDataset, split: str, drawing: Drawing, target: int, schedule: str, steps: int
) -> EpisodeBank:
    """The bank of one drawing, searched among the photos of a split; numbers as in the bank of the whole split."""
    part = Split((drawing,), np.array([target], dtype=np.int64), dataset.split(split).photos)
    small = replace(dataset, splits={split: part})
    return encode_banks(encoder, small, schedule=schedule, steps=steps, splits=[split])[split]


def explain_episode(
    encoder: Encoder,
    bank: EpisodeBank,
    drawing: Drawing,
    photo: npt.NDArray[np.uint8],
    agent: Any = None,
) -> list[Step]:
    """Explain every step of a drawing's episode.

    The frame of a step is the one before and the new ink. That ink is added patch by patch, in the order in
    which the pen reached them; the gain of a patch is what the score rises by. So gains are measured, not
    estimated, and sum to the whole change.

    Args:
        encoder: what the bank was encoded with.
        bank: of the drawing alone, see `bank_of_one`; its target is the photo that is explained.
        photo: the target's pixels, uint8 [H, W, 3].
        agent: refines the embeddings; None for the baseline B1.

    Raises:
        ConfigError: a drawing without strokes, or an encoder that sees no patches.
    """
    if isinstance(drawing, RasterSketch):
        raise ConfigError(f"sketch {drawing.id!r} is a picture without strokes: it has no episode to explain")
    steps, target = int(bank.lengths[0]), int(bank.targets[0])
    model = token_model(encoder)
    knots = reveal(drawing, bank.reveal, steps)
    birth = birth_map(drawing, knots)
    walk = _Walk(encoder, bank, agent)
    found = []
    before = float(walk.similarity(np.zeros((1, CANVAS, CANVAS), dtype=bool))[0, target])
    for step in range(steps):
        frame = birth <= step
        explanation = explain(encoder, frame, photo, model)
        patches, frames = _patch_by_patch(drawing, knots, step, birth, explanation.sketch_attention.shape)
        similarities = walk.similarity(frames, bank.features[:1, step])  # [patches + 1, G]
        walk.go_on()
        scores = similarities[:, target].tolist()
        last = scores.pop()  # of the frame as a whole, from the bank; the last patch completes it
        if scores:
            scores[-1] = last
        gains = np.diff([before, *scores]).tolist()
        found.append(
            Step(
                rank=rank_of(similarities[-1], target),
                score=last,
                gain=last - before,
                order=similarities[-1].argsort(descending=True, stable=True).tolist(),
                answers=tuple(_answer(p, g, explanation) for p, g in zip(patches, gains, strict=True)),
                explanation=explanation,
            )
        )
        before = last
    return found


def last_similarity(encoder: Encoder, bank: EpisodeBank, agent: Any = None) -> Tensor:
    """Similarities float64 [G] of the complete drawing of a bank of one, as an agent has seen it grow."""
    walk = _Walk(encoder, bank, agent)
    for step in range(int(bank.lengths[0])):
        similarities = walk.similarity(_NOTHING, bank.features[:1, step])
        walk.go_on()
    return similarities[0]


def rank_of(similarities: Tensor, photo: int) -> int:
    """Rank 1..G of a photo among similarities [G], ties against it."""
    return int(count_rank(similarities.unsqueeze(0), torch.tensor([photo])))


class _Walk:
    """Similarities of frames with the gallery as an agent would have them at its step of the episode."""

    def __init__(self, encoder: Encoder, bank: EpisodeBank, agent: Any) -> None:
        self._ranker = Ranker(encoder, bank, agent)
        self._memory: Any = None  # of the agent, before this step
        self._next: Any = None

    def similarity(self, frames: BoolArray, features: Tensor | None = None) -> Tensor:
        """Of frames bool [n, 256, 256] and then of features [m, D]: float64 [n + m, G], on the CPU."""
        rows = [self._ranker.features(frames)] if len(frames) else []
        x = torch.cat(rows if features is None else [*rows, features])
        _, refined, self._next = self._ranker.refine(x, self._memory)
        return self._ranker.similarity(refined)

    def go_on(self) -> None:
        """To the next step: what was asked for last, its last row, has been seen."""
        self._memory = None if self._next is None else self._next[-1:]


def _patch_by_patch(
    drawing: Drawing, knots: npt.NDArray[np.int64], step: int, birth: npt.NDArray[np.uint8], grid: Sequence[int]
) -> tuple[list[tuple[int, int]], BoolArray]:
    """Patches with new ink in the order of the pen, n of them, and the frames [n, 256, 256] that it makes."""
    first, last = (int(knots[step - 1]) if step else 0), int(knots[step])
    moments = np.unique(np.linspace(first, last, min(last - first + 1, MAX_STEPS)).astype(np.int64))
    order = birth_map(drawing, moments)
    rows, columns = np.nonzero(birth == step)
    patch = patch_of(rows, grid[0]) * grid[1] + patch_of(columns, grid[1])
    reached = {int(p): int(order[rows, columns][patch == p].min()) for p in np.unique(patch)}
    patches = sorted(reached, key=lambda p: (reached[p], p))
    frames = np.repeat((birth < step)[None], len(patches), axis=0)
    for n, p in enumerate(patches):
        frames[n:, rows[patch == p], columns[patch == p]] = True
    return [divmod(p, grid[1]) for p in patches], frames


def _answer(place: tuple[int, int], gain: float, explanation: Explanation) -> Answer:
    row = np.flatnonzero((explanation.places == place).all(axis=1))
    if not len(row):
        return Answer(place, gain, None, float("nan"))
    y, x = explanation.matches[row[0]].tolist()
    return Answer(place, gain, (y, x), float(explanation.strength[row[0]]))


def standing(step: int, steps: Sequence[Step]) -> str:
    """One sentence about step number `step`, from 0, such as `step 7 of 20 brought the photo from rank 31 to 4`."""
    now = steps[step]
    if step == 0:
        told = f"step 1 of {len(steps)} put the photo at rank {now.rank}"
    else:
        before = steps[step - 1].rank
        verb = "kept the photo at" if now.rank == before else "brought the photo from"
        told = f"step {step + 1} of {len(steps)} {verb} rank {before}" + f" to {now.rank}" * (now.rank != before)
    return f"{told}: {sentence(now)}"


def sentence(step: Step) -> str:
    """What the new ink of a step did, such as `ink at the top left gave +0.120, answered at the top of the photo`."""
    best = step.best()
    if best is None:
        return "no new ink helped" if step.answers else "no new ink"
    told = f"ink at the {whereabouts(best.place, step.explanation.sketch_attention.shape)} gave {best.gain:+.3f}"
    if best.match is None:
        return f"{told} {DROPPED}"
    there = whereabouts(best.match, step.explanation.photo_attention.shape)
    return f"{told}, answered at the {there} of the photo (cosine {best.strength:.2f})"


def turning_point(steps: Sequence[Step]) -> int:
    """The step, from 0, after the first that divided the rank by most; the first if none did."""
    falls = [1.0, *(before.rank / after.rank for before, after in itertools.pairwise(steps))]
    return int(np.argmax(falls))


def whereabouts(place: tuple[int, int], grid: Sequence[int]) -> str:
    """A patch in words, by thirds: `top left`, `middle`, `right` ..."""
    row, column = (3 * (2 * at + 1) // (2 * n) for at, n in zip(place, grid, strict=True))
    return f"{('top', '', 'bottom')[row]} {('left', '', 'right')[column]}".strip() or "middle"
