from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sketchless.agents import PPOAClip
from sketchless.benchmarks.display.tables import comparison, scores
from sketchless.benchmarks.metrics import METRICS, Evaluation, evaluate
from sketchless.datasets import ConfigError, DataError
from sketchless.encoders import EpisodeBank
from sketchless.envs import Core
from sketchless.envs import core as core_module

MakeBank = Callable[..., EpisodeBank]


def evaluation(rank: list[list[int]], lengths: list[int] | None = None, gallery: int = 5) -> Evaluation:
    array = np.array(rank)
    steps = np.array(lengths or [array.shape[1]] * len(array))
    return Evaluation(array, steps, gallery, tuple(f"s{i}" for i in range(len(array))))


def test_metrics_by_hand() -> None:
    # G = 5: percentiles of ranks 1, 2, 5 are 1, 3/4, 0
    found = evaluation([[5, 2], [2, 1]])
    assert found.m_at_a == pytest.approx(100 * (0 + 0.75 + 0.75 + 1) / 4)
    assert found.m_at_b == pytest.approx(100 * (1 / 5 + 1 / 2 + 1 / 2 + 1) / 4)
    assert (found.acc_at(1), found.acc_at(2)) == (50.0, 100.0)
    # frame t weighs exp(-t/2)
    first, second = math.exp(-1 / 2), math.exp(-1)
    assert found.weighted_m_at_a == pytest.approx(100 * (0 * first + 0.75 * second + 0.75 * first + second) / 4)
    assert found.weighted_m_at_b == pytest.approx(100 * (first / 5 + second / 2 + first / 2 + second) / 4)


def test_perfect_is_a_hundred_and_chance_is_fifty() -> None:
    assert set(evaluation([[1, 1, 1]]).summary().values()) == {100.0}
    every = evaluation([[r] for r in range(1, 101)], gallery=100)
    assert every.m_at_a == pytest.approx(50.0)
    assert every.m_at_b == pytest.approx(100 * sum(1 / r for r in range(1, 101)) / 100)  # 5.19


def test_frames_beyond_the_end_do_not_count() -> None:
    short = evaluation([[5, 2, 0, 0], [2, 1, 1, 5]], lengths=[2, 4])
    assert short.per_sketch("m@B").tolist() == pytest.approx([100 * 0.35, 100 * (0.5 + 1 + 1 + 0.2) / 4])
    assert short.per_sketch("A@2").tolist() == [100, 0]  # rank of the last frame of each


def test_curves_of_twenty_frames_are_the_means_by_frame() -> None:
    rank = np.random.default_rng(0).integers(1, 6, (7, 20))
    percentile, reciprocal = evaluation(rank.tolist()).by_percentage()
    np.testing.assert_allclose(percentile, ((5 - rank) / 4).mean(axis=0))
    np.testing.assert_allclose(reciprocal, (1 / rank).mean(axis=0))


def test_curves_of_few_frames_step_up_when_the_share_is_drawn() -> None:
    _, reciprocal = evaluation([[4, 2]], lengths=[2]).by_percentage()
    assert reciprocal.tolist() == [1 / 4] * 10 + [1 / 2] * 10  # frame 1 up to 50 %, frame 2 beyond


@given(st.lists(st.lists(st.integers(1, 9), min_size=3, max_size=3), min_size=1, max_size=8))
def test_metrics_equal_a_plain_loop(rank: list[list[int]]) -> None:
    found = evaluation(rank, gallery=9)
    flat = [r for row in rank for r in row]
    assert found.m_at_a == pytest.approx(100 * sum((9 - r) / 8 for r in flat) / len(flat))
    assert found.m_at_b == pytest.approx(100 * sum(1 / r for r in flat) / len(flat))
    assert found.acc_at(3) == pytest.approx(100 * sum(row[-1] <= 3 for row in rank) / len(rank))


@pytest.mark.parametrize("metric", ["m@C", "A@0", "A@", "A@x", ""])
def test_unknown_metrics_are_refused(metric: str, refuses) -> None:
    with refuses(ConfigError, "unknown metric"):
        evaluation([[1]]).per_sketch(metric)


class TestEvaluate:
    def test_baseline_is_the_frozen_head(self, make_bank) -> None:
        bank = make_bank()
        found = evaluate(None, bank)
        embedding = bank.features.double() @ bank.weight.double().T + bank.bias
        near = (embedding / embedding.norm(dim=-1, keepdim=True)) @ bank.gallery.double().T
        own = near.gather(-1, bank.targets.view(-1, 1, 1).expand(-1, near.shape[1], 1))
        assert (found.rank == (near >= own).sum(-1).numpy()).mean() > 0.99

    def test_agent_and_function_and_steps_agree(self, make_bank) -> None:
        bank = make_bank()
        agent = PPOAClip(Core(bank), episodes=4).learn(2000)
        by_agent = evaluate(agent, bank)
        by_function = evaluate(lambda x: agent.predict(x, deterministic=True)[0], bank)
        assert (by_agent.rank == by_function.rank).all()
        assert by_agent.m_at_b == pytest.approx(agent.validate(agent.core)[1])

    def test_lengths_are_respected(self, make_bank) -> None:
        found = evaluate(None, make_bank(n=3, steps=4, lengths=[1, 2, 4]))
        assert (found.rank > 0).sum(axis=1).tolist() == [1, 2, 4]

    def test_policy_cannot_see_later_frames(self, make_bank) -> None:
        seen: list[torch.Tensor] = []

        def spy(observation: torch.Tensor) -> torch.Tensor:
            seen.append(observation)
            return torch.zeros(len(observation), 8)

        bank = make_bank()
        evaluate(spy, bank)
        assert all(torch.equal(x, bank.features[:, t]) for t, x in enumerate(seen))

    def test_nan_actions_are_an_error(self, make_bank, refuses) -> None:
        with refuses(DataError, "nan"):
            evaluate(lambda x: torch.full((len(x), 8), float("nan")), make_bank())

    def test_baseline_needs_residual_mode(self, make_bank, refuses) -> None:
        with refuses(ConfigError, "residual"):
            evaluate(None, make_bank(), mode="absolute")


def test_summary_names_the_papers_metrics() -> None:
    assert tuple(evaluation([[1]]).summary()) == METRICS == ("m@A", "m@B", "A@1", "A@5", "A@10")


# Ties -------------------------------------------------------------------------------------------------------


def test_ties_are_counted_among_the_frames_that_exist(make_bank: MakeBank) -> None:
    """Photos 0 and 1 are twins: every frame of a drawing of theirs is tied, and no other."""
    bank = make_bank(n=4, steps=5, photos=4, lengths=[1, 2, 3, 4])
    gallery = bank.gallery.clone()
    gallery[1] = gallery[0]
    bank = replace(bank, gallery=gallery, targets=torch.tensor([0, 2, 1, 3]))
    assert evaluate(None, bank).tied == (1 + 3) / 10


def test_a_collapsed_encoder_is_called_one(make_bank: MakeBank) -> None:
    bank = make_bank()
    found = evaluate(None, replace(bank, gallery=bank.gallery[:1].expand_as(bank.gallery).clone()))
    assert found.tied == 1
    assert (found.rank == found.gallery).all()
    assert "a collapsed encoder" in str(scores({"B1": found}).caption)
    assert "a collapsed encoder" in str(comparison(found, [found], "vpg").caption)
    assert scores({"B1": evaluate(None, bank)}).caption is None
    assert comparison(evaluate(None, bank), [evaluate(None, bank)], "vpg").caption is None


# What it looks like, and what it takes ----------------------------------------------------------------------


def test_shown_as_a_small_table() -> None:
    assert repr(evaluation([[5, 2], [2, 1]])).splitlines() == [
        "Evaluation: 2 drawings, 5 photos",
        "    m@A    m@B    A@1     A@5    A@10",
        "  62.50  55.00  50.00  100.00  100.00",
    ]


def test_blocks_of_drawings_score_as_one(make_bank: MakeBank, monkeypatch: pytest.MonkeyPatch, refuses) -> None:
    bank = make_bank(n=7, steps=5, lengths=[5, 1, 2, 3, 4, 5, 5])
    core, rows = Core(bank, "combined"), torch.tensor([3, 0, 6, 6, 1, 2, 5, 4])
    actions = torch.randn(8, 5, 8, generator=torch.Generator().manual_seed(0))
    whole, found = core.score(rows, actions), evaluate(lambda x: x[:, :8], bank)
    monkeypatch.setattr(core_module, "_CPU_BYTES", 3 * 8 * 5 * 10)  # three drawings
    assert core.rows_at_once == 3
    seen: list[int] = []
    real = Core._rank
    monkeypatch.setattr(Core, "_rank", lambda self, x, y: (seen.append(len(x)), real(self, x, y))[1])
    parts = core.score(rows, actions)
    assert seen == [3, 3, 2]
    assert all(torch.equal(a, b) for a, b in zip(parts, whole, strict=True))
    again = evaluate(lambda x: x[:, :8], bank)
    assert (again.rank == found.rank).all()
    assert (again.tau == found.tau).all()
    assert again.tied == found.tied
    actions[6, 2, 1] = torch.nan
    with refuses(DataError, r"action\[6, 2, 1\] is nan"):
        core.score(rows, actions)


def test_falls_by_hand() -> None:
    rank = np.array([[3, 5, 1], [2, 4, 0]])
    found = Evaluation(rank, np.array([3, 2]), 5, ("a", "b"), tau=np.array([[0.1, 0.2], [0.3, 0.0]]))
    tau, lost = found.falls()
    assert tau.tolist() == [0.1, 0.2, 0.3]  # the second drawing has two frames
    assert lost.tolist() == [50.0, 0.0, 50.0]  # 3 to 5 of 5: from percentile 50 to 0
    tau, _ = Evaluation(rank, np.array([3, 2]), 5, ("a", "b")).falls()
    assert np.isnan(tau).all()


def test_taus_of_the_baseline_are_measured_too(make_bank) -> None:
    bank = make_bank(n=6, steps=4)
    nothing = evaluate(lambda seen: torch.zeros(len(seen), bank.weight.shape[0]), bank)
    baseline = evaluate(None, bank)
    assert (baseline.tau == nothing.tau).all()
    lists = Core(bank).base[2].double() @ bank.gallery.double().T  # [T, G]
    closer = [torch.sign(row.unsqueeze(0) - row.unsqueeze(1)) for row in lists]
    pairs = len(bank.gallery) * (len(bank.gallery) - 1)
    assert baseline.tau[2, 1] == pytest.approx(float((closer[1] != closer[2]).sum()) / pairs)
    assert baseline.tau.mean() > 0
