"""The command that mixes many sessions in one run."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from flows.cli.command import FILE, Flags, command
from flows.cli.options import StoreOption, local_folder
from flows.cli.terminal import EXIT_SKIPPED, Screen, number, printable
from flows.progress import Progress
from pipeline.errors import Problems

if TYPE_CHECKING:
    from flows.catalogue.run import CatalogueOutcome
    from flows.catalogue.sources import CatalogueSource
    from flows.catalogue.table import CatalogueRow
    from flows.storage.locations import Place

__all__ = ["EXIT_FIRST_FAILED", "app", "exit_status"]

app = typer.Typer(add_completion=False)

#: Statuses over it say how many sessions failed, up to the highest.
EXIT_FIRST_FAILED, _EXIT_MOST_FAILED = 10, 100

_PHASE = "catalogue"


def exit_status(failed: int, skipped_tracks: int) -> int:
    """Return the status that says how many sessions failed, or that all are mixed."""
    if failed:
        return min(EXIT_FIRST_FAILED + failed, _EXIT_MOST_FAILED)
    return EXIT_SKIPPED if skipped_tracks else 0


@app.command()
@command(
    *("references", "genre", "output", "jobs", "again", "retries", "target", "strength", "match"),
    *("quality", "controller", "format", "subtype", "keep", FILE, "skip_bad", "salvage"),
    *("max_minutes", "engine", "dask", "workers", "store"),
)
def catalogue(
    screen: Screen,
    flags: Flags,
    source: Annotated[
        Path,
        typer.Argument(
            help="A folder whose subfolders are sessions, or a list of sessions: a CSV file with a "
            "column 'session', or a TOML file with a [\\[mix]] table for each. Further columns or "
            "keys: name (of its output folder), reference (several: a list, or semicolons), "
            "target, and any other setting; they go over the options given here.",
            metavar="ROOT|LIST",
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for the mixes; the one of an earlier run is gone on with. Default "
            "ROOT/mixes, or '<list> mixes' beside the list.",
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", help="Sessions at a time.", min=1, max=256)
    ] = 1,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="Mix those too whose mix is there, of the same inputs and settings."
        ),
    ] = False,
    retries: Annotated[
        int,
        typer.Option(
            help="Further attempts at a session, after growing pauses, where the failure may pass.",
            min=0,
            max=20,
        ),
    ] = 3,
    store: StoreOption = None,
) -> int:
    """Mix many sessions in one run; a broken one is reported and stops none of the others.

    The output has a folder a session, and catalogue.csv, catalogue.parquet and catalogue.html with
    what became of each, written anew after each session. Mixes that are there, of the same inputs
    and settings, are found and not made again; where those changed, the earlier mix is kept under
    another name. A run that was stopped goes on where it was.

    Exit status: 0 all are mixed or found; 3 the same, but tracks had to be skipped (--skip-bad);
    11 to 100 sessions failed: their number plus 10, and 100 where 90 or more did; 2 bad input and
    nothing was done; 1 the catalogue itself failed; 130 interrupted.
    """
    # These load numpy and scipy, which --help does without.
    from flows.catalogue.sources import read_catalogue
    from pipeline.session.discovery import check_references

    chosen = flags.settings()
    problems = Problems(check_references(chosen.recordings))
    folder = None
    with problems.collected():
        folder = local_folder(output, "--output")
    with problems.collected():
        sessions = read_catalogue(source, chosen, output=folder)
    problems.raise_all()
    return _mix_all(screen, source, sessions, folder, jobs, again, retries, store)


def _mix_all(
    screen: Screen,
    source: Path,
    sessions: CatalogueSource,
    output: Path | None,
    jobs: int,
    again: bool,
    retries: int,
    store: Place | None,
) -> int:
    count = len(sessions.entries)
    screen.begin(f"mixing {count} session{'s' if count != 1 else ''}")
    # A command says what it begins before what takes seconds to load.
    from flows.catalogue.run import mix_catalogue
    from flows.catalogue.session import MixingOptions

    folder = output or sessions.default_folder
    for name in sessions.left_out:
        screen.say(f"left out: {name}")
    progress = screen.progress(among_lines=True)
    total = len(sessions.entries)
    progress.start(_PHASE, total)
    try:
        outcome = mix_catalogue(
            sessions.entries,
            title=source.resolve().stem,
            folder=folder,
            jobs=jobs,
            options=MixingOptions(store, again=again, retries=retries),
            on_row=_teller(screen, progress, total),
        )
    except KeyboardInterrupt:
        screen.say(f"stopped; the same command goes on, and {folder} tells what is done")
        raise
    finally:
        progress.finish(_PHASE)
    _present(screen, outcome)
    skipped = sum(row.skipped_tracks or 0 for row in outcome.rows)
    return exit_status(len(outcome.failures), skipped)


def _teller(
    screen: Screen, progress: Progress, total: int
) -> Callable[[CatalogueRow, int, float], None]:
    """Return what says a line a session."""

    def on_row(row: CatalogueRow, done: int, left_s: float) -> None:
        outcome = f"{row.session}: {_became(row)}"
        if screen.as_json or screen.quiet:
            progress.advance(_PHASE, outcome)
            return
        left = f"; {_rough(left_s)} left" if done < total else ""
        line = f"[{done:>{len(str(total))}} of {total}] {outcome}{left}"
        screen.errors.print(Text(printable(line), style="red" if row.status == "failed" else ""))
        progress.advance(_PHASE, row.session)

    return on_row


def _became(row: CatalogueRow) -> str:
    if row.status == "failed":
        return f"failed: {row.error}"
    if row.status == "found":
        return "found as it was mixed before"
    text = f"mixed in {row.seconds:.1f} s"
    if math.isfinite(row.loudness_lufs):
        text += f", {row.loudness_lufs:.1f} LUFS"
    if row.warnings:
        text += f", {row.warnings} warning{'s' if row.warnings != 1 else ''}"
    return text if row.attempts == 1 else f"{text}, at attempt {row.attempts}"


def _rough(seconds: float) -> str:
    if seconds < 90.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 5400.0 else f"{seconds / 3600.0:.1f} h"


def _present(screen: Screen, outcome: CatalogueOutcome) -> None:
    failures = outcome.failures
    counts = {status: outcome.count(status) for status in ("mixed", "found", "failed")}
    screen.result(
        {
            "folder": str(outcome.folder),
            "csv": str(outcome.csv),
            "parquet": str(outcome.parquet),
            "page": str(outcome.page),
            "sessions": len(outcome.rows),
            **counts,
            "failures": [
                {"session": row.session, "error": row.error, "remedy": row.remedy}
                for row in failures
            ],
            "seconds": number(outcome.seconds),
        }
    )
    if not screen.as_json:
        for row in failures:
            line = f"{row.session}: {row.error}" + (f": {row.remedy}" if row.remedy else "")
            screen.errors.print(Text(printable(line)))
    summary = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    screen.say(f"{len(outcome.rows)} sessions: {summary}, in {outcome.seconds:.1f} s")
    screen.say(f"tables: {outcome.csv} and {outcome.parquet.name}")
    screen.say(f"page: {outcome.page}")
