"""The steps of ``stemwright balance``: tracks to raw stems, stems to sums, and both at their gain.

A track is decoded once for all methods. What it adds to goes to raw 32-bit files, as the gain that
makes the sums equally loud is known only when a sum has been heard to its end; then stems and sums
are written at that gain, which is each strip's fader in the plan: rendered again, the plan gives
the same samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flows.storage.mirror import FolderPlace, near_folder
from pipeline.audio.stream import AudioWriter
from pipeline.loudness.meter import EnergyMeter, LoudnessMeter, gated_lufs
from pipeline.loudness.true_peak import TruePeakMeter
from pipeline.plan import Plan
from pipeline.render.activity import HOPS_PER_SECOND, PlayMeter
from pipeline.render.stems import BLOCK_FRAMES, StemSum
from pipeline.render.tracks import allow_open_files, place_tracks
from pipeline.units import FloatArray, amplitude_to_db, db_to_amplitude

__all__ = [
    "GainedTrack",
    "MeasureJob",
    "RawStem",
    "RawSum",
    "StemsJob",
    "WriteJob",
    "Written",
    "level_sums",
    "measure_step",
    "stems_step",
    "write_step",
]

LOUDEST_LUFS = -23.0
"""EBU R 128: what a sum is brought to where its peaks leave room for it."""
CEILING_DBTP = -1.0
LARGEST_FADER_DB = 24.0
WAVE_COLUMNS = 480

_MARGIN_DB = 0.01  # what rounding the gain and the samples may add to a peak
_INTERPOLATED_DB = 7.6  # no true peak is so much over the largest sample (sum of |h|, 32 taps)
_ROUNDS = 8


@dataclass(frozen=True)
class GainedTrack:
    """A gained track to be written: its place among the stem's tracks, its file and its gain."""

    index: int
    path: Path
    gain_db: float


@dataclass(frozen=True)
class StemsJob:
    """One subgroup to sum by all methods.

    Parameters
    ----------
    plans
        One a method; the fader is not applied yet.
    subgroup
        Name of the stem.
    session
        The folder that the tracks' paths are relative to.
    paths
        Where each method's raw stem goes.
    tracks
        Gained tracks to write on the way.
    """

    plans: tuple[Plan, ...]
    subgroup: str
    session: FolderPlace
    paths: tuple[Path, ...]
    tracks: tuple[GainedTrack, ...] = ()


@dataclass(frozen=True)
class RawStem:
    """One subgroup's raw stems.

    Parameters
    ----------
    loudness_lufs, peak_dbfs
        By method, before the fader; the peak is that of the samples.
    playing
        How many of its tracks play in each 100 ms.
    """

    loudness_lufs: tuple[float, ...]
    peak_dbfs: tuple[float, ...]
    playing: npt.NDArray[np.int64]


def stems_step(job: StemsJob) -> RawStem:
    """Decode each track of a subgroup once, and write its raw stem by every method."""
    plan = job.plans[0]
    rate, frames = plan.sample_rate, plan.frames
    only = [
        p.model_copy(update={"tracks": tuple(t for t in p.tracks if t.subgroup == job.subgroup)})
        for p in job.plans
    ]
    session = near_folder(job.session)
    placed = [place_tracks(p, session)[job.subgroup] for p in only]
    heard = [PlayMeter(frames=frames, sample_rate=rate) for _ in placed[0]]
    energy = [EnergyMeter(sample_rate=rate, channels=2) for _ in placed]
    peaks = np.zeros(len(placed))
    allow_open_files(len(placed[0]) + len(job.paths) + len(job.tracks))
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("wb")) for path in job.paths]
        gained = _GainedTracks(stack, job.tracks, rate)

        def on_block(index: int, start: int, block: npt.NDArray[np.float32]) -> None:
            heard[index].process(block, start)
            gained.write(index, block)

        stems = StemSum(placed, sample_rate=rate, on_block=on_block)
        stack.callback(stems.close)
        for start in range(0, frames, BLOCK_FRAMES):
            blocks = stems.read(min(BLOCK_FRAMES, frames - start))
            for k, block in enumerate(blocks):
                energy[k].process(block)
                peaks[k] = max(peaks[k], float(np.abs(block).max()))
                block.tofile(files[k])
    playing = np.zeros(-(-frames * HOPS_PER_SECOND // rate), np.int64)
    for meter in heard:
        playing += meter.plays()
    return RawStem(
        tuple(meter.integrated_lufs for meter in energy),
        tuple(amplitude_to_db(float(peak)) for peak in peaks),
        playing,
    )


class _GainedTracks:
    """The gained tracks of one subgroup, each as long and as wide as its file."""

    def __init__(self, stack: ExitStack, tracks: Sequence[GainedTrack], sample_rate: int) -> None:
        self._stack = stack
        self._rate = sample_rate
        self._tracks: dict[int, list[GainedTrack]] = {}
        for track in tracks:
            self._tracks.setdefault(track.index, []).append(track)
        self._writers: dict[Path, AudioWriter] = {}

    def write(self, index: int, block: FloatArray) -> None:
        for track in self._tracks.get(index, ()):
            if track.path not in self._writers:
                track.path.parent.mkdir(parents=True, exist_ok=True)
                writer = AudioWriter(
                    track.path,
                    sample_rate=self._rate,
                    channels=block.shape[0],
                    format="wav",
                    subtype="FLOAT",
                )
                self._writers[track.path] = self._stack.enter_context(writer)
            self._writers[track.path].write(block * np.float32(db_to_amplitude(track.gain_db)))


def _raw_blocks(path: Path, frames: int) -> Iterator[FloatArray]:
    """Yield a raw stem's blocks as they were written."""
    with path.open("rb") as file:
        for start in range(0, frames, BLOCK_FRAMES):
            size = min(BLOCK_FRAMES, frames - start)
            yield np.fromfile(file, np.float32, 2 * size).reshape(2, size)


def _summed(paths: Sequence[Path], frames: int, gain: float) -> Iterator[FloatArray]:
    """Yield the sum of raw stems at a fader, as the console has it: float64, in their order."""
    streams = [_raw_blocks(path, frames) for path in paths]
    for blocks in zip(*streams, strict=True):
        total = np.zeros(blocks[0].shape)
        for block in blocks:
            total += _faded(block, gain)
        yield total.astype(np.float32)


def _faded(block: FloatArray, gain: float) -> FloatArray:
    if gain == 1.0:
        return block
    return np.asarray((block.astype(np.float64) * gain).astype(np.float32))


@dataclass(frozen=True)
class MeasureJob:
    """One method's raw stems, to be heard together."""

    stems: tuple[Path, ...]
    peaks_dbfs: tuple[float, ...]
    frames: int
    sample_rate: int


@dataclass(frozen=True)
class RawSum:
    """One method's sum before its fader.

    Parameters
    ----------
    power
        Of each 400 ms gating block, 100 ms apart.
    true_peak_dbtp
        The largest of the sum and of any of its stems.
    """

    power: npt.NDArray[np.float64]
    true_peak_dbtp: float

    def lufs(self, gain_db: float) -> float:
        """Return the integrated loudness at a gain; the gates see the gained signal."""
        return gated_lufs(self.power * 10.0 ** (gain_db / 10.0))

    def gain_to(self, target_lufs: float) -> float:
        """Return the gain in dB, to 0.0001 dB, at which the loudness is ``target_lufs``."""
        gain_db = 0.0
        for _ in range(_ROUNDS):  # the absolute gate may let more or less of it through
            gain_db = round(gain_db + target_lufs - self.lufs(gain_db), 4)
        return gain_db


def measure_step(job: MeasureJob) -> RawSum:
    """Measure one method's sum before its fader."""
    meter = LoudnessMeter(sample_rate=job.sample_rate, channels=2)
    for block in _summed(job.stems, job.frames, 1.0):
        meter.process(block)
    highest = meter.true_peak_dbtp
    for path, peak_dbfs in zip(job.stems, job.peaks_dbfs, strict=True):
        if peak_dbfs + _INTERPOLATED_DB > highest:
            peaks = TruePeakMeter(sample_rate=job.sample_rate, channels=2)
            for block in _raw_blocks(path, job.frames):
                peaks.process(block)
            highest = max(highest, peaks.true_peak_dbtp)
    return RawSum(meter.momentary_power(), highest)


def level_sums(sums: Sequence[RawSum]) -> tuple[float, tuple[float, ...]]:
    """Return the loudness that all sums can have, and the gain in dB that gives it to each.

    The highest up to -23 LUFS at which no sum and no stem exceeds -1 dBTP and no fader its range.
    Silence is left as it is.

    Returns
    -------
    loudness_lufs : float
        ``-inf`` where all are silent.
    gains_db : tuple of float
    """
    loud = [raw for raw in sums if math.isfinite(raw.lufs(0.0))]
    if not loud:
        return -math.inf, (0.0,) * len(sums)
    target = LOUDEST_LUFS
    for raw in loud:
        room_db = min(CEILING_DBTP - _MARGIN_DB - raw.true_peak_dbtp, LARGEST_FADER_DB)
        if raw.gain_to(target) > room_db:
            target = min(target, raw.lufs(room_db - 0.0002))
    return target, tuple(
        raw.gain_to(target) if math.isfinite(raw.lufs(0.0)) else 0.0 for raw in sums
    )


@dataclass(frozen=True)
class WriteJob:
    """Raw stems to be written at a fader: one as a stem, several as a sum.

    Parameters
    ----------
    dither_seed
        Of a sum; None rounds without dither, so that stems sum to the sum.
    drop
        Whether the raw stem is not needed any more.
    """

    stems: tuple[Path, ...]
    path: Path
    frames: int
    sample_rate: int
    gain_db: float
    dither_seed: int | None = None
    drop: bool = False


@dataclass(frozen=True)
class Written:
    """What a file of 24 bits holds.

    Parameters
    ----------
    loudness_lufs
        Integrated.
    wave
        The largest amplitude in each of up to 480 stretches of equal length.
    """

    path: Path
    loudness_lufs: float
    wave: npt.NDArray[np.float32]


def write_step(job: WriteJob) -> Written:
    """Write a stem or a sum at its fader as 24-bit WAV, which every browser plays."""
    gain = db_to_amplitude(job.gain_db)
    meter = EnergyMeter(sample_rate=job.sample_rate, channels=2)
    columns = min(WAVE_COLUMNS, job.frames)
    wave = np.zeros(columns, np.float32)
    position = 0
    if len(job.stems) == 1:
        blocks = (_faded(block, gain) for block in _raw_blocks(job.stems[0], job.frames))
    else:
        blocks = (block for block in _summed(job.stems, job.frames, gain))
    with AudioWriter(
        job.path,
        sample_rate=job.sample_rate,
        channels=2,
        format="wav",
        subtype="PCM_24",
        dither_seed=job.dither_seed,
    ) as writer:
        for block in blocks:
            writer.write(block)
            meter.process(block)
            _draw(wave, block, position, job.frames)
            position += block.shape[1]
    if job.drop:
        for path in job.stems:
            path.unlink()
    return Written(job.path, meter.integrated_lufs, wave)


def _draw(wave: npt.NDArray[np.float32], block: FloatArray, start: int, frames: int) -> None:
    """Put the peaks of a block, which begins at ``start``, into the columns of a whole signal."""
    high = np.abs(block).max(axis=0)
    first = start * wave.size // frames
    last = (start + high.size - 1) * wave.size // frames
    columns = np.arange(first, last + 1)
    # the first frame of column c is ceil(c * frames / columns)
    edges = np.maximum(-(-columns * frames // wave.size) - start, 0)
    wave[columns] = np.maximum(wave[columns], np.maximum.reduceat(high, edges))
