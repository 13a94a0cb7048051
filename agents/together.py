"""Agents that differ in their seeds alone, trained side by side: one score and one loss for all of them.

What S agents compute stands in tensors [S, K, B, T, ...]; of the linear policy the gradient is written out, so no
graph is built. Each agent keeps its weights, optimiser, generator, drawings, learning rate, best policy, patience, log
and file, and draws the episodes and the noise that it would draw alone. Every one of its numbers is computed by the
same operations on the same shapes as alone, so on a CPU its training is the same too (tests/agents/test_together.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .agent import Agent
from .batch import Batch
from .checks import Numbers, finite, read
from .gaussian import samples_gradient, samples_log_prob
from .policies.linear import LinearGaussianPolicy
from .policy_gradient.base import PolicyGradient


def can_learn_together(agents: Sequence[Agent]) -> bool:
    """Whether `learn_together` takes these: policy gradients with the linear policy, alike in all but their seeds.

    The task must be one in which no action changes what is observed later, and the class one of this package: what is
    written out here holds where the policy is all that learns, by one optimiser, and the loss is a pure function of
    tensors. Of another class nobody knows that.
    """
    first = agents[0]
    return (
        isinstance(first, PolicyGradient)
        and type(first).__module__.startswith(f"{__package__}.")
        and first.core.bandit
        and all(type(agent) is type(first) and agent.core is first.core for agent in agents)
        and all(type(agent.policy) is LinearGaussianPolicy for agent in agents)
        and not any(isinstance(agent, PolicyGradient) and agent.captured for agent in agents)
        and all(agent.modules.keys() == agent.optimizers.keys() == {"policy"} for agent in agents)
        and all(replace(agent.config, seed=0) == replace(first.config, seed=0) for agent in agents)
    )


def learn_together(
    agents: Sequence[Any],
    total_timesteps: int,
    callbacks: Sequence[Any] | None = None,
    log_interval: int | None = 1,
    reset_num_timesteps: bool | Sequence[bool] = True,
) -> None:
    """`Agent.learn` of all, an update of each at a time; one that has its budget, or no more patience, drops out.

    On a CPU each of torch's threads takes a part of them and works alone: agents share no work, so only cores pay.

    Args:
        agents: for which `can_learn_together`.
        total_timesteps: budget of each.
        callbacks: one for each, as for `Agent.learn`.
        log_interval, reset_num_timesteps: as for `Agent.learn`; the latter may differ from agent to agent.

    Raises:
        As `Agent.learn`, for an agent whose update goes wrong; the others of its part are then as before that update.
    """
    size = len(agents)
    anew = [reset_num_timesteps] * size if isinstance(reset_num_timesteps, bool) else reset_num_timesteps
    courses = [
        (agent, agent.course(total_timesteps, callback, log_interval, begin))
        for agent, callback, begin in zip(agents, callbacks or [None] * size, anew, strict=True)
    ]
    threads = torch.get_num_threads()
    parts = min(threads, size) if agents[0].device.type == "cpu" else 1
    if parts == 1:
        _learn(courses, log_interval)
        return
    try:
        with ThreadPoolExecutor(parts, "sketchless", torch.set_num_threads, (1,)) as pool:
            list(pool.map(partial(_learn, log_interval=log_interval), [courses[i::parts] for i in range(parts)]))
    finally:
        torch.set_num_threads(threads)


def _learn(going: list[tuple[Any, Any]], log_interval: int | None) -> None:
    """An update of each at a time."""
    with contextlib.ExitStack() as stack:
        for _, course in going:
            stack.enter_context(contextlib.closing(course))
        while going := [(agent, course) for agent, course in going if next(course, None)]:  # to "collect"
            learning = [agent for agent, _ in going]
            batch = _collect(learning)
            for _, course in going:
                next(course)  # to "update"
            _update(learning, batch, log_interval)


@torch.no_grad()
def _collect(agents: Sequence[PolicyGradient]) -> Batch:
    """`Agent.collect` of all: a batch whose parts have a leading S."""
    first = agents[0]
    core, samples = first.core, first.config.samples
    drawn = [agent.drawings.draw(first.config.episodes) for agent in agents]
    sketches = torch.stack([rows for rows, _ in drawn])  # [S, B]
    observation = core.observations(sketches.flatten()).unflatten(0, sketches.shape)  # [S, B, T, D]
    mean, log_std = _acting(agents, observation)
    # a_k ~ N(mu(s), diag(sigma^2)),  k = 1..K
    action = torch.stack([_noise(agent, (samples, *mean.shape[1:])) for agent in agents])  # [S, K, B, T, d]
    for one, scale, centre in zip(action, log_std.exp(), mean, strict=True):
        torch.add(centre, one * scale, out=one)
    rows = sketches.unsqueeze(1).expand(-1, samples, -1).flatten()
    score = core.score(rows, finite(action).flatten(0, 2), first.config.credit)
    parts = [type(score)(*split) for split in zip(*(part.chunk(len(agents)) for part in score), strict=True)]
    for agent, part, (_, frames) in zip(agents, parts, drawn, strict=True):
        agent.collected(part)
        agent.num_timesteps += samples * frames
    reward, valid = score.reward.view(action.shape[:-1]), score.valid.view(action.shape[:-1])[:, 0].double()
    return Batch(sketches, observation, mean, log_std, action, samples_log_prob(action, mean, log_std), reward, valid)


def _noise(agent: Agent, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=agent.generator, device=agent.device, dtype=torch.float32)


@torch.no_grad()
def _acting(agents: Sequence[PolicyGradient], observation: Tensor) -> tuple[Tensor, Tensor]:
    """Mean actions [S, B, T, d] in states [S, B, T, D], and log sigma [S, d]."""
    means = [agent.policy(seen) for agent, seen in zip(agents, observation, strict=True)]
    return torch.stack(means), torch.stack([agent.policy.log_std for agent in agents])


@torch.no_grad()
def _update(agents: Sequence[PolicyGradient], batch: Batch, log_interval: int | None) -> None:
    """An update of all, of which the host reads everything in one piece."""
    each = [Batch(*parts) for parts in zip(*batch, strict=True)]
    with contextlib.ExitStack() as stack:
        for agent, own in zip(agents, each, strict=True):
            stack.enter_context(agent.updating(own))
        logged = _descend(agents, batch)
        found = {
            (s, name): value
            for s, (agent, own, told) in enumerate(zip(agents, each, logged, strict=True))
            for name, value in agent.found(own, told, log_interval).items()
        }
        values = read(found)
        for s, agent in enumerate(agents):
            agent.note({name: value for (of, name), value in values.items() if of == s})


def _descend(agents: Sequence[PolicyGradient], batch: Batch) -> list[Numbers]:
    """`PolicyGradient.update` of all; returns what to log of each."""
    first = agents[0]
    numbers = {name: torch.tensor([agent.numbers[name] for agent in agents]) for name in first.numbers}
    targets = torch.vmap(first.targets)(batch) | {name: value.to(first.device) for name, value in numbers.items()}
    slope = torch.vmap(torch.func.grad_and_value(first.loss, argnums=(2, 3, 4), has_aux=True))
    logged: list[dict[str, Any]] = [{} for _ in agents]
    for _ in range(first.epochs):
        mean, log_std = _acting(agents, batch.observation)
        log_prob = samples_log_prob(batch.action, mean, log_std)
        (weight, direct, scale), (loss, told) = slope(batch, targets, log_prob, mean, log_std)
        by_mean, by_log_std = samples_gradient(batch.action, mean, log_std, weight)
        by_mean, by_log_std = by_mean + direct, by_log_std + scale
        for s, agent in enumerate(agents):
            _put(agent, batch.observation[s], by_mean[s], by_log_std[s])
            logged[s] = {**agent.step_down(loss[s]), **{name: value[s] for name, value in told.items()}}
    if first.tells_of_moves:
        moved = torch.vmap(first.moved)(batch, *_acting(agents, batch.observation))
        logged = [told | {name: value[s] for name, value in moved.items()} for s, told in enumerate(logged)]
    return [told | agent.numbers for told, agent in zip(logged, agents, strict=True)]


def _put(agent: PolicyGradient, observation: Tensor, by_mean: Tensor, by_log_std: Tensor) -> None:
    """Put the gradient into an agent's parameters.

    Args:
        agent: whose policy is mu = W x + c.
        observation: x, [B, T, D].
        by_mean: dL / dmu, [B, T, d].
        by_log_std: dL / dlog sigma, [d].
    """
    states, slope = observation.flatten(0, 1), by_mean.flatten(0, 1)
    # dL/dW = (dL/dmu)^T x,  dL/dc = sum dL/dmu
    gradient = [slope.T @ states, slope.sum(dim=0)]
    for parameter, slope in zip(agent.policy.mean.parameters(), gradient, strict=True):
        parameter.grad = slope
    if agent.policy.log_std.requires_grad:
        agent.policy.log_std.grad = by_log_std
