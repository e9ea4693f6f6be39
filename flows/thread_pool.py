"""Work on many items in a few threads, which Ctrl-C ends."""

from __future__ import annotations

import ctypes
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

from flows.interrupts import Stopped

__all__ = ["map_in_threads"]

A = TypeVar("A")
B = TypeVar("B")

# How long threads at work may take to notice Ctrl-C before they are left behind.
_STOP_GRACE_S = 5.0
# Waiting in short turns keeps Ctrl-C working where a blocking wait cannot be interrupted.
_TURN_S = 0.5


def map_in_threads(
    work: Callable[[A], B],
    items: Sequence[A],
    *,
    workers: int,
    on_done: Callable[[int], None] | None = None,
    stops: bool = True,
) -> list[B]:
    """Do something for each item, several at a time; return the results in the order of items.

    Parameters
    ----------
    workers
        Items at a time, at most.
    on_done
        Called in this thread with the index of each item that is done.
    stops
        Whether Ctrl-C raises :class:`Stopped` in the items at work and waits for their end a
        while; else they are left behind, as daemons.

    Raises
    ------
    BaseException
        What was raised for the first of the items that failed. After a failure no item is begun.
    """
    return _Pool(work, items, workers=min(workers, len(items)), stops=stops).results(on_done)


class _Pool(Generic[A, B]):
    """Threads that work through items in order.

    ``concurrent.futures`` would do but for Ctrl-C: its threads keep the process alive until
    their items are done. These are daemons, and can be stopped inside an item.
    """

    def __init__(
        self, work: Callable[[A], B], items: Sequence[A], *, workers: int, stops: bool
    ) -> None:
        self._finished: queue.SimpleQueue[tuple[int, B | None, BaseException | None]]
        self._finished = queue.SimpleQueue()
        self._todo = iter(enumerate(items))
        self._work = work
        self._stops = stops
        self._count = len(items)
        self._lock = threading.Lock()
        self._at_work: set[int] = set()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"step-{index}", daemon=True)
            for index in range(workers)
        ]

    def _run(self) -> None:
        me = threading.get_ident()
        while True:
            with self._lock:
                index, item = (-1, None) if self._closed else next(self._todo, (-1, None))
                if index < 0:
                    return
                self._at_work.add(me)
            result, failure = None, None
            try:
                result = self._work(cast("A", item))
            except BaseException as error:
                failure = error
            with self._lock:
                self._at_work.discard(me)
                self._closed = self._closed or failure is not None
            self._finished.put((index, result, failure))

    def results(self, on_done: Callable[[int], None] | None) -> list[B]:
        """Work through all items; as :func:`map_in_threads`."""
        results: list[B | None] = [None] * self._count
        failures: dict[int, BaseException] = {}
        finished = 0
        try:
            for thread in self._threads:
                thread.start()
            while finished < self._count and (self._is_busy() or not self._finished.empty()):
                try:
                    index, result, failure = self._finished.get(timeout=_TURN_S)
                except queue.Empty:
                    continue
                finished += 1
                if failure is not None:
                    failures[index] = failure
                else:
                    results[index] = result
                    if on_done is not None:
                        on_done(index)
        except BaseException:
            self._stop()
            raise
        if failures:
            raise failures[min(failures)]
        return cast("list[B]", results)

    def _is_busy(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _stop(self) -> None:
        """Drop what is not begun, and have the threads at work stop at their next Python line."""
        with self._lock:
            self._closed = True
            if not self._stops:
                return
            for ident in self._at_work:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(ident), ctypes.py_object(Stopped)
                )
        share_s = _STOP_GRACE_S / max(len(self._threads), 1)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(share_s)
