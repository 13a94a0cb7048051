"""Functions compiled by numba, kept in the user's cache folder where it can be written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, ClassVar

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.extending import typeof_impl

from .compiled import Compiled


def machine_code(function: Callable[..., Any], fastmath: set[str]) -> Any:
    """The function as numba's dispatcher, or as it is with NUMBA_DISABLE_JIT=1; the rest as in `compiled`."""
    kept: Any = numba.njit(nogil=True, fastmath=fastmath or False)(function)
    if kept is not function:
        with contextlib.suppress(RuntimeError):  # numba: "no locator available"
            kept._cache = _Cache(function)
    return kept


@typeof_impl.register(Compiled)  # type: ignore[untyped-decorator]
def _type_of(value: Compiled, context: Any) -> Any:
    """One compiled function calls another by what numba made of it."""
    return typeof_impl(value.machine_code, context)


class _Places(CompileResultCacheImpl):  # type: ignore[misc]
    """All of numba's places for machine code but the one beside the source."""

    _locator_classes: ClassVar = [
        place for place in CompileResultCacheImpl._locator_classes if "InTree" not in str(place)
    ]


class _Cache(FunctionCache):  # type: ignore[misc]
    """A cache that cannot be read or written passes for an empty one; numba's would raise at the first call."""

    _impl_class = _Places

    def load_overload(self, *arguments: Any) -> Any:
        try:
            return super().load_overload(*arguments)
        except Exception:  # bytes that a crash cut off are a pickle of anything
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, *arguments: Any) -> None:
        with contextlib.suppress(OSError):  # a full disk shows only here
            super().save_overload(*arguments)
