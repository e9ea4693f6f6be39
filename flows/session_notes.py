"""What the user should know of a session's tracks, in one line for each kind of thing."""

from __future__ import annotations

from collections.abc import Sequence

from flows.analysis import AnalysedSession
from pipeline.roles import Role
from pipeline.words import listed

__all__ = ["track_notes"]


def track_notes(analysed: AnalysedSession) -> tuple[str, ...]:
    """Return what was found in the session, its tracks of one kind named together.

    Returns
    -------
    tuple of str
        The session's own notes first; then what was recognised by ear or hardly at all, which
        tracks are silent, and each one that clips or has a DC offset.
    """
    names = [track.name for track in analysed.session.tracks]
    silent = {
        name
        for name, check, features in zip(names, analysed.checks, analysed.features, strict=True)
        if check.silent or features.silent
    }
    unsure, heard = [], []
    for record in analysed.recognitions:
        if record.name in silent:
            continue
        if record.unsure or record.role == Role.UNKNOWN:
            unsure.append(record.name)
        elif record.by_sound:
            heard.append(record.name)
    found = list(analysed.session.notes)
    if heard:
        found.append(
            _counted(
                heard,
                "has a name that says nothing and is taken for what it sounds like",
                "have names that say nothing and are taken for what they sound like",
            )
            + f": {listed(heard)}"
        )
    if unsure:
        whose = "its role" if len(unsure) == 1 else "their roles"
        found.append(
            f"{_counted(unsure, 'was', 'were')} recognised with little confidence: "
            f"{listed(unsure)} (name {whose} in session.toml; `stemwright init` writes one to edit)"
        )
    if silent:
        in_order = [name for name in names if name in silent]
        found.append(f"{_counted(in_order, 'is', 'are')} silent: {listed(in_order)}")
    for name, check in zip(names, analysed.checks, strict=True):
        found.extend(f"{name}: {flag}" for flag in check.flags if not check.silent)
    return tuple(found)


def _counted(names: Sequence[str], one: str, several: str) -> str:
    return f"1 track {one}" if len(names) == 1 else f"{len(names)} tracks {several}"
