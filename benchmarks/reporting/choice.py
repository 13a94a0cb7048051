"""Methods of which one of many settings is chosen on validation, and what that choice does to an interval.

The settings that a method's fortune depends on are a draw as well: on other validation photos, with other seeds,
another setting would have been chosen. So every replicate of the bootstrap draws validation photos, encoders and seeds
within them, chooses the setting of each method anew on these, and scores the one so chosen on test photos and sketches
drawn anew, with the same encoders and seeds (`statistics.drawn_means`). Methods share all draws, so that differences
are paired. With one setting a method this is `pigeonhole_bootstrap`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..metrics import HEADLINE
from ..statistics import Estimate, FloatArray, Inference, drawn_means, holm, in_percent, inference, listed
from .results import Grid

CHOSEN_BY = "m@B"
DEFAULT = "default"
"""In words, the setting that a method comes with."""


@dataclass(frozen=True)
class Chosen:
    """Which of some settings is chosen: on all there is, and in each replicate, places [R]."""

    found: int
    again: npt.NDArray[np.int64]


def choose(validation: Sequence[FloatArray], photos: Sequence[str] = (), encoders: Sequence[str] = ()) -> Chosen:
    """The setting with the highest mean of its values [S, V] on validation; of equals the first.

    Args:
        validation: of each setting, one value per run and sketch.
        photos, encoders: V and S names, as in `pigeonhole_bootstrap`.
    """
    means = np.stack([drawn_means(values, photos, encoders, what="validation sketches") for values in validation])
    return Chosen(int(np.argmax([values.mean() for values in validation])), means.argmax(axis=0))


def scored(
    test: Sequence[FloatArray], chosen: Chosen, photos: Sequence[str] = (), encoders: Sequence[str] = ()
) -> tuple[FloatArray, FloatArray]:
    """Values [S, N] of the setting that is chosen, of those of all; and the mean of that chosen in each replicate, [R].

    Args:
        test: of each setting, one value per run and sketch.
        chosen: of these settings, on the same runs.
        photos, encoders: N and S names, as in `pigeonhole_bootstrap`.
    """
    means = np.stack([drawn_means(values, photos, encoders) for values in test])
    picked: FloatArray = means[chosen.again, np.arange(means.shape[1])]
    return test[chosen.found], picked


@dataclass(frozen=True)
class Choice:
    """A method, tuned.

    Attributes:
        method: in words.
        settings: arm -> setting in words, in their order.
        chosen: arm with the highest m@B on validation, the mean over seeds.
        shares: arm -> share of the replicates (0..1) in which it is chosen.
        validation: arm -> its m@B on validation, percent.
        score: m@A and m@B on test of what is chosen, percent; the interval holds the choice.
        difference: in m@A and m@B to the reference, whose setting is chosen too; None: it is the reference.
        adjusted: p of these differences after Holm, each over all methods.
        default: the arm of the default setting, if that was measured.
        default_score: m@A and m@B on test of the default, percent.
        gain: in m@A and m@B, what is chosen less the default.
        seeds: those that all settings have.
    """

    method: str
    settings: dict[str, str]
    chosen: str
    shares: dict[str, float]
    validation: dict[str, float]
    score: dict[str, Estimate]
    difference: dict[str, Inference] | None
    adjusted: dict[str, float]
    default: str | None
    default_score: dict[str, float]
    gain: dict[str, Inference]
    seeds: tuple[int, ...]


def choices(grid: Grid) -> list[Choice]:
    """The methods of a grid of settings; none of another grid, or where its settings share no seed."""
    methods: dict[str, list[str]] = {}
    for arm, method in grid.setting_of.items():
        if grid.cells[arm]:
            methods.setdefault(method, []).append(arm)
    arms = [arm for of_method in methods.values() for arm in of_method]
    seeds = [seed for seed in grid.seeds if all(seed in grid.cells[arm] for arm in arms)]
    if not arms or not seeds:
        return []
    of_test = grid.photo_of_sketch, grid.encoders(arms[0], seeds)
    of_validation = grid.example.validation_photos, of_test[1]
    validation = {arm: np.stack([grid.cells[arm][seed].on_validation(CHOSEN_BY) for seed in seeds]) for arm in arms}
    chosen = {method: choose([validation[arm] for arm in of], *of_validation) for method, of in methods.items()}
    tuned: dict[str, dict[str, tuple[FloatArray, FloatArray]]] = {
        method: {
            metric: scored([grid.per_sketch(arm, metric, seeds) for arm in of], chosen[method], *of_test)
            for metric in HEADLINE
        }
        for method, of in methods.items()
    }
    reference = grid.setting_of[grid.reference]
    others = [method for method in dict.fromkeys(grid.setting_of.values()) if method != reference]
    differences = {
        method: {metric: less(tuned[method][metric], tuned[reference][metric], of_test) for metric in HEADLINE}
        for method in methods
        if method != reference and reference in methods
    }
    # a comparison that was planned counts in its family even if its cells are missing
    p = {m: [differences[other][m].p if other in differences else 1.0 for other in others] for m in HEADLINE}
    adjusted = {metric: dict(zip(others, holm(values).tolist(), strict=True)) for metric, values in p.items()}
    found = []
    for method, of in methods.items():
        words = {arm: grid.arms[arm].removeprefix(f"{method}: ") for arm in of}
        default = next((arm for arm in of if words[arm] == DEFAULT), None)
        plain = {} if default is None else {m: grid.per_sketch(default, m, seeds) for m in HEADLINE}
        gain = {
            metric: less(tuned[method][metric], (values, drawn_means(values, *of_test)), of_test)
            for metric, values in plain.items()
        }
        choice = Choice(
            method=method,
            settings=words,
            chosen=of[chosen[method].found],
            shares={arm: float((chosen[method].again == place).mean()) for place, arm in enumerate(of)},
            validation={arm: float(validation[arm].mean()) for arm in of},
            score={metric: in_percent(inference(*tuned[method][metric], *of_test).estimate) for metric in HEADLINE},
            difference=differences.get(method),
            adjusted={metric: adjusted[metric][method] for metric in HEADLINE if method in differences},
            default=default,
            default_score={metric: float(values.mean()) for metric, values in plain.items()},
            gain=gain,
            seeds=tuple(seeds),
        )
        found.append(choice)
    return found


def less(
    one: tuple[FloatArray, FloatArray],
    other: tuple[FloatArray, FloatArray],
    drawn: tuple[Sequence[str], Sequence[str]] = ((), ()),
) -> Inference:
    """The difference of two scores, each its values [S, N] and the means [R] of its replicates, as `scored` has them.

    `drawn`: photos and encoders, as in `pigeonhole_bootstrap`.
    """
    values, means = one[0] - other[0], one[1] - other[1]
    kept = drawn_means(values, *drawn)  # had both kept their settings
    return inference(values, means, *drawn, shift=float((means - kept).mean()))


def worth(found: Sequence[Choice]) -> list[str]:
    """What tuning is worth, in sentences; nothing that an interval does not bear out."""
    sentences = []
    for metric in HEADLINE:
        groups: dict[str, list[str]] = {"above": [], "below": [], "not told apart from": []}
        for choice in found:
            if choice.gain:
                _, low, high = choice.gain[metric].estimate
                groups["above" if low > 0 else "below" if high < 0 else "not told apart from"].append(choice.method)
        sentences += [
            f"In {metric}, the setting chosen of {listed(methods)} is {verdict} the default (95 % interval of each by "
            "itself, with the choice drawn anew)."
            for verdict, methods in groups.items()
            if methods
        ]
    return sentences
