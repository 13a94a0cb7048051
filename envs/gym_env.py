"""The Gymnasium environment: a batch of one around the core, in numpy."""

from __future__ import annotations

import copy
import os
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.envs.registration import EnvSpec
from typing_extensions import Self, Unpack

from sketchless.datasets.checks import as_seed
from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.encoders.bank import EpisodeBank

from .core import Core, State, Transition
from .info import by_row, no_step_info, step_info
from .inputs import as_action, as_render_mode
from .keywords import EnvKeywords, open_core, with_length
from .rendering.camera import Camera
from .rendering.window import has_display

Array = npt.NDArray[np.float32]


class OnTheFlyEnv(gym.Env[Array, Array]):
    """On-the-fly fine-grained sketch-based image retrieval, one drawing per episode.

    Someone draws; at every step a gallery of G photos is ranked by the refined embedding of the drawing so
    far; the photo that the sketch depicts should come up early (Bhunia et al., "Sketch Less for More", CVPR
    2020).

    Observation: float32 [D] in -1..1, the frozen stage-1 feature of the frame on show
        (`observation="embedding"`: float32 [d], its embedding).
    Action: float32 [d] in -1..1. `mode="residual"`: embedding = normalise(b + scale * a), so zeros are the
        baseline B1; `mode="absolute"`: embedding = normalise(a). Longer actions are scaled into the box.
    Reward: the scheme's local part for the rank of this step plus its trajectory part for the step before
        (Eq. 4: 1/rank - gamma2 * max(0, rise of the Kendall-tau distance)).
    Episode: `reset` shows the first frame; each `step` ranks, pays and shows the next. After the last frame
        `terminated` is True and the complete sketch stays on show. Never truncated.
    Info: `step` (frames ranked so far, 0..T), `sketch_id`, `photo_id`, and of the step just made `rank` (1..G,
        ties against us), `percentile` (0..1), `reciprocal_rank` (0..1], `is_success` (rank 1) and `reward_terms`
        (`local`, and `trajectory`, which is about the step before). After `reset` nothing is ranked, and they are 0.
    Reset options: `{"sketch_id": "..."}` chooses the drawing.

    Args:
        bank: an `EpisodeBank`, the path of a bank file, or the name of one that ships.
        split: of the bank file: `"train"` (default), `"validation"` or `"test"`; an `EpisodeBank` has its own.
        reward: name, function of (rank, G) or of a `Step`, or `RewardScheme`.
        mode, observation, scale: as above.
        device: where the core computes: `"auto"` (default), `"cpu"`, `"cuda"` ...; observations are numpy all the same.
        render_mode: `"rgb_array"`: the sketch so far beside the top five photos; `"ansi"`: the same in text;
            `"human"`: a window with the picture, after every reset and step.
        dataset: where drawings and photos for rendering come from; by default what the bank was made from.
        task: `"on-the-fly"`, or `"carry"` with `decay` or `"stop"` with `stroke_cost`, which `CarryCore` and `StopCore`
            describe.

    Raises:
        ConfigError, DataError, CheckpointError: see `EpisodeBank.load` and `Core`; `"human"` without a display.

    >>> import gymnasium as gym, sketchless.envs
    >>> env = gym.make("sketchless/OnTheFly-v0")
    >>> observation, info = env.reset(seed=0)
    >>> ranks = []
    >>> for _ in range(20):
    ...     observation, reward, terminated, truncated, info = env.step(0 * env.action_space.sample())
    ...     ranks.append(info["rank"])
    >>> terminated, len(ranks), ranks[-1] <= ranks[0]
    (True, 20, True)
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (the base class declares it so)
        "render_modes": ["human", "rgb_array", "ansi"],
        "render_fps": 4,
    }

    _spec: EnvSpec | None = None

    def __init__(
        self, bank: EpisodeBank | str | os.PathLike[str] = "procedural", **keywords: Unpack[EnvKeywords]
    ) -> None:
        self.core = open_core(bank, **keywords)
        self.observation_space = gym.spaces.Box(-1.0, 1.0, (self.core.observation_dim,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (self.core.action_dim,), np.float32)
        self.render_mode = as_render_mode(keywords.get("render_mode"), self.metadata["render_modes"])
        self._camera = Camera(self.core, self.render_mode, keywords.get("dataset"), self.metadata["render_fps"])
        if not has_display():  # or checkers, which try every mode that an environment names, would ask for a window
            self.metadata = self.metadata | {"render_modes": ["rgb_array", "ansi"]}
        self._state: State | None = None
        self._played: State | None = None  # where the last action was played
        self._last: Transition | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        sketch = self._sketch(options or {})
        chosen = None if seed is None else as_seed(seed)
        super().reset(seed=chosen)
        if chosen is not None or self._state is None:
            key = int(self.np_random.integers(2**63)) if chosen is None else chosen
            self._state = self.core.reset(torch.tensor([key], device=self.core.device))
        else:
            self._state = self.core.next_episode(self._state, torch.tensor([True], device=self.core.device))
        if sketch is not None:
            self._state = self._state._replace(sketch=torch.full_like(self._state.sketch, sketch))
        self._played = self._last = None
        self._show()
        return self._observation(), self._info()

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        if self._state is None or (self._last is not None and bool(self._last.terminated)):
            fault = "before the first reset" if self._state is None else "after the end of the episode"
            raise ConfigError(f"step called {fault}: call reset first")
        given = as_action(action, (self.core.action_dim,), self.core.device)
        self._played = self._state
        self._last = self.core.step(self._state, given.unsqueeze(0))
        self._state = self._last.state
        self._show()
        return self._observation(), float(self._last.reward), bool(self._last.terminated), False, self._info()

    @property
    def spec(self) -> EnvSpec | None:
        """As `gym.make` sets it, with the steps of an episode where all have as many."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = with_length(spec, self.core)

    @property
    def core_settings(self) -> dict[str, Any]:
        """Settings of its core as plain values: also for an environment in another process."""
        return self.core.settings

    def on(self, core: Core) -> Self:
        """The same environment on another core, before its first reset and without pictures."""
        other = copy.copy(self)
        other.core, other.render_mode = core, None
        other._state = other._played = other._last = None
        return other

    def render(self) -> Any:
        if self.render_mode is None:
            gym.logger.warn("render() needs a render_mode: make the environment with render_mode='rgb_array'")
            return None
        if self._state is None:
            raise ConfigError("render called before the first reset: call reset first")
        return self._camera.picture(self._played or self._state, 0, self._last)

    def close(self) -> None:
        self._camera.close()

    def _show(self) -> None:
        if self.render_mode == "human":
            self.render()

    def _sketch(self, options: dict[str, Any]) -> int | None:
        for name in options:
            if name != "sketch_id":
                raise unknown_name("reset option", name, ["sketch_id"])
        if "sketch_id" not in options:
            return None
        ids = self.core.bank.sketch_ids
        if options["sketch_id"] not in ids:
            raise unknown_name("sketch_id", options["sketch_id"], ids)
        return ids.index(options["sketch_id"])

    def _observation(self) -> Array:
        assert self._state is not None
        observation: Array = self.core.observe(self._state)[0].cpu().numpy().copy()
        return observation

    def _info(self) -> dict[str, Any]:
        assert self._state is not None
        bank, sketch, step = self.core.bank, int(self._state.sketch), int(self._state.step)
        last = self._last
        told_of = (
            no_step_info(1, self.core.device) if last is None else step_info(last.rank, self.core.n_photos, last.terms)
        )
        return {
            "step": step + 1 if last is not None and bool(last.terminated) else step,
            "sketch_id": bank.sketch_ids[sketch],
            "photo_id": bank.photo_ids[int(bank.targets[sketch])],
            **by_row(told_of)[0],
        }
