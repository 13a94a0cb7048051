"""Environment ids."""

from __future__ import annotations

import gymnasium as gym


def register() -> None:
    """Register every id with Gymnasium; done on importing `sketchless.envs`."""
    # Twenty equal shares of the sketch, the protocol of the paper.
    gym.register(
        id="sketchless/OnTheFly-v0",
        entry_point="sketchless.envs.gym_env:OnTheFlyEnv",
        vector_entry_point="sketchless.envs.vector_env:OnTheFlyVectorEnv",
    )
    # One stroke a step: episodes differ in length.
    gym.register(
        id="sketchless/Strokes-v0",
        entry_point="sketchless.envs.gym_env:OnTheFlyEnv",
        vector_entry_point="sketchless.envs.vector_env:OnTheFlyVectorEnv",
        kwargs={"bank": "procedural-strokes"},
    )
    # What an action adds is carried along.
    gym.register(
        id="sketchless/Carry-v0",
        entry_point="sketchless.envs.gym_env:OnTheFlyEnv",
        vector_entry_point="sketchless.envs.vector_env:OnTheFlyVectorEnv",
        kwargs={"task": "carry"},
    )
    # The searcher decides when to show the list; every stroke costs.
    gym.register(
        id="sketchless/Stop-v0",
        entry_point="sketchless.envs.gym_env:OnTheFlyEnv",
        vector_entry_point="sketchless.envs.vector_env:OnTheFlyVectorEnv",
        kwargs={"task": "stop", "reward": "inv-rank"},
    )
