"""The command that makes a session to try the others on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.command import Flags, command
from flows.cli.mix import mix_shown
from flows.cli.terminal import Screen
from flows.engines.threads import default_workers

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
@command("engine", "dask", "workers")
def demo(
    screen: Screen,
    flags: Flags,
    folder: Annotated[Path, typer.Argument(help="Where the session and the reference are made.")],
    mix_into: Annotated[
        Path | None, typer.Option("--mix", help="Mix it too; a new folder is made in this one.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Length of the song.")] = 40.0,
    seed: Annotated[int, typer.Option(help="Of the synthesis.", min=0)] = 1,
) -> int:
    """Synthesise a session of 112 tracks and a reference of other material; mix it if asked."""
    # These load what takes seconds, which --help does without.
    from pipeline.demo.session import make_demo

    chosen = flags.settings()
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
    return mix_shown(screen, made.session, with_reference, output, None)
