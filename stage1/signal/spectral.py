"""Where a track's energy lies: centroid, bandwidth, roll-off and third-octave levels.

Centroid, bandwidth and roll-off are ``librosa``'s: of the magnitude spectrum of centred Hann frames
of 2048 samples. A frame's value is of the channels' mean power, so that a track whose channels
would cancel keeps its spectrum; the *published* means are of the mono fold, over all frames.

Everything is measured in one pass, before it is known where the track plays: what is kept of each
frame is small, and the activity is applied at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft

from pipeline.jit import kernel
from pipeline.loudness.true_peak import as_block
from pipeline.units import BoolArray, Float32Array, Float64Array
from stage1.signal.framing import Framer, hann, is_silent

__all__ = ["THIRD_OCTAVES_HZ", "Spectral", "SpectrumMeter", "low_share"]

Complex64Array = npt.NDArray[np.complex64]

FRAME = 2048
SHORT_HOP = 512
LONG_HOP = 2048
"""``librosa``'s hop for short tracks, so that their means are the published ones; over a long
track the means of four times fewer frames are within 0.1 % of them."""
SHORT_FRAMES = 2_000_000
ROLL_OFF = 0.85
LONG_FRAME = 8192
"""For the third octaves: the lowest are 5 Hz wide."""
BATCH_FRAMES = 32
LONG_BATCH_FRAMES = 8

THIRD_OCTAVES_HZ: tuple[float, ...] = (
    25.0, 31.5, 40.0, 50.0, 63.0, 80.0, 100.0, 125.0, 160.0, 200.0, 250.0, 315.0, 400.0, 500.0,
    630.0, 800.0, 1000.0, 1250.0, 1600.0, 2000.0, 2500.0, 3150.0, 4000.0, 5000.0, 6300.0, 8000.0,
    10000.0, 12500.0, 16000.0, 20000.0,
)  # fmt: skip
"""Nominal centres (IEC 61260); the exact ones are 1000 Hz x 10 ^ (band / 10)."""


@dataclass(frozen=True)
class Spectral:
    """The spectrum of one track.

    Parameters
    ----------
    centroid_hz, bandwidth_hz, rolloff_hz
        Means over the active frames; NaN without one.
    published_centroid_hz, published_bandwidth_hz
        Plain means over all frames of the mono fold, silent ones counted as 0; NaN for silence.
    third_octaves_db
        Mean-square level of each of :data:`THIRD_OCTAVES_HZ` over the active frames, in dBFS;
        ``-inf`` above the Nyquist frequency or without an active frame.
    """

    centroid_hz: float
    bandwidth_hz: float
    rolloff_hz: float
    published_centroid_hz: float
    published_bandwidth_hz: float
    third_octaves_db: tuple[float, ...]


@kernel
def _shape(magnitude: Float32Array, bin_hz: float, shape: Float64Array) -> None:
    """Fill ``shape`` with centroid, bandwidth and roll-off of one frame, in Hz; 0 for silence."""
    # Four sums each: an addition need not wait for the one before it.
    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = c0 = c1 = c2 = c3 = 0.0
    bins = magnitude.size
    fours = bins // 4 * 4
    for k in range(0, fours, 4):
        m0, m1, m2, m3 = magnitude[k], magnitude[k + 1], magnitude[k + 2], magnitude[k + 3]
        x0, x1, x2, x3 = float(m0), float(m1), float(m2), float(m3)
        a0, a1, a2, a3 = a0 + x0, a1 + x1, a2 + x2, a3 + x3
        x0, x1, x2, x3 = x0 * k, x1 * (k + 1), x2 * (k + 2), x3 * (k + 3)
        b0, b1, b2, b3 = b0 + x0, b1 + x1, b2 + x2, b3 + x3
        x0, x1, x2, x3 = x0 * k, x1 * (k + 1), x2 * (k + 2), x3 * (k + 3)
        c0, c1, c2, c3 = c0 + x0, c1 + x1, c2 + x2, c3 + x3
    for k in range(fours, bins):
        x0 = float(magnitude[k])
        a0, b0, c0 = a0 + x0, b0 + x0 * k, c0 + x0 * k * k
    total = (a0 + a1) + (a2 + a3)
    if total <= 1e-30:
        shape[:] = 0.0
        return
    centre = ((b0 + b1) + (b2 + b3)) / total
    spread = ((c0 + c1) + (c2 + c3)) / total - centre * centre
    shape[0] = centre * bin_hz
    shape[1] = np.sqrt(max(spread, 0.0)) * bin_hz
    rest = ROLL_OFF * total
    for k in range(bins):
        rest -= magnitude[k]
        if rest <= 0.0:
            shape[2] = k * bin_hz
            break


@kernel
def _shapes(
    spectra: Complex64Array, bin_hz: float, shapes: Float64Array, folded: Float64Array
) -> None:
    """Fill ``shapes`` and ``folded`` (frames, 3) of one or two channels' spectra."""
    channels, frames, bins = spectra.shape
    magnitude = np.empty(bins, np.float32)
    of_fold = np.empty(bins, np.float32)
    for t in range(frames):
        if channels == 1:
            for k in range(bins):
                a = spectra[0, t, k]
                magnitude[k] = np.sqrt(a.real * a.real + a.imag * a.imag)
            _shape(magnitude, bin_hz, shapes[t])
            folded[t] = shapes[t]
            continue
        for k in range(bins):
            a, b = spectra[0, t, k], spectra[1, t, k]
            of_left = a.real * a.real + a.imag * a.imag
            of_right = b.real * b.real + b.imag * b.imag
            real, imag = a.real + b.real, a.imag + b.imag
            magnitude[k] = np.sqrt(np.float32(0.5) * (of_left + of_right))
            of_fold[k] = np.sqrt(np.float32(0.25) * (real * real + imag * imag))
        _shape(magnitude, bin_hz, shapes[t])
        _shape(of_fold, bin_hz, folded[t])


@kernel
def _band_sums(spectra: Complex64Array, edges: Float64Array, sums: Float32Array) -> None:
    """Fill ``sums`` (frames, bands) with the energy between ``edges`` (bands, 2), in bins.

    A bin's energy lies half a bin to either side of it.
    """
    channels, frames, bins = spectra.shape
    power = np.empty(bins, np.float32)
    for t in range(frames):
        power[:] = 0.0
        for c in range(channels):
            for k in range(bins):
                x = spectra[c, t, k]
                power[k] += x.real * x.real + x.imag * x.imag
        for band in range(edges.shape[0]):
            low, high = edges[band, 0] + 0.5, min(edges[band, 1] + 0.5, float(bins))
            first, last = int(low), int(high)
            total = -(low - first) * power[first]
            for k in range(first, last):
                total += power[k]
            if last < bins:
                total += (high - last) * power[last]
            sums[t, band] = max(total, 0.0)


class _Shapes:
    """Centroid, bandwidth and roll-off of each frame."""

    def __init__(self, *, sample_rate: int, channels: int, hop: int) -> None:
        self._bin_hz = sample_rate / FRAME
        self._window = hann(FRAME).astype(np.float32)
        self._framer = Framer(channels, length=FRAME, hop=hop, batch=BATCH_FRAMES, lead=FRAME // 2)
        self._hop = hop
        self._parts: list[tuple[Float64Array, Float64Array]] = []

    def process(self, samples: Float32Array) -> None:
        for line in self._framer.push(samples):
            self._add(line)

    def _add(self, line: Float32Array) -> None:
        shapes = np.zeros((BATCH_FRAMES, 3))
        folded = np.zeros((BATCH_FRAMES, 3))
        if not is_silent(line):
            framed = self._framer.framed
            # (channels, frames, bins)
            spectra = scipy.fft.rfft(framed * self._window, axis=2, overwrite_x=True)
            _shapes(spectra, self._bin_hz, shapes, folded)
        self._parts.append((shapes, folded))

    def result(self) -> tuple[Float64Array, Float64Array]:
        """Return both ``(frames, 3)``; ends the measurement."""
        count = 1 + self._framer.frames // self._hop
        for line in self._framer.rest(count):
            self._add(line)
        shapes, folded = (np.concatenate(parts)[:count] for parts in zip(*self._parts, strict=True))
        return shapes, folded


class _ThirdOctaves:
    """Energy of each third octave in each long frame."""

    def __init__(self, *, sample_rate: int, channels: int) -> None:
        self._channels = channels
        self._window = hann(LONG_FRAME).astype(np.float32)
        self._hop = LONG_FRAME // 2
        self._framer = Framer(
            channels, length=LONG_FRAME, hop=self._hop, batch=LONG_BATCH_FRAMES, lead=0
        )
        bands = np.round(10.0 * np.log10(np.array(THIRD_OCTAVES_HZ) / 1000.0))
        centres = 1000.0 * 10.0 ** (bands / 10.0)
        bounds = centres[:, None] * 10.0 ** np.array([-0.05, 0.05])  # (bands, 2)
        self._edges = bounds[centres <= sample_rate / 2] * (LONG_FRAME / sample_rate)
        self._sample_rate = sample_rate
        self._parts: list[Float32Array] = []

    def process(self, samples: Float32Array) -> None:
        for line in self._framer.push(samples):
            self._add(line)

    def _add(self, line: Float32Array) -> None:
        sums = np.zeros((LONG_BATCH_FRAMES, len(self._edges)), np.float32)
        if not is_silent(line):
            framed = self._framer.framed
            # (channels, frames, bins)
            spectra = scipy.fft.rfft(framed * self._window, axis=2, overwrite_x=True)
            _band_sums(spectra, self._edges, sums)
        self._parts.append(sums)

    def result(self, active: BoolArray) -> tuple[float, ...]:
        """Return the levels over the active frames in dBFS; ends the measurement."""
        count = 1 + max(self._framer.frames - LONG_FRAME, 0) // self._hop
        for line in self._framer.rest(count):
            self._add(line)
        sums = np.concatenate(self._parts)[:count]
        middles = np.asarray((np.arange(count) + 1) * (self._hop / self._sample_rate), np.float64)
        use = _active_at(active, middles)
        levels = np.full(len(THIRD_OCTAVES_HZ), -math.inf)
        if use.any():
            # Parseval: the mean square of a channel is the sum of these.
            weight = float((self._window.astype(np.float64) ** 2).sum())
            power = sums[use].mean(axis=0, dtype=np.float64)
            power *= 2.0 / (self._channels * LONG_FRAME * weight)
            with np.errstate(divide="ignore"):
                levels[: power.size] = 10.0 * np.log10(power)
        return tuple(float(level) for level in levels)


def _active_at(active: BoolArray, times_s: Float64Array) -> BoolArray:
    if active.size == 0:
        return np.zeros(times_s.shape, np.bool_)
    return np.asarray(active[np.minimum((times_s * 10.0).astype(int), active.size - 1)])


class SpectrumMeter:
    """The spectrum of a track, fed block by block; the size of the blocks changes no bit.

    Parameters
    ----------
    sample_rate
        In Hz.
    channels
        1 or 2.
    frames
        Length of the track in samples: short ones are looked at more closely.
    hop_length
        In samples, at most 2048; 512 gives the published means exactly. Chosen by the length if
        not given.
    """

    def __init__(
        self, *, sample_rate: int, channels: int, frames: int = 0, hop_length: int | None = None
    ) -> None:
        if hop_length is None:
            hop_length = SHORT_HOP if frames <= SHORT_FRAMES else LONG_HOP
        self._channels = channels
        self._hop_s = hop_length / sample_rate
        self._shapes = _Shapes(sample_rate=sample_rate, channels=channels, hop=hop_length)
        self._bands = _ThirdOctaves(sample_rate=sample_rate, channels=channels)

    def process(self, block: npt.ArrayLike) -> None:
        """Take the next block, ``(channels, frames)`` float32, of any length."""
        samples = as_block(block, self._channels)
        self._shapes.process(samples)
        self._bands.process(samples)

    def result(self, active: BoolArray) -> Spectral:
        """Return what was measured; ends the measurement.

        Parameters
        ----------
        active
            One flag each 100 ms, as :meth:`pipeline.loudness.meter.EnergyMeter.active` returns.
        """
        shapes, folded = self._shapes.result()
        times_s = np.asarray(np.arange(len(shapes)) * self._hop_s, np.float64)
        use = _active_at(active, times_s) & (shapes[:, 0] > 0.0)
        centroid, bandwidth, rolloff = shapes[use].mean(axis=0) if use.any() else (math.nan,) * 3
        sounding = bool(folded[:, 0].any())
        return Spectral(
            centroid_hz=float(centroid),
            bandwidth_hz=float(bandwidth),
            rolloff_hz=float(rolloff),
            published_centroid_hz=float(folded[:, 0].mean()) if sounding else math.nan,
            published_bandwidth_hz=float(folded[:, 1].mean()) if sounding else math.nan,
            third_octaves_db=self._bands.result(active),
        )


def low_share(third_octaves_db: Sequence[float], under_hz: float) -> float:
    """Return the share of a track's power in the third octaves that hold what is under a frequency.

    Parameters
    ----------
    third_octaves_db
        Level of each of :data:`THIRD_OCTAVES_HZ`, in dB; ``-inf`` for none.
    under_hz
        The frequency; the band that it lies in counts whole.
    """
    power = 10.0 ** (np.asarray(third_octaves_db, np.float64) / 10.0)
    total = float(power.sum())
    held = np.asarray(THIRD_OCTAVES_HZ) < under_hz * 2.0 ** (1.0 / 6.0)
    return float(power[held].sum()) / total if total > 0.0 else 0.0
