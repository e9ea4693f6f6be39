"""The command that saves the style of references, to be followed without them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.command import command
from flows.cli.options import StoreOption
from flows.cli.terminal import Screen, printable
from flows.settings import STYLE_ENDING, is_style_file
from pipeline.errors import Problem

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
@command("store")
def style(
    screen: Screen,
    references: Annotated[
        list[Path], typer.Argument(help="Finished mixes whose style is saved.", metavar="REF...")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write, ending in .style.json.")
    ],
    store: StoreOption = None,
) -> int:
    """Save the style of REF..., without audio: mix --reference FILE.style.json follows it."""
    screen.begin(f"measuring {len(references)} reference{'' if len(references) == 1 else 's'}")
    # A command says what it begins before what takes seconds to load.
    from flows.mix.styles.save import save_style

    problems = []
    if not is_style_file(output):
        what = f"does not end in {STYLE_ENDING}"
        problems.append(Problem(f"--output {output}", what, f"name it NAME{STYLE_ENDING}"))
    if output.exists():
        what = "is there already, and is left as it is"
        problems.append(Problem(f"--output {output}", what, "name another file, or remove it"))
    elif not output.absolute().parent.is_dir():
        problems.append(Problem(f"--output {output}", "lies in no folder", "make its folder"))
    saved = save_style(references, output, store=store, problems=problems)
    screen.result({"style": str(saved.absolute()), "references": [str(p) for p in references]})
    screen.say(f"style: {printable(str(saved))}")
    return 0
