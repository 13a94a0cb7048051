"""Timing several things fairly: in one run, turn by turn, so that a slow minute of the machine hits all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Clock = Callable[[], float]


@dataclass(frozen=True)
class Timing:
    """How long one call takes, in seconds: the median over rounds and the quartiles around it."""

    median: float
    low: float
    high: float
    rounds: int
    loops: int
    """calls in a row that make up one reading"""


def interleave(
    jobs: Mapping[str, Callable[[], object]],
    rounds: int,
    least: float = 0.0,
    clock: Clock = time.perf_counter,
) -> dict[str, Timing]:
    """Time every job once a round, each round in the order of the one before turned by one.

    Args:
        jobs: by name; each is called once before every reading, so that caches and memory are its own.
        rounds: readings per job, 1 or more.
        least: seconds that one reading should take at least; quick jobs are called several times for it.
        clock: seconds from any beginning.
    """

    def reading(job: Callable[[], object], loops: int) -> float:
        job()
        start = clock()
        for _ in range(loops):
            job()
        return (clock() - start) / loops

    loops = {name: max(1, math.ceil(least / max(reading(job, 1), 1e-9))) for name, job in jobs.items()}
    readings: dict[str, list[float]] = {name: [] for name in jobs}
    names = list(jobs)
    for turn in range(rounds):
        first = turn % len(names) if names else 0
        for name in names[first:] + names[:first]:
            readings[name].append(reading(jobs[name], loops[name]))
    return {name: Timing(*_quartiles(readings[name]), rounds, loops[name]) for name in jobs}


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    low, median, high = np.percentile(values, [25, 50, 75]).tolist()
    return median, low, high
