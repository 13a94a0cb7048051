"""A report says what the result files say, and says what they lack."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import lzma
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.text import Text
from PIL import Image
from rich.console import Console
from scipy import stats

from sketchless.benchmarks.commands.report import ReportConfig, run
from sketchless.benchmarks.grid_file import CellRecord, read_cell
from sketchless.benchmarks.grid_file import write_grid as pack_grid
from sketchless.benchmarks.metrics import Evaluation
from sketchless.benchmarks.reporting.b1 import gains
from sketchless.benchmarks.reporting.compare import Comparison, Ordering, compare, reading
from sketchless.benchmarks.reporting.figures import learning_curves, pictures
from sketchless.benchmarks.reporting.page import page
from sketchless.benchmarks.reporting.published import BASELINES, TABLES, published
from sketchless.benchmarks.reporting.results import pack, read_grid, read_records
from sketchless.benchmarks.reporting.tables import HEADER, body, comma_separated, markdown, p_value, terminal, tex
from sketchless.benchmarks.statistics import Estimate
from sketchless.datasets.errors import CheckpointError, ConfigError
from sketchless.encoders.tensorfile import load_tensors, save_tensors

Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]

METHODS = {
    "vpg": "Vanilla policy gradient",
    "ppo-ac-clip": "PPO-AC-Clipping",
    "ppo-ac-kl": "PPO-AC-KL penalty",
    "ppo-a-kl": "PPO-A-KL penalty",
    "trpo": "TRPO",
    "ppo-a-clip": "PPO-A-Clipping",
}


def write_grid(
    folder: Path,
    arms: dict[str, str] | None = None,
    seeds: Sequence[int] = range(10),
    photos: int = 40,
    sketches: int = 30,
    steps: int = 20,
    skill: dict[str, float] | None = None,
    **about: Any,
) -> Path:
    """A grid as a sweep leaves it; the more skill (0..1) an arm has, the earlier its photos come up."""
    arms = METHODS if arms is None else arms
    content = {
        "sweep": "methods",
        "title": "RL methods on procedural chairs",
        "arms": list(arms),
        "labels": arms,
        "reference": list(arms)[-1],
        "family": "every other method against PPO-A-Clipping, in m@B",
        "seeds": list(seeds),
        "published": "methods",
        "dataset": "procedural",
        "command": "sketchless ablate methods --seeds 0-9",
        "photos": photos,
        "sketches": sketches,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "grid.json").write_text(json.dumps({**content, **about}))
    hard = np.random.default_rng(7).normal(0, 0.18, (sketches, 1))
    for index, arm in enumerate(arms):
        for seed in seeds:
            rng = np.random.default_rng([index, seed])
            able = (skill or {}).get(arm, 0.1 * index) + rng.normal(0, 0.06)  # of the seed
            drawn = np.arange(1, steps + 1) / steps
            share = hard + 0.75 - 0.5 * np.sqrt(drawn) - 0.12 * able + rng.normal(0, 0.12, (sketches, steps))
            rank = np.round(photos ** np.clip(share, 0, 1)).astype(np.int32)
            write_cell(folder / "methods" / arm / f"seed-{seed}", rank, photos, seed, able)
    return folder


def write_cell(cell: Path, rank: npt.NDArray[np.int32], photos: int, seed: int = 0, able: float = 0.0) -> None:
    n, steps = rank.shape
    lengths = torch.full((n,), steps)
    cell.mkdir(parents=True, exist_ok=True)
    save_tensors(cell / "ranks.safetensors", "ranks", {"rank": torch.from_numpy(rank), "lengths": lengths}, {})
    evaluation = Evaluation(rank.astype(np.int64), lengths.numpy(), photos, ())
    rng = np.random.default_rng([3, seed])
    at = np.arange(1, 26)
    val = evaluation.m_at_b * (1 - 0.25 * np.exp(-at / (4 + 8 * max(0.6 - able, 0)))) + rng.normal(0, 0.25, 25)
    tau = 0.16 * np.exp(-np.arange(steps - 1) / 7) * (1.2 - 0.5 * able) + 0.03
    tau[5:7] += 0.04
    result = {
        "metrics": evaluation.summary(),
        "baseline": {"m@A": 78.0, "m@B": 33.5, "A@1": 50.0, "A@5": 80.0, "A@10": 90.0},
        "history": [
            {"timesteps": int(2000 * a), "val_m_at_a": 70.0, "val_m_at_b": float(v), "reward": 0.1}
            for a, v in zip(at, val, strict=True)
        ],
        "tau_by_step": [float(max(t + rng.normal(0, 0.002), 0)) for t in tau],
        "by_percentage": dict(zip(("rp", "rr"), (c.tolist() for c in evaluation.by_percentage()), strict=True)),
        "steps": 50_000,
        "seconds": 12.5 + seed,
        "settings": {"learning_rate": 1e-3, "samples": 16},
        "agent_settings": {"learning_rate": 1e-3, "samples": 16, "seed": seed},
    }
    (cell / "result.json").write_text(json.dumps(result))
    manifest = {
        "experiment": "sketchless.benchmarks.commands.ablate:train_cell",
        "settings": {"split": "test", "seed": seed},
        "started": f"2026-11-21T08:00:{seed:02}+00:00",
        "python": "3.11.9",
        "versions": {"sketchless": "0.1.0", "torch": "2.9.0"},
        "system": "Linux x86_64",
        "cpus": 2,
        "threads": 1,
        "gpu": None,
    }
    (cell / "manifest.json").write_text(json.dumps(manifest))


def tiny(folder: Path, **about: Any) -> Path:
    """Two arms, two seeds, two sketches of two frames, five photos; every number can be worked by hand."""
    write_grid(folder, {"vpg": "VPG", "ppo-a-clip": "ours"}, (0, 1), photos=5, sketches=2, steps=2, **about)
    ranks = {("vpg", 0): [[2, 1], [4, 2]], ("vpg", 1): [[1, 1], [2, 1]]}
    for (arm, seed), rank in ranks.items():
        write_cell(folder / "methods" / arm / f"seed-{seed}", np.array(rank, np.int32), 5, seed)
    for seed in (0, 1):
        write_cell(folder / "methods" / "ppo-a-clip" / f"seed-{seed}", np.ones((2, 2), np.int32), 5, seed)
    return folder


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def shown(found: Comparison, width: int) -> str:
    """The table as a terminal shows it."""
    file = io.StringIO()
    Console(width=width, file=file).print(terminal(found, width))
    return file.getvalue()


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The six methods with ten seeds."""
    return write_grid(tmp_path_factory.mktemp("grid"))


@pytest.fixture(scope="module")
def compared(grid: Path) -> Comparison:
    return compare(read_grid(grid))


@pytest.fixture(scope="module")
def report(grid: Path) -> dict[str, bytes]:
    """Name -> content of the report's files."""
    run(ReportConfig(str(grid)), Console(quiet=True))
    return files(grid / "report")


# Numbers ---------------------------------------------------------------------------------------------------


def test_the_table_by_hand(tmp_path: Path) -> None:
    # percentiles (5 - r)/4 of vpg, seed 0: .75 1 .25 .75, mean .6875; seed 1: 1 1 .75 1, mean .9375: 81.25 in all
    # 1/r: .5 1 .25 .5, mean .5625, and 1 1 .5 1, mean .875: 71.875 in all; A@1: last ranks 1 2 1 1, 75
    found = compare(read_grid(tiny(tmp_path)))
    vpg, ours = found.rows
    assert vpg.measured is not None
    assert vpg.contrast is not None
    assert (vpg.measured.score["m@A"].value, vpg.measured.score["m@B"].value) == (81.25, 71.875)
    assert [hits.value for hits in vpg.measured.accuracy] == [75, 100, 100]
    assert vpg.measured.seconds == 13  # 12.5 and 13.5
    # per seed 56.25 - 100 and 87.5 - 100: both below 0, which 2 of 4 sign patterns are
    difference = vpg.contrast.difference["m@B"]
    assert difference.estimate.value == -28.125
    assert (vpg.contrast.over_seeds, vpg.contrast.better.value) == (0.5, 0)
    # each sketch has a photo of its own; drawn anew, seeds and photos reach from the worst pair (1/r of .25 and .5,
    # mean .375) to the best (1 and 1); means of both seeds and both photos are -12.5 and -43.75, which leaves 2
    # degrees of freedom and half of the variance: sqrt(2) * 4.302653/1.959964 times as wide
    wide = 2**0.5 * 4.302653 / 1.959964
    ends = (-28.125 + wide * (-62.5 + 28.125), -28.125 + wide * 28.125)
    assert difference.estimate[1:] == pytest.approx(ends, rel=1e-6)
    assert ours.contrast is None
    title, (header, first, second) = found.as_table()
    assert title == found.heading
    assert header == ["", "m@A", "m@B", "difference in m@A", "difference in m@B"]
    assert first[-1] == f"-28.12 [{ends[0]:+.2f}, {ends[1]:+.2f}]".replace("-", "−")
    assert second[-2:] == ["-", "-"]
    rows = body(found)
    # one draw of 16 has no difference (the better seed twice, the better sketch twice): z = 1.5341, and t = z/sqrt(2)
    # on 2 degrees of freedom has p = 1 - t/sqrt(2 + t^2) = 0.3914
    assert difference.p == pytest.approx(0.3914, abs=0.02)
    assert vpg.contrast.adjusted["m@B"] == difference.p  # a family of one
    assert rows[0][:12] == ["B1 (no refinement)", "78.00", "33.50", "50.00", "80.00", "90.00", *["-"] * 6]
    # of B1 there are the scores 78 and 33.5 alone: 81.25 - 78 and 71.875 - 33.5, and no interval
    assert rows[1][2:] == [
        "71.88 [0.00, 100.00]", "75.00", "100.00", "100.00", "+3.25", "+38.38", rows[1][8], rows[1][9],
        "−28.12 [−134.85, +59.19]", f"{difference.p:.3f}", "80.36", "32.34", "2", "13.0",
    ]  # fmt: skip
    assert rows[2][6:] == ["+22.00", "+66.50", "reference", "-", "reference", "-", "85.44", "35.09", "2", "13.0"]


def test_an_arm_beside_b1_by_hand(tmp_path: Path) -> None:
    # B1 has the ranks 2 2 and 4 4 among 5 photos: percentiles .75 and .25, m@A 50; 1/r .5 and .25, m@B 37.5
    folder = tiny(tmp_path)
    scores = {"m@A": 50.0, "m@B": 37.5, "A@1": 0.0, "A@5": 100.0, "A@10": 100.0}
    for seed in (0, 1):
        cell = folder / "methods" / "vpg" / f"seed-{seed}"
        tensors, _ = load_tensors(cell / "ranks.safetensors", "ranks")
        b1 = torch.tensor([[2, 2], [4, 4]], dtype=torch.int32)
        save_tensors(cell / "ranks.safetensors", "ranks", {**tensors, "baseline": b1}, {})
        change(cell / "result.json", baseline=scores)
    grid = read_grid(folder)
    found = gains(grid)
    # vpg less B1, 1/r: .5 1 | .25 .5 and 1 1 | .5 1 less .5 .5 | .25 .25: per seed and sketch 25 12.5 | 50 50
    assert found["vpg"]["m@B"].estimate.value == 71.875 - 37.5
    # means of seeds 18.75 and 50, of sketches 37.5 and 31.25, in all 34.375; drawn anew at worst the first seed and
    # its second sketch alone, 12.5, at best the second, 50. v of seeds 31.25^2/4, of sketches 6.25^2/4, so that
    # df = (31.25^2 + 6.25^2)^2/(31.25^4 + 6.25^4) = 1.0799
    wide = 2**0.5 * stats.t.ppf(0.975, (31.25**2 + 6.25**2) ** 2 / (31.25**4 + 6.25**4)) / stats.norm.ppf(0.975)
    ends = [34.375 + wide * (end - 34.375) for end in (12.5, 50)]
    assert found["vpg"]["m@B"].estimate[1:] == pytest.approx(ends, rel=1e-6)
    assert found["ppo-a-clip"]["m@A"].estimate.value == 22  # 100 less the 78 that it is said to have
    assert np.isnan(found["ppo-a-clip"]["m@A"].estimate.low)
    assert "no interval where the grid holds B1's scores, but not its ranks (ours)." in markdown(compare(grid))
    rows = {row["arm"]: row for row in csv.DictReader(comma_separated(compare(grid)).splitlines())}
    assert float(rows["vpg"]["A@1 against B1"]) == 75  # at the end 1 and 2 | 1 and 1, where B1 has 2 and 4
    assert "Smallest change against B1 that was likely (80 %) to be seen" in markdown(compare(grid))
    assert float(rows["vpg"]["m@B against B1 low"]) == pytest.approx(ends[0], abs=1e-5)
    assert (rows["ppo-a-clip"]["m@A against B1"], rows["ppo-a-clip"]["m@A against B1 low"]) == ("22.0", "")
    assert rows["B1"]["m@B against B1"] == ""


def test_ranks_of_b1_that_are_not_its_scores_are_refused(tmp_path: Path, refuses: Refuses) -> None:
    cell = tiny(tmp_path) / "methods" / "vpg" / "seed-0"
    tensors, _ = load_tensors(cell / "ranks.safetensors", "ranks")
    tensors["baseline"] = torch.ones(2, 2, dtype=torch.int32)
    save_tensors(cell / "ranks.safetensors", "ranks", tensors, {})
    with refuses(CheckpointError, "its m@A of B1 is -22.00 from that of the ranks"):
        read_grid(tmp_path)


@pytest.mark.parametrize(
    ("p", "written"), [(0.0, "<0.001"), (0.00099, "<0.001"), (0.001, "0.001"), (0.0396, "0.040"), (1.0, "1.000")]
)
def test_no_p_is_zero(p: float, written: str) -> None:
    assert p_value(p) == written


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 240])
def test_a_terminal_shows_whole_cells_of_the_columns_that_fit(compared: Comparison, width: int) -> None:
    printed = shown(compared, width)
    assert "Vanilla" in printed
    cells = re.findall(r"[+−]?\d+\.\d\d(?= )|\[\S+ \S+\]", printed.partition("\n\n")[0])
    assert cells
    known = {part for row in body(compared) for cell in row for part in cell.replace(" [", "|[").split("|")}
    assert set(cells) <= known


def test_every_table_has_the_same_numbers(grid: Path, compared: Comparison, report: dict[str, bytes]) -> None:
    lines = list(csv.DictReader(report["table.csv"].decode().splitlines()))
    assert [line["arm"] for line in lines] == ["B1", *METHODS]
    texts = [report[name].decode() for name in ("table.md", "table.tex", "report.html")]
    texts.append(shown(compared, 200))
    for line in lines:
        for column in ("m@A", "m@B", "A@1", "A@10", "published m@B"):
            assert all(f"{float(line[column]):.2f}" in text for text in texts)
    for line in lines[1:]:
        ranks = [load_tensors(grid / "methods" / line["arm"] / f"seed-{s}" / "ranks.safetensors", "ranks")[0]["rank"]
                 for s in range(10)]  # fmt: skip
        assert float(line["m@B"]) == pytest.approx(100 * float((1 / torch.stack(ranks).double()).mean()), abs=1e-6)
        assert float(line["m@B low"]) < float(line["m@B"]) < float(line["m@B high"])


@pytest.mark.parametrize("name", ["methods-softmax", "rewards-softmax"])
def test_the_tables_that_ship_are_what_their_cells_say(name: str) -> None:
    folder = Path(__file__).parents[3] / "benchmarks" / "results" / "chair-v2" / name
    found = compare(read_grid(folder))
    assert (folder / "report" / "table.csv").read_text() == comma_separated(found)
    assert (folder / "report" / "table.md").read_text() == markdown(found)


RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


@pytest.mark.parametrize(
    "file", sorted(RESULTS.rglob("grid.json")), ids=lambda file: str(file.parent.relative_to(RESULTS))
)
def test_the_grids_that_ship_are_whole(file: Path) -> None:
    grid = read_grid(file.parent)
    assert grid.missing == []
    run = ["curves.png", "manifest.json", "results.json"] if file.parent.name == "train" else []  # of `train` itself
    found = [path.name for path in file.parent.iterdir() if path.is_file() and path.name != "members.json"]
    assert sorted(found) == sorted(["grid.json", "ranks.safetensors", *run])
    with (file.parent / "report" / "table.csv").open() as table:
        rows = {row["arm"]: row for row in csv.DictReader(table)}
    for arm in grid.arms:
        assert float(rows[arm]["m@B"]) == pytest.approx(grid.per_sketch(arm, "m@B").mean(), abs=1e-6)


# Packed ----------------------------------------------------------------------------------------------------


def record(cell: Path) -> tuple[Any, ...]:
    """What three files of a cell say."""
    found = read_cell(cell)
    return found.manifest, found.result, found.split, found.refined.rank.tolist(), found.refined.lengths.tolist()


@pytest.mark.usefixtures("one_figure")
def test_a_packed_grid_gives_the_same_report_and_keeps_agents(tmp_path: Path) -> None:
    arms = {"vpg": "VPG", "ppo-a-clip": "ours"}
    write_grid(tmp_path, arms, seeds=(0, 1, 2))
    cells = [f"methods/{arm}/seed-{seed}" for arm in arms for seed in range(3)]
    before = {cell: record(tmp_path / cell) for cell in cells}
    (tmp_path / cells[0] / "agent.safetensors").write_text("an agent")
    run(ReportConfig(str(tmp_path), str(tmp_path / "loose")), Console(quiet=True))
    run(ReportConfig(str(tmp_path), str(tmp_path / "packed"), pack=True), Console(quiet=True))
    assert files(tmp_path / "loose") == files(tmp_path / "packed")
    assert [path for path in tmp_path.glob("methods/**/*") if path.is_file()] == [
        tmp_path / cells[0] / "agent.safetensors"
    ]
    after = read_records(tmp_path, json.loads((tmp_path / "grid.json").read_text()))
    for cell, (manifest, result, split, rank, lengths) in before.items():
        found = after[cell]
        assert (found.manifest, found.split) == (manifest, split)
        assert {**found.result, "by_percentage": result["by_percentage"]} == result
        assert (found.refined.rank.tolist(), found.refined.lengths.tolist()) == (rank, lengths)
    packed = (tmp_path / "grid.json").read_bytes()
    pack(tmp_path)
    assert (tmp_path / "grid.json").read_bytes() == packed


@pytest.mark.parametrize("photos", [5, 255, 256, 40_000])
def test_packing_loses_no_rank(tmp_path: Path, photos: int) -> None:
    draw = np.random.default_rng(0)
    lengths = draw.integers(1, 7, 9)
    rank = draw.integers(1, photos + 1, (9, 6)) * (np.arange(6) < lengths[:, None])
    b1 = np.where(rank > 0, photos, 0)
    names = tuple(f"s{i}" for i in range(9))
    refined, baseline = (Evaluation(r, lengths, photos, names) for r in (rank, b1))
    cells = {
        f"m/a/seed-{s}": CellRecord({"settings": {"seed": s}}, {"x": s}, "test", refined, baseline) for s in (0, 1)
    }
    pack_grid(tmp_path, {"title": "t"}, cells)
    found = read_records(tmp_path, json.loads((tmp_path / "grid.json").read_text()))
    assert list(found) == list(cells)
    for cell in found.values():
        assert cell.refined.rank.tolist() == rank.tolist()
        assert cell.refined.sketch_ids == names
        assert cell.baseline is not None
        assert cell.baseline.rank.tolist() == b1.tolist()
        assert cell.baseline.lengths.tolist() == lengths.tolist()


def test_a_setting_that_some_cells_lack_is_not_shared(tmp_path: Path) -> None:
    one = Evaluation(np.ones((2, 3), np.int64), np.full(2, 3), 4, ("a", "b"))
    settings: list[dict[str, Any]] = [{"x": None, "y": 0, "z": 1}, {"y": None, "z": 1}]
    cells = {f"m/a/seed-{i}": CellRecord({"settings": of}, {}, "test", one, one) for i, of in enumerate(settings)}
    pack_grid(tmp_path, {"title": "t"}, cells)
    about = json.loads((tmp_path / "grid.json").read_text())
    assert about["shared"] == {"z": 1}
    assert [record.manifest["settings"] for record in read_records(tmp_path, about).values()] == settings


def test_a_packed_grid_of_before_loads(tmp_path: Path) -> None:
    pack(tiny(tmp_path))
    new = read_records(tmp_path, about := json.loads((tmp_path / "grid.json").read_text()))
    tensors, meta = load_tensors(tmp_path / "ranks.safetensors", "grid ranks")
    assert (sorted(tensors), sorted(meta)) == (
        ["contents", "ranks"],
        ["checksums", "gallery", "kind", "split", "version"],
    )
    first = next(iter(new.values())).refined
    ranks = {id: torch.from_numpy(record.refined.rank.astype(np.uint8)) for id, record in new.items()}
    ranks["lengths/0"] = torch.from_numpy(first.lengths.astype(np.uint8))
    names = {"sketch_ids": list(first.sketch_ids), "photo_ids": list(first.photo_ids)}
    about_ranks = {"split": meta["split"], "gallery": meta["gallery"], **names}
    save_tensors(tmp_path / "ranks.safetensors", "grid ranks", ranks, about_ranks)
    (agent,) = about.pop("agents")
    shared = about.pop("shared")
    assert (agent, shared) == ({"learning_rate": 1e-3, "samples": 16}, {"split": "test"})
    for id, cell in about["cells"].items():
        for kept in ("history", "tau_by_step", "agent_settings"):
            assert kept not in cell["result"]
            cell["result"][kept] = new[id].result[kept]
        assert cell.pop("agent") == 0
        cell["settings"] = {**shared, **cell["settings"]}
    old = read_records(tmp_path, about)
    assert {id: (r.result, r.refined.rank.tolist()) for id, r in old.items()} == {
        id: (r.result, r.refined.rank.tolist()) for id, r in new.items()
    }


@pytest.mark.parametrize(
    "how", ["bytes", "short", "long", "type", "no bytes", "contents", "no JSON", "deep", "curves", "rows"]
)
def test_damaged_ranks_of_a_packed_grid_are_one_line(tmp_path: Path, refuses: Refuses, how: str) -> None:
    pack(tiny(tmp_path))
    tensors, meta = load_tensors(tmp_path / "ranks.safetensors", "grid ranks")
    contents = json.loads(lzma.decompress(tensors["contents"].numpy().tobytes()))
    names, kind, shape = contents["blocks"][0]
    changed = {"short": [shape[0] - 1, shape[1]], "long": [1 << 20, 1 << 20]}.get(how, shape)
    contents["blocks"][0] = [names, "int64" if how == "type" else kind, changed]
    history = {"curves": {"timesteps": [0]}, "rows": [{"timesteps": None}]}
    contents["curves"]["methods/vpg/seed-0"]["history"] = history.get(how, [])
    text = {"no JSON": "{", "deep": "[" * 100_000}.get(how, json.dumps(contents)).encode()
    tensors["contents"] = torch.frombuffer(bytearray(lzma.compress(text)), dtype=torch.uint8)
    if how in ("bytes", "contents"):
        tensors["ranks" if how == "bytes" else how][20:40] = 7
    elif how == "no bytes":
        del tensors["ranks"]
    save_tensors(tmp_path / "ranks.safetensors", "grid ranks", tensors, meta)
    with refuses(CheckpointError, "seed-0: result: history" if how in history else "ranks.safetensors"):
        read_grid(tmp_path)


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "empty": (lambda c: c["blocks"].append([["x"], "uint8", [0, 1 << 62]]), "blocks.2.2.0: Input should be greater"),
    "dimensions": (lambda c: c["blocks"].append([["x"], "uint8", [1] * 70]), "blocks.2.2: List should have at most 2"),
    "no names": (lambda c: c["blocks"].append([[], "uint8", [10**25]]), "blocks.2.0: List should have at least 1"),
    "a number of 401 digits": (lambda c: c["blocks"].append([["x"], "uint8", [10**400]]), "claims more than 1,073,741"),
    "twice": (lambda c: c["blocks"].append([["lengths/0"], "uint8", [2]]), "name an array twice"),
    "a cell": (lambda c: c["curves"].update({"a/b/seed-0": {}}), "curves of 'a/b/seed-0', no cell of grid.json"),
}


@pytest.mark.parametrize("how", list(HOSTILE))
def test_contents_of_a_packed_grid_that_fit_no_grid_are_one_line(tmp_path: Path, refuses: Refuses, how: str) -> None:
    pack(tiny(tmp_path))
    tensors, meta = load_tensors(tmp_path / "ranks.safetensors", "grid ranks")
    contents = json.loads(lzma.decompress(tensors["contents"].numpy().tobytes()))
    assert len(contents["blocks"]) == 2
    damage, fault = HOSTILE[how]
    damage(contents)
    packed = lzma.compress(json.dumps(contents).encode())
    tensors["contents"] = torch.frombuffer(bytearray(packed), dtype=torch.uint8)
    save_tensors(tmp_path / "ranks.safetensors", "grid ranks", tensors, meta)
    with refuses(CheckpointError, f"ranks.safetensors: .*{re.escape(fault)}"):
        read_grid(tmp_path)


@pytest.mark.parametrize(
    ("id", "fault"),
    [
        ("../victim/seed-0", "is no folder below the grid's"),
        ("methods/zzz/seed-0", "is of no arm and seed that it lists"),
    ],
)
def test_a_packed_grid_with_a_cell_that_is_none_of_its_own_is_refused(
    tmp_path: Path, refuses: Refuses, id: str, fault: str
) -> None:
    grid = tmp_path / "grid"
    pack(tiny(grid))
    about = json.loads((grid / "grid.json").read_text())
    records = read_records(grid, about)
    records[id] = next(iter(records.values()))
    pack_grid(grid, {key: value for key, value in about.items() if key not in ("cells", "machines")}, records)
    other = tmp_path / "victim" / "seed-0" / "manifest.json"
    other.parent.mkdir(parents=True)
    other.write_text("{}")
    with refuses(CheckpointError, fault):
        pack(grid)
    assert other.exists()


@pytest.mark.parametrize("value", [["a"], {}])
def test_an_odd_hash_of_the_bank_in_a_packed_grid_is_read(tmp_path: Path, value: object) -> None:
    pack(tiny(tmp_path))
    about = json.loads((tmp_path / "grid.json").read_text())
    for cell in about["cells"].values():
        cell["result"]["settings"] = {"bank_sha256": value}
    (tmp_path / "grid.json").write_text(json.dumps(about))
    assert read_grid(tmp_path).sketches == 2


@pytest.mark.parametrize("name", ["contents", "ranks"])
def test_packed_bytes_of_a_type_that_numpy_lacks_are_one_line(tmp_path: Path, refuses: Refuses, name: str) -> None:
    pack(tiny(tmp_path))
    tensors, meta = load_tensors(tmp_path / "ranks.safetensors", "grid ranks")
    tensors[name] = torch.zeros(3, dtype=torch.bfloat16)
    save_tensors(tmp_path / "ranks.safetensors", "grid ranks", tensors, meta)
    with refuses(CheckpointError, f"its {name} cannot be unpacked"):
        read_grid(tmp_path)


def test_a_list_that_is_shown_after_the_last_step_that_is_ranked_is_one_line(tmp_path: Path, refuses: Refuses) -> None:
    ranks = torch.ones(2, 3, dtype=torch.int32)
    late = torch.tensor([3, 4])  # of three steps
    tensors = {"rank": ranks, "baseline": ranks, "lengths": late, "shown/": late}
    save_tensors(tmp_path / "ranks.safetensors", "ranks", tensors, {"sketch_ids": ["a_1", "b_1"], "gallery": 2})
    with refuses(CheckpointError, "want lengths of 1..3 steps"):
        read_cell(tmp_path)


def test_an_unfinished_grid_is_not_packed(tmp_path: Path, refuses: Refuses) -> None:
    cell = tiny(tmp_path) / "methods" / "vpg" / "seed-1"
    (cell / "result.json").unlink()
    with refuses(ConfigError, "lacks vpg/seed-1"):
        run(ReportConfig(str(tmp_path), pack=True), Console(quiet=True))
    assert (cell / "ranks.safetensors").exists()


def test_nothing_outside_the_grid_is_packed_away(tmp_path: Path, refuses: Refuses) -> None:
    tiny(tmp_path / "other")
    tiny(tmp_path / "grid")
    change(tmp_path / "grid" / "grid.json", sweep="../other/methods")
    with refuses(CheckpointError, "no folder below"):
        run(ReportConfig(str(tmp_path / "grid"), pack=True), Console(quiet=True))
    assert (tmp_path / "other" / "methods" / "vpg" / "seed-0" / "result.json").exists()


PACKED: dict[str, Callable[[dict[str, Any]], object]] = {
    "cells": lambda grid: grid.update(cells=[]),
    "a cell": lambda grid: grid["cells"].update({"methods/vpg/seed-0": 7}),
    "result": lambda grid: grid["cells"]["methods/vpg/seed-0"].update(result=[]),
    "lengths": lambda grid: grid["cells"]["methods/vpg/seed-0"].update(lengths=3),
    "b1": lambda grid: grid["cells"]["methods/vpg/seed-0"].update(b1="x"),
    "machine": lambda grid: grid["cells"]["methods/vpg/seed-0"].update(machine=-9),
    "machines": lambda grid: grid.update(machines=None),
    "agent": lambda grid: grid["cells"]["methods/vpg/seed-0"].update(agent=9),
    "agents": lambda grid: grid.update(agents=[0]),
    "shared": lambda grid: grid.update(shared=[]),
    "settings": lambda grid: grid["cells"]["methods/vpg/seed-0"].update(settings=0),
    "versions": lambda grid: grid["machines"][0].update(versions=[1]),
    "seeds_per_bank": lambda grid: grid.update(seeds_per_bank={"vpg": "x"}),
    "once": lambda grid: grid.update(once={"vpg": "x"}),
    "labels": lambda grid: grid.update(labels=[]),
    "remarks": lambda grid: grid.update(remarks=[[]]),
    "no ranks": lambda grid: grid["cells"].update({"methods/vpg/seed-9": grid["cells"]["methods/vpg/seed-0"]}),
}


@pytest.mark.parametrize("how", PACKED)
def test_a_damaged_packed_grid_is_one_line(tmp_path: Path, how: str) -> None:
    pack(tiny(tmp_path))
    grid = json.loads((tmp_path / "grid.json").read_text())
    PACKED[how](grid)
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    with pytest.raises(CheckpointError) as error:
        read_grid(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("machine", [-1, 1])
def test_a_cell_of_a_machine_that_is_not_listed_is_named(tmp_path: Path, machine: int, refuses: Refuses) -> None:
    pack(tiny(tmp_path))
    grid = json.loads((tmp_path / "grid.json").read_text())
    grid["machines"] = grid["machines"][:1]
    for cell in grid["cells"].values():
        cell["machine"] = 0
    grid["cells"]["methods/vpg/seed-1"]["machine"] = machine
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    with refuses(CheckpointError, f"cells.methods/vpg/seed-1.machine is {machine}, where 1 machines are listed"):
        read_grid(tmp_path)


def test_differences_are_paired(tmp_path: Path) -> None:
    # both arms vary with sketch and seed alike: one is one place behind the other everywhere
    write_grid(tmp_path, {"vpg": "a", "trpo": "b"}, range(10), sketches=20)
    for seed in range(10):
        rank = np.random.default_rng(seed).integers(2, 30, (20, 20)).astype(np.int32)
        write_cell(tmp_path / "methods" / "vpg" / f"seed-{seed}", rank + 1, 40, seed)
        write_cell(tmp_path / "methods" / "trpo" / f"seed-{seed}", rank, 40, seed)
    vpg = compare(read_grid(tmp_path)).rows[0]
    assert vpg.contrast is not None
    assert vpg.contrast.difference["m@A"].estimate == pytest.approx((-100 / 39,) * 3)  # one place of G - 1
    assert vpg.contrast.over_seeds == 2 / 1024


def test_the_published_numbers_are_the_papers() -> None:
    chair, shoe = published("methods", "chair-v2"), published("rewards", "QMUL-Shoe-V2")
    assert chair["trpo"][:2] == (83.21, 33.68)
    assert chair["B1"] == (77.18, 29.04, 76.47, 88.13)
    assert shoe["neg-rank"][:2] == (83.81, 20.71)
    assert shoe["B1"].m_at_b == 18.05
    assert published(None, "chair") == {}
    for data in ("Chair-V2", "Shoe-V2"):
        ours = BASELINES[data]["ours"][:2]
        assert TABLES["methods"][data]["ppo-a-clip"][:2] == TABLES["rewards"][data]["combined"][:2] == ours


# Reading ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measured", "adjusted", "verdict"),
    [
        (Estimate(2, 0.1, 3), 0.04, "holds"),
        (Estimate(-2, -3, -0.1), 0.05, "reversed"),
        (Estimate(2, 0.1, 3), 0.06, "undecided"),  # sure by itself, not among all orders
        (Estimate(0, 0, 0), 1.0, "undecided"),
        (None, 1.0, "not measured"),
    ],
)
def test_an_order_holds_only_for_all_orders_at_once(measured: Estimate | None, adjusted: float, verdict: str) -> None:
    assert Ordering("a", "b", "m@B", 1.0, measured, adjusted).verdict == verdict


def test_the_reading_counts_orders(tmp_path: Path) -> None:
    # published m@B: trpo 33.68 > ppo-ac-kl 32.64 > vpg 32.34; here vpg leads by far and the others are alike
    arms = {"vpg": "VPG", "ppo-ac-kl": "KL", "trpo": "TRPO"}
    write_grid(tmp_path, arms, skill={"vpg": 1.5, "ppo-ac-kl": 0.05, "trpo": 0})
    found = compare(read_grid(tmp_path))
    verdicts = {(o.better, o.worse): o.verdict for o in found.orderings if o.metric == "m@B"}
    assert verdicts == {
        ("trpo", "vpg"): "reversed",
        ("ppo-ac-kl", "vpg"): "reversed",
        ("trpo", "ppo-ac-kl"): "undecided",
    }
    said = " ".join(reading(found))
    assert "in m@B, 3 in all: 0 hold (at 5 % for all of them at once), 1 undecided, 2 reversed" in said
    assert "reversed here: TRPO over VPG and KL over VPG." in said
    assert "In m@B, VPG is above TRPO" in said
    assert "KL is not told apart from TRPO" in said
    assert "reliminary" not in said


def test_equal_published_scores_are_no_order(tmp_path: Path) -> None:
    arms = {"neg-rank": "-rank", "inv-sqrt-rank": "1/sqrt"}  # 83.71 both in m@A
    write_grid(tmp_path, arms, seeds=(0, 1), published="rewards")
    assert [o.metric for o in compare(read_grid(tmp_path)).orderings] == ["m@B"]


@pytest.mark.usefixtures("no_figures")
def test_few_seeds_are_preliminary_everywhere(tmp_path: Path) -> None:
    printed = io.StringIO()
    run(ReportConfig(str(tiny(tmp_path))), Console(width=200, file=printed))
    texts = [(tmp_path / "report" / name).read_text() for name in ("table.csv", "table.md", "table.tex", "report.html")]
    for text in (*texts, printed.getvalue()):
        assert "reliminary: 2 seeds" in text
    assert "Take no conclusion" in texts[-1]
    found = compare(read_grid(tmp_path))
    for picture in pictures(found):
        assert picture.draw(found).get_suptitle() == "RL methods on procedural chairs (preliminary: 2 seeds)"


# What is not there, and what is broken ---------------------------------------------------------------------


def test_a_missing_cell_is_said_and_left_out(tmp_path: Path) -> None:
    write_grid(tmp_path)
    shutil.rmtree(tmp_path / "methods" / "trpo" / "seed-3")
    (tmp_path / "methods" / "vpg" / "seed-4" / "result.json").unlink()  # still running
    found = compare(read_grid(tmp_path))
    rows = {row.name: row for row in found.rows}
    assert (rows["trpo"].seeds, rows["vpg"].seeds, rows["ppo-a-kl"].seeds) == (9, 9, 10)
    assert rows["trpo"].contrast is not None
    assert rows["trpo"].contrast.seeds == 9
    assert found.warning == "preliminary: 9 seeds"
    for text in (markdown(found), tex(found), page(found, []), " ".join(reading(found))):
        assert "vpg/seed-4, trpo/seed-3" in text
    assert "| 9 of 10 |" in markdown(found)


def test_an_arm_with_another_b1_is_named(tmp_path: Path) -> None:
    folder = tiny(tmp_path)
    assert "another B1" not in markdown(compare(read_grid(folder)))
    for seed in (0, 1):
        file = folder / "methods" / "vpg" / f"seed-{seed}" / "result.json"
        change(file, baseline={**json.loads(file.read_text())["baseline"], "m@B": 30.25})
    assert "so that features differ too; its m@B: VPG 30.25." in markdown(compare(read_grid(folder)))


def test_b1_of_seeds_on_several_encoders_is_their_mean(tmp_path: Path) -> None:
    """The second seed stands on another encoder, whose B1 has m@B 43.5: 38.5 for the grid."""
    folder = tiny(tmp_path)
    for arm in ("vpg", "ppo-a-clip"):
        file = folder / "methods" / arm / "seed-1" / "result.json"
        result = json.loads(file.read_text())
        change(file, baseline={**result["baseline"], "m@B": 43.5}, settings={**result["settings"], "bank_sha256": "b"})
    found = compare(read_grid(folder))
    assert body(found)[0][:3] == ["B1 (no refinement)", "78.00", "38.50"]
    assert "another B1" not in markdown(found)
    assert "has 38.50" in " ".join(reading(found))


def test_a_bank_encoded_again_is_of_the_same_encoder() -> None:
    """On another processor its hash is another one; what tells encoders apart is how B1 ranks."""
    grid = read_grid(RESULTS / "chair-v2" / "methods-letter")
    arm = grid.cells["ppo-a-clip-paper"]
    first, last = arm[0], arm[9]
    assert first.settings["bank_sha256"] != last.settings["bank_sha256"]
    assert len(set(grid.encoders("ppo-a-clip-paper"))) == 3
    assert len(set(grid.encoders("ppo-a-clip-paper", [0, 9]))) == 1
    others = {str(cell.settings["bank_sha256"]) for of in grid.cells.values() for cell in of.values()}
    assert len(others) > len({encoder for name in grid.arms for encoder in grid.encoders(name)}) == 3
    assert last.b1 is not None
    other = dataclasses.replace(last, b1=dataclasses.replace(last.b1, rank=np.maximum(last.b1.rank, 2)))
    changed = dataclasses.replace(grid, cells={"ppo-a-clip-paper": {**arm, 9: other}})
    assert changed.encoders("ppo-a-clip-paper", [9]) == [last.settings["bank_sha256"]]


def test_an_encoder_alone_is_no_other_b1() -> None:
    text = markdown(compare(read_grid(RESULTS / "chair-v2" / "lite")))
    assert "another B1" not in text
    assert "B1 (no refinement)" not in text
    assert "of what has one seed an encoder by encoder" in text


def test_what_nothing_is_known_of_has_no_smallest_difference(tmp_path: Path) -> None:
    folder = tiny(tmp_path)
    assert "Smallest difference" in markdown(compare(read_grid(folder)))
    for cell in folder.rglob("ranks.safetensors"):
        tensors, _ = load_tensors(cell, "ranks")
        save_tensors(cell, "ranks", {**tensors, "rank": torch.ones(2, 2, dtype=torch.int32)}, {})
        change(cell.parent / "result.json", metrics=dict.fromkeys(("m@A", "m@B", "A@1", "A@5", "A@10"), 100.0))
    assert "Smallest difference" not in markdown(compare(read_grid(folder)))


def test_what_has_one_seed_a_bank_stands_beside_every_seed_of_the_other() -> None:
    grid = read_grid(RESULTS / "chair-v2" / "lite")  # the reference: three encoders, alone
    assert grid.seeds_per_bank == {"b2": 3}
    found = compare(grid)
    [contrast] = [row.contrast for row in found.rows if row.contrast]
    assert contrast.seeds == 10
    for metric, one in found.gained["refined-b2"].items():
        assert contrast.difference[metric].estimate == pytest.approx(one.estimate)
    turned = compare(dataclasses.replace(grid, reference="refined-b2")).rows[0].contrast
    assert turned is not None
    assert turned.difference["m@B"].estimate.value == pytest.approx(-contrast.difference["m@B"].estimate.value)
    # seeds 0, 3 and 6 stand on one encoder
    some = {seed: cell for seed, cell in grid.cells["refined-b2"].items() if seed in (0, 3, 6)}
    fewer = compare(dataclasses.replace(grid, cells={**grid.cells, "refined-b2": some})).rows[1].contrast
    assert fewer is not None
    assert fewer.seeds == 3
    # of another number of banks nothing is known but the seed
    other = compare(dataclasses.replace(grid, seeds_per_bank={"b2": 2})).rows[1].contrast
    assert other is not None
    assert other.seeds == 3


def test_strokes_saved_are_drawn_beside_b1() -> None:
    found = compare(read_grid(RESULTS / "chair-v2" / "lite"))
    [picture] = [picture for picture in pictures(found) if picture.name == "strokes"]
    first, staying, share = picture.draw(found).axes
    saved = found.saved["refined-b2"]
    for axes, of_q in ((first, saved.first), (staying, saved.staying)):
        told = [f"{q}: {round(estimate.value)}" for q, estimate in of_q.items()]
        assert [words.get_text() for words in axes.texts] == told
    assert [words.get_text() for words in share.texts] == [f"{round(saved.share.value)}"]
    dots = [float(line.get_xdata()[0]) for line in first.lines if line.get_marker() == "o"]
    assert dots == [estimate.value for estimate in saved.first.values()]
    assert [label.get_text() for label in first.get_yticklabels()] == [found.grid.arms["refined-b2"]]


def test_an_arm_without_cells_keeps_its_place(compared: Comparison, tmp_path: Path) -> None:
    write_grid(tmp_path)
    before = {row.name: row for row in compared.rows}
    shutil.rmtree(tmp_path / "methods" / "ppo-ac-clip")
    found = compare(read_grid(tmp_path))
    assert len([picture.draw(found) for picture in pictures(found)]) == 6
    lost = found.rows[1]
    assert (lost.measured, lost.contrast, lost.seeds) == (None, None, 0)
    assert found.warning == "preliminary: 1 of 6 arms missing"
    assert body(found)[2][:2] == ["PPO-AC-Clipping", "not measured"]
    assert {o.verdict for o in found.orderings if "ppo-ac-clip" in (o.better, o.worse)} == {"not measured"}
    # it was planned, so that it still counts among the five of the family
    vpg, earlier = found.rows[0].contrast, before["vpg"].contrast
    assert vpg is not None
    assert earlier is not None
    assert vpg.adjusted["m@B"] == earlier.adjusted["m@B"] == pytest.approx(min(5 * vpg.difference["m@B"].p, 1))


def test_without_the_reference_there_are_no_differences(tmp_path: Path) -> None:
    write_grid(tmp_path, {"vpg": "a", "trpo": "b"}, seeds=(0, 1))
    shutil.rmtree(tmp_path / "methods" / "trpo")
    found = compare(read_grid(tmp_path))
    assert all(row.contrast is None for row in found.rows)
    assert "differences" not in [picture.name for picture in pictures(found)]


@pytest.mark.usefixtures("no_figures")
def test_one_arm_one_seed_nothing_published(tmp_path: Path) -> None:
    write_grid(tmp_path, {"mine": "mine"}, seeds=(4,), published=None)
    found = run(ReportConfig(str(tmp_path), str(tmp_path / "elsewhere")), Console(quiet=True))
    assert body(found)[1][8:14] == ["reference", "-", "reference", "-", "-", "-"]
    assert {picture.name for picture in pictures(found)} == {"learning", "percentage", "profile", "settling"}
    assert (tmp_path / "elsewhere" / "report.html").is_file()
    assert not (tmp_path / "report").exists()


def break_ranks(cell: Path) -> None:
    data = bytearray((cell / "ranks.safetensors").read_bytes())
    data[-40] ^= 1
    (cell / "ranks.safetensors").write_bytes(data)


def save_ranks(cell: Path, rank: Any, **meta: Any) -> None:
    rank = torch.tensor(rank, dtype=torch.int32)
    tensors = {"rank": rank, "lengths": torch.full((len(rank),), 2)}
    save_tensors(cell / "ranks.safetensors", "ranks", tensors, meta)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (lambda c: (c / "result.json").write_text('{"metrics": {'), "result.json: cannot be read"),
    "list": (lambda c: (c / "result.json").write_text("[]"), "result.json: is no JSON object"),
    "no metrics": (lambda c: change(c / "result.json", metrics=None), "metrics: Input should be"),
    "no m@B": (lambda c: change(c / "result.json", metrics={"m@A": 3.0}), "m@B: Field required"),
    "nan": (lambda c: change(c / "result.json", tau_by_step=[float("nan")]), "is no plain JSON"),
    "text": (lambda c: change(c / "result.json", tau_by_step=["x"]), "tau_by_step.0: Input should be a valid number"),
    "long": (lambda c: change(c / "result.json", tau_by_step=[0.1, 0.1]), "tau_by_step has 2 values"),
    "history": (lambda c: change(c / "result.json", history=[7]), "history"),
    "seconds": (lambda c: change(c / "result.json", seconds="long"), "seconds: "),
    "baseline": (lambda c: change(c / "result.json", baseline=dict.fromkeys(("m@A", "m@B", "A@1", "A@5", "A@10"), 1)),
                 "different drawings"),
    "flip": (break_ranks, "ranks.safetensors: damaged"),
    "no ranks": (lambda c: (c / "ranks.safetensors").unlink(), "ranks.safetensors: no such file"),
    "rank 0": (lambda c: save_ranks(c, [[0, 1], [1, 1]]), "want ranks 1..5 of 2 sketches"),
    "rank 6": (lambda c: save_ranks(c, [[6, 1], [1, 1]]), "want ranks 1..5 of 2 sketches"),
    "one sketch": (lambda c: save_ranks(c, [[1, 1]]), "want ranks 1..5 of 2 sketches"),
    "other ranks": (lambda c: save_ranks(c, [[5, 1], [1, 1]]), "m@A is .* from that of the ranks"),
    "other names": (lambda c: save_ranks(c, [[1, 1], [1, 1]], sketch_ids=["a", "b"]), "different drawings"),
    "other split": (lambda c: save_ranks(c, [[1, 1], [1, 1]], split="validation"), "different drawings"),
    "no tensor": (lambda c: save_tensors(c / "ranks.safetensors", "ranks", {}, {}), "holds no ranks"),
    "manifest": (lambda c: (c / "manifest.json").write_text("?"), "manifest.json: cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_a_damaged_cell_is_one_line(tmp_path: Path, how: str, refuses: Refuses) -> None:
    spoil, match = BROKEN[how]
    spoil(tiny(tmp_path) / "methods" / "ppo-a-clip" / "seed-1")
    with refuses(CheckpointError, match):
        run(ReportConfig(str(tmp_path)), Console(quiet=True))
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("about", "match"),
    [
        ({"arms": None}, "arms: "),
        ({"photos": True}, "photos: "),
        ({"reference": "sac"}, "the reference is no arm"),
        ({"arms": ["vpg", "vpg", "ppo-a-clip"]}, "stand there twice"),
        ({"seeds": [0, 0]}, "stand there twice"),
        ({"seeds": [7]}, "no cell of the grid is done"),
        ({"seeds": ["../0"]}, "seeds"),
        ({"arms": [{}]}, "arms"),
        ({"published": 3}, "published: "),
    ],
)
def test_a_damaged_grid_is_one_line(tmp_path: Path, about: dict[str, Any], match: str, refuses: Refuses) -> None:
    change(tiny(tmp_path) / "grid.json", **about)
    with refuses(CheckpointError, match):
        run(ReportConfig(str(tmp_path)), Console(quiet=True))


def test_no_grid_and_no_such_table(tmp_path: Path, refuses: Refuses) -> None:
    with refuses(CheckpointError, "grid.json: no such file"):
        run(ReportConfig(str(tmp_path / "nothing")), Console(quiet=True))
    change(tiny(tmp_path) / "grid.json", published="method")
    with refuses(ConfigError, "did you mean 'methods'"):
        run(ReportConfig(str(tmp_path)), Console(quiet=True))


def test_arms_may_differ_in_frames_but_seeds_may_not(tmp_path: Path, refuses: Refuses) -> None:
    tiny(tmp_path)
    for seed in (0, 1):
        write_cell(tmp_path / "methods" / "vpg" / f"seed-{seed}", np.full((2, 3), 2, np.int32), 5)
    assert compare(read_grid(tmp_path)).rows[0].seeds == 2
    write_cell(tmp_path / "methods" / "vpg" / "seed-1", np.full((2, 4), 2, np.int32), 5)
    with refuses(CheckpointError, "different drawings"):
        read_grid(tmp_path)


# Files -----------------------------------------------------------------------------------------------------

NASTY = r"<script>alert('&')</script> 50% a_b #1 $x$ {y} ~^\\ | *b* [c]"


class _Page(HTMLParser):
    """Notes what a page refers to, and that its tags close in order."""

    VOID = ("meta", "img", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(text: str) -> _Page:
    found = _Page()
    found.feed(text)
    found.close()
    assert not found.open
    return found


def test_the_page_holds_everything_and_asks_for_nothing(report: dict[str, bytes]) -> None:
    text = report["report.html"].decode()
    found = parsed(text)
    names = [tag for tag, _ in found.tags]
    assert not {"script", "link", "iframe", "a", "object"} & set(names)
    images = [attributes for tag, attributes in found.tags if tag == "img"]
    assert len(images) == 6
    assert all((image["src"] or "").startswith("data:image/png;base64,") and image["alt"] for image in images)
    assert not re.search(r"https?://|//\w|url\(|@import", re.sub(r'src="data:[^"]*"', "", text))
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in found.tags
    for needed in ("sketchless ablate methods --seeds 0-9", "torch 2.9.0", "learning_rate = 0.001", *METHODS.values()):
        assert needed in found.text
    assert len(text) < 3_000_000


def test_what_is_written_and_that_figures_are_whole(grid: Path, report: dict[str, bytes]) -> None:
    figures = ("published", "differences", "learning", "percentage", "profile", "settling")
    tables = {"table.csv", "table.md", "table.tex", "report.html"}
    assert set(report) == tables | {f"{name}.{kind}" for name in figures for kind in ("png", "pdf")}
    for name in figures:
        with Image.open(grid / "report" / f"{name}.png") as image:
            image.load()
        assert report[f"{name}.pdf"].startswith(b"%PDF")


def test_equal_results_give_equal_files(grid: Path, report: dict[str, bytes], tmp_path: Path) -> None:
    copy = tmp_path / "moved"
    shutil.copytree(grid, copy, ignore=shutil.ignore_patterns("report"))
    run(ReportConfig(str(copy)), Console(quiet=True))
    assert files(copy / "report") == report


def test_text_is_escaped_everywhere(tmp_path: Path) -> None:
    tiny(tmp_path, title=NASTY, labels={"vpg": NASTY, "ppo-a-clip": "[bold]ours"}, family=NASTY, dataset=NASTY,
         command=NASTY)  # fmt: skip
    found = compare(read_grid(tmp_path))
    text = page(found, [])
    assert "<script" not in text
    assert NASTY in parsed(text).text
    lines = tex(found).splitlines()
    escaped = (
        r"\textless{}script\textgreater{}alert('\&')\textless{}/script\textgreater{} 50\% a\_b \#1 \$x\$ \{y\} "
        r"\textasciitilde{}\textasciicircum{}\textbackslash{}\textbackslash{} \textbar{} *b* [c]"
    )
    assert sum(escaped in line for line in lines) == 2  # caption and row
    assert any(line.startswith("    {[}bold]ours &") for line in lines)  # not an option of the row's end before it
    row = next(line for line in markdown(found).splitlines() if line.startswith(r"| \<script"))
    assert len(re.findall(r"(?<!\\)\|", row)) == len(HEADER) + 1
    assert "[bold]ours" in shown(found, 400)
    with open(tmp_path / "t.csv", "w", newline="") as file:
        file.write(comma_separated(found))
    with open(tmp_path / "t.csv", newline="") as file:
        assert [line["label"] for line in csv.DictReader(file)] == ["B1 (no refinement)", NASTY, "[bold]ours"]


@pytest.mark.parametrize("label", ["=1+1", "+1", "-rank", "@SUM(A1)", "\tx"])
def test_a_spreadsheet_runs_no_label(tmp_path: Path, label: str) -> None:
    tiny(tmp_path, labels={"vpg": label, "ppo-a-clip": "PPO"})
    rows = list(csv.DictReader(comma_separated(compare(read_grid(tmp_path))).splitlines()))
    (cell,) = (row["label"] for row in rows if row["arm"] == "vpg")
    assert cell == ("'" + label if label.isprintable() else "\\tx")  # escapes begin with no such character
    assert all(float(row["m@B"]) >= 0 for row in rows)  # numbers stay numbers


def test_control_characters_in_a_grid_are_shown_as_escapes(tmp_path: Path) -> None:
    tiny(tmp_path, title="t\x1b[2J", labels={"vpg": "a\nb", "ppo-a-clip": "c\x07"}, dataset="d\x1b")
    found = compare(read_grid(tmp_path))
    for text in (shown(found, 400), markdown(found), tex(found), comma_separated(found), page(found, [])):
        assert not any(character in text for character in "\x1b\x07")
        assert "a\nb" not in text


def test_a_narrow_terminal_gets_the_columns_that_matter(compared: Comparison) -> None:
    narrow = shown(compared, 80)
    assert max(map(len, narrow.splitlines())) <= 80
    assert "…" not in narrow
    assert "m@B" in narrow
    assert "seconds" not in narrow


# Figures ---------------------------------------------------------------------------------------------------


def test_an_arm_has_one_colour(compared: Comparison) -> None:
    seen: dict[str, set[str]] = {label: set() for label in METHODS.values()}
    figures = {picture.name: picture.draw(compared) for picture in pictures(compared)}
    for name in ("percentage", "profile", "settling"):
        (legend,) = figures[name].legends
        for line, text in zip(legend.get_lines(), legend.get_texts(), strict=True):
            seen[text.get_text().split("   ")[0]].add(to_hex(line.get_color()))
    for text in figures["learning"].axes[0].texts:
        seen[text.get_text()].add(to_hex(text.arrow_patch.get_edgecolor()))
    others = [label for arm, label in METHODS.items() if arm != "ppo-a-clip"]
    for axes in figures["differences"].axes:
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        for label, dot in zip(others, dots, strict=True):
            seen[label].add(to_hex(dot.get_color()))
    assert all(len(colours) == 1 for colours in seen.values())
    assert len(set.union(*seen.values())) == len(METHODS)


def test_many_arms_are_all_listed_and_some_drawn(tmp_path: Path) -> None:
    arms = {f"arm-{i}": f"arm {i}" for i in range(12)}
    skill = {name: 0.1 * i for i, name in enumerate(arms)}
    write_grid(tmp_path, arms, seeds=(0, 1, 2), sketches=10, skill=skill, reference="arm-11", published=None)
    found = compare(read_grid(tmp_path))
    assert len(body(found)) == 13
    figures = {picture.name: picture.draw(found) for picture in pictures(found)}
    assert "8 of 12 arms" in figures["learning"].get_suptitle()
    drawn = [text.get_text() for text in figures["learning"].axes[0].texts]
    assert len(drawn) == len(set(drawn)) == 8
    assert "arm 11" in drawn
    assert "arm 10" not in drawn  # next to the reference
    assert len(figures["differences"].axes[0].get_yticks()) == 11


def test_labels_at_line_ends_cover_nothing(compared: Comparison) -> None:
    figure = learning_curves(compared)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    assert len(axes.texts) == 6
    # of the text alone: the box of an annotation takes in its line
    boxes = [Text.get_window_extent(text) for text in axes.texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(axes.bbox.x1 < box.x0 < box.x1 <= figure.bbox.x1 for box in boxes)


def test_seeds_that_looked_at_other_steps_are_read_off_where_all_did(tmp_path: Path) -> None:
    tiny(tmp_path)
    looks = {0: [(0, 10.0), (100, 20.0), (200, 30.0)], 1: [(50, 20.0), (150, 40.0)]}
    for seed, history in looks.items():
        rows = [{"timesteps": t, "val_m_at_b": v} for t, v in history] + [{"timesteps": 300, "val_m_at_b": None}]
        change(tmp_path / "methods" / "vpg" / f"seed-{seed}" / "result.json", history=rows)
    line = learning_curves(compare(read_grid(tmp_path))).axes[0].lines[2]  # after those of the two seeds
    # at 50, 100, 150 the seeds have 15 20 25 and 20 30 40
    assert line.get_xdata().tolist() == [50, 100, 150]
    assert line.get_ydata().tolist() == [17.5, 25, 32.5]
