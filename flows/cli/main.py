"""The command ``stemwright``.

Exit status: 0 done, 1 failed, 2 bad input and nothing written, 3 done without the tracks that had
to be skipped, 130 interrupted; ``catalogue`` says with 11 to 100 how many sessions failed.
"""

from __future__ import annotations

import os
import signal
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.cache import add_cache_commands
from flows.cli.catalogue import add_catalogue_commands
from flows.cli.options import (
    BitsOption,
    CollectOption,
    DaskOption,
    EngineOption,
    FormatOption,
    FullLengthOption,
    JsonOption,
    KeepOption,
    MatchOption,
    MaxMinutesOption,
    NoControllerOption,
    OutputOption,
    QualityOption,
    QuietOption,
    ReferenceOption,
    SalvageOption,
    SessionArgument,
    SettingsOption,
    SkipBadOption,
    StoreOption,
    StrengthOption,
    TargetOption,
    TimeStampsOption,
    VerboseOption,
    WorkersOption,
    chosen_settings,
)
from flows.cli.terminal import (
    EXIT_SKIPPED,
    Screen,
    guard,
    present_balances,
    present_init,
    present_mix,
)
from flows.cli.train import add_train_commands
from flows.storage.locations import Place, name_of, parse_place
from pipeline.errors import InputError, Problem

if TYPE_CHECKING:
    from flows.settings import MixSettings

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        # Read only where it is asked for: it costs the start of every command otherwise.
        from importlib.metadata import version

        typer.echo(f"stemwright {version('stemwright')}")
        raise typer.Exit


@app.callback()
def stemwright(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_show_version, is_eager=True, help="Say which this is."
        ),
    ] = False,
) -> None:
    """Mix a folder of raw tracks in the style of a reference recording."""
    del version  # the callback has said it


def _called(session: Place) -> str:
    """Return what a session is called, of whatever the user typed."""
    if isinstance(session, str) and "://" not in session:
        session = Path(session)
    try:
        return name_of(session) or str(session)
    except (OSError, ValueError, RuntimeError):  # a null byte, a link to itself: told later
        return str(session)


@app.command()
def mix(
    session: SessionArgument,
    reference: ReferenceOption = None,
    output: OutputOption = None,
    target: TargetOption = None,
    ceiling: Annotated[
        float | None, typer.Option(help="Highest true peak in dBTP; default by target.")
    ] = None,
    strength: StrengthOption = None,
    match: MatchOption = None,
    quality: QualityOption = None,
    no_controller: NoControllerOption = None,
    method: Annotated[
        str | None,
        typer.Option(help="Loudness of the balance: sones, informed, lufs, centroid, p_lufs."),
    ] = None,
    time_stamps: TimeStampsOption = None,
    full_length: FullLengthOption = None,
    sample_rate: Annotated[
        int | None, typer.Option(help="Of the mix in Hz; default that of most tracks.")
    ] = None,
    format: FormatOption = None,
    bits: BitsOption = None,
    keep: KeepOption = None,
    collect: CollectOption = None,
    f0: Annotated[
        str | None, typer.Option("--f0", help="windows (default) or full: where f0 is tracked.")
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="In the mix's tags; default by the folder's name.")
    ] = None,
    artist: Annotated[
        str | None, typer.Option(help="In the tags; default by a folder named Artist - Title.")
    ] = None,
    album: Annotated[str | None, typer.Option(help="In the tags.")] = None,
    date: Annotated[str | None, typer.Option(help="In the tags, as 2026-05-31 or 2026.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the dither.")] = None,
    settings: SettingsOption = None,
    skip_bad: SkipBadOption = None,
    salvage: SalvageOption = None,
    max_minutes: MaxMinutesOption = None,
    engine: EngineOption = None,
    dask: DaskOption = None,
    workers: WorkersOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json_: JsonOption = False,
) -> None:
    """Mix SESSION, in the style of the reference if one is given."""
    screen = Screen(quiet=quiet, verbose=verbose, as_json=json_)

    def work() -> int:
        screen.begin(f"mixing {_called(session)}")
        chosen = chosen_settings(
            settings,
            {
                "references": tuple(reference) if reference else None,
                "target": target,
                "ceiling_dbtp": ceiling,
                "strength": strength,
                "match": match,
                "quality": quality,
                "controller": False if no_controller else None,
                "method": method,
                "sample_rate": sample_rate,
                "time_stamps": time_stamps,
                "full_length": full_length,
                "format": format,
                "subtype": bits,
                "keep": keep,
                "collect": collect,
                "f0_mode": f0,
                "title": title,
                "artist": artist,
                "album": album,
                "date": date,
                "seed": seed,
                "skip_bad": skip_bad,
                "salvage": salvage,
                "max_minutes": max_minutes,
                "engine": engine,
                "dask": dask,
                "workers": workers,
            },
        )
        return _mix(screen, session, chosen, output, store)

    guard(screen, work)


def _mix(
    screen: Screen,
    session: Place,
    settings: MixSettings,
    output: Place | None,
    store: Place | None,
) -> int:
    from flows.engines.run import begin_engine

    begin_engine(settings.engine, settings.dask)
    from flows.mix.recipe import mix_session

    with screen.progress() as progress:
        outcome = mix_session(
            session, settings=settings, folder=output, store=store, progress=progress
        )
    present_mix(screen, outcome)
    return EXIT_SKIPPED if outcome.analysed.session.skipped else 0


@app.command()
def render(
    plan: Annotated[Path, typer.Argument(help="A plan.json, as it is or edited.", metavar="PLAN")],
    output: OutputOption = None,
    session: Annotated[
        str | None, typer.Option(help="Folder of the tracks, or its URL, where it has moved.")
    ] = None,
    as_is: Annotated[
        bool,
        typer.Option(
            "--as-is", help="Keep the plan's drive and trim, whatever loudness comes of it."
        ),
    ] = False,
    collect: CollectOption = None,
    workers: WorkersOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json_: JsonOption = False,
) -> None:
    """Render PLAN, as it is or edited, to a mix with stems, report and DAW session.

    The same plan gives the same samples; an edited one keeps the loudness that it asks for.
    """
    screen = Screen(quiet=quiet, verbose=verbose, as_json=json_)

    def work() -> int:
        screen.begin(f"rendering {plan.name}")
        from flows.engines.threads import default_workers
        from flows.mix.rerender import render_plan

        chosen = chosen_settings(None, {"workers": workers, "collect": collect})
        folder = parse_place(output or plan.parent / f"{plan.stem}-render", subject="--output")
        folder = folder if isinstance(folder, str) else folder.absolute()
        with screen.progress() as progress:
            outcome = render_plan(
                plan,
                session=session,
                folder=folder,
                store=store,
                as_is=as_is,
                collect=chosen.collect,
                workers=chosen.workers or default_workers(),
                progress=progress,
            )
        present_mix(screen, outcome)
        return 0

    guard(screen, work)


@app.command()
def balance(
    session: SessionArgument,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="How loudness is judged, as of mix, or all for every method; repeatable. "
            "Default that of the settings."
        ),
    ] = None,
    output: OutputOption = None,
    tracks: Annotated[
        bool, typer.Option("--tracks", help="Write each track at its gain too, as published.")
    ] = False,
    f0: Annotated[
        str | None, typer.Option("--f0", help="windows (default) or full: where f0 is tracked.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the dither and of the listening test's order.")
    ] = None,
    time_stamps: TimeStampsOption = None,
    full_length: FullLengthOption = None,
    settings: SettingsOption = None,
    skip_bad: SkipBadOption = None,
    salvage: SalvageOption = None,
    max_minutes: MaxMinutesOption = None,
    engine: EngineOption = None,
    dask: DaskOption = None,
    workers: WorkersOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json_: JsonOption = False,
) -> None:
    """Balance SESSION by loudness: stems and sum of each method, equally loud, to listen through.

    Writes a page to switch between the methods, a table of all gains, and a listening test.
    """
    screen = Screen(quiet=quiet, verbose=verbose, as_json=json_)

    def work() -> int:
        screen.begin(f"balancing {_called(session)}")
        from flows.compare.methods import chosen_methods
        from flows.compare.recipe import balance_session
        from flows.dashboard.tags import run_tags
        from flows.engines.run import run_recipe
        from flows.storage.output_folder import written_through
        from flows.storage.store import chosen_root

        problems: list[Problem] = []
        flags = {
            "f0_mode": f0,
            "seed": seed,
            "time_stamps": time_stamps,
            "full_length": full_length,
            "skip_bad": skip_bad,
            "salvage": salvage,
            "max_minutes": max_minutes,
            "engine": engine,
            "dask": dask,
            "workers": workers,
        }
        try:
            chosen = chosen_settings(settings, flags)
        except InputError as error:
            problems += error.problems
        try:
            methods = chosen_methods(method, chosen.method if not problems else "all")
        except InputError as error:
            problems += error.problems
        if problems:
            raise InputError(problems)
        place = parse_place(session)
        with screen.progress() as progress:
            outcome = run_recipe(
                name_of(place),
                lambda engine: balance_session(
                    engine,
                    place,
                    methods=methods,
                    settings=chosen,
                    folder=output,
                    store=chosen_root(store),
                    tracks=tracks,
                    progress=progress,
                ),
                engine=chosen.engine,
                dask=chosen.dask,
                reads=[place],
                writes=[chosen_root(store), *written_through(output, place)],
                workers=chosen.workers,
                progress=progress,
                tags=run_tags("balance", session=name_of(place)),
            )
        present_balances(screen, outcome)
        return EXIT_SKIPPED if outcome.analysed.session.skipped else 0

    guard(screen, work)


@app.command()
def init(
    session: SessionArgument,
    engine: EngineOption = None,
    dask: DaskOption = None,
    workers: WorkersOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json_: JsonOption = False,
) -> None:
    """Write a session.toml into SESSION with what each track was recognised as, to edit.

    It is what a mix takes the tracks for, by their names and by their sound.
    """
    screen = Screen(quiet=quiet, verbose=verbose, as_json=json_)

    def work() -> int:
        screen.begin(f"looking at {_called(session)}")
        from flows.mix.init import init_session
        from flows.storage.store import chosen_root

        chosen = chosen_settings(
            None,
            {"skip_bad": True, "salvage": True, "engine": engine, "dask": dask, "workers": workers},
        )
        with screen.progress() as progress:
            path, analysed = init_session(
                parse_place(session),
                settings=chosen,
                store=chosen_root(store),
                progress=progress,
            )
        present_init(screen, path, analysed)
        return 0

    guard(screen, work)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the session and the reference are made.")],
    mix_into: Annotated[
        Path | None, typer.Option("--mix", help="Mix it too; a new folder is made in this one.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Length of the song.")] = 40.0,
    seed: Annotated[int, typer.Option(help="Of the synthesis.", min=0)] = 1,
    engine: EngineOption = None,
    dask: DaskOption = None,
    workers: WorkersOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json_: JsonOption = False,
) -> None:
    """Synthesise a session of 112 tracks and a reference of other material; mix it if asked."""
    screen = Screen(quiet=quiet, verbose=verbose, as_json=json_)

    def work() -> int:
        import time

        from flows.engines.threads import default_workers
        from pipeline.demo.session import make_demo

        chosen = chosen_settings(None, {"engine": engine, "dask": dask, "workers": workers})
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
                workers=chosen.workers or default_workers(),
                on_progress=advance,
            )
            if begun:
                progress.finish("synthesise")
        screen.say(f"session: {made.session} ({made.tracks} tracks)")
        screen.say(f"reference: {made.reference}")
        if mix_into is None:
            screen.result({"session": str(made.session), "reference": str(made.reference)})
            return 0
        output = mix_into / time.strftime("%Y%m%d-%H%M%S")
        with_reference = chosen.model_copy(update={"references": (made.reference,)})
        return _mix(screen, made.session, with_reference, output, None)

    guard(screen, work)


@app.command()
def dashboard(
    port: Annotated[int | None, typer.Option(help="Port to serve on; default 4200.")] = None,
    host: Annotated[
        str,
        typer.Option(help="Address of this machine to serve on, without a login; 0.0.0.0 for all."),
    ] = "127.0.0.1",
    name: Annotated[
        list[str] | None,
        typer.Option(help="Further name it is reached by, of a proxy for instance; repeatable."),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            help="PostgreSQL for a team's runs: postgresql+asyncpg://USER@HOST/NAME; the password "
            "in ~/.pgpass or PGPASSWORD, or the whole address in STEMWRIGHT_DATABASE."
        ),
    ] = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Start a private Prefect server on this machine and watch runs in its pages; Ctrl-C stops."""
    screen = Screen(quiet=quiet, verbose=verbose, as_json=False)

    def work() -> int:
        from flows.dashboard.control import running_server, start_server
        from flows.dashboard.database import chosen_database
        from flows.dashboard.host_check import is_loopback

        found = running_server()

        def present(url: str) -> None:
            page = url.removesuffix("/api")
            if found is not None:
                screen.say(f"dashboard: {page} (it is running already, and stays as it is)")
                return
            if not is_loopback(host):
                screen.errors.print(
                    f"warning: whoever reaches {host}, port {page.rpartition(':')[2]} of this "
                    "machine sees these runs and can change them: there is no login"
                )
            screen.say(f"dashboard: {page} (runs started now appear in it; Ctrl-C stops it)")

        chosen = chosen_database(database)
        start_server(
            port,
            host=host,
            names=name or (),
            database=chosen,
            foreground=True,
            on_ready=present,
        )
        return 0

    guard(screen, work)


add_catalogue_commands(app)
add_train_commands(app)
add_cache_commands(app)


def _start_without_password() -> None:
    """Start anew where the arguments hold a database's password: everybody can read those."""
    from flows.dashboard.database import VARIABLE, password_aside

    aside = password_aside(sys.argv[1:])
    if aside is not None and sys.platform != "win32":
        arguments, address = aside
        before = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
        environment = os.environ | {VARIABLE: address}
        os.execve(sys.executable, [sys.executable, *before, *arguments], environment)


def main() -> None:
    """Run the command line."""
    if "dashboard" in sys.argv:
        _start_without_password()
    # PESTO, numba and Prefect all read these at import.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # A service manager's stop is to leave as little behind as Ctrl-C, also where the shell that
    # started this in the background had interrupts ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()
