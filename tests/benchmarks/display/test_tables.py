"""What a run says of itself in the terminal."""

from __future__ import annotations

import re

import numpy as np
import pytest

from sketchless.benchmarks.display.tables import doubt, in_words
from sketchless.benchmarks.metrics import Evaluation
from sketchless.datasets import ConfigError

# Frames until the photo is first among the first ten: 3 of 4, 1 of 2 (shorter), 2 of 4, never.
LATE = [[90, 11, 10, 1], [9, 50, 0, 0], [30, 7, 60, 8], [50, 40, 30, 20]]


def evaluation(rank: list[list[int]], gallery: int = 100) -> Evaluation:
    found = np.array(rank)
    return Evaluation(found, (found > 0).sum(axis=1), gallery, tuple("abcd"))


def test_first_among() -> None:
    assert evaluation(LATE).first_among(10).tolist() == [0.75, 0.5, 0.5, np.inf]
    assert evaluation(LATE).first_among(1).tolist() == [1.0, np.inf, np.inf, np.inf]
    with pytest.raises(ConfigError, match="at least 1"):
        evaluation(LATE).first_among(0)


def test_words_say_when_photos_come_up() -> None:
    early = evaluation([[10, 1, 1, 1], [1, 1, 0, 0], [11, 1, 1, 1], [3, 2, 1, 1]])  # 25, 50, 50 and 25 %
    # medians: of 0.5, 0.5, 0.75 and never; of 0.25, 0.25, 0.5, 0.5
    assert in_words(evaluation(LATE), {"seed 0": early}) == [
        "Half of the photos have come up among the first 10 at 38% of the drawing; with B1 at 62% of the drawing."
    ]
    never = evaluation([[50, 50, 50, 50]] * 4)
    assert "with B1 at no point of the drawing" in in_words(never, {"seed 0": early})[0]
    assert "have come up first at" in in_words(evaluation(LATE, 20), {"seed 0": early})[0]


def test_words_say_that_an_agent_is_b1_still() -> None:
    said = in_words(evaluation(LATE), {"seed 3": evaluation(LATE), "seed 4": evaluation(LATE[::-1])})
    assert [line for line in said if "speaks for no other" in line] == [
        "seed 3: its ranks are those of B1: validation speaks for no other policy."
    ]


def test_a_doubt_where_validation_cannot_tell_the_policy_from_b1() -> None:
    b1 = evaluation([[2], [2], [2], [2]])
    assert doubt(b1, [evaluation([[1], [1], [1], [1]])]) is None  # each drawing gains 50 points
    assert doubt(b1, [b1]) is None  # nothing was chosen
    said = doubt(b1, [evaluation([[1], [2], [1], [4]])])  # gains of 50, 0, 50 and -25
    assert said is not None
    assert "(4 drawings of 100 photos)" in said
    assert "m@B +18.75 (-" in said


def test_the_best_of_many_evaluations_has_to_gain_more() -> None:
    """Gains of 50 of 14 photos in 20 and of -25 of the others: 27.5 +- 15, and too few where it is the best of 500."""
    b1, better = evaluation([[2]] * 20), evaluation([[1]] * 14 + [[4]] * 6)
    assert doubt(b1, [better]) is None
    assert doubt(b1, [better], looks=5) is None
    said = doubt(b1, [better], looks=500)
    assert said is not None
    assert re.search(r"m@B \+27.50 \(-\d+\.\d\d \.\. \+\d+\.\d\d, as the best of 500 evaluations\)", said)


def test_one_validation_photo_leaves_the_doubt() -> None:
    b1, better = (
        Evaluation(np.array(r), np.ones(2, np.int64), 5, ("s", "t"), photo_ids=("a", "a"))
        for r in ([[2], [2]], [[1], [1]])
    )
    said = doubt(b1, [better])
    assert said is not None
    assert "m@B +50.00 (+50.00 .. +50.00)" in said


def test_many_drawings_of_one_photo_do_not_remove_the_doubt() -> None:
    """Gains of 50 on each of 30 drawings of two photos, of -50 on each of 20 of another: three photos in truth."""
    before, after = np.full((50, 1), 2), np.array([[1]] * 30 + [[4]] * 20)
    sketches, photos = tuple(map(str, range(50))), ("a",) * 15 + ("b",) * 15 + ("c",) * 20

    def found(rank: np.ndarray, names: tuple[str, ...]) -> Evaluation:
        return Evaluation(rank, np.ones(50, dtype=np.int64), 3, sketches, photo_ids=names)

    assert doubt(found(before, ()), [found(after, ())]) is None
    assert doubt(found(before, photos), [found(after, photos)]) is not None
