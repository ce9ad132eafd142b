"""Functions compiled by Numba, kept on disk for later runs wherever there is a place for them."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

from fgsn_ros.caches import private_folder

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(**options: Any) -> Callable[[Function], Function]:
    """As `numba.njit` with a cache, whose place may be missing and whose files may be damaged."""

    def compiled(function: Function) -> Function:
        dispatcher = numba.njit(**options)(function)
        cache = _cache_of(function)
        if cache is not None:
            dispatcher._cache = cache
        return cast(Function, dispatcher)

    return compiled


_Untyped: Any = FunctionCache


class _Cache(_Untyped):  # type: ignore[misc]
    """Numba's cache; what a power cut left of it, or a full disk, costs but a compilation."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # of a damaged file almost anything
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):
            super().save_overload(sig, data)


def _cache_of(function: Callable[..., Any]) -> _Cache | None:
    """A function's cache beside its file, in the home or in the private folder."""
    with suppress(RuntimeError):  # no place for it
        return _Cache(function)
    folder = private_folder()
    if folder is None:
        return None
    numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    with suppress(RuntimeError):
        return _Cache(function)
    return None
