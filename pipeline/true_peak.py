"""True peak of ITU-R BS.1770-5 annex 2, block by block: the peak of the oversampled signal.

The interpolator is longer than the standard's 48 taps, so the reading is closer to the continuous
signal's; blocks that cannot exceed the running maximum are skipped, which leaves it exact.
"""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np
import numpy.typing as npt

from pipeline.units import amplitude_to_db

__all__ = ["TruePeakMeter", "as_block"]

Float32Array = npt.NDArray[np.float32]

TRUE_PEAK_TAPS = 32
"""Taps a phase of the interpolator."""


def as_block(block: npt.ArrayLike, channels: int) -> Float32Array:
    """Return ``block`` as contiguous, writeable float32 ``(channels, frames)``.

    Raises
    ------
    ValueError
        If it has another shape.
    """
    samples = np.ascontiguousarray(block, np.float32)
    if samples.ndim != 2 or samples.shape[0] != channels:
        msg = f"expected a block of shape ({channels}, frames), got {samples.shape}"
        raise ValueError(msg)
    # numba compiles a second time for read-only arrays.
    return samples if samples.flags.writeable else samples.copy()


@lru_cache(maxsize=4)
def _interpolator(oversampling: int) -> tuple[Float32Array, float]:
    """Return the phases between two samples, ``(phases, taps)``, and their largest sum of |h|.

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
    # The bound is kept a little above the sum, for the rounding of float32.
    bound = 1.0001 * float(np.abs(phases).sum(axis=1).max(initial=0.0))
    return np.ascontiguousarray(phases, np.float32), bound


@numba.njit(cache=True, nogil=True)
def _peak(samples: Float32Array) -> np.float32:
    peak = np.float32(0.0)
    for i in range(samples.size):
        peak = max(peak, abs(samples[i]))
    return peak


@numba.njit(cache=True, nogil=True)
def _interpolated_peak(
    samples: Float32Array, phases: Float32Array, bound: float, peak: np.float32
) -> np.float32:
    """Return the larger of ``peak`` and the largest interpolated value between the samples.

    Chunks that cannot exceed the running maximum (their peak x the largest sum of |h|) are
    skipped, which leaves the result exact.
    """
    taps = phases.shape[1]
    outputs = samples.size - taps + 1
    chunk = 64
    sums = np.empty(chunk, np.float32)
    for start in range(0, outputs, chunk):
        count = min(chunk, outputs - start)
        local = np.float32(0.0)
        for i in range(start, start + count + taps - 1):
            local = max(local, abs(samples[i]))
        if local * bound <= peak:
            continue
        for phase in range(phases.shape[0]):
            sums[:] = 0.0
            # The inner loop runs along the samples: it vectorises without reordering the sum.
            for tap in range(taps):
                h = phases[phase, tap]
                for i in range(count):
                    sums[i] += h * samples[start + i + tap]
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
        self._phases, self._bound = _interpolator(oversampling)
        self._past = np.zeros((channels, TRUE_PEAK_TAPS - 1), np.float32)
        self._sample_peak = 0.0
        self._true_peak = 0.0

    def process(self, block: npt.ArrayLike) -> None:
        """Take the next block, ``(channels, frames)`` float32, of any length."""
        samples = as_block(block, self.channels)
        if samples.shape[1] == 0:
            return
        for channel in range(self.channels):
            self._sample_peak = max(self._sample_peak, float(_peak(samples[channel])))
        self._true_peak = self._peak_after(samples)
        tail = np.concatenate([self._past, samples[:, 1 - TRUE_PEAK_TAPS :]], axis=1)
        self._past = tail[:, 1 - TRUE_PEAK_TAPS :]

    def _peak_after(self, samples: Float32Array) -> float:
        peak = max(self._true_peak, self._sample_peak)
        if self._phases.size == 0:
            return peak
        for channel in range(self.channels):
            line = np.concatenate([self._past[channel], samples[channel]])
            found = _interpolated_peak(line, self._phases, self._bound, np.float32(peak))
            peak = max(peak, float(found))
        return peak

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
