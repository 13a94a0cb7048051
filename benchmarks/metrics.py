"""How well a policy retrieves: the paper's metrics, and their uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sketchless.datasets.errors import ConfigError
from sketchless.datasets.tables import ShownAsTable
from sketchless.encoders.bank import EpisodeBank
from sketchless.envs.core import Core
from sketchless.envs.ranking import m_at_a, m_at_b, percentile, similarity

from .rollouts import mean_actions
from .stopping import Stopping, stopping

FloatArray = npt.NDArray[np.float64]
POINTS = np.arange(5, 101, 5)  # percent of a sketch at which curves are drawn


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation(ShownAsTable):
    """Ranks of every frame of every drawing of a split.

    Attributes:
        rank: int64 [N, T], 1..G; 0 beyond a drawing's length.
        lengths: int64 [N].
        gallery: G.
        sketch_ids: N names.
        tau: Kendall-tau distance, 0..1, of each frame's list from that of the frame before: float64 [N, T-1]; 0
            beyond a drawing's length, NaN where it was not measured.
        tied: share of the ranks that ties decided, 0..1: another photo was exactly as near as the own one, and
            counts as nearer. NaN where it was not measured.
        photo_ids: N names, of the photo that each sketch depicts; none where that is not known.
        shown: int64 [N], the step at which the list is shown, 1..T, in `Stop-v0`; None elsewhere.
        stroke_cost: of each step before that, in `Stop-v0`.
    """

    rank: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    gallery: int
    sketch_ids: tuple[str, ...]
    tau: FloatArray = field(default_factory=lambda: np.full((1, 1), np.nan))
    tied: float = math.nan
    photo_ids: tuple[str, ...] = ()
    shown: npt.NDArray[np.int64] | None = None
    stroke_cost: float = 0.0

    def shown_at(self, shown: npt.NDArray[np.int64], stroke_cost: float) -> Evaluation:
        """The same ranks, of which those of one step each are shown: int64 [N]. Raises ConfigError as `stopping`."""
        stopping(self.rank, self.lengths, shown, stroke_cost)
        return replace(self, shown=shown, stroke_cost=stroke_cost)

    @property
    def stopping(self) -> Stopping | None:
        """What the lists shown gave, in `Stop-v0`."""
        return None if self.shown is None else stopping(self.rank, self.lengths, self.shown, self.stroke_cost)

    def as_table(self) -> tuple[str, list[list[str]]]:
        values = self.summary()
        rows = [list(values), [f"{value:.2f}" for value in values.values()]]
        return f"Evaluation: {len(self.rank)} drawings, {self.gallery} photos", rows

    @property
    def m_at_a(self) -> float:
        """100 * mean ranking percentile (G - r)/(G - 1) over frames and sketches."""
        return float(self.per_sketch("m@A").mean())

    @property
    def m_at_b(self) -> float:
        """100 * mean 1/r over frames and sketches."""
        return float(self.per_sketch("m@B").mean())

    def acc_at(self, q: int) -> float:
        """Percentage of complete sketches whose photo is among the first q. Raises ConfigError for q < 1."""
        return float(self.per_sketch(f"A@{q}").mean())

    @property
    def weighted_m_at_a(self) -> float:
        """m@A with frame t (from 1) weighted by exp(-t/T), as later papers report it."""
        return float(self.per_sketch("w@mA").mean())

    @property
    def weighted_m_at_b(self) -> float:
        """m@B with frame t (from 1) weighted by exp(-t/T)."""
        return float(self.per_sketch("w@mB").mean())

    def per_sketch(self, metric: str) -> FloatArray:
        """One value per sketch, 0..100: float64 [N]; its mean is the metric.

        Args:
            metric: `"m@A"`, `"m@B"`, `"w@mA"`, `"w@mB"` or `"A@<q>"`. Frames are averaged within a sketch
                first, which for equal lengths is the plain mean over all frames.

        Raises:
            ConfigError: another metric, or q < 1.
        """
        if metric.startswith("A@") and metric[2:].isdigit() and int(metric[2:]) >= 1:
            last = self.rank[np.arange(len(self.rank)), self.lengths - 1]
            hit: FloatArray = np.where(last <= int(metric[2:]), 100.0, 0.0)
            return hit
        if metric not in ("m@A", "m@B", "w@mA", "w@mB"):
            raise ConfigError(f"unknown metric {metric!r}: choose one of m@A, m@B, w@mA, w@mB, A@1, A@5, A@10")
        rank, lengths = torch.from_numpy(self.rank), torch.from_numpy(self.lengths).unsqueeze(1)
        step = torch.arange(1, rank.shape[1] + 1)
        # the plain product exp(-t/T) * value, averaged over frames as in the later papers
        weight = torch.exp(-step / lengths.double()) if metric.startswith("w@") else None
        valid = step <= lengths  # [N, T]
        if metric[-1] == "A":
            return m_at_a(rank, valid, self.gallery, weight).numpy()
        return m_at_b(rank, valid, weight).numpy()

    def by_percentage(self) -> tuple[FloatArray, FloatArray]:
        """Mean ranking percentile and mean 1/rank (0..1) at 5, 10 .. 100 % of the sketches: float64 [20] each."""
        column = np.ceil(POINTS[None, :] / 100 * self.lengths[:, None] - 1e-9).astype(int) - 1  # [N, 20]
        rows = np.arange(len(self.rank))[:, None]
        rank = self.rank[rows, column]
        return percentile(torch.from_numpy(rank), self.gallery).numpy().mean(axis=0), (1 / rank).mean(axis=0)

    def first_among(self, q: int) -> FloatArray:
        """Share of each drawing (0..1) at which its photo first is among the first q; infinite where it never is: [N].

        Raises:
            ConfigError: q < 1.
        """
        if q < 1:
            raise ConfigError(f"q={q}: must be at least 1")
        found = (self.rank >= 1) & (self.rank <= q)  # 0 beyond the end
        share: FloatArray = np.where(found.any(axis=1), (found.argmax(axis=1) + 1) / self.lengths, np.inf)
        return share

    def tau_by_step(self) -> FloatArray:
        """Mean Kendall-tau distance between the lists of consecutive frames, of drawings that have both: [T-1]."""
        both = np.arange(2, self.rank.shape[1] + 1) <= self.lengths[:, None]
        found: FloatArray = (self.tau * both).sum(axis=0) / np.maximum(both.sum(axis=0), 1)
        return found

    def falls(self) -> tuple[FloatArray, FloatArray]:
        """Of each frame but a drawing's first: how much its list changed, and how far the photo fell: [M] and [M].

        Returns:
            Kendall-tau distance to the list one frame before, 0..1 (NaN where it was not measured), and the ranking
            percentile that was lost, 0..100, 0 where the photo rose.
        """
        # fall_t = 100 max(0, p_{t-1} - p_t),  p_t = (G - r_t)/(G - 1)
        both = np.arange(2, self.rank.shape[1] + 1) <= self.lengths[:, None]  # [N, T-1]
        lost = 100 * np.maximum(np.diff(self.rank, axis=1), 0) / (self.gallery - 1)
        tau = np.broadcast_to(self.tau, both.shape)
        return tau[both], lost[both]

    def summary(self) -> dict[str, float]:
        """The metrics of the paper's tables."""
        return {name: float(self.per_sketch(name).mean()) for name in METRICS}


HEADLINE = ("m@A", "m@B")
"""Those of whole episodes, which the paper's tables lead with."""
METRICS = ("m@A", "m@B", "A@1", "A@5", "A@10")


def evaluate(
    policy: Any,
    bank: EpisodeBank,
    mode: str | None = None,
    observation: str | None = None,
    scale: float | None = None,
    leak: bool = False,
) -> Evaluation:
    """Play every drawing of a bank once, with the policy's mean action.

    Episodes run forward in time and the policy sees one frame after the other, so it cannot use a later one.

    A model is played in its own environment, found through wrappers and vector environments: with that mode,
    scale and observation, and through copies of the wrappers that change what it sees or does (`VecNormalize`
    with the model's statistics, `RescaleAction`, `VecFrameStack` ...). The environment itself is left as it is.
    Through wrappers, drawings are played one environment at a time; without them all at once. In `Stop-v0` every
    frame is ranked, also those after the list is shown; `Evaluation.stopping` is of those that are shown.

    Args:
        policy: an agent of ours, a model with stable-baselines3's `predict` and `get_env`, a function from
            observations [N, D] (a tensor) to actions [N, d], or None for the baseline B1 (zero refinement).
        bank: drawings and gallery.
        mode, observation, scale: of the refinement; by default those of the model's own environment. A model
            without one (`PPO.load(path)`) needs them, and is taken to have no wrappers. For a function they are
            by default `"residual"`, `"feature"` and 1.
        leak: let the policy of an agent of ours see all frames of a drawing before it answers the first, which nobody
            has while a person draws: for those that look at later frames, to measure what that is worth.

    Raises:
        DataError: an action that is not finite. ConfigError: actions of another shape, a model whose settings are
            neither known nor given, or a wrapper that cannot be played through, by name; an agent that looks at later
            frames, without `leak`; `leak` where the policy is no agent of ours or actions change what is observed.
    """
    played = mean_actions(policy, bank, {"mode": mode, "observation": observation, "scale": scale}, leak)
    core, actions = played.core, played.refinements
    score = core.score(torch.arange(len(bank), device=core.device), actions)
    rank, lengths, tau = (x.cpu().numpy() for x in (score.rank, bank.lengths, score.tau))
    depicted = tuple(bank.photo_ids[row] for row in bank.targets.tolist())
    found = Evaluation(rank, lengths, core.n_photos, tuple(bank.sketch_ids), tau, _tied(core, actions), depicted)
    return found if played.shown is None else found.shown_at(played.shown.cpu().numpy(), played.stroke_cost)


def _tied(core: Core, actions: Tensor) -> float:
    """Share of the frames whose own photo ties with another, under actions [N, T, d]."""
    ties = 0
    for rows in torch.arange(len(actions), device=core.device).split(core.rows_at_once):
        targets, lengths = core.bank.targets[rows].unsqueeze(1), core.bank.lengths[rows]
        for t in range(core.n_steps):
            similarities = similarity(core.refine(core.base[rows, t], actions[rows, t]), core.gallery)  # [b, G]
            tied = (similarities == similarities.gather(1, targets)).sum(dim=1) > 1
            ties += int((tied & (lengths > t)).sum())
    return ties / int(core.bank.lengths.sum())
