"""What "style" is: a few features of a finished mix, and the distance between two of them.

A style holds what a listener recognises a production by and what a console can change: the
tonal balance, the stereo width, the left/right balance, the density, and the loudness. Its
figures, but for the highest peak, are long-term averages, so two different songs can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft
import torch
from threadpoolctl import threadpool_limits

from pipeline import units
from pipeline.console.delivery import median_crest_db, peak_to_loudness_db
from pipeline.loudness.meter import integrated_loudness
from pipeline.units import Float64Array, FloatArray, power_to_db
from stage2.style.envelopes import (
    BAND_EDGES_HZ,
    RANGES_HZ,
    analysis_window,
    band_envelope,
    punch_db,
)

__all__ = [
    "SCALES",
    "SPECTRUM_FLOOR_DB",
    "THIRD_OCTAVES_HZ",
    "TYPICAL_FLOOR_DB",
    "WIDTH_FLOOR_DB",
    "FineBands",
    "Style",
    "StyleDistance",
    "band_powers",
    "blend",
    "fft_size",
    "measure_style",
    "style_distance",
    "typical_spectrum",
]


THIRD_OCTAVES_HZ: Float64Array = np.asarray(units.THIRD_OCTAVES_HZ)
# Below this, relative to the loudest band, music is masked and codecs leave nothing.
SPECTRUM_FLOOR_DB = -60.0
# Of a typical moment, relative to the mean of all: lower, since its loudest band may be as far down
# itself. Windows this far under the loudest are pauses.
TYPICAL_FLOOR_DB, _PAUSE_DB = -80.0, -60.0
# A side signal this far under the mid is heard as mono; one over it is a fault, not a style.
WIDTH_FLOOR_DB, WIDTH_CEILING_DB = -40.0, 10.0
# Nobody mixes to one side: beyond this a channel is missing.
MOST_IMBALANCE_DB = 12.0

#: Differences that are clearly heard, by which the total weighs the five errors against each other.
SCALES: dict[str, float] = {
    "spectrum_db": 3.0,
    "width_db": 6.0,
    "imbalance_db": 1.0,
    "crest_db": 3.0,
    "loudness_lu": 3.0,
}


@dataclass(frozen=True)
class FineBands:
    """A partition of the spectrum finer than third octaves, and how FFT bins fall into it.

    Third octaves are cut in four, at low frequencies in two or one, where the FFT resolves no
    more. Averages over fine bands let an equaliser's response be applied band by band.

    Parameters
    ----------
    centre_hz
        Geometric centres, ``(bands,)``.
    third_octave
        Index of the third octave that each fine band belongs to, ``(bands,)``.
    weights
        Share of each FFT bin that falls into each band, ``(bands, bins)``.
    third_weights
        Share of each FFT bin that falls into each third octave, ``(third octaves, bins)`` float32.
    """

    centre_hz: Float64Array
    third_octave: npt.NDArray[np.intp]
    weights: Float64Array
    third_weights: npt.NDArray[np.float32]

    @classmethod
    @lru_cache(maxsize=8)
    def at(cls, sample_rate: int) -> FineBands:
        """Return the bands for audio at ``sample_rate`` Hz and its :func:`fft_size`."""
        low, high, owner = [], [], []
        for index, centre in enumerate(THIRD_OCTAVES_HZ):
            pieces = 1 if centre < 100.0 else 2 if centre < 250.0 else 4
            edges = centre * 2.0 ** (np.linspace(-1.0, 1.0, pieces + 1) / 6.0)
            low.extend(edges[:-1])
            high.extend(edges[1:])
            owner.extend([index] * pieces)
        size = fft_size(sample_rate)
        bin_hz = sample_rate / size
        bins = np.arange(size // 2 + 1) * bin_hz
        bottom = np.maximum(np.asarray(low)[:, None], bins[None] - bin_hz / 2)
        top = np.minimum(np.asarray(high)[:, None], bins[None] + bin_hz / 2)
        weights = np.clip((top - bottom) / bin_hz, 0.0, 1.0)
        centres = np.sqrt(np.asarray(low) * np.asarray(high))
        thirds = np.add.reduceat(weights, np.searchsorted(owner, range(len(THIRD_OCTAVES_HZ))))
        owners = np.asarray(owner, dtype=np.intp)
        return cls(centres, owners, weights, thirds.astype(np.float32))


def fft_size(sample_rate: int) -> int:
    """Return the FFT length, about a third of a second, that all style figures use."""
    return int(2 ** round(math.log2(0.34 * sample_rate)))


@dataclass(frozen=True)
class Style:
    """The style of a finished mix.

    Parameters
    ----------
    spectrum_db
        Power of each third octave from 25 Hz to 16 kHz, left and right averaged, relative to the
        sum of all; not below ``SPECTRUM_FLOOR_DB`` under the loudest.
    width_db
        Side power over mid power, in dB, between ``WIDTH_FLOOR_DB`` and ``WIDTH_CEILING_DB``.
    width_by_range_db
        The same in each of ``RANGES_HZ``.
    imbalance_db
        Right power over left power, in dB, at most ``MOST_IMBALANCE_DB`` to either side.
    punch_by_range_db
        How far the loudest 5 ms stand over a third of a second, in each of ``RANGES_HZ``.
    crest_db
        Median over windows of 0.35 s of peak over RMS.
    loudness_lufs
        Integrated loudness (BS.1770).
    typical_spectrum_db
        Level of each third octave in a typical moment: the mean over windows of a third of a
        second, in dB, where ``spectrum_db`` is of the mean power, which loud moments rule. Relative
        to the mean power of all, not below ``TYPICAL_FLOOR_DB``; pauses do not count.
    peak_to_loudness_db
        Highest sample over integrated loudness, 0 for silence.
    """

    spectrum_db: tuple[float, ...]
    width_db: float
    width_by_range_db: tuple[float, ...]
    imbalance_db: float
    punch_by_range_db: tuple[float, ...]
    crest_db: float
    loudness_lufs: float
    typical_spectrum_db: tuple[float, ...]
    peak_to_loudness_db: float

    def to_record(self) -> dict[str, object]:
        """Return the style as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, object]) -> Style:
        """Return the style that :meth:`to_record` wrote."""
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
        return cls(**values)  # type: ignore[arg-type]


@dataclass(frozen=True)
class StyleDistance:
    """How far two styles are apart, each figure in its own unit, all at least 0.

    ``total`` is the mean of the five headline errors, each over its entry in :data:`SCALES`;
    the last four are further figures outside the total.
    """

    spectrum_db: float
    width_db: float
    imbalance_db: float
    crest_db: float
    loudness_lu: float
    width_by_range_db: float
    punch_by_range_db: float
    typical_spectrum_db: float
    peak_to_loudness_db: float

    @property
    def total(self) -> float:
        """Mean of the normalised errors."""
        return sum(getattr(self, name) / scale for name, scale in SCALES.items()) / len(SCALES)

    def to_record(self) -> dict[str, float]:
        """Return every figure and the total."""
        return {**asdict(self), "total": self.total}


@dataclass(frozen=True)
class BandPowers:
    """The power of a recording in bands.

    Parameters
    ----------
    left, right, cross
        Mean power of each channel, and the real part of their cross, per fine band.
    windows
        Power ``(left² + right²) / 2`` of each window and third octave, ``(windows, bands)``.
    """

    left: Float64Array
    right: Float64Array
    cross: Float64Array
    windows: Float64Array

    def typical_spectrum_db(self) -> tuple[float, ...]:
        """Return the typical spectrum: see :class:`Style`."""
        return tuple(typical_spectrum(torch.from_numpy(self.windows)).tolist())


@threadpool_limits.wrap(limits=1, user_api="blas")  # sums must not follow from the machine
def band_powers(audio: FloatArray, *, sample_rate: int) -> BandPowers:
    """Return the powers of audio ``(2, frames)`` in bands."""
    bands = FineBands.at(sample_rate)
    size = fft_size(sample_rate)
    hop = size // 2
    frames = audio.shape[1]
    if frames < size:
        audio = np.pad(audio, ((0, 0), (0, size - frames)))
        frames = size
    window, energy = analysis_window(size)
    left = np.zeros(size // 2 + 1)
    right = np.zeros_like(left)
    cross = np.zeros_like(left)
    windows = []
    starts = range(0, frames - size + 1, hop)
    for first in range(0, len(starts), 32):
        block = np.stack([audio[:, s : s + size] for s in starts[first : first + 32]])
        spectra = scipy.fft.rfft(block * window, axis=-1)
        power = np.square(np.abs(spectra))
        left += np.sum(power[:, 0], axis=0)
        right += np.sum(power[:, 1], axis=0)
        cross += np.sum((spectra[:, 0] * np.conj(spectra[:, 1])).real, axis=0)
        windows.append((power[:, 0] + power[:, 1]) / 2.0 @ bands.third_weights.T / energy)
    scale = 1.0 / (len(starts) * energy)
    left, right, cross = (bands.weights @ (power * scale) for power in (left, right, cross))
    return BandPowers(left, right, cross, np.concatenate(windows).astype(np.float64))


def style_from_powers(
    powers: BandPowers, bands: FineBands
) -> tuple[Float64Array, float, tuple[float, ...], float]:
    """Return spectrum, width, width by range and imbalance."""
    left, right, cross = powers.left, powers.right, powers.cross
    middle = np.maximum((left + right + 2.0 * cross) / 4.0, 0.0)
    side = np.maximum((left + right - 2.0 * cross) / 4.0, 0.0)
    power = np.bincount(bands.third_octave, weights=(left + right) / 2.0)
    total = max(float(power.sum()), 1e-20)
    level = 10.0 * np.log10(np.maximum(power / total, 1e-12))
    level = np.maximum(level, level.max() + SPECTRUM_FLOOR_DB)

    def width(mask: npt.NDArray[np.bool_]) -> float:
        ratio = float(side[mask].sum()) / max(float(middle[mask].sum()), 1e-20)
        return min(max(power_to_db(ratio), WIDTH_FLOOR_DB), WIDTH_CEILING_DB)

    ranges = tuple(
        width((bands.centre_hz >= low) & (bands.centre_hz < high)) for low, high in RANGES_HZ
    )
    everything = np.ones_like(left, dtype=bool)
    balance = power_to_db(max(float(right.sum()), 1e-20) / max(float(left.sum()), 1e-20))
    balance = min(max(balance, -MOST_IMBALANCE_DB), MOST_IMBALANCE_DB)
    return level, width(everything), ranges, balance


def typical_spectrum(windows: torch.Tensor) -> torch.Tensor:
    """Return the level of each third octave in a typical moment, differentiable.

    Parameters
    ----------
    windows
        Power per window and third octave, ``(windows, bands)``.

    Returns
    -------
    torch.Tensor
        ``(bands,)``: see :class:`Style`.
    """
    power = windows.sum(dim=1)
    heard = windows[power >= power.max() * 10.0 ** (_PAUSE_DB / 10.0)]
    mean = power.mean().clamp_min(1e-20)
    return 10.0 * torch.log10((heard / mean).clamp_min(10.0 ** (TYPICAL_FLOOR_DB / 10.0))).mean(0)


def _punch_by_range(audio: FloatArray, sample_rate: int) -> tuple[float, ...]:
    envelope = band_envelope(audio, sample_rate=sample_rate)
    edges = np.asarray(BAND_EDGES_HZ[:-1])
    by_range = [envelope[:, (edges >= low) & (edges < high)].sum(axis=1) for low, high in RANGES_HZ]
    return tuple(punch_db(torch.from_numpy(np.stack(by_range))).tolist())


@threadpool_limits.wrap(limits=1, user_api="blas")  # sums must not follow from the machine
def measure_style(audio: FloatArray, *, sample_rate: int) -> Style:
    """Measure the style of a finished mix.

    Parameters
    ----------
    audio
        ``(2, frames)`` or ``(1, frames)``; mono is measured as two equal channels.
    sample_rate
        In Hz.
    """
    if audio.shape[0] == 1:
        audio = np.repeat(audio, 2, axis=0)
    bands = FineBands.at(sample_rate)
    powers = band_powers(audio, sample_rate=sample_rate)
    loudness = integrated_loudness(audio, sample_rate=sample_rate)
    level, width, ranges, balance = style_from_powers(powers, bands)
    return Style(
        spectrum_db=tuple(float(v) for v in level),
        width_db=width,
        width_by_range_db=ranges,
        imbalance_db=balance,
        punch_by_range_db=_punch_by_range(audio, sample_rate),
        crest_db=median_crest_db(audio, sample_rate=sample_rate),
        loudness_lufs=loudness,
        typical_spectrum_db=powers.typical_spectrum_db(),
        peak_to_loudness_db=peak_to_loudness_db(audio, loudness),
    )


def style_distance(style: Style, reference: Style) -> StyleDistance:
    """Return how far ``style`` is from ``reference``."""
    spectrum = np.asarray(style.spectrum_db) - np.asarray(reference.spectrum_db)
    ranges = np.asarray(style.width_by_range_db) - np.asarray(reference.width_by_range_db)
    punch = np.asarray(style.punch_by_range_db) - np.asarray(reference.punch_by_range_db)
    typical = np.asarray(style.typical_spectrum_db) - np.asarray(reference.typical_spectrum_db)
    return StyleDistance(
        spectrum_db=float(np.mean(np.abs(spectrum - spectrum.mean()))),
        width_db=abs(style.width_db - reference.width_db),
        imbalance_db=abs(style.imbalance_db - reference.imbalance_db),
        crest_db=abs(style.crest_db - reference.crest_db),
        loudness_lu=0.0
        if style.loudness_lufs == reference.loudness_lufs  # both silent, for one
        else abs(style.loudness_lufs - reference.loudness_lufs),
        width_by_range_db=float(np.mean(np.abs(ranges))),
        punch_by_range_db=float(np.mean(np.abs(punch))),
        typical_spectrum_db=float(np.mean(np.abs(typical - typical.mean()))),
        peak_to_loudness_db=abs(style.peak_to_loudness_db - reference.peak_to_loudness_db),
    )


def blend(styles: Sequence[Style]) -> Style:
    """Return the style midway between several: the mean of each figure, in dB."""
    if not styles:
        raise ValueError("no style to blend: give at least one")
    return Style(
        spectrum_db=tuple(float(v) for v in np.mean([s.spectrum_db for s in styles], axis=0)),
        width_db=float(np.mean([s.width_db for s in styles])),
        width_by_range_db=tuple(
            float(v) for v in np.mean([s.width_by_range_db for s in styles], axis=0)
        ),
        imbalance_db=float(np.mean([s.imbalance_db for s in styles])),
        punch_by_range_db=tuple(
            float(v) for v in np.mean([s.punch_by_range_db for s in styles], axis=0)
        ),
        crest_db=float(np.mean([s.crest_db for s in styles])),
        loudness_lufs=float(np.mean([s.loudness_lufs for s in styles])),
        typical_spectrum_db=tuple(
            float(v) for v in np.mean([s.typical_spectrum_db for s in styles], axis=0)
        ),
        peak_to_loudness_db=float(np.mean([s.peak_to_loudness_db for s in styles])),
    )
