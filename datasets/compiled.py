"""Functions compiled by numba, kept on disk where a folder for that can be written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, overload

import numba

Compiled = Callable[..., Any]  # numba has no types


@overload
def compiled(function: Compiled) -> Compiled: ...
@overload
def compiled(*, fastmath: set[str]) -> Callable[[Compiled], Compiled]: ...


def compiled(function: Compiled | None = None, *, fastmath: set[str] | None = None) -> Any:
    """`function` compiled by numba without holding the GIL, by the types of its arguments at their first use.

    Machine code is kept in numba's cache: beside the source, or in the user's cache folder. Where neither can be
    written (a read-only installation without a home, a full disk), each process compiles again.

    Args:
        function: to be compiled; without one, a decorator.
        fastmath: liberties that floating-point sums may take, by LLVM's names; by default none.
    """
    if function is None:
        return partial(_compiled, fastmath=fastmath or False)
    return _compiled(function)


def _compiled(function: Compiled, fastmath: Any = False) -> Compiled:
    try:
        cached: Any = numba.njit(cache=True, nogil=True, fastmath=fastmath)(function)
    except RuntimeError:  # numba: "no locator available"
        uncached: Compiled = numba.njit(nogil=True, fastmath=fastmath)(function)
        return uncached
    save = cached._cache.save_overload

    def save_if_possible(*arguments: Any) -> None:
        with contextlib.suppress(OSError):  # a full disk shows only here, at the first call
            save(*arguments)

    cached._cache.save_overload = save_if_possible
    kept: Compiled = cached
    return kept
