"""The rules of the house, read off its source."""

from __future__ import annotations

import ast
import configparser
import functools
import graphlib
import importlib
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("datasets", "encoders", "envs", "agents", "benchmarks")  # from the ground up
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
MAX_MODULES = 16  # in a folder
PAGE = ROOT / "CONTRIBUTING.md"

# What has a generator of its own; everything else in these modules draws from or changes a global one.
NUMPY_RANDOM = {"default_rng", "Generator", "BitGenerator", "SeedSequence", "PCG64", "Philox"}
TORCH_DRAWS = {"rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "poisson"}
TORCH_GLOBAL = {
    *("torch.seed", "torch.manual_seed", "torch.set_rng_state", "torch.random.manual_seed", "torch.random.seed"),
    *("torch.cuda.manual_seed", "torch.cuda.manual_seed_all", "torch.set_default_dtype", "torch.set_default_device"),
    *("torch.rand_like", "torch.randn_like", "torch.randint_like", "torch.use_deterministic_algorithms"),
}
UNSAFE = {
    f"{module}.{name}"
    for module in ("pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve")
    for name in ("load", "loads", "Unpickler", "open")
}


def imports(tree: ast.Module, home: str) -> Iterator[str]:
    """Full names of all that a module of the package `home` imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            here = home.split(".")
            base = [*here[: len(here) - node.level + 1], *([node.module] if node.module else [])] if node.level else []
            name = ".".join(base) or node.module or ""
            yield from (f"{name}.{alias.name}" for alias in node.names)


def loaded(tree: ast.Module) -> ast.Module:
    """What of a module runs when it is imported: neither bodies of functions nor what only a type checker sees."""

    def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
        for node in body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                yield node
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                yield from statements(node.orelse)
            elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for part in ("body", "orelse", "finalbody"):
                    yield from statements(getattr(node, part, []))
                for handler in getattr(node, "handlers", []):
                    yield from statements(handler.body)

    return ast.Module(body=list(statements(tree.body)), type_ignores=[])


def package(path: Path) -> str:
    return ".".join(["sketchless", *path.relative_to(ROOT).parent.parts])


PACKAGES = {package(path) for path in FILES}


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def modules() -> dict[str, ast.Module]:
    """By full name; of a folder its `__init__`."""
    return {package(path) + ("" if path.stem == "__init__" else f".{path.stem}"): parsed(path) for path in FILES}


def modules_imported(name: str, tree: ast.Module) -> set[str]:
    """Modules of the project that the module `name` imports."""
    found = imports(tree, name if name in PACKAGES else name.rpartition(".")[0])
    homes = (full if full in modules() else full.rpartition(".")[0] for full in found)
    return {home for home in homes if home in modules()}


def wings() -> str:
    """A table of the folders of code, and from which others the modules of each import, wherever in them."""
    arrows: dict[str, set[str]] = {name: set() for name in PACKAGES}
    for name, tree in modules().items():
        here = name if name in PACKAGES else name.rpartition(".")[0]
        for other in modules_imported(name, tree):
            there = other if other in PACKAGES else other.rpartition(".")[0]
            arrows[here] |= {there} - {here}

    def place(name: str) -> tuple[int, str]:
        return ROOMS.index(name.split(".")[1]), name

    def words(name: str) -> str:
        return name.removeprefix("sketchless.").replace(".", "/")

    lines = ["| wing | imports |", "|---|---|"]
    for name in sorted(arrows, key=place):
        others = " ".join(f"`{words(other)}`" for other in sorted(arrows[name], key=place))
        lines.append(f"| `{words(name)}` | {others or '-'} |")
    return "\n".join(lines)


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Calls of dotted names, with the names as imported: `np.random.seed` is `numpy.random.seed`."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, dot, rest = ast.unparse(node.func).partition(".")
            yield known.get(first, first) + dot + rest, node


def touches_global_randomness(name: str, call: ast.Call) -> bool:
    module, _, attribute = name.rpartition(".")
    if module == "numpy.random":
        return attribute not in NUMPY_RANDOM
    if module == "random":
        return attribute != "Random"
    drawn = module == "torch" and attribute in TORCH_DRAWS
    return name in TORCH_GLOBAL or (drawn and all(keyword.arg != "generator" for keyword in call.keywords))


def guarded(tree: ast.Module) -> Iterator[range]:
    """Lines where torch's global generators may be used, as they are given back as they were."""
    for node in ast.walk(tree):
        if isinstance(node, ast.With) and ast.unparse(node.items[0].context_expr).startswith("torch.random.fork_rng("):
            yield range(node.lineno, (node.end_lineno or 0) + 1)


def faults(source: str) -> list[str]:
    """What a source file does that none may do."""
    tree, found = ast.parse(source), []
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            found.append(f"{line}: star import")
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            for default in [*node.args.defaults, *node.args.kw_defaults]:
                fresh = isinstance(default, ast.Call) and ast.unparse(default.func) in ("list", "dict", "set")
                literal = isinstance(default, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp))
                if fresh or literal:
                    found.append(f"{line}: mutable default argument")
        if isinstance(node, ast.keyword) and node.arg == "weights_only" and ast.unparse(node.value) != "True":
            found.append(f"{node.value.lineno}: weights_only is not True")
    for name, call in calls(tree):
        if name in UNSAFE:
            found.append(f"{call.lineno}: {name} may run code")
        if name == "torch.load" and all(keyword.arg != "weights_only" for keyword in call.keywords):
            found.append(f"{call.lineno}: torch.load without weights_only=True")
        if touches_global_randomness(name, call) and not any(call.lineno in block for block in guarded(tree)):
            found.append(f"{call.lineno}: {name} uses global random state")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downwards(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    for name in imports(parsed(path), package(path)):
        parts = name.split(".")
        assert parts[0] not in ROOMS, f"{name}: the rooms are sketchless.<room>"
        if parts[0] == "sketchless":
            assert ROOMS.index(parts[1]) <= ROOMS.index(room), f"{room} must not import {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_breaks_the_rules(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "from os import *",
        "def f(x=[]): ...",
        "def f(*, x={}): ...",
        "f = lambda x=set(): x",
        "import pickle\npickle.load(file)",
        "from pickle import loads\nloads(data)",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import numpy as np\nnp.random.seed(0)",
        "from numpy import random\nrandom.rand(3)",
        "import random\nrandom.shuffle(x)",
        "import torch\ntorch.manual_seed(0)",
        "import torch as t\nt.randn(3)",
        "from torch import randperm\nrandperm(3)",
        "import torch\nwith torch.random.fork_rng():\n    pass\ntorch.manual_seed(0)",
    ],
)
def test_a_broken_rule_is_seen(source: str) -> None:
    assert len(faults(source)) == 1


def test_the_lawful_is_let_through() -> None:
    source = """
        import random, pickle, torch, numpy as np
        np.random.default_rng(0).random(3)
        torch.rand(3, generator=torch.Generator().manual_seed(0))
        random.Random(0).random()
        torch.load(path, weights_only=True)
        pickle.dumps(x)
        def f(x=(), y=None): ...
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
    """
    assert faults(textwrap.dedent(source)) == []


def test_relative_imports_are_resolved() -> None:
    tree = ast.parse("from . import a\nfrom .b import c\nfrom ..envs.core import Core\nimport torch.nn")
    assert list(imports(tree, "sketchless.agents")) == [
        "sketchless.agents.a",
        "sketchless.agents.b.c",
        "sketchless.envs.core.Core",
        "torch.nn",
    ]


def test_no_module_imports_a_private_name_of_another() -> None:
    private = []
    for name, tree in modules().items():
        for full in imports(tree, name if name in PACKAGES else name.rpartition(".")[0]):
            if full.startswith("sketchless.") and any(part.startswith("_") for part in full.split(".")):
                private.append(f"{name}: {full}")
    assert private == []


def test_no_imports_go_in_a_circle() -> None:
    arrows = {name: modules_imported(name, loaded(tree)) for name, tree in modules().items()}
    graphlib.TopologicalSorter(arrows).prepare()  # raises CycleError, which names the circle


def test_what_draws_nothing_loads_no_matplotlib() -> None:
    """It takes a second of every command's start; so do SciPy's parts, which come at their first use."""
    names: dict[str, set[str]] = {}  # of all that each module loads
    for name, tree in modules().items():
        names[name] = set(imports(loaded(tree), name if name in PACKAGES else name.rpartition(".")[0]))
    draws = {name for name, found in names.items() if any(full.startswith("matplotlib") for full in found)}
    while more := {name for name in names if modules_imported(name, loaded(modules()[name])) & draws} - draws:
        draws |= more
    own = ("commands.report", "display.plots", *(f"reporting.{name}" for name in ("figures", "page", "sensitivity")))
    assert draws == {f"sketchless.benchmarks.{name}" for name in own}
    parts = {full for name in names if ".speed." not in name for full in names[name] if full.startswith("scipy.")}
    assert parts == set()


def test_environments_start_without_what_only_some_programs_need() -> None:
    """numba comes with the first call of a kernel, pydantic with the first file."""
    rooms = ("datasets.loading", "datasets.readers", "encoders.registry", "encoders.training", "agents", "benchmarks")
    others = ("numba", "pydantic", "stable_baselines3", "pettingzoo", "pandas", "matplotlib")
    code = f"""if True:
        import sys, gymnasium, sketchless.envs
        assert "sketchless/OnTheFly-v0" in gymnasium.registry
        print(*({{*{others}, *{[f"sketchless.{room}" for room in rooms]}}} & {{*sys.modules}}))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("room", ["datasets", "encoders", "envs"])
def test_a_name_on_demand_is_what_a_type_checker_takes_it_for(room: str) -> None:
    package = importlib.import_module(f"sketchless.{room}")
    for full in imports(modules()[f"sketchless.{room}"], f"sketchless.{room}"):
        home, _, name = full.rpartition(".")
        if name in package.__all__:
            found = importlib.import_module(full if full in modules() else home)
            assert getattr(package, name) is (found if full in modules() else getattr(found, name))


def test_names_on_demand_leave_no_trace_of_how_they_came() -> None:
    code = """if True:
        import pickle, sys
        import sketchless.datasets.procedural.chairs.drawing, sketchless.datasets.shapes, sketchless.encoders.ensemble
        from sketchless import datasets, encoders, envs
        from sketchless.datasets.procedural.chairs.dataset import procedural
        assert datasets.procedural is procedural and callable(encoders.ensemble)  # names of modules, too
        assert datasets.shapes is sys.modules["sketchless.datasets.procedural.objects.shapes"]
        assert datasets.loading.load_dataset is datasets.load_dataset
        assert encoders.registry.load_encoder is encoders.load_encoder
        assert envs.noise is sys.modules["sketchless.envs.noise"]
        for room in (datasets, encoders, envs):
            assert {*room.__all__} <= {*dir(room)} and not hasattr(room, "elsewhere") and not hasattr(room, "a.b")
        assert pickle.loads(pickle.dumps(encoders.Stage1Config)) is encoders.Stage1Config"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_an_import_loads_is_seen() -> None:
    source = """
        import a
        if TYPE_CHECKING:
            import b
        else:
            import c
        try:
            import d
        except ImportError:
            import e
        class C:
            import f
            def method(self):
                import g
    """
    tree = ast.parse(textwrap.dedent(source))
    assert list(imports(loaded(tree), "sketchless")) == ["a", "c", "d", "e", "f"]


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=lambda x: str(x.relative_to(ROOT)))
def test_no_folder_is_crowded(folder: Path) -> None:
    modules = [path.name for path in folder.glob("*.py") if path.stem != "__init__"]
    assert len(modules) <= MAX_MODULES, f"{len(modules)} modules: gather some of them in a wing"


def test_the_table_of_wings_is_that_of_the_code() -> None:
    assert wings() in PAGE.read_text(encoding="utf-8"), "write it anew: python tests/test_architecture.py"


def test_every_folder_of_code_is_installed_and_typed() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    folders = {".".join(["sketchless", *path.parent.relative_to(ROOT).parts]) for path in FILES}
    assert set(setup["options"]["packages"].split()) == {"sketchless", *folders}
    assert [path.name for path in (ROOT / "sketchless").glob("*.py")] == ["__main__.py"]  # a namespace
    homes = dict(line.split(" = ") for line in setup["options"]["package_dir"].strip().splitlines())
    assert homes == {f"sketchless.{room}": room for room in ROOMS}
    for room in ROOMS:
        assert (ROOT / room / "__init__.py").is_file()
        assert (ROOT / room / "py.typed").is_file()
        assert "py.typed" in setup["options.package_data"][f"sketchless.{room}"]


@pytest.mark.parametrize("room", ROOMS)
def test_what_a_room_offers_is_explained(room: str) -> None:
    module = importlib.import_module(f"sketchless.{room}")
    for name in getattr(module, "__all__", []):
        item = getattr(module, name)
        if inspect.isclass(item) or inspect.isroutine(item):
            # a dataclass without a docstring gets its signature as one
            assert item.__doc__, f"sketchless.{room}.{name} has no docstring"
            assert not item.__doc__.startswith(f"{name}("), f"sketchless.{room}.{name} has no docstring"


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(r"\| wing \|.*?(?=\n\n)", lambda _: wings(), text, flags=re.DOTALL), encoding="utf-8")
