"""PPO-A-Clipping: clipped policy optimisation with an actor and no critic.

Bhunia et al., "Sketch Less for More", CVPR 2020; the clipped objective is that of Schulman et al., 2017.

The drawing does not depend on the actions, so a rollout is a gather and its rewards are one matrix product:
whole episodes are scored at once, on the device (`Core.score`).
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback
from stable_baselines3.common.logger import Logger, configure
from torch import Tensor

from sketchless.datasets.errors import CheckpointError, ConfigError, DataError, unknown_name
from sketchless.encoders.bank import EpisodeBank
from sketchless.encoders.device import resolve_device
from sketchless.encoders.encoder import load_weights
from sketchless.encoders.tensorfile import load_tensors, save_tensors
from sketchless.envs.core import Core, Score
from sketchless.envs.ranking import m_at_a, m_at_b

from .policy import LinearGaussianPolicy, gaussian_log_prob

ADVANTAGES = ("reward", "batch-mean", "group")
SCHEDULES = ("constant", "linear", "cosine")


@dataclass(frozen=True)
class PPOConfig:
    """Settings of PPO-A-Clipping; the defaults learn well, `PAPER` is the paper to the letter."""

    learning_rate: float = 1e-3
    lr_schedule: str = "cosine"
    """`constant`, `linear` or `cosine` decay to 0 over the whole budget."""
    episodes: int = 16
    """Drawings per update."""
    samples: int = 16
    """K actions drawn in every state; with `group` they are each other's baseline."""
    advantage: str = "group"
    """`reward`: A = R (the paper); `batch-mean`: A = R - mean over the batch; `group`: A = R - mean over the K
    samples of the same state."""
    normalize_advantage: bool = True
    """Divide advantages by their standard deviation over the batch."""
    epochs: int = 4
    """Gradient steps per update."""
    clip: float = 0.2
    init_log_std: float = -2.0
    """Log sigma to begin with. In 64 dimensions e^-2 gives noise about as long as the embedding, which has
    length 1."""
    train_log_std: bool = True
    mean_norm: float | None = 1.0
    """Length of the mean action to begin with, in absolute mode; none: the head as stage 1 left it."""
    weight_decay: float = 0.0
    """Pull of the weights towards where they began (the frozen head)."""
    max_grad_norm: float = 40.0
    eval_every: int = 25
    """Updates between two looks at the validation drawings."""
    patience: int = 0
    """Stop after so many looks without a better validation m@B; 0 uses the whole budget."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("advantage", ADVANTAGES), ("lr_schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        for name in ("learning_rate", "episodes", "samples", "epochs", "clip", "max_grad_norm", "eval_every"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name}={getattr(self, name)}: must be a finite number above 0")
        if self.advantage == "group" and self.samples < 2:
            raise ConfigError("samples=1: the group advantage needs two samples of a state or more")
        if not math.isfinite(self.init_log_std):
            raise ConfigError(f"init_log_std={self.init_log_std}: must be finite")
        if self.seed < 0:
            raise ConfigError(f"seed={self.seed}: must be 0 or more")


PAPER = PPOConfig(
    samples=1, advantage="reward", normalize_advantage=False, lr_schedule="constant", init_log_std=0.0, mean_norm=None
)
"""The paper to the letter: reward as advantage, sigma 1; to be used with `mode="absolute"`."""

PRESETS = {"default": PPOConfig(), "paper": PAPER}


def advantages(reward: Tensor, valid: Tensor, kind: str, normalize: bool) -> Tensor:
    """Advantages from rewards, both [K, B, T]; zero where `valid` [B, T] is False.

    reward: A = R.  batch-mean: A = R - mean(R).  group: A = R - mean_k(R), over samples of the same state.
    """
    count = valid.sum() * len(reward)
    if kind == "group":
        reward = reward - reward.mean(dim=0)
    elif kind == "batch-mean":
        reward = reward - (reward * valid).sum() / count
    if normalize:
        centred = reward - (reward * valid).sum() / count
        reward = reward / ((centred.square() * valid).sum() / count).sqrt().clamp_min(1e-8)
    return reward * valid


def clipped_loss(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, valid: Tensor, clip: float) -> Tensor:
    """-mean min(rho A, clip(rho, 1 - eps, 1 + eps) A) over the valid steps; arguments [K, B, T], [B, T]."""
    # rho = pi(a|s) / pi_old(a|s)
    ratio = torch.exp(log_prob - old_log_prob)
    gain = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
    return -(gain * valid).sum() / (valid.sum() * len(gain))


@dataclass
class _Best:
    """The best policy so far by validation m@B."""

    m_at_b: float = -math.inf
    timesteps: int = 0
    looks: int = 0  # without improvement
    weights: dict[str, Tensor] = field(default_factory=dict)


class PPOAClip:
    """Actor-only clipped PPO, shaped like stable-baselines3: `learn`, `predict`, `save`, `load`.

    Args:
        env: an environment of ours (single, vector or wrapped), or a `Core`; training draws on its bank.
        validation: bank by whose m@B the policy is chosen when training ends; without one the last is kept.
        device: must be where the env's core is; `"auto"` takes that.
        config: all settings; keywords override single ones.

    Raises:
        ConfigError: an unknown or impossible setting, an env that is not ours.
    """

    name = "ppo-a-clip"

    def __init__(
        self,
        env: Any,
        validation: EpisodeBank | None = None,
        config: PPOConfig | None = None,
        device: str | torch.device = "auto",
        **overrides: Any,
    ) -> None:
        known = {f.name for f in fields(PPOConfig)}
        for name in overrides:
            if name not in known:
                raise unknown_name(f"setting of {self.name}:", name, known)
        self.config = replace(config or PPOConfig(), **overrides)
        self.env = env
        self.core = core_of(env)
        if device != "auto" and resolve_device(device).type != self.core.device.type:
            raise ConfigError(f"device {device!r}: the environment computes on {self.core.device}; make both agree")
        self.device = self.core.device
        self.policy = LinearGaussianPolicy(
            self.core.observation_dim, self.core.action_dim, self.config.init_log_std
        ).to(self.device)
        self.policy.start_from_baseline(self.core, self.config.mean_norm)
        self.policy.log_std.requires_grad_(self.config.train_log_std)
        self._start = [p.detach().clone() for p in self.policy.mean.parameters()]
        self._parameters = [p for p in self.policy.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(self._parameters, lr=self.config.learning_rate, fused=True)
        self._validation = None if validation is None else self._core_on(validation)
        self._generator = torch.Generator(self.device).manual_seed(self.config.seed)
        self._queue = torch.zeros(0, dtype=torch.int64, device=self.device)  # drawings left in this pass
        self._best = _Best()
        self.num_timesteps = 0
        self.n_updates = 0
        self._budget = 0
        self.history: list[dict[str, float]] = []
        self.last_reward = math.nan
        self._logger: Logger | None = None

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

    def learn(
        self,
        total_timesteps: int,
        callback: Any = None,
        log_interval: int = 1,
        reset_num_timesteps: bool = True,
    ) -> PPOAClip:
        """Train for a number of environment steps (drawings x frames x samples).

        Args:
            total_timesteps: budget; a run that goes on (`reset_num_timesteps=False`) must be given the whole
                of it again, as the learning rate decays over it.
            callback: as in stable-baselines3; `on_step` is called once per update, returning False stops and
                leaves the policy as it is, so that training can go on.
            log_interval: updates between two dumps of the logger.
            reset_num_timesteps: begin counting anew.

        Raises:
            ConfigError: a budget that is not above 0.
            DataError: a loss or a gradient that is not finite; the policy of the last update is kept.
        """
        if total_timesteps <= 0:
            raise ConfigError(f"total_timesteps={total_timesteps}: must be above 0")
        if reset_num_timesteps:
            self.num_timesteps = self.n_updates = 0
            self._best, self.history = _Best(), []
        self._budget = total_timesteps
        callback = _as_callback(callback)
        callback.init_callback(self)
        callback.on_training_start(locals(), globals())
        if self._validation is not None and self.n_updates == 0:
            self._look()
        start, going = time.perf_counter(), True
        while going and self.num_timesteps < total_timesteps and not self._stalled():
            callback.on_rollout_start()
            batch = self._collect()
            callback.on_rollout_end()
            self._update(*batch)
            if self._validation is not None and self.n_updates % self.config.eval_every == 0:
                self._look()
            self._log(batch[-1], time.perf_counter() - start, log_interval)
            callback.update_locals(locals())
            going = callback.on_step()
        if going and self._validation is not None:
            self._look()
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
    ) -> tuple[Any, None]:
        """Actions for observations [D] or [B, D], inside the box; numpy for numpy, tensors for tensors.

        Raises:
            ConfigError: observations of another width. DataError: observations that are not finite.
        """
        x = torch.as_tensor(observation, dtype=torch.float32, device=self.device)
        if x.dim() == 0 or x.shape[-1] != self.core.observation_dim:
            raise ConfigError(f"observation {tuple(x.shape)}: want [..., {self.core.observation_dim}]")
        if not torch.isfinite(x).all():
            raise DataError("an observation holds NaN or infinity: it has no action")
        action = self.policy(x)
        if not deterministic:
            noise = torch.randn(action.shape, generator=self._generator, device=self.device)
            action = action + noise * self.policy.log_std.exp()
        action = action / action.abs().amax(dim=-1, keepdim=True).clamp_min(1)
        return (action if isinstance(observation, Tensor) else action.cpu().numpy()), None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that `load` and a resumed `learn` need; no pickle, all or nothing.

        Raises:
            ResourceError: no room. ConfigError: the path cannot be written.
        """
        tensors = {f"policy/{k}": v for k, v in self.policy.state_dict().items()}
        tensors |= {f"best/{k}": v for k, v in self._best.weights.items()}
        for i, p in enumerate(self._parameters):
            tensors |= {f"adam/{i}/{k}": v for k, v in self.optimizer.state[p].items()}
        tensors |= {f"start/{i}": v for i, v in enumerate(self._start)}
        tensors |= {"random": self._generator.get_state(), "queue": self._queue}
        best = (
            None
            if not self._best.weights
            else {"m_at_b": self._best.m_at_b, "timesteps": self._best.timesteps, "looks": self._best.looks}
        )
        save_tensors(
            path,
            "agent",
            tensors,
            {
                "agent": self.name,
                "config": asdict(self.config),
                "core": {"mode": self.core.mode, "observation": self.core.observation, "scale": self.core.scale},
                "counters": {"timesteps": self.num_timesteps, "updates": self.n_updates, "budget": self._budget},
                "best": best,
                "history": self.history,
            },
        )

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], env: Any, validation: EpisodeBank | None = None, **kwargs: Any
    ) -> PPOAClip:
        """Read an agent written by `save` for an environment of the same widths and mode.

        Raises:
            CheckpointError: damaged, another agent, or made for another kind of environment.
        """
        tensors, meta = load_tensors(path, "agent")
        if meta["agent"] != cls.name:
            raise CheckpointError(f"{path}: holds {meta['agent']!r}, not {cls.name!r}; load it with that class")
        agent = cls(env, validation, PPOConfig(**meta["config"]), **kwargs)
        mine = {"mode": agent.core.mode, "observation": agent.core.observation, "scale": agent.core.scale}
        if meta["core"] != mine:
            raise CheckpointError(f"{path}: was made for {meta['core']}, the environment has {mine}; make it alike")
        parts: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            part, _, rest = name.partition("/")
            parts.setdefault(part, {})[rest] = tensor
        load_weights(agent.policy, parts["policy"], path)
        for i, p in enumerate(agent._parameters):
            state = {k.split("/")[1]: v for k, v in parts.get("adam", {}).items() if k.startswith(f"{i}/")}
            agent.optimizer.state[p] = {k: v.to(agent.device) for k, v in state.items()}
        agent._start = [parts["start"][str(i)].to(agent.device) for i in range(len(agent._start))]
        agent._generator.set_state(parts["random"][""])
        agent._queue = parts["queue"][""].to(agent.device)
        counters = meta["counters"]
        agent.num_timesteps, agent.n_updates = counters["timesteps"], counters["updates"]
        agent._budget, agent.history = counters["budget"], meta["history"]
        if meta["best"] is not None:
            agent._best = _Best(**meta["best"], weights={k: v.to(agent.device) for k, v in parts["best"].items()})
        return agent

    # One update ------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _collect(self) -> tuple[Tensor, Tensor, Tensor, Score]:
        """Observations [B, T, D], actions [K, B, T, d], their log-probabilities [K, B, T] and the score."""
        config, core = self.config, self.core
        sketches = self._draw(config.episodes)
        observation = core.observations(sketches)
        mean = self.policy(observation)
        shape = (config.samples, *mean.shape)
        noise = torch.randn(shape, generator=self._generator, device=self.device)
        action = mean + noise * self.policy.log_std.exp()
        score = core.score(sketches.repeat(config.samples), action.flatten(0, 1))
        self.num_timesteps += int(score.valid.sum())
        self.last_reward = score.reward[score.valid].mean().item()
        return observation, action, gaussian_log_prob(action, mean, self.policy.log_std), score

    def _update(self, observation: Tensor, action: Tensor, old_log_prob: Tensor, score: Score) -> None:
        config = self.config
        valid = score.valid.view(*old_log_prob.shape)[0].double()  # [B, T]
        reward = score.reward.view(*old_log_prob.shape)  # [K, B, T]
        advantage = advantages(reward, valid, config.advantage, config.normalize_advantage).float()
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * _decay(config.lr_schedule, self.num_timesteps / self._budget)
        for _ in range(config.epochs):
            log_prob = gaussian_log_prob(action, self.policy(observation), self.policy.log_std)
            loss = clipped_loss(log_prob, old_log_prob, advantage, valid, config.clip)
            if config.weight_decay:
                pairs = zip(self.policy.mean.parameters(), self._start, strict=True)
                loss = loss + config.weight_decay * sum((p - p0).square().sum() for p, p0 in pairs)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(self._parameters, config.max_grad_norm)
            if not torch.isfinite(loss + norm):
                raise DataError(f"update {self.n_updates + 1}: loss {loss.item():g}, gradient {float(norm):g}; stopped")
            self.optimizer.step()
        self.n_updates += 1
        with torch.no_grad():
            log_ratio = log_prob - old_log_prob
            self.logger.record("train/loss", loss.item())
            self.logger.record("train/approx_kl", (log_ratio.exp() - 1 - log_ratio).mean().item())
            self.logger.record("train/clip_fraction", (log_ratio.expm1().abs() > config.clip).double().mean().item())
            self.logger.record("train/std", self.policy.log_std.exp().mean().item())

    def _draw(self, n: int) -> Tensor:
        """The next n drawings of a random pass over the bank; passes follow each other without a gap."""
        while len(self._queue) < n:
            order = torch.randperm(len(self.core.bank), generator=self._generator, device=self.device)
            self._queue = torch.cat([self._queue, order])
        drawn, self._queue = self._queue[:n], self._queue[n:]
        return drawn

    def _look(self) -> None:
        """Validate the mean action and remember the best policy."""
        assert self._validation is not None
        area_a, area_b = self.validate(self._validation)
        if area_b > self._best.m_at_b:
            weights = {k: v.detach().clone() for k, v in self.policy.state_dict().items()}
            self._best = _Best(area_b, self.num_timesteps, 0, weights)
        else:
            self._best.looks += 1
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
        return 0 < self.config.patience <= self._best.looks

    def _log(self, score: Score, seconds: float, log_interval: int) -> None:
        valid = score.valid
        self.logger.record("rollout/reward", self.last_reward)
        self.logger.record("rollout/reward_local", score.local[valid].mean().item())
        self.logger.record("rollout/reward_trajectory", score.trajectory[valid].mean().item())
        self.logger.record("rollout/rank", score.rank[valid].double().mean().item())
        self.logger.record("time/total_timesteps", self.num_timesteps)
        self.logger.record("time/fps", int(self.num_timesteps / max(seconds, 1e-9)))
        if self.n_updates % log_interval == 0:
            self.logger.dump(self.num_timesteps)


def core_of(env: Any) -> Core:
    """The core behind an environment of ours. Raises ConfigError for another one."""
    core = env if isinstance(env, Core) else getattr(getattr(env, "unwrapped", env), "core", None)
    if not isinstance(core, Core):
        raise ConfigError(f"{type(env).__name__} is no sketchless environment: make one with sketchless/OnTheFly-v0")
    return core


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
