"""Agents by name: ours, those of installed packages, and any class."""

from __future__ import annotations

import os
from typing import Any

from sketchless.datasets.errors import ConfigError
from sketchless.datasets.plugins import check_trust, find
from sketchless.encoders.bank import EpisodeBank

from .actor_critic.ppo_ac_clip import PPOACClip
from .actor_critic.ppo_ac_kl import PPOACKL
from .actor_critic.trpo import TRPO
from .agent import Agent
from .b1 import B1
from .checkpoint import read_kind, reading
from .policy_gradient.grpo import GRPO
from .policy_gradient.ppo_a_clip import PPOAClip
from .policy_gradient.ppo_a_kl import PPOAKL
from .policy_gradient.vpg import VPG
from .supervised.frame_triplet import FrameTriplet
from .supervised.mgal import MGAL
from .supervised.rank_softmax import RankSoftmax
from .supervised.sodeep import SoDeep

AGENTS: dict[str, type[Any]] = {
    agent.name: agent
    for agent in (VPG, PPOAClip, PPOAKL, PPOACClip, PPOACKL, TRPO, GRPO, RankSoftmax, FrameTriplet, SoDeep, MGAL, B1)
}
"""Agents by name."""


def agent_class(name: str) -> type[Any]:
    """Class of an agent: a name in `AGENTS`, one of the entry points `sketchless.agents`, or `"module:Class"`.

    Raises:
        ConfigError: unknown name, a class that cannot be imported, or one that is no `Agent`.
    """
    found: type[Any] = find("agent", name, AGENTS)
    if not (isinstance(found, type) and issubclass(found, Agent)):
        raise ConfigError(f"agent {name!r} is no subclass of sketchless.agents.Agent; train it with its own library")
    return found


def load_agent(path: str | os.PathLike[str], bank: EpisodeBank, make: type[Agent] | None = None) -> Agent:
    """An agent out of a file, to act on a bank in the task and with the settings that it was trained in.

    Args:
        path: what `Agent.save` wrote.
        bank: of the same widths.
        make: class of the agent; by default the one of that name, built in or of an installed package.

    Raises:
        CheckpointError: no such file, damaged, another agent, or made for features of other widths.
        ConfigError: unknown agent. UnsafeFileError: named as `module:Class`; nothing was imported.
    """
    make = make or class_in(path)
    with reading(path):
        core = read_kind(path)[1].core(bank)
    return make.load(path, core)


def class_in(path: str | os.PathLike[str]) -> type[Agent]:
    """Class of the agent in a file, which may come from anyone. Raises as `load_agent`."""
    name = read_kind(path)[0]
    check_trust("agent", name, (), path)
    found: type[Agent] = agent_class(name)
    return found


def make_agent(name: str, env: Any, **overrides: Any) -> Any:
    """An untrained agent for an environment; `overrides` are its settings. Raises ConfigError."""
    return agent_class(name)(env, **overrides)
