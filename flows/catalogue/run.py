"""The recipe of a catalogue: many sessions mixed in one run, each whatever became of the others.

The tables and the page are written anew after each session, so that the run can be watched; one
that was stopped goes on where it was.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from flows.catalogue.page import write_catalogue_page
from flows.catalogue.session import RECORDS, MixingOptions, SessionJob, crashed_row, mix_entry
from flows.catalogue.sources import RESERVED_NAMES, CatalogueEntry
from flows.catalogue.table import CatalogueRow, write_tables
from flows.catalogue.workers import Died, work_in_processes
from flows.dashboard.control import private_server, running_server
from flows.dashboard.tags import Listing, run_tags
from flows.engines.base import Engine
from flows.engines.run import resolve_engine, run_recipe
from flows.engines.threads import default_workers
from flows.storage.output_folder import place_problems
from pipeline.errors import InputError, Problem, StemwrightError

__all__ = ["CatalogueOutcome", "Runner", "SessionsFailedError", "in_processes", "mix_catalogue"]

# A server writes what it was told every second.
_RECORDED_S = 2.0

#: Finds or mixes jobs, so many at once, and yields the index and the row of each as it is done.
Runner = Callable[[Sequence[SessionJob], int], Generator[tuple[int, CatalogueRow], None, None]]

#: Told of each row as it comes: the row, how many are done, and how long the rest will take.
OnRow = Callable[[CatalogueRow, int, float], None]


@dataclass(frozen=True)
class CatalogueOutcome:
    """What became of a catalogue: its rows in the order of its entries, and where they lie."""

    folder: Path
    rows: tuple[CatalogueRow, ...]
    csv: Path
    parquet: Path
    page: Path
    seconds: float

    def count(self, status: str) -> int:
        """Return how many sessions have that status."""
        return sum(row.status == status for row in self.rows)

    @property
    def failures(self) -> tuple[CatalogueRow, ...]:
        """The rows of the sessions that have no mix."""
        return tuple(row for row in self.rows if row.status == "failed")


class SessionsFailedError(StemwrightError):
    """Sessions of a catalogue failed: so has the flow run that shows it.

    Parameters
    ----------
    outcome
        Of the whole catalogue.
    """

    def __init__(self, outcome: CatalogueOutcome) -> None:
        failures = outcome.failures
        names = ", ".join(row.session for row in failures)
        super().__init__(f"{len(failures)} of {len(outcome.rows)} sessions failed: {names}")
        self.outcome = outcome


def in_processes(
    jobs: Sequence[SessionJob], at_once: int
) -> Generator[tuple[int, CatalogueRow], None, None]:
    """Find or mix sessions in processes of their own; see :data:`Runner`."""
    with contextlib.closing(work_in_processes(mix_entry, jobs, jobs=at_once)) as results:
        for index, result in results:
            if isinstance(result, Died):
                result = crashed_row(jobs[index], result.how, result.seconds)
            yield index, result


def mix_catalogue(
    entries: Sequence[CatalogueEntry],
    *,
    title: str,
    folder: Path,
    jobs: int = 1,
    options: MixingOptions | None = None,
    run: Runner = in_processes,
    on_row: OnRow | None = None,
) -> CatalogueOutcome:
    """Mix every session; a broken one is in the tables with what is wrong, and stops none.

    Parameters
    ----------
    entries
        From :func:`~flows.catalogue.sources.read_catalogue`.
    folder
        Of everything that is written; one of a catalogue is gone on with.
    jobs
        Sessions at a time, each in a process of its own.

    Raises
    ------
    InputError
        If nothing can be written there; nothing is done then.
    """
    began = time.monotonic()
    folder = folder.absolute()
    _refuse(folder)
    (folder / RECORDS).mkdir(parents=True, exist_ok=True)
    threads = max(default_workers() // jobs, 1)
    work = [
        SessionJob(_with_workers(entry, threads), folder, options or MixingOptions())
        for entry in entries
    ]
    rows: dict[int, CatalogueRow] = {}

    def outcome(*, running: bool) -> CatalogueOutcome:
        done = tuple(rows[index] for index in sorted(rows))
        csv, parquet = write_tables(folder, done)
        page = folder / "catalogue.html"
        seconds = time.monotonic() - began
        write_catalogue_page(
            page, done, title=title, total=len(entries), seconds=seconds, running=running
        )
        return CatalogueOutcome(folder, done, csv, parquet, page, seconds)

    def recipe(engine: Engine) -> CatalogueOutcome:
        parts = [replace(job, parent_run=engine.run_id) for job in work]
        last = outcome(running=True)
        try:
            with contextlib.closing(run(parts, jobs)) as results:
                for index, row in results:
                    rows[index] = row
                    last = outcome(running=True)
                    _log_row(engine, row, len(rows), len(entries))
                    if on_row is not None:
                        on_row(row, len(rows), _left_s(rows, len(entries), last.seconds))
        finally:
            last = outcome(running=False)
        _publish(engine, last)
        if last.failures:
            raise SessionsFailedError(last)
        return last

    with _alone(folder), _one_server(entries):
        try:
            return run_recipe(
                title,
                recipe,
                # Each session has an engine of its own: this one shows what they do.
                engine="prefect" if _is_watched(entries) else "local",
                listing=Listing("catalogue", run_tags("catalogue")),
            )
        except SessionsFailedError as error:
            return error.outcome


def _is_watched(entries: Sequence[CatalogueEntry]) -> bool:
    return any(
        resolve_engine(entry.settings.engine, entry.settings.dask) == "prefect" for entry in entries
    )


def _log_row(engine: Engine, row: CatalogueRow, done: int, total: int) -> None:
    told = f"{done} of {total}: {row.session}: {row.status}"
    if row.status == "failed":
        engine.log(f"{told}: {row.error}: {row.remedy}", warning=True)
    else:
        engine.log(f"{told} after {row.seconds:.1f} s")


def _publish(engine: Engine, outcome: CatalogueOutcome) -> None:
    engine.publish_table(
        "catalogue",
        [
            {
                "session": row.session,
                "status": row.status,
                "seconds": row.seconds,
                "error": row.error,
                "remedy": row.remedy,
            }
            for row in outcome.rows
        ],
        title=f"What became of each session; more in {outcome.page}",
    )
    for name, place in (("mixes", outcome.folder), ("table", outcome.csv), ("page", outcome.page)):
        engine.log(f"{name}: {place}")


@contextlib.contextmanager
def _one_server(entries: Sequence[CatalogueEntry]) -> Iterator[None]:
    """Have one Prefect server for all sessions that want one, where none is known."""
    wanted = any(entry.settings.engine == "prefect" for entry in entries)
    if not wanted or os.environ.get("PREFECT_API_URL") or running_server():
        yield
        return
    with private_server() as (url, _):
        os.environ["PREFECT_API_URL"] = url
        try:
            yield
            time.sleep(_RECORDED_S)
        finally:
            del os.environ["PREFECT_API_URL"]


def _with_workers(entry: CatalogueEntry, threads: int) -> CatalogueEntry:
    # Of a running cluster, workers are those to use: all unless fewer are asked for.
    if entry.settings.workers is not None or entry.settings.dask is not None:
        return entry
    return replace(entry, settings=entry.settings.model_copy(update={"workers": threads}))


def _left_s(rows: dict[int, CatalogueRow], total: int, seconds: float) -> float:
    """Return how long the rest will take if it is as those that had to be worked on were."""
    worked = sum(row.status != "found" for row in rows.values())
    return seconds / max(worked, 1) * (total - len(rows))


def _refuse(folder: Path) -> None:
    remedy = "name another folder with --output"
    problems = list(place_problems(folder, remedy))
    if folder.exists() and not folder.is_dir():
        problems = [Problem(str(folder), "is a file", remedy)]
    if folder.is_dir() and not (folder / RECORDS).is_dir():
        problems += [
            Problem(str(folder / name), "is there already, and of no catalogue", remedy)
            for name in RESERVED_NAMES
            if (folder / name).exists()
        ]
    if problems:
        raise InputError(problems)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder for as long as the block lasts; it goes with the process."""
    lock = FileLock(folder / RECORDS / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        remedy = "wait until it has ended, or name another folder with --output"
        raise InputError(
            [Problem(str(folder), "is being written by another catalogue", remedy)]
        ) from error
    try:
        yield
    finally:
        lock.release()
