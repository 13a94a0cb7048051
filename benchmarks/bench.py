"""`sketchless bench`: how fast the environment is, against what others would write and what arithmetic allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau, rankdata
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor
from torch.nn.functional import normalize

from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.datasets.files import write_json
from sketchless.datasets.procedural import procedural
from sketchless.datasets.raster import birth_map, frames
from sketchless.datasets.sketch import CANVAS, Sketch, reveal
from sketchless.encoders.bank import EpisodeBank
from sketchless.envs.core import Core
from sketchless.envs.ranking import kendall_tau_distance, target_rank
from sketchless.envs.vector_env import OnTheFlyVectorEnv

from .bench_training import bench_training
from .reference_env import PlainEnv
from .reference_raster import plain_frames
from .runs import Stopwatch, machine, run_folder
from .timing import Timing, interleave

D, DIM, STEPS = 2048, 64, 20  # width of a feature and of an embedding, frames a sketch
OTHERS = 16  # environments side by side in what others would write
REWARDS = ("inv-rank", "combined")  # without and with the Kendall-tau distance
BANK_BYTES = 1 << 27  # of features
SCORE_NUMBERS = 1 << 25  # that one call of `Core.score` may hold at a time
SORTED_NUMBERS = 1 << 22  # similarities to sort in one step; beyond this a reading takes many seconds
LEAST = 0.02  # seconds a reading takes at least

# Ratios to reach on two cores: what, photos, environments.
AIMS: dict[tuple[str, int | None, int | None], float] = {
    ("env inv-rank over DummyVecEnv", 300, 1024): 100.0,
    ("env combined over DummyVecEnv", 300, 1024): 250.0,
    ("env combined over DummyVecEnv", 1800, 1024): 80.0,
    ("env inv-rank off the floor", 300, 1024): 1.5,
    ("tau over scipy", 300, None): 450.0,
    ("tau over scipy", 1800, None): 60.0,
    ("frames over plain", None, None): 350.0,
}

Job = Callable[[], object]


@dataclass(frozen=True)
class BenchConfig:
    """Measure speed, everything in one run and turn by turn; medians count, and only their ratios travel."""

    what: str = "env"
    """`env`: episodes; `kernels`: Kendall tau, ranks and frames; `training`: learning end to end."""
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
    out: str | None = None
    """Folder of the run."""


@dataclass(frozen=True)
class Cell:
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


def run(config: BenchConfig, console: Console | None = None) -> dict[str, Any]:
    """Measure, print tables and write `results.json`; returns what it holds.

    Raises:
        ConfigError: not `env`, `kernels` or `training`, sizes that make no sense, or a folder that cannot be used.
    """
    console = console or Console()
    if config.what not in BENCHES:
        raise unknown_name("benchmark", config.what, BENCHES)
    if not config.galleries or not config.batches or min(config.galleries) < 2 or min(config.batches) < 1:
        raise ConfigError(
            f"galleries={config.galleries}, batches={config.batches}: want 2 or more photos and 1 or more environments"
        )
    if config.repeats < 1 or (config.threads is not None and config.threads < 1):
        raise ConfigError(f"repeats={config.repeats}, threads={config.threads}: must be 1 or more")
    if config.quick:
        config = replace(config, galleries=config.galleries[:1], batches=config.batches[:3], repeats=3)
    watch = Stopwatch()
    with run_folder(config.out, f"bench-{config.what}", asdict(config)) as folder, _threads(config.threads):
        results = {
            "machine": machine(),
            "config": asdict(config),
            **BENCHES[config.what](config, console),
            "seconds": float(watch),
        }
        write_json(folder / "results.json", results)
    console.print(f"written to [bold]{folder / 'results.json'}[/]")
    return results


# Episodes ----------------------------------------------------------------------------------------------------


def bench_env(config: BenchConfig, console: Console) -> dict[str, Any]:
    """Our environment against what others would write and the floor, and how its cost grows."""
    cells: list[Cell] = []
    ratios: list[dict[str, Any]] = []
    for size in config.galleries:
        console.print(f"measuring with {size} photos ...")
        found = _episodes(config, size)
        cells += found
        ratios += _env_ratios(found, size)
        console.print(_others_table(found, size), _ours_table(found, size))
    growth = _growth_with_steps(config)
    console.print(_growth_table(growth))
    return {"cells": [cell.as_json() for cell in [*cells, *growth]], "ratios": ratios}


def _episodes(config: BenchConfig, size: int) -> list[Cell]:
    """Everything for one gallery, measured turn by turn; one call is one episode in each environment."""
    bank = random_bank(size, STEPS, 1 << 22 if config.quick else BANK_BYTES)
    work: dict[tuple[str, int], tuple[Job, int]] = {}
    with ExitStack() as stack:
        for reward in REWARDS:
            for name, make in OTHER_VECTORS.items():
                vector = make([partial(PlainEnv, **plain_arrays(bank), tau=reward == "combined")] * OTHERS)
                stack.callback(vector.close)
                work[f"{name} {reward}", OTHERS] = _play(vector, OTHERS, bank), OTHERS * STEPS
            core = Core(bank, reward)
            for batch in config.batches:
                if reward == "inv-rank" or batch * size <= SORTED_NUMBERS:
                    env = OnTheFlyVectorEnv(batch, bank, reward=reward, device="cpu")
                    work[f"env {reward}", batch] = _play(env, batch, bank), batch * STEPS
                episodes = min(batch, max(1, SCORE_NUMBERS // (STEPS * max(size, D))))
                work[f"score {reward}", batch] = _score(core, episodes), episodes * STEPS
        for batch in config.batches:
            work["floor", batch] = floor(bank, batch), batch * STEPS
        return _measure(work, config, size, STEPS)


def _growth_with_steps(config: BenchConfig) -> list[Cell]:
    """Episodes of different lengths at the second gallery size (300) and 1024 environments, if asked for."""
    size = config.galleries[min(1, len(config.galleries) - 1)]
    batch = max(b for b in config.batches if b <= 1024) if min(config.batches) <= 1024 else config.batches[0]
    cells: list[Cell] = []
    for steps in (5, STEPS, 80):
        bank = random_bank(size, steps, 1 << 22 if config.quick else BANK_BYTES)
        work: dict[tuple[str, int], tuple[Job, int]] = {}
        for reward in REWARDS:
            env = OnTheFlyVectorEnv(batch, bank, reward=reward, device="cpu")
            work[f"env {reward}", batch] = _play(env, batch, bank), batch * steps
        cells += _measure(work, config, size, steps)
    return cells


def _measure(work: dict[tuple[str, int], tuple[Job, int]], config: BenchConfig, size: int, steps: int) -> list[Cell]:
    jobs = {f"{name}|{batch}": job for (name, batch), (job, _) in work.items()}
    timings = interleave(jobs, config.repeats, 0.0 if config.quick else LEAST)
    return [
        Cell(name, size, batch, steps, units, timing)
        for ((name, batch), (_, units)), timing in zip(work.items(), timings.values(), strict=True)
    ]


def random_bank(size: int, steps: int, bytes: int = BANK_BYTES, seed: int = 0) -> EpisodeBank:
    """A bank of random unit vectors with `size` photos and as many sketches as `bytes` of features hold."""
    random = torch.Generator().manual_seed(seed)
    n = max(1, bytes // (4 * D * steps))
    return EpisodeBank(
        features=normalize(torch.randn(n, steps, D, generator=random), dim=-1),
        lengths=torch.full((n,), steps),
        targets=torch.randint(size, (n,), generator=random),
        gallery=normalize(torch.randn(size, DIM, generator=random), dim=-1),
        weight=torch.randn(DIM, D, generator=random),
        bias=torch.zeros(DIM),
        sketch_ids=tuple(f"sketch-{i}" for i in range(n)),
        photo_ids=tuple(f"photo-{i}" for i in range(size)),
        split="train",
    )


def plain_arrays(bank: EpisodeBank) -> dict[str, Any]:
    """What `PlainEnv` needs of a bank, in numpy."""
    embeddings = normalize(bank.features @ bank.weight.T + bank.bias, dim=-1)
    return {
        "features": bank.features.numpy(),
        "embeddings": embeddings.numpy(),
        "gallery": bank.gallery.numpy(),
        "targets": bank.targets.numpy(),
    }


OTHER_VECTORS: dict[str, Callable[[Any], Any]] = {
    "DummyVecEnv": DummyVecEnv,
    "SyncVectorEnv": SyncVectorEnv,
    "AsyncVectorEnv": AsyncVectorEnv,
}


def _play(vector: Any, batch: int, bank: EpisodeBank) -> Job:
    """One episode of every environment, with actions that are ready."""
    ours = isinstance(vector, OnTheFlyVectorEnv)
    random = torch.Generator().manual_seed(1)
    ready = [2 * torch.rand(batch, bank.gallery.shape[1], generator=random) - 1 for _ in range(bank.features.shape[1])]
    actions = ready if ours else [action.numpy() for action in ready]
    if isinstance(vector, gym.vector.VectorEnv):
        vector.reset(seed=0)
    else:
        vector.seed(0)
        vector.reset()

    def play() -> None:
        for action in actions:
            vector.step(action)

    return play


def _score(core: Core, episodes: int) -> Job:
    """See and score whole episodes at once, with actions that are ready."""
    random = torch.Generator().manual_seed(1)
    sketches = torch.randint(len(core.bank), (episodes,), generator=random)
    actions = 2 * torch.rand(episodes, core.n_steps, core.action_dim, generator=random) - 1

    def score() -> None:
        core.observations(sketches)
        core.score(sketches, actions)

    return score


def floor(bank: EpisodeBank, batch: int) -> Job:
    """What no environment of this task can leave out: gather, one float32 product, one comparison and count."""
    random = torch.Generator().manual_seed(1)
    n, steps, width = bank.features.shape
    frames = bank.features.view(n * steps, width)
    rows = [torch.randint(n * steps, (batch,), generator=random) for _ in range(steps)]
    own = bank.targets[rows[0] // steps].unsqueeze(1)
    embedding = normalize(torch.randn(batch, bank.gallery.shape[1], generator=random), dim=-1)

    def work() -> None:
        for row in rows:
            frames.index_select(0, row)
            similarity = embedding @ bank.gallery.T
            (similarity >= similarity.gather(1, own)).sum(dim=1)

    return work


def _env_ratios(cells: list[Cell], size: int) -> list[dict[str, Any]]:
    """Ours over what others would write with the same reward, and the floor over anything."""
    rates = {(cell.what, cell.batch): cell.rate for cell in cells}
    ratios = []
    for (what, batch), rate in rates.items():
        kind, _, reward = what.partition(" ")
        others = {name: rates[f"{name} {reward or REWARDS[0]}", OTHERS] for name in OTHER_VECTORS}
        if kind in ("env", "score", "floor"):
            ratios += [_ratio(f"{what} over {name}", size, batch, rate / other) for name, other in others.items()]
        if kind in ("env", "score"):
            ratios.append(_ratio(f"{what} off the floor", size, batch, rates["floor", batch] / rate))
    return ratios


def _ratio(what: str, gallery: int | None, batch: int | None, ratio: float) -> dict[str, Any]:
    aim = AIMS.get((what, gallery, batch))
    return {"what": what, "gallery": gallery, "batch": batch, "ratio": ratio, "aim": aim}


def _others_table(cells: list[Cell], size: int) -> Table:
    table = _table(f"{size} photos: what others would write, {OTHERS} environments", "env steps/s", "with tau")
    by_name = {cell.what: cell for cell in cells}
    for name in OTHER_VECTORS:
        table.add_row(name, *(_rate(by_name[f"{name} {reward}"]) for reward in REWARDS))
    return table


def _ours_table(cells: list[Cell], size: int) -> Table:
    """One row per batch size; ratios against `DummyVecEnv` with the same reward, and the floor over us."""
    table = _table(
        f"{size} photos: ours",
        *("env steps/s", "x Dummy", "off floor", "with tau", "x Dummy", "whole episodes/s", "with tau"),
    )
    at = {(cell.what, cell.batch): cell for cell in cells}
    for batch in sorted({cell.batch for cell in cells if cell.what == "floor"}):
        columns = []
        for reward in REWARDS:
            cell, other = at.get((f"env {reward}", batch)), at[f"DummyVecEnv {reward}", OTHERS]
            columns += [_rate(cell), f"{cell.rate / other.rate:.1f}"] if cell else ["-", "-"]
            if reward == "inv-rank":
                assert cell is not None
                columns.append(f"{at['floor', batch].rate / cell.rate:.2f}")
        columns += [_rate(at[f"score {reward}", batch]) for reward in REWARDS]
        table.add_row(f"B={batch}", *columns)
    return table


def _growth_table(cells: list[Cell]) -> Table:
    table = _table(f"{cells[0].gallery} photos, B={cells[0].batch}: us per env step", "no tau", "with tau")
    for steps in sorted({cell.steps or 0 for cell in cells}):
        shown = [f"{1e6 / cell.rate:.2f}" for cell in cells if cell.steps == steps]
        table.add_row(f"T={steps}", *shown)
    return table


# Kernels -----------------------------------------------------------------------------------------------------


def bench_kernels(config: BenchConfig, console: Console) -> dict[str, Any]:
    """Kendall tau, ranks and frames against scipy, a plain loop and reading or writing the memory alone."""
    cells: list[Cell] = []
    for size in config.galleries:
        console.print(f"measuring with {size} photos ...")
        cells += _list_kernels(config, size)
    cells += _raster_kernel(config)
    groups: dict[tuple[str, int | None], dict[str, Cell]] = {}
    for cell in cells:
        kind, _, name = cell.what.partition(" ")
        groups.setdefault((kind, cell.gallery), {})[name] = cell
    ratios = []
    for (kind, gallery), group in groups.items():
        table = _table(f"{kind}, {gallery} photos" if gallery else kind, "us each", "ours is faster by", "aim")
        for name, cell in group.items():
            ratio = _ratio(f"{kind} over {name}", gallery, None, group["ours"].rate / cell.rate)
            aim = f"{ratio['aim']:g}" if ratio["aim"] else ""
            table.add_row(name, f"{1e6 / cell.rate:,.2f}", f"{ratio['ratio']:.2f}", aim)
            if name != "ours":
                ratios.append(ratio)
        console.print(table)
    return {"cells": [cell.as_json() for cell in cells], "ratios": ratios}


def _list_kernels(config: BenchConfig, size: int) -> list[Cell]:
    """Pairs of lists that differ as those of neighbouring steps do, and targets to rank among them."""
    rows = max(1, min(1024, (1 << 16 if config.quick else 1 << 20) // size))
    rng = np.random.default_rng(0)
    before = rng.standard_normal((rows, size))
    after = before + 0.3 * rng.standard_normal((rows, size))
    target = rng.integers(size, size=rows)
    a, b, own = torch.from_numpy(before), torch.from_numpy(after), torch.from_numpy(target)
    few = range(max(1, min(rows, 4)))

    def scipy_tau() -> None:
        for i in few:
            kendalltau(before[i], after[i])

    def loop_tau() -> None:
        x, y = before[0], after[0]
        sum(int(((x[i] - x[i + 1 :]) * (y[i] - y[i + 1 :]) < 0).sum()) for i in range(size - 1))

    def scipy_rank() -> None:
        for i in few:
            rankdata(-before[i], method="max")[target[i]]

    def loop_rank() -> None:
        values, nearness = before[0].tolist(), before[0, target[0]]
        sum(1 for value in values if value >= nearness)

    def rank_floor() -> Tensor:
        return (a >= 0).sum(dim=1)

    work: dict[tuple[str, int], tuple[Job, int]] = {
        ("tau ours", rows): (partial(kendall_tau_distance, a, b), rows),
        ("tau scipy", len(few)): (scipy_tau, len(few)),
        ("tau loop", 1): (loop_tau, 1),
        ("tau floor", rows): (lambda: (a.sum(dim=1), b.sum(dim=1)), rows),
        ("rank ours", rows): (partial(target_rank, a, own), rows),
        ("rank scipy", len(few)): (scipy_rank, len(few)),
        ("rank loop", 1): (loop_rank, 1),
        ("rank floor", rows): (rank_floor, rows),
    }
    return [replace(cell, steps=None) for cell in _measure(work, config, size, 0)]


def _raster_kernel(config: BenchConfig) -> list[Cell]:
    """The frames of procedural sketches; the floor writes as many bytes."""
    split = procedural(train=1, test=2 if config.quick else 8, validation=0, drawers=1).splits["test"]
    shown = [(s, reveal(s, "points", STEPS)) for s in split.sketches if isinstance(s, Sketch)]

    def ours() -> None:
        for sketch, knots in shown:
            frames(birth_map(sketch, knots), STEPS)

    def births() -> None:
        for sketch, knots in shown:
            birth_map(sketch, knots)

    def plain() -> None:
        for sketch, knots in shown[:2]:
            plain_frames(sketch.points, sketch.pen_up, knots)

    def write_floor() -> None:
        for _ in shown:
            np.empty((STEPS, CANVAS, CANVAS), dtype=np.uint8).fill(255)

    n = len(shown)
    work: dict[tuple[str, int], tuple[Job, int]] = {
        ("frames ours", n): (ours, n),
        ("frames birth-map", n): (births, n),
        ("frames plain", 2): (plain, 2),
        ("frames floor", n): (write_floor, n),
    }
    return [replace(cell, gallery=None) for cell in _measure(work, config, 0, STEPS)]


# Both --------------------------------------------------------------------------------------------------------


BENCHES: dict[str, Callable[[BenchConfig, Console], dict[str, Any]]] = {
    "env": bench_env,
    "kernels": bench_kernels,
    "training": bench_training,
}


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Inside, work with so many threads; then as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title)
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _rate(cell: Cell) -> str:
    """Units a second with their spread: half the distance between the quartiles, in percent."""
    spread = 50 * (cell.timing.high - cell.timing.low) / cell.timing.median
    return f"{cell.rate:,.0f} ±{spread:.0f}%"
