"""The command that renders a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.command import Flags, command
from flows.cli.mix import present_mix
from flows.cli.options import OutputOption, StoreOption
from flows.cli.terminal import Screen
from flows.engines.threads import default_workers
from flows.storage.locations import parse_place

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
@command("collect", "workers", "store")
def render(
    screen: Screen,
    flags: Flags,
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
    store: StoreOption = None,
) -> int:
    """Render PLAN, as it is or edited, to a mix with stems, report and DAW session.

    The same plan gives the same samples; an edited one keeps the loudness that it asks for.
    """
    screen.begin(f"rendering {plan.name}")
    # A command says what it begins before what takes seconds to load.
    from flows.mix.rerender import render_plan

    chosen = flags.settings()
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
