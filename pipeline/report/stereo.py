"""The stereo field of a recording: how left and right go together, band by band, and in mono."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.fft
import scipy.signal

from pipeline.loudness.energy import k_weighting
from pipeline.units import THIRD_OCTAVES_HZ, Float64Array, FloatArray, power_to_db

__all__ = ["StereoField", "measure_stereo"]


_WINDOW_S = 0.2
_FRAMES_AT_ONCE = 64
# A band this far under the loudest is not heard beside it: nothing is said of it.
_FLOOR = 1e-6
_LEAST_KEPT = 1e-6


@dataclass(frozen=True)
class StereoField:
    """Left against right.

    Parameters
    ----------
    bands_hz
        Centres of third octaves.
    correlation_by_band
        -1 to 1 each; NaN where a band is 60 dB under the loudest, or a channel silent.
    level_by_band_db
        K-weighted power of each band against the loudest.
    correlation
        Of the whole, K-weighted; NaN where a channel is silent.
    balance_db
        Right over left, K-weighted, at most 60 to either side.
    mono_loss_db
        What the sum of both channels loses, K-weighted, against the same power in the middle: 0 for
        equal channels, 3 for unrelated ones, 60 at most.
    low_mono_loss_db
        The same of what lies under 125 Hz.
    """

    bands_hz: tuple[float, ...]
    correlation_by_band: tuple[float, ...]
    level_by_band_db: tuple[float, ...]
    correlation: float
    balance_db: float
    mono_loss_db: float
    low_mono_loss_db: float

    def to_record(self) -> dict[str, Any]:
        """Return the field as JSON-ready values; NaN is null."""
        record = asdict(self)
        record["correlation_by_band"] = [_or_none(v) for v in self.correlation_by_band]
        record["correlation"] = _or_none(self.correlation)
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> StereoField:
        """Return the field that :meth:`to_record` wrote."""
        values: dict[str, Any] = {
            **record,
            "bands_hz": tuple(record["bands_hz"]),
            "correlation_by_band": tuple(_or_nan(v) for v in record["correlation_by_band"]),
            "level_by_band_db": tuple(record["level_by_band_db"]),
            "correlation": _or_nan(record["correlation"]),
        }
        return cls(**values)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def measure_stereo(audio: FloatArray, *, sample_rate: int) -> StereoField:
    """Measure the stereo field of a whole recording.

    Parameters
    ----------
    audio
        ``(2, frames)`` or ``(1, frames)``; mono is two equal channels.
    sample_rate
        In Hz.
    """
    left, right, cross = _powers(audio, sample_rate)
    both = left + right
    loudest = max(float(both.max(initial=0.0)), 1e-20)
    correlations = [
        _correlation(float(a), float(b), float(c)) if a + b > _FLOOR * loudest else math.nan
        for a, b, c in zip(left, right, cross, strict=True)
    ]
    low = np.asarray(THIRD_OCTAVES_HZ) <= 125.0
    return StereoField(
        bands_hz=tuple(float(hz) for hz in THIRD_OCTAVES_HZ),
        correlation_by_band=tuple(round(v, 3) for v in correlations),
        level_by_band_db=tuple(round(power_to_db(max(float(p) / loudest, 1e-12)), 1) for p in both),
        correlation=round(_correlation(left.sum(), right.sum(), cross.sum()), 3),
        balance_db=round(_balance_db(float(left.sum()), float(right.sum())), 2),
        mono_loss_db=round(_loss_db(float(both.sum()), float(cross.sum())), 2),
        low_mono_loss_db=round(_loss_db(float(both[low].sum()), float(cross[low].sum())), 2),
    )


def _correlation(left: float, right: float, cross: float) -> float:
    if left <= 0.0 or right <= 0.0:
        return math.nan
    return max(-1.0, min(1.0, float(cross / math.sqrt(left * right))))


def _balance_db(left: float, right: float) -> float:
    if left <= 0.0 and right <= 0.0:
        return 0.0
    ratio_db = power_to_db(max(right, 1e-20)) - power_to_db(max(left, 1e-20))
    return max(-60.0, min(60.0, ratio_db))


def _loss_db(both: float, cross: float) -> float:
    if both <= 0.0:
        return 0.0
    return -power_to_db(max(0.5 + cross / both, _LEAST_KEPT)) + 0.0


def _powers(audio: FloatArray, sample_rate: int) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return the K-weighted power of left and right, and of both together, by third octave."""
    stereo = np.repeat(audio, 2, axis=0) if audio.shape[0] == 1 else audio[:2]
    size = scipy.fft.next_fast_len(round(_WINDOW_S * sample_rate), real=True)
    if stereo.shape[1] < size:
        stereo = np.pad(stereo, ((0, 0), (0, size - stereo.shape[1])))
    count = stereo.shape[1] // size
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    sums = np.zeros((3, size // 2 + 1))
    for first in range(0, count, _FRAMES_AT_ONCE):
        last = min(first + _FRAMES_AT_ONCE, count)
        piece = np.asarray(stereo[:, first * size : last * size], np.float32)
        spectra = scipy.fft.rfft(piece.reshape(2, last - first, size) * window, axis=-1)
        left, right = spectra
        sums[0] += np.square(np.abs(left)).sum(axis=0, dtype=np.float64)
        sums[1] += np.square(np.abs(right)).sum(axis=0, dtype=np.float64)
        sums[2] += (left * right.conj()).real.sum(axis=0, dtype=np.float64)
    frequency = np.arange(size // 2 + 1) * sample_rate / size
    _, response = scipy.signal.sosfreqz(
        k_weighting(sample_rate).copy(), worN=2.0 * math.pi * frequency / sample_rate
    )
    sums *= np.square(np.abs(response))
    edges = np.append(
        np.asarray(THIRD_OCTAVES_HZ) * 2.0 ** (-1.0 / 6.0), THIRD_OCTAVES_HZ[-1] * 2.0 ** (1 / 6)
    )
    band = np.searchsorted(edges, frequency, side="right") - 1
    inside = (band >= 0) & (band < len(THIRD_OCTAVES_HZ))
    by_band = np.zeros((3, len(THIRD_OCTAVES_HZ)))
    for row, powers in zip(by_band, sums, strict=True):
        np.add.at(row, band[inside], powers[inside])
    return by_band[0], by_band[1], by_band[2]
