"""What keeps the tests of grids short where something else is tested."""

from __future__ import annotations

import multiprocessing

import pytest

from sketchless.benchmarks.reporting.figures import pictures


@pytest.fixture
def one_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports draw one figure in place of six, as all are shown in `reporting/test_report.py`."""
    monkeypatch.setattr("sketchless.benchmarks.commands.report.pictures", lambda found: pictures(found)[:1])


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports draw no figure."""
    monkeypatch.setattr("sketchless.benchmarks.commands.report.pictures", lambda found: [])


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of `sketchless train` have no curves, as they are drawn in `commands/test_commands.py::TestPictures`."""
    for name in ("curves", "learning"):
        monkeypatch.setattr(f"sketchless.benchmarks.display.plots.{name}", lambda *_: None)


@pytest.fixture
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers of a grid need not import everything again, as fresh ones do in `ablation/test_runner.py`."""
    fork = multiprocessing.get_context("fork")
    monkeypatch.setattr(multiprocessing, "get_context", lambda method=None: fork)
