"""A gallery in parts answers as one in a single piece: in blocks, in parts, and on two processes."""

from __future__ import annotations

import json
import multiprocessing
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from sketchless.datasets.errors import ConfigError, DataError, SketchlessError
from sketchless.encoders.bank import EpisodeBank
from sketchless.envs import Core
from sketchless.envs.ranking import similarity, target_rank, unit
from sketchless.envs.sharding import ShardedGallery

Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]
NAN, INF = float("nan"), float("inf")


def random_units(*shape: int, seed: int = 0, coarse: bool = False) -> Tensor:
    """Unit vectors float32; coarse ones have few directions, so that most photos have twins far away."""
    random = torch.Generator().manual_seed(seed)
    vectors = torch.randint(1, 3, shape, generator=random).float() if coarse else torch.randn(*shape, generator=random)
    return normalize(vectors, dim=-1)


def in_one_piece(queries: Tensor, gallery: Tensor, target: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    near = similarity(queries, unit(gallery))
    best, row = near.sort(dim=-1, descending=True, stable=True)
    return target_rank(near, target), best[..., :k], row[..., :k]


def assert_equal(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


@settings(max_examples=100)
@given(data=st.data(), coarse=st.booleans(), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_any_parts_and_blocks_answer_as_one_piece(data: st.DataObject, coarse: bool, dtype: torch.dtype) -> None:
    sizes = data.draw(st.lists(st.integers(0, 12), min_size=1, max_size=5).filter(any), "sizes of parts")
    rows, queries = sum(sizes), data.draw(st.integers(0, 70), "queries")
    block = data.draw(st.integers(1, 2 * rows * max(queries, 1)), "block")
    k = data.draw(st.integers(1, rows), "k")
    gallery = random_units(rows, 3, seed=data.draw(st.integers(0, 99), "seed"), coarse=coarse).to(dtype)
    looked_for = unit(random_units(queries, 3, seed=1, coarse=coarse))
    target = torch.randint(rows, (queries,), generator=torch.Generator().manual_seed(2))
    whole = ShardedGallery(gallery.split(sizes), block=block)
    assert len(whole) == rows
    found = whole.rank(looked_for, target), *whole.top_k(looked_for, k)
    assert_equal(found, in_one_piece(looked_for, gallery, target, k))


def test_twins_across_a_border_count_against_the_target_and_come_by_row() -> None:
    photo, other = torch.tensor([0.6, 0.8]), torch.tensor([1.0, 0.0])
    gallery = ShardedGallery([torch.stack([other, photo]), torch.stack([photo, other]), photo.unsqueeze(0)], block=1)
    assert gallery.rank(unit(photo), torch.tensor(2)) == 3
    assert gallery.top_k(unit(photo), 5)[1].tolist() == [1, 2, 4, 0, 3]
    assert gallery.rank(torch.zeros(2, dtype=torch.float64), torch.tensor(0)) == 5  # as near to every photo


def test_leading_dimensions_and_any_integer_target_are_kept() -> None:
    gallery, queries = random_units(9, 4), unit(random_units(2, 3, 4, seed=1))
    target = torch.randint(9, (2, 3), dtype=torch.int32, generator=torch.Generator().manual_seed(0))
    parts = ShardedGallery(gallery, block=5)
    found = parts.rank(queries, target), *parts.top_k(queries, 4)
    assert_equal(found, in_one_piece(queries, gallery, target, 4))


def test_arrays_and_files_are_read_as_tensors_are(tmp_path: Path) -> None:
    gallery, queries, target = random_units(50, 4), unit(random_units(5, 4, seed=1)), torch.arange(5)
    np.save(tmp_path / "photos.npy", gallery[:30].numpy())
    parts = ShardedGallery([np.load(tmp_path / "photos.npy", mmap_mode="r"), gallery[30:].numpy()], block=64)
    assert_equal((parts.rank(queries, target),), in_one_piece(queries, gallery, target, 1)[:1])


def test_queries_off_the_exact_grid_are_put_on_it() -> None:
    queries, gallery = random_units(5, 4, seed=1), random_units(50, 4)
    target = torch.arange(5)
    parts = [ShardedGallery(gallery, block=block).rank(queries, target) for block in (1, 7, 1000)]
    assert torch.equal(parts[0], parts[1])
    assert torch.equal(parts[0], parts[2])


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        (torch.zeros(0, 3), "the gallery holds no photo"),
        ([], "the gallery holds no photo"),
        ([random_units(2, 3), random_units(2, 4)], r"shapes \[\(2, 3\), \(2, 4\)\]: want \[g, d\] with one width"),
        (random_units(3), r"shapes \[\(3,\)\]: want \[g, d\]"),
        ([random_units(2, 3), torch.full((1, 3), NAN)], "gallery row 2 has length nan instead of 1"),
        (torch.zeros(1, 3), "gallery row 0 has length 0 instead of 1"),
    ],
)
def test_a_gallery_that_cannot_be_searched_is_refused(parts: Any, match: str, refuses: Refuses) -> None:
    with refuses(DataError, match):
        ShardedGallery(parts)


@pytest.mark.parametrize("bad", [NAN, INF, -INF, 2.0])
def test_a_query_that_is_not_finite_or_too_long_is_an_error_that_names_it(bad: float, refuses: Refuses) -> None:
    queries = torch.zeros(2, 4, 3)
    queries[1, 2, 0] = bad
    gallery = ShardedGallery(random_units(5, 3))
    with refuses(DataError, r"query \[1, 2\] has length"):
        gallery.rank(queries, torch.zeros(2, 4, dtype=torch.int64))
    with refuses(DataError, r"query \[1, 2\] has length"):
        gallery.top_k(queries, 1)


@pytest.mark.parametrize(
    ("width", "target", "match"),
    [
        (3, [0, 5], "a target lies outside the gallery of 5 photos"),
        (3, [-1, 0], "a target lies outside the gallery of 5 photos"),
        (3, [0], r"target \(1,\) does not fit queries \(2, 3\)"),
        (4, [0, 0], r"queries \(2, 4\): want \[..., 3\] as in the gallery"),
    ],
)
def test_a_question_that_does_not_fit_is_refused(width: int, target: list[int], match: str, refuses: Refuses) -> None:
    with refuses(ConfigError, match):
        ShardedGallery(random_units(5, 3)).rank(random_units(2, width), torch.tensor(target))


@pytest.mark.parametrize("k", [0, 6, "3", 1.5])
def test_more_or_fewer_photos_than_there_are_cannot_be_asked_for(k: Any, refuses: Refuses) -> None:
    with refuses(ConfigError, f"k={k!r}: must be (in 1..5|a whole number)"):
        ShardedGallery(random_units(5, 3)).top_k(random_units(2, 3), k)


# Episodes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["residual", "absolute"])
@pytest.mark.parametrize("reward", ["inv-rank", "neg-rank", "top5"])
def test_an_episode_in_the_parts_of_its_own_gallery_is_that_of_the_whole(
    reward: str, mode: str, make_bank: Callable[..., EpisodeBank]
) -> None:
    bank = make_bank(n=4, steps=5, lengths=[5, 3, 1, 4])
    parts = ShardedGallery(bank.gallery.split(4), block=7)
    whole, sharded = Core(bank, reward, mode), Core(bank, reward, mode, gallery=parts)
    sketches = torch.tensor([3, 1, 2])
    actions = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
    assert_equal(sharded.score(sketches, actions), whole.score(sketches, actions))
    states = [core.reset(sketches, sketch=sketches) for core in (whole, sharded)]
    for t in range(5):
        one, other = (core.step(state, actions[:, t]) for core, state in zip((whole, sharded), states, strict=True))
        states = [one.state, other.state]
        assert_equal((*other.state, *other.terms, *other[1:4]), (*one.state, *one.terms, *one[1:4]))
        assert other.similarity.shape == (3, 0)


def test_stepping_among_other_photos_equals_scoring(make_bank: Callable[..., EpisodeBank]) -> None:
    bank = make_bank(n=4, steps=5)
    core = Core(bank, "inv-rank", gallery=ShardedGallery([bank.gallery, random_units(90, 8, seed=1)]))
    sketches, actions = torch.arange(4), torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(0))
    state, score = core.reset(sketches, sketch=sketches), core.score(sketches, actions)
    for t in range(5):
        outcome = core.step(state, actions[:, t])
        assert_equal((outcome.rank, outcome.reward), (score.rank[:, t], score.reward[:, t]))
        state = outcome.state
    assert core.n_photos == 100
    assert (score.rank > Core(bank, "inv-rank").score(sketches, actions).rank).any()


def test_a_core_refuses_parts_that_do_not_fit(make_bank: Callable[..., EpisodeBank], refuses: Refuses) -> None:
    bank = make_bank()
    with refuses(ConfigError, "'margin' compares whole lists"):
        Core(bank, "margin", gallery=ShardedGallery(bank.gallery))
    with refuses(ConfigError, "'combined' compares whole lists, and a gallery in parts gives ranks"):
        Core(bank, gallery=ShardedGallery(bank.gallery))
    with refuses(ConfigError, "a target lies outside the gallery of 1 photos"):
        Core(bank, "inv-rank", gallery=ShardedGallery(bank.gallery[:1]))
    with refuses(ConfigError, r"want \[..., 9\] as in the gallery"):
        Core(bank, "inv-rank", gallery=ShardedGallery(random_units(50, 9)))
    first = int(bank.targets.min())
    for order in (bank.gallery.flip(0), torch.cat([random_units(3, 8), bank.gallery])):
        with refuses(
            ConfigError, f"gallery row {first} is not the bank's photo 'photo-{first}': begin with the bank's"
        ):
            Core(bank, "inv-rank", gallery=ShardedGallery(order.split(4)))


def test_photos_in_float16_are_those_of_the_bank(make_bank: Callable[..., EpisodeBank]) -> None:
    bank = make_bank(n=50, photos=40)
    assert Core(bank, "inv-rank", gallery=ShardedGallery(bank.gallery.half())).n_photos == 40


# Other processes ------------------------------------------------------------------------------------------

SIZES = (40, 23)  # rows of each process


def question() -> tuple[Tensor, Tensor, Tensor]:
    gallery = random_units(sum(SIZES), 3, coarse=True)
    gallery[::2] = random_units(len(gallery[::2]), 3)
    target = torch.arange(0, sum(SIZES), 3)
    return unit(torch.cat([gallery[target], random_units(5, 3, seed=1)])), gallery, torch.cat([target, target[:5]])


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_two_processes_give_the_answers_of_one(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")  # fresh ones would import everything again
    with context.Pool(2) as pool:
        answers = pool.starmap_async(share, [(0, tmp_path), (1, tmp_path)], chunksize=1).get(300)
    rank, near, row = in_one_piece(*question(), 50)  # more photos than the second process holds
    for found in answers:
        assert found["photos"] == sum(SIZES)
        assert found["rank"] == rank.tolist()
        assert found["near"] == near.tolist()
        assert found["row"] == row.tolist()
        assert min(found["own"]) > 1 - 1e-6
    assert "gallery row 0 has length nan" in answers[1]["fault"]
    assert "[[40, 3], [0, 0]]" in answers[0]["fault"]  # instead of waiting for ever
    assert [found["empty"] for found in answers] == ["the gallery holds no photo"] * 2


def share(number: int, meeting: Path) -> dict[str, Any]:
    """What one of two processes finds, holding its own rows alone."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting / 'file'}", rank=number, world_size=2)
    world = dist.group.WORLD
    queries, gallery, target = question()
    own = gallery.split(SIZES)[number]
    parts = ShardedGallery(own, group=world, block=64)
    near, row = parts.top_k(queries, 50)
    found = {"photos": len(parts), "rank": parts.rank(queries, target).tolist()}
    found |= {"near": near.tolist(), "row": row.tolist()}
    found["own"] = parts.similarity(queries[: len(target) - 5], target[:-5]).tolist()
    for name, faulty in (("fault", own if number == 0 else own * NAN), ("empty", own[:0])):
        try:
            ShardedGallery(faulty, group=world)
        except SketchlessError as error:
            found[name] = str(error)
    dist.destroy_process_group()
    return found


@pytest.mark.slow
def test_a_million_photos_play_an_episode_in_6_gb() -> None:
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True, timeout=300)
    found = json.loads(done.stdout)
    print(found)
    assert found["rank"] == found["expected"]
    assert found["peak"] < 6e9


def million() -> dict[str, Any]:
    """Three sketches stepped through 20 frames: last ranks, peak memory in bytes, seconds of each stage."""
    rows, steps, dim = 1_000_000, 20, 64
    photos = random_units(rows, dim)
    bank = EpisodeBank(
        features=random_units(3, steps, 32),
        lengths=torch.full((3,), steps),
        targets=torch.arange(3),
        gallery=photos[:10],
        weight=torch.randn(dim, 32, generator=torch.Generator().manual_seed(0)),
        bias=torch.zeros(dim),
        sketch_ids=tuple("abc"),
        photo_ids=tuple("abcdefghij"),
        split="test",
    )
    sketches = torch.arange(3)
    actions = torch.randn(3, steps, dim, generator=torch.Generator().manual_seed(1))
    begin = time.perf_counter()
    gallery = ShardedGallery(photos)
    ready = time.perf_counter()
    core = Core(bank, "inv-rank", gallery=gallery)
    state = core.reset(sketches, sketch=sketches)
    for t in range(steps):
        outcome = core.step(state, actions[:, t])
        state = outcome.state
    played = time.perf_counter()
    near, _ = gallery.top_k(core.refine(core.base[:, 0], actions[:, 0]), 10)
    found = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    last = core.refine(core.base[:, -1], actions[:, -1])
    expected = target_rank(torch.cat([similarity(last, unit(part)) for part in photos.split(10_000)], 1), bank.targets)
    assert near.shape == (3, 10)
    seconds = {"snap": ready - begin, "episodes": played - ready, "top 10": found - played}
    return {"rank": outcome.rank.tolist(), "expected": expected.tolist(), "peak": peak, "seconds": seconds}


if __name__ == "__main__":
    print(json.dumps(million()))
