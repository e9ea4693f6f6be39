"""How many steps of a run were done, and how many were found in the store.

A step's look-ups are noted in the thread that it runs in and handed to the run's counts with its
result, so that they are right whichever process it ran in.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["Lookup", "StepCounts", "looked_up", "note_lookup"]

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Lookup:
    """One result of a step: done now, or found in the store."""

    step: str
    key: str
    done: bool


class _Notes(threading.local):
    found: list[Lookup] | None = None


_NOTES = _Notes()


def note_lookup(step: str, key: str, *, done: bool) -> None:
    """Note, for whoever listens in this thread, that a result was done or found."""
    if _NOTES.found is not None:
        _NOTES.found.append(Lookup(step, key, done))


@contextlib.contextmanager
def looked_up() -> Iterator[list[Lookup]]:
    """Give the list of what steps look up in this thread inside the block."""
    before, _NOTES.found = _NOTES.found, []
    try:
        yield _NOTES.found
    finally:
        _NOTES.found = before


class StepCounts:
    """The results that a run used, each counted once: as done if it did it, else as found."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: dict[tuple[str, str], bool] = {}

    def add(self, lookups: Iterable[Lookup]) -> None:
        """Count what a step looked up."""
        with self._lock:
            for lookup in lookups:
                place = lookup.step, lookup.key
                # What was done is found again by the steps that build on it.
                self._done[place] = self._done.get(place, False) or lookup.done

    def counting(self, step: Callable[[A], B]) -> Callable[[A], B]:
        """Return the step so that what it looks up is counted here; for threads of this process."""

        def counted(item: A) -> B:
            with looked_up() as lookups:
                try:
                    return step(item)
                finally:
                    self.add(lookups)

        return counted

    def record(self) -> dict[str, Any]:
        """Return ``{"done": n, "found": m, "by_step": {name: {"done": n, "found": m}}}``."""
        by_step: dict[str, dict[str, int]] = {}
        with self._lock:
            for (step, _), done in self._done.items():
                row = by_step.setdefault(step, {"done": 0, "found": 0})
                row["done" if done else "found"] += 1
        total = {kind: sum(row[kind] for row in by_step.values()) for kind in ("done", "found")}
        return {**total, "by_step": by_step}
