"""Loudness inside an informed band: how loud a track is where its own sound lies.

Four methods here, each a loudness in LUFS to balance tracks by (the fifth, ``sones``, is in
:mod:`stage1.loudness.sones`):

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
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.audio.samples import Samples
from pipeline.loudness.meter import (
    BLOCK_FRAMES,
    EnergyMeter,
    gated_lufs,
    lufs_to_power,
    momentary_power,
)
from pipeline.loudness.true_peak import as_block
from stage1.loudness.band_energies import BandEnergies, FoldBandEnergies, first_order, second_order
from stage1.pitch.f0 import F0Estimate
from stage1.signal.spectral import Spectral

__all__ = [
    "BAND_METHODS",
    "METHODS",
    "Band",
    "NarrowbandLoudness",
    "informed_band",
    "measure_narrowband",
]

BAND_METHODS = ("lufs", "centroid", "p_lufs", "informed")
METHODS = (*BAND_METHODS, "sones")

PUBLISHED_GATE_LUFS = -50.0
NO_F0_BAND_HZ = (50.0, 10000.0)
PUBLISHED_MAX_HZ = 22000.0
MAX_SHIFT_LU = 6.0
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
        """Return the loudness by one of :data:`BAND_METHODS`.

        Raises
        ------
        ValueError
            If there is no such method.
        """
        if method not in BAND_METHODS:
            msg = f"unknown loudness method {method!r}: use one of " + ", ".join(BAND_METHODS)
            raise ValueError(msg)
        return float(getattr(self, method))


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
    samples: Samples, *, f0: F0Estimate, spectral: Spectral, meter: EnergyMeter
) -> NarrowbandLoudness:
    """Measure the loudness of a track by all methods.

    Parameters
    ----------
    samples
        The track, mono or stereo; read once, from its start to its end.
    f0, spectral
        What was measured of it.
    meter
        The meter that it was fed to.

    Returns
    -------
    NarrowbandLoudness
    """
    fold_power = meter.fold_momentary_power()
    loud = fold_power > lufs_to_power(PUBLISHED_GATE_LUFS)
    full = meter.integrated_lufs
    rate = samples.sample_rate
    published = informed = None
    if loud.any():
        bands = [first_order(band.low_hz, band.high_hz, rate) for band in _published(f0, spectral)]
        published = FoldBandEnergies(np.stack(bands), sample_rate=rate)
    if not math.isnan(f0.f0_hz) and full > -math.inf:
        band = informed_band(f0, spectral, sample_rate=rate)
        informed = BandEnergies(
            second_order(band.low_hz, band.high_hz, rate),
            sample_rate=rate,
            channels=samples.channels,
        )
    _feed(samples, [energies for energies in (published, informed) if energies is not None])
    centroid = p_lufs = -math.inf
    if published is not None:
        centroid, p_lufs = (
            gated_lufs(momentary_power(published.energies, row)[loud]) for row in (0, 1)
        )
    if informed is not None:
        inside = gated_lufs(
            np.sum(
                [momentary_power(informed.energies, row) for row in range(samples.channels)], axis=0
            )
        )
        # A pitch half trusted moves the loudness half as far.
        trust = 2.0 * f0.confidence - 1.0
        full += trust * min(max(inside - full, -MAX_SHIFT_LU), 0.0)
    return NarrowbandLoudness(
        lufs=gated_lufs(fold_power[loud]), centroid=centroid, p_lufs=p_lufs, informed=full
    )


def _published(f0: F0Estimate, spectral: Spectral) -> tuple[Band, Band]:
    """Bands of the published methods ``centroid`` and ``p_lufs``."""
    centroid, bandwidth = spectral.published_centroid_hz, spectral.published_bandwidth_hz
    published_hz = f0.published_hz
    return (
        Band(max(centroid - bandwidth / 2, 1.0), min(centroid + bandwidth / 2, PUBLISHED_MAX_HZ)),
        Band(*NO_F0_BAND_HZ)
        if math.isnan(published_hz)
        else Band(2 * published_hz, 4 * published_hz),
    )


def _feed(samples: Samples, measures: Sequence[FoldBandEnergies | BandEnergies]) -> None:
    if not measures:
        return
    for start in range(0, samples.frames, BLOCK_FRAMES):
        block = samples.read_at(start, min(BLOCK_FRAMES, samples.frames - start))
        block = as_block(block, samples.channels)
        for energies in measures:
            energies.process(block)
