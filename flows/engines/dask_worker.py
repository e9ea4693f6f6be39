"""What happens in Dask's workers: a step at a time, on one thread, and its look-ups told."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import TypeVar

from flows.dependencies.version import packages_version
from flows.engines.threads import limit_torch, one_blas_thread
from flows.storage.lookups import Lookup, looked_up
from flows.versions import versions

__all__ = [
    "SCRATCH",
    "SCRATCH_VARIABLE",
    "glimpse",
    "host_mark",
    "scratch_prefix",
    "settle_in",
    "told_versions",
    "work",
]

SCRATCH = "stemwright-dask-"
# Tells the fork server which folder to remove when the run is dead.
SCRATCH_VARIABLE = "STEMWRIGHT_DASK_SCRATCH"

A = TypeVar("A")
B = TypeVar("B")


def host_mark() -> str:
    """Return a short mark of this machine."""
    return hashlib.blake2b(os.fsencode(socket.gethostname()), digest_size=4).hexdigest()


def scratch_prefix() -> str:
    """Return the beginning of a scratch folder's name, which tells whose it is."""
    return f"{SCRATCH}{os.getpid()}.{host_mark()}-"


def settle_in() -> None:
    """Prepare a worker process of our own: Ctrl-C in the terminal is the run's affair."""
    with contextlib.suppress(ValueError):  # only a main thread may say so
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def work(step: Callable[[A], B], item: A) -> tuple[B, list[Lookup]]:
    """Run a step on one thread; return its result and what it looked up in the store."""
    limit_torch()
    with one_blas_thread(), looked_up() as lookups:
        result = step(item)
    return result, lookups


def told_versions() -> dict[str, str]:
    """Return the versions that results depend on, and a hash of this project's code."""
    code = packages_version("pipeline", "stage1", "stage2", "flows")
    return {**versions(), "code": code[:12]}


def glimpse(folder: str, name: str) -> str:
    """Return whether a folder holds that name; for no name, a hash of all the names in it."""
    try:
        names = sorted(os.fsencode(entry.name) for entry in os.scandir(folder))
    except OSError as error:
        return error.strerror or str(error)
    if name:
        return "there" if os.fsencode(name) in names else "not there"
    return hashlib.blake2b(b"\0".join(names), digest_size=8).hexdigest()
