"""How two recordings relate in their waveforms: delay, polarity, correlation and level.

A few passages where both play loudest are compared. Each third of an octave counts alike, so that
the delay is read from the whole range and not from a few strong low notes; the correlation that
their sum knows is weighted as loudness is.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.signal

from pipeline.audio.samples import Samples
from pipeline.loudness.meter import k_weighting
from pipeline.units import ComplexArray, Float64Array, power_to_db

__all__ = [
    "BIN_HZ",
    "LONGEST_LAG_MS",
    "PASSAGE_S",
    "Match",
    "Passages",
    "compare",
    "in_thirds",
    "joint_passages",
    "spectral_weight",
]


PASSAGE_S = 1
PASSAGES = 6
LONGEST_LAG_MS = 40.0

# Padded to twice its length a passage has a bin each 0.5 Hz at any sample rate: two files of
# different rates are compared bin by bin, without resampling.
_PADDED_S = 2 * PASSAGE_S
_LOWEST_HZ, _HIGHEST_HZ = 45.0, 7120.0
_BINS = np.arange(round(_LOWEST_HZ * _PADDED_S), round(_HIGHEST_HZ * _PADDED_S))
BIN_HZ = _BINS / _PADDED_S
"""The frequency of each bin of a passage's spectrum."""
_BANDS_HZ = 1000.0 * 2.0 ** ((np.arange(-13, 9) - 0.5) / 3.0)
# Where each third of an octave begins among the bins, and how many bins it has.
_EDGES = np.searchsorted(BIN_HZ, _BANDS_HZ)
_WIDTHS = np.diff(_EDGES, append=BIN_HZ.size)
_BAND_RANGE_DB = 35.0
_FEWEST_BANDS = 3
_FADE_S = 0.01
_LAG_RATE = 32768  # of the correlation function, in Hz
_LAG_FRAMES = math.ceil(LONGEST_LAG_MS * _LAG_RATE / 1000.0)
_KEPT = 128  # spectra of passages, 0.1 MB a channel
_QUIETEST = 1e-3  # of the loudest passage, in power


@dataclass(frozen=True)
class Match:
    """How the second of two recordings stands to the first.

    Parameters
    ----------
    delay_ms
        How much later the second is; within ±40.
    coherence
        Mean over thirds of an octave of the normalised correlation at that delay, 0 to 1.
    correlation
        The normalised correlation at that delay, K-weighted; negative for opposite polarity.
    at_zero
        The same as the files stand, without the delay: what their sum knows of.
    level_db
        K-weighted level of the second against the first.
    agreement
        Share of the passages that agree with the delay and the sign.
    passages
        How many were compared.
    """

    delay_ms: float
    coherence: float
    correlation: float
    at_zero: float
    level_db: float
    agreement: float
    passages: int


@cache
def _loudness_weight() -> Float64Array:
    _, response = scipy.signal.sosfreqz(k_weighting(48000), BIN_HZ, fs=48000)
    return np.asarray(np.abs(response) ** 2)


class Passages:
    """Spectra of passages of a track, read once as long as they are wanted again.

    Parameters
    ----------
    kept
        How many spectra to hold at most.
    """

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._held: OrderedDict[tuple[int, float], ComplexArray] = OrderedDict()

    def spectrum(
        self, track: int, samples: Samples, offset_s: float, time_s: float
    ) -> ComplexArray:
        """Return the spectrum of a second of a track.

        Parameters
        ----------
        track
            A number that it is held by.
        offset_s, time_s
            Where the track and the passage start on the session's time line.

        Returns
        -------
        ndarray, shape (channels, bins), complex64
            A bin each 0.5 Hz from 45 Hz; zeros above the file's Nyquist frequency.
        """
        key = (track, time_s)
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        rate = samples.sample_rate
        wanted = (time_s - offset_s) * rate
        start = round(wanted)
        audio = np.array(samples.read_at(start, PASSAGE_S * rate), np.float32)
        fade = max(round(_FADE_S * rate), 1)
        ramp = np.linspace(0.0, 1.0, fade, endpoint=False, dtype=np.float32)
        audio[:, :fade] *= ramp
        audio[:, audio.shape[1] - fade :] *= ramp[::-1]
        whole = scipy.fft.rfft(audio, _PADDED_S * rate, axis=1)
        bins = np.zeros((audio.shape[0], _BINS.size), np.complex64)
        known = min(_BINS.size, max(whole.shape[1] - 1 - int(_BINS[0]), 0))
        bins[:, :known] = whole[:, _BINS[:known]]
        if start != wanted:
            bins *= np.exp(-2j * np.pi * BIN_HZ * ((start - wanted) / rate)).astype(np.complex64)
        self._held[key] = bins
        if len(self._held) > self._kept:
            self._held.popitem(last=False)
        return bins


def joint_passages(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]
) -> tuple[float, ...]:
    """Return where two tracks play loudest together.

    Parameters
    ----------
    first, second
        Mean K-weighted power of each passage of :data:`PASSAGE_S` on the session's time line.

    Returns
    -------
    tuple of float
        Starts of at most six passages in seconds, ascending; none where they never play together.
    """
    count = min(first.size, second.size)
    if count == 0 or not (first.any() and second.any()):
        return ()
    a, b = first[:count] / first.max(), second[:count] / second.max()
    score = np.where(np.minimum(a, b) > _QUIETEST, a * b, 0.0)
    best = np.argsort(-score, kind="stable")[:PASSAGES]
    return tuple(sorted(float(i * PASSAGE_S) for i in best if score[i] > 0.0))


def _same_channels(
    first: Sequence[ComplexArray], second: Sequence[ComplexArray]
) -> tuple[list[ComplexArray], list[ComplexArray]]:
    """Fold stereo to mono where only one of the two is stereo, or its louder channel."""

    def folded(spectra: Sequence[ComplexArray]) -> list[ComplexArray]:
        if spectra[0].shape[0] == 1:
            return list(spectra)
        channels = sum((np.abs(s) ** 2).sum(axis=1) for s in spectra)
        mid = [s.sum(axis=0, keepdims=True) / 2.0 for s in spectra]
        if 4.0 * sum(float((np.abs(m) ** 2).sum()) for m in mid) < 0.1 * channels.sum():
            loudest = int(np.argmax(channels))  # the channels cancel
            return [s[loudest : loudest + 1] for s in spectra]
        return mid

    if first[0].shape[0] == second[0].shape[0]:
        return list(first), list(second)
    return folded(first), folded(second)


def compare(first: Sequence[ComplexArray], second: Sequence[ComplexArray]) -> Match | None:
    """Compare the same passages of two tracks.

    Parameters
    ----------
    first, second
        As :meth:`Passages.spectrum` returns them, one a passage.

    Returns
    -------
    Match or None
        None where they have no passage with enough bands in common.
    """
    if not first:
        return None
    first, second = _same_channels(first, second)
    weight = _loudness_weight()
    crosses, shares, powers = [], [], []
    for a, b in zip(first, second, strict=True):
        cross = (b * a.conj()).sum(axis=0)
        power_a = (np.abs(a) ** 2).sum(axis=0)
        power_b = (np.abs(b) ** 2).sum(axis=0)
        bands_a, bands_b = (np.add.reduceat(p * weight, _EDGES) for p in (power_a, power_b))
        floor = 10.0 ** (-_BAND_RANGE_DB / 10.0)
        used = (bands_a > floor * bands_a.max()) & (bands_b > floor * bands_b.max())
        if used.sum() < _FEWEST_BANDS:
            continue
        flat_a, flat_b = (np.add.reduceat(p, _EDGES) for p in (power_a, power_b))
        share = np.zeros(_EDGES.size)
        share[used] = 1.0 / (np.sqrt(flat_a[used] * flat_b[used]) * used.sum())
        crosses.append(cross)
        shares.append(np.repeat(share, _WIDTHS))
        powers.append((float(bands_a.sum()), float(bands_b.sum())))
    if not crosses:
        return None
    flat = [cross * share for cross, share in zip(crosses, shares, strict=True)]
    lag_s = _best_lag(np.mean(flat, axis=0))
    turn = np.exp(2j * np.pi * BIN_HZ * lag_s)
    coherences = np.array([float((one * turn).real.sum()) for one in flat])
    scale = np.array([math.sqrt(a * b) for a, b in powers])
    weighted = [cross * weight for cross in crosses]
    at_lag = np.array([float((one * turn).real.sum()) for one in weighted]) / scale
    at_zero = np.array([float(one.real.sum()) for one in weighted]) / scale
    coherence = float(np.median(coherences))
    agree = (np.sign(coherences) == np.sign(coherence)) & (
        np.abs(coherences) >= 0.5 * abs(coherence)
    )
    return Match(
        delay_ms=1000.0 * lag_s,
        coherence=abs(coherence),
        correlation=float(np.median(at_lag)),
        at_zero=float(np.median(at_zero)),
        level_db=float(np.median([power_to_db(b / a) for a, b in powers])),
        agreement=float(agree.mean()),
        passages=len(crosses),
    )


def spectral_weight(spectrum: ComplexArray) -> Float64Array:
    """Return what makes each third of an octave of a passage count alike.

    Parameters
    ----------
    spectrum
        As :meth:`Passages.spectrum` returns it.

    Returns
    -------
    ndarray, shape (bins,), float64
        The inverse of the power of the third of an octave; 0 where that is 35 dB and more under
        the loudest, K-weighted.
    """
    power = (np.abs(spectrum) ** 2).sum(axis=0).astype(np.float64)
    bands = np.add.reduceat(power * _loudness_weight(), _EDGES)
    flat = np.add.reduceat(power, _EDGES)
    used = (bands > 10.0 ** (-_BAND_RANGE_DB / 10.0) * bands.max()) & (flat > 0.0)
    weight = np.zeros(_EDGES.size)
    weight[used] = 1.0 / flat[used]
    return np.repeat(weight, _WIDTHS)


def in_thirds(values: npt.NDArray[np.floating]) -> Float64Array:
    """Return sums ``(..., thirds)`` over each third of an octave of values ``(..., bins)``."""
    return np.asarray(np.add.reduceat(values, _EDGES, axis=-1), np.float64)


def _best_lag(cross: npt.NDArray[np.complex128]) -> float:
    """Return the delay in seconds where the flattened correlation is largest in size."""
    half = np.zeros(_LAG_RATE * _PADDED_S // 2 + 1, np.complex128)
    half[_BINS] = cross
    curve = scipy.fft.irfft(half)
    curve = np.concatenate([curve[-_LAG_FRAMES - 1 :], curve[: _LAG_FRAMES + 2]])
    size = np.abs(curve)
    peak = 1 + int(np.argmax(size[1:-1]))
    before, here, after = size[peak - 1 : peak + 2]
    bend = before - 2.0 * here + after
    part = 0.5 * (before - after) / bend if bend < 0.0 else 0.0
    return float((peak - _LAG_FRAMES - 1 + part) / _LAG_RATE)
