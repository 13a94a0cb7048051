"""What an action changes after its own step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple

import gymnasium as gym

from .arrays import Array, all_equal, arrays_of
from .rules import demand


class Matters(NamedTuple):
    """What an action was seen to change after its own step."""

    observation: bool
    end: bool
    reward: bool  # of a later step; a reward may look back where nothing else does


def check_actions_matter(
    make: Callable[[], gym.Env[Any, Any]], bandit: bool, *, episodes: int = 6, seed: int = 7
) -> Matters:
    """Tell by experiment whether an environment is a contextual bandit, and check `bandit` or `actions matter`.

    Plays episodes twice with the same random actions but for one, and compares what comes after it. What no experiment
    shows may still be there: many episodes find it sooner.

    Args:
        make: a new single environment; seeds alone must choose its episodes.
        bandit: what it should be.
        episodes: each of which is played again once for each of its steps.
        seed: of the episodes and of the actions.

    Raises:
        BrokenRule: it is something else.

    >>> import gymnasium as gym, sketchless.envs
    >>> check_actions_matter(lambda: gym.make("sketchless/OnTheFly-v0", reward="inv-rank"), bandit=True, episodes=1)
    Matters(observation=False, end=False, reward=False)
    """
    found = Matters(False, False, False)
    with closing(make()) as env:
        space = copy.deepcopy(env.action_space)
        space.seed(seed)
        for episode in range(episodes):
            actions, observations, rewards = [], [], []
            env.reset(seed=seed + episode)
            ended = False
            while not ended:
                actions.append(space.sample())
                observation, reward, terminated, truncated, _ = env.step(actions[-1])
                observations.append(arrays_of(observation))
                rewards.append(reward)
                ended = terminated or truncated
            for changed in range(len(actions)):
                found = Matters(
                    *map(max, found, _replayed(env, seed + episode, actions, changed, space, observations, rewards))
                )
    rule, holds = (
        ("bandit", not (found.observation or found.end))
        if bandit
        else ("actions matter", found.observation or found.end)
    )
    demand(holds, rule, f"{episodes} episodes show {found}")
    return found


def _replayed(
    env: gym.Env[Any, Any],
    seed: int,
    actions: list[Any],
    changed: int,
    space: gym.Space[Any],
    observations: list[list[Array]],
    rewards: list[Any],
) -> Matters:
    """What another action in step `changed` changes in an episode that went as told."""
    env.reset(seed=seed)
    seen = paid = False
    for t, action in enumerate(actions):
        observation, reward, terminated, truncated, _ = env.step(space.sample() if t == changed else action)
        ended = terminated or truncated
        if ended != (t == len(actions) - 1):
            return Matters(seen, True, paid)
        seen |= t >= changed and not all_equal(arrays_of(observation), observations[t])
        paid |= t > changed and not all_equal(reward, rewards[t])
    return Matters(seen, False, paid)
