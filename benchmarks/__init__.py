"""Policies become evidence: metrics, runs, figures, tables, the command line."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .metrics import Evaluation, evaluate
    from .statistics import interval

__all__ = ["Evaluation", "evaluate", "interval"]

if not TYPE_CHECKING:  # on demand: `sketchless --help` need not wait for torch

    def __getattr__(name: str) -> object:
        if name in __all__:
            from . import metrics, statistics

            return getattr(statistics if name == "interval" else metrics, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
