"""The page on data sets says what the loaders take."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from sketchless.datasets.loading import DATASETS

PAGE = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["sketchy", "tu-berlin", "quickdraw", "qmul"])
def test_every_option_is_on_the_page_and_every_example_is_taken(name: str) -> None:
    options = set(inspect.signature(DATASETS[name]).parameters) - {"root"}
    assert {option for option in options if f"`{option}" not in PAGE} == set()
    for query in re.findall(rf'"\./{name}\?([^"]+)"', PAGE):
        assert {pair.partition("=")[0] for pair in query.split("&")} <= options
