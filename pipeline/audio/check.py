"""A file decoded from end to end, to know before work begins that it can be worked on.

:class:`Checker` is fed block by block, so that a pass which decodes the file anyway can check it
on the way; :func:`check_track` does it for a file on its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.audio.formats.ogg_pages import ogg_damage
from pipeline.audio.stream import AudioInfo, AudioStream
from pipeline.errors import InputError
from pipeline.jit import kernel
from pipeline.units import FloatArray, amplitude_to_db

__all__ = ["CLIPPED_RUN", "SILENT_DBFS", "Checker", "TrackCheck", "check_track"]

CLIPPED_RUN = 3
"""Equal samples in a row at full scale that count as clipping."""

SILENT_DBFS = -90.0
"""A peak under it is silence: one step of 16 bits, the dither of an empty track, is -90.3 dBFS."""

LOUDEST_DBFS = 200.0
"""A peak over it is no audio but bytes taken for samples; integers of 32 bits reach 187 dBFS."""

# What is so far under a file's peak is its silence; looked for at floors 10 dB apart.
_FAINT_DB = 80.0
_FLOORS_DBFS = np.arange(SILENT_DBFS, -171.0, -10.0)
_FLOORS = 10.0 ** (_FLOORS_DBFS / 20.0)


@dataclass(frozen=True)
class TrackCheck:
    """What a full decode of one file found.

    Parameters
    ----------
    frames
        Samples per channel that could be decoded, at the file's own rate.
    failure
        Why it cannot be worked on, in words; None when it can.
    non_finite_s, non_finite_channel
        Where the first NaN or infinite sample is; the channel counts from 1.
    peak_dbfs
        Largest absolute sample; ``-inf`` for digital silence.
    clipped_runs, clipped_first_s
        Runs of at least :data:`CLIPPED_RUN` equal samples at full scale, and where the first is.
    dc_dbfs
        Level of the mean of the worst channel; ``-inf`` where it is 0. A short sound has a mean
        too: whether it is DC, stage 1 tells.
    remarks, latency, incomplete
        As :class:`pipeline.audio.info.AudioInfo` has them.
    sounding_frames
        Up to the last sample that is more than silence: over :data:`SILENT_DBFS`, or within 80 dB
        of the peak of a faint file.
    """

    frames: int
    failure: str | None = None
    non_finite_s: float | None = None
    non_finite_channel: int | None = None
    peak_dbfs: float = -math.inf
    clipped_runs: int = 0
    clipped_first_s: float | None = None
    dc_dbfs: float = -math.inf
    remarks: tuple[str, ...] = ()
    latency: str | None = None
    incomplete: str | None = None
    sounding_frames: int = 0

    def __post_init__(self) -> None:
        # A record that was kept as JSON has a list in its place.
        object.__setattr__(self, "remarks", tuple(self.remarks))

    @property
    def reading(self) -> tuple[str, ...]:
        """How the file was read otherwise than it says, and what that may do to its time."""
        return self.remarks if self.latency is None else (*self.remarks, self.latency)

    @property
    def silent(self) -> bool:
        """Whether nothing is to be heard; no error in a track."""
        return self.peak_dbfs < SILENT_DBFS

    @property
    def flags(self) -> tuple[str, ...]:
        """What a mixer should know of it, in words; nothing here keeps it from being mixed."""
        flags = list(self.reading)
        if self.failure is None and self.silent:
            flags.append("silent")
        if self.clipped_runs and self.clipped_first_s is not None:
            times = "once" if self.clipped_runs == 1 else f"{self.clipped_runs} times, first"
            flags.append(f"clips {times} at {self.clipped_first_s:.3f} s")
        return tuple(flags)


# Rows of the state: what is remembered of each channel from block to block.
_PEAK, _SUM, _LAST, _RUN, _RUNS, _FIRST_RUN, _BAD = range(7)


@kernel
def _measure(
    block: FloatArray, start: int, full_scale: float, state: npt.NDArray[np.float64]
) -> None:  # pragma: no cover - compiled
    channels, frames = block.shape
    for c in range(channels):
        peak, total = state[_PEAK, c], state[_SUM, c]
        last, run = state[_LAST, c], state[_RUN, c]
        for i in range(frames):
            x = np.float64(block[c, i])
            if not np.isfinite(x):
                if state[_BAD, c] < 0.0:
                    state[_BAD, c] = start + i
                run = 0.0
                continue
            total += x
            size = abs(x)
            if size > peak:
                peak = size
            if size >= full_scale:
                run = run + 1.0 if (run > 0.0 and x == last) else 1.0
                last = x
                if run == CLIPPED_RUN:
                    state[_RUNS, c] += 1.0
                    if state[_FIRST_RUN, c] < 0.0:
                        state[_FIRST_RUN, c] = start + i - CLIPPED_RUN + 1
            else:
                run = 0.0
        state[_PEAK, c], state[_SUM, c] = peak, total
        state[_LAST, c], state[_RUN, c] = last, run


def _full_scale(subtype: str) -> float:
    # The largest positive value of the format. A float file at a fixed ±1, or at 16 bits' full
    # scale, has been through a converter that clipped; more than that is headroom, unless it
    # stands still.
    bits = 8 if subtype in ("PCM_U8", "PCM_S8") else 16
    return 1.0 - 2.0 ** (1 - bits)


class Checker:
    """Measures a file's blocks, in order, at the file's own sample rate.

    Parameters
    ----------
    info
        The file's header.
    """

    def __init__(self, info: AudioInfo) -> None:
        self._info = info
        self._frames = 0
        self._full_scale = _full_scale(info.subtype)
        self._state = np.zeros((7, info.channels))
        self._state[[_FIRST_RUN, _BAD]] = -1.0
        self._sounding = np.zeros(len(_FLOORS_DBFS), np.int64)

    def feed(self, block: FloatArray) -> None:
        """Measure the next ``(channels, frames)`` samples."""
        samples = np.asarray(block, np.float32)
        _measure(samples, self._frames, self._full_scale, self._state)
        self._find_end(samples)
        self._frames += block.shape[1]

    def _find_end(self, samples: FloatArray) -> None:
        """Remember the last sample over each floor."""
        if not samples.shape[1]:
            return
        if np.abs(samples[:, -1]).max() > _FLOORS[0]:
            self._sounding[:] = self._frames + samples.shape[1]
            return
        backwards = np.abs(samples).max(axis=0)[::-1]
        for k, floor in enumerate(_FLOORS):
            over = backwards > floor
            last = int(over.argmax())
            if over[last]:
                self._sounding[k] = self._frames + samples.shape[1] - last

    @property
    def saw_non_finite(self) -> bool:
        """Whether a sample so far was NaN or infinite."""
        return bool((self._state[_BAD] >= 0.0).any())

    def result(self, *, failure: str | None = None) -> TrackCheck:
        """Return what was found so far.

        Parameters
        ----------
        failure
            Why the decoding ended early, if it did.
        """
        rate, state = self._info.sample_rate, self._state
        bad_s: float | None = None
        bad_channel: int | None = None
        if (bad := state[_BAD] >= 0.0).any():
            bad_channel = int(np.argmin(np.where(bad, state[_BAD], np.inf)))
            bad_s = float(state[_BAD, bad_channel]) / rate
            where = f"{bad_s:.3f} s in channel {bad_channel + 1}"
            failure = failure or f"holds a sample that is NaN or infinite at {where}"
        peak_dbfs = amplitude_to_db(float(state[_PEAK].max()))
        if peak_dbfs > LOUDEST_DBFS:
            failure = failure or f"holds a sample of {peak_dbfs:.0f} dBFS, which is no audio"
        faint_dbfs = min(SILENT_DBFS, peak_dbfs - _FAINT_DB)
        floor = min(int((faint_dbfs < _FLOORS_DBFS).sum()), len(_FLOORS_DBFS) - 1)
        firsts = state[_FIRST_RUN][state[_FIRST_RUN] >= 0.0]
        return TrackCheck(
            frames=self._frames,
            failure=failure,
            non_finite_s=bad_s,
            non_finite_channel=None if bad_channel is None else bad_channel + 1,
            peak_dbfs=peak_dbfs,
            clipped_runs=int(state[_RUNS].sum()),
            clipped_first_s=float(firsts.min()) / rate if len(firsts) else None,
            dc_dbfs=amplitude_to_db(float(np.abs(state[_SUM]).max()) / max(1, self._frames)),
            remarks=self._info.remarks,
            latency=self._info.latency,
            incomplete=self._info.incomplete,
            sounding_frames=int(self._sounding[floor]),
        )


def check_track(
    path: Path, *, listen: Callable[[npt.NDArray[np.float32]], None] | None = None
) -> TrackCheck:
    """Decode a whole file and say what is wrong with it.

    Never raises for what a file holds: a file that cannot be decoded has its ``failure`` set.

    Parameters
    ----------
    path
        The file.
    listen
        Called with each block ``(channels, frames)``, in order, as long as all samples are numbers.
    """
    checker: Checker | None = None
    failure: str | None = None
    try:
        with AudioStream(path) as stream:
            checker = Checker(stream.info)
            if stream.info.format == "OGG":
                failure = ogg_damage(path)
            left = stream.frames
            while left:
                block = stream.read(min(65_536, left))
                left -= block.shape[1]
                checker.feed(block)
                if listen is not None and failure is None and not checker.saw_non_finite:
                    listen(np.asarray(block, np.float32))
    except InputError as error:
        failure = failure or error.problems[0].what
    except OSError as error:
        failure = f"cannot be read ({error.strerror or error})"
    if checker is None:
        return TrackCheck(frames=0, failure=failure)
    return checker.result(failure=failure)
