"""What acts, and can be saved: a policy on a core, and the state of its training."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.logger import Logger
from torch import Tensor, nn
from typing_extensions import Self

from sketchless.datasets.errors import CheckpointError, ConfigError, DataError
from sketchless.encoders.bank import EpisodeBank
from sketchless.encoders.zoo import pretrained
from sketchless.envs.core import Core

from .checkpoint import (
    About,
    AgentState,
    BestAbout,
    CoreKind,
    Counters,
    LevelAbout,
    like,
    part,
    read_agent,
    read_kind,
    reading,
    save_agent,
)
from .choice import Best, Candidate
from .config import AgentConfig
from .drawings import Drawings, training_fingerprint
from .policies.linear import LinearGaussianPolicy
from .settings import from_file


class Actor:
    """`predict`, `save`, `load` and the state that a file holds; `Agent` makes the attributes and trains them.

    Attributes:
        policy: what acts.
        modules: all that is learned, by name, `policy` included.
        optimizers: by name.
        numbers: further state of the algorithm, such as a KL coefficient.
        history: a dict of numbers for each evaluation.
        initialise: False while an agent is made to take weights from a file: what `setup` makes may stay empty.
    """

    name: ClassVar[str]
    Config: ClassVar[type[AgentConfig]] = AgentConfig
    initialise: bool = True

    core: Core
    device: torch.device
    config: Any
    policy: LinearGaussianPolicy
    modules: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    numbers: dict[str, float]
    generator: torch.Generator
    drawings: Drawings
    history: list[dict[str, float]]
    best: Best
    start: list[Tensor]  # the mean action's parameters, as training began
    budget: int  # steps over which the learning rate decays
    num_timesteps: int
    n_updates: int
    last_reward: float  # mean of the last batch
    recent_rewards: list[float]  # means of the batches since the last validation
    trained_on: str | None  # fingerprint of the bank and the reward
    env: Any
    _logger: Logger | None = None

    def __init__(self, env: Any, validation: EpisodeBank | None = None, config: Any = None, **kwargs: Any) -> None:
        raise NotImplementedError

    @torch.no_grad()
    def predict(
        self,
        observation: npt.NDArray[np.float32] | Tensor,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        """Actions for observations [D] or [B, D], inside the box; numpy for numpy, tensors for tensors.

        Args:
            observation: the frames on show.
            state: what the last call returned, for a policy with a memory; None at the start.
            episode_start: bool [B], drawings that begin now and have nothing to remember.
            deterministic: the mean action instead of a drawn one.

        Raises:
            ConfigError: observations of another width. DataError: observations that are not finite.
        """
        x = torch.as_tensor(observation, dtype=torch.float32, device=self.device)
        if x.dim() == 0 or x.shape[-1] != self.core.observation_dim:
            raise ConfigError(f"observation {tuple(x.shape)}: want [..., {self.core.observation_dim}]")
        if not torch.isfinite(x).all():
            raise DataError("an observation holds NaN or infinity: it has no action")
        rows = x.reshape(-1, x.shape[-1])
        if state is not None and episode_start is not None:
            begins = torch.as_tensor(episode_start, dtype=torch.bool, device=self.device)
            state = state.masked_fill(begins.reshape(-1, 1), 0)
        mean, state = self.policy.step(rows, state)
        action = mean.reshape(*x.shape[:-1], -1)
        if not deterministic:
            noise = torch.randn(action.shape, generator=self.generator, device=self.device, dtype=torch.float32)
            action = action + noise * self.policy.log_std.exp()
        action = self.core.boxed(action)
        return (action if isinstance(observation, Tensor) else action.cpu().numpy()), state

    @property
    def causal(self) -> bool:
        """Whether an action depends on its own frame and those before it alone; else `predict` has none to give."""
        return getattr(self.policy, "causal", True)

    # stable-baselines3's shape ---------------------------------------------------------------------------

    @property
    def logger(self) -> Logger:
        """Where `record`ed values go; silent until `set_logger`."""
        if self._logger is None:
            self._logger = Logger(None, [])  # `configure` would make a folder
        return self._logger

    def set_logger(self, logger: Logger) -> None:
        self._logger = logger

    def dump_logs(self, iteration: int = 0) -> None:
        """Write what was recorded since the last time; callbacks of stable-baselines3 ask for it."""
        self.logger.record("time/total_timesteps", self.num_timesteps)
        self.logger.dump(self.num_timesteps)

    def get_env(self) -> Any:
        return self.env

    def get_vec_normalize_env(self) -> None:
        """Nothing is normalised; `EvalCallback` of stable-baselines3 asks."""
        return None

    # Files -----------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that `load` and a resumed `learn` need; no pickle, all or nothing.

        Raises:
            ResourceError: no room. ConfigError: the path cannot be written. DataError: a weight is not finite; a file
                that was there is kept.
        """
        save_agent(path, self.state_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str], env: Any, validation: EpisodeBank | None = None, **kwargs: Any) -> Self:
        """Read an agent written by `save` for an environment of the same widths, task and settings.

        It acts on any such bank; a `learn` that goes on needs the bank and the reward that it was trained on.

        Args:
            path: the file.
            env, validation: as for a new agent.
            kwargs: `device` and settings that differ from the file's.

        Raises:
            CheckpointError: damaged, another agent, or made for another kind of environment.
        """
        state = read_agent(path, cls.name)
        with reading(path):
            config = from_file(cls.Config, state.about.config)
            cls.check_shapes(config, {name: tuple(tensor.shape) for name, tensor in state.tensors.items()})
            agent = cls.__new__(cls)
            agent.initialise = False
            cls.__init__(agent, env, validation, config, **kwargs)
            agent.initialise = True
            agent.load_state_dict(state)
        return agent

    @classmethod
    def from_pretrained(
        cls, name: str | os.PathLike[str], env: Any = None, validation: EpisodeBank | None = None, **kwargs: Any
    ) -> Self:
        """A trained agent: `Agent.from_pretrained("grpo/procedural")`.

        Called on `Agent`, it gives an agent of whatever class the weights are of; on a subclass, of that class.

        Args:
            name: one of `sketchless zoo`, a file, a folder (of a run, or written by `sketchless zoo`), or `owner/name`
                of a repository on the Hugging Face hub. What exists as a path comes first.
            env: an environment or a bank to act in; by default the training drawings, the task and the reward that
                it was trained with, where the bank is one that ships.
            validation, kwargs: as for `load`.

        Raises:
            ConfigError: an unknown name, or no `env` where the bank does not ship.
            CheckpointError: as `load`; or the hub does not give the repository.
            UnsafeFileError: the file or its manifest names code; nothing was imported.
        """
        from .registry import class_in  # which imports this module

        found = pretrained(name, "agent")
        make: type[Any] = cls if hasattr(cls, "name") else class_in(found.file)
        if not issubclass(make, cls):
            raise CheckpointError(f"{found.file}: holds {make.name!r}, which is no {cls.__name__}; load it as Agent")
        bank, reward = (found.bank(), found.reward()) if env is None else (env, "inv-rank")
        if isinstance(bank, EpisodeBank):
            kind = read_kind(found.file)[1]
            with reading(found.file):
                env = kind.core(bank, reward)
        agent: Self = make.load(found.file, env, validation, **kwargs)
        return agent

    @classmethod
    def check_shapes(cls, config: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise ValueError where a file's settings ask for large networks whose weights it does not hold.

        `load` asks before it makes anything: a small file must not cost much.
        """

    def state_dict(self) -> AgentState:
        """All that training changes, as tensors and plain values; the tensors are the agent's own, not copies."""
        *level, best = self.best.candidates or [Candidate(-math.inf, 0, {})]
        tensors = {f"best/{k}": v for k, v in best.weights.items()}
        tensors |= {f"level/{i}/{k}": v for i, one in enumerate(level) for k, v in one.weights.items()}
        for name, module in self.modules.items():
            tensors |= {f"module/{name}/{k}": v for k, v in module.state_dict().items()}
        for name, i, parameter in self._optimized():
            # torch counts steps in its default type
            found = {k: v.float() for k, v in self.optimizers[name].state[parameter].items()}
            tensors |= {f"optimizer/{name}/{i}/{k}": v for k, v in found.items()}
        tensors |= {f"start/{i}": v for i, v in enumerate(self.start)}
        tensors |= {"random": self.generator.get_state(), "queue": self.drawings.queue}
        about = About(
            agent=self.name,
            config=asdict(self.config),
            core=self._kind(),
            counters=Counters(timesteps=self.num_timesteps, updates=self.n_updates, budget=self.budget),
            numbers=dict(self.numbers),
            best=BestAbout(
                m_at_b=best.m_at_b,
                timesteps=best.timesteps,
                looks=self.best.stale_evals,
                by_photo=list(best.by_photo),
                level=[LevelAbout(one.m_at_b, one.timesteps, list(one.by_photo)) for one in level],
            )
            if best.weights
            else None,
            last_reward=None if math.isnan(self.last_reward) else self.last_reward,
            recent_rewards=list(self.recent_rewards),
            history=[dict(look) for look in self.history],
            trained_on=self.trained_on,
        )
        return AgentState(tensors, about)

    def load_state_dict(self, state: AgentState) -> None:
        """Take over what `state_dict` gave, perhaps for another bank of the same widths; the settings stay.

        Raises:
            ValueError: made for another kind of environment, or tensors that do not fit. The agent may then be
                changed in part.
        """
        about, tensors = state.about, state.tensors
        if about.core != self._kind():
            raise ValueError(f"was made for {about.core}; the environment has {self._kind()}; make it alike")
        if set(about.numbers) != set(self.numbers):
            raise ValueError(f"numbers are {sorted(about.numbers)}, want {sorted(self.numbers)}; use an earlier file")
        for name, module in self.modules.items():
            module.load_state_dict(like(part(tensors, f"module/{name}/"), module.state_dict()))
        for name, i, parameter in self._optimized():
            found = part(tensors, f"optimizer/{name}/{i}/")
            if found:  # none before the first step
                steps = torch.tensor(0.0, dtype=torch.float32)
                like(found, {"step": steps, "exp_avg": parameter, "exp_avg_sq": parameter})
            # as in torch's own loading: the count of steps stays where the optimiser wants it
            self.optimizers[name].state[parameter] = {k: v.to(self.device) for k, v in found.items()}
        start = like(part(tensors, "start/"), {str(i): tensor for i, tensor in enumerate(self.start)})
        self.start = [start[str(i)].to(self.device) for i in range(len(start))]
        self.generator.set_state(tensors["random"])
        self.trained_on = self.drawings.resume(tensors["queue"], about.trained_on, training_fingerprint(self.core))
        self.num_timesteps, self.n_updates = about.counters.timesteps, about.counters.updates
        self.budget = about.counters.budget
        self.numbers = dict(about.numbers)
        self.last_reward = math.nan if about.last_reward is None else about.last_reward
        self.recent_rewards = list(about.recent_rewards)
        self.history = [dict(look) for look in about.history]
        if about.best is not None:
            every = {f"level/{i}/": one for i, one in enumerate(about.best.level)} | {"best/": about.best}
            self.best = Best([self._candidate(tensors, *one) for one in every.items()], about.best.looks)

    def _candidate(self, tensors: Mapping[str, Tensor], prefix: str, about: LevelAbout | BestAbout) -> Candidate:
        weights = like(part(tensors, prefix), self.policy.state_dict())
        weights = {k: v.to(self.device) for k, v in weights.items()}
        return Candidate(about.m_at_b, about.timesteps, weights, tuple(about.by_photo))

    def _optimized(self) -> Iterator[tuple[str, int, Tensor]]:
        """Name of the optimiser, number and parameter of all that is optimised."""
        for name, optimizer in self.optimizers.items():
            every = [p for group in optimizer.param_groups for p in group["params"]]
            yield from ((name, i, parameter) for i, parameter in enumerate(every))

    def _kind(self) -> CoreKind:
        return CoreKind.of(self.core)
