"""Rollout and update in one CUDA graph, on the stand-in: the same agent as without, one wait of the host an update."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import configure

from sketchless.agents import AGENTS, PPOAClip, can_learn_together, make_agent
from sketchless.datasets import ConfigError, DataError
from sketchless.encoders import EpisodeBank
from sketchless.envs import Core
from sketchless.envs.tasks import make_core

from ...device_double import Waits, device_double, numbers

SMALL: dict[str, Any] = {"episodes": 4, "samples": 3, "eval_every": 2, "seed": 1}
EXACT: dict[str, Any] = {"learning_rate": 2**-7, "lr_schedule": "constant"}  # float32 holds it
LENGTHS = [5, 3, 5, 1, 2, 5, 4, 5, 5, 2]
BUDGET = 250  # five updates or more


@pytest.fixture
def waits() -> Iterator[Waits]:
    with device_double() as noted:
        yield noted


@pytest.fixture
def bank(make_bank) -> EpisodeBank:
    made: EpisodeBank = make_bank(n=10, steps=5, lengths=LENGTHS)
    return made


def made(name: str, bank: EpisodeBank, graph: bool, reward: Any = "combined", **more: Any) -> Any:
    core = Core(bank.to("cuda"), reward)
    return make_agent(name, core, validation=bank, cuda_graph=graph, **{**SMALL, **more})


def state(agent: Any) -> tuple[dict[str, Any], Any]:
    tensors, about = agent.state_dict()
    return {name: numbers(tensor).copy() for name, tensor in tensors.items()}, about


def assert_same(one: Any, other: Any) -> None:
    """Weights, optimiser, random state, queue, best policy, history, counters: bit for bit."""
    (here, about), (there, also) = state(one), state(other)
    assert about == also
    assert here.keys() == there.keys()
    for name in here:
        np.testing.assert_array_equal(here[name], there[name], err_msg=name)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("vpg", {}),
        ("ppo-a-clip", {}),
        ("grpo", {"beta": 0.1}),
        ("ppo-a-kl", {}),
        ("ppo-a-clip", {"weight_decay": 0.1, "advantage": "batch-mean", "max_grad_norm": 0.01, "gamma": 0.9}),
        ("ppo-a-clip", {"train_log_std": False, "credit": "summed", "choice": "one-se"}),
        ("ppo-a-clip", {"reward": "self-competitive"}),
        ("ppo-a-clip", {"reward": "margin"}),
    ],
)
def test_an_agent_learns_what_it_learns_without(waits: Waits, bank: EpisodeBank, name: str, more: Any) -> None:
    plain, graphed = (made(name, bank, graph, **more, **EXACT).learn(BUDGET) for graph in (False, True))
    assert plain.n_updates > 4
    assert_same(plain, graphed)


@pytest.mark.parametrize("name", ["vpg", "ppo-a-clip", "grpo"])
def test_a_step_size_that_decays_is_rounded_to_float32(waits: Waits, bank: EpisodeBank, name: str) -> None:
    """By 2^-24 of itself at most, so weights are near what they are without: within 1e-6 of them, or 1e-7."""
    plain, graphed = (made(name, bank, graph).learn(BUDGET) for graph in (False, True))
    for here, there in zip(plain.policy.parameters(), graphed.policy.parameters(), strict=True):
        np.testing.assert_allclose(numbers(there), numbers(here), rtol=1e-6, atol=1e-7)


def test_the_host_waits_once_an_update_and_logs_the_same(waits: Waits, make_bank, tmp_path: Path) -> None:
    bank = make_bank(n=8, steps=5)
    logs = []
    for graph in (False, True):
        agent, found = made("ppo-a-kl", bank, graph, **EXACT, eval_every=1), []
        agent.set_logger(configure(str(tmp_path / str(graph)), ["csv"]))

        def between(*_: Any, found: list[list[str]] = found) -> bool:
            found.append([line.split()[-1] for line in waits.take()])
            return True

        waits.take()
        agent.learn(240, callback=between)
        assert found[1:] == [["tolist"]] * 3  # before the first: the fingerprint of the bank, the first validation
        rows = np.genfromtxt(tmp_path / str(graph) / "progress.csv", delimiter=",", names=True)
        logs.append(rows[[name for name in rows.dtype.names if not name.startswith("time")]])
    np.testing.assert_array_equal(*logs)
    assert {"trainbeta", "trainkl", "trainloss", "rolloutreward", "evalm_at_b"} <= set(logs[0].dtype.names)


def test_a_file_goes_on_as_if_it_had_never_stopped(waits: Waits, bank: EpisodeBank, tmp_path: Path) -> None:
    whole, parted = (made("ppo-a-kl", bank, graph=True) for _ in range(2))
    whole.learn(500)
    parted.learn(500, callback=lambda *_: parted.n_updates < 4)
    parted.save(tmp_path / "part.safetensors")
    again = AGENTS["ppo-a-kl"].load(tmp_path / "part.safetensors", parted.core, bank, cuda_graph=True)
    again.learn(500, reset_num_timesteps=False)
    assert_same(whole, again)


def test_a_file_says_nothing_of_the_graph(bank: EpisodeBank, tmp_path: Path) -> None:
    with device_double():
        made("vpg", bank, graph=True).learn(BUDGET).save(tmp_path / "there.safetensors")
    assert AGENTS["vpg"].load(tmp_path / "there.safetensors", Core(bank), bank).captured is None


def test_another_state_is_captured_anew(waits: Waits, bank: EpisodeBank) -> None:
    plain, graphed = (made("ppo-a-clip", bank, graph, **EXACT) for graph in (False, True))
    for agent in (plain, graphed):
        agent.learn(BUDGET)
        earlier = agent.state_dict()
        earlier = earlier._replace(tensors={name: tensor.clone() for name, tensor in earlier.tensors.items()})
        agent.learn(BUDGET)  # the graph is that of before
        agent.load_state_dict(earlier)
        agent.learn(BUDGET)
    assert_same(plain, graphed)


@pytest.mark.parametrize("updates", [0, 1, 3])
def test_a_faulty_update_is_undone_and_learning_goes_on(waits: Waits, bank: EpisodeBank, updates: int, refuses) -> None:
    """The first update, the one that is captured, and a replay: all that it changed is as before."""
    found = []
    for graph in (False, True):
        agent = made("ppo-a-clip", bank, graph, weight_decay=0.1, **EXACT)
        if updates:
            agent.learn(1000, callback=lambda *_, agent=agent: agent.n_updates < updates)
        before = state(agent)[0]
        agent.start[1].fill_(torch.inf)  # where weight decay pulls to
        with refuses(DataError, rf"update {updates + 1}: loss inf, gradient .*; stopped, the policy before it is kept"):
            agent.learn(1000, reset_num_timesteps=not updates)
        agent.start[1].zero_()
        after = state(agent)[0]
        for key in after:
            if key.startswith(("module/", "optimizer/")):
                np.testing.assert_array_equal(before[key], after[key], err_msg=key)
        found.append(agent.learn(1000, callback=lambda *_, agent=agent: agent.n_updates < 4))
    assert_same(*found)


def test_drawings_that_are_not_finite_are_named(waits: Waits, bank: EpisodeBank, refuses) -> None:
    agent = made("ppo-a-clip", bank, graph=True)
    agent.learn(1000, callback=lambda *_: agent.n_updates < 3)
    agent.policy.mean.bias.data.fill_(torch.nan)
    with refuses(DataError, r"update 4: observation or action of drawing 0 .*is not finite in step 1"):
        agent.learn(1000, reset_num_timesteps=False)


class Own(PPOAClip):
    """Somebody's own method."""


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda bank: make_agent("ppo-a-clip", Core(bank), cuda_graph=True), "needs a GPU, .* computes on cpu"),
        (lambda bank: make_agent("trpo", Core(bank.to("cuda")), cuda_graph=True), "setting of trpo: .*'cuda_graph'"),
        (lambda bank: make_agent("mgal", Core(bank.to("cuda")), cuda_graph=True), "setting of mgal: .*'cuda_graph'"),
        (lambda bank: made("grpo", bank, graph=True, policy="gru"), "only the linear policy is captured, not 'gru'"),
        (
            lambda bank: make_agent("vpg", make_core("carry", bank.to("cuda"), "inv-rank"), cuda_graph=True),
            "actions change what follows in the task 'carry'",
        ),
        (lambda bank: Own(Core(bank.to("cuda")), cuda_graph=True), "Own is not of this package"),
        (lambda bank: make_agent("vpg", Core(bank.to("cuda")), cuda_graph="false"), "must be True or False"),
    ],
    ids=["cpu", "critic", "supervised", "policy", "task", "class", "text"],
)
def test_where_nothing_is_captured_it_is_refused(
    waits: Waits, bank: EpisodeBank, refuses, make: Callable[[EpisodeBank], Any], fault: str
) -> None:
    with refuses(ConfigError, fault):
        make(bank)


def test_a_reward_that_waits_is_refused_when_it_is_captured(waits: Waits, bank: EpisodeBank, refuses) -> None:
    def waiting(step: Any) -> torch.Tensor:
        return step.rank.double() if step.tau_after.max() > 2 else 1 / step.rank.double()

    with refuses(ConfigError, "cuda_graph: ppo-a-clip with reward 'waiting' cannot be captured .*; leave it out"):
        made("ppo-a-clip", bank, graph=True, reward=waiting).learn(BUDGET)


def test_agents_with_a_graph_learn_alone(waits: Waits, bank: EpisodeBank) -> None:
    for graphs in ((True, True), (False, True)):
        assert not can_learn_together([made("grpo", bank, graph) for graph in graphs])


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["vpg", "ppo-a-clip", "ppo-a-kl", "grpo"])
def test_so_it_is_on_a_gpu(bank: EpisodeBank, name: str) -> None:
    """What the stand-in cannot show: sums may be taken in another order, so the numbers are near and no more."""
    plain, graphed = (made(name, bank, graph).learn(BUDGET) for graph in (False, True))
    assert plain.num_timesteps == graphed.num_timesteps
    assert torch.equal(plain.generator.get_state(), graphed.generator.get_state())
    for here, there in zip(plain.policy.parameters(), graphed.policy.parameters(), strict=True):
        torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-4)
