"""Options that several commands share; their help lists the names to choose from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from gymnasium.envs.registration import registry
from tyro.conf import arg

from sketchless.agents import AGENTS
from sketchless.envs import REWARDS


def listed(names: Iterable[str]) -> str:
    """`` `a`, `b` or `c` ``."""
    *some, last = (f"`{name}`" for name in names)
    return f"{', '.join(some)} or {last}" if some else last


_ELSE = "the name of an installed package's (see `sketchless info`)"
AgentName = Annotated[str, arg(help=f"Agent: {listed([*AGENTS])}, {_ELSE}, or `module:Class`.")]
RewardName = Annotated[str, arg(help=f"Reward scheme: {listed([*REWARDS])}, {_ELSE}, or `module:attribute`.")]
_IDS = [env.removeprefix("sketchless/") for env, found in registry.items() if found.namespace == "sketchless"]
EnvId = Annotated[
    str,
    arg(
        help=f"Environment: {listed(_IDS)}; with settings as in `Stop-v0?stroke_cost=0.05&scale=0.1`. Bank and "
        "reward are its own where they are not given."
    ),
]
