"""Timing several things fairly: in one run, turn by turn, so that a slow minute of the machine hits all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

Clock = Callable[[], float]


RESAMPLES = 2000


@dataclass(frozen=True)
class Timing:
    """How long one call takes, in seconds: the median over rounds and the quartiles around it."""

    median: float
    low: float
    high: float
    rounds: int
    loops: int
    """calls in a row that make up one reading"""
    readings: tuple[float, ...]
    """by round"""

    @classmethod
    def of(cls, readings: Sequence[float], loops: int) -> Timing:
        """The same of seconds by round."""
        low, median, high = np.percentile(readings, [25, 50, 75]).tolist()
        return cls(median, low, high, len(readings), loops, tuple(readings))


class Ratio(NamedTuple):
    """A ratio of medians and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 0 if self.value >= 100 else 1 if self.value >= 10 else 2
        return f"{self.value:,.{digits}f} ({self.low:,.{digits}f}-{self.high:,.{digits}f})"


def ratio(over: Timing, under: Timing, factor: float = 1.0) -> Ratio:
    """`factor` times the median seconds of one job by those of another, measured in the same rounds.

    The interval is a bootstrap over rounds (Efron, 1979, percentiles of 2000 draws): a round is drawn with both of its
    readings, so that a slow minute hits both. Of three rounds it is not much more than their range.
    """
    pairs = np.array([over.readings, under.readings])  # [2, rounds]
    drawn = np.random.default_rng(0).integers(pairs.shape[1], size=(RESAMPLES, pairs.shape[1]))
    medians = np.median(pairs[:, drawn], axis=-1)  # [2, draws]
    low, high = np.percentile(factor * medians[0] / medians[1], [2.5, 97.5]).tolist()
    return Ratio(factor * over.median / under.median, low, high)


def interleave(
    jobs: Mapping[str, Callable[[], object]],
    rounds: int,
    least: float = 0.0,
    clock: Clock = time.perf_counter,
    settle: Callable[[], None] = lambda: None,
) -> dict[str, Timing]:
    """Time every job once a round, each round in the order of the one before turned by one.

    Args:
        jobs: by name; each is called once before every reading, so that caches and memory are its own.
        rounds: readings per job, 1 or more.
        least: seconds that one reading should take at least; quick jobs are called several times for it.
        clock: seconds from any beginning.
        settle: called before the clock is read: waits until what was asked for is done.
    """

    def reading(job: Callable[[], object], loops: int) -> float:
        job()
        settle()
        start = clock()
        for _ in range(loops):
            job()
        settle()
        return (clock() - start) / loops

    loops = {name: max(1, math.ceil(least / max(reading(job, 1), 1e-9))) for name, job in jobs.items()}
    readings: dict[str, list[float]] = {name: [] for name in jobs}
    names = list(jobs)
    for turn in range(rounds):
        first = turn % len(names) if names else 0
        for name in names[first:] + names[:first]:
            readings[name].append(reading(jobs[name], loops[name]))
    return {name: Timing.of(readings[name], loops[name]) for name in jobs}
