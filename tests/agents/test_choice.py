"""Which policy is kept: the standard error by hand, a history in which the choices differ, and training with either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sketchless.agents import PPOAClip
from sketchless.agents.choice import Best, Candidate, standard_error
from sketchless.benchmarks import evaluate
from sketchless.datasets import ConfigError
from sketchless.encoders import EpisodeBank
from sketchless.envs import Core

SMALL: dict[str, Any] = {"episodes": 4, "samples": 3, "eval_every": 1, "learning_rate": 0.03, "b1_penalty": 0.0}


def test_standard_error_by_hand() -> None:
    # Four sketches, mean 4/4 = 1; rests 4 - 2, 0 - 1, 0 - 1: sqrt(3/2 (4 + 1 + 1)) / 4. The last photo has no sketch.
    assert standard_error([4.0, 0.0, 0.0, 0.0], [2, 1, 1, 0]) == 0.75
    assert standard_error([4.0, 2.0], [2, 1]) == 0  # every sketch gains 2
    assert standard_error([4.0, 0.0], [3, 0]) == np.inf  # of one photo


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30))
def test_of_one_sketch_a_photo_it_is_that_of_a_mean(values: list[float]) -> None:
    expected = np.std(values, ddof=1) / len(values) ** 0.5
    assert standard_error(values, [1] * len(values)) == pytest.approx(expected, abs=1e-9)


def candidate(timesteps: int, *by_photo: float) -> Candidate:
    return Candidate(sum(by_photo) / len(by_photo), timesteps, {}, by_photo)


def test_the_earliest_that_is_level_with_the_best() -> None:
    """Two photos of a sketch each, leads l and m: (l + m) / 2 <= |l - m| / 2 unless both photos gain."""
    best = Best()
    found = []
    for timesteps, by_photo in enumerate([(10, 10), (16, 10), (15, 13), (30, 10), (40, 14)]):
        best = best.improved(candidate(timesteps, *by_photo), [1, 1])
        found.append(([one.timesteps for one in best.candidates], best.kept.timesteps, best.m_at_b))
    assert found == [
        ([0], 0, 10),
        ([0, 1], 0, 13),  # leads 6, 0
        ([1, 2], 1, 14),  # leads over B1 5, 3; over the second -1, 3
        ([1, 2, 3], 1, 20),  # leads 14, 0 and 15, -3; of B1 it would be 20, 0, but that had fallen behind
        ([4], 4, 27),  # leads 24, 4 and 25, 1 and 10, 4
    ]


def test_what_is_not_known_by_photo_is_level_with_nothing() -> None:
    one, other = candidate(0, 10, 10), candidate(1, 20, 9)
    assert one.level_with(other, [1, 1])
    assert not one.level_with(other, [1, 1, 1])  # validation has changed
    assert not Candidate(10, 0, {}).level_with(other, [1, 1])


def test_one_photo_says_nothing_of_others() -> None:
    best = Best().improved(candidate(0, 10, 0), [3, 0]).improved(candidate(1, 90, 0), [3, 0])
    assert best.kept.timesteps == 0


@pytest.fixture
def bank(make_bank) -> EpisodeBank:
    made: EpisodeBank = make_bank(n=24, photos=9, steps=5, lengths=[5, 3, 5, 1, 2, 5, 4, 5] * 3)
    return made


@pytest.fixture
def validation(make_bank) -> EpisodeBank:
    made: EpisodeBank = make_bank(n=14, photos=6, steps=5, seed=1)
    return made


def trained(bank: EpisodeBank, validation: EpisodeBank, choice: str, seed: int = 0, **more: Any) -> PPOAClip:
    return PPOAClip(Core(bank), validation, choice=choice, seed=seed, **SMALL, **more).learn(1500)


def test_it_changes_what_is_kept_and_nothing_else(bank: EpisodeBank, validation: EpisodeBank) -> None:
    earlier = 0
    for seed in range(4):
        best, level = (trained(bank, validation, choice, seed) for choice in ("best", "one-se"))
        assert level.history == best.history
        assert level.best.m_at_b == best.best.m_at_b == max(look["val_m_at_b"] for look in best.history)
        assert len(best.best.candidates) == 1
        kept = level.best.kept
        assert {"timesteps": kept.timesteps, "val_m_at_b": kept.m_at_b}.items() <= {
            item for look in level.history for item in look.items()
        }
        assert level.validate(Core(validation))[1] == pytest.approx(kept.m_at_b)
        earlier += kept.timesteps < best.best.kept.timesteps
        # as a reference that knows nothing of sums: sketch by sketch
        gain = evaluate(best, validation).per_sketch("m@B") - evaluate(level, validation).per_sketch("m@B")
        rest = [sum(gain[validation.targets == photo] - gain.mean()) for photo in validation.targets.unique()]
        error = (len(rest) / (len(rest) - 1) * sum(np.square(rest))) ** 0.5 / len(gain)
        assert 0 <= gain.mean() <= error + 1e-9
    assert earlier  # so that the choice is seen to matter


def test_sums_by_photo_are_those_of_the_mean(bank: EpisodeBank, validation: EpisodeBank) -> None:
    for one in trained(bank, validation, "one-se").best.candidates:
        assert len(one.by_photo) == 6
        assert sum(one.by_photo) / len(validation) == pytest.approx(one.m_at_b)


@pytest.mark.parametrize("stop", [1, 4, 9])
def test_interrupted_and_resumed_equals_uninterrupted(
    bank: EpisodeBank, validation: EpisodeBank, tmp_path: Path, stop: int
) -> None:
    whole = trained(bank, validation, "one-se")
    part = PPOAClip(Core(bank), validation, choice="one-se", **SMALL)
    part.learn(1500, lambda *_: part.n_updates < stop)
    part.save(tmp_path / "part.safetensors")
    again = PPOAClip.load(tmp_path / "part.safetensors", Core(bank), validation)
    again.learn(1500, reset_num_timesteps=False)
    (here, about), (there, also) = whole.state_dict(), again.state_dict()
    assert about == also
    assert here.keys() == there.keys()
    assert all(torch.equal(here[name], there[name]) for name in here)
    assert any(name.startswith("level/") for name in here)


def test_an_unknown_choice_is_refused(bank: EpisodeBank, refuses) -> None:
    with refuses(ConfigError, "choice 'one_se'.*did you mean 'one-se'"):
        PPOAClip(Core(bank), choice="one_se")
