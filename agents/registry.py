"""Agents by name."""

from __future__ import annotations

import importlib
from typing import Any

from sketchless.datasets.errors import ConfigError, unknown_name

from .ppo_a_clip import PPOAClip

AGENTS: dict[str, type[Any]] = {"ppo-a-clip": PPOAClip}


def agent_class(name: str) -> type[Any]:
    """Class of an agent: a name in `AGENTS`, or `"module:Class"`.

    Raises:
        ConfigError: unknown name, or a class that cannot be imported.
    """
    if name in AGENTS:
        return AGENTS[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        raise unknown_name("agent", name, AGENTS)
    try:
        found: type[Any] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"agent {name!r} cannot be imported: {error}") from error
    return found


def make_agent(name: str, env: Any, **overrides: Any) -> Any:
    """An untrained agent for an environment; `overrides` are its settings. Raises ConfigError."""
    return agent_class(name)(env, **overrides)
