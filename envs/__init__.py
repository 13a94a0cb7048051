"""Episodes: ranking, rewards, the batched core and its Gymnasium shells. Importing this registers the ids."""

import sys

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
    "State",
    "Step",
    "StopCore",
    "Terms",
    "ToNumpy",
    "Transition",
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
    "snap",
    "target_rank",
    "thin_frames",
    "top",
    "with_distractors",
]
