"""Functions compiled by numba, kept on disk where a folder for that can be written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, cast, overload

import numba

Compiled = Callable[..., Any]  # numba has no types


@overload
def compiled(function: Compiled) -> Compiled: ...
@overload
def compiled(*, fastmath: set[str]) -> Callable[[Compiled], Compiled]: ...


def compiled(function: Compiled | None = None, *, fastmath: set[str] | None = None) -> Any:
    """`function` compiled by numba without holding the GIL, by the types of its arguments at their first use.

    Machine code is kept in numba's cache: beside the source, or in the user's cache folder. Where neither can be
    written (a read-only installation without a home, a full disk), each process compiles again. A damaged cache is
    emptied. With numba's NUMBA_DISABLE_JIT=1 it is `function` itself.

    Args:
        function: to be compiled; without one, a decorator.
        fastmath: liberties that floating-point sums may take, by LLVM's names; by default none.
    """
    if function is None:
        return partial(_compiled, fastmath=fastmath or False)
    return _compiled(function)


def _compiled(function: Compiled, fastmath: Any = False) -> Compiled:
    kept: Any
    try:
        kept = numba.njit(cache=True, nogil=True, fastmath=fastmath)(function)
    except RuntimeError:  # numba: "no locator available"
        kept = numba.njit(nogil=True, fastmath=fastmath)(function)
        return cast(Compiled, kept)
    if kept is not function:  # as it is with NUMBA_DISABLE_JIT=1
        _forgive(kept._cache)
    return cast(Compiled, kept)


def _forgive(cache: Any) -> None:
    """Let a cache that cannot be read or written pass for an empty one; numba would raise at the first call."""
    load, save = cache.load_overload, cache.save_overload

    def load_if_possible(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        except Exception:  # bytes that a crash cut off are a pickle of anything
            with contextlib.suppress(OSError):
                cache.flush()
            return None

    def save_if_possible(*arguments: Any) -> None:
        with contextlib.suppress(OSError):  # a full disk shows only here
            save(*arguments)

    cache.load_overload, cache.save_overload = load_if_possible, save_if_possible
