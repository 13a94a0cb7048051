"""Episodes for offline RL: what is written is what was played, and says where it comes from."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from sketchless.agents import make_agent
from sketchless.benchmarks import evaluate
from sketchless.benchmarks.cli import main
from sketchless.benchmarks.offline import behaviours
from sketchless.datasets import ConfigError
from sketchless.encoders import EpisodeBank
from sketchless.envs import Core

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    minari = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    return minari.load_dataset(name)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    small = ["--passes", "0.1", "--set", "samples=2", "eval_every=1000", "--logger", "none", "--no-gif"]
    assert main(["train", "--out", str(folder), "--env", "Stop-v0?stroke_cost=0.1", *small]) == 0
    return folder


def test_an_agents_episodes_are_those_that_it_plays(run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    pytest.importorskip("minari")
    assert main(["export", str(run), "--episodes", "5", "--seed", "3", "--out", str(tmp_path / "data")]) == 0
    assert "5 episodes, mean return" in capsys.readouterr().out
    data = load(tmp_path / "data", "sketchless/stop/agent-v0", monkeypatch)
    env = data.recover_environment()
    assert env.unwrapped.core.own_settings == {"stroke_cost": 0.1}
    agent = make_agent("ppo-a-clip", env).load(run / "agent-0.safetensors", env)
    assert data.total_episodes == 5
    for number, (episode, told) in enumerate(zip(data, data.storage.get_episode_metadata(range(5)), strict=True)):
        seen, info = env.reset(seed=3 + number)
        for t, action in enumerate(episode.actions):
            assert np.array_equal(episode.observations[t], seen)
            assert np.array_equal(action, agent.predict(seen, deterministic=True)[0])
            seen, reward, terminated, truncated, info = env.step(action)
            assert (reward, terminated) == (episode.rewards[t], episode.terminations[t])
            assert truncated == episode.truncations[t]
        assert terminated
        assert (int(told["seed"]), told["behaviour"], told["rank"]) == (3 + number, "agent", info["rank"])
        assert told["sketch_id"] == info["sketch_id"]
        assert told["return"] == pytest.approx(episode.rewards.sum())
    about = data.storage.metadata["sketchless"]
    assert about["agent"]["seed"] == 0
    assert about["bank"]["name"] == "procedural.safetensors"
    assert (about["task"], about["stroke_cost"]) == ("stop", 0.1)
    assert str(tmp_path) not in json.dumps(about)


def test_a_mix_is_drawn_and_said(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("minari")
    given = ["export", "--behaviours", "b1=1", "random=3", "--episodes", "40", "--split", "validation"]
    assert main([*given, "--env", "Carry-v0", "--name", "mine-v0", "--out", str(tmp_path)]) == 0
    data = load(tmp_path, "mine-v0", monkeypatch)
    told = list(data.storage.get_episode_metadata(range(40)))
    by = [one["behaviour"] for one in told]
    assert 2 <= by.count("b1") <= 20
    assert all((not episode.actions.any()) == (one == "b1") for episode, one in zip(data, by, strict=True))
    assert main([*given, "--env", "Carry-v0", "--name", "mine-v0", "--out", str(tmp_path)]) == 2  # it exists


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--format", "hdf"], "unknown format"),
        (["--episodes", "0"], "must be 1 or more"),
        (["--behaviours", "agent"], "needs an agent; give the folder of a train run"),
        (["--behaviours", "b2"], "unknown behaviour 'b2'"),
        (["--behaviours", "b1=-1"], "want a number above 0"),
        (["--env", "Fly-v0"], "unknown environment"),
    ],
)
def test_refuses_in_one_line(words: list[str], told: str, tmp_path: Path, capsys) -> None:
    assert main(["export", "--out", str(tmp_path / "data"), *words]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mine", "my data-v0", "../mine-v0"])
def test_a_name_that_minari_does_not_take_is_refused_before_anything_is_played(
    name: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    pytest.importorskip("minari")
    monkeypatch.setattr("sketchless.benchmarks.offline._play", None)
    assert main(["export", "--out", str(tmp_path / "data"), "--name", name]) == 2
    assert f"name '{name}': Minari's names end in a version, such as mine-v0" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_says_what_to_install(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    assert main(["export", "--episodes", "1", "--out", str(tmp_path)]) == 2
    assert 'pip install "sketchless[minari]"' in capsys.readouterr().err


def test_behaviours_are_what_they_say() -> None:
    env = gym.make("sketchless/OnTheFly-v0", reward="inv-rank")
    agent = make_agent("ppo-a-clip", env, policy="gru", seed=1)
    with torch.no_grad():
        agent.policy.recall.weight.normal_(generator=torch.Generator().manual_seed(0))
    found = behaviours(["agent", "b1", "random"], env, agent, 0)
    seen = np.full(env.observation_space.shape, 0.05, dtype=np.float32)
    first, memory = found["agent"](seen, None)
    second, _ = found["agent"](seen, memory)
    assert not np.array_equal(first, second)  # it remembers
    assert not found["b1"](seen, None)[0].any()
    drawn = np.stack([found["random"](seen, None)[0] for _ in range(200)])
    assert drawn.std() == pytest.approx(0.1, abs=0.005)
    with pytest.raises(ConfigError, match="needs an agent"):
        behaviours(["sample"], env, None, 0)


def test_the_example_clones_what_was_played(tmp_path: Path, capsys) -> None:
    pytest.importorskip("minari")
    example = runpy.run_path(str(EXAMPLES / "minari_cloner.py"))
    teacher, clone = example["main"](example["Args"](passes=1, episodes=200, folder=str(tmp_path)))
    assert "clone" in capsys.readouterr().out
    bank = EpisodeBank.load("procedural", "test")
    baseline = evaluate(None, bank)
    core = Core(bank, "inv-rank")
    assert core.n_photos == baseline.gallery
    apart = abs(clone.per_sketch("m@B") - teacher.per_sketch("m@B")).mean()
    assert apart < abs(teacher.per_sketch("m@B") - baseline.per_sketch("m@B")).mean()  # nearer to it than B1 is
