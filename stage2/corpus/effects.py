"""What follows a source of the corpus: distortion, modulation, echo, dynamics, colour and rooms.

Signals are ``(channels, frames)``, float32 or float64; everything is cheap on whole tracks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft, signal

from pipeline.jit import kernel
from stage2.corpus.score import log_uniform

__all__ = [
    "Audio",
    "amplified",
    "coloured",
    "compressed",
    "echoed",
    "modulated",
    "pumped",
    "room",
    "saturated",
    "tone_response",
]

Audio = npt.NDArray[np.float32]
_TAPS = 2048


def saturated(x: Audio, *, drive: float, bias: float = 0.0) -> Audio:
    """Return ``x`` through a soft clipper, the mean of its curve between samples against aliasing.

    The curve is s / sqrt(1 + s^2); its integral F = sqrt(1 + s^2) makes the mean slope between two
    samples, (F(a) - F(b)) / (a - b), equal to (a + b) / (F(a) + F(b)), which never divides by 0.

    Parameters
    ----------
    drive
        Gain before the curve, after normalising ``x`` to a peak of 1.
    """
    peak = float(np.abs(x).max(initial=0.0))
    if peak == 0.0:
        return x
    s = x * np.float32(drive / peak) + np.float32(bias)
    integral = np.sqrt(1.0 + s * s)
    before = np.concatenate([s[:, :1], s[:, :-1]], axis=1)
    integral += np.concatenate([integral[:, :1], integral[:, :-1]], axis=1)
    out = (s + before) / integral
    return np.asarray(out - np.float32(bias / np.sqrt(1.0 + bias * bias)), np.float32)


def amplified(
    x: Audio, rng: np.random.Generator, rate: int, *, drive: tuple[float, float]
) -> Audio:
    """Return ``x`` through an amplifier and its loudspeaker."""
    x = coloured(x, tone_response(rng, rate, low_hz=log_uniform(rng, 70.0, 250.0), strength=0.7))
    x = saturated(x, drive=log_uniform(rng, *drive), bias=float(rng.uniform(0.0, 0.3)))
    cabinet = tone_response(
        rng,
        rate,
        low_hz=log_uniform(rng, 50.0, 110.0),
        high_hz=log_uniform(rng, 3500.0, 8000.0),
        order=3,
        strength=1.0,
    )
    return coloured(x, cabinet)


def tone_response(
    rng: np.random.Generator,
    rate: int,
    *,
    low_hz: float | None = None,
    high_hz: float | None = None,
    order: int = 2,
    tilt_db: float = 0.0,
    presence_db: float = 0.0,
    strength: float = 1.0,
) -> Audio:
    """Return a minimum-phase response with drawn broad bumps.

    Parameters
    ----------
    low_hz, high_hz
        Corners below and above which it falls by 6 dB an octave per ``order``.
    tilt_db
        Slope per octave, about 1 kHz.
    presence_db
        A bump of two octaves about 2 kHz.
    strength
        Scale of the bumps, whose standard deviation is 4 dB.
    """
    f = np.maximum(np.fft.rfftfreq(2 * _TAPS, 1.0 / rate), 8.0)
    octave = np.log2(f / 1000.0)
    level_db = tilt_db * np.clip(octave, -4.5, 4.0)
    level_db = level_db + presence_db * np.exp(-0.5 * (octave - 1.0) ** 2)
    for _ in range(int(rng.integers(1, 5))):
        centre, width = float(rng.uniform(-4.0, 4.0)), log_uniform(rng, 0.25, 1.6)
        gain_db = strength * float(rng.normal(0.0, 4.0))
        level_db = level_db + gain_db * np.exp(-0.5 * ((octave - centre) / width) ** 2)
    if low_hz is not None:
        level_db = level_db - 10.0 * np.log10(1.0 + (low_hz / f) ** (2 * order))
    if high_hz is not None:
        level_db = level_db - 10.0 * np.log10(1.0 + (f / high_hz) ** (2 * order))
    return _minimum_phase(level_db)


def _minimum_phase(level_db: npt.NDArray[np.float64]) -> Audio:
    # The folded cepstrum of the magnitude (Oppenheim and Schafer, Discrete-Time Signal Processing).
    log_magnitude = np.maximum(level_db, -120.0) * (np.log(10.0) / 20.0)
    cepstrum = np.fft.irfft(log_magnitude)
    half = len(cepstrum) // 2
    cepstrum[1:half] *= 2.0
    cepstrum[half + 1 :] = 0.0
    response = np.fft.irfft(np.exp(np.fft.rfft(cepstrum)))[:_TAPS]
    response[_TAPS // 2 :] *= np.linspace(1.0, 0.0, _TAPS - _TAPS // 2)
    return response.astype(np.float32)


def room(
    rng: np.random.Generator, rate: int, *, t60_s: float, brightness: float, predelay_s: float
) -> Audio:
    """Return a room's answer of unit energy: early reflections, then noise that darkens."""
    frames = round(min(t60_s, 2.2) * rate)
    tail = rng.standard_normal(frames, dtype=np.float32)
    t = np.arange(frames, dtype=np.float32) / np.float32(rate)
    dark = signal.lfilter([1.0 - 0.85], [1.0, -0.85], tail).astype(np.float32) * 3.5
    slow = np.exp(t * np.float32(-6.9 / t60_s))
    fast = np.exp(t * np.float32(-6.9 / (t60_s * (0.25 + 0.7 * brightness))))
    out = slow * dark * np.float32(1.3 - brightness) + fast * tail * np.float32(brightness)
    at = (rng.uniform(0.0006, 0.03, 8) * rate).astype(int)
    at = at[at < frames]
    out[at] += rng.choice([-1.0, 1.0], len(at)) * 5.0 / (1.0 + 100.0 * at / rate)
    out = np.concatenate([np.zeros(round(predelay_s * rate), np.float32), out])
    # Rooms that are recorded or sold have little below 80 Hz.
    out = signal.lfilter([1.0, -1.0], [1.0, -(1.0 - 500.0 / rate)], out)
    return np.asarray(out / np.sqrt(np.sum(out**2)), np.float32)


def coloured(x: Audio, response: Audio) -> Audio:
    """Return ``x`` convolved with a response ``(taps,)`` or ``(channels, taps)``, same length."""
    rows = np.atleast_2d(response)
    if response.shape[-1] <= 2 * _TAPS:
        rows = np.broadcast_to(rows, (len(x), response.shape[-1]))
        full = [signal.oaconvolve(a, b)[: x.shape[1]] for a, b in zip(x, rows, strict=True)]
        return np.stack(full).astype(np.float32)
    size = fft.next_fast_len(x.shape[1] + response.shape[-1], real=True)
    spectrum = fft.rfft(np.asarray(x, np.float32), size) * fft.rfft(rows, size)
    return np.asarray(fft.irfft(spectrum, size)[:, : x.shape[1]], np.float32)


@kernel
def _held(peaks: Audio, keep: float) -> Audio:
    out = np.empty_like(peaks)
    state = 0.0
    for k in range(len(peaks)):
        state = max(float(peaks[k]), keep * state)
        out[k] = state
    return out


@kernel
def _scaled(x: Audio, gain: npt.NDArray[np.float64], hop: int) -> Audio:
    out = np.empty_like(x)
    for i in range(x.shape[1]):
        k = i // hop
        coming = gain[min(k + 1, len(gain) - 1)]
        now = gain[k] + (coming - gain[k]) * (i % hop) / hop
        for c in range(x.shape[0]):
            out[c, i] = x[c, i] * now
    return out


def compressed(x: Audio, rng: np.random.Generator, rate: int) -> Audio:
    """Return ``x`` as through a compressor on the way in."""
    hop = 128
    level = np.abs(x).max(axis=0)
    blocks = np.pad(level, (0, -len(level) % hop)).reshape(-1, hop).max(axis=1)
    held = _held(blocks, float(np.exp(-hop / (rate * log_uniform(rng, 0.03, 0.4)))))
    loud = float(np.percentile(held, 95.0))
    if loud <= 0.0:
        return x
    over = held / (loud * 10.0 ** (float(rng.uniform(-20.0, -3.0)) / 20.0))
    slope = 1.0 - 1.0 / log_uniform(rng, 1.5, 8.0)
    return _scaled(np.ascontiguousarray(x), np.maximum(over, 1.0) ** -slope, hop)


@kernel
def _late(x: Audio, curve: Audio, base: float, depth: float) -> Audio:
    out = np.zeros_like(x)
    for i in range(len(x)):
        position = i - base - depth * curve[i]
        if position > 0.0:
            k = int(position)
            out[i] = x[k] + (position - k) * (x[k + 1] - x[k])
    return out


def modulated(x: Audio, rng: np.random.Generator, rate: int) -> Audio:
    """Return ``x`` with tremolo, auto-pan or chorus; the last two in stereo."""
    kind = rng.uniform()
    turn = np.float32(2.0 * np.pi * log_uniform(rng, 0.15, 7.0) / rate)
    curve = np.sin(turn * np.arange(x.shape[1], dtype=np.float32) + np.float32(rng.uniform(0, 6)))
    if kind < 0.3:
        return np.asarray(x * (1.0 - float(rng.uniform(0.1, 0.4)) * (1.0 + curve)), np.float32)
    sides = np.concatenate([x, x]) if len(x) == 1 else x
    if kind < 0.5:
        swing = float(rng.uniform(0.1, 0.6)) * curve
        return np.asarray(sides * np.stack([1.0 + swing, 1.0 - swing]), np.float32)
    depth = log_uniform(rng, 0.2, 2.5) * rate / 1000.0
    base = depth + log_uniform(rng, 2.0, 14.0) * rate / 1000.0
    late = np.stack(
        [
            _late(row, curve, base, side * depth)
            for row, side in zip(sides, (1.0, -1.0), strict=True)
        ]
    )
    return np.asarray(sides + float(rng.uniform(0.3, 1.0)) * late, np.float32)


def echoed(x: Audio, rng: np.random.Generator, rate: int, *, step_s: float) -> Audio:
    """Return ``x`` with echoes on the beat, in stereo when they cross over."""
    lag = round(step_s * int(rng.choice([2, 3, 4, 6])) * rate)
    feedback = float(rng.uniform(0.15, 0.5))
    crossed = rng.uniform() < 0.5
    out = np.concatenate([x, x]) if crossed and len(x) == 1 else x.copy()
    for k in range(1, 5):
        if k * lag >= x.shape[1]:
            break
        late = feedback**k * x[:, : x.shape[1] - k * lag]
        if crossed:
            out[k % 2, k * lag :] += late[k % len(x)]
        else:
            out[:, k * lag :] += late
    return out


def pumped(x: Audio, rng: np.random.Generator, rate: int, *, beat_s: float) -> Audio:
    """Return ``x`` ducked on each beat, as by a kick in a side chain."""
    within = (np.arange(x.shape[1]) / (beat_s * rate)) % 1.0
    depth = float(rng.uniform(0.3, 0.95))
    gain = 1.0 - depth * np.clip(1.0 - within / float(rng.uniform(0.3, 0.9)), 0.0, 1.0)
    return np.asarray(x * gain, np.float32)
