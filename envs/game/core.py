"""The game of keeping and refining, written once: pure functions on batched positions.

A drawing grows stroke by stroke, and not every stroke helps: one agent decides which are kept, another refines
the embedding of what is kept. `sketch_game_v0` is its PettingZoo shell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.errors import ConfigError, DataError
from sketchless.datasets.sketch import Sketch
from sketchless.encoders.bank import EpisodeBank
from sketchless.encoders.networks.encoder import Encoder

from ..core import Core, State
from ..ranking import similarity, target_rank, unit
from ..rewards import Local, RewardScheme
from .subsets import SubsetEncoder


class Position(NamedTuple):
    """Where B games stand. `state.step` strokes are decided; the one of that number is on offer."""

    state: State
    kept: tuple[int, ...]  # B sets of strokes: bit i stands for stroke i


class Outcome(NamedTuple):
    """What one step gives."""

    position: Position
    reward: Tensor  # float64 [B], of both agents
    terminated: Tensor  # bool [B]
    rank: Tensor  # int64 [B]
    similarity: Tensor  # float64 [B, G], how near each photo was in this step


class Game:
    """Games on the drawings of one bank. One step is one stroke:

        on show     x(K), x(K + stroke t)            what is kept, without and with the new stroke
        selector    keep or drop                     K' = K + stroke t  or  K
        refiner     a displacement a                 both act at once, on the same sight
        ranked      normalise(b(K') + scale * a)     b: the frozen stage-1 embedding
        paid        the reward's local part for the rank, to both
        then        stroke t + 1 is drawn

    So every action is judged at once and on the latest stroke; the refiner has to reckon with what the selector
    will do. Keeping everything with zero displacement is the ordinary episode of the `strokes` schedule.

    Args:
        bank: photos, targets and frozen head; its frames are not used.
        encoder: the one that made the bank; its device is the game's.
        dataset: has the strokes of the bank's sketches, perhaps others than the bank was made from (see
            `plant_noise`). A variant `<id>~1` of a sketch is the sketch itself.
        reward: name, function or `RewardScheme`; only its local part is paid.
        scale: of a displacement, in units of the embedding, which has length 1.
        capacity: features of subsets remembered.

    Raises:
        ConfigError: another encoder than the bank's, and as `Core`.
        DataError: a sketch of the bank that the data set lacks, or one without strokes.
    """

    def __init__(
        self,
        bank: EpisodeBank,
        encoder: Encoder,
        dataset: SketchDataset,
        reward: str | Local | RewardScheme = "inv-rank",
        scale: float = 1.0,
        capacity: int = 1 << 16,
    ) -> None:
        weight = encoder.linear_head()[0].detach()
        if weight.shape != bank.weight.shape or not torch.equal(weight.cpu(), bank.weight.cpu()):
            raise ConfigError("this encoder did not make this bank: give the one that was saved beside it")
        self.core = Core(bank.to(encoder.device), reward, scale=scale)
        self.sketches = _drawings(bank, dataset)
        self.subsets = SubsetEncoder(encoder, self.sketches, capacity)
        self.lengths = torch.tensor([sketch.n_strokes for sketch in self.sketches], device=self.core.device)
        self._reward_table = self.core.reward.table(self.core.n_photos, self.core.device)  # of rank r at r - 1

    @property
    def observation_dim(self) -> int:
        """2 D."""
        return 2 * int(self.core.bank.weight.shape[1])

    def reset(self, seeds: Tensor, sketch: Tensor | None = None) -> Position:
        """First game of each seed int64 [B]; `sketch` int64 [B] names its sketch instead of the seed."""
        return Position(self.core.reset(seeds, sketch), (0,) * len(seeds))

    def next_game(self, position: Position, done: Tensor) -> Position:
        """Begin the next game where `done` bool [B]; leave the others as they are."""
        kept = tuple(0 if over else k for k, over in zip(position.kept, done.tolist(), strict=True))
        return Position(self.core.next_episode(position.state, done), kept)

    def observe(self, position: Position) -> Tensor:
        """Features of what is kept, without and with the new stroke: float32 [B, 2 D].

        After the last stroke there is no new one, and both are the same.
        """
        rows, steps = position.state.sketch.tolist(), position.state.step.tolist()
        offered = [
            kept | 1 << step if step < self.sketches[row].n_strokes else kept
            for row, step, kept in zip(rows, steps, position.kept, strict=True)
        ]
        features = self.subsets.features(rows + rows, [*position.kept, *offered])
        return torch.cat(features.split(len(rows)), dim=1).clamp(-1, 1)

    def step(self, position: Position, keep: Sequence[bool], action: Tensor) -> Outcome:
        """Decide, refine, rank, pay, draw the next stroke; after the last one `terminated`.

        Args:
            position: of games that are not over.
            keep: B decisions of the selector.
            action: [B, d] of the refiner; a longer one is scaled into the box -1..1.

        Raises:
            ConfigError: a game that is over. DataError: an action that is not finite.
        """
        state = position.state
        if (state.step >= self.lengths[state.sketch]).any():
            raise ConfigError("step called after the last stroke of a game: begin the next one first")
        steps = state.step.tolist()
        kept = tuple(k | bool(yes) << step for k, yes, step in zip(position.kept, keep, steps, strict=True))
        features = self.subsets.features(state.sketch.tolist(), kept)
        similarities = similarity(self.core.refine(self._embed(features), action), self.core.gallery)
        rank = target_rank(similarities, self.core.bank.targets[state.sketch])
        following = Position(state._replace(step=state.step + 1), kept)
        terminated = following.state.step >= self.lengths[state.sketch]
        return Outcome(following, self._reward_table[rank - 1], terminated, rank, similarities)

    def _embed(self, features: Tensor) -> Tensor:
        """Frozen embeddings float64 [B, d], as `Core` makes them."""
        return unit(self.core.bank.embed(features))


def _drawings(bank: EpisodeBank, dataset: SketchDataset) -> list[Sketch]:
    """The drawings of a bank's sketches, in its order."""
    split = dataset.split(bank.split)
    known = {name: row for row, name in enumerate(split.sketch_ids)}
    drawings = []
    for name in bank.sketch_ids:
        row = known.get(name, known.get(name.rpartition("~")[0]))
        if row is None:
            raise DataError(f"{dataset.name} ({bank.split}): no sketch {name!r}; give the data set of the bank")
        drawing = split.sketches[row]
        if not (isinstance(drawing, Sketch) and drawing.n_strokes):
            raise DataError(f"{dataset.name} ({bank.split}): sketch {name!r} has no strokes; leave it out")
        drawings.append(drawing)
    return drawings
