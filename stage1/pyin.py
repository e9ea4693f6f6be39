"""Probabilistic YIN (Mauch and Dixon, ICASSP 2014) as ``librosa.pyin`` defines it, made fast.

Nearly all the time of ``librosa.pyin`` goes into a dense Viterbi search over a transition matrix
that is zero outside a narrow band. Here the search stays inside the band and yet returns the same
path: ``librosa`` gives a forbidden transition the cost ``log(tiny)``, not minus infinity, so where
the best state of all, at that cost, would win, the search falls back on all states.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import librosa
import numba
import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.stats

__all__ = ["PitchFrames", "pyin"]

Float64Array = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]

N_THRESHOLDS = 100
BETA_PARAMETERS = (2.0, 18.0)
BOLTZMANN = 2.0
BINS_PER_SEMITONE = 10
MAX_TRANSITION_RATE = 35.92
"""Octaves a second."""
SWITCH_PROBABILITY = 0.01
NO_TROUGH_PROBABILITY = 0.01
LOG_TINY = float(np.log(np.finfo(np.float64).tiny))
BATCH_FRAMES = 2048


@dataclass(frozen=True)
class PitchFrames:
    """f0 frame by frame.

    Parameters
    ----------
    f0_hz
        The frequency of the decoded state, also where the frame is not voiced.
    voiced
        True where the frame is voiced.
    probability
        The probability of voicing, 0 to 1.
    """

    f0_hz: Float64Array
    voiced: npt.NDArray[np.bool_]
    probability: Float64Array


@dataclass(frozen=True)
class _Model:
    """Everything of the hidden Markov model that depends on the settings alone."""

    min_period: int
    max_period: int
    bins: int
    band: Float64Array  # (2, width, bins): log P(bin + offset -> bin), staying and switching
    threshold_weights: Float64Array
    bin_hz: Float64Array


@lru_cache(maxsize=8)
def _model(
    sample_rate: int, fmin_hz: float, fmax_hz: float, frame_length: int, hop_length: int
) -> _Model:
    bins = math.floor(12 * BINS_PER_SEMITONE * np.log2(fmax_hz / fmin_hz)) + 1
    semitones = round(MAX_TRANSITION_RATE * 12 * hop_length / sample_rate)
    width = semitones * BINS_PER_SEMITONE + 1
    # librosa's own matrix, so that ties between paths fall the same way.
    local = librosa.sequence.transition_local(bins, width, window="triangle", wrap=False)
    band = np.full((2, width, bins), -np.inf)
    for offset in range(width):
        source = np.arange(bins) + offset - width // 2
        inside = (source >= 0) & (source < bins)
        step = local[source[inside], np.flatnonzero(inside)]
        tiny = np.finfo(np.float64).tiny
        band[0, offset, inside] = np.log((1.0 - SWITCH_PROBABILITY) * step + tiny)
        band[1, offset, inside] = np.log((1.0 - (1.0 - SWITCH_PROBABILITY)) * step + tiny)
    cdf = scipy.stats.beta.cdf(np.linspace(0, 1, N_THRESHOLDS + 1), *BETA_PARAMETERS)
    return _Model(
        min_period=math.floor(sample_rate / fmax_hz),
        max_period=min(math.ceil(sample_rate / fmin_hz), frame_length - 1),
        bins=bins,
        band=band,
        threshold_weights=np.diff(cdf),
        bin_hz=fmin_hz * 2 ** (np.arange(bins) / (12 * BINS_PER_SEMITONE)),
    )


def _normalised_difference(
    frames: npt.NDArray[np.floating], min_period: int, max_period: int
) -> npt.NDArray[np.floating]:
    """Cumulative mean normalised difference (YIN, eq. 8) of frames ``(n, frame_length)``."""
    length = frames.shape[1]
    padded = scipy.fft.next_fast_len(2 * length - 1, real=True)
    spectrum = scipy.fft.rfft(frames, padded, axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    acf = scipy.fft.irfft(power, padded, axis=1)[:, : max_period + 1]
    energy = np.cumsum(frames[:, :max_period] ** 2, axis=1)
    energy[:, 0] = 0.0  # as librosa does: its d(1) leaves out y(0)²
    difference = 2 * (acf[:, :1] - acf[:, 1:]) - energy
    periods = np.arange(1, max_period + 1)
    mean = np.cumsum(difference, axis=1) / periods
    mean = mean[:, min_period - 1 : max_period]
    tiny = np.finfo(frames.dtype).tiny
    return np.ascontiguousarray(difference[:, min_period - 1 : max_period] / (mean + tiny))


@numba.njit(cache=True, nogil=True)
def _observe(
    frame: npt.NDArray[np.floating],
    weights: Float64Array,
    min_period: int,
    bins: int,
    sample_rate: float,
    fmin_hz: float,
    observed: Float64Array,
) -> float:
    """Fill ``observed`` (bins,) with the probability of each pitch; return that of voicing."""
    n = frame.size
    observed[:] = 0.0
    troughs = np.empty(n, np.int64)
    count = 0
    for i in range(n):
        if i == 0:
            is_trough = frame[0] < frame[1]
        elif i == n - 1:
            is_trough = frame[i] < frame[i - 1]
        else:
            is_trough = frame[i] < frame[i - 1] and frame[i] <= frame[i + 1]
        if is_trough:
            troughs[count] = i
            count += 1
    if count == 0:
        return 0.0
    probabilities = np.zeros(count)
    lowest = 0
    for k in range(1, count):
        if frame[troughs[k]] < frame[troughs[lowest]]:
            lowest = k
    steps = weights.size
    unreached = 0.0
    decay = np.exp(-BOLTZMANN)
    for j in range(steps):
        threshold = (j + 1) / steps
        below = 0
        for k in range(count):
            if frame[troughs[k]] < threshold:
                below += 1
        if below == 0:
            unreached += weights[j]
            continue
        # Truncated Boltzmann prior over the troughs below the threshold: shorter periods first.
        prior = (1.0 - decay) / (1.0 - np.exp(-BOLTZMANN * below)) * weights[j]
        for k in range(count):
            if frame[troughs[k]] < threshold:
                probabilities[k] += prior
                prior *= decay
    probabilities[lowest] += NO_TROUGH_PROBABILITY * unreached
    for k in range(count):
        if probabilities[k] == 0.0:
            continue
        i = troughs[k]
        shift = 0.0
        if 0 < i < n - 1:
            a = frame[i + 1] + frame[i - 1] - 2 * frame[i]
            b = (frame[i + 1] - frame[i - 1]) / 2
            if abs(b) < abs(a):
                shift = -b / a
        period = min_period + i + shift
        place = 12 * BINS_PER_SEMITONE * np.log2(sample_rate / period / fmin_hz)
        bin_index = max(int(np.rint(place)), 0)
        if bin_index < bins:
            observed[bin_index] = probabilities[k]
    return min(max(observed.sum(), 0.0), 1.0)


@numba.njit(cache=True, nogil=True)
def _best_source(value: Float64Array, band: Float64Array, state: int) -> tuple[int, float]:
    """Return the first best predecessor of ``state`` among all, and its score."""
    bins = band.shape[2]
    half = band.shape[1] // 2
    column = state % bins
    best = 0
    best_score = -np.inf
    for source in range(2 * bins):
        offset = source % bins - column + half
        score = value[source] + LOG_TINY
        if 0 <= offset < band.shape[1]:
            switching = 0 if (source < bins) == (state < bins) else 1
            score = value[source] + band[switching, offset, column]
        if score > best_score:
            best = source
            best_score = score
    return best, best_score


@numba.njit(cache=True, nogil=True)
def _relax(
    voiced: Float64Array,
    unvoiced: Float64Array,
    stay: Float64Array,
    switch: Float64Array,
    to_voiced: Float64Array,
    to_unvoiced: Float64Array,
) -> None:
    """Improve the scores of adjacent states by the steps from one distance away."""
    # Plain comparisons on slices from index 0: max() and offset indices would not vectorise.
    for j in range(voiced.size):
        a = voiced[j] + stay[j]
        b = unvoiced[j] + switch[j]
        a = a if a > b else b
        to_voiced[j] = a if a > to_voiced[j] else to_voiced[j]
        a = voiced[j] + switch[j]
        b = unvoiced[j] + stay[j]
        a = a if a > b else b
        to_unvoiced[j] = a if a > to_unvoiced[j] else to_unvoiced[j]


@numba.njit(cache=True, nogil=True)
def _decode(log_observed: Float64Array, band: Float64Array) -> npt.NDArray[np.int64]:
    """Return the most probable path through ``log_observed`` (frames, 2 * bins)."""
    frames, states = log_observed.shape
    bins = states // 2
    width = band.shape[1]
    half = width // 2
    value = np.empty((frames, states))
    value[0] = log_observed[0] + np.log(1.0 / states + np.finfo(np.float64).tiny)
    best = np.empty(states)
    for t in range(1, frames):
        before = value[t - 1]
        limit = before.max() + LOG_TINY
        best[:] = -np.inf
        for offset in range(width):
            shift = offset - half
            start = max(0, -shift)
            stop = min(bins, bins - shift)
            _relax(
                before[start + shift : stop + shift],
                before[bins + start + shift : bins + stop + shift],
                band[0, offset, start:stop],
                band[1, offset, start:stop],
                best[start:stop],
                best[bins + start : bins + stop],
            )
        for j in range(states):
            score = best[j]
            if limit >= score:
                score = _best_source(before, band, j)[1]
            value[t, j] = log_observed[t, j] + score
    path = np.empty(frames, np.int64)
    path[frames - 1] = np.argmax(value[frames - 1])
    for t in range(frames - 2, -1, -1):
        path[t] = _best_source(value[t], band, path[t + 1])[0]
    return path


@numba.njit(cache=True, nogil=True)
def _track(
    difference: npt.NDArray[np.floating],
    weights: Float64Array,
    band: Float64Array,
    min_period: int,
    sample_rate: float,
    fmin_hz: float,
    probability: Float64Array,
) -> npt.NDArray[np.int64]:
    """Decode one window, ``difference`` (frames, periods); fill ``probability`` (frames,)."""
    frames = difference.shape[0]
    bins = band.shape[2]
    tiny = np.finfo(np.float64).tiny
    log_observed = np.empty((frames, 2 * bins))
    observed = np.empty(bins)
    for t in range(frames):
        voiced = _observe(difference[t], weights, min_period, bins, sample_rate, fmin_hz, observed)
        probability[t] = voiced
        for j in range(bins):
            log_observed[t, j] = np.log(observed[j] + tiny) if observed[j] > 0.0 else LOG_TINY
        log_observed[t, bins:] = np.log((1.0 - voiced) / bins + tiny)
    return _decode(log_observed, band)


def pyin(
    windows: npt.NDArray[np.floating],
    *,
    sample_rate: int,
    fmin_hz: float,
    fmax_hz: float,
    frame_length: int = 2048,
    hop_length: int = 512,
    center: bool = False,
) -> PitchFrames:
    """Estimate f0 frame by frame in one or many windows, each decoded by itself.

    Equal to ``librosa.pyin`` with its default parameters (and ``fill_na=None``) on each window.

    Parameters
    ----------
    windows
        ``(windows, samples)``, float32 or float64, of at least ``frame_length`` samples.
    sample_rate
        In Hz.
    fmin_hz, fmax_hz
        The range of pitches.
    frame_length, hop_length
        In samples.
    center
        Pad each window with half a frame of silence on both sides, as ``librosa`` does by default.

    Returns
    -------
    PitchFrames
        Arrays of shape ``(windows, frames)``.

    Raises
    ------
    ValueError
        If a frame is too short for the period of ``fmin_hz``, or a window for one frame.
    """
    if windows.ndim != 2:
        msg = f"expected windows of shape (windows, samples), got {windows.shape}"
        raise ValueError(msg)
    if sample_rate / fmin_hz >= frame_length - 1:
        msg = f"a frame of {frame_length} samples holds no period of {fmin_hz} Hz at {sample_rate}"
        raise ValueError(msg)
    if center:
        windows = np.pad(windows, ((0, 0), (frame_length // 2, frame_length // 2)))
    if windows.shape[1] < frame_length:
        msg = f"a window of {windows.shape[1]} samples is shorter than a frame of {frame_length}"
        raise ValueError(msg)
    model = _model(sample_rate, fmin_hz, fmax_hz, frame_length, hop_length)
    framed = np.lib.stride_tricks.sliding_window_view(windows, frame_length, axis=1)
    framed = framed[:, ::hop_length]  # (windows, frames, frame_length)
    states = np.empty(framed.shape[:2], np.int64)
    probability = np.empty(framed.shape[:2])
    for index, frames in enumerate(framed):
        parts = [
            _normalised_difference(
                frames[start : start + BATCH_FRAMES], model.min_period, model.max_period
            )
            for start in range(0, len(frames), BATCH_FRAMES)
        ]
        states[index] = _track(
            np.concatenate(parts) if len(parts) > 1 else parts[0],
            model.threshold_weights,
            model.band,
            model.min_period,
            float(sample_rate),
            fmin_hz,
            probability[index],
        )
    return PitchFrames(model.bin_hz[states % model.bins], states < model.bins, probability)
