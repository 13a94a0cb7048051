"""All of an agent in one file, so that training goes on from it as if it had never stopped."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, NamedTuple

from pydantic import Field, JsonValue
from torch import Tensor
from typing_extensions import TypedDict

from sketchless.datasets.errors import CheckpointError, ConfigError, DataError
from sketchless.datasets.schema import conform
from sketchless.encoders.bank import EpisodeBank
from sketchless.encoders.tensorfile import load_tensors, read_meta, save_tensors
from sketchless.envs.core import Core
from sketchless.envs.tasks import make_core

Count = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True)
class CoreKind:
    """The kind of environment that an agent acts in; `own` are the settings that its task alone has."""

    mode: str
    observation: str
    scale: float
    task: str = Core.task  # files of version 0.1 do not name it
    own: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, core: Core) -> CoreKind:
        return cls(core.mode, core.observation, core.scale, core.task, core.own_settings)

    def core(self, bank: EpisodeBank, reward: str = "inv-rank") -> Core:
        """A core of this kind; by default with a reward that every task takes. Raises ConfigError as `make_core`."""
        return make_core(self.task, bank, reward, self.mode, self.observation, self.scale, **self.own)

    def __str__(self) -> str:
        own = "".join(f", {name} {value:g}" for name, value in self.own.items())
        return f"the task {self.task}{own}, mode {self.mode}, observation {self.observation}, scale {self.scale:g}"


@dataclass(frozen=True)
class Counters:
    """How far training is."""

    timesteps: Count
    updates: Count
    budget: Count


@dataclass(frozen=True)
class LevelAbout:
    """A policy that is level with the best; as `Candidate`."""

    m_at_b: float
    timesteps: Count
    by_photo: list[float]


@dataclass(frozen=True)
class BestAbout:
    """The best policy so far; `looks`: evaluations since then; `level`: earlier ones that may be kept in its place."""

    m_at_b: float
    timesteps: Count
    looks: Count
    by_photo: list[float] = field(default_factory=list)
    level: list[LevelAbout] = field(default_factory=list)


@dataclass(frozen=True)
class About:
    """An agent's description in its file."""

    agent: str
    config: dict[str, JsonValue]
    core: CoreKind
    counters: Counters
    numbers: dict[str, float]
    best: BestAbout | None
    history: list[dict[str, float]]
    last_reward: float | None = None
    recent_rewards: list[float] = field(default_factory=list)
    trained_on: str | None = None


class _Named(TypedDict):
    agent: str
    core: CoreKind


class AgentState(NamedTuple):
    """All that training changes: `module/<name>/<key>`, `optimizer/<name>/<i>/<key>`, `best/<key>`, `level/<i>/<key>`,
    `start/<i>`, `random` and `queue`, and the values beside them."""

    tensors: dict[str, Tensor]
    about: About


def save_agent(path: str | os.PathLike[str], state: AgentState) -> None:
    """Write an agent's state; see `Agent.save` for what is raised."""
    if broken := [name for name, tensor in state.tensors.items() if not tensor.isfinite().all()]:
        raise DataError(f"{path}: not written, {broken[0]} holds NaN or infinity; use an earlier file")
    save_tensors(path, "agent", state.tensors, asdict(state.about))


def read_agent(path: str | os.PathLike[str], name: str) -> AgentState:
    """What `save_agent` wrote, its description checked: it may be crafted. Raises CheckpointError."""
    tensors, meta = load_tensors(path, "agent")
    if meta.get("agent") != name:
        raise CheckpointError(f"{path}: holds {str(meta.get('agent'))[:50]!r}, not {name!r}; load it with that class")
    about = conform(About, meta, path, error=CheckpointError, cure="use an earlier file")
    return AgentState(tensors, about)


def read_kind(path: str | os.PathLike[str]) -> tuple[str, CoreKind]:
    """Name of the agent in a file, and what it acts in. Raises CheckpointError."""
    found = conform(_Named, read_meta(path, "agent"), path, error=CheckpointError, cure="train it again")
    return found["agent"], found["core"]


@contextlib.contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """What goes wrong inside is a CheckpointError of one line."""
    try:
        yield
    except ConfigError as error:
        raise CheckpointError(f"{path}: cannot be used here: {error}") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (KeyError, RuntimeError, TypeError, OverflowError) as error:
        fault = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: lacks a part of a checkpoint ({fault}); use an earlier one") from error


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose names begin with `prefix`, which is cut off."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def like(found: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same, known to be finite tensors of the names, shapes and types wanted. Raises ValueError."""
    if set(found) != set(wanted):
        raise ValueError(f"holds the tensors {sorted(found)}, not {sorted(wanted)}; use an earlier file")
    for name, tensor in found.items():
        as_wanted = tensor.shape == wanted[name].shape and tensor.dtype == wanted[name].dtype
        if not as_wanted or not tensor.isfinite().all():
            fault = f"{name} is {tuple(tensor.shape)}, not finite {tuple(wanted[name].shape)}"
            raise ValueError(f"weights do not fit: {fault}; use an earlier file")
    return found
