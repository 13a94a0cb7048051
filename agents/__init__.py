"""Policies that learn: everything has stable-baselines3's `learn`, `predict`, `save`, `load`."""

from .policy import LinearGaussianPolicy, gaussian_log_prob
from .ppo_a_clip import PRESETS, PPOAClip, PPOConfig
from .registry import AGENTS, agent_class, make_agent

__all__ = [
    "AGENTS",
    "PRESETS",
    "LinearGaussianPolicy",
    "PPOAClip",
    "PPOConfig",
    "agent_class",
    "gaussian_log_prob",
    "make_agent",
]
