"""What shapes a sound of the demo: filters, resonances, overdrive, delay and rooms."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import signal

from pipeline.jit import kernel
from pipeline.synth.signals import Signal, decay, noise

__all__ = [
    "convolve",
    "delayed",
    "filtered",
    "overdrive",
    "peaking",
    "resonant_lowpass",
    "resonators",
    "room_response",
]


@kernel
def _lowpass(x: Signal, cutoff: Signal, damping: float, rate: float) -> Signal:
    # Trapezoidal state-variable filter: stable while its cutoff moves.
    out = np.empty(len(x))
    s1, s2 = 0.0, 0.0
    g = 0.0
    for i in range(len(x)):
        if i % 16 == 0:
            g = math.tan(math.pi * min(cutoff[i], 0.45 * rate) / rate)
        high = (x[i] - (2.0 * damping + g) * s1 - s2) / (1.0 + 2.0 * damping * g + g * g)
        band = g * high + s1
        s1 = g * high + band
        low = g * band + s2
        s2 = g * band + low
        out[i] = low
    return out


def resonant_lowpass(x: Signal, cutoff_hz: Signal, *, sample_rate: int, q: float = 0.8) -> Signal:
    """Return ``x`` through a 12 dB/octave lowpass whose cutoff moves sample by sample."""
    return _lowpass(x, cutoff_hz, 0.5 / q, float(sample_rate))


@kernel
def _resonators(
    x: Signal, centre: Signal, bandwidth: Signal, gain: Signal, hop: int, rate: float
) -> Signal:
    out = np.zeros(len(x))
    steps = centre.shape[1]
    for f in range(centre.shape[0]):
        y1, y2, x1, x2 = 0.0, 0.0, 0.0, 0.0
        a1, a2, b = 0.0, 0.0, 0.0
        for i in range(len(x)):
            if i % hop == 0:
                c = min(i // hop, steps - 1)
                radius = math.exp(-math.pi * bandwidth[f, c] / rate)
                a1 = 2.0 * radius * math.cos(2.0 * math.pi * centre[f, c] / rate)
                a2 = -radius * radius
                b = gain[f, c] * 0.5 * (1.0 - radius * radius)
            y = b * (x[i] - x2) + a1 * y1 + a2 * y2
            x2, x1 = x1, x[i]
            y2, y1 = y1, y
            # Neighbouring formants add in opposite phase, as in the vocal tract.
            out[i] += y if f % 2 == 0 else -y
    return out


def resonators(
    x: Signal, centre_hz: Signal, bandwidth_hz: Signal, gain: Signal, *, hop: int, sample_rate: int
) -> Signal:
    """Return ``x`` through parallel moving resonances; parameters are ``(bands, frames / hop)``."""
    return _resonators(x, centre_hz, bandwidth_hz, gain, hop, float(sample_rate))


@lru_cache(maxsize=512)
def _butterworth(
    order: int, corner_hz: float, kind: Literal["highpass", "lowpass"], sample_rate: int
) -> Signal:
    sos = signal.butter(order, corner_hz, kind, fs=sample_rate, output="sos")
    return np.asarray(sos, dtype=np.float64)


def filtered(
    x: Signal,
    *,
    sample_rate: int,
    highpass_hz: float | None = None,
    lowpass_hz: float | None = None,
    order: int = 2,
) -> Signal:
    """Return ``x`` ``(..., frames)`` through Butterworth filters of 6 dB/octave per ``order``."""
    top = 0.49 * sample_rate
    if highpass_hz is not None:
        sos = _butterworth(order, highpass_hz, "highpass", sample_rate)
        x = np.asarray(signal.sosfilt(sos, x, axis=-1), dtype=np.float64)
    if lowpass_hz is not None and lowpass_hz < top:
        sos = _butterworth(order, lowpass_hz, "lowpass", sample_rate)
        x = np.asarray(signal.sosfilt(sos, x, axis=-1), dtype=np.float64)
    return x


def peaking(
    x: Signal, frequency_hz: float, gain_db: float, q: float, *, sample_rate: int
) -> Signal:
    """Return ``x`` through a peaking filter (Bristow-Johnson's audio EQ cookbook)."""
    w = 2.0 * math.pi * frequency_hz / sample_rate
    amplitude, alpha = 10.0 ** (gain_db / 40.0), math.sin(w) / (2.0 * q)
    b = np.array([1.0 + alpha * amplitude, -2.0 * math.cos(w), 1.0 - alpha * amplitude])
    a = np.array([1.0 + alpha / amplitude, -2.0 * math.cos(w), 1.0 - alpha / amplitude])
    sos = np.concatenate([b / a[0], a / a[0]])[None, :]
    return np.asarray(signal.sosfilt(sos, x, axis=-1), dtype=np.float64)


def overdrive(x: Signal, *, drive: float, bias: float, sample_rate: int) -> Signal:
    """Return ``x`` through a biased soft clipper at twice the rate, without its DC.

    ``drive`` is the gain after normalising ``x`` to a peak of 1.
    """
    peak = float(np.abs(x).max(initial=0.0))
    if peak == 0.0:
        return x
    hot = np.asarray(signal.resample_poly(x * (drive / peak), 2, 1))
    shaped = np.tanh(hot + bias) - math.tanh(bias)
    out = np.asarray(signal.resample_poly(shaped, 1, 2), dtype=np.float64)[: len(x)]
    return filtered(out, highpass_hz=25.0, sample_rate=sample_rate)


def delayed(x: Signal, delay_frames: Signal | float) -> Signal:
    """Return mono ``x`` read ``delay_frames`` late, a number or a curve, interpolated linearly."""
    position = np.arange(x.shape[-1]) - delay_frames
    return np.interp(position, np.arange(x.shape[-1]), x, left=0.0)


def room_response(
    t60_s: float,
    *,
    sample_rate: int,
    rng: np.random.Generator,
    predelay_s: float = 0.0,
    brightness: float = 0.5,
) -> Signal:
    """Return a room's impulse response of unit energy, shape ``(frames,)``.

    Noise in four bands, the upper ones decaying faster, after a few early reflections.
    """
    frames = round(1.1 * t60_s * sample_rate)
    lead = round(predelay_s * sample_rate)
    out = np.zeros(lead + frames)
    edges = (None, 400.0, 1600.0, 5000.0, None)
    for band in range(4):
        part = filtered(
            noise(frames, rng),
            highpass_hz=edges[band],
            lowpass_hz=edges[band + 1],
            sample_rate=sample_rate,
        )
        share = (1.0, 0.95, 0.4 + 0.45 * brightness, 0.15 + 0.55 * brightness)[band]
        out[lead:] += share * part * decay(frames, t60_s=t60_s * share, sample_rate=sample_rate)
    for k in range(6):
        at = lead + int(rng.uniform(0.001, 0.03) * sample_rate)
        if at < len(out):
            out[at] += rng.choice([-1.0, 1.0]) * 6.0 / (k + 1.0)
    out = filtered(out, highpass_hz=60.0, sample_rate=sample_rate)
    return out / math.sqrt(float(out @ out))


def convolve(x: Signal, response: Signal) -> Signal:
    """Return mono ``x`` in the room of ``response``, cut to the length of ``x``."""
    return np.asarray(signal.oaconvolve(x, response)[: len(x)], dtype=np.float64)
