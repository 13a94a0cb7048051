"""PPO-AC-KL: PPO of stable-baselines3 with an adaptive KL penalty in place of the clip, and a critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from stable_baselines3 import PPO
from torch.nn.functional import mse_loss

from ..config import AgentConfig
from ..gaussian import gaussian_kl
from ..policy_gradient.ppo_a_kl import adapted
from .base import ActorCritic, CriticConfig


@dataclass(frozen=True)
class ACKLConfig(CriticConfig):
    """Settings of PPO with a KL penalty and a critic."""

    epochs: int = 4
    """Gradient steps per update."""
    target_kl: float = 0.05
    """Nats by which an update should move the policy, on average over states."""
    init_beta: float = 1.0
    """Coefficient of the penalty to begin with; it adapts once per batch."""

    _positive: ClassVar[tuple[str, ...]] = ("epochs", "target_kl", "init_beta")


class PenalisedPPO(PPO):
    """`PPO` whose `train` penalises KL(pi_old || pi) by `beta`, and notes the divergence that it ends with."""

    beta: float
    moved: float

    def train(self) -> None:
        policy: Any = self.policy
        self._update_learning_rate(policy.optimizer)
        (batch,) = self.rollout_buffer.get()
        with torch.no_grad():
            old_mean, old_log_std = policy.action_net(batch.observations), policy.log_std.clone()
        advantage = batch.advantages
        if self.normalize_advantage:
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        for _ in range(self.n_epochs):
            values, log_prob, _ = policy.evaluate_actions(batch.observations, batch.actions)
            kl = gaussian_kl(old_mean, old_log_std, policy.action_net(batch.observations), policy.log_std).mean()
            # max  mean rho A - beta KL(pi_old || pi) - w (V - R)^2,   A from the critic
            gain = (torch.exp(log_prob - batch.old_log_prob) * advantage).mean()
            value_loss = mse_loss(values.flatten(), batch.returns)
            loss = self.beta * kl - gain + self.vf_coef * value_loss
            policy.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), self.max_grad_norm)
            policy.optimizer.step()
        with torch.no_grad():
            mean = policy.action_net(batch.observations)
            self.moved = float(gaussian_kl(old_mean, old_log_std, mean, policy.log_std).mean())
        for name, value in (
            ("loss", loss.item()),
            ("value_loss", value_loss.item()),
            ("beta", self.beta),
            ("kl", self.moved),
        ):
            self.logger.record(f"train/{name}", value)


class PPOACKL(ActorCritic):
    """PPO with a KL penalty and a critic; see `Agent` for the arguments."""

    name = "ppo-ac-kl"
    Config = ACKLConfig
    presets: ClassVar[dict[str, AgentConfig]] = {"default": ACKLConfig()}

    def algorithm_with(self, common: dict[str, Any]) -> PPO:
        config = self.config
        self.numbers["beta"] = config.init_beta
        return PenalisedPPO(
            **common,
            n_epochs=config.epochs,
            vf_coef=config.value_weight,
            max_grad_norm=config.max_grad_norm,
        )

    def update(self, batch: Any) -> dict[str, float]:
        self.algorithm.beta = self.numbers["beta"]
        logged = super().update(batch)
        self.numbers["beta"] = adapted(self.numbers["beta"], self.algorithm.moved, self.config.target_kl)
        return logged
