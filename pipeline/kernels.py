"""Compiled loops, cached on disk in a way that several processes can share.

numba's own cache numbers its files by what an index said a moment before, so two processes that
compile different signatures of one function at the same time can each be given the other's code,
and crash with it from then on. Here its reads and writes wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from filelock import FileLock
from numba.core.caching import IndexDataCacheFile

__all__ = ["kernel"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _SharedCacheFile(IndexDataCacheFile):
    """numba's index and data files of one function, behind a lock."""

    def save(self, key: Any, data: Any) -> None:
        with self._lock():
            super().save(key, data)

    def load(self, key: Any) -> Any:
        with self._lock():
            return super().load(key)

    def _lock(self) -> FileLock:
        return FileLock(f"{self._index_path}.lock")


def kernel(function: _Function) -> _Function:
    """Compile a function at its first call for each type of its arguments; it frees the GIL."""
    compiled: Any = numba.njit(cache=True, nogil=True)(function)
    compiled._cache._cache_file.__class__ = _SharedCacheFile
    return cast(_Function, compiled)
