"""Functions compiled by numba, kept on disk where a folder for that can be written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numba

Compiled = Callable[..., Any]  # numba has no types


def compiled(function: Compiled) -> Compiled:
    """`function` compiled by numba without holding the GIL, by the types of its arguments at their first use.

    Machine code is kept in numba's cache: beside the source, or in the user's cache folder. Where neither can be
    written (a read-only installation without a home, a full disk), each process compiles again.
    """
    try:
        cached: Any = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba: "no locator available"
        uncached: Compiled = numba.njit(nogil=True)(function)
        return uncached
    save = cached._cache.save_overload

    def save_if_possible(*arguments: Any) -> None:
        with contextlib.suppress(OSError):  # a full disk shows only here, at the first call
            save(*arguments)

    cached._cache.save_overload = save_if_possible
    kept: Compiled = cached
    return kept
