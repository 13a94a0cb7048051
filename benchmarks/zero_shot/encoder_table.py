"""The table of encoders, from one file that the page and `sketchless info encoders` share.

python -m sketchless.benchmarks.zero_shot.encoder_table --measure    parameters and speed again, for this machine
python -m sketchless.benchmarks.zero_shot.encoder_table              table and figure anew, from the file
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from sketchless.datasets.errors import ConfigError
from sketchless.datasets.files import replacing, write_json
from sketchless.encoders import BACKBONES, ENCODERS, EncoderConfig, make_encoder
from sketchless.encoders.networks.backbones import PRETRAINED
from sketchless.encoders.networks.encoder import inference

from ..cli import keep_freed_memory
from ..runs import processor
from ..speed.timing import interleave

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = Path(__file__).parents[1] / "results" / "encoders.json"
"""`machine`, and by name: `encoder` (for `encode --encoder`), `rebuild` (the network without its weights; null where
it cannot be had so), `paper`, `size` in pixels, `dim`, `input`, `loss`; measured: `parameters`, `images_per_second`
(forward, batches of 32, one thread), `chair_v2` (test scores of B1 by metric, or null)."""

METRICS = ("m@A", "m@B", "A@1", "A@5", "A@10")
COLUMNS = ("encoder", "paper", "parameters", "input", "loss", "images/s", *METRICS)
WORDS = ("paper", "input", "loss")
BATCH = 32
START, END = "<!-- table -->", "<!-- end of table -->"

Row = dict[str, Any]


def entries(path: Path = FILE) -> dict[str, Row]:
    """What is known of each encoder that is installed, by name; of one that the file does not know, its name alone."""
    known: dict[str, Row] = json.loads(path.read_text(encoding="utf-8"))["encoders"]
    here = {*BACKBONES, *ENCODERS}
    bare = {name: {"encoder": name} for name in sorted(here - {row["encoder"] for row in known.values()})}
    return {n: r for n, r in known.items() if r["encoder"].partition(":")[0] in {*here, *PRETRAINED}} | bare


def cells(rows: Mapping[str, Row]) -> list[tuple[str, ...]]:
    """The table's cells, row by row as in `COLUMNS`; `-` is not measured."""

    def number(value: float | None, form: str, scale: float = 1.0) -> str:
        return "-" if value is None else format(value / scale, form)

    return [
        (
            name,
            row.get("paper", "-"),
            number(row.get("parameters"), ".2f", 1e6) + (" M" if row.get("parameters") else ""),
            row.get("input", "-"),
            row.get("loss", "-"),
            number(row.get("images_per_second"), ".0f"),
            *(number((row.get("chair_v2") or {}).get(metric), ".2f") for metric in METRICS),
        )
        for name, row in rows.items()
    ]


def show(console: Console) -> None:
    """Print the table; on a console too narrow for all of it without the columns that are words."""
    rows = cells(entries())
    width = 1 + sum(max(map(len, column)) + 3 for column in zip(COLUMNS, *rows, strict=True))
    narrow = width > console.width
    table = Table(box=None if narrow else box.MARKDOWN, pad_edge=not narrow)
    shown = [i for i, column in enumerate(COLUMNS) if not narrow or column not in WORDS]
    for i in shown:
        table.add_column(COLUMNS[i], justify="left" if COLUMNS[i] in ("encoder", *WORDS) else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(row[i] for i in shown))
    console.print(table)
    if narrow:
        console.print(f"{', '.join(WORDS)}: docs/encoders.md, or {width} columns wide")
    console.print(f"images/s: forward, batches of {BATCH}, one thread, {_machine()}; scores: Chair-V2, test, B1")


def markdown() -> str:
    """The table as the page has it."""
    lines = [COLUMNS, ("---",) * 5 + ("---:",) * (len(COLUMNS) - 5), *cells(entries())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\nSpeed was measured on {_machine()}.\n"


def _machine() -> str:
    return str(json.loads(FILE.read_text(encoding="utf-8"))["machine"])


def figure(path: str | os.PathLike[str]) -> None:
    """Draw the scores of those that have one against their speed, as PNG; the others' speeds as marks below."""
    from ..display.plots import own_settings  # matplotlib takes a second

    with own_settings(), replacing(path) as temporary:
        _scatter().savefig(temporary, format="png", dpi=150, metadata={"Software": None})


def _scatter() -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    canvas = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = canvas.add_subplot()
    rows = {name: row for name, row in entries().items() if row.get("images_per_second")}
    scored = {name: row["chair_v2"]["m@B"] for name, row in rows.items() if row.get("chair_v2")}
    floor = min(scored.values(), default=30) - 3
    for name, row in sorted(rows.items(), key=lambda item: item[1]["images_per_second"]):
        x, y = row["images_per_second"], scored.get(name, floor)
        axes.plot(x, y, "o" if name in scored else "|", color="#0072B2" if name in scored else "#8a929d", ms=8)
        over = any(y < other < y + 3 and x < 2 * rows[n]["images_per_second"] < 4 * x for n, other in scored.items())
        offset, turn = ((4, -14 if over else 6), 0) if name in scored else ((-3, 8), 90)
        axes.annotate(
            name,
            (x, y),
            offset,
            textcoords="offset points",
            rotation=turn,
            fontsize=8,
            color="#333a45",
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("images per second, one thread")
    axes.set_ylabel("m@B on Chair-V2, test (B1)")
    axes.set_ylim(floor - 0.5, max(scored.values(), default=35) + 4)
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_minor_formatter(NullFormatter())
    FigureCanvasAgg(canvas)
    return canvas


def measure(rows: Mapping[str, Row], rounds: int = 3) -> None:
    """Fill in `parameters` and `images_per_second` of those rows that can be built here, in turns, on one thread.

    Speed counts the processor's time of this process, so that a busy machine does not look like a slow encoder.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    jobs = {}
    for name, row in rows.items():
        config = EncoderConfig(row["encoder"], size=row["size"], dim=row["dim"])
        try:
            encoder = make_encoder(config, row["rebuild"])
        except ConfigError as error:  # its library is not installed
            print(f"{name}: left as it was ({error})")
            continue
        row["parameters"] = sum(p.numel() for p in encoder.parameters())
        images = encoder.sketch_inputs((torch.arange(BATCH * 256**2) % 7 == 0).view(BATCH, 256, 256))

        def forward(encoder: torch.nn.Module = encoder, images: torch.Tensor = images) -> None:
            with inference(encoder):
                encoder(images)

        jobs[name] = forward
    for name, timing in interleave(jobs, rounds, clock=time.process_time).items():
        rows[name]["images_per_second"] = round(BATCH / timing.median, 1)
    torch.set_num_threads(threads)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, if asked to, and write what follows from the file."""
    parser = argparse.ArgumentParser(
        prog="python -m sketchless.benchmarks.zero_shot.encoder_table", description=__doc__
    )
    parser.add_argument("--measure", nargs="*", help="names of the table; all without a name")
    asked = parser.parse_args(argv).measure
    if asked is not None:
        keep_freed_memory()  # as the commands do
        content = json.loads(FILE.read_text(encoding="utf-8"))
        installed = entries()
        measure({n: r for n, r in content["encoders"].items() if n in installed and (not asked or n in asked)})
        content["machine"] = f"{processor()}, torch {torch.__version__}"
        write_json(FILE, content)
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "encoders.md").read_text(encoding="utf-8")
    before, after = page.split(START)[0], page.split(END)[1]
    (docs / "encoders.md").write_text(f"{before}{START}\n{markdown()}{END}{after}", encoding="utf-8")
    figure(docs / "encoders.png")


if __name__ == "__main__":
    main()
