"""The game of keeping and refining for PettingZoo: `parallel_env`, `raw_env` and `env` (AEC)."""

from __future__ import annotations

import copy
import operator
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium.spaces import Box, Discrete, Space
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils import OrderEnforcingWrapper
from pettingzoo.utils.conversions import parallel_to_aec_wrapper

from sketchless.datasets.checks import as_count, as_seed
from sketchless.datasets.dataset import SketchDataset
from sketchless.datasets.errors import ConfigError, unknown_name
from sketchless.encoders.bank import EpisodeBank, bank_path
from sketchless.encoders.networks.encoder import Encoder
from sketchless.encoders.registry import load_encoder

from .game.core import Game, Outcome, Position
from .game.subsets import strokes_of
from .info import by_row, no_step_info, step_info
from .inputs import as_action, open_bank
from .ranking import described
from .rendering.camera import dataset_of
from .rendering.game import GameRenderer
from .rewards import Local, RewardScheme

__all__ = ["SketchGame", "env", "parallel_env", "raw_env"]

Array = npt.NDArray[np.float32]
Told = dict[str, Any]

SELECTOR, REFINER = "selector_0", "refiner_0"  # numbered, as PettingZoo recommends


class SketchGame(ParallelEnv[str, Array, Any]):  # type: ignore[misc]  # pettingzoo has no types
    """Two agents on one drawing: the selector keeps or drops each new stroke, the refiner refines what is kept.

    A drawn stroke may hurt retrieval; one that is dropped is as if it had never been drawn. Of the papers this
    joins on-the-fly retrieval (Bhunia et al., CVPR 2020) and noise-tolerant retrieval (Bhunia et al., "Sketching
    without Worrying", CVPR 2022).

    One step is one stroke, and both agents act at once on the same sight:

        reset   stroke 1 is drawn
        step t  both see x(K) and x(K + stroke t): what is kept, without and with the new stroke
                the selector makes of K the set K', the refiner gives a displacement a
                photos are ranked by normalise(b(K') + scale * a); both are paid for the rank
                stroke t + 1 is drawn

    Observation of both: float32 [2 D] in -1..1, the frozen features of the two sets. A blank page has one too.
    Action of `selector_0`: 0 drops the new stroke, 1 keeps it. A decision is final.
    Action of `refiner_0`: float32 [d] in -1..1, zeros are the frozen embedding; a longer one is scaled into the box.
    Reward of both: the local part of the reward scheme for the rank.
    Episode: one step a stroke, then `terminated`; `truncated` after `max_cycles` steps. Then `agents` is empty.
    Info of both: `stroke` (strokes decided, 0..T), `kept` (their numbers, from 0), `sketch_id`, `photo_id`, and of the
        step just made `rank` (1..G, ties against us), `percentile` (0..1), `reciprocal_rank`, `is_success` (rank 1);
        0 before the first.
    Reset options: `{"sketch_id": "..."}` chooses the drawing; others are ignored, as PettingZoo's tests demand.
    State: the observation.

    Args:
        bank: an `EpisodeBank`, the path of a bank file, or the name of one that ships.
        encoder: the one that made the bank, or the path of its file; by default `<bank>-encoder.safetensors`.
        dataset: has the strokes; by default what the bank was made from.
        trust: each `module:attribute` that may be imported where the encoder's file names it as its backbone.
        split: of the bank file: `"train"` (default), `"validation"` or `"test"`; an `EpisodeBank` has its own.
        reward, scale, capacity: see `Game`.
        max_cycles: steps after which a game is cut short; None: none.
        device: where the game computes, unless an `Encoder` is given: then where that is. Observations are numpy
            all the same.
        render_mode: `"rgb_array"`: kept strokes dark, dropped ones light red, beside the top five photos;
            `"ansi"`: the kept ones in text; `"human"`: the text, printed after every step.

    Raises:
        ConfigError, DataError, CheckpointError, UnsafeFileError: see `EpisodeBank.load`, `load_encoder` and `Game`.

    >>> from sketchless.envs import sketch_game_v0
    >>> game = sketch_game_v0.parallel_env()
    >>> observations, infos = game.reset(seed=0)
    >>> while game.agents:
    ...     actions = {"selector_0": 1, "refiner_0": 0 * game.action_space("refiner_0").sample()}
    ...     observations, rewards, terminations, truncations, infos = game.step(actions)
    >>> len(infos["selector_0"]["kept"]) == infos["selector_0"]["stroke"], rewards["selector_0"] == rewards["refiner_0"]
    (True, True)
    """

    metadata: Told = {  # noqa: RUF012 (the base class declares it so)
        "name": "sketch_game_v0",
        "render_modes": ["human", "rgb_array", "ansi"],
        "render_fps": 4,
        "is_parallelizable": True,
    }

    def __init__(
        self,
        bank: EpisodeBank | str | os.PathLike[str] = "procedural",
        *,
        encoder: Encoder | str | os.PathLike[str] | None = None,
        dataset: SketchDataset | None = None,
        trust: Collection[str] = (),
        split: str | None = None,
        reward: str | Local | RewardScheme = "inv-rank",
        scale: float = 1.0,
        capacity: int = 1 << 16,
        max_cycles: int | None = None,
        device: str | torch.device = "auto",
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise unknown_name("render_mode", render_mode, self.metadata["render_modes"])
        self.max_cycles = None if max_cycles is None else as_count("max_cycles", max_cycles, 1)
        opened = open_bank(bank, split, device)
        self._dataset = dataset or dataset_of(opened)
        self.game = Game(opened, _open_encoder(encoder, bank, device, trust), self._dataset, reward, scale, capacity)
        self.render_mode = render_mode
        self.possible_agents = [SELECTOR, REFINER]
        self.agents: list[str] = []
        sight = (self.game.observation_dim,)
        self.state_space = Box(-1.0, 1.0, sight, np.float32)
        self._observed: dict[str, Space[Any]] = {
            agent: Box(-1.0, 1.0, sight, np.float32) for agent in self.possible_agents
        }
        self._acted: dict[str, Space[Any]] = {
            SELECTOR: Discrete(2),
            REFINER: Box(-1.0, 1.0, (self.game.core.action_dim,), np.float32),
        }
        self._position: Position | None = None
        self._last: Outcome | None = None
        self._renderer: GameRenderer | None = None

    def observation_space(self, agent: str) -> Space[Any]:
        return self._observed[agent]

    def action_space(self, agent: str) -> Space[Any]:
        return self._acted[agent]

    def reset(self, seed: int | None = None, options: Told | None = None) -> tuple[dict[str, Array], dict[str, Told]]:
        sketch = self._sketch(options or {})
        device = self.game.core.device
        if seed is not None or self._position is None:
            key = int(np.random.default_rng().integers(2**63)) if seed is None else as_seed(seed)
            self._position = self.game.reset(torch.tensor([key], device=device))
        else:
            self._position = self.game.next_game(self._position, torch.tensor([True], device=device))
        if sketch is not None:
            state = self._position.state
            self._position = self._position._replace(state=state._replace(sketch=torch.full_like(state.sketch, sketch)))
        self._last = None
        self.agents = self.possible_agents[:]
        self._print()
        return self._to_both(self.state()), self._to_both(self._info())

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[dict[str, Array], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Told]]:
        if self._position is None or not self.agents:
            fault = "before the first reset" if self._position is None else "after the end of the game"
            raise ConfigError(f"step called {fault}: call reset first")
        keep, displacement = self._read(actions)
        self._last = self.game.step(self._position, [keep], displacement.unsqueeze(0))
        self._position = self._last.position
        reward, terminated = float(self._last.reward), bool(self._last.terminated)
        cut = self.max_cycles is not None and int(self._position.state.step) >= self.max_cycles
        truncated = cut and not terminated
        told = (
            self._to_both(self.state()),
            self._to_both(reward),
            self._to_both(terminated),
            self._to_both(truncated),
            self._to_both(self._info()),
        )
        if terminated or truncated:
            self.agents = []
        self._print()
        return told

    def state(self) -> Array:
        """What both agents see, as a new array. Raises ConfigError before the first reset."""
        if self._position is None:
            raise ConfigError("state called before the first reset: call reset first")
        observation: Array = self.game.observe(self._position)[0].cpu().numpy().copy()
        return observation

    def render(self) -> Any:
        if self.render_mode is None:
            raise ConfigError("render() needs a render_mode: make the game with render_mode='rgb_array'")
        if self._position is None:
            raise ConfigError("render called before the first reset: call reset first")
        if self.render_mode == "human":
            return self._print()
        return self._drawn("rgb_array" if self.render_mode == "rgb_array" else "ansi")

    def close(self) -> None:
        """Nothing to release."""

    # Parts -----------------------------------------------------------------------------------------------

    def _to_both(self, told: Any) -> dict[str, Any]:
        """The same to each agent that is still there, each its own copy."""
        return {agent: copy.deepcopy(told) for agent in self.agents}

    def _read(self, actions: dict[str, Any]) -> tuple[bool, torch.Tensor]:
        if not isinstance(actions, Mapping):
            raise ConfigError(f"actions are a {type(actions).__name__}: want a dict of one for each agent")
        if missing := [agent for agent in self.agents if agent not in actions]:
            raise ConfigError(f"no action of the {missing[0]}: give one for each of {', '.join(self.agents)}")
        try:
            keep = operator.index(actions[SELECTOR])
        except TypeError:
            keep = -1
        if keep not in (0, 1):
            raise ConfigError(f"action {actions[SELECTOR]!r} of the selector: 0 drops the stroke, 1 keeps it")
        return bool(keep), as_action(actions[REFINER], (self.game.core.action_dim,), self.game.core.device)

    def _sketch(self, options: Told) -> int | None:
        if "sketch_id" not in options:
            return None
        ids = self.game.core.bank.sketch_ids
        if options["sketch_id"] not in ids:
            raise unknown_name("sketch_id", options["sketch_id"], ids)
        return ids.index(options["sketch_id"])

    def _info(self) -> Told:
        assert self._position is not None
        bank, sketch = self.game.core.bank, int(self._position.state.sketch)
        core, last = self.game.core, self._last
        told_of = no_step_info(1, core.device, paid=False) if last is None else step_info(last.rank, core.n_photos)
        return {
            "stroke": int(self._position.state.step),
            "kept": strokes_of(self._position.kept[0]),
            "sketch_id": bank.sketch_ids[sketch],
            "photo_id": bank.photo_ids[int(bank.targets[sketch])],
            **by_row(told_of)[0],
        }

    def _drawn(self, mode: str) -> Any:
        assert self._position is not None
        if self._renderer is None:
            self._renderer = GameRenderer(self.game.core.bank, self._dataset)
        state, ranking, rank = self._position.state, None, None
        if self._last is not None:
            ranking = self._last.similarity[0].argsort(descending=True, stable=True).tolist()
            rank = int(self._last.rank)
        return self._renderer.show(mode, self._position.kept[0], int(state.sketch), int(state.step), ranking, rank)

    def _print(self) -> None:
        if self.render_mode == "human":
            print(self._drawn("ansi"))


def parallel_env(**kwargs: Any) -> SketchGame:
    """The game in which both agents act at once. Arguments: see `SketchGame`."""
    return SketchGame(**kwargs)


def raw_env(**kwargs: Any) -> AECEnv[str, Array, Any]:
    """The same turn by turn, selector first: a step is made when both have acted. Arguments: see `SketchGame`."""
    return parallel_to_aec_wrapper(SketchGame(**kwargs))


def env(**kwargs: Any) -> AECEnv[str, Array, Any]:
    """`raw_env` with errors for calls out of order. Arguments: see `SketchGame`."""
    return OrderEnforcingWrapper(raw_env(**kwargs))


def _open_encoder(
    encoder: Encoder | str | os.PathLike[str] | None,
    bank: EpisodeBank | str | os.PathLike[str],
    device: str | torch.device,
    trust: Collection[str],
) -> Encoder:
    if isinstance(encoder, Encoder):
        return encoder
    if not (encoder is None or isinstance(encoder, str | os.PathLike)):
        raise ConfigError(f"encoder is {described(encoder)}: want the Encoder of this bank, or its file")
    if encoder is None:
        if isinstance(bank, EpisodeBank):
            raise ConfigError("the game draws pictures of its own: give the encoder= that made this bank")
        file = bank_path(bank)
        encoder = file.with_name(f"{file.stem}-encoder.safetensors")
        if not encoder.exists():
            raise ConfigError(f"no encoder of {file.name} at {encoder}: give the one that made it as encoder=")
    return load_encoder(Path(encoder), device, trust)
