"""`sketchless report`: an ablation's table, figures and page, from its result files alone."""

from __future__ import annotations

import io
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tyro.conf import Positional

from sketchless.datasets.errors import ConfigError
from sketchless.datasets.files import replacing

from ..display.plots import own_settings
from ..display.terminal import Terminal
from ..reporting.choice_tables import choice_terminal
from ..reporting.claims import HEADER, NOTE, Judged, claims_markdown, judge, read_claims, verdicts
from ..reporting.compare import Comparison, compare, reading
from ..reporting.figures import pictures
from ..reporting.leaderboard import Leaderboard, leaderboard, leaderboard_markdown
from ..reporting.page import page
from ..reporting.results import pack, read_grid
from ..reporting.tables import terminal
from ..reporting.verify import Verified, tables, verify


@dataclass(frozen=True)
class ReportConfig:
    """Rebuild the table, the figures and the page of an ablation or a `train` run from its result files."""

    folder: Positional[str | None] = None
    """Folder of the ablation or the run: holds `grid.json`, and a folder per cell or `ranks.safetensors`."""
    out: str | None = None
    """Folder for the report; by default `report` in that of the ablation."""
    pack: bool = False
    """First bring the files of all cells into `grid.json` and one `ranks.safetensors`, for a grid that is finished.
    Agents and logs stay where they are."""
    verify: bool = False
    """Write nothing: work out every number of the folder again from its ranks, and say whether they agree."""
    leaderboard: str | None = None
    """Markdown file, such as `benchmarks/leaderboard.md`, to write the systems into that the folder's
    `leaderboard.json` lists."""
    claims: str | None = None
    """Markdown file of claims, such as `benchmarks/claims.md`: judge them on several folders together, one a fold, and
    write `claims.md` into `--out`."""
    others: Positional[tuple[str, ...]] = ()
    """With `--claims`: the folders of the other folds."""


def run(config: ReportConfig, console: Console | None = None) -> Comparison | list[Judged] | Verified | Leaderboard:
    """Report on one folder, verify its numbers, write a leaderboard, or judge claims on several.

    Raises:
        CheckpointError: no grid, no cell, a damaged file, or numbers that the ranks do not bear out.
        ConfigError: no folder or more than one, it cannot be written, cells are missing in a grid to be packed, or
            claims or a leaderboard's list that cannot be read or do not fit.
    """
    if config.folder is None:
        raise ConfigError("which ablation? give its folder: sketchless report FOLDER")
    console = console or Terminal()
    if config.claims is not None:
        return _judge(config, Path(config.claims), console)
    if config.others:
        raise ConfigError(f"{config.others[0]}: a report is of one folder; several are judged together with --claims")
    folder = Path(config.folder)
    if config.verify:
        if config.pack or config.out or config.leaderboard:
            raise ConfigError("--verify writes nothing: leave out --pack, --out and --leaderboard")
        verified = verify(folder)
        console.print(Text(f"{folder}: {verified}"), soft_wrap=True)
        return verified
    if config.leaderboard:
        return _leaderboard(folder, Path(config.leaderboard), console)
    if config.pack:
        pack(folder)
    return report(folder, Path(config.out) if config.out else folder / "report", console)


def report(folder: Path, out: Path, console: Console) -> Comparison:
    """Write `table.{csv,md,tex}`, a PNG and a PDF per figure, and `report.html`; equal results give equal files.

    Where settings are chosen, `choice.csv` has a row per method, `table.csv` one per setting.

    Raises:
        CheckpointError: no grid, no cell, or a damaged file. ConfigError: it cannot be written.
    """
    found = compare(read_grid(folder))
    figures = []
    for picture in pictures(found):
        with own_settings():
            figure = picture.draw(found)
            png, pdf = _bytes(figure, "png"), _bytes(figure, "pdf")
        figures.append((picture, png))
        _write(out / f"{picture.name}.png", png)
        _write(out / f"{picture.name}.pdf", pdf)
    for name, content in tables(found).items():
        _write(out / name, content.encode())
    _write(out / "report.html", page(found, figures).encode())
    console.print((choice_terminal if found.choices else terminal)(found, console.width))
    for sentence in reading(found):
        console.print(Text(f"- {sentence}"))
    console.print(Text(f"written to {out}: {', '.join(sorted(p.name for p in out.glob('[!.]*')))}"))
    return found


def _leaderboard(folder: Path, page: Path, console: Console) -> Leaderboard:
    """The page of the systems that a folder lists."""
    found = leaderboard(folder)
    command = shlex.join(["sketchless", "report", str(folder), "--leaderboard", str(page)])
    content = leaderboard_markdown(found, Path(os.path.relpath(folder, page.parent)).as_posix(), command)
    _write(page, content.encode())
    console.print(Text(f"{len(found.systems)} systems of {len(found.grids)} grids, written to {page}"))
    return found


def _judge(config: ReportConfig, file: Path, console: Console) -> list[Judged]:
    """The verdicts, to the terminal and to `claims.md`."""
    claims, grids = read_claims(file), [read_grid(Path(folder)) for folder in (str(config.folder), *config.others)]
    judged = judge(claims, grids)
    table = Table(caption=Text(NOTE), box=SIMPLE)
    shown = ("verdict", "difference", "metric", "claim")  # a terminal has no room for more
    for column in shown:
        table.add_column(column, no_wrap=column != "claim")
    for row in verdicts(judged):
        told = dict(zip(HEADER, row, strict=True))
        table.add_row(*(Text(told[column]) for column in shown))
    console.print(table)
    if config.out is not None:
        photos = sum(len(set(grid.photo_of_sketch)) for grid in grids)
        sketches = sum(grid.sketches for grid in grids)
        _write(Path(config.out) / "claims.md", claims_markdown(judged, photos, sketches, len(grids)).encode())
        console.print(Text(f"written to {config.out}: claims.md"))
    return judged


def _bytes(figure: Figure, kind: str) -> bytes:
    file, small = io.BytesIO(), io.BytesIO()
    # without a date, so that equal results give equal files
    figure.savefig(file, format=kind, dpi=150, metadata={"CreationDate": None} if kind == "pdf" else None)
    if kind != "png":
        return file.getvalue()
    with Image.open(file) as picture:  # a few flat colours: a palette looks the same at a quarter of the size
        palette = picture.convert("RGB").quantize(128, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    palette.save(small, "PNG", optimize=True)
    return small.getvalue()


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)
