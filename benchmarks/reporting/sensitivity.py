"""How validation, where settings are chosen, depends on each knob: a figure with a panel per knob."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

from sketchless.agents.config import MAX_VALUE

from ..display.plots import TEXT, line_look, plain
from .choice import CHOSEN_BY
from .compare import Comparison

FloatArray = npt.NDArray[np.float64]
_COLUMNS = 3
_NEIGHBOURS = 5  # whose mean is a point of a curve
_FEW = 6  # values: a curve goes through the mean of each


class Tried(NamedTuple):
    """A method's settings, for one knob.

    Attributes:
        place: of the method among the choices.
        value: of the knob, [P].
        scores: m@B on validation of every seed, [P, S].
        default, chosen: places among the settings; None: not measured.
    """

    place: int
    value: FloatArray
    scores: FloatArray
    default: int | None
    chosen: int


def knobs(found: Comparison) -> dict[str, list[Tried]]:
    """Knob -> the methods that were tried at two values of it or more; those that most methods have come first."""
    panels: dict[str, list[Tried]] = {}
    for place, choice in enumerate(found.choices):
        cells = [[found.grid.cells[arm][seed] for seed in choice.seeds] for arm in choice.settings]
        settings = [{name: _number(value) for name, value in of[0].agent_settings.items()} for of in cells]
        scores = np.array([[cell.on_validation(CHOSEN_BY).mean() for cell in of] for of in cells])
        arms = list(choice.settings)
        default = None if choice.default is None else arms.index(choice.default)
        for name in settings[0]:
            values = [setting.get(name) for setting in settings]
            known = [value for value in values if value is not None]
            if name != "seed" and len(known) == len(values) and len(set(known)) > 1:
                tried = Tried(place, np.array(known), scores, default, arms.index(choice.chosen))
                panels.setdefault(name, []).append(tried)
    return dict(sorted(panels.items(), key=lambda panel: -len(panel[1])))


def _number(value: Any) -> float | None:
    """A setting as a number: of a network with one hidden layer its width; None of what no setting can be."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and abs(value) <= MAX_VALUE else None


def curve(value: FloatArray, score: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Points of a curve through scores [P] at the values [P] of a knob, while all other knobs change too.

    Of a few values: each, and the mean of its scores. Of many: the running mean of five neighbours, of fewer at the
    ends.
    """
    levels, place = np.unique(value, return_inverse=True)
    if len(levels) > _FEW:
        order, reach = np.argsort(value, kind="stable"), _NEIGHBOURS // 2
        running = [score[order[max(i - reach, 0) : i + reach + 1]].mean() for i in range(len(order))]
        place, score = place[order], np.array(running)
    return levels, np.bincount(place, score) / np.bincount(place)


def sensitivity(found: Comparison) -> Figure:
    """m@B on validation against every knob."""
    panels = knobs(found)
    rows = -(-(len(panels) + 1) // _COLUMNS)
    figure = Figure(
        figsize=(4.2 * _COLUMNS, 3.1 * rows),
        layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1),
        facecolor="white",
    )
    FigureCanvasAgg(figure)
    places = figure.subplots(rows, _COLUMNS, squeeze=False, sharey=True).flat
    for axes, (name, methods) in zip(places, panels.items(), strict=False):
        plain(axes)
        for tried in methods:
            _method(axes, tried)
        _scale(axes, np.concatenate([tried.value for tried in methods]))
        axes.set(xlabel=name)
    for axes in places[::_COLUMNS]:
        axes.set(ylabel="validation m@B")
    for axes in places[len(panels) :]:
        axes.axis("off")
    used = sorted({tried.place for methods in panels.values() for tried in methods})
    handles = [Line2D([], [], marker="o", label=found.choices[i].method, **line_look(i)) for i in used]
    marks: dict[str, Any] = {"linestyle": "", "color": TEXT}
    handles += [
        Line2D([], [], marker="s", mfc="white", mew=1.6, markersize=8, label="default", **marks),
        Line2D([], [], marker="*", markersize=13, label="chosen", **marks),
    ]
    places[-1].legend(handles=handles, loc="center", frameon=False, fontsize=10, labelcolor=TEXT)
    figure.suptitle(found.heading, fontsize=12, color=TEXT)
    return figure


def _method(axes: Axes, tried: Tried) -> None:
    look = line_look(tried.place)
    mean, colour = tried.scores.mean(axis=1), look["color"]
    ends = np.stack([mean - tried.scores.min(axis=1), tried.scores.max(axis=1) - mean])
    axes.errorbar(tried.value, mean, ends, fmt="o", color=colour, markersize=3.5, elinewidth=0.7, alpha=0.45)
    axes.plot(*curve(tried.value, mean), **look)
    if tried.default is not None:
        axes.plot(
            tried.value[tried.default], mean[tried.default], "s", color=colour, mfc="white", mew=1.6, markersize=7
        )
    axes.plot(tried.value[tried.chosen], mean[tried.chosen], "*", color=colour, markersize=12, mec="white", mew=0.7)


def _scale(axes: Axes, values: FloatArray) -> None:
    """Ratios where all values are above 0, as they were tried so."""
    if values.min() <= 0:
        return
    axes.set_xscale("log")
    levels = np.unique(values)
    locator = FixedLocator(levels.tolist()) if len(levels) <= _FEW else LogLocator(subs=(1, 3))
    axes.xaxis.set(major_locator=locator, minor_locator=NullLocator(), major_formatter="{x:g}")
