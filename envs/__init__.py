"""Episodes: ranking, rewards, the batched core and its Gymnasium shells. Importing this registers the ids."""

import sys
from typing import TYPE_CHECKING

from sketchless.datasets.lazy import on_demand
from sketchless.encoders.transforms import (
    drop_frames,
    principal_directions,
    project,
    resize_gallery,
    thin_frames,
    with_distractors,
)

from .carry import CarryCore
from .core import Core, Score, State, Terms, Transition
from .game import noise
from .gym_env import OnTheFlyEnv
from .ranking import kendall_tau_distance, percentile, similarity, snap, target_rank
from .registration import register
from .rendering.camera import dataset_of
from .rewards import REWARDS, RewardScheme, Step, combined, make_reward, shaped, top
from .stop import StopCore
from .tasks import TASKS, make_core
from .vector_env import OnTheFlyVectorEnv
from .wrappers import NormalizeReward, ToNumpy

if TYPE_CHECKING:
    from . import sketch_game_v0
    from .sb3_env import SketchVecEnv
    from .testing import check_actions_matter, check_agent, check_causal, check_reward, check_vector_env

register()
sys.modules[f"{__name__}.noise"] = noise  # its path in 0.1

__all__ = [
    "REWARDS",
    "TASKS",
    "CarryCore",
    "Core",
    "NormalizeReward",
    "OnTheFlyEnv",
    "OnTheFlyVectorEnv",
    "RewardScheme",
    "Score",
    "SketchVecEnv",
    "State",
    "Step",
    "StopCore",
    "Terms",
    "ToNumpy",
    "Transition",
    "check_actions_matter",
    "check_agent",
    "check_causal",
    "check_reward",
    "check_vector_env",
    "combined",
    "dataset_of",
    "drop_frames",
    "kendall_tau_distance",
    "make_core",
    "make_reward",
    "percentile",
    "principal_directions",
    "project",
    "register",
    "resize_gallery",
    "shaped",
    "similarity",
    "sketch_game_v0",
    "snap",
    "target_rank",
    "thin_frames",
    "top",
    "with_distractors",
]

if not TYPE_CHECKING:  # on demand: stable-baselines3 and PettingZoo take seconds to import
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            "SketchVecEnv": "sb3_env",
            "check_actions_matter": "testing",
            "check_agent": "testing",
            "check_causal": "testing",
            "check_reward": "testing",
            "check_vector_env": "testing",
        },
    )
