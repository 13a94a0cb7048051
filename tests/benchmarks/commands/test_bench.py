"""What the benchmarks compare with does the same work, and timing does its sums; how fast is no matter here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from sketchless.benchmarks.commands.bench import run
from sketchless.benchmarks.speed.env import REWARDS, floor, plain_arrays, random_bank
from sketchless.benchmarks.speed.measure import AIMS, BenchConfig
from sketchless.benchmarks.speed.reference_env import PlainEnv
from sketchless.benchmarks.speed.reference_raster import plain_frames
from sketchless.benchmarks.speed.timing import Ratio, Timing, interleave, ratio
from sketchless.datasets.errors import ConfigError
from sketchless.datasets.procedural.chairs.dataset import procedural
from sketchless.datasets.raster import birth_map, frames
from sketchless.datasets.sketch import Sketch, reveal
from sketchless.encoders.bank import EpisodeBank
from sketchless.envs.core import Core

# The reference environment ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bank(make_bank: Callable[..., EpisodeBank]) -> EpisodeBank:
    return make_bank(n=8, steps=7, photos=40)


@pytest.mark.parametrize("tau", [False, True])
@pytest.mark.filterwarnings("error")
@pytest.mark.filterwarnings("ignore:.*different class.*")
def test_the_reference_is_a_lawful_environment(bank: EpisodeBank, tau: bool) -> None:
    check_env(PlainEnv(**plain_arrays(bank), tau=tau), skip_render_check=True)


@pytest.mark.parametrize("reward", REWARDS)
def test_the_reference_plays_the_same_task(bank: EpisodeBank, reward: str) -> None:
    plain, core = PlainEnv(**plain_arrays(bank), tau=reward == "combined"), Core(bank, reward)
    actions = 2 * torch.rand(len(bank), 7, 8, generator=torch.Generator().manual_seed(0)) - 1
    score = core.score(torch.arange(len(bank)), actions, credit="online")
    for sketch in range(len(bank)):
        observations, ranks, rewards = [plain.reset(options={"sketch": sketch})[0]], [], []
        for action in actions[sketch]:
            observation, paid, terminated, truncated, info = plain.step(action.numpy())
            observations.append(observation)
            ranks.append(info["rank"])
            rewards.append(paid)
        assert (terminated, truncated) == (True, False)
        assert np.array_equal(observations[:-1], bank.features[sketch].numpy())
        assert ranks == score.rank[sketch].tolist()
        assert rewards == pytest.approx(score.reward[sketch].tolist(), rel=1e-6, abs=1e-12)
    if reward == "combined":
        assert score.trajectory.min() < 0  # so this part was compared


def test_the_reference_counts_ties_against_the_target() -> None:
    photos = np.eye(3, dtype=np.float32)[[0, 1, 0]]  # the first and the last are one and the same
    frame = np.eye(3, dtype=np.float32)[None, :1]  # as near to those as can be
    env = PlainEnv(frame, frame, photos, np.array([0]))
    env.reset()
    assert env.step(np.zeros(3, np.float32))[4] == {"rank": 2}


# The reference rasteriser -------------------------------------------------------------------------------------


def assert_same_frames(sketch: Sketch, schedule: str = "points", steps: int = 20) -> None:
    knots = reveal(sketch, schedule, steps)
    ours = frames(birth_map(sketch, knots), len(knots))
    assert np.array_equal(ours, plain_frames(sketch.points, sketch.pen_up, knots))


def test_procedural_drawings_have_the_same_frames() -> None:
    for sketch in procedural(train=1, test=3, validation=0, drawers=1).splits["test"].sketches:
        assert_same_frames(sketch)


coordinate = st.floats(-20, 280, width=32)


@settings(max_examples=20)
@given(
    st.lists(st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=6), min_size=1, max_size=4),
    st.sampled_from(["points", "strokes", "ink"]),
)
def test_any_drawing_has_the_same_frames(strokes: list[Any], schedule: str) -> None:
    assert_same_frames(Sketch.from_strokes([[(9, 9)], *strokes]), schedule, 4)


# Timing -------------------------------------------------------------------------------------------------------


class Clock:
    """Time that passes only when a job says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def job(self, *seconds: float) -> Callable[[], None]:
        """A job that takes these times in turn, the last one for ever after."""
        times: Iterator[float] = iter(seconds)

        def work() -> None:
            self.now += next(times, seconds[-1])

        return work


def test_medians_and_quartiles_leave_out_the_warm_up() -> None:
    clock = Clock()
    # Two calls to learn how long it takes, then one before each of the readings 5 1 4 2 3: quartiles 2 and 4.
    times = (100, 50, 9, 5, 9, 1, 9, 4, 9, 2, 9, 3)
    timings = interleave({"slow at first": clock.job(*times)}, rounds=5, clock=clock)
    readings = (5.0, 1.0, 4.0, 2.0, 3.0)
    assert timings == {"slow at first": Timing(median=3.0, low=2.0, high=4.0, rounds=5, loops=1, readings=readings)}


def test_jobs_take_turns_in_an_order_that_turns() -> None:
    clock, calls = Clock(), []
    jobs = {name: lambda name=name: calls.append(name) for name in "abc"}
    interleave(jobs, rounds=4, clock=clock)
    assert "".join(calls)[-24:] == "aabbcc" + "bbccaa" + "ccaabb" + "aabbcc"


def test_quick_jobs_are_repeated_within_a_reading() -> None:
    clock = Clock()
    timings = interleave({"quick": clock.job(0.25), "slow": clock.job(3)}, rounds=3, least=1.0, clock=clock)
    assert timings["quick"] == Timing.of([0.25] * 3, loops=4)
    assert timings["slow"] == Timing.of([3.0] * 3, loops=1)


def test_a_ratio_draws_rounds_with_both_readings() -> None:
    """A slow minute that doubles both readings of a round changes nothing."""
    minutes = (1.0, 1.0, 2.0, 4.0, 1.0)
    slow, quick = Timing.of([6 * m for m in minutes], 1), Timing.of([2 * m for m in minutes], 1)
    assert ratio(slow, quick) == Ratio(3.0, 3.0, 3.0)
    assert ratio(slow, quick, 0.5) == Ratio(1.5, 1.5, 1.5)


def test_the_interval_of_a_ratio_is_that_of_all_draws() -> None:
    """Two rounds with ratios 2 and 8: drawn alike with 1/4 each; medians of both: (2 + 8) / (1 + 1) = 5."""
    found = ratio(Timing.of([2.0, 8.0], 1), Timing.of([1.0, 1.0], 1))
    assert found == Ratio(5.0, 2.0, 8.0)
    assert str(found) == "5.00 (2.00-8.00)"


# The command --------------------------------------------------------------------------------------------------


Bench = tuple[dict[str, Any], str]
OTHERS = 2  # environments side by side in what others would write, in place of 16


def bench(folder: Path, what: str, **options: Any) -> Bench:
    """What a tiny run wrote and what it printed."""
    console = Console(record=True, width=160)
    run(BenchConfig(what, quick=True, galleries=(30,), batches=(1, 3), out=str(folder), **options), console)
    return json.loads((folder / "results.json").read_text()), console.export_text()


@pytest.fixture(scope="module")
def env_bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    with pytest.MonkeyPatch.context() as few:
        few.setattr("sketchless.benchmarks.speed.env.OTHERS", OTHERS)
        return bench(tmp_path_factory.mktemp("env") / "run", "env")


@pytest.fixture(scope="module")
def kernel_bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return bench(tmp_path_factory.mktemp("kernels") / "run", "kernels", threads=1)


def assert_whole(results: dict[str, Any]) -> None:
    """Every cell and ratio has all its fields, and numbers in them."""
    assert set(results) == {"machine", "config", "cells", "ratios", "seconds"}
    assert results["machine"]["versions"]["torch"]
    for cell in results["cells"]:
        assert set(cell) == {"what", "gallery", "batch", "steps", "units", "timing", "per_second", "us_per_unit"}
        assert 0 < cell["timing"]["low"] <= cell["timing"]["median"] <= cell["timing"]["high"]
        assert cell["per_second"] == pytest.approx(cell["units"] / cell["timing"]["median"])
        assert cell["us_per_unit"] == pytest.approx(1e6 / cell["per_second"])
    for found in results["ratios"]:
        assert set(found) == {"what", "gallery", "batch", "ratio", "interval95", "aim"}
        assert 0 < found["interval95"][0] <= found["ratio"] <= found["interval95"][1]


def test_bench_env_measures_all_sides(env_bench: Bench) -> None:
    results, printed = env_bench
    assert_whole(results)
    measured = {(cell["what"], cell["batch"]) for cell in results["cells"] if cell["steps"] == 20}
    for reward in REWARDS:
        for name in ("DummyVecEnv", "SyncVectorEnv", "AsyncVectorEnv"):
            assert (f"{name} {reward}", OTHERS) in measured
            assert name in printed
        for batch in (1, 3):
            assert {(f"env {reward}", batch), (f"score {reward}", batch), ("floor", batch)} <= measured
    assert {cell["steps"] for cell in results["cells"]} == {5, 20, 80}
    assert ("env combined over DummyVecEnv", 3) in {(ratio["what"], ratio["batch"]) for ratio in results["ratios"]}


def test_bench_kernels_measures_all_sides(kernel_bench: Bench) -> None:
    results, printed = kernel_bench
    assert_whole(results)
    assert results["machine"]["threads"] == 1
    names = {cell["what"] for cell in results["cells"]}
    for kind in ("tau", "rank"):
        assert {f"{kind} {side}" for side in ("ours", "scipy", "loop", "floor")} <= names
    assert {f"frames {side}" for side in ("ours", "birth-map", "plain", "floor")} <= names
    assert "frames" in printed


def test_every_aim_is_about_something_measured(env_bench: Bench, kernel_bench: Bench) -> None:
    measured = {ratio["what"] for results, _ in (env_bench, kernel_bench) for ratio in results["ratios"]}
    assert {what for what, _, _ in AIMS} <= measured


def test_threads_are_as_before_afterwards(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    bench(tmp_path / "run", "kernels", threads=before + 1)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"what": "kernel"}, "did you mean 'kernels'"),
        ({"galleries": (1,)}, "2 or more photos"),
        ({"batches": ()}, "1 or more environments"),
        ({"repeats": 0}, "repeats=0"),
        ({"threads": 0}, "threads=0"),
    ],
)
def test_wrong_settings_begin_nothing(options: dict[str, Any], match: str, tmp_path: Path, refuses: Any) -> None:
    with refuses(ConfigError, match):
        run(BenchConfig(**options, out=str(tmp_path / "run")))
    assert not (tmp_path / "run").exists()


def test_the_floor_gathers_multiplies_and_counts_once_a_step() -> None:
    work = floor(random_bank(5, steps=3, bytes=1 << 16), batch=4)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        work()
    counts = {event.key: event.count for event in seen.key_averages()}
    for part in ("aten::index_select", "aten::mm", "aten::gather", "aten::ge", "aten::sum"):
        assert counts[part] == 3, part
