"""What every engine offers: steps are mapped over items, results are shown where somebody watches.

A recipe is one function over an :class:`Engine`, written once and run by any of them. Steps take
and return paths and small records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from flows.storage.locations import Place
from flows.storage.lookups import StepCounts

__all__ = ["Engine", "Unwatched"]

A = TypeVar("A")
B = TypeVar("B")


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
