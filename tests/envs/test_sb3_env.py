from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecCheckNan, VecMonitor, VecNormalize, VecVideoRecorder

from sketchless.datasets import ConfigError, DataError
from sketchless.envs import OnTheFlyEnv
from sketchless.envs.sb3_env import SketchVecEnv

LENGTHS = (3, 1, 5, 2, 4, 5, 1, 3)
FINAL_KEYS = {
    *("terminal_observation", "TimeLimit.truncated", "episode"),
    *("is_success", "rank", "percentile", "reciprocal_rank", "reward_terms"),
}


@pytest.fixture
def bank(make_bank):
    """Eight drawings of one to five frames."""
    return make_bank(n=8, steps=5, lengths=LENGTHS)


@pytest.fixture
def env(bank) -> SketchVecEnv:
    env = SketchVecEnv(4, bank, device="cpu")
    env.seed(0)
    return env


def actions(env: SketchVecEnv, steps: int, seed: int = 0) -> np.ndarray:
    shape = (steps, env.num_envs, *env.action_space.shape)
    return np.random.default_rng(seed).uniform(-1.5, 1.5, shape).astype(np.float32)


@pytest.mark.parametrize("lengths", [LENGTHS, None])
@pytest.mark.parametrize(
    "options",
    [{}, {"mode": "absolute", "reward": "top5"}, {"observation": "embedding", "reward": "neg-rank", "scale": 0.3}],
)
def test_each_environment_is_the_single_one_with_its_seed(make_bank, lengths: Any, options: dict[str, Any]) -> None:
    bank = make_bank(n=8, steps=5, lengths=lengths)
    env = SketchVecEnv(3, bank, device="cpu", **options)
    singles = [OnTheFlyEnv(bank, **options) for _ in range(3)]
    env.seed(7)
    shown = env.reset()
    for i, single in enumerate(singles):
        assert np.array_equal(shown[i], single.reset(seed=7 + i)[0])
    totals, counts, finished = np.zeros(3), np.zeros(3, int), 0
    for action in actions(env, 40):
        shown, reward, done, infos = env.step(action)
        for i, single in enumerate(singles):
            observation, paid, terminated, _, info = single.step(action[i])
            assert (reward[i], done[i]) == (paid, terminated)
            totals[i] += paid
            counts[i] += 1
            if terminated:
                final = infos[i]
                assert np.array_equal(final["terminal_observation"], observation)
                assert (final["episode"]["r"], final["episode"]["l"]) == (totals[i], counts[i])
                for name in ("rank", "percentile", "reciprocal_rank", "is_success", "reward_terms"):
                    assert final[name] == info[name]
                totals[i], counts[i], finished = 0, 0, finished + 1
                observation, _ = single.reset()
            assert np.array_equal(shown[i], observation)
    assert finished > 20


def test_types_and_shapes_are_those_of_the_spaces(env: SketchVecEnv) -> None:
    shown = env.reset()
    assert (shown.shape, shown.dtype) == ((4, *env.observation_space.shape), env.observation_space.dtype)
    shown, reward, done, infos = env.step(actions(env, 1)[0])
    assert all(env.observation_space.contains(row) for row in shown)
    assert (reward.shape, reward.dtype, done.shape, done.dtype) == ((4,), np.float64, (4,), np.bool_)
    assert type(infos) is list
    assert len(infos) == 4


class TestInfos:
    def test_live_environments_share_one_empty_dict_and_finished_ones_have_their_own(self, env: SketchVecEnv) -> None:
        env.reset()
        seen = set()
        for action in actions(env, 30):
            _, _, done, infos = env.step(action)
            live = [info for info, over in zip(infos, done, strict=True) if not over]
            over = [info for info, over in zip(infos, done, strict=True) if over]
            assert all(info is live[0] and info == {} for info in live)
            assert all(set(info) == FINAL_KEYS for info in over)
            assert len({id(info) for info in over}) == len(over)
            seen.add((bool(live), bool(over)))
        assert {(True, True), (True, False)} <= seen

    def test_what_is_written_into_the_empty_dict_is_gone_in_the_next_step(self, env: SketchVecEnv) -> None:
        env.reset()
        for action in actions(env, 30):
            infos = env.step(action)[3]
            assert all("mine" not in info for info in infos)
            for info in infos:
                info["mine"] = 1

    def test_on_request_every_step_is_told_as_the_single_environment_tells_it(self, bank) -> None:
        env, quiet = SketchVecEnv(3, bank, step_infos=True, device="cpu"), SketchVecEnv(3, bank, device="cpu")
        singles = [OnTheFlyEnv(bank) for _ in range(3)]
        env.seed(7), quiet.seed(7), env.reset(), quiet.reset()
        for i, single in enumerate(singles):
            single.reset(seed=7 + i)
        for action in actions(env, 20):
            infos, last = env.step(action)[3], quiet.step(action)[3]
            for i, single in enumerate(singles):
                _, _, over, _, info = single.step(action[i])
                about = {name: info[name] for name in ("rank", "percentile", "reciprocal_rank", "is_success")}
                assert about | {"reward_terms": info["reward_terms"]} == {
                    name: infos[i][name] for name in (*about, "reward_terms")
                }
                assert set(infos[i]) == (FINAL_KEYS if over else {*about, "reward_terms"})
                assert over == ("rank" in last[i])
                single.reset() if over else None

    def test_values_are_plain(self, make_bank) -> None:
        env = SketchVecEnv(2, make_bank(steps=1), device="cpu")  # every step ends an episode
        env.reset()
        _, _, done, infos = env.step(actions(env, 1)[0])
        assert done.all()
        for info in infos:
            assert info["TimeLimit.truncated"] is False
            assert [type(info["episode"][key]) for key in "rlt"] == [float, int, float]
            assert [type(info[key]) for key in ("is_success", "rank", "reciprocal_rank")] == [bool, int, float]
            assert {type(term) for term in info["reward_terms"].values()} == {float}
            assert info["reciprocal_rank"] == 1 / info["rank"]
            assert info["is_success"] == (info["rank"] == 1)
            assert info["episode"]["t"] >= 0
        assert not np.shares_memory(*(info["terminal_observation"] for info in infos))

    def test_made_only_when_looked_at(self, env: SketchVecEnv) -> None:
        env.reset_tensor()
        _, _, _, finals = env.step_tensor(actions(env, 1)[0])
        assert "infos" not in vars(finals)
        assert len(finals) == 4
        assert finals[0] is finals.infos[0]


def test_results_are_copies(env: SketchVecEnv) -> None:
    env.seed(0)
    twin = SketchVecEnv(4, env.core.bank, device="cpu")
    twin.seed(0)
    held = [env.reset()]
    kept = [twin.reset().copy()]
    for action in actions(env, 10):
        before = action.copy()
        held += env.step(action)[:3]
        kept += [array.copy() for array in twin.step(action)[:3]]
        assert np.array_equal(action, before)
    assert all(np.array_equal(a, b) for a, b in zip(held, kept, strict=True))
    for array in held:
        array[...] = 1  # what a user writes into an array changes no episode
    after = actions(env, 10, seed=1)
    assert all(np.array_equal(env.step(action)[0], twin.step(action)[0]) for action in after)


def test_both_paths_give_the_same(bank) -> None:
    numpy, tensor = SketchVecEnv(4, bank, device="cpu"), SketchVecEnv(4, bank, device="cpu")
    numpy.seed(3), tensor.seed(3)
    assert np.array_equal(numpy.reset(), tensor.reset_tensor().numpy())
    for action in actions(numpy, 30):
        shown, reward, done, infos = numpy.step(action)
        found = tensor.step_tensor(torch.from_numpy(action))
        assert all(isinstance(part, torch.Tensor) for part in found[:3])
        for a, b in zip((shown, reward, done), found, strict=False):
            assert np.array_equal(a, b.numpy())
        for a, b in zip(infos, found[3], strict=True):
            assert a.keys() == b.keys()
            assert a.get("rank") == b.get("rank")


class TestSeeds:
    def test_are_used_once(self, env: SketchVecEnv) -> None:
        assert env.seed(5) == [5, 6, 7, 8]
        first = env.reset()
        second = env.reset()  # the next episodes
        env.seed(5)
        assert np.array_equal(env.reset(), first)
        assert np.array_equal(env.reset(), second)
        assert not np.array_equal(first, second)

    def test_do_not_act_before_the_reset(self, bank) -> None:
        env, twin = SketchVecEnv(4, bank, device="cpu"), SketchVecEnv(4, bank, device="cpu")
        for one in (env, twin):
            one.seed(0)
            one.reset()
        env.seed(99)
        action = actions(env, 1)[0]
        assert np.array_equal(env.step(action)[0], twin.step(action)[0])

    def test_without_one_the_system_chooses(self, make_bank) -> None:
        bank = make_bank(n=200, steps=2)
        shown = [SketchVecEnv(8, bank, device="cpu").reset() for _ in range(2)]
        assert not np.array_equal(*shown)

    def test_none_leaves_the_global_random_state_alone(self, env: SketchVecEnv) -> None:
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        seeds = env.seed(None)
        assert seeds[1] == (seeds[0] + 1) % 2**63
        assert (before == np.random.get_state()[1]).all()  # noqa: NPY002

    def test_numpy_integers_are_welcome(self, env: SketchVecEnv) -> None:
        assert env.seed(np.int64(3)) == [3, 4, 5, 6]

    @pytest.mark.parametrize("seed", [-1, 3.0, "1"])
    def test_others_are_refused(self, env: SketchVecEnv, refuses, seed: Any) -> None:
        with refuses(ConfigError, "whole number"):
            env.seed(seed)


def test_a_reset_begins_the_sums_anew(make_bank) -> None:
    env = SketchVecEnv(2, make_bank(steps=3), reward="inv-rank", device="cpu")
    env.reset()
    env.step(actions(env, 1)[0])
    env.reset()
    rewards, infos = [], []
    for action in actions(env, 3, seed=1):
        _, reward, _, infos = env.step(action)
        rewards.append(reward)
    assert [info["episode"]["r"] for info in infos] == pytest.approx(np.sum(rewards, axis=0))
    assert [info["episode"]["l"] for info in infos] == [3, 3]


class TestStableBaselines:
    def test_wrappers_work(self, bank) -> None:
        inner = SketchVecEnv(4, bank, device="cpu")
        with pytest.warns(UserWarning, match="already wrapped"):
            env = VecCheckNan(VecNormalize(VecMonitor(inner)), raise_exception=True)
        env.seed(0)
        env.reset()
        ends = 0
        for action in actions(inner, 30):
            _, _, done, infos = env.step(action)
            for info in (info for info, over in zip(infos, done, strict=True) if over):
                assert info["terminal_observation"].shape == env.observation_space.shape
                ends += 1
        assert ends > 10

    def test_evaluate_policy_needs_no_monitor(self, make_bank, recwarn: pytest.WarningsRecorder) -> None:
        env = SketchVecEnv(3, make_bank(steps=4), reward="inv-rank", device="cpu")
        agent = PPO("MlpPolicy", env, n_steps=4, batch_size=12, seed=0, device="cpu").learn(24)
        returns, lengths = evaluate_policy(agent, env, n_eval_episodes=6, return_episode_rewards=True)
        assert lengths == [4] * 6
        assert all(0 < total <= 4 for total in returns)
        assert not [warning for warning in recwarn if "Monitor" in str(warning.message)]
        assert {"r", "l", "t"} == set(agent.ep_info_buffer[0])

    def test_attributes(self, env: SketchVecEnv, refuses) -> None:
        assert env.get_attr("render_mode") == [None] * 4
        assert env.get_attr("core", [0, 2]) == [env.core] * 2
        assert env.has_attr("core")
        assert not env.has_attr("nothing")
        with pytest.raises(AttributeError, match="nothing"):
            env.get_attr("nothing")
        env.set_attr("tag", 3)
        assert env.get_attr("tag", 1) == [3]
        with refuses(ConfigError, "rows of one batch"):
            env.set_attr("tag", 4, indices=0)
        with refuses(ConfigError, "rows of one batch"):
            env.env_method("render")
        assert env.env_is_wrapped(Monitor) == [True] * 4
        assert env.env_is_wrapped(VecNormalize, 0) == [False]
        assert env.unwrapped is env

    def test_options(self, env: SketchVecEnv, refuses) -> None:
        env.set_options(), env.set_options({}), env.set_options([{}] * 4)
        for options in ({"sketch_id": "sketch-0"}, [{}, {"sketch_id": "sketch-0"}]):
            with refuses(ConfigError, "unknown reset option 'sketch_id'"):
                env.set_options(options)
        for options in ([None, None], "seed", 3):
            with refuses(ConfigError, "reset options: want a dict, or a list of one for each"):
                env.set_options(options)


class TestPictures:
    def test_are_those_of_the_single_environments(self, make_bank, dataset_for) -> None:
        bank = make_bank(n=8, steps=5, lengths=LENGTHS)
        looks = {"render_mode": "rgb_array", "dataset": dataset_for(bank)}
        env = SketchVecEnv(3, bank, device="cpu", **looks)
        singles = [OnTheFlyEnv(bank, **looks) for _ in range(3)]
        env.seed(7)
        for _ in range(2):  # the second reset leaves no ranking of the episode before on show
            env.reset()
            for i, single in enumerate(singles):
                single.reset(seed=7 + i) if single._state is None else single.reset()
            for action in [None, *actions(env, 4)]:
                if action is not None:
                    env.step(action)
                    for i, single in enumerate(singles):
                        if single.step(action[i])[2]:
                            single.reset()
                pictures = env.get_images()
                assert len(pictures) == 3
                for picture, single in zip(pictures, singles, strict=True):
                    assert np.array_equal(picture, single.render())
        height, width, _ = pictures[0].shape
        tiles = env.render()
        assert tiles.shape == (2 * height, 2 * width, 3)
        assert np.array_equal(tiles[:height, width:], pictures[1])

    def test_become_a_video(self, bank, dataset_for, tmp_path: Path) -> None:
        pytest.importorskip("moviepy")
        inner = SketchVecEnv(2, bank, device="cpu", render_mode="rgb_array", dataset=dataset_for(bank))
        env = VecVideoRecorder(inner, str(tmp_path), lambda step: step == 0, video_length=3)
        assert env.frames_per_sec == 4
        env.reset()
        for action in actions(inner, 4):
            env.step(action)
        env.close()
        (video,) = tmp_path.glob("*.mp4")
        assert video.stat().st_size > 0

    def test_need_a_render_mode_and_a_reset(self, env: SketchVecEnv, bank, dataset_for, refuses) -> None:
        env.reset()
        with refuses(ConfigError, "need a render_mode"):
            env.get_images()
        with refuses(ConfigError, "unknown render_mode 'human'"):
            SketchVecEnv(2, bank, device="cpu", render_mode="human")
        with refuses(ConfigError, "before the first reset"):
            SketchVecEnv(2, bank, device="cpu", render_mode="rgb_array", dataset=dataset_for(bank)).render()


class TestMisuse:
    @pytest.mark.parametrize("number", [0, -1])
    def test_too_few_environments(self, bank, refuses, number: int) -> None:
        with refuses(ConfigError, f"num_envs={number}"):
            SketchVecEnv(number, bank, device="cpu")

    @pytest.mark.parametrize("options", [{"mode": "residul"}, {"observation": "x"}, {"reward": "top"}, {"scale": 0}])
    def test_unknown_options(self, bank, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigError):
            SketchVecEnv(2, bank, device="cpu", **options)

    def test_step_before_reset(self, env: SketchVecEnv, refuses) -> None:
        with refuses(ConfigError, "before the first reset"):
            env.step(actions(env, 1)[0])

    def test_wait_without_async(self, env: SketchVecEnv, refuses) -> None:
        env.reset()
        env.step(actions(env, 1)[0])
        with refuses(ConfigError, "without step_async"):
            env.step_wait()

    @pytest.mark.parametrize("action", [np.zeros((4, 3)), np.zeros(8), np.zeros((3, 8)), np.zeros((4, 8), complex)])
    def test_wrong_actions(self, env: SketchVecEnv, refuses, action: np.ndarray) -> None:
        env.reset()
        with refuses(ConfigError, "want real numbers of shape"):
            env.step(action)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_an_action_that_is_no_number_leaves_the_episodes_where_they_are(self, bank, refuses, value: float) -> None:
        env, twin = SketchVecEnv(4, bank, device="cpu"), SketchVecEnv(4, bank, device="cpu")
        for one in (env, twin):
            one.seed(0)
            one.reset()
        bad = actions(env, 1)[0]
        bad[2, 3] = value
        with refuses(DataError, "finite"):
            env.step(bad)
        for action in actions(env, 10):
            assert np.array_equal(env.step(action)[0], twin.step(action)[0])

    def test_close_twice(self, env: SketchVecEnv) -> None:
        env.close()
        env.close()


@pytest.mark.slow
def test_twenty_thousand_steps_leave_nothing_behind(bank) -> None:
    """About 6,700 episodes for each of two environments: no container grows, no object stays."""
    env = SketchVecEnv(2, bank, reward="inv-rank", device="cpu")
    action = actions(env, 1)[0]
    env.reset()

    def play(steps: int) -> tuple[int, list[int]]:
        for _ in range(steps):
            env.step(action)
        gc.collect()
        sizes = [len(value) for value in vars(env).values() if isinstance(value, (list, dict, tuple))]
        return len(gc.get_objects()), sizes

    objects, sizes = play(1000)
    later, after = play(19_000)
    assert after == sizes
    assert later - objects < 100
