"""A session: find its tracks, say what is wrong with them, and describe what is to be mixed.

Three steps, so that the long one can be spread over workers: :func:`find_session` reads headers
and ``session.toml``, :func:`~pipeline.audio.check.check_track` decodes one file, and :func:`settle`
raises everything that is wrong together or returns the session. :func:`open_session` is all three.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.audio.check import TrackCheck, check_track
from pipeline.audio.formats.ffmpeg import NoSoundError
from pipeline.audio.stream import HIGHEST_RATE_HZ, LOWEST_RATE_HZ, AudioInfo, probe
from pipeline.errors import InputError, Problem, missing_remedy
from pipeline.prose import listed
from pipeline.roles import Subgroup
from pipeline.session.files import LeftOut, SessionFiles, session_files
from pipeline.session.foreign_folders import Foreign
from pipeline.session.rough_mixes import (
    Bounce,
    MixKind,
    bounce,
    frozen_copy_of,
    mix_kind,
    name_tokens,
)
from pipeline.session.settings import (
    SESSION_TOML,
    SessionSettings,
    TrackOverrides,
    load_settings,
)
from pipeline.session.timecode import StampedTrack, StampUse, starts_from_stamps
from pipeline.session.whole_mixes import Candidate, whole_mixes

__all__ = [
    "SHORTEST_REFERENCE_S",
    "TO_KEEP",
    "DiscoveredSession",
    "LeftOut",
    "Session",
    "Track",
    "TrackOverrides",
    "check_references",
    "find_session",
    "mix_rate",
    "open_session",
    "placed_in_time",
    "settle",
]

SHORTEST_REFERENCE_S = 3.0

FULL_RANGE_HZ = 44_100
"""From this sample rate on a track has all that is audible."""

LONGEST_END_S = 10.0
"""More silence than this after the last sound is no part of the song."""

ACCOMPANIMENT_LU = -1.0
"""Of a whole accompaniment in one file against the lead vocal: 1 dB under it on records since 1975
(as the levels of the balance, which have the sources, say)."""

KEPT_END_S = 2.0
"""What is left of it then."""

TO_KEEP = f"(to keep it, give it use = true in {SESSION_TOML})"
"""What is said of each file that is left out and might yet be a track."""

_OR_SALVAGE = "use what is there with --salvage"
_OR_SKIP = ", or leave it out with --skip-bad"


@dataclass(frozen=True)
class Track:
    """One audio file of a session.

    Parameters
    ----------
    path
        Where it lies, absolute.
    name
        POSIX path relative to the session's folder: what the track is known by.
    folder
        The subfolder, a hint at the subgroup; ``""`` at the top.
    overrides
        What ``session.toml`` says of it.
    offset_s
        Where it starts on the session's time line: 0, or where time stamps place it.
    sounds_until_s
        Where its last sound is, from its own start; None where that is not known.
    """

    path: Path
    name: str
    info: AudioInfo
    folder: str = ""
    overrides: TrackOverrides = field(default_factory=TrackOverrides)
    offset_s: float = 0.0
    sounds_until_s: float | None = None


@dataclass(frozen=True)
class Session:
    """A folder of raw tracks that belong to one song, checked and ready to be mixed.

    Parameters
    ----------
    tracks
        Sorted by name, numbers by their value.
    sample_rate
        Of the mix, in Hz.
    left_out
        Files and folders that are no tracks, and why.
    skipped
        Bad tracks that are not mixed.
    notes
        What else the user should know.
    offsets
        Levels that ``session.toml`` wants other than ours.
    full_length
        Whether silence after the last sound is kept, however long.
    """

    root: Path
    tracks: tuple[Track, ...]
    sample_rate: int
    left_out: tuple[LeftOut, ...] = ()
    skipped: tuple[Problem, ...] = ()
    references: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    offsets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    full_length: bool = False

    @property
    def frames(self) -> int:
        """Length at the session's rate: no sound is cut, and no long silence follows the last."""
        whole = self._whole_frames
        ends = [
            self.offset_frames(t) + math.ceil(t.sounds_until_s * self.sample_rate)
            for t in self.tracks
            if t.sounds_until_s and not t.overrides.mute
        ]
        unknown = any(t.sounds_until_s is None for t in self.tracks)
        if self.full_length or unknown or not ends:
            return whole
        if whole - max(ends) <= LONGEST_END_S * self.sample_rate:
            return whole
        return max(ends) + round(KEPT_END_S * self.sample_rate)

    @property
    def _whole_frames(self) -> int:
        return max(self.offset_frames(t) + self.track_frames(t) for t in self.tracks)

    @property
    def end_notes(self) -> tuple[str, ...]:
        """What is said of silence that is left out at the end."""
        cut_s = (self._whole_frames - self.frames) / self.sample_rate
        if not cut_s:
            return ()
        return (
            f"{cut_s:.1f} s of silence after the last sound are left out: the mix ends at "
            f"{self.frames / self.sample_rate:.1f} s (--full-length keeps them)",
        )

    def offset_frames(self, track: Track) -> int:
        """Return where a track starts, in samples at the session's rate."""
        return round(track.offset_s * self.sample_rate)

    def track_frames(self, track: Track) -> int:
        """Return a track's own length, in samples at the session's rate."""
        return track.info.frames_at(self.sample_rate)


@dataclass(frozen=True)
class DiscoveredSession:
    """A session whose headers were read, with everything that was wrong so far.

    Parameters
    ----------
    tracks
        Those whose headers are good; their audio is still to be checked.
    bad_tracks
        What is wrong with the others; such a track can be skipped.
    faults
        What cannot be skipped: the folder, ``session.toml``, references.
    references
        Those whose headers are good.
    sample_rate
        The rate asked for; None to decide by the tracks.
    time_stamps
        Whether they place the tracks.
    full_length
        As in :class:`Session`.
    """

    root: Path
    tracks: tuple[Track, ...]
    left_out: tuple[LeftOut, ...]
    bad_tracks: tuple[Problem, ...]
    faults: tuple[Problem, ...]
    references: tuple[Path, ...]
    sample_rate: int | None
    notes: tuple[str, ...]
    offsets: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    time_stamps: StampUse = StampUse.AUTO
    full_length: bool = False


def find_session(
    root: Path,
    *,
    references: Sequence[Path] = (),
    sample_rate: int | None = None,
    time_stamps: StampUse | None = None,
    full_length: bool = False,
) -> DiscoveredSession:
    """Search a folder for tracks and read their headers.

    Parameters
    ----------
    root
        The session's folder, searched with its subfolders.
    references
        Finished mixes; one that lies in the folder is no track.
    sample_rate
        Of the mix, over the one in ``session.toml``; None to take what most tracks have.
    time_stamps
        Whether they place the tracks, over ``session.toml``.
    full_length
        Keep silence after the last sound; ``session.toml`` may say so too.

    Returns
    -------
    DiscoveredSession
        Nothing is raised for a bad input: what is wrong is in it, for :func:`settle` to raise.
    """
    good_references, faults = _probe_references(references)
    faults += _argument_problems(root, sample_rate)
    if not root.is_dir():
        return DiscoveredSession(root, (), (), (), tuple(faults), good_references, sample_rate, ())
    root = root.resolve()
    settings, problems = _session_settings(root)
    faults += problems
    # What is left out is looked through only where an entry may want something of it.
    keep = settings.keeps if settings.rules else None
    candidates = session_files(root, references=references, keep=keep)
    files, copies, notes = _chosen_files(candidates, root.name, settings)
    tracks, bad_tracks, films = _probe_tracks(files)
    bad_tracks += [
        replace(problem, remedy=problem.remedy + _OR_SKIP)
        for problem in candidates.problems
        if settings.uses(problem.subject) is not False
    ]
    tracks, bounces, kept, bounce_notes = _without_bounces(tracks, root.name, settings)
    left_out = [*candidates.left_out, *copies, *films, *bounces]
    accompaniment = [n for n in kept if mix_kind(Path(n).stem) is not MixKind.VOCALS]
    if len(tracks) == 1:
        accompaniment = []
    # A glob that finds only a bad track, or one that is left out, is no mistake in session.toml.
    names = [
        *(track.name for track in tracks),
        *(problem.subject for problem in bad_tracks),
        *(item.name for item in left_out),
    ]
    overrides, unmatched = settings.overrides(names)
    return DiscoveredSession(
        root=root,
        tracks=tuple(
            replace(
                track,
                overrides=_as_accompaniment(overrides[track.name])
                if track.name in accompaniment
                else overrides[track.name],
            )
            for track in tracks
        ),
        left_out=tuple(sorted(left_out, key=lambda item: _natural(item.name))),
        bad_tracks=tuple(bad_tracks),
        faults=tuple(faults),
        references=good_references,
        sample_rate=settings.sample_rate if sample_rate is None else sample_rate,
        notes=(
            *(f"{SESSION_TOML}: {glob!r} matches no track" for glob in unmatched),
            *notes,
            *bounce_notes,
        ),
        offsets=_with_accompaniment(settings.offsets) if accompaniment else settings.offsets,
        time_stamps=settings.time_stamps if time_stamps is None else time_stamps,
        full_length=full_length or settings.full_length,
    )


def _argument_problems(root: Path, sample_rate: int | None) -> list[Problem]:
    problems = []
    if sample_rate is not None and not LOWEST_RATE_HZ <= sample_rate <= HIGHEST_RATE_HZ:
        remedy = f"use a rate from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz"
        problems.append(Problem("sample rate", f"is {sample_rate} Hz", remedy))
    if not root.is_dir():
        what, remedy = "is not a folder", "name the folder that holds the tracks"
        if not root.exists():
            what, remedy = "does not exist", missing_remedy(root, remedy)
        problems.append(Problem(str(root), what, remedy))
    return problems


def _session_settings(root: Path) -> tuple[SessionSettings, Sequence[Problem]]:
    """Return what ``session.toml`` says, if there is one, or the defaults and what is wrong."""
    if os.path.lexists(root / SESSION_TOML):  # a link to nothing too
        try:
            return load_settings(root / SESSION_TOML), ()
        except InputError as error:
            return SessionSettings(), error.problems
    return SessionSettings(), ()


def _chosen_files(
    candidates: SessionFiles, song: str, settings: SessionSettings
) -> tuple[dict[str, Path], list[LeftOut], list[str]]:
    """Return the files that are tracks, those left out as no more than copies, and notes."""
    files = dict(candidates.files)
    left_out: list[LeftOut] = []
    notes: list[str] = []
    for aside in candidates.aside:
        wanted = [name for name in aside.files if settings.uses(name)]
        files.update((name, aside.files[name]) for name in wanted)
    for kind, fewest in ((Foreign.POOL, 2), (Foreign.SPARE, 1)):
        own = sum(bounce(Path(n).stem, folders=n.split("/")[:-1], song=song) is Bounce.NO
                  for n in files)  # fmt: skip
        for aside in candidates.aside:
            if aside.folder.kind is not kind or not aside.files:
                continue
            if own < fewest:
                files.update(aside.files)
                notes.append(
                    f"{aside.name} {aside.folder.why}, and there is too little else: its files are "
                    "mixed, each from the start of the song on (export the tracks from one start "
                    "if they belong elsewhere)"
                )
            elif not any(aside.name.startswith(outer.name) for outer in left_out):
                left_out.append(LeftOut(aside.name, f"{aside.folder.why} {TO_KEEP}"))
    named = {tuple(name_tokens(Path(name).stem)): name for name in files}
    for name in list(files):
        original = named.get(frozen_copy_of(Path(name).stem) or ())
        if original is not None and not settings.uses(name):
            del files[name]
            left_out.append(LeftOut(name, f"is a frozen copy of {original} {TO_KEEP}"))
    for name in [name for name in files if settings.uses(name) is False]:
        del files[name]
        left_out.append(LeftOut(name, f"{SESSION_TOML} says use = false"))
    return files, left_out, notes


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Return a key that sorts "Tom 2" before "Tom 10", and every name apart from every other."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name.casefold())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts], name


def _header_problem(info: AudioInfo, subject: str) -> Problem | None:
    if info.channels > 2:
        remedy = "split it into mono or stereo files"
        return Problem(subject, f"has {info.channels} channels", remedy)
    return None


def _probe_tracks(
    files: Mapping[str, Path],
) -> tuple[list[Track], list[Problem], list[LeftOut]]:
    """Return the files whose headers are good, what is wrong with others, and what has no sound."""
    tracks: list[Track] = []
    bad: list[Problem] = []
    films: list[LeftOut] = []
    for name in sorted(files, key=_natural):
        try:
            info = probe(files[name])
        except NoSoundError as error:
            films.append(LeftOut(name, error.problems[0].what))
            continue
        except InputError as error:
            bad.extend(
                replace(problem, subject=name, remedy=problem.remedy + _OR_SKIP)
                for problem in error.problems
            )
            continue
        problem = _header_problem(info, name)
        if problem is None:
            tracks.append(Track(files[name], name, info, name.rpartition("/")[0]))
        else:
            bad.append(replace(problem, remedy=problem.remedy + _OR_SKIP))
    return tracks, bad, films


def check_references(references: Iterable[Path | str]) -> list[Problem]:
    """Return what is wrong with the headers of references; those at a URL are not looked at."""
    return _probe_references([path for path in references if isinstance(path, Path)])[1]


def _probe_references(
    references: Sequence[Path],
) -> tuple[tuple[Path, ...], list[Problem]]:
    """Return the references with good headers, and what is wrong with the others."""
    good: list[Path] = []
    faults: list[Problem] = []
    for path in references:
        subject = f"reference {path.name}"
        try:
            info = probe(path)
        except InputError as error:
            faults.extend(replace(problem, subject=subject) for problem in error.problems)
            continue
        problem = _header_problem(info, subject)
        if problem is None and info.duration_s < SHORTEST_REFERENCE_S:
            problem = Problem(
                subject,
                f"lasts {info.duration_s:.2f} s",
                f"name a recording of at least {SHORTEST_REFERENCE_S:g} s",
            )
        if problem is None:
            good.append(path)
        else:
            faults.append(problem)
    return tuple(good), faults


def _without_bounces(
    tracks: list[Track], song: str, settings: SessionSettings
) -> tuple[list[Track], list[LeftOut], tuple[str, ...], list[str]]:
    """Return the tracks, the mixes left out and those kept for want of anything else, and notes."""
    mixes = whole_mixes(
        [Candidate(t.name, t.info.channels, t.info.duration_s) for t in tracks],
        song=song,
        wanted=lambda name: bool(settings.uses(name)),
    )
    out = [
        LeftOut(name, f"looks like a mix of the whole song {TO_KEEP}") for name in mixes.left_out
    ]
    notes = []
    if mixes.kept:
        are = "is named like a mix" if len(mixes.kept) == 1 else "are named like mixes"
        notes.append(
            f"{listed(mixes.kept)} {are} of the whole song, and mixed all the same: without it too "
            f"little would remain (give it use = false in {SESSION_TOML} to leave it out)"
        )
    tracks = [track for track in tracks if track.name not in mixes.left_out]
    return tracks, out, mixes.kept, notes


def _as_accompaniment(overrides: TrackOverrides) -> TrackOverrides:
    """Put what the others are sung over into a stem of its own, if the user says nothing else."""
    if overrides.role is not None or overrides.subgroup is not None:
        return overrides
    return replace(overrides, subgroup=str(Subgroup.OTHER))


def _with_accompaniment(
    offsets: Mapping[str, Mapping[str, float]],
) -> dict[str, Mapping[str, float]]:
    return {**offsets, "stem": {Subgroup.OTHER: ACCOMPANIMENT_LU, **offsets.get("stem", {})}}


def settle(
    candidates: DiscoveredSession,
    checks: Mapping[str, TrackCheck],
    reference_checks: Mapping[Path, TrackCheck],
    *,
    skip_bad: bool = False,
    salvage: bool = False,
) -> Session:
    """Return the session that is mixed, or raise everything that is wrong with it.

    Parameters
    ----------
    candidates
        What :func:`find_session` returned.
    checks, reference_checks
        For each track's name and each reference's path what
        :func:`~pipeline.audio.check.check_track` found.
    skip_bad
        Leave bad tracks out, as the session's ``skipped``, and mix the rest.
    salvage
        Use what there is of files that end before their time.

    Raises
    ------
    InputError
        With all problems together; with ``skip_bad`` those that cannot be skipped.
    """
    faults = list(candidates.faults)
    notes = list(candidates.notes)
    for path in candidates.references:
        check = reference_checks[path]
        problem = _reference_problem(path, check, salvage=salvage)
        if problem is not None:
            faults.append(problem)
        notes += [f"reference {path.name}: {remark}" for remark in check.remarks]
    tracks: list[Track] = []
    bad = list(candidates.bad_tracks)
    for track in candidates.tracks:
        check = checks[track.name]
        sounding_s = check.sounding_frames / track.info.sample_rate
        if check.failure is not None:
            bad.append(Problem(track.name, check.failure, "export it again" + _OR_SKIP))
        elif check.incomplete is None:
            tracks.append(replace(track, sounds_until_s=sounding_s))
        elif salvage:
            tracks.append(replace(track, sounds_until_s=sounding_s))
            notes.append(f"{track.name}: {check.incomplete}; that is mixed, as --salvage asks")
        else:
            remedy = f"copy or export it again, or {_OR_SALVAGE}{_OR_SKIP}"
            bad.append(Problem(track.name, check.incomplete, remedy))
    bad.sort(key=lambda problem: _natural(problem.subject))
    if not tracks and candidates.root.is_dir():
        faults.append(_no_tracks(candidates, bad))
        raise InputError([*faults, *bad])
    if faults or (bad and not skip_bad):
        raise InputError([*faults, *(() if skip_bad else bad)])
    tracks, stamp_notes = placed_in_time(tracks, candidates.time_stamps)
    rate = candidates.sample_rate or mix_rate(tracks)
    return Session(
        root=candidates.root,
        tracks=tuple(tracks),
        sample_rate=rate,
        left_out=candidates.left_out,
        skipped=tuple(bad),
        references=candidates.references,
        notes=(*notes, *stamp_notes, *_rate_notes(tracks, rate)),
        offsets=candidates.offsets,
        full_length=candidates.full_length,
    )


def _reference_problem(path: Path, check: TrackCheck, *, salvage: bool) -> Problem | None:
    subject = f"reference {path.name}"
    if check.failure is None and check.incomplete is not None and not salvage:
        remedy = f"name another recording, or {_OR_SALVAGE}"
        return Problem(subject, check.incomplete, remedy)
    if check.failure is not None:
        return Problem(subject, check.failure, "name another recording")
    if check.silent:
        return Problem(subject, "is silent", "name a recording with sound")
    return None


def _no_tracks(candidates: DiscoveredSession, bad: Sequence[Problem]) -> Problem:
    if bad:
        what = f"has no good track ({len(bad)} bad)"
        return Problem(str(candidates.root), what, "export at least one of them again")
    if candidates.left_out:
        first = candidates.left_out[0]
        what = f"has no tracks ({len(candidates.left_out)} left out; {first.name}: {first.why})"
        return Problem(str(candidates.root), what, "add tracks, or rename what is one")
    what = "has no tracks"
    return Problem(str(candidates.root), what, "put WAV, AIFF, FLAC, Ogg, MP3 or CAF files into it")


def mix_rate(tracks: Sequence[Track]) -> int:
    """Return the sample rate in Hz of a mix of one or more tracks.

    That of most tracks which have the whole audible range, the highest of equals: a few recordings
    of a telephone do not make a telephone of the mix. Where none has, the highest.
    """
    rates = [track.info.sample_rate for track in tracks]
    counts = Counter(rate for rate in rates if rate >= FULL_RANGE_HZ)
    return max(counts or rates, key=lambda rate: (counts[rate], rate))


def _rate_notes(tracks: Sequence[Track], sample_rate: int) -> list[str]:
    """Say which tracks have no treble where they are many."""
    low = [track.name for track in tracks if track.info.sample_rate < FULL_RANGE_HZ]
    if not low or sample_rate < FULL_RANGE_HZ or 2 * len(low) < len(tracks):
        return []
    return [
        f"the mix is at {sample_rate} Hz, and {len(low)} of {len(tracks)} tracks are under "
        f"{FULL_RANGE_HZ} Hz and have no treble: {listed(low)}"
    ]


def placed_in_time(tracks: list[Track], use: StampUse) -> tuple[list[Track], tuple[str, ...]]:
    """Return the tracks where ``session.toml`` places them, and else their time stamps; notes."""
    starts = starts_from_stamps(
        [
            StampedTrack(t.name, t.info.sample_rate, t.info.duration_s, t.info.time_reference)
            for t in tracks
            if t.overrides.start_s is None
        ],
        use=use,
    )
    stamped = iter(starts.starts_s)
    return [
        replace(
            track,
            offset_s=next(stamped) if track.overrides.start_s is None else track.overrides.start_s,
        )
        for track in tracks
    ], starts.notes


def open_session(
    root: Path,
    *,
    references: Sequence[Path] = (),
    sample_rate: int | None = None,
    skip_bad: bool = False,
    salvage: bool = False,
    map_: Callable[[Callable[[Path], TrackCheck], Iterable[Path]], Iterable[TrackCheck]] = map,
) -> tuple[Session, dict[str, TrackCheck]]:
    """Find, check and settle a session.

    Parameters
    ----------
    map_
        As :func:`map`, in order; where the full decodes run.

    Returns
    -------
    session : Session
    checks : dict
        For each of its tracks' names what the full decode found: its level and its flags.

    Raises
    ------
    InputError
        As :func:`settle`.
    """
    candidates = find_session(root, references=references, sample_rate=sample_rate)
    paths = [*(track.path for track in candidates.tracks), *candidates.references]
    results = list(map_(check_track, paths))
    checks = {t.name: check for t, check in zip(candidates.tracks, results, strict=False)}
    reference_checks = dict(
        zip(candidates.references, results[len(candidates.tracks) :], strict=True)
    )
    session = settle(candidates, checks, reference_checks, skip_bad=skip_bad, salvage=salvage)
    return session, {track.name: checks[track.name] for track in session.tracks}
