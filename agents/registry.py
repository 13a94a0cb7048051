"""Agents by name: ours, those of installed packages, and any class."""

from __future__ import annotations

from typing import Any

from sketchless.datasets.errors import ConfigError
from sketchless.datasets.plugins import find

from .agent import Agent
from .b1 import B1
from .frame_triplet import FrameTriplet
from .grpo import GRPO
from .ppo_a_clip import PPOAClip
from .ppo_a_kl import PPOAKL
from .ppo_ac_clip import PPOACClip
from .ppo_ac_kl import PPOACKL
from .rank_softmax import RankSoftmax
from .sodeep import SoDeep
from .trpo import TRPO
from .vpg import VPG

AGENTS: dict[str, type[Any]] = {
    agent.name: agent
    for agent in (VPG, PPOAClip, PPOAKL, PPOACClip, PPOACKL, TRPO, GRPO, RankSoftmax, FrameTriplet, SoDeep, B1)
}


def agent_class(name: str) -> type[Any]:
    """Class of an agent: a name in `AGENTS`, one of the entry points `sketchless.agents`, or `"module:Class"`.

    Raises:
        ConfigError: unknown name, a class that cannot be imported, or one that is no `Agent`.
    """
    found: type[Any] = find("agent", name, AGENTS)
    if not (isinstance(found, type) and issubclass(found, Agent)):
        raise ConfigError(f"agent {name!r} is no subclass of sketchless.agents.Agent; train it with its own library")
    return found


def make_agent(name: str, env: Any, **overrides: Any) -> Any:
    """An untrained agent for an environment; `overrides` are its settings. Raises ConfigError."""
    return agent_class(name)(env, **overrides)
