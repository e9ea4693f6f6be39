"""Probabilistic YIN (Mauch and Dixon, ICASSP 2014) as ``librosa.pyin`` defines it, made fast.

Nearly all the time of ``librosa.pyin`` goes into a dense Viterbi search over a transition matrix
that is zero outside a narrow band: :mod:`stage1.pitch.viterbi` searches the band alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import librosa
import numpy as np
import numpy.typing as npt

from pipeline.jit import kernel
from pipeline.units import Float64Array, IntArray
from stage1.pitch.viterbi import decode
from stage1.pitch.yin import normalised_difference, weigh_troughs

__all__ = ["PitchFrames", "pyin", "pyin_track"]


BINS_PER_SEMITONE = 10
MAX_TRANSITION_RATE = 35.92
"""Octaves a second."""
SWITCH_PROBABILITY = 0.01
TINY = np.finfo(np.float64).tiny
BATCH_FRAMES = 256


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
        band[0, offset, inside] = np.log((1.0 - SWITCH_PROBABILITY) * step + TINY)
        band[1, offset, inside] = np.log((1.0 - (1.0 - SWITCH_PROBABILITY)) * step + TINY)
    return _Model(
        min_period=math.floor(sample_rate / fmax_hz),
        max_period=min(math.ceil(sample_rate / fmin_hz), frame_length - 1),
        bins=bins,
        band=band,
        bin_hz=fmin_hz * 2 ** (np.arange(bins) / (12 * BINS_PER_SEMITONE)),
    )


@kernel
def _place(
    difference: Float64Array,
    starts: IntArray,
    troughs: IntArray,
    probabilities: Float64Array,
    min_period: int,
    sample_rate: float,
    fmin_hz: float,
    bins: int,
) -> tuple[Float64Array, Float64Array]:
    """Return the probability of each pitch ``(frames, bins)``, and of voicing ``(frames,)``."""
    frames, n = difference.shape
    observed, voicing = np.zeros((frames, bins)), np.empty(frames)
    for t in range(frames):
        frame = difference[t]
        for k in range(starts[t], starts[t + 1]):
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
                observed[t, bin_index] = probabilities[k]
        total = 0.0
        for j in range(bins):
            total += observed[t, j]
        voicing[t] = min(max(total, 0.0), 1.0)
    return observed, voicing


def _observe(
    difference: Float64Array, model: _Model, sample_rate: int, fmin_hz: float
) -> tuple[Float64Array, Float64Array]:
    """Return the probability of each pitch ``(frames, bins)``, and of voicing ``(frames,)``."""
    troughs = weigh_troughs(difference)
    return _place(
        difference, troughs.starts, troughs.places, troughs.probabilities, model.min_period,
        float(sample_rate), fmin_hz, model.bins,
    )  # fmt: skip


def _track(
    blocks: Iterable[npt.NDArray[np.floating]],
    windows: int,
    model: _Model,
    sample_rate: int,
    fmin_hz: float,
) -> PitchFrames:
    """Observe frames, ``(n, frame_length)`` a block, and decode them in so many equal windows."""
    counts, bins, shown, unvoiced, probabilities = [], [], [], [], []
    for block in blocks:
        difference = normalised_difference(block, model.min_period, model.max_period)
        observed, probability = _observe(difference, model, sample_rate, fmin_hz)
        rows, columns = np.nonzero(observed)
        counts.append(np.bincount(rows, minlength=len(block)))
        bins.append(columns)
        shown.append(np.log(observed[rows, columns] + TINY))
        unvoiced.append(np.log((1.0 - probability) / model.bins + TINY))
        probabilities.append(probability)
    starts = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    emitted = np.concatenate(bins), np.concatenate(shown), np.concatenate(unvoiced)
    probability = np.concatenate(probabilities)
    frames = probability.size // windows
    states = np.stack(
        [decode(window * frames, frames, starts, *emitted, model.band) for window in range(windows)]
    )  # (windows, frames)
    return PitchFrames(
        model.bin_hz[states % model.bins],
        states < model.bins,
        probability.reshape(windows, frames),
    )


def _check(sample_rate: int, fmin_hz: float, frame_length: int) -> None:
    if sample_rate / fmin_hz >= frame_length - 1:
        msg = f"a frame of {frame_length} samples holds no period of {fmin_hz} Hz at {sample_rate}"
        raise ValueError(msg)


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
    _check(sample_rate, fmin_hz, frame_length)
    if center:
        windows = np.pad(windows, ((0, 0), (frame_length // 2, frame_length // 2)))
    if windows.shape[1] < frame_length:
        msg = f"a window of {windows.shape[1]} samples is shorter than a frame of {frame_length}"
        raise ValueError(msg)
    model = _model(sample_rate, fmin_hz, fmax_hz, frame_length, hop_length)
    framed = np.lib.stride_tricks.sliding_window_view(windows, frame_length, axis=1)
    framed = framed[:, ::hop_length]  # (windows, frames, frame_length)
    rows = framed[0] if len(framed) == 1 else None
    count = framed.shape[0] * framed.shape[1]

    def block(start: int) -> npt.NDArray[np.floating]:
        if rows is not None:
            return rows[start : start + BATCH_FRAMES]
        index = np.arange(start, min(start + BATCH_FRAMES, count))
        return framed[index // framed.shape[1], index % framed.shape[1]]

    blocks = (block(start) for start in range(0, count, BATCH_FRAMES))
    return _track(blocks, framed.shape[0], model, sample_rate, fmin_hz)


def pyin_track(
    read: Callable[[int, int], npt.NDArray[np.floating]],
    length: int,
    *,
    sample_rate: int,
    fmin_hz: float,
    fmax_hz: float,
    frame_length: int = 2048,
    hop_length: int = 512,
) -> PitchFrames:
    """Estimate f0 frame by frame in a signal of any length, read piece by piece.

    Equal to :func:`pyin` with ``center=True`` on the whole signal. It keeps some 0.4 KB a frame.

    Parameters
    ----------
    read
        Returns mono samples from a start, so many; zeros before and after the signal.
    length
        Of the signal, in samples.
    sample_rate, fmin_hz, fmax_hz, frame_length, hop_length
        As for :func:`pyin`.

    Returns
    -------
    PitchFrames
        Arrays of shape ``(1, frames)``.

    Raises
    ------
    ValueError
        If a frame is too short for the period of ``fmin_hz``.
    """
    _check(sample_rate, fmin_hz, frame_length)
    model = _model(sample_rate, fmin_hz, fmax_hz, frame_length, hop_length)
    frames = 1 + length // hop_length

    def block(first: int) -> npt.NDArray[np.floating]:
        count = min(BATCH_FRAMES, frames - first)
        piece = read(
            first * hop_length - frame_length // 2, (count - 1) * hop_length + frame_length
        )
        return np.lib.stride_tricks.sliding_window_view(piece, frame_length)[::hop_length]

    blocks = (block(first) for first in range(0, frames, BATCH_FRAMES))
    return _track(blocks, 1, model, sample_rate, fmin_hz)
