"""The tasks on a bank, by name."""

from __future__ import annotations

from typing import Any

from sketchless.datasets.errors import ConfigError, unknown_name

from .carry import CarryCore
from .core import Core
from .stop import StopCore

TASKS: dict[str, type[Core]] = {core.task: core for core in (Core, CarryCore, StopCore)}
"""What is played, by name: the keyword `task` of every environment."""
_SETTINGS = {"on-the-fly": (), "carry": ("decay",), "stop": ("stroke_cost",)}


def make_core(task: str, *args: Any, **settings: Any) -> Core:
    """The core of a task; arguments are those of `Core`, settings the task's own.

    Raises:
        ConfigError: an unknown task, a setting that it does not have, and as its core.
    """
    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    for name, value in settings.items():
        if name not in _SETTINGS[task]:
            owner = next((other for other, names in _SETTINGS.items() if name in names), None)
            if owner is None:
                raise unknown_name("keyword", name, [each for names in _SETTINGS.values() for each in names])
            raise ConfigError(f"{name}={value!r}: the task {task!r} does not have it, {owner!r} does")
    return TASKS[task](*args, **settings)
