"""How a command speaks, to a person or as JSON, and with which exit status it leaves."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.output_stream import LastingStream, lasting
from flows.progress import GuardedProgress, JsonProgress, RichProgress, guarded
from pipeline.errors import InputError

__all__ = [
    "EXIT_BAD_INPUT",
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "EXIT_SKIPPED",
    "Screen",
    "guard",
    "number",
    "printable",
    "rounded",
]

_AROUND_A_CELL = 3  # a line and two spaces
EXIT_FAILED, EXIT_BAD_INPUT, EXIT_SKIPPED, EXIT_INTERRUPTED = 1, 2, 3, 130


class Screen:
    """How a command speaks: quietly, verbosely, as JSON or to a person."""

    def __init__(self, *, quiet: bool, verbose: bool, as_json: bool) -> None:
        self.quiet, self.as_json = quiet, as_json
        # Names are data: no markup in them is obeyed.
        self._stdout = LastingStream("stdout")
        self.out = _console(self._stdout)
        self.errors = _console(LastingStream("stderr"))
        self.verbose = verbose
        logging.basicConfig(level=logging.DEBUG if verbose else logging.WARNING, force=True)
        for name in ("numba", "matplotlib", "asyncio", "filelock", "httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)

    def progress(self, *, among_lines: bool = False) -> GuardedProgress:
        """Return the progress that fits, as a context manager.

        Parameters
        ----------
        among_lines
            Bars stay under lines that the command prints on ``errors``, one for each item.
        """
        if self.as_json:
            return guarded(JsonProgress())
        if self.quiet:
            return guarded(None)
        return guarded(
            RichProgress(self.errors) if among_lines else RichProgress(verbose=self.verbose)
        )

    def begin(self, text: str) -> None:
        """Say on stderr what is begun: before the libraries load, which takes seconds."""
        if self.as_json:
            record = {"event": "begin", "name": "run", "title": text, "time_s": 0.0}
            self.errors.file.write(json.dumps(record) + "\n")
        elif not self.quiet:
            self.errors.print(Text(printable(text)))
        self.errors.file.flush()

    def say(self, text: str = "") -> None:
        """Print a line to a person who wants to hear."""
        if not (self.quiet or self.as_json):
            self.out.print(Text(printable(text)))

    def table(self, table: Table) -> None:
        """Print a table; where the terminal is too narrow for its words, row by row."""
        headings = [str(column.header) for column in table.columns]
        longest = [max(map(len, heading.split()), default=0) for heading in headings]
        if 1 + sum(_AROUND_A_CELL + letters for letters in longest) <= self.out.width:
            self.out.print(table)
            return
        if table.title:
            self.out.print(table.title)
        for cells in zip(*(column.cells for column in table.columns), strict=True):
            first, *figures = [str(cell) for cell in cells]
            pairs = zip(headings[1:], figures, strict=True)
            self.out.print(Text(f"{first}: " + ", ".join(f"{h} {f}".strip() for h, f in pairs)))

    def result(self, record: dict[str, Any]) -> None:
        """Print the result as JSON where it was asked for."""
        if self.as_json:
            self.out.file.write(json.dumps(record, ensure_ascii=True) + "\n")

    def close(self, *, done: bool) -> None:
        """Hand on what is held back; say so where what was said on stdout did not arrive.

        What the work has made is there all the same, so its exit status stays.
        """
        self._stdout.flush()
        failure = self._stdout.failure
        if failure is None:
            return
        self._stdout.close_broken()
        result = "what was made is whole" if done else "the exit status tells how it ended"
        self.errors.print(
            Text(printable(f"stdout could not be written ({reason(failure)}): {result}"))
        )

    def problems(self, error: InputError) -> None:
        """Print everything that is wrong with the input."""
        if self.as_json:
            record = [
                {"subject": p.subject, "what": p.what, "remedy": p.remedy} for p in error.problems
            ]
            self.out.file.write(json.dumps({"problems": record}) + "\n")
            return
        count = len(error.problems)
        self.errors.print(
            Text(f"{count} problem{'s' if count != 1 else ''}, nothing was written:", style="bold")
        )
        for problem in error.problems:
            self.errors.print(Text(f"  {printable(str(problem))}"))


def _console(stream: LastingStream) -> Console:
    return Console(file=lasting(stream), highlight=False, markup=False, soft_wrap=True)


def printable(text: str) -> str:
    """Make what a file name could do to a terminal, or to a line of output, visible instead."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def guard(screen: Screen, work: Callable[[], int]) -> None:
    """Run a command's work and leave with its exit status."""
    try:
        status = work()
    except InputError as error:
        screen.problems(error)
        status = EXIT_BAD_INPUT
    except KeyboardInterrupt:
        screen.errors.print("interrupted; finished steps are kept and nothing is half-written")
        status = EXIT_INTERRUPTED
    except Exception as error:
        if screen.verbose:
            raise
        lines = [f"failed: {type(error).__name__}: {error}", *getattr(error, "__notes__", ())]
        for line in "\n".join(lines).split("\n"):
            screen.errors.print(Text(printable(line)))
        screen.errors.print("run again with --verbose for the whole story")
        status = EXIT_FAILED
    screen.close(done=status in (0, EXIT_SKIPPED))
    if status:
        raise typer.Exit(status)


def reason(error: Exception) -> str:
    """Return why something failed, without the numbers of the system."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def number(value: float) -> float | None:
    """Return a figure as JSON can hold it: rounded, null where there is none."""
    return round(value, 3) if math.isfinite(value) else None


def rounded(value: float, digits: int = 1) -> str:
    """Return a figure for a table, a dash where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"
