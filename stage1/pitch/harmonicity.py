"""Which pitch explains a spectrum: the test that settles octaves and tells a tone from noise.

The spectrum of a window is reduced to its strongest peaks. A pitch explains the peaks that lie on
its harmonics (recall), and is itself borne out by the harmonics that are there (precision):

- an octave too high leaves the odd harmonics unexplained, three times too high two thirds of all,
  also where the fundamental is missing, as in small loudspeakers;
- a sub-octave finds nothing on its odd harmonics, and a common sub-harmonic of a chord nothing on
  most of its lower ones;
- noise has peaks everywhere. Harmonics of a low pitch lie so close that many would be hit by
  chance: a peak counts only by what it says beyond chance.

The two errors are those of Maher and Beauchamp (JASA 95(4), 1994, "two-way mismatch"), here as
shares instead of distances. Proposed are the pitches that the estimators heard, with their octaves
and fractions, and the strongest peaks with theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft

from pipeline.jit import kernel
from pipeline.units import Float32Array, Float64Array

__all__ = ["SPECTRUM_LENGTH", "PitchFit", "fit_pitches"]


SPECTRUM_LENGTH = 8192
MAX_PEAKS = 40
PEAK_RANGE = 0.1
"""Of the largest, in square roots of magnitude: 40 dB."""
PEAK_PROMINENCE = 1.2
"""Over the mean of its surroundings: hiss has less, and so has most of a smeared glide."""
SURROUNDINGS_BINS = 12
PEAKS_HZ = (25.0, 6000.0)
TOLERANCE = 0.012
"""How far from a harmonic its peak may lie: pitches move, strings are not quite harmonic."""
TOLERANCE_BINS = 1.2
TEETH = 24
WEIGHED_TEETH = 10
STRONG_PEAK = 0.25
PRECISION_POWER = 2.0
PEAK_FRACTIONS = 3
"""A peak proposes itself, its half and its third."""
REFINING_TEETH = 5


@dataclass(frozen=True)
class PitchFit:
    """The best pitch of each window.

    Parameters
    ----------
    f0_hz
        NaN for a window without peaks.
    score
        Recall times the square of precision, with what the estimators' own pitches are given
        ahead: around 0 for noise, 1 for a harmonic tone.
    recall
        Share of the peaks that it explains beyond chance, 0 to 1.
    """

    f0_hz: Float64Array
    score: Float64Array
    recall: Float64Array


@kernel
def _find_peaks(
    spectrum: Float32Array, low: int, high: int, places: Float64Array, sizes: Float64Array
) -> int:
    """Fill ``places`` (fractional bins) and ``sizes`` with the largest peaks; return how many."""
    largest = 0.0
    for k in range(low, high):
        largest = max(largest, float(spectrum[k]))
    count = 0
    if largest == 0.0:
        return 0
    for k in range(low, high):
        size = float(spectrum[k])
        if size < PEAK_RANGE * largest or size <= spectrum[k - 1] or size < spectrum[k + 1]:
            continue
        first, last = max(k - SURROUNDINGS_BINS, 0), min(k + SURROUNDINGS_BINS + 1, spectrum.size)
        mean = 0.0
        for j in range(first, last):
            mean += float(spectrum[j]) / (last - first)
        if size < PEAK_PROMINENCE * mean:
            continue
        slot = count
        if count < sizes.size:
            count += 1
        else:
            slot = 0
            for j in range(1, count):
                if sizes[j] < sizes[slot]:
                    slot = j
            if sizes[slot] >= size:
                continue
        # The logarithm of a Hann window's main lobe is near a parabola.
        before = np.log(float(spectrum[k - 1]) + 1e-12)
        middle = np.log(size)
        after = np.log(float(spectrum[k + 1]) + 1e-12)
        bend = before - 2.0 * middle + after
        places[slot] = k + (0.5 * (before - after) / bend if bend < 0.0 else 0.0)
        sizes[slot] = size
    return count


@kernel
def _score(
    places: Float64Array, sizes: Float64Array, count: int, f0: float, teeth: Float64Array
) -> tuple[float, float]:
    """Recall times precision squared, and recall, of one pitch in bins; fills ``teeth``."""
    teeth[:] = 0.0
    got, total, largest = 0.0, 0.0, 0.0
    for i in range(count):
        largest = max(largest, sizes[i])
        k = int(np.rint(places[i] / f0))
        tolerance = max(TOLERANCE_BINS, TOLERANCE * places[i])
        chance = min(1.0, 2.0 * tolerance / f0)
        total += sizes[i] * (1.0 - chance)
        if k >= 1 and abs(places[i] - k * f0) < tolerance:
            got += sizes[i] * (1.0 - chance)
            if k <= TEETH:
                teeth[k] = max(teeth[k], sizes[i])
        else:
            got -= sizes[i] * chance
    top = 0
    for k in range(1, TEETH + 1):
        if teeth[k] > STRONG_PEAK * largest:
            top = k
    if got <= 0.0 or top == 0:
        return 0.0, 0.0
    present, expected = 0.0, 0.0
    for k in range(1, min(top, WEIGHED_TEETH) + 1):
        weight = 1.0 / np.sqrt(k)
        expected += weight
        if teeth[k] > 0.0:
            present += weight
    recall = got / total
    return recall * (present / expected) ** PRECISION_POWER, recall


@kernel
def _refine(places: Float64Array, sizes: Float64Array, count: int, f0: float) -> float:
    """Return the mean of the fundamentals that the lowest harmonics point to."""
    total, weights = 0.0, 0.0
    for i in range(count):
        k = int(np.rint(places[i] / f0))
        tolerance = max(TOLERANCE_BINS, TOLERANCE * places[i])
        if 1 <= k <= REFINING_TEETH and abs(places[i] - k * f0) < tolerance:
            # An error of a bin weighs 1 / k on the fundamental.
            total += sizes[i] * places[i]
            weights += sizes[i] * k
    return total / weights if weights > 0.0 else f0


@kernel
def _best(
    places: Float64Array,
    sizes: Float64Array,
    count: int,
    proposals: Float64Array,
    ahead: Float64Array,
    low: float,
    high: float,
    teeth: Float64Array,
) -> tuple[float, float, float]:
    """Return the best pitch in bins, its score and its recall; NaN, 0 and 0 without one."""
    best, best_score, best_recall = np.nan, 0.0, 0.0
    for column in range(proposals.size + PEAK_FRACTIONS * count):
        bonus = 0.0
        if column < proposals.size:
            f0 = proposals[column]
            bonus = ahead[column]
        else:
            peak = (column - proposals.size) // PEAK_FRACTIONS
            f0 = places[peak] / (1 + (column - proposals.size) % PEAK_FRACTIONS)
        if not low <= f0 <= high:  # also NaN
            continue
        score, recall = _score(places, sizes, count, f0, teeth)
        if score > 0.0 and score + bonus > best_score:
            best, best_score, best_recall = f0, score + bonus, recall
    return best, best_score, best_recall


@kernel
def _fit(
    spectra: Float32Array,
    proposals: Float64Array,
    ahead: Float64Array,
    low: float,
    high: float,
    bins_a_hz: float,
) -> Float64Array:
    """Return the best pitch in bins, its score and its recall, ``(3, windows)``."""
    fits = np.empty((3, spectra.shape[0]))
    places, sizes = np.empty(MAX_PEAKS), np.empty(MAX_PEAKS)
    teeth = np.empty(TEETH + 1)
    first, last = int(PEAKS_HZ[0] * bins_a_hz), int(PEAKS_HZ[1] * bins_a_hz)
    for row in range(spectra.shape[0]):
        count = _find_peaks(spectra[row], first, last, places, sizes)
        f0, score, recall = _best(places, sizes, count, proposals[row], ahead, low, high, teeth)
        if score > 0.0:
            f0 = _refine(places, sizes, count, f0)
        fits[0, row], fits[1, row], fits[2, row] = f0, score, recall
    return fits


def fit_pitches(
    windows: Float32Array,
    proposals_hz: Float64Array,
    ahead: Float64Array,
    *,
    sample_rate: int,
    low_hz: float,
    high_hz: float,
) -> PitchFit:
    """Find the pitch that explains each window best.

    Parameters
    ----------
    windows
        ``(windows, SPECTRUM_LENGTH)`` samples.
    proposals_hz
        ``(windows, proposals)``; NaN where there is none. Peaks of the spectrum propose more.
    ahead
        ``(proposals,)``: what is added to the score of each.
    sample_rate
        In Hz; 8192 samples should last at least 0.3 s, to part the harmonics of a bass.
    low_hz, high_hz
        The range of pitches.

    Returns
    -------
    PitchFit
        Arrays of shape ``(windows,)``.
    """
    taper = np.hanning(SPECTRUM_LENGTH).astype(np.float32)
    # Square roots of magnitude: weak harmonics count for something, and strong ones not for all.
    spectra = np.sqrt(np.abs(scipy.fft.rfft(windows * taper, axis=1)))
    bins_a_hz = SPECTRUM_LENGTH / sample_rate
    low, high = low_hz * bins_a_hz, high_hz * bins_a_hz
    best, scores, recalls = _fit(spectra, proposals_hz * bins_a_hz, ahead, low, high, bins_a_hz)
    return PitchFit(best / bins_a_hz, scores, recalls)
