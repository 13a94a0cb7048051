"""TRPO (Schulman et al., 2015) of sb3-contrib, with the Fisher information of our policy in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from sb3_contrib import TRPO as ContribTRPO
from torch import Tensor, nn

from sketchless.datasets.errors import ConfigError

from ..config import AgentConfig
from ..gaussian import fisher_product
from .base import ActorCritic, CriticConfig


@dataclass(frozen=True)
class TRPOConfig(CriticConfig):
    """Settings of TRPO; the learning rate is the critic's."""

    target_kl: float = 0.03
    """Nats by which an update may move the policy, on average over states."""
    cg_steps: int = 15
    """Steps of conjugate gradients."""
    cg_damping: float = 0.1
    """Added to the diagonal of the Fisher matrix."""
    critic_updates: int = 10
    """Steps of the critic per update."""

    _positive: ClassVar[tuple[str, ...]] = ("target_kl", "cg_steps", "cg_damping", "critic_updates")
    _unread: ClassVar[tuple[str, ...]] = (*CriticConfig._unread, "value_weight", "max_grad_norm")


class ClosedFormTRPO(ContribTRPO):
    """`TRPO` that multiplies by the Fisher matrix without differentiating twice."""

    def hessian_vector_product(
        self, params: list[nn.Parameter], grad_kl: Tensor, vector: Tensor, retain_graph: bool = True
    ) -> Tensor:
        policy: Any = self.policy
        (batch,) = self.rollout_buffer.get()
        part = dict(zip(params, vector.split([p.numel() for p in params]), strict=True))
        linear, log_std = policy.action_net, policy.log_std
        shaped = part[linear.weight].view_as(linear.weight), part[linear.bias], part[log_std]
        with torch.no_grad():
            moved = fisher_product(batch.observations, log_std, shaped)
        product = dict(zip((linear.weight, linear.bias, log_std), moved, strict=True))
        return torch.cat([product[p].flatten() for p in params]) + self.cg_damping * vector


class TRPO(ActorCritic):
    """Trust region policy optimisation with a critic; see `Agent` for the arguments."""

    name = "trpo"
    Config = TRPOConfig
    presets: ClassVar[dict[str, AgentConfig]] = {"default": TRPOConfig()}

    def algorithm_with(self, common: dict[str, Any]) -> ContribTRPO:
        config = self.config
        if not config.train_log_std:
            raise ConfigError("train_log_std=False: the trust region of trpo moves sigma as well; leave it on")
        # max  mean rho A   subject to   mean KL(pi || pi_old) <= delta:   step along F^-1 g, then search the line
        return ClosedFormTRPO(
            **common,
            target_kl=config.target_kl,
            cg_max_steps=config.cg_steps,
            cg_damping=config.cg_damping,
            n_critic_updates=config.critic_updates,
        )
