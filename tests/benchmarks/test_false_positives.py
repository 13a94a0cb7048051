"""How often a true difference of zero is called one, with the variances that paired differences have on Chair-V2.

The difference of seed s and sketch n is a sum of nine terms: one of none, encoder or seed (rows) times one of none,
photo or sketch (columns). Their variances are estimated from ranks in committed grids (analysis of variance; expected
mean squares). Run as a program, this module prints the tables of `docs/benchmarks.md`, in minutes.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom

from sketchless.benchmarks import statistics
from sketchless.benchmarks.reporting.results import Grid, read_grid
from sketchless.benchmarks.statistics import FloatArray, Inference, inference, pigeonhole_bootstrap, sign_flip

ROOT = Path(__file__).parents[2]
GRIDS = ("methods-letter", "methods-softmax")
SIZES = {3: 85, 4: 10, 5: 2, 6: 3}  # sketches of a photo -> photos of the test split: 100, with 323 sketches
PHOTOS = tuple(f"p{photo}" for photo in np.repeat(np.arange(100), np.repeat(list(SIZES), list(SIZES.values()))))
PAGE = ROOT / "docs/benchmarks.md"
LARGEST, REAL = ", largest encoder", ", real photos"
ALPHA = 0.05
SETS = 1000  # a share of 5 % then has a standard error of 0.7 points
AT_ONCE = 50  # sets simulated together: 80 MB


def place_of(names: Sequence[str]) -> npt.NDArray[np.intp]:
    """The number of each name's group."""
    return np.unique(np.asarray(names), return_inverse=True)[1]


# Variances -------------------------------------------------------------------------------------------------


def variances(values: FloatArray, photos: Sequence[str], encoders: Sequence[str]) -> FloatArray:
    """Of the terms of values [S, N], without bias, so that they may be below 0: [none encoder seed, none photo sketch].

    What stands at [0, 0] is no variance: it holds the square of the mean.
    """
    (rows, of_rows), (columns, of_columns) = _projections(encoders), _projections(photos)
    squares = np.array([[((row @ values @ column) ** 2).sum() for column in columns] for row in rows])
    # E[squares] = of_rows @ variances @ of_columns^T, whatever the sizes of groups
    found: FloatArray = np.linalg.inv(of_rows) @ squares @ np.linalg.inv(of_columns).T
    return found


def _projections(names: Sequence[str]) -> tuple[list[FloatArray], FloatArray]:
    """On the mean, on groups less the mean, on members less groups; and what of each term passes them: [3, 3]."""
    member = np.eye(max(place_of(names)) + 1)[place_of(names)]  # [n, groups]
    everything, one = np.ones((len(names), len(names))), np.eye(len(names))
    mean, group = everything / len(names), member / member.sum(axis=0) @ member.T
    parts = [mean, group - mean, one - group]
    return parts, np.array([[(part * term).sum() for term in (everything, member @ member.T, one)] for part in parts])


class Difference(NamedTuple):
    """Of an arm, less the reference or B1, paired by seed and sketch."""

    against: str
    metric: str
    values: FloatArray  # [S, N]
    variances: FloatArray


@functools.cache
def grids() -> tuple[Grid, ...]:
    return tuple(read_grid(ROOT / "benchmarks/results/chair-v2" / name) for name in GRIDS)


@functools.cache
def _real_photos() -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Test sketches [N] in the order of their photos, and where each photo begins and how many it has: [2, photos]."""
    place = place_of(grids()[0].photo_of_sketch)
    size = np.bincount(place)
    return np.argsort(place, kind="stable"), np.stack([size.cumsum() - size, size])


@functools.cache
def differences() -> tuple[Difference, ...]:
    """All of the two grids of methods, for m@A and m@B."""
    return tuple(one for grid in grids() for one in _of_grid(grid))


def _of_grid(grid: Grid) -> Iterator[Difference]:
    full = [arm for arm, cells in grid.cells.items() if len(cells) == len(grid.seeds)]
    for metric in ("m@A", "m@B"):
        for arm in full:
            ours = grid.per_sketch(arm, metric)
            b1 = np.stack([cell.b1.per_sketch(metric) for cell in grid.cells[arm].values() if cell.b1])
            others = {"another method": grid.per_sketch(grid.reference, metric), "B1": b1}
            for against, other in others.items():
                if arm != grid.reference or against == "B1":
                    found = variances(ours - other, grid.photo_of_sketch, grid.encoders(arm))
                    yield Difference(against, metric, ours - other, found)


def typical() -> dict[tuple[str, str], FloatArray]:
    """Variances by what is compared and metric: the mean over methods and grids, none below 0."""
    keys = [(against, metric) for metric in ("m@A", "m@B") for against in ("another method", "B1")]
    return {key: np.maximum(np.mean([one.variances for one in alike(*key)], axis=0), 0) for key in keys}


def alike(against: str, metric: str) -> list[Difference]:
    return [one for one in differences() if (one.against, one.metric) == (against, metric)]


def largest_encoder(against: str, metric: str) -> FloatArray:
    """As `typical`, but with the largest encoder variance of any method: of many estimates, so rather too large."""
    variance: FloatArray = typical()[against, metric].copy()
    variance[1, 0] = max(one.variances[1, 0] for one in alike(against, metric))
    return variance


# Simulation ------------------------------------------------------------------------------------------------


def encoders_of(seeds: int, encoders: int) -> tuple[str, ...]:
    return tuple(f"e{seed % encoders}" for seed in range(seeds))


def drawn(
    variance: FloatArray, encoders: Sequence[str], sets: int, rng: np.random.Generator, photos: Sequence[str] = PHOTOS
) -> FloatArray:
    """Normal differences, in truth zero: [sets, S, N]."""
    values = np.zeros((sets, len(encoders), len(photos)))
    rows = [np.zeros(len(encoders), dtype=np.intp), place_of(encoders), np.arange(len(encoders))]
    columns = [np.zeros(len(photos), dtype=np.intp), place_of(photos), np.arange(len(photos))]
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            if (r or c) and variance[r, c] > 0:
                effects = rng.normal(0, variance[r, c] ** 0.5, (sets, row.max() + 1, column.max() + 1))
                values += effects[:, row][:, :, column]
    return values


def drawn_from(real: Difference, variance: FloatArray, sets: int, rng: np.random.Generator) -> FloatArray:
    """As `drawn`, but normal in encoders and seeds alone: photos are real ones drawn anew, and sketches within them."""
    order, (start, size) = _real_photos()
    photos = rng.integers(len(size), size=(sets, len(size)))[:, place_of(PHOTOS)]  # [sets, N]
    sketches = order[start[photos] + rng.integers(size[photos])]
    truth = np.add.reduceat(real.values[:, order], start, axis=1) / size  # [S, photos], each as likely to be drawn
    centred = real.values - truth.mean(axis=1, keepdims=True)
    runs = np.zeros((3, 3))
    runs[1:, 0] = variance[1:, 0]
    photo_effects: FloatArray = np.moveaxis(centred[:, sketches], 1, 0)
    return photo_effects + drawn(runs, encoders_of(10, 3), sets, rng)


def judged(values: FloatArray, photos: Sequence[str], encoders: Sequence[str]) -> list[Inference]:
    """What `pigeonhole_bootstrap` says of every set [sets, S, N], with the same draws for all."""
    rows = statistics._nested_counts(tuple(encoders), 0, "seeds")  # [R, S]
    columns = statistics._nested_counts(tuple(photos), 0, "sketches")  # [R, N]
    sums = (values.reshape(-1, values.shape[2]) @ columns.T).reshape(*values.shape[:2], -1)
    means = np.einsum("rs,msr->mr", rows, sums) / (rows.sum(axis=1) * columns.sum(axis=1))
    return [inference(one, mean, photos, encoders) for one, mean in zip(values, means, strict=True)]


def by_photo_alone(values: FloatArray) -> list[Inference]:
    """Photos drawn anew with all their sketches; runs stay."""
    place = place_of(PHOTOS)
    columns = statistics._nested_counts(tuple(map(str, range(place.max() + 1))), 0, "photos")[:, place]  # [R, N]
    over_runs = values.mean(axis=1)
    means = over_runs @ columns.T / columns.sum(axis=1)
    return [inference(one[None], mean, PHOTOS) for one, mean in zip(over_runs, means, strict=True)]


class Rates(NamedTuple):
    """Share of sets whose mean is called other than zero."""

    nested: float  # photos, sketches within them, encoders, seeds within them: `pigeonhole_bootstrap`
    width: float  # of its intervals, as part of those that would be right on average: 1.96 deviations to either side
    photos: float  # photos with all their sketches
    flat: float  # sketches and seeds, as if each were independent of all others
    seeds: float  # sign-flip test over seeds


def rates(
    draw: Callable[[int, np.random.Generator], FloatArray], encoders: Sequence[str], sets: int, contrast: bool = True
) -> Rates:
    """Of so many sets that `draw` draws."""
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {name: [] for name in ("nested", "photos", "flat", "seeds")}
    means: list[float] = []
    widths: list[float] = []
    for begin in range(0, sets, AT_ONCE):
        values = draw(min(AT_ONCE, sets - begin), rng)
        nested = judged(values, PHOTOS, encoders)
        found["nested"] += [one.p for one in nested]
        means += [one.estimate.value for one in nested]
        widths += [one.estimate.high - one.estimate.low for one in nested]
        if contrast:
            found["photos"] += [one.p for one in by_photo_alone(values)]
            flat = judged(values, tuple(map(str, range(len(PHOTOS)))), ("",) * len(encoders))
            found["flat"] += [one.p for one in flat]
            found["seeds"] += [sign_flip(one.mean(axis=1)) for one in values]
    share = {name: float(np.mean(np.array(p) <= ALPHA)) if p else np.nan for name, p in found.items()}
    return Rates(width=float(np.mean(widths) / (2 * 1.96 * np.std(means))), **share)


def simulated(
    variance: FloatArray, seeds: int, encoders: int, sets: int, contrast: bool = False, this_one: bool = False
) -> Rates:
    """Of normal differences; `this_one`: of the encoder that is there, in which the truth is zero."""
    names = encoders_of(seeds, encoders)
    if this_one:
        variance = variance.copy()
        variance[1, 0] = 0
    return rates(lambda n, rng: drawn(variance, names, n, rng), names, sets, contrast)


def resampled(against: str, metric: str, sets: int) -> Rates:
    """Of 10 seeds on 3 encoders with real photos, the methods in turn."""
    these, variance = itertools.cycle(alike(against, metric)), typical()[against, metric]
    return rates(lambda n, rng: drawn_from(next(these), variance, n, rng), encoders_of(10, 3), sets)


# Tables ----------------------------------------------------------------------------------------------------


def table_of_variances() -> list[str]:
    heads = ["photo", "sketch", "encoder", "encoder, largest", "encoder x photo", "encoder x sketch"]
    lines = _head("difference", [*heads, "seed", "seed x photo", "seed x sketch"])
    for key, v in typical().items():
        cells = [v[0, 1], v[0, 2], v[1, 0], largest_encoder(*key)[1, 0], *v[1, 1:], *v[2]]
        lines.append(_row(label(*key), [f"{cell:.2f}" for cell in cells]))
    return lines


def table_of_designs(sets: int) -> list[str]:
    """What `pigeonhole_bootstrap` calls different, by seeds and encoders."""
    lines = _head(
        "difference",
        [
            "10 seeds on 3 encoders",
            "width",
            "3 seeds on 3 encoders",
            "10 seeds on 2 encoders",
            "10 seeds on 1 encoder, of that one",
            "10 seeds on 1 encoder, of any",
        ],
    )
    for of, variances_of in (("", typical()), (LARGEST, {key: largest_encoder(*key) for key in typical()})):
        for key, v in variances_of.items():
            three = simulated(v, 10, 3, sets)
            others = [
                simulated(v, 3, 3, sets),
                simulated(v, 10, 2, sets),
                simulated(v, 10, 1, sets, this_one=True),
                simulated(v, 10, 1, sets),
            ]
            cells = [percent(three.nested), f"{three.width:.2f}", *(percent(other.nested) for other in others)]
            lines.append(_row(label(*key) + of, cells))
    return lines


def table_of_ways(sets: int) -> list[str]:
    """What other ways call different, of 10 seeds on 3 encoders."""
    lines = _head(
        "difference", ["photos, sketches, encoders, seeds", "photos alone", "sketches and seeds", "sign-flip"]
    )
    for key, v in typical().items():
        for of, found in (("", simulated(v, 10, 3, sets, contrast=True)), (REAL, resampled(*key, sets))):
            cells = (found.nested, found.photos, found.flat, found.seeds)
            lines.append(_row(label(*key) + of, list(map(percent, cells))))
    return lines


def label(against: str, metric: str) -> str:
    return f"{metric}, to {against}"


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _head(first: str, heads: list[str]) -> list[str]:
    return [_row(first, heads), _row("---", ["---:"] * len(heads))]


def _row(first: str, cells: list[str]) -> str:
    return f"| {' | '.join([first, *cells])} |"


def written(page: str, tables: Mapping[str, list[str]]) -> str:
    """The page with the tables below their markers, in place of those that stand there."""
    for marker, lines in tables.items():
        head, found, tail = page.partition(f"<!-- {marker} -->\n")
        assert found, marker
        page = head + found + "\n".join(lines) + "\n" + re.sub(r"\A(\|.*\n)*", "", tail)
    return page


def on_page(marker: str) -> dict[str, list[str]]:
    """Cells of a table of the page, by the first of their row."""
    lines = PAGE.read_text(encoding="utf-8").partition(f"<!-- {marker} -->\n")[2].partition("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    return {first: cells for first, *cells in rows}


# Tests -----------------------------------------------------------------------------------------------------


def test_variances_of_unequal_groups_are_found_without_bias() -> None:
    """On average over many draws, of six runs on encoders of 1, 2 and 3, and photos of 1 to 4 sketches."""
    rng = np.random.default_rng(0)
    photos, encoders = [f"p{p}" for p in np.repeat(np.arange(12), [1, 2, 3, 4] * 3)], list("abbccc")
    planted = np.array([[0, 4, 9], [2, 1, 3], [1, 0.5, 2]])
    found = np.array([variances(one, photos, encoders) for one in drawn(planted, encoders, 600, rng, photos)])
    error = found.std(axis=0) / 600**0.5
    assert (np.abs(found.mean(axis=0) - planted) < 4 * error).ravel()[1:].all()


def test_a_term_that_stands_alone_is_told_from_the_others() -> None:
    # one value per photo, 0 or 2 for half of 4 photos each: sum of squares 4, of 3 degrees
    values = np.tile(np.repeat([0.0, 2, 0, 2], 3), (4, 1))
    found = variances(values, list("aaabbbcccddd"), list("eeff"))
    expected = np.zeros((3, 3))
    expected[0, 1] = 4 / 3
    assert found.ravel()[1:] == pytest.approx(expected.ravel()[1:], abs=1e-12)


def test_many_sets_are_judged_as_each_by_itself() -> None:
    values = np.random.default_rng(0).normal(0.2, 1, (2, 10, len(PHOTOS)))
    names = encoders_of(10, 3)
    for found, one in zip(judged(values, PHOTOS, names), values, strict=True):
        expected = pigeonhole_bootstrap(one, PHOTOS, names)
        assert found.p == pytest.approx(expected.p)
        assert found.estimate == pytest.approx(expected.estimate)


def test_what_the_page_says_of_its_tables_stands_there() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## How often the intervals err")[2].partition("\n## ")[0]
    said = " ".join(section.split())
    designs, ways = on_page("simulation: designs"), on_page("simulation: ways")
    plain = [label(*key) for key in itertools.product(("another method", "B1"), ("m@A", "m@B"))]
    assert sorted(designs) == sorted(plain + [row + LARGEST for row in plain])
    assert sorted(ways) == sorted(plain + [row + REAL for row in plain])

    def span(table: Mapping[str, list[str]], column: int, rows: Sequence[str]) -> str:
        cells = sorted((table[row][column] for row in rows), key=float)
        return f"{cells[0]} to {cells[-1]}"

    def most(column: int, of: str = "") -> float:
        return max(float(designs[row + of][column]) for row in plain)

    assert f"called different in {span(designs, 0, plain)} % of the sets" in said
    assert f"intervals are {span(designs, 1, plain)} times as wide" in said
    assert most(0, LARGEST) <= 5  # too wide there as well
    assert f"safe.** {span(designs, 3, plain)} % are called different, but {most(3, LARGEST)} % in m@A to B1" in said
    assert f"the one that is there, {span(designs, 4, plain)} % are called different" in said
    assert f"up to {most(5)} %, and up to {most(5, LARGEST)} % with the largest" in said
    assert f"m@A, where they do, {ways[label('B1', 'm@A')][1]} % are called different" in said
    not_m_at_b = [row for row in plain if row != label("another method", "m@B")]
    assert f"too often in m@A and to B1, {span(ways, 2, not_m_at_b)} %" in said
    assert f"it is wrong in {span(ways, 3, plain)} %" in said
    change = max(abs(float(a) - float(b)) for row in plain for a, b in zip(ways[row], ways[row + REAL], strict=True))
    assert f"change the shares by {change:.1f} points at most" in said
    assert {row: cells[0] for row, cells in ways.items() if row in plain} == {row: designs[row][0] for row in plain}


def test_tables_are_written_in_the_place_of_older_ones() -> None:
    page = "<!-- a -->\n| 1 |\n| 2 |\n\n- text\n\n<!-- b -->\n\n- more\n"
    assert written(page, {"a": ["| 3 |"], "b": ["| 4 |"]}) == (
        "<!-- a -->\n| 3 |\n\n- text\n\n<!-- b -->\n| 4 |\n\n- more\n"
    )


@pytest.mark.slow
def test_the_page_tells_the_variances_of_the_grids() -> None:
    lines = PAGE.read_text(encoding="utf-8").partition("<!-- simulation: variances -->\n")[2].splitlines()
    assert lines[: len(table_of_variances())] == table_of_variances()
    sizes = np.bincount(np.bincount(place_of(grids()[0].photo_of_sketch)))
    assert {size: count for size, count in enumerate(sizes.tolist()) if count} == SIZES


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["m@A", "m@B"])
@pytest.mark.parametrize("against", ["another method", "B1"])
def test_equal_arms_are_seldom_called_different(against: str, metric: str) -> None:
    """At most as often as the level says; what takes sketches or seeds alone as random does so more often."""
    variance = typical()[against, metric]
    found = simulated(variance, 10, 3, SETS, contrast=True)
    one = simulated(variance, 10, 1, SETS, contrast=True, this_one=True)
    print(against, metric, found, one)
    assert found.nested * SETS <= binom.ppf(0.999, SETS, 0.05)
    assert one.nested * SETS <= binom.ppf(0.999, SETS, 0.05)
    # nothing but photos is random there, up to what seeds add
    assert binom.ppf(0.001, SETS, 0.03) <= one.photos * SETS <= binom.ppf(0.999, SETS, 0.065)
    assert found.flat > found.nested
    assert found.seeds > 0.2
    # the page was written with the same draws; a p that lies at 0.05 may fall to either side on another machine
    told = [float(cell) for cell in on_page("simulation: ways")[label(against, metric)]]
    assert told == pytest.approx(
        [100 * share for share in (found.nested, found.photos, found.flat, found.seeds)], abs=0.5
    )


if __name__ == "__main__":
    tables = {
        "simulation: variances": table_of_variances(),
        "simulation: designs": table_of_designs(SETS),
        "simulation: ways": table_of_ways(SETS),
    }
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), tables), encoding="utf-8")
