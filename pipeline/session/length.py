"""How long a song may be before a run is begun that this machine may not end."""

from __future__ import annotations

from dataclasses import replace

from pipeline.audio.stream import AudioInfo, probe
from pipeline.errors import Problem
from pipeline.session.discovery import DiscoveredSession, placed_in_time
from pipeline.session.settings import SESSION_TOML

__all__ = ["LONGEST_MINUTES", "without_too_long"]

LONGEST_MINUTES = 60.0

_MIX_BYTES_A_FRAME = 56
"""What finishing holds of a mix: before and behind the limiter, and as it is delivered."""


def without_too_long(candidates: DiscoveredSession, *, max_minutes: float) -> DiscoveredSession:
    """Return a session whose tracks over a length are bad, and such references faults.

    A file of a few kilobytes may hold hours of silence; what it takes is known by its header.

    Parameters
    ----------
    max_minutes
        The longest that a track, with its start on the time line, or a reference may last.
    """
    kept, bad, references, faults = [], [], [], []
    placed, _ = placed_in_time(list(candidates.tracks), candidates.time_stamps)
    for track, at in zip(candidates.tracks, placed, strict=True):
        if _end_minutes(track.info, at.offset_s) <= max_minutes:
            kept.append(track)
        else:
            other = "--skip-bad leaves it out"
            bad.append(_problem(track.name, track.info, max_minutes, other, start_s=at.offset_s))
    for path in candidates.references:
        info = probe(path)
        if _end_minutes(info, 0.0) <= max_minutes:
            references.append(path)
        else:
            subject = f"reference {path.name}"
            faults.append(_problem(subject, info, max_minutes, "name a part of it"))
    if not bad and not faults:
        return candidates
    return replace(
        candidates,
        tracks=tuple(kept),
        bad_tracks=(*candidates.bad_tracks, *bad),
        references=tuple(references),
        faults=(*candidates.faults, *faults),
    )


def _end_minutes(info: AudioInfo, start_s: float) -> float:
    return (start_s + info.duration_s) / 60.0


def _problem(
    subject: str, info: AudioInfo, max_minutes: float, other: str, *, start_s: float = 0.0
) -> Problem:
    minutes = _end_minutes(info, start_s)
    gigabytes = _MIX_BYTES_A_FRAME * info.sample_rate * 60.0 * minutes / 1e9
    what, remedy = f"lasts {minutes:.1f} minutes", "cut it to the song"
    if start_s:
        what = f"starts {start_s / 60.0:.1f} minutes after the song and ends at {minutes:.1f}"
        remedy = f"correct it (start_s in {SESSION_TOML}, or --time-stamps ignore)"
    return Problem(
        subject,
        f"{what}, more than the {max_minutes:g} that a song may last here",
        f"{remedy}, or allow it with --max-minutes {int(minutes) + 1}, which takes about "
        f"{gigabytes:.0f} GB of memory; {other}",
    )
