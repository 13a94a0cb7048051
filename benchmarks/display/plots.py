"""Figures: the paper's two curves, and learning curves."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import EngFormatter

from sketchless.datasets.errors import ConfigError
from sketchless.datasets.files import replacing

FloatArray = npt.NDArray[np.floating[Any]]

# Told apart by colour-blind readers too (Okabe and Ito, 2008; the last by Tol); after these the dashes change.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#882255")
_DASHES = ("-", "--", ":", "-.")
_ABREAST = 3  # legend entries on a line
TEXT, RULE = "#333a45", "#e3e6eb"


@dataclass(frozen=True, eq=False)
class Curve:
    """How well one policy retrieves, against how much of the sketch is drawn.

    Attributes:
        name: for the legend.
        percent: [T], share of the sketch, 5..100 %.
        percentile: [T], mean ranking percentile, 0..1.
        reciprocal: [T], mean of 1/rank, 0..1.
        percentile_interval, reciprocal_interval: [2, T], lower and upper end of the 95 % interval, or None.
    """

    name: str
    percent: FloatArray
    percentile: FloatArray
    reciprocal: FloatArray
    percentile_interval: FloatArray | None = None
    reciprocal_interval: FloatArray | None = None


def own_settings() -> AbstractContextManager[None]:
    """Where every figure is made and written: with matplotlib's defaults, whatever the user's matplotlibrc says
    (`text.usetex` needs a TeX, which may be missing), and with labels as they are (`$` begins no formula)."""
    return style.context(["default", {"text.parse_math": False, "pdf.fonttype": 42}])  # text in a PDF stays text


def curves(path: str | os.PathLike[str], series: Sequence[Curve], title: str = "") -> None:
    """Draw ranking percentile (left) and 1/rank (right) against percentage of sketch, as PNG.

    The legend gives m@A and m@B: the means of the curves, times 100.

    Args:
        path: where to; replaced only when the new file is whole.
        series: at least one.
        title: above both.

    Raises:
        ConfigError: nothing to draw, or `path` cannot be written. ResourceError: no room.
    """
    if not series:
        raise ConfigError(f"{path}: no curve to draw; give at least one evaluation")
    with own_settings():
        _save(path, curves_figure(series, title))


def curves_figure(series: Sequence[Curve], title: str = "", looks: Sequence[int] | None = None) -> Figure:
    """What `curves` draws, not written yet; `looks` are the curves' places among the colours, by default 0, 1 .."""
    abreast = min(len(series), _ABREAST if max(len(curve.name) for curve in series) <= 12 else _ABREAST - 1)
    lines = -(-len(series) // abreast)
    figure, (left, right) = _panels(title, 4 + 0.25 * lines)
    for index, curve in zip(range(len(series)) if looks is None else looks, series, strict=True):
        look = line_look(index)
        at_a, at_b = 100 * np.mean(curve.percentile), 100 * np.mean(curve.reciprocal)
        label = f"{curve.name}   m@A {at_a:.1f}   m@B {at_b:.1f}"
        left.plot(curve.percent, 100 * np.asarray(curve.percentile), label=label, **look)
        right.plot(curve.percent, curve.reciprocal, **look)
        bands = (left, 100, curve.percentile_interval), (right, 1, curve.reciprocal_interval)
        for axes, scale, interval in bands:
            if interval is not None:
                low, high = scale * np.asarray(interval)
                axes.fill_between(curve.percent, low, high, color=look["color"], alpha=0.14, linewidth=0)
    for axes, label in ((left, "ranking percentile"), (right, "1 / rank")):
        axes.set(xlabel="percentage of sketch", ylabel=label, xlim=(0, 102), xticks=range(0, 101, 20))
    figure.legend(loc="outside lower center", ncols=abreast, frameon=False, fontsize=9)
    return figure


def learning(path: str | os.PathLike[str], history: Sequence[Mapping[str, Any]], title: str = "") -> None:
    """Draw validation m@B (left) and the mean reward since the last validation (right) against steps, as PNG.

    Args:
        path: where to; replaced only when the new file is whole.
        history: entries with `timesteps`, `val_m_at_b` and `reward`; one of the latter two may be missing
            or None where it was not measured.
        title: above both.

    Raises:
        ConfigError: nothing to draw, or `path` cannot be written. ResourceError: no room.
    """
    if not history:
        raise ConfigError(f"{path}: no learning curve to draw; the history is empty")
    with own_settings():
        _save(path, _learning(history, title))


def _learning(history: Sequence[Mapping[str, Any]], title: str) -> Figure:
    figure, (left, right) = _panels(title)
    timesteps = np.array([row["timesteps"] for row in history], dtype=float)
    panels = ((left, "val_m_at_b", "validation m@B"), (right, "reward", "mean reward since the last validation"))
    for index, (axes, key, label) in enumerate(panels):
        values = np.array([row.get(key) for row in history], dtype=float)  # None becomes NaN
        steps, values = timesteps[np.isfinite(values)], values[np.isfinite(values)]
        axes.set(xlabel="environment steps", ylabel=label)
        short = EngFormatter(sep="")  # 250k
        axes.xaxis.set_major_formatter(short)
        axes.plot(steps, values, marker="." if len(steps) == 1 else None, **line_look(index))
        if key == "val_m_at_b" and len(steps):
            best = int(np.argmax(values))
            axes.plot(steps[best], values[best], "o", color=line_look(index)["color"])
            axes.set_title(f"best {values[best]:.4g} at {short(steps[best])} steps", fontsize=10, color=TEXT)
    return figure


def falls(path: str | os.PathLike[str], series: Mapping[str, tuple[FloatArray, FloatArray]], title: str = "") -> None:
    """Draw how far photos fall from frame to frame against how much lists change (Bhunia et al., CVPR 2020, figure 3).

    On the left the mean fall in ranking percentile, in bins of the Kendall-tau distance that each hold a tenth of the
    first one's frames; on the right how often lists change by so much.

    Args:
        path: where to, as PNG; replaced only when the new file is whole.
        series: name -> Kendall-tau distances [M], 0..1, and falls [M], 0..100, as of `Evaluation.falls`.
        title: above both.

    Raises:
        ConfigError: nothing to draw, or `path` cannot be written. ResourceError: no room.
    """
    if not series or not all(len(tau) and np.isfinite(tau).all() for tau, _ in series.values()):
        raise ConfigError(f"{path}: no falls to draw; give evaluations of two frames or more, with their taus")
    with own_settings():
        _save(path, _falls(series, title))


def _falls(series: Mapping[str, tuple[FloatArray, FloatArray]], title: str) -> Figure:
    figure, (left, right) = _panels(title)
    first = next(iter(series.values()))[0]
    inner = np.unique(np.quantile(first, np.linspace(0.1, 0.9, 9)))
    widest = max(float(tau.max()) for tau, _ in series.values())
    for index, (name, (tau, fall)) in enumerate(series.items()):
        place = np.searchsorted(inner, tau, side="right")
        bins = np.unique(place)
        means = np.array([[tau[place == one].mean(), fall[place == one].mean()] for one in bins])
        left.plot(*means.T, marker=".", label=f"{name}   mean fall {fall.mean():.2f}", **line_look(index))
        share, edges = np.histogram(tau, bins=30, range=(0, widest or 1.0))
        right.stairs(100 * share / len(tau), edges, **line_look(index))
    left.set(xlabel="Kendall-tau distance to the list before", ylabel="fall in ranking percentile", ylim=(0, None))
    right.set(xlabel="Kendall-tau distance to the list before", ylabel="percentage of frames", ylim=(0, None))
    figure.legend(loc="outside lower center", ncols=_ABREAST - 1, frameon=False, fontsize=9)
    return figure


def _panels(title: str, height: float = 4) -> tuple[Figure, tuple[Axes, Axes]]:
    # Not pyplot: it keeps every figure alive and talks to the screen.
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08)
    figure = Figure(figsize=(10, height), layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        plain(axes)
    if title:
        figure.suptitle(title, fontsize=12, color=TEXT)
    return figure, (left, right)


def plain(axes: Axes) -> None:
    """Give axes the looks of all our figures: a light grid, no box."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9aa2af")
    axes.grid(color=RULE, linewidth=0.8)
    axes.tick_params(colors=TEXT, labelsize=9, length=0)
    axes.xaxis.label.set_color(TEXT)
    axes.yaxis.label.set_color(TEXT)
    axes.set_axisbelow(True)


def line_look(index: int) -> dict[str, Any]:
    """Colour and dashes of the line `index`, the same in every figure."""
    dashes, colour = divmod(index, len(_COLOURS))
    return {"color": _COLOURS[colour], "linestyle": _DASHES[dashes % len(_DASHES)], "linewidth": 1.8}


def _save(path: str | os.PathLike[str], figure: Figure) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
