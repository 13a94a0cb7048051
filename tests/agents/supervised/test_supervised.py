"""What makes each method without reinforcement learning itself: its loss by hand, its heads, its sorter."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from sketchless.agents import FrameTriplet, SoDeep
from sketchless.agents.policies.memory import PerStepGaussianPolicy
from sketchless.agents.supervised.sorter import (
    Sorter,
    _one_cycle,
    exact_ranks,
    sigmoid_ranks,
    sorter_error,
    sorter_optimizer,
    sorter_updates,
    synthetic_lists,
)
from sketchless.benchmarks import evaluate
from sketchless.datasets import ConfigError
from sketchless.envs import Core
from sketchless.envs.ranking import target_rank
from sketchless.envs.testing import check_causal

SMALL: dict[str, Any] = {"episodes": 4}


@pytest.fixture
def core(make_bank) -> Core:
    return Core(make_bank(n=10, steps=5))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def train_sorter(sorter: Sorter, length: int, updates: int, generator: torch.Generator) -> float:
    """Error of a sorter that was trained as the agent trains it."""
    for _ in sorter_updates(sorter, sorter_optimizer(sorter), length, updates, generator):
        pass
    return sorter_error(sorter, length, generator)


class TestFrameTriplet:
    def test_loss_by_hand(self, core: Core) -> None:
        agent = FrameTriplet(core, **SMALL)
        batch = agent.collect()
        embedding, own = core.base[batch.sketches[1], 3], int(core.bank.targets[batch.sketches[1]])
        distance = [float((embedding - photo).norm()) for photo in core.gallery]
        hinges = [max(0.0, 0.3 + distance[own] - d) for g, d in enumerate(distance) if g != own]
        assert agent.loss(batch)[1, 3].item() == pytest.approx(sum(hinges) / 9, rel=1e-4)

    def test_is_nothing_where_every_other_photo_is_far(self, core: Core) -> None:
        agent = FrameTriplet(core, margin=1e-6, **SMALL)
        batch = agent.collect()
        assert ((agent.loss(batch) == 0) == (core.score(batch.sketches, batch.mean).rank == 1)).all()


class TestHeadPerStep:
    """Baseline B3."""

    def test_begins_as_the_baseline(self, core: Core) -> None:
        assert FrameTriplet(core, policy="per-step").policy(core.frames).abs().max() == 0
        for observation in ("feature", "embedding"):
            absolute = Core(core.bank, mode="absolute", observation=observation)
            agent = FrameTriplet(absolute, policy="per-step")
            assert agent.validate(absolute) == pytest.approx(FrameTriplet(core).validate(core))

    def test_a_head_learns_from_its_own_frames_alone(self, core: Core) -> None:
        agent = FrameTriplet(core, policy="per-step", **SMALL)
        batch = agent.collect()
        loss = agent.loss(batch)
        (gradient,) = torch.autograd.grad(loss[:, 2].sum(), [agent.policy.mean.weight])
        assert (gradient.abs().amax(dim=(1, 2)) > 0).tolist() == [False, False, True, False, False]

    def test_equals_single_models_trained_apart(self, make_bank) -> None:
        """Twenty heads in one policy are twenty policies: the same gradient as a linear one that sees one step."""
        bank = make_bank(n=10, steps=5)
        many, one = FrameTriplet(Core(bank), policy="per-step", **SMALL), FrameTriplet(Core(bank), **SMALL)
        batch = many.collect()
        (of_many,) = torch.autograd.grad(many.loss(batch)[:, 1].mean(), [many.policy.mean.weight])
        (of_one,) = torch.autograd.grad(one.loss(batch)[:, 1].mean(), [one.policy.mean.weight])
        torch.testing.assert_close(of_many[1], of_one)

    def test_frame_by_frame_equals_whole_drawings(self, core: Core) -> None:
        agent = FrameTriplet(core, policy="per-step", learning_rate=1e-2, **SMALL).learn(400)
        assert isinstance(agent.policy, PerStepGaussianPolicy)
        with torch.no_grad():
            whole, state = agent.policy(core.frames), None
            for t in range(core.n_steps):
                mean, state = agent.policy.step(core.frames[:, t], state)
                torch.testing.assert_close(mean, whole[:, t])
        same = core.frames[:1, :1].expand(-1, 5, -1)
        assert len({tuple(row) for row in agent.policy(same)[0].tolist()}) == 5

    def test_knows_the_step_of_drawings_that_begin_at_different_times(self, core: Core) -> None:
        agent = FrameTriplet(core, policy="per-step", learning_rate=1e-2, **SMALL).learn(400)
        frames = core.frames[:2, 0].numpy()
        first, state = agent.predict(frames, deterministic=True)
        second, _ = agent.predict(frames, state, np.array([False, True]), deterministic=True)
        assert np.abs(second[0] - first[0]).max() > 1e-6
        np.testing.assert_allclose(second[1], first[1], rtol=1e-5)

    def test_is_causal_and_evaluates_as_it_validates(self, make_bank) -> None:
        bank = make_bank(n=10, steps=5)
        agent = FrameTriplet(Core(bank), policy="per-step", learning_rate=1e-2, **SMALL).learn(400)

        def play(frames: Any) -> Any:
            with torch.no_grad():
                return agent.policy(torch.as_tensor(frames)).numpy()

        check_causal(play, bank.features.numpy())
        assert evaluate(agent, bank).m_at_b == pytest.approx(agent.validate(Core(bank, "inv-rank"))[1])

    def test_longer_drawings_share_the_last_head(self, make_bank) -> None:
        agent = FrameTriplet(Core(make_bank(steps=3)), policy="per-step", learning_rate=1e-2, **SMALL).learn(200)
        longer = agent.policy(make_bank(steps=5).features)
        torch.testing.assert_close(longer[:, 4], agent.policy.mean(make_bank(steps=5).features[:, 4:], 2)[:, 0])


class TestRanks:
    def test_exact_by_hand(self) -> None:
        assert exact_ranks(torch.tensor([0.2, 0.9, -1.0, 0.5])).tolist() == [0.75, 0.25, 1.0, 0.5]

    def test_exact_are_those_of_the_core(self, core: Core) -> None:
        similarity = core.base[:, 2] @ core.gallery.T
        own = core.bank.targets
        ranks = exact_ranks(similarity).gather(1, own.unsqueeze(1))[:, 0] * core.n_photos
        assert ranks.round().long().tolist() == target_rank(similarity, own).tolist()

    def test_sigmoids_by_hand(self) -> None:
        # 1/3 (1 + sigmoid(2 * 1) + sigmoid(2 * -1)) = 2/3, as the two sigmoids add up to one
        assert float(sigmoid_ranks(torch.tensor([0.0, 1.0, -1.0]), torch.tensor(0), 2.0)) == pytest.approx(2 / 3)

    def test_sigmoids_approach_the_exact_ranks_as_they_steepen(self) -> None:
        lists = synthetic_lists(200, 12, torch.Generator().manual_seed(0))
        index = torch.arange(200) % 12
        exact = exact_ranks(lists).gather(1, index.unsqueeze(1))[:, 0]
        errors = [float((sigmoid_ranks(lists, index, k) - exact).abs().mean()) for k in (1, 10, 100, 1e6)]
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] < 1e-3


class TestSorter:
    def test_learns_to_sort(self) -> None:
        """Short lists, so that it takes seconds: less than half a place off, where a constant is 1.5 places off."""
        error = train_sorter(Sorter(width=16), 6, 400, torch.Generator().manual_seed(0))
        assert error < 0.5 / 6
        lists = synthetic_lists(500, 6, torch.Generator().manual_seed(1))
        assert float((exact_ranks(lists) - 3.5 / 6).abs().mean()) == pytest.approx(1.5 / 6, abs=0.01)

    @pytest.mark.slow
    @pytest.mark.parametrize("seed", range(3))
    def test_as_the_agent_trains_it_is_less_than_a_place_off(self, seed: int) -> None:
        assert train_sorter(Sorter(seed=seed), 16, 1000, torch.Generator().manual_seed(seed)) < 0.8 / 16

    @pytest.mark.parametrize("updates", [1, 2, 3, 10, 1000])
    def test_learns_at_the_rate_of_torchs_one_cycle(self, updates: int) -> None:
        optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=1.0)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=updates)
        for update in range(updates):
            assert _one_cycle(update, updates) == (
                optimizer.param_groups[0]["lr"],
                optimizer.param_groups[0]["betas"][0],
            )
            optimizer.step()
            schedule.step()

    def test_ignores_shift_and_scale(self) -> None:
        lists = draw(3, 8)
        torch.testing.assert_close(Sorter()(lists * 5 - 2), Sorter()(lists), rtol=1e-4, atol=1e-5)

    def test_leaves_the_global_random_state_alone(self) -> None:
        before = torch.get_rng_state()
        train_sorter(Sorter(), 4, 2, torch.Generator().manual_seed(0))
        assert torch.equal(before, torch.get_rng_state())


class TestSoDeep:
    LSTM: ClassVar[dict[str, Any]] = {"sorter": "lstm", "photos": 4, "sorter_updates": 20, **SMALL}

    def test_sigmoid_loss_is_the_rank_in_the_limit(self, core: Core) -> None:
        agent = SoDeep(core, steepness=1e7, **SMALL)
        batch = agent.collect()
        exact = core.score(batch.sketches, batch.mean).rank.double() / core.n_photos
        torch.testing.assert_close(agent.loss(batch).double(), exact, atol=1e-3, rtol=0)

    def test_lists_hold_the_right_photo_at_its_place(self, core: Core) -> None:
        agent = SoDeep(core, **self.LSTM)
        batch = agent.collect()
        similarity, own = agent.similarity(batch), core.bank.targets[batch.sketches]
        places = set()
        for _ in range(10):
            lists, place = agent._drawn(similarity, own)
            assert lists.shape == (4, 5, 4)
            for b in range(4):
                assert torch.equal(lists[b, :, place[b]], similarity[b, :, own[b]])
                assert all(value in similarity[b, 2] for value in lists[b, 2])
                assert len(set(lists[b, 2].tolist())) == 4
            places |= set(place.tolist())
        assert places == {0, 1, 2, 3}

    def test_the_sorter_is_trained_once_and_then_stays(self, core: Core, tmp_path: Path) -> None:
        agent = SoDeep(core, **self.LSTM).learn(20)
        frozen = {k: v.clone() for k, v in agent.sorter.state_dict().items()}
        agent.learn(100, reset_num_timesteps=False)
        assert all(torch.equal(v, frozen[k]) for k, v in agent.sorter.state_dict().items())
        agent.save(tmp_path / "a.safetensors")
        again = SoDeep.load(tmp_path / "a.safetensors", core)
        assert again.numbers == agent.numbers
        assert all(torch.equal(v, frozen[k]) for k, v in again.sorter.state_dict().items())

    def test_stopped_and_resumed_equals_uninterrupted(self, core: Core, tmp_path: Path) -> None:
        whole = SoDeep(core, **self.LSTM).learn(100)
        first = SoDeep(core, **self.LSTM).learn(100, callback=lambda scope, _: scope["self"].n_updates < 2)
        first.save(tmp_path / "a.safetensors")
        second = SoDeep.load(tmp_path / "a.safetensors", core).learn(100, reset_num_timesteps=False)
        assert torch.equal(whole.policy.mean.weight, second.policy.mean.weight)

    def test_a_stop_comes_while_the_sorter_learns_and_costs_nothing(self, make_bank, tmp_path: Path) -> None:
        core, validation = Core(make_bank(n=10, steps=5)), make_bank(n=8, steps=5, seed=1)
        whole = SoDeep(core, validation, **self.LSTM).learn(100)
        steps: list[int] = []
        first = SoDeep(core, validation, **self.LSTM).learn(100, callback=lambda *_: steps.append(0) or len(steps) < 7)
        first.save(tmp_path / "a.safetensors")
        assert (len(steps), first.num_timesteps, first.numbers["sorter_error"]) == (7, 0, 1.0)
        second = SoDeep.load(tmp_path / "a.safetensors", core, validation)
        second.learn(100, callback=lambda *_: steps.append(0) or True, reset_num_timesteps=False)
        assert len(steps) == 20 + whole.n_updates
        assert (second.numbers, second.history) == (whole.numbers, whole.history)
        assert torch.equal(whole.policy.mean.weight, second.policy.mean.weight)

    def test_impossible_settings_are_refused(self, core: Core, refuses) -> None:
        with refuses(ConfigError, "did you mean 'lstm'"):
            SoDeep(core, sorter="lstn")
        with refuses(ConfigError, "two or more"):
            SoDeep(core, photos=1)
