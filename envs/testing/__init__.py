"""Checks for tests of your own: the rules that environments, rewards, policies and agents keep.

Each check plays what it is given and raises `BrokenRule`, whose message begins with the name of a rule in `RULES`.
"""

from .actions import Matters, check_actions_matter
from .policies import check_agent, check_causal
from .rewards import check_reward
from .rules import RULES, BrokenRule
from .vector_envs import check_vector_env

__all__ = [
    "RULES",
    "BrokenRule",
    "Matters",
    "check_actions_matter",
    "check_agent",
    "check_causal",
    "check_reward",
    "check_vector_env",
]
