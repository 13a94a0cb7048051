"""What all agents share: the budget, the batch, validation, `learn predict save load`, the values logged.

The drawing does not depend on the actions, so a rollout is a gather and its rewards are one matrix product:
whole episodes are scored at once, on the device (`Core.score`), for actor-only and actor-critic agents alike.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import Progress
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback
from stable_baselines3.common.logger import Logger, configure
from torch import Tensor, nn
from typing_extensions import Self

from sketchless.datasets.errors import CheckpointError, ConfigError, DataError, unknown_name
from sketchless.encoders.bank import EpisodeBank
from sketchless.encoders.device import resolve_device
from sketchless.envs.core import Core
from sketchless.envs.ranking import m_at_a, m_at_b

from .batch import Batch, advantages, average
from .checkpoint import load_agent, save_agent, training_fingerprint
from .config import AgentConfig
from .policy import gaussian_entropy, gaussian_kl, gaussian_log_prob, make_policy


@dataclass
class Best:
    """The best policy so far by validation m@B."""

    m_at_b: float = -math.inf
    timesteps: int = 0
    stale_evals: int = 0  # evaluations without improvement
    weights: dict[str, Tensor] = field(default_factory=dict)


class Agent:
    """An agent shaped like stable-baselines3: `learn`, `predict`, `save`, `load`. Subclasses say `update`.

    Args:
        env: an environment of ours (single, vector or wrapped), or a `Core`; training draws on its bank.
        validation: bank by whose m@B the policy is chosen when training ends; without one the last is kept.
        config: all settings; keywords override single ones.
        device: must be where the env's core is; `"auto"` takes that.

    Attributes:
        policy: what acts.
        modules: all that is learned, by name, `policy` included; saved and restored.
        optimizers: by name; saved and restored.
        numbers: further state of the algorithm, such as a KL coefficient; saved and restored.

    Raises:
        ConfigError: an unknown or impossible setting, an env that is not ours.
    """

    name: ClassVar[str]
    Config: ClassVar[type[AgentConfig]] = AgentConfig
    presets: ClassVar[dict[str, AgentConfig]] = {"default": AgentConfig()}

    def __init__(
        self,
        env: Any,
        validation: EpisodeBank | None = None,
        config: Any = None,
        device: str | torch.device = "auto",
        **overrides: Any,
    ) -> None:
        known = {f.name for f in fields(self.Config)}
        for name in overrides:
            if name not in known:
                raise unknown_name(f"setting of {self.name}:", name, known)
        self.config: Any = replace(config or self.presets["default"], **overrides)
        self.env = env
        self.core = core_of(env)
        if device != "auto" and resolve_device(device).type != self.core.device.type:
            raise ConfigError(f"device {device!r}: the environment computes on {self.core.device}; make both agree")
        self.device = self.core.device
        c = self.config
        self.policy = make_policy(c.policy, self.core, c.init_log_std, c.mean_norm, c.seed)
        self.policy.log_std.requires_grad_(c.train_log_std)
        self._start = [p.detach().clone() for p in self.policy.mean.parameters()]
        self._parameters = [p for p in self.policy.parameters() if p.requires_grad]
        self.modules: dict[str, nn.Module] = {"policy": self.policy}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.numbers: dict[str, float] = {}
        self._validation = None if validation is None else self._core_on(validation)
        self.generator = torch.Generator(self.device).manual_seed(c.seed)
        self._queue = torch.zeros(0, dtype=torch.int64, device=self.device)  # drawings left in this pass
        self._trained_on: str | None = None  # what they are drawings of
        self._best = Best()
        self.num_timesteps = 0
        self.n_updates = 0
        self._budget = 1
        self.history: list[dict[str, float]] = []
        self.last_reward = math.nan
        self._logger: Logger | None = None
        self.setup()

    # What a subclass says --------------------------------------------------------------------------------

    def setup(self) -> None:
        """Make what the algorithm needs besides the policy. Here: one Adam for the policy."""
        self.optimizers["policy"] = torch.optim.Adam(self._parameters, lr=self.config.learning_rate, fused=True)

    def prepare(self) -> Iterator[None]:
        """What has to be learned before the first batch, in parts of which none takes long; nothing, once it is done.

        `learn` may be stopped between two parts; what is done by then has to be in modules, optimisers and numbers.
        """
        yield from ()

    def update(self, batch: Batch) -> dict[str, float]:
        """Learn from one batch; returns what to log under `train/`. Raises DataError for a loss gone wrong."""
        raise NotImplementedError

    # Tools for them --------------------------------------------------------------------------------------

    @property
    def learning_rate(self) -> float:
        """Of this update: it decays over the whole budget."""
        rate: float = self.config.learning_rate * _decay(self.config.lr_schedule, self.num_timesteps / self._budget)
        return rate

    def log_prob(self, batch: Batch) -> Tensor:
        """log pi(a|s) [K, B, T] of the batch under the policy as it is now."""
        return gaussian_log_prob(batch.action, self.policy(batch.observation), self.policy.log_std)

    def advantages(self, batch: Batch) -> Tensor:
        """[K, B, T], as the settings say."""
        c = self.config
        return advantages(batch.reward, batch.valid, c.advantage, c.normalize_advantage).float()

    def descend(self, loss: Tensor) -> dict[str, float]:
        """One step of Adam down a loss, pulled towards the start if `weight_decay` says so.

        Raises:
            DataError: a loss or a gradient that is not finite; `learn` then undoes the whole update.
        """
        optimizer = self.optimizers["policy"]
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate
        if self.config.weight_decay:
            pairs = zip(self.policy.mean.parameters(), self._start, strict=True)
            loss = loss + self.config.weight_decay * sum((p - p0).square().sum() for p, p0 in pairs)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self.config.max_grad_norm)
        found = {"loss": loss.item(), "grad_norm": norm.item()}
        if not all(map(math.isfinite, found.values())):
            raise self.gone_wrong(f"loss {found['loss']:g}, gradient {found['grad_norm']:g}")
        optimizer.step()
        return found

    def gone_wrong(self, what: str) -> DataError:
        return DataError(f"update {self.n_updates + 1}: {what}; stopped, the policy before it is kept")

    # stable-baselines3's shape ---------------------------------------------------------------------------

    @property
    def logger(self) -> Logger:
        """Where `record`ed values go; silent until `set_logger`."""
        if self._logger is None:
            self._logger = configure(None, [])
        return self._logger

    def set_logger(self, logger: Logger) -> None:
        self._logger = logger

    def get_env(self) -> Any:
        return self.env

    def get_vec_normalize_env(self) -> None:
        """Nothing is normalised; `EvalCallback` of stable-baselines3 asks."""
        return None

    def learn(
        self,
        total_timesteps: int,
        callback: Any = None,
        log_interval: int = 1,
        tb_log_name: str = "",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for a number of environment steps (drawings x frames x samples).

        Args:
            total_timesteps: budget; a run that goes on (`reset_num_timesteps=False`) must be given the whole
                of it again, as the learning rate decays over it.
            callback: as in stable-baselines3, but for those that count environments or look into its rollouts;
                `on_step` is called once per update, and between the parts of `prepare`. Returning False stops and,
                before the budget is spent, leaves the policy as it is, so that training can go on.
            log_interval: updates between two dumps of the logger.
            tb_log_name: taken as in stable-baselines3, without effect: `set_logger` says where to log.
            reset_num_timesteps: begin counting anew.
            progress_bar: show one, by `rich`.

        Raises:
            ConfigError: a budget that is not above 0.
            CheckpointError: a loaded agent goes on with another bank or reward than it was trained on.
            DataError: a reward, observation, loss, gradient or weight that is not finite; the policy of the last
                update is kept.
        """
        if total_timesteps <= 0:
            raise ConfigError(f"total_timesteps={total_timesteps}: must be above 0")
        self._begin_on(training_fingerprint(self.core), reset_num_timesteps)
        if reset_num_timesteps:
            self.num_timesteps = self.n_updates = 0
            self._best, self.history = Best(), []
        self._budget = total_timesteps
        callback = _as_callback(callback)
        callback.init_callback(self)
        callback.on_training_start(locals(), globals())
        if self._validation is not None and not self.history:
            self._evaluate()
        with Progress(disable=not progress_bar) as bar:
            task = bar.add_task(self.name, total=total_timesteps, completed=self.num_timesteps)
            going = all(callback.on_step() for _ in self.prepare())
            start, before = time.perf_counter(), self.num_timesteps
            while going and self.num_timesteps < total_timesteps and not self._stalled():
                callback.on_rollout_start()
                batch = self.collect()
                callback.on_rollout_end()
                logged = self._update_or_undo(batch)
                self.n_updates += 1
                if self._validation is not None and self.n_updates % self.config.eval_every == 0:
                    self._evaluate()
                self.logger.record(
                    "time/fps", int((self.num_timesteps - before) / max(time.perf_counter() - start, 1e-9))
                )
                self._log(batch, logged, log_interval)
                callback.update_locals(locals())
                going = callback.on_step()
                bar.update(task, completed=self.num_timesteps)
        # A callback that says stop in the very update that spends the budget interrupts nothing.
        if (going or self.num_timesteps >= total_timesteps) and self._validation is not None:
            self._evaluate()
            self.policy.load_state_dict(self._best.weights)
        callback.on_training_end()
        return self

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
            noise = torch.randn(action.shape, generator=self.generator, device=self.device)
            action = action + noise * self.policy.log_std.exp()
        action = action / action.abs().amax(dim=-1, keepdim=True).clamp_min(1)
        return (action if isinstance(observation, Tensor) else action.cpu().numpy()), state

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that `load` and a resumed `learn` need; no pickle, all or nothing.

        Raises:
            ResourceError: no room. ConfigError: the path cannot be written. DataError: a weight is not finite; a file
                that was there is kept.
        """
        save_agent(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], env: Any, validation: EpisodeBank | None = None, **kwargs: Any) -> Self:
        """Read an agent written by `save` for an environment of the same widths and mode.

        It acts on any such bank; a `learn` that goes on needs the bank and the reward that it was trained on.

        Raises:
            CheckpointError: damaged, another agent, or made for another kind of environment.
        """
        agent: Self = load_agent(cls, path, env, validation, **kwargs)
        return agent

    # One rollout -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def collect(self) -> Batch:
        """Play the next drawings; counts their steps. Raises DataError for what is not finite."""
        config, core = self.config, self.core
        sketches = self._draw(config.episodes)
        observation = core.observations(sketches)
        mean, log_std = self.policy(observation), self.policy.log_std.detach().clone()
        shape = (config.samples, *mean.shape)
        noise = torch.randn(shape, generator=self.generator, device=self.device)
        action = mean + noise * log_std.exp()
        if not torch.isfinite(action).all():
            raise self._not_finite("observation or action", action.isfinite().all(dim=-1).all(dim=0), sketches)
        score = core.score(sketches.repeat(config.samples), action.flatten(0, 1), config.credit)
        reward, valid = score.reward.view(shape[:-1]), score.valid.view(shape[:-1])[0]
        if not torch.isfinite(reward).all():
            raise self._not_finite("reward", reward.isfinite().all(dim=0), sketches)
        self.num_timesteps += int(score.valid.sum())
        means = [x[score.valid].double().mean() for x in (score.reward, score.local, score.trajectory, score.rank)]
        names = ("reward", "reward_local", "reward_trajectory", "rank")
        for name, value in zip(names, torch.stack(means).tolist(), strict=True):
            self.logger.record(f"rollout/{name}", value)
        self.last_reward = float(means[0])
        log_prob = gaussian_log_prob(action, mean, log_std)
        return Batch(sketches, observation, mean, log_std, action, log_prob, reward, valid.double())

    def _not_finite(self, what: str, fine: Tensor, sketches: Tensor) -> DataError:
        env, step = (~fine).nonzero()[0].tolist()
        sketch = self.core.bank.sketch_ids[int(sketches[env])]
        return self.gone_wrong(f"{what} of drawing {env} of the batch ({sketch}) is not finite in step {step + 1}")

    def _begin_on(self, here: str, anew: bool) -> None:
        """Note what is trained on. Raises CheckpointError if a run that goes on began elsewhere."""
        # Files of version 0.1.0 may not say what the reward pays.
        if self._trained_on is not None and not here.startswith(self._trained_on):
            if not anew:
                raise CheckpointError(
                    f"{self.name} was trained on {self._trained_on}, the environment has {here}; "
                    "make that one to go on, or begin anew with reset_num_timesteps=True"
                )
            self._queue = self._queue[:0]
        self._trained_on = here

    def _draw(self, n: int) -> Tensor:
        """The next n drawings of a random pass over the bank; passes follow each other without a gap."""
        while len(self._queue) < n:
            order = torch.randperm(len(self.core.bank), generator=self.generator, device=self.device)
            self._queue = torch.cat([self._queue, order])
        drawn, self._queue = self._queue[:n], self._queue[n:]
        return drawn

    def _update_or_undo(self, batch: Batch) -> dict[str, float]:
        """`update`; where it raises or leaves weights that are not finite, all is as before it."""
        parts: list[Any] = [*self.modules.values(), *self.optimizers.values()]
        states, numbers = [_copied(part.state_dict()) for part in parts], dict(self.numbers)
        try:
            logged = self.update(batch)
            weights = [p.detach() for module in self.modules.values() for p in module.parameters()]
            if not torch.stack([p.isfinite().all() for p in weights]).all():
                raise self.gone_wrong("the update gave weights that are not finite")
        except BaseException:
            for part, state in zip(parts, states, strict=True):
                part.load_state_dict(state)
            self.numbers = numbers
            raise
        return logged

    # Validation and log ----------------------------------------------------------------------------------

    def _evaluate(self) -> None:
        """Validate the mean action and remember the best policy."""
        assert self._validation is not None
        area_a, area_b = self.validate(self._validation)
        if area_b > self._best.m_at_b:
            weights = {k: v.detach().clone() for k, v in self.policy.state_dict().items()}
            self._best = Best(area_b, self.num_timesteps, 0, weights)
        else:
            self._best.stale_evals += 1
        look = {"timesteps": self.num_timesteps, "val_m_at_a": area_a, "val_m_at_b": area_b}
        self.history.append(look if math.isnan(self.last_reward) else look | {"reward": self.last_reward})
        self.logger.record("eval/m_at_a", area_a)
        self.logger.record("eval/m_at_b", area_b)

    @torch.no_grad()
    def validate(self, core: Core) -> tuple[float, float]:
        """m@A and m@B, 0..100, of the mean action on all drawings of a core."""
        sketches = torch.arange(len(core.bank), device=self.device)
        score = core.score(sketches, self.policy(core.observations(sketches)))
        a, b = m_at_a(score.rank, score.valid, core.n_photos), m_at_b(score.rank, score.valid)
        return float(a.mean()), float(b.mean())

    def _core_on(self, bank: EpisodeBank) -> Core:
        return Core(bank.to(self.device), "inv-rank", self.core.mode, self.core.observation, self.core.scale)

    def _stalled(self) -> bool:
        return bool(0 < self.config.patience <= self._best.stale_evals)

    @torch.no_grad()
    def _log(self, batch: Batch, logged: dict[str, float], log_interval: int) -> None:
        """The same keys for every agent: how far the update went, and what it left."""
        if self.n_updates % log_interval or not self.logger.output_formats:
            return
        mean, log_std = self.policy(batch.observation), self.policy.log_std
        ratio = gaussian_log_prob(batch.action, mean, log_std) - batch.log_prob
        moved = average((ratio.expm1().abs() > 0.2).double(), batch.valid)
        logged = logged | {
            "approx_kl": float(average(gaussian_kl(batch.mean, batch.log_std, mean, log_std), batch.valid)),
            "clip_fraction": float(moved),
            "entropy": float(gaussian_entropy(log_std)),
            "std": float(log_std.exp().mean()),
            "learning_rate": self.learning_rate,
            "n_updates": self.n_updates,
        }
        for name, value in logged.items():
            self.logger.record(f"train/{name}", value)
        self.logger.record("time/total_timesteps", self.num_timesteps)
        self.logger.dump(self.num_timesteps)


def core_of(env: Any) -> Core:
    """The core behind an environment of ours. Raises ConfigError for another one."""
    core = env if isinstance(env, Core) else getattr(getattr(env, "unwrapped", env), "core", None)
    if not isinstance(core, Core):
        raise ConfigError(f"{type(env).__name__} is no sketchless environment: make one with sketchless/OnTheFly-v0")
    return core


def _copied(state: Any) -> Any:
    """A `state_dict` with tensors of its own, in a tenth of the time of `copy.deepcopy`."""
    if isinstance(state, dict):
        return {key: _copied(value) for key, value in state.items()}
    if isinstance(state, list):
        return [_copied(value) for value in state]
    return state.clone() if isinstance(state, Tensor) else state


def _decay(schedule: str, share: float) -> float:
    if schedule == "linear":
        return max(1 - share, 0.0)
    return 0.5 * (1 + math.cos(math.pi * min(share, 1.0))) if schedule == "cosine" else 1.0


def _as_callback(callback: Any) -> BaseCallback:
    if callback is None:
        return CallbackList([])
    if isinstance(callback, list):
        return CallbackList(callback)
    return callback if isinstance(callback, BaseCallback) else ConvertCallback(callback)
