"""The task as one would write it in an afternoon: a plain numpy `gym.Env`, for the benchmark to compare with.

It shares no code with `sketchless.envs`.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau

Array = npt.NDArray[np.float32]


class PlainEnv(gym.Env[Array, Array]):
    """One sketch per episode; each step refines an embedding, ranks the gallery by it and shows the next frame.

    Observation: float32 [D] in -1..1, the feature of the frame on show.
    Action: float32 [d] in -1..1; embedding = normalise(embedding of the frame + action).
    Reward: 1 / rank; with `tau` Eq. 4 of Bhunia et al. (CVPR 2020), the part about a step paid one step later.
        The Kendall-tau distance is (1 - tau-b) / 2: exact where no two photos are equally near.
    Episode: `terminated` after the last of the T frames; every sketch has T.
    Info: `rank`, 1..G.
    Reset options: `{"sketch": row}`.

    Args:
        features: [N, T, D], rows of length 1.
        embeddings: [N, T, d], of the frames, rows of length 1.
        gallery: [G, d], rows of length 1.
        targets: [N], row in the gallery of each sketch's photo.
        tau: whether to pay the part with the Kendall-tau distance.
        gamma2: its weight.
    """

    def __init__(
        self,
        features: Array,
        embeddings: Array,
        gallery: Array,
        targets: npt.NDArray[np.int64],
        tau: bool = False,
        gamma2: float = 1e-4,
    ) -> None:
        self.features, self.embeddings, self.gallery, self.targets = features, embeddings, gallery, targets
        self.tau, self.gamma2 = tau, gamma2
        self.observation_space = gym.spaces.Box(-1.0, 1.0, features.shape[2:], np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, gallery.shape[1:], np.float32)
        self.sketch = self.step_count = 0
        self.last_list: Array | None = None
        self.last_tau: float | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self.sketch = (options or {}).get("sketch", int(self.np_random.integers(len(self.features))))
        self.step_count = 0
        self.last_list = self.last_tau = None
        return self.features[self.sketch, 0].copy(), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        refined = self.embeddings[self.sketch, self.step_count] + action
        refined = refined / np.linalg.norm(refined)
        distances = np.linalg.norm(self.gallery - refined, axis=1)  # [G]
        rank = int((distances <= distances[self.targets[self.sketch]]).sum())
        reward = 1 / rank
        if self.tau:
            reward -= self.gamma2 * self._trajectory_penalty(distances)
        self.step_count += 1
        terminated = self.step_count == self.features.shape[1]
        frame = min(self.step_count, self.features.shape[1] - 1)
        return self.features[self.sketch, frame].copy(), reward, terminated, False, {"rank": rank}

    def _trajectory_penalty(self, distances: Array) -> float:
        """max(0, rise of the Kendall-tau distance between neighbouring lists), 0 while there are fewer than three."""
        rise = 0.0
        if self.last_list is not None:
            tau = (1 - float(kendalltau(self.last_list, distances).statistic)) / 2
            if self.last_tau is not None:
                rise = max(0.0, tau - self.last_tau)
            self.last_tau = tau
        self.last_list = distances
        return rise
