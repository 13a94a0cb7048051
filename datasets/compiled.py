"""Functions that numba compiles when they are first called: to import it takes as long as half of this package."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial, update_wrapper
from typing import Any, overload

Kernel = Callable[..., Any]  # numba has no types


@overload
def compiled(function: Kernel) -> Compiled: ...
@overload
def compiled(*, fastmath: set[str]) -> Callable[[Kernel], Compiled]: ...


def compiled(function: Kernel | None = None, *, fastmath: set[str] | None = None) -> Any:
    """`function` compiled by numba without holding the GIL, by the types of its arguments at their first use.

    Machine code is kept in NUMBA_CACHE_DIR or the user's cache folder (`~/.cache/numba`), never beside the source:
    `pip uninstall` would leave it there, an empty package in front of the next installation. Where neither can be
    written (no home, a full disk), each process compiles again. A damaged cache is emptied. With numba's
    NUMBA_DISABLE_JIT=1 it is `function` that is called.

    Args:
        function: to be compiled; without one, a decorator.
        fastmath: liberties that floating-point sums may take, by LLVM's names; by default none.
    """
    if function is None:
        return partial(Compiled, fastmath=fastmath or set())
    return Compiled(function, set())


class Compiled:
    """A function with its machine code, which is made, and numba imported, when it is first asked for."""

    def __init__(self, function: Kernel, fastmath: set[str]) -> None:
        update_wrapper(self, function)
        self._function, self._fastmath = function, fastmath

    def __call__(self, *arguments: Any) -> Any:
        return self.machine_code(*arguments)

    def __reduce__(self) -> str:
        return self._function.__qualname__  # pickled as functions are, by where it stands

    @cached_property
    def machine_code(self) -> Any:
        """What numba made of the function; with NUMBA_DISABLE_JIT=1 the function itself."""
        from .machine_code import machine_code

        return machine_code(self._function, self._fastmath)
