"""What the README shows runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

README = Path(__file__).parents[1] / "README.md"


def test_python_examples_run_in_their_order() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) >= 4
    scope: dict[str, Any] = {}
    for block in blocks:
        exec(block, scope)
    assert scope["score"].rank.shape == (16, 20)
    assert 1 <= scope["info"]["rank"].max() <= 250


def test_links_to_files_of_the_project_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / target).exists(), target
