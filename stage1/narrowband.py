"""Loudness inside an informed band: how loud a track is where its own sound lies.

Four methods, each a loudness in LUFS to balance tracks by:

``lufs``, ``centroid``, ``p_lufs``
    The three of the public reference script of the AES 2025 paper on pitch-informed loudness, as
    that script has them, so that researchers can compare. All on the mono fold, over the gating
    blocks whose full-band loudness is above -50 LUFS: the full band; first-order Butterworth
    filters at centroid -/+ half the bandwidth; the same at 2 f0 and 4 f0 (50 Hz and 10 kHz without
    an f0), f0 being the larger of the plain pYIN and PESTO means.

``informed``
    Ours. Full-band loudness counts rumble under a voice and hiss over a bass as if they were the
    instrument. Here a track with a trusted pitch is measured from half an octave under its lowest
    note to what its harmonics and its centroid reach. A track without (drums, hi-hats, noise) has
    nothing to inform a band with and keeps its full-band loudness: a narrow band around a wrong f0
    is what pushes hi-hats up by 25 dB in the published method. The measure is taken on all
    channels, never above the full-band loudness, and never more than :data:`MAX_SHIFT_LU` below it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.signal

from pipeline.loudness import BLOCK_FRAMES, EnergyMeter, gated_lufs, lufs_to_power
from stage1.f0 import F0Estimate
from stage1.spectral import Spectral

__all__ = ["METHODS", "Band", "NarrowbandLoudness", "informed_band", "measure_narrowband"]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

METHODS = ("lufs", "centroid", "p_lufs", "informed")

PUBLISHED_GATE_LUFS = -50.0
NO_F0_BAND_HZ = (50.0, 10000.0)
PUBLISHED_MAX_HZ = 22000.0
MAX_SHIFT_LU = 6.0
INFORMED_ORDER = 2
LOWEST_HZ = 20.0
HIGHEST_HZ = 20000.0
HARMONICS_REACHED = 8.0


@dataclass(frozen=True)
class Band:
    """A range of frequencies, in Hz."""

    low_hz: float
    high_hz: float


@dataclass(frozen=True)
class NarrowbandLoudness:
    """The loudness of one track by each method, in LUFS; ``-inf`` for silence.

    ``lufs``, ``centroid`` and ``p_lufs`` are ``-inf`` for a track that never exceeds -50 LUFS too.
    """

    lufs: float
    centroid: float
    p_lufs: float
    informed: float

    def by(self, method: str) -> float:
        """Return the loudness by one of :data:`METHODS`.

        Raises
        ------
        ValueError
            If there is no such method.
        """
        if method not in METHODS:
            msg = f"unknown loudness method {method!r}: use one of " + ", ".join(METHODS)
            raise ValueError(msg)
        return float(getattr(self, method))


def _sections(band: Band, sample_rate: int, order: int) -> Float64Array | None:
    """High-pass and low-pass at the edges of a band; None where neither edge is in range."""
    nyquist = sample_rate / 2
    parts = []
    if band.low_hz > 0.0:
        edge = min(band.low_hz, 0.999 * nyquist)
        parts.append(scipy.signal.butter(order, edge, "highpass", fs=sample_rate, output="sos"))
    if band.high_hz < nyquist:
        parts.append(scipy.signal.butter(order, band.high_hz, fs=sample_rate, output="sos"))
    return np.concatenate(parts) if parts else None


def _band_power(
    audio: Float32Array, sample_rate: int, band: Band | None, order: int = 1
) -> Float64Array:
    """K-weighted power of each gating block of ``audio`` inside ``band``."""
    meter = EnergyMeter(sample_rate=sample_rate, channels=audio.shape[0])
    sections = _sections(band, sample_rate, order) if band is not None else None
    if sections is None:
        meter.process(audio)
        return meter.momentary_power()
    state = np.zeros((len(sections), audio.shape[0], 2))
    for start in range(0, audio.shape[1], BLOCK_FRAMES):
        block = audio[:, start : start + BLOCK_FRAMES].astype(np.float64)
        filtered, state = scipy.signal.sosfilt(sections, block, axis=1, zi=state)
        meter.process(filtered)
    return meter.momentary_power()


def informed_band(f0: F0Estimate, spectral: Spectral, *, sample_rate: int) -> Band:
    """Return where a track's own sound lies.

    From half an octave under the 5th percentile of a trusted f0 to the farther of its eighth
    harmonic and centroid + one and a half bandwidths; the whole audible range without one.

    Parameters
    ----------
    f0, spectral
        Of the track.
    sample_rate
        In Hz.

    Returns
    -------
    Band
    """
    ceiling = min(HIGHEST_HZ, sample_rate / 2)
    if math.isnan(f0.f0_hz) or math.isnan(spectral.centroid_hz):
        return Band(LOWEST_HZ, ceiling)
    reach = max(
        HARMONICS_REACHED * f0.f0_high_hz, spectral.centroid_hz + 1.5 * spectral.bandwidth_hz
    )
    return Band(max(f0.f0_low_hz / math.sqrt(2.0), LOWEST_HZ), min(reach, ceiling))


def measure_narrowband(
    audio: Float32Array, *, sample_rate: int, f0: F0Estimate, spectral: Spectral
) -> NarrowbandLoudness:
    """Measure the loudness of a track by all methods.

    Parameters
    ----------
    audio
        ``(channels, frames)`` float32.
    sample_rate
        In Hz.
    f0, spectral
        What was measured of it.

    Returns
    -------
    NarrowbandLoudness
    """
    fold = audio if audio.shape[0] == 1 else audio.mean(axis=0, keepdims=True, dtype=np.float32)
    fold_power = _band_power(fold, sample_rate, None)
    loud = fold_power > lufs_to_power(PUBLISHED_GATE_LUFS)
    stereo = audio.shape[0] > 1
    full = gated_lufs(_band_power(audio, sample_rate, None) if stereo else fold_power)
    centroid, bandwidth = spectral.published_centroid_hz, spectral.published_bandwidth_hz
    published_hz = f0.published_hz
    with_f0 = not math.isnan(published_hz)
    bands = {
        "centroid": Band(
            max(centroid - bandwidth / 2, 1.0), min(centroid + bandwidth / 2, PUBLISHED_MAX_HZ)
        ),
        "p_lufs": Band(2 * published_hz, 4 * published_hz) if with_f0 else Band(*NO_F0_BAND_HZ),
    }
    in_band = {
        name: gated_lufs(_band_power(fold, sample_rate, band)[loud]) if loud.any() else -math.inf
        for name, band in bands.items()
    }
    return NarrowbandLoudness(
        lufs=gated_lufs(fold_power[loud]),
        centroid=in_band["centroid"],
        p_lufs=in_band["p_lufs"],
        informed=_informed(audio, sample_rate, f0, spectral, full),
    )


def _informed(
    audio: Float32Array, sample_rate: int, f0: F0Estimate, spectral: Spectral, full: float
) -> float:
    """Move the full-band loudness ``full`` of all channels to that inside the informed band."""
    if math.isnan(f0.f0_hz) or full == -math.inf:
        return full
    band = informed_band(f0, spectral, sample_rate=sample_rate)
    inside = gated_lufs(_band_power(audio, sample_rate, band, INFORMED_ORDER))
    # A pitch half trusted moves the loudness half as far.
    trust = 2.0 * f0.confidence - 1.0
    return full + trust * min(max(inside - full, -MAX_SHIFT_LU), 0.0)
