"""Policies become evidence: metrics, runs, figures, tables, the command line."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .metrics import Evaluation, evaluate
    from .statistics import interval
    from .zoo.pack import pack, push_to_hub

__all__ = ["Evaluation", "evaluate", "interval", "pack", "push_to_hub"]

if not TYPE_CHECKING:  # on demand: `sketchless --help` need not wait for torch

    def __getattr__(name: str) -> object:
        if name in __all__:
            from . import metrics, statistics
            from .zoo import pack

            home = {"interval": statistics, "pack": pack, "push_to_hub": pack}.get(name, metrics)
            return getattr(home, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
