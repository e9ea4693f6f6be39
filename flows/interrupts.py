"""Ctrl-C that is not lost: a C library's callback swallows what is raised inside it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

__all__ = ["Stopped", "lost_interrupts"]


class Stopped(SystemExit):
    """Raised inside a step at work after Ctrl-C, so that it cleans up and ends.

    A ``SystemExit``, because a thread that dies of one dies without a word.
    """


@contextlib.contextmanager
def lost_interrupts() -> Iterator[Callable[[], None]]:
    """Notice Ctrl-C where a callback swallows it; yield a function that raises it after all.

    libsndfile writes through such callbacks and LLVM reports through them: without this the run
    would go on, with a write left out in the middle of a file.
    """
    before = sys.unraisablehook
    swallowed = False

    def hook(told: sys.UnraisableHookArgs, /) -> None:
        nonlocal swallowed
        if issubclass(told.exc_type, KeyboardInterrupt):
            swallowed = True
        elif not issubclass(told.exc_type, Stopped):
            before(told)

    def raise_lost() -> None:
        if swallowed:
            raise KeyboardInterrupt

    sys.unraisablehook = hook
    try:
        yield raise_lost
    finally:
        sys.unraisablehook = before
