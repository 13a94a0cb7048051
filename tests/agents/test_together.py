"""Agents trained side by side are the agents that each would be alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sketchless.agents import PPOAClip, can_learn_together, learn_together, make_agent
from sketchless.agents.agent import Agent
from sketchless.datasets import DataError
from sketchless.envs import Core
from sketchless.envs.carry import CarryCore

from ..device_double import device_double, numbers

SMALL: dict[str, Any] = {"episodes": 4, "samples": 3, "eval_every": 2}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("vpg", {}),
    ("ppo-a-clip", {}),
    ("ppo-a-clip", {"weight_decay": 0.1, "advantage": "batch-mean", "max_grad_norm": 0.01, "gamma": 0.9}),
    ("ppo-a-clip", {"train_log_std": False, "credit": "summed"}),
    ("ppo-a-kl", {}),
    ("ppo-a-clip", {"b1_penalty": 0.0}),
    ("ppo-a-clip", {"b1_penalty": 3.0, "weight_decay": 0.1}),
    ("grpo", {"beta": 0.1}),
    ("ppo-a-clip", {"choice": "one-se"}),
]
SEEDS = (3, 0, 8)


@pytest.fixture
def core(make_bank) -> Core:
    return Core(make_bank(n=10, steps=5, lengths=[5, 3, 5, 1, 2, 5, 4, 5, 5, 2]))


def made(name: str, core: Core, **more: Any) -> list[Agent]:
    return [make_agent(name, core, validation=core.bank, seed=seed, **SMALL, **more) for seed in SEEDS]


def same(one: Agent, other: Agent) -> bool:
    (here, about), (there, also) = one.state_dict(), other.state_dict()
    equal = here.keys() == there.keys() and all(torch.equal(here[name], there[name]) for name in here)
    return equal and about == also


@pytest.mark.parametrize(("name", "more"), VARIANTS)
def test_each_is_what_it_is_alone(core: Core, name: str, more: dict[str, Any]) -> None:
    """Weights, optimiser, random state, history, counters, best policy: bit for bit, with drawings of any length."""
    alone, together = made(name, core, **more), made(name, core, **more)
    for agent in alone:
        agent.learn(250)
    assert can_learn_together(together)
    learn_together(together, 250)
    assert alone[0].n_updates > 3
    assert len({agent.n_updates for agent in alone}) > 1 or len({agent.num_timesteps for agent in alone}) > 1
    for one, other in zip(alone, together, strict=True):
        assert same(one, other)


def test_one_without_patience_drops_out_and_one_that_is_ahead_ends_first(core: Core) -> None:
    alone, together = (made("ppo-a-clip", core, patience=1) for _ in range(2))
    for agents in (alone, together):
        agents[1].learn(200)  # goes on from there
    for agent, anew in zip(alone, (True, False, True), strict=True):
        agent.learn(3000, reset_num_timesteps=anew)
    learn_together(together, 3000, reset_num_timesteps=[True, False, True])
    assert len({agent.n_updates for agent in alone}) > 1
    assert all(same(one, other) for one, other in zip(alone, together, strict=True))


def test_all_stop_where_a_callback_says_so_and_go_on_alone(core: Core, tmp_path: Path) -> None:
    """What is saved on the way is a checkpoint like any other: the rest is trained alone, or by a part of them."""
    whole, stopped = made("ppo-a-clip", core), made("ppo-a-clip", core)
    learn_together(whole, 600)
    learn_together(stopped, 600, [lambda *_, agent=agent: agent.n_updates < 3 for agent in stopped])
    loaded = []
    for agent in stopped:
        assert agent.n_updates == 3
        agent.save(tmp_path / "part.safetensors")
        loaded.append(PPOAClip.load(tmp_path / "part.safetensors", core, core.bank))
    loaded[0].learn(600, reset_num_timesteps=False)
    learn_together(loaded[1:], 600, reset_num_timesteps=False)
    assert all(same(one, other) for one, other in zip(whole, loaded, strict=True))


def test_what_goes_wrong_in_one_is_undone_in_all(core: Core, refuses) -> None:
    agents = made("ppo-a-kl", core)
    learn_together(agents, 120)
    before = [agent.state_dict() for agent in agents]
    weights = [{name: tensor.clone() for name, tensor in state.tensors.items()} for state in before]
    agents[1].policy.log_std.data[0] = float("nan")
    with refuses(DataError, r"update \d+: observation or action of drawing 0 .*is not finite in step 1"):
        learn_together(agents, 400, reset_num_timesteps=False)
    for agent, state in zip((agents[0], agents[2]), (weights[0], weights[2]), strict=True):
        now = agent.state_dict().tensors
        assert all(torch.equal(now[name], state[name]) for name in state if name.startswith(("module", "optimizer")))
    assert [agent.numbers for agent in agents] == [dict(state.about.numbers) for state in before]


class Own(PPOAClip):
    """An algorithm of one's own."""

    def update(self, batch: Any) -> Any:
        return super().update(batch)


class More(PPOAClip):
    """Learns more than its policy: how much each step counts."""

    def setup(self) -> None:
        self.modules["more"] = torch.nn.Linear(1, 1)
        self._parameters = [*self._parameters, *self.modules["more"].parameters()]
        super().setup()

    def loss(self, *given: Any) -> Any:
        loss, told = super().loss(*given)
        return loss * self.modules["more"](torch.ones(1)).squeeze(), told


class Branching(PPOAClip):
    """Asks what a tensor holds."""

    def targets(self, batch: Any) -> dict[str, torch.Tensor]:
        return {"advantage": self.advantages(batch) * (2.0 if batch.reward.mean().item() > 0 else 1.0)}


def test_others_learn_alone(core: Core, make_bank) -> None:
    def refused(*agents: Agent) -> bool:
        return not can_learn_together(agents)

    one = PPOAClip(core, seed=0, **SMALL)
    assert can_learn_together([one, PPOAClip(core, seed=1, **SMALL)])
    assert refused(one, PPOAClip(core, seed=1, **{**SMALL, "samples": 4}))
    assert refused(one, make_agent("grpo", core, seed=1, **SMALL))
    assert refused(one, PPOAClip(Core(make_bank(n=10, steps=5)), seed=1, **SMALL))
    for kind in (Own, More, Branching):
        assert refused(*(kind(core, seed=seed, **SMALL) for seed in SEEDS))
    changed = PPOAClip(core, **SMALL)
    changed.modules["more"] = torch.nn.Linear(1, 1)
    assert refused(changed)
    assert refused(PPOAClip(core, policy="gru", **SMALL))
    assert refused(PPOAClip(CarryCore(core.bank), **SMALL))
    assert refused(make_agent("ppo-ac-clip", core, **SMALL))


def test_the_host_waits_once_for_all(make_bank) -> None:
    with device_double() as waits:
        core = Core(make_bank(n=8, steps=5).to("cuda"))
        agents = [make_agent("ppo-a-kl", core, seed=seed, **SMALL, validation=core.bank) for seed in SEEDS]
        found: list[list[str]] = []

        def between(*_: Any) -> bool:
            found.append([line.split()[-1] for line in waits.take()])
            return True

        learn_together(agents, 300, [between, None, None])
        assert found[1:] == [["tolist"]] * 4
        there = [numbers(p) for agent in agents for p in agent.policy.parameters()]
    core = Core(make_bank(n=8, steps=5))
    agents = [make_agent("ppo-a-kl", core, seed=seed, **SMALL, validation=core.bank) for seed in SEEDS]
    learn_together(agents, 300)
    for one, other in zip(there, [numbers(p) for agent in agents for p in agent.policy.parameters()], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
