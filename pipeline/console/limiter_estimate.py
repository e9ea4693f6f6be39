"""What a drive into the limiter makes of loudness and crest, from the audio's envelope alone.

A sketch keeps peak and power of short blocks, and runs the limiter's hold, release and smoothing
on those. It costs a fiftieth of the limiter and is right to some tenths of a dB; what it is off
hardly changes from one drive to a near one, so a single pass of the limiter makes up for it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.console.compressor import smoothing_coefficient
from pipeline.console.limiter import (
    FAST_RELEASE_MS,
    LOOK_AHEAD_MS,
    MARGIN_DB,
    SLOW_ATTACK_MS,
    SLOW_RELEASE_MS,
)
from pipeline.jit import kernel
from pipeline.loudness.energy import SEGMENTS_PER_SECOND
from pipeline.loudness.meter import (
    SEGMENTS_PER_HOP,
    SEGMENTS_PER_MOMENTARY,
    gated_lufs,
    sliding_power,
)
from pipeline.units import Float64Array, FloatArray, db_to_amplitude

__all__ = ["LimiterSketch"]


_BLOCKS_PER_SECOND = 3000


@kernel
def _sketch(x: npt.NDArray[np.float64], size: int, blocks: npt.NDArray[np.float64]) -> None:
    """Fill ``blocks`` (3, count) with the sample peak, the peak midway too, and the power.

    Midway between two samples a cubic through four tells most of a true peak.
    """
    frames = x.shape[1]
    for block in range(blocks.shape[1]):
        first = block * size
        last = min(first + size, frames)
        peak, between, power = 0.0, 0.0, 0.0
        for c in range(2):
            row = x[c]
            for n in range(first, last):
                v = row[n]
                peak = max(peak, abs(v))
                power += v * v
            for n in range(max(first, 1), min(last, frames - 2)):
                v = 0.5625 * (row[n] + row[n + 1]) - 0.0625 * (row[n - 1] + row[n + 2])
                between = max(between, abs(v))
        blocks[0, block] = peak
        blocks[1, block] = max(peak, between)
        blocks[2, block] = power


@kernel
def _gains(
    peaks: npt.NDArray[np.float64],
    limit: float,
    window: npt.NDArray[np.float64],
    fast_release: float,
    slow_attack: float,
    slow_release: float,
    gains: npt.NDArray[np.float64],
) -> None:
    """Fill ``gains`` with the limiter's gain of each block that keeps ``peaks`` at ``limit``."""
    count, hold = peaks.size, window.size
    wanted = np.zeros(count + hold)
    attenuation = np.zeros(count + hold)
    fast, slow = 0.0, 0.0
    for n in range(count + hold):
        if n < count and peaks[n] > limit:
            wanted[n] = 1.0 - limit / peaks[n]
        held = 0.0
        for k in range(max(n - hold + 1, 0), n + 1):
            held = max(held, wanted[k])
        fast = max(held, fast * fast_release)
        if fast > slow:
            slow = slow_attack * slow + (1.0 - slow_attack) * fast
        else:
            slow = slow * slow_release
        attenuation[n] = max(fast, slow)
    for n in range(count):
        smooth = 0.0
        for k in range(hold):
            smooth += window[k] * attenuation[n + k]
        gains[n] = 1.0 - smooth


class LimiterSketch:
    """The audio that a limiter will see, as far as its loudness and crest depend on the drive.

    Parameters
    ----------
    audio
        The bus before its gain, ``(2, frames)`` float64.
    segment_power
        Its K-weighted power in segments of 10 ms, as
        :meth:`pipeline.loudness.meter.EnergyMeter.segment_power` returns it.
    sample_rate
        In Hz.
    ceiling_dbtp
        The limiter's.
    window_frames
        Length of the windows that the crest is judged in.
    silent_power
        Windows at or below this mean power do not count.
    """

    def __init__(
        self,
        audio: FloatArray,
        segment_power: Float64Array,
        *,
        sample_rate: int,
        ceiling_dbtp: float,
        window_frames: int,
        silent_power: float,
    ) -> None:
        size = max(round(sample_rate / _BLOCKS_PER_SECOND), 1)
        frames = audio.shape[1]
        blocks = np.empty((3, -(-frames // size)))
        _sketch(np.ascontiguousarray(audio, dtype=np.float64), size, blocks)
        self._peak, self._true_peak, self._power = blocks
        self._limit = db_to_amplitude(ceiling_dbtp - MARGIN_DB)
        rate = sample_rate / size
        hold = max(round(LOOK_AHEAD_MS * 1e-3 * rate), 1)
        window = np.sin(np.pi * np.arange(1, hold + 1) / (hold + 1)) ** 2
        self._window = window / window.sum()
        self._fast_release = smoothing_coefficient(FAST_RELEASE_MS, sample_rate=rate)
        self._slow_attack = smoothing_coefficient(SLOW_ATTACK_MS, sample_rate=rate)
        self._slow_release = smoothing_coefficient(SLOW_RELEASE_MS, sample_rate=rate)
        starts = np.arange(blocks.shape[1]) * size
        owner = starts * SEGMENTS_PER_SECOND // sample_rate
        self._segment_of = np.minimum(owner, max(segment_power.size - 1, 0))
        self._segment_power = segment_power
        windows = max(frames // max(window_frames, 1), 1)
        self._edges = np.searchsorted(starts, np.arange(windows) * window_frames)
        self._end = int(np.searchsorted(starts, windows * window_frames))
        self._window_samples = 2 * window_frames
        self._silent = silent_power

    def at(self, drive_db: float) -> tuple[float, float]:
        """Return integrated loudness in LUFS and median crest in dB after a drive."""
        drive = db_to_amplitude(drive_db)
        gain = np.empty_like(self._peak)
        _gains(
            self._true_peak,
            self._limit / drive,
            self._window,
            self._fast_release,
            self._slow_attack,
            self._slow_release,
            gain,
        )
        gain *= drive
        power = self._power * np.square(gain)
        return self._lufs(power), self._crest_db(self._peak * gain, power)

    def _lufs(self, power: Float64Array) -> float:
        count = self._segment_power.size
        before = np.bincount(self._segment_of, weights=self._power, minlength=count)
        after = np.bincount(self._segment_of, weights=power, minlength=count)
        kept = self._segment_power * after[:count] / np.maximum(before[:count], 1e-30)
        return gated_lufs(sliding_power(kept, 0.0, SEGMENTS_PER_MOMENTARY, stride=SEGMENTS_PER_HOP))

    def _crest_db(self, peak: Float64Array, power: Float64Array) -> float:
        highest = np.maximum.reduceat(peak[: self._end], self._edges)
        mean = np.add.reduceat(power[: self._end], self._edges) / self._window_samples
        audible = mean > self._silent
        if not audible.any():
            return 0.0
        return float(np.median(10.0 * np.log10(np.square(highest[audible]) / mean[audible])))
