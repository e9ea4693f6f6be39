"""What is known of the stems of a session before any setting: cross-spectra, envelopes, levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.signal
from threadpoolctl import threadpool_limits

from pipeline.console.response import decorrelator_response
from pipeline.loudness.meter import integrated_loudness, k_weighting
from pipeline.units import Float32Array, Float64Array, FloatArray, IntArray
from stage2.style.envelopes import analysis_window, band_envelope
from stage2.style.measure import FineBands, fft_size

__all__ = ["Digest", "digest_stems", "frame_powers", "k_power"]

_THREADS = 2
# What a high-pass may take of a stem's power.
_RUMBLE_SHARE = 0.01
_BLOCK = 32  # style frames at a time


@dataclass(frozen=True)
class Digest:
    """What the band model knows of the stems of one session.

    Parameters
    ----------
    cross
        Cross-spectra of the signals (mid, side, decorrelated side of each stem in turn), mean
        power per fine band, complex, ``(bands, 3 * stems, 3 * stems)``.
    envelope
        Mean power per control frame and coarse band, ``(stems, frames, coarse)``.
    frames
        Power per style frame and fine band, ``(stems, frames, bands)``: for references that are
        mixes of the same song.
    level_offset_lu
        Integrated loudness less the K-weighted mean level, ``(stems,)``: what gating adds.
    """

    sample_rate: int
    bands: FineBands
    cross: npt.NDArray[np.complex128]
    envelope: Float64Array
    frames: Float64Array
    level_offset_lu: Float64Array
    frame_s: float

    @property
    def loudness_lufs(self) -> Float64Array:
        """Integrated loudness of each stem, ``(stems,)``; very low for silence."""
        weights = k_power(self.bands.centre_hz, self.sample_rate)
        mean = 2.0 * self.frames.mean(axis=1) @ weights
        level: Float64Array = 10.0 * np.log10(mean + 1e-12) - 0.691 + self.level_offset_lu
        return level

    def lowest_hz(self) -> Float64Array:
        """Return under which frequency each stem has nearly nothing, ``(stems,)`` in Hz."""
        power = self.frames.mean(axis=1)  # (stems, bands)
        share = np.cumsum(power, axis=1) / np.maximum(power.sum(axis=1, keepdims=True), 1e-20)
        first = np.minimum((share < _RUMBLE_SHARE).sum(axis=1), self.bands.centre_hz.size - 1)
        return np.asarray(self.bands.centre_hz[first])

    @property
    def stems(self) -> int:
        """How many stems there are."""
        return int(self.envelope.shape[0])


def frame_powers(audio: FloatArray, *, sample_rate: int, bands: FineBands) -> Float64Array:
    """Return the power ``(left² + right²) / 2`` per style frame and fine band.

    Parameters
    ----------
    audio
        ``(2, frames)``.

    Returns
    -------
    Float64Array
        ``(style frames, bands)``.
    """
    size = fft_size(sample_rate)
    spectra = _spectra(audio, size, size // 2)
    _, scale = analysis_window(size)
    power = np.square(np.abs(spectra)).sum(axis=0, dtype=np.float64) / 2.0  # (frames, bins)
    return power @ bands.weights.T / scale


def _spectra(audio: FloatArray, size: int, hop: int) -> npt.NDArray[np.complex64]:
    """Return windowed spectra, ``(channels, frames, bins)``."""
    if audio.shape[1] < size:
        audio = np.pad(audio, ((0, 0), (0, size - audio.shape[1])))
    framed = np.lib.stride_tricks.sliding_window_view(audio, size, axis=1)[:, ::hop]
    return np.asarray(scipy.fft.rfft(framed * analysis_window(size)[0], axis=-1))


def k_power(frequencies_hz: Float64Array, sample_rate: int) -> Float64Array:
    """Return the K-weighting's power gain at frequencies."""
    _, response = scipy.signal.freqz_sos(
        k_weighting(sample_rate), worN=frequencies_hz, fs=sample_rate
    )
    return np.square(np.abs(response))


@threadpool_limits.wrap(limits=1, user_api="blas")  # sums must not follow from the machine
def digest_stems(stems: Sequence[FloatArray], *, sample_rate: int) -> Digest:
    """Return the digest of stems that play together.

    Parameters
    ----------
    stems
        Each ``(2, frames)``, all of one length.
    sample_rate
        In Hz.
    """
    bands = FineBands.at(sample_rate)
    size = fft_size(sample_rate)
    count = len(stems)
    length = max(stems[0].shape[1], size)
    starts = range(0, length - size + 1, size // 2)
    blocks = [starts[first : first + _BLOCK] for first in range(0, len(starts), _BLOCK)]
    powers = partial(_block_powers, stems, _Weights.of(bands, sample_rate), sample_rate)

    def envelope_and_loudness(stem: FloatArray) -> tuple[Float64Array, float]:
        envelope = band_envelope(stem, sample_rate=sample_rate)
        return envelope, integrated_loudness(stem, sample_rate=sample_rate)

    cross = np.zeros((bands.centre_hz.size, 3 * count, 3 * count), dtype=np.complex128)
    with ThreadPoolExecutor(_THREADS) as pool:
        heard = pool.map(envelope_and_loudness, stems)
        parts = []
        for added, own in pool.map(powers, blocks):  # in order, so that sums never differ
            cross += added
            parts.append(own)
        envelopes, loudness = zip(*heard, strict=True)
    frames = np.concatenate(parts, axis=1)
    cross /= analysis_window(size)[1] * len(starts)
    return Digest(
        sample_rate=sample_rate,
        bands=bands,
        cross=cross,
        envelope=np.stack(envelopes),
        frames=frames,
        level_offset_lu=_level_offsets_lu(frames, loudness, bands, sample_rate),
        frame_s=size // 2 / sample_rate,
    )


@dataclass(frozen=True)
class _Weights:
    """Of each fine band the span of its bins, and the roots of how much of them falls into it."""

    bands: FineBands
    spans: list[IntArray]
    roots: list[Float32Array]
    spread: npt.NDArray[np.complex128]  # the decorrelator's response, (bins,)

    @classmethod
    def of(cls, bands: FineBands, sample_rate: int) -> Self:
        size = fft_size(sample_rate)
        frequency = np.arange(size // 2 + 1) * sample_rate / size
        spans = [np.flatnonzero(row) for row in bands.weights]
        roots = [
            np.sqrt(row[span]).astype(np.float32)
            for row, span in zip(bands.weights, spans, strict=True)
        ]
        spread = decorrelator_response(sample_rate=sample_rate, frequencies_hz=frequency)
        return cls(bands, spans, roots, spread)


def _block_powers(
    stems: Sequence[FloatArray], weights: _Weights, sample_rate: int, starts: Sequence[int]
) -> tuple[npt.NDArray[np.complex64], Float64Array]:
    """Return what style frames add to the cross-spectra, and each stem's own powers in them.

    Shapes ``(bands, 3 * stems, 3 * stems)`` and ``(stems, frames, bands)``.
    """
    size = fft_size(sample_rate)
    _, scale = analysis_window(size)
    bands, count = weights.bands, len(stems)
    signals = np.empty((3 * count, len(starts), size // 2 + 1), dtype=np.complex64)
    own = np.empty((count, len(starts), bands.centre_hz.size))
    for index, stem in enumerate(stems):
        left, right = _spectra(stem[:, starts[0] : starts[-1] + size], size, size // 2)
        signals[3 * index] = (left + right) / 2.0
        signals[3 * index + 1] = (left - right) / 2.0
        signals[3 * index + 2] = signals[3 * index] * weights.spread
        power = (np.square(np.abs(left)) + np.square(np.abs(right))) / 2.0
        own[index] = power @ bands.weights.T / scale
    added = np.zeros((bands.centre_hz.size, 3 * count, 3 * count), dtype=np.complex64)
    for band, (span, root) in enumerate(zip(weights.spans, weights.roots, strict=True)):
        if span.size:
            part = signals[:, :, span[0] : span[-1] + 1] * root
            part = part.reshape(3 * count, -1)  # (signals, frames * bins)
            added[band] = part @ part.conj().T
    return added, own


def _level_offsets_lu(
    frames: Float64Array, loudness_lufs: Sequence[float], bands: FineBands, sample_rate: int
) -> Float64Array:
    """Return integrated loudness less the K-weighted mean level, ``(stems,)``; 0 for silence."""
    weights = k_power(bands.centre_hz, sample_rate)
    offsets = np.zeros(len(frames))
    for index, lufs in enumerate(loudness_lufs):
        mean = 2.0 * float(np.sum(frames[index].mean(axis=0) * weights))
        if math.isfinite(lufs) and mean > 0.0:
            offsets[index] = lufs - (10.0 * math.log10(mean) - 0.691)
    return offsets
