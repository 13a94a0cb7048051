"""One episode, step by step, for the eye: the baseline beside a refined policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sketchless.encoders.bank import EpisodeBank
from sketchless.envs.core import Core
from sketchless.envs.rendering.camera import dataset_of
from sketchless.envs.rendering.renderer import Renderer


def episode_frames(agent: Any, bank: EpisodeBank, sketch: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Pictures of every step of one drawing: the sketch, and the top five photos of B1 and of the agent.

    Raises:
        DataError, ConfigError: the data set behind the bank cannot be read.
    """
    cores = {
        "B1": Core(bank, "inv-rank", "residual"),
        "refined": Core(bank, "inv-rank", agent.core.mode, agent.core.observation, agent.core.scale),
    }
    renderer = Renderer(bank, dataset_of(bank))
    row = torch.tensor([sketch], device=bank.features.device)
    states = {name: core.reset(row, sketch=row) for name, core in cores.items()}
    for step in range(int(bank.lengths[sketch])):
        rows = []
        for name, core in cores.items():
            action = torch.zeros(1, core.action_dim, device=core.device)
            if name == "refined":
                action, _ = agent.predict(core.observe(states[name]), deterministic=True)
            outcome = core.step(states[name], action)
            states[name] = outcome.state
            order = outcome.similarity[0].argsort(descending=True, stable=True).tolist()
            rows.append((name, order, int(outcome.rank)))
        yield renderer.compare(sketch, step, rows)
