"""Policies that learn: everything has stable-baselines3's `learn`, `predict`, `save`, `load`."""

from .agent import Agent, AgentConfig, Batch, advantages, average, core_of
from .b1 import B1
from .frame_triplet import FrameTriplet, TripletConfig
from .grpo import GRPO, GRPOConfig
from .on_device import DeviceA2C, DevicePPO, DeviceTRPO, OnDeviceRollouts, TensorRolloutBuffer
from .policy import (
    LinearGaussianPolicy,
    PerStepGaussianPolicy,
    RecurrentGaussianPolicy,
    gaussian_entropy,
    gaussian_kl,
    gaussian_log_prob,
)
from .ppo_a_clip import PPOAClip, PPOConfig
from .ppo_a_kl import PPOAKL, KLConfig
from .ppo_ac_clip import ACClipConfig, PPOACClip
from .ppo_ac_kl import PPOACKL, ACKLConfig
from .rank_softmax import RankSoftmax, SoftmaxConfig
from .registry import AGENTS, agent_class, make_agent
from .sodeep import SoDeep, SoDeepConfig
from .sorter import Sorter, exact_ranks, sigmoid_ranks, train_sorter
from .supervised import Supervised, SupervisedConfig
from .trpo import TRPO, TRPOConfig
from .vpg import VPG

__all__ = [
    "AGENTS",
    "B1",
    "GRPO",
    "PPOACKL",
    "PPOAKL",
    "TRPO",
    "VPG",
    "ACClipConfig",
    "ACKLConfig",
    "Agent",
    "AgentConfig",
    "Batch",
    "DeviceA2C",
    "DevicePPO",
    "DeviceTRPO",
    "FrameTriplet",
    "GRPOConfig",
    "KLConfig",
    "LinearGaussianPolicy",
    "OnDeviceRollouts",
    "PPOACClip",
    "PPOAClip",
    "PPOConfig",
    "PerStepGaussianPolicy",
    "RankSoftmax",
    "RecurrentGaussianPolicy",
    "SoDeep",
    "SoDeepConfig",
    "SoftmaxConfig",
    "Sorter",
    "Supervised",
    "SupervisedConfig",
    "TRPOConfig",
    "TensorRolloutBuffer",
    "TripletConfig",
    "advantages",
    "agent_class",
    "average",
    "core_of",
    "exact_ranks",
    "gaussian_entropy",
    "gaussian_kl",
    "gaussian_log_prob",
    "make_agent",
    "sigmoid_ranks",
    "train_sorter",
]
