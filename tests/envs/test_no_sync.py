"""Off the CPU a step never waits for the device, and a CUDA graph can hold a rollout.

Tensors on torch's meta device have a shape and a type but no numbers, so the host cannot wait for one there; every
device but the CPU runs the same code.
"""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sketchless.datasets.errors import DataError
from sketchless.encoders.bank import EpisodeBank
from sketchless.envs import Core, OnTheFlyVectorEnv, RewardScheme, combined, make_core
from sketchless.envs.core import CREDITS
from sketchless.envs.inputs import as_action
from sketchless.envs.sb3_env import SketchVecEnv

MakeBank = Callable[..., EpisodeBank]
Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]
META = torch.device("meta")
LENGTHS = (7, 1, 4, 2, 7, 3)


def without_numbers(thing: Any) -> Any:
    """A copy whose tensors, and those of its core, bank and state, are on the meta device."""
    if isinstance(thing, Tensor):
        return thing.to(META)
    if isinstance(thing, tuple) and hasattr(thing, "_fields"):
        return type(thing)(*map(without_numbers, thing))
    if not isinstance(thing, (Core, EpisodeBank, SketchVecEnv, OnTheFlyVectorEnv)):
        return META if isinstance(thing, torch.device) else thing
    moved = copy.copy(thing)
    for name, value in vars(thing).items():
        object.__setattr__(moved, name, without_numbers(value))  # a bank is frozen
    return moved


class NoMasks(TorchDispatchMode):
    """Setting by a mask waits, and is the one thing that the meta device takes."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "index_put" in func.name() and any(at is not None and at.dtype == torch.bool for at in args[1]):
            raise RuntimeError("set by a mask")
        return func(*args, **(kwargs or {}))


@contextmanager
def barred() -> Iterator[None]:
    """No mask, and no new tensor from numbers of the host, which a copy to the device would wait for."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("numbers from the host")

    with pytest.MonkeyPatch.context() as patch, NoMasks():
        for name in ("tensor", "as_tensor", "from_numpy"):
            patch.setattr(torch, name, refuse)
        yield


@pytest.fixture
def episodes(make_bank: MakeBank) -> EpisodeBank:
    return make_bank(n=6, steps=7, lengths=LENGTHS)


WAITS: dict[str, Callable[[Tensor], Any]] = {
    "if": bool,
    "int": lambda x: int(x[0]),
    "item": lambda x: x[0].item(),
    "tolist": Tensor.tolist,
    "nonzero": Tensor.nonzero,
    "mask": lambda x: x[x > 0],
    "masked_select": lambda x: x.masked_select(x > 0),
    "set by mask": lambda x: x.__setitem__(x > 0, x[:1]),
    "unique": torch.unique,
    "equal": lambda x: torch.equal(x, x),
    "cpu": Tensor.cpu,
    "to": lambda x: x.to("cpu"),
    "numpy": Tensor.numpy,
    "another device": lambda x: x + torch.ones(3),
}


@pytest.mark.parametrize("name", WAITS)
def test_whatever_waits_is_noticed(name: str) -> None:
    x = torch.ones(3, device=META)
    with barred(), pytest.raises((RuntimeError, TypeError)):
        WAITS[name](x)


@pytest.mark.parametrize(
    "reward",
    ["inv-rank", combined(gamma2=1), "self-competitive", "margin", lambda step: step.tau_before],
    ids=["ranks", "lists", "past", "similarities", "taus"],
)
@pytest.mark.parametrize("mode", ["residual", "absolute"])
def test_the_core_never_waits(mode: str, reward: str | RewardScheme, episodes: EpisodeBank) -> None:
    core = without_numbers(Core(episodes, reward, mode))
    seeds, actions = torch.empty(5, dtype=torch.int64, device=META), torch.empty(5, 7, 8, device=META)
    with barred():
        state = core.reset(seeds)
        for t in range(7):
            outcome = core.step(state, actions[:, t])
            state = core.next_episode(outcome.state, outcome.terminated)
            assert core.observe(state).shape == (5, core.observation_dim)
        assert outcome.reward.device == META
        for credit in CREDITS:
            assert core.score(seeds, actions, credit).reward.shape == (5, 7)
        assert core.observations(seeds).shape == (5, 7, core.observation_dim)


@pytest.mark.parametrize("task", ["carry", "stop"])
def test_neither_do_the_tasks_in_which_actions_matter(task: str, episodes: EpisodeBank) -> None:
    core = without_numbers(make_core(task, episodes, "inv-rank"))
    seeds, actions = torch.empty(5, dtype=torch.int64, device=META), torch.empty(5, 7, core.action_dim, device=META)
    with barred():
        state = core.reset(seeds)
        for t in range(7):
            outcome = core.step(state, actions[:, t])
            state = core.next_episode(outcome.state, outcome.terminated)
            assert core.observe(state).shape == (5, core.observation_dim)
        assert core.score(seeds, actions).reward.shape == (5, 7)
        assert core.play(seeds, lambda x: actions[:, 0])[0].shape == (5, 7, core.observation_dim)


def test_neither_do_the_shells_that_need_no_answer(episodes: EpisodeBank) -> None:
    sb3 = SketchVecEnv(5, episodes, device="cpu")
    sb3.seed(0)
    sb3.reset_tensor()
    vector = OnTheFlyVectorEnv(5, episodes, device="cpu", tensors=True, autoreset_mode="NextStep")
    vector.reset(seed=0)
    steps = without_numbers(sb3).step_tensor, without_numbers(vector).step
    with barred():
        for step in steps * 3:
            assert step(torch.empty(5, 8, device=META))[1].shape == (5,)


def test_an_action_of_the_host_is_checked_before_it_leaves(refuses: Refuses) -> None:
    action = np.zeros((2, 3))
    assert as_action(action, (2, 3), META).device == META
    action[1, 2] = np.nan
    for given in (action, torch.from_numpy(action)):
        with refuses(DataError, r"action\[1, 2\] is nan: actions must be finite numbers"):
            as_action(given, (2, 3), META)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "reward",
    ["inv-rank", combined(gamma2=1), "self-competitive", "margin", lambda step: step.tau_before],
    ids=["ranks", "lists", "past", "similarities", "taus"],
)
@pytest.mark.parametrize("mode", ["residual", "absolute"])
def test_a_rollout_never_waits_for_the_gpu_and_runs_as_a_graph(
    mode: str, reward: str | RewardScheme, episodes: EpisodeBank
) -> None:
    core = Core(episodes.to("cuda"), reward, mode)
    seeds = torch.arange(64, device="cuda")
    actions = torch.randn(12, 64, 8, device="cuda", generator=torch.Generator("cuda").manual_seed(0))

    def rollout() -> list[Tensor]:
        state, kept = core.reset(seeds), []
        for action in actions:
            outcome = core.step(state, action)
            state = core.next_episode(outcome.state, outcome.terminated)
            kept += [outcome.rank, outcome.reward, *outcome.terms, outcome.terminated, core.observe(state), *state]
        return kept

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # what is made at the first call cannot be captured
        rollout()
    torch.cuda.current_stream().wait_stream(aside)
    torch.cuda.set_sync_debug_mode("error")
    try:
        rollout()
        score = core.score(seeds % 6, actions[:7].transpose(0, 1))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(score.reward).all()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = rollout()
    actions.copy_(actions.flip(0))
    graph.replay()
    for ours, theirs in zip(captured, rollout(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.gpu
def test_an_action_on_the_gpu_that_is_not_finite_fails_when_the_host_next_waits() -> None:
    program = """
import torch
from sketchless.encoders import EpisodeBank
from sketchless.envs import Core
core = Core(EpisodeBank.load("procedural", "test", "cuda"))
core.step(core.reset(torch.arange(2, device="cuda")), torch.full((2, core.action_dim), torch.nan, device="cuda"))
print("not yet", flush=True)
torch.cuda.synchronize()
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert found.stdout == "not yet\n"
    assert found.returncode != 0
    assert "actions must be finite numbers" in found.stderr
