"""Every registered id does what gymnasium, stable-baselines3 and whoever repeats an experiment count on."""

from __future__ import annotations

import copy
import hashlib
import inspect
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import PassiveEnvChecker
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from sketchless.agents import AGENTS, Supervised, make_agent
from sketchless.datasets import ConfigError
from sketchless.encoders import EpisodeBank
from sketchless.envs import REWARDS, combined
from sketchless.envs.testing import check_agent, check_causal, check_reward, check_vector_env

IDS = sorted(id for id, spec in gym.registry.items() if spec.namespace == "sketchless")
REWARD = combined(gamma2=1)  # so that no part of it is lost beside the other


def reward_of(id: str) -> Any:
    """`REWARD`, or one that Stop-v0 takes, which shows a single list."""
    return "inv-rank" if "Stop" in id else REWARD


def play(env: Any, seed: int, steps: int) -> Iterator[tuple[Any, ...]]:
    """All that so many steps give, with what it takes to go on after an end."""
    rng = np.random.default_rng(seed)
    yield env.reset(seed=seed)
    for _ in range(steps):
        result = env.step(rng.uniform(-1, 1, env.action_space.shape).astype(np.float32))
        yield result
        if result[2] or result[3]:
            yield env.reset()


def digest(env: Any, seeds: int, steps: int) -> str:
    """One number for every bit that the games of so many seeds give."""
    sums = hashlib.blake2b(digest_size=16)
    for seed in range(seeds):
        for observation, *rest in play(env, seed, steps):
            sums.update(observation.tobytes() + repr(rest).encode())
    return sums.hexdigest()


# What another process needs of this file: all that is imported above takes it twice as long. An id that names its
# module needs no import of it.
PROGRAM = f"""
from __future__ import annotations
import hashlib
import gymnasium as gym
import numpy as np
{inspect.getsource(play)}
{inspect.getsource(digest)}"""


@pytest.fixture(params=IDS)
def id(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def bank(make_bank: Callable[..., EpisodeBank]) -> EpisodeBank:
    """A small one, where that of the id is not what is tested: seven frames, and fewer of every other drawing."""
    return make_bank(n=20, steps=7, photos=12, lengths=[7, 5, 7, 3] * 5)


def test_there_are_ids() -> None:
    assert {"sketchless/OnTheFly-v0", "sketchless/Strokes-v0"} <= set(IDS)


# Checkers --------------------------------------------------------------------------------------------------


RENDERING = pytest.param(True, marks=pytest.mark.slow, id="rendering")  # makes drawings and photos first


@pytest.mark.parametrize("renders", [pytest.param(False, id="fast"), RENDERING])
@pytest.mark.parametrize("check", [gymnasium_check_env, sb3_check_env], ids=["gymnasium", "sb3"])
def test_checkers_find_nothing(check: Callable[..., None], renders: bool, id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(gym.make(id, render_mode="rgb_array" if renders else None).unwrapped, skip_render_check=not renders)


@pytest.mark.parametrize("renders", [pytest.param(False, id="fast"), RENDERING])
def test_the_checker_that_watches_every_step_finds_nothing(renders: bool, id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env: Any = gym.make(id, render_mode="rgb_array" if renders else None)
        assert isinstance(env.env, PassiveEnvChecker)
        for _ in play(env, seed=0, steps=45):
            if renders:
                env.render()
        env.close()


@pytest.mark.parametrize("mode", AutoresetMode, ids=lambda mode: mode.name)
def test_vector_environments_pass_our_own(mode: AutoresetMode, bank: EpisodeBank, id: str) -> None:
    def make(num_envs: int) -> VectorEnv[Any, Any, Any]:
        return gym.make_vec(id, num_envs=num_envs, bank=bank, device="cpu", autoreset_mode=mode, reward=reward_of(id))

    check_vector_env(make, lambda: gym.make(id, bank=bank, reward=reward_of(id)), steps=20)


MODES = tuple(AutoresetMode)


@pytest.mark.parametrize(
    ("mode", "limit"),
    [(MODES[0], 6), (MODES[0], 7), (MODES[0], 8), (MODES[1], 6), (MODES[2], 6)],  # of 7 frames
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_a_limit_of_steps_is_that_of_gymnasium(mode: AutoresetMode, limit: int, make_bank: Any) -> None:
    id, settings = "sketchless/OnTheFly-v0", {"bank": make_bank(steps=7), "max_episode_steps": limit}

    def make(num_envs: int) -> VectorEnv[Any, Any, Any]:
        return gym.make_vec(id, num_envs=num_envs, device="cpu", autoreset_mode=mode, **settings)

    check_vector_env(make, lambda: gym.make(id, **settings), steps=17)


@pytest.mark.parametrize("name", REWARDS)
def test_rewards_pass_our_own(name: str) -> None:
    check_reward(name)


@pytest.mark.parametrize("name", AGENTS)
def test_agents_pass_our_own(name: str, bank: EpisodeBank, id: str) -> None:
    env = gym.make(id, bank=bank)
    core = env.unwrapped.core  # type: ignore[attr-defined]
    if not core.bandit and issubclass(AGENTS[name], Supervised):
        with pytest.raises(ConfigError, match="learns frame by frame"):
            make_agent(name, env)
        return
    check_agent(lambda seed: make_agent(name, env, seed=seed))
    check_causal(make_agent(name, env).learn(100), core.frames[:4])


# Copies ----------------------------------------------------------------------------------------------------

COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda env: pickle.loads(pickle.dumps(env)),
    "cloudpickle": lambda env: cloudpickle.loads(cloudpickle.dumps(env)),
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("num_envs", [None, 2], ids=["single", "vector"])
def test_a_copy_goes_on_alike(how: str, num_envs: int | None, id: str) -> None:
    env: Any = gym.make(id) if num_envs is None else gym.make_vec(id, num_envs=num_envs, device="cpu")
    actions = np.random.default_rng(0).uniform(-1, 1, (9, *env.action_space.shape)).astype(np.float32)
    env.reset(seed=0)
    env.step(actions[0])
    twin = COPIES[how](env)
    for action in actions[1:3]:  # a drawing may have no more than three strokes
        ours, theirs = env.step(action), twin.step(action)
        assert all(np.array_equal(a, b) for a, b in zip(ours[:4], theirs[:4], strict=True))
    for _ in range(5):
        assert np.array_equal(env.reset()[0], twin.reset()[0])


# Hundreds of thousands of steps of one episode: threads of arithmetic only wait for each other, for longer than a
# test may take where other programs run.
LONG = (pytest.mark.slow, pytest.mark.timeout(1200))


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# The same again --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("seeds", "steps"), [(2, 45), pytest.param(100, 1000, marks=LONG)], ids=["fast", "full"])
def test_two_instances_and_two_processes_agree_in_every_bit(seeds: int, steps: int) -> None:
    program = f"{PROGRAM}\nfor id in {IDS}:\n    print(digest(gym.make('sketchless.envs:' + id), {seeds}, {steps}))"
    command = [sys.executable, "-c", program]
    elsewhere = os.environ | {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=elsewhere) as other:
        try:
            first, second = ([digest(gym.make(id), seeds, steps) for id in IDS] for _ in range(2))
            assert first == second == other.communicate()[0].split()
        finally:
            other.kill()
    assert len(set(first)) == len(IDS)


def test_different_seeds_play_differently(id: str) -> None:
    env = gym.make(id)

    def drawings(seed: int) -> tuple[str, ...]:
        return (env.reset(seed=seed)[1]["sketch_id"], *(env.reset()[1]["sketch_id"] for _ in range(9)))

    assert len({drawings(seed) for seed in range(100)}) == 100


# One environment in four shapes ----------------------------------------------------------------------------


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("num_envs", "steps"), [(3, 20), pytest.param(20, 5000, marks=LONG)], ids=["fast", "full"])
def test_single_sync_async_and_torch_give_the_same(num_envs: int, steps: int, bank: EpisodeBank, id: str) -> None:
    def single() -> gym.Env[Any, Any]:
        return gym.make(id, bank=bank, reward=reward_of(id))

    mode = AutoresetMode.SAME_STEP
    singles: list[Any] = [single() for _ in range(num_envs)]
    for i, env in enumerate(singles):
        env.reset(seed=i)
    batches: list[Any] = [
        SyncVectorEnv([single] * num_envs, autoreset_mode=mode),
        AsyncVectorEnv([single] * num_envs, autoreset_mode=mode),
        gym.make_vec(id, num_envs=num_envs, bank=bank, reward=reward_of(id), device="cpu", autoreset_mode=mode),
    ]
    try:
        for batch in batches:
            batch.reset(seed=0)
        rng = np.random.default_rng(0)
        for _ in range(steps):
            actions = rng.uniform(-1, 1, (num_envs, *singles[0].action_space.shape)).astype(np.float32)
            rows = [one_step(env, action) for env, action in zip(singles, actions, strict=True)]
            for batch in batches:
                _, *paid, info = batch.step(actions)
                ended = np.asarray(paid[1] | paid[2])
                rank = np.asarray(info.get("rank", np.zeros(num_envs, int))).copy()
                if ended.any():
                    rank[ended] = np.asarray(info["final_info"]["rank"])[ended]
                assert all(map(np.array_equal, [rank, *paid], list(zip(*rows, strict=True)))), type(batch).__name__
    finally:
        for batch in batches:
            batch.close()


def one_step(env: gym.Env[Any, Any], action: Any) -> tuple[int, float, bool, bool]:
    """Rank, reward and flags."""
    _, reward, terminated, truncated, info = env.step(action)
    if terminated or truncated:
        env.reset()
    return info["rank"], float(reward), terminated, truncated
