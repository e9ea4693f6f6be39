"""The tracks of a plan, checked and placed on the mix's time line, and the files of its stems."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pipeline.audio.stream import probe
from pipeline.console.conditioning import Conditioning
from pipeline.console.processors import pan_gains
from pipeline.errors import InputError, Problem
from pipeline.plan import Plan, TrackPlan
from pipeline.units import db_to_amplitude

__all__ = [
    "PlacedTrack",
    "allow_open_files",
    "place_tracks",
    "stem_file_names",
]


@dataclass(frozen=True)
class PlacedTrack:
    """One audible track, checked and ready to be read.

    Parameters
    ----------
    path
        The file.
    start, end
        Where it sounds, in frames of the mix; ``end`` is past its last frame.
    gain_left, gain_right
        Its gain, pan and polarity as two factors.
    conditioning
        How the file's samples are set right.
    """

    path: Path
    start: int
    end: int
    gain_left: float
    gain_right: float
    conditioning: Conditioning = field(default_factory=Conditioning)


def _leaves_root(path: str) -> bool:
    native = Path(path)
    if native.is_absolute() or native.drive or PurePosixPath(path).is_absolute():
        return True
    return Path(os.path.normpath(path)).parts[:1] == (os.pardir,)


def _locate(track: TrackPlan, root: Path, sample_rate: int) -> PlacedTrack:
    if _leaves_root(track.path):
        raise InputError(
            [
                Problem(
                    track.path,
                    "leads out of the session's folder",
                    "name a file inside it, relative to it",
                )
            ]
        )
    path = root / track.path
    info = probe(path)
    if info.channels > 2:
        raise InputError(
            [
                Problem(
                    track.path,
                    f"has {info.channels} channels",
                    "split it into mono or stereo files",
                )
            ]
        )
    wrong = track.conditioning.problem(info.channels)
    if wrong is not None:
        raise InputError([Problem(track.path, wrong, "correct what the plan says of it")])
    if info.incomplete is not None and not track.salvaged:
        remedy = 'copy or export it again, or play what is there with "salvaged": true in the plan'
        raise InputError([Problem(track.path, info.incomplete, remedy)])
    start = round(track.offset_s * sample_rate)
    gain = db_to_amplitude(track.gain_db) * (-1.0 if track.invert else 1.0)
    left, right = pan_gains(track.pan)
    return PlacedTrack(
        path,
        start,
        start + info.frames_at(sample_rate),
        gain * left,
        gain * right,
        track.conditioning,
    )


def place_tracks(plan: Plan, session_root: Path) -> dict[str, tuple[PlacedTrack, ...]]:
    """Return the audible tracks of every unmuted stem, in the plan's order.

    Raises
    ------
    InputError
        With every track that is missing, unreadable, of more than two channels, or whose path
        leads out of the session's folder. Muted tracks are not looked at.
    """
    placed: dict[str, list[PlacedTrack]] = {stem.name: [] for stem in plan.stems if not stem.mute}
    problems: list[Problem] = []
    for track in plan.tracks:
        if track.mute or track.subgroup not in placed:
            continue
        try:
            placed[track.subgroup].append(_locate(track, session_root, plan.sample_rate))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return {name: tuple(tracks) for name, tracks in placed.items()}


def allow_open_files(count: int) -> None:
    """Let this process hold so many files open, where the system lets it.

    A track is open while it sounds, and macOS begins with a limit of 256.
    """
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 128  # what the rest of the process may need
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    with contextlib.suppress(ValueError, OSError):
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def stem_file_names(plan: Plan) -> dict[str, str]:
    """Return a file name for each unmuted stem: its own name where every system can hold that.

    Examples
    --------
    ``"lead vocals"`` becomes ``"lead vocals.wav"``, ``"drums/1"`` becomes ``"drums_1.wav"``.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for stem in plan.stems:
        if stem.mute:
            continue
        base = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f]', "_", stem.name).strip(" .")[:80] or "stem"
        if re.fullmatch(r"(?i)(con|prn|aux|nul|(com|lpt)\d)(\..*)?", base):
            base = f"_{base}"
        candidate, count = base, 2
        while candidate.casefold() in taken:
            candidate, count = f"{base} {count}", count + 1
        taken.add(candidate.casefold())
        names[stem.name] = f"{candidate}.wav"
    return names
