"""The examples run with a tiny budget, and the page on the environment says what the code does."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from sketchless.benchmarks import evaluate
from sketchless.datasets import procedural
from sketchless.encoders import EncoderConfig, EpisodeBank, load_encoder, make_encoder
from sketchless.envs import REWARDS, Core, OnTheFlyEnv, OnTheFlyVectorEnv, RewardScheme
from sketchless.envs.rewards import FIELDS
from sketchless.envs.testing import check_agent

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
PAGE = ROOT / "docs" / "environment.md"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


# Examples ---------------------------------------------------------------------------------------------------


def test_cleanrl_ppo_learns_a_little(capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(EXAMPLES / "cleanrl_ppo.py"))
    before, after = example["train"](example["Args"](total_timesteps=8_000, num_envs=40, device="cpu"))
    assert before == pytest.approx(example["evaluate"](example["Agent"](128, 64, 0.0), _test_core()))  # B1
    assert 0 < after <= 1
    assert after != before
    told = capsys.readouterr().out
    assert f"before: mean 1/rank {before:.3f}" in told
    assert f"after:  mean 1/rank {after:.3f}" in told


def test_cleanrl_ppo_takes_its_settings_from_the_command_line() -> None:
    command = [sys.executable, str(EXAMPLES / "cleanrl_ppo.py"), "--total-timesteps", "80", "--num-envs", "4"]
    more = ["--env-id", "sketchless/Strokes-v0", "--reward", "inv-rank", "--device", "cpu", "--num-minibatches", "2"]
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=True)
    assert done.stdout.count("mean 1/rank") == 2


def _test_core() -> Core:
    return Core(EpisodeBank.load("procedural", "test"))


def test_torchrl_env_keeps_torchrls_rules(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torchrl")
    rollout = runpy.run_path(str(EXAMPLES / "torchrl_env.py"))["main"](num_envs=3)
    assert rollout.batch_size == (3, 20)
    assert bool(rollout["next", "terminated"][:, -1].all())
    assert "mean 1/rank" in capsys.readouterr().out


def test_skrl_ppo_learns_a_little(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("skrl")
    example = runpy.run_path(str(EXAMPLES / "skrl_ppo.py"))
    before, after = example["main"](example["Args"](total_timesteps=4_000, num_envs=40))
    assert np.array_equal(before.rank, evaluate(None, EpisodeBank.load("procedural", "test")).rank)
    assert not np.array_equal(after.rank, before.rank)
    assert f"m@B {after.m_at_b:.2f}" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["OnTheFly", "Strokes"])
def test_torchrl_env_plays_the_episodes_of_the_single_environment(kind: str) -> None:
    """Two and more episodes of each row, which end at different steps when a step is a stroke."""
    pytest.importorskip("torchrl")
    nn = pytest.importorskip("tensordict.nn")
    torch.manual_seed(0)
    rows, steps = 3, 45
    bank = EpisodeBank.load("procedural" if kind == "OnTheFly" else "procedural-strokes", "train")
    env = runpy.run_path(str(EXAMPLES / "torchrl_env.py"))["SketchEnv"](Core(bank), rows)
    env.set_seed(7)
    actions = 2 * torch.rand(steps, rows, env.core.action_dim) - 1
    given = iter(actions)
    policy = nn.TensorDictModule(lambda _: next(given), ["observation"], ["action"])
    rollout = env.rollout(steps, policy, break_when_any_done=False)
    for row in range(rows):
        single = gym.make(f"sketchless/{kind}-v0")
        observation, _ = single.reset(seed=7 + row)
        for t in range(steps):
            now, then = rollout[row, t], rollout[row, t]["next"]
            assert np.array_equal(now["observation"].numpy(), observation)
            observation, reward, terminated, _, info = single.step(actions[t, row].numpy())
            assert np.array_equal(then["observation"].numpy(), observation)
            assert (then["rank"].item(), then["terminated"].item()) == (info["rank"], terminated)
            assert then["reward"].item() == pytest.approx(reward)
            if terminated:
                observation, _ = single.reset()


@pytest.mark.parametrize("kind", ["OnTheFly", "Strokes"])
def test_torchrls_own_wrapper_plays_the_vector_environment_with_chosen_infos(kind: str) -> None:
    """As the documentation says: two and more episodes of each row, all of them those of the single environment."""
    envs, data = pytest.importorskip("torchrl.envs"), pytest.importorskip("torchrl.data")
    rows, steps = 3, 45
    vec = gym.make_vec(f"sketchless/{kind}-v0", num_envs=rows, autoreset_mode="Disabled", device="cpu")
    env = envs.GymWrapper(vec)
    ranks = data.Unbounded((rows,), dtype=torch.int64)
    env.set_info_dict_reader(envs.default_info_dict_reader(["rank"], [ranks]))
    envs.check_env_specs(env)
    env.set_seed(7)  # which resets, and so does `rollout`: what is played begins with each seed's second episode
    rollout = env.rollout(steps, break_when_any_done=False)
    for row in range(rows):
        single = gym.make(f"sketchless/{kind}-v0", device="cpu")
        single.reset(seed=7 + row)
        observation, _ = single.reset()
        for t in range(steps):
            now, then = rollout[row, t], rollout[row, t]["next"]
            assert np.array_equal(now["observation"].numpy(), observation)
            observation, reward, terminated, _, info = single.step(now["action"].numpy())
            assert np.array_equal(then["observation"].numpy(), observation)
            assert (then["rank"].item(), then["done"].item()) == (info["rank"], terminated)
            assert then["reward"].item() == pytest.approx(reward)
            if terminated:
                observation, _ = single.reset()


@pytest.mark.parametrize("algorithm", ["SAC", "TD3", "TQC", "CrossQ"])
def test_off_policy_models_begin_as_the_baseline(algorithm: str) -> None:
    example = runpy.run_path(str(EXAMPLES / "off_policy.py"))
    test = EpisodeBank.load("procedural", "test", "cpu")
    model = example["make"](example["Args"](algorithm=algorithm, num_envs=2, device="cpu"), 0.05)
    assert np.array_equal(evaluate(model, test).rank, evaluate(None, test).rank)


def test_off_policy_settings_are_chosen_before_the_test_drawings_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    example = runpy.run_path(str(EXAMPLES / "off_policy.py"))
    played: list[tuple[str, float | None]] = []
    score = {("validation", 0.5): 3.0, ("validation", 0.25): 4.0, ("validation", 0.125): 2.0}

    class Model:
        def __init__(self, scale: float) -> None:
            self.core = SimpleNamespace(scale=scale)

        def learn(self, steps: int) -> None:
            assert steps == 51_200

        def get_env(self) -> Any:
            return self

    def play(model: Any, bank: EpisodeBank) -> Any:
        found = bank.split, None if model is None else model.core.scale
        played.append(found)
        return SimpleNamespace(m_at_b=score.get(found, 1.0), summary=dict)

    monkeypatch.setitem(example["train"].__globals__, "evaluate", play)
    monkeypatch.setitem(example["train"].__globals__, "make", lambda args, scale: Model(scale))
    example["train"](example["Args"](scales=(0.5, 0.25, 0.125), device="cpu"))
    chosen = [("validation", None), ("validation", 0.5), ("validation", 0.25), ("validation", 0.125)]
    assert played == [*chosen, ("test", None), ("test", 0.25)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "more"),
    [
        ("SAC", {}),
        ("TD3", {}),
        ("TQC", {"total_timesteps": 204_800}),  # it learns more slowly
        ("CrossQ", {}),
        ("TD3", {"task": "carry", "gamma": 0.5}),
    ],
)
def test_off_policy_models_gain_over_the_baseline(algorithm: str, more: dict[str, Any]) -> None:
    example = runpy.run_path(str(EXAMPLES / "off_policy.py"))
    before, after = example["train"](example["Args"](algorithm=algorithm, device="cpu", **more))
    assert after.m_at_a > before.m_at_a
    assert after.m_at_b > before.m_at_b


def test_small_sets_says_the_mean_over_draws_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = runpy.run_path(str(EXAMPLES / "small_sets.py"))
    ran: list[tuple[str, ...]] = []

    def sketchless(*arguments: str) -> None:
        ran.append(arguments)
        if arguments[0] == "train":
            gain = float(len(ran))  # 2 and 4
            change = {metric: {"mean": gain} for metric in ("m@A", "m@B", "A@1", "A@5", "A@10")}
            folder = Path(arguments[-1])
            folder.mkdir(parents=True)
            (folder / "results.json").write_text(json.dumps({"change": change}))

    monkeypatch.setitem(example["main"].__globals__, "sketchless", sketchless)
    command = ["small_sets.py", "./set", "--photos", "40", "--draws", "2", "--out", str(tmp_path), "--epochs", "3"]
    monkeypatch.setattr(sys, "argv", [*command, "--set", "b1_penalty=0"])
    example["main"]()
    assert [arguments[0] for arguments in ran] == ["encode", "train"] * 2
    assert ran[2][1:9] == ("--dataset", "./set?photos=40", "--split-seed", "1", "--seed", "1", "--epochs", "3")
    assert ran[3][:4] == ("train", "--bank", str(tmp_path / "encoder-1" / "bank.safetensors"), "--seeds")
    assert ran[3][5:7] == ("--set", "b1_penalty=0")
    found = json.loads((tmp_path / "draws.json").read_text())["m@B"]
    assert found == {"mean": 3.0, "standard_error": pytest.approx(1.0), "draws": [2.0, 4.0]}
    assert "m@B   +3.00  (standard error 1.00)" in capsys.readouterr().out
    example["main"]()
    assert len(ran) == 4  # nothing again
    capsys.readouterr()
    other = [*command[:6], "--against", str(tmp_path), "--out", str(tmp_path / "other"), "--set", "choice=one-se"]
    monkeypatch.setattr(sys, "argv", other)
    example["main"]()
    assert [arguments[0] for arguments in ran[4:]] == ["train"] * 2
    assert ran[5][2] == str(tmp_path / "encoder-1" / "bank.safetensors")
    assert "m@B   +2.50  (standard error 0.50)" in capsys.readouterr().out  # 5 and 6, less 2 and 4: 3 and 2


def test_rllib_ppo_runs() -> None:
    pytest.importorskip("ray.rllib")
    command = [sys.executable, str(EXAMPLES / "rllib_ppo.py"), "--iterations", "1"]  # a process: ray starts more
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    score = re.search(r"iteration 1: mean 1/rank (\d\.\d+)", done.stdout)
    assert score
    assert 0 < float(score[1]) <= 1


@pytest.mark.parametrize(
    ("name", "module", "package"), [("torchrl_env", "torchrl", "torchrl"), ("rllib_ppo", "ray", "ray[rllib]")]
)
def test_a_missing_library_is_named_in_one_line(name: str, module: str, package: str) -> None:
    code = f"import runpy, sys; sys.modules[{module!r}] = None; runpy.run_path({str(EXAMPLES / name) + '.py'!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert package in done.stderr


# The page ---------------------------------------------------------------------------------------------------


def test_the_snippets_run_on_their_own(page: str) -> None:
    every = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    blocks = [block for block in every if "torchrl" not in block]  # TorchRL has a test of its own, as it may be missing
    assert (len(blocks), len(every)) == (4, 5)
    for block in blocks:
        assert block.count("\n") <= 11
        scope: dict[str, Any] = {}
        exec(block, scope)
    assert scope["score"].rank.shape == (16, 20)


def test_links_lead_somewhere(page: str) -> None:
    headings = {
        title.lower().replace(",", "").replace(" ", "-") for title in re.findall(r"^#+ (.*)$", page, flags=re.M)
    }
    targets = re.findall(r"\]\((?!http)([^)]+)\)", page)
    assert {"timeline.svg", "tasks.svg"} <= set(targets)
    for target in targets:
        path, _, anchor = target.partition("#")
        assert not path or (PAGE.parent / path).exists(), target
        assert not anchor or anchor in headings, target


def _first_cells(page: str, header: str) -> list[str]:
    """The names in the first column of the table whose header begins so."""
    lines = page.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {header}"))
    names: list[str] = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return names
        names += re.findall(r"`([^`]+)`", line.split("|")[1])
    return names


def test_the_page_names_every_reward_and_its_range(page: str) -> None:
    assert _first_cells(page, "`reward`") == list(REWARDS)
    size = 250
    ends = {
        "top1": (0, 1),
        "top5": (0, 1),
        "top10": (0, 1),
        "neg-rank": (-size, -1),
        "inv-sqrt-rank": (size**-0.5, 1),
        "inv-rank": (1 / size, 1),
        "combined": (1 / size, 1),
        "percentile": (0, 1),
    }
    for name, scheme in REWARDS.items():
        paid = scheme().table(size) if name in ends else scheme().sample(size)
        low, high = ends.get(name, (-1, 1))
        assert low - 1e-9 <= float(paid.min()) <= float(paid.max()) <= high + 1e-9, name
        if name in ends:
            assert (float(paid.min()), float(paid.max())) == pytest.approx((low, high)), name
        assert (scheme().trajectory is not None) == (name == "combined"), name
    trajectory = REWARDS["combined"]().trajectory
    assert trajectory is not None
    ends_of_tau = trajectory(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0]))
    assert ends_of_tau.tolist() == pytest.approx([-1e-4, 0])


def test_the_page_names_every_autoreset_mode(page: str) -> None:
    assert set(_first_cells(page, "`autoreset_mode`")) == {mode.name for mode in AutoresetMode}
    for mode in AutoresetMode:
        assert f'"{mode.value}"' in page
        assert OnTheFlyVectorEnv(1, device="cpu", autoreset_mode=mode.value).autoreset_mode is mode


def test_the_page_names_every_key_of_info_with_its_type(page: str) -> None:
    env = OnTheFlyEnv()
    begun = env.reset(seed=0)[1]
    _, reward, _, _, single = env.step(np.zeros(64, np.float32))
    many = OnTheFlyVectorEnv(2, device="cpu", autoreset_mode="Disabled")
    many.reset(seed=0)
    vector = many.step(torch.zeros(2, 64))[4]
    keys = _first_cells(page, "key of `info`")
    assert sorted(keys) == sorted(set(single) | set(vector))
    assert {key: type(value) for key, value in begun.items()} == {key: type(value) for key, value in single.items()}
    assert type(reward) is float

    told_there = page[page.index("| key of `info`") :]
    rows = [[cell.strip() for cell in line.split("|")] for line in told_there.splitlines() if line.startswith("| `")]
    for cells in rows:
        for key in re.findall(r"`([^`]+)`", cells[1]):
            if key in keys and len(cells) == 6:
                told = cells[2].partition(",")[0], cells[3]
                assert told == (_kind(single.get(key)), _kind(vector.get(key))), key


def _kind(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        (one,) = {_kind(entry) for entry in value.values()}
        return f"dict of {one}s" if one == "float" else f"dict of {one}"
    return str(value.dtype) if isinstance(value, np.ndarray) else type(value).__name__


@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_the_page_names_what_an_autoreset_adds_to_info(page: str, mode: str) -> None:
    many = OnTheFlyVectorEnv(2, device="cpu", autoreset_mode=mode)
    many.reset(seed=0)
    keys = set().union(*(many.step(torch.zeros(2, 64))[4] for _ in range(21)))
    for key in keys:
        assert f"`{key}`" in page, key


def test_the_page_gives_the_sizes_of_the_banks_that_ship(page: str) -> None:
    train, validation, test = (EpisodeBank.load("procedural", split) for split in ("train", "validation", "test"))
    core = Core(train)
    assert f"T = {core.n_steps}, D = {core.observation_dim}, d = {core.action_dim}" in page.replace("\n", " ")
    sizes = "{}, {} and {}".format(*(len(bank.gallery) for bank in (train, validation, test)))
    assert f"G = {sizes} for the splits" in page.replace("\n", " ")
    strokes = EpisodeBank.load("procedural-strokes", "train").lengths
    assert f"({int(strokes.min())} to {int(strokes.max())})" in page


def test_the_page_names_every_way_to_render(page: str) -> None:
    for mode in OnTheFlyEnv.metadata["render_modes"]:
        assert f'"{mode}"' in page


def test_the_global_part_is_paid_where_the_timeline_shows_it() -> None:
    """g of step t, for t = 2..T-1, comes at step t+1 online and at step t aligned."""
    core = _test_core()
    sketches = torch.arange(64)
    actions = 2 * torch.rand(64, core.n_steps, core.action_dim, generator=torch.Generator().manual_seed(0)) - 1
    online, aligned = (core.score(sketches, actions, credit).trajectory for credit in ("online", "aligned"))
    assert torch.equal((online != 0).any(dim=0), torch.arange(core.n_steps) >= 2)
    assert torch.equal(online[:, 2:], aligned[:, 1:-1])
    assert not aligned[:, [0, -1]].any()


# An agent of one's own ---------------------------------------------------------------------------------------


def test_my_agent_learns_and_keeps_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(EXAMPLES / "my_agent.py"))
    before, after = example["main"](steps=200_000)
    assert after > before
    assert f"-> {after:.2f}" in capsys.readouterr().out
    env = gym.make("sketchless/OnTheFly-v0")
    check_agent(lambda seed: example["RewardWeighted"](env, seed=seed, episodes=4, samples=3))


def test_my_agent_is_short() -> None:
    assert len((EXAMPLES / "my_agent.py").read_text().splitlines()) <= 60


# A reward of one's own ---------------------------------------------------------------------------------------


def test_my_reward_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    scores = runpy.run_path(str(EXAMPLES / "my_reward.py"))["main"](steps=200_000)
    assert list(scores) == ["hold-the-lead", "hold-the-lead-shaped"]
    assert all(after > before for before, after in scores.values())
    assert "hold-the-lead: m@B" in capsys.readouterr().out
    assert len((EXAMPLES / "my_reward.py").read_text().splitlines()) <= 60


def test_the_page_on_rewards_names_every_field_and_shows_the_example() -> None:
    text = (ROOT / "docs" / "add-a-reward.md").read_text(encoding="utf-8")
    assert set(_first_cells(text, "field of a `Step`")) == {*FIELDS, "n_photos"}
    assert [line[:2] for line in text.splitlines() if re.match(r"\d\. ", line)] == ["1.", "2.", "3.", "4.", "5."]
    (snippet,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    scope: dict[str, Any] = {}
    exec(textwrap.dedent(snippet), scope)
    example = runpy.run_path(str(EXAMPLES / "my_reward.py"))
    told, run = (RewardScheme("lead", each["hold_the_lead"]).sample(10) for each in (scope, example))
    assert torch.equal(told, run)
    for name in set(re.findall(r"\]\(([^)]+)\)", text)):
        assert (PAGE.parent / name).exists(), name


# Encoders of one's own ---------------------------------------------------------------------------------------


def test_my_encoders_train_both_ways(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    few = procedural(train=16, validation=6, test=2, drawers=1)
    scores = runpy.run_path(str(EXAMPLES / "my_encoder.py"))["main"](few, epochs=1)
    assert len(scores) == 2
    assert all(0 < score <= 1 for score in scores.values())
    for name, kind in {"patches": "Encoder", "Sharp": "Sharp"}.items():
        encoder = make_encoder(EncoderConfig(f"my_encoder:{name}", size=32, dim=4))
        assert type(encoder).__name__ == kind
        encoder.save(tmp_path / name)
        loaded = load_encoder(tmp_path / name, "cpu", trust=[f"my_encoder:{name}"])
        assert loaded.digest() == encoder.digest()
    assert len((EXAMPLES / "my_encoder.py").read_text().splitlines()) <= 70
