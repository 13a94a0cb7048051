from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from inspect import signature
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    LogEveryNTimesteps,
    ProgressBarCallback,
)
from stable_baselines3.common.logger import configure

import sketchless.envs  # noqa: F401 (registers the ids)
from sketchless.agents import AGENTS, Agent, PPOAClip, PPOConfig, make_agent
from sketchless.agents.batch import advantages
from sketchless.agents.config import decay
from sketchless.agents.gaussian import gaussian_log_prob
from sketchless.agents.policy_gradient.ppo_a_clip import clipped_loss
from sketchless.datasets import CheckpointError, ConfigError, DataError
from sketchless.encoders import EpisodeBank
from sketchless.encoders.tensorfile import load_tensors, save_tensors
from sketchless.envs import CarryCore, Core, RewardScheme
from sketchless.envs.core import CREDITS
from sketchless.envs.rewards import combined

SMALL = {"episodes": 4, "samples": 3, "eval_every": 3}
LEARNERS = [name for name in AGENTS if name != "b1"]


@pytest.fixture
def core(make_bank) -> Core:
    return Core(make_bank(n=10, steps=5))


def weights(agent: Agent) -> list[torch.Tensor]:
    return [p.detach().clone() for module in agent.modules.values() for p in module.parameters()]


def equal(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


class TestAdvantages:
    reward = torch.tensor([[[1.0, 2.0]], [[3.0, 6.0]]])  # [K=2, B=1, T=2]
    every = torch.ones(1, 2)

    def test_reward_is_the_reward(self) -> None:
        assert torch.equal(advantages(self.reward, self.every, "reward", False), self.reward)

    def test_batch_mean_subtracts_the_mean_of_all(self) -> None:  # (1 + 2 + 3 + 6) / 4 = 3
        assert advantages(self.reward, self.every, "batch-mean", False).flatten().tolist() == [-2, -1, 0, 3]

    def test_group_subtracts_the_mean_of_the_same_state(self) -> None:  # means 2 and 4
        assert advantages(self.reward, self.every, "group", False).flatten().tolist() == [-1, -2, 1, 2]

    def test_frames_beyond_the_end_count_for_nothing(self) -> None:
        found = advantages(self.reward, torch.tensor([[1.0, 0.0]]), "batch-mean", False)
        assert found.flatten().tolist() == [-1, 0, 1, 0]  # mean of 1 and 3 is 2

    def test_normalised_advantages_have_deviation_one(self) -> None:
        found = advantages(self.reward, self.every, "group", True)  # squares 1, 4, 1, 4: deviation sqrt(2.5)
        assert found.flatten().tolist() == pytest.approx([x / 2.5**0.5 for x in (-1, -2, 1, 2)])

    def test_equal_rewards_give_no_advantage(self) -> None:
        assert advantages(torch.ones(3, 2, 2), torch.ones(2, 2), "group", True).abs().max() == 0


class TestClippedLoss:
    valid = torch.ones(1, 1)

    @pytest.mark.parametrize(
        ("ratio", "advantage", "gain"),
        [
            (1.1, 2.0, 2.2),  # inside the clip
            (1.5, 2.0, 2.4),  # a gain is cut at 1 + eps
            (0.5, 2.0, 1.0),  # a loss of probability of a good action is not
            (0.5, -2.0, -1.6),  # cut at 1 - eps
            (1.5, -2.0, -3.0),  # a bad action made likelier is not
        ],
    )
    def test_by_hand(self, ratio: float, advantage: float, gain: float) -> None:
        log_prob = torch.full((1, 1, 1), ratio).log()
        loss = clipped_loss(log_prob, torch.zeros(1, 1, 1), torch.full((1, 1, 1), advantage), self.valid, 0.2)
        assert float(loss) == pytest.approx(-gain)

    def test_first_gradient_is_that_of_reinforce(self) -> None:
        generator = torch.Generator().manual_seed(0)
        mean = torch.randn(4, 5, 3, generator=generator, requires_grad=True)
        action = torch.randn(2, 4, 5, 3, generator=generator)
        advantage = torch.randn(2, 4, 5, generator=generator)
        log_prob = gaussian_log_prob(action, mean, torch.zeros(3))
        valid = torch.ones(4, 5)
        (clipped,) = torch.autograd.grad(clipped_loss(log_prob, log_prob.detach(), advantage, valid, 0.2), mean)
        log_prob = gaussian_log_prob(action, mean, torch.zeros(3))
        (reinforce,) = torch.autograd.grad(-(log_prob * advantage).mean(), mean)
        torch.testing.assert_close(clipped, reinforce)


def planted(seed: int = 0) -> EpisodeBank:
    """Features are the photo embeddings turned by a rotation that the frozen head does not know."""
    generator = torch.Generator().manual_seed(seed)
    d, photos = 8, 20
    gallery = torch.nn.functional.normalize(torch.randn(photos, d, generator=generator), dim=-1)
    rotation, _ = torch.linalg.qr(torch.randn(d, d, generator=generator))
    features = (gallery @ rotation).unsqueeze(1).repeat(1, 4, 1)
    return EpisodeBank(
        features=features,
        lengths=torch.full((photos,), 4),
        targets=torch.arange(photos),
        gallery=gallery,
        weight=torch.eye(d),
        bias=torch.zeros(d),
        sketch_ids=tuple(f"s{i}" for i in range(photos)),
        photo_ids=tuple(f"p{i}" for i in range(photos)),
        split="train",
    )


SUPERVISED = ("rank-softmax", "frame-triplet", "sodeep", "mgal")
SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))]
BUDGETS = dict.fromkeys(LEARNERS, 200_000) | dict.fromkeys(SUPERVISED, 20_000)  # steps


def solved(agent: Agent, budget: int) -> bool:
    """Whether it ranks nearly every photo first within so many steps, or fewer."""

    def best() -> bool:
        return agent.validate(agent.core)[1] >= 95

    agent.learn(budget, lambda *_: agent.n_updates % 10 > 0 or not best())
    return best()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", LEARNERS)
def test_solves_a_task_with_a_known_optimum(name: str, seed: int) -> None:
    """Turning back the rotation ranks every photo first: m@B 100."""
    agent = make_agent(name, Core(planted(), "inv-rank"), learning_rate=1e-2, seed=seed)
    assert agent.validate(agent.core)[1] < 50
    assert solved(agent, BUDGETS[name])


def test_solves_it_in_absolute_mode() -> None:
    assert solved(PPOAClip(Core(planted(), "inv-rank", "absolute"), learning_rate=1e-2), 200_000)


def test_solves_it_with_a_memory() -> None:
    # here B1 is wrong on complete sketches too: nothing of it is worth keeping
    settings: dict[str, Any] = {"learning_rate": 1e-2, "policy": "gru", "b1_penalty": 0.0}
    assert solved(PPOAClip(Core(planted(), "inv-rank"), **settings), 200_000)


def test_the_baseline_learns_nothing(core: Core) -> None:
    agent = make_agent("b1", core)
    assert agent.learn(1000).num_timesteps == 0
    assert (agent.predict(core.frames[0].numpy(), deterministic=True)[0] == 0).all()


def test_paper_preset_is_the_paper_to_the_letter() -> None:
    paper = PPOAClip.presets["paper"]
    assert isinstance(paper, PPOConfig)
    assert (paper.advantage, paper.init_log_std, paper.clip, paper.samples) == ("reward", 0.0, 0.2, 1)
    assert (paper.normalize_advantage, paper.train_log_std, paper.episodes) == (False, False, 16)
    assert (paper.learning_rate, paper.lr_schedule, paper.max_grad_norm) == (1e-3, "step", 40.0)
    assert PPOAClip.budgets["paper"] == 2000


@pytest.mark.parametrize("name", LEARNERS)
def test_every_agent_takes_the_step_that_follows_the_width(name: str, make_bank: Any) -> None:
    assert make_agent(name, Core(make_bank(n=2, width=100)), learning_rate=None).config.learning_rate == 0.01


@pytest.mark.parametrize("name", ["vpg", "ppo-a-clip", "grpo"])
def test_the_default_step_is_as_long_on_wide_features_as_on_narrow_ones(
    name: str, make_bank: Any, tmp_path: Path
) -> None:
    for width, step in ((100, 0.01), (1600, 0.0025)):  # 0.1 / 10 and 0.1 / 40
        core = Core(make_bank(n=2, steps=2, width=width))
        agent = make_agent(name, core)
        assert agent.config.learning_rate == pytest.approx(step)
        assert make_agent(name, core, learning_rate=0.5).config.learning_rate == 0.5
        agent.save(tmp_path / "agent.safetensors")
        assert type(agent).load(tmp_path / "agent.safetensors", core).config == agent.config
        _, said = load_tensors(tmp_path / "agent.safetensors", "agent")
        assert said["config"]["learning_rate"] == pytest.approx(step)
    assert make_agent(name, CarryCore(make_bank(n=2, width=36))).config.learning_rate == 1e-3
    embedding = Core(make_bank(n=2, width=36, dim=4), observation="embedding")
    assert make_agent(name, embedding).config.learning_rate == pytest.approx(0.05)


def test_paper_preset_learns() -> None:
    train, validation = (EpisodeBank.load("procedural", split) for split in ("train", "validation"))
    core = Core(train, "combined", PPOAClip.modes["paper"])
    agent = PPOAClip(core, validation, PPOAClip.presets["paper"], eval_every=25).learn(8 * int(train.lengths.sum()))
    b1 = agent.history[0]
    assert agent.best.m_at_b > b1["val_m_at_b"] + 0.3
    assert max(row["val_m_at_a"] for row in agent.history) > b1["val_m_at_a"] + 0.8


def test_step_schedule_is_a_tenth_in_the_second_half() -> None:
    assert [decay("step", share) for share in (0.0, 0.49, 0.5, 1.0)] == [1.0, 1.0, 0.1, 0.1]


@pytest.mark.parametrize("name", LEARNERS)
def test_only_actor_critics_hold_a_critic(core: Core, name: str) -> None:
    agent = make_agent(name, core)
    assert [part for part, _ in agent.policy.named_parameters()] == ["log_std", "mean.weight", "mean.bias"]
    assert ("critic" in agent.modules) == (name in ("ppo-ac-clip", "ppo-ac-kl", "trpo"))
    learned = sum(p.numel() for o in agent.optimizers.values() for g in o.param_groups for p in g["params"])
    assert learned == sum(p.numel() for module in agent.modules.values() for p in module.parameters())


@pytest.mark.parametrize("name", LEARNERS)
def test_same_seed_same_weights_other_seed_others(core: Core, name: str) -> None:
    runs = [weights(make_agent(name, core, seed=seed, **SMALL).learn(400)) for seed in (0, 0, 1)]
    assert equal(runs[0], runs[1])
    assert not equal(runs[0], runs[2])


@pytest.mark.parametrize("name", LEARNERS)
def test_training_leaves_the_global_random_state_alone(core: Core, name: str) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    make_agent(name, core, **SMALL).learn(200)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002


@pytest.mark.parametrize("name", LEARNERS)
def test_budget_counts_drawings_times_frames_times_samples(core: Core, name: str) -> None:
    agent = make_agent(name, core, **SMALL).learn(61)
    assert agent.num_timesteps == 2 * 4 * 5 * 3  # the second update passes 61
    assert agent.n_updates == 2


def test_a_pass_plays_every_drawing_once(core: Core) -> None:
    agent = PPOAClip(core, **SMALL)
    drawn = torch.cat([agent.drawings.draw(4)[0] for _ in range(5)])  # two passes over 10 drawings
    assert sorted(drawn[:10].tolist()) == sorted(drawn[10:].tolist()) == list(range(10))


def test_keeps_the_policy_that_validates_best(make_bank) -> None:
    core, validation = Core(make_bank(n=10, steps=5)), make_bank(n=8, steps=5, seed=1)
    agent = PPOAClip(core, validation, learning_rate=0.3, **SMALL).learn(2000)
    scores = [look["val_m_at_b"] for look in agent.history]
    assert agent.validate(Core(validation, "inv-rank"))[1] == pytest.approx(max(scores))
    assert max(scores) > scores[-1]  # so that the choice is seen to matter


def test_patience_stops_early(make_bank) -> None:
    validation = make_bank(n=8, steps=5, seed=1)
    agent = PPOAClip(Core(make_bank(n=10, steps=5)), validation, learning_rate=0.3, patience=2, **SMALL)
    assert agent.learn(10_000).num_timesteps < 10_000


class StopAfter(BaseCallback):
    def __init__(self, updates: int) -> None:
        super().__init__()
        self.updates = updates

    def _on_step(self) -> bool:
        return self.n_calls < self.updates


def test_a_stop_in_the_last_update_still_gives_the_best_policy(make_bank) -> None:
    core, validation = Core(make_bank(n=10, steps=5)), make_bank(n=8, steps=5, seed=1)
    settings: dict[str, Any] = {**SMALL, "learning_rate": 0.3}
    whole = PPOAClip(core, validation, **settings).learn(600)
    stopped = PPOAClip(core, validation, **settings).learn(600, callback=StopAfter(whole.n_updates))
    assert stopped.num_timesteps >= 600
    assert stopped.history == whole.history
    assert equal(weights(whole), weights(stopped))


STOPS = [("constant", 1), ("linear", 2), ("cosine", 5)]  # schedule, updates before the stop
ALL_STOPS = ("ppo-a-clip", "ppo-ac-clip", "trpo")  # one of each way to update


@pytest.mark.parametrize(
    ("name", "schedule", "stop"),
    [
        pytest.param(name, *stop, marks=() if stop == STOPS[1] or name in ALL_STOPS else pytest.mark.slow)
        for name in LEARNERS
        for stop in STOPS
    ],
)
def test_interrupted_and_resumed_equals_uninterrupted(
    make_bank, tmp_path: Path, name: str, schedule: str, stop: int
) -> None:
    lengths = [5, 3, 5, 1, 2, 5, 4, 5, 5, 2]
    core, validation = Core(make_bank(n=10, steps=5, lengths=lengths)), make_bank(n=8, steps=5, seed=1)
    settings: dict[str, Any] = {**SMALL, "eval_every": 2, "lr_schedule": schedule}
    whole = make_agent(name, core, validation=validation, **settings).learn(300)
    assert whole.n_updates > 5

    first = make_agent(name, core, validation=validation, **settings).learn(300, callback=StopAfter(stop))
    first.save(tmp_path / "part.safetensors")
    second = AGENTS[name].load(tmp_path / "part.safetensors", core, validation)
    assert second.numbers == first.numbers
    second.learn(300, reset_num_timesteps=False)

    assert equal(weights(whole), weights(second))
    assert whole.history == second.history
    assert whole.num_timesteps == second.num_timesteps


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("policy", ["linear", "gru", "per-step"])
def test_saved_and_loaded_predicts_the_same(core: Core, tmp_path: Path, name: str, policy: str) -> None:
    if policy != "linear" and "critic" in make_agent(name, core).modules:
        pytest.skip("stable-baselines3's on-policy algorithms know only linear policies")
    agent = make_agent(name, core, policy=policy, **SMALL).learn(200)
    agent.save(tmp_path / "agent.safetensors")
    again = AGENTS[name].load(tmp_path / "agent.safetensors", core)
    observation = core.frames[0].numpy()
    settled = [one.predict(observation, deterministic=True)[0] for one in (agent, again)]
    assert (settled[0] == settled[1]).all()
    assert (agent.predict(observation)[0] == again.predict(observation)[0]).all()  # the same noise, too
    assert again.config == agent.config


def test_load_refuses_another_kind_of_environment(make_bank, tmp_path: Path, refuses) -> None:
    PPOAClip(Core(make_bank())).save(tmp_path / "a.safetensors")
    with refuses(CheckpointError, "made for"):
        PPOAClip.load(tmp_path / "a.safetensors", Core(make_bank(), mode="absolute"))
    with refuses(CheckpointError, "do not fit"):
        PPOAClip.load(tmp_path / "a.safetensors", Core(make_bank(width=48)))


class TestAnotherBank:
    """An agent acts on any bank of the same widths, but goes on training only where it began."""

    @pytest.fixture
    def file(self, core: Core, tmp_path: Path) -> Path:
        PPOAClip(core, **SMALL).learn(60).save(tmp_path / "a.safetensors")
        return tmp_path / "a.safetensors"

    def others(self, make_bank) -> list[Core]:
        bank = make_bank(n=10, steps=5)
        return [Core(make_bank(n=3, steps=5)), Core(make_bank(n=10, steps=5, seed=1)), Core(bank, "inv-rank")]

    def test_it_predicts_there_but_does_not_go_on(self, make_bank, file: Path, refuses) -> None:
        for other in self.others(make_bank):
            agent = PPOAClip.load(file, other)
            agent.predict(other.frames[0].numpy())
            with refuses(
                CheckpointError, r"trained on bank .*10 drawings.*reward combined \(\w+\), the environment has bank .*"
            ):
                agent.learn(120, reset_num_timesteps=False)

    def test_it_may_begin_a_run_of_its_own_there(self, make_bank, file: Path) -> None:
        for other in self.others(make_bank):
            agent = PPOAClip.load(file, other).learn(60)
            assert agent.learn(120, reset_num_timesteps=False).num_timesteps >= 120

    def test_a_reward_of_another_weight_is_another_reward(self, make_bank, tmp_path: Path, refuses) -> None:
        bank = make_bank(n=10, steps=5)
        path = tmp_path / "agent.safetensors"
        PPOAClip(Core(bank, combined(gamma2=1e-4)), **SMALL).learn(60).save(path)
        agent = PPOAClip.load(path, Core(bank, combined(gamma2=1.0)))
        with refuses(CheckpointError, "was trained on .* with reward combined"):
            agent.learn(120, reset_num_timesteps=False)

    def test_a_file_that_does_not_say_what_the_reward_pays_goes_on(self, core: Core, file: Path) -> None:
        tensors, meta = load_tensors(file, "agent")
        meta["trained_on"], _, _ = meta["trained_on"].rpartition(" (")
        save_tensors(file, "agent", tensors, meta)
        assert PPOAClip.load(file, core).learn(120, reset_num_timesteps=False).num_timesteps == 120

    def test_a_reward_may_know_the_ranks_of_its_gallery_only(self, make_bank) -> None:
        table = torch.linspace(1, 0, 20, dtype=torch.float64)[::2]
        agent = PPOAClip(Core(make_bank(n=10, steps=5), lambda rank, size: table[rank - 1]), **SMALL).learn(60)
        assert agent.num_timesteps == 60

    def test_history_has_the_mean_reward_since_the_last_look(self, core: Core, make_bank) -> None:
        agent = PPOAClip(core, make_bank(n=9, steps=6, seed=5), episodes=4, samples=2, eval_every=3)
        rewards: list[float] = []

        def note(*_: object) -> bool:
            rewards.append(agent.last_reward)
            return True

        agent.learn(7 * 4 * 6 * 2, callback=note)
        looks = [look["reward"] for look in agent.history if "reward" in look]
        assert len(rewards) >= 7
        assert looks[:2] == pytest.approx([np.mean(rewards[:3]), np.mean(rewards[3:6])])

    def test_a_stop_before_the_last_look_changes_no_history(self, core: Core, make_bank, tmp_path: Path) -> None:
        validation, path = make_bank(n=4, steps=5, seed=1), tmp_path / "agent.safetensors"
        whole = PPOAClip(core, validation, **SMALL)
        whole.learn(120, callback=lambda *_: whole.save(path) or True)  # the last time before the last look
        again = PPOAClip.load(path, core, validation).learn(120, reset_num_timesteps=False)
        assert again.history == whole.history

    def test_files_that_do_not_say_where_still_work(self, core: Core, make_bank, file: Path, refuses) -> None:
        tensors, meta = load_tensors(file, "agent")
        del meta["trained_on"]
        save_tensors(file, "agent", tensors | {"queue": torch.tensor([9, 3])}, meta)
        assert PPOAClip.load(file, core).learn(120, reset_num_timesteps=False).num_timesteps == 120
        fewer = Core(make_bank(n=3, steps=5))
        agent = PPOAClip.load(file, fewer)
        agent.predict(fewer.frames[0].numpy())
        with refuses(CheckpointError, "trained on a bank of more drawings"):
            agent.learn(120, reset_num_timesteps=False)

    @pytest.mark.parametrize("queue", [[10], [-1], [0, 99]])
    def test_drawings_that_the_bank_does_not_hold_are_refused(
        self, core: Core, file: Path, refuses, queue: list[int]
    ) -> None:
        tensors, meta = load_tensors(file, "agent")
        save_tensors(file, "agent", tensors | {"queue": torch.tensor(queue)}, meta)
        with refuses(CheckpointError, "queue"):
            PPOAClip.load(file, core)


def test_load_refuses_damaged_files(core: Core, tmp_path: Path, refuses) -> None:
    whole = tmp_path / "agent.safetensors"
    PPOAClip(core, **SMALL).learn(100).save(whole)
    content, part = whole.read_bytes(), tmp_path / "part.safetensors"
    for sixteenth in range(16):
        part.write_bytes(content[: len(content) * sixteenth // 16])
        with refuses(CheckpointError, "part.safetensors"):
            PPOAClip.load(part, core)
    with refuses(CheckpointError, "no such file"):
        PPOAClip.load(tmp_path / "none.safetensors", core)


def test_a_failed_save_keeps_the_old_file(core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "agent.safetensors"
    agent = PPOAClip(core, **SMALL)
    agent.save(path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Exception, match="no room"):
        agent.learn(100).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["agent.safetensors"]


class TestPredict:
    def test_shapes_types_and_box(self, core: Core) -> None:
        agent = PPOAClip(core, init_log_std=2.0)
        for observation in (core.frames[0, 0].numpy(), core.frames[0].numpy()):
            action, state = agent.predict(observation)
            assert action.shape == (*observation.shape[:-1], core.action_dim)
            assert state is None
            assert np.abs(action).max() <= 1
        assert isinstance(agent.predict(core.frames[0])[0], torch.Tensor)

    def test_deterministic_is_the_mean(self, core: Core) -> None:
        agent = PPOAClip(core)
        action, _ = agent.predict(core.frames[0].numpy(), deterministic=True)
        assert (action == 0).all()  # residual mode begins with the baseline

    def test_other_width_is_refused(self, core: Core, refuses) -> None:
        with refuses(ConfigError, "want"):
            PPOAClip(core).predict(np.zeros(3, np.float32))


class TestStableBaselinesShape:
    @pytest.mark.parametrize("name", LEARNERS)
    def test_callbacks_and_logger(self, core: Core, tmp_path: Path, name: str) -> None:
        agent = make_agent(name, core, **SMALL)
        agent.set_logger(configure(str(tmp_path), ["csv"]))
        seen: list[int] = []
        agent.learn(180, callback=lambda scope, _: seen.append(scope["self"].num_timesteps) or True)
        assert seen == [60, 120, 180]
        header = (tmp_path / "progress.csv").read_text().splitlines()[0].split(",")
        rollout = {f"rollout/{key}" for key in ("reward", "reward_local", "reward_trajectory", "rank")}
        train = {f"train/{key}" for key in ("approx_kl", "clip_fraction", "entropy", "std", "learning_rate")}
        assert rollout | train | {"time/fps", "time/total_timesteps"} <= set(header)

    @pytest.mark.parametrize("name", AGENTS)
    def test_learn_takes_the_arguments_of_ppo_in_their_order(self, core: Core, name: str) -> None:
        assert list(signature(AGENTS[name].learn).parameters) == list(signature(PPO.learn).parameters)
        agent = make_agent(name, core).learn(1, None, 1, "run", True, False)
        agent.learn(agent.num_timesteps + 1, reset_num_timesteps=False, tb_log_name="run")

    def test_a_progress_bar_goes_to_the_end(self, core: Core, capsys: pytest.CaptureFixture[str]) -> None:
        PPOAClip(core, **SMALL).learn(180)
        assert capsys.readouterr().out == ""
        PPOAClip(core, **SMALL).learn(180, progress_bar=True)
        assert "100%" in capsys.readouterr().out

    @pytest.mark.parametrize("nested", [False, True])
    def test_their_progress_bar_counts_steps(self, core: Core, nested: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        counted: list[int] = []

        def count(bar: Any, n: float = 1) -> None:
            counted.append(int(n))

        monkeypatch.setattr("tqdm.rich.tqdm_rich.update", count)
        bar = ProgressBarCallback()
        PPOAClip(core, **SMALL).learn(180, callback=CallbackList([bar]) if nested else bar)
        assert counted == [60, 60, 60]

    def test_every_so_many_steps_the_log_is_written(self, core: Core, tmp_path: Path) -> None:
        agent = PPOAClip(core, **SMALL)
        agent.set_logger(configure(str(tmp_path), ["csv"]))
        agent.learn(360, callback=LogEveryNTimesteps(120), log_interval=None)
        rows = list(csv.DictReader((tmp_path / "progress.csv").open()))
        assert [row["time/total_timesteps"] for row in rows] == ["120", "240", "360"]
        assert all(float(row["train/approx_kl"]) >= 0 for row in rows)

    @pytest.mark.filterwarnings("ignore::UserWarning")  # of theirs, about wrappers
    def test_callbacks_that_evaluate_and_save_work(self, make_bank, tmp_path: Path) -> None:
        env = gym.make("sketchless/OnTheFly-v0", bank=make_bank(n=10, steps=5))
        watched = gym.make("sketchless/OnTheFly-v0", bank=make_bank(n=4, steps=5))
        look = EvalCallback(watched, n_eval_episodes=2, eval_freq=2, best_model_save_path=str(tmp_path), verbose=0)
        PPOAClip(env, **SMALL).learn(240, callback=[look, CheckpointCallback(2, str(tmp_path))])
        assert np.isfinite(look.best_mean_reward)
        assert len(list(tmp_path.glob("rl_model_*"))) == 2

    def test_environments_of_ours_are_accepted(self, make_bank) -> None:
        bank = make_bank()
        for env in (gym.make("sketchless/OnTheFly-v0", bank=bank), Core(bank)):
            assert make_agent("ppo-a-clip", env).core.bank is not None

    def test_another_environment_is_refused(self, refuses) -> None:
        with refuses(ConfigError, "no sketchless environment"):
            make_agent("ppo-a-clip", gym.make("CartPole-v1"))


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ({"learning_rat": 1}, "did you mean 'learning_rate'"),
        ({"learning_rate": -1.0}, "above 0"),
        ({"samples": 1}, "two samples"),
        ({"advantage": "grup"}, "did you mean 'group'"),
        ({"credit": "sumed"}, "did you mean 'summed'"),
        ({"init_log_std": float("nan")}, "finite"),
        ({"seed": -1}, "0 or more"),
        ({"samples": 2.5}, "samples=2.5: want type int"),
        ({"samples": True}, "want type int"),
        ({"learning_rate": "fast"}, "want type float"),
        ({"normalize_advantage": 1}, "want type bool"),
        ({"mean_norm": "abc"}, r"mean_norm='abc': want type float \| None"),
        ({"mean_norm": 0}, "above 0, 1e\\+09 at most, or None"),
        ({"mean_norm": -1.0}, "above 0, 1e\\+09 at most, or None"),
        ({"samples": 10**30}, "at most"),
        ({"episodes": 10**12}, "at most"),
        ({"learning_rate": 10**400}, "at most"),
        ({"init_log_std": -(10**400)}, "at most"),
        ({"seed": 2**63}, r"9.22e\+18 at most"),
    ],
)
def test_impossible_settings_are_refused(core: Core, refuses, setting: dict[str, Any], match: str) -> None:
    with refuses(ConfigError, match):
        PPOAClip(core, **setting)


@pytest.mark.parametrize(
    ("name", "setting", "match"),
    [
        ("ppo-a-clip", {"weight_decay": -1}, "0 or more"),
        ("ppo-a-clip", {"patience": -3}, "0 or more"),
        ("grpo", {"samples": 1}, "two or more"),
        ("grpo", {"beta": -1.0}, "0 or more"),
        ("grpo", {"advantage": "reward"}, "does not read"),
        ("ppo-ac-clip", {"advantage": "reward"}, "does not read"),
        ("ppo-ac-kl", {"weight_decay": 0.1}, "does not read"),
        ("ppo-ac-clip", {"credit": "summed", "gamma": 0.9}, "each term would count thrice; set gamma to 0"),
        ("rank-softmax", {"credit": "summed"}, "does not read"),
        ("ppo-ac-kl", {"value_weight": -0.1}, "0 or more"),
        ("trpo", {"max_grad_norm": 1.0}, "does not read"),
        ("rank-softmax", {"normalize_advantage": False}, "does not read"),
    ],
)
def test_settings_that_make_no_sense_for_an_agent_are_refused(
    core: Core, refuses, name: str, setting: dict[str, Any], match: str
) -> None:
    with refuses(ConfigError, match):
        make_agent(name, core, **setting)


def test_summed_credit_is_refused_where_later_steps_are_paid_for_too(make_bank) -> None:
    """In Carry the discount is 1 unless it is given: every trajectory term would reach an action three times."""
    core = CarryCore(make_bank(n=4, steps=5))
    with pytest.raises(ConfigError, match=r"credit='summed' with gamma=1: each term would count thrice"):
        PPOAClip(core, credit="summed").learn(100)
    PPOAClip(core, credit="summed", gamma=0.0, episodes=2, samples=2).learn(1)
    PPOAClip(Core(make_bank(n=4, steps=5)), credit="summed", episodes=2, samples=2).learn(1)


def test_summed_credit_makes_lists_steadier(make_bank) -> None:
    """With the trajectory part all that is paid, only the exact gradient of the episode's sum raises that sum."""
    core, gained = Core(make_bank(n=16, steps=6), combined(0, 1)), {}
    for credit in CREDITS:
        agent = PPOAClip(core, credit=credit, learning_rate=1e-2).learn(60_000)
        rows = torch.arange(16)
        before = core.score(rows, torch.zeros(16, 6, core.action_dim)).reward.sum()
        with torch.no_grad():
            gained[credit] = float(core.score(rows, agent.policy(core.observations(rows))).reward.sum() - before)
    assert gained["summed"] > 0
    assert gained["summed"] > max(gained["aligned"], gained["online"])


@pytest.mark.parametrize("name", ["ppo-ac-clip", "ppo-ac-kl", "trpo", "rank-softmax"])
def test_one_sample_will_do_where_none_are_compared(core: Core, name: str) -> None:
    before = weights(agent := make_agent(name, core, episodes=4, samples=1))
    assert not equal(before, weights(agent.learn(40)))


@pytest.mark.parametrize("value", [2, 2.5, None])
def test_settings_of_every_allowed_type_are_saved_and_loaded(core: Core, tmp_path: Path, value: float | None) -> None:
    PPOAClip(core, mean_norm=value, learning_rate=1).save(tmp_path / "a.safetensors")
    assert PPOAClip.load(tmp_path / "a.safetensors", core).config.mean_norm == value


def test_a_list_will_do_for_a_tuple(core: Core, tmp_path: Path, refuses) -> None:
    agent = make_agent("ppo-ac-clip", core, critic=[8, 4])
    agent.save(tmp_path / "a.safetensors")
    again = AGENTS["ppo-ac-clip"].load(tmp_path / "a.safetensors", core)
    assert agent.config.critic == again.config.critic == (8, 4)
    with refuses(ConfigError, "critic=5: want type tuple"):
        make_agent("ppo-ac-clip", core, critic=5)


def test_unknown_agent_names_the_nearest(core: Core, refuses) -> None:
    with refuses(ConfigError, "did you mean 'ppo-a-clip'"):
        make_agent("ppo-clip", core)


def test_a_nan_reward_stops_before_it_poisons_the_weights(make_bank, refuses) -> None:
    broken = RewardScheme("broken", lambda rank, size: 1 / rank, lambda before, after: after * float("nan"))
    agent = PPOAClip(Core(make_bank(), broken))
    before = weights(agent)
    with refuses(ConfigError, "NaN or infinite"):
        agent.learn(1000)
    assert equal(before, weights(agent))


def test_a_nan_loss_stops_before_it_poisons_the_weights(core: Core, refuses, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = PPOAClip(core)
    before = weights(agent)
    broken = lambda log_prob, *_: log_prob.sum() * float("nan")  # noqa: E731
    monkeypatch.setattr("sketchless.agents.policy_gradient.ppo_a_clip.clipped_loss", broken)
    with refuses(DataError, "update 1: loss nan"):
        agent.learn(1000)
    assert equal(before, weights(agent))


@pytest.mark.parametrize("name", ["ppo-a-clip", "ppo-a-kl", "grpo"])
def test_a_nan_in_a_later_epoch_undoes_the_earlier_ones(core: Core, refuses, name: str) -> None:
    agent = make_agent(name, core, **SMALL).learn(120)
    before, states = weights(agent), repr([o.state_dict() for o in agent.optimizers.values()])
    numbers, descend, losses = dict(agent.numbers), agent.descend, []

    def second_is_nan(loss: torch.Tensor) -> dict[str, torch.Tensor]:
        losses.append(loss)
        return descend(loss * float("nan") if len(losses) == 2 else loss)

    agent.descend = second_is_nan  # type: ignore[method-assign]
    with refuses(DataError, r"update 3: loss nan.*is kept"):
        agent.learn(240, reset_num_timesteps=False)
    assert len(losses) == 4
    assert equal(before, weights(agent))
    assert repr([o.state_dict() for o in agent.optimizers.values()]) == states
    assert agent.numbers == numbers


@pytest.mark.parametrize("name", LEARNERS)
def test_weights_that_a_step_makes_infinite_are_taken_back(
    core: Core, refuses, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    agent = make_agent(name, core, **SMALL).learn(60)
    before, step = weights(agent), torch.optim.Adam.step

    def overshoot(self: torch.optim.Adam, *_: Any) -> None:
        step(self)
        self.param_groups[0]["params"][0].data.fill_(float("inf"))

    monkeypatch.setattr(torch.optim.Adam, "step", overshoot)
    with refuses(DataError, r"update 2: .*is kept"):
        agent.learn(120, reset_num_timesteps=False)
    assert equal(before, weights(agent))


def test_save_refuses_weights_that_load_would_refuse(core: Core, tmp_path: Path, refuses) -> None:
    path = tmp_path / "agent.safetensors"
    agent = PPOAClip(core, **SMALL).learn(60)
    agent.save(path)
    agent.policy.mean.bias.data.fill_(float("inf"))
    with refuses(DataError, "not written, module/policy/mean.bias holds NaN"):
        agent.save(path)
    PPOAClip.load(path, core)


@pytest.mark.parametrize("name", AGENTS)
def test_agents_leave_no_folder_behind(core: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    make_agent(name, core, **SMALL).learn(60)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def doubles() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        *((name, {}) for name in AGENTS),
        ("vpg", {"policy": "gru"}),
        ("vpg", {"policy": "per-step"}),
        ("sodeep", {"sorter": "lstm", "sorter_updates": 2}),
    ],
)
@pytest.mark.parametrize("mode", ["residual", "absolute"])
def test_torchs_default_type_changes_nothing(
    make_bank, tmp_path: Path, name: str, more: dict[str, Any], mode: str
) -> None:
    bank = make_bank(n=10, steps=5)
    with doubles():
        core = Core(bank, mode=mode)
        agent = make_agent(name, core, validation=core.bank, **SMALL, **more).learn(120)
        agent.save(tmp_path / "agent.safetensors")
    assert {p.dtype for p in weights(agent)} == {torch.float32}
    again = AGENTS[name].load(tmp_path / "agent.safetensors", core, core.bank)
    assert again.predict(core.frames[0].numpy())[0].dtype == np.float32
    again.learn(180, reset_num_timesteps=False)
    if "critic" not in agent.modules:  # whose first weights are drawn in that type
        usual = make_agent(name, Core(bank, mode=mode), validation=bank, **SMALL, **more).learn(120)
        assert equal(weights(agent), weights(usual))


def test_settings_are_plain_json_values() -> None:
    assert set(asdict(PPOConfig())) == {f.name for f in fields(PPOConfig)}
    assert all(isinstance(v, (int, float, str, bool, type(None))) for v in asdict(PPOConfig()).values())
