"""The site: `make site`. Its source is the whole repository, so that a link between two pages is that of a forge."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path, PurePosixPath

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs"))
import from_code  # noqa: E402

# The pages in the order of the side bar. README is the first; `*` stands for all that are there.
root_doc = "README"
SECTIONS = {
    "Start": ["docs/install", "docs/in-your-research", "docs/commands", "docs/package", "docs/zoo"],
    "Notebooks": [
        "docs/notebooks/first_ten_minutes",
        "docs/notebooks/your_own_algorithm",
        "docs/notebooks/your_own_reward",
        "docs/notebooks/your_own_data",
        "docs/notebooks/what_rl_can_add",
    ],
    "The environment": ["docs/environment", *(f"docs/environments/{name}" for name in from_code.IDS), "docs/offline"],
    "Algorithms": ["docs/algorithms", "docs/add-an-agent"],
    "Rewards": ["docs/add-a-reward"],
    "Encoders": ["docs/encoders", "docs/add-an-encoder", "docs/zero-shot", "docs/explain"],
    "Your own data": ["docs/your-own-data", "docs/datasets", "docs/objects"],
    "Draw": ["docs/draw"],
    "Benchmarks": [
        "docs/benchmarks",
        "docs/results",
        "benchmarks/leaderboard",
        "benchmarks/claims",
        "benchmarks/results/*/README",
    ],
    "API": ["docs/api"],
    "Contribute": ["CONTRIBUTING", "examples/README", "CHANGELOG", "SECURITY"],
}
TABLES = "benchmarks/results/**/report/table"
PAGES = [root_doc, TABLES, *(name for names in SECTIONS.values() for name in names)]
include_patterns = [
    *(f"{name}.md" for name in PAGES),
    "docs/notebooks/*.nb.py",
    "docs/api/*.rst",
    "docs/environments/*.rst",
]

project = html_title = "SketchLess"
extensions = [
    "myst_nb",
    "sphinx_copybutton",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "from_code",
]
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]
autosummary_generate = False  # `from_code` does it, of what is in `__all__`
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
toc_object_entries = False
highlight_language = "text"
default_role = "py:obj"
nb_custom_formats = {".nb.py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "force"  # of what is read anew; a cell that fails is an error of the build
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True
nb_output_stderr = "remove-warn"
myst_heading_anchors = 4  # those that a forge gives
html_show_copyright = False
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_favicon = "../benchmarks/draw/page/icon.svg"


def toctree(names: list[str], *options: str) -> str:
    return "\n\n" + "\n".join(["```{toctree}", ":hidden:", ":glob:", *options, "", *names, "```"])


def add_what_a_forge_does_not_need(_: Sphinx, name: str, text: list[str]) -> None:
    """Give the first page the side bar, pages of results their tables, and tables a title."""
    if name == "docs/api":
        text[0] += toctree([f"api/{module}" for module in from_code.PUBLIC])
    elif name == root_doc:
        text[0] += "".join(toctree(names, f":caption: {caption}") for caption, names in SECTIONS.items())
    elif name.endswith("/report/table"):
        text[0] = f"# {'/'.join(PurePosixPath(name).parts[3:-2])}\n\n{text[0]}"
    elif tables := sorted((ROOT / name).parent.rglob("report/table.md")):
        text[0] += toctree([table.relative_to((ROOT / name).parent).with_suffix("").as_posix() for table in tables])


def copy_the_first_page(app: Sphinx, error: Exception | None) -> None:
    """README.html is what a web server shows of the folder, too."""
    if error is None:
        shutil.copy(Path(app.outdir) / f"{root_doc}.html", Path(app.outdir) / "index.html")


def setup(app: Sphinx) -> None:
    app.connect("source-read", add_what_a_forge_does_not_need)
    app.connect("build-finished", copy_the_first_page)
