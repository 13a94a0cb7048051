"""Policies that learn: everything has stable-baselines3's `learn`, `predict`, `save`, `load`."""

from .actor_critic.on_device import DeviceA2C, DevicePPO, DeviceTRPO, OnDeviceRollouts, TensorRolloutBuffer
from .actor_critic.ppo_ac_clip import ACClipConfig, PPOACClip
from .actor_critic.ppo_ac_kl import PPOACKL, ACKLConfig
from .actor_critic.trpo import TRPO, TRPOConfig
from .agent import Agent
from .b1 import B1
from .batch import Batch, average
from .config import AgentConfig
from .policies.linear import LinearGaussianPolicy
from .policies.memory import LSTMGaussianPolicy, PerStepGaussianPolicy, RecurrentGaussianPolicy
from .policies.sequence import AttentionGaussianPolicy, BidirectionalGaussianPolicy, UnmaskedAttentionGaussianPolicy
from .policy_gradient.grpo import GRPO, GRPOConfig
from .policy_gradient.ppo_a_clip import PPOAClip, PPOConfig
from .policy_gradient.ppo_a_kl import PPOAKL, KLConfig
from .policy_gradient.vpg import VPG
from .registry import AGENTS, agent_class, load_agent, make_agent
from .supervised.base import Supervised, SupervisedConfig
from .supervised.frame_triplet import FrameTriplet, TripletConfig
from .supervised.mgal import MGAL, MGALConfig
from .supervised.rank_softmax import RankSoftmax, SoftmaxConfig
from .supervised.sodeep import SoDeep, SoDeepConfig
from .together import can_learn_together, learn_together

__all__ = [
    "AGENTS",
    "B1",
    "GRPO",
    "MGAL",
    "PPOACKL",
    "PPOAKL",
    "TRPO",
    "VPG",
    "ACClipConfig",
    "ACKLConfig",
    "Agent",
    "AgentConfig",
    "AttentionGaussianPolicy",
    "Batch",
    "BidirectionalGaussianPolicy",
    "DeviceA2C",
    "DevicePPO",
    "DeviceTRPO",
    "FrameTriplet",
    "GRPOConfig",
    "KLConfig",
    "LSTMGaussianPolicy",
    "LinearGaussianPolicy",
    "MGALConfig",
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
    "Supervised",
    "SupervisedConfig",
    "TRPOConfig",
    "TensorRolloutBuffer",
    "TripletConfig",
    "UnmaskedAttentionGaussianPolicy",
    "agent_class",
    "average",
    "can_learn_together",
    "learn_together",
    "load_agent",
    "make_agent",
]
