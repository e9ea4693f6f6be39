"""What every step that keeps its result has in common: its key, its entry, its record.

A step is a function of one job, which names its store. Its result is looked up by the content of
the files that it reads, by what it takes of the job, and by the version of the code and the
libraries that it stands on; where it is not there, the step makes it and it is committed whole. No
step knows who runs it: any engine calls it, in any process.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from flows.dependencies.version import code_version, libraries_version
from flows.storage.locations import Place
from flows.storage.source_files import SourceFiles
from flows.storage.store import Store

__all__ = ["Job", "Kept", "Record", "Unkept", "step"]

Record = dict[str, Any]
"""What of a result is not in files, JSON-able."""

_CODE = ".code"


class Job(Protocol):
    """What a step is called with."""

    @property
    def store(self) -> Place:
        """The store that keeps the result."""
        ...


J = TypeVar("J", bound=Job)
R = TypeVar("R")


@dataclass(frozen=True)
class Kept:
    """A result as the store has it.

    Parameters
    ----------
    record
        What the step returned.
    folder
        What it wrote its files into.
    key
        The address of the result: what is made from it takes it into its own.
    contents
        A hash of the content of each file that was read, by name.
    """

    record: Record
    folder: Path
    key: str
    contents: Mapping[str, str]


@dataclass(frozen=True)
class Unkept:
    """The record of a result that is returned, not kept: another time it may be another."""

    record: Record


def step(
    name: str,
    *,
    inputs: Callable[[J, Mapping[str, str]], Mapping[str, Any]],
    result: Callable[[J, Kept], R],
    sources: Callable[[J, Store], SourceFiles] | None = None,
    unreadable: Callable[[J], R] | None = None,
    libraries: tuple[str, ...] = (),
) -> Callable[[Callable[[J, Path], Record | Unkept]], Callable[[J], R]]:
    """Make a step of the function that does its work.

    The function takes the job and an empty folder for its files, and returns the record. The
    version of its code is computed: whatever it, ``inputs`` and ``result`` use counts.

    Parameters
    ----------
    name
        Of the results in the store.
    inputs
        Returns what of a job counts, JSON-able; it is given the contents of ``sources`` too.
    result
        Makes what the step returns of what was kept.
    sources
        The user's files that the step reads; by default none.
    unreadable
        What to return where one of them cannot be read; by default the error is raised.
    libraries
        Installed packages whose versions count.
    """

    def decorated(work: Callable[[J, Path], Record | Unkept]) -> Callable[[J], R]:
        @functools.wraps(work)
        def run(job: J) -> R:
            store = Store(job.store)
            try:
                files = sources(job, store) if sources else SourceFiles(store, {})
            except OSError:
                if unreadable is None:
                    raise
                return unreadable(job)
            key = store.key(
                name,
                inputs=inputs(job, files.contents),
                code_version=_version(work, store, libraries),
            )
            with store.entry(name, key) as entry:
                if not entry.done:
                    made = files.read(lambda: work(job, entry.path))
                    if isinstance(made, Unkept):
                        return result(job, Kept(made.record, entry.path, key, files.contents))
                    entry.commit(made)
                return result(job, Kept(entry.record, entry.path, key, files.contents))

        return run

    return decorated


def _version(work: Callable[..., object], store: Store, libraries: tuple[str, ...]) -> str:
    code = code_version(work.__module__, work.__name__, store.root / _CODE)
    return f"{code} {libraries_version(libraries)}"
