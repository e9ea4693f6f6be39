"""Short windows spread over the time in which a track plays, read and resampled together."""

from __future__ import annotations

import math

import numpy as np
import soxr

from pipeline.audio.samples import Samples
from pipeline.loudness.meter import BLOCK_FRAMES, EnergyMeter
from pipeline.units import BoolArray, Float32Array, Float64Array

__all__ = ["MARGIN_S", "Passages", "fold", "measure_activity", "window_middles"]


MARGIN_S = 0.015
"""Around each window, where the resampler's filter rings over the seam to the next."""
CANCELLED = 0.1
"""Where the mean of the channels has less than this of the energy of one, it cancels."""


def measure_activity(samples: Samples) -> BoolArray:
    """Return where a signal plays, one flag each 100 ms, read block by block."""
    meter = EnergyMeter(sample_rate=samples.sample_rate, channels=samples.channels)
    for start in range(0, samples.frames, BLOCK_FRAMES):
        meter.process(samples.read_at(start, min(BLOCK_FRAMES, samples.frames - start)))
    return meter.active()


def window_middles(
    active: BoolArray, duration_s: float, *, spacing_s: float, limit: int | None
) -> Float64Array:
    """Choose where to listen.

    Parameters
    ----------
    active
        One flag each 100 ms.
    duration_s
        Of the track.
    spacing_s
        Between the middles of two windows.
    limit
        At most so many windows, evenly spread over the active time; all if not given.

    Returns
    -------
    ndarray, shape (windows,)
        Times in seconds whose 100 ms are active.
    """
    count = max(1, math.floor(duration_s / spacing_s))
    middles = np.asarray((np.arange(count) + 0.5) * spacing_s, np.float64)
    if active.size == 0:
        return middles[:0]
    middles = middles[active[np.minimum((middles * 10).astype(int), active.size - 1)]]
    if limit is not None and middles.size > limit:
        middles = middles[np.linspace(0, middles.size - 1, limit).round().astype(int)]
    return middles


class Passages:
    """Mono windows of a signal, as pitch wants them, at any rate.

    The channels' mean, or the stronger channel where the mean would cancel.

    Parameters
    ----------
    samples
        The signal; only the windows are read.
    middles_s
        Middle of each window in seconds, ``(windows,)``, at least one.
    length_s
        Of a window.
    """

    def __init__(self, samples: Samples, middles_s: Float64Array, *, length_s: float) -> None:
        self._rate = samples.sample_rate
        self._count = middles_s.size
        self._length_s = length_s
        self._span = math.ceil((length_s + 2.0 * MARGIN_S) * self._rate)
        read = np.empty((self._count, samples.channels, self._span), np.float32)
        starts = np.round(middles_s * self._rate).astype(np.int64) - self._span // 2
        for row, start in enumerate(starts):
            read[row] = samples.read_at(int(start), self._span)
        self._mono = fold(read)  # (windows, span)

    def at(self, sample_rate: int) -> Float32Array:
        """Return ``(windows, samples)`` at another rate, ``length_s`` around each middle."""
        length = round(self._length_s * sample_rate)
        if sample_rate == self._rate:
            signal = self._mono.ravel()
        else:
            # One call for all: it costs less, and what rings over a seam stays in the margins.
            signal = np.asarray(soxr.resample(self._mono.ravel(), self._rate, sample_rate))
        middles = (np.arange(self._count) * self._span + self._span // 2) / self._rate
        first = np.round(middles * sample_rate).astype(np.int64) - length // 2
        return np.asarray(np.lib.stride_tricks.sliding_window_view(signal, length)[first])


def fold(windows: Float32Array) -> Float32Array:
    """Fold ``(windows, channels, samples)`` to mono ``(windows, samples)``.

    The channels' mean, or of all windows the channel of most energy where the mean would cancel.
    """
    if windows.shape[1] == 1:
        return windows[:, 0]
    mean = windows.mean(axis=1, dtype=np.float32)
    energies = np.einsum("wcn,wcn->c", windows, windows)
    if float(np.vdot(mean, mean)) < CANCELLED * float(energies.max()):
        return windows[:, int(energies.argmax())]
    return np.asarray(mean)
