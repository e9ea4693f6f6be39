"""Where the steps of a recipe run: threads of this process, a Prefect flow, or Dask's workers.

A recipe is one function over an :class:`Engine`, written once and run by any of them. Steps take
and return paths and small records. This module never imports Prefect or Dask; a local run starts
at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from flows.engines.base import Unwatched
from flows.engines.threads import default_workers, limit_torch, one_blas_thread, one_torch_thread
from flows.interrupts import lost_interrupts
from flows.progress import Progress, guarded
from flows.storage.lookups import StepCounts
from flows.thread_pool import map_in_threads

__all__ = [
    "LocalEngine",
]

A = TypeVar("A")
B = TypeVar("B")


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
        counted = self.counts.counting(step)

        def work(index: int) -> B:
            limit_torch()
            try:
                return counted(items[index])
            except BaseException as error:
                error.add_note(f"while working on {labels[index]!r} ({name})")
                raise

        self.progress.start(name, len(items))
        try:
            with one_torch_thread(), one_blas_thread(), lost_interrupts():
                return map_in_threads(
                    work,
                    range(len(items)),
                    workers=self.workers,
                    on_done=lambda index: self.progress.advance(name, labels[index]),
                )
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
