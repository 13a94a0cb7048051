"""Reader for the coordinate files that QMUL released as pickles; it never runs anything.

A pickle is a small program. This module does not hand it to `pickle`: it walks over the opcodes itself and
knows only the few that a dictionary of numeric arrays needs. The numpy names in such a file are never
imported; they are labels for the two things they make here, an array and its dtype.

`pickle.Unpickler` with a `find_class` of its own and a scan of the opcodes beforehand would be shorter, but it hashes
keys before anyone sees them (a key of 300 bytes, tuples in tuples, takes longer than a life), and of two records of
one key it keeps the last without a word.
"""

from __future__ import annotations

import codecs
import io
import math
import os
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DataError, FormatError, ResourceError, SketchlessError, UnsafeFileError

MAX_BYTES = 256 * 2**20  # the larger of the two released files has about 20 MiB
MAX_OPCODES = 2_000_000  # Chair-V2 has 26 thousand
MAX_GROWTH = 4  # arrays may share bytes, but all of them together stay below this many times the file

NumberArray = npt.NDArray[Any]

_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): "array",  # as numpy 1 wrote it
    ("numpy._core.multiarray", "_reconstruct"): "array",  # as numpy 2 writes it
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "bytes",  # how Python 3 writes bytes in protocols 0 to 2
}
_OPCODES = {info.code: info for info in pickletools.opcodes}
_RUNS_CODE = {
    "BINPERSID", "EXT1", "EXT2", "EXT4", "INST", "NEWOBJ", "NEWOBJ_EX", "NEXT_BUFFER", "OBJ", "PERSID",
}  # fmt: skip
_VALUES = {
    "BINBYTES", "BINBYTES8", "BININT", "BININT1", "BININT2", "BINSTRING", "BINUNICODE", "BINUNICODE8", "INT",
    "LONG", "LONG1", "LONG4", "SHORT_BINBYTES", "SHORT_BINSTRING", "SHORT_BINUNICODE", "STRING", "UNICODE",
}  # fmt: skip
_LENGTH_BYTES = {
    "BINBYTES": 4, "BINBYTES8": 8, "BINSTRING": 4, "BINUNICODE": 4, "BINUNICODE8": 8, "LONG4": 4,
}  # fmt: skip
_AGAIN = "write it again as a dictionary of numpy arrays, or get it again"
_OTHERS = {  # what a record is that begins with such an opcode
    **dict.fromkeys(("EMPTY_LIST", "LIST", "APPEND", "APPENDS"), "list"),
    **dict.fromkeys(("FLOAT", "BINFLOAT"), "float"),
    **dict.fromkeys(("EMPTY_SET", "ADDITEMS", "FROZENSET"), "set"),
}


def load_legacy_pickle(path: str | os.PathLike[str]) -> dict[str, NumberArray]:
    """Read a pickled dictionary of numeric arrays, as numpy under Python 2 or 3 wrote it (protocols 0 to 4).

    Returns:
        The arrays by their keys, in file order; any shape, bool, integer or float dtype; read-only.

    Raises:
        DataError: the file cannot be opened.
        FormatError: empty, cut off or damaged, or not a dictionary of str to numeric array.
        UnsafeFileError: it names anything but numpy's array and dtype, or claims what it does not hold.
        ResourceError: too large, in bytes or in opcodes.
    """
    try:
        size = os.path.getsize(path)
        if size > MAX_BYTES:
            raise ResourceError(f"{path}: {size:,} bytes; a coordinate file has at most {MAX_BYTES:,}, {_AGAIN}")
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    if not data:
        raise FormatError(f"{path}: is empty; {_AGAIN}")
    reader = _Reader(str(path), data)
    try:
        return reader.arrays(reader.run())
    except SketchlessError:
        raise
    except Exception as error:  # a damaged file can trip any of the little steps
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise FormatError(f"{path}: damaged near byte {reader.file.tell():,} ({reason}); {_AGAIN}") from error


@dataclass(eq=False)
class _Name:
    """A name of `_NAMES`, by what it makes."""

    makes: str


@dataclass(eq=False)
class _Dtype:
    code: str
    order: str = "="


@dataclass(eq=False)
class _Array:
    values: NumberArray | None = None


class _Reader:
    """The stack machine that a pickle is written for, reduced to what cannot hurt."""

    def __init__(self, where: str, data: bytes) -> None:
        self.where = where
        self.size = len(data)
        self.file = io.BytesIO(data)
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.spent = 0

    def run(self) -> object:
        for _ in range(MAX_OPCODES):
            name, argument = self.opcode()
            if name == "STOP":
                return self.stack.pop()
            if name in _VALUES:
                self.stack.append(argument)
            elif name in _ACTIONS:
                _ACTIONS[name](self, argument)
            else:
                raise self.wrong(self.other(name))
        raise ResourceError(f"{self.where}: more than {MAX_OPCODES:,} pickle opcodes; {_AGAIN}")

    def other(self, name: str) -> str:
        """What stands where an array should."""
        what = f"a {_OTHERS[name]}" if name in _OTHERS else f"something else (pickle opcode {name})"
        key = self.stack[-1] if self.stack and isinstance(self.stack[-1], str) else None
        if key is None:
            return f"holds {what}; expected a dictionary of str to numeric array"
        return f"record {key[:80]!r} is {what}; expected a numeric array"

    def opcode(self) -> tuple[str, Any]:
        code = self.file.read(1)
        if not code:
            raise self.wrong("ends in the middle")
        info = _OPCODES.get(code.decode("latin-1"))
        if info is None:
            raise self.wrong(f"is no pickle: no opcode is {code!r}")
        if info.name in _RUNS_CODE:
            raise self.unsafe(f"uses the pickle opcode {info.name}, which can run code")
        if info.name == "GLOBAL":
            return info.name, (self.line().decode("latin-1"), self.line().decode("latin-1"))
        if info.name == "STRING":
            # Python 2 wrote array bytes so; the reader of `pickletools` stops at the first non-ASCII one.
            text = self.line()
            if len(text) < 2 or text[:1] not in b"'\"" or text[:1] != text[-1:]:
                raise self.wrong("has a string without its quotes")
            return info.name, codecs.escape_decode(text[1:-1])[0].decode("latin-1")
        if info.name in _LENGTH_BYTES:
            start = self.file.tell()
            claim = int.from_bytes(self.file.read(_LENGTH_BYTES[info.name]), "little")
            if claim > MAX_BYTES:
                raise ResourceError(f"{self.where}: byte {start:,} claims {claim:,} more bytes; {_AGAIN}")
            self.file.seek(start)
        return info.name, info.arg.reader(self.file) if info.arg else None

    def line(self) -> bytes:
        line = self.file.readline()
        if not line.endswith(b"\n"):
            raise self.wrong("ends in the middle")
        return line.strip()

    def arrays(self, content: object) -> dict[str, NumberArray]:
        if not isinstance(content, dict):
            kind = type(content).__name__.strip("_")
            raise self.wrong(f"holds one {kind}; expected a dictionary of str to numeric array")
        found = {}
        for key, value in content.items():
            if not isinstance(value, _Array) or value.values is None:
                kind = type(value).__name__.strip("_")
                raise self.wrong(f"record {key[:80]!r} is a {kind}; expected a numeric array")
            self.spend(value.values.nbytes)
            found[key] = value.values
        return found

    def wrong(self, what: str) -> FormatError:
        return FormatError(f"{self.where}: {what} (byte {self.file.tell():,}); {_AGAIN}")

    def unsafe(self, what: str) -> UnsafeFileError:
        return UnsafeFileError(f"{self.where}: {what} (byte {self.file.tell():,}); nothing was run, do not use it")

    def spend(self, n_bytes: int) -> None:
        self.spent += n_bytes
        if self.spent > MAX_GROWTH * self.size:
            raise ResourceError(f"{self.where}: grows beyond {MAX_GROWTH} times its {self.size:,} bytes; {_AGAIN}")

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.outer.pop()
        return items

    def mark(self, _: object) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def tuple_of(self, n: int) -> None:
        self.stack[-n:] = [tuple(self.stack[-n:])]

    def marked_tuple(self, _: object) -> None:
        items = tuple(self.since_mark())
        self.stack.append(items)

    def marked_dict(self, _: object) -> None:
        items = self.since_mark()
        self.stack.append({})
        self.set_items(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise self.wrong("fills something that is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Before it is hashed: the hash of tuples in tuples can take for ever.
            if not isinstance(key, str):
                raise self.wrong(f"a key is of type {type(key).__name__.strip('_')}; expected str")
            if key in target:
                raise self.wrong(f"record {key[:80]!r} stands twice")
            target[key] = value

    def put(self, index: int) -> None:
        if not 0 <= index < MAX_OPCODES:
            raise self.unsafe(f"stores under memo index {index:,}")
        self.memo[index] = self.stack[-1]

    def name(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str) or (module, name) not in _NAMES:
            what = f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else "something unreadable"
            raise self.unsafe(f"asks for {what[:80]!r}, no part of a coordinate file")
        self.stack.append(_Name(_NAMES[module, name]))

    def reduce(self, _: object) -> None:
        arguments, maker = self.stack.pop(), self.stack.pop()
        makes = maker.makes if isinstance(maker, _Name) and isinstance(arguments, tuple) else None
        if makes == "array" and len(arguments) == 3 and getattr(arguments[0], "makes", None) == "ndarray":
            self.stack.append(_Array())
        elif makes == "dtype" and arguments and isinstance(arguments[0], (str, bytes)):
            self.stack.append(self.dtype(arguments[0]))
        elif makes == "bytes" and len(arguments) == 2 and arguments[1] in ("latin1", "latin-1"):
            self.stack.append(arguments[0])  # `array` encodes it
        else:
            raise self.unsafe("calls something in a way that no coordinate file does")

    def dtype(self, code: str | bytes) -> _Dtype:
        text = code if isinstance(code, str) else code.decode("latin-1")
        if text.lstrip("|<>=").startswith("O"):
            raise self.unsafe("holds an array of Python objects")
        found = re.fullmatch(r"[|<>=]?(b1|[iu][1248]|f[248])", text)
        if not found:
            raise self.wrong(f"dtype {text[:40]!r} is not a real number")
        return _Dtype(found[1])

    def build(self, _: object) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, _Dtype) and isinstance(state, tuple):
            if len(state) < 5 or state[1] not in ("<", ">", "|", "=") or state[2:5] != (None, None, None):
                raise self.wrong("has a dtype with fields or an unknown byte order")
            target.order = state[1]
        elif isinstance(target, _Array) and isinstance(state, tuple):
            target.values = self.array(state)
        else:
            raise self.unsafe("sets the state of something that is no array")

    def array(self, state: tuple[Any, ...]) -> NumberArray:
        _, shape, dtype, fortran, raw = state
        if isinstance(raw, str):
            self.spend(len(raw))
            raw = raw.encode("latin-1")
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes) or not isinstance(shape, tuple):
            raise self.wrong("has an array without shape, dtype or content")
        if len(shape) > 8 or not all(type(n) is int and 0 <= n < 2**63 for n in shape):
            raise self.unsafe("has an array whose shape is no shape")
        kind = np.dtype(dtype.order + dtype.code)
        if max(shape, default=0) > self.size or math.prod(shape) * kind.itemsize != len(raw):
            raise self.unsafe(f"has an array that claims shape {shape} of {kind} but holds {len(raw):,} bytes")
        array: NumberArray = np.ndarray(shape, kind, buffer=raw, order="F" if fortran else "C")
        return array


_Action = Callable[[_Reader, Any], None]
_ACTIONS: dict[str, _Action] = {
    "PROTO": lambda reader, _: None,
    "FRAME": lambda reader, _: None,
    "NONE": lambda reader, _: reader.stack.append(None),
    "NEWTRUE": lambda reader, _: reader.stack.append(True),
    "NEWFALSE": lambda reader, _: reader.stack.append(False),
    "MARK": _Reader.mark,
    "EMPTY_TUPLE": lambda reader, _: reader.stack.append(()),
    "TUPLE": _Reader.marked_tuple,
    "TUPLE1": lambda reader, _: reader.tuple_of(1),
    "TUPLE2": lambda reader, _: reader.tuple_of(2),
    "TUPLE3": lambda reader, _: reader.tuple_of(3),
    "EMPTY_DICT": lambda reader, _: reader.stack.append({}),
    "DICT": _Reader.marked_dict,
    "SETITEM": lambda reader, _: reader.set_items([reader.stack.pop() for _ in range(2)][::-1]),
    "SETITEMS": lambda reader, _: reader.set_items(reader.since_mark()),
    "PUT": _Reader.put,
    "BINPUT": _Reader.put,
    "LONG_BINPUT": _Reader.put,
    "MEMOIZE": lambda reader, _: reader.put(len(reader.memo)),
    "GET": lambda reader, index: reader.stack.append(reader.memo[index]),
    "BINGET": lambda reader, index: reader.stack.append(reader.memo[index]),
    "LONG_BINGET": lambda reader, index: reader.stack.append(reader.memo[index]),
    "GLOBAL": lambda reader, text: reader.name(*text),
    "STACK_GLOBAL": lambda reader, _: reader.name(*[reader.stack.pop() for _ in range(2)][::-1]),
    "REDUCE": _Reader.reduce,
    "BUILD": _Reader.build,
}
