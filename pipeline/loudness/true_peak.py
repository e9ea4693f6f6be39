"""True peak of ITU-R BS.1770-5 annex 2, block by block: the peak of the oversampled signal.

The interpolator is longer than the standard's 48 taps, so the reading is closer to the continuous
signal's; blocks that cannot exceed the running maximum are skipped, which leaves it exact.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pipeline.jit import kernel
from pipeline.units import Float32Array, amplitude_to_db

__all__ = ["TruePeakMeter", "as_block", "true_peaks_dbtp"]


TRUE_PEAK_TAPS = 32
"""Taps a phase of the interpolator."""

CHUNK = 64
"""Samples that are looked at together; more than the interpolator is long."""


def as_block(block: npt.ArrayLike, channels: int) -> Float32Array:
    """Return ``block`` as writeable float32 ``(channels, frames)`` with contiguous rows.

    Raises
    ------
    ValueError
        If it has another shape.
    """
    samples = np.asarray(block, np.float32)
    if samples.ndim == 2 and samples.strides[1] != samples.itemsize:
        samples = np.ascontiguousarray(samples)
    if samples.ndim != 2 or samples.shape[0] != channels:
        msg = f"expected a block of shape ({channels}, frames), got {samples.shape}"
        raise ValueError(msg)
    # numba compiles a second time for read-only arrays.
    return samples if samples.flags.writeable else samples.copy()


@lru_cache(maxsize=4)
def _interpolator(oversampling: int) -> Float32Array:
    """Return the phases between two samples, ``(phases, taps)``.

    A Kaiser-windowed sinc; the phase on the samples themselves is the identity and left out.
    Each phase sums to one, so a constant keeps its level.
    """
    offsets = np.arange(1, oversampling)[:, None] / oversampling
    taps = TRUE_PEAK_TAPS // 2 - 1 - np.arange(TRUE_PEAK_TAPS)[None, :]
    distance = taps + offsets
    edge = TRUE_PEAK_TAPS / 2
    window = np.i0(8.0 * np.sqrt(np.maximum(1.0 - (distance / edge) ** 2, 0.0))) / np.i0(8.0)
    phases = np.sinc(distance) * window
    phases /= phases.sum(axis=1, keepdims=True)
    return np.ascontiguousarray(phases, np.float32)


@lru_cache(maxsize=4)
def _bounds(oversampling: int) -> tuple[float, float, float, float]:
    """Return how far the interpolated values can exceed the samples around them.

    They are at most ``a M``; and, being the straight line between two samples plus what differences
    add, at most ``M + b D`` and ``M + c D + d E``, where M, D and E are the largest sample, first
    and second difference. A low note's differences are small: most of it need not be interpolated.
    """
    phases = _interpolator(oversampling).astype(np.float64)
    line = np.zeros_like(phases)
    middle = TRUE_PEAK_TAPS // 2 - 1
    line[:, middle + 1] = np.arange(1, oversampling) / oversampling
    line[:, middle] = 1.0 - line[:, middle + 1]
    if phases.size and abs(phases[0, middle + 1]) > abs(phases[0, middle]):
        line[:, [middle, middle + 1]] = line[:, [middle + 1, middle]]
    first = np.cumsum(phases - line, axis=1)
    second = np.cumsum(first, axis=1)[:, :-1]
    extremes = (
        np.abs(phases).sum(axis=1),
        np.abs(first).sum(axis=1),
        np.abs(first.sum(axis=1)),
        np.abs(second).sum(axis=1),
    )
    # Kept a little above, for the rounding of float32.
    a, b, c, d = (1.0001 * float(values.max(initial=0.0)) for values in extremes)
    return a, b, c, d


@kernel
def _chunk_peaks(bits: npt.NDArray[np.int32], peaks: npt.NDArray[np.int32]) -> None:
    """Fill ``peaks`` with the largest absolute value of each chunk of 64 samples.

    Without their sign, float32 numbers are ordered as the integers of their bits are, and the
    largest of integers is found 16 at a time.
    """
    for n in range(peaks.size):
        peak = np.int32(0)
        for i in range(n * CHUNK, min((n + 1) * CHUNK, bits.size)):
            peak = max(peak, bits[i] & np.int32(0x7FFFFFFF))
        peaks[n] = peak


@kernel
def _fill_differences(samples: Float32Array, differences: Float32Array) -> None:
    """Fill ``differences`` (2, samples) with the first and second differences; 0 where none is."""
    last = samples.size - 1
    for i in range(last):
        differences[0, i] = samples[i + 1] - samples[i]
    for i in range(last - 1):
        differences[1, i] = differences[0, i + 1] - differences[0, i]
    differences[0, last:] = 0.0
    differences[1, last - 1 :] = 0.0


@kernel
def _interpolated_peak(
    samples: Float32Array,
    chunk_peaks: Float32Array,
    phases: Float32Array,
    bounds: tuple[float, float, float, float],
    peak: np.float32,
) -> np.float32:
    """Return the larger of ``peak`` and the largest interpolated value between the samples.

    Chunks that cannot exceed the running maximum, by the :func:`_bounds`, are skipped, which leaves
    the result exact.
    """
    taps = phases.shape[1]
    outputs = samples.size - taps + 1
    by_peak, by_first, by_slope, by_second = bounds
    sums = np.empty(CHUNK, np.float32)
    differences = np.empty((2, 2 * CHUNK), np.float32)
    largest = np.empty((2, 2), np.float32)
    for n in range(chunk_peaks.size):
        # The filter reaches less than a chunk ahead.
        local = chunk_peaks[n]
        if n + 1 < chunk_peaks.size:
            local = max(local, chunk_peaks[n + 1])
        if local * by_peak <= peak:
            continue
        start = n * CHUNK
        count = min(CHUNK, outputs - start)
        if count <= 0:
            break
        _fill_differences(samples[start : start + count + taps - 1], differences)
        _chunk_peaks(differences[0].view(np.int32), largest[0].view(np.int32))
        _chunk_peaks(differences[1].view(np.int32), largest[1].view(np.int32))
        one, two = max(largest[0, 0], largest[0, 1]), max(largest[1, 0], largest[1, 1])
        if local + min(by_first * one, by_slope * one + by_second * two) <= peak * 0.9999:
            continue
        for phase in range(phases.shape[0]):
            sums[:] = 0.0
            # The inner loop runs along the samples: it vectorises without reordering the sum.
            for tap in range(0, taps, 4):
                h0, h1 = phases[phase, tap], phases[phase, tap + 1]
                h2, h3 = phases[phase, tap + 2], phases[phase, tap + 3]
                at = start + tap
                for i in range(count):
                    sums[i] = (
                        sums[i]
                        + h0 * samples[at + i]
                        + h1 * samples[at + i + 1]
                        + h2 * samples[at + i + 2]
                        + h3 * samples[at + i + 3]
                    )
            for i in range(count):
                peak = max(peak, abs(sums[i]))
    return peak


class TruePeakMeter:
    """True peak (BS.1770-5 annex 2) and sample peak.

    Four-times oversampling below 96 kHz, twice below 192 kHz, none above: always at least 176 kHz.

    Parameters
    ----------
    sample_rate
        In Hz.
    channels
        At least one.
    """

    def __init__(self, *, sample_rate: int, channels: int) -> None:
        self.channels = channels
        oversampling = 4 if sample_rate < 88200 else 2 if sample_rate < 176400 else 1
        self._phases = _interpolator(oversampling)
        self._bounds = _bounds(oversampling)
        self._past = np.zeros((channels, TRUE_PEAK_TAPS - 1), np.float32)
        self._sample_peak = 0.0
        self._true_peak = 0.0

    def process(self, block: npt.ArrayLike) -> None:
        """Take the next block, ``(channels, frames)`` float32, of any length."""
        samples = as_block(block, self.channels)
        if samples.shape[1] == 0:
            return
        self._true_peak = self._peak_after(samples)
        tail = np.concatenate([self._past, samples[:, 1 - TRUE_PEAK_TAPS :]], axis=1)
        self._past = tail[:, 1 - TRUE_PEAK_TAPS :]

    def _peak_after(self, samples: Float32Array) -> float:
        lines = np.concatenate([self._past, samples], axis=1)
        chunks = np.empty((self.channels, -(-lines.shape[1] // CHUNK)), np.int32)
        for line, chunk in zip(lines, chunks, strict=True):
            _chunk_peaks(line.view(np.int32), chunk)
        peaks = chunks.view(np.float32)
        self._sample_peak = max(self._sample_peak, float(peaks.max()))
        peak = max(self._true_peak, self._sample_peak)
        if self._phases.size == 0:
            return peak
        for line, chunk in zip(lines, peaks, strict=True):
            highest = _interpolated_peak(line, chunk, self._phases, self._bounds, np.float32(peak))
            peak = max(peak, float(highest))
        return peak

    def forget(self) -> None:
        """Measure anew from here, with the interpolator as full as it is."""
        self._sample_peak = self._true_peak = 0.0

    @property
    def sample_peak_dbfs(self) -> float:
        """The largest absolute sample in dBFS; silence is ``-inf``."""
        return amplitude_to_db(self._sample_peak)

    @property
    def true_peak_dbtp(self) -> float:
        """The largest absolute value of the oversampled signal in dBTP; silence is ``-inf``."""
        # The signal may end on an overshoot: let the interpolator ring out, without keeping it.
        rest = np.zeros((self.channels, TRUE_PEAK_TAPS), np.float32)
        return amplitude_to_db(self._peak_after(rest))


def true_peaks_dbtp(
    audio: npt.ArrayLike, *, sample_rate: int, interval_s: float = 1.0
) -> tuple[float, ...]:
    """Return the true peak of each interval of a signal, the last one shorter.

    What swings between two intervals counts for the later one.

    Parameters
    ----------
    audio
        ``(channels, frames)`` float32.
    sample_rate
        In Hz.
    interval_s
        In seconds.

    Returns
    -------
    tuple of float
        In dBTP to a hundredth; silence is ``-inf``.
    """
    samples = np.asarray(audio, np.float32)
    meter = TruePeakMeter(sample_rate=sample_rate, channels=samples.shape[0])
    step = max(1, round(interval_s * sample_rate))
    peaks = []
    for start in range(0, samples.shape[1], step):
        meter.forget()
        meter.process(samples[:, start : start + step])
        last = start + step >= samples.shape[1]
        peak = meter.true_peak_dbtp if last else amplitude_to_db(meter._true_peak)
        peaks.append(round(peak, 2))
    return tuple(peaks)
