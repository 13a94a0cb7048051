"""Links between the project's pages, and to its files, lead somewhere."""

from __future__ import annotations

import configparser
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from sketchless.agents import AGENTS

ROOT = Path(__file__).parents[1]
PLACES = ("*.md", "docs/*.md", "examples/*.md", "benchmarks/*.md", "benchmarks/results/*/README.md")
PAGES = [page for place in PLACES for page in sorted(ROOT.glob(place))]
NOTEBOOKS = sorted(ROOT.glob("docs/notebooks/*.nb.py"))
VERBS = ["test", "lint", "types", "docs", "site", "bench", "release"]


def anchors(page: Path) -> set[str]:
    """Anchors that a forge makes of a page's headings."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    heads = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", text):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target / "README.md" if target.is_dir() else target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_that_a_page_names_are_there(page: Path) -> None:
    rooms = "datasets|encoders|envs|agents|benchmarks|tests|examples"
    for name in re.findall(rf"`((?:{rooms})/[\w/]+\.py)`", page.read_text(encoding="utf-8")):
        assert (ROOT / name).is_file(), name


def test_the_makefile_has_the_verbs_that_the_page_names() -> None:
    rules = re.findall(r"^(\w+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert sorted(rules) == sorted(VERBS)
    assert [verb for verb in VERBS if f"`make {verb}`" not in page] == []


def test_one_version_everywhere() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    citation = re.search(
        r"^version: (.+)\ndate-released: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE
    )
    released = re.search(r"^## (\d.*) - (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert citation is not None
    assert released is not None
    assert citation.groups() == released.groups() == (setup["metadata"]["version"], released[2])


def test_changes_are_grouped_as_keep_a_changelog_says() -> None:
    groups = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    for section in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        found = re.findall(r"^### (.+)$", section, re.MULTILINE)
        assert set(found) <= groups
        assert len(set(found)) == len(found), found


def first_column(page: Path) -> list[str]:
    """The names in the first cells of its tables."""
    cells = re.findall(r"^\| (`.*?) \|", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_the_page_on_algorithms_names_every_agent_and_its_program_runs() -> None:
    page = ROOT / "docs/algorithms.md"
    assert sorted(first_column(page)) == sorted(AGENTS)
    (program,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    scope: dict[str, Any] = {}
    exec(program, scope)
    assert scope["agent"].num_timesteps >= 50_000


def test_the_page_on_installing_names_every_extra() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    assert sorted(first_column(ROOT / "docs/install.md")) == sorted(setup["options.extras_require"])


def test_what_the_pages_import_has_a_page_in_the_api() -> None:
    modules = re.findall(r"{py:mod}`(.+?)`", (ROOT / "docs/api.md").read_text(encoding="utf-8"))
    assert {f"sketchless.{room}" for room in ("datasets", "encoders", "envs", "agents", "benchmarks")} <= set(modules)
    homes = [importlib.import_module(module) for module in modules]
    public = [value for home in homes for name, value in vars(home).items() if not name.startswith("_")]
    public += [getattr(home, name) for home in homes for name in getattr(home, "__all__", [])]
    programs = [page.read_text(encoding="utf-8") for page in (*PAGES, *sorted((ROOT / "examples").glob("*.py")))]
    imports = re.findall(r"^ *from (sketchless[\w.]+) import (\w+(?:, \w+)*)", "\n".join(programs), flags=re.MULTILINE)
    assert len(imports) > 20
    for module, names in imports:
        for name in names.split(", "):
            value = getattr(importlib.import_module(module), name)
            assert any(value is each for each in public) or module == "sketchless.benchmarks.cli", f"{module}.{name}"
