"""Episodes for offline RL: an agent's, or those of a mix of behaviours, as a Minari data set."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from sketchless.agents import Agent
from sketchless.datasets.errors import ConfigError, unknown_name

Array = npt.NDArray[np.float32]
Act = Callable[[Array, Any], tuple[Array, Any]]
"""Observation [D] and memory (None in the first step) to action [d] and memory."""
BEHAVIOURS = ("agent", "sample", "b1", "random")
_RANDOM = 0.1  # deviation of the random behaviour: about as long, in 64 dimensions, as the embedding


def behaviours(names: Sequence[str], env: gym.Env[Any, Any], agent: Agent | None, seed: int) -> dict[str, Act]:
    """What plays, by name: `agent` (its mean action), `sample` (a drawn one), `b1` (zeros), `random` (Gaussian).

    Raises:
        ConfigError: an unknown name, or one that needs an agent where there is none.
    """
    generator, width = np.random.default_rng(seed), env.action_space.shape
    assert width is not None

    def predicting(deterministic: bool) -> Act:
        assert agent is not None
        return lambda seen, memory: agent.predict(seen, memory, deterministic=deterministic)

    found: dict[str, Act] = {}
    for name in names:
        if name not in BEHAVIOURS:
            raise unknown_name("behaviour", name, BEHAVIOURS)
        if name in ("agent", "sample"):
            if agent is None:
                raise ConfigError(f"behaviour {name!r}: needs an agent; give the folder of a train run")
            found[name] = predicting(name == "agent")
        elif name == "b1":
            found[name] = lambda seen, memory: (np.zeros(width, dtype=np.float32), None)
        else:
            found[name] = lambda seen, memory: (
                generator.normal(0, _RANDOM, width).clip(-1, 1).astype(np.float32),
                None,
            )
    return found


def write_minari(
    env: gym.Env[Any, Any],
    players: Mapping[str, Act],
    weights: Sequence[float],
    episodes: int,
    seed: int,
    dataset_id: str,
    folder: Path,
    about: Mapping[str, Any],
    progress: Callable[[float], None] = lambda _: None,
) -> float:
    """Play episodes and write them as a Minari data set below `folder`.

    Episode n begins with `reset(seed=seed + n)`, which its metadata repeat beside the behaviour that was drawn for it,
    the drawing, its photo, and the rank in the last step.

    Args:
        env: a single environment whose `spec` can be written; `minari` makes it again from the data set.
        players: behaviours by name.
        weights: how likely each is to play an episode, above 0.
        episodes: 1 or more.
        seed: of the first episode, and of who plays.
        dataset_id: as Minari names data sets, such as `"sketchless/on-the-fly/ppo-a-clip-v0"`.
        folder: where Minari is to find it (`MINARI_DATASETS_PATH`).
        about: further metadata: plain JSON values.
        progress: told the share that is done.

    Returns:
        Mean return of an episode.

    Raises:
        ConfigError: Minari is not installed, does not take the name, or has such a data set already.
    """
    if importlib.util.find_spec("minari") is None:
        raise ConfigError('export to minari: it is not installed; pip install "sketchless[minari]"')
    from minari import create_dataset_from_buffers
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_dataset import parse_dataset_id

    try:
        parse_dataset_id(dataset_id)
    except (TypeError, ValueError) as error:  # the former for want of a version
        raise ConfigError(f"name {dataset_id!r}: Minari's names end in a version, such as mine-v0") from error
    if (folder / dataset_id).exists():
        raise ConfigError(f"{folder / dataset_id}: exists; choose another --out or --name")
    names, drawn = list(players), np.random.default_rng(seed)
    share = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    told, played = list[dict[str, Any]](), []
    for number in range(episodes):
        behaviour = names[drawn.choice(len(names), p=share)]
        episode, last = _play(env, players[behaviour], seed + number)
        played.append(EpisodeBuffer(id=number, seed=seed + number, **episode))
        told.append({"behaviour": behaviour, "return": float(episode["rewards"].sum()), **last})
        progress((number + 1) / episodes)
    assert env.spec is not None
    # A length in it would become a `TimeLimit`, by which the last step is truncated as well as terminated.
    spec = replace(env.spec, max_episode_steps=None)
    with _minari_in(folder):
        dataset = create_dataset_from_buffers(dataset_id, played, env=spec, algorithm_name=" + ".join(names))
        dataset.storage.update_episode_metadata(told)
        dataset.storage.update_metadata({"sketchless": dict(about)})
    return float(np.mean([one["return"] for one in told]))


def _play(env: gym.Env[Any, Any], act: Act, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """An episode as arrays of its steps, and what is told of its last one."""
    seen, info = env.reset(seed=seed)
    observations, actions, rewards, ends, memory = [seen], [], [], [(False, False)], None
    while not any(ends[-1]):
        action, memory = act(seen, memory)
        seen, reward, terminated, truncated, info = env.step(action)
        observations.append(seen)
        actions.append(action)
        rewards.append(float(reward))
        ends.append((terminated, truncated))
    terminations, truncations = np.array(ends[1:]).T
    episode = {
        "observations": np.stack(observations),
        "actions": np.stack(actions),
        "rewards": np.array(rewards),
        "terminations": terminations,
        "truncations": truncations,
    }
    return episode, {name: info[name] for name in ("sketch_id", "photo_id", "rank")}


@contextlib.contextmanager
def _minari_in(folder: Path) -> Iterator[None]:
    """Inside, Minari's data sets lie in a folder, and what it warns of is not said: there is no author's address."""
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(folder.resolve())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before
