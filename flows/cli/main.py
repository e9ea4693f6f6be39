"""The command ``stemwright``.

Exit status: 0 done, 1 failed, 2 bad input and nothing written, 3 done without the tracks that had
to be skipped, 130 interrupted; ``catalogue`` says with 11 to 100 how many sessions failed.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

__all__ = ["app", "main"]

# Each command's first line of help; a module of this package has the command, by its name or here.
_COMMANDS = {
    "mix": "Mix SESSION, in the style of the reference if one is given.",
    "render": "Render PLAN, as it is or edited, to a mix with stems, report and DAW session.",
    "balance": "Balance SESSION by loudness: stems and sum of each method, equally loud, to listen "
    "through.",
    "init": "Write a session.toml into SESSION with what each track was recognised as, to edit.",
    "demo": "Synthesise a session of 112 tracks and a reference of other material; mix it if "
    "asked.",
    "dashboard": "Start a private Prefect server on this machine and watch runs in its pages; "
    "Ctrl-C stops.",
    "catalogue": "Mix many sessions in one run; a broken one is reported and stops none of the "
    "others.",
    "train": "Train a controller as CONFIG says, or go on with a run that was interrupted.",
    "model": "Say what a controller is: data, training, metrics, limits.",
    "style": "Save the style of REF..., without audio: mix --reference FILE.style.json follows it.",
    "cache": "Show or tidy the cache of steps.",
}
_MODULES = {"model": "train"}


class _Commands(TyperGroup):
    """Loads a command where it is typed: a list of them needs no settings, which need pydantic."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name in _COMMANDS:
            module = import_module(f"flows.cli.{_MODULES.get(name, name)}")
            command = typer.main.get_command(module.app)
            if isinstance(command, TyperGroup):
                command = command.commands.get(name, command)
        return name, command, rest


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _listed() -> None:
    """Stand in the list of commands for one that is loaded when it is typed."""


for _name, _summary in _COMMANDS.items():
    app.command(_name, help=_summary)(_listed)


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


def main() -> None:
    """Run the command line."""
    if "dashboard" in sys.argv:
        # Only here: it loads what other commands do without.
        from flows.cli.dashboard import start_without_password

        start_without_password()
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
