"""Where the steps of a recipe run: threads of this process, a Prefect flow, or Dask's workers.

A recipe is one function over an :class:`Engine`, written once and run by any of them. Steps take
and return paths and small records. This module never imports Prefect or Dask; a local run starts
at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar, cast

from threadpoolctl import threadpool_limits

from flows.interrupts import Stopped, lost_interrupts
from flows.progress import Progress, guarded
from flows.storage.locations import Place
from flows.storage.lookups import StepCounts

__all__ = [
    "Engine",
    "EngineName",
    "LocalEngine",
    "Unwatched",
    "begin_engine",
    "default_workers",
    "limit_torch",
    "make_engine",
    "one_blas_thread",
    "one_torch_thread",
    "resolve_engine",
    "run_recipe",
]

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")

EngineName = Literal["auto", "local", "prefect", "dask"]

# How long steps at work may take to notice Ctrl-C before they are left behind.
_STOP_GRACE_S = 5.0
# Waiting in short turns keeps Ctrl-C working where a blocking wait cannot be interrupted.
_TURN_S = 0.5


class Engine(Protocol):
    """Runs the steps of a recipe; use as a context manager.

    Attributes
    ----------
    counts
        The results that the steps so far did and found.
    run_id
        Identifier of the flow run that shows the steps; None without a dashboard.
    """

    counts: StepCounts
    run_id: str | None

    def map(
        self, step: Callable[[A], B], items: Sequence[A], *, name: str, labels: Sequence[str]
    ) -> list[B]:
        """Run a step on each item, several at a time.

        Parameters
        ----------
        step
            Called from several threads at once; with torch on one thread each, so that results
            do not depend on the number of workers.
        name, labels
            What the phase and each item of it are called before the user.

        Returns
        -------
        list
            The results in the order of ``items``.

        Raises
        ------
        Exception
            The first that a step raised, with a note that names the item; items not begun yet
            are dropped.
        """
        ...

    def run(self, step: Callable[[A], B], item: A, *, name: str, label: str) -> B:
        """Run a step once, alone, with all the threads that torch wants."""
        ...

    def publish_table(self, key: str, rows: Sequence[Mapping[str, Any]], *, title: str) -> None:
        """Show a table where the run is watched; nowhere without a dashboard.

        Parameters
        ----------
        key
            Names the table from run to run.
        rows
            JSON-able, all with the same keys.
        """
        ...

    def publish_markdown(self, key: str, text: str, *, title: str) -> None:
        """Show a text where the run is watched; pictures in it as data URIs."""
        ...

    def publish_page(
        self, key: str, write: Callable[[str | None], str], *, title: str, report: Place
    ) -> None:
        """Show a text that links to a report on disk, where the run is watched.

        Parameters
        ----------
        write
            Makes the text, given the address at which the report can be read, ``None`` where it
            has none; called only where somebody watches.
        report
            An HTML file, which may be written later; one at a URL has no address.
        """
        ...

    def log(self, text: str, *, warning: bool = False) -> None:
        """Write a line into the run's log where it is watched; nowhere without a dashboard."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Unwatched:
    """An engine that nobody watches: what it is to show goes nowhere."""

    run_id: str | None = None

    def publish_table(self, key: str, rows: Sequence[Mapping[str, Any]], *, title: str) -> None:
        """Do nothing: nobody watches; see :meth:`Engine.publish_table`."""

    def publish_markdown(self, key: str, text: str, *, title: str) -> None:
        """Do nothing: nobody watches; see :meth:`Engine.publish_markdown`."""

    def publish_page(
        self, key: str, write: Callable[[str | None], str], *, title: str, report: Place
    ) -> None:
        """Do nothing: nobody watches; see :meth:`Engine.publish_page`."""

    def log(self, text: str, *, warning: bool = False) -> None:
        """Do nothing: nobody watches; see :meth:`Engine.log`."""


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


def resolve_engine(
    name: EngineName, dask: str | None = None
) -> Literal["local", "prefect", "dask"]:
    """Return what ``"auto"`` means now: Prefect where a server is known, else local.

    A server is known when ``PREFECT_API_URL`` is set or ``stemwright dashboard`` is running.

    Parameters
    ----------
    dask
        Address of a running Dask scheduler; it stands for the engine ``"dask"``.
    """
    if dask is not None:
        return "dask"
    if name != "auto":
        return name
    from flows.dashboard.control import running_server

    return "prefect" if os.environ.get("PREFECT_API_URL") or running_server() else "local"


def make_engine(
    name: EngineName,
    *,
    dask: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    reads: Sequence[Place] = (),
    writes: Sequence[Place] = (),
) -> Engine:
    """Return an engine by name.

    A Prefect engine works inside a flow run; :func:`run_recipe`, which has the parameters told,
    makes one around a recipe.
    """
    resolved = resolve_engine(name, dask)
    if resolved == "prefect":
        from flows.engines.prefect import PrefectEngine

        return PrefectEngine(workers=workers, progress=progress)
    if resolved == "dask":
        from flows.engines.dask import DaskEngine

        return DaskEngine(workers, progress, address=dask, reads=reads, writes=writes)
    return LocalEngine(workers, progress)


def begin_engine(name: EngineName, dask: str | None = None) -> None:
    """Begin what an engine needs long for, in the background, before the recipe is imported."""
    if name == "dask" and dask is None:
        from flows.engines.dask import begin_fork_server

        begin_fork_server()


def run_recipe(
    title: str,
    recipe: Callable[[Engine], T],
    *,
    engine: EngineName = "auto",
    dask: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    reads: Sequence[Place] = (),
    writes: Sequence[Place] = (),
    flow_name: str = "mix",
    tags: Sequence[str] = (),
    parent_run: str | None = None,
) -> T:
    """Run a recipe on the engine of that name and return what it returns.

    Parameters
    ----------
    title
        What is worked on, such as the session's name: the flow run's name in Prefect.
    recipe
        A function over an :class:`Engine`.
    dask
        Address of a running Dask scheduler to work on.
    reads, writes
        Folders that the steps read and write: every machine must see them.
    flow_name
        What kind of recipe it is; Prefect's dashboard groups runs by it.
    tags, parent_run
        What the dashboard shows the run under: :func:`flows.dashboard.tags.run_tags`, and the
        :attr:`Engine.run_id` of the run that it is a part of.

    Examples
    --------
    >>> run_recipe("demo", lambda engine: engine.map(len, ["a", "bc"], name="n", labels=["1", "2"]),
    ...            engine="local")
    [1, 2]
    """
    resolved = resolve_engine(engine, dask)
    if resolved == "prefect":
        from flows.engines.prefect import run_as_flow

        return run_as_flow(
            title,
            recipe,
            flow_name=flow_name,
            workers=workers,
            progress=progress,
            tags=tags,
            parent_run=parent_run,
        )
    with make_engine(
        resolved, dask=dask, workers=workers, progress=progress, reads=reads, writes=writes
    ) as made:
        return recipe(made)
