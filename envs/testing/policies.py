"""The rules of policies and agents."""

from __future__ import annotations

import copy
import random
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sketchless.datasets.errors import ConfigError

from ..core import Core
from .arrays import Array, all_equal, as_array
from .rules import demand

_CHANGES: dict[str, Callable[[Array], Array]] = {
    "blanking": np.zeros_like,
    "reversing": lambda later: later[:, ::-1],
    "replacing": np.negative,
}


def check_causal(
    policy: Any, observations: Array | Tensor, whole: bool = False, tolerance: float = 0.0, core: Core | None = None
) -> None:
    """Check `actions repeats causal`: change all frames after some time, and look at the actions up to then.

    What a policy keeps from elsewhere, such as a data set to look a drawing up in, cannot be seen this way.

    Args:
        policy: an agent, whose `predict` sees one frame after the other and its own state, or a function.
        observations: frames [N, T, D]; a function is given tensors if these are one, else arrays.
        whole: the function maps episodes [N, T, D] to actions [N, T, ...], not frames [N, D] to [N, ...].
        tolerance: by how much actions may differ, for libraries that add up in an order that varies.
        core: the task that the policy plays, where actions change what it sees beside the frames (`Carry-v0`): it sees
            what its own actions brought about. By default that of an agent of ours. It has N drawings or more, of T
            frames.

    Raises:
        BrokenRule: the first rule that is found broken.
        ConfigError: `whole` in such a task: actions cannot be known before what they bring about is seen.
    """
    frames, own = as_array(observations), core if core is not None else getattr(policy, "core", None)
    core = own if isinstance(own, Core) and not own.bandit else None
    if whole and core is not None:
        raise ConfigError(f"whole=True in the task {core.task}: what is seen depends on actions, give a step's policy")

    def act(shown: Array) -> Array:
        return _act(policy, shown, observations, whole, core)

    expected = act(frames)
    apart = np.abs(act(frames) - expected).max()
    demand(apart <= tolerance, "repeats", "the second time they are answered by others")
    for t in range(1, frames.shape[1]):
        for name, change in _CHANGES.items():
            changed = np.concatenate([frames[:, :t], change(frames[:, t:])], axis=1)
            apart = np.abs(act(changed) - expected)[:, :t].max()
            demand(apart <= tolerance, "causal", f"{name} frames {t} and on, from 0, changes an action before them")


@torch.no_grad()
def _act(policy: Any, frames: Array, example: Array | Tensor, whole: bool, core: Core | None) -> Array:
    """Actions [N, T, ...] for frames [N, T, D], given as the example is."""
    shown = torch.as_tensor(frames, device=example.device) if isinstance(example, Tensor) else frames.copy()
    got: list[Any] = []
    state = None

    def answer(seen: Any) -> Any:
        nonlocal state
        if hasattr(policy, "predict"):
            start = np.full(len(frames), not got)
            action, state = policy.predict(as_array(seen), state=state, episode_start=start, deterministic=True)
        else:
            action = policy(seen)
        got.append(as_array(action))
        return action

    if core is not None:
        player = copy.copy(core)
        player.frames = torch.as_tensor(frames, device=core.device)
        given = (lambda seen: seen) if isinstance(example, Tensor) else Tensor.numpy
        rows = torch.arange(len(frames), device=core.device)
        player.play(rows, lambda seen: torch.as_tensor(answer(given(seen.cpu())), device=core.device))
    elif not whole:
        for t in range(frames.shape[1]):
            answer(shown[:, t])
    actions = as_array(policy(shown)) if whole else np.stack(got, axis=1)
    fits = actions.shape[:2] == frames.shape[:2] and np.isfinite(actions).all()
    demand(fits, "actions", f"frames {frames.shape} are answered by {actions.shape}, not all finite or not one each")
    return actions.astype(np.float64)


_GENERATORS: dict[str, Callable[[], Any]] = {
    "python's": random.getstate,
    "numpy's": np.random.get_state,
    "torch's": lambda: [torch.get_rng_state(), *torch.cuda.get_rng_state_all()],
}


def check_agent(make: Callable[[int], Any], steps: int = 256, skip: Collection[str] = ()) -> None:
    """Check `learn`, `actions`, `repeats`, `same seed`, `save and load`, `global random state` and `not a number`.

    Args:
        make: a new agent with a seed, with stable-baselines3's `learn predict save load get_env`. Observations and
            actions are arrays.
        steps: to learn, twice.
        skip: rules that are known not to hold; agents of stable-baselines3 seed the `global random state`.

    Raises:
        BrokenRule: the first rule that is found broken.
    """

    def require(holds: Any, rule: str, how: str) -> None:
        demand(holds or rule in skip, rule, how)

    def still(after: str) -> None:
        for name, state in _GENERATORS.items():
            require(all_equal(state(), before[name]), "global random state", f"{name} is another one after {after}")

    def acts(agent: Any, deterministic: bool = True) -> Array:
        return np.array(agent.predict(observations, deterministic=deterministic)[0])

    before = {name: copy.deepcopy(state()) for name, state in _GENERATORS.items()}
    agent = make(0)
    still("making it")
    env = agent.get_env()
    space = copy.deepcopy(getattr(env, "single_observation_space", env.observation_space))
    space.seed(0)
    observations = np.stack([space.sample() for _ in range(5)])
    require(agent.learn(steps) is agent, "learn", "it returned something else")
    still("learn")
    drawn, settled = acts(agent, deterministic=False), acts(agent)
    box = getattr(env, "single_action_space", env.action_space)
    one = np.array(agent.predict(observations[0], deterministic=True)[0])
    fits = len(settled) == len(drawn) == 5 and all(action in box for action in [one, *settled, *drawn])
    require(fits, "actions", f"they are {settled.dtype} {settled.shape}, or {one.shape} for one frame; wanted: {box}")
    require(all_equal(acts(agent), settled), "repeats", "not even with deterministic=True")
    still("predict")
    twin = make(0)
    twin.learn(steps)
    require(all_equal([acts(twin, deterministic=False), acts(twin)], [drawn, settled]), "same seed", "they differ")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent.zip"
        agent.save(path)
        loaded = type(agent).load(path, env=env)
    require(all_equal(acts(loaded), settled), "save and load", "it acts otherwise")
    still("save and load")
    observations = np.full_like(observations, np.nan)
    try:
        answer = acts(agent)
    except Exception:  # it was refused
        return
    require(np.isfinite(answer).all(), "not a number", "they are not finite either")
