"""Trained agents by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sketchless.agents import GRPO, Agent, PPOAClip, load_agent
from sketchless.agents.policy_gradient.base import PolicyGradient
from sketchless.datasets import CheckpointError, ConfigError, UnsafeFileError
from sketchless.encoders import EpisodeBank
from sketchless.encoders.zoo import zoo
from sketchless.envs import Core


class Mine(GRPO):
    """Of a user's own module."""

    name = "mine:Mine"


def test_an_agent_by_name_acts_as_its_file_on_the_drawings_it_was_trained_on() -> None:
    bank = EpisodeBank.load("procedural", "train", "cpu")
    agent = Agent.from_pretrained("grpo/procedural")
    assert type(agent) is GRPO
    assert (agent.core.reward.name, agent.core.bank.split) == ("combined", "train")
    assert agent.core.bank.sketch_ids == bank.sketch_ids
    again = load_agent(zoo()["grpo/procedural"].path, bank)
    seen = bank.features[:5, 3].numpy()
    np.testing.assert_array_equal(
        agent.predict(seen, deterministic=True)[0], again.predict(seen, deterministic=True)[0]
    )


def test_it_learns_on() -> None:
    agent = GRPO.from_pretrained("grpo/procedural")
    before, steps = agent.policy.mean.weight.clone(), agent.num_timesteps
    assert steps >= 10 * 20 * len(agent.core.bank)  # 10 passes, 20 steps a drawing
    agent.learn(2 * 16 * 16 * 20)  # two batches: with one, the learning rate would be that of the end, 0
    assert not torch.equal(agent.policy.mean.weight, before)


def test_an_agent_of_strokes_has_the_bank_of_strokes() -> None:
    assert int(Agent.from_pretrained("ppo-a-clip/procedural-strokes").core.bank.lengths.min()) == 5


def test_an_environment_a_bank_or_a_core_of_ones_own() -> None:
    test = EpisodeBank.load("procedural", "test", "cpu")
    core = Core(test, "inv-rank")
    assert Agent.from_pretrained("grpo/procedural", test).core.bank is test
    assert Agent.from_pretrained("grpo/procedural", env=core).core is core
    with pytest.raises(CheckpointError, match="setting of grpo"):
        Agent.from_pretrained("grpo/procedural", test, sampels=3)


def test_a_class_gives_its_own_agents() -> None:
    assert type(PolicyGradient.from_pretrained("grpo/procedural")) is GRPO
    with pytest.raises(CheckpointError, match="holds 'grpo', not 'ppo-a-clip'"):
        PPOAClip.from_pretrained("grpo/procedural")


def test_a_folder_without_a_manifest_wants_an_environment(tmp_path: Path) -> None:
    shutil.copy(zoo()["grpo/procedural"].path, tmp_path / "agent.safetensors")
    with pytest.raises(ConfigError, match="names no bank; give env, an environment or a bank"):
        Agent.from_pretrained(tmp_path)
    bank = EpisodeBank.load("procedural", "validation", "cpu")
    assert type(Agent.from_pretrained(str(tmp_path), bank)) is GRPO


def test_a_file_that_names_code_is_refused_unless_its_class_is_asked(tmp_path: Path) -> None:
    bank = EpisodeBank.load("procedural", "validation", "cpu")
    Mine(Core(bank, "inv-rank")).save(tmp_path / "agent.safetensors")
    with pytest.raises(UnsafeFileError, match="agent 'mine:Mine' is code that would run"):
        Agent.from_pretrained(tmp_path, bank)
    assert type(Mine.from_pretrained(tmp_path, bank)) is Mine


def test_an_encoder_is_no_agent() -> None:
    with pytest.raises(ConfigError, match="'small-cnn/procedural' is an encoder, not an agent"):
        Agent.from_pretrained("small-cnn/procedural")
    with pytest.raises(ConfigError, match="did you mean 'grpo/procedural'"):
        Agent.from_pretrained("grop/procedural")
