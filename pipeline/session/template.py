"""A ``session.toml`` written from what was recognised, for the user to edit."""

from __future__ import annotations

import glob
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import tomlkit

from pipeline.console.conditioning import ChannelUse
from pipeline.errors import InputError, Problem
from pipeline.roles import Presence, Role
from pipeline.session.discovery import Session

__all__ = ["Recognised", "write_session_toml"]


class Recognised(Protocol):
    """What was recognised of one track, as far as ``session.toml`` tells it."""

    @property
    def role(self) -> Role: ...  # noqa: D102
    @property
    def subgroup(self) -> str: ...  # noqa: D102
    @property
    def confidence(self) -> float: ...  # noqa: D102
    @property
    def presence(self) -> Presence: ...  # noqa: D102
    @property
    def unsure(self) -> bool: ...  # noqa: D102


_HEADING = """\
What each track of this session is taken for. Change what is wrong; "unsure" marks what to look at.
An entry may also set gain_db (added to the balance), pan (-1 left to 1 right), invert (polarity,
true or false), mute, start_s (where it starts, whatever its time stamp) and use (true keeps what
would be left out, false leaves it out), and its match may be a glob such as "Drums/*kick*"; of
several entries the last one counts.
channels, what is made of a file's channels, is one of: {channels}
Above all entries, time_stamps = "use" or "ignore" says whether time stamps place the tracks, and
full_length = true keeps long silence at the end.
Levels that the balance aims at are changed by tables such as [offsets.role] with hi_hat = -6.
presence is one of: {presences}
role is one of: {roles}"""


def write_session_toml(session: Session, recognised: Mapping[str, Recognised], path: Path) -> None:
    """Write a ``session.toml`` with one entry a track, to edit.

    Parameters
    ----------
    session
        The session; its tracks are written in their order.
    recognised
        For each track's name what it was recognised as.
    path
        The file to write.

    Raises
    ------
    InputError
        When the file exists: what a user wrote is never overwritten.
    """
    document = tomlkit.document()
    heading = _HEADING.format(
        presences=", ".join(Presence), roles=", ".join(Role), channels=", ".join(ChannelUse)
    )
    for line in (part for text in heading.splitlines() for part in textwrap.wrap(text, 98)):
        document.add(tomlkit.comment(line))
    document.add(tomlkit.nl())
    entries = tomlkit.aot()
    for track in session.tracks:
        recognition = recognised[track.name]
        entry = tomlkit.table()
        entry.add("match", _glob_of(track.name))
        entry.add("role", str(recognition.role))
        entry["role"].comment(
            f"{'unsure, ' if recognition.unsure else ''}confidence {recognition.confidence:.2f}"
        )
        entry.add("subgroup", str(recognition.subgroup))
        entry.add("presence", str(recognition.presence))
        entry.add(tomlkit.nl())
        entries.append(entry)
    document.add("track", entries)
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(tomlkit.dumps(document))
    except FileExistsError as error:
        remedy = "edit it, or move it away to have a new one written"
        raise InputError([Problem(str(path), "exists already", remedy)]) from error


def _glob_of(name: str) -> str:
    """Return the glob that matches this name alone."""
    # TOML is UTF-8: the bytes of a name that are none can only be matched by a wildcard.
    return re.sub(r"[\ud800-\udfff]", "?", glob.escape(name))
