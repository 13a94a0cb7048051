"""What the site takes from the code: a page for each public name, one for each environment id, and their docstrings."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gymnasium as gym
from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer

from sketchless.envs import Core, OnTheFlyEnv, sketch_game_v0

PUBLIC = re.findall(r"{py:mod}`(.+?)`", (Path(__file__).parent / "api.md").read_text("utf-8"))
"""Modules whose names have a page each."""
GAME = "sketch_game_v0"
GYMNASIUM_IDS = [f"{spec.name}-v{spec.version}" for spec in gym.registry.values() if spec.namespace == "sketchless"]
IDS = [*GYMNASIUM_IDS, GAME]
DATA_SHEET = ("Observation", "Action", "Reward", "Episode", "Info", "Reset options", "State")
"""Words that begin a line of an environment's docstring, before a colon."""


def write(folder: Path, pages: dict[str, str]) -> None:
    """Make a folder hold these files and no others; what is the same stays untouched."""
    folder.mkdir(exist_ok=True)
    for old in set(folder.iterdir()) - {folder / name for name in pages}:
        old.unlink()
    for name, text in pages.items():
        if not (folder / name).is_file() or (folder / name).read_text("utf-8") != text:
            (folder / name).write_text(text, "utf-8")


def api() -> dict[str, str]:
    """A page for each public module, a list of its names, and one for each of these."""
    pages = {}
    for module in PUBLIC:
        names = names_of(module)
        listed = [".. autosummary::", "   :nosignatures:", "", *(f"   {name}" for name in names)]
        pages[f"{module}.rst"] = "\n".join([*_title(module), f".. automodule:: {module}", "", *listed])
        for name, value in names.items():
            about = [":orphan:", "", *_title(name), f"In :mod:`{module}`.", "", f".. currentmodule:: {module}", ""]
            pages[f"{module}.{name}.rst"] = "\n".join([*about, *_directive(name, value)])
    return pages


def names_of(module: str) -> dict[str, Any]:
    """What is in its `__all__`; where it has none, the classes and functions that it defines. Not modules."""
    home = importlib.import_module(module)
    own = [name for name, value in vars(home).items() if inspect.isroutine(value) or inspect.isclass(value)]
    own = [name for name in own if vars(home)[name].__module__ == module and not name.startswith("_")]
    public = getattr(home, "__all__", own)
    members = {name: getattr(home, name) for name in sorted(public, key=str.lower)}
    return {name: value for name, value in members.items() if not inspect.ismodule(value)}


def environments() -> dict[str, str]:
    """A page for each environment id: how it is made, its spaces, and the data sheet that is its docstring."""
    pages = {}
    for name in GYMNASIUM_IDS:
        env: Any = gym.make(f"sketchless/{name}")
        made = ["import gymnasium as gym", "import sketchless.envs", "", f'env = gym.make("sketchless/{name}")']
        settings = ", ".join(f"{key}={value!r}" for key, value in gym.spec(f"sketchless/{name}").kwargs.items())
        spaces = {"observation": env.observation_space, "action": env.action_space}
        spaces |= {"keywords that the id sets": settings} if settings else {}
        sheet = OnTheFlyEnv if type(env.unwrapped.core) is Core else type(env.unwrapped.core)
        pages[f"{name}.rst"] = _environment(name, made, spaces, f"sketchless.envs.{sheet.__name__}")
    game = sketch_game_v0.parallel_env()
    made = ["from sketchless.envs import sketch_game_v0", "", "game = sketch_game_v0.parallel_env()"]
    spaces = {f"observation of {agent}": game.observation_space(agent) for agent in game.possible_agents}
    spaces |= {f"action of {agent}": game.action_space(agent) for agent in game.possible_agents}
    return pages | {f"{GAME}.rst": _environment(GAME, made, spaces, "sketchless.envs.sketch_game_v0.SketchGame")}


def _environment(name: str, made: list[str], spaces: dict[str, Any], sheet: str) -> str:
    program = [".. code-block:: python", "", *(f"   {line}" for line in made), ""]
    rows = [line for what, space in spaces.items() for line in (f"   * - {what}", f"     - ``{space}``")]
    table = ["With the bank that ships:", "", ".. list-table::", "", *rows, ""]
    return "\n".join([*_title(name), *program, *table, f".. autoclass:: {sheet}", "   :no-index:"])


def _title(text: str) -> list[str]:
    return [text, "=" * len(text), ""]


def _directive(name: str, value: Any) -> list[str]:
    if inspect.isclass(value):
        inherits = ["   :show-inheritance:"] if value.__bases__ != (object,) else []
        return [f".. autoclass:: {name}", "   :members:", *inherits]
    if inspect.isroutine(value):
        return [f".. autofunction:: {name}"]
    holds = [f"   Holds {', '.join(f'``{each}``' for each in value)}."] if isinstance(value, Iterable) else []
    return [f".. autodata:: {name}", "   :no-value:", "", *holds]


def prepare_docstring(_: Sphinx, what: str, name: str, value: object, __: object, lines: list[str]) -> None:
    """Turn a docstring into reStructuredText, as far as napoleon does not: connect it before that."""
    text = "\n".join(_words_below(name.rpartition(".")[2], value) if what == "data" else lines)
    text = re.sub(r":(\n\n    )", r"::\1", text)  # the block that follows is shown as it stands
    fields = rf"^(?:{'|'.join(DATA_SHEET)})( of [^:]+)?: "
    text = re.sub(fields, lambda found: f":{found[0].replace('`', '')}", text, flags=re.MULTILINE)
    if what in ("attribute", "data", "property"):
        text = f"..\n\n{text}"  # or napoleon takes the words before a colon for a type
    lines[:] = text.splitlines()


def _words_below(name: str, value: object) -> list[str]:
    """Those that a module has below its definition of a constant: autodoc looks only where it is imported to."""
    ours = [module for module in sys.modules.values() if module.__name__.startswith("sketchless.")]
    homes = [ModuleAnalyzer.for_module(module.__name__) for module in ours if vars(module).get(name) is value]
    return [line for home in homes for line in home.find_attr_docs().get(("", name), [])]


def prepare_signature(
    _: Sphinx, what: str, name: str, value: object, options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Write defaults of dataclasses that a function makes in a way that can be read as Python."""
    return signature and signature.replace("<factory>", "..."), returns


def prepare_bases(_: Sphinx, name: str, value: type, options: object, bases: list[Any]) -> None:
    """Show the bases without their type parameters."""
    bases[:] = value.__bases__


def find_public_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: Element) -> Element | None:
    """Lead from a name in a docstring to the public name of another module."""
    python = env.domains.python_domain
    for module in PUBLIC if node["refdomain"] == "py" else ():
        if (name := f"{module}.{node['reftarget']}") in python.objects:
            return python.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], name, node, text)
    return None


def setup(app: Sphinx) -> None:
    write(Path(__file__).parent / "api", api())
    write(Path(__file__).parent / "environments", environments())
    app.connect("autodoc-process-docstring", prepare_docstring, priority=400)
    app.connect("autodoc-process-signature", prepare_signature)
    app.connect("autodoc-process-bases", prepare_bases)
    app.connect("missing-reference", find_public_name)
