"""Spellings that are one name."""

from __future__ import annotations

import pytest

from sketchless.datasets.readers.twins import plain


@pytest.mark.parametrize(
    "name",
    ["hot-air balloon", "Hot_Air  Balloon", "hot\u200b-air balloon", "\ufeffhot-air balloon", "hot-a\u00adir balloon"],
)
def test_spellings_of_a_category_are_one(name: str) -> None:
    assert plain(name) == "hot air balloon"


def test_accents_are_one_in_both_forms_and_other_letters_are_not() -> None:
    assert plain("cafe\u0301") == plain("caf\u00e9")
    assert plain("caf\u00e9") != plain("cafe")
