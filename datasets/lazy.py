"""What stays in its files, or is neither made nor imported, until it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from typing import NamedTuple, TypeVar, overload

from .sketch import Drawing

Value = TypeVar("Value")

KEPT = 256  # drawings read last; a picture takes 64 KB


class Item(NamedTuple):
    """Where one sketch lies."""

    id: str  # unique within the data set: a path below its folder, or a record of such a file
    size: int  # bytes
    offset: int = 0  # bytes from the start of the file, for a record


class LazySketches(Sequence[Drawing]):
    """Drawings of one kind (all vectors or all pictures), each read when it is asked for; the last ones are kept.

    Args:
        items: N places, in order.
        read: gives the drawing at a place; its errors come through when the drawing is asked for.
    """

    def __init__(self, items: Sequence[Item], read: Callable[[Item], Drawing]) -> None:
        self.items = tuple(items)
        self._read = read
        self._kept = lru_cache(KEPT)(read)

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, place: int) -> Drawing: ...

    @overload
    def __getitem__(self, place: slice) -> LazySketches: ...

    def __getitem__(self, place: int | slice) -> Drawing | LazySketches:
        if isinstance(place, slice):
            return LazySketches(self.items[place], self._read)
        return self._kept(self.items[place])

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the drawings, none of them read."""
        return tuple(item.id for item in self.items)


class OnDemand(Mapping[str, Value]):
    """A value by name, each made when it is first asked for, and kept.

    Args:
        make: functions that make the values; where they can be pickled, so can this.
    """

    def __init__(self, make: Mapping[str, Callable[[], Value]]) -> None:
        self._make = dict(make)
        self._made: dict[str, Value] = {}

    def __getitem__(self, name: str) -> Value:
        if name not in self._made:
            self._made[name] = self._make[name]()
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._make

    def __iter__(self) -> Iterator[str]:
        return iter(self._make)

    def __len__(self) -> int:
        return len(self._make)


def on_demand(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package, some names of which are imported when they are asked for (PEP 562).

    Its modules are found by their names, too, as if the package had imported them.

    Args:
        package: its `__name__`.
        homes: modules of the package by the names that stand in them.
    """

    def get(name: str) -> object:
        if not name.isidentifier():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = f"{package}.{homes.get(name, name)}"
        try:
            found = import_module(module)
        except ModuleNotFoundError as error:
            if name in homes or error.name != module:  # something else is not installed
                raise
            raise AttributeError(f"module {package!r} has no attribute {name!r}") from None
        return getattr(found, name) if name in homes else found

    def names() -> list[str]:
        known = vars(sys.modules[package])
        return sorted({*known, *known["__all__"]})

    return get, names
