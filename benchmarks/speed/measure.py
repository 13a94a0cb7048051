"""Measuring two things in one run, interleaved: medians, ratios, tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.table import Table
from tyro.conf import Positional

from .timing import Ratio, Timing, interleave, ratio

D, DIM, STEPS = 2048, 64, 20  # width of a feature and of an embedding, frames a sketch


MIN_SECONDS = 0.02  # seconds a reading takes at least


# Ratios to reach on two cores: what, photos, environments.
AIMS: dict[tuple[str, int | None, int | None], float] = {
    ("env combined over DummyVecEnv", 300, 1024): 120.0,
    ("env combined over DummyVecEnv", 1800, 1024): 45.0,
    ("env inv-rank off the floor", 300, 1024): 1.5,
    ("tau over scipy", 300, None): 120.0,
    ("tau over scipy", 1800, None): 25.0,
    ("frames over plain", None, None): 350.0,
}


Job = Callable[[], object]


@dataclass(frozen=True)
class BenchConfig:
    """Measure speed, everything in one run and turn by turn; medians count, and only their ratios travel."""

    what: Positional[str] = "env"
    """`env`: episodes; `kernels`: Kendall tau, ranks and frames; `training`: learning end to end;
    `draw`: what a person who draws waits."""
    quick: bool = False
    """Few readings of small sizes, in seconds: to see that it runs."""
    galleries: tuple[int, ...] = (100, 300, 1800, 10_000)
    """Photos to rank."""
    batches: tuple[int, ...] = (1, 4, 16, 64, 256, 1024, 4096)
    """Environments side by side."""
    repeats: int = 7
    """Readings of each."""
    threads: int | None = None
    """Threads of torch and of the compiled kernels; by default one per core."""
    run: str | None = None
    """With `draw`: serve this run instead of what ships, as `sketchless draw --run` does."""
    photos: str | None = None
    """With `draw`: search this folder, as `sketchless draw --photos` does."""
    device: str = "cpu"
    """Where ours computes, `cpu` or `cuda`; what it is compared with stays on the CPU."""
    out: str | None = None
    """Folder of the run."""


@dataclass(frozen=True)
class Reading:
    """One thing measured: `units` of work (env steps, pairs, lists, sketches) in one call of `timing`."""

    what: str
    gallery: int | None
    batch: int
    steps: int | None
    units: int
    timing: Timing

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.units / self.timing.median

    def as_json(self) -> dict[str, Any]:
        """Everything, with seconds as measured and units a second."""
        return {**asdict(self), "per_second": self.rate, "us_per_unit": 1e6 / self.rate}


def measure(work: dict[tuple[str, int], tuple[Job, int]], config: BenchConfig, size: int, steps: int) -> list[Reading]:
    jobs = {f"{name}|{batch}": job for (name, batch), (job, _) in work.items()}
    timings = interleave(jobs, config.repeats, 0.0 if config.quick else MIN_SECONDS, settle=settled(config.device))
    return [
        Reading(name, size, batch, steps, units, timing)
        for ((name, batch), (_, units)), timing in zip(work.items(), timings.values(), strict=True)
    ]


def settled(device: str) -> Callable[[], None]:
    """Waits until a device has done what it was asked for."""
    return torch.cuda.synchronize if device == "cuda" else lambda: None


def times(quick: Reading, slow: Reading) -> Ratio:
    """How many times as much one does in a second as the other, both measured in the same rounds."""
    return ratio(slow.timing, quick.timing, quick.units / slow.units)


def ratio_record(what: str, gallery: int | None, batch: int | None, found: Ratio) -> dict[str, Any]:
    aim, interval = AIMS.get((what, gallery, batch)), [found.low, found.high]
    return {"what": what, "gallery": gallery, "batch": batch, "ratio": found.value, "interval95": interval, "aim": aim}


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Inside, work with so many threads; then as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def number_table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def env_rate(cell: Reading) -> str:
    """Units a second with their spread: half the distance between the quartiles, in percent."""
    spread = 50 * (cell.timing.high - cell.timing.low) / cell.timing.median
    return f"{cell.rate:,.0f} ±{spread:.0f}%"
