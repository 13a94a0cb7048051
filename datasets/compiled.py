"""Functions compiled by numba, kept in the user's cache folder where it can be written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, cast, overload

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache

Compiled = Callable[..., Any]  # numba has no types


@overload
def compiled(function: Compiled) -> Compiled: ...
@overload
def compiled(*, fastmath: set[str]) -> Callable[[Compiled], Compiled]: ...


def compiled(function: Compiled | None = None, *, fastmath: set[str] | None = None) -> Any:
    """`function` compiled by numba without holding the GIL, by the types of its arguments at their first use.

    Machine code is kept in NUMBA_CACHE_DIR or the user's cache folder (`~/.cache/numba`), never beside the source:
    `pip uninstall` would leave it there, an empty package in front of the next installation. Where neither can be
    written (no home, a full disk), each process compiles again. A damaged cache is emptied. With numba's
    NUMBA_DISABLE_JIT=1 it is `function` itself.

    Args:
        function: to be compiled; without one, a decorator.
        fastmath: liberties that floating-point sums may take, by LLVM's names; by default none.
    """
    if function is None:
        return partial(_compiled, fastmath=fastmath or False)
    return _compiled(function)


def _compiled(function: Compiled, fastmath: Any = False) -> Compiled:
    kept: Any = numba.njit(nogil=True, fastmath=fastmath)(function)
    if kept is not function:  # as it is with NUMBA_DISABLE_JIT=1
        with contextlib.suppress(RuntimeError):  # numba: "no locator available"
            kept._cache = _Cache(function)
    return cast(Compiled, kept)


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
