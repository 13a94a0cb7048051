"""One word for one thing, the field's own: in code, messages, `--help` and docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORDS = {
    r"nearness": "similarity",
    r"_worth\b": "reward table",
    r"steadiness": "trajectory reward",
    r"\bheard (late|towards|always)": "late weighting",
    r"\bcarv(e|es|ed|ing)\b": "validation split; chosen at random",
    r"\blooks? at (the )?(validation|test)\b": "evaluation",
    r"\btwo looks\b|\bmany looks\b": "evaluation",
    r"walkthrough": "episode frames",
    r"\bFinals\b": "StepInfos",
    r"\bseldom\(": "throttle",
    r"\bcrew\b|\b_Desk\b": "workers, Mailbox",
    r"\b(MOST|LEAST)(_[A-Z]+)?\b": "MAX, MIN",
    r"\bfrom \.board\b|\bBoard\b": "progress",
}
EXCEPTIONS = {
    ("datasets/procedural/hand.py", r"steadiness"),  # of a hand
    ("datasets/procedural/objects/dataset.py", r"\bcarv(e|es|ed|ing)\b"),  # the name of a stream of random numbers
}
FILES = [
    *(
        path
        for room in ("datasets", "encoders", "envs", "agents", "benchmarks")
        for path in (ROOT / room).rglob("*.py")
    ),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "examples").glob("*.py"),
    *(ROOT / "tests").rglob("*.py"),
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "AGENTS.md", "SECURITY.md")),
]


@pytest.mark.parametrize("word", WORDS)
def test_the_fields_words_are_used(word: str) -> None:
    found = []
    for path in FILES:
        name = str(path.relative_to(ROOT))
        if path != Path(__file__) and (name, word) not in EXCEPTIONS:
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                if re.search(word, line):
                    found.append(f"{name}:{number}: {line.strip()[:80]}")
    assert not found, f"say {WORDS[word]!r}: {found}"


def test_every_exception_is_one() -> None:
    for name, word in EXCEPTIONS:
        assert re.search(word, (ROOT / name).read_text(encoding="utf-8")), (name, word)
