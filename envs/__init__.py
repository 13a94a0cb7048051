"""Episodes: ranking, rewards, the batched core and its Gymnasium shells. Importing this registers the ids."""

from .camera import dataset_of
from .core import Core, Score, State, Terms, Transition
from .gym_env import OnTheFlyEnv
from .ranking import kendall_tau_distance, percentile, similarity, snap, target_rank
from .registration import register
from .rewards import REWARDS, RewardScheme, combined, make_reward, top
from .vector_env import OnTheFlyVectorEnv
from .wrappers import (
    NormalizeReward,
    ToNumpy,
    drop_frames,
    principal_directions,
    project,
    resize_gallery,
    thin_frames,
    with_distractors,
)

register()

__all__ = [
    "REWARDS",
    "Core",
    "NormalizeReward",
    "OnTheFlyEnv",
    "OnTheFlyVectorEnv",
    "RewardScheme",
    "Score",
    "State",
    "Terms",
    "ToNumpy",
    "Transition",
    "combined",
    "dataset_of",
    "drop_frames",
    "kendall_tau_distance",
    "make_reward",
    "percentile",
    "principal_directions",
    "project",
    "register",
    "resize_gallery",
    "similarity",
    "snap",
    "target_rank",
    "thin_frames",
    "top",
    "with_distractors",
]
