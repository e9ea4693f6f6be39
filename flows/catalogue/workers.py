"""Work in processes of its own: one that dies takes its item with it and nothing else.

Each process is started afresh (spawn), works through items one after another and is replaced after
some of them, or when it has grown, so that memory stays flat however many there are.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Generic, TypeVar

from flows.engines.interpreters import folder_kept_out

__all__ = ["Died", "work_in_processes"]

A = TypeVar("A")
B = TypeVar("B")

# Starting a process costs some seconds of imports, less than a tenth of so many sessions.
_ITEMS_A_PROCESS = 25
# A process that holds so much more than after its first item is replaced.
_GROWTH_BYTES = 768 * 2**20
# How long an interrupted item may take to clean up after itself.
_GRACE_S = 15.0
_EXIT_S = 30.0


@dataclass(frozen=True)
class Died:
    """A process ended without a result: how it did, in words, and how long it had worked."""

    how: str
    seconds: float


class _Seat(Generic[A, B]):
    """A process, and the item that it has."""

    def __init__(self, function: Callable[[A], B]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_serve, args=(theirs, function), name="catalogue-session"
        )
        with folder_kept_out():
            self.process.start()
        theirs.close()
        self.index = -1
        self.began_s = 0.0
        self.done = 0
        self.first_bytes: int | None = None
        self.grown = False

    def give(self, index: int, item: A) -> None:
        self.index, self.began_s = index, time.monotonic()
        with contextlib.suppress(OSError):  # it is dead: take() will say so
            self.connection.send(item)

    def take(self) -> B | Died:
        """Return the result that has come, or how the process died."""
        try:
            result, held_bytes = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(_EXIT_S)
            return Died(_ending(self.process.exitcode), time.monotonic() - self.began_s)
        self.done += 1
        if self.first_bytes is None:
            self.first_bytes = held_bytes
        self.grown = held_bytes - self.first_bytes > _GROWTH_BYTES
        if isinstance(result, _Raised):
            return Died(result.what, time.monotonic() - self.began_s)
        return result  # type: ignore[no-any-return]

    @property
    def worn(self) -> bool:
        """Whether the process should be replaced before the next item."""
        return self.grown or self.done >= _ITEMS_A_PROCESS or not self.process.is_alive()

    def leave(self) -> None:
        """Let the process end by itself: it has nothing more to do."""
        self.connection.close()

    def stop(self) -> None:
        if self.process.is_alive() and self.process.pid is not None and os.name == "posix":
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGINT)
        self.connection.close()

    def end(self, until_s: float) -> None:
        self.process.join(max(until_s - time.monotonic(), 0.0))
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


@dataclass(frozen=True)
class _Raised:
    what: str


def work_in_processes(
    function: Callable[[A], B], items: Sequence[A], *, jobs: int
) -> Generator[tuple[int, B | Died], None, None]:
    """Run a function on each item, several at once, and yield index and result as they come.

    Parameters
    ----------
    function
        Importable from a module; it, items and results can be pickled.
    jobs
        Processes at a time.

    Notes
    -----
    When the iteration is left, by Ctrl-C too, items at work are interrupted, have a while to clean
    up, and are then killed. They are interrupted as well when this process dies.
    """
    todo = iter(enumerate(items))
    seats: list[_Seat[A, B]] = []
    leaving: list[_Seat[A, B]] = []

    def seat_next(seat: _Seat[A, B] | None) -> None:
        item = next(todo, None)
        if seat is not None and (item is None or seat.worn):
            seats.remove(seat)
            leaving.append(seat)
            seat.leave()
            seat = None
        if item is None:
            return
        if seat is None:
            seat = _Seat(function)
            seats.append(seat)
        seat.give(*item)

    try:
        for _ in range(min(jobs, len(items))):
            seat_next(None)
        while seats:
            ready = wait([seat.connection for seat in seats])
            for seat in [seat for seat in seats if seat.connection in ready]:
                index, result = seat.index, seat.take()
                seat_next(seat)
                yield index, result
            leaving = [seat for seat in leaving if not _is_over(seat)]
    finally:
        for seat in seats:
            seat.stop()
        until_s = time.monotonic() + _GRACE_S
        for seat in (*seats, *leaving):
            seat.end(until_s)


def _is_over(seat: _Seat[A, B]) -> bool:
    if seat.process.is_alive():
        return False
    seat.process.join()
    seat.process.close()
    return True


def _ending(code: int | None) -> str:
    if code is None:
        return "its process does not answer"
    if code >= 0:
        return f"its process ended with status {code}"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-code).name
        return f"its process was ended by {name}" + (
            ", as a machine without memory left does" if name == "SIGKILL" else ""
        )
    return f"its process was ended by signal {-code}"


def _serve(connection: Connection, function: Callable[[A], B]) -> None:
    """Work through the items that come, in the process of a seat."""
    if os.name == "posix":
        # Ctrl-C in a terminal is for the parent to hear: it says once when to stop.
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        while True:
            try:
                item: A = connection.recv()
            except (EOFError, OSError):
                return
            result: B | _Raised
            try:
                result = function(item)
            except Exception as error:
                result = _Raised(f"{type(error).__name__}: {error}")
            connection.send((result, _held_bytes()))
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)


def _end_with_parent() -> None:
    """Interrupt the item at work when the parent is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    wait([parent.sentinel])
    main = threading.main_thread().ident
    if os.name == "posix" and main is not None:
        # The main thread itself: what it waits for is interrupted.
        signal.pthread_kill(main, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)
    time.sleep(_GRACE_S)
    os._exit(1)


def _held_bytes() -> int:
    """Return the memory that this process holds now; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
