"""The vector environment plays, row by row, what single environments play, and begins the next episodes itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from sketchless.datasets.errors import ConfigError, DataError
from sketchless.encoders.bank import EpisodeBank
from sketchless.envs import OnTheFlyEnv, OnTheFlyVectorEnv, combined
from sketchless.envs.sb3_env import SketchVecEnv

MakeBank = Callable[..., EpisodeBank]
Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]
B = 5
REWARD = combined(gamma2=1)
SINGLE = ("rank", "percentile", "reciprocal_rank", "is_success", "step")


@pytest.fixture(scope="module", params=["equal lengths", "own lengths", "one step"])
def bank(request: pytest.FixtureRequest, make_bank: MakeBank) -> EpisodeBank:
    match request.param:
        case "own lengths":
            return make_bank(n=6, steps=5, lengths=[4, 1, 2, 3, 5, 5])
        case "one step":
            return make_bank(n=6, steps=1)
    return make_bank(n=6, steps=4)


@pytest.fixture(scope="module")
def small(make_bank: MakeBank) -> EpisodeBank:
    return make_bank(n=100, steps=3)


def vector(bank: EpisodeBank, num_envs: int = B, **options: Any) -> OnTheFlyVectorEnv:
    return OnTheFlyVectorEnv(num_envs, bank, device="cpu", tensors=True, **options)


def noise(steps: int, num_envs: int = B) -> Tensor:
    return torch.randn(steps, num_envs, 8, generator=torch.Generator().manual_seed(0))


def rows(value: Any) -> list[Any]:
    """A batch of info or anything else, as one value per environment."""
    if isinstance(value, dict):
        return [dict(zip(value, row, strict=True)) for row in zip(*map(rows, value.values()), strict=True)]
    return value.tolist()


def names(bank: EpisodeBank, info: dict[str, Any], row: int) -> tuple[str, str]:
    return bank.sketch_ids[int(info["sketch"][row])], bank.photo_ids[int(info["photo"][row])]


def chosen(env: OnTheFlyVectorEnv, episodes: int = 5, **reset: Any) -> list[list[int]]:
    """Sketches of every environment, by its episodes."""
    batches = [env.reset(**reset)[1]["sketch"], *(env.reset()[1]["sketch"] for _ in range(episodes - 1))]
    return torch.stack(batches, dim=1).tolist()


# The same as single environments ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"mode": "absolute", "observation": "embedding"}, {"reward": "top5", "scale": 0.3}],
    ids=["default", "absolute", "top5"],
)
def test_every_row_plays_what_a_single_environment_plays(bank: EpisodeBank, options: dict[str, Any]) -> None:
    options = {"reward": REWARD} | options
    many, singles = vector(bank, **options), [OnTheFlyEnv(bank, **options) for _ in range(B)]
    observation, info = many.reset(seed=30)
    for i, single in enumerate(singles):
        mine, told = single.reset(seed=30 + i)
        assert np.array_equal(observation[i], mine)
        assert names(bank, info, i) == (told["sketch_id"], told["photo_id"])
        assert info["step"][i] == 0

    ended = 0
    for actions in noise(17):
        observation, reward, terminated, truncated, info = many.step(actions)
        assert not truncated.any()
        assert ("final_obs" in info) == ("final_info" in info) == bool(terminated.any())
        for i, single in enumerate(singles):
            mine, paid, over, _, told = single.step(actions[i].numpy())
            assert (float(reward[i]), bool(terminated[i])) == (paid, over)
            about = info["final_info"] if over else info
            assert {name: rows(about)[i][name] for name in SINGLE} == {name: told[name] for name in SINGLE}
            assert rows(info["reward_terms"])[i] == told["reward_terms"]
            assert names(bank, about, i) == (told["sketch_id"], told["photo_id"])
            if "_final_obs" in info:
                assert bool(info["_final_obs"][i]) == bool(info["_final_info"][i]) == over
            if over:
                ended += 1
                assert np.array_equal(info["final_obs"][i], mine)
                mine, told = single.reset()
                assert info["step"][i] == 0
                assert names(bank, info, i) == (told["sketch_id"], told["photo_id"])
            assert np.array_equal(observation[i], mine)
    assert ended >= 3 * B


def test_it_agrees_with_the_vector_environment_of_gymnasium(bank: EpisodeBank) -> None:
    reference = gym.vector.SyncVectorEnv(
        [lambda: OnTheFlyEnv(bank, reward=REWARD)] * B, autoreset_mode=AutoresetMode.SAME_STEP
    )
    many = vector(bank, reward=REWARD)
    assert np.array_equal(many.reset(seed=9)[0], reference.reset(seed=9)[0])
    for actions in noise(9):
        mine, theirs = many.step(actions), reference.step(actions.numpy())
        for ours, expected in zip(mine[:4], theirs[:4], strict=True):
            assert np.array_equal(ours, expected)
        assert ("final_obs" in mine[4]) == ("final_obs" in theirs[4])
        if "final_obs" in mine[4]:
            over = theirs[4]["_final_obs"]
            assert np.array_equal(mine[4]["_final_obs"], over)
            assert np.array_equal(mine[4]["final_obs"][over], np.stack(theirs[4]["final_obs"][over]))
            assert np.array_equal(mine[4]["final_info"]["rank"][over], theirs[4]["final_info"]["rank"][over])


def test_rows_do_not_depend_on_how_many_there_are(bank: EpisodeBank) -> None:
    wide, narrow = vector(bank, 7, reward=REWARD), vector(bank, 2, reward=REWARD)
    wide.reset(seed=0)
    narrow.reset(seed=3)
    for actions in noise(9, 7):
        whole, part = wide.step(actions), narrow.step(actions[3:5])
        for mine, theirs in zip(whole[:4], part[:4], strict=True):
            assert torch.equal(mine[3:5], theirs)
        assert torch.equal(whole[4]["rank"][3:5], part[4]["rank"])


# Types, spaces, registration -------------------------------------------------------------------------------


def test_make_vec_makes_it(bank: EpisodeBank) -> None:
    env = gym.make_vec("sketchless/OnTheFly-v0", num_envs=B, bank=bank, reward="top5", device="cpu", tensors=True)
    assert isinstance(env, OnTheFlyVectorEnv)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert env.core.reward.name == "top5"
    assert env.single_observation_space == gym.spaces.Box(-1, 1, (32,), np.float32)
    assert env.single_action_space == gym.spaces.Box(-1, 1, (8,), np.float32)
    assert env.observation_space.shape == (B, 32)
    assert env.action_space.shape == (B, 8)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.close()


def test_types_and_shapes(bank: EpisodeBank) -> None:
    env = vector(bank)
    observation, _ = env.reset(seed=0)
    assert (observation.dtype, observation.shape) == (torch.float32, (B, 32))
    observation, reward, terminated, truncated, info = env.step(noise(1)[0])
    assert (observation.dtype, observation.shape) == (torch.float32, (B, 32))
    assert (reward.dtype, reward.shape) == (torch.float64, (B,))
    assert all((flag.dtype, flag.shape) == (torch.bool, (B,)) for flag in (terminated, truncated))
    assert all(value.shape == (B,) for value in [info[name] for name in SINGLE] + list(info["reward_terms"].values()))


@pytest.mark.parametrize("given", [Tensor.numpy, Tensor.tolist, Tensor.double, lambda a: a.clone().requires_grad_()])
def test_actions_of_any_array_type_count_alike(given: Callable[[Tensor], Any], bank: EpisodeBank) -> None:
    env, actions = vector(bank), noise(1)[0]
    env.reset(seed=0)
    expected = env.step(actions)
    env.reset(seed=0)
    got = env.step(given(actions))
    assert torch.equal(got[4]["rank"], expected[4]["rank"])
    assert torch.equal(got[1], expected[1])
    assert not got[1].requires_grad


def test_what_was_returned_shares_no_memory_with_later_steps(bank: EpisodeBank) -> None:
    def play(spoil: bool) -> list[Any]:
        env = vector(bank, reward=REWARD)
        got: list[Any] = []
        for actions in [None, *noise(9)]:
            result = env.reset(seed=0) if actions is None else env.step(actions.clone())
            got.append([*(part.clone() for part in result[:-1]), result[-1]["sketch"].clone()])
            if spoil:
                spoil_all(result)
        return got

    def spoil_all(value: Any) -> None:
        for part in value.values() if isinstance(value, dict) else value:
            part.fill_(1) if isinstance(part, Tensor) else spoil_all(part)

    for clean, spoilt in zip(play(False), play(True), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(clean, spoilt, strict=True))


@pytest.mark.gpu
def test_the_gpu_plays_what_the_cpu_plays(bank: EpisodeBank) -> None:
    here, there = vector(bank, reward=REWARD), OnTheFlyVectorEnv(B, bank, reward=REWARD, device="cuda", tensors=True)
    assert torch.equal(there.reset(seed=0)[0].cpu(), here.reset(seed=0)[0])
    for actions in noise(9):
        mine, theirs = here.step(actions), there.step(actions.cuda())
        assert all(part.is_cuda for part in theirs[:4])
        for ours, other in zip(mine[:4], theirs[:4], strict=True):
            assert torch.equal(ours, other.cpu())


# Seeds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seed",
    [7, np.int64(7), [7, 8, 9, 10, 11], (7, 8, 9, 10, 11), np.arange(7, 12), [np.uint8(7), 8, 9, 10, 11]],
    ids=["int", "168-np.int64", "list", "tuple", "array", "mixed"],
)
def test_168_seeds_of_every_kind(seed: Any, small: EpisodeBank) -> None:
    singles = [OnTheFlyEnv(small) for _ in range(B)]
    expected = [
        [small.sketch_ids.index(single.reset(**reset)[1]["sketch_id"]) for reset in ({"seed": 7 + i}, {}, {}, {}, {})]
        for i, single in enumerate(singles)
    ]
    assert chosen(vector(small), seed=seed) == expected


def test_seeds_beyond_63_bits_are_those_of_single_environments(small: EpisodeBank) -> None:
    many = chosen(vector(small), episodes=1, seed=2**63 - 2)
    assert many == [
        [small.sketch_ids.index(OnTheFlyEnv(small).reset(seed=2**63 - 2 + i)[1]["sketch_id"])] for i in range(B)
    ]


def test_reset_without_a_seed_begins_the_next_episode_of_every_row(small: EpisodeBank) -> None:
    env = vector(small)
    first = chosen(env, seed=2)
    env.reset(seed=2)
    env.step(noise(1)[0])  # an episode left in the middle counts as one
    assert [[a, *b] for a, b in zip([row[0] for row in first], chosen(env, 4), strict=True)] == first


def test_without_any_seed_rows_and_environments_differ_unless_np_random_is_set(small: EpisodeBank) -> None:
    def free(rng: np.random.Generator | None = None) -> list[list[int]]:
        env = vector(small)
        if rng is not None:
            env.np_random = rng
        return chosen(env)

    assert len({tuple(row) for row in free()}) == B
    assert free() != free()
    assert free(np.random.default_rng(1)) == free(np.random.default_rng(1))


def test_none_among_the_seeds_begins_the_next_episode_there(small: EpisodeBank) -> None:
    env, singles = vector(small, 3), [OnTheFlyEnv(small) for _ in range(3)]
    for seeds in ([7, 3, 5], [None, 9, None], (None, None, 1), [None, None, None]):
        shown = env.reset(seed=seeds)[0]
        assert np.array_equal(shown, np.stack([one.reset(seed=s)[0] for one, s in zip(singles, seeds, strict=True)]))
    mask = torch.tensor([True, True, False])
    after = env.reset(seed=[None, 4, 4], options={"reset_mask": mask})[0]
    assert np.array_equal(after, np.stack([singles[0].reset()[0], singles[1].reset(seed=4)[0], shown[2]]))


def test_none_among_the_first_seeds_takes_one_from_np_random(small: EpisodeBank) -> None:
    env = vector(small, 3)
    env.np_random = np.random.default_rng(1)
    shown = env.reset(seed=[None, 9, None])[0]
    assert env.np_random_seed[1] == 9
    assert len(set(env.np_random_seed)) == 3
    assert torch.equal(vector(small, 3).reset(seed=env.np_random_seed)[0], shown)


@pytest.mark.parametrize("seed", [5, [5, 9, 2]])
def test_np_random_seed_is_that_of_gymnasium(seed: Any, small: EpisodeBank) -> None:
    env, reference = vector(small, 3), gym.vector.SyncVectorEnv([lambda: OnTheFlyEnv(small)] * 3)
    for reset in ({"seed": seed}, {}):
        env.reset(**reset)
        reference.reset(**reset)
        assert env.np_random_seed == reference.np_random_seed


@pytest.mark.parametrize(
    ("seed", "match"),
    [
        (-1, "seed=-1: must be a whole number, 0 or more"),
        (3.0, "seed=3.0"),
        ("3", "seed='3'"),
        ([1, 2, 3], "3 seeds for 5 environments: give one each or just one"),
        ([1] * 6, "6 seeds for 5"),
        ([], "0 seeds for 5"),
        ([1, 2, 3, 4, -5], "seed=-5"),
        (np.arange(5.0), "must be a whole number"),
        (True, "seed=True"),
        ([1, 2, 3, 4, True], "seed=True"),
    ],
)
def test_168_what_is_no_seed_is_refused(seed: Any, match: str, small: EpisodeBank, refuses: Refuses) -> None:
    with refuses(ConfigError, match):
        vector(small).reset(seed=seed)


# Misuse ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, -3, "3", 1.5, True, None, 2.0])
def test_174_a_number_of_environments_or_steps_that_is_none(count: Any, small: EpisodeBank, refuses: Refuses) -> None:
    for shell in (OnTheFlyVectorEnv, SketchVecEnv):
        with refuses(ConfigError, f"num_envs={count!r}: must be a whole number, 1 or more"):
            shell(count, small, device="cpu")
    if count is not None:
        with refuses(ConfigError, f"max_episode_steps={count!r}: must be"):
            vector(small, max_episode_steps=count)


def test_whole_numbers_of_any_type_count(small: EpisodeBank) -> None:
    env = OnTheFlyVectorEnv(np.int64(2), small, device="cpu", max_episode_steps=torch.tensor(1))  # type: ignore[arg-type]
    env.reset(seed=0)
    assert env.step(noise(1, 2)[0])[3].tolist() == [True, True]
    assert type(env.num_envs) is int


def test_160_step_before_the_first_reset(small: EpisodeBank, refuses: Refuses) -> None:
    with refuses(ConfigError, "step called before the first reset"):
        vector(small).step(noise(1)[0])


@pytest.mark.parametrize(
    ("actions", "match"),
    [
        pytest.param(torch.zeros(B - 1, 8), r"\(4, 8\): want real numbers of shape \(5, 8\)", id="164-rows"),
        pytest.param(torch.zeros(8), r"\(8,\)", id="164-one-row"),
        pytest.param(torch.zeros(B, 8, dtype=torch.bool), "bool", id="165-bool"),
        pytest.param(np.zeros((B, 8), complex), "complex128", id="165-complex"),
        pytest.param([[0.0] * 8] * 4 + [[0.0]], "cannot be read", id="167-ragged"),
        pytest.param(np.ma.masked_greater(np.zeros((B, 8)), 1), "masked array: say what", id="masked"),
        pytest.param([np.ma.masked_less(np.zeros(8), 1)] * B, "masked array: say what", id="masked rows"),
    ],
)
def test_actions_of_wrong_shape_or_type(actions: Any, match: str, small: EpisodeBank, refuses: Refuses) -> None:
    env = vector(small)
    env.reset(seed=0)
    with refuses(ConfigError, match):
        env.step(actions)


def test_162_an_action_that_is_not_finite_names_its_row_and_changes_nothing(
    small: EpisodeBank, refuses: Refuses
) -> None:
    env, actions = vector(small), noise(1)[0]
    env.reset(seed=0)
    expected = env.step(actions)
    env.reset(seed=0)
    broken = actions.clone()
    broken[3, 2] = torch.nan
    with refuses(DataError, r"action\[3, 2\] is nan"):
        env.step(broken)
    assert torch.equal(env.step(actions)[1], expected[1])


def test_169_unknown_reset_options_name_the_one_there_is(small: EpisodeBank, refuses: Refuses) -> None:
    with refuses(ConfigError, "unknown reset option 'sketch_id': .*'?reset_mask"):
        vector(small).reset(options={"sketch_id": "sketch-0"})


def test_173_close_twice(small: EpisodeBank) -> None:
    env = vector(small)
    env.close()
    env.close()


# Other ways to end and to begin ------------------------------------------------------------------------------


def test_next_step_begins_where_same_step_already_plays(bank: EpisodeBank) -> None:
    """The same transitions, with a step that only begins after each end."""
    quick, slow = vector(bank, reward=REWARD), vector(bank, reward=REWARD, autoreset_mode="NextStep")
    singles = [OnTheFlyEnv(bank, reward=REWARD) for _ in range(B)]
    assert slow.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert quick.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    observation, _ = slow.reset(seed=7)
    expected = [env.reset(seed=7 + i)[0] for i, env in enumerate(singles)]
    begins = [False] * B
    for actions in noise(25):
        assert np.array_equal(observation.numpy(), np.stack(expected))
        observation, reward, terminated, truncated, info = slow.step(actions)
        assert not truncated.any()
        for i, env in enumerate(singles):
            assert bool(info["_rank"][i]) is not begins[i]
            if begins[i]:
                expected[i], paid, begins[i] = env.reset()[0], 0.0, False
                assert info["rank"][i] == info["step"][i] == 0
            else:
                expected[i], paid, begins[i], _, one = env.step(actions[i].numpy())
                assert info["rank"][i] == one["rank"]
            assert (float(reward[i]), bool(terminated[i])) == (paid, begins[i])


def test_disabled_waits_for_a_reset_mask(small: EpisodeBank, refuses: Refuses) -> None:
    env, other = vector(small, autoreset_mode=AutoresetMode.DISABLED), vector(small)
    env.reset(seed=0)
    other.reset(seed=0)
    for actions in noise(3):
        observation, _, terminated, *_ = env.step(actions)
        expected = other.step(actions)[0]
    assert terminated.all()
    with refuses(ConfigError, r"after the end of episodes \[0, 1, 2, 3, 4\]"):
        env.step(actions)
    mask = torch.tensor([True, False, True, True, False])
    after, info = env.reset(options={"reset_mask": mask})
    assert torch.equal(after[mask], expected[mask])  # the episode that SAME_STEP has begun itself
    assert torch.equal(after[~mask], observation[~mask])
    assert info["step"].tolist() == [0, 2, 0, 0, 2]
    with refuses(ConfigError, r"after the end of episodes \[1, 4\]"):
        env.step(actions)
    env.reset(options={"reset_mask": ~mask})
    env.step(actions)


def test_a_reset_mask_with_a_seed_seeds_only_the_rows_it_names(small: EpisodeBank) -> None:
    env = vector(small)
    env.reset(seed=0)
    env.step(noise(1)[0])
    mask = torch.tensor([False, True, False, False, False])
    before = env.reset(options={"reset_mask": torch.zeros(B, dtype=torch.bool)})[0]
    after = env.reset(seed=100, options={"reset_mask": mask})[0]
    assert np.array_equal(after[1].numpy(), OnTheFlyEnv(small).reset(seed=101)[0])
    assert torch.equal(after[~mask], before[~mask])


@pytest.mark.parametrize("mask", [[True], torch.ones(B), np.ones((B, 1), bool), "abc", None, [[True], [True, False]]])
def test_a_reset_mask_of_another_shape_or_type_is_refused(mask: Any, small: EpisodeBank, refuses: Refuses) -> None:
    env = vector(small)
    env.reset(seed=0)
    with refuses(ConfigError, "reset_mask is"):
        env.reset(options={"reset_mask": mask})


def test_a_first_reset_must_reset_all(small: EpisodeBank, refuses: Refuses) -> None:
    with refuses(ConfigError, "reset all"):
        vector(small).reset(options={"reset_mask": torch.tensor([True] * (B - 1) + [False])})


def test_max_episode_steps_truncates(bank: EpisodeBank) -> None:
    env = vector(bank, max_episode_steps=2)
    env.reset(seed=0)
    steps = torch.zeros(B, dtype=torch.int64)
    for actions in noise(9):
        _, _, terminated, truncated, info = env.step(actions)
        lengths = bank.lengths[info.get("final_info", info)["sketch"]]
        steps += 1
        assert torch.equal(terminated, steps >= lengths)
        assert torch.equal(truncated, steps == 2)
        steps = steps.masked_fill(terminated | truncated, 0)


def test_unknown_autoreset_mode_names_the_nearest(small: EpisodeBank, refuses: Refuses) -> None:
    with refuses(ConfigError, "did you mean 'SameStep'"):
        vector(small, autoreset_mode="SamStep")


def test_renders_a_picture_for_each(small: EpisodeBank, dataset_for: Callable[[EpisodeBank], Any]) -> None:
    env = vector(small, render_mode="rgb_array", dataset=dataset_for(small))
    single = OnTheFlyEnv(small, render_mode="rgb_array", dataset=dataset_for(small))
    env.reset(seed=3)
    single.reset(seed=3 + 2)
    for actions in [None, *noise(2)]:
        if actions is not None:
            env.step(actions)
            single.step(actions[2].numpy())
        pictures = env.render()
        assert pictures is not None
        assert len(pictures) == B
        assert np.array_equal(pictures[2], single.render())


def test_after_an_end_the_new_drawing_is_shown(small: EpisodeBank, dataset_for: Callable[[EpisodeBank], Any]) -> None:
    env = vector(small, render_mode="ansi", dataset=dataset_for(small))
    env.reset(seed=3)
    for actions in noise(3):
        env.step(actions)
    fresh = OnTheFlyVectorEnv(B, small, device="cpu", render_mode="ansi", dataset=dataset_for(small))
    fresh.reset(seed=3)
    fresh.reset()  # the second episodes
    assert env.render() == fresh.render()
