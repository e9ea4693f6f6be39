"""Loudness over time as it is heard: ISO 532-1:2017, Zwicker's method for time-varying sounds.

Third-octave filters, smoothed powers, core loudness, nonlinear decay, slopes over the critical-band
rate, and the temporal weighting, as the standard's annex A and its reference program have them. The
tables are in :mod:`stage1.loudness.zwicker_tables`.

The filters are linear and cost most: :func:`band_powers` runs them once, and :func:`loudness`
evaluates the nonlinear rest at any level. Powers are kept each 0.5 ms, loudness each 2 ms.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import soxr

from pipeline.jit import kernel
from pipeline.units import Float32Array, Float64Array
from stage1.loudness.zwicker_tables import (
    CRITICAL_DB,
    DIFFUSE_DB,
    EAR_DB,
    FILTERS,
    LOW_RANGES_DB,
    LOW_REDUCTION_DB,
    SLOPE_RANGES,
    SLOPES,
    THRESHOLD_DB,
    UPPER_BARK,
)

__all__ = [
    "BANDS",
    "BAND_RATE_HZ",
    "LOUDNESS_RATE_HZ",
    "PASCAL_DB_SPL",
    "SAMPLE_RATE",
    "Field",
    "band_powers",
    "loudness",
    "percentile_loudness",
    "sone_to_phon",
]

Field = Literal["free", "diffuse"]

SAMPLE_RATE = 48000
BANDS = 28
"""Third octaves of 25 Hz to 12.5 kHz; the exact centres are 1000 Hz x 10 ^ ((band - 16) / 10)."""
BAND_RATE_HZ = 2000
LOUDNESS_RATE_HZ = 500
PASCAL_DB_SPL = 93.9794000867204
"""Level of 1 Pa."""

_DECIMATION = SAMPLE_RATE // BAND_RATE_HZ
_CRITICAL_BANDS = 20
_REFERENCE_POWER = 4e-10
"""(20 uPa) squared."""
_TINY_POWER = 1e-12
_SUBSTEPS = 24


@kernel
def _band_powers(signal: Float32Array, filters: Float64Array, poles: Float64Array) -> Float64Array:
    """Filter, square and smooth ``signal``; return ``(bands, steps)``, one step in 24 samples."""
    samples = signal.size
    # The numerators multiply to (1 - z^-2)^3 in every band: filtered once.
    common = np.empty(samples)
    for i in range(samples):
        x = float(signal[i])
        if i >= 2:
            x -= 3.0 * float(signal[i - 2])
        if i >= 4:
            x += 3.0 * float(signal[i - 4])
        if i >= 6:
            x -= float(signal[i - 6])
        common[i] = x
    powers = np.empty((filters.shape[0], (samples + 23) // 24))
    for band in range(filters.shape[0]):
        a1, a2 = -2.0 - filters[band, 0], 1.0 - filters[band, 1]
        c1, c2 = -2.0 - filters[band, 2], 1.0 - filters[band, 3]
        e1, e2 = -2.0 - filters[band, 4], 1.0 - filters[band, 5]
        squared_gain, pole = filters[band, 6] ** 2, poles[band]
        x1, x2, y1, y2, z1, z2 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        p1, p2, p3 = 0.0, 0.0, 0.0
        for step in range(powers.shape[1]):
            for i in range(24 * step, min(24 * step + 24, samples)):
                x = common[i] - a2 * x2 - a1 * x1
                x2, x1 = x1, x
                y = x - c2 * y2 - c1 * y1
                y2, y1 = y1, y
                z = y - e2 * z2 - e1 * z1
                z2, z1 = z1, z
                power = squared_gain * z * z
                p1 = power + pole * (p1 - power)
                p2 = p1 + pole * (p2 - p1)
                p3 = p2 + pole * (p3 - p2)
                if i == 24 * step:
                    powers[band, step] = p3
            # Digital silence would let the states decay into denormals, 100 times slower.
            if abs(x1) + abs(x2) + abs(y1) + abs(y2) + abs(z1) + abs(z2) < 1e-100:
                x1, x2, y1, y2, z1, z2 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            if p1 + p2 + p3 < 1e-200:
                p1, p2, p3 = 0.0, 0.0, 0.0
    return powers


def _core_tables(field: Field) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Return the tables of the core loudness as factors of power: no level is ever taken.

    Returns
    -------
    limits, factors : ndarray, shape (8, 11)
        A low band's power is multiplied by the factor of the first limit that it does not exceed.
    scale, threshold : ndarray, shape (20,)
        Excitation over threshold is power x scale; heard above ``threshold`` of it.
    """
    limits = 10.0 ** ((LOW_RANGES_DB[:, None] - LOW_REDUCTION_DB) / 10.0) * _REFERENCE_POWER
    factors = 10.0 ** (LOW_REDUCTION_DB / 10.0)
    diffuse = DIFFUSE_DB if field == "diffuse" else np.zeros(_CRITICAL_BANDS)
    scale = 10.0 ** ((diffuse - EAR_DB - CRITICAL_DB - THRESHOLD_DB) / 10.0) / _REFERENCE_POWER
    # A band is heard by its level before the adaptation to the critical band.
    threshold = 10.0 ** (-CRITICAL_DB / 10.0)
    return limits, factors, scale, threshold


@kernel
def _core_loudness(
    powers: Float64Array,
    gain: float,
    limits: Float64Array,
    factors: Float64Array,
    scale: Float64Array,
    threshold: Float64Array,
    weight: Float64Array,
) -> Float64Array:
    """Core loudness ``(20, steps)`` of ``powers`` x ``gain``."""
    steps = powers.shape[1]
    core = np.zeros((20, steps))
    excitation = np.empty(20)
    for t in range(steps):
        excitation[:3] = 0.0
        for b in range(11):
            power = powers[b, t] * gain + _TINY_POWER
            k = 0
            while k < 7 and power > limits[k, b]:
                k += 1
            excitation[0 if b < 6 else 1 if b < 9 else 2] += power * factors[k, b]
        for b in range(3, 20):
            excitation[b] = powers[b + 8, t] * gain + _TINY_POWER
        for b in range(20):
            ratio = excitation[b] * scale[b]
            if ratio > threshold[b]:
                specific = weight[b] * (np.sqrt(np.sqrt(0.75 + 0.25 * ratio)) - 1.0)
                core[b, t] = max(specific, 0.0)
        # The threshold in quiet varies within the lowest critical band.
        correction = 0.4 + 0.32 * core[0, t] ** 0.2
        if correction < 1.0:
            core[0, t] *= correction
    return core


def _decay_coefficients() -> Float64Array:
    """Return the decay of two capacitors (short 5 ms, long 15 ms, variable 75 ms) in a substep."""
    short, long, variable = 0.005, 0.015, 0.075
    step = 1.0 / (BAND_RATE_HZ * _SUBSTEPS)
    half = (variable + long) / (variable * short) / 2.0
    root = math.sqrt(half * half - 1.0 / (short * variable))
    slow, fast = root - half, -root - half
    e_slow, e_fast = math.exp(slow * step), math.exp(fast * step)
    d_slow, d_fast = variable * slow + 1.0, variable * fast + 1.0
    scale = variable * (slow - fast)
    return np.array(
        [
            (e_slow - e_fast) / scale,
            (d_fast * e_slow - d_slow * e_fast) / scale,
            (d_slow * e_slow - d_fast * e_fast) / scale,
            d_slow * d_fast * (e_slow - e_fast) / scale,
            math.exp(-step / long),
            math.exp(-step / variable),
        ]
    )


@kernel
def _decay(core: Float64Array, coefficients: Float64Array) -> None:
    """Let the core loudness ``(bands, steps)`` decay as it does after a sound, in place."""
    b0, b1, b2 = coefficients[0], coefficients[1], coefficients[2]
    b3, b4, b5 = coefficients[3], coefficients[4], coefficients[5]
    steps = core.shape[1]
    for band in range(core.shape[0]):
        out, held = 0.0, 0.0
        following = core[band, 0]
        for t in range(steps):
            value = following
            following = core[band, t + 1] if t + 1 < steps else 0.0
            rise = (following - value) / 24.0
            if value == 0.0 and rise == 0.0 and out < 1e-30:
                out, held = 0.0, 0.0
                core[band, t] = 0.0
                continue
            for k in range(24):
                if value < out:
                    if out > held:
                        next_held = out * b0 - held * b1
                        out = max(out * b2 - held * b3, value)
                        held = min(next_held, out)
                    else:
                        out = max(out * b4, value)
                        held = out
                elif value - out < 1e-5 and value <= held:
                    out = value
                    held = value
                else:
                    out = value
                    held = value + b5 * (held - value)
                if k == 0:
                    core[band, t] = out
                value += rise


@kernel
def _total_loudness(
    core: Float64Array, upper: Float64Array, ranges: Float64Array, slopes: Float64Array
) -> Float64Array:
    """Integrate core loudness ``(20, steps)`` with its upper slopes over the critical-band rate."""
    steps = core.shape[1]
    total = np.empty(steps)
    for t in range(steps):
        area, z1, n1 = 0.0, 0.0, 0.0
        j = 17
        for band in range(21):
            main = core[band, t] if band < 20 else 0.0
            column = min(max(band - 1, 0), 7)
            if n1 <= main:
                # The band rises over what the one below leaves in it.
                area += main * (upper[band] - z1)
                if n1 < main:
                    j = 0
                    while j < 17 and ranges[j] >= main:
                        j += 1
                z1, n1 = upper[band], main
                continue
            while z1 < upper[band]:
                if n1 <= main:
                    area += main * (upper[band] - z1)
                    z1 = upper[band]
                    break
                n2 = max(ranges[j], main)
                dz = (n1 - n2) / slopes[j, column]
                if z1 + dz > upper[band]:
                    dz = upper[band] - z1
                    n2 = n1 - dz * slopes[j, column]
                    z1 = upper[band]
                else:
                    z1 += dz
                area += dz * (n1 + n2) / 2.0
                n1 = n2
                while j < 17 and n1 <= ranges[j]:
                    j += 1
        # The standard's rounding.
        digits = 1000.0 if area <= 16.0 else 100.0
        total[t] = np.floor(max(area, 0.0) * digits + 0.5) / digits
    return total


@kernel
def _smoothed(total: Float64Array, tau_s: float) -> Float64Array:
    """Low-pass ``total`` with a first-order filter that runs 24 times as fast, interpolated."""
    pole = math.exp(-1.0 / (2000.0 * 24.0 * tau_s))
    # 24 steps along a line in closed form: what is left, and the weights of value and rise.
    left, by_value, by_rise = 1.0, 0.0, 0.0
    for k in range(1, 25):
        left *= pole
        by_value = by_value * pole + (1.0 - pole)
        by_rise = by_rise * pole + (1.0 - pole) * k
    out = np.empty(total.size)
    y = 0.0
    for t in range(total.size):
        before = total[t - 1] if t > 0 else 0.0
        if t == 0:
            y = (1.0 - pole) * total[0]
        else:
            y = y * left + before * by_value + (total[t] - before) / 24.0 * by_rise
        out[t] = y
    return out


def band_powers(audio: Float32Array, *, sample_rate: int) -> Float64Array:
    """Return the smoothed third-octave powers of a signal, summed over its channels.

    Parameters
    ----------
    audio
        ``(channels, frames)`` float32, in any unit of pressure.
    sample_rate
        In Hz; other rates than 48 kHz are resampled.

    Returns
    -------
    ndarray, shape (28, steps), float64
        In the unit of ``audio`` squared, each 0.5 ms. Channels are summed in power: what two
        loudspeakers that share a sound leave at the head of a listener.

    Raises
    ------
    ValueError
        If ``audio`` is not two-dimensional.
    """
    if audio.ndim != 2:
        msg = f"expected audio of shape (channels, frames), got {audio.shape}"
        raise ValueError(msg)
    if sample_rate != SAMPLE_RATE:
        audio = soxr.resample(audio.T, sample_rate, SAMPLE_RATE, quality="VHQ").T
    centres_hz = 1000.0 * 10.0 ** ((np.arange(BANDS) - 16) / 10.0)
    tau_s = 2.0 / (3.0 * np.minimum(centres_hz, 1000.0))
    poles = np.exp(-1.0 / (SAMPLE_RATE * tau_s))
    powers = np.zeros((BANDS, -(-audio.shape[1] // _DECIMATION)))
    for channel in audio:
        powers += _band_powers(np.array(channel, np.float32), FILTERS, poles)
    return powers


def loudness(
    powers: Float64Array, *, unit_db_spl: float = PASCAL_DB_SPL, field: Field = "free"
) -> Float64Array:
    """Return the loudness over time of a signal's band powers.

    Parameters
    ----------
    powers
        ``(28, steps)``, as :func:`band_powers` returns.
    unit_db_spl
        Level of a power of 1, in dB SPL: as it stands, for audio in Pa.
    field
        How the sound reaches the listener.

    Returns
    -------
    ndarray, shape (frames,), float64
        Loudness N in sone, each 2 ms; the first 0.3 s settle.

    Raises
    ------
    ValueError
        If the powers have another shape, or the field is unknown.

    Examples
    --------
    >>> time_s = np.arange(48000) / 48000
    >>> tone_pa = 0.02 * math.sqrt(2) * np.sin(2 * np.pi * 1000 * time_s)  # 60 dB SPL
    >>> powers = band_powers(tone_pa[None].astype(np.float32), sample_rate=48000)
    >>> round(float(loudness(powers)[-1]), 1)
    4.0
    """
    if powers.ndim != 2 or powers.shape[0] != BANDS:
        msg = f"expected band powers of shape ({BANDS}, steps), got {powers.shape}"
        raise ValueError(msg)
    if field not in ("free", "diffuse"):
        msg = f"unknown sound field {field!r}: use free or diffuse"
        raise ValueError(msg)
    weight = 0.0635 * 10.0 ** (0.025 * THRESHOLD_DB)
    gain = _REFERENCE_POWER * 10.0 ** (unit_db_spl / 10.0)
    core = _core_loudness(powers, gain, *_core_tables(field), weight)
    _decay(core, _decay_coefficients())
    total = _total_loudness(core, UPPER_BARK, SLOPE_RANGES, SLOPES)
    weighted = 0.47 * _smoothed(total, 0.0035) + 0.53 * _smoothed(total, 0.07)
    return np.asarray(weighted[:: BAND_RATE_HZ // LOUDNESS_RATE_HZ])


def percentile_loudness(sone: Float64Array, *, exceeded_percent: float = 5.0) -> float:
    """Return the percentile loudness in sone, such as N5, of ``(frames,)``; 0 if empty."""
    return float(np.percentile(sone, 100.0 - exceeded_percent)) if sone.size else 0.0


def sone_to_phon(sone: float) -> float:
    """Return the loudness level in phon, at least 3 (ISO 532-1, 5.8)."""
    if sone >= 1.0:
        return 40.0 + 10.0 * math.log2(sone)
    return max(40.0 * sone**0.35, 3.0)
