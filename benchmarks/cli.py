"""The command `sketchless`: one subcommand a job, errors in one line, exit codes that scripts can use.

At the top stand imports of the standard library alone: help and the version come at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import itertools
import math
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, make_dataclass, replace
from types import FrameType
from typing import IO, Annotated, Any, get_type_hints

# Module, config class, one line of help. Modules are imported only when their command is used: tyro's SubcommandApp
# would import them all, and torch, to print this list.
COMMANDS = {
    "train": ("train", "TrainConfig", "train an agent and compare it with the baseline"),
    "evaluate": ("evaluate", "EvaluateConfig", "compute the numbers of a run or a bank again from files"),
    "encode": ("encode", "EncodeConfig", "train an encoder on a data set and write its episode bank"),
    "ablate": ("ablate", "AblateConfig", "compare methods, rewards or designs over many seeds"),
    "report": ("report", "ReportConfig", "rebuild the tables and figures of an ablation from its files"),
    "bench": ("bench", "BenchConfig", "how fast the environment is, beside what others would write"),
    "draw": ("draw", "DrawConfig", "draw in the browser and see the photos come; or collect drawings"),
    "explain": ("explain", "ExplainConfig", "why a photo is found: patch by patch, stroke by stroke"),
    "export": ("export", "ExportConfig", "write episodes as a data set for offline RL (Minari)"),
    "zoo": ("zoo", "ZooConfig", "trained agents and encoders by name: list, fetch, pack, publish"),
    "info": ("info", "InfoConfig", "what is installed, what can be chosen, what is in a data set"),
}

USAGE = """usage: sketchless COMMAND [OPTIONS]

On-the-fly sketch-based image retrieval as reinforcement learning.

{commands}

sketchless COMMAND --help lists the options of a command; --version prints the version; --debug shows the traceback
of an error."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Returns 0, or the exit code: 2 wrong use or data, 3 no resources, 130 interrupted."""
    output = _Output(sys.stdout or io.StringIO())  # closed by `>&-`
    complaints = _Output(sys.stderr or io.StringIO())
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(complaints):
        code = _main(list(sys.argv[1:] if argv is None else argv))
        if argv is None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a Ctrl-C while Python tidies up ends it without a traceback
        output.flush()
    if output.fault and not isinstance(output.fault, BrokenPipeError):  # that is `sketchless info | head`
        return _fail(f"standard output: cannot be written ({output.fault.strerror})", code or 3)
    return code


def _main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        print(USAGE.format(commands="\n".join(f"  {n:<{width}}  {about}" for n, (_, _, about) in COMMANDS.items())))
        return 0
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"sketchless {version('sketchless')}")
        return 0
    with _leaving_at_once():
        from sketchless.datasets.errors import ResourceError, SketchlessError, out_of_memory, shown
    debug = "--debug" in arguments
    try:
        keep_freed_memory()
        with _leaving_at_once():
            job = _job([a for a in arguments if a != "--debug"])
        job()
    except KeyboardInterrupt as interrupt:
        return _fail(str(interrupt) or "interrupted", 130)
    except (SketchlessError, MemoryError, RuntimeError) as error:
        if out_of_memory(error):
            error = ResourceError("out of memory; use fewer episodes or samples (--set), or a smaller input size")
        if debug or not isinstance(error, SketchlessError):
            raise
        return _fail(str(error), error.exit_code)
    except OSError as error:  # a path that cannot even be looked at: too long, or in a folder of somebody else
        if debug or error.filename is None:
            raise
        return _fail(f"{shown(str(error.filename))}: {error.strerror}", 2)
    return 0


class _Output:
    """An output that may end before the work does: its reader goes, its disk fills. What follows is dropped."""

    fault: OSError | None = None

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        if isinstance(file, io.TextIOWrapper):
            file.reconfigure(errors="backslashreplace")  # a terminal without our letters

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        with self._dropping():
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with self._dropping():
            self._file.flush()

    @contextlib.contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.fault = self.fault or error
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._file.fileno())


@contextlib.contextmanager
def _leaving_at_once() -> Iterator[None]:
    """End the process at a Ctrl-C, while nothing has begun: an exception amid the import of torch has many forms."""

    def leave(number: int, frame: FrameType | None) -> None:
        os.write(2, b"sketchless: interrupted\n")
        os._exit(130)

    if threading.current_thread() is not threading.main_thread():  # which gets all signals
        yield
        return
    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _job(arguments: list[str]) -> Callable[[], object]:
    """What the arguments ask for. Raises SketchlessError for what they cannot mean; --help prints and exits."""
    from sketchless.datasets.errors import unknown_name

    command, *options = arguments
    if command not in COMMANDS:
        raise unknown_name("command", command, COMMANDS)
    name, config_class, _ = COMMANDS[command]
    module = importlib.import_module(f"sketchless.benchmarks.commands.{name}")
    config = _at_home(_parse(command, getattr(module, config_class), options))
    return lambda: module.run(config)


def _at_home(config: Any) -> Any:
    """The config with `~` as the home folder in every path: shells leave it in `--out=~/run` and in quotes."""
    found: dict[str, Any] = {}
    for field in fields(config):
        value = getattr(config, field.name)
        if isinstance(value, str) and value.startswith("~"):
            found[field.name] = os.path.expanduser(value)
        elif isinstance(value, tuple) and any(isinstance(v, str) and v.startswith("~") for v in value):
            found[field.name] = tuple(os.path.expanduser(v) if isinstance(v, str) else v for v in value)
    return replace(config, **found) if found else config


def _parse(command: str, config_class: type[Any], arguments: list[str]) -> Any:
    import tyro

    from sketchless.datasets.errors import ConfigError

    silenced = _without_empty_defaults(config_class)
    arguments = _merged(arguments, config_class)
    given: dict[str, Any] = {}
    if hasattr(config_class, "defaults"):  # some depend on others
        given["default"] = silenced(**vars(config_class.defaults(arguments)))
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                silenced,
                prog=f"sketchless {command}",
                description=config_class.__doc__,
                args=arguments,
                **given,
                config=(tyro.conf.DisallowNone, tyro.conf.PositionalMetavarFromFieldName),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ConfigError(_one_line(complaint.getvalue(), command)) from None


def _merged(arguments: list[str], config_class: type[Any]) -> list[str]:
    """The arguments with each list option once: `--set a=1 --set b=2` is `--set a=1 b=2`, `--seeds 0 --seeds 1` is
    `--seeds 0,1`. Of several, tyro keeps the last; its UseAppendAction reads one value an option, or lists of lists.
    """
    takes = {f"--{known.name}": math.inf for known in fields(config_class) if isinstance(known.default, tuple)}
    if "seeds" in (known.name for known in fields(config_class)):
        takes["--seeds"] = 1
    end = arguments.index("--") if "--" in arguments else len(arguments)
    merged: list[str] = []
    lists: dict[str, list[str]] = {}
    option, wanted = "", 0.0
    for word in arguments[:end]:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            option = f"--{name[2:].replace('-', '_')}"
            wanted = 0.0 if equals else takes.get(option, 0.0)
            if option not in takes:
                merged.append(word)
            else:
                lists.setdefault(option, []).extend([value] if equals else [])
        elif wanted:
            wanted -= 1
            lists[option].append(word)
        else:
            merged.append(word)
    if seeds := lists.get("--seeds"):
        lists["--seeds"] = [",".join(seeds)]
    return [*merged, *itertools.chain.from_iterable((name, *words) for name, words in lists.items()), *arguments[end:]]


def _without_empty_defaults(config_class: type[Any]) -> type[Any]:
    """The same class for tyro, which would show `(default: None)` and `(default: )`: their help says what holds."""
    import tyro

    silent = tyro.conf.arg(help_behavior_hint="")
    hints = get_type_hints(config_class, include_extras=True)
    empty = [known for known in fields(config_class) if known.default in (None, ())]
    silenced = [(known.name, Annotated[hints[known.name], silent], known.default) for known in empty]
    return make_dataclass(config_class.__name__, silenced, bases=(config_class,), frozen=True)


def _one_line(box: str, command: str) -> str:
    """The gist of tyro's boxed complaint, its first paragraph and the nearest option: its hook for errors is private
    and may change in any release."""
    text = [re.sub(r"[╭╮╰╯│─]+|^[|+]|[|+]$|-{3,}", " ", line.strip()).strip() for line in box.splitlines()[1:]]
    paragraphs = [" ".join(group) for filled, group in itertools.groupby(text, key=bool) if filled]
    fault = paragraphs[0] if paragraphs else "cannot read the options"
    near = next((text[i + 1].split()[0] for i, line in enumerate(text) if line.startswith("Perhaps you meant")), None)
    hint = f"; did you mean {near}?" if near else ""
    return f"{fault}{hint} (see sketchless {command} --help)"


def _fail(message: str, code: int) -> int:
    print(f"sketchless: {message}", file=sys.stderr)
    return code


def keep_freed_memory() -> None:
    """Ask glibc to reuse freed blocks instead of returning them: convolutions on a CPU run up to 3x faster."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        trim_threshold, mmap_threshold = -1, -3
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (1 << 31) - 1)


if __name__ == "__main__":
    sys.exit(main())
