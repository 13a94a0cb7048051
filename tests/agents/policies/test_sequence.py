"""Policies that remember, and those that look at later frames: by hand, frame by frame, and what they may do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sketchless.agents import (
    MGAL,
    AttentionGaussianPolicy,
    BidirectionalGaussianPolicy,
    PPOAClip,
    RankSoftmax,
    load_agent,
)
from sketchless.agents.policies.make import LEAKING, POLICIES, make_policy
from sketchless.agents.policies.memory import MEMORY, RecallingPolicy
from sketchless.benchmarks import evaluate
from sketchless.datasets import ConfigError
from sketchless.envs import Core, make_core
from sketchless.envs.testing import BrokenRule, check_causal

REMEMBERING = tuple(kind for kind in POLICIES if kind not in ("linear", "per-step"))
CAUSAL = tuple(kind for kind in POLICIES if kind not in LEAKING)


@pytest.fixture
def core(make_bank) -> Core:
    return Core(make_bank(n=10, steps=5))


def with_weights(kind: str, core: Core) -> Any:
    """A policy whose actions depend on all that it may see."""
    policy = make_policy(kind, core, -2.0, 1.0, seed=3)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weights in policy.named_parameters():
            if name.startswith(("mean", "recall", "place")):
                weights.normal_(std=0.3, generator=generator)
    return policy


@pytest.mark.parametrize("kind", POLICIES)
def test_begins_as_the_baseline(kind: str, core: Core) -> None:
    assert make_policy(kind, core, -2.0, 1.0, seed=0)(core.frames).abs().max() == 0


@pytest.mark.parametrize("kind", CAUSAL)
def test_frame_by_frame_equals_whole_drawings(kind: str, core: Core) -> None:
    policy, state = with_weights(kind, core), None
    with torch.no_grad():
        whole = policy(core.frames)
        for t in range(core.n_steps):
            mean, state = policy.step(core.frames[:, t], state)
            torch.testing.assert_close(mean, whole[:, t], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(policy.at(core.frames, torch.full((10,), t)), whole[:, t])
    assert whole.std(dim=1).min() > 1e-4  # frames differ, so that the comparison says something


@pytest.mark.parametrize("kind", CAUSAL)
def test_drawings_that_begin_at_other_times_do_not_mix(kind: str, core: Core) -> None:
    agent = RankSoftmax(core, policy=kind, episodes=4)
    agent.policy.load_state_dict(with_weights(kind, core).state_dict())
    frames = core.frames[:2].numpy()
    _, state = agent.predict(frames[:, 0], deterministic=True)
    _, state = agent.predict(frames[:, 1], state, np.array([False, False]), deterministic=True)
    _, state = agent.predict(frames[:, 2], state, np.array([False, True]), deterministic=True)  # the second begins anew
    later, _ = agent.predict(frames[:, 3], state, np.array([False, False]), deterministic=True)
    with torch.no_grad():
        first = agent.policy(core.frames[:1, :4])[0, 3]
        second = agent.policy(core.frames[1:2, 2:4])[0, 1]
    np.testing.assert_allclose(later, core.boxed(torch.stack([first, second])), rtol=1e-3, atol=1e-5)


def planes(kind: type[Any], core: Core) -> tuple[Any, Tensor]:
    """A policy that reads alone, and frames; queries are 0, so that attention averages."""
    policy = kind(core.observation_dim, core.action_dim, core.n_steps, seed=1)
    with torch.no_grad():
        policy.query_key_value.weight[:MEMORY] = 0
    return policy, core.frames[:2]


def test_attention_without_queries_is_the_mean_of_the_frames_so_far(core: Core) -> None:
    policy, frames = planes(AttentionGaussianPolicy, core)
    with torch.no_grad():
        value = policy._parts(frames, torch.arange(5))[2]
        read = policy.read(frames)
        for t in range(5):
            torch.testing.assert_close(read[:, t], value[:, : t + 1].mean(dim=1))


def test_attention_by_hand(core: Core) -> None:
    policy = AttentionGaussianPolicy(core.observation_dim, core.action_dim, core.n_steps, seed=1)
    frames = core.frames[:1]
    with torch.no_grad():
        query, key, value = (part[0] for part in policy._parts(frames, torch.arange(5)))
        weights = [float(torch.exp(query[2] @ key[s] / MEMORY**0.5)) for s in range(3)]
        expected = sum(w * value[s] for s, w in enumerate(weights)) / sum(weights)
        torch.testing.assert_close(policy.read(frames)[0, 2], expected, rtol=1e-4, atol=1e-5)


def test_both_ways_reads_the_end_first(core: Core) -> None:
    """Turned round in time, with the two directions swapped, it says the same."""
    policy = BidirectionalGaussianPolicy(core.observation_dim, core.action_dim, seed=1)
    turned = BidirectionalGaussianPolicy(core.observation_dim, core.action_dim, seed=1)
    own = policy.memory.state_dict()
    swapped = {k: own[k.removesuffix("_reverse") if k.endswith("_reverse") else f"{k}_reverse"] for k in own}
    turned.memory.load_state_dict(swapped)
    with torch.no_grad():
        read, back = policy.read(core.frames), turned.read(core.frames.flip(1)).flip(1)
    torch.testing.assert_close(torch.cat([back[..., MEMORY:], back[..., :MEMORY]], dim=-1), read)


@pytest.mark.parametrize("kind", POLICIES)
def test_the_check_tells_who_looks_ahead(kind: str, core: Core) -> None:
    policy = with_weights(kind, core)

    def play(frames: Tensor) -> Tensor:
        with torch.no_grad():
            return policy(frames)

    if policy.causal:
        check_causal(play, core.frames, whole=True, tolerance=1e-5)
        return
    with pytest.raises(BrokenRule, match="causal"):
        check_causal(play, core.frames, whole=True, tolerance=1e-5)


@pytest.mark.parametrize("kind", REMEMBERING)
def test_learns_saves_and_loads(kind: str, make_bank, tmp_path: Path) -> None:
    bank = make_bank(n=10, steps=5)
    agent = RankSoftmax(Core(bank), policy=kind, episodes=4, learning_rate=1e-2).learn(600)
    assert isinstance(agent.policy, RecallingPolicy)
    assert agent.policy.recall.weight.abs().max() > 0
    agent.save(tmp_path / "agent.safetensors")
    again = load_agent(tmp_path / "agent.safetensors", bank)
    leak = not agent.causal
    assert (evaluate(again, bank, leak=leak).rank == evaluate(agent, bank, leak=leak).rank).all()
    assert evaluate(again, bank, leak=leak).m_at_b == pytest.approx(agent.validate(Core(bank, "inv-rank"))[1], abs=0.5)


@pytest.mark.parametrize("kind", LEAKING)
def test_what_looks_ahead_has_no_action_while_a_person_draws(kind: str, make_bank) -> None:
    bank = make_bank(n=10, steps=5)
    agent = RankSoftmax(Core(bank), policy=kind)
    assert not agent.causal
    for use in (
        lambda: agent.predict(bank.features[0, :1].numpy()),
        lambda: evaluate(agent, bank),
        lambda: check_causal(agent, bank.features.numpy()),
    ):
        with pytest.raises(ConfigError, match="looks at later frames"):
            use()
    uneven = make_bank(n=10, steps=5, lengths=torch.tensor([5] * 9 + [4]))
    for other in (Core(uneven), make_core("carry", bank)):
        with pytest.raises(ConfigError, match="equal length"):
            PPOAClip(other, policy=kind)


def test_a_leak_is_for_agents_of_the_plain_task(make_bank) -> None:
    bank = make_bank(n=10, steps=5)
    causal = RankSoftmax(Core(bank), policy="lstm", episodes=4, learning_rate=1e-2).learn(400)
    assert (evaluate(causal, bank, leak=True).rank == evaluate(causal, bank).rank).mean() > 0.95
    with pytest.raises(ConfigError, match="for agents of ours"):
        evaluate(lambda seen: torch.zeros(10, bank.weight.shape[0]), bank, leak=True)
    with pytest.raises(ConfigError, match="depend on actions"):
        evaluate(PPOAClip(make_core("carry", bank)), bank, leak=True)


def test_mgal_by_hand(core: Core) -> None:
    agent = MGAL(core, episodes=4, pull=0.5)
    batch = agent.collect()
    softmax = RankSoftmax(core, episodes=4).loss(batch)
    e = core.base[batch.sketches]  # it begins as B1
    apart = (e[:, :-1] - e[:, 1:]).square().sum(dim=-1)
    loss = agent.loss(batch)
    torch.testing.assert_close((loss - softmax)[:, :-1].float(), 0.5 * apart.float(), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(loss[:, -1].float(), softmax[:, -1])


def test_mgal_the_next_stage_teaches_and_is_not_taught(core: Core) -> None:
    agent = MGAL(core, episodes=4, pull=1e6)
    batch = agent.collect()
    (gradient,) = torch.autograd.grad(agent.loss(batch)[:, 1].sum(), [agent.policy.mean.weight])
    assert (gradient.abs().amax(dim=(1, 2)) > 0).tolist() == [False, True, False, False, False]


def test_mgal_with_a_short_drawing_is_not_pulled_beyond_its_end(make_bank) -> None:
    bank = make_bank(n=6, steps=5, lengths=torch.tensor([3] * 6))
    agent = MGAL(Core(bank), episodes=4, pull=0.5)
    batch = agent.collect()
    softmax = RankSoftmax(Core(bank), episodes=4).loss(batch)
    torch.testing.assert_close(agent.loss(batch)[:, 2].float(), softmax[:, 2])
