"""Policies that learn: everything has stable-baselines3's `learn`, `predict`, `save`, `load`."""

from .on_device import DeviceA2C, DevicePPO, DeviceTRPO, OnDeviceRollouts, TensorRolloutBuffer
from .policy import LinearGaussianPolicy, gaussian_log_prob
from .ppo_a_clip import PRESETS, PPOAClip, PPOConfig
from .registry import AGENTS, agent_class, make_agent

__all__ = [
    "AGENTS",
    "PRESETS",
    "DeviceA2C",
    "DevicePPO",
    "DeviceTRPO",
    "LinearGaussianPolicy",
    "OnDeviceRollouts",
    "PPOAClip",
    "PPOConfig",
    "TensorRolloutBuffer",
    "agent_class",
    "gaussian_log_prob",
    "make_agent",
]
