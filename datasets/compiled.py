"""Functions compiled by numba, kept on disk where a folder for that can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

Compiled = Callable[..., Any]  # numba has no types


def compiled(function: Compiled) -> Compiled:
    """`function` compiled by numba without holding the GIL, by the types of its arguments at their first use.

    Machine code is kept in numba's cache: beside the source, or in the user's cache folder. Where neither can be
    written (a read-only installation without a home), each process compiles again.
    """
    try:
        compiled_function: Compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba: "no locator available"
        compiled_function = numba.njit(nogil=True)(function)
    return compiled_function
