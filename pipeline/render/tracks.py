"""Raw tracks to stems: the tracks of a plan summed at their gains, pans and offsets.

A mono track is given to both channels, a stereo one keeps its image; both are balanced by
:func:`pipeline.console.processors.pan_gains`, after the file was set right as the plan says. Sums
are float64 in the order of the plan and become float32 once, so the exported stems are exactly what
the console processes.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from pipeline.audio.stream import AudioStream, probe, read
from pipeline.console.conditioning import Conditioning
from pipeline.console.processors import pan_gains
from pipeline.errors import InputError, Problem
from pipeline.jit import kernel
from pipeline.plan import Plan, TrackPlan
from pipeline.units import FloatArray, db_to_amplitude

__all__ = [
    "PlacedTrack",
    "StemSum",
    "TrackReader",
    "allow_open_files",
    "place_tracks",
    "render_stems",
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


@kernel
def _add(
    total: npt.NDArray[np.float64],
    block: npt.NDArray[np.float32],
    start: int,
    gain_left: float,
    gain_right: float,
) -> None:
    left, right = total[0], total[1]
    first = block[0]
    second = block[block.shape[0] - 1]
    for n in range(first.size):
        left[start + n] += gain_left * np.float64(first[n])
        right[start + n] += gain_right * np.float64(second[n])


class TrackReader:
    """Tracks read together, block by block from the start of the mix.

    A track's file is open only while it sounds.

    Parameters
    ----------
    tracks
        Where each lies.
    sample_rate
        Of the mix, in Hz.
    """

    def __init__(self, tracks: Sequence[PlacedTrack], *, sample_rate: int) -> None:
        self._tracks = tracks
        self._sample_rate = sample_rate
        self._streams: dict[int, AudioStream] = {}
        self._position = 0

    def read(self, frames: int) -> Iterator[tuple[int, int, FloatArray]]:
        """Yield index, first frame in the mix and samples of each track in the next block."""
        start, stop = self._position, self._position + frames
        self._position = stop
        for index, track in enumerate(self._tracks):
            first, last = max(start, track.start), min(stop, track.end)
            if first >= last:
                continue
            if index not in self._streams:
                self._streams[index] = AudioStream(
                    track.path, sample_rate=self._sample_rate, conditioning=track.conditioning
                )
            yield index, first, self._streams[index].read(last - first)
            if last == track.end:
                self._streams.pop(index).close()

    def close(self) -> None:
        """Close the files that are still open."""
        while self._streams:
            self._streams.popitem()[1].close()


class StemSum:
    """The sum of a stem's tracks, block by block from the start of the mix."""

    def __init__(self, tracks: Sequence[PlacedTrack], *, sample_rate: int) -> None:
        self._tracks = tracks
        self._reader = TrackReader(tracks, sample_rate=sample_rate)
        self._position = 0

    def read(self, frames: int) -> FloatArray:
        """Return the next block, float32, shape (2, frames)."""
        total = np.zeros((2, frames))
        for index, first, block in self._reader.read(frames):
            track = self._tracks[index]
            _add(total, block, first - self._position, track.gain_left, track.gain_right)
        self._position += frames
        return total.astype(np.float32)

    def close(self) -> None:
        """Close the files that are still open."""
        self._reader.close()


def render_stems(
    plan: Plan, session_root: Path, *, start_frame: int = 0, frames: int, workers: int = 1
) -> dict[str, FloatArray]:
    """Return an excerpt of the stems before the console, float32, each of shape (2, frames).

    Sample for sample what the whole render feeds to the strips, but read from ``start_frame``.

    Raises
    ------
    InputError
        As :func:`place_tracks`.
    """

    def excerpt(tracks: tuple[PlacedTrack, ...]) -> FloatArray:
        total = np.zeros((2, frames))
        for track in tracks:
            first = max(start_frame, track.start)
            last = min(start_frame + frames, track.end)
            if first >= last:
                continue
            block = read(
                track.path,
                sample_rate=plan.sample_rate,
                start_s=(first - track.start) / plan.sample_rate,
                duration_s=(last - first) / plan.sample_rate,
                conditioning=track.conditioning,
            )
            _add(total, block, first - start_frame, track.gain_left, track.gain_right)
        return total.astype(np.float32)

    placed = place_tracks(plan, session_root)
    with ThreadPoolExecutor(workers) as pool:
        return dict(zip(placed, pool.map(excerpt, placed.values()), strict=True))
