"""Settings that are chosen on validation: the choice is drawn anew in every interval, and a report says it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from numpy.testing import assert_allclose
from rich.console import Console

from sketchless.benchmarks.commands.report import ReportConfig, run
from sketchless.benchmarks.grid_file import write_ranks
from sketchless.benchmarks.metrics import Evaluation
from sketchless.benchmarks.reporting.choice import choices, choose, less, scored
from sketchless.benchmarks.reporting.choice_tables import choice_markdown, choice_rows, choice_terminal, worth_rows
from sketchless.benchmarks.reporting.compare import Comparison, compare, reading
from sketchless.benchmarks.reporting.figures import forest, learning_curves, pictures
from sketchless.benchmarks.reporting.page import page
from sketchless.benchmarks.reporting.results import read_grid
from sketchless.benchmarks.reporting.sensitivity import curve, knobs, sensitivity
from sketchless.benchmarks.reporting.verify import verify
from sketchless.benchmarks.statistics import inference, pigeonhole_bootstrap, small_sample_factor
from sketchless.datasets.errors import CheckpointError

Refuses = Callable[[type[Exception], str], AbstractContextManager[None]]
FloatArray = npt.NDArray[np.float64]


# The bootstrap ---------------------------------------------------------------------------------------------


def test_a_single_setting_leaves_the_plain_interval() -> None:
    rng = np.random.default_rng(0)
    test, validation = rng.normal(40, 9, (6, 20)), rng.normal(40, 9, (6, 12))
    photos, encoders = [f"p{i // 2}" for i in range(20)], [f"e{i % 3}" for i in range(6)]
    chosen = choose([validation], [f"v{i // 3}" for i in range(12)], encoders)
    found = inference(*scored([test], chosen, photos, encoders), photos, encoders)
    assert found == pigeonhole_bootstrap(test, photos, encoders)


def test_a_choice_between_two_by_hand() -> None:
    # one seed, two validation photos of one sketch each: (10, 0) has the higher mean than (4, 4), unless the second
    # photo is drawn twice, as in one redraw of four; a single test photo is not drawn
    chosen = choose([np.array([[10.0, 0.0]]), np.array([[4.0, 4.0]])])
    values, means = scored([np.array([[30.0]]), np.array([[50.0]])], chosen)
    assert (chosen.found, values.tolist()) == (0, [[30.0]])
    assert set(means.tolist()) == {30.0, 50.0}
    assert (means == 50).mean() == (chosen.again == 1).mean() == pytest.approx(0.25, abs=0.02)
    assert inference(values, means).estimate[1:] == (30, 50)  # nothing but the choice is random


def test_of_equal_settings_the_first_is_chosen() -> None:
    same = np.random.default_rng(1).normal(size=(3, 8))
    chosen = choose([same, same.copy(), same - 1])
    assert chosen.found == 0
    assert not chosen.again.any()


def test_methods_share_their_draws() -> None:
    rng = np.random.default_rng(2)
    validation, test = list(rng.normal(0, 1, (4, 3, 15))), list(rng.normal(0, 1, (4, 3, 25)))
    (one, first), (other, second) = (scored([t + shift for t in test], choose(validation)) for shift in (0, 5))
    assert_allclose(second - first, 5)
    assert_allclose(other - one, 5)


def test_redrawn_choices_are_those_of_a_plain_loop() -> None:
    """Two methods, an independent loop over what each replicate draws: shares, ends of both, and of the difference."""
    rng = np.random.default_rng(3)
    photos, of_validation, encoders = np.repeat(np.arange(10), 3), np.repeat(np.arange(8), 2), np.arange(6) % 3
    hard, hard_too = rng.normal(0, 6, 10)[photos], rng.normal(0, 6, 8)[of_validation]
    validation, test = [], []
    for able in ((40, 41, 42), (43, 41, 38)):  # of the settings of each method
        of_encoder = rng.normal(0, 1.5, (3, 3))  # of each setting
        validation.append(
            [
                a + e[encoders][:, None] + hard_too + rng.normal(0, 3, (6, 16))
                for a, e in zip(able, of_encoder, strict=True)
            ]
        )
        test.append(
            [a + e[encoders][:, None] + hard + rng.normal(0, 3, (6, 30)) for a, e in zip(able, of_encoder, strict=True)]
        )

    def draw(groups: npt.NDArray[np.int64], within: bool = True) -> npt.NDArray[np.int64]:
        members = [np.flatnonzero(groups == g) for g in rng.integers(0, groups.max() + 1, groups.max() + 1)]
        return np.concatenate([rng.choice(one, len(one)) if within else one for one in members])

    rows, means = [], []
    for _ in range(4000):
        seeds, seen, asked = draw(encoders), draw(of_validation), draw(photos)
        picked = [int(np.argmax([v[seeds][:, seen].mean() for v in of])) for of in validation]
        rows.append(picked)
        means.append([of[one][seeds][:, asked].mean() for of, one in zip(test, picked, strict=True)])

    names = [f"p{p}" for p in photos], [f"e{e}" for e in encoders]
    chosen = [choose(of, [f"v{v}" for v in of_validation], names[1]) for of in validation]
    found = [scored(of, one, *names) for of, one in zip(test, chosen, strict=True)]
    for place, one in enumerate(chosen):
        assert one.found == np.argmax([v.mean() for v in validation[place]])
        for setting in range(3):
            share = np.mean([row[place] == setting for row in rows])
            assert (one.again == setting).mean() == pytest.approx(share, abs=0.04)
    for (values, replicates), again in (
        (found[0], [m[0] for m in means]),
        (found[1], [m[1] for m in means]),
        ((found[1][0] - found[0][0], found[1][1] - found[0][1]), [m[1] - m[0] for m in means]),
    ):
        by_photo = np.array([values[:, photos == p].mean() for p in range(10)])
        by_encoder = np.array([values[encoders == e].mean() for e in range(3)])
        wide = small_sample_factor([by_photo, by_encoder])
        ends = [values.mean() + wide * (end - values.mean()) for end in np.quantile(again, (0.025, 0.975))]
        estimate = inference(values, replicates, *names).estimate
        assert estimate.value == values.mean()
        assert estimate[1:] == pytest.approx(ends, abs=0.6)


def test_methods_whose_settings_are_all_equal_are_seldom_called_different() -> None:
    """Photos of validation and test, runs and single values are random; no setting of any method is better."""
    rng, called, trials = np.random.default_rng(4), 0, 120
    photos = [str(i // 2) for i in range(40)]
    for _ in range(trials):
        hard = {"validation": rng.normal(0, 2, 20), "test": rng.normal(0, 2, 20).repeat(2)}
        runs = rng.normal(0, 1, (2, 4, 5, 1))  # of two methods with four settings, a run's own luck, alike on both
        values = {split: one + runs + rng.normal(0, 2, (2, 4, 5, len(one))) for split, one in hard.items()}
        one, other = (
            scored(list(test), choose(list(validation)), photos)
            for validation, test in zip(values["validation"], values["test"], strict=True)
        )
        called += inference(one[0] - other[0], one[1] - other[1], photos).p <= 0.05
    assert called <= 11  # binomial(120, 0.05) is above that twice in a hundred times; the choice errs on the wide side


def test_methods_are_not_called_level_where_redraws_choose_worse_settings() -> None:
    """Twelve settings as good on validation, of which the one chosen equals the rival on test; all others are 0.8 less.

    The redraws lie about -0.7 with a small spread: a standard error without that shift would call the two level.
    """
    rng = np.random.default_rng(0)
    validation = list(rng.normal(40, 3, (12, 1, 60)))
    chosen = choose(validation)
    kept = (chosen.again == chosen.found).mean()
    assert 0 < kept < 0.4
    rival = np.full((1, 30), 50.0) + rng.normal(0, 1, 30)
    test = [rival - 0.8 * (place != chosen.found) for place in range(12)]
    one, other = scored(test, chosen), scored([rival], choose([validation[0]]))
    found = less(one, other)
    assert found.estimate.value == 0
    assert (one[1] - other[1]).mean() == pytest.approx(-0.8 * (1 - kept))
    shrinkage = np.sqrt(30 / 29)
    assert found.error == pytest.approx(0.8 * np.sqrt(kept * (1 - kept) + (1 - kept) ** 2) * shrinkage)
    assert inference(one[0] - other[0], one[1] - other[1]).equivalent(1)
    assert not found.equivalent(1)


def test_p_is_that_of_what_lies_nearer_to_zero() -> None:
    values, means = np.array([[4.0, 6.0]]), np.random.default_rng(0).normal(3, 1, 5_000)
    plain, shifted, across = (inference(values, means - m, shift=s).p for m, s in ((0, 0), (0, -2), (9, -11)))
    assert 0 < plain < shifted
    assert across == 1  # the redraws lie about -6: no direction is said


# A grid ----------------------------------------------------------------------------------------------------

LABELS = {
    "vpg-0": "VPG: default",
    "vpg-1": "VPG: step 0.01",
    "ppo-a-clip-0": "PPO-A-Clipping: default",
    "ppo-a-clip-1": "PPO-A-Clipping: step 0.01, K 4",
}
# arm -> of both seeds: ranks of two test sketches of one frame, m@B of the validation photos a and b
CELLS: dict[str, list[tuple[list[int], list[float]]]] = {
    "vpg-0": [([2, 2], [40, 40]), ([2, 2], [40, 40])],
    "vpg-1": [([1, 2], [80, 20]), ([1, 4], [100, 42])],
    "ppo-a-clip-0": [([1, 1], [20, 50]), ([1, 1], [20, 50])],
    "ppo-a-clip-1": [([5, 5], [80, 24]), ([5, 5], [80, 24])],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two settings of two methods on two seeds; photo a has one validation sketch, b three. Five test photos."""
    methods = {arm: label.partition(":")[0] for arm, label in LABELS.items()}
    about = {"sweep": "knobs", "title": "Tuned", "arms": list(LABELS), "labels": LABELS, "reference": "ppo-a-clip-0"}
    about |= {"family": "f", "seeds": [0, 1], "published": None, "dataset": "d", "command": "c", "setting_of": methods}
    (tmp_path / "grid.json").write_text(json.dumps({**about, "photos": 5, "sketches": 2}))
    for arm, of_arm in CELLS.items():
        for seed, (ranks, validation) in enumerate(of_arm):
            write_cell(tmp_path / "knobs" / arm / f"seed-{seed}", arm, ranks, validation)
    return tmp_path


def write_cell(cell: Path, arm: str, ranks: list[int], validation: list[float]) -> None:
    cell.mkdir(parents=True)
    lengths, ids = np.ones(2, np.int64), ("s1", "s2")
    refined, b1 = (
        Evaluation(np.array([[r] for r in rank]), lengths, 5, ids, photo_ids=("p", "q")) for rank in (ranks, [4, 4])
    )
    write_ranks(cell / "ranks.safetensors", "test", refined, b1, {})
    agent = {"learning_rate": 0.01 if arm.endswith("1") else 0.001, "samples": 4 if arm == "ppo-a-clip-1" else 16}
    result = {
        "metrics": refined.summary(),
        "baseline": b1.summary(),
        "history": [{"timesteps": 5, "val_m_at_b": 40.0}],
        "tau_by_step": [],
        "seconds": 1.0,
        "settings": {"agent": arm[:-2], "bank_sha256": "0"},
        "agent_settings": {**agent, "critic": [64], "clip": True, "seed": 0},
        "by_photo": {"photos": ["a", "b"], "sketches": [1, 3], "m@A": [50.0, 50.0], "m@B": validation},
    }
    (cell / "result.json").write_text(json.dumps(result))
    (cell / "manifest.json").write_text(json.dumps({"settings": {}}))


def compared(folder: Path) -> Comparison:
    return compare(read_grid(folder))


def test_the_choices_of_a_grid_by_hand(folder: Path) -> None:
    vpg, clip = choices(read_grid(folder))
    # a counts once, b thrice: of vpg-1 (80 + 3 20)/4 = 35 and (100 + 3 42)/4 = 56.5
    assert vpg.validation == {"vpg-0": 40, "vpg-1": 45.75}
    # of ppo-a-clip-1 38, though the mean of its photos, 52, is above that of the default, 35
    assert clip.validation == {"ppo-a-clip-0": 42.5, "ppo-a-clip-1": 38}
    assert (vpg.chosen, clip.chosen) == ("vpg-1", "ppo-a-clip-0")
    # 1/r of vpg-1: 1 .5 | 1 .25; (5 - r)/4: 1 .75 | 1 .25
    assert {metric: estimate.value for metric, estimate in vpg.score.items()} == {"m@A": 75, "m@B": 68.75}
    # nothing but the choice is random: 100, or 20 where the other one is chosen, stretched below 0
    assert clip.score["m@B"] == (100, 0, 100)
    assert (vpg.default_score, clip.default_score["m@B"]) == ({"m@A": 75, "m@B": 50}, 100)
    assert {metric: one.estimate.value for metric, one in vpg.gain.items()} == {"m@A": 0, "m@B": 18.75}
    assert vpg.difference is not None
    assert vpg.difference["m@B"].estimate.value == -31.25
    assert vpg.adjusted["m@B"] == vpg.difference["m@B"].p  # a family of one
    assert (clip.difference, clip.adjusted) == (None, {})
    # vpg-1 is chosen where a is drawn twice, where both photos and the second seed are, and where it is twice:
    # 1/4 1/4 + 1/2 3/4 + 1/4 = 11/16. The default of the other is not where a is drawn twice
    assert vpg.shares["vpg-1"] == pytest.approx(11 / 16, abs=0.02)
    assert clip.shares["ppo-a-clip-0"] == pytest.approx(3 / 4, abs=0.02)
    assert clip.gain["m@B"].estimate.value == 0
    assert clip.gain["m@B"].estimate.low < 0 == clip.gain["m@B"].estimate.high  # where the other one is chosen: 20
    assert vpg.seeds == (0, 1)


def test_there_is_a_row_for_every_method_in_every_table(folder: Path) -> None:
    found = compared(folder)
    rows = choice_rows(found)
    assert [row[:5] for row in rows] == [
        ["B1 (no refinement)", "-", "-", "-", "-"],
        ["VPG", "2", "vpg-1", rows[1][3], "45.75"],
        ["PPO-A-Clipping", "2", "ppo-a-clip-0", rows[2][3], "42.50"],
    ]
    assert rows[0][5:7] == ["25.00", "25.00"]
    assert rows[1][6].startswith("68.75 [")
    assert rows[1][9].startswith("−31.25 [")
    assert rows[2][7:] == ["reference", "-"] * 2
    assert [row[0] for row in worth_rows(found)] == ["VPG", "PPO-A-Clipping"]
    assert worth_rows(found)[0][1:3] == ["75.00", "50.00"]
    written = choice_markdown(found)
    assert "VPG: step 0.01" not in written  # no row for every setting
    assert "Of 2 settings of its own knobs each method takes the one with the highest m@B on validation" in written
    assert "(4 sketches of 2 photos; mean over 2 seeds)" in written
    assert "Redraws in which the default would be chosen: VPG 3" in written
    assert "the setting chosen of" in written
    file = io.StringIO()
    Console(width=200, file=file).print(choice_terminal(found, 200))
    assert all(part in file.getvalue() for part in ("vpg-1", "68.75", "Each of their redraws"))
    html = page(found, [])
    assert html.count("<details>") == 1
    assert "VPG: step 0.01" in html
    assert found.as_table()[1][1][:3] == ["VPG", rows[1][5], rows[1][6]]


@pytest.mark.usefixtures("one_figure")
def test_a_report_is_written_and_verified_and_packed_the_same(folder: Path) -> None:
    run(ReportConfig(str(folder)), Console(quiet=True))
    report = folder / "report"
    methods = list(csv.DictReader((report / "choice.csv").read_text().splitlines()))
    assert [(row["method"], row["chosen"], row["seeds"]) for row in methods] == [
        ("VPG", "vpg-1", "2"),
        ("PPO-A-Clipping", "ppo-a-clip-0", "2"),
    ]
    assert (methods[0]["m@B"], methods[0]["gain m@B"], methods[0]["difference m@B"]) == ("68.75", "18.75", "-31.25")
    assert methods[1]["difference m@B"] == methods[1]["p (Holm) m@B"] == ""
    settings = {row["arm"]: row for row in csv.DictReader((report / "table.csv").read_text().splitlines())}
    assert list(settings) == ["B1", *LABELS]
    assert (settings["vpg-1"]["validation m@B"], settings["B1"]["validation m@B"]) == ("45.75", "")
    before = {path.name: path.read_bytes() for path in report.iterdir()}
    assert verify(folder).report
    run(ReportConfig(str(folder), pack=True), Console(quiet=True))
    assert {path.name: path.read_bytes() for path in report.iterdir()} == before
    text = (report / "choice.csv").read_text()
    (report / "choice.csv").write_text(text.replace("18.75", "18.76"))
    with pytest.raises(CheckpointError, match=r"choice.csv:2: says .*18\.76"):
        verify(folder)


def test_settings_without_a_common_seed_are_shown_one_by_one(folder: Path) -> None:
    (folder / "knobs" / "vpg-0" / "seed-0" / "result.json").unlink()
    assert [choice.seeds for choice in choices(read_grid(folder))] == [(1,), (1,)]
    (folder / "knobs" / "vpg-1" / "seed-1" / "result.json").unlink()
    found = compared(folder)
    assert found.choices == []
    assert any("VPG: step 0.01" in sentence for sentence in reading(found))
    assert found.heading == "Tuned (preliminary: 1 seed, no setting is chosen, as no seed has them all)"


@pytest.mark.usefixtures("no_figures")
def test_a_method_without_its_default_or_the_reference_is_shown(folder: Path) -> None:
    about = json.loads((folder / "grid.json").read_text())
    for arm in ("ppo-a-clip-0", "vpg-0"):
        about["arms"].remove(arm)
        del about["setting_of"][arm]
    (folder / "grid.json").write_text(json.dumps({**about, "reference": "vpg-1"}))
    assert "Not all methods have as many settings" not in choice_markdown(compared(folder))
    vpg, clip = choices(read_grid(folder))
    assert (vpg.default, vpg.gain, clip.default_score) == (None, {}, {})
    assert (vpg.difference, list(clip.adjusted)) == (None, ["m@A", "m@B"])
    assert worth_rows(compared(folder)) == []
    run(ReportConfig(str(folder)), Console(quiet=True))
    assert verify(folder).report


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "not all of its cells say how they do on the same validation photos"),
        ({"photos": ["a", "c"]}, "not all of its cells say"),
        ({"sketches": [1, 2]}, "not all of its cells say"),
        ({"m@B": [1.0]}, "not all of its cells say"),
        ({"sketches": [0, 4]}, "greater than or equal to 1"),
        ({"sketches": [1, 10**12]}, "less than or equal to 100000"),
        ({"sketches": [1, 10**30]}, "sketches"),
        (
            {"photos": list(map(str, range(11))), "sketches": [10**5] * 11, "m@A": [1.0] * 11, "m@B": [1.0] * 11},
            "not all",
        ),
        ({"photos": ["a", "a"]}, "not all of its cells say"),
        ({"m@B": [1.0, 100.5]}, "less than or equal to 100"),
        ({"m@A": [-0.1, 1.0]}, "greater than or equal to 0"),
    ],
)
def test_cells_that_do_not_say_what_the_choice_is_made_on_are_refused(
    folder: Path, refuses: Refuses, change: dict[str, Any], said: str
) -> None:
    file = folder / "knobs" / "vpg-1" / "seed-0" / "result.json"
    result = json.loads(file.read_text())
    result["by_photo"] |= change
    if not change:
        del result["by_photo"]
    file.write_text(json.dumps(result))
    with refuses(CheckpointError, said):
        read_grid(folder)


def test_unequal_numbers_of_settings_are_told(folder: Path) -> None:
    for seed in (0, 1):
        (folder / "knobs" / "vpg-1" / f"seed-{seed}" / "result.json").unlink()
    written = choice_markdown(compared(folder))
    assert "Of 1 to 2 settings of its own knobs" in written
    assert "Not all methods have as many settings: those with more have more to choose from." in written
    assert "Not measured: vpg-1/seed-0, vpg-1/seed-1." in written


def test_arms_of_no_method_are_refused(folder: Path, refuses: Refuses) -> None:
    about = json.loads((folder / "grid.json").read_text())
    del about["setting_of"]["vpg-0"]
    (folder / "grid.json").write_text(json.dumps(about))
    with refuses(CheckpointError, "does not say of which method each arm is a setting"):
        read_grid(folder)


# Figures ---------------------------------------------------------------------------------------------------


def test_a_curve_by_hand() -> None:
    # few values: means of each
    levels, means = curve(np.array([16.0, 4, 16, 4]), np.array([1.0, 2, 3, 6]))
    assert (levels.tolist(), means.tolist()) == ([4, 16], [4, 2])
    # seven: at the first those of 1 2 3, at the fourth of 2 .. 6, in the order of the values
    value, score = np.array([7.0, 6, 5, 4, 3, 2, 1]), np.array([70.0, 60, 50, 40, 30, 20, 10])
    levels, means = curve(value, score)
    assert levels.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert means.tolist() == [20, 25, 30, 40, 50, 55, 60]


@pytest.mark.parametrize("value", [10**400, 1e300, -(10**12), True, "x", [1, 2]])
def test_what_no_setting_can_be_is_no_knob(folder: Path, value: Any) -> None:
    file = folder / "knobs" / "vpg-1" / "seed-0" / "result.json"
    result = json.loads(file.read_text())
    result["agent_settings"]["learning_rate"] = value
    file.write_text(json.dumps(result))
    assert [one.place for one in knobs(compared(folder))["learning_rate"]] == [1]


def test_knobs_are_what_differs_within_a_method(folder: Path) -> None:
    found = knobs(compared(folder))
    assert list(found) == ["learning_rate", "samples"]
    assert [one.place for one in found["learning_rate"]] == [0, 1]
    (clip,) = found["samples"]
    assert (clip.value.tolist(), clip.default, clip.chosen) == ([16, 4], 0, 0)
    assert clip.scores.tolist() == [[42.5, 42.5], [38, 38]]


def test_the_figures_show_methods(folder: Path) -> None:
    found = compared(folder)
    names = [picture.name for picture in pictures(found)]
    assert names[0] == "sensitivity"
    assert not {"profile", "published"} & set(names)
    figure = sensitivity(found)
    assert [axes.get_xlabel() for axes in figure.axes][:2] == ["learning_rate", "samples"]
    assert [axes.get_xscale() for axes in figure.axes][:2] == ["log", "log"]
    words = [
        text.get_text() for axes in figure.axes for legend in [axes.get_legend()] if legend for text in legend.texts
    ]
    assert words == ["VPG", "PPO-A-Clipping", "default", "chosen"]
    assert [label.get_text() for label in forest(found).axes[0].get_yticklabels()] == ["VPG"]
    assert "of each method the setting that is chosen" in learning_curves(found).get_suptitle()
