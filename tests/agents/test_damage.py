"""Damaged and crafted agent files: one line that says so, never other numbers, never code run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sketchless.agents import AGENTS, PPOAClip, make_agent
from sketchless.datasets import CheckpointError
from sketchless.encoders.tensorfile import load_tensors, save_tensors
from sketchless.envs import Core

SMALL = {"episodes": 2, "samples": 2, "eval_every": 1}


@pytest.fixture(scope="module")
def core(make_bank) -> Core:
    return Core(make_bank(n=6, steps=4, width=8, dim=4))


def saved(name: str, core: Core, folder: Path, **settings: Any) -> Path:
    """The file of an agent that has learned something."""
    file = folder / "agent.safetensors"
    agent = make_agent(name, core, validation=core.bank, **({} if name == "b1" else SMALL | settings))
    agent.learn(30)
    agent.save(file)
    return file


@pytest.mark.parametrize("name", AGENTS)
def test_every_flipped_bit_is_noticed(name: str, core: Core, tmp_path: Path, refuses) -> None:
    file = saved(name, core, tmp_path)
    whole = file.read_bytes()
    head = 8 + int.from_bytes(whole[:8], "little")  # safetensors: length of the JSON, the JSON, the tensors
    random = np.random.default_rng(0)
    parts = ((0, 8, 10), (8, head, 25), (head, len(whole), 25))
    places = [(random.integers(low, high), random.integers(8)) for low, high, count in parts for _ in range(count)]
    for byte, bit in places:
        damaged = bytearray(whole)
        damaged[byte] ^= 1 << bit
        file.write_bytes(damaged)
        with refuses(CheckpointError, "agent.safetensors"):
            AGENTS[name].load(file, core, core.bank)
    file.write_bytes(whole)
    AGENTS[name].load(file, core, core.bank)


@pytest.mark.parametrize("name", AGENTS)
def test_a_truncated_file_is_refused(name: str, core: Core, tmp_path: Path, refuses) -> None:
    file = saved(name, core, tmp_path)
    whole = file.read_bytes()
    for kept in [*(len(whole) * sixteenth // 16 for sixteenth in range(16)), len(whole) - 1]:
        file.write_bytes(whole[:kept])
        with refuses(CheckpointError, "agent.safetensors"):
            AGENTS[name].load(file, core, core.bank)


WRONG = (None, "x", [], {}, [1], {"x": 1}, -1)


@pytest.mark.parametrize("key", ["agent", "config", "core", "counters", "numbers", "best", "history"])
def test_a_description_that_lies_is_refused(key: str, core: Core, tmp_path: Path, refuses) -> None:
    file = saved("ppo-a-kl", core, tmp_path)
    tensors, meta = load_tensors(file, "agent")
    AGENTS["ppo-a-kl"].load(file, core, core.bank)
    fine = {"history": [], "config": {}, "best": None}  # no look yet, default settings
    wrong = [value for value in WRONG if key not in fine or value != fine[key]]
    lies = [{k: v for k, v in meta.items() if k != key}, *({**meta, key: value} for value in wrong)]
    if isinstance(meta[key], dict):
        lies += [{**meta, key: {**meta[key], inner: "x"}} for inner in meta[key]]
    for lie in lies:
        save_tensors(file, "agent", tensors, lie)
        with refuses(CheckpointError, "agent.safetensors"):
            AGENTS["ppo-a-kl"].load(file, core, core.bank)


@pytest.mark.parametrize("name", ["ppo-a-clip", "ppo-ac-clip", "trpo"])
def test_tensors_that_lie_are_refused(name: str, core: Core, tmp_path: Path, refuses) -> None:
    file = saved(name, core, tmp_path, choice="one-se")
    AGENTS[name].load(file, core, core.bank)
    tensors, meta = load_tensors(file, "agent")
    for part, tensor in tensors.items():
        lies: list[dict[str, torch.Tensor]] = [{k: v for k, v in tensors.items() if k != part}]
        lies.append({**tensors, part: torch.zeros(3, 5, 7)})
        if tensor.is_floating_point():
            lies.append({**tensors, part: torch.full_like(tensor, float("nan"))})
        for lie in lies:
            save_tensors(file, "agent", lie, meta)
            with refuses(CheckpointError, "agent.safetensors"):
                AGENTS[name].load(file, core, core.bank)


class Trap:
    """Unpickling makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


def test_a_pickle_is_refused_unopened(core: Core, tmp_path: Path, refuses) -> None:
    file, sprung = tmp_path / "agent.safetensors", tmp_path / "sprung"
    for write in (lambda: file.write_bytes(pickle.dumps(Trap(sprung))), lambda: torch.save(Trap(sprung), file)):
        write()
        with refuses(CheckpointError, "agent.safetensors"):
            PPOAClip.load(file, core)
    assert not sprung.exists()
