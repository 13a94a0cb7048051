"""Agents where actions change what comes after: rollouts, returns, and learning that looks ahead."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sketchless.agents import load_agent, make_agent
from sketchless.agents.batch import group_mean, reward_to_go
from sketchless.benchmarks import evaluate
from sketchless.benchmarks.live import Ranker
from sketchless.benchmarks.stopping import Ranked, rivals, stopping
from sketchless.datasets import CheckpointError, ConfigError
from sketchless.encoders import EpisodeBank
from sketchless.encoders.tensorfile import load_tensors, save_tensors
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
        agent = make_agent(name, core, gamma=gamma, learning_rate=0.03, init_log_std=-1.0, seed=3).learn(20_000)
        with torch.no_grad():
            _, action = core.play(torch.arange(6), lambda seen, agent=agent: agent.policy(seen.unsqueeze(1)).squeeze(1))
        shown[gamma] = core.shown(torch.arange(6), action).double().mean()
    assert shown[1.0] > shown[0.0] + 1


@pytest.mark.parametrize(
    ("task", "settings", "other"),
    [("carry", {"decay": 0.5}, {"decay": 0.9}), ("stop", {"stroke_cost": 0.1}, {"stroke_cost": 0.02})],
)
def test_a_saved_agent_knows_its_task(task: str, settings: dict, other: dict, make_bank, tmp_path, refuses) -> None:
    bank, path = make_bank(), tmp_path / "a.safetensors"
    core = make_core(task, bank, "inv-rank", **settings)
    agent = make_agent("vpg", core, samples=2, learning_rate=0.1).learn(200)
    agent.save(path)
    (name, wrong), (_, right) = *other.items(), *settings.items()
    told = f"was made for the task {task}, {name} {right}, .*; the environment has the task {task}, {name} {wrong}"
    with refuses(CheckpointError, told):
        type(agent).load(path, make_core(task, bank, "inv-rank", **other))
    with refuses(CheckpointError, "the environment has the task on-the-fly"):
        type(agent).load(path, Core(bank, "inv-rank"))
    loaded = load_agent(path, bank)
    assert (loaded.core.task, loaded.core.own_settings) == (task, settings)
    assert np.array_equal(evaluate(loaded, bank).rank, evaluate(agent, bank).rank)
    assert loaded.learn(400, reset_num_timesteps=False).num_timesteps >= 400


def test_a_file_of_before_there_were_tasks_is_of_the_papers(make_bank, tmp_path: Path) -> None:
    bank, path = make_bank(), tmp_path / "a.safetensors"
    make_agent("vpg", Core(bank, "inv-rank")).save(path)
    tensors, meta = load_tensors(path, "agent")
    del meta["core"]["task"], meta["core"]["own"]
    save_tensors(path, "agent", tensors, meta)
    assert load_agent(path, bank).core.task == "on-the-fly"


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"task": "fly"}, "unknown task 'fly'"),
        ({"own": {"decay": 7}}, "decay=7"),
        ({"own": {"stroke_cost": 1}}, "'carry' does not have it"),
        ({"own": {"decay": "x"}}, "core.own.decay"),
    ],
)
def test_a_file_of_no_task_that_there_is_is_refused(fault: dict, told: str, make_bank, tmp_path, refuses) -> None:
    bank, path = make_bank(), tmp_path / "a.safetensors"
    make_agent("vpg", CarryCore(bank, "inv-rank")).save(path)
    tensors, meta = load_tensors(path, "agent")
    meta["core"] |= fault
    save_tensors(path, "agent", tensors, meta)
    with refuses(CheckpointError, told):
        load_agent(path, bank)


@pytest.mark.parametrize("name", ["rank-softmax", "frame-triplet", "sodeep", "mgal"])
def test_supervised_agents_refuse_it(name: str, make_bank, refuses) -> None:
    with refuses(ConfigError, f"{name} learns frame by frame"):
        make_agent(name, CarryCore(make_bank(), "inv-rank"))


def test_what_draws_or_explains_refuses_an_agent_that_sees_more_than_frames(make_bank, refuses) -> None:
    bank = make_bank()
    encoder: Any = None
    with refuses(ConfigError, "plays the task carry"):
        Ranker(encoder, bank, make_agent("vpg", CarryCore(bank, "inv-rank")))
    agent = make_agent("vpg", StopCore(bank), learning_rate=0.1, samples=2).learn(200)
    _, refined, _ = Ranker(encoder, bank, agent).refine(bank.features[:, 0])
    action, _ = agent.predict(bank.features[:, 0], deterministic=True)
    core = Core(bank, "inv-rank")
    assert torch.equal(refined, core.refine(core.base[:, 0], action[:, :-1]))


def test_a_sure_decision_to_show_leaves_the_refinement_as_it_is(make_bank) -> None:
    """An action is scaled into the box as a whole, but for the coordinate of which only the sign counts."""
    core = StopCore(make_bank())
    agent = make_agent("vpg", core)
    with torch.no_grad():
        agent.policy.mean.bias[:-1], agent.policy.mean.bias[-1] = 0.5, 30.0
    action, _ = agent.predict(core.frames[:, 0], deterministic=True)
    assert action[0].tolist() == [0.5] * (core.action_dim - 1) + [1]
    agent.policy.mean.bias.data[:-1] = 2.0
    action, _ = agent.predict(core.frames[:, 0], deterministic=True)
    assert action[0].tolist() == [1] * core.action_dim


def clear_at(make_bank, at: tuple[int, ...], steps: int = 6) -> EpisodeBank:
    """Drawings of which the frames from one step on show the photo, and say so; the frames before show another one.

    Coordinate 0 of a feature is 1/2 where it shows the photo, -1/2 where it does not; the rest is the photo's row.
    """
    photos = 2 * len(at)
    bank = make_bank(n=len(at), steps=steps, width=photos + 1, dim=photos, photos=photos)
    features = torch.zeros(len(at), steps, photos + 1)
    for row, first in enumerate(at):
        for t in range(steps):
            seen = t + 1 >= first
            features[row, t, 0] = 0.5 if seen else -0.5
            features[row, t, 1 + (row if seen else len(at) + row)] = 0.75**0.5
    return replace(
        bank,
        features=features,
        targets=torch.arange(len(at)),
        gallery=torch.eye(photos),
        weight=torch.cat([torch.zeros(photos, 1), torch.eye(photos)], dim=1),
        bias=torch.zeros(photos),
    )


@pytest.mark.parametrize("name", ["ppo-a-clip", "ppo-ac-clip"])
def test_an_agent_that_can_see_when_to_show_beats_the_rivals_that_learn_nothing(name: str, make_bank) -> None:
    """The best list is shown in steps 1 to 6, and costs .1 a stroke: 1 - .25 on average. A share of half a drawing pays
    less: those that are not clear by then pay 1/rank. Margins are alike in all frames, so that no threshold tells."""
    bank = clear_at(make_bank, (1, 2, 3, 4, 5, 6))
    core, cost = StopCore(bank, scale=0.1, stroke_cost=0.1), 0.1
    agent = make_agent(name, core, learning_rate=0.03, seed=0, episodes=6).learn(20_000)
    found, seen = evaluate(agent, bank).stopping, Ranked.by_b1(bank)
    assert found is not None
    for steps in rivals(seen, seen, cost).values():
        assert found.value > stopping(seen.rank, seen.lengths, steps, cost).value + 0.05
    assert found.value > 0.7


def test_noise_as_long_as_the_embedding_leaves_nothing_to_wait_for() -> None:
    """The numbers of `docs/environment.md`."""
    bank = EpisodeBank.load("procedural", "train")
    noise = torch.randn(750, 20, 64, generator=torch.Generator().manual_seed(0)) * math.exp(-2)
    going_on = torch.full((750, 20, 1), -1.0)
    found = {}
    for name, refinement, scale in (("B1", 0 * noise, 1.0), ("scale 1", noise, 1.0), ("scale 0.1", noise, 0.1)):
        core = StopCore(bank, scale=scale)
        action = torch.cat([refinement, going_on], dim=-1)
        found[name] = core.score(torch.arange(750), action).reward.sum(dim=1).mean().item()
        action[:, 0, -1] = 1
        found[f"{name}, at once"] = core.score(torch.arange(750), action).reward.sum(dim=1).mean().item()
    assert {name: round(value, 3) for name, value in found.items() if "at once" not in name} == {
        "B1": 0.166,
        "scale 1": 0.033,
        "scale 0.1": 0.163,
    }
    assert round(found["scale 1, at once"], 3) == 0.030
    assert abs(found["scale 1"] - found["scale 1, at once"]) < 0.03 * (found["B1"] - found["B1, at once"])
    assert found["scale 0.1"] > found["scale 0.1, at once"]
