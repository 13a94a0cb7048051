from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import TRPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    StopTrainingOnMaxEpisodes,
)
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import explained_variance
from stable_baselines3.common.vec_env import VecMonitor
from torch.nn.functional import normalize

from sketchless.agents.actor_critic.on_device import (
    DeviceA2C,
    DevicePPO,
    DeviceTRPO,
    HostView,
    OnDeviceRollouts,
    TensorRolloutBuffer,
)
from sketchless.datasets import ConfigError
from sketchless.encoders import EpisodeBank
from sketchless.envs import ranking
from sketchless.envs.sb3_env import SketchVecEnv

PAIRS = [
    pytest.param(PPO, DevicePPO, {"n_steps": 12, "n_epochs": 3, "batch_size": 16}, id="ppo"),
    pytest.param(A2C, DeviceA2C, {"n_steps": 7}, id="a2c"),
    pytest.param(TRPO, DeviceTRPO, {"n_steps": 12, "batch_size": 16, "n_critic_updates": 3}, id="trpo"),
]
ENVS, LENGTHS = 4, (3, 1, 5, 2, 4, 5, 1, 3)


@pytest.fixture
def bank(make_bank) -> EpisodeBank:
    return make_bank(n=8, steps=5, lengths=LENGTHS)


def make(kind: type[BaseAlgorithm], bank: EpisodeBank, envs: int = ENVS, **settings: Any) -> Any:
    return kind("MlpPolicy", SketchVecEnv(envs, bank, device="cpu"), seed=3, device="cpu", **settings)


def weights(agent: BaseAlgorithm) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in agent.policy.state_dict().values()]


def equal(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


class Witness(BaseCallback):
    """Notes what stable-baselines3 shows a callback, and what it logs for each rollout."""

    def __init__(self, stop_at: int = 10**9) -> None:
        super().__init__()
        self.stop_at = stop_at
        self.seen: list[Any] = []
        self.logged: list[dict[str, Any]] = []
        self.names: set[str] = set()

    def _on_step(self) -> bool:
        found = self.locals
        self.names = set(found)
        for name in ("actions", "clipped_actions", "new_obs", "rewards", "dones", "values", "log_probs"):
            array = found[name]
            self.seen.append(np.array(array.cpu().numpy() if name in ("values", "log_probs") else array))
        self.seen.append([(info["rank"], info["episode"]["r"]) if info else None for info in found["infos"]])
        self.seen.append((self.num_timesteps, found["n_steps"]))
        return self.n_calls < self.stop_at

    def _on_rollout_start(self) -> None:
        self.logged.append(dict(self.logger.name_to_value))

    def _on_rollout_end(self) -> None:
        self.seen.append([(episode["r"], episode["l"]) for episode in self.model.ep_info_buffer])
        self.seen.append(list(self.model.ep_success_buffer))


@pytest.mark.parametrize(("theirs", "ours", "settings"), PAIRS)
class TestSameAsStock:
    """On a CPU, from the same seed."""

    def check(self, bank: EpisodeBank, theirs: Any, ours: Any, steps: int, **settings: Any) -> None:
        agents = [make(kind, bank, **settings).learn(steps) for kind in (theirs, ours)]
        assert equal(*map(weights, agents))
        assert not equal(weights(agents[0]), weights(make(theirs, bank, **settings)))
        assert agents[0].num_timesteps == agents[1].num_timesteps

    def test_parameters(self, bank, theirs, ours, settings: dict[str, Any]) -> None:
        self.check(bank, theirs, ours, 4 * ENVS * 12, **settings)

    def test_parameters_on_episodes_of_equal_length(self, make_bank, theirs, ours, settings: dict[str, Any]) -> None:
        self.check(make_bank(n=8, steps=4), theirs, ours, 2 * ENVS * 12, **settings)

    @pytest.mark.parametrize(
        "more",
        [
            {"gae_lambda": 0.9, "gamma": 0.5},
            {"use_sde": True, "sde_sample_freq": 3},
            {"use_sde": True, "policy_kwargs": {"squash_output": True}},
            {"stats_window_size": 5},
        ],
        ids=str,
    )
    def test_parameters_with_options(self, bank, theirs, ours, settings: dict[str, Any], more: dict[str, Any]) -> None:
        self.check(bank, theirs, ours, 2 * ENVS * 12, **settings, **more)

    def test_callbacks_and_logger(self, bank, theirs, ours, settings: dict[str, Any]) -> None:
        witnesses = []
        for kind in (theirs, ours):
            witness = Witness()
            make(kind, bank, **settings, stats_window_size=20).learn(4 * ENVS * 12, witness, log_interval=10**6)
            witnesses.append(witness)
        stock, device = witnesses
        assert stock.names <= device.names | {"idx", "done", "terminal_obs", "terminal_value"}
        assert len(stock.seen) == len(device.seen) > 100
        for a, b in zip(stock.seen, device.seen, strict=True):
            assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b
        assert len(stock.logged) == len(device.logged) > 3
        for a, b in zip(stock.logged, device.logged, strict=True):
            assert a == b
        assert "train/explained_variance" in device.logged[-1]

    def test_what_the_logger_prints(self, bank, theirs, ours, settings: dict[str, Any], tmp_path: Path) -> None:
        rows = []
        for kind in (theirs, ours):
            agent = make(kind, bank, **settings)
            agent.set_logger(configure(str(tmp_path / kind.__name__), ["csv"]))
            agent.learn(4 * ENVS * 12, log_interval=1)
            lines = (tmp_path / kind.__name__ / "progress.csv").read_text().splitlines()
            rows.append([dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]])
        stock, device = rows
        assert {"rollout/ep_rew_mean", "rollout/ep_len_mean", "rollout/success_rate"} <= stock[0].keys()
        assert len(stock) == len(device) >= 4
        for a, b in zip(stock, device, strict=True):
            assert a.keys() == b.keys()
            assert all(a[name] == b[name] for name in a.keys() - {"time/fps", "time/time_elapsed"})

    def test_stopped_by_a_callback(self, bank, theirs, ours, settings: dict[str, Any]) -> None:
        budget = 4 * ENVS * 12
        agents = [make(kind, bank, **settings).learn(budget, Witness(stop_at=17)) for kind in (theirs, ours)]
        assert equal(*map(weights, agents))
        infos = [[(info["r"], info["l"]) for info in agent.ep_info_buffer] for agent in agents]
        assert infos[0] == infos[1]
        assert agents[1].num_timesteps == 17 * ENVS

    def test_learning_on_and_learning_anew(self, bank, theirs, ours, settings: dict[str, Any]) -> None:
        steps, ends = ENVS * 12, []
        for kind in (theirs, ours):
            agent = make(kind, bank, **settings).learn(2 * steps)
            ends.append([weights(agent.learn(steps, reset_num_timesteps=False)), weights(agent.learn(steps))])
        assert all(equal(a, b) for a, b in zip(*ends, strict=True))

    def test_saved_and_loaded(self, bank, theirs, ours, settings: dict[str, Any], tmp_path: Path) -> None:
        agent = make(ours, bank, **settings).learn(2 * ENVS * 12)
        agent.save(tmp_path / "agent")
        observation = agent.env.reset()
        for kind in (ours, theirs):  # the algorithm itself reads the same file
            again = kind.load(tmp_path / "agent", device="cpu")
            assert equal(weights(agent), weights(again))
            assert again.num_timesteps == agent.num_timesteps
            found = again.predict(observation, deterministic=True)[0]
            assert np.array_equal(found, agent.predict(observation, deterministic=True)[0])
        learned = []
        for kind in (theirs, ours):
            again = kind.load(tmp_path / "agent", env=SketchVecEnv(ENVS, bank, device="cpu"), device="cpu")
            assert isinstance(again.rollout_buffer, TensorRolloutBuffer) == (kind is ours)
            learned.append(weights(again.learn(2 * ENVS * 12, reset_num_timesteps=False)))
        assert equal(*learned)
        assert not equal(learned[0], weights(agent))

    def test_reads_what_the_algorithm_itself_saved(
        self, bank, theirs, ours, settings: dict[str, Any], tmp_path: Path
    ) -> None:
        make(theirs, bank, **settings).learn(ENVS * 12).save(tmp_path / "agent")
        learned = []
        for kind in (theirs, ours):
            agent = kind.load(tmp_path / "agent", env=SketchVecEnv(ENVS, bank, device="cpu"), device="cpu")
            learned.append(weights(agent.learn(ENVS * 12)))
        assert equal(*learned)


@pytest.mark.parametrize(("theirs", "ours", "settings"), PAIRS)
def test_rollouts_never_pass_through_numpy(
    bank, theirs, ours, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every way from a tensor to an array, and back, is barred while rollouts are collected."""
    # the trajectory part counts pairs with numba, which on a CPU reads tensors as arrays: pay ranks only
    env = SketchVecEnv(ENVS, bank, reward="inv-rank", device="cpu")

    def barred(*_: Any, **__: Any) -> None:
        raise AssertionError("left the device")

    def bar(agent: Any) -> None:
        collect = agent.collect_rollouts

        def watched(*given: Any, **named: Any) -> bool:
            assert isinstance(agent._last_obs, torch.Tensor) or agent.num_timesteps == 0
            with monkeypatch.context() as patch:
                for name in ("numpy", "cpu", "__array__"):
                    patch.setattr(torch.Tensor, name, barred)
                patch.setattr(torch, "from_numpy", barred)
                # the same for the compiled kernels of the CPU: their torch versions serve every other device
                patch.setattr(ranking, "refine_rows", lambda base, a, scale: ranking.unit(base + scale * a))
                patch.setattr(ranking, "count_as_near", lambda s, t: (s >= s.gather(1, t.unsqueeze(1))).sum(dim=1))
                return collect(*given, **named)

        agent.collect_rollouts = watched

    agent = ours("MlpPolicy", env, seed=0, device="cpu", **settings)
    bar(agent)
    agent.learn(8 * ENVS * 12)
    assert len(agent.ep_info_buffer) == 100
    buffer = agent.rollout_buffer
    for name in ("observations", "actions", "rewards", "values", "log_probs", "advantages", "returns"):
        assert isinstance(getattr(buffer, name), torch.Tensor)

    agent = theirs("MlpPolicy", env, seed=0, device="cpu", **settings)
    bar(agent)
    with pytest.raises(AssertionError, match="left the device"):  # the bar holds
        agent.learn(ENVS * 12)


class TestBuffer:
    def pair(self, bank, **more: Any) -> tuple[RolloutBuffer, TensorRolloutBuffer]:
        """Both filled with the same made-up rollout: 6 steps of 3 environments."""
        env = SketchVecEnv(3, bank, device="cpu")
        spaces = env.observation_space, env.action_space
        settings = {"gae_lambda": 0.9, "gamma": 0.8, "n_envs": 3, "device": "cpu"}
        stock, ours = RolloutBuffer(6, *spaces, **settings), TensorRolloutBuffer(6, *spaces, **settings, **more)
        random = torch.Generator().manual_seed(0)
        shapes = (env.observation_space.shape, env.action_space.shape, (), (), (), ())
        for _ in range(6):
            row = [torch.randn(3, *shape, generator=random) for shape in shapes]
            row[3] = row[3] > 0
            stock.add(*(part.numpy() for part in row[:4]), *row[4:])
            ours.add(*row)
        last, done = torch.randn(3, 1, generator=random), torch.tensor([True, False, False])
        stock.compute_returns_and_advantage(last, done.numpy())
        ours.compute_returns_and_advantage(last, done)
        return stock, ours

    def test_holds_what_the_stock_one_holds(self, bank) -> None:
        stock, ours = self.pair(bank)
        for name in ("observations", "actions", "rewards", "episode_starts", "values", "log_probs"):
            assert np.array_equal(getattr(stock, name), np.asarray(getattr(ours, name)))
        for name in ("advantages", "returns"):
            assert np.array_equal(getattr(stock, name), np.asarray(getattr(ours, name)))
        assert ours.full
        assert ours.size() == 6

    @pytest.mark.parametrize("batch_size", [None, 4, 18])
    def test_gives_the_same_minibatches(self, bank, batch_size: int | None) -> None:
        stock, ours = self.pair(bank)
        state = np.random.get_state()  # noqa: NPY002
        theirs = list(stock.get(batch_size))
        np.random.set_state(state)  # noqa: NPY002
        for a, b in zip(theirs, ours.get(batch_size), strict=True):
            assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
            assert {type(y) for y in b} == {torch.Tensor}

    @pytest.mark.parametrize("batch_size", [None, 4])
    def test_torch_shuffles_without_the_global_generators(self, bank, batch_size: int | None) -> None:
        _, ours = self.pair(bank, shuffle="torch")
        before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        passes = [torch.cat([batch.observations for batch in ours.get(batch_size)]) for _ in range(2)]
        assert torch.equal(before[0], torch.get_rng_state())
        assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002
        rows = [sorted(map(tuple, one.tolist())) for one in passes]
        assert rows[0] == rows[1] == sorted(map(tuple, ours.observations.tolist()))
        assert not torch.equal(*passes)

    def test_unknown_shuffle_is_refused(self, bank, refuses) -> None:
        with refuses(ConfigError, "did you mean 'torch'"):
            make(DevicePPO, bank, rollout_buffer_kwargs={"shuffle": "torhc"})

    def test_explained_variance_is_that_of_numpy(self, bank) -> None:
        pair = self.pair(bank)
        for buffer in pair:
            list(buffer.get())
        stock, ours = (explained_variance(buffer.values.flatten(), buffer.returns.flatten()) for buffer in pair)
        assert ours == stock
        pair[1].returns.zero_()
        assert np.isnan(explained_variance(pair[1].values.flatten(), pair[1].returns.flatten()))

    def test_numpy_computes_on_what_is_shown(self) -> None:
        shown = torch.tensor([[1.0, 2.0], [3.0, 6.0]]).as_subclass(HostView)
        assert np.sum(shown) == 12
        assert np.mean(shown, axis=0).tolist() == [2, 4]
        assert np.concatenate([shown, np.zeros((1, 2))]).shape == (3, 2)
        assert np.sum(shown, where=(shown > 2).as_subclass(HostView)) == 9
        assert np.asarray(shown, np.float64).dtype == np.float64
        assert np.shares_memory(np.asarray(shown), np.asarray(shown))
        assert not np.shares_memory(np.array(shown), np.asarray(shown))
        assert (np.ones((2, 2)) + np.asarray(shown)).tolist() == [[2, 3], [4, 7]]


def test_torch_shuffle_repeats_with_the_seed(bank) -> None:
    settings: dict[str, Any] = {"n_steps": 12, "batch_size": 16, "rollout_buffer_kwargs": {"shuffle": "torch"}}
    runs = [weights(make(DevicePPO, bank, **settings).learn(3 * ENVS * 12)) for _ in range(2)]
    assert equal(*runs)
    assert not equal(runs[0], weights(make(DevicePPO, bank, n_steps=12, batch_size=16).learn(3 * ENVS * 12)))


def test_callbacks_of_stable_baselines_work(bank, tmp_path: Path) -> None:
    agent = make(DevicePPO, bank, n_steps=12, batch_size=16)
    judge = SketchVecEnv(2, bank, device="cpu")
    callbacks = [
        CheckpointCallback(12, str(tmp_path)),
        EvalCallback(judge, eval_freq=12, best_model_save_path=str(tmp_path), verbose=0),
        StopTrainingOnMaxEpisodes(max_episodes=20),
    ]
    agent.learn(10_000, callback=CallbackList(callbacks))
    assert agent.num_timesteps < 10_000
    assert {path.suffix for path in tmp_path.iterdir()} == {".zip"}
    assert DevicePPO.load(tmp_path / "best_model", device="cpu").num_timesteps > 0


def planted() -> EpisodeBank:
    """Features are the photo embeddings turned by a rotation that the frozen head does not know."""
    generator = torch.Generator().manual_seed(0)
    d, photos = 4, 12
    gallery = normalize(torch.randn(photos, d, generator=generator), dim=-1)
    rotation, _ = torch.linalg.qr(torch.randn(d, d, generator=generator))
    return EpisodeBank(
        features=(gallery @ rotation).unsqueeze(1).repeat(1, 3, 1),
        lengths=torch.tensor([1, 2, 3] * 4),
        targets=torch.arange(photos),
        gallery=gallery,
        weight=torch.eye(d),
        bias=torch.zeros(d),
        sketch_ids=tuple(f"s{i}" for i in range(photos)),
        photo_ids=tuple(f"p{i}" for i in range(photos)),
        split="train",
    )


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (DeviceA2C, {"n_steps": 8, "learning_rate": 3e-3}),
        pytest.param(
            *(DevicePPO, {"n_steps": 8, "batch_size": 128, "learning_rate": 3e-3, "n_epochs": 5}),
            marks=pytest.mark.slow,
        ),
        pytest.param(*(DeviceTRPO, {"n_steps": 16, "batch_size": 256, "target_kl": 0.02}), marks=pytest.mark.slow),
    ],
)
def test_learns_to_turn_the_rotation_back(kind: type[OnDeviceRollouts], settings: dict[str, Any]) -> None:
    env = SketchVecEnv(64, planted(), reward="inv-rank", mode="absolute", device="cpu")
    agent: Any = kind("MlpPolicy", env, seed=0, gamma=0.0, device="cpu", **settings)
    agent.learn(1024)
    before = np.mean([info["r"] / info["l"] for info in agent.ep_info_buffer])
    agent.learn(40_000)
    after = np.mean([info["r"] / info["l"] for info in agent.ep_info_buffer])
    assert before < 0.4  # by chance: sum(1/r)/12 = 0.26
    assert after > before + 0.25


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [DevicePPO, DeviceA2C, DeviceTRPO])
def test_on_a_gpu(bank, kind: type[OnDeviceRollouts], tmp_path: Path) -> None:
    env = SketchVecEnv(ENVS, bank, device="cuda")
    agent: Any = kind("MlpPolicy", env, seed=0, device="cuda", n_steps=12)
    agent.learn(3 * ENVS * 12, callback=Witness())
    for name in ("observations", "actions", "rewards", "values", "log_probs", "advantages", "returns"):
        assert getattr(agent.rollout_buffer, name).is_cuda
    agent.save(tmp_path / "agent")
    again = kind.load(tmp_path / "agent", env=SketchVecEnv(ENVS, bank, device="cpu"), device="cpu")
    assert again.learn(ENVS * 12, reset_num_timesteps=False).num_timesteps == 4 * ENVS * 12


class TestMisuse:
    def test_a_wrapped_environment(self, bank, refuses) -> None:
        with pytest.warns(UserWarning, match="already wrapped"):
            env = VecMonitor(SketchVecEnv(2, bank, device="cpu"))
        with refuses(ConfigError, "VecMonitor: rollouts on the device need a SketchVecEnv"):
            DevicePPO("MlpPolicy", env, device="cpu")

    def test_another_environment(self, refuses) -> None:
        with refuses(ConfigError, "need a SketchVecEnv"):
            DeviceA2C("MlpPolicy", gym.make("Pendulum-v1"), device="cpu")

    def test_an_environment_set_later(self, bank, refuses) -> None:
        agent = make(DeviceA2C, bank, envs=2)
        with pytest.warns(UserWarning, match="already wrapped"):
            agent.set_env(VecMonitor(SketchVecEnv(2, bank, device="cpu")))
        with refuses(ConfigError, "need a SketchVecEnv"):
            agent.learn(20)

    def test_an_environment_on_another_device(self, bank, refuses, monkeypatch: pytest.MonkeyPatch) -> None:
        env = SketchVecEnv(2, bank, device="cpu")
        monkeypatch.setattr(env.core, "device", torch.device("cuda:0"))
        with refuses(ConfigError, "on cpu, its environment on cuda:0"):
            DeviceTRPO("MlpPolicy", env, device="cpu")
