"""The reader of released pickles: it loads what numpy wrote and never runs what somebody else wrote."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sketchless.datasets.errors import DataError, FormatError, ResourceError, SketchlessError, UnsafeFileError
from sketchless.datasets.formats import legacy_pickle
from sketchless.datasets.formats.legacy_pickle import load_legacy_pickle

Write = Callable[[Any], Path]
POINTS = np.array([[10.5, 20.25, 0], [200.125, 30, 1]])
# Written by Python 2's pickle.dumps({"/train/caf\xe9_1": array}, protocol): bytes stand as escaped text.
RAW = POINTS.astype("<f8").tobytes()


def python_2(protocol: int) -> bytes:
    if protocol == 0:
        quoted = "".join(chr(b) if 32 <= b < 127 and chr(b) not in "'\\" else f"\\x{b:02x}" for b in RAW)
        return (
            "(dp0\nS'/train/caf\\xe9_1'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\n"
            "tp4\nS'b'\np5\ntp6\nRp7\n(I1\n(I2\nI3\ntp8\ncnumpy\ndtype\np9\n(S'f8'\np10\nI0\nI1\ntp11\nRp12\n(I3\n"
            f"S'<'\np13\nNNNI-1\nI-1\nI0\ntp14\nbI00\nS'{quoted}'\np15\ntp16\nbs."
        ).encode("latin-1")
    return (
        b"\x80\x02}q\x00U\x0d/train/caf\xe9_1q\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03"
        b"K\x00\x85q\x04U\x01bq\x05\x87q\x06Rq\x07(K\x01K\x02K\x03\x86q\x08cnumpy\ndtype\nq\tU\x02f8q\nK\x00K\x01"
        b"\x87q\x0bRq\x0c(K\x03U\x01<q\rNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0eb\x89"
        b"T" + struct.pack("<i", len(RAW)) + RAW + b"q\x0ftq\x10bs."
    )


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: Any, protocol: int = 3) -> Path:
        path = tmp_path / "ChairV2_Coordinate"
        path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
        return path

    return write


@pytest.mark.parametrize("protocol", range(5))
def test_42_loads_what_numpy_writes_today(protocol: int, tmp_path: Path) -> None:
    written = {
        "/train/a_1": POINTS,
        "/train/ä_2": np.asfortranarray(POINTS).astype(">f4"),
        "/test/b_1": np.array([[1, 2, 0], [3, 255, 1]], dtype=np.int16),
        "/test/b_2": POINTS[:, :2] > 20,
    }
    path = tmp_path / "X_Coordinate"
    path.write_bytes(pickle.dumps(written, protocol))
    read = load_legacy_pickle(path)
    assert list(read) == list(written)
    for key, array in written.items():
        assert read[key].dtype == array.dtype
        assert read[key].tolist() == array.tolist()
        assert not read[key].flags.writeable


def test_41_loads_the_old_name_of_numpys_core(write: Write) -> None:
    new = pickle.dumps({"/train/a_1": POINTS}, 3)
    assert b"numpy._core" in new or b"numpy.core" in new
    for name in (b"numpy.core", b"numpy._core"):
        path = write(new.replace(b"numpy._core", b"numpy.core").replace(b"numpy.core", name))
        assert (load_legacy_pickle(path)["/train/a_1"] == POINTS).all()


@pytest.mark.parametrize("protocol", [0, 2])
def test_43_loads_what_python_2_wrote(protocol: int, write: Write) -> None:
    with pytest.raises(UnicodeDecodeError):
        pickle.loads(python_2(protocol))  # so the case is the real one
    assert load_legacy_pickle(write(python_2(protocol)))["/train/café_1"].tolist() == POINTS.tolist()


def test_an_array_without_points(write: Write) -> None:
    assert load_legacy_pickle(write({"/train/a_1": np.zeros((0, 3))}))["/train/a_1"].shape == (0, 3)


def gadgets(marker: Path) -> dict[str, Any]:
    touch = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w')"
    return {
        "34 os.system": {"/train/a_1": Calls(os.system, touch)},
        "34 instead of the dict": Calls(os.system, touch),
        "35 builtins.eval": {"/train/a_1": Calls(eval, code)},
        "36 in a key": {(Calls(eval, code), 1): POINTS},
        "37 STACK_GLOBAL": pickle.dumps({"/train/a_1": Calls(eval, code)}, 4),
        "37 STACK_GLOBAL by hand": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c"
        + bytes([len(touch)])
        + touch.encode()
        + b"\x85R.",
        "38 copyreg._reconstructor": b"ccopyreg\n_reconstructor\n(cbuiltins\nobject\ncbuiltins\nobject\nNtR.",
        "38 copy_reg": b"ccopy_reg\n_reconstructor\n(c__builtin__\nobject\nc__builtin__\nobject\nNtR.",
        "39 numpy.load": {"/train/a_1": Calls(np.load, str(marker))},
        "39 numpy.memmap": b"cnumpy\nmemmap\n(V" + str(marker).encode() + b"\nVu1\nVw+\nI0\n(I9\nttR.",
        "INST": b"(S'" + touch.encode() + b"'\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\nS'" + touch.encode() + b"'\no.",
        "NEWOBJ": b"\x80\x02cnumpy\nndarray\n(K\x09t\x81.",
        "EXT1": b"\x80\x02\x82\x01.",
        "persistent id": b"Psomething\n.",
        "numpy inside a name": b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.",
        "nothing of numpy but its name": b"cnumpy\nndarray.tofile\n.",
        "codecs.decode": b"c_codecs\ndecode\n(Va\nVzip\ntR.",
        "encode to zip": b"c_codecs\nencode\n(Va\nVzip\ntR.",
        "calls ndarray": b"cnumpy\nndarray\n((I100000\nttR.",
        "BUILD on a name": b"cnumpy\nndarray\n(dVx\nI1\nsb.",
        "BUILD on a dict": b"(d(dVx\nI1\nsb.",
    }


@pytest.mark.parametrize("name", gadgets(Path("x")))
def test_nothing_is_run(name: str, write: Write, tmp_path: Path, refuses: Any) -> None:
    marker = tmp_path / "ran"
    path = write(gadgets(marker)[name])
    with refuses(UnsafeFileError, "ChairV2_Coordinate: .*nothing was run"):
        load_legacy_pickle(path)
    assert not marker.exists()


def test_34_plain_pickle_would_have_run_it(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    pickle.loads(pickle.dumps(gadgets(marker)["34 os.system"]))
    assert marker.exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"K\x02K\x03\x86", b"K\x02\x8a\x06\x00\x10\xa5\xd4\xe8\x00\x86"),  # (2, 10**12)
        (b"K\x02K\x03\x86", b"\x8a\x06\x00\x10\xa5\xd4\xe8\x00K\x00\x86"),  # (10**12, 0)
        (b"K\x02K\x03\x86", b"K\x02K\x04\x86"),
        (b"K\x02K\x03\x86", b"K\x01K\x03\x86"),
        (b"K\x02K\x03\x86", b"J\xfe\xff\xff\xffJ\xfd\xff\xff\xff\x86"),  # (-2, -3)
        (b"K\x02K\x03\x86", b"K\x02\x88\x86"),  # (2, True)
        (b"K\x02K\x03\x86", b"(" + b"K\x01" * 80 + b"t"),
        (b"K\x02K\x03\x86", b"K\x02\x8a\xff" + b"\x7f" * 255 + b"\x86"),
    ],
)
def test_40_shape_and_content_disagree(old: bytes, new: bytes, write: Write, refuses: Any) -> None:
    whole = pickle.dumps({"/train/a_1": POINTS}, 3)
    assert old in whole
    with refuses(UnsafeFileError, "has an array"):
        load_legacy_pickle(write(whole.replace(old, new)))


def test_object_arrays(write: Write, refuses: Any) -> None:
    with refuses(UnsafeFileError, "Python objects"):
        load_legacy_pickle(write({"/train/a_1": np.array([POINTS, None], dtype=object)}))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        pytest.param([POINTS], "holds a list; expected a dictionary", id="46 list"),
        pytest.param(POINTS, "holds one Array", id="46 array"),
        pytest.param("text", "holds one str", id="46 text"),
        pytest.param({"/train/a_1": {"/train/a_1": POINTS}}, "record '/train/a_1' is a dict", id="nested"),
        pytest.param({"/train/a_1": None}, "is a NoneType", id="None"),
        pytest.param({"/train/a_1": 1.5}, "record '/train/a_1' is a float; expected a numeric array", id="float"),
        pytest.param({"/train/a_1": POINTS.tolist()}, "record '/train/a_1' is a list; expected a numeric", id="lists"),
        pytest.param({3: POINTS}, "a key is of type int", id="51 int key"),
        pytest.param({b"/train/a_1": POINTS}, "a key is of type bytes", id="51 bytes key"),
        pytest.param({"/train/a_1": POINTS.astype(complex)}, "'c16' is not a real number", id="complex"),
        pytest.param({"/train/a_1": POINTS.astype(str)}, "not a real number", id="text array"),
        pytest.param({"/train/a_1": np.zeros(2, dtype=[("x", "f8")])}, "not a real number", id="fields"),
        pytest.param({"/train/a_1": np.zeros(2, dtype="M8[s]")}, "not a real number", id="dates"),
        pytest.param({1, 2}, "asks for", id="set"),
        pytest.param(b"<html><body>Not found</body></html>", "is no pickle", id="HTML"),
        pytest.param(b"}V/a\nNV/a\nNu.", "damaged", id="no mark"),
        pytest.param(b"}(V/a\nNV/a\nNu.", "'/a' stands twice", id="53 twice"),
        pytest.param(b"(V/a\nd.", "damaged", id="key without value"),
        pytest.param(b"h\x07.", "damaged", id="empty memo"),
        pytest.param(b"S'a\n.", "without its quotes", id="open quote"),
        pytest.param(b".", "damaged", id="nothing"),
        pytest.param(b"I" + b"9" * 5000 + b"\n.", "damaged|holds one int", id="long number"),
    ],
)
def test_not_a_dictionary_of_arrays(content: Any, match: str, tmp_path: Path, write: Write, refuses: Any) -> None:
    with refuses(UnsafeFileError if "asks for" in match else FormatError, match):
        load_legacy_pickle(write(content))


def test_45_empty_file(write: Write, refuses: Any) -> None:
    with refuses(FormatError, "ChairV2_Coordinate: is empty"):
        load_legacy_pickle(write(b""))


@pytest.mark.parametrize("name", ["absent", "."])
def test_no_such_file(name: str, tmp_path: Path, refuses: Any) -> None:
    with refuses(DataError, "cannot be read"):
        load_legacy_pickle(tmp_path / name)


@pytest.mark.parametrize("protocol", [0, 2, 3, 4])
def test_44_cut_off_anywhere(protocol: int, write: Write) -> None:
    whole = python_2(0) if protocol == 0 else pickle.dumps({"/train/a_1": POINTS}, protocol)
    for end in range(1, len(whole)):
        with pytest.raises(FormatError) as caught:
            load_legacy_pickle(write(whole[:end]))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("protocol", [2, 4])
def test_any_changed_byte_gives_arrays_or_one_typed_error(protocol: int, write: Write) -> None:
    whole = pickle.dumps({"/train/a_1": POINTS, "/test/b_1": POINTS}, protocol)
    random = np.random.default_rng(protocol)
    messages: list[str] = []
    for place in range(len(whole)):
        for byte in random.integers(0, 256, 4).tolist():
            try:
                read = load_legacy_pickle(write(whole[:place] + bytes([byte]) + whole[place + 1 :]))
                assert all(isinstance(key, str) and array.dtype.kind in "fiub" for key, array in read.items())
            except SketchlessError as error:
                messages.append(str(error))
    assert messages
    assert not any("\n" in message for message in messages)


BOMBS = {
    "memo index": b"}r\xff\xff\xff\xff.",
    "memo index as text": b"}p999999999999\n.",
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 10**12) + b"x.",
    "text": b"\x80\x04\x8d" + struct.pack("<Q", 10**12) + b"x.",
    "number": b"\x80\x04\x8b" + struct.pack("<i", 2**31 - 1) + b"x.",
    "more than there can be": b"\x80\x04\x8e" + b"\xff" * 8 + b"x.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_47_bombs(name: str, write: Write, refuses: Any) -> None:
    with refuses(UnsafeFileError if "memo" in name else ResourceError, "memo index|claims"):
        load_legacy_pickle(write(BOMBS[name]))


def test_47_endless_opcodes(write: Write, monkeypatch: pytest.MonkeyPatch, refuses: Any) -> None:
    monkeypatch.setattr(legacy_pickle, "MAX_OPCODES", 1000)
    with refuses(ResourceError, "more than 1,000 pickle opcodes"):
        load_legacy_pickle(write(b"}" + b"q\x00" * 2000 + b"."))


def test_47_too_large_a_file(write: Write, monkeypatch: pytest.MonkeyPatch, refuses: Any) -> None:
    monkeypatch.setattr(legacy_pickle, "MAX_BYTES", 100)
    with refuses(ResourceError, "at most 100"):
        load_legacy_pickle(write({"/train/a_1": POINTS}))


def test_47_one_array_under_ten_thousand_keys(write: Write, refuses: Any) -> None:
    big = np.zeros((10_000, 3))
    with refuses(ResourceError, "grows beyond 4 times"):
        load_legacy_pickle(write({f"/train/a_{i}": big for i in range(10_000)}))


def test_47_a_key_that_takes_for_ever_to_hash(write: Write, refuses: Any) -> None:
    key = b"(t"
    for place in range(60):
        key += b"q" + bytes([place]) + b"h" + bytes([place]) + b"\x86"
    with refuses(FormatError, "a key is of type tuple"):
        load_legacy_pickle(write(b"\x80\x02}" + key + b"Ns."))


@pytest.mark.data
def test_the_released_file(chair_v2: Path) -> None:
    read = load_legacy_pickle(chair_v2 / "ChairV2_Coordinate")
    assert len(read) == 1275
    assert all(array.dtype == np.float64 and array.shape[1] == 3 for array in read.values())
    assert sum(map(len, read.values())) > 40 * 1275
