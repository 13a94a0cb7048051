"""The notebooks of the site run as the programs that they are; the site's build runs them as notebooks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs/notebooks").glob("*.nb.py"))


def name(notebook: Path) -> str:
    return notebook.name.removesuffix(".nb.py")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name)
def test_begins_with_a_title_and_checks_what_it_says(notebook: Path) -> None:
    text = notebook.read_text(encoding="utf-8")
    assert text.startswith("# %% [markdown]\n# # ")
    assert text.count("assert ") >= 3


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name)
def test_runs(notebook: Path, tmp_path: Path) -> None:
    there = {**os.environ, "MPLBACKEND": "Agg", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-W", "ignore:FigureCanvasAgg:UserWarning", str(notebook)]
    done = subprocess.run(command, cwd=notebook.parent, env=there, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
