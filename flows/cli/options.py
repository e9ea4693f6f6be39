"""Arguments and options that several commands have, beside those of settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.storage.locations import Place, name_of, parse_place
from pipeline.errors import InputError, Problem

__all__ = ["OutputOption", "SessionArgument", "StoreOption", "called", "local_folder"]

SessionArgument = Annotated[
    str, typer.Argument(help="Folder of raw tracks, or its URL.", metavar="SESSION")
]
OutputOption = Annotated[
    str | None, typer.Option("--output", "-o", help="New folder for what is written, or its URL.")
]
StoreOption = Annotated[
    str | None, typer.Option(help="Folder of the cache, or its URL; default the user's own.")
]


def called(session: Place) -> str:
    """Return what a session is called, of whatever the user typed."""
    if isinstance(session, str) and "://" not in session:
        session = Path(session)
    try:
        return name_of(session) or str(session)
    except (OSError, ValueError, RuntimeError):  # a null byte, a link to itself: told later
        return str(session)


def local_folder(given: str | None, flag: str) -> Path | None:
    """Return the folder that a flag names, which must be on this machine.

    Raises
    ------
    InputError
        If it is a URL.
    """
    place: Place | None = None if given is None else parse_place(given, subject=flag)
    if isinstance(place, str):
        raise InputError([Problem(flag, f"is {place!r}", "name a folder on this machine")])
    return place
