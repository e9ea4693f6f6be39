"""How many threads the numeric libraries may use while steps run beside each other."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager

from threadpoolctl import threadpool_limits

__all__ = ["default_workers", "limit_torch", "one_blas_thread", "one_torch_thread"]


def default_workers() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def one_torch_thread() -> Iterator[None]:
    """Keep torch, if it is loaded, to one thread inside the block and the threads it starts.

    Sums over several threads round differently, so the number must not follow from the machine;
    and workers times torch's threads would be more than the cores can do.
    """
    torch = sys.modules.get("torch")
    before = None if torch is None else torch.get_num_threads()
    limit_torch()
    try:
        yield
    finally:
        torch = sys.modules.get("torch")
        if torch is not None:
            # A step that loaded torch has set the default of the whole process to one thread.
            torch.set_num_threads(before or default_workers())


def one_blas_thread() -> AbstractContextManager[object]:
    """Keep BLAS to one thread inside the block, for the whole process.

    Steps that set this limit for themselves lift it, when they end, for those beside them too.
    """
    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits


def limit_torch() -> None:
    """Keep torch, if it is loaded, to one thread from now on."""
    torch = sys.modules.get("torch")
    # A torch that another thread is still importing has no functions yet.
    if torch is not None and hasattr(torch, "set_num_threads") and torch.get_num_threads() != 1:
        torch.set_num_threads(1)
