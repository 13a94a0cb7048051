"""Files of 0.1.0 act and go on as they did; a file of few bytes costs little; what a file says is checked."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sketchless.agents import AGENTS, Agent, PPOACClip, make_agent
from sketchless.datasets import CheckpointError
from sketchless.encoders.bank import EpisodeBank
from sketchless.encoders.tensorfile import load_tensors, read_meta, save_tensors
from sketchless.envs import Core

FIXTURES = Path(__file__).parent / "fixtures"
FILES = sorted(path for path in FIXTURES.glob("*.safetensors") if path.name.count(".") == 1 and path.stem != "bank")
SMALL: dict[str, Any] = {"episodes": 2, "samples": 2, "eval_every": 1}


@pytest.fixture(scope="module")
def banks() -> dict[str, EpisodeBank]:
    return {split: EpisodeBank.load(FIXTURES / "bank.safetensors", split) for split in ("train", "validation")}


def loaded(path: Path, banks: dict[str, EpisodeBank]) -> Agent:
    meta = read_meta(path, "agent")
    core = Core(banks["train"], "combined", meta["core"]["mode"])
    validation = banks["validation"] if meta["history"] else None
    agent: Agent = AGENTS[meta["agent"]].load(path, core, validation)
    return agent


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_agents_of_0_1_0_act_and_go_on_as_they_did(path: Path, banks: dict[str, EpisodeBank]) -> None:
    assert len(FILES) == 15  # the eleven agents of 0.1.0, and four forms of them
    told, _ = load_tensors(path.with_suffix(".next.safetensors"), "told")
    agent = loaded(path, banks)
    frames = agent.core.frames[:, 0]
    torch.testing.assert_close(agent.predict(frames, deterministic=True)[0], told["mean"], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(agent.predict(frames)[0], told["action"], rtol=1e-6, atol=1e-6)

    again = loaded(path, banks).learn(120, reset_num_timesteps=False)
    every = [p.detach() for module in again.modules.values() for p in module.parameters()]
    after = {int(name.removeprefix("after/")): tensor for name, tensor in told.items() if name.startswith("after/")}
    assert after
    for i, tensor in after.items():
        torch.testing.assert_close(every[i], tensor, rtol=1e-4, atol=1e-5)
    history = [[look["timesteps"], look["val_m_at_a"], look["val_m_at_b"]] for look in again.history]
    torch.testing.assert_close(torch.tensor(history, dtype=torch.float64).reshape(-1, 3), told["history"])


@pytest.mark.parametrize("name", AGENTS)
def test_a_state_goes_from_one_agent_to_another(make_bank, name: str) -> None:
    core = Core(make_bank(n=6, steps=4, width=8, dim=4))
    first = make_agent(name, core, validation=core.bank, seed=1, **SMALL).learn(30)
    second = make_agent(name, core, validation=core.bank, seed=2, **SMALL)
    second.load_state_dict(first.state_dict())
    frames = core.frames[:, 0]
    assert torch.equal(first.predict(frames)[0], second.predict(frames)[0])
    one, other = (asdict(agent.state_dict().about) for agent in (first, second))
    assert one | {"config": None} == other | {"config": None}


class TestLargeCritics:
    @pytest.fixture
    def file(self, make_bank, tmp_path: Path) -> Path:
        make_agent("ppo-ac-clip", Core(make_bank()), critic=(300, 200), **SMALL).save(tmp_path / "a.safetensors")
        return tmp_path / "a.safetensors"

    def test_no_weights_are_drawn_that_the_file_replaces(
        self, make_bank, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.nn.init, "orthogonal_", lambda *_, **__: pytest.fail("orthogonal weights are slow"))
        assert PPOACClip.load(file, Core(make_bank())).config.critic == (300, 200)

    @pytest.mark.parametrize("critic", [[6000, 6000], [300], [300, 200, 200], [200, 300], []])
    def test_settings_that_the_weights_do_not_have_are_refused_before_anything_is_made(
        self, make_bank, file: Path, refuses, monkeypatch: pytest.MonkeyPatch, critic: list[int]
    ) -> None:
        tensors, meta = load_tensors(file, "agent")
        meta["config"]["critic"] = critic
        save_tensors(file, "agent", tensors, meta)
        monkeypatch.setattr(PPOACClip, "algorithm_with", lambda *_: pytest.fail("made a network"))
        with refuses(CheckpointError, r"critic=\(.*in its settings"):
            PPOACClip.load(file, Core(make_bank()))


# Values that JSON can hold ---------------------------------------------------------------------------------

ODD = [None, True, -1, 2**63, 10**400, 0.5, 1e308, "", "x" * 3000, "\x1b[2J", [], {}, [[]], {"": None}, [{"a": "b"}]]
JSON = st.recursive(
    st.sampled_from(ODD) | st.text(max_size=5) | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in inner for place in places(part, (*path, key)))]


@pytest.fixture(scope="module")
def tiny(make_bank) -> Core:
    return Core(make_bank(n=4, steps=3, width=4, dim=3))


@pytest.fixture(scope="module")
def saved(tiny: Core, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, torch.Tensor], Any]]:
    """Of two agents by name: what their files hold."""
    folder = tmp_path_factory.mktemp("saved")
    for name in ("ppo-a-kl", "ppo-ac-clip"):
        make_agent(name, tiny, validation=tiny.bank, **SMALL).learn(12).save(folder / name)
    return {file.name: load_tensors(file, "agent") for file in sorted(folder.iterdir())}


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_description_of_anything_is_refused_in_one_line(data: Any, saved, tiny: Core, tmp_path: Path) -> None:
    core, file = tiny, tmp_path / "agent.safetensors"
    name = data.draw(st.sampled_from(list(saved)))
    tensors, meta = saved[name]
    about = json.loads(json.dumps({k: v for k, v in meta.items() if k not in ("kind", "version", "checksums")}))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from([path for path in places(about) if path]))
        inner = about
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = copy.deepcopy(data.draw(JSON))  # a later fault may be within it
    save_tensors(file, "agent", tensors, about)
    said = ""
    try:
        agent = AGENTS[name].load(file, core, core.bank)
        assert np.isfinite(agent.predict(core.frames[:, 0].numpy())[0]).all()  # a value that could have been there
    except CheckpointError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 2000


@pytest.mark.parametrize("key", ["config", "history", "numbers", "trained_on", "core"])
def test_deep_nesting_is_refused(make_bank, tmp_path: Path, refuses, key: str) -> None:
    core, file = Core(make_bank(n=4, steps=3, width=4, dim=3)), tmp_path / "agent.safetensors"
    make_agent("ppo-a-clip", core).save(file)
    tensors, meta = load_tensors(file, "agent")
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    meta[key] = {"samples": deep} if key == "config" else deep
    save_tensors(file, "agent", tensors, meta)
    with refuses(CheckpointError, "agent.safetensors"):
        AGENTS["ppo-a-clip"].load(file, core)
