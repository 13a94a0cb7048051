"""Agents with a critic: the update is stable-baselines3's or sb3-contrib's own, the rollout is ours.

The K actions of a state share its features, so observations, values and returns are handed over once per state
[M, ...] and what depends on the action per sample [K, M]. Of the squared error to K returns only their mean
has a gradient: mean_k (V - R_k)^2 = (V - mean_k R_k)^2 + var_k R_k.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from torch import Tensor
from torch.distributions import Independent, Normal

from sketchless.datasets.errors import ConfigError

from ..agent import Agent
from ..batch import Batch
from ..config import MAX_VALUE, AgentConfig


@dataclass(frozen=True)
class CriticConfig(AgentConfig):
    """Settings of agents with a critic."""

    critic: tuple[int, ...] = (64,)
    """Widths of the critic's hidden layers."""
    gae_lambda: float = 0.95
    """Of the advantages; with `gamma` 0 the critic is a baseline for the step's own reward, and this has no effect."""
    value_weight: float = 0.5
    """Of the critic's loss beside the actor's."""

    _not_negative: ClassVar[tuple[str, ...]] = ("value_weight",)
    _unread: ClassVar[tuple[str, ...]] = ("advantage", "weight_decay", "b1_penalty")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.gae_lambda <= 1:
            raise ConfigError(f"gae_lambda={self.gae_lambda}: must lie in 0..1")
        if not all(0 < width <= MAX_VALUE for width in self.critic):
            raise ConfigError(f"critic={self.critic}: widths must be above 0, {MAX_VALUE:.0e} at most")


class CriticPolicy(ActorCriticPolicy):
    """stable-baselines3's policy around our linear Gaussian actor; the critic is theirs."""

    def adopt(self, actor: Any) -> None:
        """Act as `actor` does, sharing its parameters."""
        self.action_net, self.log_std = actor.mean, actor.log_std
        trained = [p for p in self.parameters() if p.requires_grad]
        make: Any = self.optimizer_class
        self.optimizer = make(trained, lr=1.0, **self.optimizer_kwargs)

    def get_distribution(self, obs: Any) -> Any:
        return _Gaussian(self.action_net(obs), self.log_std)

    def evaluate_actions(self, obs: Any, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values [M, 1] of states [M, D], log-probabilities [K, M] of actions [K, M, d] and entropies [M]."""
        distribution = self.get_distribution(obs)
        return self.predict_values(obs), distribution.log_prob(actions), distribution.entropy()


class _Gaussian:
    """A diagonal Gaussian over whole actions: its KL divergence sums over coordinates, as a trust region needs."""

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        # Unchecked: what is not finite is found after the update, and `learn` undoes it.
        spread = Normal(mean, log_std.exp().expand_as(mean), validate_args=False)
        self.distribution = Independent(spread, 1, validate_args=False)

    def log_prob(self, x: Tensor) -> Tensor:
        found: Tensor = self.distribution.log_prob(x)
        return found

    def entropy(self) -> Tensor:
        found: Tensor = self.distribution.entropy()
        return found


@dataclass
class _Rollout:
    """Stands where the algorithm expects its rollout buffer; the batch in one piece."""

    samples: RolloutBufferSamples

    def get(self, batch_size: int | None = None) -> Iterator[RolloutBufferSamples]:
        yield self.samples

    @property
    def values(self) -> npt.NDArray[np.float32]:
        """For `explained_variance`, which is theirs and works in numpy."""
        return self.samples.old_values.numpy(force=True)

    @property
    def returns(self) -> npt.NDArray[np.float32]:
        return self.samples.returns.numpy(force=True)


class ActorCritic(Agent):
    """Base of the agents with a critic. Subclasses say `algorithm_with`.

    Raises:
        ConfigError: a policy that is not linear, which these algorithms do not know.
    """

    Config = CriticConfig
    varies_with_threads = True
    presets: ClassVar[dict[str, AgentConfig]] = {"default": CriticConfig()}

    def algorithm_with(self, common: dict[str, Any]) -> OnPolicyAlgorithm:
        """The algorithm of stable-baselines3 with our settings beside the common ones."""
        raise NotImplementedError

    def setup(self) -> None:
        config, core = self.config, self.core
        if config.policy != "linear":
            raise ConfigError(f"policy {config.policy!r}: {self.name} knows only linear; choose an actor-only agent")
        common = {
            "policy": CriticPolicy,
            "env": None,
            "device": self.device,
            "normalize_advantage": config.normalize_advantage,
            "n_steps": 2,  # of a buffer that ours takes the place of
            # Orthogonal weights of a large critic take seconds; those that a file replaces need not be orthogonal.
            "policy_kwargs": {"net_arch": {"pi": [], "vf": list(config.critic)}, "ortho_init": self.initialise},
            "_init_setup_model": False,
        }
        algorithm: Any = self.algorithm_with(common)
        algorithm.observation_space = spaces.Box(-1, 1, (core.observation_dim,), np.float32)
        algorithm.action_space = spaces.Box(-1, 1, (core.action_dim,), np.float32)
        algorithm.n_envs = 1
        with self._own_random_state():
            algorithm._setup_model()
        algorithm.policy.float()  # whatever torch's default is
        algorithm.policy.adopt(self.policy)
        algorithm.lr_schedule = lambda _: self.learning_rate
        algorithm.set_logger(Logger(None, []))
        algorithm.policy.set_training_mode(True)
        self.algorithm = algorithm
        self.modules["critic"] = torch.nn.ModuleList([algorithm.policy.mlp_extractor, algorithm.policy.value_net])
        self.optimizers["policy"] = algorithm.policy.optimizer

    @classmethod
    def check_shapes(cls, config: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
        biases = (f"module/critic/0.value_net.{2 * i}.bias" for i in itertools.count())  # activations between them
        found = tuple(math.prod(shapes[bias]) for bias in itertools.takewhile(shapes.__contains__, biases))
        if found != config.critic:
            raise ValueError(f"critic={config.critic} in its settings, {found} in its weights; use an earlier file")

    def update(self, batch: Batch) -> dict[str, float]:
        self.algorithm.rollout_buffer = _Rollout(self.samples(batch))
        with self._own_random_state():  # conjugate gradients begin at random
            self.algorithm.train()
        found = self.algorithm.logger.name_to_value
        named = {name.removeprefix("train/"): float(value) for name, value in found.items()}
        for name, value in named.items():
            # A line search that finds only NaN moves nothing, and says nothing. No variance is no fault.
            if not math.isfinite(value) and name != "explained_variance":
                raise self.gone_wrong(f"{name} is {value}")
        return {name: value for name, value in named.items() if name not in ("n_updates", "std")}

    @torch.no_grad()
    def samples(self, batch: Batch) -> RolloutBufferSamples:
        """The batch as stable-baselines3 wants it, valid steps only."""
        batch = batch if self.core.bandit else batch.one_action_a_state()
        values = self.algorithm.policy.predict_values(batch.observation.flatten(0, 1)).view_as(batch.valid)
        advantage, returns = estimate(batch, values, self.gamma, self.config.gae_lambda)
        on = batch.valid.bool()
        return RolloutBufferSamples(
            observations=batch.observation[on],
            actions=batch.action[:, on],
            old_values=values[on],
            old_log_prob=batch.log_prob[:, on],
            advantages=advantage[:, on],
            returns=returns.mean(dim=0)[on],
        )

    @contextlib.contextmanager
    def _own_random_state(self) -> Iterator[None]:
        """Inside, torch's global generators go on from ours; then they are as before."""
        seed = int(torch.randint(1 << 62, (), generator=self.generator, device=self.device))
        cuda = [self.device.index or 0] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
            for index in cuda:
                torch.cuda.set_rng_state(torch.Generator(self.device).manual_seed(seed).get_state(), index)
            yield


def estimate(batch: Batch, values: Tensor, gamma: float, gae_lambda: float) -> tuple[Tensor, Tensor]:
    """Generalised advantages (Schulman et al., 2016) and returns, both [K, B, T], of values [B, T]."""
    reward, valid = batch.reward.float(), batch.valid.float()
    advantage, ahead = torch.zeros_like(reward), torch.zeros_like(reward[..., 0])
    for t in reversed(range(reward.shape[-1])):
        on = valid[:, t + 1] if t + 1 < reward.shape[-1] else torch.zeros_like(valid[:, t])
        following = values[:, t + 1] if t + 1 < reward.shape[-1] else torch.zeros_like(valid[:, t])
        # delta_t = r_t + gamma V(s_{t+1}) - V(s_t);  A_t = delta_t + gamma lambda A_{t+1}
        ahead = reward[..., t] + gamma * following * on - values[:, t] + gamma * gae_lambda * on * ahead
        advantage[..., t] = ahead
    return advantage, advantage + values
