"""The Gymnasium environment: what it promises to libraries, what an episode tells, and what it refuses."""

from __future__ import annotations

import copy
import doctest
import importlib
import importlib.util
import itertools
import math
import pkgutil
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import sketchless.encoders
from sketchless import envs
from sketchless.datasets.errors import CheckpointError, ConfigError, DataError
from sketchless.encoders.bank import EpisodeBank
from sketchless.envs import OnTheFlyEnv, OnTheFlyVectorEnv, combined
from sketchless.envs.sb3_env import SketchVecEnv
from sketchless.envs.sketch_game_v0 import SketchGame

MakeBank = Callable[..., EpisodeBank]
Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]
ID = "sketchless/OnTheFly-v0"
LENGTHS = [4, 1, 2, 3, 5, 5]
SHIPPED = {"OnTheFly": "procedural", "Strokes": "procedural-strokes"}


def needs_bank(name: str) -> pytest.MarkDecorator:
    file = Path(sketchless.encoders.__file__).parent / "banks" / f"{name}.safetensors"
    return pytest.mark.skipif(not file.is_file(), reason=f"the bank {name!r} is not there")


@pytest.fixture(scope="module")
def bank(make_bank: MakeBank) -> EpisodeBank:
    return make_bank(n=6, steps=5, lengths=LENGTHS)


@pytest.fixture
def env(bank: EpisodeBank) -> OnTheFlyEnv:
    return OnTheFlyEnv(bank, reward=combined(gamma2=1))


def actions(env: OnTheFlyEnv, count: int, seed: int = 0) -> list[Any]:
    env.action_space.seed(seed)
    return [env.action_space.sample() for _ in range(count)]


def episode(env: OnTheFlyEnv, **reset: Any) -> list[tuple[Any, ...]]:
    """What reset and every step of one episode return."""
    got: list[tuple[Any, ...]] = [env.reset(**reset)]
    for action in actions(env, 100):
        got.append(env.step(action))
        if got[-1][2]:
            return got
    raise AssertionError("the episode does not end")


def same(a: Any, b: Any) -> bool:
    """Equal, arrays and all."""
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


# Checkers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("observation", ["feature", "embedding"])
@pytest.mark.parametrize("mode", ["residual", "absolute"])
def test_both_checkers_pass_without_a_warning(
    mode: str, observation: str, bank: EpisodeBank, dataset_for: Callable[..., Any]
) -> None:
    made = gym.make(ID, bank=bank, mode=mode, observation=observation, dataset=dataset_for(bank))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gymnasium_check_env(made.unwrapped)  # renders, too: the environment knows how it was made
        sb3_check_env(made.unwrapped)


def test_177_both_checkers_pass_where_episodes_have_one_step(make_bank: MakeBank) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gymnasium_check_env(OnTheFlyEnv(make_bank(steps=1)), skip_render_check=True)
        sb3_check_env(OnTheFlyEnv(make_bank(steps=1)))


# Registration ----------------------------------------------------------------------------------------------


def test_make_hands_its_keywords_on(bank: EpisodeBank) -> None:
    env = gym.make(ID, bank=bank, reward="top5", mode="absolute", observation="embedding", scale=0.5).unwrapped
    assert isinstance(env, OnTheFlyEnv)
    assert (env.core.reward.name, env.core.mode, env.core.observation, env.core.scale) == (
        "top5", "absolute", "embedding", 0.5,
    )  # fmt: skip
    assert env.observation_space == gym.spaces.Box(-1, 1, (8,), np.float32)
    assert env.action_space == gym.spaces.Box(-1, 1, (8,), np.float32)


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=needs_bank(name)) for kind, name in SHIPPED.items()])
def test_ids_run_on_the_banks_that_ship(kind: str) -> None:
    env = gym.make(f"sketchless/{kind}-v0").unwrapped
    assert isinstance(env, OnTheFlyEnv)
    got = episode(env, seed=0)
    length = int(env.core.bank.lengths[env.core.bank.sketch_ids.index(got[0][1]["sketch_id"])])
    assert len(got) - 1 == length
    if kind == "OnTheFly":
        assert set(env.core.bank.lengths.tolist()) == {20}
    many = gym.make_vec(f"sketchless/{kind}-v0", num_envs=3, device="cpu")
    assert np.array_equal(many.reset(seed=0)[0][0], got[0][0])


@needs_bank("procedural")
def test_examples_in_the_docs_are_true() -> None:
    names = {found.name for found in pkgutil.iter_modules(envs.__path__)}
    modules = [importlib.import_module(f"sketchless.envs.{name}") for name in sorted(names)]
    results = [doctest.testmod(module) for module in modules]
    assert sum(result.attempted for result in results) > 0
    assert sum(result.failed for result in results) == 0


# Episodes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", range(6))
def test_an_episode_tells_what_the_core_scores(row: int, env: OnTheFlyEnv) -> None:
    core, bank, length = env.core, env.core.bank, LENGTHS[row]
    got = episode(env, seed=0, options={"sketch_id": f"sketch-{row}"})
    given = np.stack(actions(env, 5))
    score = core.score(torch.tensor([row]), torch.from_numpy(given).unsqueeze(0), credit="online")
    frames = core.observations(torch.tensor([row]))[0].numpy()

    names = {"sketch_id": f"sketch-{row}", "photo_id": f"photo-{int(bank.targets[row])}"}
    observation, info = got[0]
    assert same(observation, frames[0])
    assert info == names | {
        **{"step": 0, "rank": 0, "percentile": 0.0, "reciprocal_rank": 0.0, "is_success": False},
        "reward_terms": {"local": 0.0, "trajectory": 0.0},
    }
    assert len(got) == 1 + length
    for t, (observation, reward, terminated, truncated, info) in enumerate(got[1:]):
        rank = int(score.rank[0, t])
        assert same(observation, frames[min(t + 1, length - 1)])  # the complete sketch stays on show
        assert reward == float(score.reward[0, t])
        assert (terminated, truncated) == (t == length - 1, False)
        assert info == names | {
            "step": t + 1,
            "rank": rank,
            "percentile": (10 - rank) / 9,
            "reciprocal_rank": 1 / rank,
            "is_success": rank == 1,
            "reward_terms": {"local": float(score.local[0, t]), "trajectory": float(score.trajectory[0, t])},
        }


def test_everything_returned_is_of_a_plain_type(env: OnTheFlyEnv) -> None:
    for *step, info in episode(env, seed=0, options={"sketch_id": "sketch-4"}):
        assert type(step[0]) is np.ndarray
        assert step[0].dtype == np.float32
        assert [type(value) for value in step[1:]] in ([], [float, bool, bool])
        assert {type(value) for value in info.values()} <= {int, float, bool, str, dict}
        assert {type(value) for value in info.get("reward_terms", {}).values()} <= {float}


def test_minari_writes_a_data_set_with_infos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minari = pytest.importorskip("minari")
    pytest.importorskip("jax")  # of minari[create]
    pytest.importorskip("h5py")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = minari.DataCollector(gym.make(ID), record_infos=True)
    env.action_space.seed(0)
    ranks = []
    for seed in range(2):
        ranks.append([env.reset(seed=seed)[1]["rank"]])
        for _ in range(20):
            *_, terminated, truncated, info = env.step(env.action_space.sample())
            ranks[-1].append(info["rank"])
        assert terminated
        assert not truncated
    written = env.create_dataset("sketchless/test-v0", algorithm_name="random")
    episodes = list(written.iterate_episodes())
    assert [len(one) for one in episodes] == [20, 20]
    assert [one.infos["rank"].tolist() for one in episodes] == ranks
    assert [one.infos["reward_terms"]["local"].shape for one in episodes] == [(21,), (21,)]


def test_what_was_returned_never_changes_later(env: OnTheFlyEnv) -> None:
    got = episode(env, seed=0, options={"sketch_id": "sketch-4"})
    kept = copy.deepcopy(got)
    for observation, *_ in got:
        observation[:] = 9  # nor does a change reach the environment
    assert same(episode(env, seed=0, options={"sketch_id": "sketch-4"}), kept)


def test_equal_seeds_play_equal_episodes(bank: EpisodeBank) -> None:
    first, second = OnTheFlyEnv(bank), OnTheFlyEnv(bank)
    second.reset(seed=5)
    for reset in ({"seed": 3}, {}, {}, {"seed": 3}, {}, {"seed": 2**80}):
        assert same(episode(first, **reset), episode(second, **reset))


def test_reset_without_a_seed_begins_the_next_episode_of_the_seed(env: OnTheFlyEnv) -> None:
    def names(count: int) -> list[str]:
        return [env.reset()[1]["sketch_id"] for _ in range(count)]

    first = [env.reset(seed=11)[1]["sketch_id"], *names(30)]
    assert set(first) == {f"sketch-{row}" for row in range(6)}
    env.step(actions(env, 1)[0])  # an episode left in the middle counts as one
    assert [env.reset(seed=11)[1]["sketch_id"], *names(30)] == first


def test_without_any_seed_environments_differ_unless_np_random_is_set(make_bank: MakeBank) -> None:
    bank = make_bank(n=1000, steps=1)

    def names(rng: np.random.Generator | None) -> list[str]:
        env = OnTheFlyEnv(bank)
        if rng is not None:
            env.np_random = rng
        return [env.reset()[1]["sketch_id"] for _ in range(4)]

    assert names(None) != names(None)
    assert names(np.random.default_rng(1)) == names(np.random.default_rng(1))


def test_a_chosen_sketch_holds_for_one_episode(env: OnTheFlyEnv) -> None:
    env.reset(seed=4)
    free = [env.reset()[1]["sketch_id"] for _ in range(5)]
    env.reset(seed=4)
    chosen = [env.reset(options={"sketch_id": "sketch-1"} if i == 2 else {})[1]["sketch_id"] for i in range(5)]
    assert chosen == [*free[:2], "sketch-1", *free[3:]]


def test_a_refused_call_leaves_the_episode_as_it_was(env: OnTheFlyEnv, refuses: Refuses) -> None:
    whole = episode(env, seed=0, options={"sketch_id": "sketch-0"})
    env.reset(seed=0, options={"sketch_id": "sketch-0"})
    with refuses(DataError, "is nan"):
        env.step(np.full(8, np.nan, np.float32))
    with refuses(ConfigError, "reset option"):
        env.reset(seed=9, options={"sketch": 1})
    assert same([env.step(action) for action in actions(env, 4)], whole[1:])


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda env: cloudpickle.loads(cloudpickle.dumps(env))])
def test_a_copy_in_mid_episode_goes_on_alike(clone: Callable[[OnTheFlyEnv], OnTheFlyEnv], env: OnTheFlyEnv) -> None:
    env.reset(seed=0, options={"sketch_id": "sketch-4"})
    given = actions(env, 5)
    env.step(given[0])
    twin = clone(env)
    assert same([twin.step(a) for a in given[1:]], [env.step(a) for a in given[1:]])
    assert twin.reset()[1] == env.reset()[1]


def test_async_environments_run_in_processes_of_their_own(bank: EpisodeBank) -> None:
    pair = gym.make_vec(ID, num_envs=2, vectorization_mode="async", bank=bank)
    try:
        observation, _ = pair.reset(seed=3)
        expected = [OnTheFlyEnv(bank).reset(seed=seed)[0] for seed in (3, 4)]
        assert same(observation, np.stack(expected))
    finally:
        pair.close()


# Actions and seeds of every type ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        lambda a: a.tolist(),
        tuple,
        lambda a: a.astype(np.float64),
        lambda a: a.astype(">f4"),
        lambda a: a[::-1].copy()[::-1],
        torch.from_numpy,
        lambda a: torch.from_numpy(a).requires_grad_(),
    ],
    ids=["167-list", "tuple", "float64", "big-endian", "reversed", "tensor", "with-gradient"],
)
def test_actions_of_any_array_type_count_alike(given: Callable[[Any], Any], env: OnTheFlyEnv) -> None:
    action = actions(env, 1)[0]
    env.reset(seed=0)
    expected = env.step(action)
    env.reset(seed=0)
    assert same(env.step(given(action)), expected)


@pytest.mark.gpu
def test_166_a_cuda_action_counts_like_any_other(env: OnTheFlyEnv) -> None:
    action = actions(env, 1)[0]
    env.reset(seed=0)
    expected = env.step(action)
    env.reset(seed=0)
    assert same(env.step(torch.from_numpy(action).cuda()), expected)


@pytest.mark.parametrize("seed", [np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)])
def test_168_a_whole_number_of_any_type_is_a_seed(seed: Any, env: OnTheFlyEnv) -> None:
    assert env.reset(seed=seed)[1] == env.reset(seed=3)[1]


# Misuse ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", [OnTheFlyEnv, OnTheFlyVectorEnv, SketchVecEnv, SketchGame])
def test_a_bank_and_a_split_have_to_agree(shell: Any, make_bank: Callable[..., EpisodeBank], refuses: Refuses) -> None:
    bank = replace(make_bank(), split="test")
    for split in ("train", "tets"):
        with refuses(ConfigError, f"split='{split}' of a bank that holds 'test': leave split out"):
            shell(bank=bank, split=split)
    for wrong in (3, None, {"test": bank}):
        with refuses(ConfigError, f"bank is {type(wrong).__name__}: want an EpisodeBank, the path"):
            shell(bank=wrong)
    with refuses(ConfigError, "unknown split 'tets': did you mean 'test'"):
        shell(split="tets")


def test_a_split_is_of_the_file_or_that_of_the_bank(make_bank: Callable[..., EpisodeBank]) -> None:
    bank = replace(make_bank(), split="test")
    assert [OnTheFlyEnv(bank, split=split).core.bank.split for split in (None, "test")] == ["test", "test"]
    assert [OnTheFlyEnv(split=split).core.bank.split for split in (None, "validation")] == ["train", "validation"]


@pytest.mark.parametrize("seed", [-1, 3.0, "3", np.float32(3), [3], np.int64(-1), True, np.True_, np.zeros((9, 9))])
def test_168_anything_else_is_no_seed(seed: Any, env: OnTheFlyEnv, refuses: Refuses) -> None:
    with refuses(ConfigError, "seed=.*: must be a whole number, 0 or more"):
        env.reset(seed=seed)


def test_160_step_before_the_first_reset(env: OnTheFlyEnv, refuses: Refuses) -> None:
    with refuses(ConfigError, "step called before the first reset: call reset first"):
        env.step(np.zeros(8, np.float32))


def test_161_step_after_the_end(env: OnTheFlyEnv, refuses: Refuses) -> None:
    episode(env, seed=0)
    with refuses(ConfigError, "step called after the end of the episode: call reset first"):
        env.step(np.zeros(8, np.float32))
    env.reset()
    env.step(np.zeros(8, np.float32))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["residual", "absolute"])
def test_162_an_action_that_is_not_finite(bad: float, mode: str, bank: EpisodeBank, refuses: Refuses) -> None:
    env = OnTheFlyEnv(bank, mode=mode)
    env.reset(seed=0)
    action = np.zeros(8, np.float32)
    action[3] = bad
    with refuses(DataError, rf"action\[0, 3\] is {bad}: actions must be finite numbers"):
        env.step(action)


def test_163_a_huge_action_is_scaled_into_the_box(env: OnTheFlyEnv) -> None:
    action = actions(env, 1)[0]
    env.reset(seed=0)
    expected = env.step(action / np.abs(action).max())
    env.reset(seed=0)
    assert env.step(action.astype(np.float64) * 1e30)[4]["rank"] == expected[4]["rank"]


@pytest.mark.parametrize(
    ("action", "match"),
    [
        pytest.param(np.zeros(7, np.float32), r"float32 \(7,\): want real numbers of shape \(8,\)", id="164-shorter"),
        pytest.param(np.zeros((1, 8), np.float32), r"\(1, 8\)", id="164-batched"),
        pytest.param(0.5, r"\(\)", id="164-scalar"),
        pytest.param(np.zeros(8, np.complex64), "complex64", id="165-complex"),
        pytest.param(torch.zeros(8, dtype=torch.complex64), "complex64", id="165-complex-tensor"),
        pytest.param(np.zeros(8, bool), "bool", id="165-bool"),
        pytest.param(torch.zeros(8, dtype=torch.bool), "bool", id="165-bool-tensor"),
        pytest.param(np.zeros(8, object), "object", id="165-object"),
        pytest.param(["0"] * 8, "want real numbers", id="165-text"),
        pytest.param([[0.0], [0.0, 1.0]], "cannot be read", id="167-ragged-list"),
        pytest.param(None, "object", id="165-none"),
    ],
)
def test_an_action_of_wrong_shape_or_type(action: Any, match: str, env: OnTheFlyEnv, refuses: Refuses) -> None:
    env.reset(seed=0)
    with refuses(ConfigError, match):
        env.step(action)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        pytest.param({"sketch": 3}, "unknown reset option 'sketch': did you mean 'sketch_id'?", id="169"),
        pytest.param({"sketch_id": "sketch-7"}, "unknown sketch_id 'sketch-7': did you mean 'sketch-", id="170"),
        pytest.param({"sketch_id": 3}, "unknown sketch_id 3", id="170-number"),
        pytest.param({"sketch_id": None}, "unknown sketch_id None", id="170-none"),
    ],
)
def test_reset_options_that_do_not_exist(
    options: dict[str, Any], match: str, env: OnTheFlyEnv, refuses: Refuses
) -> None:
    with refuses(ConfigError, match):
        env.reset(options=options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        pytest.param({"render_mode": "rgb"}, "unknown render_mode 'rgb': did you mean 'rgb_array'?", id="171"),
        pytest.param({"mode": "Residual"}, "did you mean 'residual'?", id="mode"),
        pytest.param({"device": "cpuu"}, "device 'cpuu' does not exist", id="device"),
    ],
)
def test_options_that_do_not_exist(options: dict[str, Any], match: str, bank: EpisodeBank, refuses: Refuses) -> None:
    with refuses(ConfigError, match):
        OnTheFlyEnv(bank, **options)


def test_a_bank_that_does_not_exist(tmp_path: Path, refuses: Refuses) -> None:
    with refuses(ConfigError, "unknown bank 'procedual'"):
        OnTheFlyEnv("procedual")
    with refuses(CheckpointError, "no.safetensors"):
        OnTheFlyEnv(tmp_path / "no.safetensors")


# Rendering -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [OnTheFlyEnv, lambda **options: gym.make(ID, **options)], ids=["class", "gym.make"])
def test_171_human_without_a_display(
    make: Callable[..., Any], bank: EpisodeBank, monkeypatch: pytest.MonkeyPatch, refuses: Refuses
) -> None:
    monkeypatch.setattr("sketchless.envs.gym_env.has_display", lambda: False)
    monkeypatch.setattr("sketchless.envs.rendering.window.has_display", lambda: False)
    with refuses(ConfigError, "there is no display: use render_mode='rgb_array' or 'ansi'"):
        make(bank=bank, render_mode="human")
    assert make(bank=bank).metadata["render_modes"] == ["rgb_array", "ansi"]


def test_human_shows_every_frame_by_itself(
    bank: EpisodeBank, dataset_for: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []

    class Screen:
        def __init__(self, fps: float) -> None:
            self.show, self.close = shown.append, lambda: shown.append("closed")

    monkeypatch.setattr("sketchless.envs.rendering.camera.Window", Screen)
    options = {"bank": bank, "dataset": dataset_for(bank)}
    human, rgb = OnTheFlyEnv(render_mode="human", **options), OnTheFlyEnv(render_mode="rgb_array", **options)
    human.reset(seed=0)
    rgb.reset(seed=0)
    frames = [rgb.render()]
    for action in actions(human, 1):
        human.step(action)
        rgb.step(action)
        frames.append(rgb.render())
    assert all(np.array_equal(a, b) for a, b in zip(shown, frames, strict=True))
    assert human.render() is None
    human.close()
    assert shown.pop() == "closed"


def test_rendering_shows_the_frame_that_was_ranked(bank: EpisodeBank, dataset_for: Callable[..., Any]) -> None:
    env = OnTheFlyEnv(bank, render_mode="ansi", dataset=dataset_for(bank))
    env.reset(seed=0, options={"sketch_id": "sketch-0"})
    assert "step 1 of 4" in env.render()
    for t, action in enumerate(actions(env, 4)):
        info = env.step(action)[4]
        text = env.render()
        assert f"step {t + 1} of 4" in text
        assert f"rank {info['rank']} of 10" in text
        assert f"{info['photo_id']} (true)" in text
    assert env.render() == text
    env.reset(options={"sketch_id": "sketch-0"})
    assert "rank" not in env.render().splitlines()[1]


def test_rgb_frames_keep_their_size_and_follow_the_ranking(bank: EpisodeBank, dataset_for: Callable[..., Any]) -> None:
    env = OnTheFlyEnv(bank, render_mode="rgb_array", dataset=dataset_for(bank))
    env.reset(seed=0, options={"sketch_id": "sketch-4"})
    frames = [env.render()]
    for action in actions(env, 5):
        env.step(action)
        frames.append(env.render())
    assert {(frame.dtype, frame.shape) for frame in frames} == {(np.dtype(np.uint8), frames[0].shape)}
    assert all(not np.array_equal(a, b) for a, b in itertools.pairwise(frames))


def test_rendering_that_cannot_be(bank: EpisodeBank, refuses: Refuses) -> None:
    env = OnTheFlyEnv(bank, render_mode="ansi")
    with refuses(ConfigError, "render called before the first reset"):
        env.render()
    env.reset(seed=0)
    with refuses(ConfigError, "does not say what it was made from: pass dataset="):
        env.render()


@pytest.mark.parametrize("data", ["procedural", ["procedural"], {"root": "here"}, {"name": 5}])
def test_a_bank_that_names_no_data_set_is_refused_in_one_line(data: Any, bank: EpisodeBank, refuses: Refuses) -> None:
    env = OnTheFlyEnv(replace(bank, provenance={"data": data}), render_mode="ansi")
    env.reset(seed=0)
    with refuses(ConfigError, "the data set in the bank's provenance: .*pass dataset= to draw it"):
        env.render()


def test_render_without_a_mode_warns_and_gives_nothing(env: OnTheFlyEnv) -> None:
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="needs a render_mode"):
        assert env.render() is None


def test_173_close_twice(env: OnTheFlyEnv) -> None:
    env.close()
    env.close()
