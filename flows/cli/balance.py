"""The command that balances a session by several methods, to compare them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from flows.cli.command import FILE, Flags, command
from flows.cli.options import OutputOption, SessionArgument, StoreOption, called
from flows.cli.terminal import EXIT_SKIPPED, Screen, number, printable, rounded
from flows.dashboard.tags import Listing, run_tags
from flows.engines.run import SharedFolders, run_recipe
from flows.storage.locations import inside, name_of, parse_place
from flows.storage.output_folder import written_through
from flows.storage.store import chosen_root
from pipeline.errors import Problems

if TYPE_CHECKING:
    from flows.compare.recipe import BalanceOutcome

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
@command(
    *("method", "output", "tracks", "f0_mode", "seed", "time_stamps", "full_length", FILE),
    *("skip_bad", "salvage", "max_minutes", "engine", "dask", "workers", "store"),
)
def balance(
    screen: Screen,
    flags: Flags,
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
    store: StoreOption = None,
) -> int:
    """Balance SESSION by loudness: stems and sum of each method, equally loud, to listen through.

    Writes a page to switch between the methods, a table of all gains, and a listening test.
    """
    screen.begin(f"balancing {called(session)}")
    # A command says what it begins before what takes seconds to load.
    from flows.compare.methods import chosen_methods
    from flows.compare.recipe import balance_session

    problems = Problems()
    with problems.collected():
        chosen = flags.settings()
    with problems.collected():
        methods = chosen_methods(method, "all" if problems else chosen.method)
    problems.raise_all()
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
            folders=SharedFolders(
                reads=[place], writes=[chosen_root(store), *written_through(output, place)]
            ),
            workers=chosen.workers,
            progress=progress,
            listing=Listing(tags=run_tags("balance", session=name_of(place))),
        )
    _present(screen, outcome)
    return EXIT_SKIPPED if outcome.analysed.session.skipped else 0


def _present(screen: Screen, outcome: BalanceOutcome) -> None:
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
            rounded(figure["loudness_lufs"], 2),
            rounded(figure["true_peak_dbtp"], 2),
            rounded(figure["median_audibility_db"]),
        )
    screen.table(figures)
    spread = Table(title="spread of loudness inside subgroups, LU", title_justify="left")
    judges = [key for key in map(str, outcome.methods) if key.startswith("spread_by_")]
    spread.add_column("balanced by")
    for key in judges:
        judge = key.removeprefix("spread_by_").removesuffix("_lu")
        spread.add_column(f"judged by {judge}", justify="right")
    for figure in methods:
        spread.add_row(str(figure["method"]), *(rounded(figure[key], 2) for key in judges))
    screen.table(spread)
    for problem in skipped:
        screen.say(f"skipped: {problem}")
    for warning in outcome.warnings:
        screen.say(f"note: {warning}")
    screen.say(f"stems, sums, plans and results.csv: {outcome.folder}")
    screen.say(f"listen: {inside(outcome.folder, 'listen.html')}")
