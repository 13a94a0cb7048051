"""Agents where actions change what comes after: rollouts, returns, and learning that looks ahead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sketchless.agents import make_agent
from sketchless.agents.batch import group_mean, reward_to_go
from sketchless.datasets import CheckpointError, ConfigError
from sketchless.envs import CarryCore, Core, StopCore, make_core

METHODS = ("vpg", "ppo-a-clip", "ppo-a-kl", "grpo", "ppo-ac-clip", "ppo-ac-kl", "trpo")


def test_rewards_to_go_by_hand() -> None:
    reward = torch.tensor([[1.0, 2, 4]]).double()
    assert reward_to_go(reward, 0.5).tolist() == [[1 + 0.5 * (2 + 0.5 * 4), 2 + 0.5 * 4, 4]]
    assert reward_to_go(reward, 1.0).tolist() == [[7, 6, 4]]
    assert torch.equal(reward_to_go(reward, 0.0), reward)


def test_a_group_is_those_whose_step_counts() -> None:
    reward = torch.tensor([[[1.0, 6.0]], [[3.0, 0.0]]])  # the second episode is over at step 2
    assert group_mean(reward, torch.tensor([[[1.0, 1.0]], [[1.0, 0.0]]])).tolist() == [[2, 6]]
    assert group_mean(reward, torch.ones(1, 2)).tolist() == [[2, 3]]


@pytest.mark.parametrize("task", ["carry", "stop"])
@pytest.mark.parametrize("policy", ["linear", "gru", "per-step"])
def test_a_rollout_is_what_the_core_plays(task: str, policy: str, make_bank) -> None:
    core = make_core(task, make_bank(n=6, steps=7, lengths=[7, 1, 2, 3, 5, 7]), "inv-rank")
    agent = make_agent("ppo-a-clip", core, episodes=4, samples=3, policy=policy, init_log_std=-0.5)
    batch = agent.collect()
    assert batch.observation.shape == (3, 4, 7, core.observation_dim)
    assert batch.action.shape == (3, 4, 7, core.action_dim)
    for k in range(3):
        given = iter(batch.action[k].unbind(1))
        seen, _ = core.play(batch.sketches, lambda _, given=given: next(given))
        assert torch.equal(seen, batch.observation[k])
        score = core.score(batch.sketches, batch.action[k])
        assert torch.equal(score.reward, batch.reward[k])
        assert torch.equal(score.valid.double(), batch.valid[k])
    torch.testing.assert_close(agent.policy(batch.observation), batch.mean)  # with the memory that the rollout had
    assert agent.num_timesteps == int(batch.valid.sum())
    flat = batch.one_action_a_state()
    assert flat.sketches.tolist() == batch.sketches.tolist() * 3
    assert torch.equal(flat.reward[0, 4:8], batch.reward[1])
    assert torch.equal(flat.observation[8:], batch.observation[2])


def test_the_discount_is_that_of_the_task(make_bank) -> None:
    bank = make_bank()
    assert [make_agent("vpg", make_core(task, bank, "inv-rank")).gamma for task in ("on-the-fly", "carry", "stop")] == [
        0,
        1,
        1,
    ]
    assert make_agent("ppo-ac-clip", Core(bank, "inv-rank")).gamma == 0
    assert make_agent("ppo-ac-clip", CarryCore(bank, "inv-rank"), gamma=0.5).gamma == 0.5


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("task", ["carry", "stop"])
def test_every_method_learns_saves_and_goes_on(task: str, name: str, make_bank, tmp_path: Path) -> None:
    core = make_core(task, make_bank(n=8, steps=4), "inv-rank")
    settings: dict[str, Any] = {"episodes": 4, "samples": 2, "seed": 1}
    agent = make_agent(name, core, **settings)
    before = agent.policy.mean.bias.clone()
    agent.learn(200)
    assert not torch.equal(agent.policy.mean.bias, before)
    agent.save(tmp_path / "a.safetensors")
    loaded = type(agent).load(tmp_path / "a.safetensors", core)
    x = torch.randn(5, core.observation_dim, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    assert torch.equal(loaded.predict(x, deterministic=True)[0], agent.predict(x, deterministic=True)[0])


def waiting_pays(make_bank):
    """Six drawings of four steps, of which only the last frame shows the photo."""
    bank = make_bank(n=6, steps=4, width=8, dim=8, photos=6)
    far = bank.gallery[(bank.targets + 1) % 6].unsqueeze(1).repeat(1, 4, 1)
    far[:, -1] = bank.gallery[bank.targets]
    return replace(bank, features=far, weight=torch.eye(8), bias=torch.zeros(8))


@pytest.mark.parametrize("name", ["ppo-a-clip", "ppo-ac-clip"])
def test_looking_ahead_waits_and_looking_at_the_step_alone_shows_at_once(name: str, make_bank) -> None:
    """To go on costs .05 now and gains later: a discount of 0 can only see the cost."""
    core = StopCore(waiting_pays(make_bank), stroke_cost=0.05)
    shown = {}
    for gamma in (0.0, 1.0):
        agent = make_agent(name, core, gamma=gamma, learning_rate=0.03, init_log_std=-1.0, seed=3).learn(40_000)
        with torch.no_grad():
            _, action = core.play(torch.arange(6), lambda seen, agent=agent: agent.policy(seen.unsqueeze(1)).squeeze(1))
        shown[gamma] = core.shown(torch.arange(6), action).double().mean()
    assert shown[1.0] > shown[0.0] + 1


def test_an_agent_goes_on_in_its_own_task_only(make_bank, tmp_path: Path, refuses) -> None:
    bank = make_bank()
    make_agent("vpg", CarryCore(bank, "inv-rank", decay=0.5), samples=2).learn(50).save(tmp_path / "a.safetensors")
    other = make_agent("vpg", CarryCore(bank, "inv-rank")).load(tmp_path / "a.safetensors", CarryCore(bank, "inv-rank"))
    with refuses(CheckpointError, "decay"):
        other.learn(100, reset_num_timesteps=False)


@pytest.mark.parametrize("name", ["rank-softmax", "frame-triplet", "sodeep"])
def test_supervised_agents_refuse_it(name: str, make_bank, refuses) -> None:
    with refuses(ConfigError, f"{name} learns frame by frame"):
        make_agent(name, CarryCore(make_bank(), "inv-rank"))
