"""kill -9 at random instants: what was saved goes on to the very weights of an undisturbed run."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from sketchless.agents import AGENTS, Agent, make_agent
from sketchless.encoders import EpisodeBank
from sketchless.envs import Core

BUDGET = 6_000  # 50 updates
SETTINGS = {"episodes": 4, "samples": 3, "eval_every": 5}
LEARNERS = [name for name in AGENTS if name != "b1"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks after torch has computed")


def go_on(name: str, core: Core, validation: EpisodeBank, folder: Path) -> None:
    """Train to the end of the budget, from the last checkpoint if there is one; save at every update."""
    part = folder / "part.safetensors"
    resumed = part.exists()
    agent: Agent = (
        AGENTS[name].load(part, core, validation)
        if resumed
        else make_agent(name, core, validation=validation, **SETTINGS)
    )

    def save(*_: object) -> bool:
        agent.save(part)
        return True

    agent.learn(BUDGET, callback=save, reset_num_timesteps=not resumed)
    agent.save(folder / "done.safetensors")


def killed(name: str, core: Core, validation: EpisodeBank, folder: Path, after: float | None) -> bool:
    """Go on in a process of its own, killed after so many seconds if it is not done before; None: never."""
    child = os.fork()
    if not child:
        code = 1
        with contextlib.suppress(BaseException):
            go_on(name, core, validation, folder)
            code = 0
        os._exit(code)
    if after is not None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the run failed by itself"
    return os.WIFSIGNALED(status)


def check(name: str, kills: int, make_bank, tmp_path: Path) -> None:
    core, validation = Core(make_bank(n=10, steps=10)), make_bank(n=8, steps=10, seed=1)
    (tmp_path / "whole").mkdir()
    killed(name, core, validation, tmp_path / "whole", None)
    expected = AGENTS[name].load(tmp_path / "whole" / "done.safetensors", core, validation)
    chance, count, run = random.Random(0), 0, 0
    while count < kills:
        folder = tmp_path / f"run-{run}"
        folder.mkdir(exist_ok=True)
        count += killed(name, core, validation, folder, chance.uniform(0.01, 0.25))
        if count >= kills:
            killed(name, core, validation, folder, None)
        if (folder / "done.safetensors").exists():
            found = AGENTS[name].load(folder / "done.safetensors", core, validation)
            for module in expected.modules:
                pairs = zip(expected.modules[module].parameters(), found.modules[module].parameters(), strict=True)
                assert all(torch.equal(a, b) for a, b in pairs)
            assert found.history == expected.history
            assert (found.num_timesteps, found.numbers) == (expected.num_timesteps, expected.numbers)
            run += 1


def test_a_few_kills(make_bank, tmp_path: Path) -> None:
    check("ppo-a-clip", 5, make_bank, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNERS)
def test_many_kills(name: str, make_bank, tmp_path: Path) -> None:
    check(name, 50, make_bank, tmp_path)
