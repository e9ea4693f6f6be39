"""How well a pitch explains a spectrum: the harmonic kernel that settles octaves and noise.

After SWIPE' (Camacho and Harris, JASA 124(3), 2008): harmonics 1 and the primes count for a pitch,
the valleys half-way between harmonics count against it. A sub-octave finds nothing on its odd
harmonics, an octave too high finds the pitch itself in its valleys, and noise fills peaks and
valleys alike. Unlike SWIPE', only proposed pitches are weighed, not a grid of them.
"""

from __future__ import annotations

import math

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
    bin_hz = sample_rate / SPECTRUM_LENGTH
    # The largest of three bins: pitches glide and strings are not quite harmonic.
    padded = np.pad(spectrum, ((0, 0), (1, 1)))
    widened = np.maximum(np.maximum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    rows = np.arange(len(spectrum))[:, None]
    safe = np.where(np.isfinite(f0_hz), f0_hz, 1000.0)

    def amplitude(multiple: float) -> Float64Array:
        bins = np.rint(safe * multiple / bin_hz).astype(int)
        inside = safe * multiple < HARMONIC_LIMIT_HZ
        return np.where(inside, widened[rows, np.minimum(bins, spectrum.shape[1] - 1)], 0.0)

    total = np.zeros_like(safe)
    norm = np.zeros_like(safe)
    for k in HARMONICS:
        weight = np.where(safe * k < HARMONIC_LIMIT_HZ, 1.0 / math.sqrt(k), 0.0)
        between = 0.5 * (amplitude(k - 0.5) + amplitude(k + 0.5))
        total += weight * (amplitude(k) - between)
        norm += weight**2
    # Against the energy of as many of the window's strongest bins as the kernel has teeth.
    teeth = np.partition(spectrum, -3 * len(HARMONICS), axis=1)[:, -3 * len(HARMONICS) :]
    scale = np.sqrt((teeth**2).sum(axis=1) / 3.0)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        strength = total / (np.sqrt(norm) * scale)
    return np.where(np.isfinite(f0_hz) & np.isfinite(strength), strength, -np.inf)
