"""The most probable path of a pitch through frames: Viterbi inside the band of likely steps.

It returns the path that ``librosa.sequence.viterbi`` finds in the whole matrix: ``librosa`` gives a
forbidden transition the cost ``log(tiny)``, not minus infinity, so where the best state of all, at
that cost, would win, it does.
"""

from __future__ import annotations

import numpy as np

from pipeline.jit import kernel
from pipeline.units import Float64Array, IntArray

__all__ = ["decode"]


LOG_TINY = float(np.log(np.finfo(np.float64).tiny))
SEGMENT = 512


@kernel
def _best_source(value: Float64Array, band: Float64Array, state: int) -> int:
    """Return the first best predecessor of ``state`` among all."""
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
    return best


@kernel
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


@kernel
def _emit(
    t: int,
    starts: IntArray,
    bins: IntArray,
    observed: Float64Array,
    unvoiced: Float64Array,
    row: Float64Array,
) -> None:
    """Fill ``row`` (states,) with the logarithms of the probability of each state at ``t``."""
    half = row.size // 2
    row[:half] = LOG_TINY
    for k in range(starts[t], starts[t + 1]):
        row[bins[k]] = observed[k]
    row[half:] = unvoiced[t]


@kernel
def _step(
    before: Float64Array,
    band: Float64Array,
    row: Float64Array,
    best: Float64Array,
    after: Float64Array,
) -> None:
    """Fill ``after`` with the scores of all states one frame after ``before``."""
    states = before.size
    bins = states // 2
    half = band.shape[1] // 2
    limit = before.max() + LOG_TINY
    best[:] = -np.inf
    for offset in range(band.shape[1]):
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
        # The best state of all is inside the band, or a forbidden transition away.
        after[j] = row[j] + max(best[j], limit)


@kernel
def decode(
    first: int,
    frames: int,
    starts: IntArray,
    bins: IntArray,
    observed: Float64Array,
    unvoiced: Float64Array,
    band: Float64Array,
) -> IntArray:
    """Return the most probable path through some of the frames.

    All scores of a long signal would fill the memory: those at every 512th frame are kept, the
    others computed again on the way back.

    Parameters
    ----------
    first, frames
        Which of the frames.
    starts
        ``(all frames + 1,)``: where the observations of each frame begin in ``bins``.
    bins, observed
        Pitch, and logarithm of the probability, of each observation.
    unvoiced
        Logarithm of the probability of each unvoiced state, in each frame.
    band
        ``(2, width, pitches)``: logarithm of the probability of a transition to a pitch from the
        one at an offset, the first without and the second with a switch of voicing.

    Returns
    -------
    ndarray, shape (frames,)
        States: a pitch, plus the number of pitches where unvoiced.
    """
    states = 2 * band.shape[2]
    row, best = np.empty(states), np.empty(states)
    segments = (frames + SEGMENT - 1) // SEGMENT
    kept = np.empty((segments, states))
    _emit(first, starts, bins, observed, unvoiced, row)
    kept[0] = row + np.log(1.0 / states + np.finfo(np.float64).tiny)
    rolling = np.empty((2, states))
    rolling[0] = kept[0]
    for t in range(1, (segments - 1) * SEGMENT + 1):
        _emit(first + t, starts, bins, observed, unvoiced, row)
        _step(rolling[(t - 1) % 2], band, row, best, rolling[t % 2])
        if t % SEGMENT == 0:
            kept[t // SEGMENT] = rolling[t % 2]
    path = np.empty(frames, np.int64)
    value = np.empty((min(SEGMENT, frames), states))
    for segment in range(segments - 1, -1, -1):
        begin = segment * SEGMENT
        end = min(begin + SEGMENT, frames)
        value[0] = kept[segment]
        for t in range(begin + 1, end):
            _emit(first + t, starts, bins, observed, unvoiced, row)
            _step(value[t - 1 - begin], band, row, best, value[t - begin])
        for t in range(end - 1, begin - 1, -1):
            if t == frames - 1:
                path[t] = np.argmax(value[t - begin])
            else:
                path[t] = _best_source(value[t - begin], band, path[t + 1])
    return path
