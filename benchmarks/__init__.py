"""Policies become evidence: metrics, runs, figures, tables, the command line."""

from .metrics import Evaluation, evaluate, interval

__all__ = ["Evaluation", "evaluate", "interval"]
