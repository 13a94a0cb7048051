"""Wrappers: they change what they say, by the numbers they say, and nothing else."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import gymnasium.wrappers.vector as gym_wrappers
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor
from torch.nn.functional import normalize

from sketchless.datasets import procedural
from sketchless.datasets.errors import CheckpointError, ConfigError
from sketchless.encoders import Encoder, EncoderConfig, EpisodeBank, Gallery, encode_banks
from sketchless.encoders.transforms import (
    drop_frames,
    principal_directions,
    project,
    resize_gallery,
    thin_frames,
    with_distractors,
)
from sketchless.envs import Core, OnTheFlyEnv, OnTheFlyVectorEnv, combined
from sketchless.envs.game.noise import plant_noise
from sketchless.envs.wrappers import NormalizeReward, ToNumpy

MakeBank = Callable[..., EpisodeBank]
Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]
B = 3
GYMNASIUM = tuple(map(int, gym.__version__.split(".")[:2]))


@pytest.fixture(scope="module")
def bank(make_bank: MakeBank) -> EpisodeBank:
    """Twelve sketches of three photos, among ten."""
    bank = make_bank(steps=5, lengths=[5, 1, 4, 3] * 3)
    return replace(bank, targets=torch.tensor([1, 4, 7] * 4))


def vector(bank: EpisodeBank, **options: Any) -> OnTheFlyVectorEnv:
    return OnTheFlyVectorEnv(B, bank, device="cpu", tensors=True, reward=combined(gamma2=1), **options)


def noise(steps: int) -> Tensor:
    return torch.randn(steps, B, 8, generator=torch.Generator().manual_seed(0))


def depicted(bank: EpisodeBank) -> dict[str, str]:
    return {sketch: bank.photo_ids[row] for sketch, row in zip(bank.sketch_ids, bank.targets.tolist(), strict=True)}


def baseline(bank: EpisodeBank) -> Tensor:
    core = Core(bank)
    return core.score(torch.arange(len(bank)), torch.zeros(len(bank), core.n_steps, core.action_dim)).rank


# Galleries -------------------------------------------------------------------------------------------------


def test_a_smaller_gallery_keeps_what_is_depicted(bank: EpisodeBank) -> None:
    small = resize_gallery(bank, 5)
    assert len(small.photo_ids) == 5
    assert depicted(small) == depicted(bank)
    rows = [bank.photo_ids.index(photo) for photo in small.photo_ids]
    assert rows == sorted(rows)
    assert torch.equal(small.gallery, bank.gallery[rows])
    assert small.features is bank.features
    assert (baseline(small) <= baseline(bank)).all()
    assert small.provenance["changes"] == [{"resize_gallery": {"photos": 5, "seed": 0, "drop_sketches": False}}]
    assert "changes" not in bank.provenance


@pytest.mark.parametrize("drop_sketches", [False, True])
def test_for_one_seed_a_smaller_gallery_is_part_of_a_larger(bank: EpisodeBank, drop_sketches: bool) -> None:
    galleries = [set(resize_gallery(bank, n, 1, drop_sketches).photo_ids) for n in range(6, 11)]
    assert all(a < b for a, b in itertools.pairwise(galleries))
    assert len({resize_gallery(bank, 6, seed).photo_ids for seed in range(20)}) > 10


def test_photos_may_go_with_their_sketches(bank: EpisodeBank) -> None:
    small = next(b for b in (resize_gallery(bank, 6, seed, True) for seed in range(9)) if len(b) < len(bank))
    left = depicted(small)
    assert left == {sketch: photo for sketch, photo in depicted(bank).items() if photo in small.photo_ids}
    rows = [bank.sketch_ids.index(sketch) for sketch in left]
    assert torch.equal(small.features, bank.features[rows])
    assert torch.equal(small.lengths, bank.lengths[rows])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"photos": 2}, r"want 2 to 10 photos \(fewer than the 3 that sketches depict only with drop_sketches=True\)"),
        ({"photos": 1, "drop_sketches": True}, "want 2 to 10 photos"),
        ({"photos": 11}, "gallery of 11 photos, seed=0: want 2 to 10"),
        ({"photos": 5, "seed": -1}, "seed=-1"),
    ],
)
def test_galleries_that_cannot_be(bank: EpisodeBank, refuses: Refuses, options: dict[str, Any], match: str) -> None:
    with refuses(ConfigError, match):
        resize_gallery(bank, **options)


def test_a_gallery_without_sketches_is_refused(make_bank: MakeBank, refuses: Refuses) -> None:
    one = replace(make_bank(steps=1), targets=torch.zeros(12, dtype=torch.int64))
    with refuses(ConfigError, "no sketch depicts one of them"):
        for seed in range(20):
            resize_gallery(one, 2, seed, drop_sketches=True)


def plane(degrees: list[float]) -> Tensor:
    """Unit vectors float32 [n, 2] at these angles."""
    angles = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angles.cos(), angles.sin()], dim=1)


@pytest.fixture(scope="module")
def flat() -> EpisodeBank:
    """A sketch at 0 degrees of the photo at 30; another photo stands at 90."""
    return EpisodeBank(
        features=plane([0.0]).unsqueeze(1),
        lengths=torch.tensor([1]),
        targets=torch.tensor([0]),
        gallery=plane([30.0, 90.0]),
        weight=torch.eye(2),
        bias=torch.zeros(2),
        sketch_ids=("s",),
        photo_ids=("at 30", "at 90"),
        split="test",
    )


@pytest.mark.parametrize(
    ("degrees", "rank"),
    [([], 1), ([60.0], 1), ([-31.0], 1), ([-30.0], 2), ([10.0], 2), ([10.0, 60.0, -20.0, 180.0], 3)],
)
def test_distractors_rank_by_where_they_stand(flat: EpisodeBank, degrees: list[float], rank: int) -> None:
    more = with_distractors(flat, Gallery(plane(degrees), tuple(map(str, degrees))))
    assert more.photo_ids == ("at 30", "at 90", *map(str, degrees))
    assert depicted(more) == {"s": "at 30"}
    assert baseline(more).tolist() == [[rank]]


def test_distractors_from_another_bank_and_back(bank: EpisodeBank) -> None:
    other = replace(bank, photo_ids=tuple(f"other-{i}" for i in range(10)), gallery=bank.gallery.flip(0))
    more = with_distractors(bank, other)
    assert len(more.photo_ids) == 20
    back = resize_gallery(more, 3)
    assert back.photo_ids == ("photo-1", "photo-4", "photo-7")
    assert [list(change) for change in back.provenance["changes"]] == [["with_distractors"], ["resize_gallery"]]


def test_distractors_that_do_not_fit(bank: EpisodeBank, refuses: Refuses) -> None:
    with refuses(ConfigError, "different encoders"):
        with_distractors(bank, replace(bank, bias=bank.bias + 1))
    with refuses(ConfigError, r"'photo-0' stands in the gallery already \(10 do\)"):
        with_distractors(bank, bank)
    with refuses(ConfigError, "in 2 dimensions, not 8"):
        with_distractors(bank, Gallery(plane([0.0]), ("new",)))


# Frames ----------------------------------------------------------------------------------------------------


def frames_shown(bank: EpisodeBank) -> Tensor:
    """Which frame stands at each step, of a bank made by `countable`: int64 [N, T]."""
    return bank.features.argmax(dim=2)


def countable(make_bank: MakeBank, n: int, steps: int, lengths: list[int] | None = None) -> EpisodeBank:
    """A bank whose frame t is the unit vector along axis t."""
    bank = make_bank(n=n, steps=steps, width=steps, lengths=lengths)
    shown = torch.minimum(torch.arange(steps), bank.lengths.unsqueeze(1) - 1)
    return replace(bank, features=torch.eye(steps)[shown])


def test_a_lost_frame_shows_the_one_before(make_bank: MakeBank) -> None:
    bank = countable(make_bank, 200, 20)
    shown = frames_shown(drop_frames(bank, 0.3))
    fresh = shown == torch.arange(20)
    assert fresh[:, 0].all()
    assert torch.equal(shown[:, 1:], torch.where(fresh[:, 1:], torch.arange(1, 20), shown[:, :-1]))
    lost = (~fresh[:, 1:]).double()
    assert float(lost.mean()) == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / lost.numel()) ** 0.5)
    assert len({tuple(row) for row in fresh.tolist()}) > 150


def test_none_and_all(make_bank: MakeBank) -> None:
    bank = countable(make_bank, 4, 6, [6, 1, 3, 5])
    assert torch.equal(drop_frames(bank, 0).features, bank.features)
    assert not frames_shown(drop_frames(bank, 1)).any()


def test_beyond_its_length_an_episode_repeats_its_last_frame(make_bank: MakeBank) -> None:
    bank = countable(make_bank, 8, 9, [9, 1, 4, 5, 6, 7, 8, 2])
    changed = drop_frames(bank, 0.5, seed=2)
    assert torch.equal(changed.lengths, bank.lengths)
    for row, length in zip(frames_shown(changed), bank.lengths.tolist(), strict=True):
        assert (row[length:] == row[length - 1]).all()
        assert (row < length).all()


def test_what_is_lost_follows_from_seed_and_id(make_bank: MakeBank) -> None:
    bank = countable(make_bank, 6, 12)
    turned = replace(bank, features=bank.features.flip(0), sketch_ids=bank.sketch_ids[::-1])
    first = drop_frames(bank, 0.4, seed=3).features
    assert torch.equal(first, drop_frames(turned, 0.4, seed=3).features.flip(0))
    assert not torch.equal(first, drop_frames(bank, 0.4, seed=4).features)
    more = frames_shown(drop_frames(bank, 0.7, seed=3))
    assert (more <= frames_shown(drop_frames(bank, 0.4, seed=3))).all()


@pytest.mark.parametrize("options", [{"share": -0.1}, {"share": 1.1}, {"share": float("nan")}, {"share": "a"}])
def test_a_share_that_is_none(bank: EpisodeBank, refuses: Refuses, options: dict[str, Any]) -> None:
    with refuses(ConfigError, "want a share of 0 to 1"):
        drop_frames(bank, **options)
    for seed in (-1, 1.5):
        with refuses(ConfigError, f"seed={seed}: must be a whole number, 0 or more"):
            drop_frames(bank, 0.1, seed=seed)  # type: ignore[arg-type]


def test_noise_strokes_in_two_lines() -> None:
    dataset = procedural(train=4, test=2, validation=2, drawers=1)
    encoder = Encoder(EncoderConfig(size=16, dim=4))
    noisy = plant_noise(dataset, strokes=2, seed=0).dataset
    banks = encode_banks(encoder, noisy, schedule="strokes", splits=["test"])
    clean = encode_banks(encoder, dataset, schedule="strokes", splits=["test"])
    assert torch.equal(banks["test"].lengths, clean["test"].lengths + 2)
    assert torch.equal(banks["test"].gallery, clean["test"].gallery)


# Numpy -----------------------------------------------------------------------------------------------------


def leaves(value: Any) -> list[Any]:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else None
    return [value] if parts is None else [leaf for part in parts for leaf in leaves(part)]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_numpy_is_what_torch_is(bank: EpisodeBank, mode: AutoresetMode) -> None:
    bank = replace(bank, lengths=torch.full((12,), 5)) if mode is AutoresetMode.DISABLED else bank
    ours, theirs = vector(bank, autoreset_mode=mode), ToNumpy(vector(bank, autoreset_mode=mode))
    assert theirs.metadata["autoreset_mode"] is mode
    results: list[tuple[Any, Any]] = [(ours.reset(seed=4), theirs.reset(seed=4))]
    for actions in noise(5):
        results.append((ours.step(actions), theirs.step(actions.numpy())))
    mask = np.array([True, False, True])
    results.append((ours.reset(options={"reset_mask": mask}), theirs.reset(options={"reset_mask": mask})))
    every = [leaf for _, result in results for leaf in leaves(result)]
    assert all(type(leaf) is np.ndarray and leaf.flags.writeable for leaf in every)
    assert len({leaf.ctypes.data for leaf in every}) == len(every)  # no two share memory
    for tensors, arrays in results:
        for expected, got in zip(leaves(tensors), leaves(arrays), strict=True):
            assert np.array_equal(got, expected.numpy())
            assert got.dtype == expected.numpy().dtype
    assert any("final_info" in tensors[-1] for tensors, _ in results) == (mode is AutoresetMode.SAME_STEP)


def test_episode_statistics_of_gymnasium(bank: EpisodeBank) -> None:
    env = gym_wrappers.RecordEpisodeStatistics(ToNumpy(vector(bank)))
    env.reset(seed=0)
    returns, steps, told = np.zeros(B), np.zeros(B, int), 0
    for actions in noise(20):
        _, reward, terminated, _, info = env.step(actions.numpy())
        returns, steps = returns + reward, steps + 1
        assert ("episode" in info) == terminated.any()
        if terminated.any():
            told += int(terminated.sum())
            assert np.allclose(info["episode"]["r"][terminated], returns[terminated])
            assert np.array_equal(info["episode"]["l"][terminated], steps[terminated])
        returns, steps = returns * ~terminated, steps * ~terminated
    assert told > B


@pytest.mark.parametrize("name", ["DictInfoToList", "NormalizeObservation", "NormalizeReward", "FlattenObservation"])
@pytest.mark.parametrize("inner", [{}, {"tensors": True}])
def test_other_wrappers_of_gymnasium(bank: EpisodeBank, name: str, inner: dict[str, Any]) -> None:
    made = gym.make_vec("sketchless/OnTheFly-v0", B, bank=bank, autoreset_mode="NextStep", **inner)
    env = getattr(gym_wrappers, name)(ToNumpy(made) if inner else made)
    env.reset(seed=0)
    for actions in noise(12):
        observation, reward, *_, info = env.step(actions.numpy())
    assert observation.shape == (B, 32)
    assert reward.shape == (B,)
    assert len(info) == B or "rank" in info


@pytest.mark.parametrize("name", ["DictInfoToList", "NormalizeReward", "RecordEpisodeStatistics"])
def test_wrappers_of_gymnasium_around_the_default(bank: EpisodeBank, name: str) -> None:
    """As around gymnasium's own vector environment of the same single environments."""
    ours = getattr(gym_wrappers, name)(gym.make_vec("sketchless/OnTheFly-v0", B, bank=bank))
    many = gym.vector.SyncVectorEnv([lambda: OnTheFlyEnv(bank)] * B, autoreset_mode=AutoresetMode.SAME_STEP)
    theirs = getattr(gym_wrappers, name)(many)
    ours.reset(seed=2)
    theirs.reset(seed=2)
    told = 0
    for actions in noise(12):
        mine, expected = ours.step(actions.numpy()), theirs.step(actions.numpy())
        assert all(type(part) is np.ndarray for part in mine[:4])
        assert np.array_equal(mine[0], expected[0])
        assert np.allclose(mine[1], expected[1], rtol=1e-5)
        if name == "DictInfoToList":
            told += sum("final_info" in one for one in mine[4])
            for one, other in zip(mine[4], expected[4], strict=True):
                assert one["rank"] == (other if "final_info" not in one else other["final_info"])["rank"]
        elif name == "RecordEpisodeStatistics" and "episode" in expected[4]:
            told += 1
            over = mine[2]
            assert np.array_equal(mine[4]["episode"]["l"][over], expected[4]["episode"]["l"][over])
    assert told > 0 or name == "NormalizeReward"


def test_reset_and_step_tell_the_same_keys(bank: EpisodeBank) -> None:
    for mode in AutoresetMode:
        env = vector(bank, autoreset_mode=mode)
        before, after = env.reset(seed=0)[1], env.step(noise(1)[0])[4]
        assert set(before) == {name for name in after if "final" not in name}
        assert set(before["reward_terms"]) == set(after["reward_terms"])
        assert all(before[name].dtype == after[name].dtype for name in before if name != "reward_terms")
        assert not before["rank"].any()
        assert not before["is_success"].any()


def test_the_length_of_episodes_stands_in_the_spec(make_bank: MakeBank) -> None:
    even, uneven = make_bank(n=3, steps=6), make_bank(n=3, steps=6, lengths=[6, 2, 3])
    for make in (
        lambda bank: gym.make("sketchless/OnTheFly-v0", bank=bank),
        lambda bank: gym.make_vec("sketchless/OnTheFly-v0", 2, bank=bank),
    ):
        assert make(even).spec.max_episode_steps == 6
        assert make(uneven).spec.max_episode_steps is None
    env = gym.wrappers.TimeAwareObservation(gym.make("sketchless/OnTheFly-v0", bank=even))
    assert env.reset(seed=0)[0].shape == (33,)
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(6)]
    assert ends == [(False, False)] * 5 + [(True, False)]


# Normalised rewards ----------------------------------------------------------------------------------------


class Scripted(VectorEnv[Any, Any, Any]):
    """Two environments that pay and end as they are told."""

    num_envs = 2
    single_observation_space = single_action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    observation_space = action_space = batch_space(single_action_space, 2)

    def __init__(self, mode: AutoresetMode, *steps: tuple[list[float], list[bool], list[bool]]) -> None:
        self.metadata = {"autoreset_mode": mode}
        self.steps = list(steps)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Tensor, dict[str, Any]]:
        return torch.zeros(2, 1), {}

    def step(self, actions: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        reward, terminated, truncated = map(torch.tensor, self.steps.pop(0))
        return torch.zeros(2, 1), reward.double(), terminated, truncated, {}


def spread(returns: list[float]) -> float:
    """Standard deviation of numbers and 1e-4 of a number of mean 0 and variance 1."""
    weight = len(returns) + 1e-4
    return float((1e-4 + np.square(returns).sum()) / weight - (np.sum(returns) / weight) ** 2) ** 0.5


NEITHER = [False, False]
SCRIPT = (
    ([1.0, 3.0], NEITHER, NEITHER),
    ([2.0, 1.0], [False, True], NEITHER),
    ([4.0, 5.0], NEITHER, [True, False]),
    ([8.0, 2.0], NEITHER, NEITHER),
)
# With gamma 0.5. Row one: 1; 2 + 1/2; 4 + 2.5/2, truncated; anew 8. Row two: 3; 1, terminated, by itself; anew 5;
# 2 + 5/2.
RETURNS = [[1.0, 3.0], [2.5, 1.0], [5.25, 5.0], [8.0, 4.5]]


def test_rewards_are_divided_by_the_deviation_of_returns_so_far() -> None:
    env = NormalizeReward(Scripted(AutoresetMode.SAME_STEP, *SCRIPT), gamma=0.5)
    env.reset()
    seen: list[float] = []
    for (paid, _, _), returns in zip(SCRIPT, RETURNS, strict=True):
        seen += returns
        assert env.step(None)[1].tolist() == pytest.approx([one / spread(seen) for one in paid], rel=1e-7)
    assert float(env.moments.weight) == pytest.approx(8.0001)
    assert float(env.moments.mean) == pytest.approx(sum(seen) / 8.0001)


def test_a_step_that_only_begins_an_episode_does_not_count() -> None:
    steps = ([1.0, 3.0], [False, True], NEITHER), ([2.0, 0.0], NEITHER, NEITHER), ([4.0, 5.0], NEITHER, NEITHER)
    env = NormalizeReward(Scripted(AutoresetMode.NEXT_STEP, *steps), gamma=0.5)
    env.reset()
    env.step(None)
    env.step(None)
    assert float(env.moments.weight) == pytest.approx(3.0001)
    # Row one: 1; 2.5; 5.25. Row two: 3, by itself; nothing; 5.
    scale = spread([1, 2.5, 5.25, 3, 5])
    assert env.step(None)[1].tolist() == pytest.approx([4 / scale, 5 / scale])


@pytest.mark.skipif(GYMNASIUM < (1, 4), reason="its wrapper did not know of SAME_STEP")
def test_it_agrees_with_gymnasium(bank: EpisodeBank) -> None:
    ours = NormalizeReward(vector(bank), gamma=0.9)
    theirs = gym_wrappers.NormalizeReward(ToNumpy(vector(bank)), gamma=0.9)
    ours.reset(seed=1)
    theirs.reset(seed=1)
    for actions in noise(60):
        mine, expected = ours.step(actions), theirs.step(actions.numpy())
        assert mine[1].dtype == torch.float64
        assert np.allclose(mine[1].numpy(), expected[1], rtol=1e-4)  # its returns are float32
        assert all(np.array_equal(mine[part], expected[part]) for part in (0, 2, 3))
        assert np.array_equal(mine[4]["reward_terms"]["local"], expected[4]["reward_terms"]["local"])


def test_frozen_it_divides_and_does_not_learn(bank: EpisodeBank) -> None:
    env, plain = NormalizeReward(vector(bank)), vector(bank)
    env.reset(seed=0)
    for actions in noise(9):
        env.step(actions)
    learnt, env.frozen = env.state_dict(), True
    scale = (learnt["variance"] + 1e-8).sqrt()
    env.reset(seed=5)
    plain.reset(seed=5)
    for actions in noise(9):
        assert torch.equal(env.step(actions)[1], plain.step(actions)[1] / scale)
    assert env.state_dict() == learnt


def test_the_state_goes_to_another_one_and_cannot_be_anything_else(bank: EpisodeBank, refuses: Refuses) -> None:
    env, other = NormalizeReward(vector(bank)), NormalizeReward(vector(bank))
    env.reset(seed=0)
    for actions in noise(9):
        env.step(actions)
    state = env.state_dict()
    other.load_state_dict(state)
    env.reset(seed=3)
    other.reset(seed=3)
    for actions in noise(4):
        assert torch.equal(env.step(actions)[1], other.step(actions)[1])
    assert set(state) == {"mean", "variance", "weight"}
    nan = torch.tensor(torch.nan)
    for wrong in ({}, {"mean": state["mean"]}, state | {"mean": nan}, state | {"weight": -state["weight"]}):
        with refuses(CheckpointError, "want finite mean, variance, weight"):
            other.load_state_dict(wrong)


def test_a_reset_mask_begins_returns_anew_where_it_says() -> None:
    steps = ([1.0, 3.0], NEITHER, NEITHER), ([2.0, 1.0], NEITHER, NEITHER)
    env = NormalizeReward(Scripted(AutoresetMode.DISABLED, *steps), gamma=0.5)
    env.reset()
    env.step(None)
    env.reset(options={"reset_mask": torch.tensor([False, True])})
    # Row one: 1; 2.5. Row two: 3; 1, anew.
    scale = spread([1, 3, 2.5, 1])
    assert env.step(None)[1].tolist() == pytest.approx([2 / scale, 1 / scale])


@pytest.mark.parametrize("options", [{"gamma": -0.1}, {"gamma": 1.1}, {"gamma": float("nan")}, {"epsilon": 0}])
def test_numbers_out_of_range(bank: EpisodeBank, refuses: Refuses, options: dict[str, float]) -> None:
    with refuses(ConfigError, "want gamma from 0 to 1"):
        NormalizeReward(vector(bank), **options)


def test_arrays_are_left_to_gymnasium(bank: EpisodeBank, refuses: Refuses) -> None:
    envs = ToNumpy(OnTheFlyVectorEnv(2, bank, device="cpu"))
    with refuses(ConfigError, "NormalizeReward wants tensors: make environments with tensors=True"):
        NormalizeReward(envs)
    with refuses(ConfigError, "NormalizeReward wants tensors"):
        NormalizeReward(gym_wrappers.RecordEpisodeStatistics(envs)).reset(seed=0)


@pytest.mark.gpu
def test_on_the_gpu_as_on_the_cpu(bank: EpisodeBank) -> None:
    here = NormalizeReward(vector(bank))
    there = NormalizeReward(OnTheFlyVectorEnv(B, bank, device="cuda", tensors=True, reward=combined(gamma2=1)))
    outside = ToNumpy(there)
    here.reset(seed=0)
    assert type(outside.reset(seed=0)[0]) is np.ndarray
    for actions in noise(9):
        mine, theirs = here.step(actions), there.step(actions.cuda())
        assert theirs[1].is_cuda
        assert torch.allclose(theirs[1].cpu(), mine[1])
    more = with_distractors(bank.to("cuda"), Gallery(normalize(torch.ones(1, 8)), ("new",)))
    small = resize_gallery(drop_frames(more, 0.3), 6)
    assert small.gallery.is_cuda
    assert torch.equal(small.features.cpu(), drop_frames(bank, 0.3).features)


# Videos ----------------------------------------------------------------------------------------------------


def recorded(folder: Path) -> dict[str, int]:
    """Frames of each video."""
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    return {path.name: ffmpeg.count_frames_and_secs(str(path))[0] for path in sorted(folder.glob("*.mp4"))}


def test_record_video_around_one(make_bank: MakeBank, dataset_for: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    bank = make_bank(n=2, steps=3)
    made = gym.make("sketchless/OnTheFly-v0", bank=bank, render_mode="rgb_array", dataset=dataset_for(bank))
    env = gym.wrappers.RecordVideo(made, str(tmp_path / "video"), episode_trigger=lambda episode: True)
    for seed in range(2):
        env.reset(seed=seed)
        for _ in range(3):
            env.step(env.action_space.sample())
    env.close()
    assert recorded(tmp_path / "video") == {"rl-video-episode-0.mp4": 4, "rl-video-episode-1.mp4": 4}


@pytest.mark.parametrize(("mode", "frames"), [("NextStep", [4, 1]), ("SameStep", [3, 2])])
def test_record_video_around_many(
    make_bank: MakeBank, dataset_for: Callable[..., Any], tmp_path: Path, mode: str, frames: list[int]
) -> None:
    """`SAME_STEP` shows no last frame, as gymnasium warns: by then the next episode has begun."""
    pytest.importorskip("moviepy")
    bank = make_bank(n=2, steps=3)
    made = OnTheFlyVectorEnv(
        2, bank, device="cpu", autoreset_mode=mode, render_mode="rgb_array", dataset=dataset_for(bank)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        env = gym_wrappers.RecordVideo(ToNumpy(made), str(tmp_path / "video"), episode_trigger=lambda episode: True)
    env.reset(seed=0)
    for _ in range(4):
        env.step(env.action_space.sample())
    env.close()
    assert list(recorded(tmp_path / "video").values()) == frames


# Shorter episodes and narrower embeddings --------------------------------------------------------------------


def test_every_third_frame_and_always_the_last(make_bank: MakeBank) -> None:
    bank = make_bank(n=3, steps=7, lengths=[7, 6, 1])
    thin = thin_frames(bank, 3)
    assert thin.lengths.tolist() == [3, 2, 1]
    shown = torch.tensor([[2, 5, 6], [2, 5, 5], [0, 0, 0]])  # frames 3, 6, 7 of seven; 3, 6 of six; 1 of one
    assert torch.equal(thin.features, bank.features[torch.arange(3).unsqueeze(1), shown])
    assert torch.equal(thin.targets, bank.targets)


def test_every_frame_is_the_bank_itself(bank: EpisodeBank) -> None:
    same = thin_frames(bank, 1)
    assert torch.equal(same.features, bank.features)
    assert torch.equal(same.lengths, bank.lengths)


def test_thinning_out_of_range(bank: EpisodeBank, refuses: Refuses) -> None:
    for every in (0, bank.features.shape[1] + 1):
        with refuses(ConfigError, f"every={every}: want 1 to"):
            thin_frames(bank, every)
    with refuses(ConfigError, "every='2': must be a whole number"):
        thin_frames(bank, "2")  # type: ignore[arg-type]


def test_principal_directions_of_photos_along_two_axes() -> None:
    gallery = torch.tensor([[0.6, 0.8, 0.0], [0.6, 0.8, 0.0], [0.8, -0.6, 0.0]])  # lengths sqrt 2 and 1, orthogonal
    first, second = principal_directions(gallery, 2)
    assert first.abs().tolist() == pytest.approx([0.6, 0.8, 0.0])
    assert second.abs().tolist() == pytest.approx([0.8, 0.6, 0.0])


def test_projection_along_one_axis_leaves_its_coordinates(make_bank: MakeBank) -> None:
    bank = make_bank(dim=4)
    narrow = project(bank, torch.eye(4)[[2, 0]])
    assert torch.equal(narrow.weight, bank.weight[[2, 0]])
    assert torch.equal(narrow.bias, bank.bias[[2, 0]])
    kept = bank.gallery[:, [2, 0]]
    assert torch.allclose(narrow.gallery, kept / kept.norm(dim=1, keepdim=True))


def test_projection_on_all_directions_keeps_every_rank(bank: EpisodeBank) -> None:
    turned = project(bank, principal_directions(bank.gallery, bank.gallery.shape[1]))
    assert torch.equal(baseline(turned), baseline(bank))


def test_directions_that_do_not_fit(bank: EpisodeBank, refuses: Refuses) -> None:
    with refuses(ConfigError, r"directions \(2, 3\): want \[k, 8\]"):
        project(bank, torch.zeros(2, 3))
    with refuses(ConfigError, "width=9: want 1 to 8"):
        principal_directions(bank.gallery, 9)
