"""Tracks that are the reference itself, laid into the session to be compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.signal
from scipy.ndimage import uniform_filter1d

from pipeline.audio.samples import FileSamples, Samples
from pipeline.loudness.meter import k_weighting
from pipeline.units import Float32Array, Float64Array
from stage1.sources.coherence import Passages, compare

__all__ = ["copies_of_reference"]


_RATE = 100  # of envelopes, in Hz
_BLOCK_S = 16
_DETAIL_STEPS = 101
_ALIKE = 0.7
_SHORTEST_S = 3.0
_PASSAGES = 6
_COHERENCE, _CORRELATION = 0.8, 0.9


def copies_of_reference(
    reference: Path,
    envelopes: Sequence[Float32Array],
    samples: Callable[[int], Samples],
) -> list[int]:
    """Find the tracks that are a reference, at any level and place, whole or a part of it.

    Parameters
    ----------
    reference
        The finished mix.
    envelopes
        K-weighted power of each 10 ms from the start of its file, one a track.
    samples
        Returns a track by its number.

    Returns
    -------
    list of int
        Their numbers.
    """
    copies = []
    with FileSamples(reference) as whole:
        course = _shape(_envelope(whole))
        for index, envelope in enumerate(envelopes):
            mine = _shape(envelope)
            if min(mine.size, course.size) < _SHORTEST_S * _RATE or not mine.any():
                continue
            alike, later = _placed(mine, course)
            if alike >= _ALIKE and _is_same(samples(index), whole, envelope, later / _RATE):
                copies.append(index)
    return copies


def _envelope(samples: FileSamples) -> Float64Array:
    """Return the K-weighted power of each 10 ms."""
    rate = samples.sample_rate
    filters = k_weighting(rate).copy()  # sosfilt wants to be able to write
    state = np.zeros((filters.shape[0], samples.channels, 2))
    edges = np.round(np.arange(samples.frames * _RATE // rate + 1) * rate / _RATE).astype(int)
    power = np.zeros(edges.size - 1)
    for first in range(0, power.size, _BLOCK_S * _RATE):
        last = min(first + _BLOCK_S * _RATE, power.size)
        block = samples.read_at(int(edges[first]), int(edges[last] - edges[first]))
        weighted, state = scipy.signal.sosfilt(filters, block, axis=1, zi=state)
        sums = np.add.reduceat((weighted**2).sum(axis=0), edges[first:last] - edges[first])
        power[first:last] = sums / np.diff(edges[first : last + 1])
    return power


def _shape(power: npt.NDArray[np.floating]) -> Float64Array:
    shape = np.asarray(power, np.float64) ** 0.25
    return shape - uniform_filter1d(shape, _DETAIL_STEPS, mode="nearest") if shape.size else shape


def _placed(mine: Float64Array, course: Float64Array) -> tuple[float, int]:
    """Return the likeness where two courses lie on each other best, and that place in steps."""
    size = scipy.fft.next_fast_len(mine.size + course.size)

    def spectrum(x: Float64Array) -> npt.NDArray[np.complex128]:
        return np.asarray(scipy.fft.rfft(x, size))

    def there(x: Float64Array) -> Float64Array:
        return np.ones(x.size)

    cross = scipy.fft.irfft(spectrum(course) * spectrum(mine).conj(), size)
    mine_size = scipy.fft.irfft(spectrum(there(course)) * spectrum(mine**2).conj(), size)
    course_size = scipy.fft.irfft(spectrum(course**2) * spectrum(there(mine)).conj(), size)
    overlap = scipy.fft.irfft(spectrum(there(course)) * spectrum(there(mine)).conj(), size)
    enough = overlap >= max(_SHORTEST_S * _RATE, 0.5 * min(mine.size, course.size))
    norm = np.sqrt(np.maximum(mine_size, 0.0) * np.maximum(course_size, 0.0))
    alike = np.where(enough & (norm > 1e-12), cross / np.maximum(norm, 1e-12), -1.0)
    place = int(np.argmax(alike))
    return float(alike[place]), place if place < course.size else place - size


def _is_same(mine: Samples, whole: Samples, envelope: Float32Array, later_s: float) -> bool:
    """Whether a track's loudest seconds are the reference's, ``later_s`` later in it."""
    seconds = np.pad(envelope, (0, -envelope.size % _RATE)).reshape(-1, _RATE).mean(axis=1)
    last_s = min(whole.frames / whole.sample_rate - later_s, seconds.size) - 1.0
    usable = [i for i in np.argsort(-seconds, kind="stable") if -later_s <= i <= last_s]
    times = sorted(float(i) for i in usable[:_PASSAGES])
    passages = Passages()
    match = compare(
        [passages.spectrum(0, mine, 0.0, time) for time in times],
        [passages.spectrum(1, whole, -later_s, time) for time in times],
    )
    return (
        match is not None
        and match.coherence >= _COHERENCE
        and abs(match.correlation) >= _CORRELATION
        and match.agreement >= 0.8
    )
