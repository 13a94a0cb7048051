"""Strokes saved: how much less of a drawing a method needs for what B1 gives on the complete one.

Two readings, and both in two senses. *By sketch*: the share of a drawing at which its own photo enters the first q, on
average; a photo that never does counts with the whole drawing. *By curve*: the share at which the mean score of a
method reaches that of B1 on complete sketches. *First*: when that holds for the first time; *staying*: from when on it
holds to the end.

Ranks are int [S, N, T] of S runs on N sketches, 1..G, of which a sketch's first `lengths` [N] count; those of B1 are
[S, N, T], run by run on the same encoder, or [1, N, T]. Savings are percent of a drawing. Intervals are those of
`pigeonhole_bootstrap`: photos and sketches within them, encoders and runs within them are drawn anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sketchless.datasets.errors import ConfigError

from ..statistics import Estimate, drawn_weights, widened

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer[Any]]
Weighted = Callable[[FloatArray, FloatArray], FloatArray]  # weights of runs [R, S] and sketches [R, N] -> [R]

LEVELS = ("A@5", "A@10", "percentile")
SHARES = np.arange(5, 101, 5)  # percent of a drawing at which curves are looked at


def entry(rank: IntArray, lengths: IntArray, q: int, staying: bool = False) -> FloatArray:
    """Share of a drawing, 0..1, at which its photo enters the first q: [..., N] of ranks [..., N, T]; never: 1.

    Args:
        rank: 1..G.
        lengths: [N].
        q: 1 or more.
        staying: from when on it stays there, instead of the first time.
    """
    beyond = np.arange(rank.shape[-1]) >= lengths[:, None]  # [N, T]
    inside = (rank <= q) | (beyond if staying else False)
    if staying:
        inside = np.flip(np.logical_and.accumulate(np.flip(inside, -1), axis=-1), -1)
    inside = inside & ~beyond
    found: FloatArray = np.where(inside.any(axis=-1), (inside.argmax(axis=-1) + 1) / lengths, 1.0)
    return found


def strokes_saved(
    ours: IntArray,
    b1: IntArray,
    lengths: IntArray,
    q: int,
    staying: bool = False,
    photos: Sequence[str] = (),
    encoders: Sequence[str] = (),
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """100 * (1 - mean entry of ours / mean entry of B1): how many strokes fewer bring the photo into the first q.

    Args:
        photos: N names, of the photo that each sketch depicts; none: each has one of its own.
        encoders: S names, of the encoder that each run stands on; none: all stand on one.

    Raises:
        ConfigError: ranks, lengths or names that do not fit together.
    """
    mine, theirs = (entry(rank, lengths, q, staying) for rank in _paired(ours, b1, lengths))

    def saved(runs: FloatArray, sketches: FloatArray) -> FloatArray:
        one, other = (((runs @ each) * sketches).sum(axis=1) for each in (mine, theirs))
        result: FloatArray = 100 * (1 - one / other)
        return result

    return _estimate(saved, theirs - mine, photos, encoders, level, seed)


def share_that_saves(
    ours: IntArray,
    b1: IntArray,
    lengths: IntArray,
    q: int,
    least: float = 0.3,
    staying: bool = False,
    photos: Sequence[str] = (),
    encoders: Sequence[str] = (),
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Percent of the sketches whose photo enters the first q with at least this share (0..1) fewer strokes than B1's.

    Arguments and errors as `strokes_saved`.
    """
    mine, theirs = (entry(rank, lengths, q, staying) for rank in _paired(ours, b1, lengths))
    saves: FloatArray = 100.0 * (mine <= (1 - least) * theirs + 1e-9).astype(np.float64)

    def mean(runs: FloatArray, sketches: FloatArray) -> FloatArray:
        result: FloatArray = ((runs @ saves) * sketches).sum(axis=1) / (runs.sum(axis=1) * sketches.sum(axis=1))
        return result

    return _estimate(mean, saves, photos, encoders, level, seed)


def curve_saved(
    ours: IntArray,
    b1: IntArray,
    lengths: IntArray,
    gallery: int,
    score: str,
    staying: bool = False,
    photos: Sequence[str] = (),
    encoders: Sequence[str] = (),
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """100 - the percentage of a drawing at which the mean score of ours reaches B1's on complete sketches.

    The curve is looked at after every 5 %, and is straight in between; where it never gets there, nothing is saved.

    Args:
        gallery: G.
        score: `"A@<q>"`, share of photos in the first q, or `"percentile"`, (G - rank) / (G - 1).
        photos, encoders, staying, level, seed: as for `strokes_saved`.

    Raises:
        ConfigError: another score, and as `strokes_saved`.
    """
    mine, theirs = (_scores(_at_shares(rank, lengths), gallery, score) for rank in _paired(ours, b1, lengths))

    def saved(runs: FloatArray, sketches: FloatArray) -> FloatArray:
        weight = runs[:, :, None] * sketches[:, None, :]  # [R, S, N]
        curve = np.tensordot(weight, mine, axes=2)  # [R, P]
        goal = np.tensordot(weight, theirs[..., -1], axes=2)
        result: FloatArray = 100 - _crossing(curve, goal, staying)
        return result

    return _estimate(saved, theirs[..., -1] - mine[..., len(SHARES) // 2], photos, encoders, level, seed)


def _paired(ours: IntArray, b1: IntArray, lengths: IntArray) -> tuple[IntArray, IntArray]:
    if ours.ndim != 3 or b1.ndim != 3 or ours.shape[1:] != b1.shape[1:] or len(b1) not in (1, len(ours)):
        raise ConfigError(f"ranks {list(ours.shape)} beside those of B1 {list(b1.shape)}: want [S, N, T] and as many")
    if lengths.shape != ours.shape[1:2] or ((lengths < 1) | (lengths > ours.shape[2])).any():
        raise ConfigError(
            f"lengths {list(lengths.shape)}: want 1..{ours.shape[2]} for each of {ours.shape[1]} sketches"
        )
    return ours, np.broadcast_to(b1, ours.shape)


def _at_shares(rank: IntArray, lengths: IntArray) -> IntArray:
    """Ranks at 5, 10 .. 100 % of each drawing: [S, N, P]."""
    column = np.ceil(SHARES / 100 * lengths[:, None] - 1e-9).astype(int) - 1  # [N, P]
    return np.take_along_axis(rank, column[None], axis=-1)


def _scores(rank: IntArray, gallery: int, score: str) -> FloatArray:
    if score == "percentile":
        return np.asarray((gallery - rank) / (gallery - 1), dtype=np.float64)
    if score.startswith("A@") and score[2:].isdigit() and int(score[2:]) >= 1:
        return (rank <= int(score[2:])).astype(np.float64)
    raise ConfigError(f"unknown score {score!r}: choose A@<q> or percentile")


def _crossing(curve: FloatArray, goal: FloatArray, staying: bool) -> FloatArray:
    """Percentage at which curves [R, P], straight between the points, reach goals [R]; never: 100."""
    there = curve >= goal[:, None] - 1e-12
    if staying:
        there = np.flip(np.logical_and.accumulate(np.flip(there, 1), axis=1), 1)
    rows, place = np.arange(len(curve)), there.argmax(axis=1)
    before = np.maximum(place - 1, 0)
    rise = curve[rows, place] - curve[rows, before]
    part = np.where(rise > 0, (goal - curve[rows, before]) / np.where(rise > 0, rise, 1), 1)
    found = np.where(place == 0, SHARES[0], SHARES[before] + np.clip(part, 0, 1) * (SHARES[place] - SHARES[before]))
    result: FloatArray = np.where(there.any(axis=1), found, 100.0)
    return result


def _estimate(
    statistic: Weighted,
    spread: FloatArray,
    photos: Sequence[str],
    encoders: Sequence[str],
    level: float,
    seed: int,
) -> Estimate:
    """A statistic and its interval, widened for few runs and photos, of which `spread` [S, N] says how they differ."""
    runs, sketches = drawn_weights(spread, photos, encoders, seed)
    parts = range(0, len(runs), 200)  # all replicates of a curve at once would take gigabytes
    again = np.concatenate([statistic(runs[i : i + 200], sketches[i : i + 200]) for i in parts])
    value = float(statistic(np.ones((1, len(spread))), np.ones((1, spread.shape[1])))[0])
    return widened(value, again, spread, photos, encoders, level)
