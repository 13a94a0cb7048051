"""The figures of a report: each answers one question, and an arm has the same colour in all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator, PercentFormatter

from ..display.plots import TEXT, Curve, curves_figure, line_look, plain
from ..metrics import HEADLINE, POINTS
from ..statistics import Estimate, bootstrap_band, p_value, preliminary, profile, text
from ..stopping import at_share, stopping
from .compare import Comparison, Row, versus
from .published import published_set
from .sensitivity import sensitivity

FloatArray = npt.NDArray[np.float64]
_FAINT = "#7a828f"
_PERCENT = POINTS.astype(np.float64)
_MOST_LINES = 8


class Picture(NamedTuple):
    """A figure of the report: file name without ending, what it shows, how to read it, and how it is drawn."""

    name: str
    title: str
    caption: str
    draw: Callable[[Comparison], Figure]


def learning_curves(found: Comparison) -> Figure:
    """Validation m@B against environment steps."""
    figure, ((axes,),) = _canvas(_some(found), (9, 4.8))
    ends = []
    for index, row in _shown(found):
        grid, seeds = found.grid, [s for s, cell in found.grid.cells[row.name].items() if len(cell.history)]
        histories = [grid.cells[row.name][seed].history for seed in seeds]
        if not histories:
            continue
        # seeds may be evaluated at different steps: all are read off at those that every one of them spans
        steps = np.unique(np.concatenate([history[:, 0] for history in histories]))
        first, last = max(h[0, 0] for h in histories), min(h[-1, 0] for h in histories)
        steps = steps[(steps >= first) & (steps <= last)]
        if len(steps):
            values = np.stack([np.interp(steps, *history.T) for history in histories])
            if few := preliminary(len(values)):  # a band of few runs hides what it is made of
                axes.plot(steps, values.T, color=line_look(index)["color"], linewidth=0.8, alpha=0.5)
            centre, low, high = bootstrap_band(values, grid.encoders(row.name, seeds))
            ends.append((row.label, *_line(axes, index, steps, centre, *((centre, centre) if few else (low, high)))))
    axes.set(xlabel="environment steps", ylabel="validation m@B", xlim=(0, None))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    _label_ends(figure, axes, ends)
    return figure


def by_percentage(found: Comparison) -> Figure:
    """Ranking percentile and 1/rank against percentage of sketch."""
    series, looks = [], []
    for index, row in _shown(found):
        cells = found.grid.cells[row.name].values()
        of_seeds = np.stack([cell.evaluation.by_percentage() for cell in cells])  # [S, 2, 20]
        encoders = found.grid.encoders(row.name)
        bands = [bootstrap_band(of_seeds[:, i], encoders) for i in range(2)]
        (rp, *rp_ends), (rr, *rr_ends) = np.clip(bands, 0, 1)
        series.append(Curve(row.label, _PERCENT, rp, rr, np.stack(rp_ends), np.stack(rr_ends)))
        looks.append(index)
    return curves_figure(series, _some(found), looks)


def performance_profile(found: Comparison) -> Figure:
    """Share of runs above each m@B."""
    figure, ((axes,),) = _canvas(_some(found), (9, 4.8))
    runs = [found.grid.runs(row.name) for _, row in _shown(found)]
    low, high = min(scores.min() for scores in runs), max(scores.max() for scores in runs)
    margin = max(0.06 * (high - low), 0.01)
    thresholds = np.linspace(low - margin, high + margin, 500)
    for (index, row), scores in zip(_shown(found), runs, strict=True):
        share, low, high = profile(scores, thresholds)
        if row.name != found.grid.reference:  # bands of all arms would cover each other
            low = high = share
        _line(axes, index, thresholds, share, low, high, label=row.label)
    axes.set(xlabel="m@B reached", ylabel="share of runs above", ylim=(-0.02, 1.02))
    axes.set_xlim(thresholds[0], thresholds[-1])
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    _legend(figure)
    return figure


def forest(found: Comparison) -> Figure:
    """Difference of every arm to the reference, with intervals."""
    reference, rows = versus(found)
    figure, ((left, right),) = _canvas(found.heading, (10, 1.7 + 0.42 * len(rows)), columns=2, sharey=True)
    for axes, metric in ((left, "m@A"), (right, "m@B")):
        for place, (index, row) in enumerate(rows.items()):
            if row.difference is None:
                _beside(axes, place, "not measured")
                continue
            estimate = row.difference[metric].estimate
            _dot(axes, index, estimate, place)
            p = p_value(row.adjusted[metric])
            _beside(axes, place, f"{text(estimate, '+')}\nHolm p {p if p[0] == '<' else f'= {p}'}")
        axes.axvline(0, color=TEXT, linewidth=1)
        axes.set(xlabel=f"{metric} minus that of {reference}")
        _rows(axes, [row.label for row in rows.values()])
    return figure


def strokes(found: Comparison) -> Figure:
    """Strokes saved against B1: until the first entry into the first q, until it stays, and by how many sketches."""
    arms = {index: (row.label, found.saved[row.name]) for index, row in _saving(found)}
    figure, (panels,) = _canvas(found.heading, (11, 1.9 + 0.62 * len(arms)), columns=3, sharey=True)
    for place, (index, (_, one)) in enumerate(arms.items()):
        for axes, of_q in zip(panels[:2], (one.first, one.staying), strict=True):
            for (q, estimate), offset in zip(of_q.items(), (-0.25, 0.0, 0.25), strict=True):
                _dot(axes, index, estimate, place + offset)
                _beside(axes, place + offset, f"{q}: {round(estimate.value)}")
        _dot(panels[2], index, one.share, place)
        _beside(panels[2], place, f"{one.share.value:.0f}")
    panels[0].set(xlabel="strokes saved (%) until the\nphoto comes among the first q")
    panels[1].set(xlabel="strokes saved (%) until\nit stays there")
    panels[2].set(xlabel="sketches (%) that save 30 %\nor more, first 10")
    for axes in panels:
        axes.axvline(0, color=TEXT, linewidth=1)
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, -1), max(high, 1))
        _rows(axes, [label for label, _ in arms.values()])
    return figure


def _saving(found: Comparison) -> list[tuple[int, Row]]:
    return [] if found.choices else [(i, row) for i, row in enumerate(found.rows) if row.name in found.saved]


def settling(found: Comparison) -> Figure:
    """Mean rank above, Kendall-tau distance between consecutive lists below, against percentage of sketch."""
    figure, ((upper,), (lower,)) = _canvas(_some(found), (9, 7), rows=2, sharex=True)
    photos = found.grid.photos
    for index, row in _shown(found):
        cells, encoders = found.grid.cells[row.name].values(), found.grid.encoders(row.name)
        percentile = np.stack([cell.evaluation.by_percentage()[0] for cell in cells])  # [S, 20]
        rank = photos - (photos - 1) * percentile  # the mean rank, as the percentile is linear in it
        centre, low, high = np.clip(bootstrap_band(rank, encoders), 1, photos)
        _line(upper, index, _PERCENT, centre, low, high, label=row.label)
        tau = np.stack([cell.tau for cell in cells])  # [S, T - 1]
        if tau.size:
            percent = 100 * np.arange(2, tau.shape[1] + 2) / (tau.shape[1] + 1)
            _line(lower, index, percent, *np.clip(bootstrap_band(tau, encoders), 0, 1))
    upper.set(ylabel="mean rank of the photo (1 is best)", yscale="log")
    upper.yaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), minor_locator=NullLocator(), major_formatter="{x:g}")
    lower.set(ylabel="Kendall-tau distance\nto the list one step before", xlabel="percentage of sketch")
    lower.set(xlim=(0, 101), xticks=range(0, 101, 20))
    _legend(figure)
    return figure


def beside_published(found: Comparison) -> Figure:
    """Published and measured scores of every arm, each on its own scale, in the published order."""
    arms = [(index, row, row.published) for index, row in enumerate(found.rows) if row.published]
    figure, panels = _canvas(found.heading, (10, 2.2 + 0.72 * len(arms)), rows=2, columns=2, sharey="row")
    for (left, right), metric in zip(panels, HEADLINE, strict=True):
        order = sorted(arms, key=lambda arm: -arm[2].of(metric))
        published = {place: score.of(metric) for place, (_, _, score) in enumerate(order)}
        measured = {place: row.measured.score[metric] for place, (_, row, _) in enumerate(order) if row.measured}
        for place, value in published.items():
            left.plot(value, place, "o", color=line_look(order[place][0])["color"], mfc="white", mew=1.8, markersize=7)
        for place, (index, _, _) in enumerate(order):
            if place in measured:
                _dot(right, index, measured[place], place)
            else:
                _beside(right, place, "not\nmeasured")
        _ranked(left, published)
        _ranked(right, {place: estimate.value for place, estimate in measured.items()})
        ours, theirs = found.grid.baseline, found.baseline
        for axes, baseline in ((left, theirs and theirs.of(metric)), (right, ours and ours[metric])):
            if ours and baseline is not None:
                axes.axvline(baseline, color=_FAINT, linewidth=1.2, linestyle=":")
                axes.annotate("B1", (baseline, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom",
                              fontsize=8, color=_FAINT)  # fmt: skip
            _rows(axes, [row.label for _, row, _ in order])
        left.set(xlabel=f"{metric} published ({published_set(found.grid.dataset)})")
        right.set(xlabel=f"{metric} measured ({found.grid.dataset})")
    return figure


def used_and_found(found: Comparison) -> Figure:
    """What the lists shown in `Stop-v0` hold, against the share of the drawing that was used."""
    figure, (panels,) = _canvas(_some(found), (10, 4.8), columns=2)
    b1 = found.grid.example.b1
    for axes, metric in zip(panels, ("A@1", "A@10"), strict=True):
        if b1 is not None:
            fixed = [stopping(b1.rank, b1.lengths, at_share(b1.lengths, share / 100)) for share in POINTS]
            points = [(one.summary()["used"], one.summary()[metric]) for one in fixed]
            axes.plot(*np.transpose(points), color=_FAINT, linewidth=1.2, label="B1 at fixed shares")
        for index, row in _shown(found):
            every = [cell.evaluation.stopping for cell in found.grid.cells[row.name].values()]
            points = [(one.summary()["used"], one.summary()[metric]) for one in every if one]
            label = row.label if metric == "A@1" else None
            axes.plot(*np.transpose(points), "o", color=line_look(index)["color"], alpha=0.6, label=label)
        axes.set(xlabel="percentage of the drawing used", ylabel=f"{metric} of the list shown", xlim=(0, 103))
    _legend(figure)
    return figure


PICTURES = (
    Picture(
        "sensitivity",
        "What each knob does",
        "A dot is a setting: the mean of its seeds, its bar from the lowest to the highest; all other knobs of the "
        "method change from dot to dot too. Lines: the mean of five neighbours, or of every value where there are few. "
        "Squares: defaults; stars: what is chosen. The step size of TRPO is its critic's.",
        sensitivity,
    ),
    Picture(
        "shown",
        "How much was drawn, and what was found",
        "A dot is a run: the mean share of the drawing at which it shows its list, and how often that list holds the "
        "photo first, or among the first ten. The line is B1, shown at the same share of every drawing.",
        used_and_found,
    ),
    Picture(
        "published",
        "Published and measured order",
        "Arms from the best published one down, their place in brackets: a staircase on the right-hand side too means "
        "the same order. The scales differ, as data and encoder are not the paper's. Bars are 95 % intervals over "
        "photos and seeds; all arms are measured on the same sketches, so that bars which overlap do not make two "
        "arms equal.",
        beside_published,
    ),
    Picture(
        "differences",
        "Differences to the reference",
        "Paired by seed and by sketch; bars are 95 % intervals over photos and seeds, and over choices where settings "
        "are chosen. Left of zero: below the reference.",
        forest,
    ),
    Picture(
        "learning",
        "Learning",
        "Mean over seeds on the validation drawings; bands are 95 % intervals over seeds, and encoders where there are "
        "several. With fewer than ten seeds each run is a thin line instead.",
        learning_curves,
    ),
    Picture(
        "percentage",
        "How early the photo comes up",
        "Mean over seeds; bands are 95 % intervals over seeds, and encoders where there are several. The means of the "
        "curves are m@A and m@B.",
        by_percentage,
    ),
    Picture(
        "profile",
        "Performance profile",
        "How many runs get above a score: a curve further to the right is better, a steep one varies little from "
        "seed to seed. The band of the reference is its 95 % interval over seeds, for each score alone "
        "(Clopper-Pearson); those of the others are as wide.",
        performance_profile,
    ),
    Picture(
        "strokes",
        "How many strokes are saved",
        "Percent of the strokes that B1 needs on the same drawings, until the photo is among the first q: downwards "
        "1, 5 and 10. A photo that comes up may drop out again: the second panel counts until it stays. Bars are "
        "95 % intervals over photos, sketches within them, encoders and seeds.",
        strokes,
    ),
    Picture(
        "settling",
        "Does the list settle down?",
        "Above: the mean rank of the photo. Below: how much the list changes from one step to the next (0: not at "
        "all, 1: turned round). Bands are 95 % intervals over seeds, and encoders where there are several.",
        settling,
    ),
)


def pictures(found: Comparison) -> Iterable[Picture]:
    """Those that the grid has data for."""
    some_history = any(len(cell.history) for cells in found.grid.cells.values() for cell in cells.values())
    without = {"published": not any(row.published for row in found.rows), "learning": not some_history}
    without["differences"] = not any(row.difference for row in versus(found)[1].values())
    without["sensitivity"] = not found.choices
    without["profile"] = bool(found.choices)  # of a few runs each
    without["strokes"] = not _saving(found)
    without["shown"] = found.grid.example.evaluation.stopping is None
    return [picture for picture in PICTURES if not without.get(picture.name)]


def _shown(found: Comparison) -> list[tuple[int, Row]]:
    """Arms for a figure of lines, with their places among the colours: all that were measured, or as many as fit.

    Those that fit are the reference and the arms furthest from it in m@B. Where settings are chosen, those that are.
    """
    if found.choices:
        rows = {row.name: row for row in found.rows}
        return [(i, replace(rows[one.chosen], label=one.method)) for i, one in enumerate(found.choices)][:_MOST_LINES]

    def distance(arm: tuple[int, Row]) -> float:
        if arm[1].contrast is None:
            return np.inf if arm[1].name == found.grid.reference else 0.0
        return abs(arm[1].contrast.difference["m@B"].estimate.value)

    measured = [(index, row) for index, row in enumerate(found.rows) if row.measured]
    return sorted(sorted(measured, key=distance, reverse=True)[:_MOST_LINES], key=lambda arm: arm[0])


def _some(found: Comparison) -> str:
    """Heading of a figure of lines."""
    if found.choices:
        return f"{found.heading}\nof each method the setting that is chosen"
    if len(found.rows) <= _MOST_LINES:
        return found.heading
    return f"{found.heading}\n{_MOST_LINES} of {len(found.rows)} arms: the reference and those furthest from it in m@B"


def _canvas(
    heading: str, size: tuple[float, float], rows: int = 1, columns: int = 1, **share: Any
) -> tuple[Figure, Any]:
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08), facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, **share)
    for axes in panels.flat:
        plain(axes)
    figure.suptitle(heading, fontsize=12, color=TEXT)
    return figure, panels


def _line(
    axes: Axes, index: int, x: FloatArray, y: FloatArray, low: FloatArray, high: FloatArray, label: str = ""
) -> tuple[float, float, str]:
    """Draw a line with its band; returns where it ends, and its colour."""
    look = line_look(index)
    axes.plot(x, y, label=label or None, marker="." if len(x) == 1 else None, **look)
    axes.fill_between(x, low, high, color=look["color"], alpha=0.12, linewidth=0)
    return float(x[-1]), float(y[-1]), look["color"]


def _legend(figure: Figure) -> None:
    figure.legend(loc="outside right center", frameon=False, fontsize=9, labelcolor=TEXT)


def _label_ends(figure: Figure, axes: Axes, ends: list[tuple[str, float, float, str]]) -> None:
    """Write a label beside the end (x, y) of each line, in its colour; spread so that none covers another."""
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top)
    ends = sorted(ends, key=lambda end: end[2])
    gap = 0.19 / (axes.get_position().height * figure.get_figheight())  # a line of text, share of the height
    wanted = [(y - bottom) / (top - bottom) for _, _, y, _ in ends]
    for (label, x, y, colour), place in zip(ends, _spread(wanted, gap), strict=True):
        axes.annotate(
            label, (x, y), (1.05, place), textcoords="axes fraction", fontsize=9, color=TEXT,
            va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 1.2, "shrinkA": 1, "shrinkB": 2, "relpos": (0, 0.5)},
        )  # fmt: skip


def _spread(wanted: list[float], gap: float) -> list[float]:
    """Ascending places moved apart to be `gap` from each other, and into 0..1 where they fit."""
    steps = gap * np.arange(len(wanted))
    loose = np.asarray(wanted) - steps  # ascending loose places keep the gap
    raised, lowered = np.maximum.accumulate(loose), np.minimum.accumulate(loose[::-1])[::-1]
    middle = (raised + lowered) / 2
    placed: list[float] = (np.clip(middle, 0, max(1 - gap * (len(wanted) - 1), 0)) + steps).tolist()
    return placed


def _dot(axes: Axes, index: int, estimate: Estimate, place: float) -> None:
    colour = line_look(index)["color"]
    axes.plot((estimate.low, estimate.high), (place, place), color=colour, linewidth=2.2, solid_capstyle="round")
    axes.plot(estimate.value, place, "o", color=colour, markersize=7)


def _beside(axes: Axes, place: float, words: str) -> None:
    """Write at the right of a row."""
    axes.annotate(
        words, (1.02, place), xycoords=("axes fraction", "data"), fontsize=8, color=TEXT, va="center",
        annotation_clip=False,
    )  # fmt: skip


def _ranked(axes: Axes, values: dict[int, float]) -> None:
    """Write value and place (1 is the highest) above every dot."""
    for place, value in values.items():
        rank = 1 + sum(other > value for other in values.values())
        axes.annotate(
            f"{value:.2f}  ({rank})", (value, place), (0, 6), textcoords="offset points", fontsize=8, color=TEXT,
            ha="center", va="bottom", path_effects=[withStroke(linewidth=3, foreground="white")],
        )  # fmt: skip
    if values:
        axes.margins(x=0.16)


def _rows(axes: Axes, labels: list[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.6)
    axes.grid(visible=False, axis="x")
