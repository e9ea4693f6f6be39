"""Where the steps of a recipe run: threads of this process, a Prefect flow, or Dask's workers.

A recipe is one function over an :class:`Engine`, written once and run by any of them. Steps take
and return paths and small records. This module never imports Prefect or Dask; a local run starts
at once.
"""

from __future__ import annotations

import ctypes
import queue
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar, cast

from flows.engines.base import Unwatched
from flows.engines.threads import default_workers, limit_torch, one_blas_thread, one_torch_thread
from flows.interrupts import Stopped, lost_interrupts
from flows.progress import Progress, guarded
from flows.storage.lookups import StepCounts

__all__ = [
    "LocalEngine",
]

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")


# How long steps at work may take to notice Ctrl-C before they are left behind.
_STOP_GRACE_S = 5.0
# Waiting in short turns keeps Ctrl-C working where a blocking wait cannot be interrupted.
_TURN_S = 0.5


class LocalEngine(Unwatched):
    """Runs steps in threads of this process; numpy, numba and torch release the GIL.

    Parameters
    ----------
    workers
        Threads; default is one a core that this process may use.
    progress
        Told of each phase and item.
    """

    def __init__(self, workers: int | None = None, progress: Progress | None = None) -> None:
        self.workers = default_workers() if workers is None else workers
        if self.workers < 1:
            raise ValueError(f"workers is {workers}: use 1 or more")
        self.progress = progress
        self.counts = StepCounts()

    @property
    def progress(self) -> Progress:
        """What is told of each phase and item; it never raises."""
        return self._progress

    @progress.setter
    def progress(self, progress: Progress | None) -> None:
        self._progress = guarded(progress)

    def map(
        self, step: Callable[[A], B], items: Sequence[A], *, name: str, labels: Sequence[str]
    ) -> list[B]:
        """Run a step on each item, at most ``workers`` at a time; see :meth:`Engine.map`."""
        if len(labels) != len(items):
            raise ValueError(f"{name}: {len(items)} items but {len(labels)} labels")
        self.progress.start(name, len(items))
        try:
            with one_torch_thread(), one_blas_thread(), lost_interrupts():
                counted = self.counts.counting(step)
                crew = _Crew(counted, items, workers=min(self.workers, len(items)))
                return crew.collect(name, labels, self.progress)
        finally:
            self.progress.finish(name)

    def run(self, step: Callable[[A], B], item: A, *, name: str, label: str) -> B:
        """Run a step once, in the calling thread; see :meth:`Engine.run`."""
        self.progress.start(name, 1)
        try:
            with lost_interrupts() as raise_lost:
                result = self.counts.counting(step)(item)
                raise_lost()
            self.progress.advance(name, label)
        except Exception as error:
            error.add_note(f"while working on {label!r} ({name})")
            raise
        finally:
            self.progress.finish(name)
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


class _Crew:
    """Threads that work through items in order.

    ``concurrent.futures`` would do but for Ctrl-C: its threads keep the process alive until
    their steps are done. These are daemons, and are told to stop inside a step.
    """

    def __init__(self, step: Callable[[A], B], items: Sequence[A], *, workers: int) -> None:
        self._results: queue.SimpleQueue[tuple[int, object, BaseException | None]]
        self._results = queue.SimpleQueue()
        self._todo = iter(enumerate(items))
        self._step = cast("Callable[[object], object]", step)
        self._count = len(items)
        self._lock = threading.Lock()
        self._at_work: set[int] = set()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"step-{index}", daemon=True)
            for index in range(workers)
        ]

    def _work(self) -> None:
        me = threading.get_ident()
        while True:
            with self._lock:
                index, item = (-1, None) if self._closed else next(self._todo, (-1, None))
                if index < 0:
                    return
                self._at_work.add(me)
            result, failure = None, None
            try:
                limit_torch()
                result = self._step(item)
            except BaseException as error:
                failure = error
            with self._lock:
                self._at_work.discard(me)
                self._closed = self._closed or failure is not None
            self._results.put((index, result, failure))

    def collect(self, name: str, labels: Sequence[str], progress: Progress) -> list[B]:
        """Work through all items and return the results in their order."""
        results: list[object] = [None] * self._count
        failures: dict[int, BaseException] = {}
        finished = 0
        try:
            for thread in self._threads:
                thread.start()
            while finished < self._count and (self._busy() or not self._results.empty()):
                try:
                    index, result, failure = self._results.get(timeout=_TURN_S)
                except queue.Empty:
                    continue
                finished += 1
                if failure is not None:
                    failures[index] = failure
                else:
                    results[index] = result
                    progress.advance(name, labels[index])
        except BaseException:
            self._stop()
            raise
        if failures:
            first = min(failures)
            failures[first].add_note(f"while working on {labels[first]!r} ({name})")
            raise failures[first]
        return cast("list[B]", results)

    def _busy(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _stop(self) -> None:
        """Drop what is not begun, and have the steps at work stop at their next Python line."""
        with self._lock:
            self._closed = True
            for ident in self._at_work:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(ident), ctypes.py_object(Stopped)
                )
        share_s = _STOP_GRACE_S / max(len(self._threads), 1)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(share_s)
