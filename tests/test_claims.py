"""The numbers of the README and of the page of results are those of the committed results."""

from __future__ import annotations

import csv
import json
import math
import re
import statistics
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sketchless.agents import AGENTS
from sketchless.agents.config import step_size
from sketchless.benchmarks.cli import main
from sketchless.benchmarks.reporting.claims import Claim, judge
from sketchless.benchmarks.reporting.claims import verdicts as verdicts_of
from sketchless.benchmarks.reporting.published import LATER
from sketchless.benchmarks.reporting.results import read_grid
from sketchless.benchmarks.statistics import Estimate, Inference, pigeonhole_bootstrap
from sketchless.encoders import EpisodeBank

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
FOLDS = RESULTS / "chair-v2-folds"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
METRICS = ("m@A", "m@B", "A@1", "A@5", "A@10")
STEP_SIZES = json.loads((RESULTS / "chair-v2" / "step-sizes.json").read_text(encoding="utf-8"))
REFINED = "refined: PPO-A-Clipping, K = 16, B1 penalty 1, on B1"


def table(marker: str, page: str = PAGE) -> dict[str, list[str]]:
    """Rows of a page's table below a marker, by their first cell."""
    lines = page.partition(f"<!-- {marker} -->\n")[2].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:] if line.startswith("|")]
    length = next(i for i, line in enumerate(lines) if not line.startswith("|")) - 2
    return {row[0].replace("*", ""): row[1:] for row in rows[:length]}


def report(grid: str) -> dict[str, dict[str, str]]:
    """Rows of a committed report, by their label."""
    with (RESULTS / "chair-v2" / grid / "report" / "table.csv").open(encoding="utf-8") as file:
        return {row["label"]: row for row in csv.DictReader(file)}


def change(row: dict[str, str], metric: str, what: str = "difference {}") -> str:
    """A difference to the reference, or another one, as the pages write it."""
    value, low, high = (float(row[what.format(metric) + end]) for end in ("", " low", " high"))
    return f"{value:+.2f} ({low:+.2f} .. {high:+.2f})"


def test_the_change_over_b1_is_that_of_the_baselines() -> None:
    found, rows = table("baselines: change of refined over b1"), report("baselines-letter")
    refined, against = rows[REFINED], "{} against B1"
    assert list(found) == list(METRICS)
    for metric, cells in found.items():
        b1 = float(refined[metric]) - float(refined[against.format(metric)])  # as often as seeds stand on it
        assert cells[2:] == [f"{b1:.2f}", f"{float(refined[metric]):.2f}", change(refined, metric, against)]
    plain = rows["refined: PPO-A-Clipping, K = 16, on B1"]
    told = [f"{change(plain, metric)} in {metric}" for metric in ("m@B", "A@1", "A@5")]
    assert f"{told[0]}, {told[1]} and {told[2]}" in " ".join(PAGE.split())


def test_the_first_table_of_chair_v2_is_that_of_train() -> None:
    page = (RESULTS / "chair-v2" / "README.md").read_text(encoding="utf-8")
    found = json.loads((RESULTS / "chair-v2" / "train" / "results.json").read_text(encoding="utf-8"))
    for metric, cells in table("train", page).items():
        values, changed = [seed[metric] for seed in found["refined"].values()], found["change"][metric]
        mine = f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"
        told = "{:+.2f} ({:+.2f} .. {:+.2f})".format(changed["mean"], *changed["interval95"])
        assert cells == [f"{found['baseline'][metric]:.2f}", mine, told]
    seen = re.search(r"likely \(80 %\) to be seen, by itself at 5 %: (.*)\n", sentences("train"))
    assert seen is not None
    assert f"likely (80 %) to be seen, at 5 %: {seen[1]}" in page


def verdicts() -> dict[str, list[str]]:
    """Metric, difference and verdict of the committed claims, by their id."""
    rows = table("claims", (FOLDS / "README.md").read_text(encoding="utf-8"))
    return {claim.partition(":")[0]: [cells[0], cells[3], cells[-1]] for claim, cells in rows.items()}


def test_the_claims_of_the_readme_are_those_that_hold_in_the_folds() -> None:
    lines = README.partition("<!-- claims -->\n")[2].splitlines()[2:10]
    judged = verdicts()
    for line, id in zip(lines, ("c4", "c5", "c6", "c3", "c10", "c12", "c14", "c15"), strict=True):
        metric, difference, verdict = judged[id]
        assert line.endswith(f"| {metric} | {difference} |"), id
        assert verdict == "holds"
    counts = Counter(verdict for _, _, verdict in judged.values())
    assert counts == {"holds": 14, "not shown": 1}
    for page in (README, PAGE):
        assert "14 of 15 claims hold" in page
        assert "13 by a stricter rule for folds that share training photos" in " ".join(page.split())


def test_what_folds_that_share_training_photos_leave_of_the_claims() -> None:
    """Nadeau and Bengio (2003): the variance of a mean of k folds is (1/k + test / training) s^2."""
    text = (FOLDS / "README.md").read_text(encoding="utf-8")
    lost = []
    for claim, cells in table("claims", text).items():
        by_fold = [float(value.replace("−", "-")) for value in cells[5].split(", ")]
        reach = 2.7764 * math.sqrt(1 / 5 + 80 / 320) * statistics.stdev(by_fold)  # t(4)
        low, high = statistics.mean(by_fold) - reach, statistics.mean(by_fold) + reach
        holds = max(-low, high) < 3 if claim.startswith("c6:") else low > 0 or high < 0
        if cells[-1] == "holds" and not holds:
            lost.append(claim.partition(":")[0])
            told = f"{statistics.mean(by_fold):.2f} [{low:.2f}, {high:+.2f}]".replace("-", "−")
            assert f"c3 then has {told} and is not shown" in " ".join(text.split())
    assert lost == ["c3"]


@pytest.mark.slow
def test_the_verdicts_follow_from_the_ranks_of_the_folds(tmp_path: Path) -> None:
    folds = sorted(str(folder.parent) for folder in FOLDS.glob("*/grid.json"))
    assert main(["report", *folds, "--claims", str(ROOT / "benchmarks" / "claims.md"), "--out", str(tmp_path)]) == 0
    text = (FOLDS / "README.md").read_text(encoding="utf-8")
    block = text.partition("<!-- claims -->\n")[2].partition("\n<!-- end of claims -->")[0]
    assert block == (tmp_path / "claims.md").read_text(encoding="utf-8").rstrip()


def afterwards() -> list[str]:
    """What was looked at after the verdicts, worked out as the claims were: lines of a table."""
    asked = [
        *(("ppo-a-clip", "b1", metric) for metric in ("A@1", "A@10")),
        *(("ppo-a-clip-b1-penalty", "b1", metric) for metric in ("A@1", "A@10")),
        *(
            ("ppo-a-clip-flat", other, metric)
            for other in ("ppo-ac-clip", "ppo-ac-kl", "trpo", "ppo-a-kl-flat")
            for metric in ("m@A", "m@B")
        ),
    ]
    claims = [Claim(f"{arm} less {other}", "", metric, arm, other, "level", 1.0) for arm, other, metric in asked]
    folds = [read_grid(folder.parent) for folder in sorted(FOLDS.glob("*/grid.json"))]
    rows = [
        [one.claim.id, one.claim.metric, *cells[4:7]]
        for one, cells in ((one, verdicts_of([one])[0]) for one in judge(claims, folds))
    ]
    return ["| " + " | ".join(row) + " |" for row in rows]


@pytest.mark.slow
def test_what_was_looked_at_afterwards_is_that_of_the_ranks() -> None:
    text = (FOLDS / "README.md").read_text(encoding="utf-8")
    block = text.partition("<!-- afterwards -->\n")[2].partition("\n<!-- end of afterwards -->")[0]
    assert block.splitlines()[2:] == afterwards()


def test_what_is_said_of_what_was_looked_at_afterwards() -> None:
    """Above, below or not seen, as both intervals say."""
    rows = (FOLDS / "README.md").read_text(encoding="utf-8").partition("<!-- afterwards -->\n")[2].splitlines()[2:14]
    sides = {}
    for row in rows:
        name, metric, *intervals = (cell.strip() for cell in row.strip("|").split("|"))
        ends = [
            float(end.replace("−", "-")) for one in intervals[:2] for end in one.partition("[")[2].strip("]").split(",")
        ]
        sides[name, metric] = (min(ends) > 0) - (max(ends) < 0)
    assert sides["ppo-a-clip less b1", "A@1"] == -1
    assert sides["ppo-a-clip-b1-penalty less b1", "A@1"] == 0
    assert sides["ppo-a-clip-flat less ppo-a-kl-flat", "m@B"] == 1
    assert sides["ppo-a-clip-flat less trpo", "m@B"] == 0
    for other in ("ppo-ac-clip", "ppo-ac-kl"):
        assert sides[f"ppo-a-clip-flat less {other}", "m@A"] == 0
    for other in ("trpo", "ppo-a-kl-flat"):
        assert sides[f"ppo-a-clip-flat less {other}", "m@A"] == 1


def test_the_methods_are_those_of_the_grid() -> None:
    found, rows = table("methods: difference to ppo-a-clip"), report("methods-letter")
    assert set(found) == set(rows) - {"B1 (no refinement)"}
    for label, cells in found.items():
        row = rows[label]
        mine = label == "PPO-A-Clipping, K = 16"
        expected = [
            part
            for metric in ("m@A", "m@B")
            for part in (f"{float(row[metric]):.2f}", "" if mine else change(row, metric))
        ]
        assert [cells[1], cells[2], cells[4], cells[5]] == expected
        published = [f"{float(row[f'published {m}']):.2f}" if row[f"published {m}"] else "-" for m in ("m@A", "m@B")]
        assert [cells[0], cells[3]] == published


ABOVE, ALIKE = ("GRPO",), ("rank-softmax (no RL)",)
BELOW = ("VPG, A = R", "VPG, K = 16", "PPO-AC-Clipping", "PPO-AC-KL", "PPO-A-KL, A = R", "PPO-A-KL, K = 16", "TRPO")
FLAT, LETTER = "PPO-A-Clipping, A = R", "PPO-A-Clipping, to the letter"


@pytest.mark.parametrize(
    ("grid", "below", "alike"), [("methods-letter", (FLAT,), (LETTER,)), ("methods-softmax", (), (FLAT,))]
)
def test_what_is_said_of_methods_holds_for_the_family(
    grid: str, below: tuple[str, ...], alike: tuple[str, ...]
) -> None:
    rows = report(grid)
    sides = {**dict.fromkeys(ABOVE, 1.0), **dict.fromkeys(BELOW + below, -1.0), **dict.fromkeys(ALIKE + alike, 0.0)}
    assert set(rows) - {"B1 (no refinement)", "PPO-A-Clipping, K = 16"} == set(sides)
    for label, side in sides.items():
        assert (float(rows[label]["p (Holm) m@A"]) <= 0.05) == bool(side), label
        assert float(rows[label]["difference m@A"]) * side >= 0
        assert (float(rows[label]["p (Holm) m@B"]) <= 0.05) == (label == LETTER)


def sentences(grid: str) -> str:
    """What a committed report says of Chair-V2."""
    return (RESULTS / "chair-v2" / grid / "report" / "table.md").read_text(encoding="utf-8")


def test_what_is_said_of_methods_that_are_tuned() -> None:
    others = "VPG, PPO-AC-Clipping, PPO-AC-KL, PPO-A-KL, TRPO, GRPO and rank-softmax (no RL)"
    for metric in ("m@A", "m@B"):
        assert f"- In {metric}, {others} are not told apart from PPO-A-Clipping (at 5 %" in sentences("knobs")
    assert "likely (80 %) to be seen: 4.8 in m@A, 4.5 in m@B (where Holm asks the most)" in sentences("knobs")
    assert "a difference had to be 4.8 in m@A or 4.5 in m@B to be likely seen" in " ".join(PAGE.split())
    assert "- In m@A, the setting chosen of TRPO is above the default" in sentences("knobs")
    assert len(re.findall("the setting chosen of .* (?:above|below) the default", sentences("knobs"))) == 1
    assert len(re.findall(r"\| \+0\.00 .*\| default \|", sentences("knobs"))) == 3  # VPG and PPO with a critic


@pytest.mark.parametrize("grid", ["rewards-letter", "rewards-softmax"])
def test_what_is_said_of_rewards(grid: str) -> None:
    rows, text = report(grid), sentences(grid)
    equal = "1/rank is level with Eq. 4 (local + global) (within 0.5 points"
    assert all(f"- In {metric}, {equal}" in text for metric in ("m@A", "m@B"))
    del rows["B1 (no refinement)"], rows["Eq. 4 (local + global)"]
    told = {label: float(row["difference m@A"]) for label, row in rows.items() if float(row["p (Holm) m@A"]) <= 0.05}
    above = {"1/sqrt(rank)"} if grid == "rewards-softmax" else set()
    assert {label for label, difference in told.items() if difference > 0} == above
    below = {label for label, difference in told.items() if difference < 0}
    assert {label for label in below if not label.endswith(", A = R")} == {"rank <= 1"}
    published = {label.removesuffix(", A = R") for label in below if label.endswith(", A = R")}
    assert len(published) == (5 if grid == "rewards-letter" else 2)
    if grid == "rewards-softmax":
        assert published == {"rank <= 1", "rank <= 5"}
    assert all(float(row["p (Holm) m@B"]) > 0.05 for row in rows.values())


def test_how_lists_settle_is_that_of_its_grid() -> None:
    page = (RESULTS / "chair-v2" / "README.md").read_text(encoding="utf-8")
    grid = read_grid(RESULTS / "chair-v2" / "credit")
    rows = table("how lists settle", page)
    assert list(rows) == list(grid.arms.values())
    tau = {arm: 100 * np.array([cell.tau.mean() for cell in cells.values()]) for arm, cells in grid.cells.items()}
    for arm, (distance, difference, validation) in zip(grid.arms, rows.values(), strict=True):
        best = np.mean([cell.history[:, 1].max() for cell in grid.cells[arm].values()])
        assert [distance, validation] == [f"{tau[arm].mean():.2f}", f"{best:.2f}"]
        encoders = [cell.settings["bank_sha256"] for cell in grid.cells[arm].values()]
        found = pigeonhole_bootstrap((tau[arm] - tau["default"])[:, None], (), encoders).estimate
        told = "{:+.2f} [{:+.2f}, {:+.2f}]".format(*found)
        assert difference == ("" if arm == "default" else told)
    cost = -float(report("credit")["gamma2 = 10, summed credit"]["difference m@A"])
    assert f"it costs {cost:.2f} in m@A" in page


def test_what_the_page_says_of_methods_is_that_of_the_letter() -> None:
    flat = report("methods-letter")["PPO-A-Clipping, A = R"]
    assert f"{-float(flat['difference m@A']):.2f} below it" in PAGE
    text = (RESULTS / "chair-v2/methods-letter/report/table.md").read_text(encoding="utf-8")
    found = re.search(r"likely \(80 %\) to be seen: [\d.]+ in m@A, ([\d.]+) in m@B", text)
    assert found is not None
    assert f"a true difference below {found[1]} had less than an 80 % chance" in " ".join(PAGE.split())


def test_what_the_page_says_of_the_papers_baselines() -> None:
    """Above, below or not told apart from PPO-A-Clipping with K = 16, on one B1, which ranks as that of the letter."""
    grid = read_grid(RESULTS / "chair-v2" / "baselines")
    assert all(len(set(grid.encoders(arm))) == 3 for arm in grid.arms)
    assert set(grid.encoders("refined-paper")) == set(grid.encoders("refined-paper", [0, 1, 2]))
    for seed in range(3):
        ours, letter = (grid.cells[arm][seed].b1 for arm in ("refined", "refined-paper"))
        assert ours is not None
        assert letter is not None
        assert (ours.rank == letter.rank).all()
    rows = report("baselines")
    below = {"B1: complete sketches", "TS: complete, then retrieve"}
    on_b2, b2 = "refined: PPO-A-Clipping, K = 16, on B2", "B2: backbone on random frames"
    for metric, above in (("m@A", {"B3: a head per percentage", b2, on_b2}), ("m@B", {on_b2})):
        sure = {
            row: float(of[f"difference {metric}"])
            for row, of in rows.items()
            if float(of[f"p (Holm) {metric}"] or 1) <= 0.05
        }
        assert {row for row, difference in sure.items() if difference > 0} == above
        letter = {"refined: PPO-A-Clipping, to the letter"} if metric == "m@B" else set[str]()
        assert {row for row, difference in sure.items() if difference < 0} == below | letter
    value, low, high = (
        float(rows["B3: a head per percentage"][f"difference m@A{end}"]) for end in ("", " low", " high")
    )
    text = " ".join(PAGE.split())
    assert f"in m@A, by {value:.2f} ({low:.2f} to {high:.2f})" in text
    of_b2 = rows[b2]
    scores = "m@A {:.2f} and m@B {:.2f} (A@1 {:.2f}, A@5 {:.2f}, A@10 {:.2f})"
    assert scores.format(*(float(of_b2[metric]) for metric in METRICS)) in text
    less, gain = (
        [[float(row[what.format(m) + end]) for end in ("", " low", " high")] for m in ("m@A", "m@B")]
        for row, what in ((of_b2, "difference {}"), (rows[on_b2], "{} against B1"))
    )
    told = "{:.2f} ({:.2f} to {:.2f}) less in m@A, by Holm, and {:.2f} ({:.2f} to {:.2f}) less in m@B, not by Holm"
    assert told.format(*less[0], *less[1]) in text
    assert min(less[0][1], less[1][1]) > 0
    told = "B2 gains {:.2f} ({:.2f} to {:.2f}) in m@A and {:.2f} ({:.2f} to {:.2f}) in m@B, each seed"
    assert told.format(*gain[0], *gain[1]) in text
    assert f"by {less[0][0]:.1f} in m@A without any refinement" in " ".join(README.split())


def test_what_the_page_says_of_rewards_is_that_of_the_letter() -> None:
    flat = report("rewards-letter")["Eq. 4 (local + global), A = R"]
    value, high, low = (-float(flat[f"difference m@A{end}"]) for end in ("", " low", " high"))
    told = (
        f"five of the seven are below Eq. 4 with K = 16 in m@A, Eq. 4 itself by {value:.2f} ({low:.2f} to {high:.2f})"
    )
    assert told in " ".join(PAGE.split())


def test_strokes_saved_are_those_of_the_report() -> None:
    line = next(
        line
        for line in (RESULTS / "chair-v2/baselines-letter/report/table.md").read_text(encoding="utf-8").splitlines()
        if line.startswith(f"| {REFINED} |") and line.count("|") == 8
    )
    numbers = (re.findall(r"−?\d+\.\d+", cell) for cell in line.split("|")[2:6])
    told = [[str(round(float(number.replace("−", "-")))) for number in of_cell] for of_cell in numbers]
    first, five, ten, staying = (f"({low} to {high})" for _, low, high in told)
    text = " ".join(PAGE.split())
    assert f"{told[2][0]} % fewer strokes {ten}" in text
    assert f"{told[1][0]} % {five} for the first 5, {told[0][0]} % {first} for the first place" in text
    assert f"it needs {told[3][0]} % {staying} fewer" in text


def test_the_letter_is_that_of_its_report() -> None:
    rows = report("methods-letter")
    letter, b1 = rows["PPO-A-Clipping, to the letter"], rows["B1 (no refinement)"]
    gains = [float(letter[f"{metric} against B1{end}"]) for metric in ("m@A", "m@B") for end in ("", " low", " high")]
    text = " ".join(PAGE.split())
    assert "refinement adds {:.2f} ({:.2f} to {:.2f}) and {:.2f} ({:.2f} to {:.2f})".format(*gains) in text
    assert f"B1 has m@A {float(b1['m@A']):.2f} and m@B {float(b1['m@B']):.2f}" in text
    page = (RESULTS / "chair-v2" / "README.md").read_text(encoding="utf-8")
    assert gains[1] > 0
    assert ("In m@B the interval holds 0" in page) == (gains[4] < 0)
    ends = [[float(letter[f"{metric}{end}"]) for end in ("", " low", " high")] for metric in ("m@A", "m@B")]
    assert ends[1][2] < 35.09
    assert ends[0][1] < 85.44 < ends[0][2]
    told = "35.09 in m@B is not reached; 85.44 in m@A is within the interval of {:.2f} [{:.2f}, {:.2f}]"
    assert told.format(*ends[0]) in page
    for metric in ("m@A", "m@B", "A@5"):
        found = (float(letter[f"difference {metric}{end}"]) for end in ("", " low", " high"))
        assert "{:+.2f} [{:+.2f}, {:+.2f}] in {}".format(*found, metric).replace("-", "−") in page


def test_what_a_look_ahead_is_worth_is_that_of_its_grid() -> None:
    page = (RESULTS / "chair-v2" / "README.md").read_text(encoding="utf-8")
    grid, rows = read_grid(RESULTS / "chair-v2" / "leak"), table("leak", page)
    for label, told in rows.items():
        one, other = ("lstm-both-ways", "lstm") if "LSTM" in label else ("attention-unmasked", "attention")
        for metric, cell in zip(METRICS, told, strict=False):
            found = grid.nested(one, grid.per_sketch(one, metric) - grid.per_sketch(other, metric)).estimate
            assert cell == "{:+.2f} \\[{:+.2f}, {:+.2f}\\]".format(*found).replace("-", "−")
            assert found.low > 0
    text = " ".join(page.split())
    for name, score in LATER["Chair-V2"].items():
        assert f"{name} {score.m_at_a:.1f} / {score.m_at_b:.1f}" in text
    scores = report("leak")
    unmasked, masked = scores["attention, not masked (sees later frames)"], scores["attention, masked"]
    short = " ".join((ROOT / "docs" / "algorithms.md").read_text(encoding="utf-8").split())
    assert f"without a mask has an m@B of {float(unmasked['m@B']):.2f}, with it {float(masked['m@B']):.2f}" in short


def test_the_default_step_is_the_one_that_validation_chooses() -> None:
    """Of the steps that were tried, the best on each set is the nearest to the default for features of its width."""
    page = (RESULTS / "procedural" / "README.md").read_text(encoding="utf-8").split("<!-- step sizes -->")[1]
    found = json.loads((RESULTS / "procedural" / "step-sizes.json").read_text(encoding="utf-8"))
    for method, steps in found["procedural"].items():
        large, small = (statistics.mean(steps[step]["validation m@B"]) for step in ("1e-2", "3e-3"))
        assert f"({large:.2f}, {small:.2f})" in page or f"(m@B {large:.2f} at 1e-2, {small:.2f} at 3e-3)" in page
        assert (large > small) == (AGENTS[method].presets["default"].learning_rate is None)
    tried = {}
    for name, steps in found["ppo-a-clip"].items():
        means = {
            float(step): [statistics.mean(scores[f"validation {metric}"]) for metric in ("m@A", "m@B")]
            for step, scores in steps.items()
            if step != "B1"
        }
        width = EpisodeBank.load(name, "train").features.shape[-1]
        tried[name] = width, {step: m_at_b for step, (_, m_at_b) in means.items()}
        told = next(line for line in page.splitlines() if line.startswith(f"| `{name}` | {width} |"))
        cells = [cell.strip(" *") for cell in told.split("|")[3:-1]]
        assert cells == [f"{m_at_a:.2f} / {m_at_b:.2f}" for m_at_a, m_at_b in means.values()]
    for encoders, of in STEP_SIZES.items():
        tried[encoders] = (
            1280,
            {
                float(step): statistics.mean(scores["validation m@B"])
                for step, scores in of["methods"]["ppo-a-clip"].items()
            },
        )
    assert tried.keys() == {"procedural", "procedural-strokes", "letter", "softmax-192"}
    for name, (width, scores) in tried.items():
        assert len(scores) >= 4
        best = max(scores, key=lambda step: scores[step])
        assert best == min(scores, key=lambda step: abs(math.log(step / step_size(width)))), name


def test_looks_at_the_test_drawings_are_counted() -> None:
    files = (RESULTS / "chair-v2").rglob("grid.json")
    grids = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    every = [{**grid.get("shared", {}), **cell["settings"]} for grid in grids for cell in grid["cells"].values()]
    looks = [settings for settings in every if settings["split"] == "test"]
    banks = {settings["bank_sha256"] for settings in looks}
    alike = ({name: value for name, value in settings.items() if name not in ("bank", "device")} for settings in looks)
    cells = {json.dumps(settings, sort_keys=True) for settings in alike}  # one that stands in two grids counts once
    for page in (PAGE, (RESULTS / "chair-v2" / "README.md").read_text(encoding="utf-8")):
        found = re.search(r"(\d+) cells of committed grids,\s+on\s+(\d+) banks", page)
        assert found is not None
        assert (int(found[1]), int(found[2])) == (len(cells), len(banks))
        replaced = json.loads((RESULTS / "chair-v2" / "replaced.json").read_text(encoding="utf-8"))
        assert f"by {sum(replaced.values())} more of" in " ".join(page.split())


def test_scores_of_members_and_ensembles_are_those_of_their_files() -> None:
    """Of each: m@A, m@B, A@1 of validation, then all five of test, side by side in a table."""
    text = (RESULTS / "chair-v2" / "README.md").read_text(encoding="utf-8").replace("*", "")
    rows = [re.findall(r"(?<=\| )\d+\.\d\d(?= \|)", line) for line in text.splitlines()]
    told = np.array([[float(cell) for cell in row] for row in rows if len(row) == 8])
    for file in (RESULTS / "chair-v2").glob("*/members.json"):
        for name, member in json.loads(file.read_text(encoding="utf-8")).items():
            scores = member.get("baseline", member)
            own = [scores["validation"][m] for m in METRICS[:3]] + [scores["test"][m] for m in METRICS]
            known = (abs(told - own) < 0.0051).all(axis=1).any()
            assert known, f"{file}: {name}"
    lite = json.loads((RESULTS / "chair-v2" / "lite" / "members.json").read_text(encoding="utf-8"))["lite-six-late"]
    best = "m@A {:.2f}, m@B {:.2f} and A@1 {:.2f}".format(*(lite["baseline"]["test"][m] for m in METRICS[:3]))
    assert "{} (A@5 {:.2f}, A@10 {:.2f})".format(best, *(lite["baseline"]["test"][m] for m in METRICS[3:])) in " ".join(
        PAGE.split()
    )
    alone, refined = list(report("lite").values())[-2:]
    said = "[m@A {:.2f}, m@B {:.2f} and A@1 {:.2f}]".format(*(float(alone[m]) for m in METRICS[:3]))
    assert said in " ".join(PAGE.split())
    assert "{:.2f}, {:.2f} and {:.2f} with PPO-A-Clipping".format(*(float(refined[m]) for m in METRICS[:3])) in PAGE
    gain = [float(refined[f"difference m@A{end}"]) for end in ("", " low", " high")]
    told = "above them by {:.2f} ({:.2f} to {:.2f}) in m@A, each seed beside its own encoder, and not told apart in m@B"
    assert told.format(*gain) in " ".join(PAGE.split())
    assert float(refined["p (Holm) m@A"]) <= 0.05 < float(refined["p (Holm) m@B"])
    assert "above the encoders by {:.2f} [{:.2f}, {:.2f}] in m@A".format(*gain) in text
    for row in (alone, refined):
        assert "(A@5 {:.2f}, A@10 {:.2f})".format(*(float(row[m]) for m in METRICS[3:])) in PAGE


def test_tables_of_tuning_are_those_of_their_cells() -> None:
    """Every pair of m@A / m@B stands in the page, in the order of the steps; the highest m@B of each row is bold."""
    text = (RESULTS / "chair-v2" / "README.md").read_text(encoding="utf-8")
    assert {encoders: set(groups) for encoders, groups in STEP_SIZES.items()} == {
        "letter": {"methods", "rewards", "baselines"},
        "softmax-192": {"methods", "rewards"},
    }
    seeds = {"letter": 3, "softmax-192": 1}
    chosen: dict[str, list[str]] = {}
    for encoders, groups in STEP_SIZES.items():
        for group, arm, steps in ((group, arm, steps) for group, arms in groups.items() for arm, steps in arms.items()):
            scores = {step: [of[f"validation {metric}"] for metric in ("m@A", "m@B")] for step, of in steps.items()}
            assert {len(values) for of in scores.values() for values in of} == {seeds[encoders]}
            means = {step: [statistics.mean(values) for values in of] for step, of in scores.items()}
            best = max(means, key=lambda step: means[step][1])
            chosen.setdefault(f"{encoders}: {group}", []).append(best)
            if (encoders, group) != ("softmax-192", "rewards"):  # told in a sentence
                assert " | ".join("{:.2f} / {:.2f}".format(*pair) for pair in means.values()) in text.replace("*", "")
                assert "**{:.2f} / {:.2f}**".format(*means[best]) in text, arm
    assert set(chosen["letter: rewards"]) == set(chosen["softmax-192: rewards"]) == {"0.003"}
    assert len(chosen["letter: rewards"]) == 14


@pytest.mark.parametrize(
    ("grid", "group"), [("methods-letter", "methods"), ("baselines", "baselines"), ("rewards-letter", "rewards")]
)
def test_arms_have_the_step_sizes_that_validation_chose(grid: str, group: str) -> None:
    cells = read_grid(RESULTS / "chair-v2" / grid).cells
    for arm, steps in STEP_SIZES["letter"][group].items():
        best = float(max(steps, key=lambda step: statistics.mean(steps[step]["validation m@B"])))
        for cell in cells[arm].values():
            of_agent = cell.settings["set"]
            assert (of_agent["target_kl"] / 30 if arm == "trpo" else of_agent["learning_rate"]) == pytest.approx(best)


def check_draws(marker: str, draws: dict[str, list[float]]) -> None:
    """Compare a table of mean, standard error and values by draw with those."""
    found = table(marker, (RESULTS / "chair-v2" / "README.md").read_text(encoding="utf-8"))
    assert list(found) == list(draws)
    for metric, (mean, error, by_draw) in found.items():
        values = draws[metric]
        told = [f"{value:+.2f}".replace("-", "−") for value in (statistics.mean(values), *values)]
        assert [mean, *by_draw.split(", ")] == told
        assert error == f"{statistics.stdev(values) / len(values) ** 0.5:.2f}"


def test_scores_on_another_data_set_are_those_of_their_files() -> None:
    page = (ROOT / "docs" / "zero-shot.md").read_text(encoding="utf-8").partition("### Another data set")[2]
    scores = json.loads((RESULTS / "objects" / "scores.json").read_text(encoding="utf-8"))
    for metric in ("acc@1", "acc@5", "acc@10"):
        found = [scores[f"zse-0-cross-{score}"]["metrics"][metric] for score in ("ret", "rn")]
        cells = [f"{found[0]['chance']:.3f}", *(f"{x['mean']:.3f} ({x['low']:.3f} to {x['high']:.3f})" for x in found)]
        assert f"| {metric} | {' | '.join(cells)} |" in page
    one, five = (scores["zse-0-cross-ret"]["metrics"][metric] for metric in ("acc@1", "acc@5"))
    told = f"{five['mean'] / five['chance']:.1f} times chance at acc@5, {one['mean'] / one['chance']:.1f} at acc@1"
    assert told in " ".join(page.split())
    rows = json.loads((RESULTS / "encoders.json").read_text(encoding="utf-8"))["encoders"]["zse"]["chair_v2"]
    there = [f"{rows[metric] / 100:.3f}" for metric in ("A@1", "A@5", "A@10")]
    assert "{}, {} and {}".format(*there) in page


def test_dssa_and_sketch_a_net_at_the_size_of_their_papers() -> None:
    found = json.loads((RESULTS / "chair-v2" / "encoders.json").read_text(encoding="utf-8"))
    page = " ".join((RESULTS / "chair-v2" / "README.md").read_text(encoding="utf-8").split())
    short = " ".join((ROOT / "docs" / "encoders.md").read_text(encoding="utf-8").split())
    means = {}
    for name in ("sketch-a-net", "dssa"):
        scores = [found[f"{name}-225-{seed}"]["baseline"]["test"] for seed in range(3)]
        told = [", ".join(f"{one[metric]:.2f}" for one in scores) for metric in METRICS]
        assert "m@A {}, m@B {}, A@1 {}, A@5 {}, A@10 {}".format(*told) in page
        means[name] = [f"{statistics.mean(one[metric] for one in scores):.2f}" for metric in METRICS[:3]]
    assert "{}, {} and {}, where Sketch-a-Net has {}, {} and {}".format(*means["dssa"], *means["sketch-a-net"]) in page
    assert "{}, {} and {} (m@A, m@B, A@1) of `sketch-a-net`".format(*means["sketch-a-net"]) in short
    assert "{}, {} and {} of `dssa`".format(*means["dssa"]) in short


def test_networks_of_a_percentage_are_those_of_their_file() -> None:
    found = json.loads((RESULTS / "chair-v2" / "encoders.json").read_text(encoding="utf-8"))
    page = (RESULTS / "chair-v2" / "README.md").read_text(encoding="utf-8").replace("*", "")
    for name in ("b3-25", "b3-50", "b3-75", "b3-100", "b3-until-25-50-75-100", "b3-until-37.5-62.5-87.5-100"):
        scores = found[name]["baseline"]
        cells = [*(scores["validation"][metric] for metric in METRICS[:4]), *(scores["test"][m] for m in METRICS)]
        assert f"| {' | '.join(f'{value:.2f}' for value in cells)} |" in page


def test_small_sets_are_those_of_their_draws() -> None:
    draws = json.loads((RESULTS / "chair-v2" / "small" / "draws.json").read_text(encoding="utf-8"))
    check_draws("small sets", {metric: draws[metric]["draws"] for metric in METRICS})
    for metric, falls in (("A@1", True), ("A@5", False)):
        values = draws[metric]["draws"]
        reach = 2.36 * statistics.stdev(values) / len(values) ** 0.5  # Student's, eight draws
        assert (statistics.mean(values) + reach < 0) is falls
        assert statistics.mean(values) - reach < 0
    seen = []
    for metric in METRICS:
        values = draws[metric]["draws"]
        error, df = statistics.stdev(values) / len(values) ** 0.5, len(values) - 1
        one = Inference(Estimate(0.0, 0.0, 0.0), 1.0, error, df)
        seen.append(f"{one.detectable():.1f} in {metric}")
    page = " ".join((RESULTS / "chair-v2" / "README.md").read_text(encoding="utf-8").split())
    assert f"likely (80 %) to be seen, at 5 %: {', '.join(seen)}." in page
    one_se = json.loads((RESULTS / "chair-v2" / "small" / "one-se.json").read_text(encoding="utf-8"))
    pairs = {metric: zip(one_se[metric]["draws"], draws[metric]["draws"], strict=True) for metric in METRICS}
    less = {metric: [now - then for now, then in of] for metric, of in pairs.items()}
    check_draws("small sets: one-se less best", less)
    for metric, falls in (("m@A", True), ("m@B", True), ("A@5", False)):
        reach = 2.36 * statistics.stdev(less[metric]) / len(less[metric]) ** 0.5
        assert (statistics.mean(less[metric]) + reach < 0) is falls
        assert statistics.mean(less[metric]) - reach < 0
    told = [f"{one_se[metric]['mean']:+.2f}" for metric in ("m@B", "A@5")]
    errors = [f"{one_se[metric]['standard_error']:.2f}" for metric in ("m@B", "A@5")]
    assert f"{told[0]} in m@B (standard error {errors[0]}), with {told[1]} ({errors[1]}) in A@5" in page
    advice = " ".join((RESULTS.parents[1] / "docs" / "your-own-data.md").read_text(encoding="utf-8").split())
    assert f"cost {-statistics.mean(less['m@B']):.2f} in m@B" in advice
    changes = [f"{statistics.mean(draws[metric]['draws']):+.2f}" for metric in ("m@A", "m@B", "A@5")]
    text = " ".join(PAGE.split())
    assert f"over eight draws {changes[0]} in m@A, {changes[1]} in m@B, and {changes[2]} " in text


@pytest.mark.parametrize("page", ["chair-v2", "procedural"])
def test_tables_in_pages_of_results_are_those_of_the_reports(page: str) -> None:
    text = (RESULTS / page / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- report: (\S+) -->\n(.*?)\n<!-- end of report -->", text, flags=re.DOTALL)
    assert len(blocks) >= 2
    for grid, block in blocks:
        assert block == (RESULTS / page / grid / "report" / "table.md").read_text(encoding="utf-8").rstrip(), grid
    assert text.count("<!-- report: ") == len(blocks)
