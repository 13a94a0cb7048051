"""Names that come from files."""

from __future__ import annotations

import pytest

from sketchless.datasets import UnsafeFileError
from sketchless.datasets.plugins import check_trust


@pytest.mark.parametrize("name", ["small-cnn", "ppo-a-clip", "", "not registered"])
def test_names_without_code_pass(name: str) -> None:
    check_trust("agent", name, (), "run")


@pytest.mark.parametrize("name", ["os:system", ":", "a:", ":b", "my_pkg:Other", "my_pkg:patches.x", " my_pkg:patches"])
def test_code_named_by_a_file_is_refused_before_it_is_imported(name: str, refuses) -> None:
    with refuses(UnsafeFileError, "--trust"):
        check_trust("agent", name, ["my_pkg:patches"], "run/manifest.json")


def test_the_user_may_trust_it() -> None:
    check_trust("agent", "my_pkg:patches", ["other:x", "my_pkg:patches"], "run")


def test_the_error_stays_one_short_line(refuses) -> None:
    with refuses(UnsafeFileError, r"a:\\n\\x1b"):
        check_trust("agent", "a:\n\x1b[2J", (), "run")
