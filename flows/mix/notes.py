"""What the user should know of a session's tracks, in one line for each kind of thing."""

from __future__ import annotations

from collections.abc import Sequence

from flows.mix.analysis import AnalysedSession
from pipeline.prose import listed
from pipeline.roles import Role
from stage1.signal.file_faults import ChannelFault

__all__ = ["track_notes"]

_FAINT_LUFS = -60.0
"""So quiet nothing is recorded on purpose: noise of a microphone's amplifier is."""

# What was done with files whose channels are odd, of one and of several.
_CHANNEL_NOTES = {
    ChannelFault.ONE_SIDED: (
        "is a stereo file of which one channel alone sounds, and is mixed as mono",
        "are stereo files of which one channel alone sounds, and are mixed as mono",
    ),
    ChannelFault.DUAL_MONO: (
        "is a stereo file with the same on both channels, and is mixed as mono",
        "are stereo files with the same on both channels, and are mixed as mono",
    ),
    ChannelFault.INVERTED: (
        "had one channel upside down, which would vanish in mono, and it was turned over",
        "had one channel upside down, which would vanish in mono, and it was turned over",
    ),
    ChannelFault.MID_SIDE: (
        "holds mid and side, and was decoded to left and right",
        "hold mid and side, and were decoded to left and right",
    ),
}


def track_notes(analysed: AnalysedSession) -> tuple[str, ...]:
    """Return what was found in the session, its tracks of one kind named together.

    Returns
    -------
    tuple of str
        The session's own notes first; then what was recognised by ear or hardly at all, which
        tracks are silent or clip, and what was set right in the files.
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
    found += _clipping(analysed, silent)
    found += _set_right(analysed, silent)
    return tuple(found)


def _readings(analysed: AnalysedSession, names: Sequence[str]) -> list[str]:
    """Return how files were read otherwise than they say, those alike in one line."""
    alike: dict[str, list[str]] = {}
    for name, check in zip(names, analysed.checks, strict=True):
        for reading in check.reading:
            alike.setdefault(reading, []).append(name)
    return [f"{listed(those)}: {reading}" for reading, those in alike.items()]


def _clipping(analysed: AnalysedSession, silent: set[str]) -> list[str]:
    clipped = {
        track.name: check
        for track, check in zip(analysed.session.tracks, analysed.checks, strict=True)
        if check.clipped_runs and track.name not in silent
    }
    if not clipped:
        return []
    remedy = "use a take that does not clip, or repair it before mixing"
    if len(clipped) == 1:
        ((name, check),) = clipped.items()
        flag = next(flag for flag in check.flags if flag.startswith("clips"))
        return [f"{name}: {flag}; {remedy}"]
    worst = sorted(clipped, key=lambda name: -clipped[name].clipped_runs)
    return [f"{_counted(worst, 'clips', 'clip')}, the worst first: {listed(worst)}; {remedy}"]


def _set_right(analysed: AnalysedSession, silent: set[str]) -> list[str]:
    """Say what was wrong with the samples of files, all of one kind together."""
    faults = {
        track.name: fault
        for track, fault in zip(analysed.session.tracks, analysed.file_faults, strict=False)
        if track.name not in silent
    }
    found = []
    offset = {name: fault.dc_dbfs for name, fault in faults.items() if any(fault.conditioning.dc)}
    if offset:
        names = sorted(offset, key=lambda name: -offset[name])
        most = f"{offset[names[0]]:.0f} dBFS"
        found.append(
            f"DC was taken out of {_count(names)}, {most}"
            f"{'' if len(names) == 1 else ' at most'}: {listed(names)}"
        )
    names = [name for name, fault in faults.items() if fault.conditioning.dc_highpass_hz]
    if names:
        hz = faults[names[0]].conditioning.dc_highpass_hz
        found.append(
            f"DC that comes and goes was taken out of {_count(names)} by a "
            f"high-pass at {hz:g} Hz: {listed(names)}"
        )
    for kind, (one, several) in _CHANNEL_NOTES.items():
        names = [name for name, fault in faults.items() if fault.channel_fault is kind]
        if names:
            found.append(
                f"{_counted(names, one, several)}: {listed(names)} "
                '(channels = "as_is" in session.toml keeps what is in the file)'
            )
    return found


def _faint(analysed: AnalysedSession, names: Sequence[str], silent: set[str]) -> list[str]:
    levels = {
        name: features.levels.integrated_lufs
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


def _count(names: Sequence[str]) -> str:
    return "1 track" if len(names) == 1 else f"{len(names)} tracks"


def _counted(names: Sequence[str], one: str, several: str) -> str:
    return f"{_count(names)} {one if len(names) == 1 else several}"
