"""Compiled loops, cached on disk in a way that several processes can share.

numba's own cache numbers its files by what an index said a moment before, so two processes that
compile different signatures of one function at the same time can each be given the other's code,
and crash with it from then on. Here its reads and writes wait for each other.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from filelock import FileLock
from numba.core import config
from numba.core.caching import IndexDataCacheFile

__all__ = ["kernel"]

_LOG = logging.getLogger(__name__)

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


def _move_cache(installation: Path) -> bool:
    """Keep what is compiled in a folder of this process and its children; False if there is none.

    It lies where only this user can write, as code is run from it.
    """
    if os.environ.get("NUMBA_CACHE_DIR"):
        return False
    try:
        folder = tempfile.mkdtemp(prefix="stemwright-compiled-")
    except OSError:
        return False
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = folder
    config.reload_config()
    _LOG.warning(
        "compiled code can be kept neither in %s nor in the cache of %s, which cannot be written: "
        "every start takes a minute longer (set NUMBA_CACHE_DIR to a folder that can)",
        installation,
        os.path.expanduser("~"),  # noqa: PTH111 - never raises
    )
    return True


def kernel(function: _Function) -> _Function:
    """Compile a function at its first call for each type of its arguments; it frees the GIL."""
    try:
        compiled: Any = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither the installation nor the user's cache can be written
        if not _move_cache(Path(function.__code__.co_filename).parent):
            return cast(_Function, numba.njit(nogil=True)(function))
        compiled = numba.njit(cache=True, nogil=True)(function)
    compiled._cache._cache_file.__class__ = _SharedCacheFile
    return cast(_Function, compiled)
