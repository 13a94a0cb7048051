"""The command `sketchless`: one subcommand a job, errors in one line, exit codes that scripts can use."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import itertools
import math
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sketchless.datasets.errors import ResourceError, SketchlessError, out_of_memory, unknown_name

# Module, config class, one line of help. Modules are imported only when their command is used.
COMMANDS = {
    "train": ("train", "TrainConfig", "train an agent and compare it with the baseline"),
    "evaluate": ("evaluate", "EvaluateConfig", "repeat the numbers of a run or a bank from files"),
    "encode": ("encode", "EncodeConfig", "train an encoder on a data set and write its episode bank"),
    "ablate": ("ablate", "AblateConfig", "compare methods, rewards or designs over many seeds"),
    "report": ("report", "ReportConfig", "rebuild the tables and figures of an ablation from its files"),
    "bench": ("bench", "BenchConfig", "how fast the environment is, beside what others would write"),
    "explain": ("explain", "ExplainConfig", "why a photo is found: patch by patch, stroke by stroke"),
    "info": ("info", "InfoConfig", "what is installed, what can be chosen, what is in a data set"),
}

# Options whose names may be left out, in their order, wherever they stand.
LEADING = {
    "evaluate": ("target",),
    "bench": ("what",),
    "ablate": ("what",),
    "report": ("folder",),
    "explain": ("sketch", "photo"),
    "info": ("topic",),
}

USAGE = """usage: sketchless COMMAND [OPTIONS]

On-the-fly sketch-based image retrieval as reinforcement learning.

{commands}

sketchless COMMAND --help lists the options of a command; --debug shows the traceback of an error."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Returns 0, or the exit code: 2 wrong use or data, 3 no resources, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        keep_freed_memory()
        _dispatch([a for a in arguments if a != "--debug"])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has gone, as in `sketchless info | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt as interrupt:
        return _fail(str(interrupt) or "interrupted", 130)
    except (SketchlessError, MemoryError, RuntimeError) as error:
        if out_of_memory(error):
            error = ResourceError("out of memory; use fewer episodes or samples (--set), or a smaller input size")
        if debug or not isinstance(error, SketchlessError):
            raise
        return _fail(str(error), error.exit_code)
    return 0


def _dispatch(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        print(USAGE.format(commands="\n".join(f"  {n:<{width}}  {about}" for n, (_, _, about) in COMMANDS.items())))
        return
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"sketchless {version('sketchless')}")
        return
    if arguments[0] not in COMMANDS:
        raise unknown_name("command", arguments[0], COMMANDS)
    name, config_class, _ = COMMANDS[arguments[0]]
    module = importlib.import_module(f"sketchless.benchmarks.commands.{name}")
    module.run(_parse(arguments[0], getattr(module, config_class), arguments[1:]))


def _parse(command: str, config_class: type[Any], arguments: list[str]) -> Any:
    import tyro

    leading = LEADING.get(command, ())
    prog = " ".join(["sketchless", command, *(f"[{name.upper()}]" for name in leading)])
    arguments = _named(arguments, config_class, leading)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(config_class, prog=prog, args=arguments)
    except SystemExit as stop:
        if not stop.code:
            raise
        raise _UsageError(_one_line(complaint.getvalue(), command)) from None


def _named(arguments: list[str], config_class: type[Any], leading: Sequence[str]) -> list[str]:
    """Arguments in which those that belong to no option have the names of the leading ones."""
    takes = {"-h": 0.0, "--help": 0.0}  # how many words follow an option, if not one
    for field in fields(config_class):
        if isinstance(field.default, (bool, tuple)):
            option = field.name.replace("_", "-")
            takes |= {f"--{option}": 0.0 if isinstance(field.default, bool) else math.inf, f"--no-{option}": 0.0}
    given = {word.partition("=")[0] for word in arguments}
    free = [f"--{name}" for name in leading if f"--{name}" not in given]
    named: list[str] = []
    wanted = 0.0
    for word in arguments:
        if word.startswith("-"):
            wanted = 0.0 if "=" in word else takes.get(word.replace("_", "-"), 1.0)
        elif wanted:
            wanted -= 1
        elif free:
            named.append(free.pop(0))
        named.append(word)
    return named


class _UsageError(SketchlessError):
    pass


def _one_line(box: str, command: str) -> str:
    """The gist of a boxed complaint: its first paragraph and the nearest option."""
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
