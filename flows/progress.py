"""What a run says while it works: bars with the time left, JSON lines, or nothing; on stderr.

What shows a run must never end it: every implementation takes any call in any order, and
:func:`guarded` keeps what one of them raises from the work all the same.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import IO, Protocol, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import (
    Progress as RichBars,
)
from rich.text import Text

from flows.interrupts import Stopped
from flows.output_stream import lasting
from flows.overall import PhaseBook

__all__ = [
    "GuardedProgress",
    "JsonProgress",
    "Progress",
    "RichProgress",
    "SilentProgress",
    "guarded",
    "phase_title",
    "rough_time",
]

_LOG = logging.getLogger(__name__)

# What a phase is called before the user; any other by its own name.
_TITLES = {
    "fetch": "fetching files",
    "check": "checking the files",
    "analyse": "analysing the tracks",
    "balance": "balancing the tracks",
    "style": "listening to the reference",
    "predict": "predicting the settings",
    "refine": "refining the settings",
    "refine, gradient steps": "refining, step by step",
    "settle": "trying the settings",
    "console": "mixing the stems",
    "deliver": "finishing the mix",
    "report": "writing the report",
    "render": "rendering the plan",
    "sums": "summing the stems",
    "stems": "writing the stems",
    "measure": "measuring",
    "synthesise": "synthesising the session",
    "learn": "learning",
}


class Progress(Protocol):
    """What an engine tells of its work; called from several threads.

    Phases are named; two phases of one name after each other are two phases, and one that is
    begun while it is open has another total. What is told of a phase that is not open is late.
    """

    def expect(self, costs: Mapping[str, float]) -> None:
        """Tell the phases of the whole run, with the seconds that each may last."""
        ...

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

    def expect(self, costs: Mapping[str, float]) -> None:
        """Tell the phases of the whole run."""

    def start(self, name: str, total: int) -> None:
        """Begin a phase of ``total`` items."""

    def advance(self, name: str, label: str) -> None:
        """One item of the phase is done."""

    def finish(self, name: str) -> None:
        """End the phase."""


class GuardedProgress:
    """Hands on what an engine tells, and keeps what goes wrong there from the work.

    The first failure is logged; ten of them, and nothing more is handed on.

    Parameters
    ----------
    inner
        What shows the run.
    """

    _PATIENCE = 10

    def __init__(self, inner: Progress) -> None:
        self.inner = inner
        self._failures = 0

    def expect(self, costs: Mapping[str, float]) -> None:
        """Tell the phases of the whole run."""
        self._tell(self.inner.expect, costs)

    def start(self, name: str, total: int) -> None:
        """Begin a phase of ``total`` items."""
        self._tell(self.inner.start, name, total)

    def advance(self, name: str, label: str) -> None:
        """One item of the phase is done."""
        self._tell(self.inner.advance, name, label)

    def finish(self, name: str) -> None:
        """End the phase."""
        self._tell(self.inner.finish, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        close = getattr(self.inner, "__exit__", None)
        if close is not None:
            self._failures = 0  # a terminal is put back in order in any case
            self._tell(close, kind, error, trace)

    def _tell(self, method: Callable[..., object], *arguments: object) -> None:
        if self._failures >= self._PATIENCE:
            return
        try:
            method(*arguments)
        except Stopped:
            raise
        # rich leaves with a SystemExit where a pipe is closed.
        except (Exception, SystemExit) as error:
            self._failures += 1
            if self._failures == 1:
                _LOG.debug("the progress display failed, the run goes on", exc_info=error)


def guarded(progress: Progress | None) -> GuardedProgress:
    """Return a progress as one that never raises; None for one that says nothing."""
    if isinstance(progress, GuardedProgress):
        return progress
    return GuardedProgress(progress or SilentProgress())


class RichProgress:
    """The run as a whole and its open phases as bars; plain lines where there is no terminal.

    Parameters
    ----------
    console
        Where to draw; default is stderr.
    verbose
        Also name each item on a line of its own as it is done.
    """

    def __init__(self, console: Console | None = None, *, verbose: bool = False) -> None:
        self.console = console or Console(file=lasting())
        self._verbose = verbose
        self._lock = threading.Lock()
        self._book = PhaseBook()
        self._bars_of: dict[str, TaskID] = {}
        self._whole: TaskID | None = None
        self._bars = RichBars(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            _AmountColumn(),
            TimeElapsedColumn(),
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
        with self._lock:
            self._bars.stop()

    def expect(self, costs: Mapping[str, float]) -> None:
        """Tell the phases of the whole run: a bar over all the others shows how far it is."""
        with self._lock:
            self._book.overall.expect(costs)
            if self._whole is None:
                self._bars.start()
                self._whole = self._bars.add_task("[bold]the whole[/]", total=100, label="")
            self._show_whole()

    def start(self, name: str, total: int) -> None:
        """Begin a phase of ``total`` items, or change the total of one that is open."""
        with self._lock:
            if not self._book.open and self._whole is None:
                self._bars.start()
            phase, new = self._book.start(name, total)
            if new:
                self._bars_of[name] = self._bars.add_task(
                    escape(phase_title(name)), total=phase.shown_total, label=""
                )
            else:
                self._bars.update(self._bars_of[name], total=phase.shown_total)
            self._show_whole()

    def advance(self, name: str, label: str) -> None:
        """One item of the phase is done."""
        with self._lock:
            phase = self._book.advance(name)
            if phase is None:
                return
            self._bars.update(
                self._bars_of[name],
                completed=phase.done,
                total=phase.shown_total,
                label=escape(_one_line(label)),
            )
            self._show_whole()
        if self._verbose:
            self._print(f"{phase_title(name)} · {_one_line(label)}")

    def finish(self, name: str) -> None:
        """End the phase; the bars are taken down with the last open one."""
        with self._lock:
            phase = self._book.finish(name)
            if phase is None:
                return
            took_s = self._book.took_s(phase)
            self._bars.update(self._bars_of.pop(name), label="")
            read = self._show_whole()
            if not self._book.open and self._book.overall.is_over:
                # A stopped display stays on screen as text, so what comes then has its own.
                self._bars.stop()
                for task in list(self._bars.task_ids):
                    self._bars.remove_task(task)
                self._whole, self._book = None, PhaseBook()
        if not self.console.is_terminal:
            line = f"{phase_title(name)}: {phase.done} of {phase.shown_total} "
            line += f"in {took_s:.1f} s"
            if read is not None:
                line += f" ({100.0 * read[0]:.0f} % of the whole, {rough_time(read[1])} left)"
            self._print(line)

    def _print(self, line: str) -> None:
        self.console.print(Text(line), highlight=False, soft_wrap=True)

    def _show_whole(self) -> tuple[float, float] | None:
        read = self._book.overall.read(self._book.open)
        if read is not None and self._whole is not None:
            left = f"{rough_time(read[1])} left" if read[0] < 1.0 else ""
            self._bars.update(self._whole, completed=100.0 * read[0], label=left)
        return read


class _AmountColumn(ProgressColumn):
    """Items that are done, of how many; of the whole the percentage."""

    def __init__(self) -> None:
        super().__init__()
        self._count = MofNCompleteColumn()

    def render(self, task: Task) -> Text:
        if task.description == "[bold]the whole[/]":
            return Text(f"{task.percentage:.0f} %", style="progress.percentage")
        return self._count.render(task)


class JsonProgress:
    """One JSON object a line and event, for programs that watch.

    ``{"event": "start" | "advance" | "finish", "name": ..., "title": ..., "time_s": ...}`` with
    ``total`` at the start, ``label``, ``done``, ``total`` and ``left_s`` (an estimate) on the way,
    and ``done`` and ``total`` at the end. ``time_s`` counts from the start of the phase, and
    ``title`` is what a person would call it. Where the whole run is known, ``overall`` is the share
    of it that is done, 0 to 1, and ``overall_left_s`` the seconds that may be left.

    Parameters
    ----------
    stream
        Where to write; default is stderr.
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = lasting(stream)
        self._lock = threading.Lock()
        self._book = PhaseBook()

    def expect(self, costs: Mapping[str, float]) -> None:
        """Tell the phases of the whole run."""
        with self._lock:
            self._book.overall.expect(costs)

    def start(self, name: str, total: int) -> None:
        """Begin a phase of ``total`` items, or change the total of one that is open."""
        with self._lock:
            phase, new = self._book.start(name, total)
            if new:
                self._say(event="start", name=name, time_s=0.0, total=phase.total)

    def advance(self, name: str, label: str) -> None:
        """One item of the phase is done."""
        with self._lock:
            phase = self._book.advance(name)
            if phase is None:
                return
            time_s = self._book.took_s(phase)
            self._say(
                event="advance",
                name=name,
                time_s=round(time_s, 3),
                label=label,
                done=phase.done,
                total=phase.shown_total,
                left_s=round(time_s / phase.done * (phase.shown_total - phase.done), 3),
            )

    def finish(self, name: str) -> None:
        """End the phase."""
        with self._lock:
            phase = self._book.finish(name)
            if phase is None:
                return
            time_s = round(self._book.took_s(phase), 3)
            self._say(
                event="finish", name=name, time_s=time_s, done=phase.done, total=phase.shown_total
            )

    def _say(self, *, name: str, **fields: str | int | float) -> None:
        event = fields.pop("event")
        record = {"event": event, "name": name, "title": phase_title(name), **fields}
        read = self._book.overall.read(self._book.open)
        if read is not None:
            record |= {"overall": round(read[0], 4), "overall_left_s": round(read[1], 1)}
        self._stream.write(json.dumps(record) + "\n")
        self._stream.flush()


def phase_title(name: str) -> str:
    """Return what a phase is called before the user, on one line."""
    return _TITLES.get(name, _one_line(name))


def rough_time(seconds: float) -> str:
    """Return a time as a person would say it.

    Examples
    --------
    >>> rough_time(41.7), rough_time(200.0), rough_time(7000.0)
    ('42 s', '3 min', '1.9 h')
    """
    if seconds < 90.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 5400.0 else f"{seconds / 3600.0:.1f} h"


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
