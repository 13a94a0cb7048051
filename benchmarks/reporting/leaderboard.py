"""The leaderboard: every system of the listed grids with its intervals, from their ranks, beside what is published."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import PositiveInt
from typing_extensions import NotRequired, TypedDict

from sketchless.datasets.errors import CheckpointError, ConfigError
from sketchless.datasets.files import sha256
from sketchless.datasets.schema import conform

from ..metrics import HEADLINE, METRICS
from ..runs import read_json
from ..statistics import Estimate, in_percent, pigeonhole_bootstrap, text
from .b1 import ranks_of_b1
from .compare import measured
from .published import BASELINES, LATER, METHODS, Score
from .results import Grid, read_grid

LIST = "leaderboard.json"
SECTIONS = {
    "Single encoder": "One encoder, no refinement: every frame is embedded as it is.",
    "Ensemble": "The embeddings of several encoders side by side, with and without refinement.",
    "Policies": "Refinement, or another head, on the frozen features of one encoder.",
}


class Entry(TypedDict):
    """A line of `leaderboard.json`.

    `folder` is seen from that file; `joined` is how many embeddings stand side by side in each bank; `causal`: no frame
    is ranked by what is drawn after it; `arms`: those that are listed, by default all.
    """

    folder: str
    features: str
    joined: PositiveInt
    causal: bool
    arms: NotRequired[list[str]]


class Listed(TypedDict):
    """What `leaderboard.json` holds. `left_out`: folder -> why it is not listed."""

    entries: list[Entry]
    left_out: dict[str, str]


@dataclass(frozen=True)
class System:
    """A row of the leaderboard.

    Attributes:
        section: of `SECTIONS`.
        scores: by metric, percent; without interval (nan) where only scores are kept, and no ranks.
        seeds: runs; of an encoder alone as many as encoders.
        encoders: how many were trained anew, and how many are joined in each.
        folder: of the grid, seen from the list.
    """

    section: str
    name: str
    features: str
    scores: dict[str, Estimate]
    causal: bool
    seeds: int
    encoders: str
    folder: str


@dataclass(frozen=True)
class Made:
    """A grid that the leaderboard takes rows from: the hash of its ranks, and the command that made it."""

    folder: str
    ranks: str
    command: str


@dataclass(frozen=True)
class Leaderboard:
    """Systems, those of a section with the highest m@B first, and the grids that they come from."""

    systems: list[System]
    grids: list[Made]
    left_out: dict[str, str]
    photos: int
    sketches: int
    dataset: str


def leaderboard(folder: Path) -> Leaderboard:
    """Read the grids that `leaderboard.json` in a folder lists, all measured on the same test drawings.

    A system that two grids hold with the same ranks is listed once, for the grid that is named first.

    Raises:
        CheckpointError: no list, or a list or grid that is damaged. ConfigError: a grid of other drawings or of
            validation, an arm that it lacks, or none.
    """
    file = folder / LIST
    listed = conform(Listed, read_json(file), file, error=CheckpointError, cure="write it again")
    if not listed["entries"]:
        raise ConfigError(f"{file}: lists no grid; name one under entries")
    systems, made, seen = list[System](), list[Made](), set[str]()
    first: Grid | None = None
    for entry in listed["entries"]:
        home = folder / entry["folder"]
        grid = read_grid(home)
        first = first or grid
        drawings = [(one.split, one.photos, one.example.evaluation.sketch_ids) for one in (first, grid)]
        if grid.split != "test" or drawings[0] != drawings[1]:
            raise ConfigError(f"{home}: was not measured on the test drawings of the first grid; take it off {file}")
        made.append(Made(entry["folder"], sha256(home / "ranks.safetensors"), grid.command))
        for key, system in _systems(grid, entry, file):
            if key not in seen:
                seen.add(key)
                systems.append(system)
    assert first is not None
    systems.sort(key=lambda one: (list(SECTIONS).index(one.section), -one.scores["m@B"].value, one.name))
    used = {one.folder for one in systems}
    kept = {one.folder: one for one in made if one.folder in used}  # a folder may stand there twice, with other arms
    return Leaderboard(systems, list(kept.values()), listed["left_out"], first.photos, first.sketches, first.dataset)


def _systems(grid: Grid, entry: Entry, file: Path) -> Iterator[tuple[str, System]]:
    """Each with a key that equals that of the same system in another grid."""
    for arm in entry.get("arms", grid.arms):
        found = measured(grid, arm) if arm in grid.arms else None
        if found is None:
            raise ConfigError(f"{file}: {entry['folder']} has no arm {arm!r}; name others, or none for all")
        cells = list(grid.cells[arm].values())
        alone = all(cell.settings.get("agent") == "b1" for cell in cells)
        encoders = set(grid.encoders(arm))
        scores = dict(zip(METRICS, (*(found.score[m] for m in HEADLINE), *found.accuracy), strict=True))
        key = _digest([cell.evaluation.rank for cell in cells])
        yield f"ranks {key}", _system(entry, grid.arms[arm], alone, scores, len(cells), len(encoders))
    if grid.baseline is not None:
        yield _without_refinement(grid, entry)


def _without_refinement(grid: Grid, entry: Entry) -> tuple[str, System]:
    """B1 on the encoders of a grid: from its ranks, or its scores alone where the grid does not hold them."""
    on = {
        name: cell
        for arm, cells in grid.cells.items()
        for name, cell in zip(grid.encoders(arm), cells.values(), strict=True)
    }
    ranks = [ranks_of_b1(grid, cell) for cell in on.values()]
    known = [one for one in ranks if one is not None]
    name = "B1 (no refinement)"
    if len(known) < len(on):
        means = {metric: float(np.mean([cell.baseline[metric] for cell in on.values()])) for metric in METRICS}
        scores = {metric: Estimate(value, np.nan, np.nan) for metric, value in means.items()}
        key = f"scores {sorted(on)}"
    else:
        values = {metric: np.stack([one.per_sketch(metric) for one in known]) for metric in METRICS}
        scores = {
            metric: in_percent(pigeonhole_bootstrap(of_metric, grid.photo_of_sketch, list(on)).estimate)
            for metric, of_metric in values.items()
        }
        key = f"ranks {_digest([one.rank for one in known])}"
    return key, _system(entry, name, True, scores, len(on), len(on))


def _system(entry: Entry, name: str, alone: bool, scores: dict[str, Estimate], seeds: int, encoders: int) -> System:
    section = "Ensemble" if entry["joined"] > 1 else "Single encoder" if alone else "Policies"
    of = f"{encoders}" if entry["joined"] == 1 else f"{encoders} of {entry['joined']} joined"
    return System(section, name, entry["features"], scores, entry["causal"], seeds, of, entry["folder"])


def _digest(ranks: list[Any]) -> str:
    return hashlib.sha256(b"".join(sorted(np.ascontiguousarray(rank).tobytes() for rank in ranks))).hexdigest()


COLUMNS = ("system", "features", *METRICS, "causal", "seeds", "encoders", "ranks")


def leaderboard_markdown(found: Leaderboard, folder: str, command: str) -> str:
    """The page.

    Args:
        found: what it shows.
        folder: of the list, seen from the page, for links.
        command: that writes the page.
    """
    blocks = [
        f"# Leaderboard: {found.dataset}",
        f"{found.sketches} test sketches, {found.photos} photos. Numbers are worked out from committed ranks; in "
        "brackets 95 % intervals, drawing anew photos, sketches within them, encoders, and seeds within them. Of "
        "one encoder the interval says nothing about another one. A number without interval is a score that was "
        "kept without its ranks.",
        "Causal: no frame is ranked by what is drawn after it. Seeds: runs; of an encoder alone, encoders. "
        "Encoders: how many were trained anew, and how many embeddings stand side by side in each. Ranks: the first"
        " digits of the file's SHA-256, which stands [below](#files) in full, with the command that made it.",
        "These test drawings have been looked at many times, and some of what is compared was chosen with them in "
        "view: small differences mean nothing. Claims (`benchmarks/claims.md`) are judged on folds of all photos, "
        "whose tests were looked at once, after the claims were written; their photos are not new. [How each was "
        f"made]({folder}/README.md).",
        "## Submit",
        "Add your result folder in a pull request: `grid.json`, `ranks.safetensors`, `report/table.csv` and `.md`, as "
        "`sketchless train` or `sketchless ablate`, and then `sketchless report FOLDER --pack`, write them, beside "
        f"the others, with a line in [their list]({folder}/{LIST}). `sketchless report FOLDER --verify` must find "
        "that all its numbers agree with the ranks. This page is written by",
        f"```sh\n{command}\n```",
    ]
    hashes = {one.folder: one.ranks for one in found.grids}
    for section, words in SECTIONS.items():
        rows = [_row(one, hashes[one.folder], folder) for one in found.systems if one.section == section]
        if rows:
            blocks += [f"## {section}", words, _table(COLUMNS, rows)]
    blocks += [
        "## Published",
        PUBLISHED,
        _table(("system", "m@A", "m@B", "A@5", "A@10", "causal", "source"), _published()),
    ]
    blocks += ["## Files", "Not listed: " + "; ".join(f"`{name}`, {why}" for name, why in found.left_out.items()) + "."]
    for one in found.grids:
        blocks += [
            f"### {one.folder}",
            f"```sh\n{one.command}\n```",
            f"SHA-256 of `{one.folder}/ranks.safetensors`: `{one.ranks}`",
        ]
    return "\n\n".join(blocks) + "\n"


def _row(one: System, ranks: str, folder: str) -> list[str]:
    scores = [text(one.scores[metric]) for metric in METRICS]
    kept = (
        "scores alone" if np.isnan(one.scores["m@B"].low) else f"[{ranks[:8]}]({folder}/{one.folder}/report/table.md)"
    )
    causal = "yes" if one.causal else "no"
    return [_md(one.name), _md(one.features), *map(_md, scores), causal, str(one.seeds), one.encoders, kept]


PUBLISHED = (
    "Of Chair-V2 with other encoders and other draws, without intervals and without ranks: they cannot be verified,"
    " and are no paired comparison. Later work prints curves; its numbers are the means of their 20 points, read "
    "off the print."
)
_PAPER, _LATER = "Bhunia et al., CVPR 2020, {}", "curves of later work"
_CAUSAL = {"PSRL": "no: it looks at later frames, and at the attributes of the target"}


def _published() -> list[list[str]]:
    sets = [(BASELINES["Chair-V2"], _PAPER.format("table of baselines"), {"ours": "ours (PPO-A-Clipping)"})]
    methods = {name: score for name, score in METHODS["Chair-V2"].items() if name != "ppo-a-clip"}
    sets += [(methods, _PAPER.format("table of methods"), {}), (LATER["Chair-V2"], _LATER, {})]
    rows = []
    for scores, source, names in sets:
        for name, score in scores.items():
            causal = "yes" if source != _LATER else _CAUSAL.get(name, "not known")
            rows.append([names.get(name, name), *_numbers(score, 1 if source == _LATER else 2), causal, source])
    return rows


def _numbers(score: Score, decimals: int) -> list[str]:
    return ["-" if value is None else f"{value:.{decimals}f}" for value in score]


def _table(header: tuple[str, ...], rows: list[list[str]]) -> str:
    rule = ["---:" if name in METRICS or name == "seeds" else "---" for name in header]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def _md(cell: str) -> str:
    return cell.replace("[", "\\[").replace("]", "\\]").replace("|", "\\|")
