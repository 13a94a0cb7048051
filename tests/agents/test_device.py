"""Everything that runs on a GPU, on the stand-in: the CPU's numbers, no mixed devices, few waits of the host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import configure

from sketchless.agents import AGENTS, Agent, DeviceA2C, DevicePPO, DeviceTRPO, make_agent
from sketchless.agents.checks import read
from sketchless.benchmarks import evaluate
from sketchless.datasets import DataError
from sketchless.encoders import EpisodeBank
from sketchless.envs import Core, OnTheFlyVectorEnv
from sketchless.envs.sb3_env import SketchVecEnv
from sketchless.envs.tasks import make_core

from ..device_double import Double, Waits, device_double, numbers

SMALL: dict[str, Any] = {"episodes": 4, "samples": 3, "eval_every": 2, "seed": 1}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in AGENTS),
    ("ppo-a-clip", {"policy": "gru"}),
    ("ppo-a-clip", {"policy": "per-step"}),
    ("ppo-a-clip", {"weight_decay": 0.1, "advantage": "batch-mean"}),
    ("sodeep", {"sorter": "lstm", "sorter_updates": 2}),
    ("ppo-a-clip", {"choice": "one-se"}),
]
ACTOR_ONLY = ("vpg", "ppo-a-clip", "ppo-a-kl", "grpo", "rank-softmax", "frame-triplet", "sodeep", "mgal")
LENGTHS = [5, 3, 5, 1, 2, 5, 4, 5, 5, 2]


@pytest.fixture
def waits() -> Iterator[Waits]:
    with device_double() as noted:
        yield noted


@pytest.fixture
def bank(make_bank) -> EpisodeBank:
    made: EpisodeBank = make_bank(n=10, steps=5, lengths=LENGTHS)
    return made


def weights(agent: Any) -> list[Any]:
    return [numbers(p) for module in agent.modules.values() for p in module.parameters()]


def same(a: list[Any], b: list[Any]) -> bool:
    return all(np.allclose(x, y, rtol=1e-5, atol=1e-6) for x, y in zip(a, b, strict=True))


@pytest.mark.filterwarnings("ignore:PyTorch was compiled without")
@pytest.mark.parametrize(("name", "more"), VARIANTS)
def test_agents_learn_save_load_resume_and_predict_as_on_the_cpu(
    bank: EpisodeBank, tmp_path: Path, name: str, more: dict[str, Any]
) -> None:
    def trained(device: str) -> tuple[Agent, Agent]:
        core = Core(bank.to(device))
        agent: Agent = make_agent(name, core, validation=bank, **SMALL, **more).learn(50)
        agent.save(tmp_path / f"{device}.safetensors")
        again: Agent = AGENTS[name].load(tmp_path / f"{device}.safetensors", core, bank)
        return agent, again.learn(100, reset_num_timesteps=False)

    here = trained("cpu")
    with device_double():
        there = trained("cuda")
        for one, other in zip(here, there, strict=True):
            assert all(isinstance(p, Double) for module in other.modules.values() for p in module.parameters())
            assert same(weights(one), weights(other))
            assert [look["val_m_at_b"] for look in one.history] == pytest.approx(
                [look["val_m_at_b"] for look in other.history]
            )
        frames = there[1].core.frames[:, 0]
        settled, drawn = there[1].predict(frames, deterministic=True)[0], there[1].predict(numbers(frames))[0]
    assert isinstance(settled, Double)
    np.testing.assert_allclose(numbers(settled), here[1].predict(numbers(frames), deterministic=True)[0], atol=1e-6)
    np.testing.assert_allclose(drawn, here[1].predict(numbers(frames))[0], atol=1e-6)
    # What one device wrote the other reads.
    loaded = AGENTS[name].load(tmp_path / "cuda.safetensors", Core(bank), bank)
    assert same(weights(loaded), weights(here[0]))


@pytest.mark.parametrize(
    ("name", "logged", "choice"),
    [*((name, True, "best") for name in ACTOR_ONLY), ("ppo-a-clip", False, "best"), ("ppo-a-clip", True, "one-se")],
)
def test_an_update_waits_once(waits: Waits, make_bank, tmp_path: Path, name: str, logged: bool, choice: str) -> None:
    """With four epochs, validation and a log: everything is read in one piece."""
    core = Core(make_bank(n=8, steps=5).to("cuda"))
    agent = make_agent(name, core, validation=core.bank, **{**SMALL, "eval_every": 1, "choice": choice})
    if logged:
        agent.set_logger(configure(str(tmp_path), ["csv"]))
    found: list[list[str]] = []

    def between(*_: Any) -> bool:
        found.append([line.split()[-1] for line in waits.take()])
        return True

    agent.learn(120, callback=between)
    assert agent.n_updates == 2
    assert found[1:] == [["tolist"]]  # before the first: the fingerprint of the bank, the first validation


@pytest.mark.parametrize(
    ("task", "policy", "extra"),
    [
        ("carry", "linear", 0),
        ("carry", "gru", 0),
        ("stop", "linear", 1),
        ("stop", "lstm", 1),
        ("carry", "per-step", 20),
        ("carry", "attention", 4),
    ],
)
def test_where_actions_matter_some_wait_more(waits: Waits, make_bank, task: str, policy: str, extra: int) -> None:
    """To count the steps where actions end episodes, and in the T = 5 steps to see where drawings stand: `per-step`
    four times in each, `attention` once in all but the first.
    """
    core = make_core(task, make_bank(n=8, steps=5).to("cuda"), "inv-rank")
    agent = make_agent("ppo-a-clip", core, policy=policy, **SMALL)
    found: list[int] = []

    def between(*_: Any) -> bool:
        found.append(len(waits.take()))
        return agent.n_updates < 3

    agent.learn(1000, callback=between)
    assert found[1:] == [1 + extra] * 2


def test_a_rollout_counts_the_frames_of_its_drawings(bank: EpisodeBank) -> None:
    agent = make_agent("ppo-a-clip", make_core("carry", bank), **SMALL)
    batch = agent.collect()
    assert agent.num_timesteps == int(batch.valid.sum()) == 3 * sum(LENGTHS[row] for row in batch.sketches.tolist())


@pytest.mark.parametrize("name", ["ppo-ac-clip", "ppo-ac-kl", "trpo"])
def test_agents_with_a_critic_wait_in_their_library(waits: Waits, make_bank, name: str) -> None:
    agent = make_agent(name, Core(make_bank(n=8, steps=5).to("cuda")), **SMALL)
    waits.take()
    agent.learn(50)
    assert len(waits.take()) > 12


def test_drawings_of_several_lengths_cost_one_more_wait_a_pass(waits: Waits, bank: EpisodeBank) -> None:
    agent = make_agent("ppo-a-clip", Core(bank.to("cuda")), episodes=5, samples=2)  # two updates a pass
    waits.take()
    agent._begin_on("here", True)
    for _ in range(6):
        batch = agent.collect()
        agent.note(read(agent.found(batch, agent.update(batch), 1)))
    assert len(waits.take()) == 6 + 3


def test_an_action_that_is_not_finite_is_found_without_an_assertion_on_the_device(
    waits: Waits, bank: EpisodeBank, refuses
) -> None:
    agent = make_agent("ppo-a-clip", Core(bank.to("cuda")), **SMALL)
    before = weights(agent)
    agent.policy.mean.bias.data.fill_(float("nan"))
    with refuses(DataError, r"update 1: observation or action of drawing 0 .*is not finite in step 1"):
        agent.learn(60)
    assert len(before) == 3


class TestEnvironments:
    ACTIONS = torch.randn(12, 4, 8, generator=torch.Generator().manual_seed(0))  # steps, envs, d

    def test_a_step_of_the_core_never_waits(self, waits: Waits, bank: EpisodeBank) -> None:
        core = Core(bank.to("cuda"))
        actions = self.ACTIONS.to("cuda")
        state = core.reset(torch.arange(4, device="cuda"))
        waits.take()
        for action in actions:
            outcome = core.step(state, action)
            state = core.next_episode(outcome.state, outcome.terminated)
            core.observe(state)
        core.score(torch.arange(4, device="cuda"), actions[:5].transpose(0, 1).contiguous())
        assert waits.take() == []

    def test_sketch_vec_env_plays_as_on_the_cpu_and_never_waits(self, bank: EpisodeBank) -> None:
        def played(device: str, waits: Waits | None = None) -> list[Any]:
            env = SketchVecEnv(4, bank, device=device)
            env.seed(3)
            found = [numbers(env.reset_tensor())]
            actions = self.ACTIONS.to(device)
            if waits:
                waits.take()
            for action in actions:
                observation, reward, done, infos = env.step_tensor(action)
                found += [numbers(x) for x in (observation, reward, done, infos.rank)]
            assert not waits or waits.take() == []
            return found

        here = played("cpu")
        with device_double() as waits:
            there = played("cuda", waits)
        for a, b in zip(here, there, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)

    def test_the_vector_environment_plays_as_on_the_cpu(self, bank: EpisodeBank) -> None:
        def played(device: str) -> list[Any]:
            env = OnTheFlyVectorEnv(4, bank, device=device)
            found = [_array(env.reset(seed=0)[0])]
            for action in self.ACTIONS:
                observation, reward, terminated, _, info = env.step(action.to(device))
                found += [_array(x) for x in (observation, reward, terminated, info["rank"])]
            return found

        here = played("cpu")
        with device_double():
            there = played("cuda")
        for a, b in zip(here, there, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)

    def test_evaluate_gives_the_ranks_of_the_cpu(self, bank: EpisodeBank) -> None:
        agent = make_agent("ppo-a-clip", Core(bank), learning_rate=0.1, **SMALL).learn(300)
        here = evaluate(agent, bank)
        with device_double():
            there = evaluate(make_agent("b1", Core(bank.to("cuda"))), bank.to("cuda"))
            assert (there.rank == evaluate(None, bank).rank).all()
            moved = make_agent("ppo-a-clip", Core(bank.to("cuda")), **SMALL)
            moved.load_state_dict(agent.state_dict())
            assert (evaluate(moved, bank.to("cuda")).rank == here.rank).all()


def _array(x: Any) -> Any:
    return numbers(x) if isinstance(x, torch.Tensor) else x


@pytest.mark.parametrize("kind", [DevicePPO, DeviceA2C, DeviceTRPO])
def test_their_algorithms_learn_there_as_on_the_cpu(bank: EpisodeBank, kind: Any) -> None:
    settings: dict[str, Any] = {"n_steps": 10, "seed": 0}
    if kind is DevicePPO:
        settings["n_epochs"] = 3
    if kind is not DeviceA2C:
        settings["batch_size"] = 40  # one minibatch: elsewhere its order is drawn on the device

    def learned(device: str) -> list[Any]:
        agent = kind("MlpPolicy", SketchVecEnv(4, bank, device=device), device=device, **settings)
        agent.learn(80)
        return [numbers(p) for p in agent.policy.parameters()]

    here = learned("cpu")
    with device_double():
        there = learned("cuda")
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
