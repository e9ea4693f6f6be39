"""How a command speaks, to a person or as JSON, and with which exit status it leaves."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.output_stream import LastingStream, lasting
from flows.progress import GuardedProgress, JsonProgress, RichProgress, guarded
from flows.storage.locations import Place, inside
from pipeline.errors import InputError

if TYPE_CHECKING:
    from flows.compare.recipe import BalanceOutcome
    from flows.mix.analysis import AnalysedSession
    from flows.mix.result import MixOutcome

__all__ = [
    "EXIT_BAD_INPUT",
    "EXIT_FAILED",
    "EXIT_INTERRUPTED",
    "EXIT_SKIPPED",
    "Screen",
    "guard",
    "number",
    "present_balances",
    "present_init",
    "present_mix",
    "printable",
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

    def progress(self) -> GuardedProgress:
        """Return the progress that fits, as a context manager."""
        if self.as_json:
            return guarded(JsonProgress())
        return guarded(None if self.quiet else RichProgress(verbose=self.verbose))

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
        told = [f"failed: {type(error).__name__}: {error}", *getattr(error, "__notes__", ())]
        for line in "\n".join(told).split("\n"):
            screen.errors.print(Text(printable(line)))
        screen.errors.print("run again with --verbose for the whole story")
        status = EXIT_FAILED
    screen.close(done=status in (0, EXIT_SKIPPED))
    if status:
        raise typer.Exit(status)


def reason(error: Exception) -> str:
    """Return why something failed, without the numbers of the system."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def present_mix(screen: Screen, outcome: MixOutcome) -> None:
    """Show a finished mix: the summary, and the paths of everything written."""
    session = outcome.analysed.session
    loudness = outcome.mixdown.loudness
    record: dict[str, Any] = {
        "folder": str(outcome.folder),
        "mix": str(outcome.files.get("mix", "")),
        "files": {name: str(path) for name, path in outcome.files.items()},
        "tracks": len(outcome.plan.tracks),
        "integrated_lufs": number(loudness.integrated_lufs),
        "true_peak_dbtp": number(loudness.true_peak_dbtp),
        "target_lufs": outcome.target_lufs,
        "skipped": [p.subject for p in session.skipped],
        "left_out": [x.name for x in session.left_out],
        "warnings": list(outcome.warnings),
        "findings": [str(finding) for finding in outcome.findings()],
        "steps": dict(outcome.steps),
        "seconds": round(outcome.seconds, 2),
    }
    distances = outcome.distances()
    if distances:
        record["distance"] = distances["this mix"]
    screen.result(record)
    if screen.quiet or screen.as_json:
        return
    levels = outcome.stem_levels_lu
    count = len(outcome.plan.tracks)
    table = Table(title=f"{session.root.name}: {count} tracks", title_justify="left")
    for heading in ("stem", "tracks", "level LU", "intended LU", "compression dB"):
        is_name = heading == "stem"
        table.add_column(
            heading,
            justify="left" if is_name else "right",
            overflow="fold" if is_name else "ellipsis",
        )
    for name, summary in outcome.stems.items():
        count = sum(t.subgroup == name for t in outcome.plan.tracks)
        intended = outcome.stem_targets_lu.get(name)
        table.add_row(
            Text(printable(name)),
            str(count),
            _figure(levels[name]),
            _figure(math.nan if intended is None else intended),
            f"{summary.compression.max_db:.1f}",
        )
    screen.table(table)
    if distances:
        style = Table(title="distance from the reference (dB, LU)", title_justify="left")
        for label in ("", *distances):
            style.add_column(label, justify="right" if label else "left")
        for name in next(iter(distances.values())):
            words = name.removesuffix("_db").removesuffix("_lu").replace("_", " ")
            style.add_row(words, *(f"{figures[name]:.2f}" for figures in distances.values()))
        screen.table(style)
    for left in session.left_out:
        screen.say(f"left out: {left.name} ({left.why})")
    for problem in session.skipped:
        screen.say(f"skipped: {problem}")
    for warning in (*outcome.warnings, *outcome.findings()):
        screen.say(f"note: {warning}")
    if math.isfinite(loudness.integrated_lufs):
        told = f"{loudness.integrated_lufs:.1f} LUFS (target {outcome.target_lufs:.1f})"
        told += f", true peak {loudness.true_peak_dbtp:.2f} dBTP"
    else:
        told = "the mix is silent"
    screen.say(f"{told}, {outcome.seconds:.1f} s")
    if screen.verbose:
        screen.say(_steps_told(outcome.steps))
    for name, path in outcome.files.items():
        screen.say(f"{name}: {path}")


def _steps_told(steps: Mapping[str, Any]) -> str:
    by_step = ", ".join(
        f"{name} {row['done']} + {row['found']}" for name, row in steps["by_step"].items()
    )
    return (
        f"steps: {steps['done']} done, {steps['found']} found in the store "
        f"(done + found: {by_step})"
    )


def _figure(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def present_balances(screen: Screen, outcome: BalanceOutcome) -> None:
    """Show several balances side by side: each method's figures, and each track's gains."""
    skipped = outcome.analysed.session.skipped
    methods = outcome.methods.to_dict(orient="records")
    screen.result(
        {
            "folder": str(outcome.folder),
            "page": str(inside(outcome.folder, "listen.html")),
            "sum_lufs": {name: number(value) for name, value in outcome.sum_lufs.items()},
            "gain_db": {str(row["method"]): number(row["gain_db"]) for row in methods},
            "skipped": [problem.subject for problem in skipped],
            "warnings": list(outcome.warnings),
        }
    )
    if screen.quiet or screen.as_json:
        return
    table = Table(title="gain of each track, dB", title_justify="left")
    table.add_column("track", overflow="fold")
    for name in outcome.sum_lufs:
        table.add_column(name, justify="right")
    unheard = {
        track.name: "muted" if level.mute else "silent"
        for track, level in zip(outcome.analysed.features, outcome.analysed.balances, strict=True)
        if level.mute or track.silent
    }
    for _, row in outcome.table.iterrows():
        track = str(row["track"])
        table.add_row(
            Text(printable(track)),
            *(unheard.get(track, f"{row[f'gain_{name}_db']:+.1f}") for name in outcome.sum_lufs),
        )
    screen.table(table)
    figures = Table(title="all tracks of a method together", title_justify="left")
    heads = ("method", "gain dB", "sum LUFS", "true peak dBTP", "median audibility dB")
    for heading in heads:
        figures.add_column(heading, justify="left" if heading == "method" else "right")
    for figure in methods:
        figures.add_row(
            str(figure["method"]),
            f"{figure['gain_db']:+.2f}",
            _figure(figure["loudness_lufs"], 2),
            _figure(figure["true_peak_dbtp"], 2),
            _figure(figure["median_audibility_db"]),
        )
    screen.table(figures)
    spread = Table(title="spread of loudness inside subgroups, LU", title_justify="left")
    judges = [key for key in map(str, outcome.methods) if key.startswith("spread_by_")]
    spread.add_column("balanced by")
    for key in judges:
        judge = key.removeprefix("spread_by_").removesuffix("_lu")
        spread.add_column(f"judged by {judge}", justify="right")
    for figure in methods:
        spread.add_row(str(figure["method"]), *(_figure(figure[key], 2) for key in judges))
    screen.table(spread)
    for problem in skipped:
        screen.say(f"skipped: {problem}")
    for warning in outcome.warnings:
        screen.say(f"note: {warning}")
    screen.say(f"stems, sums, plans and results.csv: {outcome.folder}")
    screen.say(f"listen: {inside(outcome.folder, 'listen.html')}")


def present_init(screen: Screen, path: Place, analysed: AnalysedSession) -> None:
    """Show what was written into ``session.toml``, and what to look at in it."""
    session = analysed.session
    unsure = [record.name for record in analysed.recognitions if record.unsure]
    screen.result(
        {
            "path": str(path),
            "tracks": len(session.tracks),
            "unsure": unsure,
            "skipped": [problem.subject for problem in session.skipped],
            "warnings": list(session.notes),
        }
    )
    screen.say(f"{path}: {len(session.tracks)} tracks, {len(unsure)} of them unsure")
    for name in unsure:
        screen.say(f"  unsure: {name}")
    for note in session.notes:
        screen.say(f"note: {note}")
    for problem in session.skipped:
        screen.say(f"  not in it: {problem}")


def number(value: float) -> float | None:
    """Return a figure as JSON can hold it: rounded, null where there is none."""
    return round(value, 3) if math.isfinite(value) else None
