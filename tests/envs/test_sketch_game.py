"""The PettingZoo game: its library's own tests, determinism over hundreds of steps, and what it tells and refuses."""

from __future__ import annotations

import hashlib
import pickle
import runpy
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pettingzoo.test import (
    api_test,
    max_cycles_test,
    parallel_api_test,
    parallel_seed_test,
    render_test,
    seed_test,
)

from sketchless.datasets import SketchDataset, procedural
from sketchless.datasets.errors import CheckpointError, ConfigError, DataError, UnsafeFileError
from sketchless.encoders import Encoder, EncoderConfig, EpisodeBank, encode_banks, save_banks
from sketchless.envs import OnTheFlyEnv, sketch_game_v0
from sketchless.envs.sketch_game_v0 import SketchGame

Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]
DIM, WIDTH = 16, 128
EXAMPLE = Path(__file__).parents[2] / "examples" / "sketch_game_ppo.py"
KEEP = {"selector_0": 1, "refiner_0": np.zeros(DIM, np.float32)}
DROP = {"selector_0": 0, "refiner_0": np.zeros(DIM, np.float32)}


def tiny() -> dict[str, Any]:
    """Arguments of a small game, made anew."""
    dataset = procedural(train=6, test=4, validation=2, drawers=1)
    encoder = Encoder(EncoderConfig(size=32, dim=DIM))
    bank = encode_banks(encoder, dataset, schedule="strokes", splits=["train"])["train"]
    return {"bank": bank, "encoder": encoder, "dataset": dataset}


def digest(env: SketchGame, steps: int = 300) -> str:
    """Hash of all that hundreds of steps of random play tell, over many games."""
    rng, told = np.random.default_rng(0), hashlib.sha256()

    def note(observations: dict[str, Any], *rest: Any) -> None:
        for agent, observation in observations.items():
            told.update(agent.encode() + observation.tobytes())
        told.update(repr(rest).encode())

    note(*env.reset(seed=7))
    for _ in range(steps):
        keep, displacement = int(rng.random() < 0.6), rng.uniform(-0.2, 0.2, DIM).astype(np.float32)
        note(*env.step({"selector_0": keep, "refiner_0": displacement}))
        if not env.agents:
            note(*env.reset())
    return told.hexdigest()


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    return tiny()


@pytest.fixture
def env(parts: dict[str, Any]) -> SketchGame:
    return sketch_game_v0.parallel_env(**parts)


# PettingZoo's own tests ------------------------------------------------------------------------------------


@pytest.fixture
def module(parts: dict[str, Any]) -> SimpleNamespace:
    """`sketch_game_v0` with the small game as its default."""
    names = ("parallel_env", "raw_env", "env")
    return SimpleNamespace(**{name: partial(getattr(sketch_game_v0, name), **parts) for name in names})


def test_library_tests_pass_without_a_warning(module: SimpleNamespace) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        api_test(module.env(), num_cycles=1000)
        api_test(module.raw_env(), num_cycles=1000)
        parallel_api_test(module.parallel_env(), num_cycles=1000)
        seed_test(module.env, num_cycles=500)
        parallel_seed_test(module.parallel_env, num_cycles=500)
        max_cycles_test(module)
        render_test(module.env)


# Determinism -----------------------------------------------------------------------------------------------


def test_hundreds_of_steps_repeat(parts: dict[str, Any]) -> None:
    """Two games on shared parts, made in either order, and one of parts made anew that forgets most."""
    first, second = sketch_game_v0.parallel_env(**parts), sketch_game_v0.parallel_env(**parts)
    for _ in range(3):  # another past
        first.reset()
        first.step(KEEP)
    wanted = digest(second)
    assert digest(first) == wanted
    assert digest(first) == wanted  # a second time in the same game
    assert digest(sketch_game_v0.parallel_env(**tiny(), capacity=64)) == wanted


@pytest.mark.slow
def test_hundreds_of_steps_repeat_in_another_process(env: SketchGame) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_sketch_game as t; "
        "from sketchless.envs import sketch_game_v0; print(t.digest(sketch_game_v0.parallel_env(**t.tiny())))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(env)


def test_a_game_goes_on_in_a_pickled_copy(env: SketchGame) -> None:
    env.reset(seed=3)
    env.step(KEEP)
    copy = pickle.loads(pickle.dumps(env))
    assert repr(copy.step(DROP)) == repr(env.step(DROP))
    assert digest(copy, 100) == digest(env, 100)


def test_turn_by_turn_is_the_same_game(module: SimpleNamespace) -> None:
    parallel, turns, rng = module.parallel_env(), module.env(), np.random.default_rng(0)
    observations, _ = parallel.reset(seed=3)
    turns.reset(seed=3)
    while parallel.agents:
        actions = {"selector_0": int(rng.integers(2)), "refiner_0": rng.uniform(-1, 1, DIM).astype(np.float32)}
        for agent in ("selector_0", "refiner_0"):
            assert turns.agent_selection == agent
            assert np.array_equal(turns.observe(agent), observations[agent])
            turns.step(actions[agent])
        observations, rewards, terminations, _, infos = parallel.step(actions)
        assert turns.rewards == rewards
        assert turns.terminations == terminations
        assert turns.infos == infos
    assert sorted(turns.agents) == ["refiner_0", "selector_0"]  # each has its last look
    turns.step(None)
    turns.step(None)
    assert turns.agents == []


def test_games_follow_each_other_without_a_seed(env: SketchGame) -> None:
    def names(seed: int) -> list[str]:
        told = [env.reset(seed=seed)[1]] + [env.reset()[1] for _ in range(10)]
        return [infos["selector_0"]["sketch_id"] for infos in told]

    assert names(0) == names(0) != names(1)
    assert len(set(names(0))) > 2


# What is told ----------------------------------------------------------------------------------------------


def test_keeping_everything_is_the_ordinary_episode(env: SketchGame, parts: dict[str, Any]) -> None:
    ordinary = OnTheFlyEnv(parts["bank"], reward="inv-rank")  # frames of the strokes schedule
    for name in parts["bank"].sketch_ids:
        ordinary.reset(seed=0, options={"sketch_id": name})
        env.reset(seed=0, options={"sketch_id": name})
        while env.agents:
            _, rewards, terminations, _, infos = env.step(KEEP)
            _, reward, terminated, _, info = ordinary.step(np.zeros(DIM, np.float32))
            assert rewards == {"selector_0": reward, "refiner_0": reward}
            assert terminations == {"selector_0": terminated, "refiner_0": terminated}
            for key in ("sketch_id", "photo_id", "rank", "percentile", "reciprocal_rank", "is_success"):
                assert infos["selector_0"][key] == info[key]


def test_a_game_from_reset_to_end(env: SketchGame, parts: dict[str, Any]) -> None:
    name = parts["bank"].sketch_ids[0]
    strokes = int(parts["bank"].lengths[0])
    observations, infos = env.reset(seed=0, options={"sketch_id": name})
    assert env.agents == ["selector_0", "refiner_0"]
    assert infos["refiner_0"]["stroke"] == 0
    assert infos["refiner_0"]["kept"] == []
    for t in range(strokes):
        for agent, observation in observations.items():
            assert observation.shape == (2 * WIDTH,)
            assert env.observation_space(agent).contains(observation)
        assert np.array_equal(env.state(), observations["selector_0"])
        observations, rewards, terminations, truncations, infos = env.step(KEEP if t % 2 else DROP)
        assert type(rewards["selector_0"]) is float
        assert rewards["selector_0"] == rewards["refiner_0"] == infos["selector_0"]["reciprocal_rank"]
        assert infos["selector_0"] == infos["refiner_0"]
        assert infos["selector_0"]["stroke"] == t + 1
    assert infos["selector_0"]["kept"] == list(range(1, strokes, 2))
    assert terminations == {"selector_0": True, "refiner_0": True}
    assert truncations == {"selector_0": False, "refiner_0": False}
    assert env.agents == []


def test_agents_share_no_memory(env: SketchGame) -> None:
    observations, infos = env.reset(seed=0)
    seen = observations["refiner_0"].copy()
    observations["selector_0"][:] = 9
    infos["selector_0"]["kept"].append(9)
    assert np.array_equal(observations["refiner_0"], seen)
    assert infos["refiner_0"]["kept"] == []
    assert np.array_equal(env.step(DROP)[0]["refiner_0"][:WIDTH], seen[:WIDTH])


def test_max_cycles_cuts_short_and_the_last_stroke_ends(parts: dict[str, Any]) -> None:
    strokes = int(parts["bank"].lengths[0])
    for cycles, cut in ((2, True), (strokes, False), (strokes + 5, False)):
        env = sketch_game_v0.parallel_env(**parts, max_cycles=cycles)
        env.reset(seed=0, options={"sketch_id": parts["bank"].sketch_ids[0]})
        steps = 0
        while env.agents:
            _, _, terminations, truncations, _ = env.step(KEEP)
            steps += 1
        assert steps == min(cycles, strokes)
        assert truncations == {"selector_0": cut, "refiner_0": cut}
        assert terminations == {"selector_0": not cut, "refiner_0": not cut}


# Pictures --------------------------------------------------------------------------------------------------


def test_kept_strokes_are_dark_and_dropped_ones_red(parts: dict[str, Any]) -> None:
    def last(actions: dict[str, Any]) -> np.ndarray:
        env = sketch_game_v0.parallel_env(**parts, render_mode="rgb_array")
        env.reset(seed=0, options={"sketch_id": parts["bank"].sketch_ids[0]})
        pictures = [env.render()]
        while env.agents:
            env.step(actions)
            pictures.append(env.render())
        assert len({picture.shape for picture in pictures}) == 1
        assert not np.array_equal(pictures[0], pictures[-1])
        return pictures[-1][:, :220].astype(int)  # the card of the sketch

    kept, dropped = last(KEEP), last(DROP)
    red = (dropped[..., 0] > 240) & (dropped[..., 1] < 200)
    dark = (kept < 90).all(axis=2)
    assert red.sum() > 200
    assert not (dropped < 90).any()
    assert not ((kept[..., 0] > 240) & (kept[..., 1] < 200)).any()
    assert (red & dark).sum() > 0.8 * min(red.sum(), dark.sum())  # the same strokes


def test_text_shows_what_is_kept(parts: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    env = sketch_game_v0.parallel_env(**parts, render_mode="ansi")
    env.reset(seed=0)
    blank = env.render()
    assert "stroke 0 of" in blank
    env.step(DROP)
    assert "stroke 1 of" in env.render()
    assert "0 kept" in env.render()
    assert "rank" in env.render()
    env.step(KEEP)
    assert "1 kept" in env.render()
    assert capsys.readouterr().out == ""
    human = sketch_game_v0.parallel_env(**parts, render_mode="human")
    human.reset(seed=0)
    assert capsys.readouterr().out.strip("\n") == blank.strip("\n")
    assert human.render() is None
    assert capsys.readouterr().out.strip("\n") == blank.strip("\n")


# What is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actions", "says"),
    [
        ({"refiner_0": KEEP["refiner_0"]}, "selector_0"),
        ({"selector_0": 1}, "refiner_0"),
        (KEEP | {"selector_0": 2}, "0 drops"),
        (KEEP | {"selector_0": 0.5}, "0 drops"),
        (KEEP | {"selector_0": None}, "0 drops"),
        (KEEP | {"refiner_0": np.zeros(DIM - 1, np.float32)}, "shape"),
    ],
)
def test_actions_of_another_kind(env: SketchGame, refuses: Refuses, actions: dict[str, Any], says: str) -> None:
    env.reset(seed=0)
    with refuses(ConfigError, says):
        env.step(actions)
    assert env.step(KEEP)[-1]["selector_0"]["stroke"] == 1  # the game goes on where it was


def test_actions_of_any_whole_number(env: SketchGame) -> None:
    for keep in (1, True, np.int64(1), torch.tensor(1)):
        env.reset(seed=0)
        assert env.step(KEEP | {"selector_0": keep})[-1]["selector_0"]["kept"] == [0]


def test_a_displacement_that_is_no_number(env: SketchGame, refuses: Refuses) -> None:
    env.reset(seed=0)
    with refuses(DataError, "nan"):
        env.step(KEEP | {"refiner_0": np.full(DIM, np.nan, np.float32)})


def test_calls_out_of_order(env: SketchGame, refuses: Refuses) -> None:
    with refuses(ConfigError, "before the first reset"):
        env.step(KEEP)
    with refuses(ConfigError, "render_mode"):
        env.render()
    with refuses(ConfigError, "state called before the first reset"):
        env.state()
    env.reset(seed=0)
    with refuses(ConfigError, "actions are a list: want a dict"):
        env.step([1, np.zeros(8)])  # type: ignore[arg-type]
    while env.agents:
        env.step(KEEP)
    with refuses(ConfigError, "after the end"):
        env.step(KEEP)
    with refuses(ConfigError, "seed"):
        env.reset(seed=-1)
    with refuses(ConfigError, "sketch_id"):
        env.reset(options={"sketch_id": "nobody"})


def test_arguments_that_make_no_sense(
    parts: dict[str, Any], env: SketchGame, refuses: Refuses, tmp_path: Path, dataset_file: Path
) -> None:
    make = sketch_game_v0.parallel_env
    for options, says in (
        ({"render_mode": "rgb"}, "rgb_array"),
        ({"max_cycles": 0}, "max_cycles=0"),
        ({"max_cycles": 1.5}, "max_cycles=1.5: must be a whole number"),
        ({"capacity": 0}, "capacity=0"),
        ({"encoder": None}, "encoder="),
        ({"encoder": 3}, "encoder is int: want the Encoder of this bank"),
    ):
        with refuses(ConfigError, says):
            make(**parts | options)
    with refuses(CheckpointError, "missing"):
        make(**parts | {"encoder": tmp_path / "missing.safetensors"})
    with refuses(ConfigError, "no encoder of bank.safetensors"):
        make(bank=dataset_file, dataset=parts["dataset"])


def test_code_that_an_encoders_file_names_runs_only_if_it_is_trusted(
    parts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: Refuses
) -> None:
    (tmp_path / "net_of_mine.py").write_text("from sketchless.encoders.networks.backbones import SmallCNN as net\n")
    monkeypatch.syspath_prepend(tmp_path)
    encoder = Encoder(EncoderConfig("net_of_mine:net", 32, DIM))
    bank = encode_banks(encoder, parts["dataset"], schedule="strokes", splits=["train"])["train"]
    encoder.save(tmp_path / "encoder")
    given = {"bank": bank, "encoder": tmp_path / "encoder", "dataset": parts["dataset"], "device": "cpu"}
    with refuses(UnsafeFileError, "its backbone 'net_of_mine:net'"):
        sketch_game_v0.parallel_env(**given)
    game = sketch_game_v0.parallel_env(**given, trust=["net_of_mine:net"])
    assert game.reset(seed=0)[0]["refiner_0"].shape == (2 * WIDTH,)


@pytest.fixture
def dataset_file(parts: dict[str, Any], tmp_path: Path) -> Path:
    """A bank file without an encoder beside it."""
    save_banks(tmp_path / "bank.safetensors", {"train": parts["bank"]})
    return tmp_path / "bank.safetensors"


def test_the_encoder_beside_the_bank_is_found(parts: dict[str, Any], dataset_file: Path) -> None:
    encoder: Encoder = parts["encoder"]
    encoder.save(dataset_file.with_name("bank-encoder.safetensors"))
    env = sketch_game_v0.parallel_env(bank=dataset_file)  # and the data set that the bank names
    assert isinstance(env.game.core.bank, EpisodeBank)
    assert isinstance(parts["dataset"], SketchDataset)
    assert digest(env, 100) == digest(sketch_game_v0.parallel_env(**parts), 100)


# The trained example ---------------------------------------------------------------------------------------


def test_the_example_trains_and_plays(env: SketchGame) -> None:
    """Two updates only; both agents move, the same way each time."""
    example = runpy.run_path(str(EXAMPLE))
    config = example["Config"](games=2, horizon=8, updates=2, batch=8)
    weights = []
    for _ in range(2):
        selector, refiner = example["train"](env.game, config)
        assert all(p.abs().max() > 0 for p in (selector.actor[-1].weight, refiner.mean.weight))
        weights.append(torch.cat([p.flatten() for agent in (selector, refiner) for p in agent.parameters()]))
    assert torch.equal(*weights)
    everything = example["play"](env, lambda x, info: (True, torch.zeros(DIM)))
    assert list(everything) == list(env.game.core.bank.sketch_ids)
    assert all(kept == list(range(len(kept))) for _, kept in everything.values())


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_example_beats_keeping_everything() -> None:
    """As benchmarks/results/procedural says: more noise is dropped than drawing, and the photo comes up earlier."""
    example = runpy.run_path(str(EXAMPLE))
    found = example["run"](example["Config"]())["both trained"]
    assert found["noise"] < found["drawing"]
    assert found["gain"][1] > 0  # lower end of its interval over test sketches
