"""Whether a reference is a mix of this very song, and where it lies on the session's time line.

A rough mix or an earlier release of the same song says more than a style: the level of every
stem at every moment. It is found by correlating onsets in eight bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft

from pipeline.units import Float64Array, FloatArray

__all__ = ["Alignment", "find_alignment"]


_HOP_S = 0.01
_EDGES_HZ = np.asarray((40.0, 120.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 14000.0))
# Mixes of one song correlate above 0.6, and stand out: unrelated loops of one tempo can reach 0.7,
# but then do so at every beat.
_SAME_SONG = 0.6
_STANDS_OUT = 0.965
_PEAK_S = 0.1
_MIN_OVERLAP_S = 5.0


@dataclass(frozen=True)
class Alignment:
    """Where a recording lies on another's time line.

    Parameters
    ----------
    lag_s
        Time of the reference's start on the session's time line; may be negative.
    similarity
        Correlation of the onsets there, -1 to 1.
    runner_up
        The same at the best lag elsewhere.
    """

    lag_s: float
    similarity: float
    runner_up: float = 0.0

    @property
    def same_song(self) -> bool:
        """Whether the two are mixes of the same performance."""
        stands_out = self.runner_up <= _STANDS_OUT * self.similarity
        return self.similarity >= _SAME_SONG and stands_out


def _onsets(audio: FloatArray, sample_rate: int) -> Float64Array:
    """Return rises of the band levels every 10 ms, each band of zero mean, ``(bands, frames)``."""
    hop = round(_HOP_S * sample_rate)
    size = 4 * hop
    mono = audio.mean(axis=0)
    if mono.size < size:
        mono = np.pad(mono, (0, size - mono.size))
    window = np.hanning(size).astype(np.float32)
    edges = np.searchsorted(np.arange(size // 2 + 1) * sample_rate / size, _EDGES_HZ)
    edges = np.unique(np.minimum(edges, size // 2))  # no bands over the Nyquist frequency
    levels = []
    framed = np.lib.stride_tricks.sliding_window_view(mono, size)[::hop]
    for first in range(0, framed.shape[0], 2048):
        power = np.square(np.abs(scipy.fft.rfft(framed[first : first + 2048] * window, axis=-1)))
        levels.append(np.add.reduceat(power, edges[:-1], axis=1))
    level = np.log10(np.concatenate(levels).T + 1e-6 * size)
    rise = np.maximum(np.diff(level, axis=1, prepend=level[:, :1]), 0.0)
    return np.asarray(rise - rise.mean(axis=1, keepdims=True), dtype=np.float64)


def find_alignment(
    passages: Sequence[tuple[float, FloatArray]], reference: FloatArray, *, sample_rate: int
) -> Alignment:
    """Find where ``reference`` lies on the time line of the passages.

    Parameters
    ----------
    passages
        Start in seconds and audio ``(channels, frames)`` of each passage of the session.
    reference
        ``(channels, frames)``, at the same sample rate.
    sample_rate
        In Hz.

    Returns
    -------
    Alignment
        The best lag with an overlap of at least 5 s (or half of the shorter recording).
    """
    other = _onsets(reference, sample_rate)
    step_s = round(_HOP_S * sample_rate) / sample_rate
    pieces = [(round(start / step_s), _onsets(audio, sample_rate)) for start, audio in passages]
    end = max(first + piece.shape[1] for first, piece in pieces)
    own = np.zeros((other.shape[0], end))
    known = np.zeros((1, end))
    for first, piece in pieces:
        own[:, first : first + piece.shape[1]] = piece
        known[:, first : first + piece.shape[1]] = 1.0
    size = scipy.fft.next_fast_len(end + other.shape[1] - 1, real=True)

    def correlate(a: Float64Array, b: Float64Array) -> Float64Array:
        spectra = scipy.fft.rfft(a, size, axis=-1) * np.conj(scipy.fft.rfft(b, size, axis=-1))
        return np.asarray(scipy.fft.irfft(spectra, size, axis=-1))

    whole = np.ones((1, other.shape[1]))
    product = correlate(own, other).sum(axis=0)
    energy_own = correlate(np.square(own), whole).sum(axis=0)
    energy_other = correlate(known, np.square(other)).sum(axis=0)
    overlap = correlate(known, whole)[0]
    enough = min(_MIN_OVERLAP_S / step_s, known.sum() / 2.0, other.shape[1] / 2.0)
    power = np.maximum(energy_own, 0.0) * np.maximum(energy_other, 0.0)
    valid = (overlap > enough - 0.5) & (power > 1e-9 * max(float(power.max()), 1e-30))
    if not valid.any():
        return Alignment(0.0, 0.0)
    score = np.where(valid, product / np.sqrt(np.where(valid, power, 1.0)), -1.0)
    best = int(np.argmax(score))
    lag = best if best < end else best - size
    away = np.abs(np.arange(size) - best)
    elsewhere = score[np.minimum(away, size - away) > _PEAK_S / step_s]
    runner_up = float(elsewhere.max()) if elsewhere.size else 0.0
    return Alignment(lag * step_s, float(np.clip(score[best], -1.0, 1.0)), runner_up)
