"""Arguments and options that several commands have, and the settings that they make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.storage.locations import Place, parse_place
from pipeline.errors import InputError, Problem

if TYPE_CHECKING:
    from flows.settings import MixSettings

__all__ = [
    "BitsOption",
    "CollectOption",
    "DaskOption",
    "EngineOption",
    "FormatOption",
    "FullLengthOption",
    "JsonOption",
    "KeepOption",
    "MatchOption",
    "MaxMinutesOption",
    "NoControllerOption",
    "OutputOption",
    "QualityOption",
    "QuietOption",
    "ReferenceOption",
    "SalvageOption",
    "SessionArgument",
    "SettingsOption",
    "SkipBadOption",
    "StoreOption",
    "StrengthOption",
    "TargetOption",
    "TimeStampsOption",
    "VerboseOption",
    "WorkersOption",
    "chosen_settings",
    "local_folder",
]

SessionArgument = Annotated[
    str, typer.Argument(help="Folder of raw tracks, or its URL.", metavar="SESSION")
]
OutputOption = Annotated[
    str | None, typer.Option("--output", "-o", help="New folder for what is written, or its URL.")
]
ReferenceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--reference", "-r", help="Finished mix whose style is wanted, or its URL; repeatable."
    ),
]
TargetOption = Annotated[
    str | None,
    typer.Option(help="reference, spotify, apple, youtube, ebu-r128, netflix, or LUFS."),
]
FormatOption = Annotated[str | None, typer.Option(help="wav, flac or mp3.")]
BitsOption = Annotated[str | None, typer.Option(help="16, 24 or float; default 24.")]
KeepOption = Annotated[
    bool | None, typer.Option("--keep", help="Write the stems before the console too.")
]
CollectOption = Annotated[
    bool | None,
    typer.Option("--collect", help="Put all audio inside the DAW session, to hand it on alone."),
]
TimeStampsOption = Annotated[
    str | None,
    typer.Option(help="auto, use or ignore: whether broadcast time stamps place the tracks."),
]
FullLengthOption = Annotated[
    bool | None,
    typer.Option("--full-length", help="Keep long silence after the last sound."),
]
StrengthOption = Annotated[
    float | None, typer.Option(help="How much of the style, 0 to 1; default 1.")
]
MatchOption = Annotated[
    str | None, typer.Option(help="Aspects to follow, of eq,dynamics,level,pan,width.")
]
QualityOption = Annotated[
    str | None,
    typer.Option(help="best (default) refines the predicted settings; fast takes them."),
]
NoControllerOption = Annotated[
    bool | None,
    typer.Option("--no-controller", help="Refine from the balanced mix; nothing is predicted."),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say only what went wrong.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Say every step.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Result as JSON on stdout, progress as JSON lines on stderr.")
]
MaxMinutesOption = Annotated[
    float | None,
    typer.Option(help="Longest that a track or reference may last; default 60, for memory's sake."),
]
SalvageOption = Annotated[
    bool | None,
    typer.Option("--salvage", help="Use what there is of files that end before their time."),
]
SkipBadOption = Annotated[
    bool | None,
    typer.Option("--skip-bad", help="Mix without the tracks that cannot be read; exit status 3."),
]
EngineOption = Annotated[
    str | None,
    typer.Option(help="auto, local, prefect or dask; auto is prefect while a dashboard runs."),
]
DaskOption = Annotated[
    str | None,
    typer.Option(help="Running Dask scheduler to work on, as tcp://HOST:PORT; see --engine dask."),
]
WorkersOption = Annotated[int | None, typer.Option(help="Tracks at a time; default one a core.")]
StoreOption = Annotated[
    str | None, typer.Option(help="Folder of the cache, or its URL; default the user's own.")
]
SettingsOption = Annotated[
    Path | None, typer.Option("--settings", help="TOML file with any of these options.")
]


def chosen_settings(file: Path | None, flags: dict[str, Any]) -> MixSettings:
    """Return the settings of a file and of flags, which win.

    Raises
    ------
    InputError
        With everything that is wrong, each under the name of its flag.
    """
    from flows.settings import from_toml

    return from_toml(file, flags)


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
