"""The command that writes a ``session.toml`` to edit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from flows.cli.command import Flags, command
from flows.cli.options import SessionArgument, StoreOption, called
from flows.cli.terminal import Screen
from flows.storage.locations import Place, parse_place
from flows.storage.store import chosen_root

if TYPE_CHECKING:
    from flows.mix.analysis import AnalysedSession

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
@command("engine", "dask", "workers", "store")
def init(screen: Screen, flags: Flags, session: SessionArgument, store: StoreOption = None) -> int:
    """Write a session.toml into SESSION with what each track was recognised as, to edit.

    It is what a mix takes the tracks for, by their names and by their sound.
    """
    screen.begin(f"looking at {called(session)}")
    # A command says what it begins before what takes seconds to load.
    from flows.mix.init import init_session

    chosen = flags.settings(skip_bad=True, salvage=True)
    with screen.progress() as progress:
        path, analysed = init_session(
            parse_place(session), settings=chosen, store=chosen_root(store), progress=progress
        )
    _present(screen, path, analysed)
    return 0


def _present(screen: Screen, path: Place, analysed: AnalysedSession) -> None:
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
