"""Environments as commands name them: an id, and perhaps settings of its own: `Stop-v0?stroke_cost=0.05&scale=0.1`."""

from __future__ import annotations

from typing import Any, NamedTuple

from gymnasium.envs.registration import registry

from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.encoders.bank import EpisodeBank
from sketchless.envs.core import Core
from sketchless.envs.rewards import RewardScheme
from sketchless.envs.tasks import TASKS, make_core

from .runs import parse_values

DEFAULT_ENV = "sketchless/OnTheFly-v0"
OF_ENV = ("bank", "reward")  # what an id has of its own where a command is not given it
_NAMESPACE = "sketchless/"


class Environment(NamedTuple):
    """A registered id, with the settings of its task.

    Attributes:
        id: as registered, with what was set behind a question mark.
        own: bank and reward, where the id has them.
        task: name of the task.
        settings: of the task, and `scale`, where they are not the defaults.
    """

    id: str
    own: dict[str, Any]
    task: str
    settings: dict[str, Any]

    @classmethod
    def find(cls, name: str) -> Environment:
        """The environment of a name; `sketchless/` may be left out. Raises ConfigError for any other."""
        base, asked, query = name.partition("?")
        known = {env: found for env, found in registry.items() if found.namespace == "sketchless"}
        id = base if base.startswith(_NAMESPACE) else f"{_NAMESPACE}{base}"
        if id not in known:
            raise unknown_name("environment", base, known)
        settings = parse_values(query.split("&")) if asked else {}
        kwargs = dict(known[id].kwargs)
        own = {name: kwargs.pop(name) for name in OF_ENV if name in kwargs}
        task = kwargs.pop("task", Core.task)
        written = "&".join(f"{name}={value}" for name, value in settings.items())
        return cls(f"{id}?{written}" if asked else id, own, task, {**kwargs, **settings})

    @property
    def kind(self) -> type[Core]:
        """Class of its cores."""
        return TASKS[self.task]

    def unasked(self, config: Any, default: Any) -> dict[str, Any]:
        """Bank and reward of the id where a command's `config` has them as by `default`."""
        return {name: value for name, value in self.own.items() if getattr(config, name) == getattr(default, name)}

    def core(self, bank: EpisodeBank, reward: str | RewardScheme, mode: str, observation: str, scale: float) -> Core:
        """A core over a bank. Raises ConfigError as `make_core`, naming this environment."""
        try:
            settings = {"scale": scale, **self.settings}
            return make_core(self.task, bank, reward, mode, observation, settings.pop("scale"), **settings)
        except ConfigError as error:
            if not self.settings:
                raise
            raise ConfigError(f"environment {self.id}: {error}") from error
