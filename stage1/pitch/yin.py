"""YIN's difference function (de Cheveigné and Kawahara, 2002), and pYIN's weighing of its troughs.

Sums are taken in the order and the type of ``librosa``'s, so that the results are the same to the
last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.stats

from pipeline.jit import kernel
from pipeline.units import Float64Array, IntArray

__all__ = ["Troughs", "normalised_difference", "weigh_troughs"]


N_THRESHOLDS = 100
BETA_PARAMETERS = (2.0, 18.0)
BOLTZMANN = 2.0
NO_TROUGH_PROBABILITY = 0.01


@dataclass(frozen=True)
class Troughs:
    """The local minima of many frames.

    Parameters
    ----------
    starts
        ``(frames + 1,)``: where those of each frame begin.
    places
        Index into the frame.
    probabilities
        That the period is there.
    """

    starts: IntArray
    places: IntArray
    probabilities: Float64Array


@dataclass(frozen=True)
class _Prior:
    weights: Float64Array  # of the thresholds
    below: Float64Array  # sums of the first 0, 1, ... of them
    scale: Float64Array  # by the number of troughs
    decay: Float64Array  # by the position of a trough


@lru_cache(maxsize=4)
def _prior(troughs: int) -> _Prior:
    cdf = scipy.stats.beta.cdf(np.linspace(0, 1, N_THRESHOLDS + 1), *BETA_PARAMETERS)
    weights = np.diff(cdf)
    count = np.arange(troughs + 1)
    with np.errstate(divide="ignore"):
        scale = (1.0 - np.exp(-BOLTZMANN)) / (1.0 - np.exp(-BOLTZMANN * count))
    return _Prior(
        weights=weights,
        below=np.array([np.sum(weights[:n]) for n in range(N_THRESHOLDS + 1)]),
        scale=scale,
        decay=np.exp(-BOLTZMANN * count),
    )


def normalised_difference(
    frames: npt.NDArray[np.floating], min_period: int, max_period: int
) -> Float64Array:
    """Cumulative mean normalised difference (YIN, eq. 8).

    Parameters
    ----------
    frames
        ``(frames, samples)``, float32 or float64.
    min_period, max_period
        In samples.

    Returns
    -------
    ndarray, shape (frames, periods)
    """
    length = frames.shape[1]
    padded = scipy.fft.next_fast_len(2 * length - 1, real=True)
    spectrum = scipy.fft.rfft(frames, padded, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    acf = scipy.fft.irfft(power, padded, axis=1, overwrite_x=True)
    result = np.empty((len(frames), max_period - min_period + 1))
    _normalise(frames, acf, min_period, max_period, result)
    return result


@kernel
def _normalise(
    frames: npt.NDArray[np.floating],
    acf: npt.NDArray[np.floating],
    min_period: int,
    max_period: int,
    result: Float64Array,
) -> None:
    """Fill ``result`` (frames, periods), summing as librosa does: in the type of the frames."""
    tiny = np.finfo(np.float64).tiny
    for t in range(frames.shape[0]):
        zero = acf[t, 0] - acf[t, 0]
        energy = frames[t, 0] * frames[t, 0]
        total = zero
        for period in range(1, max_period + 1):
            half = acf[t, 0] - acf[t, period]
            # librosa's d(1) leaves out y(0)².
            difference = half + half - (zero if period == 1 else energy)
            energy += frames[t, period] * frames[t, period]
            total += difference
            if period >= min_period:
                result[t, period - min_period] = difference / (total / period + tiny)


@kernel
def _find_troughs(
    difference: Float64Array, starts: IntArray, troughs: IntArray, lowest: IntArray
) -> None:
    """Fill ``troughs`` frame by frame from ``starts``, and ``lowest`` with the deepest of each."""
    count = 0
    n = difference.shape[1]
    for t in range(difference.shape[0]):
        frame = difference[t]
        starts[t] = count
        lowest[t] = count
        for i in range(n):
            if i == 0:
                is_trough = frame[0] < frame[1]
            elif i == n - 1:
                is_trough = frame[i] < frame[i - 1]
            else:
                is_trough = frame[i] < frame[i - 1] and frame[i] <= frame[i + 1]
            if is_trough:
                troughs[count] = i
                if frame[i] < frame[troughs[lowest[t]]]:
                    lowest[t] = count
                count += 1
    starts[difference.shape[0]] = count


@kernel
def _fill_prior(
    frame: Float64Array,
    troughs: IntArray,
    scale: Float64Array,
    decay: Float64Array,
    prior: Float64Array,
) -> int:
    """Fill ``prior`` (troughs, thresholds); return how many thresholds have no trough below.

    A Boltzmann distribution over the troughs below each threshold: shorter periods first.
    """
    steps = prior.shape[1]
    prior[: troughs.size] = 0.0
    below = np.empty(troughs.size, np.int64)
    unreached = 0
    reachable = 0
    for k in range(troughs.size):
        if frame[troughs[k]] < 1.0:  # the highest threshold
            below[reachable] = k
            reachable += 1
    # From the highest threshold down fewer and fewer troughs remain.
    for j in range(steps - 1, -1, -1):
        threshold = (j + 1) / steps
        remaining = 0
        for r in range(reachable):
            if frame[troughs[below[r]]] < threshold:
                below[remaining] = below[r]
                remaining += 1
        reachable = remaining
        if reachable == 0:
            unreached = j + 1
            break
        for r in range(reachable):
            prior[below[r], j] = scale[reachable] * decay[r]
    return unreached


def weigh_troughs(difference: Float64Array) -> Troughs:
    """Find the troughs of each frame and how probable each is, over all thresholds.

    Two paths through unvoiced frames are often equally probable but for the last bit. To find
    librosa's own, the product with the thresholds' weights is BLAS's, a frame at a time.

    Parameters
    ----------
    difference
        ``(frames, periods)``, from :func:`normalised_difference`.

    Returns
    -------
    Troughs
    """
    count, periods = difference.shape
    starts, lowest = np.empty(count + 1, np.int64), np.empty(count, np.int64)
    troughs = np.empty(difference.size // 2 + count, np.int64)
    _find_troughs(difference, starts, troughs, lowest)
    probabilities = np.empty(starts[-1])
    table = _prior(periods)
    prior = np.empty((int(np.diff(starts).max()), N_THRESHOLDS))
    bounds = starts.tolist()
    for t, frame in enumerate(difference):
        first, last = bounds[t], bounds[t + 1]
        if first == last:
            continue
        unreached = _fill_prior(frame, troughs[first:last], table.scale, table.decay, prior)
        np.dot(prior[: last - first], table.weights, out=probabilities[first:last])
        probabilities[lowest[t]] += NO_TROUGH_PROBABILITY * table.below[unreached]
    return Troughs(starts, troughs[: starts[-1]], probabilities)
