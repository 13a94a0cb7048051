"""`evaluate` plays a model in the model's own environment: the truth is the single environment, drawing by drawing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
import torch
from gymnasium import wrappers
from gymnasium.wrappers import vector as vector_wrappers
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

from sketchless.benchmarks import evaluate
from sketchless.datasets import ConfigError
from sketchless.encoders import EpisodeBank
from sketchless.envs import Core, OnTheFlyEnv, OnTheFlyVectorEnv, ToNumpy
from sketchless.envs.sb3_env import SketchVecEnv

MakeBank = Callable[..., EpisodeBank]
Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]
ID = "sketchless.envs:sketchless/OnTheFly-v0"
SETTINGS = [
    {},
    {"mode": "absolute"},
    {"scale": 0.1},
    {"observation": "embedding"},
    {"mode": "absolute", "observation": "embedding", "scale": 3.0},
    {"task": "carry", "decay": 0.5, "scale": 0.4},
]


@pytest.fixture(scope="module")
def train(make_bank: MakeBank) -> EpisodeBank:
    return make_bank(n=5, steps=4, photos=9, seed=1)


@pytest.fixture(scope="module")
def test(make_bank: MakeBank) -> EpisodeBank:
    """Of more photos, and drawings of one to four frames."""
    return make_bank(n=7, steps=4, photos=60, seed=2, lengths=[4, 1, 2, 3, 4, 4, 2])


def model_in(env: Any, kind: type[Any] = PPO, **settings: Any) -> Any:
    """An untrained model whose actions are far from zero and depend on what it sees."""
    model = kind("MlpPolicy", env, device="cpu", seed=0, **settings)
    layer = getattr(model.policy, "action_net", None) or model.policy.actor.mu
    with torch.no_grad():
        (layer if isinstance(layer, torch.nn.Linear) else layer[-2]).weight.mul_(100)
    return model


def truth(model: Any, bank: EpisodeBank, venv: VecEnv) -> npt.NDArray[np.int64]:
    """Ranks [N, T] of every drawing, played one after the other in a vector env of one single environment."""
    assert venv.num_envs == 1
    found = np.zeros(bank.features.shape[:2], np.int64)
    for row, sketch in enumerate(bank.sketch_ids):
        venv.unwrapped.set_options({"sketch_id": sketch})
        observation, state, start = venv.reset(), None, np.ones(1, bool)
        for t in range(int(bank.lengths[row])):
            assert not start[0] or t == 0
            action, state = model.predict(observation, state=state, episode_start=start, deterministic=True)
            observation, _, start, infos = venv.step(action)
            found[row, t] = infos[0]["rank"]
        assert start[0]
    return found


def single(bank: EpisodeBank, wrap: Callable[[Any], Any] = lambda env: env, **settings: Any) -> VecEnv:
    return DummyVecEnv([lambda: wrap(gym.make(ID, bank=bank, max_episode_steps=4, **settings))])


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("around", ["gym.make", "make_vec_env", "SketchVecEnv", "VecMonitor", "own class"])
def test_every_rank_is_that_of_the_single_environment(
    train: EpisodeBank, test: EpisodeBank, settings: dict[str, Any], around: str
) -> None:
    def env() -> Any:
        match around:
            case "gym.make":
                return gym.make(ID, bank=train, max_episode_steps=2, **settings)
            case "make_vec_env":
                return make_vec_env(ID, 4, env_kwargs={"bank": train, **settings})
            case "SketchVecEnv":
                return SketchVecEnv(3, train, device="cpu", **settings)
            case "VecMonitor":
                with pytest.warns(UserWarning, match="already wrapped"):
                    return VecCheckNan(VecMonitor(SketchVecEnv(2, train, device="cpu", **settings)))
        return wrappers.RecordEpisodeStatistics(Monitor(Shy(train, **settings)))

    model = model_in(env())
    found = evaluate(model, test)
    assert np.array_equal(found.rank, truth(model, test, single(test, **settings)))
    plain = evaluate(lambda x: torch.zeros(len(x), 8), test)
    assert (found.rank != plain.rank).mean() > 0.2  # or the test could not fail


class Shy(OnTheFlyEnv):
    """A class of a user's own, which changes nothing."""


def test_a_user_class_that_changes_actions_is_played_as_it_is(train: EpisodeBank, test: EpisodeBank) -> None:
    class Turned(OnTheFlyEnv):
        def step(self, action: Any) -> Any:
            return super().step(action[::-1])

    model = model_in(Turned(train))
    assert np.array_equal(evaluate(model, test).rank, truth(model, test, DummyVecEnv([lambda: Turned(test)])))


def frame_stack(env: Any) -> Any:
    return wrappers.FlattenObservation(wrappers.FrameStackObservation(env, 3))


def zoom(env: Any) -> Any:
    return wrappers.TransformObservation(env, lambda x: 1 - x**2, env.observation_space)


class Lazy(gym.Wrapper[Any, Any, Any, Any]):
    """Of a user's own, with a memory: every second action is the one before."""

    before: Any = None

    def reset(self, **options: Any) -> Any:
        self.before = None
        return self.env.reset(**options)

    def step(self, action: Any) -> Any:
        used, self.before = action if self.before is None else self.before, action if self.before is None else None
        return self.env.step(used)


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "RescaleAction": lambda env: wrappers.RescaleAction(env, np.float32(-3), np.float32(0.5)),
    "TransformAction": lambda env: wrappers.TransformAction(env, lambda a: a[::-1] ** 3, env.action_space),
    "StickyAction": Lazy,
    "TransformObservation": zoom,
    "TimeAware": wrappers.TimeAwareObservation,
    "frame stack": frame_stack,
    "two": lambda env: zoom(wrappers.RescaleAction(Monitor(env), -1, 3)),
    "rewards only": lambda env: wrappers.NormalizeReward(wrappers.TransformReward(env, lambda r: -r)),
}


@pytest.mark.parametrize("name", WRAPPERS)
@pytest.mark.parametrize("num_envs", [1, 3])
def test_the_models_wrappers_are_played_through(
    train: EpisodeBank, test: EpisodeBank, name: str, num_envs: int
) -> None:
    wrap, settings = WRAPPERS[name], {"scale": 0.7}
    env = DummyVecEnv([lambda: wrap(gym.make(ID, bank=train, **settings))] * num_envs)
    model = model_in(env)
    env.reset()
    before = env.step(np.stack([env.action_space.sample()] * num_envs))[0]
    found = evaluate(model, test).rank
    assert np.array_equal(found, truth(model, test, single(test, wrap, **settings)))
    assert np.array_equal(before, env.buf_obs[None])  # nobody has played in the model's own environment


@pytest.mark.parametrize("base", ["Dummy", "Sketch"])
def test_normalised_observations_have_the_models_statistics_and_leave_them_alone(
    train: EpisodeBank, test: EpisodeBank, base: str
) -> None:
    def around(venv: VecEnv, training: bool = True) -> VecNormalize:
        return VecNormalize(venv, training=training, clip_obs=2.0)

    inner = SketchVecEnv(4, train, device="cpu") if base == "Sketch" else single(train)
    env = around(inner)
    model = model_in(env, n_steps=16, batch_size=16).learn(64)
    assert model.get_vec_normalize_env() is env
    mean, count = env.obs_rms.mean.copy(), env.obs_rms.count
    found = evaluate(model, test).rank
    assert (env.obs_rms.count, env.training, env.venv) == (count, True, inner)
    assert np.array_equal(env.obs_rms.mean, mean)
    own = around(single(test), training=False)
    own.obs_rms = env.obs_rms
    assert np.array_equal(found, truth(model, test, own))
    bare = evaluate(lambda x: torch.as_tensor(model.predict(x.numpy(), deterministic=True)[0]), test)
    assert not np.array_equal(found, bare.rank)


def test_stacked_frames_of_a_vector_env(train: EpisodeBank, test: EpisodeBank) -> None:
    model = model_in(VecFrameStack(VecNormalize(SketchVecEnv(3, train, device="cpu"), training=False), 2))
    own = VecFrameStack(VecNormalize(single(test), training=False), 2)
    assert np.array_equal(evaluate(model, test).rank, truth(model, test, own))


def test_one_environments_running_mean_is_used_and_not_moved(train: EpisodeBank, test: EpisodeBank) -> None:
    env = wrappers.NormalizeObservation(gym.make(ID, bank=train))
    model = model_in(env, n_steps=16, batch_size=16).learn(32)
    count = env.obs_rms.count

    def frozen(inner: Any) -> Any:
        other = wrappers.NormalizeObservation(inner)
        other.obs_rms, other.update_running_mean = env.obs_rms, False
        return other

    assert np.array_equal(evaluate(model, test).rank, truth(model, test, single(test, frozen)))
    assert env.obs_rms.count == count


def test_a_memory_is_carried_and_begins_anew(train: EpisodeBank, test: EpisodeBank) -> None:
    settings = {"scale": 0.5}
    for wrap in (lambda env: env, WRAPPERS["RescaleAction"]):
        model = model_in(wrap(gym.make(ID, bank=train, **settings)), _Recurrent)
        assert np.array_equal(evaluate(model, test).rank, truth(model, test, single(test, wrap, **settings)))


class _Recurrent(RecurrentPPO):
    def __init__(self, policy: str, env: Any, **settings: Any) -> None:
        super().__init__("MlpLstmPolicy", env, **settings)


def test_off_policy_models(train: EpisodeBank, test: EpisodeBank) -> None:
    model = model_in(gym.make(ID, bank=train, scale=0.2), SAC, buffer_size=10)
    assert np.array_equal(evaluate(model, test).rank, truth(model, test, single(test, scale=0.2)))


# Processes -------------------------------------------------------------------------------------------------


def test_environments_in_processes(train: EpisodeBank, test: EpisodeBank, refuses: Refuses) -> None:
    settings = {"mode": "absolute", "observation": "embedding"}
    env = make_vec_env(ID, 2, env_kwargs={"bank": train, **settings}, vec_env_cls=SubprocVecEnv)
    # Forked, as the processes cannot import this module.
    other = SubprocVecEnv([lambda: zoom(OnTheFlyEnv(train)), lambda: zoom(OnTheFlyEnv(train))], start_method="fork")
    try:
        model = model_in(env)
        assert np.array_equal(evaluate(model, test).rank, truth(model, test, single(test, **settings)))
        normalised = VecNormalize(env, training=False)
        own = VecNormalize(single(test, **settings), training=False)
        model = model_in(normalised)
        assert np.array_equal(evaluate(model, test).rank, truth(model, test, own))
        with refuses(ConfigError, "cannot play through TransformObservation in the processes of SubprocVecEnv"):
            evaluate(model_in(other), test)
        env.reset()  # they still live
        other.reset()
    finally:
        env.close()
        other.close()


def _opposite(kind: Any) -> Any:
    """A subclass whose actions are turned round, and that says nothing of it."""

    class Opposite(kind):  # type: ignore[misc]
        def step(self, action: Any) -> Any:
            return super().step(-np.asarray(action))

    class OppositeVec(kind):  # type: ignore[misc]
        def step_async(self, actions: Any) -> None:
            super().step_async(-np.asarray(actions))

    found = OppositeVec if issubclass(kind, VecEnv) else Opposite
    found.__name__ = f"{kind.__name__}Opposite"
    return found


@pytest.mark.parametrize("kind", [DummyVecEnv, SketchVecEnv, OnTheFlyVectorEnv], ids=lambda kind: kind.__name__)
def test_a_vector_env_with_steps_of_its_own_is_refused(
    kind: Any, train: EpisodeBank, test: EpisodeBank, refuses: Refuses
) -> None:
    opposite = _opposite(kind)
    env = opposite([lambda: OnTheFlyEnv(train)] * 2) if kind is DummyVecEnv else opposite(2, train, device="cpu")
    with refuses(ConfigError, f"cannot play through {kind.__name__}Opposite with a step or reset of its own"):
        evaluate(Linear(env) if kind is OnTheFlyVectorEnv else model_in(env), test)


def test_an_env_of_another_class_in_processes_is_refused_whatever_its_name(
    train: EpisodeBank, test: EpisodeBank, refuses: Refuses
) -> None:
    opposite = _opposite(OnTheFlyEnv)
    env = SubprocVecEnv([lambda: opposite(train), lambda: opposite(train)], start_method="fork")
    try:
        with refuses(ConfigError, "cannot play through OnTheFlyEnvOpposite in the processes of SubprocVecEnv"):
            evaluate(model_in(env), test)
    finally:
        env.close()


@pytest.mark.parametrize("order", [1, -1])
def test_environments_of_one_model_with_other_wrappers_are_refused(
    order: int, train: EpisodeBank, test: EpisodeBank, refuses: Refuses
) -> None:
    makers: list[Callable[[], Any]] = [lambda: OnTheFlyEnv(train), lambda: zoom(OnTheFlyEnv(train))][::order]
    with refuses(ConfigError, "the model's environments differ in wrappers"):
        evaluate(model_in(DummyVecEnv(makers)), test)


# Models of other libraries ---------------------------------------------------------------------------------


class Linear:
    """A model with gymnasium's vector environment."""

    def __init__(self, env: Any) -> None:
        self.env = env
        self.weight = np.random.default_rng(0).normal(size=(32, 8))

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> Any:
        return np.tanh(observation @ self.weight[: observation.shape[-1]]), None


@pytest.mark.parametrize("mode", ["absolute", "residual"])
def test_vector_environments_of_gymnasium(train: EpisodeBank, test: EpisodeBank, mode: str) -> None:
    settings: dict[str, Any] = {"mode": mode, "scale": 0.3}
    expected = truth(Linear(None), test, single(test, **settings))
    ours = OnTheFlyVectorEnv(2, train, device="cpu", **settings)
    many = gym.vector.SyncVectorEnv([lambda: OnTheFlyEnv(train, **settings)] * 2)
    processes = gym.vector.AsyncVectorEnv([lambda: OnTheFlyEnv(train, **settings)] * 2)
    try:
        for env in (ours, vector_wrappers.RecordEpisodeStatistics(ToNumpy(ours)), many, processes):
            assert np.array_equal(evaluate(Linear(env), test).rank, expected)
    finally:
        processes.close()
    wrapped = gym.vector.SyncVectorEnv([lambda: zoom(OnTheFlyEnv(train, **settings))] * 2)
    assert np.array_equal(
        evaluate(Linear(wrapped), test).rank, truth(Linear(None), test, single(test, zoom, **settings))
    )


# What cannot be known --------------------------------------------------------------------------------------


def test_a_loaded_model_asks_for_what_it_does_not_know(
    train: EpisodeBank, test: EpisodeBank, refuses: Refuses, tmp_path: Path
) -> None:
    settings = {"scale": 0.1, "observation": "embedding"}
    env = gym.make(ID, bank=train, **settings)
    trained = model_in(env)
    trained.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", device="cpu")
    expected = truth(trained, test, single(test, **settings))
    with refuses(ConfigError, "PPO has no environment .*: give mode=, scale=, or load the model with its env"):
        evaluate(loaded, test)
    with refuses(ConfigError, "give scale=, or"):
        evaluate(loaded, test, mode="residual")
    assert np.array_equal(evaluate(loaded, test, mode="residual", scale=0.1).rank, expected)
    assert np.array_equal(evaluate(PPO.load(tmp_path / "model", env=env, device="cpu"), test).rank, expected)
    with refuses(ConfigError, r"PPO has the observation_space Box.*\(8,\).* the bank Box.*\(32,\)"):
        evaluate(loaded, test, mode="absolute", observation="feature")


def test_where_directions_count_alone_no_scale_is_asked_for(
    train: EpisodeBank, test: EpisodeBank, refuses: Refuses, tmp_path: Path
) -> None:
    model_in(gym.make(ID, bank=train, mode="absolute")).save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", device="cpu")
    expected = truth(loaded, test, single(test, mode="absolute"))
    assert np.array_equal(evaluate(loaded, test, mode="absolute").rank, expected)
    model_in(WRAPPERS["RescaleAction"](gym.make(ID, bank=train))).save(tmp_path / "rescaled")
    with refuses(ConfigError, "the action_space .*give the model the wrapped env"):
        evaluate(PPO.load(tmp_path / "rescaled", device="cpu"), test, mode="residual", scale=1)


def test_where_both_widths_are_the_same_the_observation_is_asked_for(make_bank: MakeBank, refuses: Refuses) -> None:
    bank = make_bank(n=4, steps=2, width=8, dim=8)
    with refuses(ConfigError, "give mode=, observation=, scale=, or"):
        evaluate(Linear(None), bank)
    assert evaluate(Linear(None), bank, mode="absolute", observation="feature").rank.shape == (4, 2)


class Short(gym.Wrapper[Any, Any, Any, Any]):
    def step(self, action: Any) -> Any:
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, info["step"] >= 2, info


class Deaf(gym.Wrapper[Any, Any, Any, Any]):
    def reset(self, **_: Any) -> Any:
        return self.env.reset(seed=3)


class Locked(gym.Wrapper[Any, Any, Any, Any]):
    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.file = open(__file__, encoding="utf-8")  # noqa: SIM115 (open while the environment is)

    def close(self) -> None:
        self.file.close()
        super().close()


def test_what_cannot_be_played_is_refused_by_name(train: EpisodeBank, test: EpisodeBank, refuses: Refuses) -> None:
    def env(wrap: Callable[[Any], Any], rows: int = 1) -> VecEnv:
        return DummyVecEnv([lambda: wrap(OnTheFlyEnv(train))] * rows)

    with refuses(ConfigError, "ends an episode after 2 of 4 frames"):
        evaluate(model_in(env(Short)), test)
    with refuses(ConfigError, "does not pass reset options on"):
        evaluate(model_in(env(Deaf)), test)
    locked = env(Locked)
    with refuses(ConfigError, "cannot play through Locked, which cannot be copied"):
        evaluate(model_in(locked), test)
    locked.close()
    with refuses(ConfigError, "NormalizeObservation keeps other statistics in each of the 2 environments"):
        evaluate(model_in(env(wrappers.NormalizeObservation, 2)), test)
    for put in (lambda env: env, lambda env: env.unwrapped):
        model = model_in(env(wrappers.RecordEpisodeStatistics))
        inside = put(model.get_env().envs[0])
        before = inside.step
        inside.step = lambda action, step=before: step(-action)
        with refuses(ConfigError, f"a step or reset that was put on a {type(inside).__name__} itself"):
            evaluate(model, test)
    mixed = DummyVecEnv([lambda: OnTheFlyEnv(train), lambda: OnTheFlyEnv(train, scale=0.5)])
    with refuses(ConfigError, r"environments differ in scale \(0.5, 1.0\)"):
        evaluate(model_in(mixed), test)
    with refuses(ConfigError, "evaluate knows no drawings in the model's environment .*Pendulum"):
        evaluate(PPO("MlpPolicy", "Pendulum-v1", device="cpu"), test)
    around = vector_wrappers.ClipAction(OnTheFlyVectorEnv(2, train, device="cpu"))
    with refuses(ConfigError, "cannot play through ClipAction around a gymnasium vector environment"):
        evaluate(Linear(around), test)


@pytest.mark.parametrize("wrap", [lambda env: env, zoom], ids=["plain", "zoom"])
def test_a_task_that_stops_early_is_measured_to_the_end_of_each_drawing(
    train: EpisodeBank, test: EpisodeBank, wrap: Callable[[Any], Any]
) -> None:
    def made() -> Any:
        return wrap(gym.make("sketchless.envs:sketchless/Stop-v0", bank=train))

    model = model_in(DummyVecEnv([made, made]))
    seen = test.features.numpy() if wrap is not zoom else 1 - test.features.numpy() ** 2
    actions = np.stack([model.predict(frames, deterministic=True)[0] for frames in seen])  # [N, T, d + 1]
    assert (actions[:, :-1, -1] > 0).any()  # or nothing stops early
    wanted = Core(test, "inv-rank").score(torch.arange(len(test)), torch.as_tensor(actions[..., :-1])).rank
    assert np.array_equal(evaluate(model, test).rank, wanted.numpy())


def test_a_function_may_answer_in_numpy_and_nothing_masked_counts(
    train: EpisodeBank, test: EpisodeBank, refuses: Refuses
) -> None:
    weights = np.random.default_rng(0).normal(size=(test.features.shape[2], 8))
    found = evaluate(lambda x: x.double().numpy() @ weights, test)
    assert np.array_equal(found.rank, evaluate(lambda x: x.double() @ torch.from_numpy(weights), test).rank)
    with refuses(ConfigError, "action is a masked array"):
        evaluate(lambda x: np.ma.masked_greater(np.zeros((len(x), 8)), 1), test)
    model = Linear(OnTheFlyVectorEnv(2, train, device="cpu"))
    answer = model.predict
    model.predict = lambda *given, **more: (np.ma.masked_array(answer(*given, **more)[0]), None)
    with refuses(ConfigError, "action is a masked array"):
        evaluate(model, test)


def test_a_vector_wrapper_of_a_users_own_is_played(train: EpisodeBank, test: EpisodeBank) -> None:
    class Half(VecEnvWrapper):
        def reset(self) -> Any:
            return self.venv.reset() / 2

        def step_wait(self) -> Any:
            observation, *rest = self.venv.step_wait()
            return (observation / 2, *rest)

        def step_async(self, actions: Any) -> None:
            self.venv.step_async(-actions)

    model = model_in(Half(SketchVecEnv(3, train, device="cpu")))
    assert np.array_equal(evaluate(model, test).rank, truth(model, test, Half(single(test))))
