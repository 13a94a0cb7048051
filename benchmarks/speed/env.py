"""`bench env`: steps of the environment beside other vector environments and the arithmetic floor."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import gymnasium as gym
import torch
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.vec_env import DummyVecEnv
from torch.nn.functional import normalize

from sketchless.encoders.bank import EpisodeBank
from sketchless.envs.core import Core
from sketchless.envs.vector_env import OnTheFlyVectorEnv

from .measure import DIM, STEPS, BenchConfig, D, Job, Reading, env_rate, measure, number_table, ratio_record, times
from .reference_env import PlainEnv

OTHERS = 16  # environments side by side in what others would write


REWARDS = ("inv-rank", "combined")  # without and with the Kendall-tau distance


BANK_BYTES = 1 << 27  # of features


SCORE_NUMBERS = 1 << 25  # that one call of `Core.score` may hold at a time


SORTED_NUMBERS = 1 << 22  # similarities to sort in one step; beyond this a reading takes many seconds


def bench_env(config: BenchConfig, console: Console) -> dict[str, Any]:
    """Our environment against what others would write and the floor, and how its cost grows."""
    cells: list[Reading] = []
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


def _episodes(config: BenchConfig, size: int) -> list[Reading]:
    """Everything for one gallery, measured turn by turn; one call is one episode in each environment."""
    bank = random_bank(size, STEPS, 1 << 22 if config.quick else BANK_BYTES)
    work: dict[tuple[str, int], tuple[Job, int]] = {}
    with ExitStack() as stack:
        ours = bank.to(config.device)
        for reward in REWARDS:
            for name, make in OTHER_VECTORS.items():
                vector = make([partial(PlainEnv, **plain_arrays(bank), tau=reward == "combined")] * OTHERS)
                stack.callback(vector.close)
                work[f"{name} {reward}", OTHERS] = _play(vector, OTHERS, bank), OTHERS * STEPS
            core = Core(ours, reward)
            for batch in config.batches:
                if reward == "inv-rank" or batch * size <= SORTED_NUMBERS:
                    env = OnTheFlyVectorEnv(batch, ours, reward=reward, device=config.device, tensors=True)
                    work[f"env {reward}", batch] = _play(env, batch, bank), batch * STEPS
                episodes = min(batch, max(1, SCORE_NUMBERS // (STEPS * max(size, D))))
                work[f"score {reward}", batch] = _score(core, episodes), episodes * STEPS
        for batch in config.batches:
            work["floor", batch] = floor(ours, batch), batch * STEPS
        return measure(work, config, size, STEPS)


def _growth_with_steps(config: BenchConfig) -> list[Reading]:
    """Episodes of different lengths at the second gallery size (300) and 1024 environments, if asked for."""
    size = config.galleries[min(1, len(config.galleries) - 1)]
    batch = max(b for b in config.batches if b <= 1024) if min(config.batches) <= 1024 else config.batches[0]
    cells: list[Reading] = []
    for steps in (5, STEPS, 80):
        bank = random_bank(size, steps, 1 << 22 if config.quick else BANK_BYTES).to(config.device)
        work: dict[tuple[str, int], tuple[Job, int]] = {}
        for reward in REWARDS:
            env = OnTheFlyVectorEnv(batch, bank, reward=reward, device=config.device, tensors=True)
            work[f"env {reward}", batch] = _play(env, batch, bank), batch * steps
        cells += measure(work, config, size, steps)
    return cells


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
    actions = [action.to(vector.core.device) for action in ready] if ours else [action.numpy() for action in ready]
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
    sketches, actions = sketches.to(core.device), actions.to(core.device)

    def score() -> None:
        core.observations(sketches)
        core.score(sketches, actions)

    return score


def floor(bank: EpisodeBank, batch: int) -> Job:
    """What no environment of this task can leave out: gather, one float32 product, one comparison and count."""
    random = torch.Generator().manual_seed(1)
    n, steps, width = bank.features.shape
    frames = bank.features.view(n * steps, width)
    rows = [torch.randint(n * steps, (batch,), generator=random).to(frames.device) for _ in range(steps)]
    own = bank.targets[rows[0] // steps].unsqueeze(1)
    embedding = normalize(torch.randn(batch, bank.gallery.shape[1], generator=random), dim=-1).to(frames.device)

    def work() -> None:
        for row in rows:
            frames.index_select(0, row)
            similarity = embedding @ bank.gallery.T
            (similarity >= similarity.gather(1, own)).sum(dim=1)

    return work


def _env_ratios(cells: list[Reading], size: int) -> list[dict[str, Any]]:
    """Ours over what others would write with the same reward, and the floor over anything."""
    at = {(cell.what, cell.batch): cell for cell in cells}
    ratios = []
    for (what, batch), cell in at.items():
        kind, _, reward = what.partition(" ")
        others = {name: at[f"{name} {reward or REWARDS[0]}", OTHERS] for name in OTHER_VECTORS}
        if kind in ("env", "score", "floor"):
            every = {name: times(cell, other) for name, other in others.items()}
            ratios += [ratio_record(f"{what} over {name}", size, batch, found) for name, found in every.items()]
        if kind in ("env", "score"):
            ratios.append(ratio_record(f"{what} off the floor", size, batch, times(at["floor", batch], cell)))
    return ratios


def _others_table(cells: list[Reading], size: int) -> Table:
    table = number_table(f"{size} photos: what others would write, {OTHERS} environments", "env steps/s", "with tau")
    by_name = {cell.what: cell for cell in cells}
    for name in OTHER_VECTORS:
        table.add_row(name, *(env_rate(by_name[f"{name} {reward}"]) for reward in REWARDS))
    return table


def _ours_table(cells: list[Reading], size: int) -> Table:
    """One row per batch size; ratios against `DummyVecEnv` with the same reward, and the floor over us."""
    table = number_table(
        f"{size} photos: ours",
        *("env steps/s", "x Dummy", "off floor", "with tau", "x Dummy", "whole episodes/s", "with tau"),
    )
    at = {(cell.what, cell.batch): cell for cell in cells}
    for batch in sorted({cell.batch for cell in cells if cell.what == "floor"}):
        columns = []
        for reward in REWARDS:
            cell, other = at.get((f"env {reward}", batch)), at[f"DummyVecEnv {reward}", OTHERS]
            columns += [env_rate(cell), str(times(cell, other))] if cell else ["-", "-"]
            if reward == "inv-rank":
                assert cell is not None
                columns.append(str(times(at["floor", batch], cell)))
        columns += [env_rate(at[f"score {reward}", batch]) for reward in REWARDS]
        table.add_row(f"B={batch}", *columns)
    return table


def _growth_table(cells: list[Reading]) -> Table:
    table = number_table(f"{cells[0].gallery} photos, B={cells[0].batch}: us per env step", "no tau", "with tau")
    for steps in sorted({cell.steps or 0 for cell in cells}):
        shown = [f"{1e6 / cell.rate:.2f}" for cell in cells if cell.steps == steps]
        table.add_row(f"T={steps}", *shown)
    return table
