"""How long a song may be before a run is begun that this machine may not end."""

from __future__ import annotations

from dataclasses import replace

from pipeline.audio import AudioInfo, probe
from pipeline.problems import Problem
from pipeline.session import FoundSession

__all__ = ["LONGEST_MINUTES", "without_too_long"]

LONGEST_MINUTES = 60.0

_MIX_BYTES_A_FRAME = 56
"""What finishing holds of a mix: before and behind the limiter, and as it is delivered."""


def without_too_long(found: FoundSession, *, max_minutes: float) -> FoundSession:
    """Return a session whose tracks over a length are bad, and such references faults.

    A file of a few kilobytes may hold hours of silence; what it takes is known by its header.

    Parameters
    ----------
    max_minutes
        The longest that a track, with its start on the time line, or a reference may last.
    """
    kept, bad, references, faults = [], [], [], []
    for track in found.tracks:
        if _minutes(track.info, track.offset_s) <= max_minutes:
            kept.append(track)
        else:
            bad.append(_problem(track.name, track.info, max_minutes, "--skip-bad leaves it out"))
    for path in found.references:
        info = probe(path)
        if _minutes(info, 0.0) <= max_minutes:
            references.append(path)
        else:
            subject = f"reference {path.name}"
            faults.append(_problem(subject, info, max_minutes, "name a part of it"))
    if not bad and not faults:
        return found
    return replace(
        found,
        tracks=tuple(kept),
        bad_tracks=(*found.bad_tracks, *bad),
        references=tuple(references),
        faults=(*found.faults, *faults),
    )


def _minutes(info: AudioInfo, offset_s: float) -> float:
    return (offset_s + info.duration_s) / 60.0


def _problem(subject: str, info: AudioInfo, max_minutes: float, other: str) -> Problem:
    minutes = info.duration_s / 60.0
    gigabytes = _MIX_BYTES_A_FRAME * info.frames / 1e9
    wanted = int(minutes) + 1
    return Problem(
        subject,
        f"lasts {minutes:.1f} minutes, more than the {max_minutes:g} that a song may last here",
        f"cut it to the song, or allow it with --max-minutes {wanted}, which takes about "
        f"{gigabytes:.0f} GB of memory; {other}",
    )
