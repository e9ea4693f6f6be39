"""How well a pitch explains a spectrum: the harmonic kernel that settles octaves and noise.

After SWIPE' (Camacho and Harris, JASA 124(3), 2008): harmonics 1 and the primes count for a pitch,
the valleys half-way between harmonics count against it. A sub-octave finds nothing on its odd
harmonics, an octave too high finds the pitch itself in its valleys, and noise fills peaks and
valleys alike. Unlike SWIPE', only proposed pitches are weighed, not a grid of them.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
import scipy.fft

__all__ = ["SPECTRUM_LENGTH", "harmonic_strength"]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

SPECTRUM_LENGTH = 8192
HARMONICS = (1, 2, 3, 5, 7, 11, 13)
"""The first and the prime harmonics: a sub-harmonic of the pitch then shares but one of them."""
HARMONIC_LIMIT_HZ = 8000.0
TOLERANCE = 0.01
"""How far from a multiple its peak may lie: pitches glide, strings are not quite harmonic, and the
estimators' own steps are 10 and 33 cents."""
SCALE_BINS = 3 * len(HARMONICS)


@numba.njit(cache=True, nogil=True)
def _largest_near(spectrum: Float32Array, place: float) -> float:
    """Return the largest of the bins within the tolerance of a fractional bin."""
    reach = max(1.0, TOLERANCE * place)
    largest = 0.0
    for k in range(max(int(np.rint(place - reach)), 0), int(np.rint(place + reach)) + 1):
        if k < spectrum.size and spectrum[k] > largest:
            largest = float(spectrum[k])
    return largest


@numba.njit(cache=True, nogil=True)
def _weigh(
    spectrum: Float32Array,
    bins: Float64Array,
    scale: Float64Array,
    sample_rate: int,
    strength: Float64Array,
) -> None:
    """Fill ``strength`` (windows, proposals) for fundamentals at ``bins``."""
    limit = HARMONIC_LIMIT_HZ * SPECTRUM_LENGTH / sample_rate
    for row in range(bins.shape[0]):
        for column in range(bins.shape[1]):
            f0 = bins[row, column]
            if np.isnan(f0) or scale[row] == 0.0:
                strength[row, column] = -np.inf
                continue
            total = 0.0
            norm = 0.0
            for k in HARMONICS:
                if k * f0 >= limit:
                    break
                below = _largest_near(spectrum[row], (k - 0.5) * f0)
                above = _largest_near(spectrum[row], (k + 0.5) * f0)
                peak = _largest_near(spectrum[row], k * f0)
                total += (peak - 0.5 * (below + above)) / np.sqrt(k)
                norm += 1.0 / k
            strength[row, column] = total / (np.sqrt(norm) * scale[row]) if norm else -np.inf


def harmonic_strength(
    windows: Float32Array, f0_hz: Float64Array, *, sample_rate: int
) -> Float64Array:
    """Match of each proposed pitch with the spectrum of its window.

    Parameters
    ----------
    windows
        ``(windows, SPECTRUM_LENGTH)`` samples.
    f0_hz
        ``(windows, proposals)``; NaN where there is none.
    sample_rate
        In Hz; 8192 samples should last at least 0.3 s, to part the harmonics of a bass.

    Returns
    -------
    ndarray, shape (windows, proposals)
        Around 0 for noise and at most 1; ``-inf`` where there is no proposal, or silence.
    """
    taper = np.hanning(SPECTRUM_LENGTH).astype(np.float32)
    # Square roots of magnitude, as SWIPE does: the kernel then matches a sawtooth's decay.
    spectrum = np.sqrt(np.abs(scipy.fft.rfft(windows * taper, axis=1)))
    teeth = np.partition(spectrum, -SCALE_BINS, axis=1)[:, -SCALE_BINS:].astype(np.float64)
    # Against the energy of as many of the window's strongest bins as the kernel has teeth.
    scale = np.sqrt((teeth**2).sum(axis=1) / 3.0)
    strength = np.empty(f0_hz.shape)
    _weigh(spectrum, f0_hz / (sample_rate / SPECTRUM_LENGTH), scale, sample_rate, strength)
    return strength
