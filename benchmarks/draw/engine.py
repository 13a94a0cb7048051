"""From raw points to ranked photos: the data set's rasteriser, the bank's encoder, the agent, exact ranks.

Nothing is drawn, embedded or ranked here: the functions that made the bank and that `evaluate` calls are used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sketchless.datasets.dataset import SketchDataset, Split
from sketchless.datasets.errors import ConfigError
from sketchless.datasets.raster import birth_map
from sketchless.datasets.sketch import Sketch
from sketchless.encoders.bank import EpisodeBank
from sketchless.encoders.networks.correspondence import TokenModel, token_model
from sketchless.encoders.networks.encoder import Encoder
from sketchless.envs.ranking import count_rank, m_at_a, m_at_b, percentile
from sketchless.envs.rendering.renderer import Renderer

from ..display.animation import gif
from ..explanation.pair import explain
from ..live import Ranker, Standing

TOP = 10  # photos shown of each list
LINKS = 6  # pairs of patches shown of an explanation
EARLY = 5  # "first in the top 5"

Photo = npt.NDArray[np.uint8]
Stroke = npt.NDArray[np.float64]  # [p, 2]


@dataclass(frozen=True)
class Example:
    """A drawing of the data set, and the row of the photo that it depicts."""

    sketch: Sketch
    target: int


class Engine:
    """Ranks drawings that grow stroke by stroke, for B1 and for an agent; holds nothing of any drawing.

    Args:
        encoder: what the bank was encoded with.
        bank: gallery and head.
        agent: the refined policy; None: B1 alone.
        photo: pixels of a photo by its row in the gallery.
        examples: gives drawings to show, when it is first asked for them.
        about: one line on what is searched.

    Raises:
        CheckpointError, ConfigError: see `Ranker`.
    """

    def __init__(
        self,
        encoder: Encoder,
        bank: EpisodeBank,
        agent: Any,
        photo: Callable[[int], Photo],
        examples: Callable[[], Sequence[Example]] = tuple,
        about: str = "",
    ) -> None:
        self.encoder, self.bank, self.agent = encoder, bank, agent
        self.photo, self.examples, self.about = photo, examples, about
        self._ranker = Ranker(encoder, bank, agent)
        self.tokens = _tokens(encoder)

    @property
    def names(self) -> tuple[str, ...]:
        """Ids of the photos, in the order of the gallery."""
        return self.bank.photo_ids

    def warm_up(self) -> None:
        """Compile what is compiled at its first use, so that the first stroke does not wait for it."""
        standings = self.follow([np.array([[9.0, 9.0], [20.0, 20.0]])])
        self.lists(standings[0])
        self.curve(standings, 0)

    def features(self, strokes: Sequence[Stroke]) -> Tensor:
        """What the encoder sees in a drawing: float32 [D], as in a bank."""
        return self._ranker.features(frame(strokes)[None])[0]

    def follow(self, strokes: Sequence[Stroke], known: Sequence[Standing] = ()) -> list[Standing]:
        """Where a drawing stands after each of its strokes, given where it stood after the first ones.

        Raises:
            FormatError: points that no sketch can have, or nothing inside the canvas.
        """
        found = list(known[: len(strokes)])
        for count in range(len(found) + 1, len(strokes) + 1):
            memory = found[-1].memory if found else None
            found.append(self._ranker.after(frame(strokes[:count]), memory))
        return found

    def lists(self, standing: Standing) -> dict[str, list[tuple[int, float]]]:
        """The first photos of B1 and of the refined policy: (row, cosine), nearest first."""
        return {
            name: [(row, round(float(near[row]), 4)) for row in _order(near)[:TOP]]
            for name, near in zip(("b1", "refined"), self._similarity([standing]), strict=True)
        }

    def curve(self, standings: Sequence[Standing], target: int) -> dict[str, Any]:
        """Ranks of a photo after each stroke, and the paper's figures of them, for B1 and the refined policy."""
        size, found = len(self.names), {}
        near = self._similarity(standings)  # [2 n, G]
        ranks = count_rank(near, torch.full((len(near),), target)).view(2, -1)
        valid = torch.ones(1, ranks.shape[1], dtype=torch.bool)
        for name, rank in zip(("b1", "refined"), ranks, strict=True):
            early = (rank <= EARLY).nonzero().flatten().tolist()
            found[name] = {
                "rank": rank.tolist(),
                "percentile": [round(100 * p, 3) for p in percentile(rank, size).tolist()],
                "m@A": round(float(m_at_a(rank[None], valid, size)), 3),
                "m@B": round(float(m_at_b(rank[None], valid)), 3),
                "early": round(100 * (early[0] + 1) / len(rank)) if early else None,
            }
        return {"photo": target, **found}

    def explanation(self, strokes: Sequence[Stroke], photo: int) -> dict[str, Any]:
        """Which ink answers which patch of a photo, strongest first; patches as (row, column).

        Raises:
            ConfigError: an encoder that sees no patches.
        """
        if self.tokens is None:
            raise ConfigError("this encoder sees no patches, so there is nothing to explain")
        pair = explain(self.encoder, frame(strokes), self.photo(photo), self.tokens)
        rows = pair.strongest(LINKS)
        return {
            "photo": photo,
            "cosine": round(pair.score, 3),
            "grid": [list(pair.sketch_attention.shape), list(pair.photo_attention.shape)],
            "links": [
                {
                    "ink": pair.places[i].tolist(),
                    "patch": pair.matches[i].tolist(),
                    "cosine": round(float(pair.strength[i]), 3),
                }
                for i in rows
            ],
        }

    def animation(
        self, path: Path, strokes: Sequence[Stroke], standings: Sequence[Standing], target: int | None
    ) -> None:
        """Write a drawing stroke by stroke, with the first photos of B1 and of the refined policy, as a GIF."""
        sketch = Sketch.from_strokes(strokes, "drawing")
        row = 0 if target is None else target
        split = Split((sketch,), np.array([row]), self.names)
        steps = len(standings)
        bank = replace(
            self.bank,
            features=self.bank.features[:1, :1].expand(1, steps, -1),  # looked at by nobody: the pictures need none
            lengths=torch.tensor([steps]),
            targets=torch.tensor([row]),
            sketch_ids=(sketch.id,),
            reveal="strokes",
        )
        rows = {name: i for i, name in enumerate(self.names)}
        dataset = SketchDataset("drawing", {}, {bank.split: split}, lambda name: self.photo(rows[name]), {})
        renderer, pictures = Renderer(bank, dataset), []
        for step, standing in enumerate(standings):
            near = self._similarity([standing])
            rank = [None, None] if target is None else count_rank(near, torch.full((2,), target)).tolist()
            named = zip(("B1", "refined"), near, rank, strict=True)
            shown = [(name, _order(similarities), r) for name, similarities, r in named]
            pictures.append(renderer.compare(0, step, shown if self.agent is not None else shown[:1]))
        gif(path, pictures, seconds=0.6)

    def _similarity(self, standings: Sequence[Standing]) -> Tensor:
        """Of B1 after each stroke and then of the refined policy: float64 [2 n, G]."""
        return self._ranker.similarity(torch.stack([s.base for s in standings] + [s.refined for s in standings]))


def frame(strokes: Sequence[Stroke]) -> npt.NDArray[np.bool_]:
    """Where strokes have ink: bool [256, 256], drawn as the last frame of an episode is."""
    sketch = Sketch.from_strokes(strokes, "drawing")
    ink: npt.NDArray[np.bool_] = birth_map(sketch, [max(len(sketch), 1)]) == 0
    return ink


def _order(similarities: Tensor) -> list[int]:
    rows: list[int] = similarities.argsort(descending=True, stable=True).tolist()
    return rows


def _tokens(encoder: Encoder) -> TokenModel | None:
    try:
        return token_model(encoder)
    except ConfigError:
        return None
