"""PyTorch on one thread of the processor, whatever the process is set to.

A sum's last bits depend on how many threads it is shared among, on some processors, and an
estimate that is chosen among candidates can fall the other way. The number is kept in three
places: PyTorch's own, the OpenMP runtime's for the calling thread, and MKL's for the process.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from threadpoolctl import LibController, ThreadpoolController

__all__ = ["one_thread"]


class _Users:
    """How many are inside, and what the process had before the first of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0
        self.before = 1


_users = _Users()


@cache
def _openmp() -> tuple[LibController, ...]:
    """Return the OpenMP runtimes, whose number is the calling thread's own."""
    return tuple(ThreadpoolController().select(user_api="openmp").lib_controllers)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute on the calling thread alone; any number of threads may be inside.

    The last one to leave restores what the process had when the first came, and each what its own
    thread had; a thread that first came to PyTorch meanwhile keeps one.
    """
    # Asked for first: a new thread has the runtime's own number until then.
    own = torch.get_num_threads()
    with _users.lock:
        if _users.count == 0:
            _users.before = own
        _users.count += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _users.lock:
            _users.count -= 1
            if _users.count == 0:
                torch.set_num_threads(_users.before)
        if own != torch.get_num_threads():
            for library in _openmp():
                library.set_num_threads(own)
