"""Schemas of JSON files."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from sketchless.datasets import ConfigError, FormatError
from sketchless.datasets.schema import conform, read_json


@dataclass(frozen=True)
class Settings:
    size: int = 8
    rate: float = 0.5
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigError(f"size={self.size}; give 1 or more")


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid")
    settings: Settings
    more: dict[str, Any]


GOOD = {"settings": {"size": 3, "rate": 1, "names": ["a", "b"]}, "more": {"x": [None, True, "é", 1.5]}}


def test_plain_json_becomes_typed_values() -> None:
    record = conform(Record, GOOD, "file")
    assert record.settings == Settings(3, 1.0, ("a", "b"))
    assert type(record.settings.rate) is float
    assert record.more == GOOD["more"]
    assert conform(dict[str, int], {"a": 1}, "file") == {"a": 1}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "settings: Field required"),
        ([], "file: Input should be"),
        ({**GOOD, "settings": {"size": "3"}}, "settings.size: Input should be a valid integer"),
        ({**GOOD, "settings": {"size": 3.0}}, "settings.size"),
        ({**GOOD, "settings": {"size": True}}, "settings.size"),
        ({**GOOD, "settings": {"size": 0}}, "settings: size=0; give 1 or more"),
        ({**GOOD, "settings": {"names": ["a", None]}}, "settings.names.1"),
        ({**GOOD, "settings": {"sise": 3}}, "settings.sise"),
        ({**GOOD, "extra": 1}, "extra"),
        ({**GOOD, "a\nb\x1b[2J": 1}, r"a b\\x1b"),
        ({**GOOD, "more": {"x": math.nan}}, "no plain JSON"),
        ({**GOOD, "more": {"x": -math.inf}}, "no plain JSON"),
        ({**GOOD, "more": {"x": object()}}, "no plain JSON"),
    ],
)
def test_faults_are_one_line_that_names_the_place(value: object, said: str, refuses) -> None:
    with refuses(ConfigError, said):
        conform(Record, value, "file", error=ConfigError, cure="mend it")
    with pytest.raises(FormatError, match="write it again"):
        conform(Record, value, "file")


@given(st.integers(min_value=190, max_value=3000))
def test_deep_nesting_is_refused_or_read(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    try:
        conform(Record, {**GOOD, "more": value}, "file")
    except FormatError:
        assert depth > 190
    else:
        assert depth < 200


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_any_value_fits_or_is_refused(value: object) -> None:
    for schema in (Record, Settings, dict[str, Settings], list[int]):
        try:
            conform(schema, value, "file")
        except FormatError as error:
            assert str(error).isprintable()  # noqa: PT017


def test_files(tmp_path: Path, refuses) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    assert read_json(path, Record) == conform(Record, GOOD, "file")
    for data in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": NaN}', json.dumps(GOOD).encode() + b"1"):
        path.write_bytes(data)
        with refuses(FormatError, "record.json"):
            read_json(path, Record)
    with refuses(FormatError, "larger than 3 bytes"):
        read_json(path, Record, most=3)
    with refuses(FormatError, "missing"):
        read_json(tmp_path / "missing", Record)
    with refuses(FormatError, "cannot be read"):
        read_json(tmp_path, Record)
