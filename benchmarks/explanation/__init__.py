"""Why a photo is found: attention, correspondences, and which ink moved the rank."""

from .episode import explain_episode
from .pair import explain

__all__ = ["explain", "explain_episode"]
