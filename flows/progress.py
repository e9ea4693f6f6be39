"""What a run says while it works: bars with the time left, JSON lines, or nothing; on stderr."""

from __future__ import annotations

import json
import sys
import threading
import time
from types import TracebackType
from typing import IO, Protocol, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as RichBars,
)

__all__ = ["JsonProgress", "Progress", "RichProgress", "SilentProgress"]


class Progress(Protocol):
    """What an engine tells of its work; called from several threads.

    Phases are named; two phases of one name after each other are two phases.
    """

    def start(self, name: str, total: int) -> None:
        """Begin a phase of ``total`` items."""
        ...

    def advance(self, name: str, label: str) -> None:
        """One item of the phase is done: the one called ``label``."""
        ...

    def finish(self, name: str) -> None:
        """End the phase, complete or not."""
        ...


class SilentProgress:
    """Says nothing."""

    def start(self, name: str, total: int) -> None:
        """Begin a phase of ``total`` items."""

    def advance(self, name: str, label: str) -> None:
        """One item of the phase is done."""

    def finish(self, name: str) -> None:
        """End the phase."""


class RichProgress:
    """A bar a phase with count, time and time left; plain lines where there is no terminal.

    Parameters
    ----------
    console
        Where to draw; default is stderr.
    verbose
        Also name each item on a line of its own as it is done.
    """

    def __init__(self, console: Console | None = None, *, verbose: bool = False) -> None:
        self.console = console or Console(stderr=True)
        self._verbose = verbose
        self._lock = threading.Lock()
        self._open: dict[str, tuple[TaskID, float, int, int]] = {}
        self._bars = RichBars(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("[dim]{task.fields[label]}[/]"),
            console=self.console,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def start(self, name: str, total: int) -> None:
        """Begin a phase of ``total`` items."""
        with self._lock:
            if not self._open:
                self._bars.start()
            bar = self._bars.add_task(escape(name), total=total, label="")
            self._open[name] = (bar, time.monotonic(), total, 0)

    def advance(self, name: str, label: str) -> None:
        """One item of the phase is done."""
        with self._lock:
            bar, began, total, done = self._open[name]
            self._open[name] = (bar, began, total, done + 1)
            self._bars.update(bar, advance=1, label=escape(_one_line(label)))
        if self._verbose:
            self.console.print(f"{escape(name)} · {escape(_one_line(label))}", highlight=False)

    def finish(self, name: str) -> None:
        """End the phase; the bars are taken down with the last open one."""
        with self._lock:
            bar, began, total, done = self._open.pop(name)
            self._bars.update(bar, label="")
            if not self._open:
                # A stopped display stays on screen as text, so each phase begins with its own.
                self._bars.stop()
                for task in list(self._bars.task_ids):
                    self._bars.remove_task(task)
        if not self.console.is_terminal:
            took_s = time.monotonic() - began
            self.console.print(f"{escape(name)}: {done} of {total} in {took_s:.1f} s")


class JsonProgress:
    """One JSON object a line and event, for programs that watch.

    ``{"event": "start" | "advance" | "finish", "name": ..., "time_s": ...}`` with ``total`` at
    the start, ``label``, ``done``, ``total`` and ``left_s`` (an estimate) on the way, and ``done``
    and ``total`` at the end. ``time_s`` counts from the start of the phase.

    Parameters
    ----------
    stream
        Where to write; default is stderr.
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stderr
        self._lock = threading.Lock()
        self._open: dict[str, tuple[float, int, int]] = {}

    def start(self, name: str, total: int) -> None:
        """Begin a phase of ``total`` items."""
        with self._lock:
            self._open[name] = (time.monotonic(), total, 0)
            self._say(event="start", name=name, time_s=0.0, total=total)

    def advance(self, name: str, label: str) -> None:
        """One item of the phase is done."""
        with self._lock:
            began, total, done = self._open[name]
            done += 1
            self._open[name] = (began, total, done)
            time_s = time.monotonic() - began
            self._say(
                event="advance",
                name=name,
                time_s=round(time_s, 3),
                label=label,
                done=done,
                total=total,
                left_s=round(time_s / done * max(total - done, 0), 3),
            )

    def finish(self, name: str) -> None:
        """End the phase."""
        with self._lock:
            began, total, done = self._open.pop(name)
            time_s = round(time.monotonic() - began, 3)
            self._say(event="finish", name=name, time_s=time_s, done=done, total=total)

    def _say(self, **fields: str | int | float) -> None:
        self._stream.write(json.dumps(fields) + "\n")
        self._stream.flush()


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
