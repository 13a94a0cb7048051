"""Names of settings that others use."""

from __future__ import annotations

from dataclasses import fields

import pytest

from sketchless.agents import AGENTS
from sketchless.agents.settings import SYNONYMS
from sketchless.datasets.errors import unknown_name

KNOWN = {field.name for agent in AGENTS.values() for field in fields(agent.Config)}


def test_every_synonym_means_a_setting_and_is_none() -> None:
    assert {meant for every in SYNONYMS.values() for meant in every} <= KNOWN
    assert not KNOWN & set(SYNONYMS)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("lr", "learning_rate"), ("LR", "learning_rate"), ("batch_size", "episodes"), ("n_epochs", "epochs"),
     ("clip_range", "clip"), ("ent_coef", "init_log_std"), ("discount", "gamma"), ("samplse", "samples")],
)  # fmt: skip
def test_the_nearest_meaning_comes_first(name: str, meant: str) -> None:
    assert str(unknown_name("setting", name, KNOWN, SYNONYMS)).endswith(f"did you mean {meant!r}?")


def test_a_synonym_of_what_is_not_there_is_not_suggested() -> None:
    assert "did you mean" not in str(unknown_name("setting", "discount", ["episodes", "samples"], SYNONYMS))
