"""What the README and the page for researchers show runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
README, RESEARCH = ROOT / "README.md", ROOT / "docs" / "in-your-research.md"


def run(page: Path) -> dict[str, Any]:
    """The Python of a page, in its order; its names."""
    scope: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(block, scope)
    return scope


def test_ten_lines_run() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert sum(bool(line) for line in block.splitlines()) <= 10
    scope = run(README)
    assert scope["model"].num_timesteps >= 2_000
    assert scope["observation"] in scope["env"].observation_space


def test_the_readme_fits_on_a_screen_and_keeps_its_two_commands() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    commands = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    assert [line.partition("#")[0].strip() for line in commands[0].splitlines()] == [
        "pip install . && sketchless train",
        'pip install ".[test]" && pytest -n auto',
    ]


def test_python_of_the_page_for_researchers_runs_in_its_order() -> None:
    scope = run(RESEARCH)
    assert scope["score"].rank.shape == (16, 20)
    assert 1 <= scope["info"]["rank"].max() <= 250


@pytest.mark.parametrize("page", [README, RESEARCH], ids=lambda page: page.stem)
def test_links_to_files_of_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
