"""A recipe on Dask: each item of a phase is a task in another process, here or across a network.

Tasks carry paths and small records, never audio. What they make lies in the store, which every
worker must see, as it must see the session. Steps that go alone run in the process of the run: it
has everything loaded, and it shows their progress.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import multiprocessing
import os
import queue
import shutil
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from flows.engines.base import Unwatched
from flows.engines.dask_cluster import look_at_workers, reach
from flows.engines.dask_worker import (
    SCRATCH,
    SCRATCH_VARIABLE,
    host_mark,
    scratch_prefix,
    settle_in,
    work,
)
from flows.engines.interpreters import folder_kept_out
from flows.engines.local import LocalEngine
from flows.processes import is_dead
from flows.progress import Progress
from flows.storage.locations import Place, parse_place
from pipeline.errors import StemwrightError

__all__ = ["DaskEngine", "DaskError", "begin_fork_server"]

A = TypeVar("A")
B = TypeVar("B")

_SHORT_PLACES, _LONGEST_PLACE = ("/tmp",), 32
_READY_S = 120.0
_TURN_S = 0.5
_LOOKED_EVERY_S = 5.0
# Workers that are killed come back, and a cluster may be scaled: for so long none need be there.
_ALONE_S = 60.0
# A step that kills its process, by memory for instance, is not given to others for ever.
_DEATHS = 2

_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
# Forking shares the memory of what is loaded; elsewhere it is not safe, or not there.
_METHOD = "forkserver" if sys.platform == "linux" else "spawn"
_CONFIG = {
    "distributed.worker.multiprocessing-method": _METHOD,
    "distributed.scheduler.allowed-failures": _DEATHS,
    # Among Dask's own is MALLOC_TRIM_THRESHOLD_, which makes every block of audio a page fault;
    # and they would be set in this process.
    "distributed.nanny.pre-spawn-environ": {},
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.admin.system-monitor.interval": "2s",
    "distributed.worker.profile.enabled": False,
    # Nobody but this run is to ask its cluster for anything.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}


class DaskError(StemwrightError):
    """The cluster was lost, or lost a step too often."""


@functools.cache
def _scratch() -> Path:
    """Return this process's folder for sockets and the like; it goes with the process."""
    for place in {tempfile.gettempdir(), *_SHORT_PLACES}:
        for folder in Path(place).glob(f"{SCRATCH}*.{host_mark()}-*"):
            pid = folder.name.removeprefix(SCRATCH).partition(".")[0]
            if pid.isdecimal() and is_dead(int(pid)):
                shutil.rmtree(folder, ignore_errors=True)
    # A socket's path has room for about a hundred bytes.
    place = tempfile.gettempdir()
    if len(os.fsencode(place)) > _LONGEST_PLACE:
        place = next((short for short in _SHORT_PLACES if os.access(short, os.W_OK)), place)
    scratch = Path(tempfile.mkdtemp(prefix=scratch_prefix(), dir=place))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    # Else the fork server's socket lies in a folder that nobody removes after a kill.
    multiprocessing.current_process()._config.setdefault(  # type: ignore[attr-defined]
        "tempdir", str(scratch)
    )
    return scratch


def begin_fork_server() -> None:
    """Begin to load what workers need, in the background; at once, and before torch is loaded.

    Does nothing where it has begun already, or where processes are not forked.
    """
    if _METHOD != "forkserver":
        return
    from multiprocessing import forkserver

    multiprocessing.get_context("forkserver").set_forkserver_preload(
        ["distributed", "flows.mix.warm_up"]
    )
    # Read by the libraries when they are loaded; this process may have all threads.
    told = {**_ONE_THREAD, SCRATCH_VARIABLE: str(_scratch())}
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        with folder_kept_out():
            forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _paths(places: Sequence[Place]) -> list[Path]:
    """Return those of some places that are paths: of a URL every worker gets its own copy."""
    return [known for place in places if isinstance(known := parse_place(place), Path)]


class DaskEngine(Unwatched):
    """Runs the items of each phase as Dask tasks.

    Parameters
    ----------
    workers
        Processes of a cluster on this machine, by default one a core; of a cluster that runs
        already, how many of its workers to use, by default all.
    progress
        Told of each phase and item.
    address
        Of a running scheduler, such as ``"tcp://10.0.0.5:8786"``; None starts a cluster of our
        own on the loopback interface, which ends with this process however that ends; it takes
        no one without the key of this run.
    reads, writes
        Folders, and files to read, that the workers of a running cluster must see as this process
        does; a file is left for a moment in folders that are written to.

    Raises
    ------
    InputError
        From ``with``, if the scheduler cannot be reached, has no workers, or if those have other
        versions or do not see the folders.
    """

    def __init__(
        self,
        workers: int | None = None,
        progress: Progress | None = None,
        *,
        address: str | None = None,
        reads: Sequence[Place] = (),
        writes: Sequence[Place] = (),
    ) -> None:
        self._local = LocalEngine(workers, progress)
        self._workers = workers
        self.counts = self._local.counts
        self._address = address
        self._reads = _paths(reads)
        self._writes = _paths(writes)
        self._cluster: Any = None
        self._client: Any = None
        self._chosen: list[str] = []
        self._failure: BaseException | None = None
        self._starting = threading.Thread(target=self._start, name="dask-start", daemon=True)
        self._stack = contextlib.ExitStack()

    def map(
        self, step: Callable[[A], B], items: Sequence[A], *, name: str, labels: Sequence[str]
    ) -> list[B]:
        """Run a step on each item as a task; see :meth:`flows.engines.base.Engine.map`."""
        if len(items) < 2 or len(labels) != len(items):
            return self._local.map(step, items, name=name, labels=labels)
        progress = self._local.progress
        progress.start(name, len(items))
        futures: list[Any] = []
        try:
            self._await_start()
            futures = self._submit(step, items, name)
            return self._collect(futures, name, labels)
        finally:
            for future in futures:
                if future is not None and not future.done():
                    with contextlib.suppress(Exception):
                        future.cancel()
            progress.finish(name)

    def run(self, step: Callable[[A], B], item: A, *, name: str, label: str) -> B:
        """Run a step once, in this process; see :meth:`flows.engines.base.Engine.run`."""
        return self._local.run(step, item, name=name, label=label)

    def _submit(self, step: Callable[[A], B], items: Sequence[A], name: str) -> list[Any]:
        run = uuid.uuid4().hex
        options: dict[str, Any] = {}
        if self._chosen:
            options = {"workers": self._chosen, "allow_other_workers": True}
        futures: list[Any] = self._client.map(
            functools.partial(work, step),
            items,
            key=[f"{name}-{run}-{index}" for index in range(len(items))],
            pure=False,
            **options,
        )
        return futures

    def _collect(self, futures: list[Any], name: str, labels: Sequence[str]) -> list[Any]:
        """Wait for all and return their results in order; stop at the first failure."""
        finished: queue.SimpleQueue[int] = queue.SimpleQueue()
        for index, future in enumerate(futures):
            future.add_done_callback(lambda _, index=index: finished.put(index))
        results: list[Any] = [None] * len(futures)
        left, heard, looked = len(futures), time.monotonic(), 0.0
        while left:
            try:
                index = finished.get(timeout=_TURN_S)
            except queue.Empty:
                if time.monotonic() - max(heard, looked) > _LOOKED_EVERY_S:
                    looked = time.monotonic()
                    heard = looked if self._is_manned() else heard
                    if looked - heard > _ALONE_S:
                        raise DaskError(self._lost("has had no worker for a minute")) from None
                continue
            heard = time.monotonic()
            try:
                results[index], lookups = self._result(futures[index])
            except Exception as error:
                error.add_note(f"while working on {labels[index]!r} ({name})")
                raise
            futures[index] = None  # the worker need not keep it
            left -= 1
            self.counts.add(lookups)
            self._local.progress.advance(name, labels[index])
        return results

    def _result(self, future: Any) -> Any:
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        try:
            return future.result()
        except KilledWorker as error:
            raise DaskError(
                f"its worker process died {_DEATHS + 1} times over: it may need more memory than "
                "there is; run with fewer --workers"
            ) from error
        except FutureCancelledError as error:
            raise DaskError(self._lost("is gone")) from error

    def _is_manned(self) -> bool:
        """Return whether a worker is there; raise if not even the scheduler is."""
        if self._client.status not in ("running", "connecting"):
            raise DaskError(self._lost("is gone"))
        try:
            return bool(self._client.nthreads())
        except (OSError, TimeoutError, RuntimeError):
            return False

    def _lost(self, what: str) -> str:
        where = f"the cluster at {self._address}" if self._address else "the cluster"
        return f"{where} {what}; what was done is kept: the same command goes on from there"

    def __enter__(self) -> Self:
        with self._closing_on_error():
            if self._address is None:
                begin_fork_server()
                self._starting.start()
            else:
                self._quieten()
                self._client = self._stack.enter_context(reach(self._address))
                self._chosen = look_at_workers(
                    self._client,
                    self._address,
                    workers=self._workers,
                    reads=self._reads,
                    writes=self._writes,
                )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._starting.ident is not None:
            self._starting.join(_READY_S)
        if kind is not None:
            self._kill_workers()
        self._stack.close()

    @contextlib.contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def _quieten(self) -> None:
        """Keep Dask from telling the user of its own affairs: what matters is raised."""
        known = [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]
        for name in (*known, "tornado.application"):
            logger = logging.getLogger(name)
            self._stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL)

    def _start(self) -> None:
        """Start a cluster on this machine, beside what the run does meanwhile."""
        try:
            import dask
            from distributed import Client, LocalCluster, Security

            self._quieten()
            scratch = str(_scratch())
            self._stack.enter_context(folder_kept_out())  # workers that died are started anew
            self._stack.enter_context(dask.config.set(_CONFIG | {"temporary-directory": scratch}))
            self._cluster = self._stack.enter_context(
                LocalCluster(  # type: ignore[no-untyped-call]
                    n_workers=self._local.workers,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    scheduler_kwargs={"dashboard": False},
                    memory_limit=0,
                    # A certificate of this run's own, known to its processes alone.
                    security=Security.temporary(),  # type: ignore[no-untyped-call]
                    silence_logs=logging.CRITICAL,
                    local_directory=scratch,
                )
            )
            self._client = self._stack.enter_context(
                Client(  # type: ignore[no-untyped-call]
                    self._cluster, set_as_default=False, timeout=_READY_S
                )
            )
            self._client.wait_for_workers(1, timeout=_READY_S)
            self._client.run(settle_in)
        except BaseException as error:
            self._failure = error

    def _await_start(self) -> None:
        while self._starting.is_alive():
            self._starting.join(_TURN_S)
        if self._failure is not None:
            raise DaskError(
                f"the worker processes did not start ({self._failure}): use --engine local"
            ) from self._failure

    def _kill_workers(self) -> None:
        """End workers in the midst of a step, which would otherwise be waited for."""
        for nanny in self._cluster.workers.values() if self._cluster is not None else ():
            nanny.auto_restart = False
            pid = nanny.pid
            if pid is not None:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGTERM)
