"""What the user should know of a session's tracks, in one line for each kind of thing."""

from __future__ import annotations

from collections.abc import Sequence

from flows.analysis import AnalysedSession
from pipeline.roles import Role
from pipeline.words import listed

__all__ = ["track_notes"]

_FAINT_LUFS = -60.0
"""So quiet nothing is recorded on purpose: noise of a microphone's amplifier is."""

_REMEDIES = {
    "clips": "; use a take that does not clip, or repair it before mixing",
    "DC": "; filter it out under 20 Hz",
}


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
    found += _faint(analysed, names, silent)
    found += _readings(analysed, names)
    for name, check in zip(names, analysed.checks, strict=True):
        found.extend(
            f"{name}: {flag}{_remedy(flag)}"
            for flag in check.flags
            if not check.silent and flag not in check.reading
        )
    return tuple(found)


def _readings(analysed: AnalysedSession, names: Sequence[str]) -> list[str]:
    """Return how files were read otherwise than they say, those alike in one line."""
    alike: dict[str, list[str]] = {}
    for name, check in zip(names, analysed.checks, strict=True):
        for reading in check.reading:
            alike.setdefault(reading, []).append(name)
    return [f"{listed(those)}: {reading}" for reading, those in alike.items()]


def _faint(analysed: AnalysedSession, names: Sequence[str], silent: set[str]) -> list[str]:
    levels = {
        name: features.integrated_lufs
        for name, features in zip(names, analysed.features, strict=True)
        if name not in silent
    }
    faint = [name for name, level in levels.items() if level < _FAINT_LUFS]
    if not faint:
        return []
    return [
        f"{_counted(faint, 'is', 'are')} nearly silent, under {_FAINT_LUFS:.0f} LUFS: "
        f"{listed(faint)} (raised in the mix with all their noise: check that the right files "
        "were exported, or mute them in session.toml)"
    ]


def _remedy(flag: str) -> str:
    return next((remedy for start, remedy in _REMEDIES.items() if flag.startswith(start)), "")


def _counted(names: Sequence[str], one: str, several: str) -> str:
    return f"1 track {one}" if len(names) == 1 else f"{len(names)} tracks {several}"
