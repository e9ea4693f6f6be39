"""The command ``stemwright``.

Exit status: 0 done, 1 failed, 2 bad input and nothing written, 3 done without the tracks that had
to be skipped, 130 interrupted.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.progress import JsonProgress, Progress, RichProgress, SilentProgress
from pipeline.problems import InputError, Problem

if TYPE_CHECKING:
    from flows.mix import MixOutcome
    from flows.settings import MixSettings

__all__ = ["app", "main"]

EXIT_FAILED, EXIT_BAD_INPUT, EXIT_SKIPPED, EXIT_INTERRUPTED = 1, 2, 3, 130

app = typer.Typer(
    help="Mix a folder of raw tracks in the style of a reference recording.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class _Method(StrEnum):
    ALL = "all"
    LUFS = "lufs"
    CENTROID = "centroid"
    P_LUFS = "p_lufs"
    INFORMED = "informed"


SessionArgument = Annotated[Path, typer.Argument(help="Folder of raw tracks.", metavar="SESSION")]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="New folder for what is written.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what went wrong.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Say every step.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Result as JSON on stdout, progress as JSON lines on stderr.")
]
SkipBadOption = Annotated[
    bool | None,
    typer.Option("--skip-bad", help="Mix without the tracks that cannot be read; exit status 3."),
]
EngineOption = Annotated[
    str | None,
    typer.Option(help="auto, local or prefect; auto is prefect while a dashboard runs."),
]
WorkersOption = Annotated[int | None, typer.Option(help="Tracks at a time; default one a core.")]
StoreOption = Annotated[
    Path | None, typer.Option(help="Folder of the cache; default the user's own.")
]
SettingsOption = Annotated[
    Path | None, typer.Option("--settings", help="TOML file with any of these options.")
]


class _Screen:
    """How a command speaks: quietly, verbosely, as JSON or to a person."""

    def __init__(self, *, quiet: bool, verbose: bool, as_json: bool) -> None:
        self.quiet, self.as_json = quiet, as_json
        # Names are data: no markup in them is obeyed.
        self.out = Console(highlight=False, markup=False, soft_wrap=True)
        self.errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        self.verbose = verbose
        logging.basicConfig(level=logging.DEBUG if verbose else logging.WARNING, force=True)
        for name in ("numba", "matplotlib", "asyncio", "httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)

    def progress(self) -> AbstractContextManager[Progress]:
        """Return the progress that fits, as a context manager."""
        if self.as_json:
            return nullcontext(JsonProgress())
        if self.quiet:
            return nullcontext(SilentProgress())
        return RichProgress(verbose=self.verbose)

    def say(self, text: str = "") -> None:
        """Print a line to a person who wants to hear."""
        if not (self.quiet or self.as_json):
            self.out.print(Text(_printable(text)))

    def result(self, record: dict[str, Any]) -> None:
        """Print the result as JSON where it was asked for."""
        if self.as_json:
            self.out.file.write(json.dumps(record, ensure_ascii=True) + "\n")

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
            self.errors.print(Text(f"  {problem}"))


def _printable(text: str) -> str:
    """Make what a file name could do to a terminal visible instead."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def _guard(screen: _Screen, work: Callable[[], int]) -> None:
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
        notes = "".join(f" {note}" for note in getattr(error, "__notes__", ()))
        screen.errors.print(
            Text(f"failed: {type(error).__name__}: {_printable(str(error))}{_printable(notes)}")
        )
        screen.errors.print("run again with --verbose for the whole story")
        status = EXIT_FAILED
    if status:
        raise typer.Exit(status)


def _settings(file: Path | None, flags: dict[str, Any]) -> MixSettings:
    from flows.settings import from_toml

    return from_toml(file, flags)


@app.command()
def mix(
    session: SessionArgument,
    reference: Annotated[
        list[Path] | None,
        typer.Option("--reference", "-r", help="Finished mix whose style is wanted; repeatable."),
    ] = None,
    output: OutputOption = None,
    target: Annotated[
        str | None,
        typer.Option(help="reference, spotify, apple, youtube, ebu-r128, netflix, or LUFS."),
    ] = None,
    ceiling: Annotated[
        float | None, typer.Option(help="Highest true peak in dBTP; default by target.")
    ] = None,
    strength: Annotated[
        float | None, typer.Option(help="How much of the style, 0 to 1; default 1.")
    ] = None,
    match: Annotated[
        str | None, typer.Option(help="Aspects to follow, of eq,dynamics,level,pan,width.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="Loudness of the balance: informed, lufs, centroid, p_lufs.")
    ] = None,
    sample_rate: Annotated[
        int | None, typer.Option(help="Of the mix in Hz; default that of most tracks.")
    ] = None,
    format: Annotated[str | None, typer.Option(help="wav, flac or mp3.")] = None,
    bits: Annotated[str | None, typer.Option(help="16, 24 or float; default 24.")] = None,
    keep: Annotated[
        bool | None, typer.Option("--keep", help="Write the stems before the console too.")
    ] = None,
    f0: Annotated[
        str | None, typer.Option("--f0", help="windows (default) or full: where f0 is tracked.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the dither.")] = None,
    settings: SettingsOption = None,
    skip_bad: SkipBadOption = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json_: JsonOption = False,
) -> None:
    """Mix SESSION, in the style of the reference if one is given."""
    screen = _Screen(quiet=quiet, verbose=verbose, as_json=json_)

    def work() -> int:
        chosen = _settings(
            settings,
            {
                "references": tuple(reference) if reference else None,
                "target": target,
                "ceiling_dbtp": ceiling,
                "strength": strength,
                "match": match,
                "method": method,
                "sample_rate": sample_rate,
                "format": format,
                "subtype": bits,
                "keep": keep,
                "f0_mode": f0,
                "seed": seed,
                "skip_bad": skip_bad,
                "engine": engine,
                "workers": workers,
            },
        )
        return _mix(screen, session, chosen, output, store)

    _guard(screen, work)


def _mix(
    screen: _Screen,
    session: Path,
    settings: MixSettings,
    output: Path | None,
    store: Path | None,
) -> int:
    from flows.mix import mix_session

    with screen.progress() as progress:
        outcome = mix_session(
            session, settings=settings, folder=output, store=store, progress=progress
        )
    _present(screen, outcome)
    return EXIT_SKIPPED if outcome.analysed.session.skipped else 0


def _present(screen: _Screen, outcome: MixOutcome) -> None:
    """Show a finished mix: the summary, and the paths of everything written."""
    from stage2.style import style_distance

    session = outcome.analysed.session
    loudness = outcome.mixdown.loudness
    record: dict[str, Any] = {
        "folder": str(outcome.folder),
        "files": {name: str(path) for name, path in outcome.files.items()},
        "tracks": len(session.tracks),
        "integrated_lufs": _number(loudness.integrated_lufs),
        "true_peak_dbtp": _number(loudness.true_peak_dbtp),
        "target_lufs": outcome.target_lufs,
        "skipped": [p.subject for p in session.skipped],
        "left_out": [x.name for x in session.left_out],
        "warnings": list(outcome.warnings),
        "seconds": round(outcome.seconds, 2),
    }
    distances = {}
    if outcome.reference_style is not None:
        distances = {
            "balanced start": style_distance(
                outcome.start_style, outcome.reference_style
            ).to_record(),
            "this mix": style_distance(outcome.style, outcome.reference_style).to_record(),
        }
        record["distance"] = distances["this mix"]
    screen.result(record)
    if screen.quiet or screen.as_json:
        return
    whole = outcome.mixdown.stem_sum_lufs
    table = Table(title=f"{session.root.name}: {len(session.tracks)} tracks", title_justify="left")
    for heading in ("stem", "tracks", "level LU", "intended LU", "compression dB"):
        table.add_column(heading, justify="left" if heading == "stem" else "right")
    for name, summary in outcome.stems.items():
        count = sum(t.subgroup == name for t in outcome.plan.tracks)
        intended = outcome.stem_targets_lu.get(name)
        table.add_row(
            Text(_printable(name)),
            str(count),
            f"{summary.loudness.integrated_lufs - whole:.1f}",
            "" if intended is None else f"{intended:.1f}",
            f"{summary.compression.max_db:.1f}",
        )
    screen.out.print(table)
    if distances:
        style = Table(title="distance from the reference (dB, LU)", title_justify="left")
        style.add_column("")
        for name in next(iter(distances.values())):
            style.add_column(name.removesuffix("_db").replace("_", " "), justify="right")
        for label, figures in distances.items():
            style.add_row(label, *(f"{value:.2f}" for value in figures.values()))
        screen.out.print(style)
    for left in session.left_out:
        screen.say(f"left out: {left.name} ({left.why})")
    for problem in session.skipped:
        screen.say(f"skipped: {problem}")
    for warning in outcome.warnings:
        screen.say(f"note: {warning}")
    screen.say(
        f"{loudness.integrated_lufs:.1f} LUFS (target {outcome.target_lufs:.1f}), "
        f"true peak {loudness.true_peak_dbtp:.2f} dBTP, {outcome.seconds:.1f} s"
    )
    for name, path in outcome.files.items():
        screen.say(f"{name}: {path}")


def _number(value: float) -> float | None:
    return round(value, 3) if abs(value) < float("inf") else None


@app.command()
def render(
    plan: Annotated[Path, typer.Argument(help="A plan.json, as it is or edited.", metavar="PLAN")],
    output: OutputOption = None,
    session: Annotated[
        Path | None, typer.Option(help="Folder of the tracks, where it has moved.")
    ] = None,
    workers: WorkersOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json_: JsonOption = False,
) -> None:
    """Render PLAN to its mix and stems: the same plan gives the same samples."""
    screen = _Screen(quiet=quiet, verbose=verbose, as_json=json_)

    def work() -> int:
        from flows.engine import default_workers
        from flows.mix import new_folder
        from pipeline.plan import load_plan
        from pipeline.render import render_to_files

        loaded = load_plan(plan)
        root = session or (plan.parent / loaded.session)
        if not root.is_dir():
            problem = Problem(
                str(root), "the session's folder is not there", "name it with --session"
            )
            raise InputError([problem])
        folder = (output or plan.parent / f"{plan.stem}-render").absolute()
        with screen.progress() as progress, new_folder(folder) as part:
            progress.start("render", 100)
            done = 0

            def advance(share: float) -> None:
                nonlocal done
                while done < int(100 * share):
                    done += 1
                    progress.advance("render", "")

            summary = render_to_files(
                loaded,
                root,
                mix_path=part / f"mix.{loaded.delivery.format}",
                stems_dir=part / "stems",
                on_progress=advance,
                workers=workers or default_workers(),
            )
            moved = loaded.model_copy(update={"session": os.path.relpath(root, folder)})
            (part / "plan.json").write_text(moved.to_json(), encoding="utf-8")
            progress.finish("render")
        path = folder / summary.mix_path.name
        screen.result(
            {
                "folder": str(folder),
                "mix": str(path),
                "integrated_lufs": _number(summary.mix.integrated_lufs),
                "true_peak_dbtp": _number(summary.mix.true_peak_dbtp),
            }
        )
        screen.say(
            f"{summary.mix.integrated_lufs:.1f} LUFS, "
            f"true peak {summary.mix.true_peak_dbtp:.2f} dBTP"
        )
        screen.say(f"mix: {path}")
        return 0

    _guard(screen, work)


@app.command()
def balance(
    session: SessionArgument,
    method: Annotated[_Method, typer.Option(help="One method, or all of them.")] = _Method.ALL,
    output: OutputOption = None,
    f0: Annotated[
        str | None, typer.Option("--f0", help="windows (default) or full: where f0 is tracked.")
    ] = None,
    skip_bad: SkipBadOption = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json_: JsonOption = False,
) -> None:
    """Balance SESSION by loudness: gained tracks and their sum, a folder a method."""
    screen = _Screen(quiet=quiet, verbose=verbose, as_json=json_)

    def work() -> int:
        import time

        from flows.classical import balance_session
        from flows.engine import run_recipe
        from flows.store import default_root
        from stage1.narrowband import METHODS

        chosen = _settings(
            None, {"f0_mode": f0, "skip_bad": skip_bad, "engine": engine, "workers": workers}
        )
        stamp = time.strftime("%Y%m%d-%H%M%S")
        folder = (output or session / "mixes" / f"{stamp}-balances").absolute()
        with screen.progress() as progress:
            outcome = run_recipe(
                session.resolve().name,
                lambda engine: balance_session(
                    engine,
                    session,
                    methods=METHODS if method is _Method.ALL else (method.value,),
                    settings=chosen,
                    folder=folder,
                    store=store or default_root(),
                ),
                engine=chosen.engine,
                workers=chosen.workers,
                progress=progress,
            )
        skipped = outcome.analysed.session.skipped
        screen.result(
            {
                "folder": str(folder),
                "sum_lufs": {name: _number(value) for name, value in outcome.sum_lufs.items()},
                "skipped": [problem.subject for problem in skipped],
            }
        )
        table = Table()
        table.add_column("track")
        for name in outcome.sum_lufs:
            table.add_column(f"{name} gain dB", justify="right")
        for _, row in outcome.table.iterrows():
            table.add_row(
                Text(_printable(str(row["track"]))),
                *(f"{row[f'gain_{name}_db']:+.1f}" for name in outcome.sum_lufs),
            )
        if not (screen.quiet or screen.as_json):
            screen.out.print(table)
        for problem in skipped:
            screen.say(f"skipped: {problem}")
        screen.say(f"gained tracks, sums and results.csv: {folder}")
        return EXIT_SKIPPED if skipped else 0

    _guard(screen, work)


@app.command()
def init(
    session: SessionArgument,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json_: JsonOption = False,
) -> None:
    """Write a session.toml into SESSION with what each track was recognised as, to edit."""
    screen = _Screen(quiet=quiet, verbose=verbose, as_json=json_)

    def work() -> int:
        from pipeline.session import open_session
        from pipeline.session_settings import SESSION_TOML, write_session_toml
        from stage1.subgroups import recognise

        opened, _ = open_session(session, skip_bad=True)
        found = recognise([track.name for track in opened.tracks])
        path = session / SESSION_TOML
        write_session_toml(opened, {record.name: record for record in found}, path)
        unsure = [record.name for record in found if record.unsure]
        screen.result({"path": str(path), "tracks": len(found), "unsure": unsure})
        screen.say(f"{path}: {len(found)} tracks, {len(unsure)} of them unsure")
        for name in unsure:
            screen.say(f"  unsure: {name}")
        return 0

    _guard(screen, work)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the session and the reference are made.")],
    mix_into: Annotated[
        Path | None, typer.Option("--mix", help="Mix it too; a new folder is made in this one.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Length of the song.")] = 40.0,
    seed: Annotated[int, typer.Option(help="Of the synthesis.")] = 1,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json_: JsonOption = False,
) -> None:
    """Synthesise a session of 112 tracks and a reference of other material; mix it if asked."""
    screen = _Screen(quiet=quiet, verbose=verbose, as_json=json_)

    def work() -> int:
        import time

        from flows.engine import default_workers
        from pipeline.demo import make_demo

        with screen.progress() as progress:
            begun = False

            def advance(done: int, total: int) -> None:
                nonlocal begun
                if not begun:
                    progress.start("synthesise", total)
                    begun = True
                progress.advance("synthesise", f"{done} of {total}")

            made = make_demo(
                folder,
                seconds=seconds,
                seed=seed,
                workers=workers or default_workers(),
                on_progress=advance,
            )
            if begun:
                progress.finish("synthesise")
        screen.say(f"session: {made.session} ({made.tracks} tracks)")
        screen.say(f"reference: {made.reference}")
        if mix_into is None:
            screen.result({"session": str(made.session), "reference": str(made.reference)})
            return 0
        chosen = _settings(
            None, {"references": (made.reference,), "engine": engine, "workers": workers}
        )
        output = mix_into / time.strftime("%Y%m%d-%H%M%S")
        return _mix(screen, made.session, chosen, output, None)

    _guard(screen, work)


@app.command()
def dashboard(
    port: Annotated[int | None, typer.Option(help="Port on this machine; default 4200.")] = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Start a private Prefect server on this machine and watch runs in its pages; Ctrl-C stops."""
    screen = _Screen(quiet=quiet, verbose=verbose, as_json=False)

    def work() -> int:
        from flows.dashboard import start_server

        start_server(
            port,
            foreground=True,
            on_ready=lambda url: screen.say(
                f"dashboard: {url.removesuffix('/api')} (runs started now appear in it; "
                "Ctrl-C stops it)"
            ),
        )
        return 0

    _guard(screen, work)


def main() -> None:
    """Run the command line."""
    # PESTO, numba and Prefect all read these at import.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app()
