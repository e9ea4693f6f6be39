"""Where the spectrum of a recording ends, and what in it does not move."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import scipy.fft

from pipeline.units import Float64Array, FloatArray, power_to_db
from stage2.style.measure import THIRD_OCTAVES_HZ

__all__ = [
    "INFRASONIC_HZ",
    "LOWER_HZ",
    "UPPER_HZ",
    "RecordingPowers",
    "is_noise",
    "lower_limit",
    "measure_powers",
    "stands_out",
    "upper_limit_hz",
]


_WINDOW_S = 0.75
_FRAMES_AT_ONCE = 32
_EPSILON = 1e-20
_THIRD = 2.0 ** (1.0 / 6.0)
#: Edges of the third octaves.
LOWER_HZ: Float64Array = THIRD_OCTAVES_HZ / _THIRD
UPPER_HZ: Float64Array = THIRD_OCTAVES_HZ * _THIRD

#: Too low to be heard, and too low for any instrument.
INFRASONIC_HZ = (3.0, 16.0)

# A fall that a filter makes, and no instrument: within a sixth of an octave anywhere, and within
# half an octave where records still have most of their treble.
_WALL_DB, _SLOPE_DB, _SLOPE_TOP_HZ = 26.0, 20.0, 7000.0
_STEPS_PER_OCTAVE = 24
# A filter under the lowest notes: instruments end there too, so only where every mix has a bass.
_LOW_WALL_DB, _LOW_WALL_HZ, _NEAR_DB = 26.0, (125.0, 500.0), 15.0
# A spectrum that falls this evenly, per octave, is that of noise.
_NOISE_HZ, _EVEN_DB = 5.0 * 2.0 ** np.arange(8), 1.0
# So is one that is flat so far down, whatever filter it has above.
_FLAT_OCTAVES, _FLAT_DB = 4, 4.0
# How far mains hum stands out of what is around it.
_LINE_DB = 15.0


@dataclass(frozen=True)
class RecordingPowers:
    """Mean power per bin of each channel and across, and per frame and third octave."""

    left: Float64Array
    right: Float64Array
    cross: Float64Array
    thirds: Float64Array

    def spread_db(self) -> Float64Array:
        """Return how far each third octave's mean lies over its quiet moments, in dB."""
        quiet = np.percentile(self.thirds, 10.0, axis=0)
        ratio = (self.thirds.mean(axis=0) + _EPSILON) / (quiet + _EPSILON)
        return np.asarray(10.0 * np.log10(ratio))


def measure_powers(audio: FloatArray, sample_rate: int) -> RecordingPowers:
    """Return the powers of audio ``(2, frames)``, over windows of three quarters of a second."""
    size = 2 ** round(np.log2(_WINDOW_S * sample_rate))
    if audio.shape[1] < size:
        audio = np.pad(audio, ((0, 0), (0, size - audio.shape[1])))
    starts = range(0, audio.shape[1] - size + 1, size // 2)
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    bins = size // 2 + 1
    frequency = np.arange(bins) * sample_rate / size
    inside = [
        slice(*np.searchsorted(frequency, (low, high)))
        for low, high in zip(LOWER_HZ, UPPER_HZ, strict=True)
    ]
    left, right, cross = np.zeros((3, bins))
    thirds = []
    for first in range(0, len(starts), _FRAMES_AT_ONCE):
        block = np.stack([audio[:, s : s + size] for s in starts[first : first + _FRAMES_AT_ONCE]])
        spectra = scipy.fft.rfft(block * window, axis=-1).astype(np.complex128)
        power = np.square(np.abs(spectra))
        left += power[:, 0].sum(axis=0)
        right += power[:, 1].sum(axis=0)
        cross += (spectra[:, 0] * spectra[:, 1].conj()).real.sum(axis=0)
        both = power.sum(axis=1)
        thirds.append(np.stack([both[:, band].sum(axis=1) for band in inside], axis=1))
    count = float(len(starts))
    return RecordingPowers(
        left / count,
        right / count,
        cross / count,
        np.concatenate(thirds),
    )


def upper_limit_hz(density: Float64Array, frequency: Float64Array) -> float:
    """Return where a filter ends the spectrum; Nyquist's frequency where none does."""
    nyquist = float(frequency[-1])
    edges = 1000.0 * 2.0 ** np.arange(0.0, np.log2(nyquist / 1000.0), 1.0 / _STEPS_PER_OCTAVE)
    rows = np.searchsorted(frequency, [*edges, nyquist])
    level_db = np.asarray(
        [
            np.median(10.0 * np.log10(density[first : max(last, first + 1)]))
            for first, last in itertools.pairwise(rows)
        ]
    )
    third = _STEPS_PER_OCTAVE // 3
    for row in range(third, level_db.size):
        below_db = float(np.median(level_db[row - third : row]))
        for reach, least_db, top_hz in (
            (_STEPS_PER_OCTAVE // 6, _WALL_DB, np.inf),
            (_STEPS_PER_OCTAVE // 2, _SLOPE_DB, _SLOPE_TOP_HZ),
        ):
            above = level_db[row + reach :]
            if above.size and edges[row] <= top_hz and below_db - above.max() > least_db:
                kept = np.flatnonzero(level_db[: row + reach] > below_db - 6.0)
                return float(edges[min(int(kept[-1]) + 1, edges.size - 1)])
    # Converters' filters begin a little under the half of the rate.
    return nyquist if nyquist > 20_000.0 else 0.9 * nyquist


def stands_out(density: Float64Array, frequency: Float64Array, line_hz: float) -> bool:
    """Return whether a line stands out of its surroundings."""
    off_hz = np.abs(frequency - line_hz)
    line = density[off_hz < 2.0]
    around = density[(off_hz > 4.0) & (off_hz < 12.0)]
    return bool(line.size and line.max() > np.median(around) * 10.0 ** (_LINE_DB / 10.0))


def lower_limit(density: Float64Array, frequency: Float64Array) -> int | None:
    """Return the lowest third octave over a filter that ends a spectrum below; None without one."""
    level_db = np.asarray(
        [
            power_to_db(float(density[(frequency >= low) & (frequency < high)].sum()) + _EPSILON)
            for low, high in zip(LOWER_HZ, UPPER_HZ, strict=True)
            if high < frequency[-1]
        ]
    )
    for row in range(3, level_db.size):
        wall_db = level_db[row] - level_db[: row - 1].max()
        near = level_db[row] > level_db.max() - _NEAR_DB
        inside = _LOW_WALL_HZ[0] <= THIRD_OCTAVES_HZ[row] <= _LOW_WALL_HZ[1]
        if inside and near and wall_db > _LOW_WALL_DB:
            return row
    return None


def is_noise(density: Float64Array, frequency: Float64Array) -> bool:
    """Return whether power falls evenly from the lowest octaves up, as that of noise does."""
    level_db = [
        power_to_db(float(density[(frequency >= low) & (frequency < high)].mean()))
        for low, high in itertools.pairwise(_NOISE_HZ)
    ]
    octaves = np.arange(len(level_db))
    even_db = np.polyval(np.polyfit(octaves, level_db, 1), octaves)
    flat = np.ptp(level_db[:_FLAT_OCTAVES]) < _FLAT_DB
    return bool(flat or np.std(level_db - even_db) < _EVEN_DB)
