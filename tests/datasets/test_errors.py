"""What the error for an unknown name lists."""

from __future__ import annotations

import pytest

from sketchless.datasets.errors import SketchlessError, unknown_name


@pytest.mark.parametrize(
    ("known", "says"),
    [
        (range(100, 110), "100, 101, 102, 103, 104, 105, 106, 107, 108, 109"),
        (range(100, 850), "100, 101, 102, 103, 104, 105, 106, 107, 108, 109 and 740 more"),
    ],
)
def test_at_most_ten_names_are_listed(known: range, says: str) -> None:
    assert str(unknown_name("sketch_id", "x", map(str, known))) == f"unknown sketch_id 'x': choose one of: {says}"


def test_a_near_name_is_the_cure_however_many_there_are() -> None:
    error = unknown_name("sketch_id", "chair-0-00749x", (f"chair-0-{i:05d}" for i in range(750)))
    assert str(error).endswith("did you mean 'chair-0-00749'?")


@pytest.mark.parametrize("kind", SketchlessError.__subclasses__(), ids=lambda kind: kind.__name__)
def test_an_error_is_one_line_without_control_characters(kind: type[SketchlessError]) -> None:
    error = kind("\x1b[2Ja\nb\r\u202ec\udc80 é 椅.png: no such file")
    assert str(error) == "\\x1b[2Ja\\nb\\r\\u202ec\\udc80 é 椅.png: no such file"


@pytest.mark.parametrize("name", ["xq", "draw", "t"])
def test_what_is_not_near_is_not_suggested(name: str) -> None:
    assert "did you mean" not in str(unknown_name("command", name, ["train", "evaluate", "report"]))


@pytest.mark.parametrize("name", ["x" * 5000, "n\n" * 500, list(range(9999))])
def test_a_long_value_is_told_in_short(name: object) -> None:
    said = str(unknown_name("setting", name, ["steps"]))
    assert len(said) < 560
    assert "\n" not in said
    assert said.startswith(f"unknown setting {repr(name)[:100]}")
    assert "...: choose one of: steps" in said
