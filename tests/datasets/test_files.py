"""What killed processes leave, and what two at once may not take from each other."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sketchless.datasets.files import replacing

DIES = """
import os, signal, sys
from sketchless.datasets.files import replacing
with replacing(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_save_leaves_nothing_for_long(tmp_path: Path) -> None:
    target = tmp_path / "a[1].json"
    subprocess.run([sys.executable, "-c", DIES, str(target)], check=False)
    assert [path.name.split(".tmp-")[0] for path in tmp_path.iterdir()] == ["a[1].json"]  # there was one
    with replacing(target) as temporary:
        temporary.write_text("whole")
    assert list(tmp_path.iterdir()) == [target]
    assert target.read_text() == "whole"


def test_what_another_one_is_writing_stays(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    with replacing(target) as first:
        first.write_text("first")
        with replacing(target) as second:
            second.write_text("second")
        assert target.read_text() == "second"
        assert first.exists()
    assert target.read_text() == "first"


def test_many_at_once_all_end_well(tmp_path: Path) -> None:
    target, faults = tmp_path / "a.json", []

    def write(text: str) -> None:
        try:
            for _ in range(50):
                with replacing(target) as temporary:
                    temporary.write_text(text)
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=write, args=(f"{i}" * 1000,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert list(tmp_path.iterdir()) == [target]
    assert len(set(target.read_text())) == 1


@pytest.mark.parametrize("name", ["b.json", "a.json.bak"])
def test_files_of_other_names_stay(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.tmp-x").write_text("of another file")
    with replacing(tmp_path / "a.json") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / f"{name}.tmp-x").exists()
